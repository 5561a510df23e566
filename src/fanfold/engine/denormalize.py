"""Denormalize: arrays explode, objects flatten, rows are written."""

import csv
from pathlib import Path

from fanfold.engine.merge import field_of, reference_name
from fanfold.engine.schema import RECORD
from fanfold.engine.session import connect, identifier, json_buffer_bytes, json_path, pattern, text
from fanfold.errors import DataError
from fanfold.layout import Run
from fanfold.manifest import Column, RunSchema
from fanfold.spec import Spec

CSV = "FORMAT csv, HEADER true, DELIMITER ',', QUOTE '\"', ESCAPE '\"', NULLSTR '', USE_TMP_FILE false"


def denormalize(run: Run, n: int, schema: RunSchema, target: Path) -> int:
    r"""Write merged records as flat rows of CSV (RFC 4180, UTF-8, `\n`), in the order that they were merged in.

    One row for each element of the exploded array; a record whose array is empty, null or missing keeps one row. Null
    and missing are nothing, an empty text is `""`.

    Returns:
        The number of rows.

    Raises:
        DataError: the rows are not as many as the records call for (a fault of Fanfold or of DuckDB).
    """
    spec = run.feed.spec
    source = f"read_parquet({text(pattern(run.merged_path(n)))}, hive_partitioning = false)"
    inner, outer = _projections(schema, spec)
    query, expected = f"SELECT {outer} FROM (SELECT {inner} FROM {source})", "count(*)"
    if array := _array(schema, spec):
        expected = f"coalesce(sum(greatest(coalesce(len({array}), 0), 1)), 0)"
    with connect(run.feed.data_dir, run.spill_dir(n)) as connection:
        written = connection.execute(f"COPY ({query}) TO {text(str(target))} ({CSV})").fetchone()
        wanted = connection.execute(f"SELECT {expected}::BIGINT FROM {source}").fetchone()
    if written is None or wanted is None or written[0] != wanted[0]:
        msg = f"{target.name!r}: found {written} rows, expected {wanted}: the output is not published"
        raise DataError(msg)
    return int(written[0])


def count_rows(data_dir: Path, table: Path, max_line_bytes: int) -> int:
    """Return the number of rows of a published table, whose lines have at most so many bytes."""
    with table.open(encoding="utf-8", newline="") as file:
        names = next(csv.reader(file), [])
    if not names:
        return 0
    columns = ", ".join(f"{text(name)}: 'VARCHAR'" for name in names)
    with connect(data_dir) as connection:
        counted = connection.execute(
            f"""
            SELECT count(*) FROM read_csv({text(pattern(table))}, auto_detect = false, header = true, delim = ',',
                                          quote = '"', escape = '"', columns = {{{columns}}}, hive_partitioning = false,
                                          max_line_size = {max_line_bytes})
            """
        ).fetchone()
    return int(counted[0]) if counted else 0


def count_originals(data_dir: Path, sources: list[Path], spec: Spec) -> tuple[int, int]:
    """Return how many records lie in files of JSON, and how many rows they call for."""
    rows = "1"
    for path in spec.denormalize.explode:
        rows = f"greatest(coalesce(json_array_length(json, {text(json_path(path.split('.')))}), 0), 1)"
    if not sources:
        return 0, 0
    buffers = json_buffer_bytes(len(sources), spec.input.max_record_bytes)
    with connect(data_dir, json_buffers=buffers) as connection:
        counted = connection.execute(
            f"""
            SELECT count(*), coalesce(sum({rows}), 0)::BIGINT
            FROM read_json_objects($paths, format = 'auto', hive_partitioning = false,
                                   maximum_object_size = {spec.input.max_record_bytes})
            """,
            {"paths": [pattern(source) for source in sources]},
        ).fetchone()
    return (int(counted[0]), int(counted[1])) if counted else (0, 0)


def _array(schema: RunSchema, spec: Spec) -> str | None:
    for path in spec.denormalize.explode:
        keys = path.split(".")
        return field_of(RECORD, keys) if schema.record else None
    return None


def _projections(schema: RunSchema, spec: Spec) -> tuple[str, str]:
    """Return what is taken from the records before the array explodes, and what is made of it after."""
    array = _array(schema, spec)
    array_path = spec.denormalize.explode[0].split(".") if array else None
    inner, outer = [], []
    for position, column in enumerate(schema.columns):
        name = identifier(column.name)
        if array_path and column.source == RECORD and column.path[: len(array_path)] == array_path:
            outer.append(f"{field_of('item', column.path[len(array_path) :])} AS {name}")
        else:
            inner.append(f"{_value(column, spec)} AS column_{position}")
            outer.append(f"column_{position} AS {name}")
    if array:
        inner.append(f"unnest(CASE WHEN len({array}) > 0 THEN {array} ELSE [NULL] END) AS item")
    return ", ".join(inner), ", ".join(outer)


def _value(column: Column, spec: Spec) -> str:
    if column.source == RECORD:
        return field_of(RECORD, column.path)
    index = [merge.into for merge in spec.merge].index(column.source)
    return field_of(reference_name(index), column.path)
