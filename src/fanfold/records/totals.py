"""Exact sums of fields (`verify.totals`): over merged records, and over the tables that were made of them.

A field outside of the array that explodes counts once for each record, a field of an element once for each element.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, localcontext
from pathlib import Path
from typing import NamedTuple

from fanfold import types
from fanfold.layout import Run
from fanfold.manifest import Column
from fanfold.native import Rows
from fanfold.records import places, references, table
from fanfold.records.places import Places
from fanfold.schema.columns import RECORD
from fanfold.spec.model import Spec
from fanfold.working_files import RunSchema

# By the path of the field.
Sums = dict[str, Decimal]
# More than the digits of any sum: nothing is rounded.
DIGITS = 1000
FIRST = {"", "1"}
# A field may be as large as a record.
csv.field_size_limit(2**31 - 1)


def add(one: Sums, other: Sums) -> Sums:
    """Return the sums of both, exactly."""
    with localcontext(prec=DIGITS):
        return {path: one.get(path, Decimal(0)) + other.get(path, Decimal(0)) for path in {**one, **other}}


def plain(sums: Sums) -> dict[str, str]:
    """Return sums as they are written down: digits, no exponent, no idle zeros."""
    with localcontext(prec=DIGITS):
        return {path: f"{total.normalize():f}" for path, total in sums.items()}


class Total(NamedTuple):
    """A field whose sum is proved: its path, its column, and how many arrays it lies in."""

    path: str
    column: str
    depth: int


def totalled(spec: Spec, columns: list[Column], explode: list[list[str]]) -> list[Total]:
    """Return the fields whose sums are proved, in the order of the spec; those that are nothing but null have none."""
    known = {".".join(column.path): column for column in columns if column.source == RECORD}
    found = []
    for path in dict.fromkeys(spec.verify.totals):
        column = known.get(path)
        if column and types.is_exact(column.type):
            depth = sum(1 for array in explode if column.path[: len(array)] == array)
            found.append(Total(path, column.name, depth))
    return found


def of_merged(run: Run, n: int, schema: RunSchema) -> dict[str, str]:
    """Return the sums over the merged records of a subdirectory."""
    sums = Sums()
    for total in totalled(run.feed.spec, schema.columns, schema.explode):
        found = places.places(schema, run.feed.spec)
        way = tuple(total.path.split("."))
        rows = _rows(run, schema, found, [(Rows.SLOT, *found.slots[way])], total.depth + 1)
        with localcontext(prec=DIGITS):
            lines = lines_of(rows.write(table.windows(run.group(n).merged_path)))
            sums[total.path] = sum((Decimal(row[0]) for row in csv.reader(lines) if row and row[0]), Decimal(0))
    return plain(sums)


def _rows(
    run: Run, schema: RunSchema, found: Places, columns: list[tuple[int, int, int]], depth: int | None = None
) -> Rows:
    """Return what makes rows of merged records, where no row of a reference is asked for."""
    merges = run.feed.spec.merge
    joined = places.joins(found, references.opened_all(run, find=False), merges)
    return Rows(found.record, columns, found.chain[:depth], joins=joined, rescue=schema.rescued)


def items_of(run: Run, n: int, schema: RunSchema) -> Iterator[str]:
    """Yield for each row of a subdirectory which element of its record it is from, as `_source_item` has it."""
    rows = _rows(run, schema, places.places(schema, run.feed.spec), [(Rows.ITEM, 0, 0)])
    for line in lines_of(rows.write(table.windows(run.group(n).merged_path))):
        yield line.strip('"\n')


def lines_of(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of rows, as `csv.reader` takes them."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode() + "\n"


def counts(total: Total, item: str) -> bool:
    """Say whether a row is the first one of the record, or element, that a field lies in."""
    return FIRST.issuperset(item.split(".")[total.depth :])


def of_table(path: Path, wanted: list[Total], items: Iterator[str]) -> tuple[int, Sums]:
    """Count the rows of a published table, and sum up some of its columns.

    Args:
        path: the table.
        wanted: what is summed up.
        items: for each row, which element of its record it is from; asked for where something is summed up.
    """
    sums, rows = {total.path: Decimal(0) for total in wanted}, 0
    with localcontext(prec=DIGITS):
        for rows, values in enumerate(_values(path, [total.column for total in wanted]), start=1):  # noqa: B007
            item = next(items, "") if wanted else ""
            for total, value in zip(wanted, values, strict=True):
                if value and counts(total, item):
                    sums[total.path] += Decimal(value)
    return rows, sums


def _values(path: Path, columns: list[str]) -> Iterator[Sequence[str | None]]:
    """Yield the values of some columns, row by row, by another reading than the one that wrote them."""
    if path.suffix == ".parquet":
        from fanfold.engine import output

        yield from output.values(path, columns)
        return
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        names = next(lines, [])
        chosen = [names.index(name) for name in columns]
        for line in lines:
            # A line of nothing is a row of one column that is null.
            yield [line[index] for index in chosen] if line else [""] * len(chosen)
