"""The auditor: it accounts for every scalar of a complete run, by code that shares nothing with what it audits.

It reads the archived originals and the kept references with the standard library (zstandard and pyarrow for their
formats), works out the rows that they call for, and compares these with the tables, one by one, in their order. It is
slow and plain on purpose: it is what the tests believe. Of Fanfold, it knows the words of a feed: spec, layout,
manifest, errors.
"""

import io
import itertools
import json
from collections import Counter, deque
from collections.abc import Iterator
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

from fanfold import manifest
from fanfold.audit.findings import Audit, Finding
from fanfold.audit.originals import BadRecords, LostError, Original, Text, parquet_rows
from fanfold.audit.rows import Row, Rows
from fanfold.audit.values import BY_SQL, KNOWN, at_pointer, csv_fields, holds, leaves, loads, path_of, same, text_of
from fanfold.layout import Run, input_format
from fanfold.manifest import ArchivedFile, BadRecord, Manifest, SubdirSummary

__all__ = ["Audit", "Finding", "audit"]

# A difference is explained by the rows ahead; a table with more differences than this is not followed to its end.
ROWS_AHEAD, MOST_FINDINGS = 1000, 50
CHUNK_BYTES, MOST_LINE_BYTES = 1 << 20, 1 << 28
# With these codes, a record that can be read is in quarantine by mistake.
UNREADABLE = {"syntax", "nan", "trailing_comma", "duplicate_key", "lone_surrogate", "bad_utf8", "control_character"}
# What else can be wrong with a record that cannot be read.
OF_JSON = {
    "truncated", "trailing_garbage", "not_an_object", "too_deep", "record_too_large", "too_many_values",
    "pointer_not_found",
}  # fmt: skip


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
        for n in committed.outputs:
            auditor.check_table(n)
        auditor.check_files()
        auditor.check_counts()
    return auditor.found


