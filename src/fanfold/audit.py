"""The auditor: it accounts for every scalar of a complete run, by code that shares nothing with what it audits.

It reads the archived originals and the kept references with the standard library (zstandard and pyarrow for their
formats), works out the rows that they call for, and compares these with the tables, one by one, in their order. It is
slow and plain on purpose: it is what the tests believe. Of Fanfold, it knows the words of a feed: spec, layout,
manifest, errors.
"""

import base64
import codecs
import contextlib
import copy
import gzip
import hashlib
import io
import itertools
import json
import pickle
import re
import sqlite3
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation, localcontext
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, NoReturn
from uuid import UUID

import zstandard

from fanfold import manifest
from fanfold.errors import MissingError
from fanfold.layout import Run, input_format, packing
from fanfold.manifest import ArchivedFile, BadRecord, Column, Manifest, Published, SubdirSummary
from fanfold.spec.model import Input, Spec

What = Literal["missing", "extra", "changed", "doubled"]
Cells = list[str | None]

# A difference is explained by the rows ahead; a table with more differences than this is not followed to its end.
ROWS_AHEAD, MOST_FINDINGS = 1000, 50
CHUNK_BYTES, MOST_LINE_BYTES, BATCH_ROWS = 1 << 20, 1 << 28, 1000
# With these codes, a record that can be read is in quarantine by mistake, unless the message tells of its place.
UNREADABLE = {"syntax", "nan", "trailing_comma", "duplicate_key", "lone_surrogate", "bad_utf8", "control_character"}
OF_THE_PLACE = ("before the next record", "what may follow it", "around the records")
# An array or object in place of a scalar.
OF_BRACKETS = ("found '['", "found '{'")
# What else can be wrong with a record of JSON that cannot be read.
OF_JSON = UNREADABLE | {
    "truncated", "trailing_garbage", "not_an_object", "wrong_type", "too_deep", "record_too_large", "too_many_values",
    "pointer_not_found",
}  # fmt: skip
FINE = {"timestamp[ns]", "timestamp[ns, tz=UTC]", "time64[ns]"}
NOTHING, BLANKS, LINE_ENDS = re.compile(""), re.compile(r"[ \t\r\n]*"), re.compile(r"(?:\r?\n)*")
# In place of a bad record: no UTF-8 has it.
BAD = "\udc00"
CELL = re.compile(r'(?:^|,)(?:(")((?:[^"]++|"")*+)"|([^",]*+))')
LINE = re.compile(r'(?:"(?:[^"]++|"")*+"|[^",]*+)(?:,(?:"(?:[^"]++|"")*+"|[^",]*+))*+')
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
DAY, CLOCK = r"\d{4}-\d\d-\d\d", r"[T ]\d\d:\d\d(:\d\d(\.\d+)?)?"
FINER = re.compile(r"\.\d{6}\d*[1-9]")
MOMENTS = {
    "DATE": re.compile(DAY, re.ASCII),
    "TIMESTAMP": re.compile(DAY + CLOCK, re.ASCII),
    "TIMESTAMPTZ": re.compile(DAY + CLOCK + r"(Z|[-+]\d\d(:?\d\d)?)", re.ASCII),
}
NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
PLAIN_BYTES = set(map(chr, range(32, 127))) - set("\\'\"")
# In place of a value that cannot be compared.
UNKNOWN = object()


@dataclass(frozen=True)
class Finding:
    """A difference. `record` counts from 1, and is 0 for the file as a whole; `pointer` is a JSON pointer."""

    what: What
    file: str
    record: int
    pointer: str
    message: str

    def __str__(self) -> str:
        """Say it in a line."""
        record, pointer = f" record {self.record}" if self.record else "", f" at {self.pointer}" if self.pointer else ""
        return f"{self.what}: {self.file!r}{record}{pointer}: {self.message}"


@dataclass
class Audit:
    """What an audit found.

    Attributes:
        ts: the run.
        files: originals that were read to their end.
        records: their records, good and bad.
        rows: rows that are what their record calls for.
        scalars: values of records that were looked for in tables and quarantine; null does not count.
        not_audited: how many values, records, rows or files were not compared, by the reason.
        findings: the differences; none where everything is accounted for.
    """

    ts: str
    files: int = 0
    records: int = 0
    rows: int = 0
    scalars: int = 0
    not_audited: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, what: What, place: tuple[str, int], message: str, pointer: str = "") -> None:
        """Note a difference at a file and a record."""
        self.findings.append(Finding(what, *place, pointer, message))


def audit(run: Run, committed: Manifest, sample_percent: float = 100) -> Audit:
    """Account for every scalar of a complete run. Nothing is changed. Memory is that of its largest records.

    Args:
        run: the run, with the spec that it was made by.
        committed: its manifest.
        sample_percent: the share of records to compare, chosen by file and number. All are read and counted.

    Returns:
        What was compared, what was not, and the differences, in the order of tables and rows.

    Raises:
        MissingError: there is Parquet to read, and pyarrow is not installed.
        OSError: a file cannot be read.
    """
    with localcontext(prec=1000):
        auditor = _Auditor(run, committed, sample_percent)
        auditor.check_columns()
        for n in sorted({*committed.outputs, *committed.quarantined}):
            auditor.check_subdir(n)
        auditor.check_files()
        auditor.check_contents()
        auditor.check_counts()
    auditor.found.not_audited += Counter()
    return auditor.found


class _LostError(ValueError):
    """A file cannot be followed any further."""


