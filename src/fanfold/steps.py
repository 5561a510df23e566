"""The steps of a run, in their order. Each may run again at any moment, also after `kill -9`, with the same result.

A step is given `data_dir` and what names its part of the run. What else it needs, it reads from the run's folder.
"""

import contextlib
import logging
import os
from collections.abc import Iterator

from fanfold import files, groups, lease, links, manifest, prepare, runs, unfinished, verify
from fanfold.balance import balance
from fanfold.errors import DataError, EmptySubdir, MissingError, PathError, nearest
from fanfold.files import AnyPath
from fanfold.layout import Feed, Run, format_ts, packing, parse_subdir, parse_ts
from fanfold.manifest import Files, Inputs, Manifest, StagedFile, Summary
from fanfold.references import check_header
from fanfold.verdict import verdict

log = logging.getLogger(__name__)

# More than what is put before and behind a name that has its timestamp.
ADDED_BYTES = 100


def start(spec_path: AnyPath, data_dir: AnyPath | None = None) -> Feed:
    """Check everything that can be known before the first file: spec, allowed roots, landing, references.

    Raises:
        SpecError, PathError: as `runs.open_feed`.
        MissingError: the landing directory, a reference, or a column of it is not there.
        PathError: landing and staging are on two file systems, or this process may not read landing, or not write into
            a folder.
    """
    feed = runs.open_feed(spec_path, data_dir)
    if not feed.landing_dir.is_dir():
        msg = f"{str(feed.landing_dir)!r} is not a directory, expected the landing directory (input.path)"
        raise MissingError(msg)
    staging_dir = feed.staging_dir if feed.staging_dir.is_dir() else feed.data_dir
    if feed.landing_dir.stat().st_dev != staging_dir.stat().st_dev:
        msg = (
            f"{str(feed.landing_dir)!r} is on another file system than {str(staging_dir)!r}, expected one for both: "
            "a file is claimed by renaming it"
        )
        raise PathError(msg)
    files.check_readable(feed.landing_dir)
    files.check_writable(folder for folder in feed.folders if folder != feed.landing_dir)
    files.check_writable(feed.staging_dir / ts for ts in runs.unfinished(feed))
    for merged in feed.spec.merge:
        source = feed.data_dir / merged.reference
        if not source.is_file():
            msg = f"{str(source)!r} is not a file, expected the reference {merged.reference!r}"
            raise MissingError(msg)
        check_header(source, merged)
    return feed


def list_files(feed: Feed) -> files.Landing:
    """List what lies in landing: the files that are ready, and those that are still settling."""
    wanted = feed.spec.input
    return files.scan_landing(feed.landing_dir, wanted.patterns, wanted.settle_seconds, wanted.done_suffix)


def list_run(feed: Feed, ts: str) -> list[files.LandedFile]:
    """List the files of a run: those that it was given, or, before it was given any, those that are ready."""
    run = feed.run(format_ts(parse_ts(ts)))
    if committed := manifest.read_if_there(run.commit_path, Manifest):
        return [files.LandedFile(file.name, file.size_bytes) for file in committed.files]
    if staged := manifest.read_if_there(run.files_path, Files):
        return [files.LandedFile(file.name, file.size_bytes) for file in staged.files]
    return list_files(feed).ready


def stage_files(feed: Feed, ts: str, listed: list[files.LandedFile] | None = None) -> int:
    """Claim the ready files: rename them into `staging/<ts>/1` … `N`, evenly.

    The distribution is on disk (files.json) before the first file moves. A second call completes the moves of the
    first and claims nothing new. Without a ready file nothing is written. A release that was cut short is completed.
    A run that has published nothing takes up a spec that has changed, and what it failed for, where that has changed.
    A file whose name is too long to take its timestamp, or its reason, stays in landing, with a warning.

    Args:
        feed: the feed.
        ts: execution timestamp of the run.
        listed: the ready files, where they were listed just now.

    Returns:
        The number of files of the run.

    Raises:
        BusyError: another process stages this run.
        SpecError: the `data_dir` holds another feed.
        PathError: a link leads out of the feed, or this process may not write into a folder: nothing is claimed.
    """
    run = feed.run(format_ts(parse_ts(ts)))
    links.check_plain([run.staging_dir, run.work_dir])
    if run.release_path.exists() and not runs.is_complete(run):
        # The decision to give the run up is on disk: it is carried out before anything else.
        release(feed, run.ts)
    unfinished.take_up(feed, run.ts)
    unfinished.warn(feed, but=run.ts)
    is_new = not run.files_path.exists() and not runs.is_complete(run)
    if is_new and listed is None:
        landing = list_files(feed)
        files.warn(landing.held)
        listed = landing.ready
    ready = list(_apart(run, listed or [])) if is_new else []
    if ready or run.staging_dir.is_dir():
        runs.claim_data_dir(feed)
        files.make_dirs(run.work_dir)
        with lease.hold(run.lease_path, does="stage_files"):
            return _stage(feed, run, {file.name: file.size_bytes for file in ready})
    committed = manifest.read_if_there(run.commit_path, Manifest)
    return committed.summary.files_in if committed else 0


