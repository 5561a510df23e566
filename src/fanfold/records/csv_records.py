"""The records of a CSV file (RFC 4180), good and bad: every value is text as written."""

import re
from collections.abc import Collection, Iterator

from fanfold.records.diagnose import token
from fanfold.records.faults import Fault, UnreadableError
from fanfold.records.json_records import Found
from fanfold.records.limits import MAX_FIELDS, check_columns
from fanfold.records.window import Window

# Possessive: to be able to go back would take 100 bytes of memory for each character of a field.
FIELD = re.compile(r'"((?:[^"]++|"")*+)"|((?:[^",\r\n]|\r(?!\n))++)?')
LINE_END = re.compile(r"\r?\n")
ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


class CsvRecords:
    """The lines of a CSV file after its header, as objects of texts; a field without anything is null, `""` is not.

    Blank lines are passed over. Where a line is no CSV, reading goes on with the next line.
    """

    def __init__(self, window: Window, max_record_bytes: int, alike: Collection[str] | None = ()) -> None:
        """Read the header.

        Args:
            window: the file.
            max_record_bytes: of a line.
            alike: names that may be there in another letter case too; None where any may.

        Raises:
            UnreadableError: there is none, or it does not give each column a name of its own.
        """
        self._window = window
        self._cap = max_record_bytes
        if not window.skip("\r\n"):
            if window.damage:
                raise window.damage
            raise UnreadableError("empty_file", "found nothing, expected a header line")
        header = self._line(MAX_FIELDS)
        names = [name or "" for name in header[0]]
        check_columns(len(names), max(map(len, names), default=0), more=" or more")
        window.advance(header[1])
        known = set() if alike is None else {*names} - {*alike}
        letters = [name.lower() if name in known else name for name in names]
        if header[2] or not all(names) or len(set(letters)) < len(names):
            message = f"found the header {names!r}, expected a name for each column, once"
            raise UnreadableError("bad_header", f"{message} (also without letter case, but for input.fields)")
        if ESCAPED_BYTE.search("".join(names)):
            raise UnreadableError("bad_utf8", f"found the header {names!r}, expected UTF-8")
        self.names = names

    def __iter__(self) -> Iterator[Found]:
        """Yield the lines in their order.

        Raises:
            UnreadableError: the compression is damaged.
        """
        window = self._window
        while window.skip("\r\n"):
            values, end, fault = self._line()
            raw, place = window.text[window.position : end], window.place
            window.advance(end)
            if fault is None and window.offset - place[1] > self._cap:
                size = window.offset - place[1]
                fault = Fault("record_too_large", 0, "", f"found {size} bytes, expected at most {self._cap}")
            if fault is None and len(values) != len(self.names):
                message = f"found {len(values)} fields, expected {len(self.names)}, as in the header"
                fault = Fault("ragged_line", 0, "", message)
            if fault is None and not raw.isascii() and (byte := ESCAPED_BYTE.search(raw)):
                fault = self._bad_byte(byte, values)
            yield Found(raw, place, None if fault else dict(zip(self.names, values, strict=True)), fault)
        if window.damage:
            yield Found("", window.place, None, window.damage_fault())

    def _bad_byte(self, byte: re.Match[str], values: list[str | None]) -> Fault:
        name = next(
            (n for n, value in zip(self.names, values, strict=True) if value and ESCAPED_BYTE.search(value)), ""
        )
        message = f"found the byte 0x{ord(byte[0]) - 0xDC00:02x}, expected UTF-8"
        return Fault("bad_utf8", byte.start(), token(name), message)

    def _line(self, most: int | None = None) -> tuple[list[str | None], int, Fault | None]:
        """Return the fields of the line that begins here, where it ends, and what is wrong with it; move nowhere.

        No more are read when there are more than `most`.
        """
        window = self._window
        values: list[str | None] = []
        at = window.position
        while True:
            field = FIELD.match(window.text, at)
            end = field.end() if field else at
            following = window.text[end : end + 1]
            if (not following or (following == "\r" and end + 1 == len(window.text))) and not window.complete:
                # The field, or its line end, may go on behind the window.
                if window.size > self._cap:
                    return values, *self._broken("record_too_large", at, len(values))
                ahead = at - window.position
                window.fill()
                at = window.position + ahead
                continue
            if field is None or following not in {",", "\r", "\n", ""} or (following == '"' and end == at):
                if window.text[at : at + 1] == '"' and window.size <= self._cap and window.fill():
                    at = window.position
                    values = []
                    continue
                return values, *self._broken("bad_quote", at, len(values))
            values.append(field[2] if field[1] is None else field[1].replace('""', '"'))
            if following != "," or (most is not None and len(values) > most):
                return values, end, None
            at = end + 1

    def _broken(self, code: str, at: int, index: int) -> tuple[int, Fault]:
        """Return the end of the line that begins here, for want of a better one, and its fault."""
        window = self._window
        ahead, is_quoted = at - window.position, window.text[at : at + 1] == '"'
        newline = LINE_END.search(window.text, window.position)
        while newline is None and window.size <= self._cap and window.fill():
            newline = LINE_END.search(window.text, window.position)
        end = newline.start() if newline else len(window.text)
        names = getattr(self, "names", [])
        pointer = token(names[index]) if index < len(names) else ""
        message = "found a quoted field that does not end where it should, expected '\"' before ',' or the line's end"
        if not is_quoted:
            message = "found a quote in a field that does not begin with one, expected quotes around the whole field"
        if code == "record_too_large":
            message = f"found more than {self._cap} bytes in a line (input.max_record_bytes)"
        elif not newline or end >= len(window.text):
            code = "truncated"
        return end, Fault(code, min(ahead, end - window.position), pointer, message)
