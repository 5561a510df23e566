"""The step that accounts for every file, byte, record and row of a run, and commits it."""

import functools
import hashlib
import importlib.metadata
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import msgspec

from fanfold import durable, manifest
from fanfold.durable import AnyPath
from fanfold.errors import DataError
from fanfold.feed import access, claim, failures, groups, originals, runs
from fanfold.feed.index import Index
from fanfold.feed.verdict import verdict
from fanfold.layout import REASON_SUFFIX, Feed, Run, packing
from fanfold.manifest import ArchivedFile, Manifest, Packed, Published, SubdirSummary, Summary
from fanfold.records import totals
from fanfold.working_files import Files, Input, Progress, Release, RunSchema

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
    with runs.owned(run, "verify_run"), failures.recorded(run, "verify_run"):
        return commit(run)


def verdict_of(data_dir: AnyPath, ts: str) -> str | None:
    """Say why a complete run is reported as failed; None where it is a success, or there is none."""
    run = runs.open_run(data_dir, ts)
    committed = manifest.read_if_there(run.commit_path, Manifest) if run else None
    return verdict(committed) if committed else None


def commit(run: Run) -> Summary:
    """Account for a run and write its manifest; where that is there, compare what is on disk with it."""
    committed = manifest.read_if_there(run.commit_path, Manifest)
    if committed is None:
        access.check_places(run, ((file.name, file.subdir) for file in manifest.read(run.files_path, Files).files))
        durable.discard_temporary(run.manifest_path)
        committed = account(run)
        durable.make_dirs(run.output_dir)
        durable.write(run.manifest_path, manifest.encode(committed))
        durable.write(run.commit_path, manifest.encode(committed))
    else:
        compare(run, committed)
    claim.remove_run(run)
    return committed.summary


def account(run: Run) -> Manifest:
    """Make the manifest of a run whose groups are done.

    Raises:
        DataError: a file is not archived, an output is missing, extra or changed, a count does not fit.
    """
    staged = manifest.read(run.files_path, Files).files
    release = manifest.read_if_there(run.release_path, Release) or Release([])
    groups = {
        n: manifest.read_if_there(run.group(n).progress_path, Progress)
        for n in sorted({file.subdir for file in staged} - set(release.subdirs))
    }
    undone = [n for n, progress in groups.items() if progress is None or progress.published is None]
    if undone:
        msg = f"groups {undone} have published nothing, expected an output from each group that was given files"
        raise DataError(msg)
    done = {n: progress for n, progress in groups.items() if progress is not None}
    outputs = {str(n): progress.published for n, progress in done.items() if progress.published is not None}
    archived = [_ended(run, n, file) for n, progress in done.items() for file in progress.files]
    archived.sort(key=lambda file: file.name)
    frozen = runs.schema_of(run)
    committed = Manifest(
        fanfold=importlib.metadata.version("fanfold"),
        duckdb=importlib.metadata.version("duckdb"),
        spec=run.feed.spec.model_dump(mode="json", exclude={"data_dir"}),
        summary=_summary(run, done, frozen.references),
        columns=frozen.columns,
        files=archived,
        explode=frozen.explode,
        outputs=outputs,
        quarantined={str(n): progress.quarantined for n, progress in done.items() if progress.quarantined},
        records_unmatched={str(n): progress.records_unmatched for n, progress in done.items()},
        totals=_totals(run, frozen, outputs.values()),
        released=sorted(file.name for file in staged if file.subdir in release.subdirs),
    )
    _check_share(run, committed.summary)
    expected = {(file.name, file.subdir) for file in staged if file.subdir not in release.subdirs}
    gaps = [
        f"{name!r} was claimed, and is in no group" for name, _ in expected - {(f.name, f.subdir) for f in archived}
    ]
    if left := claim.left_in(run):
        gaps.append(f"{relative(run, left)!r} is left in staging")
    gaps += _gaps(run, committed)
    gaps += _content_gaps(run, committed)
    if not gaps and committed.totals:
        found = _sums_of_tables(run, committed, frozen)
        gaps += (
            [f"the sums of the tables are {found}, expected {committed.totals}"] if found != committed.totals else []
        )
    _fail_on(gaps)
    return committed


def _totals(run: Run, schema: RunSchema, tables: Iterable[Published]) -> dict[str, str]:
    sums = {total.path: Decimal(0) for total in totals.totalled(run.feed.spec, schema.columns, schema.explode)}
    for table in tables:
        sums = totals.add(sums, {path: Decimal(total) for path, total in table.totals.items() if path in sums})
    return totals.plain(sums)


