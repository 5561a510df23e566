"""What lies in a zip or a tar, by the standard library: names, and the bytes behind each; nothing of it is believed."""

import contextlib
import functools
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import BinaryIO, NamedTuple, NoReturn

from fanfold.faults import UnreadableError
from fanfold.records.content import WINDOW_BYTES

# More than this takes more memory than a task should; nobody writes names of more bytes.
MAX_MEMBERS, MAX_READ_BYTES = 100_000, 16 * 1024 * 1024
# Of a zip: the parts of a member before its bytes; the flags of encryption; stored, and deflate.
ZIP_HEADER_BYTES, ENCRYPTED, METHODS = 30, 0x41, (0, 8)
# What the numbers of an archive that is damaged lead to.
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, EOFError, ValueError, LookupError, ArithmeticError,
    RuntimeError, NotImplementedError,
)  # fmt: skip


class Entry(NamedTuple):
    """A member as the archive lists it; without a name, it stands for what is wrong with the archive as such.

    `windows` yields its bytes; `fault` says why they are not to be read.
    """

    name: str
    size: int = 0
    windows: Callable[[], Iterator[bytes]] = lambda: iter(())
    fault: UnreadableError | None = None


class Guarded(io.BufferedReader):
    """A file that is read by libraries which believe every number in it."""

    def __init__(self, file: int) -> None:
        """Read an open file, which stays open."""
        super().__init__(io.FileIO(file, closefd=False))

    def read(self, size: int | None = -1) -> bytes:
        """Read a part of the file that has room in memory."""
        if size is not None and size > MAX_READ_BYTES:
            _refuse_many(f"{size:,} bytes of names in one piece")
        return super().read(MAX_READ_BYTES if size is None or size < 0 else size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place in the file."""
        if whence == 0 and offset < 0:
            msg = "a place before the beginning"
            raise ValueError(msg)
        return super().seek(offset, whence)


def entries(file: Guarded, *, is_zip: bool) -> Iterator[Entry]:
    """Yield what an archive lists, in its order; folders are passed over.

    Raises:
        UnreadableError: it is `unreadable` or `empty_file`, or has `too_many_members`.
    """
    with damage():
        for number, entry in enumerate((_of_zip if is_zip else _of_tar)(file)):
            if number >= MAX_MEMBERS:
                _refuse_many("more")
            yield entry


@contextlib.contextmanager
def damage() -> Iterator[None]:
    """Turn what the bytes of a damaged archive lead to into what it is."""
    try:
        yield
    except UnreadableError:
        raise
    except DAMAGE as error:
        msg = f"found an archive that is damaged, or cut short ({type(error).__name__}: {error})"
        raise UnreadableError("unreadable", msg) from None


def _refuse_many(found: str) -> NoReturn:
    msg = f"found {found}, expected an archive of at most {MAX_MEMBERS:,} members, and 16 MiB of names: send several"
    raise UnreadableError("too_many_members", msg)


def _stray(found: str) -> Entry:
    return Entry("", fault=UnreadableError("stray_bytes", f"found {found}, expected nothing there: it is not read"))


def _of_zip(file: Guarded) -> Iterator[Entry]:
    archive = zipfile.ZipFile(file)
    infos = sorted(archive.infolist(), key=lambda one: one.header_offset)
    if infos and infos[0].header_offset:
        yield _stray(f"{infos[0].header_offset:,} bytes before the first member")
    for one, after in pairwise(infos):
        if one.header_offset + ZIP_HEADER_BYTES + one.compress_size > after.header_offset:
            msg = f"found the members {one.filename!r} and {after.filename!r} in one place, expected them apart"
            raise UnreadableError("unreadable", msg)
    for info in infos:
        kind, fault = stat.S_IFMT(info.external_attr >> 16), None
        if info.flag_bits & ENCRYPTED:
            fault = UnreadableError("encrypted", "found an encrypted member, expected one that needs no password")
        elif kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            fault = UnreadableError("bad_member", "found a link or a device, expected a file")
        elif info.compress_type not in METHODS:
            msg = f"found a member compressed by method {info.compress_type}, expected deflate (8) or none (0)"
            fault = UnreadableError("unreadable", msg)
        if not info.is_dir() or info.file_size:
            yield Entry(info.filename, info.file_size, functools.partial(_of_member, archive, info), fault)


def _of_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as content:
        while window := content.read(WINDOW_BYTES):
            yield window


def _of_tar(file: Guarded) -> Iterator[Entry]:
    size, end = file.seek(0, io.SEEK_END), 0
    file.seek(0)
    archive = tarfile.TarFile(fileobj=file)
    # Where the bytes of the last member are not all there, they say so themselves.
    with contextlib.suppress(tarfile.TarError):
        while info := archive.next():
            # It would keep all of them.
            archive.members.clear()  # type: ignore[attr-defined]
            end, fault = info.offset_data + info.size, None
            if info.size < 0 or not info.isreg() or info.issparse():
                fault = UnreadableError("bad_member", "found a link, a device or a sparse file, expected a plain file")
            if not info.isdir():
                yield Entry(info.name, info.size, functools.partial(_part, file, info.offset_data, info.size), fault)
    if end > size:
        return
    rest, at = b"", archive.offset
    for window in _part(file, at, size - at):
        rest = rest or window[:1]
        if window.strip(b"\0"):
            yield _stray(f"bytes behind the last member (from byte {at:,} on) that are not another one")
            return
    if not rest:
        msg = "found the end of the file, expected more members, or the zeros that end a tar"
        yield Entry("", fault=UnreadableError("truncated", msg))


def _part(file: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    file.seek(offset)
    while size > 0 and (window := file.read(min(size, WINDOW_BYTES))):
        size -= len(window)
        yield window