class _Row(NamedTuple):
    """A row that a record calls for: its cells by column, and what no column has.

    The cells are None where the record is not in the sample.
    """

    file: str
    record: int
    item: str
    cells: list[Any] | None
    rest: dict[str, Any]

    def __str__(self) -> str:
        """Name its element."""
        return f"row of element {self.item}" if self.item else "row"


class _Bad(NamedTuple):
    """A record in quarantine, and its bytes in the original; of a large one the beginning."""

    entry: BadRecord
    raw: bytes


class _Auditor:
    def __init__(self, run: Run, committed: Manifest, sample_percent: float) -> None:
        self._run, self._committed, self._spec, self.found = run, committed, run.feed.spec, Audit(run.ts)
        self._rows = _Rows(run, committed, self.found, sample_percent)
        self._cells = [_Cell(column, self._spec) for column in committed.columns]
        self._sums = dict.fromkeys(committed.totals, Decimal(0))

    def _is_there(self, file: str, place: str) -> bool:
        if not (is_there := (self._run.feed.data_dir / place).is_file()):
            self.found.add("missing", (file, 0), f"{place!r} is not there")
        return is_there

    def _check_count(self, name: str, counted: object, said: object) -> None:
        if counted != said:
            self.found.add("changed", (name, 0), f"counted {counted}, the manifest says {said}")

    def check_columns(self) -> None:
        """Compare the names of the columns with the fields that they come from, and with the spec."""
        columns, denormalize = self._committed.columns, self._spec.denormalize
        for column in columns:
            above = [] if column.source == "record" else [column.source]
            if column.path and column.name != denormalize.separator.join([*above, *column.path]):
                self.found.add("changed", (column.name, 0), f"the column of {'.'.join(column.path)!r} has another name")
        chosen = [name if isinstance(name, str) else next(iter(name)) for name in denormalize.columns or ()]
        names = [column.name for column in columns if column.source != "fanfold" or column.name in chosen]
        if chosen and names and names != chosen:
            self.found.add("changed", ("denormalize.columns", 0), f"found the columns {names}, expected {chosen}")

    # --- tables and quarantine

    def check_subdir(self, n: str) -> None:
        """Compare table and bad records of a subdirectory with what its originals call for: by name, by record."""
        output, listed = self._committed.outputs.get(n), self._committed.quarantined.get(n)
        files = [file for file in self._committed.files if str(file.subdir) == n and _has_rows(file)]
        files = [file for file in files if self._is_there(file.name, file.archived_as)]
        files.sort(key=lambda file: file.name)
        is_there = listed and self._is_there(listed.path, listed.path)
        with (self._run.feed.data_dir / listed.path).open("rb") if listed and is_there else io.BytesIO() as lines:
            bad = _BadRecords(lines)
            expected = itertools.chain.from_iterable(self._expected(file, bad) for file in files)
            if output:
                self._compare(output, expected)
            deque(expected, maxlen=0)
            self._pass_others(bad)
        if listed:
            self._check_count(listed.path, bad.count, listed.rows)

    def _pass_others(self, bad: "_BadRecords", name: str | None = None) -> None:
        """Pass over the bad records that were not met, up to those of a file."""
        while bad.next and (name is None or bad.next.file <= name):
            message = "it is in quarantine, and the run read no such record"
            self.found.add("extra", (bad.next.file, bad.next.record), message)
            bad.step()

    def _original(self, file: ArchivedFile, bad: "_BadRecords") -> "_Original":
        return _Original(self._run.feed.data_dir / file.archived_as, file.name, self._spec.input, bad)

    def _expected(self, file: ArchivedFile, bad: "_BadRecords") -> Iterator[_Row]:
        """Yield the rows that an original calls for, and check what of it is in quarantine."""
        number = passed = 0
        try:
            for number, record in enumerate(self._original(file, bad).records(), start=1):
                if isinstance(record, _Bad):
                    passed += 1
                    self._check_bad(*record)
                    continue
                for path in self._sums:
                    self._sums[path] += sum(map(_amount, _each_at(record, path.split("."))))
                yield from self._rows.of(file.name, number, record)
        except (_LostError, UnicodeError) as lost:
            self.found.add("changed", (file.name, number + 1), f"{lost}; the rest is not audited")
        self._pass_others(bad, file.name)
        self._note_content(file)
        self.found.records += number
        counted = (f"{number} records, {passed} bad", f"{file.records} records, {file.records_quarantined} bad")
        self._check_count(file.name, *counted)

    def _check_bad(self, bad: BadRecord, raw: bytes) -> None:
        """Check that a record is in quarantine for a reason."""
        place, is_json = (bad.file, bad.record), input_format(bad.file) == "json"
        is_wrong, record = None, DECODER.decode("null")
        with contextlib.suppress(ValueError, RecursionError):
            record = _whole(DECODER.decode(raw.decode()))
        self.found.scalars += max(1, _leaves(record))
        way = [step for step in _steps(bad.pointer) if not step.isdecimal()]
        kind = self._spec.input.fields.get(".".join(way))
        if is_json and not isinstance(record, dict):
            # That its text is not a record is reason enough.
            is_wrong = False
            if bad.code not in OF_JSON:
                self.found.add("changed", place, f"it cannot be bad as {bad.code}")
        elif is_json and bad.code in UNREADABLE and not bad.message.endswith(OF_THE_PLACE):
            is_wrong = True
        elif is_json and bad.code in {"wrong_type", "inexact"} and kind and not bad.message.startswith(OF_BRACKETS):
            is_wrong = all(_is_held(kind, value) for value in list(_each_at(record, way)) or [None])
        elif is_json and bad.code == "no_match":
            is_wrong = not any(self._rows.lacks(one, record) for one in self._rows.references)
        self.found.not_audited[f"reasons of bad records ({bad.code})"] += is_wrong is None
        if is_wrong:
            self.found.add("extra", place, f"it is in quarantine as {bad.code}, and nothing is wrong with it")

    def _table(self, path: str) -> Iterator[Cells]:
        """Yield the rows of a table as texts, once its columns are those of the manifest."""
        place = self._run.feed.data_dir / path
        names: Cells = [column.name for column in self._committed.columns]
        if is_parquet := path.endswith(".parquet"):
            rows: Iterator[Cells] = ([_text_of(value) for value in row] for row in _parquet_rows(place))
        else:
            rows = (
                _csv_cells(line) or [line]
                for line in _Text(codecs.iterdecode(_chunks(place), "utf-8")).lines(MOST_LINE_BYTES, NOTHING)
            )
        try:
            if (found := next(rows, [])) != ([name or "_" for name in names] if is_parquet else names):
                self.found.add("changed", (path, 0), f"found the columns {found}, expected {names}")
            yield from rows
        except (FileNotFoundError, ValueError) as error:
            self.found.add("changed", (path, 0), f"it cannot be read: {error}")

    def _compare(self, output: Published, expected: Iterator[_Row]) -> None:
        """Compare the rows that are called for with those of a table, and explain the differences."""
        path, made, last = output.path, 0, len(self.found.findings) + MOST_FINDINGS
        recent = deque[_Row](maxlen=ROWS_AHEAD)
        for row, cells, is_right in self._paired(expected, self._table(path)):
            made += row is not None
            if row and is_right:
                self.found.rows += 1
                recent.append(row)
            elif row and cells:
                self._explain(row, cells)
            elif row:
                self.found.add("missing", row[:2], f"its {row} is not in {path!r}")
            else:
                of = next((one for one in recent if self._fits(one, cells or [])), None)
                message = f"the row {','.join(map(str, cells or []))[:80]!r} in {path!r} comes from no record"
                self.found.add("doubled" if of else "extra", of[:2] if of else (path, 0), message)
            if len(self.found.findings) >= last:
                self.found.not_audited[f"{path!r} behind {MOST_FINDINGS} differences"] += 1
                return
        self._check_count(path, made, output.rows)

    def _paired(
        self, expected: Iterator[_Row], rows: Iterator[Cells]
    ) -> Iterator[tuple[_Row | None, Cells | None, bool]]:
        """Yield a row that is called for, the one that is there, and whether they fit; None where either lacks."""
        wanted, there = deque[_Row](), deque[Cells]()
        while _fill(wanted, expected, 1) | _fill(there, rows, 1):
            missing = extra = 0
            is_right = bool(wanted and there) and self._fits(wanted[0], there[0])
            if wanted and there and not is_right:
                _fill(wanted, expected, ROWS_AHEAD)
                _fill(there, rows, ROWS_AHEAD)
                missing = next((k for k, row in enumerate(wanted) if self._fits(row, there[0])), 0)
                extra = next((k for k, cells in enumerate(there) if self._fits(wanted[0], cells)), 0)
            if missing and (missing <= extra or not extra):
                yield from [(wanted.popleft(), None, False) for _ in range(missing)]
            elif extra:
                yield from [(None, there.popleft(), False) for _ in range(extra)]
            else:
                yield wanted.popleft() if wanted else None, there.popleft() if there else None, is_right

    def _fits(self, row: _Row, cells: Cells) -> bool:
        if row.cells is None or len(row.cells) != len(cells):
            return row.cells is None
        for cell, value, text in zip(self._cells, row.cells, cells, strict=True):
            if (value != text or cell.is_watched) and not cell.holds(value, text, row):
                return False
        return True

    def _explain(self, row: _Row, cells: Cells) -> None:
        for value, cell, text in itertools.zip_longest(row.cells or (), self._cells, cells[: len(self._cells)]):
            if not cell.holds(value, text, row):
                pointer = "/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in cell.column.path)
                message = f"{cell.column.name!r} is {text!r} in its {row}, expected {value!r}"
                self.found.add("changed", row[:2], message, pointer)

    # --- files and counts

    def check_files(self) -> None:
        """Read what made no rows."""
        for file in self._committed.files:
            if not _has_rows(file) and self._is_there(file.name, file.archived_as):
                if file.code in UNREADABLE and input_format(file.name) == "json" and self._has_record(file):
                    message = f"it can be read, and the file is in quarantine as {file.code}"
                    self.found.add("extra", (file.name, 1), message)
                self._note_content(file)
                self.found.not_audited["files in quarantine (only their bytes are compared)"] += bool(file.code)

    def _has_record(self, file: ArchivedFile) -> bool:
        with contextlib.suppress(_LostError, UnicodeError):
            return next(self._original(file, _BadRecords(io.BytesIO())).records(), None) is not None
        return False

    def _note_content(self, file: ArchivedFile) -> None:
        self.found.files += 1
        path = self._run.feed.data_dir / file.archived_as
        size, sha256 = _content(path, is_packed=packing(file.name, path.name) is not None)
        # A file that was too large to be read has no hash.
        if file.sha256 and (size, sha256) != (file.size_bytes, file.sha256):
            message = f"found {size} bytes, sha256 {sha256}, not those of the manifest"
            self.found.add("changed", (file.name, 0), message)

    def check_contents(self) -> None:
        """Look for contents that made rows twice, or nowhere, over all complete runs of the feed."""
        # Run and file of each content that is not a duplicate; what was replayed is a duplicate of nothing.
        makers: dict[tuple[int, str], list[tuple[str, ArchivedFile]]] = {}
        for path in sorted(self._run.feed.commits_dir.glob("[!.]*.json")):
            is_own = path.stem == self._run.ts
            for file in (self._committed if is_own else manifest.read(path, Manifest)).files:
                if not file.duplicate_of:
                    makers.setdefault((file.size_bytes, file.sha256), []).append((path.stem, file))
        for file in self._committed.files:
            found = makers.get((file.size_bytes, file.sha256), [])
            if file.duplicate_of and not found and self._waits(file, file.duplicate_of):
                self.found.not_audited["duplicates of a file that waits to be read"] += 1
            elif file.duplicate_of and not found:
                message = f"it made no rows, and {file.duplicate_of!r} does not have its bytes"
                self.found.add("missing", (file.name, 0), message)
            others = [
                f"{ts}/{one.name}" for ts, one in found if one is not file and _has_rows(one) and not one.replay_of
            ]
            may_repeat = self._spec.input.duplicates == "process" or file.replay_of
            if others and _has_rows(file) and not may_repeat:
                self.found.add("doubled", (file.name, 0), f"it has the bytes of {others[0]!r}, and both have rows")

    def _waits(self, file: ArchivedFile, original: str) -> bool:
        """Say whether a content is staged under a name in an unfinished run, or was released from one into landing."""
        (ts, _, name), feed = original.partition("/"), self._run.feed
        staged = [folder / name for folder in feed.staging_dir.glob("*/[0-9]*")]
        places = [
            path for path in (*staged, feed.landing_dir / name, feed.run(ts).archive_path(name)) if path.is_file()
        ]
        return (file.size_bytes, file.sha256) in (_content(path, is_packed=False) for path in places)

    def check_counts(self) -> None:
        """Compare what was counted with the sums of the manifest."""
        summary, files = self._committed.summary, self._committed.files
        for n in map(str, range(1, self._spec.subdirs + 1)):
            own, output = [file for file in files if str(file.subdir) == n], self._committed.outputs.get(n)
            sizes = (len(own), sum(f.size_bytes for f in own), sum(f.records for f in own))
            expected = SubdirSummary(*sizes, output.rows, output.path) if output else SubdirSummary()
            self._check_count(n, expected, summary.subdirs.get(n))
        bad_files = sum(1 for file in files if file.code)
        counted = {
            "files_in": len(files),
            "files_quarantined": bad_files,
            "files_archived": len(files) - bad_files,
            "bytes_in": sum(file.size_bytes for file in files),
            "records_in": self.found.records,
            "records_quarantined": sum(file.records_quarantined for file in files),
            "records_unmatched": self._rows.unmatched,
            "rows_out": sum(output.rows for output in self._committed.outputs.values()),
        }
        for name, number in counted.items():
            self._check_count(name, number, getattr(summary, name))
        for name, total in self._sums.items():
            self._check_count(name, total, Decimal(self._committed.totals[name]))
        for cell in self._cells:
            self.found.not_audited["values by SQL, or of a type that is not known"] += cell.unknown
            if row := cell.plain if cell.is_json else cell.quoted:
                message = f"{cell.column.name!r} is a text, and not written as those of its column"
                self.found.add("changed", row[:2], message)
        for one in self._rows.references:
            if not one.is_intact:
                self.found.add("changed", (one.merge.reference, 0), "the kept reference is not the one that was joined")


