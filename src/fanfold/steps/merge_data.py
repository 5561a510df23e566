"""The step that joins the references to every record of a subdirectory."""

import logging
import os
from pathlib import Path
from typing import IO

import msgspec

from fanfold import documents, durable, manifest, mirrors
from fanfold.durable import AnyPath
from fanfold.errors import DataError, StillWrittenError, count
from fanfold.faults import OF_SIZE
from fanfold.feed import groups, runs
from fanfold.feed.claimed import claimed_file, version
from fanfold.input_formats import input_format, place_in
from fanfold.layout import Group
from fanfold.manifest import BadRecord
from fanfold.native import Others, Table, Wrong
from fanfold.records import places, references
from fanfold.records.messages import in_words, reference_of
from fanfold.records.read import Door, Rules
from fanfold.spec.model import Quarantine, Spec
from fanfold.steps.leased import on_group
from fanfold.steps.scan_files import scan_again
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
    with on_group(subdir, data_dir, "merge_data") as group:
        progress = groups.progress_of(group)
        if progress is None or not (runs.is_complete(group.run) or is_kept(group, progress)):
            progress = merge(group)
    return {
        "files": len(progress.files),
        "bytes": sum(file.size_bytes for file in progress.files),
        "records": progress.records + progress.records_quarantined,
        "records_quarantined": progress.records_quarantined,
        "records_unmatched": progress.records_unmatched,
    }


def is_kept(group: Group, progress: Progress) -> bool:
    """Say whether what was merged still is what the originals call for."""
    staged = [file for file in progress.files if not groups.is_archived(group, file)]
    made = [group.merged_path, *([group.bad_records_path] if progress.records_quarantined else [])]
    if len(staged) == len(progress.files) and not all(path.exists() for path in made):
        return False
    return all(groups.is_as_read(group, file) for file in staged)


def merge(group: Group) -> Progress:
    """Merge the files of a subdirectory; the result is in its progress.json when this returns.

    Raises:
        DataError: a file is not where it was, or has a field that the run's schema does not know; too many of the
            records are bad; a record has no match in a reference with `on_missing: fail`.
        StillWrittenError: a file changed while it was read.
    """
    run, inputs = group.run, documents.read(group.inputs_path, Inputs).files
    schema = runs.schema_of(run)
    states = {file.name: claimed_file(group, file.name) for file in inputs}
    door = door_of(run.feed.data_dir, run.feed.spec, schema, references.opened_all(run))
    read, unmatched = list[Input](), 0
    mirrors.will_read(group.staged_path(file.name) for file in inputs)
    with durable.writing(group.merged_path) as merged, durable.writing(group.bad_records_path) as bad:
        for file in scan_again(group, inputs, states, schema):
            path = group.staged_path(file.name)
            if file.duplicate_of or file.fault:
                is_small = not file.fault or file.fault.code not in OF_SIZE
                sha256 = file.sha256 or (durable.sha256(Path(path)) if is_small else "")
                read.append(msgspec.structs.replace(file, sha256=sha256))
            else:
                read.append(_read(door, file, path, merged, bad))
                unmatched += door.found.unmatched
            mirrors.has_read(path)
    read = [_as_it_was_read(group, file, states[file.name]) for file in read]
    quarantined = sum(file.records_quarantined for file in read)
    records = sum(file.records or 0 for file in read) - quarantined
    progress = Progress(read, records, unmatched, quarantined)
    _report(group, progress)
    _check_share(group, progress)
    durable.write(group.progress_path, documents.encode(progress))
    return progress


def door_of(data_dir: Path, spec: Spec, schema: RunSchema, tables: list[Table]) -> Door:
    """Return what reads records by the schema of a run, and joins them to the references."""
    found = places.places(schema, spec)
    others = Others.RESCUE if schema.rescued else Others.REFUSE
    joined = places.joins(found, tables, spec.merge)
    return Door(data_dir, spec, Rules(found.record, others, joined, schema.excluded, arrays=schema.explode))


