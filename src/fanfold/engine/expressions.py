"""SQL expressions of the spec: over the columns of one row, and over nothing else."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

from fanfold.engine.session import connect, identifier
from fanfold.errors import DataError, nearest
from fanfold.manifest import Column
from fanfold.schema.checks import lacking
from fanfold.schema.columns import sql_names, with_names

ALLOWED_CLASSES = {
    "FUNCTION", "COLUMN_REF", "CONSTANT", "CAST", "CASE", "COMPARISON", "CONJUNCTION", "OPERATOR", "BETWEEN", "LAMBDA",
    "LAMBDA_REF", "COLLATE", "TYPE",
}  # fmt: skip
# What the result of an expression becomes; any other type becomes text.
RESULT_TYPES = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"), "BIGINT"),
    **dict.fromkeys(("HUGEINT", "UBIGINT"), "DECIMAL(38,0)"),
    **dict.fromkeys(("FLOAT", "DOUBLE"), "DOUBLE"),
    **{name: name for name in ("BOOLEAN", "DATE", "TIMESTAMP")},
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ",
}
# DuckDB goes on with the extension that has it; none is ever fetched.
NOT_THERE = re.compile(r'Catalog Error: (?:Scalar )?(\w+) with name "?([^"\s]+)"? (?:is not|does not).*')
# Functions that always answer the same, but look at the machine or the session.
FOREIGN = (
    "current_", "session_", "getenv", "getvariable", "pg_", "duckdb_", "has_", "inet_", "in_search_path", "txid_",
    "version",
)  # fmt: skip
# What stands behind FROM alone: a function of the same name may be a value, as range() is.
OF_TABLES = {"table", "table_macro", "pragma"}
# Words of SQL that look like columns.
CLOCKS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
NOT_OF_ROW = "which does not depend on its row alone"
FUNCTIONS = """
    SELECT function_name, function_type, stability, parameters, macro_definition FROM duckdb_functions()
    WHERE function_name IN (SELECT unnest($1)) ORDER BY ALL
"""


def column(
    name: str, expression: str, flat: list[Column], files: Collection[str] = (), key: str = "denormalize.columns"
) -> Column:
    """Return the column that an expression makes of the columns of a flat row.

    Args:
        name: of the column.
        expression: in SQL.
        flat: the columns of a flat row.
        files: those that were scanned.
        key: of the spec, where the expression stands.

    Raises:
        DataError: it is not an expression of SQL, names a column that is not there, or does what one may not: read a
            table or a file, aggregate, or answer differently from time to time.
    """
    place = f"{key} {name!r}: {expression!r}"
    try:
        with connect() as connection:
            nodes = _parsed(connection, expression)
            called = sql_names([one.name for one in flat])
            if unknown := _unknown_columns(nodes, flat, called):
                msg = f"{place}: column {unknown[0]!r} is not there"
                raise lacking(msg, nearest(unknown[0], with_names([one.name for one in flat])), files)
            _check_functions(connection, nodes)
            columns = ", ".join(
                f"NULL::{one.type} AS {identifier(name)}" for one, name in zip(flat, called, strict=True)
            )
            kind = str(connection.sql(f"SELECT ({expression}\n) FROM (SELECT {columns})").types[0])
    except (duckdb.Error, ValueError) as error:
        first = " ".join(str(error).splitlines()[0].split())
        found = NOT_THERE.sub(lambda match: f"{match[1].lower()} {match[2]!r} is not there", first)
        msg = f"{place}: {found}, expected SQL over the columns of one row"
        raise DataError(msg) from None
    kind = kind if kind.startswith("DECIMAL") else RESULT_TYPES.get(kind, "VARCHAR")
    return Column(name, kind, "spec", [], expression=expression)


def columns_in(connection: duckdb.DuckDBPyConnection, expression: str) -> set[str]:
    """Return the names in an expression, without regard to case: those of columns, and of the arguments of lambdas."""
    nodes = _parsed(connection, expression)
    return {name.casefold() for node in nodes for name in node.get("column_names", ())}


def _parsed(connection: duckdb.DuckDBPyConnection, expression: str) -> list[dict[str, Any]]:
    """Return an expression that stands alone, and each one inside of it."""
    if not expression.strip():
        msg = "found nothing"
        raise ValueError(msg)
    (answer,) = connection.execute("SELECT json_serialize_sql($1)", [f"SELECT ({expression}\n)"]).fetchall()[0]
    parsed = json.loads(answer)
    if parsed["error"] or len(parsed["statements"]) != 1:
        raise ValueError(parsed.get("error_message", "found several statements"))
    node = parsed["statements"][0]["node"]
    if node["type"] != "SELECT_NODE" or len(node["select_list"]) != 1 or node["from_table"]["type"] != "EMPTY":
        msg = "found a query"
        raise ValueError(msg)
    nodes = list(_nodes(node["select_list"][0]))
    if refused := [one["type"] for one in nodes if one["class"] not in ALLOWED_CLASSES]:
        msg = f"found {str(refused[0]).lower().replace('_', ' ')}"
        raise ValueError(msg)
    return nodes


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield each expression in a tree, the outer one first."""
    if isinstance(tree, dict) and "class" in tree:
        yield tree
    for inner in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _nodes(inner)


