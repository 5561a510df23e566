"""Denormalize: arrays explode, objects flatten, rows are written."""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb

from fanfold.engine.merge import field_of, reference_name
from fanfold.engine.schema import FANFOLD, RECORD, RESCUED_COLUMN, sql_names
from fanfold.engine.session import chunk_bytes, connect, identifier, pattern, text
from fanfold.errors import DataError
from fanfold.layout import Run
from fanfold.manifest import Column, Node, RunSchema
from fanfold.records.canonical import RESCUED, encode, keys_of
from fanfold.spec import Spec

# Of a group of Parquet: enough for its encodings, few enough for the memory of a task.
ROW_GROUP_ROWS, ROW_GROUP_BYTES = 61_440, 16 * 1024 * 1024
FEWEST_ROWS = 16
SPECIAL = re.compile('[",\r\n]')
FORMATS = {
    "csv": "FORMAT csv, HEADER true, DELIMITER ',', QUOTE '\"', ESCAPE '\"', NULLSTR '', USE_TMP_FILE false",
    "parquet": "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {rows}, USE_TMP_FILE false",
}


def denormalize(run: Run, n: int, schema: RunSchema, record_bytes: int, target: Path) -> int:
    r"""Write merged records as flat rows, in the order that they were merged in.

    As CSV by RFC 4180 (UTF-8, `\n`, null and missing as nothing, an empty text as `""`), or as Parquet.

    One row for each element of the exploded array; a record whose array is empty, null or missing keeps one row, and
    so does an element of an outer array whose inner array is.

    Args:
        run: the run.
        n: number of the subdirectory.
        schema: of the run.
        record_bytes: how large a record is, on average.
        target: where to write.

    Returns:
        The number of rows.

    Raises:
        DataError: an expression fails for a value; the rows are not as many as the records call for (a fault of
            Fanfold or of DuckDB).
    """
    merged = text(pattern(run.merged_path(n)))
    source = f"read_parquet({merged}, hive_partitioning = false)"
    query = flat_rows(source, schema, run.feed.spec)
    rows = max(FEWEST_ROWS, min(ROW_GROUP_ROWS, ROW_GROUP_BYTES // max(1, record_bytes)))
    options = FORMATS[run.feed.spec.output.format].format(rows=rows)
    names = [column.name for column in schema.columns]
    own_header = sql_names(names) != names and run.feed.spec.output.format == "csv"
    columns, buffers = len(schema.flat), chunk_bytes(record_bytes)
    with connect(run.feed.data_dir, run.spill_dir(n), buffers=buffers, columns=columns) as connection:
        try:
            written = connection.execute(
                f"COPY ({query}) TO {text(str(target))} ({_own_header(names) if own_header else options})"
            ).fetchone()
            if own_header and written == (0,):
                connection.execute(f"COPY ({query}) TO {text(str(target))} ({_own_header(names, rows=False)})")
        except (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException) as error:
            if not any(column.expression for column in schema.columns):
                raise
            msg = f"denormalize.columns: {' '.join(str(error).splitlines()[0].split())}"
            raise DataError(msg) from None
        # Parquet counts an empty array as one value. Only arrays that explode are arrays there, one in the other: the
        # columns in the innermost one have the most values.
        wanted = connection.execute(
            f"""
            SELECT coalesce(max(number), 0)::BIGINT
            FROM (SELECT sum(num_values) AS number FROM parquet_metadata({merged}) GROUP BY column_id)
            """
        ).fetchone()
    rows_made, rows_wanted = (int(answer[0]) if answer else 0 for answer in (written, wanted))
    if rows_made != rows_wanted:
        msg = f"{run.output_name(n)!r}: found {rows_made} rows, expected {rows_wanted}: the output is not published"
        raise DataError(msg)
    return rows_made


def _own_header(names: list[str], *, rows: bool = True) -> str:
    """Return the options for CSV with names that DuckDB would not write: an empty one, one in both letter cases."""
    quoted = ('"' + name.replace('"', '""') + '"' if SPECIAL.search(name) or not name else name for name in names)
    header = ",".join(quoted)
    options = FORMATS["csv"].replace("HEADER true", "HEADER false")
    end = "\n" if rows else ""
    return f"{options}, PREFIX {text(header + end)}, SUFFIX {text(chr(10))}"


def flat_rows(source: str, schema: RunSchema, spec: Spec) -> str:
    """Return the query that makes flat rows of merged records.

    Each array that explodes is one query around the one before: what lies outside of it is taken first, as columns.
    """
    values = _Values(schema, spec)
    query, items = source, identifier(RECORD)
    known: list[int] = []
    for level, array in enumerate([*schema.explode, None]):
        made = [f"{values.at(level, column, items)} AS {_position(i)}" for i, column in values.of_level(level)]
        kept = [_position(i) for i in known]
        known += [i for i, _ in values.of_level(level)]
        own = values.own(level, items)
        if array is not None:
            above = len(schema.explode[level - 1]) if level else 0
            inner = field_of(items, keys_of(schema.record, array)[above:])
            full = f"len({inner}) > 0"
            own.append(f"unnest(CASE WHEN {full} THEN {inner} ELSE [NULL] END) AS item_{level}")
            if spec.output.lineage:
                own.append(f"unnest(CASE WHEN {full} THEN range(1, len({inner}) + 1) ELSE [NULL] END) AS index_{level}")
        query = f"SELECT {', '.join([*kept, *made, *own]) or '1'} FROM {query if level == 0 else f'({query})'}"
        items = f"item_{level}"
    names = [column.name for column in schema.flat]
    called = [_position(i) for i in range(len(names))]
    if any(column.expression for column in schema.columns):
        # An expression has the names of the flat row.
        flat = ", ".join(f"{_position(i)} AS {identifier(name)}" for i, name in enumerate(sql_names(names)))
        query, called = f"SELECT {flat} FROM ({query})", [identifier(name) for name in sql_names(names)]
    chosen = [
        f"({column.expression}\n)::{column.type}" if column.expression else called[names.index(column.name)]
        for column in schema.columns
    ]
    final = sql_names([column.name for column in schema.columns])
    selected = ", ".join(f"{value} AS {identifier(name)}" for value, name in zip(chosen, final, strict=True))
    return f"SELECT {selected} FROM ({query})"


def _position(index: int) -> str:
    return f"column_{index}"


class _Values:
    """Where the value of each flat column comes from: at which level of the arrays, by which SQL."""

    def __init__(self, schema: RunSchema, spec: Spec) -> None:
        self._schema, self._spec = schema, spec
        self._nodes = dict(_leaves(schema.record, ()))
        self._into = [merge.into for merge in spec.merge]

    def of_level(self, level: int) -> Iterator[tuple[int, Column]]:
        """Yield the columns whose values are known at a level, with their positions."""
        last = len(self._schema.explode)
        for index, column in enumerate(self._schema.flat):
            if column.source == RECORD:
                inside = [i for i, array in enumerate(self._schema.explode, 1) if column.path[: len(array)] == array]
                found = max(inside, default=0)
            else:
                found = last if column.source == FANFOLD else 0
            if found == level:
                yield index, column

    def at(self, level: int, column: Column, items: str) -> str:
        """Return the SQL for the value of a column at its level."""
        if column.source == FANFOLD:
            return self._own(column.name, level, items)
        if column.source != RECORD:
            return field_of(reference_name(self._into.index(column.source)), [encode(name) for name in column.path])
        above = len(self._schema.explode[level - 1]) if level else 0
        value = field_of(items, keys_of(self._schema.record, column.path)[above:])
        node = self._nodes[tuple(column.path)]
        return value if node.read_type == node.type else f"CAST({value} AS {node.type})"

    def own(self, level: int, items: str) -> list[str]:
        """Return what is handed on to the next level for the columns of Fanfold."""
        last = len(self._schema.explode)
        if level == last:
            return []
        passed = [f"index_{i}" for i in range(level)] if self._spec.output.lineage else []
        if self._spec.output.lineage:
            passed += ["source_file", "source_record"]
        return passed + ([f"{self._rescued(level, items)} AS rescued"] if self._schema.rescued else [])

    def _rescued(self, level: int, items: str) -> str:
        outer = "rescued" if level else "NULL"
        inner = self._element(level)
        if level and (inner is None or inner.kind != "object"):
            return outer
        return f"coalesce(struct_extract({items}, {text(RESCUED)}), {outer})"

    def _element(self, level: int) -> Node | None:
        fields, node = self._schema.record, None
        for name in self._schema.explode[level - 1] if level else ():
            node = next(field for field in fields if field.name == name)
            node = node.element if node.kind == "list" else node
            fields = node.fields if node else []
        return node

    def _own(self, name: str, level: int, items: str) -> str:
        if name == RESCUED_COLUMN:
            return self._rescued(level, items)
        if name != "_source_item":
            return name.removeprefix("_")
        indices = [f"index_{i}" for i in range(level)]
        joined = f"concat_ws('.', {', '.join(indices)})" if indices else "NULL"
        return f"CASE WHEN {indices[0]} IS NULL THEN NULL ELSE {joined} END" if indices else "NULL::VARCHAR"


def _leaves(nodes: list[Node], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Node]]:
    for node in nodes:
        inner = node.element if node.kind == "list" and node.element else node
        if inner.kind == "object":
            yield from _leaves(inner.fields, (*path, node.name))
        else:
            yield (*path, node.name), inner
