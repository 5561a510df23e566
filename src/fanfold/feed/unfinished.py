"""Runs that could not go on: why, whether the cause may be gone, and what they take up when they are tried again."""

import contextlib
import hashlib
import importlib.metadata
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from fanfold import durable, manifest
from fanfold.errors import EmptySubdir, FanfoldError, SpecError
from fanfold.feed import claim, runs
from fanfold.feed.runs import Reason
from fanfold.layout import Feed, Group, Run
from fanfold.manifest import Cause, Failure, Files
from fanfold.spec.model import KEPT_KEYS, Spec, by_key, changes, with_kept

log = logging.getLogger(__name__)


@contextlib.contextmanager
def noted(place: Run | Group, step: str) -> Iterator[None]:
    """Write down why a step cannot go on, for a reason of data or spec; a step that ends well removes the note.

    Args:
        place: the run, or the group where the step works on one.
        step: name of the step.
    """
    run, n = (place.run, place.n) if isinstance(place, Group) else (place, None)
    path, began = place.failure_path, time.time_ns()
    try:
        yield
    except EmptySubdir:
        raise
    except FanfoldError as error:
        # Where there is no room for the note, the reason is still told.
        with contextlib.suppress(OSError):
            cause = _cause(run, n, _staged_files(run), run.feed.spec, began)
            durable.write(path, manifest.encode(Failure(step, n, str(error), cause)))
        raise
    durable.remove(path)


def is_stuck(feed: Feed, ts: str) -> bool:
    """Say whether an unfinished run would only fail again: nothing that its failures depended on has changed.

    A run is not stuck while one of its groups may go on.
    """
    run = runs.open_run(feed.data_dir, ts)
    if run is None or runs.is_complete(run):
        return False
    same, names = _unchanged(feed, run), _staged_files(run)
    left: list[int | None] = []
    if run.schema_path.exists() and not run.release_path.exists():
        left += [n for n, its in names.items() if runs.group_state(run.group(n), its) != "archived"]
    return all(n in same for n in left or [None])


def warn(feed: Feed, but: str) -> None:
    """Name the unfinished runs in the log, all but one; of those that cannot go on, with the reason."""
    going = []
    for ts in runs.unfinished(feed):
        if ts != but and is_stuck(feed, ts):
            log.warning(
                "run %s is passed over: %s (to try it again: fanfold run SPEC --ts %s; to give it up: fanfold release "
                "SPEC %s)",
                ts,
                "; ".join(map(told, runs.failures(runs.open_run(feed.data_dir, ts) or feed.run(ts)))),
                ts,
                ts,
            )
        elif ts != but:
            going.append(ts)
    if going:
        log.warning("unfinished runs: %s (fanfold run resumes the oldest, fanfold release gives one up)", going)


def told(failure: Failure | Reason) -> str:
    """Say in which step a run failed, and why."""
    return f"{failure.step}{f' of subdirectory {failure.subdir}' if failure.subdir else ''}: {failure.message}"


def kept(feed: Feed, ts: str) -> str | None:
    """Say, of a run that has published, how its spec differs from what it is now; None where it does not."""
    run = runs.open_run(feed.data_dir, ts)
    changed = changes(run.feed.spec, feed.spec) if run and runs.has_published(run) else {}
    if not changed:
        return None
    return (
        f"run {ts} has published, so it keeps the spec of its beginning; changed since: {'; '.join(changed.values())}. "
        f"To use the changed spec for what is not published, give the run up: fanfold release SPEC {ts}"
    )


def what_next(feed: Feed, ts: str) -> str:
    """Say what helps where a task of a run has failed, in the words of Airflow."""
    if note := kept(feed, ts):
        return note
    run = runs.open_run(feed.data_dir, ts)
    if run is None or runs.has_published(run):
        return f"Mend the cause and clear this task with its downstream, or give the run up: fanfold release SPEC {ts}"
    return (
        "Mend the file and clear merge_data of its group with its downstream; or change the spec or a reference and "
        f"clear create_dynamic_taskgroups with its downstream; or give the run up: fanfold release SPEC {ts}"
    )


