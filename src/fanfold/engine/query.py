"""The rows of merged records as DuckDB is given them, and the SQL that makes the columns of a table of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from fanfold.engine.session import identifier
from fanfold.manifest import Column
from fanfold.native import Rows
from fanfold.native.arrow import Stream
from fanfold.schema.columns import sql_names

# Of a Parquet row group: large enough to encode well, small enough for a task's memory.
ROW_GROUP_ROWS, ROW_GROUP_BYTES = 61_440, 16 * 1024 * 1024
FEWEST_ROWS = 16
PARQUET = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {rows}, USE_TMP_FILE false"
STREAM = "merged_rows"
POINTS = {f"DECIMAL({scale},{scale})" for scale in range(1, 39)}
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


class Query(NamedTuple):
    """How DuckDB makes the columns of a table: the SQL, the Parquet options, and the columns of the stream."""

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


def query_of(form: str, columns: Sequence[Column], source: Source) -> Query:
    """Return how DuckDB makes some columns of a table in a form, `csv` or `parquet`."""
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
    query = Query("", PARQUET.format(rows=rows), types, places)
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
