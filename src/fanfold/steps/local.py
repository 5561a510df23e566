"""The same steps without Airflow: the groups run on threads of this process."""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any, NamedTuple

from fanfold import documents
from fanfold.errors import BusyError, EmptySubdir, FanfoldError, alike, count
from fanfold.feed import failures, lease, runs, store
from fanfold.feed.verdict import verdict
from fanfold.layout import Feed, Run, format_ts
from fanfold.manifest import Drift, Ignored, Manifest, Summary, all_ignored
from fanfold.steps.archive_files import archive_files
from fanfold.steps.create_dynamic_taskgroups import create_dynamic_taskgroups
from fanfold.steps.denormalize_data import denormalize_data
from fanfold.steps.merge_data import merge_data
from fanfold.steps.stage_files import stage_files
from fanfold.steps.verify_run import verify_run

GROUP_STEPS = (merge_data, denormalize_data, archive_files)

OnStep = Callable[[int, str, str], None]


class LocalRun(NamedTuple):
    """A run that is complete, how long it took, in all and each subdirectory, and what is to be told about it.

    `failed` says why it is reported as failed, `drift` how its columns differ from those of the run before, `ignored`
    which members of archives no pattern takes.
    """

    summary: Summary
    seconds: float
    subdir_seconds: dict[str, float]
    failed: str | None
    drift: Drift | None
    ignored: Ignored


def run_next(feed: Feed, on_run: Callable[[str, bool], OnStep]) -> tuple[LocalRun, list[Exception]]:
    """Do the oldest unfinished run that may go on; where none does, a new run with what has landed.

    A run whose last failure would only repeat itself is passed over. So is one that is tried, and fails again.

    Args:
        feed: the feed, as `start` returned it.
        on_run: is told each run that is tried, and whether it is resumed; returns what is told of its steps.

    Returns:
        The run that is complete, and the errors of those that were tried before it.

    Raises:
        FanfoldError, ExceptionGroup, BusyError: as `run`; the errors of all runs that were tried together.
    """
    failed: list[Exception] = []
    for resumed in [*failures.to_resume(feed), None]:
        ts = resumed or format_ts(datetime.now(UTC))
        try:
            return run(feed, ts, on_run(ts, resumed is not None)), failed
        except (FanfoldError, ExceptionGroup) as error:
            if resumed and isinstance(error, ExceptionGroup) and error.split(FanfoldError)[1]:
                raise
            failed.append(error)
    if len(failed) == 1:
        raise failed[0]
    msg = "runs failed"
    raise ExceptionGroup(msg, failed)


def run(feed: Feed, ts: str, on_step: OnStep) -> LocalRun:
    """Do all steps of a run here and now.

    Args:
        feed: the feed, as `start` returned it.
        ts: execution timestamp of the run.
        on_step: is told subdirectory, step, and `running`, `done`, `skipped` or `failed`.

    Raises:
        FanfoldError: a step before or after the groups failed.
        BusyError: another `fanfold run` does this run, or a task of Airflow a step of it; or it has just completed it.
        ExceptionGroup: groups failed; the others have published and archived.
    """
    wanted, began, seconds = feed.run(ts), time.monotonic(), dict[str, float]()
    with _alone(wanted):
        staged = stage_files(feed, wanted.ts, wait=True)
        store.of(feed).work_alone()
        with _driver(wanted):
            if staged:
                groups = create_dynamic_taskgroups(feed.data_dir, wanted.ts, feed.spec.subdirs)
                seconds = _run_groups(wanted, groups, on_step)
            summary = verify_run(feed.data_dir, wanted.ts, feed.spec.subdirs, feed.spec.tables)
    return LocalRun(summary, time.monotonic() - began, seconds, *_told(wanted))


def _told(run: Run) -> tuple[str | None, Drift | None, Ignored]:
    committed = documents.read_if_there(run.commit_path, Manifest)
    if not committed:
        return None, None, Ignored(0, [])
    return verdict(committed), committed.drift or None, all_ignored({one.name: one.ignored for one in committed.files})


