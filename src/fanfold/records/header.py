"""The header of a CSV file, and the dialect that it is read by."""

from collections.abc import Iterator

from fanfold.faults import UnreadableError, shortened
from fanfold.native import Dialect, Form, Reader
from fanfold.records.content import windows
from fanfold.spec.model import Input
from fanfold.spec.texts import CsvInput

DELIMITERS = ";\t|,"


def dialect_of(settings: CsvInput) -> Dialect:
    """Return how CSV is written, as the core takes it."""
    return Dialect(settings.delimiter, settings.quote, tuple(settings.nulls), settings.header)


def other_delimiter(header: str, delimiter: str) -> str:
    """Say that a header is one column that holds what often is a delimiter; nothing where it is not."""
    other = next((one for one in DELIMITERS if one in header and delimiter not in header), None)
    return f"its header {shortened(header)!r} is one column: is {other!r} its input.csv.delimiter?" if other else ""


def _head(path: str, settings: Input) -> Iterator[bytes]:
    """Yield a file up to its first window that has a line break outside of quotes, behind something."""
    quotes, begun, quote = 0, False, settings.csv.quote.encode()
    for window in windows(path, len, settings.encoding):
        yield window
        for line in window.splitlines(keepends=True):
            quotes += line.count(quote) if quote else 0
            begun = begun or bool(line.strip(b"\xef\xbb\xbf\r\n"))
            if begun and line.endswith(b"\n") and quotes % 2 == 0:
                return


def fields_of_csv(path: str, settings: Input) -> list[str]:
    """Return the names in the header of a CSV file; where it has none, those of its columns.

    Raises:
        UnreadableError: it has no header.
    """
    reader = Reader(form=Form(csv=True, dialect=dialect_of(settings.csv)))
    wrong = [one for piece in reader.read(b"", _head(path, settings)) for one in piece.wrong if not one.record]
    if wrong:
        raise UnreadableError(wrong[0].code, wrong[0].message)
    return list(reader.seen.fields)
