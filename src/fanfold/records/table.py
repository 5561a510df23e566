"""Merged records as the rows of a table: arrays explode, objects flatten."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fanfold.layout import Run
from fanfold.native import Csv, Rows, Table
from fanfold.records.content import WINDOW_BYTES
from fanfold.records.places import Source, columns, joins, places
from fanfold.schema.columns import header
from fanfold.working_files import RunSchema


class Written(NamedTuple):
    """A table that is written: its rows, and the SHA-256 of its bytes."""

    rows: int
    sha256: str


def write(run: Run, n: int, schema: RunSchema, records: int, tables: list[Table], target: Path) -> Written:
    r"""Write merged records as flat rows, in their order.

    As CSV by RFC 4180 (UTF-8, `\n`, null and missing as nothing, an empty text as `""`), or as Parquet. One row for
    each element of the array that explodes; a record whose array is empty, null or missing keeps one row, and so does
    an element of an outer array whose inner array is.

    Args:
        run: the run.
        n: number of the subdirectory.
        schema: of the run.
        records: how many are merged.
        tables: the references, in the order of the spec.
        target: where to write.

    Raises:
        DataError: an expression fails for a value.
    """
    if not schema.columns:
        # There is no good record: nothing has a name.
        target.write_bytes(b"")
        return Written(0, hashlib.sha256().hexdigest())
    spec, merged = run.feed.spec, run.group(n).merged_path
    found = places(schema, spec)
    flat = list(columns(found, schema, spec))
    joined = joins(found, tables, spec.merge)

    said = spec.output.csv
    csv = Csv(said.delimiter, said.null, said.escape_formulas)

    def rows(wanted: Sequence[Source], form: Csv | Sequence[tuple[str, str]] = csv) -> Rows:
        return Rows(found.record, wanted, found.chain, joins=joined, rescue=schema.rescued, form=form)

    if spec.output.format == "csv" and not any(column.expression for column in schema.columns):
        by_name = {column.name: place for column, place in flat}
        head = header((column.name for column in schema.columns), said)
        return _write_csv(rows([by_name[column.name] for column in schema.columns]), head, windows(merged), target)
    from fanfold.engine import output

    # What is joined to a record is not in it.
    size = merged.stat().st_size // max(1, records) + _joined_bytes(run, schema)
    known, of = [column for column, _ in flat], [place for _, place in flat]
    source = output.Source(rows, lambda: windows(merged), known, of, size)
    made = output.write(target, spec.output, schema.columns, source, run.group(n).spill_dir)
    with target.open("rb") as file:
        return Written(made, hashlib.file_digest(file, "sha256").hexdigest())


def _joined_bytes(run: Run, schema: RunSchema) -> int:
    """Return how large the rows of all references are together, on average."""
    sizes = [run.reference_path(index).stat().st_size for index in range(len(schema.references))]
    return sum(size // max(1, one.rows) for size, one in zip(sizes, schema.references, strict=True))


def _write_csv(rows: Rows, head: bytes, merged: Iterator[bytes], target: Path) -> Written:
    digest = hashlib.sha256(head)
    with target.open("wb", buffering=0) as file:
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
