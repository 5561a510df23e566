"""The rows of a query as CSV, in the form that the spec asks for and that the core gives its own rows."""

import re
from pathlib import Path
from typing import NamedTuple

import duckdb

from fanfold.engine.session import text
from fanfold.schema.columns import FORMULA_BEGINS, NO_FORMULA, header
from fanfold.spec.texts import CsvOutput

COPY = "FORMAT csv, HEADER false, DELIMITER {0}, QUOTE '\"', ESCAPE '\"', NULLSTR '', USE_TMP_FILE false"
FETCHED_ROWS, FETCHED_BYTES = 1000, 1024 * 1024


class Target(NamedTuple):
    """A table that is written: where, with which columns, in which form; and how large a record is, on average."""

    path: Path
    names: list[str]
    form: CsvOutput
    record_bytes: int


def write(connection: duckdb.DuckDBPyConnection, sql: str, target: Target) -> int:
    """Write the rows of a query, whose columns are the texts `column_0`, `column_1` and so on, behind a header.

    Returns:
        The number of rows.

    Raises:
        duckdb.Error: the query fails.
        OSError: the table cannot be written.
    """
    form, head = target.form, header(target.names, target.form)
    cells = [f"column_{i}" for i in range(len(target.names))]
    sql = f"SELECT {', '.join(f'{_escaped(cell, form)} AS {cell}' for cell in cells)} FROM ({sql})"
    if form.null:
        return _write_lines(connection, sql, cells, target)
    options = f"{COPY.format(text(form.delimiter))}, PREFIX {text(head.decode())}, SUFFIX {text(chr(10))}"
    made = int(connection.execute(f"COPY ({sql}) TO {text(str(target.path))} ({options})").fetchall()[0][0])
    if not made:
        # Then DuckDB writes no prefix.
        target.path.write_bytes(head)
    return made


def _write_lines(connection: duckdb.DuckDBPyConnection, sql: str, cells: list[str], target: Target) -> int:
    """Write whole lines: the CSV of DuckDB cannot have a text for null, and quotes around an empty text."""
    null, special = text(target.form.null), text(f'[{re.escape(target.form.delimiter)}"#\r\n]')
    made = [
        f"CASE WHEN {cell} IS NULL THEN {null} WHEN {cell} IN ('', {null}) OR regexp_matches({cell}, {special}) "
        f"""THEN '"' || replace({cell}, '"', '""') || '"' ELSE {cell} END"""
        for cell in cells
    ]
    line = f", {text(target.form.delimiter)}, ".join(made)
    rows, at_once = 0, max(1, min(FETCHED_ROWS, FETCHED_BYTES // max(1, target.record_bytes)))
    with target.path.open("wb") as file:
        file.write(header(target.names, target.form))
        found = connection.execute(f"SELECT concat({line}, chr(10)) FROM ({sql})")
        while fetched := found.fetchmany(at_once):
            rows += len(fetched)
            file.write("".join(written for (written,) in fetched).encode())
    return rows


def _escaped(cell: str, form: CsvOutput) -> str:
    """Return the SQL for a cell with its formulas escaped, if they are."""
    begins, stays = text(f"^{FORMULA_BEGINS}"), text(NO_FORMULA)
    is_formula = f"regexp_matches({cell}, {begins}) AND NOT regexp_full_match({cell}, {stays})"
    return f"CASE WHEN {is_formula} THEN chr(39) || {cell} ELSE {cell} END" if form.escape_formulas else cell
