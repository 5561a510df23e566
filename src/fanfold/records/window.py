"""The text of a file, seen through a window that moves forward: bounded memory, and the place of every character."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from fanfold.records.faults import Fault, UnreadableError, size_bytes

CHUNK_BYTES = 1 << 20
# What comes before `position` in its line tells whether a record begins a line.
KEPT_CHARACTERS = 256
BOM = "\ufeff"


@contextmanager
def decompressed(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading what is in it, be it plain, gzip or zstd."""
    if path.suffix == ".gz":
        with gzip.open(path) as unzipped:
            yield cast("IO[bytes]", unzipped)
    elif path.suffix == ".zst":
        import zstandard

        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as file:
            yield file
    else:
        with path.open("rb", buffering=0) as file:
            yield file


def check_compression(path: Path) -> None:
    """Read a compressed file to its end, checksums included; a file that is not compressed is not read.

    Raises:
        UnreadableError: it is damaged or cut short.
    """
    if path.suffix in {".gz", ".zst"}:
        with decompressed(path) as file:
            while _read(file, CHUNK_BYTES):
                pass


def _read(file: IO[bytes], size: int) -> bytes:
    try:
        return file.read(size)
    except EOFError:
        raise UnreadableError("truncated", "found the end of the file, expected more compressed data") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableError("unreadable", f"found damaged gzip ({error})") from None
    except Exception as error:
        # The module of zstd is imported only where there is such a file.
        if type(error).__module__.partition(".")[0] not in {"zstandard", "zstd"}:
            raise
        raise UnreadableError("unreadable", f"found damaged zstd ({error})") from None


class Window:
    """The decoded text of a stream, from `position` on. Bytes that are no UTF-8 become surrogate escapes."""

    def __init__(self, stream: IO[bytes]) -> None:
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
        try:
            read = _read(self._stream, max(CHUNK_BYTES, self.size))
        except UnreadableError as damage:
            self.damage, read = damage, b""
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