def _sums_of_tables(run: Run, committed: Manifest, schema: RunSchema) -> dict[str, str]:
    wanted = totals.totalled(run.feed.spec, schema.columns, schema.explode)
    sums = {total.path: Decimal(0) for total in wanted}
    for n, table in committed.outputs.items():
        items = totals.items_of(run, int(n), schema)
        sums = totals.add(sums, totals.of_table(run.feed.data_dir / table.path, wanted, items)[1])
    return totals.plain(sums)


def _ended(run: Run, n: int, file: Input) -> ArchivedFile:
    name = groups.last_name(run.group(n), file)
    packed = None
    if packing(file.name, name) and (place := run.feed.data_dir / name).is_file():
        if originals.original_sha256(place, file.name) != file.sha256:
            msg = f"{name!r} is changed: it is not {file.name!r}, compressed"
            raise DataError(msg)
        packed = Packed(place.stat().st_size, durable.sha256(place))
    return ArchivedFile(
        file.name,
        n,
        file.size_bytes,
        file.sha256 or "",
        file.records or 0,
        name,
        file.records_quarantined,
        file.fault.code if file.fault else None,
        hashlib.sha256(manifest.encode(file.fault)).hexdigest() if file.fault else None,
        file.decision,
        file.duplicate_of,
        file.replay_of,
        packed,
    )


def _check_share(run: Run, summary: Summary) -> None:
    quarantine = run.feed.spec.quarantine
    if not quarantine.allows(summary.records_quarantined, summary.records_in):
        msg = (
            f"run {run.ts}: found {summary.records_quarantined} bad records of {summary.records_in}, expected at most "
            f"{quarantine.max_bad_records_percent:g} % (quarantine.max_bad_records_percent)"
        )
        raise DataError(msg)


def _summary(run: Run, done: dict[int, Progress], references: list[manifest.FrozenReference]) -> Summary:
    subdirs = {}
    for n in range(1, run.feed.spec.subdirs + 1):
        progress = done.get(n)
        subdirs[str(n)] = SubdirSummary()
        if progress is not None and progress.published is not None:
            size = sum(file.size_bytes for file in progress.files)
            records = progress.records + progress.records_quarantined
            rows, output = progress.published.rows, progress.published.path
            subdirs[str(n)] = SubdirSummary(len(progress.files), size, records, rows, output)
    total = msgspec.structs.replace(manifest.empty_summary(run.ts, run.feed.spec.subdirs), subdirs=subdirs)
    count = sum(subdir.files for subdir in subdirs.values())
    bad = sum(1 for progress in done.values() for file in progress.files if file.fault)
    return msgspec.structs.replace(
        total,
        files_in=count,
        files_archived=count - bad,
        files_quarantined=bad,
        bytes_in=sum(subdir.bytes for subdir in subdirs.values()),
        records_in=sum(subdir.records for subdir in subdirs.values()),
        records_quarantined=sum(progress.records_quarantined for progress in done.values()),
        records_unmatched=sum(progress.records_unmatched for progress in done.values()),
        rows_out=sum(subdir.rows for subdir in subdirs.values()),
        references=references,
    )


def compare(run: Run, committed: Manifest) -> None:
    """Compare a committed run with what is on disk: sizes of originals, hashes of outputs.

    Raises:
        DataError: something is missing, extra, or changed.
    """
    _fail_on(list(gaps(run, committed)))


def gaps(run: Run, committed: Manifest) -> Iterator[str]:
    """Yield a sentence for each file of a committed run that is missing, extra or changed, by sizes and hashes."""
    yield from _gaps(run, committed)
    yield from _content_gaps(run, committed)
    yield from manifest_gaps(run, committed)


def lies_as(file: ArchivedFile) -> ArchivedFile | Packed:
    """Return size and hash of an original as it lies in the archive."""
    return file.packed or file


def is_as_published(feed: Feed, published: Published) -> bool:
    """Say whether a published table still has its bytes."""
    path = feed.data_dir / published.path
    return durable.size(path) == published.size_bytes and durable.sha256(path) == published.sha256


def _gaps(run: Run, committed: Manifest) -> Iterator[str]:
    yield from _archive_gaps(run, committed)
    yield from _output_gaps(run, committed)
    yield from _quarantine_gaps(run, committed)


def _content_gaps(run: Run, committed: Manifest) -> Iterator[str]:
    """Yield a sentence for each content that made rows twice in the feed, or not at all."""
    makers: dict[tuple[int, str], str] = {}
    made = {file.name: (file.size_bytes, file.sha256) for file in committed.files if not file.code}
    index = Index(run.feed)
    indexed = index.sizes({size for size, _ in made.values()})
    for file in committed.files:
        content = (file.size_bytes, file.sha256)
        ts, _, name = (file.duplicate_of or "").partition("/")
        if ts == run.ts and name in made and made[name] != content:
            yield (
                f"{file.name!r} made no rows, as a duplicate of {name!r}, which was changed since: release the run, "
                f"and land a copy of {file.archived_as!r}"
            )
        if file.code or file.duplicate_of or file.replay_of or run.feed.spec.input.duplicates == "process":
            continue
        own = f"{run.ts}/{file.name}"
        of = makers.setdefault(content, own)
        if of == own and file.size_bytes in indexed:
            of = index.first(*content) or own
        if of != own and of.partition("/")[0] <= run.ts:
            yield f"{file.name!r} has the bytes of {of!r}, and both have rows"


