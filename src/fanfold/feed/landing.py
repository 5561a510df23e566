"""Landing: which files are ready, which are not yet, and which this process cannot take."""

import contextlib
import errno
import functools
import itertools
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fanfold import mirrors
from fanfold.errors import MissingError
from fanfold.feed.access import is_writable, who_am_i
from fanfold.input_formats import is_hidden, taken_by
from fanfold.mirrors import Landed

log = logging.getLogger(__name__)

SHOWN_NAMES = 3
SHOWN_REASONS = 10
NOT_A_FILE = "not a regular file, but a link or a pipe: land the file itself"
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


def scan_landing(
    landing_dir: Path, patterns: list[str], settle_seconds: float, done_suffix: str | None = None
) -> Landing:
    """List the files in all sub-folders: those that match one of `patterns`, and the others. Nothing is changed.

    Hidden names, unfinished downloads (`.part`, `.tmp`, `.crdownload`, `~`) and, with a `done_suffix`, the markers are
    passed over. Held are links and all else that is not a regular file, names that are not UTF-8, what this process may
    not read, or not rename out of its folder, itself or its marker, and what changed at a time that is still to come. A
    file settles by the later of its mtime and ctime, by its ctime where
    its mtime is still to come.

    Raises:
        MissingError: there is no such directory.
    """
    if not landing_dir.is_dir():
        msg = f"{str(landing_dir)!r} is not a directory, expected the landing directory (input.path)"
        raise MissingError(msg)
    ready: list[LandedFile] = []
    settling: dict[str, float] = {}
    held: dict[str, list[str]] = {}
    mirror = mirrors.of(landing_dir)
    entries = mirror.landing() if mirror else _entries(str(landing_dir), held)
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
            if reason := next(filter(None, (one.held for one in (file, *marker))), None):
                held.setdefault(reason, []).append(name)
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


def _entries(landing_dir: str, held: dict[str, list[str]]) -> dict[str, Callable[[], Landed]]:
    look = functools.cache(lambda folder: (is_writable(folder), os.lstat(folder)))
    return {name: functools.partial(_landed, name, entry, look) for name, entry in _walk(landing_dir, "", held)}


def _walk(directory: str, folder: str, held: dict[str, list[str]]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield files with their names: `folder`, which ends in a slash, is what those of a directory begin with."""
    try:
        found = os.scandir(directory)
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENAMETOOLONG}:
            raise
        held.setdefault(error.strerror or "", []).append(directory)
        return
    with found as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            name = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{name}/", held)
            else:
                yield name, entry


def _landed(name: str, entry: os.DirEntry[str], look: Callable[[str], tuple[bool, os.stat_result]]) -> Landed:
    if reason := _held(name, entry, look):
        return Landed(reason)
    info = entry.stat(follow_symlinks=False)
    return Landed(None, info.st_size, info.st_mtime, info.st_ctime)


def _held(name: str, entry: os.DirEntry[str], look: Callable[[str], tuple[bool, os.stat_result]]) -> str | None:
    """Say why a file cannot be taken: by rule where a rule says it, not by trying. `look` tells of its folder."""
    folder, me = entry.path.rpartition("/")[0], os.geteuid()
    if not entry.is_file(follow_symlinks=False):
        return NOT_A_FILE
    if name != name.encode(errors="replace").decode():
        return "its name is not UTF-8"
    if not os.access(entry.path, os.R_OK, effective_ids=True):
        return f"{who_am_i()} may not read it"
    may_write, info = look(folder)
    if not may_write:
        return f"{who_am_i()} may not write into {folder!r}, so it cannot move a file out: allow it"
    if info.st_mode & stat.S_ISVTX and me not in {0, info.st_uid, entry.stat(follow_symlinks=False).st_uid}:
        whose = f"only the owner of a file may move it, and Fanfold runs as {who_am_i()}"
        return f"{folder!r} is sticky: {whose}: chmod -t"
    return None