def _has_rows(file: ArchivedFile) -> bool:
    return not file.code and not file.duplicate_of


def _fill(held: deque[Any], source: Iterator[Any], size: int) -> bool:
    """Hold as many of the next ones, if there are; say whether there is one."""
    held.extend(itertools.islice(source, max(0, size - len(held))))
    return bool(held)


# --- the rows that a record calls for


class _Reference:
    """The rows of a kept reference by their keys, in a temporary database that holds little of it in memory."""

    def __init__(self, run: Run, index: int, committed: Manifest) -> None:
        """Read the reference of `spec.merge[index]`."""
        self.merge, frozen = run.feed.spec.merge[index], committed.summary.references[index]
        self.columns = [(i, c.path) for i, c in enumerate(committed.columns) if c.source == self.merge.into]
        self.match, self._rows = lru_cache(1000)(self._match), sqlite3.connect("")
        self._rows.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, cells BLOB) WITHOUT ROWID")
        path, settings = run.feed.kept_reference_path(frozen.path, frozen.sha256), run.feed.spec.input
        self.is_intact = path.is_file() and _content(path, is_packed=False)[1] == frozen.sha256
        if not self.is_intact:
            return
        settings, none_bad = settings.model_copy(update={"records_at": ""}), _BadRecords(io.BytesIO())
        for row in _Original(path, path.name, settings, none_bad).records():
            if not isinstance(row, _Bad) and (key := _text_of(row.get(self.merge.reference_key))) is not None:
                cells = pickle.dumps([_value_at(row, way) for _, way in self.columns])
                self._rows.execute("INSERT OR IGNORE INTO rows VALUES (?, ?)", [key, cells])

    def _match(self, key: str | None) -> list[Any] | None:
        # No key is null there.
        found = self._rows.execute("SELECT cells FROM rows WHERE key = ?", [key]).fetchone()
        # They were written here a moment ago.
        return pickle.loads(found[0]) if found else None  # noqa: S301


