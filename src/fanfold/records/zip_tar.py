"""What is in a zip or a tar, read by the standard library: names and bytes. Nothing of it is trusted."""

import contextlib
import functools
import io
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, NoReturn

from fanfold.errors import count
from fanfold.faults import UnreadableError
from fanfold.records.content import WINDOW_BYTES

# More than this takes more memory than a task should; nobody writes names of more bytes.
MAX_MEMBERS, MAX_LIST_BYTES = 100_000, 16 * 1024 * 1024
# Of a tar: what there is of a member with a name of usual length, three blocks and the byte before the next one.
PLAIN_BYTES = 3 * 512 + 1
# Of a zip: the flags of encryption, and of a descriptor behind the bytes of a member; how those may be compressed.
ENCRYPTED, DESCRIBED, DEFLATED = 0x41, 0x8, (0, 8)
METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
# What a zip ends in, with a comment behind it; what stands before the bytes of a member, and may stand behind them.
END, END_BYTES, MAX_COMMENT_BYTES = b"PK\5\6", 22, 0xFFFF
HEADER, HEADER_BYTES, DESCRIPTOR, DESCRIPTOR_BYTES = b"PK\3\4", 30, b"PK\7\10", 24
# What the numbers of an archive that is damaged lead to.
DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, EOFError, ValueError, LookupError, ArithmeticError,
    RuntimeError,
)  # fmt: skip


class Entry(NamedTuple):
    """A member as the archive lists it; without a name, it stands for what is wrong with the archive as such.

    `windows` yields its bytes; `fault` says why they are not to be read. They are left where they are without either.
    """

    name: str
    size: int = 0
    windows: Callable[[], Iterator[bytes]] | None = None
    fault: UnreadableError | None = None


