"""The thin Python face of the core in C, which reads and writes bytes: whole windows in, whole buffers out.

fanfold.h says what is judged how, what a schema and merged records look like, and where reading goes on behind a bad
record. The core knows no file, no spec and no policy. A handle serves one thread at a time; calls release the GIL.
"""

import ctypes
import enum
import functools
import struct
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fanfold.native import library
from fanfold.native.fields import Field, Seen, schema
from fanfold.native.library import FULL, Bytes, Column, Options, checked, core, opened
from fanfold.native.tables import Duplicate, Joined, Table, joined

__all__ = [
    "Counts",
    "Duplicate",
    "Excluded",
    "Field",
    "Form",
    "Joined",
    "Others",
    "Piece",
    "Reader",
    "Rows",
    "Seen",
    "Table",
    "Wrong",
]

_FAULT = struct.Struct("<11Q")
# The core tells no more of what was found.
MAX_FOUND_BYTES = 20


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
            text = self.found.decode("utf-8", "backslashreplace") + ("…" if self._is_cut else "")
            # A text of JSON has its own quotes.
            if is_text := text.startswith('"') and text.isprintable() and text != '"':
                text = text.removesuffix('"') + '"'
            found = text if is_text else repr(text)
        else:
            found = "the end" if self.code == "truncated" else "nothing"
        return f"found {found}, expected {self.expected}"

    @property
    def _is_cut(self) -> bool:
        """Whether what was found is only the beginning of a longer text or word."""
        if self.found.startswith(b'"'):
            return len(self.found) > 1 and not self.found.endswith(b'"')
        end = self.offset - self.record_offset + len(self.found)
        return len(self.found) >= MAX_FOUND_BYTES and self.raw[end : end + 1] not in b' \t\r\n,:[]{}"'


class Piece(NamedTuple):
    """What came of some of the records: those that are merged, and what is wrong with others."""

    merged: bytes
    wrong: list[Wrong]


class Counts(NamedTuple):
    """What there is in a file: records, the bad ones among them, and bytes.

    `unmatched` are its good records that lack a row in a joined table, be it one or several. `nodes` is how many nodes
    of fields the reader knows by now, declared or learnt, of this file and those before.
    """

    records: int
    bad: int
    bytes: int
    nodes: int
    unmatched: int


class Form(NamedTuple):
    """How files are written, and what a record may have.

    `csv` says that they are CSV, else they are JSON. `records_at` is an RFC 6901 pointer to the array of records in
    each document. A record of more bytes, or one that brings more fields, is bad.
    """

    csv: bool = False
    records_at: str = ""
    max_record_bytes: int = 1 << 24
    max_fields: int = 10_000


class Excluded(NamedTuple):
    """A form that no good record has: a record that has it is bad by `code`.

    It is the field at `path`, whatever its value; or there a value of one of `kinds` (`object`, `array`, `scalar`; null
    is of no kind); or, with `inside`, an element of such a kind in the array there. The path leads through arrays.
    """

    path: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    inside: bool = False
    code: str = "case_conflict"


_KINDS = {"object": 1, "array": 2, "scalar": 4}


def _excluded(forms: Sequence[Excluded]) -> tuple[ctypes.Array[library.Excluded], list[bytes]]:
    """Return the forms, and the paths that they point to."""
    made = (library.Excluded * len(forms))()
    paths = [b"".join(struct.pack("<I", len(step)) + step for step in map(str.encode, form.path)) for form in forms]
    for place, path, (_, kinds, inside, code) in zip(made, paths, forms, strict=True):
        place.path, place.inside, place.code = _bytes(path), inside, codes().index(code) + 1
        place.kinds = sum({_KINDS[kind] for kind in kinds})
    return made, paths


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
        frozen: bool = False,
        excluded: Sequence[Excluded] = (),
    ) -> None:
        """Begin.

        Args:
            record: what is declared; it may be None where the fields are learnt.
            others: what becomes of other fields.
            form: how the files are written.
            joins: the tables that records are joined to.
            frozen: whether each record becomes a row of a frozen reference, which is then what is `merged`.
            excluded: what no good record has.

        Raises:
            ValueError: what is asked for does not fit the schema.
        """
        declared, way = schema(record) if record is not None else b"", form.records_at.encode()
        self._kept = (declared, way, joins, joined(joins), _excluded(excluded))
        options = Options(
            _bytes(declared),
            _bytes(way),
            form.max_record_bytes,
            form.max_fields,
            form.csv,
            others,
            frozen,
            self._kept[3],
            len(joins),
            self._kept[4][0],
            len(excluded),
        )
        self.handle = opened(core().fanfold_reader_open(ctypes.byref(options)))
        weakref.finalize(self, core().fanfold_reader_close, self.handle)

    def read(self, name: bytes, windows: Iterable[bytes]) -> Iterator[Piece]:
        """Yield what comes of a file, which is to be read to its end.

        Args:
            name: what merged records say of where they are from.
            windows: its bytes, in windows of any size; what comes of them does not depend on it.

        Where the file before it was not read to its end, what is left of it is dropped; what its records brought so far
        stays (fields, counts of matches).
        """
        handle, calls, left = self.handle, core(), iter(windows)
        checked(calls.fanfold_reader_begin(handle, name, len(name)))
        window: bytes | None = next(left, b"")
        while window is not None:
            following = next(left, None)
            checked(calls.fanfold_reader_feed(handle, window, len(window), following is None))
            answer = FULL
            while answer == FULL:
                answer = checked(calls.fanfold_reader_next(handle))
                merged, faults = calls.fanfold_reader_merged(handle).copy(), calls.fanfold_reader_faults(handle)
                if merged or faults.size:
                    yield Piece(merged, _wrong(faults.copy()))
            window = following

    @property
    def learnt(self) -> bytes:
        """What was learnt of all files so far, as `Seen.parse` takes it."""
        learnt: bytes = core().fanfold_reader_learnt(self.handle).copy()
        if not learnt:
            raise MemoryError
        return learnt

    @property
    def seen(self) -> Seen:
        """What was learnt of all files so far."""
        return Seen.parse(self.learnt)

    @property
    def counts(self) -> Counts:
        """What there was in the file that was read last."""
        counts = core().fanfold_reader_counts(self.handle)
        return Counts(counts.records, counts.bad, counts.bytes, counts.nodes, counts.unmatched)

    def unmatched(self, join: int) -> int:
        """Return how many records, of all files, have no match in a table."""
        return int(core().fanfold_reader_unmatched(self.handle, join))


@functools.cache
def codes() -> list[str]:
    """Return the codes of what can be wrong, in the order of their numbers, which begin with 1."""
    named: bytes = core().fanfold_codes()
    return named.decode().split()


def _wrong(faults: bytes) -> list[Wrong]:
    at, names, found = 0, codes(), []
    while at < len(faults):
        code, *place, pointer, word, expected, raw = _FAULT.unpack_from(faults, at)
        at += _FAULT.size
        way = faults[at : (at := at + pointer)].decode("utf-8", "surrogateescape")
        seen = faults[at : (at := at + word)]
        wanted = faults[at : (at := at + expected)].decode()
        found.append(Wrong._make((names[code - 1], *place, way, seen, wanted, faults[at : (at := at + raw)])))
    return found


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
        self._kept = (schema(record), joins, joined(joins))
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
