"""The text of a file, seen through a window that moves forward: bounded memory, and the place of every character."""

import codecs
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from fanfold.records.faults import Fault, UnreadableError, size_bytes

CHUNK_BYTES = 1 << 20
# What comes before `position` in its line tells whether a record begins a line.
KEPT_CHARACTERS = 256
# So little compressed data at a time gives no more than memory holds: deflate makes 1,032 bytes of one, zstd 32,768.
GZIP_BYTES, ZSTD_BYTES = 16 * 1024, 2 * 1024
# What gives more than this, and more than so many times its size on disk, is no data that somebody wrote.
BOMB_BYTES, BOMB_RATIO = 64 * 1024 * 1024, 250
BOM = "\ufeff"


class Stream(Protocol):
    """Bytes that are read one after the other."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; nothing at the end."""


class Decompressor(Protocol):
    """What decompresses one member of gzip, or one frame of zstd."""

    @property
    def eof(self) -> bool:
        """Whether the member ended."""

    @property
    def unused_data(self) -> bytes:
        """What follows the member."""

    def decompress(self, data: bytes, /) -> bytes:
        """Return what the next bytes give."""


class _Unpacked:
    """The content of a compressed file, member by member, to the last byte before it is damaged or cut short."""

    def __init__(
        self, file: IO[bytes], begin: Callable[[], Decompressor], fault: type[Exception], piece_bytes: int
    ) -> None:
        self._file, self._begin, self._fault, self._piece_bytes = file, begin, fault, piece_bytes
        self._taken = self._given = 0
        self._member, self._packed, self._ready = begin(), b"", b""
        self._begun = False
        self._damage: UnreadableError | None = None

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; nothing at the end.

        Raises:
            UnreadableError: there is nothing more, because the file is damaged or cut short here.
        """
        while not self._ready and not self._damage and self._unpack():
            pass
        if not self._ready and self._damage:
            raise self._damage
        read, self._ready = self._ready[:size], self._ready[size:]
        return read

    def _unpack(self) -> bool:
        """Decompress a little more; False at the end of the file."""
        self._packed = self._packed or self._file.read(self._piece_bytes)
        if not self._packed:
            if self._begun:
                self._damage = UnreadableError("truncated", "found the end of the file, expected more compressed data")
            return False
        try:
            self._begun = True
            self._ready = self._member.decompress(self._packed)
            self._taken += len(self._packed) - len(self._member.unused_data)
            self._given += len(self._ready)
            _check_ratio(self._given, self._taken)
        except self._fault as error:
            self._damage = UnreadableError("unreadable", f"found damaged compression ({error})")
            return False
        except UnreadableError as excess:
            self._damage, self._ready = excess, b""
            return False
        self._packed = b""
        if self._member.eof:
            self._packed, self._member, self._begun = self._member.unused_data, self._begin(), False
        return True


@contextmanager
def decompressed(path: Path) -> Iterator[Stream]:
    """Open a file for reading what is in it, be it plain, gzip or zstd."""
    with path.open("rb", buffering=0) as file:
        if path.suffix == ".gz":
            yield _Unpacked(file, _gzip_member, zlib.error, GZIP_BYTES)
        elif path.suffix == ".zst":
            import zstandard

            frame = zstandard.ZstdDecompressor().decompressobj
            yield _Unpacked(file, frame, zstandard.ZstdError, ZSTD_BYTES)
        else:
            yield file


def _gzip_member() -> Decompressor:
    # 16: with the header and the checksum of gzip.
    member: Decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
    return member


def check_content(path: str, size: int) -> None:
    """Read a compressed file to its end, checksums included; of another file look at its size only.

    Raises:
        UnreadableError: it is damaged or cut short, is a bomb, or has more compressed in it than the disk is free.
    """
    if path.endswith((".gz", ".zst")):
        size = 0
        with decompressed(Path(path)) as stream:
            while read := stream.read(CHUNK_BYTES):
                size += len(read)
                _check_room(Path(path), size)
    elif size > BOMB_BYTES:
        _check_ratio(size, _written_bytes(Path(path), size // BOMB_RATIO))


def _check_ratio(content_bytes: int, written_bytes: int) -> None:
    if content_bytes > max(BOMB_BYTES, BOMB_RATIO * written_bytes):
        msg = f"found {content_bytes} bytes of content or more, expected at most {BOMB_RATIO} for each byte on disk"
        raise UnreadableError("bomb", msg)


def _check_room(path: Path, content_bytes: int) -> None:
    if content_bytes > BOMB_BYTES and content_bytes > (free := shutil.disk_usage(path.parent).free):
        msg = f"found {content_bytes} bytes of content or more, expected at most the {free} that the disk has free"
        raise UnreadableError("too_large", msg)


def _written_bytes(path: Path, enough: int) -> int:
    """Return how much of a file is no hole, or as soon as it is `enough`."""
    written = at = 0
    with path.open("rb", buffering=0) as file:
        while written <= enough:
            try:
                begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                # There is nothing but a hole up to the end.
                break
            at = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            written += at - begin
    return written


class Window:
    """The decoded text of a stream, from `position` on. Bytes that are no UTF-8 become surrogate escapes."""

    def __init__(self, stream: Stream) -> None:
        """Begin before the first character; a byte order mark is passed over."""
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.damage: UnreadableError | None = None
        self.text = ""
        self.position = 0
        self.line = 1
        self.offset = 0
        self.complete = False
        self.fill()
        if self.text.startswith(BOM):
            self.advance(1)

    @property
    def place(self) -> tuple[int, int]:
        """Line (from 1) and byte offset (from 0) of `position`."""
        return self.line, self.offset

    @property
    def size(self) -> int:
        """Characters from `position` to the end of the window."""
        return len(self.text) - self.position

    def fill(self) -> bool:
        """Read on, at least as much as there is; False at the end of the file, or where it is damaged (`damage`)."""
        if self.complete:
            return False
        wanted, parts = max(CHUNK_BYTES, self.size), []
        try:
            while wanted > 0 and (part := self._stream.read(wanted)):
                parts.append(part)
                wanted -= len(part)
        except UnreadableError as damage:
            self.damage = damage
        read = b"".join(parts)
        self.complete = not read
        kept = min(self.position, KEPT_CHARACTERS)
        self.text = self.text[self.position - kept :] + self._decoder.decode(read, final=not read)
        self.position = kept
        return True

    def damage_fault(self) -> Fault:
        """Return what ended the file early.

        Raises:
            UnreadableError: the compression is damaged, so that what was read cannot be trusted.
        """
        damage = self.damage or UnreadableError("truncated", "")
        if damage.code != "truncated":
            raise damage
        return Fault(damage.code, 0, "", str(damage))

    def advance(self, to: int) -> None:
        """Move on to a position in the window."""
        passed = self.text[self.position : to]
        self.line += passed.count("\n")
        self.offset += size_bytes(passed)
        self.position = to

    def pass_by(self, size: int) -> None:
        """Move on by so many characters of the window."""
        self.advance(self.position + size)

    def skip(self, blanks: str = " \t\r\n") -> str:
        """Pass over blanks and return the next character; nothing at the end of the file."""
        pattern = re.compile(f"[{blanks}]*")
        while True:
            passed = pattern.match(self.text, self.position)
            self.advance(passed.end() if passed else self.position)
            if self.position < len(self.text):
                return self.text[self.position]
            if not self.fill():
                return ""

    def pass_rest(self) -> None:
        """Read to the end of the file, and keep nothing."""
        self.advance(len(self.text))
        while self.fill():
            self.advance(len(self.text))
