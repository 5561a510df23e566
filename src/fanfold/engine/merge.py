"""Merge: every record joined with its references. Nesting is kept."""

import re
from pathlib import Path

import duckdb

from fanfold.engine.schema import RECORD
from fanfold.engine.session import connect, identifier, json_buffer_bytes, pattern, text
from fanfold.errors import DataError
from fanfold.layout import Run
from fanfold.manifest import RunSchema
from fanfold.records import explain

# Small enough for a task's memory, large enough for Parquet's encodings.
ROW_GROUP_ROWS = 20_480


def merge(run: Run, n: int, names: list[str], schema: RunSchema, target: Path) -> tuple[int, int]:
    """Write the records of staged files as Parquet: a struct `record`, and one for each reference.

    In the order of the files, unless a reference does not fit into memory.

    The struct of a reference is null where a record has no match. Keys compare as text.

    Returns:
        The number of records, and of those that some reference has no match for.

    Raises:
        DataError: a file does not fit the run's schema; a record has no match, under `on_missing: fail`.
    """
    spec = run.feed.spec
    # DuckDB reads no table without columns; a record without fields has none.
    fields = schema.record or [("_", "VARCHAR")]
    columns = ", ".join(f"{text(name)}: {text(kind)}" for name, kind in fields)
    record = ", ".join(f"{identifier(name)} := {identifier(name)}" for name, _ in fields)
    joins, selected, unmatched = "", "record", "false"
    for index, reference in enumerate(spec.merge):
        path = run.reference_path(index)
        key = field_of(RECORD, reference.record_key.split("."))
        # Without records there is no field to compare.
        key = f"{key}::VARCHAR" if schema.record else "NULL"
        frozen = f"read_parquet({text(pattern(path))}, hive_partitioning = false)"
        joins += f" LEFT JOIN {frozen} AS reference_{index} ON reference_{index}.key = {key}"
        selected += f", reference_{index}.row AS {reference_name(index)}"
        unmatched += f" OR {reference_name(index)} IS NULL"
    files = ", ".join(text(pattern(run.subdir_dir(n) / name)) for name in names)
    buffers = json_buffer_bytes(len(names), spec.input.max_record_bytes)
    with connect(run.feed.data_dir, run.spill_dir(n), json_buffers=buffers) as connection:
        _copy(
            connection,
            f"""
            COPY (
                SELECT {selected} FROM (
                    SELECT struct_pack({record}) AS {RECORD}
                    FROM read_json([{files}], columns = {{{columns}}}, format = 'auto',
                                   hive_partitioning = false, maximum_object_size = {spec.input.max_record_bytes})
                ) {joins}
            ) TO {text(str(target))} (FORMAT parquet, ROW_GROUP_SIZE {ROW_GROUP_ROWS}, USE_TMP_FILE false)
            """,
            run.subdir_dir(n),
        )
        merged = f"read_parquet({text(pattern(target))}, hive_partitioning = false)"
        counted = connection.execute(f"SELECT count(*), count(*) FILTER (WHERE {unmatched}) FROM {merged}").fetchone()
        records, missing = counted or (0, 0)
        for index, reference in enumerate(spec.merge):
            if reference.on_missing == "fail" and missing:
                key = field_of(RECORD, reference.record_key.split("."))
                rows = connection.execute(
                    f"SELECT {key}::VARCHAR FROM {merged} WHERE {reference_name(index)} IS NULL LIMIT 1"
                ).fetchall()
                if rows:
                    msg = f"{reference.record_key} {rows[0][0]!r} is not in {reference.reference!r}, expected a match"
                    raise DataError(msg)
    return int(records), int(missing)


def _copy(connection: duckdb.DuckDBPyConnection, query: str, folder: Path) -> None:
    try:
        connection.execute(query)
    except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
        # Of DuckDB's message only the file is right: the line is not, inside of arrays.
        named = re.search(r'in file "(.*?)", (?:in|at)', str(error))
        path = Path(named[1]) if named else folder
        place = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
        reason = explain(path) if path.is_file() else None
        msg = f"{place!r}: {reason or ' '.join(str(error).split())[:300]}"
        raise DataError(msg) from error


def reference_name(index: int) -> str:
    """Return the column that holds the match of `spec.merge[index]`."""
    return f"merged_{index}"


def field_of(struct: str, path: list[str]) -> str:
    """Return the SQL for a field inside of a struct."""
    for name in path:
        struct = f"struct_extract({struct}, {text(name)})"
    return struct