class _Auditor:
    def __init__(self, run: Run, committed: Manifest, sample_percent: float) -> None:
        self._run, self._committed, self._spec, self._columns = run, committed, run.feed.spec, committed.columns
        self._is_sample, self.found = sample_percent < 100, Audit(run.ts)  # noqa: PLR2004 - percent
        self._rows = Rows(run, committed, self.found, sample_percent)
        # Size and SHA-256 of each original, as it was read.
        self._contents: dict[str, tuple[int, str]] = {}
        # By column, what is totalled.
        self._sums = {
            i: Decimal(0) for i, c in enumerate(self._columns) if c.name in committed.totals and not c.expression
        }
        self._bad: dict[str, BadRecords] = {}
        for n in committed.quarantined:
            self._find_bad(n)
        self._kinds = [column.type for column in self._columns]
        self._texts = [slot for slot, kind in enumerate(self._kinds) if kind == "VARCHAR"]
        # By column: whether it has an object or array, and the first row whose text is right only as JSON, or only not.
        self._is_json = [self._spec.input.fields.get(".".join(c.path)) == "JSON" for c in self._columns]
        self._as_json: dict[int, Row] = {}
        self._as_text: dict[int, Row] = {}

    def _find_bad(self, n: str) -> None:
        """Note where each bad record lies in the quarantine of a subdirectory."""
        listed, number, position = self._committed.quarantined[n], 0, 0
        path = self._run.feed.data_dir / listed.path
        with path.open("rb") if self._is_there(listed.path, listed.path) else io.BytesIO() as lines:
            for line in lines:
                bad = BadRecord(**json.loads(line))
                places = self._bad.setdefault(bad.file, BadRecords(path))
                if places.positions.setdefault(bad.record, position) != position:
                    self.found.add("doubled", (bad.file, bad.record), f"it is twice in {listed.path!r}")
                number, position = number + 1, position + len(line)
        if number != listed.rows:
            self.found.add("changed", (listed.path, 0), f"found {number} records, expected {listed.rows}")

    def _is_there(self, file: str, place: str) -> bool:
        if not (is_there := (self._run.feed.data_dir / place).is_file()):
            self.found.add("missing", (file, 0), f"{place!r} is not there")
        return is_there

    def check_columns(self) -> None:
        """Compare the names of the columns with the fields that they come from, and with the spec."""
        separator = self._spec.denormalize.separator
        for column in self._columns:
            above = [] if column.source == "record" else [column.source]
            if column.path and column.name != separator.join([*above, *column.path]):
                self.found.add("changed", (column.name, 0), f"the column of {'.'.join(column.path)!r} has another name")
        chosen = [name if isinstance(name, str) else next(iter(name)) for name in self._spec.denormalize.columns or ()]
        names = [column.name for column in self._columns if column.source != "fanfold" or column.name in chosen]
        if chosen and names and names != chosen:
            self.found.add("changed", ("denormalize.columns", 0), f"found the columns {names}, expected {chosen}")

    # --- tables

    def check_table(self, n: str) -> None:
        """Compare the rows of a table with those that the originals of its subdirectory call for."""
        output = self._committed.outputs[n]
        files = [file for file in self._committed.files if str(file.subdir) == n and _has_rows(file)]
        files = [file for file in files if self._is_there(file.name, file.archived_as)]
        expected = itertools.chain.from_iterable(self._expected(file, int(n)) for file in self._in_order(files))
        try:
            made = self._compare(output.path, expected, self._table(output.path))
        except (LostError, ValueError, FileNotFoundError) as error:
            self.found.add("changed", (output.path, 0), f"it cannot be read: {error}")
            made = sum(1 for _ in expected)
        if made != output.rows:
            self.found.add("changed", (output.path, 0), f"expected {made} rows, the manifest says {output.rows}")

    def _in_order(self, files: list[ArchivedFile]) -> list[ArchivedFile]:
        """Order files as their rows are: arrays of JSON, other JSON, CSV by header, Parquet, those read with care."""
        keys: dict[str, tuple[int, str]] = {}
        headers: dict[tuple[str | None, ...], str] = {}
        for file in sorted(files, key=lambda file: file.name):
            kind = input_format(file.name)
            head = self._original(file).head() if kind != "parquet" and not file.careful else ""
            rank = {"json": int(head[:1] != "["), "csv": 2, "parquet": 3}[kind]
            first = headers.setdefault(tuple(csv_fields(head) or ()), file.name) if kind == "csv" else ""
            keys[file.name] = (4, "") if file.careful else (rank, first)
        return sorted(files, key=lambda file: (keys[file.name], file.name))

    def _original(self, file: ArchivedFile, bad: BadRecords | None = None) -> Original:
        return Original(self._run.feed.data_dir / file.archived_as, file.name, bad or BadRecords(), self._spec.input)

    def _expected(self, file: ArchivedFile, n: int) -> Iterator[Row]:
        """Yield the rows that an original calls for, and check what of it is in quarantine."""
        original = self._original(file, self._bad.pop(file.name, None))
        original.on_bad = self._check_bad
        try:
            for number, record in original.records():
                yield from self._rows.of(file.name, number, record, n)
        except (LostError, UnicodeError) as lost:
            self.found.add("changed", (file.name, original.number + 1), f"{lost}; the rest is not audited")
        self._note_content(file, original)
        self.found.records += original.number
        counts = (original.number, original.passed)
        if counts != (file.records, file.records_quarantined):
            message = f"found {counts[0]} records and {counts[1]} of them in quarantine, the manifest says "
            self.found.add("changed", (file.name, 0), f"{message}{file.records} and {file.records_quarantined}")

    def _check_bad(self, bad: BadRecord, raw: str | None) -> None:
        """Check that a record, whose text is the one in quarantine, is there for a reason."""
        try:
            record = loads(raw.encode("latin-1").decode()) if raw else None
        except (ValueError, RecursionError):
            record = None
        is_json, self.found.scalars = input_format(bad.file) == "json", self.found.scalars + max(1, leaves(record))
        reason = f"reasons of bad records ({bad.code})"
        if not isinstance(record, dict):
            # That its text is not JSON is reason enough.
            self.found.not_audited[reason] += raw is None or not is_json
            if is_json and bad.code not in UNREADABLE | OF_JSON:
                self.found.add("changed", (bad.file, bad.record), f"it cannot be bad as {bad.code}")
            return
        value, kind = at_pointer(record, bad.pointer), self._spec.input.fields.get(path_of(bad.pointer))
        is_wrong = None
        if is_json and bad.code in UNREADABLE and not bad.message.startswith("found a record, expected"):
            is_wrong = True
        elif is_json and bad.code in {"wrong_type", "inexact"} and kind:
            is_wrong = holds(kind, value)
        elif bad.code == "no_match":
            is_wrong = all(one.match(self._rows.key(one, record)) is not None for one in self._rows.references)
        self.found.not_audited[reason] += is_wrong is None
        if is_wrong:
            self.found.add(
                "extra", (bad.file, bad.record), f"it is in quarantine as {bad.code}, and nothing is wrong with it"
            )

    def _table(self, path: str) -> Iterator[list[str | None]]:
        """Yield the rows of a table as texts, once its columns are those of the manifest."""
        names: list[str] | None = [column.name for column in self._columns]
        if path.endswith(".parquet"):
            rows = parquet_rows(self._run.feed.data_dir / path)
            found, names = next(rows), [name or "_" for name in names or ()]
            rows = ([text_of(value) for value in row] for row in rows)
        else:
            lines = _lines(self._run.feed.data_dir / path)
            found = csv_fields(next(lines, "")) or []
            rows = (csv_fields(line) or [line] for line in lines)
        if found != names and (names or found != [None]):
            msg = f"found the columns {found}, expected {names}"
            raise LostError(msg)
        return rows

    def _compare(self, path: str, expected: Iterator[Row], rows: Iterator[list[str | None]]) -> int:
        """Compare the rows that are called for with those that are there, explain differences, return how many."""
        wanted, there, made = deque[Row](), deque[list[str | None]](), 0
        recent = deque[Row](maxlen=ROWS_AHEAD)
        last = len(self.found.findings) + MOST_FINDINGS
        while len(self.found.findings) < last:
            _fill(wanted, expected, 1)
            _fill(there, rows, 1)
            if not wanted and not there:
                return made
            if wanted and there and self._fits(wanted[0], there[0]):
                self._accept(wanted[0], there.popleft())
                recent.append(wanted.popleft())
                made += 1
                continue
            _fill(wanted, expected, ROWS_AHEAD)
            _fill(there, rows, ROWS_AHEAD)
            missing = next((k for k, row in enumerate(wanted) if there and self._fits(row, there[0])), len(wanted))
            extra = next((k for k, row in enumerate(there) if wanted and self._fits(wanted[0], row)), len(there))
            if wanted and there and (self._goes_on(wanted, there) or (missing == len(wanted) and extra == len(there))):
                self._explain_cells(wanted.popleft(), there.popleft())
                made += 1
            elif wanted and (missing <= extra or not there):
                for row in [wanted.popleft() for _ in range(missing or 1)]:
                    self.found.add("missing", row[:2], f"its row{_item(row)} is not in {path!r}")
                    made += 1
            else:
                for cells in [there.popleft() for _ in range(extra or 1)]:
                    of = next((one for one in recent if self._fits(one, cells)), None)
                    text = ",".join(cell or "" for cell in cells)[:80]
                    place = of[:2] if of else (path, 0)
                    self.found.add(
                        "doubled" if of else "extra", place, f"the row {text!r} in {path!r} comes from no record"
                    )
        self.found.not_audited[f"rows of {path!r} behind {MOST_FINDINGS} differences"] += sum(1 for _ in rows)
        return made + len(wanted) + sum(1 for _ in expected)

    def _goes_on(self, wanted: deque[Row], there: deque[list[str | None]]) -> bool:
        """Say whether the rows after the first ones are alike."""
        if len(wanted) == 1 or len(there) == 1:
            return len(wanted) == len(there)
        return self._fits(wanted[1], there[1])

    def _fits(self, row: Row, cells: list[str | None]) -> bool:
        if row.cells is None or len(row.cells) != len(cells):
            return row.cells is None
        for value, text, kind in zip(row.cells, cells, self._kinds, strict=True):
            if value != text and same(value, text, kind) is False:
                return False
        return True

    def _accept(self, row: Row, cells: list[str | None]) -> None:
        self.found.rows += 1
        for slot in self._texts if row.cells else ():
            value, text = (row.cells or ())[slot], cells[slot]
            if isinstance(value, (dict, list)):
                self._is_json[slot] = True
            elif type(value) is str and value == text:
                self._as_text.setdefault(slot, row)
            elif isinstance(value, str) and value != text and same(value, text, "VARCHAR") is None:
                self._as_json.setdefault(slot, row)
            elif value is not None and value is not BY_SQL and not isinstance(value, (*KNOWN, bool, bytes)):
                self.found.not_audited[f"values of type {type(value).__name__}"] += 1
        for slot in self._sums if row.cells else ():
            self._sums[slot] += Decimal(text_of((row.cells or ())[slot]) or 0)

    def _explain_cells(self, row: Row, cells: list[str | None]) -> None:
        for slot, (value, column) in enumerate(zip(row.cells or (), self._columns, strict=True)):
            text = cells[slot] if slot < len(cells) else None
            if value != text and same(value, text, column.type) is False:
                pointer = "/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in column.path)
                message = f"{column.name!r} is {text!r}, expected {value!r}{_item(row)}"
                self.found.findings.append(Finding("changed", *row[:2], pointer, message))

    # --- files and counts

    def check_files(self) -> None:
        """Read what made no rows, and look for contents that made rows twice, or nowhere, over all runs of the feed."""
        for file in self._committed.files:
            if not _has_rows(file) and self._is_there(file.name, file.archived_as):
                original = self._original(file)
                if file.code in UNREADABLE and input_format(file.name) == "json" and original.has_record():
                    self.found.add(
                        "extra", (file.name, 1), f"it can be read, and the file is in quarantine as {file.code}"
                    )
                self._note_content(file, original)
                self.found.not_audited["files in quarantine (only their bytes are compared)"] += bool(file.code)
        for name, bad in self._bad.items():
            self.found.add("extra", (name, min(bad.positions)), "it is in quarantine, and the run read no such record")
        self._check_contents()

    def _check_contents(self) -> None:
        """Look for contents that made rows twice, or nowhere, over all complete runs of the feed."""
        # Run and file of each content that is not a duplicate; what was replayed is a duplicate of nothing.
        makers: dict[tuple[int, str], list[tuple[str, ArchivedFile]]] = {}
        for path in sorted(self._run.feed.commits_dir.glob("[!.]*.json")):
            is_other = path.stem != self._run.ts
            for file in (manifest.read(path, Manifest) if is_other else self._committed).files:
                if file.duplicate_of:
                    continue
                content = (file.size_bytes, file.sha256) if is_other else self._contents.get(file.name, (0, ""))
                makers.setdefault(content, []).append((path.stem, file))
        for file in self._committed.files:
            content = self._contents.get(file.name, (0, ""))
            found = makers.get(content, [])
            rivals = [(ts, other) for ts, other in found if other is not file and _has_rows(other)]
            others = [f"{ts}/{other.name}" for ts, other in rivals if not other.replay_of]
            if file.duplicate_of and not found and self._waits(file.duplicate_of, content):
                self.found.not_audited["duplicates of a file that waits to be read"] += 1
            elif file.duplicate_of and not found:
                message = f"it made no rows, and {file.duplicate_of!r} does not have its bytes"
                self.found.add("missing", (file.name, 0), message)
            may_repeat = self._spec.input.duplicates == "process" or file.replay_of is not None
            if _has_rows(file) and others and not may_repeat:
                self.found.add("doubled", (file.name, 0), f"it has the bytes of {others[0]!r}, and both have rows")

    def _waits(self, original: str, content: tuple[int, str]) -> bool:
        """Say whether a content is staged under a name in an unfinished run, or was released from one into landing."""
        (ts, _, name), feed = original.partition("/"), self._run.feed
        staged = [folder / name for folder in feed.staging_dir.glob("*/[0-9]*")]
        places = [
            path for path in (*staged, feed.landing_dir / name, feed.run(ts).archive_path(name)) if path.is_file()
        ]
        return any(Original(path, name, BadRecords(), self._spec.input).content() == content for path in places)

    def _note_content(self, file: ArchivedFile, original: Original) -> None:
        self.found.files += 1
        content = self._contents[file.name] = original.content()
        # A file that was too large to be read has no hash.
        if file.sha256 and content != (file.size_bytes, file.sha256):
            self.found.add(
                "changed", (file.name, 0), f"found {content[0]} bytes, sha256 {content[1]}, not those of the manifest"
            )

    def check_counts(self) -> None:
        """Compare what was counted with the sums of the manifest."""
        summary, files = self._committed.summary, self._committed.files
        bad_files = sum(1 for file in files if file.code)
        for slot, row in () if self._is_sample else (*self._as_json.items(), *self._as_text.items()):
            if self._is_json[slot] != (row is self._as_json.get(slot)):
                message = f"{self._columns[slot].name!r} is a text, and not written as those of its column"
                self.found.add("changed", row[:2], message)
        for n in map(str, range(1, self._spec.subdirs + 1)):
            own, output = [file for file in files if str(file.subdir) == n], self._committed.outputs.get(n)
            sizes = (len(own), sum(f.size_bytes for f in own), sum(f.records for f in own))
            expected = SubdirSummary(*sizes, output.rows, output.path) if output else SubdirSummary()
            if summary.subdirs.get(n) != expected:
                self.found.add("changed", (n, 0), f"counted {expected}, the manifest says {summary.subdirs.get(n)}")
        counted = {
            "files_in": len(files),
            "files_quarantined": bad_files,
            "files_archived": len(files) - bad_files,
            "bytes_in": sum(size for size, _ in self._contents.values()),
            "records_in": self.found.records,
            "records_quarantined": sum(file.records_quarantined for file in files),
            "records_unmatched": self._rows.unmatched.total(),
            "rows_out": sum(output.rows for output in self._committed.outputs.values()),
        }
        for name, number in counted.items():
            if getattr(summary, name) != number:
                self.found.add("changed", (name, 0), f"counted {number}, the manifest says {getattr(summary, name)}")
        for slot, total in self._sums.items():
            name = self._columns[slot].name
            if not self._is_sample and total != Decimal(self._committed.totals[name]):
                self.found.add(
                    "changed", (name, 0), f"the sum is {total:f}, the manifest says {self._committed.totals[name]}"
                )
        by_sql = sum(1 for column in self._columns if column.expression)
        self.found.not_audited["values by SQL"] += by_sql * self.found.rows
        for one in self._rows.references:
            if not one.is_intact:
                self.found.add("changed", (one.merge.reference, 0), "the kept reference is not the one that was joined")
        self.found.not_audited += Counter()


def _has_rows(file: ArchivedFile) -> bool:
    return not file.code and not file.duplicate_of


def _item(row: Row) -> str:
    return f" (element {row.item})" if row.item else ""


def _fill(held: deque[Any], source: Iterator[Any], size: int) -> None:
    held.extend(itertools.islice(source, max(0, size - len(held))))


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a table, whose texts may have line ends."""
    with path.open("rb") as file:
        text = Text(iter(lambda: file.read(CHUNK_BYTES), b""))
        while text.at < len(text.text) or text.more():
            yield text.line(MOST_LINE_BYTES)
