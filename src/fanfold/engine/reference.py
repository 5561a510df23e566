"""References: frozen for a run, and checked, before any group starts."""

import io
from pathlib import Path
from typing import IO

import duckdb
import msgspec

from fanfold.engine.careful import Cleaner
from fanfold.engine.fields import CONTAINERS
from fanfold.engine.fit import needs_care
from fanfold.engine.scan import scan
from fanfold.engine.schema import Builder, Declared
from fanfold.engine.session import connect, pattern, text
from fanfold.engine.source import Clean, careful_records, relations, sql_type
from fanfold.errors import DataError, MissingError, nearest
from fanfold.layout import Place, input_format
from fanfold.manifest import BadFile, BadRecord, Column, Node, RunSchema
from fanfold.records.faults import UnreadableError
from fanfold.records.read import csv_names
from fanfold.spec import Input, Merge, Spec

SHOWN_KEYS = 3


class Reference:
    """A reference file, as its fields were found: every value of CSV is text, those of JSON and Parquet have types."""

    def __init__(self, data_dir: Path, source: Path, merge: Merge, max_record_bytes: int) -> None:
        """Read the file from end to end for its fields.

        Raises:
            MissingError: the key, or one of `columns`, is not there.
            DataError: a record or the whole file cannot be read, two fields have one name, or the key is no scalar.
        """
        self._data_dir, self._source, self._merge = data_dir, source, merge
        settings = Input(path="reference", max_record_bytes=max_record_bytes)
        self._spec = Spec(version=1, name="reference", input=settings).model_copy(update={"merge": [_keyed(merge)]})
        place = Place(str(source), source.stat().st_size)
        self._scan = scan(data_dir, {merge.reference: place}, self._spec)[merge.reference]
        self._refuse(self._scan.fault)
        self._check_names()
        builder = Builder(self._spec, [])
        self._nodes = builder.nodes(self._scan.fields, Declared())
        for conflict in builder.conflicts:
            both = " and ".join(rival.words for rival in conflict.rivals)
            msg = f"{merge.reference}: {both} have one name, expected names apart, also without letter case"
            raise DataError(msg)
        self.columns = [column for column in builder.columns(self._nodes, self._scan.fields) if self._is_taken(column)]
        if merge.columns is not None:
            self.columns.sort(key=lambda column: merge.columns.index(column.path[0]) if merge.columns else 0)

    @property
    def careful(self) -> bool:
        """Whether the file takes the careful path."""
        return self._scan.careful or needs_care(self._scan.fields, self._nodes, rescue=False)

    def freeze(self, target: Path, spill_dir: Path, clean: IO[bytes] | None) -> int:
        """Write the reference as Parquet, for the merges to join: `key` as text, and all fields as one struct `row`.

        Args:
            target: where to write.
            spill_dir: where DuckDB puts what does not fit into memory.
            clean: a file for what the careful path makes of the reference, where it takes it.

        Returns:
            The number of rows. Under `on_duplicate: first` the first of each key counts.

        Raises:
            DataError: a record cannot be read, or a key stands in several lines, which are named.
        """
        made = self._clean(clean) if clean is not None else None
        with connect(self._data_dir, spill_dir) as connection:
            rows = self._rows(made)
            connection.execute(f"COPY ({rows}) TO {text(str(target))} (FORMAT parquet, USE_TMP_FILE false)")
            return self._check_keys(connection, f"read_parquet({text(pattern(target))}, hive_partitioning = false)")

    def check(self) -> int:
        """Check what `freeze` checks, and return the number of rows; nothing is written, no file is made clean."""
        if self.careful:
            return self._scan.records
        with connect(self._data_dir) as connection:
            return self._check_keys(connection, f"({self._rows(None)})")

    def _refuse(self, fault: BadFile | None) -> None:
        if fault:
            place = f":{fault.line}" if fault.line else ""
            msg = f"{self._merge.reference}{place}: {fault.message} ({fault.code}), expected every record to be good"
            raise DataError(msg)

    def _check_names(self) -> None:
        names = list(self._scan.fields.fields)
        for wanted in [self._merge.reference_key, *(self._merge.columns or [])]:
            if wanted not in names and (names or input_format(self._merge.reference) == "csv"):
                msg = f"{self._merge.reference}:1: column {wanted!r} is not there, {nearest(wanted, names)}"
                raise MissingError(msg)

        key = self._scan.fields.fields.get(self._merge.reference_key)
        if key is not None and key.kinds and key.kinds <= CONTAINERS:
            msg = f"{self._merge.reference}: key {self._merge.reference_key!r} is an {min(key.kinds)}, not a scalar"
            raise DataError(msg)

    def _is_taken(self, column: Column) -> bool:
        wanted = self._merge.columns
        return column.path[0] != self._merge.reference_key if wanted is None else column.path[0] in wanted

    def _clean(self, clean: IO[bytes]) -> Clean:
        schema = RunSchema(self._nodes, [], rescued=False, flat=[], columns=[], references=[])
        bad = io.BytesIO()
        cleaned = Cleaner(self._data_dir, self._spec, schema, {}, clean, bad).add(self._merge.reference, self._source)
        self._refuse(cleaned.fault)
        if cleaned.bad:
            bad.seek(0)
            first = msgspec.json.decode(bad.readline(), type=BadRecord)
            self._refuse(BadFile(first.file, first.code, first.message, first.line, first.offset, first.pointer))
        clean.flush()
        return Clean(Path(clean.name), cleaned.line_bytes)

    def _rows(self, clean: Clean | None) -> str:
        queries = relations([] if clean else [self._source], self._nodes, self._spec, clean=clean)
        final = sql_type(Node("", "object", fields=self._nodes), "final")
        key = f"struct_extract(record, {text(self._merge.reference_key)})::VARCHAR" if self._nodes else "NULL::VARCHAR"
        rows = f"SELECT {key} AS key, record::{final} AS row FROM ({queries[0]})"
        if self._merge.on_duplicate == "fail":
            return rows
        return f"""
            SELECT key, row FROM (SELECT *, row_number() OVER () AS line FROM ({rows}))
            QUALIFY key IS NULL OR row_number() OVER (PARTITION BY key ORDER BY line) = 1 ORDER BY line
        """

    def _check_keys(self, connection: duckdb.DuckDBPyConnection, rows: str) -> int:
        repeated = f"SELECT key FROM {rows} WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1"
        twice = connection.execute(f"{repeated} ORDER BY key LIMIT {SHOWN_KEYS + 1}").fetchall()
        if twice:
            raise DataError(self._name_lines([key for (key,) in twice]))
        counted = connection.execute(f"SELECT count(*) FROM {rows}").fetchone()
        return int(counted[0]) if counted else 0

    def _name_lines(self, keys: list[str]) -> str:
        lines: dict[str, list[int]] = {key: [] for key in keys[:SHOWN_KEYS]}
        for found in careful_records(self._data_dir, self._source, self._spec):
            key = (found.value or {}).get(self._merge.reference_key)
            key = ("true" if key else "false") if isinstance(key, bool) else key
            if key in lines:
                lines[key].append(found.place[0])
        shown = "; ".join(f"{key!r} in lines {', '.join(map(str, found))}" for key, found in lines.items())
        more = "; and more keys" if len(keys) > SHOWN_KEYS else ""
        return f"{self._merge.reference}: {self._merge.reference_key} {shown}{more}, expected every key once"


def check_header(source: Path, merge: Merge) -> None:
    """Check what can be known of a reference at once: that its columns are there.

    Raises:
        MissingError: the key, or one of `columns`, is not in the header.
        DataError: there is no header, or a name is empty or used twice.
    """
    if input_format(merge.reference) != "csv":
        return
    try:
        names = csv_names(source)
    except UnreadableError as error:
        msg = f"{merge.reference}:1: {error}"
        raise DataError(msg) from None
    for wanted in [merge.reference_key, *(merge.columns or [])]:
        if wanted not in names:
            msg = f"{merge.reference}:1: column {wanted!r} is not there, {nearest(wanted, names)}"
            raise MissingError(msg)


def _keyed(merge: Merge) -> Merge:
    """Return a merge whose record is the reference: its key compares as written."""
    # The name of a column need not be a path.
    return Merge.model_construct(reference=merge.reference, key=merge.reference_key, into="row", columns=None)