def _apart(run: Run, ready: list[files.LandedFile]) -> Iterator[files.LandedFile]:
    """Yield the files that have a place of their own wherever they may end; a warning says why others have none."""
    places: dict[str, str] = {}
    feed = run.feed
    directories = (run.staging_dir, feed.archive_dir, feed.data_dir / feed.spec.quarantine.path)
    room = files.longest_name(*directories) - len((feed.spec.input.done_suffix or "").encode()) - ADDED_BYTES
    for file in ready:
        place = run.archived(file.name)
        if len(os.fsencode(place)) > room and not _fits(run, file.name):
            log.warning("%r stays in landing: its name is too long for what is put behind it; shorten it", file.name)
        elif places.setdefault(place, file.name) != file.name:
            log.warning("%r waits for the next run: in the archive it is named like %r", file.name, places[place])
        else:
            yield file


def _fits(run: Run, name: str) -> bool:
    n, place = run.feed.spec.subdirs, run.archive_path(name)
    # A compressed original is written under a temporary name first; the reason of a bad file always is.
    ends = [files.temporary(place) if packing(name, place.name) else place, run.archived_marker_path(name)]
    ends += [files.temporary(run.feed.data_dir / run.reason_name(n, name)), run.subdir_dir(n) / name]
    return all(files.name_fits(path) for path in ends if path)


def _stage(feed: Feed, run: Run, ready: dict[str, int]) -> int:
    if committed := manifest.read_if_there(run.commit_path, Manifest):
        files.remove_run(run)
        return committed.summary.files_in
    intent = manifest.read_if_there(run.files_path, Files)
    if intent is None:
        if not ready:
            files.remove_run(run)
            return 0
        parts = balance(ready.items(), feed.spec.subdirs)
        intent = Files(claimed=False, files=[StagedFile(f, ready[f], n) for n, part in parts.items() for f in part])
        _check_places(run, intent)
        files.write(run.spec_path, runs.encode_spec(feed.spec))
        files.write(run.files_path, manifest.encode(intent))
    return len(intent.files if intent.claimed else _claim(feed, run.ts, intent))


def _check_places(run: Run, given: Files) -> None:
    runs.check_places(run, ((file.name, file.subdir) for file in given.files))


def _claim(feed: Feed, ts: str, intent: Files) -> list[StagedFile]:
    run = runs.open_run(feed.data_dir, ts) or feed.run(ts)
    _check_places(run, intent)
    for n in range(1, run.feed.spec.subdirs + 1):
        files.make_dirs(run.subdir_dir(n))
    missed = files.claim(run, ((file.name, file.subdir) for file in intent.files))
    claimed = [file for file in intent.files if file.name not in missed]
    if claimed:
        files.write(run.files_path, manifest.encode(Files(claimed=True, files=claimed)))
    else:
        files.remove_run(run)
    return claimed


def create_dynamic_taskgroups(data_dir: AnyPath, ts: str, subdirs: int) -> dict[str, str]:
    """Prepare the groups: freeze the references, list the files of each, fix the one schema of the run.

    A second call keeps what the first one fixed. What cannot be read is left to its group to set aside.

    Args:
        data_dir: root of the feed.
        ts: execution timestamp of the run.
        subdirs: number of groups, where the run has no files.

    Returns:
        `{"1": "staging/<ts>/1", …}`: for each group its subdirectory, also where it is empty.

    Raises:
        DataError: a key stands twice in a reference (its lines are named), two fields become one column, an exploded
            field is no array, an expression is none, or a file is a duplicate under `duplicates: fail`.
        MissingError: a field or column that the spec names is not there.
        StillWrittenError: a reference changed while it was read.
        BusyError: another process prepares this run, or decides about duplicates for too long.
    """
    run = runs.open_run(data_dir, ts)
    if run is None:
        name = format_ts(parse_ts(ts))
        return {str(n): f"staging/{name}/{n}" for n in range(1, subdirs + 1)}
    if not runs.is_complete(run):
        step = "create_dynamic_taskgroups"
        with lease.hold(run.lease_path, does=step), unfinished.noted(run, step):
            if not run.schema_path.exists():
                if not runs.has_published(run):
                    # What is there without a schema is of another spec, or of other references.
                    unfinished.forget(run)
                staged = manifest.read(run.files_path, Files)
                _check_places(run, staged)
                prepare.prepare(run, staged.files)
    return {str(n): run.subdir(n) for n in range(1, run.feed.spec.subdirs + 1)}


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
    with _group(subdir, data_dir, "merge_data") as (run, n):
        progress = runs.progress_of(run, n)
        if progress is None or not (runs.is_complete(run) or groups.is_kept(run, n, progress)):
            progress = groups.merge(run, n)
    return {
        "files": len(progress.files),
        "bytes": sum(file.size_bytes for file in progress.files),
        "records": progress.records + progress.records_quarantined,
        "records_quarantined": progress.records_quarantined,
        "records_unmatched": progress.records_unmatched,
    }


