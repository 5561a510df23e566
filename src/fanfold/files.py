"""What changes the file system, beside archive.py: scan, claim, publish. And what this process may do there.

Every change is durable when its function returns, and safe to make again.
"""

import contextlib
import ctypes
import errno
import fnmatch
import functools
import hashlib
import itertools
import logging
import os
import pwd
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fanfold import links
from fanfold.errors import DataError, MissingError, PathError
from fanfold.layout import Run

# Of what there is one for each file of a run: a Path takes longer to make than to look at.
AnyPath = links.AnyPath

log = logging.getLogger(__name__)

# So many are worth to be treated together.
MANY_FILES = 64
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
        return _Folder(held=f"{_me()} may not write into {directory!r}, so it cannot move a file out: allow it")
    info = os.lstat(directory)
    if not info.st_mode & stat.S_ISVTX or os.geteuid() == info.st_uid or _is_any_owner():
        return _Folder()
    return _Folder(
        sticky=f"{directory!r} is sticky: only the owner of a file may move it, and Fanfold runs as {_me()}: chmod -t"
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
        return f"{_me()} may not read it"
    if folder.sticky and entry.stat(follow_symlinks=False).st_uid != os.geteuid():
        return folder.sticky
    return folder.held


def check_readable(directory: AnyPath) -> None:
    """Check that this process may list a directory and look at what lies in it.

    Raises:
        PathError: it may not.
    """
    if not os.access(directory, os.R_OK | os.X_OK, effective_ids=True):
        msg = f"{os.fspath(directory)!r}: {_me()} may not read it, expected read and search permission"
        raise PathError(msg)


def is_writable(directory: AnyPath) -> bool:
    """Say whether this process may make and remove names in a directory."""
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)


def _me() -> str:
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
            msg = f"{there!r}: {_me()} may not write into this folder{needed}: change its owner, group or mode"
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


def longest_name(*directories: Path) -> int:
    """Return how many bytes a path may have in each of some directories, as one name, be they there yet or not."""
    there = [next(path for path in (directory, *directory.parents) if path.is_dir()) for directory in directories]
    names = [os.pathconf(path, "PC_NAME_MAX") for path in there]
    paths = zip(there, directories, strict=True)
    return min(names + [os.pathconf(path, "PC_PATH_MAX") - len(os.fsencode(inside)) - 1 for path, inside in paths])


def name_fits(path: Path) -> bool:
    """Say whether the file system can hold a file of this path, which is not there yet."""
    directory = next(parent for parent in path.parents if parent.is_dir())
    name_max, path_max = os.pathconf(directory, "PC_NAME_MAX"), os.pathconf(directory, "PC_PATH_MAX")
    return len(os.fsencode(path.name)) <= name_max and len(os.fsencode(path)) < path_max


def claim(run: Run, files: Iterable[tuple[str, int]]) -> set[str]:
    """Move files out of landing into their subdirectories: the rename is the claim.

    Files that are in their subdirectory already are left as they are, so a second call completes a first one. A warning
    says of those that are not claimed why.

    Args:
        run: the run that claims.
        files: name in landing and number of the subdirectory of each.

    Returns:
        The names that are not claimed: somebody else took them before, or the system refuses to rename them. Of a file
        and its marker either both are claimed, or none.
    """
    vanished: set[str] = set()
    held: dict[str, list[str]] = {}
    touched: set[Path] = set()
    there: dict[tuple[int, str], set[str]] = {}
    for name, n in files:
        folder = name.rpartition("/")[0]
        if (n, folder) not in there:
            make_dirs(run.subdir_dir(n) / folder)
            touched |= {run.feed.landing_dir / folder, run.subdir_dir(n) / folder}
            there[n, folder] = {path.name for path in (run.subdir_dir(n) / folder).iterdir()}
        marker = run.marker(name)
        try:
            for part in (marker, name) if marker else (name,):
                if part.rpartition("/")[2] not in there[n, folder]:
                    # As Paths it takes twice as long.
                    os.rename(f"{run.feed.landing_dir}/{part}", f"{run.subdir_dir(n)}/{part}")  # noqa: PTH104
        except FileNotFoundError:
            vanished.add(name)
        except PermissionError as error:
            reason = f"{_me()} is refused the rename ({error.strerror}): look at attributes (lsattr) and access lists"
            held.setdefault(reason, []).append(name)
        if marker and (name in vanished or held):
            _put_back(run, n, name, marker)
    sync_dirs(touched)
    warn({reason: sorted(names) for reason, names in held.items()})
    for name in sorted(vanished):
        log.warning("%r was taken out of landing before it could be claimed: it is not in this run", name)
    return vanished.union(*held.values())


def _put_back(run: Run, n: int, name: str, marker: str) -> None:
    """Put a claimed marker back into landing, unless its file is claimed too."""
    if not os.path.lexists(run.subdir_dir(n) / name):
        with contextlib.suppress(FileNotFoundError):
            (run.subdir_dir(n) / marker).rename(run.feed.landing_dir / marker)


def claimed_file(run: Run, n: int, name: str) -> os.stat_result:
    """Return the state of a claimed original that is still staged.

    Raises:
        DataError: it is gone, or is no regular file any more; the message says what lies there now.
    """
    try:
        # A Path of each would take longer than to look.
        info = os.lstat(f"{run.subdir_dir(n)}/{name}")
    except (FileNotFoundError, NotADirectoryError):
        found = "nothing"
    else:
        if stat.S_ISREG(info.st_mode):
            return info
        found = "a directory" if stat.S_ISDIR(info.st_mode) else "no regular file"
    msg = f"{name!r}: found {found} in {run.subdir(n)!r}, expected the file that was claimed: put it back and clear"
    raise DataError(msg)


