"""Files that survive a crash: each appears whole under its name, or not at all."""

import contextlib
import ctypes
import errno
import hashlib
import itertools
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from fanfold import links, mirrors

# There may be many files in a run: a Path takes longer to make than the file takes to look at.
AnyPath = links.AnyPath
# From this number on, one call for all of them is faster.
MANY_FILES = 64
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def longest_name(directory: Path) -> int:
    """Return how many bytes a name, or a path below, may have in a directory, which may be missing."""
    # A Path raises where the directory itself has too long a path.
    there = next(path for path in (directory, *directory.parents) if os.path.isdir(path))  # noqa: PTH112
    # The longest path has room for a slash and a byte of zero.
    in_path = os.pathconf(there, "PC_PATH_MAX") - len(os.fsencode(directory)) - 2
    return min(os.pathconf(there, "PC_NAME_MAX"), in_path)


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
    mirrors.put({path: temporary(path)})
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


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write small files, each atomically, and all durably when this returns: faster than one after the other."""
    make_all_dirs({path.parent for path in contents})
    for path, content in contents.items():
        fresh(path).write_bytes(content)
    sync_files([temporary(path) for path in contents])
    mirrors.put({path: temporary(path) for path in contents})
    for path in contents:
        temporary(path).replace(path)
    sync_dirs({path.parent for path in contents})


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
    with whole(path), fresh(path).open("x+b") as file:
        yield file
    publish(path)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[None]:
    """Remove what a block has written under the temporary name of a file, if it fails: it may have filled the disk.

    Raises:
        OSError: that of the block; where the disk has no room, it names the file.
    """
    try:
        yield
    except OSError as error:
        discard_temporary(path)
        if error.errno in NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise


def copy(source: Path, path: Path) -> None:
    """Copy a file, atomically and durably."""
    make_dirs(path.parent)
    shutil.copyfile(source, fresh(path))
    publish(path)


def remove(path: Path) -> None:
    """Remove a working file, durably, if it is there."""
    if os.path.lexists(path):
        remove_all([path])


def remove_all(paths: Collection[Path]) -> None:
    """Remove files, durably when this returns: of many, faster than one after the other. They may be missing."""
    mirrors.forget(paths)
    for path in paths:
        path.unlink(missing_ok=True)
    sync_dirs([folder for folder in {path.parent for path in paths} if folder.is_dir()])


def move(source: Path, path: Path) -> None:
    """Give a working file its last name, durably: another directory may be that of the feed."""
    make_dirs(path.parent)
    mirrors.put({path: source})
    source.replace(path)
    sync_dirs({path.parent})


def empty(directory: Path, but: str) -> None:
    """Remove what is in a directory of working files, durably, except one name. The directory may be missing."""
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        if path.name != but:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    sync_dirs({directory})


def make_dirs(path: Path) -> None:
    """Make a directory and its parents, durably."""
    if not path.is_dir():
        make_dirs(path.parent)
        path.mkdir(exist_ok=True)
        sync_dirs({path.parent})


def make_all_dirs(paths: Collection[Path]) -> None:
    """Make directories and their parents, durably when this returns: of many, faster than one after the other."""
    made = set[Path]()
    for path in paths:
        made.update(itertools.takewhile(lambda one: one not in made and not one.is_dir(), (path, *path.parents)))
    for directory in sorted(made):
        directory.mkdir(exist_ok=True)
    sync_dirs({directory.parent for directory in made})


def discard(path: Path) -> None:
    """Remove what a group that is given up has published, and what was written for it; its directories, when empty."""
    remove(path)
    discard_temporary(path)
    remove_empty_dirs(path.parent)


def remove_empty_dirs(directory: Path, top: Path | None = None) -> None:
    """Remove a directory and those above it, as long as they are empty, or missing; `top` stays."""
    while directory != top:
        try:
            directory.rmdir()
        except FileNotFoundError:
            # A call that was cut short has removed it.
            pass
        except OSError as error:
            # A disk that fails says nothing of what is in there.
            if error.errno == errno.EIO:
                raise
            return
        directory = directory.parent


def discard_temporary(path: Path) -> None:
    """Remove what a call that was cut short has written for `path`."""
    temporary(path).unlink(missing_ok=True)


def size(path: AnyPath) -> int | None:
    """Return the size of a regular file in bytes; None for anything else, a link too."""
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
    """Put the bytes of a file on disk; of one in a bucket, they are put there."""
    if mirrors.of(path):
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_files(paths: Collection[AnyPath]) -> None:
    """Put the bytes of files on disk: of many, by one call for all of their file system, where Linux has it."""
    if not _sync_many(paths):
        for path in paths:
            sync_file(Path(path))


def sync_dirs(directories: Collection[AnyPath]) -> None:
    """Put the names in directories on disk; of many, as `sync_files` does."""
    names = sorted({str(directory) for directory in directories if not mirrors.of(directory)})
    if _sync_many(names):
        return
    for directory in names:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync_many(paths: Collection[AnyPath]) -> bool:
    """Put all that is on the file systems of many paths on disk; say whether that was done.

    A call for each path waits for the disk each time. Since Linux 5.8 syncfs reports what could not be written.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if len(paths) >= MANY_FILES else None
    if syncfs is None:
        return False
    for path in {os.lstat(path).st_dev: path for path in paths}.values():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if syncfs(descriptor):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        finally:
            os.close(descriptor)
    return True
