"""The step that claims the files that are ready into the subdirectories of a run."""

import logging

import msgspec

from fanfold import documents, durable, links
from fanfold.feed import access, failures, landing, lease, runs, staging, store, unfinished
from fanfold.feed.balance import balance
from fanfold.feed.landing import LandedFile
from fanfold.layout import Feed, Run
from fanfold.manifest import Manifest
from fanfold.steps.list_files import list_ready
from fanfold.steps.release import release
from fanfold.working_files import Files, StagedFile

log = logging.getLogger(__name__)


def stage_files(feed: Feed, ts: str, *, wait: bool = False) -> int:
    """Claim the ready files: rename them into `staging/<ts>/1` … `N`, evenly.

    The distribution is on disk (files.json) before the first file moves. A second call completes the moves of the
    first and claims nothing new. Without a ready file nothing is written. A release that was cut short is completed.
    A run that has published nothing takes up a spec that has changed, and what it failed for, where that has changed.
    A file whose name is too long to take its timestamp, or its reason, stays in landing, with a warning; so do those
    above `input.max_files` and `input.max_bytes`, for the next run.

    Args:
        feed: the feed.
        ts: execution timestamp of the run.
        wait: whether to wait for the files that are still settling.

    Returns:
        The number of files of the run.

    Raises:
        BusyError: another process stages this run.
        SpecError: the `data_dir` holds another feed.
        PathError: a link leads out of the feed, or this process may not write into a folder: nothing is claimed.
    """
    run = feed.run(ts)
    links.check_plain([run.staging_dir, run.work_dir])
    if run.release_path.exists() and not runs.is_complete(run):
        # The decision to give the run up is on disk: it is carried out before anything else.
        release(feed, run.ts)
    unfinished.take_up(feed, run.ts)
    unfinished.warn(feed, but=run.ts)
    ready = list[LandedFile]()
    if not run.files_path.exists() and not runs.is_complete(run):
        ready = list_ready(feed, ts, wait=wait)
    if ready or run.staging_dir.is_dir():
        runs.claim_data_dir(feed)
        durable.make_dirs(run.work_dir)
        with lease.hold(run.lease_path, does="stage_files"), failures.trouble_recorded(run, "stage_files"):
            return _stage(run, ready)
    committed = documents.read_if_there(run.commit_path, Manifest)
    return committed.summary.files_in if committed else 0


def _stage(run: Run, ready: list[LandedFile]) -> int:
    if committed := documents.read_if_there(run.commit_path, Manifest):
        staging.remove_run(run)
        return committed.summary.files_in
    intent = documents.read_if_there(run.files_path, Files)
    if intent is None:
        if not ready:
            staging.remove_run(run)
            return 0
        sizes = {file.name: file.size_bytes for file in ready}
        parts = balance(sizes.items(), run.feed.spec.subdirs)
        staged = [StagedFile(name, sizes[name], n) for n in parts for name in parts[n]]
        intent = Files(format=documents.FORMAT, claimed=False, files=staged)
        access.check_places(run, intent.places)
        durable.write(run.spec_path, runs.encode_spec(run.feed.spec))
        durable.write(run.files_path, documents.encode(intent))
    # From here on the spec is that with which the run began.
    begun = runs.open_run(run.feed.data_dir, run.ts) or run
    return len(intent.files) if intent.claimed else _claim(begun, intent)


def _claim(run: Run, intent: Files) -> int:
    access.check_places(run, intent.places)
    for group in run.groups:
        durable.make_dirs(group.subdir_dir)
    vanished, held = store.of(run.feed).claim(run, intent.places)
    landing.warn({reason: sorted(names) for reason, names in held.items()})
    for name in sorted(vanished):
        log.warning("%r was taken out of landing before it could be claimed: it is not in this run", name)
    missed = vanished.union(*held.values())
    # In a bucket another process may have claimed for this run, by an intent of its own.
    intent = documents.read(run.files_path, Files)
    claimed = [file for file in intent.files if file.name not in missed]
    if claimed:
        durable.write(run.files_path, documents.encode(msgspec.structs.replace(intent, claimed=True, files=claimed)))
    else:
        staging.remove_run(run)
    return len(claimed)
