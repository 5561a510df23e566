"""How the records of files become one relation in SQL: JSON, CSV, Parquet, and what the careful path has made."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import duckdb
from duckdb.sqltypes import DuckDBPyType

from fanfold.engine.fields import Field
from fanfold.engine.session import connect, identifier, pattern, text
from fanfold.layout import input_format
from fanfold.manifest import Node
from fanfold.records.canonical import ESCAPES, FILE, RECORD_NUMBER, RESCUED, json_text, key_of
from fanfold.records.faults import UnreadableError
from fanfold.records.json_records import Found, Parser
from fanfold.records.read import csv_names, json_layout, read
from fanfold.records.window import CHUNK_BYTES
from fanfold.spec import MAX_PRECISION, Spec

# DuckDB's readers name the file of a row in a column of this name, which no record has.
ORIGIN = f"{ESCAPES[1]}origin"
WHOLE_TYPES = {"tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger"}
# Digits of the largest value; 39 are more than a DECIMAL holds.
LARGE_TYPES = {"ubigint": 20, "hugeint": 39, "uhugeint": 39}
NESTED_TYPES = {"struct", "list", "array", "map", "union"}
FETCHED_ROWS = 1000
NO_PARQUET, TOO_LARGE, RENAMED = "unreadable", "too_large", "case_conflict"
# What the bytes of a file can lead to; of IOException, damaged compression.
DATA_FAULTS = (
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.InternalException,
    duckdb.FatalException,
    duckdb.IOException,
    # A task has so much memory, and no more: what takes it all would take it again.
    duckdb.OutOfMemoryException,
)


class Clean(NamedTuple):
    """What the careful path has made: a file of lines, and the size of the largest."""

    path: Path
    line_bytes: int


def sql_type(node: Node, values: Literal["read", "text", "final"] = "read", *, rescue: bool = False) -> str:
    """Return the DuckDB type of a node.

    Args:
        node: a field, or a record as an object.
        values: as the fast path reads them, as the texts that the careful path makes, or as they are in the output.
        rescue: whether objects have RESCUED beside their fields.
    """
    if node.kind == "list":
        return sql_type(node.element or Node("", "value"), values, rescue=rescue) + "[]"
    if node.kind == "value":
        return {"read": node.read_type, "text": "VARCHAR", "final": node.type}[values]
    fields = [f"{identifier(key_of(field))} {sql_type(field, values, rescue=rescue)}" for field in node.fields]
    fields += [f"{identifier(RESCUED)} VARCHAR"] if rescue or not fields else []
    return f"STRUCT({', '.join(fields)})"


def record_type(nodes: list[Node], *, rescue: bool) -> str:
    """Return the DuckDB type of a whole record."""
    return sql_type(Node("", "object", fields=nodes), rescue=rescue)


def relations(
    files: Iterable[Path],
    nodes: list[Node],
    spec: Spec,
    *,
    lines: bool = False,
    clean: Clean | None = None,
    joined: Iterable[Path] = (),
) -> list[str]:
    """Return queries that give all records of the files.

    In this order: arrays of JSON, other JSON, CSV, Parquet, what was made clean. Each gives `record`, of the type of
    `record_type`, and ORIGIN, the path of its file; that of `clean` gives the name of the file, and RECORD_NUMBER.

    Args:
        files: what the fast path reads.
        nodes: the fields of the records.
        spec: largest record, and whether there is `_rescued`.
        lines: whether each record of the other JSON is a line: DuckDB has less to look for, and refuses two in one.
        clean: the lines that `canonical` has made.
        joined: records of further files of JSON, one a line, that come before all others.
    """
    rescue = spec.input.schema_mode == "declared"
    target = record_type(nodes, rescue=rescue)
    by_format: dict[str, list[Path]] = {"array": [], "unstructured": [], "csv": [], "parquet": []}
    for path in files:
        kind = input_format(path.name)
        by_format[json_layout(path) if kind == "json" else kind].append(path)
    layouts = {"array": "array", "unstructured": "newline_delimited" if lines else "unstructured"}
    found = [_json([path], "newline_delimited", nodes, spec, target) for path in joined]
    found += [_json(by_format[key], layout, nodes, spec, target) for key, layout in layouts.items() if by_format[key]]
    headers: dict[tuple[str, ...], list[Path]] = {}
    for path in by_format["csv"]:
        headers.setdefault(tuple(csv_names(path)), []).append(path)
    found += [_csv(paths, list(names), nodes, spec, target) for names, paths in headers.items()]
    found += [_parquet(path, nodes, target) for path in by_format["parquet"]]
    if clean:
        found.append(_clean(clean, nodes, spec, target))
    return found


def _paths(paths: list[Path]) -> str:
    return "[" + ", ".join(text(pattern(path)) for path in paths) + "]"


def _numbered(query: str) -> str:
    return f"SELECT record, {identifier(ORIGIN)}, NULL::BIGINT AS {identifier(RECORD_NUMBER)} FROM ({query})"


def _json(paths: list[Path], layout: str, nodes: list[Node], spec: Spec, target: str) -> str:
    # DuckDB reads no table without columns.
    read = nodes or [Node("_", "value")]
    columns = ", ".join(f"{text(key_of(node))}: {text(sql_type(node))}" for node in read)
    packed = ", ".join(f"{identifier(key_of(node))} := {identifier(key_of(node))}" for node in nodes)
    record = f"struct_pack({packed})::{target}" if nodes else f"struct_pack({identifier(RESCUED)} := NULL)::{target}"
    return _numbered(
        f"""
        SELECT {record} AS record, {identifier(ORIGIN)}
        FROM read_json({_paths(paths)}, columns = {{{columns}}}, records = true, format = {text(layout)},
                       hive_partitioning = false, filename = {text(ORIGIN)},
                       maximum_object_size = {spec.input.max_record_bytes})
        """
    )


def csv_reader(paths: list[Path], names: list[str], max_line_bytes: int) -> str:
    """Return DuckDB's strict reading of CSV files of one header: every value text, without anything null, `""` not."""
    columns = ", ".join(f"{text(name)}: 'VARCHAR'" for name in names)
    return (
        f"read_csv({_paths(paths)}, auto_detect = false, header = true, columns = {{{columns}}}, delim = ',', "
        f"quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false, hive_partitioning = false, "
        f"filename = {text(ORIGIN)}, max_line_size = {max_line_bytes}, buffer_size = {2 * max_line_bytes})"
    )


