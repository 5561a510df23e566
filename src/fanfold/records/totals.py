"""Exact sums of fields (`verify.totals`): over merged records, and over the tables that were made of them.

A field outside of the array that explodes counts once for each record, a field of an element once for each element.
"""

import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Context, Decimal, Inexact
from pathlib import Path
from typing import NamedTuple

from fanfold import types
from fanfold.layout import Group
from fanfold.manifest import Manifest, TableOfRun
from fanfold.native import Beside, Rows
from fanfold.records import places, references, table
from fanfold.records.places import Places, Source
from fanfold.schema.columns import RECORD
from fanfold.spec.model import Spec
from fanfold.spec.paths import way_of, written
from fanfold.spec.texts import CsvOutput
from fanfold.working_files import RunSchema, TableSchema

# It has more digits than any sum: nothing is rounded.
EXACT = Context(prec=1000, traps=[Inexact])
# What a row is from: its file, the number of its record, the element of that.
ORIGIN = [(Rows.FILE, 0, 0), (Rows.NUMBER, 0, 0), (Rows.ITEM, 0, 0)]
# A field may be as large as a record.
csv.field_size_limit(2**31 - 1)


class Total(NamedTuple):
    """A field whose sum is proved: its path, the place of its column, and how many arrays it lies in."""

    path: str
    column: int
    depth: int


def totalled(spec: Spec, table: TableSchema | TableOfRun) -> list[Total]:
    """Return the fields whose sums are proved in a table, in the order of the spec; fields of only nulls have none."""
    known = {written(column.path): place for place, column in enumerate(table.columns) if column.source == RECORD}
    found = []
    for path in dict.fromkeys(spec.verify.totals):
        if path in known and types.is_exact((column := table.columns[known[path]]).type):
            depth = sum(1 for array in table.explode if column.path[: len(array)] == array)
            found.append(Total(path, known[path], depth))
    return found


def counted_once_per(spec: Spec, committed: Manifest) -> dict[str, str]:
    """Return, by the names of totals, what such a field counts once for, where it may be in several rows of that."""
    return {
        f"{name}.{total.path}" if name else total.path: (
            f"element of {written(table.explode[total.depth - 1])}" if total.depth else "record"
        )
        for name, table in committed.each_table.items()
        for total in totalled(spec, table)
        if total.depth < len(table.explode)
    }


# Which file and record a row is from, and which element of each array that explodes.
Place = tuple[str | int, ...]
OF_RECORD = 2


class Row(NamedTuple):
    """A row of merged records: where it is from, and values of fields."""

    file: str
    record: int
    place: Place
    values: list[str]


class Tally:
    """Counts rows, and sums up fields: each value once for the record, or the element, that it lies in."""

    def __init__(self, wanted: Sequence[Total]) -> None:
        """Begin with zeros; `wanted` are the fields that are summed up."""
        self._wanted = wanted
        self._before: Place = ()
        self.rows = 0
        self.sums = {total.path: Decimal(0) for total in wanted}

    def add(self, place: "Place", values: Iterable[str | None]) -> None:
        """Add a row.

        Args:
            place: which record and element it is from; rows of one record follow each other.
            values: of the fields, in their order.
        """
        self.rows += 1
        for total, value in zip(self._wanted, values, strict=True):
            if value and place[: OF_RECORD + total.depth] != self._before[: OF_RECORD + total.depth]:
                self.sums[total.path] = EXACT.add(self.sums[total.path], Decimal(value))
        self._before = place

    def add_totals(self, totals: Mapping[str, str]) -> None:
        """Add recorded sums."""
        for path in self.sums:
            self.sums[path] = EXACT.add(self.sums[path], Decimal(totals.get(path, 0)))

    def add_table(self, path: Path, places: "Iterator[Place]", form: CsvOutput) -> None:
        """Add the rows of a published table; `places` says for each of them which record and element it is from."""
        rows = _values(path, [total.column for total in self._wanted], form)
        for values, place in zip(rows, itertools.chain(places, itertools.repeat(())), strict=False):
            self.add(place, values)

    @property
    def totals(self) -> dict[str, str]:
        """The sums as they are written down: digits, no exponent, no idle zeros."""
        return {path: f"{EXACT.normalize(total):f}" for path, total in self.sums.items()}


def of_merged(group: Group, schema: RunSchema, table: TableSchema) -> dict[str, str]:
    """Return the sums over the merged records of a subdirectory, as far as they have rows in a table."""
    tally = Tally(totalled(group.run.feed.spec, table))
    for row in _merged_rows(group, schema, table, tally.sums) if tally.sums else ():
        tally.add(row.place, row.values)
    return tally.totals


def places_in(group: Group, schema: RunSchema, table: TableSchema) -> Iterator[Place]:
    """Yield for each row of a subdirectory in a table which record and element it is from."""
    return (row.place for row in _merged_rows(group, schema, table, ()))


def _merged_rows(group: Group, schema: RunSchema, wanted: TableSchema, paths: Iterable[str]) -> Iterator[Row]:
    found = places.places(schema, group.run.feed.spec)
    joined = places.joins(found, references.opened_all(group.run, find=False), group.run.feed.spec.merge)
    rows = Rows(found.record, sources(found, paths), found.chain(wanted), beside=Beside(joined, schema.rescued))
    return rows_of(rows, table.windows(group.merged_path))


def sources(found: Places, paths: Iterable[str]) -> list[Source]:
    """Return the columns that `rows_of` takes: where a row is from, then the fields at some paths."""
    return [*ORIGIN, *((Rows.SLOT, *found.slots[way_of(path)]) for path in paths)]


def rows_of(rows: Rows, merged: Iterable[bytes]) -> Iterator[Row]:
    """Yield the rows of merged records, with the values of the fields behind their origin."""
    for file, number, item, *values in csv.reader(_lines(rows.write(merged))):
        yield Row(file, int(number), (file, int(number), *filter(None, item.split("."))), values)


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode() + "\n"


def _values(path: Path, columns: list[int], form: CsvOutput) -> Iterator[Sequence[str | None]]:
    """Yield the values of some columns, row by row, by another reading than the one that wrote them."""
    if path.suffix == ".parquet":
        from fanfold.engine import output

        yield from output.values(path, columns)
        return
    with path.open(encoding="utf-8-sig" if form.bom else "utf-8", newline="") as file:
        lines = csv.reader(file, delimiter=form.delimiter)
        for line in itertools.islice(lines, 1, None):
            # A line of nothing is a row of one column that is null; the text for null is not that of a number.
            yield (
                ["" if line[place] == form.null else line[place] for place in columns] if line else [""] * len(columns)
            )
