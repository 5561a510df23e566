"""The step that accounts for every file, byte, record and row of a run, and commits it."""

import hashlib
import importlib.metadata
from collections.abc import Mapping

import msgspec

from fanfold import durable, manifest
from fanfold.durable import AnyPath
from fanfold.errors import DataError
from fanfold.feed import access, claim, groups, originals, runs
from fanfold.feed.verdict import verdict
from fanfold.layout import Group, Run, packing
from fanfold.manifest import ArchivedFile, Manifest, Published, SubdirSummary, Summary
from fanfold.records import totals
from fanfold.steps.gaps import gaps, manifest_gaps, relative
from fanfold.steps.working import on_run
from fanfold.working_files import Files, Input, Progress, Release

SHOWN_GAPS = 5


def verify_run(data_dir: AnyPath, ts: str, subdirs: int) -> Summary:
    """Account for every file, byte, record and row; commit the run by its manifest; remove what was only for the run.

    A second call compares what is there with the manifest.

    Args:
        data_dir: root of the feed.
        ts: execution timestamp of the run.
        subdirs: number of groups, where the run has no files.

    Raises:
        DataError: something is missing, extra, or changed; the first gaps are named, and the run is not committed.
        BusyError: another process works on the run.
    """
    run = runs.open_run(data_dir, ts)
    if run is None:
        return manifest.empty_summary(ts, subdirs)
    with on_run(run, "verify_run"):
        return commit(run)


def verdict_of(data_dir: AnyPath, ts: str) -> str | None:
    """Say why a complete run is reported as failed; None where it is a success, or there is none."""
    run = runs.open_run(data_dir, ts)
    committed = manifest.read_if_there(run.commit_path, Manifest) if run else None
    return verdict(committed) if committed else None


def commit(run: Run) -> Summary:
    """Account for a run and write its manifest; where that is there, compare what is on disk with it.

    The manifest beside the output is written first, the one that commits the run last. A second call completes a first.

    Raises:
        DataError: as `verify_run`.
    """
    committed = manifest.read_if_there(run.commit_path, Manifest)
    if committed is None:
        staged = manifest.read(run.files_path, Files)
        access.check_places(run, staged.places)
        durable.discard_temporary(run.manifest_path)
        committed = account(run, staged)
        durable.make_dirs(run.output_dir)
        durable.write(run.manifest_path, manifest.encode(committed))
        durable.write(run.commit_path, manifest.encode(committed))
    else:
        _fail_on([*gaps(run, committed), *manifest_gaps(run, committed)])
    claim.remove_run(run)
    return committed.summary


def account(run: Run, staged: Files) -> Manifest:
    """Make the manifest of a run whose groups are done.

    Raises:
        DataError: a file is not archived, an output is missing, extra or changed, a count does not fit.
    """
    released = (manifest.read_if_there(run.release_path, Release) or Release([])).subdirs
    expected = {(name, n) for name, n in staged.places if n not in released}
    done, outputs = dict[int, Progress](), dict[int, Published]()
    for n in sorted({n for _, n in expected}):
        progress = manifest.read_if_there(run.group(n).progress_path, Progress)
        if progress and progress.published:
            done[n], outputs[n] = progress, progress.published
    if undone := sorted({n for _, n in expected} - done.keys()):
        msg = f"groups {undone} have published nothing, expected an output from each group that was given files"
        raise DataError(msg)
    archived = [_archived(run.group(n), file) for n, progress in done.items() for file in progress.files]
    schema = runs.schema_of(run)
    wanted = totals.totalled(run.feed.spec, schema.columns, schema.explode)
    by_groups, in_tables = totals.Tally(wanted), totals.Tally(wanted)
    for published in outputs.values():
        by_groups.add_totals(published.totals)
    committed = Manifest(
        fanfold=importlib.metadata.version("fanfold"),
        duckdb=importlib.metadata.version("duckdb"),
        spec=run.feed.spec.model_dump(mode="json", exclude={"data_dir"}),
        summary=_summary(run, done, schema.references),
        columns=schema.columns,
        files=sorted(archived, key=lambda file: file.name),
        explode=schema.explode,
        outputs={str(n): published for n, published in outputs.items()},
        quarantined={str(n): progress.quarantined for n, progress in done.items() if progress.quarantined},
        records_unmatched={str(n): progress.records_unmatched for n, progress in done.items()},
        totals=by_groups.totals,
        released=sorted(name for name, n in staged.places if n in released),
        drift=schema.drift or msgspec.UNSET,
    )
    found = [
        f"{name!r} was claimed, and is in no group"
        for name, _ in sorted(expected - {(file.name, file.subdir) for file in archived})
    ]
    if left := claim.left_in(run):
        found.append(f"{relative(run, left)!r} is left in staging")
    found += gaps(run, committed)
    if not found and committed.totals:
        for n, published in outputs.items():
            in_tables.add_table(run.feed.data_dir / published.path, totals.items_of(run.group(n), schema))
        if in_tables.totals != by_groups.totals:
            found.append(f"the sums of the tables are {in_tables.totals}, expected {by_groups.totals}")
    _fail_on(found)
    return committed


def _archived(group: Group, file: Input) -> ArchivedFile:
    name, packed = groups.last_name(group, file), None
    if packing(file.name, name) and (place := group.run.feed.data_dir / name).is_file():
        if originals.original_sha256(place, file.name) != file.sha256:
            msg = f"{name!r} is changed: it is not {file.name!r}, compressed"
            raise DataError(msg)
        packed = manifest.Packed(place.stat().st_size, durable.sha256(place))
    return ArchivedFile(
        name=file.name,
        subdir=group.n,
        size_bytes=file.size_bytes,
        sha256=file.sha256 or "",
        records=file.records or 0,
        archived_as=name,
        records_quarantined=file.records_quarantined,
        code=file.fault.code if file.fault else None,
        reason_sha256=hashlib.sha256(manifest.encode(file.fault)).hexdigest() if file.fault else None,
        decision=file.decision,
        duplicate_of=file.duplicate_of,
        replay_of=file.replay_of,
        packed=packed,
    )


def _summary(run: Run, done: Mapping[int, Progress], references: list[manifest.FrozenReference]) -> Summary:
    subdirs = {str(n): SubdirSummary() for n in range(1, run.feed.spec.subdirs + 1)}
    for n, progress in done.items():
        if published := progress.published:
            size = sum(file.size_bytes for file in progress.files)
            records = progress.records + progress.records_quarantined
            subdirs[str(n)] = SubdirSummary(len(progress.files), size, records, published.rows, published.path)
    files_in = sum(subdir.files for subdir in subdirs.values())
    bad = sum(1 for progress in done.values() for file in progress.files if file.fault)
    return Summary(
        ts=run.ts,
        files_in=files_in,
        files_archived=files_in - bad,
        files_quarantined=bad,
        bytes_in=sum(subdir.bytes for subdir in subdirs.values()),
        records_in=sum(subdir.records for subdir in subdirs.values()),
        records_quarantined=sum(progress.records_quarantined for progress in done.values()),
        records_unmatched=sum(progress.records_unmatched for progress in done.values()),
        rows_out=sum(subdir.rows for subdir in subdirs.values()),
        subdirs=subdirs,
        references=references,
    )


def _fail_on(found: list[str]) -> None:
    if found:
        more = f"; and {len(found) - SHOWN_GAPS} more" if len(found) > SHOWN_GAPS else ""
        raise DataError("; ".join(found[:SHOWN_GAPS]) + more)
