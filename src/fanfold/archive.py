"""The archive is a vault: originals get their last place there, whole, and nothing in it is ever overwritten.

On the file system of the feed, an original that stays as it is moves by hard link and unlink. Compressed, or on another
file system, it is written under a hidden name, read back, compared, and only then unlinked where it was.
"""

import contextlib
import errno
import gzip
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import zstandard

from fanfold.errors import DataError
from fanfold.files import discard_temporary, make_dirs, publish, sync_dirs, sync_file, sync_files, temporary
from fanfold.files import sha256 as file_sha256
from fanfold.layout import packing

CHUNK_BYTES = 1 << 20


def original(place: Path, name: str) -> contextlib.AbstractContextManager[Any]:
    """Open the original that landed as `name`, wherever it lies now: its bytes as they came.

    Raises:
        DataError: its compression is damaged.
    """
    return _unpacked(place, packing(name, place.name))


@contextlib.contextmanager
def _unpacked(place: Path, packed: str | None) -> Iterator[Any]:
    try:
        with place.open("rb") as file:
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
    """
    if not os.path.lexists(place):
        return False
    if os.path.lexists(staged) and not _is_same(Path(staged), Path(place)):
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

    All are whole at their new place before the first loses its old one. A second call completes a first one.

    Args:
        places: for each original where it lies staged, its path in the archive or in quarantine; a name there that has
            a suffix of compression more is written compressed.
        left: those of them that `not_archived` has found.

    Raises:
        OSError: what was written is not what is read back; a file system has no hard links.
    """
    directories = set(map(os.path.dirname, places.values()))
    for directory in sorted(directories):
        make_dirs(Path(directory))
    sync_files(left)
    linked = {staged for staged, place in left.items() if put(staged, place)}
    sync_dirs(directories)
    for staged, place in places.items():
        if staged not in linked:
            discard_temporary(Path(place))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)  # noqa: PTH108 - as a Path it takes twice as long
    sync_dirs([directory for directory in set(map(os.path.dirname, places)) if Path(directory).is_dir()])


def put(source: str, place: str) -> bool:
    """Give a file a second place: by hard link where it stays as it is, else as a copy that is compared.

    Returns:
        Whether it is a link.

    Raises:
        FileExistsError: the place is taken.
        OSError: what was written is not what is read back.
    """
    packed = packing(source, place)
    if not packed:
        try:
            os.link(source, place, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            return True
    _copy(Path(source), Path(place), packed)
    return False


def _copy(source: Path, place: Path, packed: str | None) -> None:
    written = temporary(place)
    with source.open("rb") as file, written.open("wb") as copied, _packed(copied, packed) as target:
        shutil.copyfileobj(file, target, CHUNK_BYTES)
    sync_file(written)
    with source.open("rb") as file, _unpacked(written, packed) as read_back:
        if not _equal(file, read_back):
            msg = f"{str(place)!r} was written, and is not what is read back: the disk fails"
            raise OSError(errno.EIO, msg)
    os.link(written, place)
    written.unlink()


def copy_out(place: Path, name: str, sha256: str, target: Path) -> None:
    """Copy the original that landed as `name` to `target`, as it came; a file that is it already stays.

    Raises:
        DataError: the original is missing or changed, or `target` is another file.
    """
    if target.exists() and file_sha256(target) == sha256:
        return
    make_dirs(target.parent)
    written = temporary(target)
    try:
        with original(place, name) as content, written.open("wb") as copied:
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
    with contextlib.suppress(DataError), staged.open("rb") as file, original(place, staged.name) as archived:
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
