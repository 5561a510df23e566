"""References: frozen for a run, and checked, before any group starts."""

import csv
from pathlib import Path

import duckdb

from fanfold.engine.session import connect, identifier, pattern, text
from fanfold.errors import DataError, MissingError, nearest
from fanfold.spec import Merge

SHOWN_KEYS = 3
# DuckDB has a limit of its own, for the line.
csv.field_size_limit(2**31 - 1)


def header(source: Path, merge: Merge) -> list[str]:
    """Return the column names of a reference, in the order of the file.

    Raises:
        MissingError: the key, or one of `columns`, is not among them.
        DataError: there is no header, or a name is empty or used twice.
    """
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file, strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{merge.reference}:1: {error}, expected a header line of CSV in UTF-8"
        raise DataError(msg) from None
    if not names or not all(names) or len({name.lower() for name in names}) < len(names):
        msg = f"{merge.reference}:1: found the header {names!r}, expected a name of its own for each column"
        raise DataError(msg)
    for wanted in [merge.reference_key, *(merge.columns or [])]:
        if wanted not in names:
            msg = f"{merge.reference}:1: column {wanted!r} is not there, {nearest(wanted, names)}"
            raise MissingError(msg)
    return names


def taken_columns(names: list[str], merge: Merge) -> list[str]:
    """Return the columns that the merge adds to a record, in order."""
    return [name for name in names if name != merge.reference_key] if merge.columns is None else merge.columns


def freeze(data_dir: Path, source: Path, merge: Merge, target: Path, spill_dir: Path) -> int:
    """Write a reference as Parquet, for the merges to join: `key` as text, and all columns as one struct `row`.

    Every value is text as written: "007" stays "007". Fields without anything are null, `""` is an empty text.

    Returns:
        The number of rows. Under `on_duplicate: first` the first line of each key counts.

    Raises:
        DataError: the file is no CSV, or a key stands in several lines, which are named.
        MissingError: a column is not there.
    """
    rows = _rows(source, merge)
    with connect(data_dir, spill_dir) as connection:
        _execute(connection, f"COPY ({rows}) TO {text(str(target))} (FORMAT parquet, USE_TMP_FILE false)", merge)
        return _check_keys(
            connection, f"read_parquet({text(pattern(target))}, hive_partitioning = false)", source, merge
        )


def check(data_dir: Path, source: Path, merge: Merge) -> int:
    """Check a reference as `freeze` does, and return the number of its rows; nothing is written."""
    with connect(data_dir) as connection:
        return _check_keys(connection, f"({_rows(source, merge)})", source, merge)


def _rows(source: Path, merge: Merge) -> str:
    names = header(source, merge)
    columns = ", ".join(f"{text(name)}: 'VARCHAR'" for name in names)
    row = ", ".join(f"{identifier(name)} := {identifier(name)}" for name in names)
    rows = f"""
        SELECT {identifier(merge.reference_key)} AS key, struct_pack({row}) AS row
        FROM read_csv({text(pattern(source))}, auto_detect = false, header = true, columns = {{{columns}}},
                      delim = ',', quote = '"', escape = '"', nullstr = '', allow_quoted_nulls = false,
                      hive_partitioning = false)
    """
    if merge.on_duplicate == "fail":
        return rows
    return f"""
        SELECT key, row FROM (SELECT *, row_number() OVER () AS line FROM ({rows}))
        QUALIFY key IS NULL OR row_number() OVER (PARTITION BY key ORDER BY line) = 1 ORDER BY line
    """


def _check_keys(connection: duckdb.DuckDBPyConnection, rows: str, source: Path, merge: Merge) -> int:
    repeated = f"SELECT key FROM {rows} WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1 ORDER BY key LIMIT 1000"
    twice = _execute(connection, repeated, merge).fetchall()
    if twice:
        raise DataError(_name_lines(source, merge, [key for (key,) in twice]))
    counted = _execute(connection, f"SELECT count(*) FROM {rows}", merge).fetchone()
    return int(counted[0]) if counted else 0


def _execute(connection: duckdb.DuckDBPyConnection, query: str, merge: Merge) -> duckdb.DuckDBPyConnection:
    try:
        return connection.execute(query)
    except (duckdb.InvalidInputException, duckdb.ConversionException) as error:
        detail = " ".join(str(error).split())[:200]
        msg = f"{merge.reference}: {detail}, expected CSV in UTF-8, every line with the columns of the header"
        raise DataError(msg) from None


def _name_lines(source: Path, merge: Merge, keys: list[str]) -> str:
    lines: dict[str, list[int]] = {key: [] for key in keys[:SHOWN_KEYS]}
    with source.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        position = next(reader).index(merge.reference_key)
        line = reader.line_num + 1
        for values in reader:
            if len(values) > position and values[position] in lines:
                lines[values[position]].append(line)
            line = reader.line_num + 1
    shown = "; ".join(f"{key!r} in lines {', '.join(map(str, found))}" for key, found in lines.items())
    more = f"; and {len(keys) - SHOWN_KEYS} more keys" if len(keys) > SHOWN_KEYS else ""
    return f"{merge.reference}: {merge.reference_key} {shown}{more}, expected every key once"
