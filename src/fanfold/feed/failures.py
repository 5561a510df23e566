"""Why a run cannot go on, on disk: what a step that failed said, and whether what it depended on has changed since."""

import contextlib
import hashlib
import importlib.metadata
import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from fanfold import durable, manifest
from fanfold.errors import EmptySubdir, FanfoldError, SpecError
from fanfold.feed import claim, groups, runs
from fanfold.layout import Feed, Group, Run
from fanfold.manifest import Cause, Failure
from fanfold.spec.model import Spec, by_key, with_kept

# A path, and its state there; None where there is none.
States = list[tuple[str, tuple[int, int, int, int] | None]]


@contextlib.contextmanager
def recorded(place: Run | Group, step: str) -> Iterator[None]:
    """Write down why a step cannot go on, for a reason of data or spec; a step that ends well removes it again.

    Args:
        place: the run, or the group where the step works on one.
        step: name of the step.
    """
    began = time.time_ns()
    try:
        yield
    except EmptySubdir:
        raise
    except FanfoldError as error:
        run, n = (place.run, place.n) if isinstance(place, Group) else (place, None)
        # Where there is no room on the disk, the reason is still told.
        with contextlib.suppress(OSError):
            failure = Failure(step, n, str(error), _cause(place, run.feed.spec, began))
            durable.write(place.failure_path, manifest.encode(failure))
        raise
    durable.remove(place.failure_path)


def of_run(run: Run) -> list[Failure]:
    """Return why an unfinished run cannot go on: as a whole, then each group."""
    paths = [run.failure_path, *(group.failure_path for group in run.groups)]
    return [failure for path in paths if (failure := manifest.read_if_there(path, Failure))]


def is_stuck(feed: Feed, ts: str) -> bool:
    """Say whether an unfinished run would only fail again: nothing that its failures depended on has changed.

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
    has_published, spec = runs.has_published(run), run.feed.spec
    if not has_published:
        with contextlib.suppress(SpecError):
            spec = with_kept(spec, feed.spec)
    same = set()
    for failure in of_run(run):
        now, then = _cause(run.group(failure.subdir) if failure.subdir else run, spec), failure.cause
        # Once something is published, the references are frozen for good.
        if now == (msgspec.structs.replace(then, references=now.references) if has_published else then):
            same.add(failure.subdir)
    return same


def _cause(place: Run | Group, spec: Spec, began: float = math.inf) -> Cause:
    """Return what a step depends on, as hashes.

    What changes while a step runs counts as changed afterwards too: its hash is empty where it changed since `began`.
    """
    run, members = (place.run, [place]) if isinstance(place, Group) else (place, place.groups)
    staged = _states(_files_in(group.subdir_dir for group in members))
    references = _states(run.feed.data_dir / merged.reference for merged in spec.merge)
    # What lies in the output beside its own table is not a group's business.
    seen = [*_seen_beside_staging(run, members), *(run.output_dir.glob("*") if place is run else ())]
    return Cause(
        spec=_digest(sorted(by_key(spec).items())),
        files="" if _has_changed(staged, began) else _digest(sorted(staged + _states(seen), key=repr)),
        references="" if _has_changed(references, began) else _digest(references),
        fanfold=importlib.metadata.version("fanfold"),
    )


def _seen_beside_staging(run: Run, members: list[Group]) -> Iterator[Path]:
    """Yield where a step looks beside staging: at originals in the archive, at what is published and quarantined."""
    names = runs.staged_names(run)
    for name in (name for group in members for name in names.get(group.n, ())):
        yield run.archive_path(name)
        if run.release_path.exists():
            yield run.feed.landing_dir / name
    yield from (group.output_path for group in members)
    yield from _files_in(group.quarantine_dir for group in members)


def _files_in(folders: Iterable[Path]) -> Iterator[Path]:
    for top in folders:
        for folder, _, names in os.walk(top):
            yield from (Path(folder, name) for name in names)


def _states(paths: Iterable[Path]) -> States:
    states: States = []
    for path in paths:
        try:
            states.append((str(path), claim.version(path.lstat())))
        except OSError:
            states.append((str(path), None))
    return states


def _has_changed(states: States, began: float) -> bool:
    return any(state and state[-1] >= began for _, state in states)


def _digest(found: object) -> str:
    return hashlib.sha256(repr(found).encode(errors="surrogateescape")).hexdigest()
