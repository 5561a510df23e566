"""What changes the file system, beside archive.py: scan, claim, publish, give back.

Every change is durable when its function returns, and safe to make again.
"""

import contextlib
import ctypes
import errno
import fnmatch
import hashlib
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fanfold.errors import DataError, MissingError
from fanfold.layout import Run

# Of what there is one for each file of a run: a Path takes longer to make than to look at.
AnyPath = str | os.PathLike[str]

log = logging.getLogger(__name__)

# So many are worth to be treated together.
MANY_FILES = 64
# Of names that share a reason, so many are told.
SHOWN_NAMES = 10
UNFINISHED = (".part", ".tmp", ".crdownload", "~")


class LandedFile(NamedTuple):
    """A file in landing: its name there, with sub-folders, and its size."""

    name: str
    size_bytes: int


class Landing(NamedTuple):
    """What lies in landing. `ready` is sorted by name; `settling` says in how many seconds each may be ready."""

    ready: list[LandedFile]
    settling: dict[str, float]


def scan_landing(
    landing_dir: Path, patterns: list[str], settle_seconds: float, done_suffix: str | None = None
) -> Landing:
    """List the files that match one of `patterns`, in all sub-folders. Nothing is changed.

    Hidden names, unfinished downloads (`.part`, `.tmp`, `.crdownload`, `~`), links, and everything that is no regular
    file are passed over; so are, with a warning, names that are no UTF-8, and what this process may not read; and, with
    a `done_suffix`, files without their marker, and the markers. A file settles by the later of its mtime and ctime,
    by its ctime where its mtime is still to come; where both are, it waits, with a warning.

    Raises:
        MissingError: there is no such directory.
    """
    if not landing_dir.is_dir():
        msg = f"{str(landing_dir)!r} is no directory, expected the landing directory (input.path)"
        raise MissingError(msg)
    ready: list[LandedFile] = []
    settling: dict[str, float] = {}
    ahead: list[str] = []
    entries = dict(_walk(str(landing_dir), ""))
    wanted = re.compile("|".join(map(fnmatch.translate, patterns)))
    for name, entry in entries.items():
        if not patterns or not wanted.match(entry.name):
            continue
        if done_suffix and (name.endswith(done_suffix) or name + done_suffix not in entries):
            continue
        if not _is_utf8(name):
            log.warning("%a stays in landing: its name is no UTF-8", name)
            continue
        if not os.access(entry.path, os.R_OK):
            log.warning("%r stays in landing: this process may not read it", name)
            continue
        with contextlib.suppress(FileNotFoundError):
            info = entry.stat(follow_symlinks=False)
            now = time.time()
            # A writer may give its file any mtime, but not its ctime. A time to come says nothing of the last change.
            changed = info.st_ctime if info.st_mtime > now else max(info.st_mtime, info.st_ctime)
            wait = changed + settle_seconds - now if settle_seconds else 0.0
            if wait > 0:
                settling[name] = wait
                ahead += [name] if changed > now else []
            else:
                ready.append(LandedFile(name, info.st_size))
    if ahead:
        shown = ", ".join(map(repr, sorted(ahead)[:SHOWN_NAMES]))
        more = f" and {len(ahead) - SHOWN_NAMES:,} more" if len(ahead) > SHOWN_NAMES else ""
        log.warning("%s%s: waits, since it changed at a time that is still to come: set the clock right", shown, more)
    return Landing(sorted(ready), settling)


