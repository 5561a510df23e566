"""The thin Python face of the core in C, which reads and writes bytes: whole windows in, whole buffers out.

fanfold.h says what is judged how, what a schema and merged records look like, and where reading goes on behind a bad
record. The core knows no file, no spec and no policy. A handle serves one thread at a time; calls release the GIL.
"""

import ctypes
import enum
import struct
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fanfold.native.fields import Field, Seen, schema
from fanfold.native.library import FULL, Bytes, Column, Join, Options, checked, core, opened

__all__ = ["Field", "Form", "Joined", "Others", "Piece", "Reader", "Rows", "Seen", "Table", "Wrong"]

_FAULT = struct.Struct("<11Q")
_DUPLICATE = struct.Struct("<3Q")


class Others(enum.IntEnum):
    """What becomes of fields that the schema does not have."""

    LEARN = 1
    RESCUE = 2
    REFUSE = 3
    LEAVE = 4


class Wrong(NamedTuple):
    """What is wrong with a record, or with a file where `record` is 0.

    Lines and records count from 1, offsets from 0. `size` is that of the record in the file; `raw` is its text, or
    empty where it is larger than a record may be.
    """

    code: str
    record: int
    line: int
    offset: int
    record_line: int
    record_offset: int
    size: int
    pointer: str
    found: bytes
    expected: str
    raw: bytes

    @property
    def message(self) -> str:
        """What was found, and what was expected."""
        if self.code == "record_too_large":
            found = f"{self.size} bytes"
        elif self.found:
            found = repr(self.found.decode("utf-8", "backslashreplace"))
        else:
            found = "the end" if self.code == "truncated" else "nothing"
        return f"found {found}, expected {self.expected}"


class Piece(NamedTuple):
    """What came of some of the records: those that are merged, and what is wrong with others."""

    merged: bytes
    wrong: list[Wrong]


class Counts(NamedTuple):
    """Records of a file, the bad ones among them, and its bytes."""

    records: int
    bad: int
    bytes: int


class Table:
    """The rows of a reference, found by the text of their keys: what a reader reads `into`."""

    def __init__(self) -> None:
        """Begin without a row."""
        self.handle = opened(core().fanfold_table_open())
        weakref.finalize(self, core().fanfold_table_close, self.handle)

    def __len__(self) -> int:
        """Return the number of rows, those of a duplicate key included."""
        return int(core().fanfold_table_rows(self.handle))

    @property
    def duplicates(self) -> list[tuple[int, int, int]]:
        """Rows whose key was there before, at most 1,000: the row, its line, and that of the first one."""
        return list(_DUPLICATE.iter_unpack(core().fanfold_table_duplicates(self.handle).copy()))


class Form(NamedTuple):
    """How files are written, and what a record may have.

    `csv` says that they are CSV, else they are JSON. `records_at` is an RFC 6901 pointer to the array of records in
    each document. A record of more bytes, or one that brings more fields, is bad.
    """

    csv: bool = False
    records_at: str = ""
    max_record_bytes: int = 1 << 24
    max_fields: int = 10_000


class Joined(NamedTuple):
    """A table that is joined to the elements of a scope, by the numbers of the values that are its key.

    Where it is `required`, a record without a match is bad.
    """

    table: Table
    scope: int = 0
    parts: tuple[int, ...] = (1,)
    required: bool = False


def _joins(joins: Sequence[Joined]) -> ctypes.Array[Join]:
    made = (Join * len(joins))()
    for place, (table, scope, parts, required) in zip(made, joins, strict=True):
        place.table, place.scope, place.required = table.handle, scope, required
        place.parts, place.part_count = (ctypes.c_uint32 * len(parts))(*parts), len(parts)
    return made


def _bytes(text: bytes) -> Bytes:
    return Bytes(ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p), len(text))


