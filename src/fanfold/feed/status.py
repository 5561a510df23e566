"""What `fanfold status` prints: every run, how far it has got, and why it has failed."""

import os.path
from typing import Literal

import msgspec

from fanfold import documents
from fanfold.feed import failures, groups, runs
from fanfold.feed import purged as purging
from fanfold.feed.verdict import verdict
from fanfold.layout import Feed
from fanfold.manifest import Manifest
from fanfold.working_files import Reason


class RunStatus(msgspec.Struct, frozen=True):
    """How far a run has got, and why it failed.

    `groups` gives the step that each subdirectory with files has reached. A complete run has failed if too much of it
    is bad.
    """

    ts: str
    state: Literal["unfinished", "complete"]
    files: int
    records: int | None
    rows: int | dict[str, int] | None
    groups: dict[str, str]
    released: int = 0
    failed: list[Reason] = []
    purged: list[purging.Kind] = []


def status(feed: Feed) -> list[RunStatus]:
    """Describe every run: the unfinished ones first, each kind from the oldest to the newest."""
    waiting = runs.unfinished(feed)
    complete = [ts for ts in runs.complete(feed) if ts not in waiting]
    return [status_of(feed, ts) for ts in [*waiting, *complete]]


def status_of(feed: Feed, ts: str) -> RunStatus:
    """Describe a run; a run that has staged nothing is unfinished, and has no files."""
    run = feed.run(ts)
    is_left = run.staging_dir.is_dir() or not runs.is_complete(run)
    return _unfinished(feed, ts) if is_left else _complete(feed, ts)


def waiting(feed: Feed, ts: str) -> int:
    """Return how many files of an unfinished run lie in staging: the others are archived, or were never claimed."""
    run = runs.open_run(feed.data_dir, ts) or feed.run(ts)
    names = runs.staged_names(run)
    return sum(os.path.lexists(run.group(n).staged_path(name)) for n in names for name in names[n])


def _unfinished(feed: Feed, ts: str) -> RunStatus:
    run = runs.open_run(feed.data_dir, ts) or feed.run(ts)
    names = runs.staged_names(run)
    reached = {str(n): groups.last_finished(run.group(n), names[n]) for n in sorted(names)}
    failed = [Reason(failure.step, failure.subdir, failure.message) for failure in failures.of_run(run)]
    return RunStatus(ts, "unfinished", sum(map(len, names.values())), None, None, reached, failed=failed)


def _complete(feed: Feed, ts: str) -> RunStatus:
    committed = documents.read(feed.run(ts).commit_path, Manifest)
    summary, message = committed.summary, verdict(committed)
    reached = {n: "archived" for n, subdir in summary.subdirs.items() if subdir.files}
    failed = [Reason("verify_run", None, message)] if message else []
    counts = summary.files_in, summary.records_in, summary.rows_out
    return RunStatus(ts, "complete", *counts, reached, len(committed.released), failed, purging.kinds(feed.run(ts)))
