"""The tables: rows of merged records written as CSV or Parquet, with columns by SQL."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from fanfold import mirrors
from fanfold.engine import csv_form
from fanfold.engine.session import chunk_bytes, connect, identifier, pattern, text
from fanfold.errors import DataError, count
from fanfold.manifest import Column
from fanfold.native import Rows
from fanfold.native.arrow import Stream
from fanfold.schema.columns import sql_names
from fanfold.spec.model import Output

# Of a group of Parquet: enough for its encodings, few enough for the memory of a task.
ROW_GROUP_ROWS, ROW_GROUP_BYTES = 61_440, 16 * 1024 * 1024
FEWEST_ROWS, FETCHED_ROWS = 16, 1000
PARQUET = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {rows}, USE_TMP_FILE false"
STREAM = "merged_rows"
POINTS = {f"DECIMAL({scale},{scale})" for scale in range(1, 39)}
# What an expression raises that has no answer for a value.
OF_VALUES = (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException)
Place = tuple[int, int, int]


class Source(NamedTuple):
    """Where rows come from: merged records, in their order.

    Attributes:
        rows: makes what writes the columns at given places (kind, scope and slot), with name and type of each; it is
            called several times.
        windows: begins to read the merged records; it is called once for each time that they are read.
        flat: the columns of a flat row.
        places: where each of them is.
        record_bytes: how large a record is, on average.
        key: of the spec, where the columns are chosen.
    """

    rows: Callable[[Sequence[Place], Sequence[tuple[str, str]]], Rows]
    windows: Callable[[], Iterable[bytes]]
    flat: Sequence[Column]
    places: Sequence[Place]
    record_bytes: int
    key: str = "denormalize.columns"


def write(target: Path, to: Output, columns: Sequence[Column], source: Source, spill_dir: Path | None = None) -> int:
    r"""Write rows in their order; the same input gives the same bytes. What `target` has is overwritten.

    CSV is by RFC 4180 (UTF-8, `\n`, null as nothing, an empty text as `""`), with a header. A column has its values as
    the core wrote them; one by SQL has them in the form of its type. In Parquet each column has its type.

    Args:
        target: the file to write; its folder is there.
        to: the format, and the form of CSV.
        columns: those of the table, in order: each of `source.flat`, by its name, or by an expression over all of them.
        source: the rows.
        spill_dir: where DuckDB puts what does not fit in its memory.

    Returns:
        The number of rows.

    Raises:
        DataError: an expression has no answer for a value; DuckDB wrote fewer or more rows than it was given.
        ValueError: the merged records are damaged, or a column's type does not hold a value.
        OSError: the merged records could not be read, or the table not be written.
    """
    query = _query(to.format, columns, source)
    stream = query.stream(source)
    buffers = chunk_bytes(source.record_bytes)
    with connect(target.parent, spill_dir, buffers=buffers, columns=len(query.carried)) as connection:
        try:
            connection.register(STREAM, stream.__arrow_c_stream__())
            if to.format == "csv":
                table = csv_form.Target(target, [column.name for column in columns], to.csv, source.record_bytes)
                made = csv_form.write(connection, query.sql, table)
            else:
                copied = connection.execute(f"COPY ({query.sql}) TO {text(str(target))} ({query.options})").fetchall()
                made = int(copied[0][0])
        except duckdb.Error as error:
            if stream.error:
                raise stream.error from None
            made_by_sql = [column for column in columns if column.expression]
            if not isinstance(error, OF_VALUES) or not made_by_sql:
                raise
            raise _no_answer(connection, query, made_by_sql, source, error) from None
    if made != stream.rows:
        msg = f"{target.name!r}: found {count(made, 'row')}, expected {stream.rows:,}: the output is not published"
        raise DataError(msg)
    return made


def _no_answer(
    connection: duckdb.DuckDBPyConnection, query: "_Query", columns: list[Column], source: Source, error: duckdb.Error
) -> DataError:
    """Return the error of the first record that some expression has no answer for: it is looked for once more."""
    file, number = sql_names([*(name for name, _ in query.carried), "", ""])[-2:]
    carried = [*query.carried, (file, "VARCHAR"), (number, "BIGINT")]
    again = _Query("", "", carried, [*query.places, (Rows.FILE, 0, 0), (Rows.NUMBER, 0, 0)])

    def first(wanted: str, where: str) -> list[tuple[Any, ...]]:
        stream = again.stream(source)
        connection.register("again", stream.__arrow_c_stream__())
        return connection.execute(f"SELECT {wanted} FROM {again.rows('again')} WHERE {where} LIMIT 1").fetchall()

    place, of = source.key, f"{identifier(file)}, {identifier(number)}"
    values = [f"({column.expression}\n)::{column.type}" for column in columns]
    # An answer in a list is not null, even if it is null itself.
    fails = [f"TRY([{value}]) IS NULL" for value in values]
    which = " ".join(f"WHEN {one} THEN {at}" for at, one in enumerate(fails))
    if found := first(f"{of}, CASE {which} END", " OR ".join(fails)):
        ((name, record, at),) = found
        place = f"{place} {columns[at].name!r}: {columns[at].expression!r} fails for record {record} of {name!r}"
        try:
            first(values[at], f"({of}) = ({text(name)}, {record})")
        except OF_VALUES as own:
            error = own
    said = " ".join(str(error).splitlines()[0].split())
    return DataError(f"{place}: {said}; write TRY(…) around what may fail, and run again")


class _Query(NamedTuple):
    """How DuckDB makes the columns of a table: by which SQL, written to Parquet how, from which columns of a stream."""

    sql: str
    options: str
    carried: list[tuple[str, str]]
    places: list[Place]

    def stream(self, source: Source) -> Stream:
        """Begin to read the columns that SQL is given."""
        return Stream(self.carried, lambda columns: source.rows(self.places, columns), source.windows)

    def rows(self, stream: str = STREAM) -> str:
        """Return the SQL for their rows: the core gives each value as the text that its type has."""
        cast = ", ".join(f"{identifier(name)}::{kind} AS {identifier(name)}" for name, kind in self.carried)
        return f"(SELECT {cast} FROM {stream}) AS {STREAM}"


def _query(form: str, columns: Sequence[Column], source: Source) -> _Query:
    known = {column.name: i for i, column in enumerate(source.flat)}
    # A column can come twice: as a value for SQL, and as the text that goes into CSV.
    names = sql_names([*(column.name for column in source.flat), *[""] * (len(source.flat) + 1)])
    sql = "\n".join(column.expression or "" for column in columns).casefold()
    carried: dict[str, tuple[str, Place]] = {}
    for i, column in enumerate(source.flat):
        # Its letters may be there by chance: one column too many changes nothing.
        if names[i].replace('"', '""').casefold() in sql:
            carried[names[i]] = column.type, source.places[i]
    made = []
    for number, column in enumerate(columns):
        value = f"({column.expression}\n)::{column.type}"
        if column.expression is None:
            i = known[column.name]
            kind = "VARCHAR" if form == "csv" and column.type != "JSON" else column.type
            name = names[i] if kind == column.type else names[len(source.flat) + i]
            carried[name] = kind, source.places[i]
            value = identifier(name)
        made.append(f"{value} AS column_{number}")
    # DuckDB reads no rows without a column.
    carried = carried or {names[-1]: ("VARCHAR", (Rows.NUMBER, 0, 0))}
    called = sql_names([column.name for column in columns])
    chosen = [
        f"{_form(f'column_{number}', column)} AS column_{number}"
        if form == "csv"
        else f"column_{number} AS {identifier(called[number])}"
        for number, column in enumerate(columns)
    ]
    rows = max(FEWEST_ROWS, min(ROW_GROUP_ROWS, ROW_GROUP_BYTES // max(1, source.record_bytes)))
    types, places = [(name, kind) for name, (kind, _) in carried.items()], [place for _, place in carried.values()]
    query = _Query("", PARQUET.format(rows=rows), types, places)
    return query._replace(sql=f"SELECT {', '.join(chosen)} FROM (SELECT {', '.join(made)} FROM {query.rows()})")


def _form(value: str, column: Column) -> str:
    """Return the SQL for a value as CSV has it: in the form that the core gives its type."""
    if column.expression is None or column.type == "VARCHAR":
        return value
    if column.type in {"TIMESTAMP", "TIMESTAMPTZ"}:
        zone = "Z" if column.type == "TIMESTAMPTZ" else ""
        at = f"make_timestamp(epoch_us({value}))" if zone else value
        whole, parts = (f"strftime({at}, '%Y-%m-%dT%H:%M:%S{fraction}{zone}')" for fraction in ("", ".%f"))
        return f"CASE WHEN microsecond({at}) % 1000000 = 0 THEN {whole} ELSE {parts} END"
    # A DECIMAL without a place before its point has no zero there.
    return rf"regexp_replace({value}::VARCHAR, '^(-?)\.', '\10.')" if column.type in POINTS else f"{value}::VARCHAR"


def values(table: Path, columns: Sequence[str]) -> Iterator[Sequence[str | None]]:
    """Yield the values of some columns of a Parquet file as texts, row by row."""
    if not Path(mirrors.present(table)).stat().st_size:
        # It is of a run without a column.
        return
    chosen = ", ".join(f"{identifier(name)}::VARCHAR" for name in columns) or "NULL"
    with connect(table.parent) as connection:
        place = f"{text(pattern(table))}, hive_partitioning = false"
        found = connection.execute(f"SELECT {chosen} FROM read_parquet({place})")
        while rows := found.fetchmany(FETCHED_ROWS):
            yield from (row[: len(columns)] for row in rows)
