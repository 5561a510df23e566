"""Whether SQL expressions have a result for every row, and for which record one has none."""

import bisect
import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from fanfold.engine.expressions import columns_in
from fanfold.engine.query import STREAM, Query, Source, query_of
from fanfold.engine.session import chunk_bytes, connect, identifier
from fanfold.errors import DataError
from fanfold.manifest import Column
from fanfold.native import Rows
from fanfold.native.arrow import Stream
from fanfold.schema.columns import sql_names

# Faults of the system, or of DuckDB itself: no value is to blame.
NOT_OF_VALUES = (
    duckdb.FatalException, duckdb.InternalException, duckdb.InterruptException, duckdb.IOException,
    duckdb.OutOfMemoryException,
)  # fmt: skip
# Where a row comes from; messages do not show these names.
ORIGIN = [("VARCHAR", (Rows.FILE, 0, 0)), ("BIGINT", (Rows.NUMBER, 0, 0)), ("VARCHAR", (Rows.ITEM, 0, 0))]
# DuckDB puts the kind of error first, and advice about settings last; a spec cannot change those.
ERROR_KIND = re.compile(r"^[A-Z][A-Za-z ]* Error: ")
ADVICE = re.compile(r"[.!]? (?:when casting from source column |Use TRY\(|You might want to ).*|[.!]+$")
SHOWN_CHARACTERS = 60


@contextlib.contextmanager
def connected(
    query: Query, source: Source, data_dir: Path | None = None, spill_dir: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB with the memory that a query needs; the folders are those of `session.connect`."""
    buffers = chunk_bytes(source.record_bytes)
    with connect(data_dir, spill_dir, buffers=buffers, columns=len(query.carried)) as connection:
        yield connection


def check(columns: Sequence[Column], source: Source) -> None:
    """Evaluate the expressions among some columns for every row, as `output.write` does, and write nothing.

    Raises:
        DataError, ValueError, OSError: as `output.write`.
    """
    made = [column for column in columns if column.expression]
    query = query_of("csv", made, source)
    stream = query.stream(source)
    counts = ", ".join(f"count(column_{number})" for number in range(len(made)))
    with connected(query, source) as connection:
        connection.register(STREAM, stream.__arrow_c_stream__())
        with named(connection, made, source, stream):
            connection.execute(f"SELECT {counts} FROM ({query.sql})").fetchall()


@contextlib.contextmanager
def named(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[Column], source: Source, stream: Stream
) -> Iterator[None]:
    """Name the record, where a query in this block fails because an expression has no answer for one.

    Raises:
        DataError: it does; the first such record is looked for, which reads the rows again.
    """
    try:
        yield
    except duckdb.Error as error:
        if stream.error:
            raise stream.error from None
        made = [column for column in columns if column.expression]
        if not made or isinstance(error, NOT_OF_VALUES):
            raise
        found = _Search(connection, made, source).fault(stream.rows)
        if found is None:
            raise
        raise DataError(found) from None


class _Search:
    """Looks for the first row that some expression has no answer for."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, columns: list[Column], source: Source) -> None:
        self._connection, self._columns, self._source = connection, columns, source
        carried = query_of("csv", columns, source)
        of_row = zip(sql_names([*(name for name, _ in carried.carried), *[""] * len(ORIGIN)])[-3:], ORIGIN, strict=True)
        for name, (kind, place) in of_row:
            carried.carried.append((name, kind))
            carried.places.append(place)
        self._query, self._names = carried, [identifier(name) for name, _ in carried.carried]
        self._values = [f"({column.expression}\n)::{column.type}" for column in columns]

    def fault(self, rows: int) -> str | None:
        """Say what fails for which record; `rows` were read until it did. None where no row fails by itself."""
        # Inside a list, a result is never null, even if its value is.
        fails = " OR ".join(f"TRY([{value}]) IS NULL" for value in self._values)
        try:
            row = self._row(f"WHERE {fails}")
        except duckdb.Error:
            # TRY does not catch every fault.
            before = bisect.bisect_left(range(1, rows), 1, key=self._fails_within)
            row = self._row(f"OFFSET {before}")
        for column, value in zip(self._columns, self._values, strict=True) if row else ():
            if error := self._error(value, row):
                is_caught = self._error(f"TRY([{value}])", row) is None
                return self._told(column, row, error, is_caught=is_caught)
        return None

    def _rows(self) -> tuple[Stream, str]:
        stream = self._query.stream(self._source)
        self._connection.register("again", stream.__arrow_c_stream__())
        # Nothing else holds the stream.
        return stream, self._query.rows("again")

    def _row(self, which: str) -> list[Any]:
        """Return the first row of some, as texts; nothing where there is none."""
        stream, rows = self._rows()
        texts = ", ".join(f"{name}::VARCHAR" for name in self._names)
        found = self._connection.execute(f"SELECT {texts} FROM {rows} {which} LIMIT 1").fetchall()
        del stream
        return [*found[0]] if found else []

    def _fails_within(self, rows: int) -> int:
        stream, first = self._rows()
        counts = ", ".join(f"count({value})" for value in self._values)
        try:
            self._connection.execute(f"SELECT {counts} FROM (SELECT * FROM {first} LIMIT {rows})").fetchall()
        except duckdb.Error:
            return 1
        del stream
        return 0

    def _error(self, value: str, row: list[Any]) -> duckdb.Error | None:
        kinds = (kind for _, kind in self._query.carried)
        typed = ", ".join(f"?::VARCHAR::{kind} AS {name}" for name, kind in zip(self._names, kinds, strict=True))
        try:
            self._connection.execute(f"SELECT {value} FROM (SELECT {typed})", row).fetchall()
        except duckdb.Error as error:
            return error
        return None

    def _told(self, column: Column, row: list[Any], error: duckdb.Error, *, is_caught: bool) -> str:
        *values, name, number, item = row
        used = columns_in(self._connection, column.expression or "")
        shown = [
            f"{one} {_shown(value)}"
            for (one, _), value in zip(self._query.carried, values, strict=False)
            if one.casefold() in used
        ]
        where = f" ({', '.join(shown)})" if shown else ""
        record = f"{number}, element {item}" if item else number
        said = ADVICE.sub("", ERROR_KIND.sub("", " ".join(str(error).splitlines()[0].split())))
        way = (
            "write TRY(…) around the part that fails, which gives null"
            if is_caught
            else "exclude such values with CASE WHEN … THEN … END"
        )
        return (
            f"{self._source.key} {column.name!r}: {column.expression!r} fails for record {record} of "
            f"{name!r}{where}: {said}, expected a result for every row: {way}, and run again"
        )


def _shown(value: str | None) -> str:
    if value is None:
        return "null"
    return repr(value if len(value) <= SHOWN_CHARACTERS else value[:SHOWN_CHARACTERS] + "…")
