"""The bytes of a file of Parquet: its footer and its pages, none of whose numbers is believed.

Pages are checked and copied into a plain file, which DuckDB then decodes: it has the same pages, and a schema without
annotations, under names that nothing is wrong with. DuckDB checks no checksum and believes counts; it takes
INT96, long decimals and nanoseconds for something shorter, and gives fields other names.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from fanfold.engine import thrift
from fanfold.engine.parquet_schema import BOMB, FIXED, INT96, REPEATED, TOO_LARGE, Node, leaves, schema, unreadable
from fanfold.engine.thrift import BINARY, INT32, INT64, LIST, STRUCT
from fanfold.faults import UnreadableError

MAGIC, TAIL_BYTES, INT96_BYTES = b"PAR1", 8, 12
MAX_FOOTER_BYTES = 64 * 1024 * 1024
# The header of a page has the smallest and the largest value in it, which may be long.
HEADER_BYTES, MAX_HEADER_BYTES, PIECE_BYTES = 1024, 16 * 1024 * 1024, 1024 * 1024
# A file that says so much of so few bytes would fill disks and days.
BOMB_VALUES, BOMB_RATIO = 64 * 1024 * 1024, 250
# What DuckDB decodes at once.
VECTOR_ROWS = 2048
DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_2 = 0, 2, 3
# Where the header of each kind of page says how many values there are.
COUNTED = {DATA_PAGE: 5, DICTIONARY_PAGE: 7, DATA_PAGE_2: 8}


class Footer(NamedTuple):
    """What the end of a file says: the tree of its schema, its records, and where its groups of rows are described."""

    root: Node
    records: int
    groups: int
    described: thrift.Reader
    end: int


class Stored(NamedTuple):
    """A column of a group of rows in the plain file.

    Attributes:
        values: how many it has, null included.
        begin: where its pages begin.
        end: where they end.
        codec: how they are compressed.
        encodings: how the values in them are written.
        largest: the bytes of a value, in the page where they are most.
    """

    values: int
    begin: int
    end: int
    codec: int
    encodings: frozenset[int]
    largest: int


class Group(NamedTuple):
    """A group of rows in the plain file: its rows, its columns, and its description there."""

    rows: int
    columns: list[Stored]
    written: bytes


def footer(file: BinaryIO) -> Footer:
    """Read the footer of a file.

    Raises:
        UnreadableError: it is not there, is not whole, is too large, or its schema cannot be (see `schema`).
    """
    size = file.seek(0, 2)
    file.seek(max(size - TAIL_BYTES, 0))
    tail = file.read(TAIL_BYTES)
    length = int.from_bytes(tail[:4], "little")
    file.seek(0)
    if size < len(MAGIC) + TAIL_BYTES or tail[4:] != MAGIC or file.read(4) != MAGIC:
        msg = f"found no Parquet: no {MAGIC.decode()} at both ends"
        raise unreadable(msg)
    end = size - TAIL_BYTES - length
    if length > MAX_FOOTER_BYTES and end > 0:
        raise UnreadableError(TOO_LARGE, f"found a footer of {length} bytes, expected at most {MAX_FOOTER_BYTES}")
    if end < len(MAGIC):
        msg = f"found a footer of {length} bytes in a file of {size}"
        raise unreadable(msg)
    file.seek(end)
    return _described(thrift.Reader(file.read(length)), end)


def _described(reader: thrift.Reader, end: int) -> Footer:
    fields: dict[int, Any] = {}
    place, kind = reader.field(0)
    while kind:
        if (place, kind) == (4, LIST) and fields.keys() >= {2, 3}:
            groups, _ = reader.list_head()
            return Footer(schema(fields[2]), fields[3], groups, reader, end)
        fields[place] = reader.value(kind)
        place, kind = reader.field(place)
    msg = "found a footer without groups of rows"
    raise unreadable(msg)


def described_groups(told: Footer) -> Iterator[tuple[int, list[dict[int, Any]]]]:
    """Yield of each group of rows how many there are, and what is said of each of its columns; once.

    Raises:
        UnreadableError: the footer is not whole, or its counts of rows are not one.
    """
    rows, columns = 0, len(list(leaves(told.root)))
    for _ in range(told.groups):
        group = told.described.value(STRUCT)
        rows += group[3]
        if group[3] < 0 or len(group[1]) != columns:
            msg = f"found a group of {group[3]} rows with {len(group[1])} columns, expected {columns}"
            raise unreadable(msg)
        yield group[3], [column[3] for column in group[1]]
    if rows != told.records:
        msg = f"found a footer that says {told.records} rows, expected {rows}, as its groups say"
        raise unreadable(msg)


class Page(NamedTuple):
    """A page: whether it has data and not a dictionary, its values and their encoding, its bytes when decompressed."""

    is_data: bool
    values: int
    encoding: int
    size: int


class Copier:
    """Copies the pages of a file, group by group, each into the plain file that is there at the time."""

    def __init__(self, file: BinaryIO, told: Footer) -> None:
        """Begin; the footer is that of the file."""
        self._file, self._end, self._ways = file, told.end, list(leaves(told.root))
        # Columns do not lie on each other: more bytes than there are would be read for ever.
        self._left, self._values = told.end, max(BOMB_VALUES, BOMB_RATIO * told.end)

    def copy(self, rows: int, columns: list[dict[int, Any]], target: BinaryIO) -> Group:
        """Copy a group of rows, and check its pages.

        Raises:
            UnreadableError: a page has not the checksum that it says, or lies elsewhere; the values of a column are not
                as many as it says; or they are a bomb.
        """
        columns_there, written = [], []
        for way, column in zip(self._ways, columns, strict=True):
            if all(node.repetition != REPEATED for node in way) and column[5] != rows:
                msg = f"found {column[5]} values in {way[-1].name!r}, expected {rows}, one for each row"
                raise unreadable(msg)
            self._values -= column[5]
            if self._values < 0:
                msg = f"found more than {BOMB_VALUES} values, and more than {BOMB_RATIO} for each byte of the file"
                raise UnreadableError(BOMB, msg)
            stored, description = self._column(way, column, target)
            columns_there.append(stored)
            written.append(description)
        group = [
            (1, LIST, thrift.items(STRUCT, written)),
            (2, INT64, thrift.number(0)),
            (3, INT64, thrift.number(rows)),
        ]
        return Group(rows, columns_there, thrift.fields(group))

    def _column(self, way: tuple[Node, ...], column: dict[int, Any], target: BinaryIO) -> tuple[Stored, bytes]:
        """Copy the pages of a column, and return what it is in the plain file, and its description there."""
        name, begin, size, left = way[-1].name, target.tell(), 0, column[5]
        first: dict[bool, int] = {}
        encodings, largest = set(), 0
        # Some programs write a place for a dictionary that is not there.
        self._file.seek(column[11] if 0 < column.get(11, 0) < column[9] else column[9])
        while left > 0:
            place = target.tell()
            page = self._page(name, target)
            first.setdefault(page.is_data, place)
            left, size = left - page.values, size + page.size
            encodings.add(page.encoding)
            # A page, and a dictionary, is held as a whole; and of small pages those of so many rows.
            largest = max(largest, page.size // (min(page.values, VECTOR_ROWS) or VECTOR_ROWS))
        if left or column[1] != way[-1].stored:
            msg = (
                f"found {column[5] - left} values of type {column[1]} in the pages of {name!r}, "
                f"expected {column[5]} of type {way[-1].stored}"
            )
            raise unreadable(msg)
        written = [
            (1, INT32, thrift.number(FIXED if column[1] == INT96 else column[1])),
            (2, LIST, thrift.items(INT32, [thrift.number(0)])),
            (3, LIST, thrift.items(BINARY, [thrift.binary(node.plain.encode()) for node in way])),
            (4, INT32, thrift.number(column[4])),
            (5, INT64, thrift.number(column[5])),
            (6, INT64, thrift.number(size)),
            (7, INT64, thrift.number(target.tell() - begin)),
            (9, INT64, thrift.number(first.get(True, begin))),
        ]
        if False in first:
            written.append((11, INT64, thrift.number(first[False])))
        stored = Stored(column[5], begin, target.tell(), column[4], frozenset(encodings), largest)
        return stored, thrift.fields([(2, INT64, thrift.number(begin)), (3, STRUCT, thrift.fields(written))])

    def _page(self, name: str, target: BinaryIO) -> Page:
        """Copy the page that the file is at, and go to the next one."""
        at = self._file.tell()
        size, header = header_at(self._read, at, name)
        kind, body = header[1], header[3]
        self._left -= size + body
        if body < 0 or not len(MAGIC) <= at <= at + size + body <= self._end or self._left < 0:
            msg = f"found a page of {name!r} at byte {at} that is not in the file alone"
            raise unreadable(msg)
        self._file.seek(at)
        target.write(self._file.read(size))
        checksum, left = 0, body
        while left:
            piece = self._file.read(min(left, PIECE_BYTES))
            checksum, left = zlib.crc32(piece, checksum), left - len(piece)
            target.write(piece)
            if not piece:
                msg = f"found the end in a page of {name!r} at byte {at}"
                raise unreadable(msg)
        if header.get(4, checksum) & 0xFFFFFFFF != checksum:
            msg = f"found a wrong checksum at byte {at}: the page of {name!r} there is damaged"
            raise unreadable(msg)
        values = header[COUNTED[kind]][1]
        if values < 0:
            msg = f"found a page of {name!r} at byte {at} with {values} values"
            raise unreadable(msg)
        is_data = kind != DICTIONARY_PAGE
        encoding = header[COUNTED[kind]][4 if kind == DATA_PAGE_2 else 2]
        return Page(is_data, values if is_data else 0, encoding, size + header[2])

    def _read(self, at: int, size: int) -> bytes:
        self._file.seek(at)
        return self._file.read(size)


def header_at(read: Callable[[int, int], bytes], at: int, name: str) -> tuple[int, dict[int, Any]]:
    """Return size and fields of the header of a page of a column; `read` gives bytes at a place, at most so many."""
    size = HEADER_BYTES
    while size <= MAX_HEADER_BYTES:
        reader = thrift.Reader(read(at, size))
        try:
            header = reader.value(STRUCT)
        except IndexError:
            size *= 16
            continue
        return reader.at, header
    msg = f"found no page of {name!r} at byte {at}"
    raise unreadable(msg)


def begin(target: BinaryIO) -> None:
    """Begin a plain file."""
    target.write(MAGIC)


def finish(target: BinaryIO, root: Node, groups: list[Group]) -> None:
    """Write the footer of a plain file."""
    written = thrift.fields(
        [
            (1, INT32, thrift.number(1)),
            (2, LIST, thrift.items(STRUCT, _elements(root._replace(repetition=0)))),
            (3, INT64, thrift.number(sum(group.rows for group in groups))),
            (4, LIST, thrift.items(STRUCT, [group.written for group in groups])),
        ]
    )
    target.write(written + len(written).to_bytes(4, "little") + MAGIC)
    target.flush()


def _elements(node: Node) -> Iterator[bytes]:
    """Yield the schema of the plain file: what is stored as INT96 is twelve bytes there."""
    is_96 = node.stored == INT96
    stored = [(1, INT32, thrift.number(FIXED if is_96 else node.stored))]
    stored += [(2, INT32, thrift.number(INT96_BYTES if is_96 else node.size))]
    named = [(3, INT32, thrift.number(node.repetition)), (4, BINARY, thrift.binary(node.plain.encode()))]
    inside = [(5, INT32, thrift.number(len(node.inside)))]
    yield thrift.fields([*named, *inside] if node.inside else [*stored, *named])
    for inner in node.inside:
        yield from _elements(inner)
