"""The step that claims the files that are ready into the subdirectories of a run."""

import logging
import os
from collections.abc import Iterator

from fanfold import durable, links, manifest
from fanfold.feed import access, claim, landing, lease, runs, unfinished
from fanfold.feed.balance import balance
from fanfold.feed.landing import warn
from fanfold.layout import Feed, Run, format_ts, packing, parse_ts
from fanfold.manifest import Manifest
from fanfold.steps.list_files import list_files
from fanfold.steps.release import release
from fanfold.working_files import Files, StagedFile

log = logging.getLogger(__name__)

# More than what is put before and behind a name that has its timestamp.
ADDED_BYTES = 100


def stage_files(feed: Feed, ts: str, listed: list[landing.LandedFile] | None = None) -> int:
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
        warn(landing.held)
        listed = landing.ready
    ready = list(_apart(run, listed or [])) if is_new else []
    if ready or run.staging_dir.is_dir():
        runs.claim_data_dir(feed)
        durable.make_dirs(run.work_dir)
        with lease.hold(run.lease_path, does="stage_files"):
            return _stage(feed, run, {file.name: file.size_bytes for file in ready})
    committed = manifest.read_if_there(run.commit_path, Manifest)
    return committed.summary.files_in if committed else 0


def _apart(run: Run, ready: list[landing.LandedFile]) -> Iterator[landing.LandedFile]:
    """Yield the files that have a place of their own wherever they may end; a warning says why others have none."""
    places: dict[str, str] = {}
    feed = run.feed
    directories = (run.staging_dir, feed.archive_dir, feed.data_dir / feed.spec.quarantine.path)
    room = min(map(durable.longest_name, directories)) - len((feed.spec.input.done_suffix or "").encode()) - ADDED_BYTES
    for file in ready:
        place = run.archived_name(file.name)
        if len(os.fsencode(place)) > room and not _fits(run, file.name):
            log.warning("%r stays in landing: its name is too long for what is put behind it; shorten it", file.name)
        elif places.setdefault(place, file.name) != file.name:
            log.warning("%r waits for the next run: in the archive it is named like %r", file.name, places[place])
        else:
            yield file


def _fits(run: Run, name: str) -> bool:
    n, place = run.feed.spec.subdirs, run.archive_path(name)
    # A compressed original is written under a temporary name first; the reason of a bad file always is.
    ends = [durable.temporary(place) if packing(name, place.name) else place, run.archived_marker_path(name)]
    ends += [durable.temporary(run.feed.data_dir / run.group(n).reason_name(name)), run.group(n).subdir_dir / name]
    return all(durable.name_fits(path) for path in ends if path)


def _stage(feed: Feed, run: Run, ready: dict[str, int]) -> int:
    if committed := manifest.read_if_there(run.commit_path, Manifest):
        claim.remove_run(run)
        return committed.summary.files_in
    intent = manifest.read_if_there(run.files_path, Files)
    if intent is None:
        if not ready:
            claim.remove_run(run)
            return 0
        parts = balance(ready.items(), feed.spec.subdirs)
        intent = Files(claimed=False, files=[StagedFile(f, ready[f], n) for n, part in parts.items() for f in part])
        access.check_places(run, ((file.name, file.subdir) for file in intent.files))
        durable.write(run.spec_path, runs.encode_spec(feed.spec))
        durable.write(run.files_path, manifest.encode(intent))
    return len(intent.files if intent.claimed else _claim(feed, run.ts, intent))


def _claim(feed: Feed, ts: str, intent: Files) -> list[StagedFile]:
    run = runs.open_run(feed.data_dir, ts) or feed.run(ts)
    access.check_places(run, ((file.name, file.subdir) for file in intent.files))
    for n in range(1, run.feed.spec.subdirs + 1):
        durable.make_dirs(run.group(n).subdir_dir)
    missed = claim.claim(run, ((file.name, file.subdir) for file in intent.files))
    claimed = [file for file in intent.files if file.name not in missed]
    if claimed:
        durable.write(run.files_path, manifest.encode(Files(claimed=True, files=claimed)))
    else:
        claim.remove_run(run)
    return claimed
