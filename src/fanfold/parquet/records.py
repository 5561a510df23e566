"""Parquet files as input: a line of JSON for each row, and what the schema says of the records."""

import contextlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import cramjam

from fanfold.faults import UnreadableError
from fanfold.native import Seen
from fanfold.parquet.pages import Entry, ParquetFile
from fanfold.parquet.schema import OPTIONAL, REPEATED, Node
from fanfold.parquet.values import quote, refuse

WINDOW_BYTES = 1024 * 1024
# The most that the elements of a list are together, with what each of them takes.
MAX_LIST_BYTES, ELEMENT_BYTES = 64 * 1024 * 1024, 64
END = -1
NO_ENTRY = (END, END, "")
# Reads a value, given the repetition level that its first entry has to have.
Read = Callable[[int], str]
# What the numbers of a footer or a page that is damaged lead to.
DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error, cramjam.DecompressionError)


def fields(path: Path) -> Seen:
    """Return what a file says of its records (see `columns`); no record is read.

    Raises:
        UnreadableError: no record can be read (`unreadable`, `case_conflict`, `too_large`, `too_deep`), or none of
            its records could be one of a run (`too_many_fields`, `key_too_long`).
        OSError: the file cannot be read.
    """
    with path.open("rb") as file, _damage():
        return ParquetFile(file).seen


def windows(path: Path) -> Iterator[bytes]:
    """Yield the records of a file as JSON, one a line, in windows of about 1 MiB; null is written as null.

    The records are in the order of the file, and their fields too. Each value is exact: see `values`. A text that is
    not UTF-8 is written as it is, and a map that has a key twice has it twice: these records are bad, and cost no
    others. In memory is a page of each column, and a row.

    Raises:
        UnreadableError: as `fields` does, `bomb`, or `too_large` where the pages or a list have no room in memory; also
            behind the first records, which then do not count.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file, _damage():
        read, window = ParquetFile(file), bytearray()
        for rows, entries in read.groups():
            for line in _lines(read.root, rows, iter(entries)):
                window += line
                if len(window) >= WINDOW_BYTES:
                    yield bytes(window)
                    window.clear()
        if window:
            yield bytes(window)


def _lines(root: Node, rows: int, entries: Iterator[Iterator[Entry]]) -> Iterator[bytes]:
    """Yield the rows of a group as lines of JSON."""
    read, columns = _value(root, entries)
    for _ in range(rows):
        yield (read(0) + "\n").encode("utf-8", "surrogateescape")
    if any(column.repetition != END for column in columns):
        refuse(f"found more rows in the pages of a group than {rows}, as the footer says")


class _Column:
    """The entries of a column, the next of which is at hand: its levels and its text."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries
        self.repetition, self.level, self._text = next(entries, NO_ENTRY)

    def take(self, repetition: int, least: int, most: int) -> str:
        """Take the entry. Its levels must be the ones that are given: columns beside each other have to agree."""
        if self.repetition != repetition or not least <= self.level <= most:
            refuse("found a column with more or fewer values than its rows, or than the columns beside it")
        text = self._text
        self.repetition, self.level, self._text = next(self._entries, NO_ENTRY)
        return text


def _field(node: Node, entries: Iterator[Iterator[Entry]]) -> tuple[Read, list[_Column]]:
    """Return what reads a field, and the columns in it that have to agree with each other."""
    (repetition, level), (read, columns) = node.levels, _value(node, entries)
    if node.repetition == 0 or not (node.inside or node.repetition == REPEATED):
        return read, columns
    left, right = "{}" if node.form == "entry" else "[]"

    def several(at: int) -> str:
        items, size = [read(at)], 0
        while columns[0].repetition == repetition:
            items.append(read(repetition))
            size += len(items[-1]) + ELEMENT_BYTES
            if size > MAX_LIST_BYTES:
                refuse(f"found a list of more than {MAX_LIST_BYTES} bytes in memory, expected less", "too_large")
        return f"{left}{','.join(items)}{right}"

    read_some, nothing = (several, left + right) if node.repetition == REPEATED else (read, "null")

    def some(at: int) -> str:
        if columns[0].level >= level:
            return read_some(at)
        for column in columns:
            column.take(at, level - 1, level - 1)
        return nothing

    return some, columns


def _value(node: Node, entries: Iterator[Iterator[Entry]]) -> tuple[Read, list[_Column]]:
    """Return what reads a value of a field that is there, and the columns in it."""
    if not node.inside:
        found, (_, level) = next(entries), node.levels
        if node.levels == (0, node.repetition):
            # It has one entry for each record: they were counted.
            return (lambda _at: next(found)[2]), []
        column, least = _Column(found), level - (node.repetition == OPTIONAL)
        return (lambda at: column.take(at, least, level)), [column]
    fields = [_field(one, entries) for one in node.inside]
    reads, columns = [read for read, _ in fields], [column for _, those in fields for column in those]
    match node.form:
        case "object":
            line = ",".join(quote(one.name).replace("%", "%%") + ":%s" for one in node.inside)
            return (lambda at: f"{{{line}}}" % tuple([read(at) for read in reads])), columns
        case "entry":
            key, *values = reads
            return (lambda at: f"{_key(key(at))}:{values[0](at) if values else 'null'}"), columns
    return reads[0], columns


def _key(text: str) -> str:
    if text == "null":
        refuse("found a map with a key that is null")
    return text if text.startswith('"') else quote(text)


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """Turn what the bytes of a damaged file lead to into what it is."""
    try:
        yield
    except UnreadableError:
        raise
    except DAMAGE as error:
        refuse(f"found a footer or a page that is damaged, or cut short ({type(error).__name__}: {error})")