class _Rows:
    """Makes the rows of the records of one run: fields in their columns, references joined, arrays exploded."""

    def __init__(self, run: Run, committed: Manifest, found: Audit, sample_percent: float) -> None:
        """Read the references; note where each field goes."""
        self._spec, self._columns, self._found, self._percent = run.feed.spec, committed.columns, found, sample_percent
        self.references = [_Reference(run, index, committed) for index in range(len(self._spec.merge))]
        self.unmatched = 0
        self._slots = {tuple(column.path): i for i, column in enumerate(self._columns) if column.source == "record"}
        self._own = {column.name: i for i, column in enumerate(self._columns) if column.source == "fanfold"}
        # The way to the record itself, then to each array inside of it that explodes.
        self._arrays: list[tuple[str, ...]] = [(), *map(tuple, committed.explode)]
        # How deep the key of each reference stands.
        keys = [tuple(one.merge.record_key.split(".")) for one in self.references]
        self._levels = [max(i for i, way in enumerate(self._arrays) if key[: len(way)] == way) for key in keys]
        declared = [*(tuple(path.split(".")) for path in self._spec.input.fields), *self._arrays]
        self._declared = {way[:size] for way in declared for size in range(len(way) + 1)}
        self._is_declared = self._spec.input.schema_mode == "declared"

    def of(self, file: str, number: int, record: dict[str, Any]) -> Iterator[_Row]:
        """Yield the rows of a record, in their order."""
        cells: list[Any] = [UNKNOWN if column.expression else None for column in self._columns]
        lacking = [one for one in self.references if self.lacks(one, record)]
        for reference in lacking:
            if reference.merge.on_missing != "keep":
                message = f"it has rows, and no match in {reference.merge.reference!r}"
                self._found.add("extra", (file, number), message)
        self.unmatched += bool(lacking)
        is_sampled = zlib.crc32(f"{file}:{number}".encode()) % 10_000 < self._percent * 100
        self._found.not_audited["records outside of the sample"] += not is_sampled
        self._found.scalars += _leaves(record) if is_sampled else 0
        self._put_own(cells, _source_file=file, _source_record=str(number))
        for row in self._expand(0, record, _Row(file, number, "", cells, {})):
            yield row if is_sampled else row._replace(cells=None)

    def lacks(self, reference: _Reference, record: dict[str, Any]) -> bool:
        """Say whether a record, or an element of the array around the key, has no match."""
        level = self._levels[self.references.index(reference)]
        return any(self._match(reference, level, one) is None for one in self._elements(level, record))

    def _elements(self, level: int, record: dict[str, Any]) -> Iterator[Any]:
        """Yield the record itself or, at a deeper level, the elements of the array that explodes there."""
        if level == 0:
            yield record
            return
        way = self._arrays[level][len(self._arrays[level - 1]) :]
        for above in self._elements(level - 1, record):
            yield from _value_at(above, way) or ()

    def _match(self, reference: _Reference, level: int, value: Any) -> list[Any] | None:
        """Return the row of a key; None where there is no key, or where a declared schema does not have it."""
        path = reference.merge.record_key
        is_known = not self._is_declared or path in self._spec.input.fields
        key = _value_at(value, path.split(".")[len(self._arrays[level]) :])
        return reference.match(_text_of(key) if is_known else None)

    def _put_own(self, cells: list[Any], **values: Any) -> None:
        for name, value in values.items():
            if name in self._own:
                cells[self._own[name]] = value

    def _expand(self, level: int, value: Any, row: _Row) -> Iterator[_Row]:
        """Yield the rows of a record or, at a deeper level, of an element."""
        for reference, own in zip(self.references, self._levels, strict=True):
            if own == level and row.cells:
                match = self._match(reference, level, value) or ()
                for (slot, _), found in zip(reference.columns, match, strict=False):
                    row.cells[slot] = found
        array = self._put(self._arrays[level], value, row, level + 1)
        if isinstance(array, list) and array:
            for position, element in enumerate(array, start=1):
                item = f"{row.item}.{position}".lstrip(".")
                inner = row._replace(item=item, cells=[*(row.cells or ())], rest=copy.deepcopy(row.rest))
                yield from self._expand(level + 1, element, inner)
            return
        if array not in (None, []):
            self._found.add("missing", row[:2], f"{str(array)[:40]!r} is in no column, expected an array")
        self._put_own(row.cells or [], _source_item=row.item or None, _rescued=row.rest or None)
        yield row

    def _put(self, way: tuple[str, ...], value: Any, row: _Row, level: int) -> Any:
        """Put a value, and what is in it, into its cells; return the array of that level, if it is in it."""
        array, slot = None, self._slots.get(way)
        # A column may be what an array has for elements: then it has the way of that.
        if self._arrays[level : level + 1] == [way]:
            array = value
        elif slot is not None and row.cells:
            row.cells[slot] = value
        elif self._is_declared and way not in self._declared:
            _reach(row.rest, way[:-1])[way[-1]] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                array = self._put((*way, key), inner, row, level) or array
        elif _leaves(value) and self._spec.denormalize.columns is not None:
            self._found.not_audited["values left out by denormalize.columns"] += _leaves(value)
        elif _leaves(value):
            self._found.add("missing", row[:2], f"{'.'.join(way)!r} ({str(value)[:40]!r}) is in no column")
        return array


