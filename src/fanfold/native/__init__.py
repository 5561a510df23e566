"""The thin Python face of the core in C, which reads and writes bytes: whole windows in, whole buffers out.

fanfold.h says what is judged how, what a schema looks like, and where reading goes on behind a bad record; rows.h what
merged records look like. The core knows no file, no spec and no policy. A handle serves one thread at a time; calls
release the GIL.
"""

import ctypes
import enum
import operator
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from fanfold.faults import quoted, steps
from fanfold.native import forms, library
from fanfold.native.fields import Field as Field
from fanfold.native.fields import Seen as Seen
from fanfold.native.fields import schema, type_of
from fanfold.native.forms import Csv as Csv
from fanfold.native.forms import Dialect as Dialect
from fanfold.native.forms import Excluded as Excluded
from fanfold.native.forms import Form as Form
from fanfold.native.library import Bytes, Column, Level, Options, Wanted, checked, core, opened, run, unpacked
from fanfold.native.library import codes as codes
from fanfold.native.tables import Joined as Joined
from fanfold.native.tables import Table as Table
from fanfold.native.tables import joined

# The core tells no more of what was found.
MAX_FOUND_BYTES = 20
# Of these, the quotes that were found are part of what is wrong.
OF_QUOTES = {"bad_quote", "bad_header"}


class Others(enum.IntEnum):
    """What to do with fields that the schema does not have. FREEZE makes a reference row of the other fields."""

    LEARN = 1
    RESCUE = 2
    REFUSE = 3
    LEAVE = 4
    FREEZE = 5


class Beside(NamedTuple):
    """What merged records hold beside their own fields: the matches of joins, and other fields that were kept."""

    joins: Sequence[Joined] = ()
    rescued: bool = False


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
            found = f"{self.size:,} bytes"
        elif self.code == "ragged_line":
            found = self.found.decode()
        elif self.found and self.code in OF_QUOTES:
            found = quoted(self.found.decode("utf-8", "backslashreplace"))
        elif self.found:
            text = self.found.decode("utf-8", "backslashreplace") + ("…" if self._is_cut else "")
            # A text of JSON has its own quotes.
            if is_text := text.startswith('"') and text.isprintable() and text != '"':
                text = text.removesuffix('"') + '"'
            found = text if is_text else quoted(text)
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
    """The result for some of the records: the merged ones, and what is wrong with the others."""

    merged: bytes
    wrong: list[Wrong]


class Counts(NamedTuple):
    """What there is in a file: records, the bad ones among them, and bytes.

    `nodes` is how many nodes of fields the reader knows by now, declared or learnt, of this file and those before.
    `unmatched` are its good records that lack a row in one joined table at least.
    """

    records: int
    bad: int
    bytes: int
    nodes: int
    unmatched: int


_NUMBERS = operator.attrgetter(*Counts._fields)


