"""Giving a run up: what is not published goes back into landing."""

from fanfold import documents
from fanfold.errors import MissingError, nearest
from fanfold.feed import access, give_up, runs, staging
from fanfold.layout import Feed, Group, Run
from fanfold.steps.archive_files import archive
from fanfold.steps.denormalize_data import publish
from fanfold.steps.leased import on_run
from fanfold.steps.merge_data import is_kept, merge
from fanfold.steps.verify_run import commit
from fanfold.working_files import Files, Progress


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
    named = feed.run(ts)
    _check_unfinished(feed, named.ts)
    with on_run(named, "release", named.driver_path):
        # Another process may have ended it meanwhile.
        _check_unfinished(feed, named.ts)
        run = runs.open_run(feed.data_dir, named.ts)
        if run is None:
            staging.remove_run(named)
            return []
        if runs.is_complete(run):
            commit(run)
            return []
        return _give_up(run)


def _check_unfinished(feed: Feed, ts: str) -> None:
    known = runs.unfinished(feed)
    if ts not in known:
        msg = f"{ts!r} is not an unfinished run, {nearest(ts, known)}"
        raise MissingError(msg)


def _give_up(run: Run) -> list[str]:
    staged = documents.read(run.files_path, Files)
    access.check_places(run, staged.places)
    access.check_writable({(run.feed.landing_dir / file.name).parent for file in staged.files})
    published, returned = give_up.release_unpublished(run)
    for n in published:
        _finish(run.group(n))
    if published:
        commit(run)
    else:
        staging.remove_run(run)
    return returned


def _finish(group: Group) -> None:
    """Archive the originals of a group whose table is published, also where its progress does not say so yet.

    In a bucket, what was merged may be gone with the process that has decided to publish it.
    """
    progress = documents.read_if_there(group.progress_path, Progress)
    if progress is None or not (progress.outputs or is_kept(group, progress)):
        progress = merge(group)
    if not progress.outputs:
        publish(group, progress)
    archive(group, progress)
