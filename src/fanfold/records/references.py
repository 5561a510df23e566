"""References: looked through, and frozen for a run before any group starts."""

import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from fanfold import types
from fanfold.errors import DataError, MissingError, nearest
from fanfold.faults import UnreadableError, shortened
from fanfold.layout import Run, input_format
from fanfold.manifest import Column
from fanfold.native import Field, Form, Others, Reader, Seen, Table
from fanfold.records.content import windows
from fanfold.records.read import MAX_FIELDS, fields_of_csv, or_nothing
from fanfold.records.scan import add_told, told_of, with_maps
from fanfold.spec.model import Merge

CONTAINERS = {"object", "array"}
_OPENING = threading.Lock()
_OPEN: weakref.WeakValueDictionary[tuple[str | int, ...], Table] = weakref.WeakValueDictionary()
SHOWN_KEYS = 3
SHOWN_LINES = 10


class Reference:
    """A reference file, as its fields were found: every value of CSV is text, those of JSON and Parquet have types.

    Attributes:
        columns: those that are taken from it, in their order; each path leads to the field in a row.
        node: the fields of a frozen row: the key, then what is taken. Numbers stand there as they are written.
        slots: of each column, the slot of its value in a frozen row.
    """

    def __init__(self, source: Path, merge: Merge, max_record_bytes: int) -> None:
        """Read the file from end to end for its fields.

        Raises:
            MissingError: the key, or one of `columns`, is not there.
            DataError: a record or the whole file cannot be read, two fields have one name, or the key is not a scalar.
            OSError: the file cannot be read.
        """
        self._source, self._merge = source, merge
        self._format = input_format(merge.reference)
        self._form = Form(self._format == "csv", "", max_record_bytes, MAX_FIELDS)
        told = told_of(str(source)) if self._format == "parquet" else None
        known = with_maps(None, told.seen, told.maps) if told and told.maps else None
        reader = Reader(known, Others.LEARN, self._form)
        for _ in self._pieces(reader):
            pass
        seen = reader.seen
        if told is not None:
            add_told(seen, told, merge.reference)
        self._check_names(seen)
        self._check_apart(seen, ())
        self.columns: list[Column] = []
        self.slots: list[int] = []
        self.node = self._row(seen)

    def freeze(self, target: Path) -> int:
        """Write the frozen rows, which `opened` opens; what is there already is replaced.

        Returns:
            The number of rows that a record may find. Under `on_duplicate: first` the first of each key counts.

        Raises:
            DataError: a record cannot be read, or a key stands in several lines, which are named.
            OSError: a file cannot be read or written.
        """
        table = self._freeze(target, self.node)
        return len(table) - table.repeated

    def keys(self) -> Table:
        """Check what `freeze` checks, and return the keys alone: records can be joined to them. No file is left.

        Raises:
            DataError, OSError: as `freeze`.
        """
        with tempfile.NamedTemporaryFile() as file:
            return self._freeze(Path(file.name), self.node._replace(inside=self.node.inside[:1]))

    def _freeze(self, target: Path, row: Field) -> Table:
        with target.open("wb") as file:
            file.writelines(self._pieces(Reader(row, Others.LEAVE, self._form, frozen=True)))
        table = opened(target)
        if table.repeated and self._merge.on_duplicate == "fail":
            raise DataError(self._name_lines(table))
        return table

    def _pieces(self, reader: Reader) -> Iterator[bytes]:
        """Yield what a reader makes of the file, all records of which are to be good."""
        try:
            for piece in reader.read(b"", self._windows()):
                for wrong in piece.wrong[:1]:
                    line = wrong.record if self._format == "parquet" else wrong.line
                    self._refuse(f":{line}" if line else "", wrong.message, wrong.code)
                yield piece.merged
        except UnreadableError as error:
            self._refuse("", str(error), error.code)

    def _windows(self) -> Iterable[bytes]:
        if self._format != "parquet":
            return windows(str(self._source), lambda _: None)
        from fanfold.engine import parquet

        return or_nothing(parquet.windows(self._source, self._source.parent))

    def _refuse(self, place: str, message: str, code: str) -> None:
        msg = f"{self._merge.reference}{place}: {shortened(message)} ({code}), expected every record to be good"
        raise DataError(msg) from None

    def _check_names(self, seen: Seen) -> None:
        if seen.fields or self._format == "csv":
            _check_there(self._merge, list(seen.fields))
        key = seen.fields.get(self._merge.reference_key)
        if key is not None and key.kinds and key.kinds.keys() <= CONTAINERS:
            name, found = self._merge.reference_key, min(key.kinds)
            msg = f"{self._merge.reference}: key {name!r} is an {found}, expected a text or a number"
            raise DataError(msg)

    def _check_apart(self, seen: Seen, path: tuple[str, ...]) -> None:
        alike: dict[str, str] = {}
        for name, inner in seen.fields.items():
            if (other := alike.setdefault(name.lower(), name)) != name:
                both = " and ".join(repr(".".join((*path, one))) for one in (other, name))
                msg = f"{self._merge.reference}: {both} have one name, expected names apart, also without letter case"
                raise DataError(msg)
            if _is_object(inner):
                self._check_apart(inner, (*path, name))

    def _row(self, seen: Seen) -> Field:
        """Return the fields of a frozen row, and note its columns."""
        key, slots = self._merge.reference_key, [1]
        taken = [name for name in seen.fields if name != key] if self._merge.columns is None else self._merge.columns
        inside = [Field(key, key=1)]
        for name in dict.fromkeys(taken):
            field = seen.fields.get(name)
            if field and name == key:
                self._note(types.of_seen(field), (name,), 0)
            elif field:
                inside.append(self._field(field, (name,), slots))
        return Field(kind="object", inside=tuple(inside))

    def _field(self, seen: Seen, path: tuple[str, ...], slots: list[int]) -> Field:
        if _is_object(seen):
            inside = tuple(self._field(inner, (*path, name), slots) for name, inner in seen.fields.items())
            return Field(path[-1], "object", inside=inside)
        kind = types.of_seen(seen)
        self._note(kind, path, slots[0])
        slots[0] += 1
        return Field(path[-1], type=kind if kind == types.JSON else types.VARCHAR)

    def _note(self, kind: str, path: tuple[str, ...], slot: int) -> None:
        self.columns.append(
            Column("_".join(path), types.in_table(kind), "record", list(path), first_file=self._merge.reference)
        )
        self.slots.append(slot)

    def _name_lines(self, table: Table) -> str:
        lines: dict[bytes, list[int]] = {}
        for one in table.duplicates:
            lines.setdefault(one.key, [one.first_line]).append(one.line)
        shown = "; ".join(f"{key.decode()!r} in lines {_listed(lines[key])}" for key in [*lines][:SHOWN_KEYS])
        more = "; and more keys" if len(lines) > SHOWN_KEYS else ""
        return f"{self._merge.reference}: {self._merge.reference_key} {shown}{more}, expected every key once"


