"""Runs that have not ended: what is said of them, and what they take up when they go on."""

import logging

import msgspec

from fanfold import documents, durable, mirrors
from fanfold.feed import failures, runs, store
from fanfold.layout import Feed, Run
from fanfold.spec.changes import KEPT_KEYS, changes, with_kept
from fanfold.spec.model import Spec
from fanfold.working_files import Files, told

log = logging.getLogger(__name__)


def warn(feed: Feed, but: str) -> None:
    """Name the unfinished runs in the log, all but one; of those that cannot go on, with the reason."""
    others = [ts for ts in runs.unfinished(feed) if ts != but]
    stuck = [ts for ts in others if failures.is_stuck(feed, ts)]
    for ts in stuck:
        reasons = "; ".join(told(failures.of_run(runs.open_run(feed.data_dir, ts) or feed.run(ts))))
        ways = f"to try it again: fanfold run SPEC --ts {ts}; to give it up: fanfold release SPEC {ts}"
        keeps = _keeps(feed, ts)
        log.warning("run %s is passed over: %s%s", ts, reasons, f". It {keeps}" if keeps else f" ({ways})")
    if going := [ts for ts in others if ts not in stuck]:
        log.warning(
            "unfinished runs: %s (fanfold run SPEC resumes the oldest, fanfold release SPEC TS gives one up)", going
        )


def kept(feed: Feed, ts: str) -> str | None:
    """Say, of a run that has published, how its spec differs from what it is now; None where it does not."""
    keeps = _keeps(feed, ts)
    return f"run {ts} {keeps}" if keeps else None


def _keeps(feed: Feed, ts: str) -> str | None:
    run = runs.open_run(feed.data_dir, ts)
    changed = changes(run.feed.spec, feed.spec) if run and runs.has_published(run) else {}
    if not changed:
        return None
    return (
        "has published, so it keeps the spec that it began with; changed since: "
        f"{'; '.join(changed.values())}. To use the changed spec for what is not published, give the run up: "
        f"fanfold release SPEC {ts}"
    )


def go_on(feed: Feed, ts: str) -> str:
    """Say with which command a run that has failed goes on, or is given up where it cannot."""
    run = feed.run(ts)
    if not runs.is_complete(run):
        if run.release_path.exists():
            return f"run {ts} is being given up; to go on with that: fanfold release SPEC {ts}"
        if keeps := kept(feed, ts):
            return keeps
    return f"to try run {ts} again, once the cause is corrected: fanfold run SPEC --ts {ts}"


def what_next(feed: Feed, ts: str, n: int | None = None) -> list[str]:
    """Say what helps where a task of a run has failed, in the words of Airflow; `n` is the number of its group."""
    run, clear = runs.open_run(feed.data_dir, ts), "with its downstream tasks"
    if run is None:
        return [f"correct the cause, and clear this task {clear}", "to look first whether it is: fanfold plan SPEC"]
    if runs.is_complete(run):
        return [f"the run is complete, and was changed since; what differs: fanfold verify SPEC {ts}"]
    place, is_bucket = run.group(n).subdir_dir if n else run.staging_dir, mirrors.of(feed.data_dir) is not None
    if runs.has_published(run):
        keeps = kept(feed, ts)
        where = "" if is_bucket else f"the files are in {str(place)!r}; "
        cause = f"{where}some of the run is published, so it keeps its spec and references"
        ways = [keeps or f"correct the cause ({cause}), and clear this task {clear}"]
    elif is_bucket:
        ways = [
            f"if the spec or a reference is wrong: correct it, and clear create_dynamic_taskgroups {clear}",
            "if a file is wrong: give the run up, and land the corrected file under a new name",
        ]
    elif n:
        ways = [
            f"if a file is wrong: correct it in {str(place)!r}, and clear merge_data of its group {clear}",
            f"if the spec or a reference is wrong: correct it, and clear create_dynamic_taskgroups {clear}",
        ]
    else:
        ways = [
            f"correct the spec, a reference or the files in {str(place)!r}, and clear create_dynamic_taskgroups {clear}"
        ]
    give_up = [] if ways[0].endswith(ts) else [f"or give the run up: fanfold release SPEC {ts}"]
    return [*ways, "or correct it and wait: the next DAG run goes on with this run", *give_up]


def take_up(feed: Feed, ts: str) -> None:
    """Prepare a run anew where its spec, or what made it fail, has changed, as long as nothing of it is published.

    So is a run that a version with an older format has begun. What was derived is gone before the new spec is there: a
    call that was cut short is completed by the next.

    Raises:
        SpecError: the changed spec does not fit what a run keeps.
        BusyError: another process works on the run.
    """
    run = runs.open_run(feed.data_dir, ts)
    if run is None or runs.is_complete(run) or run.release_path.exists():
        return
    if keeps := kept(feed, ts):
        log.warning("%s", keeps)
    if runs.has_published(run):
        return
    changed = changes(run.feed.spec, feed.spec)
    if stays := "; ".join([changed.pop(key) for key in KEPT_KEYS if key in changed]):
        log.warning("run %s keeps what it began with: %s (to give it up: fanfold release SPEC %s)", ts, stays, ts)
    spec = renewed(feed, run)
    if spec is None:
        return
    with runs.owned(run, "stage_files", run.driver_path):
        if runs.has_published(run):
            return
        if changed:
            log.warning("run %s goes on with the spec as it is now: %s", ts, "; ".join(changed.values()))
        forget(run)
        durable.write(run.spec_path, runs.encode_spec(spec))
        staged = msgspec.structs.replace(documents.read(run.files_path, Files), format=documents.FORMAT)
        durable.write(run.files_path, documents.encode(staged))


def renewed(feed: Feed, run: Run) -> Spec | None:
    """Return the spec that an unfinished run is prepared anew with; None where it goes on as it was prepared.

    Raises:
        SpecError: as `take_up`.
    """
    if runs.has_published(run):
        return None
    if changes(run.feed.spec, feed.spec).keys() - {*KEPT_KEYS}:
        return with_kept(run.feed.spec, feed.spec)
    is_older = documents.read(run.files_path, Files).format < documents.FORMAT
    has_failed = {failure.subdir for failure in failures.of_run(run) if not failure.passing}
    return run.feed.spec if is_older or has_failed != failures.unchanged(feed, run) else None


def forget(run: Run) -> None:
    """Remove what was derived from spec, files and references; the schema first, with which the groups are prepared."""
    store.of(run.feed).begin_again(run)
    durable.remove(run.schema_path)
    for group in run.groups:
        runs.discard_published(group)
    for directory in [run.references_dir, *(group.work_dir for group in run.groups)]:
        # This call may hold the lease.
        durable.empty(directory, but=run.lease_path.name)
    durable.remove(run.failure_path)
