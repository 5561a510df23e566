"""Giving a run up: what is not published goes back into landing."""

from fanfold import manifest
from fanfold.errors import MissingError, nearest
from fanfold.feed import access, claim, failures, give_up, runs
from fanfold.layout import Feed, format_ts, parse_ts
from fanfold.steps.archive_files import finish
from fanfold.steps.verify_run import commit
from fanfold.working_files import Files


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
    with runs.owned(run, "release", run.driver_path), failures.recorded(run, "release"):
        return _release(feed, run.ts)


def _release(feed: Feed, ts: str) -> list[str]:
    known = runs.unfinished(feed)
    if ts not in known:
        msg = f"{ts!r} is no unfinished run, {nearest(ts, known)}"
        raise MissingError(msg)
    run = runs.open_run(feed.data_dir, ts)
    if run is None:
        claim.remove_run(feed.run(ts))
        return []
    if runs.is_complete(run):
        commit(run)
        return []
    staged = manifest.read(run.files_path, Files)
    access.check_places(run, ((file.name, file.subdir) for file in staged.files))
    access.check_writable({(feed.landing_dir / file.name).parent for file in staged.files})
    published, returned = give_up.release_unpublished(run)
    for n in published:
        finish(run, n)
    if published:
        commit(run)
    else:
        claim.remove_run(run)
    return returned