@contextlib.contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Say of a run that another process works on it, or has completed it in this moment.

    Raises:
        BusyError: another process does, or has.
    """
    was_complete = runs.is_complete(run)
    try:
        yield
    except (BusyError, FileNotFoundError, ExceptionGroup) as error:
        if isinstance(error, ExceptionGroup) and error.split((BusyError, FileNotFoundError))[1]:
            raise
        if runs.is_complete(run) and not was_complete:
            msg = f"another process has just finished run {run.ts}: run again to take what has landed since"
        elif isinstance(error, BusyError):
            msg = f"another process works on run {run.ts}: {error}"
        else:
            raise
        raise BusyError(msg) from None


def _driver(run: Run) -> contextlib.AbstractContextManager[None]:
    """Keep a second `fanfold run` from taking groups of this one that have not begun."""
    if runs.is_complete(run) or not run.work_dir.is_dir():
        return contextlib.nullcontext()
    return lease.hold(run.driver_path, does="fanfold run")


def _run_groups(run: Run, groups: Mapping[str, str], on_step: OnStep) -> dict[str, float]:
    # What a step waits for is mostly a core: more threads than cores would take memory, and no time off.
    # In a bucket half of them wait for the store.
    tasks = (os.cpu_count() or 1) * store.of(run.feed).tasks_per_core
    at_once = min(run.feed.spec.concurrent_tasks, len(groups), tasks)
    todo = deque((int(n), 0) for n in groups)
    began, seconds, errors = dict[int, float](), dict[str, float](), dict[int, BaseException]()
    running: dict[Future[Any], tuple[int, int]] = {}
    with _threads(at_once) as pool:
        while todo or running:
            while todo and len(running) < at_once:
                n, step = _next(todo, at_once)
                began.setdefault(n, time.monotonic())
                on_step(n, GROUP_STEPS[step].__name__, "running")
                running[pool.submit(GROUP_STEPS[step], groups[str(n)], run.feed.data_dir)] = n, step
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                n, step = running.pop(future)
                match future.exception():
                    case None:
                        state = "done"
                    case EmptySubdir():
                        state = "skipped"
                    case error:
                        state, errors[n] = "failed", error
                on_step(n, GROUP_STEPS[step].__name__, state)
                if state == "done" and step + 1 < len(GROUP_STEPS):
                    todo.appendleft((n, step + 1))
                else:
                    seconds[str(n)] = time.monotonic() - began[n]
    if errors:
        said = alike({n: f"{type(errors[n]).__name__}: {errors[n]}" for n in sorted(errors)})
        for same in said:
            if len(same) > 1:
                errors[same[0]].add_note(f"this is the error of the groups {', '.join(map(str, same))}")
        failed = BaseExceptionGroup(f"groups of run {run.ts} failed", [errors[same[0]] for same in said])
        failed.add_note(
            f"run {run.ts} is complete, and was changed since: fanfold verify SPEC {run.ts}"
            if runs.is_complete(run)
            else _unfinished(run, f"{len(errors)} of {count(len(groups), 'group')} failed")
        )
        raise failed
    return seconds


def _unfinished(run: Run, failed: str) -> str:
    """Say that a run has its files, and what helps."""
    keeps = " (some of it is published, so it keeps its spec and references)" if runs.has_published(run) else ""
    ways = f"correct the cause and run again{keeps}, or give up the run: fanfold release SPEC {run.ts}"
    return f"run {run.ts} is unfinished, {failed}: {ways}"


@contextlib.contextmanager
def _threads(at_once: int) -> Iterator[Executor]:
    """Start threads; the block waits for what runs on them at its end, but not after Ctrl-C."""
    waits, pool = True, ThreadPoolExecutor(at_once)
    try:
        yield pool
    except KeyboardInterrupt:
        # Every step survives `kill -9`.
        waits = False
        raise
    finally:
        pool.shutdown(waits, cancel_futures=True)


def _next(todo: deque[tuple[int, int]], at_once: int) -> tuple[int, int]:
    """Take the step that is next: a group that has begun is finished before another begins.

    But the last ones begin at once: one that began when all others are done would work alone.
    """
    new = [group for group in todo if group[1] == 0]
    chosen = new[0] if 0 < len(new) < at_once else todo[0]
    todo.remove(chosen)
    return chosen
