"""The text of a file, seen through a window that moves forward: bounded memory, and the place of every character."""

import codecs
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from fanfold.records.faults import Fault, UnreadableError, size_bytes

CHUNK_BYTES = 1 << 20
# What comes before `position` in its line tells whether a record begins a line.
KEPT_CHARACTERS = 256
# So little compressed data at a time gives no more than memory holds.
PACKED_BYTES = 16 * 1024
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

    def __init__(self, file: IO[bytes], begin: Callable[[], Decompressor], faults: tuple[type[Exception], ...]) -> None:
        self._file, self._begin, self._faults = file, begin, faults
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
        self._packed = self._packed or self._file.read(PACKED_BYTES)
        if not self._packed:
            if self._begun:
                self._damage = UnreadableError("truncated", "found the end of the file, expected more compressed data")
            return False
        try:
            self._begun = True
            self._ready = self._member.decompress(self._packed)
        except self._faults as error:
            self._damage = UnreadableError("unreadable", f"found damaged compression ({error})")
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
            yield _Unpacked(file, _gzip_member, (zlib.error,))
        elif path.suffix == ".zst":
            import zstandard

            yield _Unpacked(file, zstandard.ZstdDecompressor().decompressobj, (zstandard.ZstdError,))
        else:
            yield file


def _gzip_member() -> Decompressor:
    # 16: with the header and the checksum of gzip.
    member: Decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
    return member


def check_compression(path: Path) -> None:
    """Read a compressed file to its end, checksums included; a file that is not compressed is not read.

    Raises:
        UnreadableError: it is damaged or cut short.
    """
    if path.suffix in {".gz", ".zst"}:
        with decompressed(path) as stream:
            while stream.read(CHUNK_BYTES):
                pass


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
        while True:
            at, end = self.position, len(self.text)
            while at < end and self.text[at] in blanks:
                at += 1
            self.advance(at)
            if at < end:
                return self.text[at]
            if not self.fill():
                return ""

    def pass_rest(self) -> None:
        """Read to the end of the file, and keep nothing."""
        self.advance(len(self.text))
        while self.fill():
            self.advance(len(self.text))