@contextlib.contextmanager
def _group(subdir: str, data_dir: AnyPath, step: str) -> Iterator[tuple[Run, int]]:
    """Open the run and own the group, unless there is nothing to own: not prepared yet, or complete."""
    ts, n = parse_subdir(subdir)
    run = runs.open_run(data_dir, ts)
    with contextlib.ExitStack() as owned:
        if run and run.inputs_path(n).exists():
            owned.enter_context(lease.hold(run.group_lease_path(n), does=step))
            owned.enter_context(unfinished.noted(run, step, n))
        if run is None or not runs.has_files(run, n):
            msg = f"{subdir} has no files in this run"
            raise EmptySubdir(msg)
        if inputs := manifest.read_if_there(run.inputs_path(n), Inputs):
            runs.check_places(run, ((file.name, n) for file in inputs.files))
        yield run, n


def denormalize_data(subdir: str, data_dir: AnyPath) -> dict[str, int]:
    """Explode and flatten the merged records of a subdirectory, and publish the rows.

    The table appears under its final name when it is complete, atomically. A second call compares its hash.

    Returns:
        `rows`, `bytes`.

    Raises:
        EmptySubdir: the subdirectory has no files in this run.
        MissingError: merge_data has not run.
        DataError: the published table was changed.
    """
    with _group(subdir, data_dir, "denormalize_data") as (run, n):
        progress = runs.progress_of(run, n)
        if progress is None or not (progress.published or run.merged_path(n).exists()):
            msg = f"{subdir} has no merged records, expected merge_data before this step"
            raise MissingError(msg)
        published = progress.published
        if published is None:
            published = groups.publish(run, n, progress)
        elif not verify.is_as_published(run.feed, published):
            msg = f"{published.path!r} is not as it was published, expected sha256 {published.sha256}"
            raise DataError(msg)
    return {"rows": published.rows, "bytes": published.size_bytes}


def archive_files(subdir: str, data_dir: AnyPath) -> dict[str, int]:
    """Move the originals of a subdirectory into the archive, once the rows made from them are published.

    Nothing in the archive is ever overwritten. A second call completes a first one.

    Returns:
        `files`, `bytes`.

    Raises:
        EmptySubdir: the subdirectory has no files in this run.
        MissingError: nothing is published yet.
        DataError: an original changed after it was read (its writer still held it), is gone, or its name is taken.
    """
    with _group(subdir, data_dir, "archive_files") as (run, n):
        progress = runs.progress_of(run, n)
        if progress is None or progress.published is None:
            msg = f"{subdir} has nothing published, expected denormalize_data before this step"
            raise MissingError(msg)
        if not runs.is_complete(run):
            groups.archive(run, n, progress)
    return {"files": len(progress.files), "bytes": sum(file.size_bytes for file in progress.files)}


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
        return runs.empty_summary(ts, subdirs)
    with runs.owned(run, "verify_run"), unfinished.noted(run, "verify_run"):
        return _verify(run)


def verdict_of(data_dir: AnyPath, ts: str) -> str | None:
    """Say why a complete run is reported as failed; None where it is a success, or there is none."""
    run = runs.open_run(data_dir, ts)
    committed = manifest.read_if_there(run.commit_path, Manifest) if run else None
    return verdict(committed) if committed else None


def _verify(run: Run) -> Summary:
    committed = manifest.read_if_there(run.commit_path, Manifest)
    if committed is None:
        _check_places(run, manifest.read(run.files_path, Files))
        files.discard_temporary(run.manifest_path)
        committed = verify.account(run)
        files.make_dirs(run.output_dir)
        files.write(run.manifest_path, manifest.encode(committed))
        files.write(run.commit_path, manifest.encode(committed))
    else:
        verify.compare(run, committed)
    files.remove_run(run)
    return committed.summary


def release(feed: Feed, ts: str) -> list[str]:
    """Give a run up: what is not published goes back into landing, what is published is archived and committed.

    A second call completes a first one.

    Returns:
        The names that are back in landing, sorted.

    Raises:
        MissingError: there is no unfinished run `ts`.
        DataError: landing has another file of a name now; all others are back.
        BusyError: another process works on the run.
    """
    run = feed.run(format_ts(parse_ts(ts)))
    with runs.owned(run, "release", run.driver_path), unfinished.noted(run, "release"):
        return _release(feed, run.ts)


def _release(feed: Feed, ts: str) -> list[str]:
    known = runs.unfinished(feed)
    if ts not in known:
        msg = f"{ts!r} is no unfinished run, {nearest(ts, known)}"
        raise MissingError(msg)
    run = runs.open_run(feed.data_dir, ts)
    if run is None:
        files.remove_run(feed.run(ts))
        return []
    if runs.is_complete(run):
        _verify(run)
        return []
    staged = manifest.read(run.files_path, Files)
    _check_places(run, staged)
    files.check_writable({(feed.landing_dir / file.name).parent for file in staged.files})
    published, returned = runs.release_unpublished(run)
    for n in published:
        groups.finish(run, n)
    if published:
        _verify(run)
    else:
        files.remove_run(run)
    return returned
