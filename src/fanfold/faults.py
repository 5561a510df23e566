"""What can be wrong with a record or a file: the codes."""

# Of records that cannot be read.
_OF_SYNTAX = {
    "syntax": "The record is not JSON (RFC 8259), for a reason that has no code of its own.",
    "nan": "NaN or Infinity, which JSON does not have.",
    "trailing_comma": "A comma is followed by nothing.",
    "trailing_garbage": "Something follows the record, or the array of records, that does not belong there.",
    "duplicate_key": "An object has the same key twice.",
    "lone_surrogate": r"Half of a surrogate pair (\ud800): not a character.",
    "bad_utf8": "Bytes that are not UTF-8.",
    "wrong_encoding": "Bytes that are not valid in input.encoding. File: its byte order mark is of another encoding.",
    "control_character": "A control character that is not escaped, inside a string.",
    "truncated": "The file, or the line, ends before the record, its array or its document does.",
    "too_deep": "Brackets nested deeper than 128 levels.",
    "not_an_object": "The record is a string, a number, an array, true, false or null.",
}
# Of records that can be read.
_OF_VALUES = {
    "too_many_values": "The record has more than 1,000,000 values. Its text is not kept here.",
    "too_many_fields": "With the fields of this record, the run would have more than 10,000 fields.",
    "key_too_long": "A key, together with the keys around it, has more than 4,096 characters.",
    "record_too_large": "The record is larger than input.max_record_bytes. Its text is not kept here.",
    "wrong_type": "A value is not of the declared kind or, around and in an array that explodes, of the usual kind.",
    "case_conflict": "A key differs only in letter case from another one, which is declared or more frequent.",
    "name_conflict": "A field would become the same column as another one, which is declared, more frequent, or taken "
    "from around the records (input.envelope).",
    "bad_json_text": "The text of a field that input.parse names is not JSON (RFC 8259), or is empty.",
    "inexact": "The declared type does not hold the number exactly: it would be rounded.",
    "no_match": "The record has no match in a reference that has on_missing: quarantine.",
}
_OF_FILES_AND_LINES = {
    "ragged_line": "A line of CSV has more or fewer fields than the header.",
    "bad_quote": "A quoted field of CSV does not end where it should.",
    "empty_file": "File: there is nothing in it.",
    "duplicate": "File: its bytes were published before (input.duplicates: quarantine).",
    "unreadable": "File: its compression is damaged or cut short, or it is not Parquet that can be read.",
    "bomb": "File: it has more than 64 MiB, or 4,194,304 Parquet values, and more than 250 for each byte on disk.",
    "too_large": "File: its content does not fit on the disk, or a piece of it does not fit into memory.",
    "bad_header": "File: the header of the CSV has a name twice (or two empty names), has a bad quote, or is too long.",
    "too_many_members": "File: a zip or tar file with more than 100,000 members, or more than 16 MiB for their list.",
    "unknown_format": "File: a zip or tar file without a member that matches input.patterns.",
    "nested_archive": "Member of a zip or tar file: it is a zip or tar file itself.",
    "encrypted": "Member of a zip or tar file: it needs a password.",
    "unknown_compression": "Member of a zip file: it is compressed with a method other than Deflate.",
    "bad_member": "Member of a zip or tar file: it is a link, a device or a sparse file, or its name is used "
    "twice, leads out of the file, or is not UTF-8.",
    "stray_bytes": "A zip or tar file has bytes, other than zeros, outside its members. They are not read.",
    "pointer_not_found": "There is nothing at input.records_at in a document.",
}
# The list is stable: a code keeps its meaning, new ones may come. docs/reference/quarantine.md is made from it.
CODES = _OF_SYNTAX | _OF_VALUES | _OF_FILES_AND_LINES
OF_VALUES = frozenset(_OF_VALUES)
# A file with one of these is not read: it may have terabytes of nothing.
OF_SIZE = frozenset({"bomb", "too_large"})
MAX_MESSAGE_CHARACTERS = 500


class UnreadableError(ValueError):
    """No record of a file can be read, not even those before the fault."""

    def __init__(self, code: str, message: str) -> None:
        """Keep the code, and the message without its long middle."""
        super().__init__(shortened(message))
        self.code = code


def steps(pointer: str) -> list[str]:
    """Return the keys and indexes that a JSON pointer (RFC 6901) has."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def quoted(text: str) -> str:
    """Return text of a file in quotes, as it stands there: only characters that cannot be shown are escaped."""
    shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
    return f'"{shown}"' if not text or ("'" in text and '"' not in text) else f"'{shown}'"


def shortened(message: str) -> str:
    """Return a message without the middle, if it is long."""
    half = MAX_MESSAGE_CHARACTERS // 2
    return message if len(message) <= MAX_MESSAGE_CHARACTERS else f"{message[:half]} … {message[-half:]}"
