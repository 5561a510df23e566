"""The step that joins the references to every record of a subdirectory."""

import logging
import os
from pathlib import Path
from typing import IO, NoReturn

import msgspec

from fanfold import durable, manifest
from fanfold.durable import AnyPath
from fanfold.errors import DataError, StillWrittenError
from fanfold.faults import OF_SIZE
from fanfold.feed import claim, groups, runs
from fanfold.layout import Run
from fanfold.manifest import BadRecord
from fanfold.native import Others, Wrong
from fanfold.records import places, references
from fanfold.records.read import Door, Rules
from fanfold.steps.create_dynamic_taskgroups import current
from fanfold.steps.group import group
from fanfold.working_files import Input, Inputs, Progress, RunSchema

log = logging.getLogger(__name__)


def merge_data(subdir: str, data_dir: AnyPath) -> dict[str, int]:
    """Join the references to every record of a subdirectory.

    A second call keeps the result, unless an original changed since it was read: then it is read again.

    Returns:
        `files`, `bytes`, `records`, `records_quarantined`, `records_unmatched`.

    Raises:
        EmptySubdir: the subdirectory has no files in this run.
        DataError: more records are bad than the spec allows, a file has a field that the run's schema does not know,
            or is not where it was.
        StillWrittenError: a file changed while it was read.
    """
    with group(subdir, data_dir, "merge_data") as (run, n):
        progress = groups.progress_of(run.group(n))
        if progress is None or not (runs.is_complete(run) or is_kept(run, n, progress)):
            progress = merge(run, n)
    return {
        "files": len(progress.files),
        "bytes": sum(file.size_bytes for file in progress.files),
        "records": progress.records + progress.records_quarantined,
        "records_quarantined": progress.records_quarantined,
        "records_unmatched": progress.records_unmatched,
    }


def is_kept(run: Run, n: int, progress: Progress) -> bool:
    """Say whether what was merged still is what the originals call for."""
    staged = [file for file in progress.files if not groups.is_archived(run.group(n), file)]
    made = [run.group(n).merged_path, *([run.group(n).bad_records_path] if progress.records_quarantined else [])]
    if len(staged) == len(progress.files) and not all(path.exists() for path in made):
        return False
    return all(groups.is_as_read(run.group(n), file) for file in staged)


def merge(run: Run, n: int) -> Progress:
    """Merge the files of a subdirectory; the result is in its progress.json when this returns.

    Raises:
        DataError: a file is not where it was, or has a field that the run's schema does not know; too many of the
            records are bad; a record has no match in a reference with `on_missing: fail`.
        StillWrittenError: a file changed while it was read.
    """
    inputs = manifest.read(run.group(n).inputs_path, Inputs).files
    schema = runs.schema_of(run)
    before = {file.name: claim.claimed_file(run.group(n), file.name) for file in inputs}
    known = current(run, n, inputs, before, schema)
    with durable.writing(run.group(n).merged_path) as merged, durable.writing(run.group(n).bad_records_path) as bad:
        merger = _Merger(run, n, schema, merged, bad)
        read = [merger.add(file) for file in known]
    after = [_unwritten(run, n, file.name, before[file.name], file.sha256 or "") for file in read]
    read = [
        msgspec.structs.replace(file, size_bytes=state.st_size, ctime_ns=state.st_ctime_ns)
        for file, state in zip(read, after, strict=True)
    ]
    quarantined = sum(file.records_quarantined for file in read)
    records = sum(file.records or 0 for file in read) - quarantined
    _report(run, n, read, records, merger.unmatched)
    _check_share(run, n, records, quarantined)
    progress = Progress(read, records, merger.unmatched, quarantined)
    durable.write(run.group(n).progress_path, manifest.encode(progress))
    return progress


