"""SQL expressions of the spec: over the columns of one row, and of nothing else."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

from fanfold.engine.session import connect_to_nothing, identifier
from fanfold.errors import DataError, nearest
from fanfold.manifest import Column
from fanfold.schema.checks import lacking
from fanfold.schema.columns import NAMELESS, sql_names

ALLOWED_CLASSES = {
    "FUNCTION", "COLUMN_REF", "CONSTANT", "CAST", "CASE", "COMPARISON", "CONJUNCTION", "OPERATOR", "BETWEEN", "LAMBDA",
    "LAMBDA_REF", "COLLATE", "TYPE",
}  # fmt: skip
# What the result of an expression becomes; any other type becomes text.
RESULT_TYPES = {
    "TINYINT": "BIGINT", "SMALLINT": "BIGINT", "INTEGER": "BIGINT", "BIGINT": "BIGINT", "UTINYINT": "BIGINT",
    "USMALLINT": "BIGINT", "UINTEGER": "BIGINT", "HUGEINT": "DECIMAL(38,0)", "UBIGINT": "DECIMAL(38,0)",
    "FLOAT": "DOUBLE", "DOUBLE": "DOUBLE", "BOOLEAN": "BOOLEAN", "DATE": "DATE", "TIMESTAMP": "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ", "VARCHAR": "VARCHAR",
}  # fmt: skip
# DuckDB goes on with the extension that has it; none is ever fetched.
NOT_THERE = re.compile(r'Catalog Error: (?:Scalar )?(\w+) with name "?([^"\s]+)"? (?:is not|does not).*')
# Of one argument it answers by today's date, though DuckDB says that it always answers the same.
AGE = "age"
# Functions that always answer the same, but look at the machine or the session.
FOREIGN = ("current_", "getenv", "getvariable", "pg_", "duckdb_", "has_", "inet_", "in_search_path", "txid_", "version")


class UnknownColumnError(Exception):
    """An expression names a column that is not there; with the nearest name."""


def column(name: str, expression: str, flat: list[Column], files: Collection[str] = ()) -> Column:
    """Return the column that an expression makes of the columns of a flat row; `files` are those that were scanned.

    Raises:
        DataError: it is no expression of SQL, names a column that is not there, or does what one may not: read a
            table or a file, aggregate, or answer differently from time to time.
    """
    place = f"denormalize.columns {name!r}: {expression!r}"
    with connect_to_nothing() as connection:
        try:
            kind = _check(connection, expression, flat)
        except UnknownColumnError as error:
            unknown, hint = error.args
            msg = f"{place}: column {unknown!r} is not there"
            raise lacking(msg, hint, files) from None
        except (duckdb.Error, ValueError) as error:
            found = NOT_THERE.sub(_not_there, " ".join(str(error).splitlines()[0].split()))
            msg = f"{place}: {found}, expected SQL over the columns of one row"
            raise DataError(msg) from None
    return Column(name, kind, "spec", [], expression=expression)


def _not_there(found: re.Match[str]) -> str:
    return f"{found[1].lower()} {found[2]!r} is not there"


def _check(connection: duckdb.DuckDBPyConnection, expression: str, flat: list[Column]) -> str:
    if not expression.strip():
        msg = "found nothing"
        raise ValueError(msg)
    answer = connection.execute("SELECT json_serialize_sql($1)", [f"SELECT ({expression}\n)"]).fetchone()
    parsed: dict[str, Any] = json.loads(answer[0]) if answer else {}
    if parsed.get("error") or len(parsed["statements"]) != 1:
        raise ValueError(parsed.get("error_message", "found several statements"))
    node = parsed["statements"][0]["node"]
    if node.get("type") != "SELECT_NODE" or len(node["select_list"]) != 1 or node["from_table"]["type"] != "EMPTY":
        msg = "found a query"
        raise ValueError(msg)
    functions, known = set(), {one.name.lower() for one in flat}
    names = sql_names([one.name for one in flat])
    twice = {one.name.lower() for one, name in zip(flat, names, strict=True) if name != (one.name or NAMELESS)}
    for inner in _expressions(node["select_list"][0]):
        if inner["class"] == "LAMBDA":
            known |= {name.lower() for one in _expressions(inner["lhs"]) for name in one.get("column_names", ())}
    for inner in _expressions(node["select_list"][0]):
        if inner["class"] not in ALLOWED_CLASSES:
            msg = f"found {str(inner['type']).lower().replace('_', ' ')}"
            raise ValueError(msg)
        # A word that is no column may be one of SQL's own, as current_date is.
        if inner["class"] == "COLUMN_REF" and inner["column_names"][0].lower() in twice:
            msg = f"column {inner['column_names'][0]!r} is there in two spellings, which SQL does not tell apart"
            raise ValueError(msg)
        if inner["class"] == "COLUMN_REF" and inner["column_names"][0].lower() not in known:
            raise UnknownColumnError(inner["column_names"][0], nearest(inner["column_names"][0], known))
        if inner["class"] == "FUNCTION":
            functions.add(name := inner["function_name"].lower())
            if name == AGE and len(inner["arguments"]) < 2:  # noqa: PLR2004 - the two moments
                msg = "found age() of one argument, which answers by today's date"
                raise ValueError(msg)
    _check_functions(connection, functions)
    columns = ", ".join(f"NULL::{one.type} AS {identifier(name)}" for one, name in zip(flat, names, strict=True))
    kind = str(connection.sql(f"SELECT ({expression}\n) FROM (SELECT {columns})").types[0])
    return kind if kind.startswith("DECIMAL") else RESULT_TYPES.get(kind, "VARCHAR")


def _expressions(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if "class" in node:
            yield node
        for inner in node.values():
            yield from _expressions(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _expressions(inner)


def _check_functions(connection: duckdb.DuckDBPyConnection, functions: set[str]) -> None:
    rows = connection.execute(
        """
        SELECT function_name, bool_or(function_type <> 'scalar' OR stability <> 'CONSISTENT') FROM duckdb_functions()
        WHERE function_name IN (SELECT unnest($1)) GROUP BY 1
        """,
        [sorted(functions)],
    ).fetchall()
    refused = sorted(name for name, refused in rows if refused or name.startswith(FOREIGN))
    if refused:
        msg = f"found {refused[0]}(), which is not a function of one row with one answer"
        raise ValueError(msg)