def _unknown_columns(nodes: list[dict[str, Any]], flat: list[Column], called: list[str]) -> list[str]:
    """Return the columns that are named but do not exist."""
    asked = [node["column_names"][0] for node in nodes if node["class"] == "COLUMN_REF"]
    names = with_names([one.name for one in flat])
    twice = {one.lower() for one, name in zip(names, called, strict=True) if name != one}
    if doubtful := [name for name in asked if name.lower() in twice]:
        msg = f"column {doubtful[0]!r} is there in two spellings, which SQL cannot distinguish"
        raise ValueError(msg)
    lambdas = [inner for node in nodes if node["class"] == "LAMBDA" for inner in _nodes(node["lhs"])]
    known = {name.lower() for name in names}
    known |= {name.lower() for inner in lambdas for name in inner.get("column_names", ())}
    unknown = [name for name in asked if name.lower() not in known]
    if clocks := [name for name in unknown if name.lower() in CLOCKS]:
        msg = f"found {clocks[0]}, {NOT_OF_ROW}"
        raise ValueError(msg)
    return unknown


def _check_functions(connection: duckdb.DuckDBPyConnection, nodes: list[dict[str, Any]]) -> None:
    called = [(node["function_name"].lower(), node["arguments"]) for node in nodes if node["class"] == "FUNCTION"]
    # DuckDB says that it always answers the same.
    if any(name == "age" and len(arguments) == 1 for name, arguments in called):
        msg = "found age() with one argument, which depends on today's date"
        raise ValueError(msg)
    rows = connection.execute(FUNCTIONS, [sorted({name for name, _ in called})]).fetchall()
    values = {name for name, kind, *_ in rows if kind not in OF_TABLES}
    for name, kind, *how in rows:
        if kind in OF_TABLES and name in values:
            continue
        if fault := NOT_OF_ROW if name.startswith(FOREIGN) else _fault(connection, kind, *how):
            msg = f"found {name}(), {fault}"
            raise ValueError(msg)


def _fault(
    connection: duckdb.DuckDBPyConnection, kind: str, stability: str | None, parameters: list[str], macro: str | None
) -> str:
    """Say why a function does not answer by its arguments alone. A macro, as nullif() is, is what it stands for."""
    if kind in OF_TABLES:
        return "which makes rows, not one value"
    if kind == "aggregate":
        return "which takes the values of several rows"
    if kind != "macro" or macro is None:
        return "" if (kind, stability) == ("scalar", "CONSISTENT") else NOT_OF_ROW
    try:
        nodes = _parsed(connection, macro)
        _check_functions(connection, nodes)
    except ValueError as error:
        return str(error).rpartition("(), ")[2] if "(), " in str(error) else NOT_OF_ROW
    known = all(node["column_names"][0] in parameters for node in nodes if node["class"] == "COLUMN_REF")
    return "" if known else NOT_OF_ROW