def _walk(directory: str, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield files with their names: `folder`, which ends in a slash, is what those of a directory begin with."""
    try:
        found = os.scandir(directory)
    except (PermissionError, FileNotFoundError) as error:
        log.warning("%a stays in landing: %s", directory, error.strerror)
        return
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        log.warning("%a stays in landing: %s", directory, error.strerror)
        return
    with found as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(UNFINISHED):
                continue
            name = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{name}/")
            elif entry.is_file(follow_symlinks=False):
                yield name, entry


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

    Files that are in their subdirectory already are left as they are, so a second call completes a first one.

    Args:
        run: the run that claims.
        files: name in landing and number of the subdirectory of each.

    Returns:
        The names that are in neither place: somebody else took them before the claim.
    """
    vanished: set[str] = set()
    touched: set[Path] = set()
    there: dict[tuple[int, str], set[str]] = {}
    for name, n in files:
        folder, _, last = name.rpartition("/")
        if (n, folder) not in there:
            make_dirs(run.subdir_dir(n) / folder)
            touched |= {run.feed.landing_dir / folder, run.subdir_dir(n) / folder}
            there[n, folder] = {path.name for path in (run.subdir_dir(n) / folder).iterdir()}
        marker = run.marker(name)
        if marker and marker.rpartition("/")[2] not in there[n, folder] and not _take(run, n, marker):
            vanished.add(name)
        elif last not in there[n, folder] and not _take(run, n, name):
            vanished.add(name)
            if marker:
                (run.subdir_dir(n) / marker).rename(run.feed.landing_dir / marker)
    sync_dirs(touched)
    return vanished


def _take(run: Run, n: int, name: str) -> bool:
    try:
        os.rename(f"{run.feed.landing_dir}/{name}", f"{run.subdir_dir(n)}/{name}")  # noqa: PTH104 - twice as fast
    except FileNotFoundError:
        return False
    return True


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


def give_back(run: Run, n: int, names: list[str]) -> list[str]:
    """Move staged originals back into landing under their old names. A second call completes a first one.

    Returns:
        The names that stay staged, because landing has another file of that name now.
    """
    taken: list[str] = []
    for name in names:
        staged, landed = run.subdir_dir(n) / name, run.feed.landing_dir / name
        try:
            land(staged, landed)
        except FileExistsError:
            taken.append(name)
    return taken


def land(waiting: Path, landed: Path) -> None:
    """Move a file into landing, where it has a name of its own. A second call completes a first one.

    Raises:
        FileExistsError: landing has another file of that name.
    """
    if not os.path.lexists(waiting):
        return
    make_dirs(landed.parent)
    try:
        os.link(waiting, landed, follow_symlinks=False)
    except FileExistsError:
        if not os.path.samestat(waiting.lstat(), landed.lstat()):
            raise
    sync_dirs({landed.parent})
    waiting.unlink()
    sync_dirs({waiting.parent})


def temporary(path: Path) -> Path:
    """Return the name that a file is written under until it is complete: hidden, in the same directory."""
    return path.with_name(f".{path.name}.tmp")


def publish(path: Path) -> None:
    """Make the complete file `temporary(path)` visible as `path`: on disk first, then renamed, atomically."""
    sync_file(temporary(path))
    temporary(path).replace(path)
    sync_dirs({path.parent})


def write(path: Path, content: bytes) -> None:
    """Write a small file, atomically and durably; a file that holds `content` already is left as it is."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == content:
            # A call that was cut short may have left the name without its directory on disk.
            sync_dirs({path.parent})
            return
    make_dirs(path.parent)
    temporary(path).write_bytes(content)
    publish(path)


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
    with temporary(path).open("w+b") as file:
        yield file
    publish(path)


def copy(source: Path, path: Path) -> None:
    """Copy a file, atomically and durably."""
    copy_unpublished(source, path)
    publish(path)


def copy_unpublished(source: Path, path: Path) -> Path:
    """Copy a file to `temporary(path)`, which is returned."""
    make_dirs(path.parent)
    shutil.copyfile(source, temporary(path))
    return temporary(path)


def remove(path: Path) -> None:
    """Remove a working file, if it is there."""
    path.unlink(missing_ok=True)


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
    shutil.rmtree(run.staging_dir)
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


def write_empty(path: Path) -> int:
    """Write a file without anything in it: a table without columns. Return its number of rows."""
    path.write_bytes(b"")
    return 0


def size(path: AnyPath) -> int | None:
    """Return the size of a regular file in bytes; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - as a Path it takes twice as long
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
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
