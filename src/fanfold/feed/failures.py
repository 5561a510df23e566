"""Why a run has not ended, on disk: what a step that failed said, and whether what it depended on has changed since."""

import contextlib
import hashlib
import importlib.metadata
import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from fanfold import documents, durable, mirrors
from fanfold.errors import BusyError, EmptySubdir, FanfoldError, SpecError, StoreError, trouble
from fanfold.feed import groups, runs, store
from fanfold.feed.claimed import version
from fanfold.layout import Feed, Group, Run
from fanfold.spec.changes import changes, with_kept
from fanfold.working_files import Failure

# Paths, each with its state; None where nothing is there.
States = list[tuple[str, tuple[int, int, int, int] | None]]


@contextlib.contextmanager
def recorded(place: Run | Group, step: str) -> Iterator[None]:
    """Write down why a step failed; remove the reason when the step succeeds.

    Args:
        place: the run, or the group where the step works on one.
        step: name of the step.

    Raises:
        BusyError: in a bucket, the step failed because another process has ended or continued the run.
    """
    began = time.time_ns()
    try:
        with trouble_recorded(place, step):
            yield
    except EmptySubdir:
        raise
    except FanfoldError as error:
        run = place.run if isinstance(place, Group) else place
        if not store.of(run.feed).holds(run):
            msg = f"another process has ended or continued run {run.ts}: try again"
            raise BusyError(msg) from error
        _write_down(place, step, error, began)
        raise
    durable.remove(place.failure_path)


@contextlib.contextmanager
def trouble_recorded(place: Run | Group, step: str) -> Iterator[None]:
    """Write down a problem that may go away by itself; remove it when the step succeeds.

    Args:
        place: as for `recorded`.
        step: as for `recorded`.
    """
    try:
        yield
    # A busy run belongs to another process, a store that does not answer takes no reason, and a missing file may mean
    # that the run is gone.
    except (BusyError, StoreError, FileNotFoundError):
        raise
    except OSError as error:
        _write_down(place, step, error)
        raise
    failed = documents.read_if_there(place.failure_path, Failure)
    if failed and failed.passing:
        durable.remove(place.failure_path)


def _write_down(place: Run | Group, step: str, error: FanfoldError | OSError, began: float = math.inf) -> None:
    n = place.n if isinstance(place, Group) else None
    # On a full disk, the error is still raised.
    with contextlib.suppress(OSError):
        # Without a folder there is no run to go on with.
        if place.failure_path.parent.is_dir():
            if isinstance(error, OSError):
                failure = Failure(step, n, mirrors.named(trouble(error)), passing=True)
            else:
                failure = Failure(step, n, mirrors.named(str(error)), *_causes(place, began))
            durable.write(place.failure_path, documents.encode(failure))


def of_run(run: Run) -> list[Failure]:
    """Return why an unfinished run has not ended: first the whole run, then each group."""
    paths = [run.failure_path, *(group.failure_path for group in run.groups)]
    return [failure for path in paths if (failure := documents.read_if_there(path, Failure))]


def to_resume(feed: Feed) -> list[str]:
    """Return the unfinished runs that may continue, the oldest first."""
    return [ts for ts in runs.unfinished(feed) if not is_stuck(feed, ts)]


def is_stuck(feed: Feed, ts: str) -> bool:
    """Say whether an unfinished run would only fail again, since nothing that its failures depended on has changed.

    A run is not stuck while one of its groups may go on.
    """
    run = runs.open_run(feed.data_dir, ts)
    if run is None or runs.is_complete(run):
        return False
    left: list[int | None] = []
    if run.schema_path.exists() and not run.release_path.exists():
        names = runs.staged_names(run)
        left += [n for n in names if groups.last_finished(run.group(n), names[n]) != "archived"]
    return set(left or [None]) <= unchanged(feed, run)


def unchanged(feed: Feed, run: Run) -> set[int | None]:
    """Return the groups (None is the whole run) that failed, and whose causes are as they were then."""
    # Once something is published, spec and references are frozen for good.
    is_frozen = runs.has_published(run)
    if not is_frozen and _has_new_spec(feed, run):
        return set()
    same = set()
    for failure in of_run(run):
        if failure.passing:
            continue
        files, references = _causes(run.group(failure.subdir) if failure.subdir else run)
        if files == failure.files and (is_frozen or references == failure.references):
            same.add(failure.subdir)
    return same


def _has_new_spec(feed: Feed, run: Run) -> bool:
    # One that does not fit what the run keeps helps nothing.
    with contextlib.suppress(SpecError):
        return bool(changes(run.feed.spec, with_kept(run.feed.spec, feed.spec)))
    return False


def _causes(place: Run | Group, began: float = math.inf) -> tuple[str, str]:
    """Return what a step depends on, as two hashes: of files and of references, each with the version of Fanfold.

    What changes while a step runs counts as changed afterwards too: its hash is empty where it changed since `began`.
    """
    run, members = (place.run, [place]) if isinstance(place, Group) else (place, place.groups)
    staged = _states(_files_in(group.subdir_dir for group in members))
    references = _states(run.feed.data_dir / merged.reference for merged in run.feed.spec.merge)
    # What lies in the output beside its own table is not a group's business.
    seen = _states([*_seen_beside_staging(run, members), *(run.output_dir.glob("*") if place is run else ())])
    return (
        "" if _has_changed(staged, began) else _digest(sorted(staged + seen, key=repr)),
        "" if _has_changed(references, began) else _digest(references),
    )


def _seen_beside_staging(run: Run, members: list[Group]) -> Iterator[Path]:
    """Yield where a step looks beside staging: at originals in the archive, at what is published and quarantined."""
    names = runs.staged_names(run)
    for name in (name for group in members for name in names.get(group.n, ())):
        yield run.archive_path(name)
        if run.release_path.exists():
            yield run.feed.landing_dir / name
    yield from (path for group in members for path in group.output_paths)
    yield from _files_in(group.quarantine_dir for group in members)


def _files_in(folders: Iterable[Path]) -> Iterator[Path]:
    for top in folders:
        for folder, _, names in os.walk(top):
            yield from (Path(folder, name) for name in names)


def _states(paths: Iterable[Path]) -> States:
    states: States = []
    for path in paths:
        # The folder that stands for a bucket is another one each time.
        name = mirrors.named(str(path))
        try:
            states.append((name, version(mirrors.lstat(path))))
        except OSError:
            states.append((name, None))
    return states


def _has_changed(states: States, began: float) -> bool:
    return any(state and state[-1] >= began for _, state in states)


def _digest(states: States) -> str:
    found = importlib.metadata.version("fanfold"), states
    return hashlib.sha256(repr(found).encode(errors="surrogateescape")).hexdigest()