def version(state: os.stat_result) -> tuple[int, int, int, int]:
    """Return what tells two states of one path apart: inode, size, times of last change."""
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def temporary(path: Path) -> Path:
    """Return the name that a file is written under until it is complete: hidden, in the same directory."""
    return path.with_name(f".{path.name}.tmp")


def fresh(path: Path) -> Path:
    """Return `temporary(path)`, with nothing there: what a call that was cut short left, or a link, is removed."""
    discard_temporary(path)
    return temporary(path)


def publish(path: Path) -> None:
    """Make the complete file `temporary(path)` visible as `path`: on disk first, then renamed, atomically."""
    sync_file(temporary(path))
    temporary(path).replace(path)
    sync_dirs({path.parent})


def write(path: Path, content: bytes) -> None:
    """Write a small file, atomically and durably; a file that holds `content` already is left as it is."""
    with contextlib.suppress(FileNotFoundError):
        if links.read(path) == content:
            # A call that was cut short may have left the name without its directory on disk.
            sync_dirs({path.parent})
            return
    with writing(path) as file:
        file.write(content)


def rewrite(path: Path, content: bytes) -> None:
    """Write a file of somebody else anew, atomically and durably; its mode stays, and its owner where it may."""
    info = path.stat()
    temporary(path).write_bytes(content)
    with contextlib.suppress(PermissionError):
        os.chown(temporary(path), info.st_uid, info.st_gid)
    temporary(path).chmod(stat.S_IMODE(info.st_mode))
    publish(path)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be written: durable under its name when the block ends well, not there when it does not."""
    make_dirs(path.parent)
    with fresh(path).open("x+b") as file:
        yield file
    publish(path)


def copy(source: Path, path: Path) -> None:
    """Copy a file, atomically and durably."""
    copy_unpublished(source, path)
    publish(path)


def copy_unpublished(source: Path, path: Path) -> Path:
    """Copy a file to `temporary(path)`, which is returned."""
    make_dirs(path.parent)
    shutil.copyfile(source, written := fresh(path))
    return written


def remove(path: Path) -> None:
    """Remove a working file, if it is there."""
    path.unlink(missing_ok=True)


def empty(directory: Path, but: str) -> None:
    """Remove what is in a directory of working files, durably, but for one name. There need be no such directory."""
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        if path.name != but:
            shutil.rmtree(path) if path.is_dir() else remove(path)
    sync_dirs({directory})


def make_dirs(path: Path) -> None:
    """Make a directory and its parents, durably."""
    missing = [path, *path.parents]
    missing = missing[: next(i for i, parent in enumerate(missing) if parent.is_dir())]
    path.mkdir(parents=True, exist_ok=True)
    sync_dirs({directory.parent for directory in missing})


def left_in(run: Run) -> Path | None:
    """Return a file that lies in a subdirectory of the run; None where all are empty."""
    for folder, _, names in os.walk(run.staging_dir):
        if names and not Path(folder).is_relative_to(run.work_dir):
            return Path(folder, names[0])
    return None


def remove_run(run: Run) -> None:
    """Remove `staging/<ts>` of a run that is complete, or that has no file; a second call completes a first one.

    Raises:
        DataError: a file is left in a subdirectory; nothing is removed.
    """
    if not run.staging_dir.is_dir():
        return
    if left := left_in(run):
        msg = f"{str(left)!r} is left in a finished run, expected nothing: move it away and run again"
        raise DataError(msg)
    # Without files.json there is no run: a removal that is cut short leaves none behind that cannot be read.
    run.files_path.unlink(missing_ok=True)
    while run.staging_dir.is_dir():
        try:
            shutil.rmtree(run.staging_dir)
        except OSError as error:
            # Another process removes it as well, or came for its lease a moment ago.
            if error.errno not in {errno.ENOENT, errno.ENOTEMPTY}:
                raise
    sync_dirs({run.feed.staging_dir})


def discard(path: Path) -> None:
    """Remove what a group that is given up has published, and what was written for it; its directories, when empty."""
    path.unlink(missing_ok=True)
    discard_temporary(path)
    for directory in (path.parent, path.parent.parent):
        with contextlib.suppress(OSError):
            directory.rmdir()


def discard_temporary(path: Path) -> None:
    """Remove what a call that was cut short has written for `path`."""
    temporary(path).unlink(missing_ok=True)


def size(path: AnyPath) -> int | None:
    """Return the size of a regular file in bytes; None where there is none, or a link to one."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal; links are not followed.

    Raises:
        PathError: it is a link.
    """
    with links.reading(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Put the bytes of a file on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_files(paths: Collection[AnyPath]) -> None:
    """Put the bytes of files on disk: of many, by one call for all of their file system, where Linux has it.

    A call for each file waits for the disk each time. Since Linux 5.8 syncfs reports what could not be written.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if len(paths) >= MANY_FILES else None
    if syncfs is None:
        for path in paths:
            sync_file(Path(path))
        return
    for path in {os.lstat(path).st_dev: path for path in paths}.values():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if syncfs(descriptor):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        finally:
            os.close(descriptor)


def sync_dirs(directories: Collection[AnyPath]) -> None:
    """Put the names in directories on disk."""
    for directory in sorted({str(directory) for directory in directories}):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