def _csv(paths: list[Path], names: list[str], nodes: list[Node], spec: Spec, target: str) -> str:
    packed = _packed(
        nodes, {name: f"{identifier(name)}::{_read_type(nodes, name)}" for name in names}, rescue=not nodes
    )
    reader = csv_reader(paths, names, spec.input.max_record_bytes)
    return _numbered(f"SELECT {packed}::{target} AS record, {identifier(ORIGIN)} FROM {reader}")


def _read_type(nodes: list[Node], name: str) -> str:
    node = next((node for node in nodes if node.name == name), None)
    # A text in a column of JSON has quotes there.
    return "VARCHAR" if node is None or node.read_type != "JSON" else "JSON"


def _packed(nodes: list[Node], values: dict[str, str], *, rescue: bool) -> str:
    packed = [f"{identifier(key_of(node))} := {values.get(node.name, 'NULL')}" for node in nodes]
    packed += [f"{identifier(RESCUED)} := NULL"] if rescue else []
    return f"struct_pack({', '.join(packed)})"


def _clean(clean: Clean, nodes: list[Node], spec: Spec, target: str) -> str:
    rescue = spec.input.schema_mode == "declared"
    own = [FILE, RECORD_NUMBER, *([RESCUED] if rescue or not nodes else [])]
    columns = [(key_of(node), sql_type(node, "text", rescue=rescue)) for node in nodes]
    columns += [(name, "VARCHAR") for name in own]
    declared = ", ".join(f"{text(name)}: {text(kind)}" for name, kind in columns)
    packed = ", ".join(f"{identifier(name)} := {identifier(name)}" for name, _ in columns if name not in own[:2])
    return f"""
        SELECT struct_pack({packed})::{target} AS record, {identifier(FILE)} AS {identifier(ORIGIN)},
               {identifier(RECORD_NUMBER)}::BIGINT AS {identifier(RECORD_NUMBER)}
        FROM read_json({_paths([clean.path])}, columns = {{{declared}}}, records = true, format = 'newline_delimited',
                       hive_partitioning = false,
                       maximum_object_size = {max(clean.line_bytes, CHUNK_BYTES)})
        """


def _parquet(path: Path, nodes: list[Node], target: str) -> str:
    with connect(path.parent) as connection:
        types = dict(parquet_types(connection, path))
    values = {
        node.name: _converted(identifier(node.name), types[node.name], node) for node in nodes if node.name in types
    }
    packed = _packed(nodes, values, rescue=not nodes)
    reader = f"read_parquet({_paths([path])}, hive_partitioning = false, filename = {text(ORIGIN)})"
    return _numbered(f"SELECT {packed}::{target} AS record, {identifier(ORIGIN)} FROM {reader}")


def parquet_types(connection: duckdb.DuckDBPyConnection, path: Path) -> list[tuple[str, DuckDBPyType]]:
    """Return name and type of each column of a Parquet file.

    Raises:
        UnreadableError: two names differ in letter case alone: DuckDB gives one of them another name.
    """
    widest = connection.execute("SELECT max(precision) FROM parquet_schema($path)", {"path": pattern(path)}).fetchone()
    if widest and (widest[0] or 0) > MAX_PRECISION:
        msg = f"found a decimal of {widest[0]} digits, expected at most {MAX_PRECISION}"
        raise duckdb.InvalidInputException(msg)
    relation = connection.sql(f"SELECT * FROM read_parquet({_paths([path])}, hive_partitioning = false)")
    types = list(zip(relation.columns, relation.types, strict=True))
    names = connection.execute("SELECT name FROM parquet_schema($path)", {"path": pattern(path)}).fetchall()
    if renamed := sorted(_names(types) - {name for (name,) in names}):
        msg = f"found two fields that differ in letter case alone (one is read as {renamed[0]!r}), expected names apart"
        raise UnreadableError(RENAMED, msg)
    return types