def check_match(door: Door, name: str, wrong: Wrong) -> None:
    """Check that a bad record of a file may lack a match, if that is what is wrong with it.

    Raises:
        DataError: it lacks one in a reference with `on_missing: fail`.
    """
    if wrong.code == "no_match" and reference_of(wrong, door.spec).on_missing == "fail":
        source = manifest.source_file(name, door.member)
        msg = f"{source!r}{place_in(source, wrong.line)}: {in_words(wrong, door.spec, ())}"
        raise DataError(msg)


def _read(door: Door, file: Input, path: str, merged: IO[bytes], bad: IO[bytes]) -> Input:
    """Read a file, and write its records; nothing is written of one that is bad as a whole.

    Raises:
        DataError: a record has no match in a reference with `on_missing: fail`.
    """
    starts = [(to, to.tell()) for to in (merged, bad)]
    for piece in door.read(file.name, path, file.sha256):
        merged.write(piece.merged)
        for wrong in piece.wrong:
            check_match(door, file.name, wrong)
            bad.write(msgspec.json.encode(door.bad_record(file.name, wrong)) + b"\n")
    found = door.found
    if found.is_bad:
        for to, start in starts:
            to.seek(start)
            to.truncate()
        return msgspec.structs.replace(file, records=0, sha256=found.sha256, fault=found.first)
    counts = {"records": found.records, "records_quarantined": found.bad, "ignored": found.ignored}
    return msgspec.structs.replace(file, **counts, sha256=found.sha256, fault=None)


def _as_it_was_read(group: Group, file: Input, before: os.stat_result) -> Input:
    """Return a file with its state after it was read.

    Raises:
        StillWrittenError: its bytes may have changed in between. Another owner, mode or link does not matter.
    """
    after = claimed_file(group, file.name)
    *is_now, changed_ns = version(after)
    *was, changed_ns_before = version(before)
    if is_now != was or (
        changed_ns != changed_ns_before and file.sha256 not in {"", durable.sha256(group.subdir_dir / file.name)}
    ):
        msg = f"{file.name!r} changed while it was read: somebody still writes it"
        raise StillWrittenError(msg)
    return msgspec.structs.replace(file, size_bytes=after.st_size, ctime_ns=after.st_ctime_ns)


def _report(group: Group, progress: Progress) -> None:
    if progress.records_unmatched:
        counts = (progress.records_unmatched, count(progress.records, "record"))
        log.warning("%s: %d of %s without a match in at least one reference", group.subdir, *counts)
    for file in progress.files:
        if file.fault:
            told = (file.name, file.fault.message, file.fault.code)
            log.warning("%s: %r goes to quarantine: %s (%s)", group.subdir, *told)
        elif file.duplicate_of:
            log.warning("%s: %r makes no rows: it has the bytes of %r", group.subdir, file.name, file.duplicate_of)
        elif bad := file.records_quarantined:
            counts = (bad, count(file.records or 0, "record"))
            log.warning("%s: %r: %d of %s go to quarantine", group.subdir, file.name, *counts)
        if file.ignored:
            log.info("%s: in %r %s", group.subdir, file.name, file.ignored)


def _check_share(group: Group, progress: Progress) -> None:
    """Check that not too many records are bad.

    Raises:
        DataError: there are; the first one is named, and where the others are.
    """
    bad, quarantine = progress.records_quarantined, group.run.feed.spec.quarantine
    if not quarantine.allows(bad, progress.records + bad):
        with group.bad_records_path.open("rb") as lines:
            first = documents.decode(lines.readline(), BadRecord)
        byte = "" if input_format(first.source) == "parquet" else f", byte {first.offset}"
        listed, files = str(group.bad_records_path), str(group.subdir_dir)
        # A bucket has neither of them.
        where = "" if mirrors.of(files) else f"; all are in {listed!r}, the files are in {files!r}"
        msg = (
            f"{group.subdir}: {too_many_bad(quarantine, bad, progress.records + bad)}; the first: "
            f"{first.source!r}{place_in(first.source, first.line)}{byte}: {first.message} ({first.code}){where}"
        )
        raise DataError(msg)


def too_many_bad(quarantine: Quarantine, bad: int, records: int) -> str:
    """Say that more records of a group are bad than the spec allows."""
    return (
        f"found {count(bad, 'bad record')} of {records:,}, expected at most {quarantine.max_bad_records_percent:g} % "
        "(quarantine.max_bad_records_percent)"
    )