class Reader:
    """Reads the records of one file after the other."""

    def __init__(
        self,
        record: Field | None = None,
        others: Others = Others.LEARN,
        form: Form = Form(),  # noqa: B008 - it never changes
        *,
        joins: Sequence[Joined] = (),
        excluded: Sequence[Excluded] = (),
    ) -> None:
        """Begin.

        Args:
            record: what is declared; it may be None where the fields are learnt.
            others: what becomes of other fields.
            form: how the files are written.
            joins: the tables that records are joined to.
            excluded: what no good record has.

        Raises:
            ValueError: what is asked for does not fit the schema.
        """
        declared, way = schema(record) if record is not None else b"", forms.packed(steps(form.records_at))
        tables, unwanted, marked = joined(joins), forms.excluded(excluded), forms.marked(form)
        delimiter, quote, named, header = form.dialect
        nulls = forms.packed(named)
        frozen, others = others is Others.FREEZE, Others.LEAVE if others is Others.FREEZE else others
        self._kept = (declared, way, joins, tables, unwanted, marked, nulls)
        options = Options(
            *(Bytes.of(declared), Bytes.of(way), form.max_record_bytes, form.max_fields, Bytes.of(nulls), form.csv),
            *(ord(delimiter), ord(quote or "\0"), not header, others, frozen),
            *(ctypes.addressof(tables[0]), len(joins), ctypes.addressof(unwanted[0]), len(excluded)),
            *(ctypes.addressof(marked[0]), len(marked[1]), bool(form.around), form.looks),
        )
        self.handle = opened(core().fanfold_reader_open(ctypes.byref(options)))
        weakref.finalize(self, core().fanfold_reader_close, self.handle)
        self._leader: Reader | None = None
        if form.around and not form.looks:
            self._leader = Reader(record, others, form._replace(looks=True), excluded=excluded)

    def read(
        self,
        name: bytes,
        windows: Iterable[bytes],
        given: Mapping[str, str | None] = {},
        ahead: Iterable[bytes] = (),
    ) -> Iterator[Piece]:
        """Yield what comes of a file, which is to be read to its end.

        Args:
            name: what merged records say of where they are from.
            windows: its bytes, in windows of any size; what comes of them does not depend on it.
            given: fields that each record has before its own; with another value of its own it is bad (name_conflict).
            ahead: the same once more, where records take fields that stand around them: they may stand behind them.

        Where the file before it was not read to its end, what is left of it is dropped; the fields of its records stay.
        """
        for one in (self, self._leader) if self._leader else (self,):
            one._begin(name, given)  # noqa: SLF001 - both read the same file
        merged, faults = Bytes(), Bytes()
        windows = self._led(self._leader.handle, windows, ahead) if self._leader else windows
        for _ in run("reader", self.handle, windows, merged, faults):
            if merged.size or faults.size:
                yield Piece(merged.copy(), _wrong(faults.copy()))

    def _begin(self, name: bytes, given: Mapping[str, str | None]) -> None:
        checked(core().fanfold_reader_begin(self.handle, name, len(name)))
        if given:
            fields = [(key.encode(), None if value is None else value.encode()) for key, value in given.items()]
            made = (library.Given(Bytes.of(key), Bytes() if text is None else Bytes.of(text)) for key, text in fields)
            checked(core().fanfold_reader_give(self.handle, (library.Given * len(fields))(*made), len(fields)))

    def _led(self, leader: int, windows: Iterable[bytes], ahead: Iterable[bytes]) -> Iterator[bytes]:
        """Yield windows, each when the envelopes of all documents that begin in it are known."""
        found, fed = Bytes(), 0
        steps = run("reader", leader, ahead, found, Bytes())
        for window in windows:
            fed += len(window)
            while core().fanfold_reader_counts(leader).settled < fed and next(steps, ...) is None:
                checked(core().fanfold_reader_envelopes(self.handle, found.data, found.size))
            yield window

    @property
    def learnt(self) -> bytes:
        """What was learnt of all files so far, as `Seen.parse` takes it."""
        learnt = Bytes()
        checked(core().fanfold_reader_learnt(self.handle, ctypes.byref(learnt)))
        return learnt.copy()

    @property
    def seen(self) -> Seen:
        """What was learnt of all files so far."""
        return Seen.parse(self.learnt)

    @property
    def counts(self) -> Counts:
        """The counts of the file that was read last."""
        found = core().fanfold_reader_counts(self.handle)
        return Counts(*_NUMBERS(found))


def _wrong(faults: bytes) -> list[Wrong]:
    names = codes()
    return [
        Wrong._make((names[code - 1], *place, way.decode("utf-8", "surrogateescape"), found, expected.decode(), raw))
        for (code, *place), (way, found, expected, raw) in unpacked(faults, numbers=7, texts=4)
    ]


class Rows:
    """Writes merged records as the rows of a CSV, without a header."""

    SLOT, FILE, NUMBER, ITEM, JOIN, RESCUED = range(6)

    def __init__(
        self,
        record: Field,
        columns: Sequence[tuple[int, int, int]],
        chain: Sequence[tuple[int, bool]] = ((0, False),),
        *,
        beside: Beside = Beside(),  # noqa: B008 - it never changes
        form: Csv | Sequence[tuple[str, str]] = Csv(),  # noqa: B008 - it never changes
    ) -> None:
        """Begin.

        Args:
            record: the schema that the records were read with.
            columns: kind, scope (or join) and slot of each column, in their order.
            chain: the scopes from the record down, and whether the values of each stand elsewhere. Each element of the
                last one has a row; one of another has a row where it has none inside of it, and its values stand here.
            beside: what the records were read with beside their schema.
            form: how rows are written; or name and type of each column, where they are for a Stream.

        Raises:
            ValueError: what is asked for does not fit the schema.
        """
        csv, arrow = (form, None) if isinstance(form, Csv) else (Csv(), form)
        declared, tables = schema(record), joined(beside.joins)
        scopes = (Level * len(chain))(*(Level(*one) for one in chain))
        named = [(name.encode(), type_of(kind)) for name, kind in arrow or [("", "VARCHAR")] * len(columns)]
        made = [Column(*place, Bytes.of(name), *kind) for place, (name, kind) in zip(columns, named, strict=True)]
        listed = (Column * len(columns))(*made)
        null = csv.null.encode()
        wanted = Wanted(
            *(Bytes.of(declared), beside.rescued, arrow is not None),
            *(ord(csv.delimiter), csv.escape_formulas, Bytes.of(null)),
            *(ctypes.addressof(tables[0]), len(beside.joins)),
            *(ctypes.addressof(scopes), len(chain), ctypes.addressof(listed), len(columns)),
        )
        self._kept = (beside, null)
        self.handle = opened(core().fanfold_rows_open(ctypes.byref(wanted)))
        weakref.finalize(self, core().fanfold_rows_close, self.handle)

    def write(self, windows: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the rows of merged records, in pieces of 1 MiB or so; once.

        Raises:
            ValueError: the records are damaged, or not whole.
        """
        csv = Bytes()
        for _ in run("rows", self.handle, windows, csv):
            if csv.size:
                yield csv.copy()

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(core().fanfold_rows_count(self.handle))