def _names(types: list[tuple[str, DuckDBPyType]]) -> set[str]:
    """Return the names of columns, and of the fields of objects in them."""
    found: set[str] = set()
    for name, kind in types:
        inner = _children(kind) if kind.id in {"struct", "list", "array"} else []
        found |= {name} | (_names(inner) if kind.id == "struct" else _names(inner) - {one for one, _ in inner})
    return found


def _converted(value: str, kind: DuckDBPyType, node: Node) -> str:
    """Return the SQL that makes a value of Parquet what a node is read as."""
    if node.kind == "object" and kind.id == "struct":
        children = dict(_children(kind))
        inner = {
            field.name: _converted(f"struct_extract({value}, {text(field.name)})", children[field.name], field)
            for field in node.fields
            if field.name in children
        }
        return f"CASE WHEN {value} IS NULL THEN NULL ELSE {_packed(node.fields, inner, rescue=not node.fields)} END"
    if node.kind == "list" and kind.id in {"list", "array"} and node.element:
        return f"list_transform({value}, lambda item: {_converted('item', _children(kind)[0][1], node.element)})"
    if node.kind == "value" and node.read_type == "JSON":
        return f"to_json({value})::VARCHAR::JSON"
    return f"({value})::{node.read_type}" if node.kind == "value" else "NULL"


def parquet_field(name: str, types: list[tuple[str, DuckDBPyType]]) -> Field:
    """Return the tree of the fields that a Parquet file has, from its types."""
    root = Field(name, {"object"})
    for column, kind in types:
        root.fields[column] = _field_of(name, kind)
    return root


def _children(kind: DuckDBPyType) -> list[tuple[str, DuckDBPyType]]:
    return [(name, inner) for name, inner in kind.children if isinstance(inner, DuckDBPyType)]


def _sizes(kind: DuckDBPyType) -> tuple[int, int]:
    sizes = dict(kind.children)
    return int(str(sizes["precision"])), int(str(sizes["scale"]))


def _field_of(name: str, kind: DuckDBPyType) -> Field:
    field = Field(name)
    if kind.id == "struct":
        field.kinds.add("object")
        field.fields = {key: _field_of(name, inner) for key, inner in _children(kind)}
    elif kind.id in {"list", "array"}:
        field.kinds.add("array")
        field.element = _field_of(name, _children(kind)[0][1])
    elif kind.id in {"map", "union"}:
        field.kinds.add("array")
    elif kind.id in WHOLE_TYPES:
        field.kinds.add("BIGINT")
        field.whole = 19
    elif kind.id in LARGE_TYPES or kind.id == "decimal":
        field.kinds.add("DECIMAL")
        precision, scale = (LARGE_TYPES[kind.id], 0) if kind.id in LARGE_TYPES else _sizes(kind)
        field.whole, field.fraction = precision - scale, scale
    elif kind.id in {"float", "double"}:
        field.kinds.add("DOUBLE")
    else:
        field.kinds.add("BOOLEAN" if kind.id == "boolean" else "VARCHAR")
    return field


def careful_records(data_dir: Path, path: Path, spec: Spec) -> Iterator[Found]:
    """Yield the records of a file one by one, good and bad; the place of a row of Parquet is its number.

    Raises:
        UnreadableError: no record of the file can be read.
    """
    if input_format(path.name) != "parquet":
        yield from read(path, spec.input)
        return
    try:
        with connect(data_dir) as connection:
            yield from _parquet_records(connection, path)
    except duckdb.OutOfMemoryException as error:
        raise UnreadableError(TOO_LARGE, f"found more than memory holds ({_first_line(error)})") from None
    except DATA_FAULTS as error:
        # Where it is not the file but the disk that fails, this fails as well, and can be tried again.
        with path.open("rb") as file:
            while file.read(CHUNK_BYTES):
                pass
        msg = f"found no Parquet ({_first_line(error).replace(str(path), path.name)})"
        raise UnreadableError(NO_PARQUET, msg) from None


def _parquet_records(connection: duckdb.DuckDBPyConnection, path: Path) -> Iterator[Found]:
    types = parquet_types(connection, path)
    values = ", ".join(_as_json(name, kind) for name, kind in types)
    reader = connection.execute(f"SELECT {values} FROM read_parquet({_paths([path])}, hive_partitioning = false)")
    parse, number = Parser().parse, 0
    while rows := reader.fetchmany(FETCHED_ROWS):
        for row in rows:
            number += 1
            value = {n: parse(v, 0)[0] if v is not None else None for (n, _), v in zip(types, row, strict=True)}
            yield Found(json_text(value), (number, 0), value)


def _as_json(name: str, kind: DuckDBPyType) -> str:
    plain = kind.id in NESTED_TYPES | WHOLE_TYPES | LARGE_TYPES.keys() | {"decimal", "float", "double", "boolean"}
    value = identifier(name)
    return f"to_json({value if plain else value + '::VARCHAR'})::VARCHAR"


def _first_line(error: duckdb.Error) -> str:
    return " ".join(str(error).splitlines()[0].split())[:200]
