"""Counting again: records, rows and exact sums, of originals and of published tables, each by its own reading."""

import csv
from collections.abc import Iterable, Mapping
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from fanfold.engine.denormalize import flat_rows
from fanfold.engine.merge import field_of
from fanfold.engine.schema import RECORD, sql_names
from fanfold.engine.session import chunk_bytes, connect, identifier, json_buffer_bytes, pattern, text
from fanfold.engine.source import relations
from fanfold.errors import DataError
from fanfold.layout import Run
from fanfold.manifest import Column, Node, RunSchema
from fanfold.records.canonical import apart, keys_of
from fanfold.records.limits import MAX_FIELDS
from fanfold.spec import Spec

# By the name of the column.
Sums = dict[str, Decimal]
NUMBERS = ("BIGINT", "DECIMAL")
# More than the digits of any sum: nothing is rounded.
DIGITS = 1000


class Counts(NamedTuple):
    """What was counted: records, rows, and the sum of each column that is totalled."""

    records: int
    rows: int
    sums: Sums


def add(one: Sums, other: Sums) -> Sums:
    """Return the sums of both, exactly."""
    with localcontext(prec=DIGITS):
        return {name: one.get(name, Decimal(0)) + other.get(name, Decimal(0)) for name in {**one, **other}}


def plain(total: Decimal) -> str:
    """Return a sum as it is written down: digits, no exponent."""
    return f"{total:f}"


def merged_sums(run: Run, n: int, schema: RunSchema, record_bytes: int) -> Sums:
    """Return the sums over the rows that merged records, of some average size, call for.

    Raises:
        DataError: a sum has more digits than DuckDB holds.
    """
    columns = totalled(run.feed.spec, schema.columns)
    source = f"read_parquet({text(pattern(run.merged_path(n)))}, hive_partitioning = false)"
    if not columns:
        return {}
    buffers = chunk_bytes(record_bytes)
    with connect(run.feed.data_dir, run.spill_dir(n), buffers=buffers, columns=len(schema.flat)) as connection:
        rows = f"({flat_rows(source, schema, run.feed.spec)})"
        return _sums(connection, rows, columns, [column.name for column in schema.columns])[1]


def totalled(spec: Spec, columns: list[Column]) -> list[Column]:
    """Return the columns whose sums are proved, in the order of the spec; those that are nothing but null have none."""
    known = {column.name: column for column in columns if column.type.startswith(NUMBERS)}
    return [known[name] for name in dict.fromkeys(spec.verify.totals) if name in known]


def count_table(data_dir: Path, table: Path, max_line_bytes: int, columns: list[Column]) -> Counts:
    """Count the rows of a published table, whose lines have at most so many bytes, and sum up some of its columns."""
    if table.suffix == ".parquet":
        rows, names = f"read_parquet({text(pattern(table))}, hive_partitioning = false)", [one.name for one in columns]
    else:
        with table.open(encoding="utf-8", newline="") as file:
            names = next(csv.reader(file), [])
        if not names:
            return Counts(0, 0, {})
        declared = ", ".join(f"{text(name)}: 'VARCHAR'" for name in sql_names(names))
        rows = (
            f"read_csv({text(pattern(table))}, auto_detect = false, header = true, delim = ',', quote = '\"', "
            f"escape = '\"', new_line = '\\n', columns = {{{declared}}}, hive_partitioning = false, "
            f"max_line_size = {max_line_bytes}, buffer_size = {max_line_bytes})"
        )
    with connect(data_dir, columns=MAX_FIELDS) as connection:
        return Counts(0, *_sums(connection, rows, columns, names))


