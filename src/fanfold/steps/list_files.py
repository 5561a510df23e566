"""The step that lists what lies in landing, and what of it a run takes, or was given."""

import functools
import itertools
import logging
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from fanfold import documents, durable
from fanfold.errors import count
from fanfold.feed import landing, not_taken
from fanfold.feed.landing import LandedFile, Landing
from fanfold.layout import Feed, Run, format_ts
from fanfold.manifest import Manifest
from fanfold.working_files import Files

log = logging.getLogger(__name__)

# A file is surely ready when it is looked at this much later.
LATER_SECONDS = 0.01
# Who waits longer is told so.
SILENT_SECONDS = 3
# A file is written under a hidden name first; this is also more than the name of a reason is longer than that in the
# archive.
ADDED_BYTES = len("..tmp")


# What is wrong with a file that can never leave landing.
NAME_TOO_LONG = "its name is too long for what is added to it (archive.name); shorten it"


class Taken(NamedTuple):
    """The files that a run takes, and the names of those that it leaves to the next one, both in the order of names."""

    files: list[LandedFile]
    later: list[str]


def list_files(feed: Feed, ts: str | None = None) -> Landing:
    """List what lies in landing: the files that are ready, and why others are not.

    Args:
        feed: the feed.
        ts: execution timestamp of the run that would take them; None: of one that begins now.
    """
    wanted, run = feed.spec.input, feed.run(ts or format_ts(datetime.now(UTC)))
    found = landing.scan_landing(feed)
    last, added = run.groups[-1], max(ADDED_BYTES, len(os.fsencode(wanted.done_suffix or "")))

    @functools.cache
    def room(folder: str) -> int:
        ends = (last.subdir_dir, feed.archive_dir, last.quarantine_dir)
        return min(durable.longest_name(directory / folder) for directory in ends) - added

    def has_place(file: LandedFile) -> bool:
        folder, _, _ = file.name.rpartition("/")
        return len(os.fsencode(run.archived_name(file.name).rpartition("/")[2])) <= room(folder)

    ready = list(filter(has_place, found.ready))
    too_long = sorted({file.name for file in found.ready}.difference(file.name for file in ready))
    return found._replace(ready=ready, held=found.held | ({NAME_TOO_LONG: too_long} if too_long else {}))


def list_ready(feed: Feed, ts: str, *, wait: bool = False) -> list[LandedFile]:
    """List the files that a run takes; the log says which others there are, and why they stay in landing.

    Args:
        feed: the feed.
        ts: execution timestamp of the run.
        wait: whether to wait for the files that are still settling.
    """
    found = list_files(feed, ts)
    soon = [seconds for seconds in found.settling.values() if seconds <= feed.spec.input.settle_seconds]
    if wait and soon:
        if max(soon) > SILENT_SECONDS:
            settling = f"{count(len(soon), 'file')} {'has' if len(soon) == 1 else 'have'} settled"
            log.warning("the run waits %.0f seconds, until %s (input.settle_seconds)", max(soon), settling)
        time.sleep(max(soon) + LATER_SECONDS)
        found = list_files(feed, ts)
    landing.warn(found.held)
    taken = take(feed.run(ts), found.ready)
    if stay := not_taken.told(found, taken.later, held=False):
        log.info("in landing %s", stay)
    return taken.files


def take(run: Run, ready: Iterable[LandedFile]) -> Taken:
    """Say which of the files that are ready a run takes, in the order of their names: up to its limits, at least one.

    Of those that have one name in the archive it takes the first; a warning says which waits for the next run.
    """
    first: dict[str, LandedFile] = {}
    twice = []
    for file in ready:
        if (of := first.setdefault(run.archived_name(file.name), file)) != file:
            log.warning("%r waits for the next run: in the archive it is named like %r", file.name, of.name)
            twice.append(file.name)
    files, limits = [*first.values()], run.feed.spec.input
    most_files, most_bytes = limits.max_files or len(files), limits.max_bytes
    sums = itertools.accumulate(file.size_bytes for file in files[:most_files])
    taken = max(1, sum(1 for size in sums if most_bytes is None or size <= most_bytes))
    return Taken(files[:taken], sorted([file.name for file in files[taken:]] + twice))


def list_run(feed: Feed, ts: str) -> list[LandedFile]:
    """List the files of a run: those that it was given or, before it was given any, those that it would take now."""
    given = _given(feed, ts)
    return list_ready(feed, ts) if given is None else given


def is_ready(feed: Feed, ts: str) -> bool:
    """Say whether a run has files, or a file is ready for it."""
    return bool(list_files(feed, ts).ready if (given := _given(feed, ts)) is None else given)


def _given(feed: Feed, ts: str) -> list[LandedFile] | None:
    run = feed.run(ts)
    known = documents.read_if_there(run.commit_path, Manifest) or documents.read_if_there(run.files_path, Files)
    return [LandedFile(file.name, file.size_bytes) for file in known.files] if known else None