def take_up(feed: Feed, ts: str) -> None:
    """Prepare a run anew where its spec, or what made it fail, has changed, as long as nothing of it is published.

    What was derived is gone before the new spec is there: a call that was cut short is completed by the next.

    Raises:
        SpecError: the changed spec does not fit what a run keeps.
        BusyError: another process works on the run.
    """
    run = runs.open_run(feed.data_dir, ts)
    if run is None or runs.is_complete(run) or run.release_path.exists():
        return
    if runs.has_published(run):
        if note := kept(feed, ts):
            log.warning("%s", note)
        return
    changed = changes(run.feed.spec, feed.spec)
    stays = "; ".join([changed.pop(key) for key in KEPT_KEYS if key in changed])
    if stays:
        log.warning("run %s keeps what it began with: %s (to give it up: fanfold release SPEC %s)", ts, stays, ts)
    if not changed and {failure.subdir for failure in runs.failures(run)} == _unchanged(feed, run):
        return
    spec = with_kept(run.feed.spec, feed.spec) if changed else run.feed.spec
    with runs.owned(run, "stage_files", run.driver_path):
        if runs.has_published(run):
            return
        if changed:
            log.warning("run %s goes on with the spec as it is now: %s", ts, "; ".join(changed.values()))
        forget(run)
        durable.write(run.spec_path, runs.encode_spec(spec))


def forget(run: Run) -> None:
    """Remove what was derived from spec, files and references; the schema first, with which the groups are prepared."""
    if run.schema_path.exists():
        durable.remove(run.schema_path)
        durable.sync_dirs({run.work_dir})
    for group in run.groups:
        durable.discard(group.quarantined_records_path)
        durable.discard(group.output_path)
    for directory in [run.references_dir, *(group.work_dir for group in run.groups)]:
        # This call may hold the lease.
        durable.empty(directory, but=run.lease_path.name)
    durable.remove(run.failure_path)


def _groups(run: Run) -> list[int]:
    return list(range(1, run.feed.spec.subdirs + 1))


def _staged_files(run: Run) -> dict[int, list[str]]:
    """Return the names of the files that each group was given."""
    names: dict[int, list[str]] = {}
    for file in manifest.read(run.files_path, Files).files:
        names.setdefault(file.subdir, []).append(file.name)
    return names


def _unchanged(feed: Feed, run: Run) -> set[int | None]:
    """Return the groups (None is the whole run) that failed, and whose causes are as they were then."""
    published, names, spec = runs.has_published(run), _staged_files(run), run.feed.spec
    if not published:
        with contextlib.suppress(SpecError):
            spec = with_kept(spec, feed.spec)
    same = set()
    for failure in runs.failures(run):
        now, then = _cause(run, failure.subdir, names, spec), failure.cause
        # Once something is published, the references are frozen for good.
        if now == (msgspec.structs.replace(then, references=now.references) if published else then):
            same.add(failure.subdir)
    return same


def _cause(run: Run, n: int | None, names: Mapping[int, list[str]], spec: Spec, began: int | None = None) -> Cause:
    """Return what a step depends on, as hashes.

    What changes while a step runs counts as changed afterwards too: its hash is empty where it changed since `began`.
    """
    references = [run.feed.data_dir / merged.reference for merged in spec.merge]
    staged = list(_staged(run, n))
    places = sorted([*staged, *_places(run, n, names)])
    return Cause(
        spec=_digest(sorted(by_key(spec).items())),
        files="" if _changed_since(began, staged) else _digest([(str(path), _state(path)) for path in places]),
        references="" if _changed_since(began, references) else _digest([_state(path) for path in references]),
        fanfold=importlib.metadata.version("fanfold"),
    )


def _changed_since(began: int | None, paths: list[Path]) -> bool:
    return began is not None and any(state[-1] >= began for path in paths if (state := _state(path)))


def _staged(run: Run, n: int | None) -> Iterator[Path]:
    for group in _groups(run) if n is None else [n]:
        for folder, _, names in os.walk(run.group(group).subdir_dir):
            yield from (Path(folder, name) for name in names)


def _places(run: Run, n: int | None, names: Mapping[int, list[str]]) -> Iterator[Path]:
    """Yield where a step looks beside staging: at originals in the archive, at what is published and quarantined."""
    groups = _groups(run) if n is None else [n]
    for name in (name for group in groups for name in names.get(group, ())):
        yield run.archive_path(name)
        if run.release_path.exists():
            yield run.feed.landing_dir / name
    yield from (run.group(group).output_path for group in groups)
    for group in groups:
        yield from run.group(group).quarantine_dir.rglob("*")
    # What lies in the output beside its own table is not a group's business.
    yield from run.output_dir.glob("*") if n is None else ()


def _state(path: Path) -> tuple[int, int, int, int] | None:
    try:
        return claim.version(path.lstat())
    except OSError:
        return None


def _digest(found: object) -> str:
    return hashlib.sha256(repr(found).encode(errors="surrogateescape")).hexdigest()
