"""The step that accounts for every file, byte, record and row of a run, and commits it."""

import hashlib
import importlib.metadata
import logging
from collections.abc import Iterable, Mapping

import msgspec

from fanfold import documents, durable, manifest, mirrors
from fanfold.archive_names import packing
from fanfold.durable import AnyPath
from fanfold.errors import DataError
from fanfold.feed import access, groups, index, purged, runs, staging
from fanfold.feed.verdict import verdict
from fanfold.layout import Group, Run
from fanfold.manifest import ArchivedFile, Manifest, SubdirSummary, Summary, TableOfRun, by_table, of_table
from fanfold.originals import original_sha256
from fanfold.records import totals
from fanfold.spec.model import PLACE
from fanfold.steps.freeze_reference import keep_references
from fanfold.steps.gaps import gaps, manifest_gaps, relative
from fanfold.steps.leased import on_run
from fanfold.working_files import Files, Input, Progress, Release, TableSchema

log = logging.getLogger(__name__)

SHOWN_GAPS = 5


def verify_run(data_dir: AnyPath, ts: str, subdirs: int, tables: Iterable[str] = ()) -> Summary:
    """Account for every file, byte, record and row; commit the run by its manifest; remove what was only for the run.

    A second call compares what is there with the manifest.

    Args:
        data_dir: root of the feed.
        ts: execution timestamp of the run.
        subdirs: number of groups, where the run has no files.
        tables: the names in `tables`, where the run has no files.

    Raises:
        DataError: something is missing, extra, or changed; the first gaps are named, and the run is not committed.
        BusyError: another process works on the run.
    """
    run = runs.open_run(data_dir, ts)
    if run is None:
        return manifest.empty_summary(ts, subdirs, tables)
    with on_run(run, "verify_run"):
        return commit(run)


def verdict_of(data_dir: AnyPath, ts: str) -> str | None:
    """Say why a complete run is reported as failed; None where it is a success, or there is none."""
    run = runs.open_run(data_dir, ts)
    committed = documents.read_if_there(run.commit_path, Manifest) if run else None
    return verdict(committed) if committed else None


def without_rows(data_dir: AnyPath, ts: str) -> list[tuple[ArchivedFile, str]]:
    """Return the files of a complete run that made no rows, by their names, each with the reason why."""
    run = runs.open_run(data_dir, ts)
    committed = documents.read_if_there(run.commit_path, Manifest) if run else None
    found = []
    for file in committed.files if committed else ():
        if file.duplicate_of:
            found.append((file, f"has the bytes of {file.duplicate_of!r}"))
        elif file.code or file.records == file.records_quarantined:
            why = f"is bad ({file.code})" if file.code else "has only bad records" if file.records else "has no records"
            found.append((file, why))
    return found


def commit(run: Run) -> Summary:
    """Account for a run and write its manifest; where that is there, compare what is on disk with it.

    The manifest beside the output is written first, the one that commits the run last. A second call completes a first.

    Raises:
        DataError: as `verify_run`.
    """
    committed = documents.read_if_there(run.commit_path, Manifest)
    if committed is None:
        staged = documents.read(run.files_path, Files)
        access.check_places(run, staged.places)
        durable.discard_temporary(run.manifest_path)
        committed = account(run, staged)
        durable.make_dirs(run.output_dir)
        durable.write(run.manifest_path, documents.encode(committed))
        durable.write(run.commit_path, documents.encode(committed))
        index.share(run.feed)
    else:
        if lost := purged.lost(run):
            log.warning("run %s was %s", run.ts, lost)
        _fail_on([*gaps(run, committed), *manifest_gaps(run, committed)])
    staging.remove_run(run)
    return committed.summary


