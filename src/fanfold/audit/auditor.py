"""How an audit proceeds: subdirectory by subdirectory, original by original, record by record."""

import contextlib
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Context, Decimal, localcontext
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from fanfold import manifest
from fanfold.archive_names import packing
from fanfold.audit import claims, quarantine
from fanfold.audit.claims import makes_rows
from fanfold.audit.columns import Order
from fanfold.audit.findings import Audit
from fanfold.audit.originals import DAMAGE, Ahead, Found, content_of, is_hidden, members
from fanfold.audit.parquet_records import UnreadableError
from fanfold.audit.records import parsed, records_of
from fanfold.audit.references import References
from fanfold.audit.rows import Rows
from fanfold.audit.tables import ANY_ROWS, Table
from fanfold.audit.values import leaves
from fanfold.errors import count
from fanfold.input_formats import input_format, is_archive, taken_inside
from fanfold.layout import Run
from fanfold.manifest import ArchivedFile, BadRecord, Manifest, SubdirSummary, by_table
from fanfold.scratch import scratch_dir
from fanfold.spec.paths import way_of

SQL = "values by SQL, or of an unknown type"


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
    with localcontext(Context(prec=1000, traps=[])):
        auditor = _Auditor(run, committed, sample_percent)
        outputs = chain.from_iterable(table.outputs for table in committed.each_table.values())
        of_files = (str(file.subdir) for file in committed.files)
        for n in sorted({*committed.summary.subdirs, *committed.quarantined, *outputs, *of_files}):
            auditor.check_subdir(n)
        auditor.check_run()
    found = auditor.found
    # Reasons that nothing was left out for.
    found.not_audited += Counter()
    # Several tables may lack one value.
    found.findings = list(dict.fromkeys(found.findings))
    return found


