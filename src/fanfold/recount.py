"""Counting a complete run again, every byte of its archive and its output."""

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec

from fanfold import files, verify
from fanfold.engine.counts import Counts, add, count_originals, count_plainly, totalled
from fanfold.engine.schema import RECORD
from fanfold.engine.source import careful_records
from fanfold.layout import Run
from fanfold.manifest import ArchivedFile, BadRecord, Manifest
from fanfold.verdict import verdict


class Recount(msgspec.Struct, frozen=True):
    """What a recount found. `gaps` are sentences, one for each file that is missing, extra or changed.

    `totals` are the exact sums of `verify.totals`, by column. `failed` says why the run is reported as failed, though
    nothing of it is lost.
    """

    ts: str
    files: int
    bytes: int
    records: int
    rows: int
    totals: dict[str, str]
    gaps: list[str]
    failed: str | None = None


def recount(run: Run, committed: Manifest) -> Recount:
    """Count a committed run again from its archive and its output, every byte of both.

    Records and rows are counted from the originals and from the tables, independently of the manifest and of each
    other; files that are missing or changed are named, and not counted. Where a copy of the manifest is, nothing is.
    """
    if gaps := list(verify.manifest_gaps(run, committed)):
        # All that follows rests on it.
        return Recount(run.ts, 0, 0, 0, 0, {}, gaps)
    gaps = list(verify.gaps(run, committed))
    present = [f for f in committed.files if files.size(run.feed.place(f.archived_as)) is not None]
    # One that is too large to be read has no hash.
    whole = {
        f
        for f in present
        if not f.sha256 or files.sha256(run.feed.data_dir / f.archived_as) == verify.lies_as(f).sha256
    }
    gaps += [
        f"{file.archived_as!r} is changed: expected sha256 {verify.lies_as(file).sha256}"
        for file in present
        if file not in whole
        and (run.feed.data_dir / file.archived_as).stat().st_size == verify.lies_as(file).size_bytes
    ]
    gaps += [f"{name!r} is extra: no original of the run" for name in _extra_originals(run, committed)]
    originals = _count_originals(run, committed, [file for file in present if file in whole])
    tables = verify.count_tables(run, committed)
    if not gaps:
        gaps += _count_gaps(committed, originals, tables)
    size = sum(file.size_bytes for file in whole)
    return Recount(
        run.ts, len(present), size, originals.records, tables.rows, committed.totals, gaps, verdict(committed)
    )


def _count_gaps(committed: Manifest, originals: Counts, tables: Counts) -> Iterator[str]:
    summary = committed.summary
    if originals.records != summary.records_in:
        yield f"{originals.records} records in the archive, expected {summary.records_in}"
    if not tables.rows == originals.rows == summary.rows_out:
        yield f"{tables.rows} rows, expected {originals.rows} by the archive, {summary.rows_out} by the manifest"
    for name, total in committed.totals.items():
        # What comes from a reference or an expression is in no original.
        wanted = originals.sums.get(name, Decimal(total))
        if not tables.sums[name] == wanted == Decimal(total):
            yield f"the sum of {name!r} is {tables.sums[name]}, expected {wanted} by the archive, {total} by manifest"


def _count_originals(run: Run, committed: Manifest, originals: list[ArchivedFile]) -> Counts:
    """Count the records that lie in originals, good and bad, and the rows and sums that the good ones call for."""
    spec = run.feed.spec
    readable = [file for file in originals if not file.code and not file.duplicate_of]
    columns = [column for column in totalled(spec, committed.columns) if column.source == RECORD]
    # The archive may be a link to another disk.
    archive_dir = run.feed.archive_dir.resolve()
    fast = [archive_dir / run.archived(file.name) for file in readable if not file.careful]
    records, rows, sums = count_originals(archive_dir, fast, spec, committed.explode, columns)
    bad = _quarantined_records(run, committed)
    for file in readable:
        if file.careful:
            place = archive_dir / run.archived(file.name)
            for number, found in enumerate(careful_records(archive_dir, place, spec), start=1):
                records += 1
                if number not in bad.get(file.name, set()):
                    counted = count_plainly(found.value or {}, committed.explode, columns)
                    rows, sums = rows + counted.rows, add(sums, counted.sums)
    return Counts(records, rows, {column.name: sums.get(column.name, Decimal(0)) for column in columns})


def _quarantined_records(run: Run, committed: Manifest) -> dict[str, set[int]]:
    """Return the numbers of the records of each file that are in quarantine."""
    numbers: dict[str, set[int]] = {}
    for listed in committed.quarantined.values():
        path = run.feed.data_dir / listed.path
        if verify.is_as_published(run.feed, listed):
            with path.open("rb") as lines:
                for line in lines:
                    record = msgspec.json.decode(line, type=BadRecord)
                    numbers.setdefault(record.file, set()).add(record.record)
    return numbers


def _extra_originals(run: Run, committed: Manifest) -> Iterator[str]:
    known = {file.archived_as for file in committed.files}
    markers = (run.archived_marker_path(file.name) for file in committed.files)
    known |= {verify.relative(run, marker) for marker in markers if marker}
    for folder, _, names in os.walk(run.feed.archive_dir):
        for name in sorted(names):
            relative = verify.relative(run, Path(folder, name))
            if f"_{run.ts}." in name and relative not in known:
                yield relative