def account(run: Run, staged: Files) -> Manifest:
    """Make the manifest of a run whose groups are done.

    Raises:
        DataError: a file is not archived, an output is missing, extra or changed, a count does not fit.
    """
    released = (documents.read_if_there(run.release_path, Release) or Release([])).subdirs
    expected = {(name, n) for name, n in staged.places if n not in released}
    done = dict[int, Progress]()
    for n in sorted({n for _, n in expected}):
        progress = documents.read_if_there(run.group(n).progress_path, Progress)
        if progress and progress.outputs:
            done[n] = progress
    if undone := sorted({n for _, n in expected} - done.keys()):
        msg = f"groups {undone} have published nothing, expected an output from each group that was given files"
        raise DataError(msg)
    archived = [_archived(run.group(n), file) for n, progress in done.items() for file in progress.files]
    schema = runs.schema_of(run)
    keep_references(run, schema.references)
    tables = {name: _table(run, table, name, done) for name, table in schema.each_table.items()}
    committed = Manifest(
        format=documents.FORMAT,
        fanfold=importlib.metadata.version("fanfold"),
        duckdb=importlib.metadata.version("duckdb"),
        spec=run.feed.spec.model_dump(mode="json", exclude=PLACE),
        summary=_summary(run, done, schema.references),
        files=sorted(archived, key=lambda file: file.name),
        quarantined={str(n): progress.quarantined for n, progress in done.items() if progress.quarantined},
        records_unmatched={str(n): progress.records_unmatched for n, progress in done.items()},
        released=sorted(name for name, n in staged.places if n in released),
        **msgspec.structs.asdict(tables.get("", TableOfRun([], [], {}, {}))),
        tables=msgspec.UNSET if "" in tables else tables,
        drift=schema.drift or msgspec.UNSET,
    )
    found = [
        f"{name!r} was claimed, and is in no group"
        for name, _ in sorted(expected - {(file.name, file.subdir) for file in archived})
    ]
    if left := staging.left_in(run):
        found.append(f"{relative(run, left)!r} is left in staging")
    found += gaps(run, committed)
    for name, table in schema.each_table.items() if not found else ():
        in_tables = totals.Tally(totals.totalled(run.feed.spec, table))
        for number, published in tables[name].outputs.items() if in_tables.sums else ():
            places = totals.places_in(run.group(int(number)), schema, table)
            in_tables.add_table(run.feed.data_dir / published.path, places, run.feed.spec.output.csv)
            for path in (run.feed.data_dir / published.path, run.group(int(number)).merged_path):
                mirrors.has_read(path)
        if in_tables.totals != tables[name].totals:
            of = f"table {name!r}" if name else "tables"
            found.append(f"the sums of the {of} are {in_tables.totals}, expected {tables[name].totals}")
    _fail_on(found)
    return committed


def _table(run: Run, table: TableSchema, name: str, done: Mapping[int, Progress]) -> TableOfRun:
    """Return what the groups have published as one table."""
    outputs = {str(n): progress.outputs[name] for n, progress in done.items()}
    by_groups = totals.Tally(totals.totalled(run.feed.spec, table))
    for published in outputs.values():
        by_groups.add_totals(published.totals)
    return TableOfRun(table.explode, table.columns, outputs, by_groups.totals)


def _archived(group: Group, file: Input) -> ArchivedFile:
    name, packed = groups.last_name(group, file), None
    if packing(file.name, name) and (place := group.run.feed.data_dir / name).is_file():
        if original_sha256(place, file.name) != file.sha256:
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
        reason_sha256=hashlib.sha256(documents.encode(file.fault)).hexdigest() if file.fault else None,
        decision=file.decision,
        duplicate_of=file.duplicate_of,
        replay_of=file.replay_of,
        packed=packed,
        ignored=file.ignored,
    )


def _summary(run: Run, done: Mapping[int, Progress], references: list[manifest.FrozenReference]) -> Summary:
    subdirs = manifest.empty_summary(run.ts, run.feed.spec.subdirs, run.feed.spec.tables).subdirs
    for n, progress in done.items():
        size = sum(file.size_bytes for file in progress.files)
        records = progress.records + progress.records_quarantined
        rows = by_table({name: one.rows for name, one in progress.outputs.items()})
        paths = by_table({name: one.path for name, one in progress.outputs.items()})
        subdirs[str(n)] = SubdirSummary(len(progress.files), size, records, rows, paths)
    names = run.feed.spec.flat_tables
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
        rows_out=by_table({name: sum(of_table(subdir.rows)[name] for subdir in subdirs.values()) for name in names}),
        subdirs=subdirs,
        references=references,
    )


def _fail_on(found: list[str]) -> None:
    if found:
        more = f"; and {len(found) - SHOWN_GAPS} more" if len(found) > SHOWN_GAPS else ""
        raise DataError("; ".join(found[:SHOWN_GAPS]) + more)
