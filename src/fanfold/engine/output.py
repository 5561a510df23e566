"""The tables: rows of merged records written as CSV or Parquet, with columns by SQL."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from fanfold import mirrors
from fanfold.engine import answers, csv_form
from fanfold.engine.query import STREAM, Source, query_of
from fanfold.engine.session import connect, pattern, text
from fanfold.errors import DataError, count
from fanfold.manifest import Column
from fanfold.spec.model import Output

FETCHED_ROWS = 1000


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
    query = query_of(to.format, columns, source)
    stream = query.stream(source)
    with answers.connected(query, source, target.parent, spill_dir) as connection:
        connection.register(STREAM, stream.__arrow_c_stream__())
        with answers.named(connection, columns, source, stream):
            if to.format == "csv":
                table = csv_form.Target(target, [column.name for column in columns], to.csv, source.record_bytes)
                made = csv_form.write(connection, query.sql, table)
            else:
                copied = connection.execute(f"COPY ({query.sql}) TO {text(str(target))} ({query.options})").fetchall()
                made = int(copied[0][0])
    if made != stream.rows:
        msg = f"{target.name!r}: found {count(made, 'row')}, expected {stream.rows:,}: the output is not published"
        raise DataError(msg)
    return made


def values(table: Path, columns: Sequence[int]) -> Iterator[Sequence[str | None]]:
    """Yield the values of some columns of a Parquet file, by their places, as texts, row by row."""
    if not Path(mirrors.present(table)).stat().st_size:
        # It is of a run without a column.
        return
    chosen = ", ".join(f"#{place + 1}::VARCHAR" for place in columns) or "NULL"
    with connect(table.parent) as connection:
        place = f"{text(pattern(table))}, hive_partitioning = false"
        found = connection.execute(f"SELECT {chosen} FROM read_parquet({place})")
        while rows := found.fetchmany(FETCHED_ROWS):
            yield from (row[: len(columns)] for row in rows)
