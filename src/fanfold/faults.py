"""What can be wrong with a record or a file: the codes."""

# Of records that cannot be read.
_OF_SYNTAX = {
    "syntax": "The record is not JSON (RFC 8259), for a reason that has no code of its own.",
    "nan": "NaN or Infinity, which JSON does not have.",
    "trailing_comma": "A comma with nothing after it.",
    "trailing_garbage": "Something follows the record, or the array of records, that does not belong there.",
    "duplicate_key": "An object has one key twice.",
    "lone_surrogate": r"Half of a surrogate pair (\ud800): not a character.",
    "bad_utf8": "Bytes that are not UTF-8.",
    "wrong_encoding": "Bytes that input.encoding does not have. File: its byte order mark is of another encoding.",
    "control_character": "A control character inside of a text that is not escaped.",
    "truncated": "The file, or the line, ends before the record does.",
    "too_deep": "Brackets nested deeper than 128 levels.",
    "not_an_object": "The record is a string, a number, an array, true, false or null.",
}
# Of records that can be read.
_OF_VALUES = {
    "too_many_values": "The record has more than 1,000,000 values. Its text is not kept here.",
    "too_many_fields": "With the fields of this record the run would have more than 10,000.",
    "key_too_long": "A key, with those of the objects around it, has more than 4,096 characters.",
    "record_too_large": "The record is larger than input.max_record_bytes. Its text is not kept here.",
    "wrong_type": "A value is of another kind than is declared, or than most records have in an array that explodes.",
    "case_conflict": "A key that differs in letter case alone from one of the run that is declared or more frequent.",
    "name_conflict": "A field whose column has the name of another one, which is declared or more frequent, or that "
    "input.envelope takes from around the records.",
    "bad_json_text": "The text of a field that input.parse names is not JSON (RFC 8259), or is empty.",
    "inexact": "A number that its declared type does not hold exactly: it would be rounded.",
    "no_match": "The record has no match in a reference, under on_missing: quarantine.",
}
_OF_FILES_AND_LINES = {
    "ragged_line": "A line of CSV has more or fewer fields than the header.",
    "bad_quote": "A quoted field of CSV does not end where it should.",
    "empty_file": "File: there is nothing in it.",
    "duplicate": "File: its bytes are published already, under duplicates: quarantine.",
    "unreadable": "File: its compression is damaged or cut short, or it is not Parquet.",
    "bomb": "File: it has more than 64 MiB, and more than 250 bytes of content for each of its bytes on disk.",
    "too_large": "File: what is compressed in it has no room on the disk, or a piece of it none in memory.",
    "bad_header": "File: the header of the CSV does not name each column once.",
    "too_many_members": "File: an archive of more than 100,000 members, or with a list of them of more than 16 MiB.",
    "unknown_format": "File: an archive without a member that input.patterns takes.",
    "nested_archive": "Member of an archive: it is an archive itself.",
    "encrypted": "Member of an archive: it needs a password.",
    "unknown_compression": "Member of a zip: it is compressed, and not by Deflate.",
    "bad_member": "Member of an archive: a link, a device or a sparse file; or one with a name that is there twice, "
    "leads out of the archive, or is not UTF-8.",
    "stray_bytes": "An archive has bytes, other than zeros, that are of none of its members. They are not read.",
    "pointer_not_found": "There is nothing at input.records_at in a document.",
}
# The list is stable: a code keeps its meaning, new ones may come. docs/data.md is made from it.
CODES = _OF_SYNTAX | _OF_VALUES | _OF_FILES_AND_LINES
OF_VALUES = frozenset(_OF_VALUES)
# A file with one of these is not read: it may have terabytes of nothing.
OF_SIZE = frozenset({"bomb", "too_large"})
MAX_MESSAGE_CHARACTERS = 500


class UnreadableError(ValueError):
    """No record of a file can be read, whatever comes before the place of the fault."""

    def __init__(self, code: str, message: str) -> None:
        """Keep the code, and the message without its long middle."""
        super().__init__(shortened(message))
        self.code = code


def steps(pointer: str) -> list[str]:
    """Return the keys and indexes that a JSON pointer (RFC 6901) has."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def shortened(message: str) -> str:
    """Return a message without the middle of what it quotes, where that is long."""
    half = MAX_MESSAGE_CHARACTERS // 2
    return message if len(message) <= MAX_MESSAGE_CHARACTERS else f"{message[:half]} … {message[-half:]}"
