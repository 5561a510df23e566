"""What the command line does, as functions for scripts, notebooks and tests. Nothing is printed."""

import contextlib
from collections.abc import Callable, Collection, Iterator
from datetime import datetime

import msgspec

from fanfold import audit as auditing
from fanfold import mirrors
from fanfold.audit import Audit
from fanfold.durable import AnyPath
from fanfold.errors import DataError, FanfoldError
from fanfold.feed import purged, runs
from fanfold.feed import status as statuses
from fanfold.feed.purged import KINDS, Kind
from fanfold.feed.status import RunStatus
from fanfold.layout import Feed, Run
from fanfold.manifest import Manifest, Summary
from fanfold.steps import local, recount, restore
from fanfold.steps import plan as planning
from fanfold.steps import purge as retention
from fanfold.steps.local import LocalRun, OnStep
from fanfold.steps.plan import Plan
from fanfold.steps.purge import Purge
from fanfold.steps.recount import Recount
from fanfold.steps.start import start


@mirrors.working()
def run(spec: AnyPath, *, ts: str | None = None, data_dir: AnyPath | None = None) -> Summary:
    """Do all steps here and now, as `fanfold run` does. Every step survives `kill -9`.

    Args:
        spec: path of the spec.
        ts: execution timestamp of the run, in any ISO 8601 form. Without it, the oldest unfinished run that can
            continue is resumed. If there is none, a new run begins, named after the current time. With the `ts` of a
            complete run, Fanfold only checks that everything is in place.
        data_dir: root of the feed, instead of the spec's `data_dir`; relative to the working directory.

    Returns:
        The counts of the complete run. Its tables are in `subdirs[n].output`, relative to `data_dir`. If no file was
        ready, the counts are zero.

    Raises:
        FanfoldError: something must change before a run can succeed: the spec, the data, a folder. If several groups or
            runs failed, it is the error of the first, and its notes name the others.
        DataError: also if the run is complete, but too much of it is bad: `status` has its counts.
        OSError: try again: the disk is full, or another process is working on the run (BusyError).
    """
    with _first_of_many():
        done, failed = completed(start(spec, mirrors.absolute(data_dir)), ts, lambda _ts, _resumed: _ignore)
        if failed:
            msg = "runs failed"
            raise ExceptionGroup(msg, failed)
    return done.summary


@mirrors.working()
def plan(spec: AnyPath, *, data_dir: AnyPath | None = None) -> Plan:
    """Say what a run would do with the files in landing now, as `fanfold plan` does. Nothing is moved or written.

    Args:
        spec: path of the spec.
        data_dir: as in `run`.

    Raises:
        FanfoldError: something would stop a run before any group starts. What would fail later is in `failed`.
    """
    return planning.plan(start(spec, mirrors.absolute(data_dir)))


@mirrors.working()
def verify(
    spec: AnyPath, ts: str | None = None, *, data_dir: AnyPath | None = None, deep: bool = False, audit: bool = False
) -> Recount:
    """Recount a complete run from its archive and its output, as `fanfold verify` does. Nothing is changed.

    Args:
        spec: path of the spec.
        ts: the run. Without it, the newest one.
        data_dir: as in `run`.
        deep: also make the run again from its archive, and compare the bytes.
        audit: also account for every value, with independent code.

    Returns:
        What was counted. If `gaps` is empty, nothing is lost and nothing is duplicated.

    Raises:
        MissingError: there is no such run.
    """
    with _first_of_many():
        complete = runs.open_complete(runs.open_feed(spec, mirrors.absolute(data_dir)), ts)
        return verified(*complete, deep=deep, audit_percent=100 if audit else 0)[0]


@mirrors.working()
def status(spec: AnyPath, *, data_dir: AnyPath | None = None) -> list[RunStatus]:
    """List the runs, as `fanfold status` does: unfinished ones first, then complete ones, each from oldest to newest.

    Args:
        spec: path of the spec.
        data_dir: as in `run`.
    """
    return statuses.status(runs.open_feed(spec, mirrors.absolute(data_dir)))


@mirrors.working()
def purge(
    spec: AnyPath,
    before: datetime,
    what: Collection[Kind] = KINDS,
    *,
    data_dir: AnyPath | None = None,
    yes: bool = False,
) -> list[Purge]:
    """Remove what old complete runs have left behind, as `fanfold purge` does. This cannot be undone.

    A call that was cut short is completed by the next one.

    Args:
        spec: path of the spec.
        before: runs with an earlier timestamp are purged; it needs a time zone.
        what: the kinds of files: `archive` (originals), `output`, `quarantine`, `references`.
        data_dir: as in `run`.
        yes: remove it; without this, the call only says what it would remove.

    Returns:
        The old runs, with what is removed of each, and what stays; the oldest first.

    Raises:
        DataError: a manifest was changed, or a later version wrote it: nothing is removed.
        PathError: a link leads out of the feed, or this process may not write into a folder: nothing is removed.
        BusyError: another run is beginning, and has held the feed for more than a minute.
    """
    return (retention.purge if yes else retention.plan)(runs.open_feed(spec, mirrors.absolute(data_dir)), before, what)


def completed(feed: Feed, ts: str | None, on_run: Callable[[str, bool], OnStep]) -> tuple[LocalRun, list[Exception]]:
    """Do the run of `run`; return it, and the errors of all runs that were tried, its own if too much of it is bad."""
    if ts is None:
        done, failed = local.run_next(feed, on_run)
    else:
        done, failed = local.run(feed, ts, on_run(ts, False)), []  # noqa: FBT003 - told by position
    return done, [*failed, *([DataError(done.failed)] if done.failed else [])]


def verified(run: Run, committed: Manifest, *, deep: bool, audit_percent: float) -> tuple[Recount, Audit | None]:
    """Return what was counted, with all gaps that were found, and the audit, if more than 0 % is audited.

    If something of the run was purged, it is neither made again nor audited: `lost` says so.
    """
    found = recount.recount(run, committed)
    report = auditing.audit(run, committed, audit_percent) if audit_percent and not found.lost else None
    gaps = [*found.gaps, *map(str, report.findings if report else ())]
    if deep and not gaps and {*purged.kinds(run)} <= {"output"}:
        gaps = restore.differences(run, committed)
    return msgspec.structs.replace(found, gaps=gaps), report


def _ignore(_n: int, _step: str, _state: str) -> None:
    """Ignore the progress of the steps."""


@contextlib.contextmanager
def _first_of_many() -> Iterator[None]:
    """Raise the first error of a group, if all of them say that something must change."""
    try:
        yield
    except ExceptionGroup as group:
        errors = [*_leaves(group)]
        if not all(isinstance(error, FanfoldError) for error in errors):
            raise
        for error in errors[1:]:
            errors[0].add_note(str(error))
        raise errors[0] from None


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