def _listed(lines: list[int]) -> str:
    more = ", and more" if len(lines) > SHOWN_LINES else ""
    return ", ".join(map(str, lines[:SHOWN_LINES])) + more


def _is_object(seen: Seen) -> bool:
    """Say whether every value is an object, and one of them has a field."""
    return seen.kinds.keys() == {"object"} and bool(seen.fields)


def opened(path: Path, *, find: bool = True) -> Table:
    """Open a frozen reference. Threads share it, as long as one of them uses it.

    Args:
        path: the file that `freeze` has written.
        find: whether records are to be joined to it, which takes a pass over the file; to write rows it need not be.

    Raises:
        ValueError: it is not a frozen reference, or not whole.
        OSError: it cannot be read.
    """
    state = path.stat()
    key = str(path), state.st_ino, state.st_size, state.st_mtime_ns, find
    with _OPENING:
        # The index of a large one takes seconds, and much of the memory that a process should need.
        if (table := _OPEN.get(key)) is None:
            _OPEN[key] = table = Table(path, find=find)
        return table


def opened_all(run: Run, *, find: bool = True) -> list[Table]:
    """Open the references of a run, in the order of the spec; `find` as in `opened`."""
    return [opened(run.reference_path(index), find=find) for index in range(len(run.feed.spec.merge))]


def check_header(source: Path, merge: Merge) -> None:
    """Check what can be known of a reference at once: that its columns are there.

    Raises:
        MissingError: the key, or one of `columns`, is not in the header.
        DataError: there is no header, or a name is empty or used twice.
    """
    if input_format(merge.reference) != "csv":
        return
    try:
        names = fields_of_csv(str(source))
    except UnreadableError as error:
        msg = f"{merge.reference}:1: {error}"
        raise DataError(msg) from None
    _check_there(merge, names)


def _check_there(merge: Merge, names: list[str]) -> None:
    for wanted in [merge.reference_key, *(merge.columns or [])]:
        if wanted not in names:
            msg = f"{merge.reference}:1: column {wanted!r} is not there, {nearest(wanted, names)}"
            raise MissingError(msg)