def _reach(tree: dict[str, Any], way: tuple[str, ...]) -> dict[str, Any]:
    for name in way:
        tree = tree.setdefault(name, {})
    return tree


# --- the records of an original


class _BadRecords:
    """The bad records of a subdirectory, in their order; `next` is the one that comes next, `count` how many came."""

    def __init__(self, lines: IO[bytes]) -> None:
        """Begin with the first line of a records.jsonl."""
        self._lines, self.count = lines, -1
        self.step()

    def step(self) -> None:
        """Go on to the next one."""
        line = self._lines.readline()
        self.next, self.count = BadRecord(**json.loads(line)) if line else None, self.count + 1


class _Text:
    """A text that comes in parts. One of them is held; it is read up to `at`."""

    def __init__(self, parts: Iterator[str]) -> None:
        """Begin before the first character."""
        self._parts, self.text, self.at = parts, "", 0

    def more(self) -> bool:
        """Read on, as much as is held; False at the end."""
        held, parts = self.text[self.at :], list[str]()
        while sum(map(len, parts)) <= len(held) and (part := next(self._parts, "")):
            parts.append(part)
        self.at, self.text = 0, held + "".join(parts)
        return bool(parts)

    def char(self, blanks: re.Pattern[str] = BLANKS) -> str:
        """Pass over blanks and return the next character; nothing at the end."""
        while True:
            passed = blanks.match(self.text, self.at)
            self.at = passed.end() if passed else self.at
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def lines(self, most: int, between: re.Pattern[str]) -> Iterator[str]:
        """Yield the lines of CSV, each to an end outside of quotes and without that, but for what is between them."""
        while self.char(between):
            end = quotes = 0
            while end >= 0:
                newline = self.text.find("\n", self.at + end)
                if newline < 0 and len(self.text) - self.at <= most and self.more():
                    continue
                stop = newline if newline >= 0 else len(self.text)
                quotes += self.text.count('"', self.at + end, stop)
                end = newline + 1 - self.at if newline >= 0 and quotes % 2 else -1
            line, self.at = self.text[self.at : stop], min(stop + 1, len(self.text))
            yield line.removesuffix("\r") if newline >= 0 else line


