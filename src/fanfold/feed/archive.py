"""Originals move to their last place, or back into landing: whole, and nothing is ever overwritten.

Where an original stays as it is, it gets its new name by hard link and then loses the old one. Where the system
refuses the link (another user's file, a file system without links), it is renamed, if no other file has the name. Where
that cannot be either (compressed, another file system), it is written under a hidden name, read back, compared, and
only then unlinked where it was.
"""

import contextlib
import ctypes
import errno
import functools
import gzip
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import zstandard

from fanfold import links
from fanfold.durable import AnyPath, discard_temporary, fresh, make_dirs, publish, sync_dirs, sync_files, temporary
from fanfold.durable import sha256 as file_sha256
from fanfold.errors import DataError
from fanfold.layout import Group, packing

CHUNK_BYTES = 1 << 20
# How the system says that it does not link or rename this file, here; what is wrong besides, the copy will meet.
REFUSED = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
AT_FDCWD, RENAME_NOREPLACE = -100, 1


def original(place: Path, name: str) -> contextlib.AbstractContextManager[Any]:
    """Open the original that landed as `name`, wherever it lies now: its bytes as they came.

    Raises:
        DataError: its compression is damaged.
    """
    return _unpacked(place, packing(name, place.name))


@contextlib.contextmanager
def _unpacked(place: Path, packed: str | None) -> Iterator[Any]:
    try:
        with links.reading(place) as file:
            if packed == ".gz":
                with gzip.GzipFile(fileobj=file) as content:
                    yield content
            elif packed == ".zst":
                with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as content:
                    yield content
            else:
                yield file
    except (EOFError, gzip.BadGzipFile, zstandard.ZstdError) as error:
        msg = f"{str(place)!r} is damaged ({error}), expected the original, compressed"
        raise DataError(msg) from None


def original_sha256(place: Path, name: str) -> str:
    """Return the SHA-256 of an original's bytes as they came, in hexadecimal.

    Raises:
        DataError: its compression is damaged.
    """
    with original(place, name) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def is_archived(staged: str, place: str) -> bool:
    """Say whether an original is at its last place, be it that its staged name is still to be removed.

    Raises:
        DataError: another file has its name there already.
        PathError: a link has.
    """
    if not os.path.lexists(place):
        return False
    if os.path.lexists(staged) and not _is_same(Path(staged), Path(place)):
        links.check_no_link(place)
        msg = f"{place!r} exists and is another file, expected the name to be free: nothing is overwritten"
        raise DataError(msg)
    return True


def not_archived(places: Mapping[str, str]) -> dict[str, str]:
    """Return those of the places, as `archive` takes them, at which the original is not yet.

    Raises:
        DataError: another file has the name there already.
    """
    return {staged: place for staged, place in places.items() if not is_archived(staged, place)}


def archive(places: Mapping[str, str], left: Mapping[str, str]) -> None:
    """Move originals to their last places. Nothing is ever overwritten.

    All are whole at their new place before the first copied or linked one loses its old one. A second call completes a
    first one.

    Args:
        places: for each original where it lies staged, its path in the archive or in quarantine; a name there that has
            a suffix of compression more is written compressed.
        left: those of them that `not_archived` has found.

    Raises:
        FileExistsError: another file has a name by now.
        OSError: what was written is not what is read back.
    """
    directories = set(map(os.path.dirname, places.values()))
    for directory in sorted(directories):
        make_dirs(Path(directory))
    sync_files(left)
    copied = {staged: place for staged, place in left.items() if not _give_name(staged, place)}
    sync_files([_copy(Path(staged), Path(place)) for staged, place in copied.items()])
    for staged, place in copied.items():
        _compare(Path(staged), Path(place))
        _name_copy(temporary(Path(place)), place)
    sync_dirs(directories)
    for staged, place in places.items():
        if staged in copied or staged not in left:
            discard_temporary(Path(place))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)  # noqa: PTH108 - as a Path it takes twice as long
    sync_dirs([directory for directory in set(map(os.path.dirname, places)) if Path(directory).is_dir()])


def _give_name(source: str, place: str) -> bool:
    """Give a file that stays as it is its new name, beside its old one or instead of it; say whether that can be."""
    return not packing(source, place) and (_link(source, place) or _rename(source, place))


def _link(source: AnyPath, place: str) -> bool:
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        return False
    return True