class Reader:
    """Reads the records of one file after the other."""

    def __init__(
        self,
        record: Field | None = None,
        others: Others = Others.LEARN,
        form: Form = Form(),  # noqa: B008 - it never changes
        *,
        joins: Sequence[Joined] = (),
        into: Table | None = None,
    ) -> None:
        """Begin.

        Args:
            record: what is declared; it may be None where the fields are learnt.
            others: what becomes of other fields.
            form: how the files are written.
            joins: the tables that records are joined to.
            into: where records become rows of a table, it.

        Raises:
            ValueError: what is asked for does not fit the schema.
        """
        declared, way = schema(record) if record is not None else b"", form.records_at.encode()
        self._kept = (declared, way, joins, into, _joins(joins))
        options = Options(
            _bytes(declared),
            _bytes(way),
            form.max_record_bytes,
            form.max_fields,
            form.csv,
            others,
            self._kept[4],
            len(joins),
            into.handle if into is not None else None,
        )
        self.handle = opened(core().fanfold_reader_open(ctypes.byref(options)))
        weakref.finalize(self, core().fanfold_reader_close, self.handle)

    def read(self, name: bytes, windows: Iterable[bytes]) -> Iterator[Piece]:
        """Yield what comes of a file, which is to be read to its end.

        Args:
            name: what merged records say of where they are from.
            windows: its bytes, in windows of any size; what comes of them does not depend on it.

        Raises:
            ValueError: the file before it was not read to its end.
        """
        checked(core().fanfold_reader_begin(self.handle, name, len(name)))
        for window in windows:
            checked(core().fanfold_reader_feed(self.handle, window, len(window), 0))
            yield from self._pieces()
        checked(core().fanfold_reader_feed(self.handle, b"", 0, 1))
        yield from self._pieces()

    def _pieces(self) -> Iterator[Piece]:
        answer = FULL
        while answer == FULL:
            answer = checked(core().fanfold_reader_next(self.handle))
            merged = core().fanfold_reader_merged(self.handle).copy()
            faults = core().fanfold_reader_faults(self.handle).copy()
            if merged or faults:
                yield Piece(merged, list(_wrong(faults)))

    @property
    def seen(self) -> Seen:
        """What was learnt of all files so far."""
        learnt = core().fanfold_reader_learnt(self.handle).copy()
        if not learnt:
            raise MemoryError
        return Seen.parse(learnt)

    @property
    def counts(self) -> Counts:
        """What there was in the file that was read last."""
        counts = core().fanfold_reader_counts(self.handle)
        return Counts(counts.records, counts.bad, counts.bytes)

    def unmatched(self, join: int) -> int:
        """Return how many records, of all files, have no match in a table."""
        return int(core().fanfold_reader_unmatched(self.handle, join))


def codes() -> list[str]:
    """Return the codes of what can be wrong, in the order of their numbers, which begin with 1."""
    named: bytes = core().fanfold_codes()
    return named.decode().split()


def _wrong(faults: bytes) -> Iterator[Wrong]:
    at, names = 0, codes()
    while at < len(faults):
        code, *place, pointer, found, expected, raw = _FAULT.unpack_from(faults, at)
        at += _FAULT.size
        texts = []
        for size in (pointer, found, expected, raw):
            texts.append(faults[at : at + size])
            at += size
        way, expectation = texts[0].decode("utf-8", "surrogateescape"), texts[2].decode()
        number, line, offset, record_line, record_offset, total = place
        yield Wrong(
            names[code - 1],
            number,
            line,
            offset,
            record_line,
            record_offset,
            total,
            way,
            texts[1],
            expectation,
            texts[3],
        )


class Rows:
    """Writes merged records as the rows of a CSV, without a header."""

    SLOT, FILE, NUMBER, ITEM, JOIN, RESCUED = range(6)

    def __init__(
        self,
        record: Field,
        columns: Sequence[tuple[int, int, int]],
        chain: Sequence[int] = (0,),
        *,
        joins: Sequence[Joined] = (),
        rescue: bool = False,
    ) -> None:
        """Begin.

        Args:
            record: the schema that the records were read with.
            columns: kind, scope (or join) and slot of each column, in their order.
            chain: the scopes from the record down; each element of the last one has a row.
            joins: those that the records were read with.
            rescue: whether other fields were kept.

        Raises:
            ValueError: what is asked for does not fit the schema.
        """
        self._kept = (schema(record), joins, _joins(joins))
        made = core().fanfold_rows_open(
            _bytes(self._kept[0]),
            rescue,
            self._kept[2],
            len(joins),
            (ctypes.c_uint32 * len(chain))(*chain),
            len(chain),
            (Column * len(columns))(*(Column(*column) for column in columns)),
            len(columns),
        )
        self.handle = opened(made)
        weakref.finalize(self, core().fanfold_rows_close, self.handle)

    def write(self, windows: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the rows of merged records, in pieces of 1 MiB or so; once.

        Raises:
            ValueError: the records are damaged, or not whole.
        """
        for window in windows:
            checked(core().fanfold_rows_feed(self.handle, window, len(window), 0))
            yield from self._pieces()
        checked(core().fanfold_rows_feed(self.handle, b"", 0, 1))
        yield from self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        answer = FULL
        while answer == FULL:
            answer = checked(core().fanfold_rows_next(self.handle))
            if piece := core().fanfold_rows_csv(self.handle).copy():
                yield piece

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(core().fanfold_rows_count(self.handle))