class _AbandonedError(Exception):
    """The rest of a document around records is bad."""


class _Original:
    """The records of one file, in their order. Those in quarantine are passed over, by their place and size."""

    def __init__(self, path: Path, name: str, settings: Input, bad: _BadRecords) -> None:
        """Look at the original that landed as `name`; the next ones of `bad` may be its own."""
        self._path, self._name, self._most, self._bad = path, name, 2 * settings.max_record_bytes, bad
        self._way, self._passed = _steps(settings.records_at), deque[_Bad]()

    def records(self) -> Iterator[dict[str, Any] | _Bad]:
        """Yield each record: its value if it is good, else what is in quarantine."""
        readers = {"csv": self._csv_records, "json": self._json_records, "parquet": self._parquet_records}
        for number, record in enumerate(readers[input_format(self._name)](), start=1):
            bad = self._passed.popleft() if record == BAD else None
            if not isinstance(record, dict) and (bad is None or bad.entry.record != number):
                self._lose(record)
            yield bad or record

    def _next(self) -> BadRecord | None:
        return self._bad.next if self._bad.next and self._bad.next.file == self._name else None

    def _parts(self) -> Iterator[str]:
        """Yield the text of the file, with BAD in the place of each record that is in quarantine."""
        file, decoder, offset = _Bytes(_chunks(self._path)), codecs.getincrementaldecoder("utf-8-sig")(), 0
        while True:
            bad = self._next()
            data = file.take(min(CHUNK_BYTES, max(0, bad.record_offset - offset)) if bad else CHUNK_BYTES)
            offset += len(data)
            if data:
                # A byte order mark alone is no text, and no end either.
                yield from filter(None, [decoder.decode(data)])
            elif bad and bad.record_offset == offset:
                offset += self._pass_bad(bad, file)
                yield BAD
            elif bad:
                self._lose("the end")
            else:
                return

    def _pass_bad(self, bad: BadRecord, file: "_Bytes") -> int:
        """Pass over a record in quarantine, and return its size."""
        kept = (bad.raw or "").encode() if bad.raw_base64 is None else base64.b64decode(bad.raw_base64)
        size = bad.size or len(kept)
        raw = file.take(min(size, self._most))
        for passed in range(len(raw), size, CHUNK_BYTES):
            file.take(min(CHUNK_BYTES, size - passed))
        if raw != kept and (bad.raw is not None or bad.raw_base64 is not None):
            self._lose(raw, f"the text of record {bad.record} in quarantine")
        self._passed.append(_Bad(bad, raw))
        self._bad.step()
        return size

    def _parquet_records(self) -> Iterator[Any]:
        rows = _parquet_rows(self._path)
        names = next(rows)
        for number, row in enumerate(rows, start=1):
            if (bad := self._next()) and bad.record == number:
                self._passed.append(_Bad(bad, b""))
                self._bad.step()
                yield BAD
            else:
                yield dict(zip(names, row, strict=True))

    def _csv_records(self) -> Iterator[Any]:
        lines = _Text(self._parts()).lines(self._most, LINE_ENDS)
        names = _csv_cells(next(lines, "")) or []
        for line in lines:
            cells = _csv_cells(line) or []
            yield line if line == BAD or len(cells) != len(names) else dict(zip(names, cells, strict=True))

    def _json_records(self) -> Iterator[Any]:
        text = _Text(self._parts())
        while text.char():
            with contextlib.suppress(_AbandonedError):
                yield from self._values(text, self._way)

    def _values(self, text: _Text, way: list[str] | None) -> Iterator[Any]:
        """Yield the records at the end of `way` in the value that begins here; None: they are elsewhere."""
        opening = text.char()
        if opening == BAD:
            yield from self._around(text)
        elif opening == "[" or (opening == "{" and way):
            text.at += 1
            yield from self._members(text, way, is_object=opening == "{")
        else:
            value = self._value(text)
            if way == [] and (value is not None or not self._way):
                yield value

    def _members(self, text: _Text, way: list[str] | None, *, is_object: bool) -> Iterator[Any]:
        positions = itertools.count()
        while (char := text.char()) not in {"", "}", "]"}:
            if char == BAD and way != []:
                yield from self._around(text)
            elif char in {",", BAD}:
                text.at += 1
                yield from [char] if char == BAD else []
            elif way == []:
                yield self._value(text)
            else:
                key = str(self._value(text) if is_object else next(positions))
                text.at += text.char() == ":"
                yield from self._values(text, way[1:] if way and key == way[0] else None)
        text.at += 1

    def _around(self, text: _Text) -> Iterator[str]:
        """Yield what is bad around the records; all of the document may have gone with it."""
        text.at += 1
        yield BAD
        if text.char() not in {",", "}", "]", BAD}:
            raise _AbandonedError

    def _value(self, text: _Text) -> Any:
        while True:
            try:
                value, end = DECODER.raw_decode(text.text, text.at)
                if end < len(text.text) or text.text[end - 1] in '}]"' or not text.more():
                    has_escapes, text.at = text.text.find("\\u", text.at, end) >= 0, end
                    return _whole(value) if has_escapes else value
            except (ValueError, RecursionError):
                if len(text.text) - text.at > self._most or not text.more():
                    self._lose(text.text[text.at : text.at + 40])

    def _lose(self, found: Any, expected: str = "a good record, or one in quarantine at its place") -> NoReturn:
        msg = f"found {str(found)[:40]!r}, expected {expected}"
        raise _LostError(msg)