class _Merger:
    """Reads files one after the other, and writes merged records, and what is bad."""

    def __init__(self, run: Run, n: int, schema: RunSchema, merged: IO[bytes], bad: IO[bytes]) -> None:
        self._run, self._n, self._merged, self._bad = run, n, merged, bad
        spec, found = run.feed.spec, places.places(schema, run.feed.spec)
        others = Others.RESCUE if schema.rescued else Others.REFUSE
        joined = places.joins(found, references.opened_all(run), spec.merge)
        self._door = Door(run.feed.data_dir, spec, Rules(found.record, others, joined, schema.excluded))
        self.unmatched = 0

    def add(self, file: Input) -> Input:
        """Read a file, unless it makes no rows; nothing is written of one that is bad as a whole.

        Raises:
            DataError: a record has no match in a reference with `on_missing: fail`.
        """
        path = self._run.group(self._n).staged_path(file.name)
        if file.duplicate_of or file.fault:
            is_read = not file.fault or file.fault.code not in OF_SIZE
            sha256 = file.sha256 or (durable.sha256(Path(path)) if is_read else "")
            return msgspec.structs.replace(file, sha256=sha256)
        starts = [(to, to.tell()) for to in (self._merged, self._bad)]
        for piece in self._door.read(file.name, path, file.sha256):
            self._merged.write(piece.merged)
            for wrong in piece.wrong:
                self._set_aside(file.name, wrong)
        found = self._door.found
        if found.is_bad:
            for to, start in starts:
                to.seek(start)
                to.truncate()
            return msgspec.structs.replace(file, records=0, sha256=found.sha256, fault=found.first)
        self.unmatched += found.unmatched
        return msgspec.structs.replace(
            file, records=found.records, records_quarantined=found.bad, sha256=found.sha256, fault=None
        )

    def _set_aside(self, name: str, wrong: Wrong) -> None:
        if wrong.code == "no_match":
            index, merge = self._door.reference_of(wrong)
            if merge.on_missing == "fail":
                self._fail(name, wrong, index)
        self._bad.write(msgspec.json.encode(self._door.bad_record(name, wrong)) + b"\n")

    def _fail(self, name: str, wrong: Wrong, index: int) -> NoReturn:
        merge = self._run.feed.spec.merge[index]
        msg = (
            f"{name!r} line {wrong.record_line}: {merge.record_key} {wrong.found.decode(errors='replace')!r} is not in "
            f"{merge.reference!r}, expected a match (merge.{index}.on_missing: fail)"
        )
        raise DataError(msg)


def _unwritten(run: Run, n: int, name: str, before: os.stat_result, sha256: str) -> os.stat_result:
    """Return the state of a file after it was read.

    Raises:
        StillWrittenError: its bytes may have changed in between. Another owner, mode or link is no such change.
    """
    after = claim.claimed_file(run.group(n), name)
    if claim.version(after) == claim.version(before):
        return after
    is_touched = claim.version(after)[:-1] != claim.version(before)[:-1]
    if is_touched or sha256 not in {"", durable.sha256(run.group(n).subdir_dir / name)}:
        msg = f"{name!r} changed while it was read: somebody still writes it"
        raise StillWrittenError(msg)
    return after


def _report(run: Run, n: int, read: list[Input], records: int, unmatched: int) -> None:
    place = run.group(n).subdir
    if unmatched:
        log.warning("%s: %d of %d records have no match in a reference", place, unmatched, records)
    for file in read:
        if file.fault:
            log.warning("%s: %r goes to quarantine: %s (%s)", place, file.name, file.fault.message, file.fault.code)
        elif file.duplicate_of:
            log.warning("%s: %r makes no rows: it has the bytes of %r", place, file.name, file.duplicate_of)
        elif file.records_quarantined:
            counted = (file.records_quarantined, file.records, file.name)
            log.warning("%s: %d of %d records of %r go to quarantine", place, *counted)


def _check_share(run: Run, n: int, good: int, bad: int) -> None:
    limit = run.feed.spec.quarantine.max_bad_records_percent
    if run.feed.spec.quarantine.allows(bad, good + bad):
        return
    listed = run.group(n).bad_records_path
    with listed.open("rb") as lines:
        first = manifest.decode(lines.readline(), BadRecord)
    msg = (
        f"{run.group(n).subdir}: found {bad} bad records of {good + bad}, expected at most {limit:g} % "
        f"(quarantine.max_bad_records_percent); the first: {first.file!r} line {first.line}, "
        f"byte {first.offset}: {first.message} ({first.code}); "
        f"all are in {str(listed)!r}, the files are in {run.group(n).subdir}"
    )
    raise DataError(msg)
