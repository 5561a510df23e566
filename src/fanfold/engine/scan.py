"""A full scan of JSON files: how many records, of which structure, and whether every number keeps its value."""

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import duckdb

from fanfold.engine.session import connect, json_buffer_bytes, json_path, pattern
from fanfold.errors import DataError
from fanfold.records import explain
from fanfold.spec import Spec

# What may lose digits, or is no number at all to RFC 8259; in texts too, so a hit is looked at again.
SUSPECT = r"[0-9][0-9.]{15}|[0-9][eE][-+]?[0-9]{2}|[:,\[][ \t\r\n]*-?(?i:nan|inf)"
JSON_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
NUMBER = re.compile(r"-?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)", re.IGNORECASE)
# What the bytes of a file can lead to; of IOException, damaged compression.
DATA_FAULTS = (
    duckdb.InvalidInputException,
    duckdb.ConversionException,
    duckdb.InternalException,
    duckdb.FatalException,
    duckdb.IOException,
)
LARGEST_EXACT_INTEGER = 2**53  # of a DOUBLE


class FileScan(NamedTuple):
    """What one file holds: the number of its records, and their structures, the most frequent first."""

    records: int
    structures: list[str]


class _Row(NamedTuple):
    """The records of one structure in one file."""

    structure: str
    records: int
    suspects: int
    largest_bytes: int


def scan(data_dir: Path, files: dict[str, Path], spec: Spec, threads: int = 1) -> dict[str, FileScan | DataError]:
    """Read files from end to end: how many records, of which structure.

    Args:
        data_dir: nothing outside of it is read.
        files: path of each file by its name.
        spec: gives the largest record and the exploded array.
        threads: the answer does not depend on it.

    Returns:
        For each name what was found; for a file that is no JSON, or has a number that would lose digits, the error.

    Raises:
        duckdb.Error: DuckDB failed in another way than by the files (memory, disk).
    """
    if not files:
        return {}
    try:
        # A fresh DuckDB for each attempt: what goes wrong in the worst way leaves one that answers nothing any more.
        buffers = json_buffer_bytes(len(files), spec.input.max_record_bytes)
        with connect(data_dir, threads=threads, json_buffers=buffers) as connection:
            return _scan_all(connection, files, spec)
    except DATA_FAULTS as error:
        if len(files) == 1:
            ((name, path),) = files.items()
            reason = explain(path) if path.is_file() else None
            if reason is None and isinstance(error, duckdb.IOException):
                raise
            return {name: DataError(f"{name!r}: {reason or _first_line(error)}")}
    names, half = list(files), len(files) // 2
    return {
        name: found
        for part in (names[:half], names[half:])
        for name, found in scan(data_dir, {name: files[name] for name in part}, spec, threads).items()
    }


def _first_line(error: duckdb.Error) -> str:
    if "maximum recursion depth" in str(error):
        return "found values nested deeper than 128 levels, expected at most 128"
    return re.sub(r'in file ".*?"', "", str(error).splitlines()[0])


def _scan_all(
    connection: duckdb.DuckDBPyConnection, files: dict[str, Path], spec: Spec
) -> dict[str, FileScan | DataError]:
    names = {str(path): name for name, path in files.items()}
    rows = connection.execute(
        f"""
        SELECT filename, json_structure(json)::VARCHAR, count(*),
               count(*) FILTER (WHERE regexp_matches(json, $suspect)), max(strlen(json))
        FROM {_objects(spec)} GROUP BY ALL
        """,
        {"path": [pattern(path) for path in files.values()], "suspect": SUSPECT},
    ).fetchall()
    found: dict[str, list[_Row]] = {name: [] for name in files}
    for path, *row in rows:
        found[names[path]].append(_Row(*row))
    return {name: _judge(connection, name, files[name], spec, structures) for name, structures in found.items()}


def _judge(
    connection: duckdb.DuckDBPyConnection, name: str, path: Path, spec: Spec, found: list[_Row]
) -> FileScan | DataError:
    found.sort(key=lambda row: (-row.records, row.structure))
    # A record that is no object has no fields to flatten; "{}" alone is described as "JSON".
    if any(not row.structure.startswith("{") and row.structure != '"JSON"' for row in found):
        return DataError(f"{name!r}: {explain(path) or 'found a value, expected objects'}")
    largest = max((row.largest_bytes for row in found), default=0)
    if largest > spec.input.max_record_bytes:
        expected = f"expected at most {spec.input.max_record_bytes} (input.max_record_bytes)"
        return DataError(f"{name!r}: found a record of {largest} bytes, {expected}")
    structures = [_exact(connection, path, row.structure, spec) for row in found]
    if any(row.suspects for row in found):
        wide = False
        for number in _suspect_numbers(connection, path, spec):
            if not _is_exact(number):
                exact = f"found {number}, expected a number that 64 bits hold exactly: write it as a text"
                return DataError(f"{name!r}: {explain(path) or exact}")
            wide = wide or (number.lstrip("-").isdecimal() and abs(int(number)) > LARGEST_EXACT_INTEGER)
        if wide:
            structures = [re.sub(r'([:\[]\s*)"U?BIGINT"', r'\1"WIDE"', structure) for structure in structures]
    return FileScan(sum(row.records for row in found), structures)


def _objects(spec: Spec) -> str:
    limit = spec.input.max_record_bytes
    return (
        "read_json_objects($path, format = 'auto', filename = true, hive_partitioning = false, "
        f"maximum_object_size = {limit})"
    )


def _suspect_numbers(connection: duckdb.DuckDBPyConnection, path: Path, spec: Spec) -> Iterator[str]:
    """Yield the numbers, outside of texts, of all records that have a suspect one."""
    reader = connection.execute(
        f"""
        SELECT json FROM {_objects(spec)}
        WHERE regexp_matches(regexp_replace(json, $texts, '""', 'g'), $suspect)
        """,
        {"path": pattern(path), "suspect": SUSPECT, "texts": JSON_TEXT.pattern},
    )
    while records := reader.fetchmany(1000):
        for (record,) in records:
            yield from NUMBER.findall(JSON_TEXT.sub('""', record))


def _is_exact(number: str) -> bool:
    if number.lstrip("-").isdecimal():
        return -(2**63) <= int(number) < 2**63
    as_double = float(number)
    return math.isfinite(as_double) and Decimal(repr(as_double)) == Decimal(number)


def _exact(connection: duckdb.DuckDBPyConnection, path: Path, structure: str, spec: Spec) -> str:
    """Return a structure whose exploded array is described element by element.

    Inside of arrays json_structure answers "JSON" for values of several kinds as well as for "{}".
    """
    if '"JSON"' not in structure or not spec.denormalize.explode:
        return structure
    tree = json.loads(structure)
    keys = spec.denormalize.explode[0].split(".")
    holder = tree
    for key in keys[:-1]:
        holder = holder.get(key) if isinstance(holder, dict) else None
    array = holder.get(keys[-1]) if isinstance(holder, dict) else None
    if not isinstance(array, list) or '"JSON"' not in json.dumps(array):
        return structure
    rows = connection.execute(
        f"""
        SELECT DISTINCT json_structure(element)::VARCHAR AS s FROM (
            SELECT unnest(json_extract(json, $array)) AS element
            FROM {_objects(spec)}
            WHERE json_structure(json)::VARCHAR = $structure
        ) ORDER BY s
        """,
        {"path": pattern(path), "array": json_path(keys) + "[*]", "structure": structure},
    ).fetchall()
    holder[keys[-1]] = [json.loads(row[0]) for row in rows]
    return json.dumps(tree)