class _Bytes:
    """Bytes that come in chunks, and are taken by their number."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        """Begin before the first one."""
        self._chunks, self._held = chunks, b""

    def take(self, size: int) -> bytes:
        """Return so many bytes, or as many as there are."""
        while len(self._held) < size and (chunk := next(self._chunks, b"")):
            self._held += chunk
        taken, self._held = self._held[:size], self._held[size:]
        return taken


def _chunks(path: Path) -> Iterator[bytes]:
    """Yield what is in a file, unpacked, up to where that is damaged."""
    with path.open("rb") as file, contextlib.suppress(EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError):
        source: Any = file
        if path.suffix == ".gz":
            source = gzip.GzipFile(fileobj=file)
        elif path.suffix == ".zst":
            source = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        while data := source.read1(CHUNK_BYTES):
            yield data


def _content(path: Path, *, is_packed: bool) -> tuple[int, str]:
    """Return size and SHA-256 of a file as it came, whether the archive has compressed it or not."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        for data in _chunks(path) if is_packed else iter(lambda: file.read(CHUNK_BYTES), b""):
            digest.update(data)
            size += len(data)
    return size, digest.hexdigest()


def _csv_cells(line: str) -> Cells | None:
    """Return the cells of a line of CSV by RFC 4180: null where nothing stands; None if it is not such a line."""
    if '"' not in line:
        return [cell or None for cell in line.split(",")]
    if not LINE.fullmatch(line):
        return None
    return [text.replace('""', '"') if quote else plain or None for quote, text, plain in CELL.findall(line)]