@functools.cache
def _renameat2() -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def _rename(source: AnyPath, place: str) -> bool:
    """Rename a file unless the new name is taken; say whether the system can."""
    if (renameat2 := _renameat2()) is None:
        return False
    if renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(place), RENAME_NOREPLACE):
        number = ctypes.get_errno()
        if number not in REFUSED:
            raise OSError(number, os.strerror(number), os.fspath(source), None, place)
        return False
    return True


def _copy(source: Path, place: Path) -> Path:
    """Write a file as it is to be at its new place, under a hidden name, which is returned."""
    written = fresh(place)
    packed = packing(source.name, place.name)
    with links.reading(source) as file, written.open("xb") as copied, _packed(copied, packed) as target:
        shutil.copyfileobj(file, target, CHUNK_BYTES)
    return written


def _compare(source: Path, place: Path) -> None:
    packed = packing(source.name, place.name)
    with links.reading(source) as file, _unpacked(temporary(place), packed) as read_back:
        if not _equal(file, read_back):
            msg = f"{str(place)!r} was written, and is not what is read back: the disk fails"
            raise OSError(errno.EIO, msg)


def _name_copy(written: Path, place: str) -> None:
    """Make a complete copy visible, unless the name is taken. It is our own, so that it may be linked."""
    if _link(written, place) or _rename(written, place):
        written.unlink(missing_ok=True)
        return
    # The last resort, of a file system that can do neither: the name is taken first, empty, and then replaced.
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    written.replace(place)


def give_back(group: Group, names: list[str]) -> list[str]:
    """Move staged originals back into landing under their old names. A second call completes a first one.

    Returns:
        The names that stay staged, because landing has another file of that name now.
    """
    places, taken = {}, []
    for name in names:
        staged, landed = group.staged_path(name), f"{group.run.feed.landing_dir}/{name}"
        try:
            if os.path.lexists(staged):
                is_archived(staged, landed)
                places[staged] = landed
        except DataError:
            taken.append(name)
    archive(places, not_archived(places))
    return taken


def land(waiting: Path, landed: Path) -> None:
    """Move a file into landing, where it has a name of its own. A second call completes a first one.

    Raises:
        DataError: landing has another file of that name.
    """
    if os.path.lexists(waiting):
        places = {str(waiting): str(landed)}
        archive(places, not_archived(places))


def copy_out(place: Path, name: str, sha256: str, target: Path) -> None:
    """Copy the original that landed as `name` to `target`, as it came; a file that is it already stays.

    Raises:
        DataError: the original is missing or changed, or `target` is another file.
    """
    if target.exists() and file_sha256(target) == sha256:
        return
    make_dirs(target.parent)
    written = fresh(target)
    try:
        with original(place, name) as content, written.open("xb") as copied:
            shutil.copyfileobj(content, copied, CHUNK_BYTES)
    except FileNotFoundError:
        msg = f"{str(place)!r} is missing: it is {name!r}"
        raise DataError(msg) from None
    # One that was too large to be read has no hash.
    if sha256 and file_sha256(written) != sha256:
        written.unlink()
        msg = f"{str(place)!r} is changed: expected {name!r}, sha256 {sha256}"
        raise DataError(msg)
    if target.exists():
        written.unlink()
        msg = f"{str(target)!r} exists and is another file, expected the name to be free: nothing is overwritten"
        raise DataError(msg)
    publish(target)


@contextlib.contextmanager
def _packed(file: IO[bytes], packed: str | None) -> Iterator[Any]:
    if packed == ".gz":
        # Neither name nor time: the same bytes whenever they are written.
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as target:
            yield target
    elif packed == ".zst":
        with zstandard.ZstdCompressor(write_checksum=True).stream_writer(file, closefd=False) as target:
            yield target
    else:
        yield file


def _is_same(staged: Path, place: Path) -> bool:
    if os.path.samestat(staged.lstat(), place.lstat()):
        return True
    if not stat.S_ISREG(place.lstat().st_mode):
        return False
    with contextlib.suppress(DataError), links.reading(staged) as file, original(place, staged.name) as archived:
        return _equal(file, archived)
    return False


def _equal(one: IO[bytes], other: IO[bytes]) -> bool:
    while True:
        expected = one.read(CHUNK_BYTES)
        found = b""
        while len(found) < max(len(expected), 1) and (more := other.read(max(len(expected), 1) - len(found))):
            found += more
        if found != expected:
            return False
        if not expected:
            return True