def _archive_gaps(run: Run, committed: Manifest) -> Iterator[str]:
    for file in committed.files:
        size, expected = durable.size(run.feed.place(file.archived_as)), lies_as(file).size_bytes
        if size is None:
            yield f"{file.archived_as!r} is missing: the original of {file.name!r}"
        elif size != expected:
            yield f"{file.archived_as!r} is changed: {size} bytes, expected {expected}"
        if (marker := run.archived_marker_path(file.name)) and not marker.is_file():
            yield f"{relative(run, marker)!r} is missing: it says that {file.name!r} was done"
    for reference in committed.summary.references:
        kept = run.feed.kept_reference_path(reference.path, reference.sha256)
        if not kept.is_file() or durable.sha256(kept) != reference.sha256:
            yield f"{relative(run, kept)!r} is missing or changed: the reference {reference.path!r} as it was joined"


def _output_gaps(run: Run, committed: Manifest) -> Iterator[str]:
    outputs = list(committed.outputs.values())
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        intact = list(threads.map(functools.partial(is_as_published, run.feed), outputs))
    for output, is_intact in zip(outputs, intact, strict=True):
        if not (run.feed.data_dir / output.path).is_file():
            yield f"{output.path!r} is missing: expected {output.rows} rows"
        elif not is_intact:
            yield f"{output.path!r} is changed: expected sha256 {output.sha256}"
    expected = {run.manifest_path.name, *(Path(output.path).name for output in outputs)}
    for name in sorted(path.name for path in run.output_dir.iterdir()) if run.output_dir.is_dir() else ():
        if name not in expected:
            yield f"{f'{run.output_name}/{name}'!r} is extra: the run did not write it"


def _quarantine_gaps(run: Run, committed: Manifest) -> Iterator[str]:
    """Compare what is in the run's quarantine with what is to be there, reasons included."""
    for bad in committed.quarantined.values():
        if not is_as_published(run.feed, bad):
            yield f"{bad.path!r} is missing or changed: expected {bad.rows} records, sha256 {bad.sha256}"
    expected = {listed.path for listed in committed.quarantined.values()}
    for file in committed.files:
        if file.code:
            reason = run.group(file.subdir).reason_name(file.name)
            expected |= {file.archived_as, reason}
            path = run.feed.data_dir / reason
            if path.is_file() and durable.sha256(path) != file.reason_sha256:
                yield f"{reason!r} is changed: the reason of a bad file"
    quarantine_dir = run.feed.data_dir / run.feed.spec.quarantine.path / run.ts
    found = {relative(run, Path(folder, name)) for folder, _, names in os.walk(quarantine_dir) for name in names}
    for name in sorted(expected - found):
        if name.endswith(REASON_SUFFIX):
            yield f"{name!r} is missing: the reason of a bad file"
    for name in sorted(found - expected):
        yield f"{name!r} is extra: nothing of the run"


def manifest_gaps(run: Run, committed: Manifest) -> Iterator[str]:
    """Compare both copies of the manifest, byte for byte, with each other and with what Fanfold writes."""
    beside, commit = relative(run, run.manifest_path), relative(run, run.commit_path)
    read = run.commit_path.read_bytes()
    if not run.manifest_path.is_file():
        yield f"{beside!r} is missing: the manifest of the run, as {commit!r} has it"
    elif read != manifest.encode(committed):
        yield f"{commit!r} is changed: expected the manifest of the run, as in {beside!r}"
    elif (copy := run.manifest_path.read_bytes()) != read:
        if manifest.is_as_written(copy, Manifest):
            yield f"{beside!r} or {commit!r} is changed: they are not the same, expected one manifest"
        else:
            yield f"{beside!r} is changed: expected the manifest of the run, as in {commit!r}"


def relative(run: Run, path: Path) -> str:
    """Return a path as messages and manifests have it: relative to `data_dir`."""
    return str(path.relative_to(run.feed.data_dir))


def _fail_on(gaps: list[str]) -> None:
    if gaps:
        more = f"; and {len(gaps) - SHOWN_GAPS} more" if len(gaps) > SHOWN_GAPS else ""
        raise DataError("; ".join(gaps[:SHOWN_GAPS]) + more)
