"""Merged records as the rows of a table: arrays explode, objects flatten."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fanfold.engine.query import Source as OfEngine

from fanfold.layout import Group, Run
from fanfold.native import Beside, Csv, Rows, Table
from fanfold.records.content import WINDOW_BYTES
from fanfold.records.places import Source, columns, joins, places
from fanfold.schema.checks import place_of
from fanfold.schema.columns import ABSENT, header
from fanfold.spec.model import Spec
from fanfold.working_files import RunSchema, TableSchema

_MakeRows = Callable[..., Rows]


class Merged(NamedTuple):
    """Merged records: by which spec and schema, with which references in the order of the spec.

    `windows` begins to read them, each time from the start; with what is joined, one has `record_bytes` on average.
    """

    spec: Spec
    schema: RunSchema
    tables: list[Table]
    windows: Callable[[], Iterable[bytes]]
    record_bytes: int

    def rows(self, wanted: TableSchema) -> tuple[list[Source], _MakeRows]:
        """Return where the flat columns of a table are, and what makes the rows of chosen places."""
        found, spec = places(self.schema, self.spec), self.spec
        flat = columns(found, self.schema.joined, wanted.flat, spec)
        joined, chain, said = joins(found, self.tables, spec.merge), found.chain(wanted), spec.output.csv
        csv = Csv(said.delimiter, said.null, said.escape_formulas)

        def rows(sources: Sequence[Source], form: Csv | Sequence[tuple[str, str]] = csv) -> Rows:
            return Rows(found.record, sources, chain, beside=Beside(joined, self.schema.rescued), form=form)

        return [place for _, place in flat], rows


class Written(NamedTuple):
    """A written table: its rows, and the SHA-256 of its bytes."""

    rows: int
    sha256: str


def write(merged: Merged, wanted: TableSchema, target: Path, spill_dir: Path | None = None) -> Written:
    r"""Write merged records as flat rows, in their order.

    As CSV by RFC 4180 (UTF-8, `\n`, null and missing as nothing, an empty text as `""`), or as Parquet. One row for
    each element of the array that explodes; a record whose array is empty, null or missing keeps one row, and so does
    an element of an outer array whose inner array is, where its fields stand in this table.

    Args:
        merged: the records.
        wanted: the table.
        target: where to write.
        spill_dir: where DuckDB puts what does not fit in its memory.

    Raises:
        DataError: an expression fails for a value.
    """
    if not wanted.columns:
        # There is no good record: nothing has a name.
        target.write_bytes(b"")
        return Written(0, hashlib.sha256().hexdigest())
    spec, names = merged.spec, [column.name for column in wanted.columns]
    if spec.output.format == "csv" and not any(column.expression for column in wanted.columns):
        of, rows = merged.rows(wanted)
        by_name = dict(zip((column.name for column in wanted.flat), of, strict=True))
        head = header(names, spec.output.csv)
        return _write_csv(rows([by_name[name] for name in names]), head, merged.windows(), target)
    from fanfold.engine import output

    made = output.write(target, spec.output, wanted.columns, _source(merged, wanted), spill_dir)
    with target.open("rb") as file:
        return Written(made, hashlib.file_digest(file, "sha256").hexdigest())


def check_sql(merged: Merged) -> None:
    """Check that each expression of the spec has an answer for every row that merged records make.

    Raises:
        DataError: one has none.
    """
    for wanted in merged.schema.each_table.values():
        if has_sql(wanted):
            from fanfold.engine import answers

            answers.check(wanted.columns, _source(merged, wanted))


def has_sql(table: TableSchema) -> bool:
    """Say whether a table has columns by SQL; one that is absent from all records is not."""
    return any(column.expression not in {None, ABSENT} for column in table.columns)


def _source(merged: Merged, wanted: TableSchema) -> "OfEngine":
    from fanfold.engine.query import Source as OfEngine

    of, rows = merged.rows(wanted)
    key = next(place_of(name) for name, one in merged.schema.each_table.items() if one == wanted)
    return OfEngine(rows, merged.windows, wanted.flat, of, merged.record_bytes, f"{key}.columns")


def of_group(group: Group, schema: RunSchema, records: int, tables: list[Table]) -> Merged:
    """Return the merged records of a group: how many there are, and the references that they are joined to."""
    path = group.merged_path
    # What is joined to a record is not in it.
    size = path.stat().st_size // max(1, records) + _joined_bytes(group.run, schema)
    return Merged(group.run.feed.spec, schema, tables, lambda: windows(path), size)


def _joined_bytes(run: Run, schema: RunSchema) -> int:
    """Return how large the rows of all references are together, on average."""
    sizes = [run.reference_path(index).stat().st_size for index in range(len(schema.references))]
    return sum(size // max(1, one.rows) for size, one in zip(sizes, schema.references, strict=True))


def _write_csv(rows: Rows, head: bytes, merged: Iterable[bytes], target: Path) -> Written:
    digest = hashlib.sha256(head)
    # Without a buffer, a full disk would write only a part, and raise no error.
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