def _parquet_rows(path: Path) -> Iterator[list[Any]]:
    """Yield the names of the columns of a file of Parquet, then its rows, with values as JSON has them."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ModuleNotFoundError:
        msg = f"{str(path)!r} is Parquet, and pyarrow is not installed: pip install 'fanfold[audit]'"
        raise MissingError(msg) from None
    with parquet.ParquetFile(path) as file:
        yield file.schema_arrow.names
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            # Python has no nanoseconds.
            columns = [one.cast(pa.string()) if str(one.type) in FINE else one for one in batch.columns]
            forms = [_of_nanoseconds if str(one.type) in FINE else _as_json for one in batch.columns]
            for row in zip(*(column.to_pylist(maps_as_pydicts="lossy") for column in columns), strict=True):
                yield [form(value) for form, value in zip(forms, row, strict=True)]


# --- values: null, booleans, texts, numbers as they are written, objects and arrays


class _Num(str):
    """A number, as it is written. So it shows itself, inside of objects and arrays too."""

    __slots__ = ()
    __repr__ = str.__str__


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else _refuse("a key that stands twice")


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_Num, parse_int=_Num, parse_constant=_refuse)
# A table may have what no record of JSON has: NaN and Infinity, from Parquet.
OF_TABLES = json.JSONDecoder(object_pairs_hook=_object, parse_float=_Num, parse_int=_Num, parse_constant=_Num)


def _whole(value: Any) -> Any:
    """Return a value whose texts are whole; ValueError where there is half of a surrogate pair: it has no bytes."""
    json.dumps(value, ensure_ascii=False).encode()
    return value


class _Cell:
    """How values stand in the cells of a column: by its type or, where that is not declared, as they were written."""

    def __init__(self, column: Column, spec: Spec) -> None:
        """Note the type. A column that has an object or array has JSON, and its texts stand in quotes."""
        declared = spec.input.fields.get(".".join(column.path)) if column.source == "record" else None
        is_typed = declared or column.type == "DOUBLE" or spec.output.format == "parquet"
        self.column, self.is_json, self.unknown = column, "JSON" in {declared, column.type}, 0
        self._kind = None if self.is_json or column.type == "VARCHAR" or not is_typed else column.type
        # The first rows whose text stands as it is, and in quotes; whether cells are looked at that are equal to it.
        self.plain: _Row | None = None
        self.quoted: _Row | None = None
        self.is_watched = self._kind is not None or column.type in {"VARCHAR", "JSON"}

    def holds(self, value: Any, text: str | None, row: _Row) -> bool:
        """Say whether a cell holds a value of a row."""
        if value is UNKNOWN or value is None or text is None:
            self.unknown += value is UNKNOWN
            return value is UNKNOWN or value is text
        if isinstance(value, (dict, list)):
            self.is_json = True
        elif self._kind or type(value) is not str:
            return _written(self._kind, _text_of(value)) == text
        elif value == text:
            self.plain, self.is_watched = self.plain or row, False
            return True
        with contextlib.suppress(ValueError, RecursionError):
            # Numbers as they are written, texts by their characters.
            if repr(OF_TABLES.decode(text)) == repr(value):
                self.quoted = row if isinstance(value, str) else self.quoted
                return True
        return False


# A record has many rows.
@lru_cache(100_000)
def _written(kind: str | None, text: str | None) -> str | None:
    """Return how a type is written in CSV; None where it does not hold a text, or the text of a number, exactly."""
    if kind is None or text is None:
        return text
    if kind == "BOOLEAN":
        return text if text in {"true", "false"} else None
    if kind in MOMENTS:
        return _moment(kind, text)
    if kind == "DOUBLE" and text in NOT_FINITE.values():
        return text
    number = _number(text)
    if kind == "DOUBLE":
        written = repr(float(number))
    else:
        precision, scale = (19, 0) if kind == "BIGINT" else map(int, kind[8:-1].split(","))
        most = 2**63 if kind == "BIGINT" else 10 ** (precision - scale)
        # There is no minus zero but that of a DOUBLE.
        written = f"{number + 0:.{scale}f}" if -most <= number < most else "nan"
    return written if number.is_finite() and Decimal(written) == number else None


def _number(text: str) -> Decimal:
    """Return the value of a number; infinity for other texts, and where the exponent is more than a Decimal holds."""
    digits = text.lower().partition("e")[0]
    if not NUMBER.fullmatch(text):
        return Decimal("Infinity")
    if not digits.strip("+-0."):
        return Decimal(digits)
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("Infinity")


def _is_held(kind: str, value: Any) -> bool:
    """Say whether a declared type surely holds a value of JSON."""
    text = _text_of(value)
    return text is not None and (kind in {"VARCHAR", "JSON"} or _written(kind, text) is not None)


def _moment(kind: str, text: str) -> str | None:
    if FINER.search(text) or not MOMENTS[kind].fullmatch(text):
        return None
    with contextlib.suppress(ValueError, OverflowError):
        moment = datetime.fromisoformat(text)
        return text if kind == "DATE" else _iso(moment)
    return None


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z" if moment.tzinfo else moment.isoformat()


def _as_json(value: Any) -> Any:
    """Return a value of Parquet as one of JSON."""
    found: Any = value if value is None or isinstance(value, bool) else UNKNOWN
    if isinstance(value, (str, UUID)):
        found = str(value)
    elif isinstance(value, (int, Decimal)) and found is UNKNOWN:
        found = _Num(f"{value:f}" if isinstance(value, Decimal) else value)
    elif isinstance(value, float):
        found = NOT_FINITE.get(repr(value), _Num(value))
    elif isinstance(value, (date, time)):
        found = _iso(value) if isinstance(value, datetime) else value.isoformat()
    elif isinstance(value, bytes):
        found = "".join(chr(one) if chr(one) in PLAIN_BYTES else f"\\x{one:02X}" for one in value)
    elif isinstance(value, dict):
        found = {_text_of(_as_json(key)): _as_json(inner) for key, inner in value.items()}
    elif isinstance(value, list):
        found = [_as_json(inner) for inner in value]
    return found


def _of_nanoseconds(text: str | None) -> str | None:
    """Return a moment with nine digits of a second as Fanfold writes it: with nine, six or none."""
    return text and re.sub(r"\.0{9}|(?<=\.\d{6})000", "", text.replace(" ", "T"))


def _text_of(value: Any) -> str | None:
    """Return a scalar as text, as it is written; None for null, an object or an array."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None or isinstance(value, (dict, list)) else str(value)


def _amount(value: Any) -> Decimal:
    return Decimal(value) if isinstance(value, str) and NUMBER.fullmatch(value) else Decimal(0)


def _leaves(value: Any) -> int:
    """Return the number of scalars in a value; null does not count."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return (value is not None) if inner is None else sum(map(_leaves, inner))


def _value_at(record: Any, way: Iterable[str]) -> Any:
    """Return what is at the end of a way through objects; None where it leads nowhere."""
    for name in way:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def _each_at(value: Any, way: list[str]) -> Iterator[Any]:
    """Yield what is at the end of a way through objects, and through the elements of arrays."""
    if isinstance(value, list):
        for inner in value:
            yield from _each_at(inner, way)
    elif not way:
        yield value
    elif isinstance(value, dict):
        yield from _each_at(value.get(way[0]), way[1:])


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
