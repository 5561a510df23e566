"""Merged records as the rows of a table: arrays explode, objects flatten."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fanfold.layout import Group, Run
from fanfold.native import Beside, Csv, Rows, Table
from fanfold.records.content import WINDOW_BYTES
from fanfold.records.places import Source, columns, joins, places
from fanfold.schema.checks import place_of
from fanfold.schema.columns import header
from fanfold.working_files import RunSchema, TableSchema


class Merged(NamedTuple):
    """The merged records of a group: their schema, how many they are, and the references in the order of the spec."""

    group: Group
    schema: RunSchema
    records: int
    tables: list[Table]


class Written(NamedTuple):
    """A written table: its rows, and the SHA-256 of its bytes."""

    rows: int
    sha256: str


def write(merged: Merged, wanted: TableSchema, target: Path) -> Written:
    r"""Write merged records as flat rows, in their order.

    As CSV by RFC 4180 (UTF-8, `\n`, null and missing as nothing, an empty text as `""`), or as Parquet. One row for
    each element of the array that explodes; a record whose array is empty, null or missing keeps one row, and so does
    an element of an outer array whose inner array is, where its fields stand in this table.

    Args:
        merged: the records.
        wanted: the table.
        target: where to write.

    Raises:
        DataError: an expression fails for a value.
    """
    if not wanted.columns:
        # There is no good record: nothing has a name.
        target.write_bytes(b"")
        return Written(0, hashlib.sha256().hexdigest())
    (group, schema, records, tables), path = merged, merged.group.merged_path
    spec = group.run.feed.spec
    found = places(schema, spec)
    flat = list(columns(found, schema.joined, wanted.flat, spec))
    joined, chain = joins(found, tables, spec.merge), found.chain(wanted)

    said = spec.output.csv
    csv = Csv(said.delimiter, said.null, said.escape_formulas)

    def rows(sources: Sequence[Source], form: Csv | Sequence[tuple[str, str]] = csv) -> Rows:
        return Rows(found.record, sources, chain, beside=Beside(joined, schema.rescued), form=form)

    if spec.output.format == "csv" and not any(column.expression for column in wanted.columns):
        by_name = {column.name: place for column, place in flat}
        head = header((column.name for column in wanted.columns), said)
        return _write_csv(rows([by_name[column.name] for column in wanted.columns]), head, windows(path), target)
    from fanfold.engine import output

    # What is joined to a record is not in it.
    size = path.stat().st_size // max(1, records) + _joined_bytes(group.run, schema)
    known, of = [column for column, _ in flat], [place for _, place in flat]
    key = next(place_of(name) for name, one in schema.each_table.items() if one == wanted)
    source = output.Source(rows, lambda: windows(path), known, of, size, f"{key}.columns")
    made = output.write(target, spec.output, wanted.columns, source, group.spill_dir)
    with target.open("rb") as file:
        return Written(made, hashlib.file_digest(file, "sha256").hexdigest())


def _joined_bytes(run: Run, schema: RunSchema) -> int:
    """Return how large the rows of all references are together, on average."""
    sizes = [run.reference_path(index).stat().st_size for index in range(len(schema.references))]
    return sum(size // max(1, one.rows) for size, one in zip(sizes, schema.references, strict=True))


def _write_csv(rows: Rows, head: bytes, merged: Iterator[bytes], target: Path) -> Written:
    digest = hashlib.sha256(head)
    # Without a buffer, a disk that gets full would take a part of what is written, and say so by a number only.
    with target.open("wb") as file:
        file.write(head)
        for piece in rows.write(merged):
            digest.update(piece)
            file.write(piece)
    return Written(len(rows), digest.hexdigest())


def windows(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file of merged records."""
    with path.open("rb", buffering=0) as file:
        while window := file.read(WINDOW_BYTES):
            yield window