def count_originals(
    data_dir: Path, sources: list[Path], spec: Spec, explode: list[list[str]], columns: list[Column]
) -> Counts:
    """Count the records of files of the fast path and the rows that they call for, and sum up some columns.

    Nothing but the arrays and these columns is read.
    """
    nodes = _nodes({(*column.path,): column.type for column in columns}, {(*path,) for path in explode}, ())
    schema = RunSchema(nodes, explode, rescued=False, flat=columns, columns=columns, references=[])
    arrays = [keys_of(nodes, path) for path in explode]
    plain = spec.model_copy(update={"output": spec.output.model_copy(update={"lineage": False})})
    records, rows, sums = 0, 0, Sums()
    with connect(data_dir, buffers=json_buffer_bytes(len(sources), spec.input.max_record_bytes)) as connection:
        for relation in relations(sources, nodes, spec):
            counted = connection.execute(
                f"""
                SELECT count(*), coalesce(sum({_rows_of(identifier(RECORD), 0, arrays)}), 0)::BIGINT FROM ({relation})
                """
            ).fetchone()
            records, rows = (records + counted[0], rows + counted[1]) if counted else (records, rows)
            if columns:
                flat = f"({flat_rows(f'({relation})', schema, plain)})"
                sums = add(sums, _sums(connection, flat, columns, [column.name for column in columns])[1])
    return Counts(records, rows, sums)


def _rows_of(items: str, above: int, arrays: list[list[str]]) -> str:
    """Return the SQL for the number of rows that a record becomes, by the lengths of its arrays.

    Args:
        items: the SQL for the record, or for an element of an array.
        above: how many keys lead to it; none for the record.
        arrays: the keys that lead to the arrays inside of it which explode, from the outermost.
    """
    if not arrays:
        return "1"
    array, *further = arrays
    value = field_of(items, array[above:])
    if not further:
        return f"greatest(coalesce(len({value}), 0), 1)"
    variable = f"e{len(further)}"
    inner = f"list_sum(list_transform({value}, lambda {variable}: {_rows_of(variable, len(array), further)}))"
    return f"CASE WHEN len({value}) > 0 THEN {inner} ELSE 1 END"


def _sums(
    connection: duckdb.DuckDBPyConnection, rows: str, columns: list[Column], names: list[str]
) -> tuple[int, Sums]:
    """Return the number of rows and the sums of some columns; `names` are those of all columns."""
    called = dict(zip(names, sql_names(names), strict=True))
    selected = "".join(f", sum({identifier(called[one.name])}::{one.type})::VARCHAR" for one in columns)
    try:
        found = connection.execute(f"SELECT count(*){selected} FROM {rows}").fetchone() or (0,)
    except duckdb.OutOfRangeException as error:
        msg = f"verify.totals: a sum has more digits than 38 ({' '.join(str(error).split())[:100]})"
        raise DataError(msg) from None
    return int(found[0]), {c.name: Decimal(value or 0) for c, value in zip(columns, found[1:], strict=True)}


def _nodes(values: Mapping[tuple[str, ...], str], arrays: set[tuple[str, ...]], above: tuple[str, ...]) -> list[Node]:
    """Return the nodes of records that have nothing but some values, and arrays that explode."""
    depth = len(above)
    inside = [path for path in (*sorted(arrays), *values) if path[:depth] == above and len(path) > depth]
    nodes = []
    for name in dict.fromkeys(path[depth] for path in inside):
        at = (*above, name)
        fields = _nodes(values, arrays, at)
        # What is not looked into may be anything.
        value = Node(name, "value", values.get(at, "VARCHAR"), "VARCHAR" if at in values else "JSON")
        node = Node(name, "object", fields=fields) if fields else value
        nodes.append(Node(name, "list", element=node) if at in arrays else node)
    return apart(nodes)


def count_plainly(record: dict[str, object], explode: list[list[str]], columns: list[Column]) -> Counts:
    """Count the rows that one record becomes, and sum up some columns over them, in plain Python."""
    sums = {column.name: Decimal(0) for column in columns}
    with localcontext(prec=DIGITS):
        rows = _count_plainly(record, [], explode, columns, sums)
    return Counts(1, rows, sums)


def _count_plainly(
    items: object, above: list[str], arrays: list[list[str]], columns: Iterable[Column], sums: Sums
) -> int:
    inner = [column for column in columns if arrays and column.path[: len(arrays[0])] == arrays[0]]
    value = _at(items, arrays[0][len(above) :]) if arrays else None
    rows = 1
    if isinstance(value, list) and value:
        rows = sum(_count_plainly(one, arrays[0], arrays[1:], inner, sums) for one in value)
    for column in columns:
        if column not in inner and (found := _at(items, column.path[len(above) :])) not in {None, ""}:
            sums[column.name] += Decimal(str(found)) * rows
    return rows


def _at(items: object, path: list[str]) -> Any:
    value = items
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
