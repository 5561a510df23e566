"""References: read, and frozen for a run before any group starts."""

import logging
import re
import tempfile
import threading
import weakref
from pathlib import Path

from fanfold import types
from fanfold.errors import DataError, MissingError, nearest
from fanfold.faults import UnreadableError
from fanfold.input_formats import input_format, is_archive
from fanfold.layout import Place, Run
from fanfold.manifest import BadFile, Column
from fanfold.native import Field, Others, Seen, Table
from fanfold.records.header import fields_of_csv, other_delimiter
from fanfold.records.messages import key_text
from fanfold.records.places import places_of
from fanfold.records.read import Door, Rules
from fanfold.records.scan import scan
from fanfold.schema.columns import RECORD, leaves
from fanfold.schema.declared import Declared
from fanfold.schema.record import RecordBuilder
from fanfold.spec.merge import Merge
from fanfold.spec.model import Input, Spec
from fanfold.working_files import Node

log = logging.getLogger(__name__)
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
        # A reference is read by the rules of any other file, but for what the spec says of those.
        settings = _settings(merge).model_copy(update={"max_record_bytes": max_record_bytes})
        self._spec = Spec(version=1, name="reference", input=settings)
        name, keys = merge.reference, merge.reference_keys
        # One file is read by one thread, whatever its size.
        found = scan(source.parent, {name: Place(str(source), 0)}, self._spec)
        self._check_good(found.files[name].first)
        if hint := found.files[name].hint:
            log.warning("%s: %s", name, _of_merge(hint))
        fields = found.seen.fields
        if fields or input_format(name) == "csv":
            _check_there(merge, list(fields))
        for key in keys:
            at = fields.get(key)
            if at is not None and at.kinds and "scalar" not in at.kinds:
                msg = f"{name}: key {key!r} is an {min(at.kinds)}, expected text or a number"
                raise DataError(msg)
        taken = [one for one in fields if one not in keys] if merge.columns is None else merge.columns
        self._check_apart(found.seen)
        row = Seen(fields={one: fields[one] for one in taken if one in fields})
        nodes = RecordBuilder(self._spec, []).nodes(row, Declared())
        parts = [Node(key, "value") for key in keys]
        frozen = places_of([*parts, *(one for one in nodes if one.name not in keys)], [(key,) for key in keys])
        self.node, self._sha256 = frozen.record, found.files[name].sha256
        self.columns, self.slots = list[Column](), list[int]()
        for way, node, *_ in leaves(nodes, row):
            self.columns.append(Column("_".join(way), types.in_table(node.type), RECORD, [*way], first_file=name))
            self.slots.append(frozen.slots[way][1])

    def freeze(self, target: Path) -> int:
        """Write the frozen rows, which `opened` opens; what is there already is replaced.

        Returns:
            The number of rows that a record may find. Under `on_duplicate: first` the first of each key counts.

        Raises:
            DataError: a record cannot be read, or several lines have one key; they are named.
            OSError: a file cannot be read or written.
        """
        table = self._freeze(target, self.node)
        return len(table) - table.repeated

    def keys(self, *, whole: bool = False) -> Table:
        """Check what `freeze` checks, and return only the keys: records can be joined to them. No file is left behind.

        Args:
            whole: whether all columns are there too, so that rows can be made.

        Raises:
            DataError, OSError: as `freeze`.
        """
        with tempfile.NamedTemporaryFile() as file:
            only = self.node._replace(inside=self.node.inside[: len(self._merge.reference_keys)])
            return self._freeze(Path(file.name), self.node if whole else only)

    def _freeze(self, target: Path, row: Field) -> Table:
        door = Door(self._source.parent, self._spec, Rules(row, Others.FREEZE))
        with target.open("wb") as file:
            for piece in door.read(self._merge.reference, str(self._source), self._sha256):
                file.write(piece.merged)
        self._check_good(door.found.first)
        table = opened(target)
        if table.repeated and self._merge.on_duplicate == "fail":
            raise DataError(self._name_lines(table))
        return table

    def _check_good(self, fault: BadFile | None) -> None:
        if fault:
            place = f"{self._merge.reference}:{fault.line}" if fault.line else self._merge.reference
            msg = f"{place}: {_of_merge(fault.message)} ({fault.code}), expected every record to be good"
            raise DataError(msg)

    def _check_apart(self, seen: Seen) -> None:
        builder = RecordBuilder(self._spec, [])
        builder.nodes(seen, Declared())
        for conflict in builder.conflicts:
            both = " and ".join(one.words for one in conflict.rivals[:2])
            msg = f"{self._merge.reference}: {both} have the same name, expected different names, letter case aside"
            raise DataError(msg)

    def _name_lines(self, table: Table) -> str:
        lines: dict[bytes, list[int]] = {}
        for one in table.duplicates:
            lines.setdefault(one.key, [one.first_line]).append(one.line)
        kind = "records" if input_format(self._merge.reference) == "parquet" else "lines"
        shown = "; ".join(
            f"{key_text(self._merge, key)} in {kind} {_listed(lines[key])}" for key in [*lines][:SHOWN_KEYS]
        )
        more = "; and more keys" if len(lines) > SHOWN_KEYS else ""
        return (
            f"{self._merge.reference}: {', '.join(self._merge.reference_keys)} {shown}{more}, expected every key once"
        )


def _listed(lines: list[int]) -> str:
    more = ", and more" if len(lines) > SHOWN_LINES else ""
    return ", ".join(map(str, lines[:SHOWN_LINES])) + more


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
    """Check what can be known about a reference at once: that its columns are there.

    Raises:
        MissingError: the key, or one of `columns`, is not in the header.
        DataError: there is no header, or it has a name twice.
    """
    if is_archive(merge.reference):
        msg = f"{merge.reference} is an archive, expected a file of CSV, Parquet or JSON: unpack it (merge.reference)"
        raise DataError(msg)
    if input_format(merge.reference) != "csv":
        return
    try:
        names = fields_of_csv(str(source), _settings(merge))
    except UnreadableError as error:
        msg = f"{merge.reference}:1: {error}"
        raise DataError(msg) from None
    _check_there(merge, names)


def _settings(merge: Merge) -> Input:
    """Return what a reference is read by."""
    return Input(encoding=merge.encoding, csv=merge.csv)


def _of_merge(message: str) -> str:
    """Name the keys that a reference is read by."""
    return re.sub(r"\binput\.(csv|encoding)", r"merge.\1", message)


def _check_there(merge: Merge, names: list[str]) -> None:
    for wanted in [*merge.reference_keys, *(merge.columns or [])]:
        if wanted not in names:
            hint = other_delimiter(names[0], merge.csv.delimiter) if len(names) == 1 else ""
            told = _of_merge(hint) if hint else nearest(wanted, names)
            msg = f"{merge.reference}:1: column {wanted!r} is not there, {told}"
            raise MissingError(msg)