class _Auditor:
    def __init__(self, run: Run, committed: Manifest, sample_percent: float) -> None:
        self._run, self._committed, self._spec, self.found = run, committed, run.feed.spec, Audit(run.ts)
        self._percent, self._unmatched, self._order = sample_percent, 0, Order(run.feed.spec)
        self._references = References(run, committed, self.found, self._order)
        self._rows = [Rows(self._spec, committed, name, self._references, self._order) for name in committed.each_table]
        # The fields of a duplicate have columns, too, and it is not read here.
        self._reads_all = all((file.duplicate_of or run.ts).startswith(run.ts) for file in committed.files)

    def check_subdir(self, n: str) -> None:
        """Compare the tables and bad records of a subdirectory with what its originals require."""
        files = sorted((f for f in self._committed.files if str(f.subdir) == n), key=lambda file: file.name)
        bad = Ahead(quarantine.bad_records(self._run, self._committed.quarantined.get(n), self.found))
        tables = [Table(self._run, rows, n, self.found) for rows in self._rows]
        self._order.shapes.clear()
        for file in files:
            self._check_file(file, bad, tables)
        self._pass_others(bad)
        for table in tables:
            table.end()
            self.found.check(table.path or n, table.made, table.output.rows if table.output else 0)
        sizes = len(files), sum(f.size_bytes for f in files), sum(f.records for f in files)
        outputs = {rows.name: rows.table.outputs.get(n) for rows in self._rows}
        counted = {name: one.rows if one else 0 for name, one in outputs.items()}
        paths = {name: one.path for name, one in outputs.items() if one}
        summary = SubdirSummary(*(sizes if paths else (0, 0, 0)), by_table(counted), by_table(paths) if paths else None)
        self.found.check(n, summary, self._committed.summary.subdirs.get(n))

    def _pass_others(self, bad: Ahead[BadRecord], name: str | None = None) -> None:
        """Pass over the bad records that were not met, up to those of a file."""
        while bad.fill() and (name is None or bad[0].file <= name):
            place = bad[0].file, bad.popleft().record
            self.found.add("extra", place, "it is in quarantine, but the run read no such record")

    def _check_file(self, file: ArchivedFile, bad: Ahead[BadRecord], tables: list[Table]) -> None:
        """Call for the rows that an original must make; check its bytes, and what of it is in quarantine."""
        path, records, passed = self._run.feed.data_dir / file.archived_as, 0, 0
        if not path.is_file():
            self.found.add("missing", (file.name, 0), f"{file.archived_as!r} is not there")
            return
        self._order.file = file.name
        try:
            for source, found in self._sources(file, path, bad) if makes_rows(file) else ():
                for number, (entry, record) in enumerate(found):
                    records += bool(number or entry)
                    passed += entry is not None
                    if entry and number:
                        self._check_bad(entry, record)
                    elif number:
                        self._call_for((source, number), record, tables)
                    elif not entry:
                        # The fields of a file, which stand before its records.
                        self._note((source, number), record)
        except UnreadableError:
            self.found.not_audited["files in Parquet that pyarrow cannot read"] += 1
            records, passed, self._reads_all = file.records, file.records_quarantined, False
            while bad.fill() and bad[0].file == file.name:
                bad.popleft()
            for table in tables:
                table.expect(ANY_ROWS)
        except (ValueError, *DAMAGE) as lost:
            self.found.add("changed", (file.name, records + 1), f"{lost}; the rest is not audited")
        self._pass_others(bad, file.name)
        self._check_content(file, path)
        self.found.records += records
        counts = (records, passed), (file.records, file.records_quarantined)
        self.found.check(file.name, *(f"{count(number, 'record')}, {bad} bad" for number, bad in counts))

    def _sources(self, file: ArchivedFile, path: Path, bad: Ahead[BadRecord]) -> Iterator[tuple[str, Iterable[Found]]]:
        """Yield the name of a file, or of each member of an archive, with its records; 0 is one that is bad as such."""
        if not is_archive(file.name):
            yield file.name, records_of(path, file.name, self._spec.input, bad, self.found.not_audited)
            return
        ignored, is_taken = 0, taken_inside(file.name, self._spec.input.patterns)
        as_such: Callable[[], Iterator[bytes]] = partial(repeat, b"", 0)
        for name, read in chain([("", as_such)], members(path)):
            if name and (is_hidden(name) or not is_taken(name)):
                ignored += 1
                continue
            source = manifest.source_file(file.name, name)
            of = bad.popleft() if bad.fill() and (bad[0].source, bad[0].record) == (source, 0) else None
            if of:
                self.found.not_audited["members of archives in quarantine (only their places)"] += 1
                yield source, [(of, None)]
            if name and (not of or of.code in quarantine.UNREADABLE[input_format(name)]):
                with scratch_dir() as folder:
                    place = folder / f"member{Path(name).suffix}"
                    with place.open("wb") as target, contextlib.suppress(*DAMAGE):
                        target.writelines(read())
                    if of:
                        quarantine.check_unreadable(of.code, place, source, self._spec, self.found)
                    else:
                        yield source, records_of(place, source, self._spec.input, bad, self.found.not_audited)
        counts = ignored, file.ignored.members if file.ignored else 0
        self.found.check(file.name, *(f"{count(number, 'member')} not read" for number in counts))

    def _note(self, place: tuple[str, int], record: dict[str, Any]) -> None:
        """Note the fields of a record that has no rows: they count for what columns have."""
        for rows in self._rows:
            deque(rows.of(record, place), maxlen=0)

    def _call_for(self, place: tuple[str, int], record: dict[str, Any], tables: list[Table]) -> None:
        """Call for the rows of a good record."""
        is_sampled = zlib.crc32(f"{place[0]}:{place[1]}".encode()) % 10_000 < self._percent * 100
        for rows, table in zip(self._rows, tables, strict=True):
            for row in rows.of(record, place):
                rows.count(row)
                table.expect(row if is_sampled else row._replace(cells=None))
                self.found.not_audited[SQL] += rows.by_sql if is_sampled else 0
            key = f"{f'tables.{rows.name}' if rows.name else 'denormalize'}.columns"
            self.found.not_audited[f"values left out by {key}"] += leaves(rows.left_out)
            for value in filter(leaves, rows.lost):
                self.found.add("missing", place, f"{str(value)[:80]!r} is in no column")
        self.found.not_audited["records outside of the sample"] += not is_sampled
        self.found.scalars += leaves(record) if is_sampled else 0
        lacking = [merge for merge in self._spec.merge if any(merge.into in rows.lacking for rows in self._rows)]
        self._unmatched += bool(lacking)
        for merge in lacking:
            if merge.on_missing != "keep":
                self.found.add("extra", place, f"it has rows, but no match in {merge.reference!r}")

    def _check_bad(self, bad: BadRecord, record: Any) -> None:
        """Check the reason of a bad record."""
        if bad.code == "no_match" and record is not None:
            whole = record
            with contextlib.suppress(ValueError):
                whole = parsed(record, {way_of(path) for path in self._spec.input.parse})
            self._note((bad.source, bad.record), whole)
        lacking = self._references.unread.union(*(rows.lacking for rows in self._rows))
        quarantine.check_bad(bad, record, lacking, self._spec, self.found)

    def _check_content(self, file: ArchivedFile, path: Path) -> None:
        """Compare an original with its size and hash, and see whether a bad one can be read all the same."""
        self.found.files += 1
        content = content_of(path, is_packed=packing(file.name, path.name) is not None)
        # A file that was too large to be read has no hash.
        if file.sha256 and content != (file.size_bytes, file.sha256):
            self.found.add("changed", (file.name, 0), f"found size and sha256 {content}, not those of the manifest")
        self.found.not_audited["files in quarantine (only their bytes are compared)"] += bool(file.code)
        if not is_archive(file.name):
            quarantine.check_unreadable(file.code, path, file.name, self._spec, self.found)

    def check_run(self) -> None:
        """Compare what the manifest says about the run as a whole."""
        for rows in self._rows:
            claims.check_columns(rows, self._order if self._reads_all else None, self._spec, self.found)
            self.found.not_audited[SQL] += sum(column.unknown for column in rows.columns)
            for path, total in rows.table.totals.items():
                self.found.check(path, rows.sums[path], Decimal(total))
        claims.check_contents(self._run, self._committed, self.found)
        self.found.not_audited["references that pyarrow cannot read"] += len(self._references.unread)
        unmatched = self._committed.summary.records_unmatched if self._references.unread else self._unmatched
        claims.check_summary(self._committed, unmatched, self.found)
        claims.check_drift(self._run, self._committed, self.found)
