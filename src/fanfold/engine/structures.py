"""What DuckDB's json_structure tells of files of JSON, and what it does not tell.

What DuckDB would read wrongly without a word is looked for: values that are no objects, numbers that a double does not
hold, trailing commas, NaN.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import duckdb

from fanfold.engine.fields import Contents, Field
from fanfold.engine.session import CHUNK_BYTES, connect, json_buffer_bytes, pattern, text
from fanfold.engine.source import DATA_FAULTS
from fanfold.engine.strict import NUMBER, has_long_keys, is_blind, is_vague, survives
from fanfold.records.limits import MAX_VALUES

# A number that may lose digits, -0, or what is not JSON; in texts too, so a hit is looked at again without them.
SUSPECT = r"[0-9][0-9.]{15}|[0-9][eE][-+]?[0-9]{2}|-0[,\]} \t\r\n]|,[ \t\r\n]*[\]}]|[:,\[][ \t\r\n]*-?(?i:nan|inf)"
TEXTS = r'"(?:[^"\\]|\\.)*"'
TRAILING_COMMA = re.compile(r",\s*[\]}]")
NAMED_FILE = re.compile(r'in file "(.*?)", (?:in|at)')
WITHOUT_TEXTS = "regexp_replace(json, $texts, '\"\"', 'g')"


class _Row(NamedTuple):
    """The records of one structure in one file."""

    structure: str
    records: int
    suspects: int
    largest_bytes: int
    most_values: int | None


class Structures:
    """Reads files of JSON of one layout from end to end."""

    def __init__(self, data_dir: Path, layout: str, max_record_bytes: int, threads: int) -> None:
        """Begin.

        Args:
            data_dir: nothing outside of it is read.
            layout: `array` or `unstructured`, as DuckDB calls it.
            max_record_bytes: a file with a larger record needs care.
            threads: the answer does not depend on it.
        """
        self._data_dir, self._layout, self._threads = data_dir, layout, threads
        self._max_record_bytes = max_record_bytes

    def contents(self, files: Mapping[str, Path]) -> dict[str, Contents | None]:
        """Return what each file holds, by its name; None for one that DuckDB refuses, or would read wrongly."""
        found: dict[str, Contents | None] = {}
        left = dict(files)
        while left:
            try:
                return found | self._contents(left)
            except DATA_FAULTS as error:
                at_fault = refused(error, left)
                found |= dict.fromkeys(at_fault)
                if not at_fault:
                    half = list(left)[: len(left) // 2]
                    found |= self.contents({name: left[name] for name in half})
                    at_fault = half
                left = {name: path for name, path in left.items() if name not in at_fault}
        return found

    def _contents(self, files: Mapping[str, Path]) -> dict[str, Contents | None]:
        # A fresh DuckDB for each attempt: what goes wrong in the worst way leaves one that answers nothing any more.
        buffers = json_buffer_bytes(len(files), self._max_record_bytes) + CHUNK_BYTES
        with connect(self._data_dir, threads=self._threads, buffers=buffers) as connection:
            rows = connection.execute(
                f"""
                SELECT filename, json_structure(json)::VARCHAR, count(*),
                       count(*) FILTER (WHERE CASE WHEN regexp_matches(json, $suspect)
                                              THEN regexp_matches({WITHOUT_TEXTS}, $suspect) ELSE false END),
                       max(strlen(json)),
                       max(CASE WHEN strlen(json) > $values THEN length(json) - length(translate(json, ',[{{', '')) END)
                FROM {self._objects(files.values())} GROUP BY ALL
                """,
                {"suspect": SUSPECT, "texts": TEXTS, "values": MAX_VALUES},
            ).fetchall()
            found: dict[str, list[_Row]] = {str(path): [] for path in files.values()}
            for path, *row in rows:
                found[path].append(_Row(*row))
            return {name: self._judge(connection, name, path, found[str(path)]) for name, path in files.items()}

    def _objects(self, paths: Iterable[Path]) -> str:
        listed = ", ".join(text(pattern(path)) for path in paths)
        return (
            f"read_json_objects([{listed}], format = '{self._layout}', filename = true, hive_partitioning = false, "
            f"maximum_object_size = {self._max_record_bytes})"
        )

    def _judge(self, connection: duckdb.DuckDBPyConnection, name: str, path: Path, rows: list[_Row]) -> Contents | None:
        """Return what a file holds, if the fast path reads it without loss."""
        rows.sort(key=lambda row: (-row.records, row.structure))
        # A record that is no object has no fields; "{}" alone is described as "JSON".
        if any(not row.structure.startswith("{") and row.structure != '"JSON"' for row in rows):
            return None
        # An empty file is none of JSON, an empty array is one.
        if not rows or any(map(self._is_large, rows)):
            return None
        fields = Field(name, {"object"})
        for row in rows:
            structure = json.loads(row.structure)
            if is_vague(structure) or has_long_keys(structure):
                return None
            fields.absorb(structure)
        suspect = any(row.suspects for row in rows)
        if is_blind(fields) or (suspect and not self._is_exact(connection, path)):
            return None
        return Contents(sum(row.records for row in rows), fields)

    def _is_large(self, row: _Row) -> bool:
        return row.largest_bytes > self._max_record_bytes or (row.most_values or 0) >= MAX_VALUES

    def _is_exact(self, connection: duckdb.DuckDBPyConnection, path: Path) -> bool:
        """Say whether DuckDB reads all numbers of a file as they are, and everything is JSON."""
        reader = connection.execute(
            f"SELECT {WITHOUT_TEXTS} AS numbers FROM {self._objects([path])} WHERE regexp_matches(numbers, $suspect)",
            {"suspect": SUSPECT, "texts": TEXTS},
        )
        while records := reader.fetchmany(1000):
            for (record,) in records:
                if TRAILING_COMMA.search(record) or not all(map(survives, NUMBER.findall(record))):
                    return False
        return True


def refused(error: duckdb.Error, files: Mapping[str, Path]) -> list[str]:
    """Return the file that DuckDB names as the one at fault, or the only one; none where it cannot be told."""
    named = NAMED_FILE.search(str(error))
    at_fault = [name for name, path in files.items() if named and str(path) == named[1]]
    return at_fault or (list(files) if len(files) == 1 else [])
