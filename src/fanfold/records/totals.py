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
from fanfold.manifest import Column
from fanfold.native import Joined, Rows
from fanfold.records import places, references, table
from fanfold.records.places import Places
from fanfold.schema.columns import RECORD, name_in
from fanfold.spec.model import Spec
from fanfold.spec.paths import way_of, written
from fanfold.spec.texts import CsvOutput
from fanfold.working_files import RunSchema

# It has more digits than any sum: nothing is rounded.
EXACT = Context(prec=1000, traps=[Inexact])
FIRST = {"", "1"}
# What a row is from: its file, the number of its record, the element of that.
ORIGIN = [(Rows.FILE, 0, 0), (Rows.NUMBER, 0, 0), (Rows.ITEM, 0, 0)]
# A field may be as large as a record.
csv.field_size_limit(2**31 - 1)


class Total(NamedTuple):
    """A field whose sum is proved: its path, its column, and how many arrays it lies in."""

    path: str
    column: str
    depth: int


def totalled(spec: Spec, columns: list[Column], explode: list[list[str]]) -> list[Total]:
    """Return the fields whose sums are proved, in the order of the spec; those that are nothing but null have none."""
    known = {written(column.path): column for column in columns if column.source == RECORD}
    found = []
    for path in dict.fromkeys(spec.verify.totals):
        column = known.get(path)
        if column and types.is_exact(column.type):
            depth = sum(1 for array in explode if column.path[: len(array)] == array)
            found.append(Total(path, column.name, depth))
    return found


class Row(NamedTuple):
    """A row of merged records: the file and record it is from, the element of the record, and values of fields."""

    file: str
    record: int
    item: str
    values: list[str]


class Tally:
    """Counts rows, and sums up fields: each value once for the record, or the element, that it lies in."""

    def __init__(self, wanted: Sequence[Total]) -> None:
        """Begin with zeros; `wanted` are the fields that are summed up."""
        self._wanted = wanted
        self.rows = 0
        self.sums = {total.path: Decimal(0) for total in wanted}

    def add(self, item: str, values: Iterable[str | None]) -> None:
        """Add a row.

        Args:
            item: which element of its record it is from, as `_source_item` has it.
            values: of the fields, in their order.
        """
        self.rows += 1
        for total, value in zip(self._wanted, values, strict=True):
            if value and FIRST.issuperset(item.split(".")[total.depth :]):
                self.sums[total.path] = EXACT.add(self.sums[total.path], Decimal(value))

    def add_totals(self, totals: Mapping[str, str]) -> None:
        """Add sums that were written down."""
        for path in self.sums:
            self.sums[path] = EXACT.add(self.sums[path], Decimal(totals.get(path, 0)))

    def add_table(self, path: Path, items: Iterator[str], form: CsvOutput) -> None:
        """Add the rows of a published table; `items` says for each of them which element of its record it is from."""
        rows = _values(path, [total.column for total in self._wanted], form)
        for values, item in zip(rows, itertools.chain(items, itertools.repeat("")), strict=False):
            self.add(item, values)

    @property
    def totals(self) -> dict[str, str]:
        """The sums as they are written down: digits, no exponent, no idle zeros."""
        return {path: f"{EXACT.normalize(total):f}" for path, total in self.sums.items()}


def of_merged(group: Group, schema: RunSchema) -> dict[str, str]:
    """Return the sums over the merged records of a subdirectory."""
    tally = Tally(totalled(group.run.feed.spec, schema.columns, schema.explode))
    for row in _merged_rows(group, schema, tally.sums) if tally.sums else ():
        tally.add(row.item, row.values)
    return tally.totals


def items_of(group: Group, schema: RunSchema) -> Iterator[str]:
    """Yield for each row of a subdirectory which element of its record it is from, as `_source_item` has it."""
    return (row.item for row in _merged_rows(group, schema, ()))


def _merged_rows(group: Group, schema: RunSchema, paths: Iterable[str]) -> Iterator[Row]:
    found = places.places(schema, group.run.feed.spec)
    joined = places.joins(found, references.opened_all(group.run, find=False), group.run.feed.spec.merge)
    return rows_of(found, paths, table.windows(group.merged_path), joins=joined, rescue=schema.rescued)


def rows_of(
    found: Places, paths: Iterable[str], merged: Iterable[bytes], *, joins: Sequence[Joined] = (), rescue: bool = False
) -> Iterator[Row]:
    """Yield the rows of merged records, with the values of some fields.

    Args:
        found: the fields that the records were read with.
        paths: of the fields.
        merged: the records.
        joins: those that the records were read with.
        rescue: whether other fields were kept.
    """
    columns = [*ORIGIN, *((Rows.SLOT, *found.slots[way_of(path)]) for path in paths)]
    rows = Rows(found.record, columns, found.chain, joins=joins, rescue=rescue)
    for file, number, item, *values in csv.reader(_lines(rows.write(merged))):
        yield Row(file, int(number), item, values)


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode() + "\n"


def _values(path: Path, columns: list[str], form: CsvOutput) -> Iterator[Sequence[str | None]]:
    """Yield the values of some columns, row by row, by another reading than the one that wrote them."""
    if path.suffix == ".parquet":
        from fanfold.engine import output

        yield from output.values(path, columns)
        return
    with path.open(encoding="utf-8-sig" if form.bom else "utf-8", newline="") as file:
        lines = csv.reader(file, delimiter=form.delimiter)
        names = next(lines, [])
        chosen = [names.index(name_in(form, name)) for name in columns]
        for line in lines:
            # A line of nothing is a row of one column that is null.
            # The text for null is not that of a number.
            yield ["" if line[index] == form.null else line[index] for index in chosen] if line else [""] * len(chosen)
