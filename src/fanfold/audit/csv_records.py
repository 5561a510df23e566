"""The records of a CSV file, by RFC 4180, in a dialect. Tables are written in a dialect, too."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from fanfold.audit.findings import refuse
from fanfold.audit.originals import BAD, Found, Text
from fanfold.manifest import BadRecord

Line = list[str | None]
LINE_ENDS, NOTHING = re.compile(r"(?:\r?\n)*"), re.compile("")
# With these codes, what a line has is not known.
OF_SIZE = {"record_too_large", "truncated", "too_many_fields"}


class Csv:
    """A dialect of CSV."""

    def __init__(self, delimiter: str, quote: str, nulls: Iterable[str]) -> None:
        """Begin; `nulls` are what stands for null where it is not in quotes."""
        d, q, plain = re.escape(delimiter), re.escape(quote) or r"(?!)", re.escape(delimiter + quote)
        self._quote, self._nulls, self._delimiter = quote, {*nulls}, delimiter
        text = rf"(?:[^{re.escape(quote)}]++|{q}{q})*+" if quote else ""
        cell = rf"(?:{q}{text}{q}|(?:[^{plain}\r\n]++|\r(?!\n))*+)"
        self._line = re.compile(rf"({cell}(?:{d}{cell})*+)(?:\r?\n|\Z)")
        self._cells = re.compile(rf"(?:^|{d})(?:({q})({text}){q}|([^{plain}]*+))")

    def cells(self, line: str, *, is_header: bool = False) -> Line:
        """Return the cells of a line. What means null as a value is a name in the header, an empty one too."""
        nulls = set[str]() if is_header else self._nulls
        if not self._quote or self._quote not in line:
            return [None if cell in nulls else cell for cell in line.split(self._delimiter)]
        found, twice = self._cells.findall(line), self._quote * 2
        return [
            text.replace(twice, self._quote) if quote else None if plain in nulls else plain
            for quote, text, plain in found
        ]

    def lines(
        self, text: Text, blanks: re.Pattern[str], *, has_header: bool
    ) -> Iterator[tuple[BadRecord | None, Line]]:
        """Yield the cells of each line: null where nothing stands; none of a line that is bad."""
        while char := text.char(blanks):
            if char == BAD:
                bad, line = text.bad_record(self._line.fullmatch)
                yield bad, self.cells(line[1]) if line else []
                continue
            while not (line := self._line.match(text.text, text.at)) or not line[0].endswith("\n"):
                if not text.more():
                    break
            if not line:
                refuse(text.text[text.at :])
            text.at = line.end()
            cells = self.cells(line[1], is_header=has_header)
            if has_header and len({*cells}) < len(cells):
                refuse(line[1], "a header with each name once")
            yield None, cells
            has_header = False


def of_lines(lines: Iterator[tuple[BadRecord | None, Line]], *, has_header: bool) -> Iterator[Found]:
    """Yield a record for each line, by the names in the first one, or as many as the first that can be read has."""
    held, names = list[tuple[BadRecord | None, Line]](), Line()
    for bad, cells in lines:
        held.append((bad, cells))
        if has_header or (cells and (not bad or bad.code not in OF_SIZE)):
            names = cells if has_header else [f"column_{number}" for number, _ in enumerate(cells, start=1)]
            break
    yield None, dict.fromkeys(names)
    for bad, cells in chain(held[has_header:], lines):
        yield bad, dict(zip(names, cells, strict=True)) if len(cells) == len(names) else None
