"""Landing: which files are ready, which are not yet, and which this process cannot take."""

import contextlib
import itertools
import logging
import time
from collections.abc import Mapping
from typing import NamedTuple

from fanfold.feed import store
from fanfold.input_formats import taken_by
from fanfold.layout import Feed

log = logging.getLogger(__name__)

SHOWN_NAMES = 3
SHOWN_REASONS = 10
CHANGED_IN_FUTURE = "its time of change is in the future: set the clock right"


class LandedFile(NamedTuple):
    """A file in landing: its name there, with sub-folders, and its size."""

    name: str
    size_bytes: int


class Landing(NamedTuple):
    """What lies in landing.

    `ready` is sorted by name; `settling` says in how many seconds each may be ready; `held` are names that this process
    cannot take, by the reason; `unmarked` wait for their marker; `ignored` are taken by no pattern.
    """

    ready: list[LandedFile]
    settling: dict[str, float]
    held: dict[str, list[str]]
    unmarked: list[str] = []  # noqa: RUF012 - a NamedTuple is not changed
    ignored: list[str] = []  # noqa: RUF012

    @property
    def waiting(self) -> int:
        """The number of files that patterns take and that are not ready."""
        return len(self.settling) + len(self.unmarked) + sum(map(len, self.held.values()))


def warn(held: Mapping[str, list[str]]) -> None:
    """Log one warning for each reason why files stay in landing; of many reasons, the first are named."""
    for reason, names in itertools.islice(held.items(), SHOWN_REASONS):
        more = len(names) - SHOWN_NAMES
        stay = f"and {more:,} more stay" if more > 0 else "stay" if len(names) > 1 else "stays"
        log.warning("%s %s in landing: %s", ", ".join(map(repr, names[:SHOWN_NAMES])), stay, reason)
    if len(held) > SHOWN_REASONS:
        count = sum(map(len, held.values()))
        log.warning("%d files stay in landing, in %d folders; the first %d are named", count, len(held), SHOWN_REASONS)


def scan_landing(feed: Feed) -> Landing:
    """List the files in all sub-folders: those that a pattern takes, and the others. Nothing is changed.

    Hidden names, unfinished downloads (`.part`, `.tmp`, `.crdownload`, `~`) and, with a `done_suffix`, the markers are
    passed over. Held are links and all else that is not a regular file, names that are not UTF-8, what this process may
    not read, or not rename out of its folder, itself or its marker, and what changed at a time that is still to come. A
    file settles by the later of its mtime and ctime, by its ctime where
    its mtime is still to come.

    Raises:
        MissingError: there is no such directory.
    """
    settings = feed.spec.input
    patterns, done_suffix, settle_seconds = settings.patterns, settings.done_suffix, settings.settle_seconds
    ready: list[LandedFile] = []
    settling: dict[str, float] = {}
    entries, held = store.of(feed).landing()
    unmarked: list[str] = []
    ignored: list[str] = []
    wanted = taken_by(patterns)
    for name in entries:
        parts = [name, name + done_suffix] if done_suffix else [name]
        if done_suffix and name.endswith(done_suffix):
            continue
        is_wanted = wanted.match(name.rpartition("/")[2])
        if not is_wanted or parts[-1] not in entries:
            (unmarked if is_wanted else ignored).append(name)
            continue
        with contextlib.suppress(FileNotFoundError):
            file, *marker = [entries[part]() for part in parts]
            # A marker that cannot be taken is named itself.
            if wrong := [(one.held, part) for one, part in zip((file, *marker), parts, strict=True) if one.held]:
                reason, part = wrong[0]
                held.setdefault(reason, []).append(part)
                continue
            now = time.time()
            # A writer may give its file any mtime, but not its ctime. A time to come says nothing of the last change.
            changed = file.ctime if file.mtime > now else max(file.mtime, file.ctime)
            wait = changed + settle_seconds - now if settle_seconds else 0.0
            if wait > 0 and changed > now:
                held.setdefault(CHANGED_IN_FUTURE, []).append(name)
            elif wait > 0:
                settling[name] = wait
            else:
                ready.append(LandedFile(name, file.size_bytes))
    reasons = {reason: sorted(names) for reason, names in sorted(held.items())}
    return Landing(sorted(ready), settling, reasons, sorted(unmarked), sorted(ignored))
