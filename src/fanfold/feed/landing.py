"""Landing: which files are ready, which are not yet, and what this process may do there."""

import contextlib
import errno
import fnmatch
import functools
import itertools
import logging
import os
import pwd
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from fanfold.durable import AnyPath
from fanfold.errors import MissingError, PathError

log = logging.getLogger(__name__)


SHOWN_NAMES = 3


SHOWN_REASONS = 10


CAP_FOWNER = 3


AHEAD = "it changed at a time that is still to come: set the clock right"


UNFINISHED = (".part", ".tmp", ".crdownload", "~")


class LandedFile(NamedTuple):
    """A file in landing: its name there, with sub-folders, and its size."""

    name: str
    size_bytes: int


class Landing(NamedTuple):
    """What lies in landing.

    `ready` is sorted by name; `settling` says in how many seconds each may be ready; `held` are names that this process
    cannot take, by the reason.
    """

    ready: list[LandedFile]
    settling: dict[str, float]
    held: dict[str, list[str]]


def warn(held: Mapping[str, list[str]]) -> None:
    """Log one warning for each reason why files stay in landing, however many they are; of many reasons, the first."""
    for reason, names in itertools.islice(held.items(), SHOWN_REASONS):
        shown = ", ".join(repr(name) if _is_utf8(name) else ascii(name) for name in names[:SHOWN_NAMES])
        stay = "stays" if len(names) == 1 else f"and {len(names) - SHOWN_NAMES:,} more stay"
        stay = "stay" if 1 < len(names) <= SHOWN_NAMES else stay
        log.warning("%s %s in landing: %s", shown, stay, reason)
    if len(held) > SHOWN_REASONS:
        count = sum(len(names) for names in held.values())
        log.warning("%d files stay in landing, in %d folders; the first %d are named", count, len(held), SHOWN_REASONS)


def scan_landing(
    landing_dir: Path, patterns: list[str], settle_seconds: float, done_suffix: str | None = None
) -> Landing:
    """List the files that match one of `patterns`, in all sub-folders. Nothing is changed.

    Hidden names, unfinished downloads (`.part`, `.tmp`, `.crdownload`, `~`), links, and everything that is not a
    regular file are passed over; so are, with a `done_suffix`, files without their marker, and the markers. Held are
    names that are not UTF-8, what this process may not read, or not rename out of its folder, itself or its marker, and
    what changed at a time that is still to come. A file settles by the later of its mtime and ctime, by its ctime where
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
    entries = {name: (entry, folder) for name, entry, folder in _walk(str(landing_dir), "", held)}
    wanted = re.compile("|".join(map(fnmatch.translate, patterns)))
    for name, (entry, folder) in entries.items():
        if not patterns or not wanted.match(entry.name):
            continue
        if done_suffix and (name.endswith(done_suffix) or name + done_suffix not in entries):
            continue
        marker = entries[name + done_suffix] if done_suffix else None
        with contextlib.suppress(FileNotFoundError):
            if reason := _held(name, entry, folder) or (marker and _held(name, *marker)):
                held.setdefault(reason, []).append(name)
                continue
            info = entry.stat(follow_symlinks=False)
            now = time.time()
            # A writer may give its file any mtime, but not its ctime. A time to come says nothing of the last change.
            changed = info.st_ctime if info.st_mtime > now else max(info.st_mtime, info.st_ctime)
            wait = changed + settle_seconds - now if settle_seconds else 0.0
            if wait > 0 and changed > now:
                held.setdefault(AHEAD, []).append(name)
            elif wait > 0:
                settling[name] = wait
            else:
                ready.append(LandedFile(name, info.st_size))
    return Landing(sorted(ready), settling, {reason: sorted(names) for reason, names in sorted(held.items())})


class _Folder(NamedTuple):
    """Why no file can be renamed out of a folder, and why not those of other users."""

    held: str | None = None
    sticky: str | None = None


def _folder(directory: str) -> _Folder:
    if not is_writable(directory):
        return _Folder(held=f"{who_am_i()} may not write into {directory!r}, so it cannot move a file out: allow it")
    info = os.lstat(directory)
    if not info.st_mode & stat.S_ISVTX or os.geteuid() == info.st_uid or _is_any_owner():
        return _Folder()
    return _Folder(
        sticky=f"{directory!r} is sticky: only the owner of a file may move it, and Fanfold runs as {who_am_i()}: "
        "chmod -t"
    )


@functools.cache
def _is_any_owner() -> bool:
    """Say whether this process may do what the owner of a file may; root in a container may not, without CAP_FOWNER."""
    if os.geteuid() != 0:
        return False
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        if found := re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE):
            return bool(int(found[1], 16) >> CAP_FOWNER & 1)
    return True


def _held(name: str, entry: os.DirEntry[str], folder: _Folder) -> str | None:
    """Say why a file cannot be taken: by rule where a rule says it, not by trying."""
    if not _is_utf8(name):
        return "its name is not UTF-8"
    if not os.access(entry.path, os.R_OK, effective_ids=True):
        return f"{who_am_i()} may not read it"
    if folder.sticky and entry.stat(follow_symlinks=False).st_uid != os.geteuid():
        return folder.sticky
    return folder.held


def check_readable(directory: AnyPath) -> None:
    """Check that this process may list a directory and look at what lies in it.

    Raises:
        PathError: it may not.
    """
    if not os.access(directory, os.R_OK | os.X_OK, effective_ids=True):
        msg = f"{os.fspath(directory)!r}: {who_am_i()} may not read it, expected read and search permission"
        raise PathError(msg)


def is_writable(directory: AnyPath) -> bool:
    """Say whether this process may make and remove names in a directory."""
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)


def who_am_i() -> str:
    """Name the user that this process is, for messages."""
    with contextlib.suppress(KeyError):
        return f"user {pwd.getpwuid(os.geteuid()).pw_name!r}"
    return f"user {os.geteuid()}"


def check_writable(directories: Iterable[AnyPath]) -> None:
    """Check that this process may write into directories, or make them where they are not there yet.

    Raises:
        PathError: it may not.
    """
    known: set[str] = set()
    for directory in directories:
        there = wanted = os.fspath(directory)
        while there not in known and not os.path.lexists(there):
            known.add(there)
            there = os.path.split(there)[0]
        if there not in known and Path(there).is_dir() and not is_writable(there):
            needed = "" if there == wanted else f", where {wanted!r} is to be made"
            msg = f"{there!r}: {who_am_i()} may not write into this folder{needed}: change its owner, group or mode"
            raise PathError(msg)
        known.add(there)


def _walk(directory: str, folder: str, held: dict[str, list[str]]) -> Iterator[tuple[str, os.DirEntry[str], _Folder]]:
    """Yield files with their names: `folder`, which ends in a slash, is what those of a directory begin with."""
    try:
        rules, found = _folder(directory), os.scandir(directory)
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENAMETOOLONG}:
            raise
        held.setdefault(error.strerror or "", []).append(directory)
        return
    with found as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(UNFINISHED):
                continue
            name = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{name}/", held)
            elif entry.is_file(follow_symlinks=False):
                yield name, entry, rules


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
