"""What files of CSV and Parquet hold: their columns are known beforehand, and their records are counted."""

from collections.abc import Mapping
from pathlib import Path

from fanfold.engine.fields import Contents, Field
from fanfold.engine.session import connect, identifier, pattern
from fanfold.engine.source import DATA_FAULTS, ORIGIN, csv_reader, parquet_field, parquet_types
from fanfold.records.canonical import ESCAPES, encode
from fanfold.records.faults import UnreadableError
from fanfold.records.limits import check_columns
from fanfold.records.read import begins_with_blank_line, csv_names, plain_lines


def csv_tables(data_dir: Path, files: Mapping[str, Path], max_line_bytes: int) -> dict[str, Contents | None]:
    """Read files of CSV from end to end, those of one header together.

    Args:
        data_dir: nothing outside of it is read.
        files: where each lies, by its name.
        max_line_bytes: of a record.

    Returns:
        What each holds; None for one that DuckDB refuses, or would read wrongly.
    """
    tables: dict[str, Contents | None] = {}
    headers: dict[tuple[str, ...], dict[str, Path]] = {}
    for name, path in files.items():
        try:
            header = tuple(csv_names(path))
        except UnreadableError:
            tables[name] = None
            continue
        # With one column, DuckDB takes a blank line for a record.
        if len(header) == 1 or begins_with_blank_line(path) or tuple(map(encode, header)) != header:
            tables[name] = None
        else:
            headers.setdefault(header, {})[name] = path
    for header, group in headers.items():
        tables |= _of_one_header(data_dir, list(header), group, max_line_bytes)
    return tables


def _of_one_header(
    data_dir: Path, header: list[str], files: Mapping[str, Path], max_line_bytes: int
) -> dict[str, Contents | None]:
    reader = csv_reader(list(files.values()), header, max_line_bytes)
    # Every value is asked for: what is not asked for is not checked.
    asked = ", ".join(f"count({identifier(name)})" for name in header)
    try:
        with connect(data_dir, columns=len(header)) as connection:
            rows = connection.execute(
                f"SELECT {identifier(ORIGIN)}, count(*), {asked} FROM {reader} GROUP BY 1"
            ).fetchall()
    except DATA_FAULTS:
        if len(files) == 1:
            return dict.fromkeys(files)
        tables: dict[str, Contents | None] = {}
        names, half = list(files), len(files) // 2
        for part in (names[:half], names[half:]):
            tables |= _of_one_header(data_dir, header, {name: files[name] for name in part}, max_line_bytes)
        return tables
    counts = {path: count for path, count, *_ in rows}
    tables = {}
    for name, path in files.items():
        fields = Field(name, {"object"}, {column: Field(name, {"VARCHAR"}) for column in header})
        records = counts.get(str(path), 0)
        # DuckDB bends lines that are not by RFC 4180, and ends one of several files at a quote that is left open.
        tables[name] = Contents(records, fields) if records + 1 == (plain_lines(path, len(header)) or 0) else None
    return tables


def parquet_table(data_dir: Path, name: str, path: Path) -> Contents | None:
    """Return what a file of Parquet says of itself; None for one that DuckDB refuses, or would read wrongly.

    Raises:
        UnreadableError: it has more fields, or longer names, than anything is read with.
    """
    try:
        with connect(data_dir) as connection:
            types = parquet_types(connection, path)
            fields = parquet_field(name, types)
            counted = connection.execute(
                "SELECT sum(num_rows)::BIGINT FROM parquet_file_metadata($path)", {"path": pattern(path)}
            ).fetchone()
    except DATA_FAULTS:
        return None
    if any(column.startswith(ESCAPES) for column, _ in types):
        return None
    check_columns(fields.size(()), max(map(len, fields.paths()), default=0))
    return Contents(counted[0] if counted else 0, fields)