class Guarded(io.BufferedReader):
    """A file for libraries that trust every number in it; `left` is how much of it they may still read."""

    def __init__(self, file: int) -> None:
        """Read an open file, which stays open."""
        super().__init__(io.FileIO(file, closefd=False))
        self.left = MAX_LIST_BYTES

    def read(self, size: int | None = -1) -> bytes:
        """Read a part of the file that has room in memory."""
        found = super().read(min(MAX_LIST_BYTES if size is None or size < 0 else size, self.left + 1))
        self.left -= len(found)
        if self.left < 0:
            _refuse_many()
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place in the file."""
        if whence == 0 and offset < 0:
            msg = "a place before the beginning"
            raise ValueError(msg)
        return super().seek(offset, whence)

    def part(self, offset: int, size: int) -> Iterator[bytes]:
        """Yield a part of the file of any size."""
        self.seek(offset)
        while size > 0 and (window := super().read(min(size, WINDOW_BYTES))):
            size -= len(window)
            yield window


def entries(file: Guarded, *, is_zip: bool) -> Iterator[Entry]:
    """Yield what an archive lists, in its order; folders are passed over.

    Raises:
        UnreadableError: it is `unreadable` or `empty_file`, or has `too_many_members`.
    """
    with damage():
        for number, entry in enumerate((_of_zip if is_zip else _of_tar)(file)):
            if number >= MAX_MEMBERS:
                _refuse_many()
            if not (entry.name or entry.fault):
                msg = "found a member without a name, expected names"
                raise UnreadableError("unreadable", msg)
            yield entry


@contextlib.contextmanager
def damage() -> Iterator[None]:
    """Turn any error from a damaged archive into an UnreadableError."""
    try:
        yield
    except UnreadableError:
        raise
    except DAMAGE as error:
        msg = f"found an archive that is damaged, or cut short ({type(error).__name__}: {error})"
        raise UnreadableError("unreadable", msg) from None


def _refuse_many() -> NoReturn:
    msg = f"found too many, expected an archive of at most {MAX_MEMBERS:,} members, and 16 MiB of names: send several"
    raise UnreadableError("too_many_members", msg)


def _stray_in(file: Guarded, begin: int, end: int, known: Iterable[bytes] = (b"",)) -> Iterator[Entry]:
    """Yield an entry where something stands in a place that is neither known nor zeros."""
    head = b"".join(file.part(begin, min(DESCRIPTOR_BYTES, end - begin)))
    is_known = any(head.startswith(one) and not head[len(one) :].strip(b"\0") for one in known)
    if not is_known or any(window.strip(b"\0") for window in file.part(begin + len(head), end - begin - len(head))):
        found = f"found {count(end - begin, 'byte')} outside all members (from byte {begin:,} on)"
        yield Entry("", fault=UnreadableError("stray_bytes", f"{found}, expected none: they are not read"))


def _of_zip(file: Guarded) -> Iterator[Entry]:
    archive = zipfile.ZipFile(file)
    # Members are read one after the other, whatever size they have.
    file.left = sys.maxsize
    infos = sorted(archive.infolist(), key=lambda one: one.header_offset)
    yield from list(_strays(file, archive, infos))[:1]
    for info in infos:
        kind, fault = stat.S_IFMT(info.external_attr >> 16), None
        if info.flag_bits & ENCRYPTED:
            fault = UnreadableError("encrypted", "found an encrypted member, expected one that needs no password")
        elif kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            fault = UnreadableError("bad_member", "found a link or a device, expected a file")
        elif (method := info.compress_type) not in DEFLATED:
            msg = f"found a member compressed with {METHODS.get(method, f'method {method}')}, expected Deflate or none"
            fault = UnreadableError("unknown_compression", f"{msg}: pack it again")
        if not info.is_dir() or info.file_size:
            yield Entry(info.filename, info.file_size, functools.partial(_of_member, archive, info), fault)


def _strays(file: Guarded, archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> Iterator[Entry]:
    """Yield an entry for each place of a zip that is of none of its members, nor of their list, and is not blank."""
    end, behind = 0, {b""}
    for info in infos:
        if info.header_offset < end:
            msg = f"found the member {info.filename!r} inside another one, expected separate members"
            raise UnreadableError("unreadable", msg)
        yield from _stray_in(file, end, info.header_offset, behind)
        header = b"".join(file.part(info.header_offset, HEADER_BYTES))
        is_header = header.startswith(HEADER) and len(header) == HEADER_BYTES
        texts = sum(struct.unpack_from("<2H", header, HEADER_BYTES - 4)) if is_header else 0
        end, behind = info.header_offset + HEADER_BYTES + texts + info.compress_size, _behind(info)
    yield from _stray_in(file, end, archive.start_dir, behind)
    size = file.seek(0, io.SEEK_END)
    tail = b"".join(file.part(max(0, size - END_BYTES - MAX_COMMENT_BYTES), size))
    at = tail.rfind(END)
    if not {*struct.unpack_from("<2H", tail, at + len(END))} <= {0, 0xFFFF}:
        raise UnreadableError("unreadable", "found only one part of an archive, expected all of it in one file")
    yield from _stray_in(file, size - len(tail) + at + END_BYTES + len(archive.comment), size)


def _behind(info: zipfile.ZipInfo) -> set[bytes]:
    """Return what may stand behind the bytes of a member: nothing, or its checksum and its sizes once more."""
    forms = (("<3L", 0xFFFFFFFF), ("<L2Q", -1)) if info.flag_bits & DESCRIBED else ()
    plain = {struct.pack(form, info.CRC, info.compress_size & most, info.file_size & most) for form, most in forms}
    return {b"", *plain, *(DESCRIPTOR + one for one in plain)}


def _of_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as content:
        while window := content.read(WINDOW_BYTES):
            yield window


def _of_tar(file: Guarded) -> Iterator[Entry]:
    size, end = file.seek(0, io.SEEK_END), 0
    file.seek(0)
    archive = tarfile.TarFile(fileobj=file, encoding="utf-8")
    # Where the bytes of the last member are not all there, they say so themselves.
    with contextlib.suppress(tarfile.TarError):
        while info := archive.next():
            # It would keep all of them.
            archive.members.clear()  # type: ignore[attr-defined]
            file.left += PLAIN_BYTES
            end, fault = info.offset_data + info.size, None
            if info.size < 0 or not info.isreg() or info.issparse():
                fault = UnreadableError("bad_member", "found a link, a device or a sparse file, expected a plain file")
            if not info.isdir():
                yield Entry(info.name, info.size, functools.partial(file.part, info.offset_data, info.size), fault)
    if end > size:
        return
    yield from _stray_in(file, archive.offset, size)
    if archive.offset >= size:
        msg = "found the end of the file, expected more members, or the zeros that end a tar"
        yield Entry("", fault=UnreadableError("truncated", msg))
