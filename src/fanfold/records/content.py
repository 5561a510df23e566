"""The bytes of a file, in windows: as they are, or decompressed from gzip and zstd; bombs are refused."""

import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from fanfold.faults import UnreadableError
from fanfold.input_formats import compression
from fanfold.records.encodings import UTF_8, as_utf8

WINDOW_BYTES = 1 << 20
# Compressed data is taken in pieces that grow while they give little: deflate makes 1,032 bytes of one, zstd 32,768.
FEWEST_BYTES, MOST_BYTES = 64, 16 * 1024
# Nobody wrote data that gives more than this, and more than this many times its size on disk.
BOMB_BYTES, BOMB_RATIO = 64 * 1024 * 1024, 250

# Is told all bytes of the file on disk, in their order.
Hash = Callable[[bytes], object]


def windows(path: str, update: Hash, encoding: str = UTF_8) -> Iterator[bytes]:
    """Yield what is in a file, a MiB or so at a time.

    Args:
        path: the file; what ends in .gz or .zst is decompressed.
        update: is told the bytes as they lie on disk, to the end of the file.
        encoding: of the text in it, which is yielded as UTF-8.

    Raises:
        UnreadableError: `truncated`: compressed data ends early; what was yielded is good. `unreadable`: it is
            damaged; `bomb`, `too_large`: it has more in it than a file of data has, or than the disk has room for;
            `wrong_encoding`: as `as_utf8`.
    """
    return as_utf8(_content(path, update), encoding)


def _content(path: str, update: Hash) -> Iterator[bytes]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield from contents(file, path, update)
    finally:
        os.close(file)


def contents(file: int, name: str, update: Hash = len) -> Iterator[bytes]:
    """Yield what is in an open file, by what its name ends in, as `windows` does."""
    if compression(name) == ".gz":
        # 16: with the header and the checksum of gzip.
        yield from _unpacked(file, update, lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), zlib.error)
    elif compression(name) == ".zst":
        import zstandard

        yield from _unpacked(file, update, zstandard.ZstdDecompressor().decompressobj, zstandard.ZstdError)
    else:
        yield from _plain(file, update)


def _plain(file: int, update: Hash) -> Iterator[bytes]:
    size = os.fstat(file).st_size
    if size > BOMB_BYTES:
        check_ratio(size, _written_bytes(file, size // BOMB_RATIO))
        os.lseek(file, 0, os.SEEK_SET)
    # A file may grow while it is read.
    while window := os.read(file, min(WINDOW_BYTES, max(size, 1))):
        update(window)
        yield window


def _unpacked(file: int, update: Hash, begin: Callable[[], Any], error: type[Exception]) -> Iterator[bytes]:
    """Yield what is compressed in a file, one member of gzip (or frame of zstd) after the other."""
    taken, given, size, member, is_padding = 0, 0, FEWEST_BYTES, None, False
    try:
        while packed := os.read(file, size):
            update(packed)
            while packed:
                # Behind the last member, gzip passes over zeros: tapes and some uploads fill whole blocks.
                is_padding = is_padding or (error is zlib.error and taken > 0 and not member and not packed[0])
                if is_padding and packed.strip(b"\0"):
                    raise error("something follows the zeros")  # noqa: TRY301, TRY003 - as that of the library
                if is_padding:
                    break
                member = member or begin()
                content = member.decompress(packed)
                taken, given = taken + len(packed) - len(member.unused_data), given + len(content)
                check_ratio(given, taken)
                check_room(file, given)
                # Little data may give much.
                for start in range(0, len(content), WINDOW_BYTES):
                    yield content[start : start + WINDOW_BYTES]
                size = max(FEWEST_BYTES, size // 8) if len(content) > WINDOW_BYTES else min(MOST_BYTES, 2 * size)
                packed = member.unused_data
                member = None if member.eof else member
    except error as damage:
        while rest := os.read(file, WINDOW_BYTES):
            update(rest)
        msg = f"found damaged compression ({damage})"
        raise UnreadableError("unreadable", msg) from None
    if member:
        msg = "found the end of the file, expected more compressed data"
        raise UnreadableError("truncated", msg)


def check_ratio(content_bytes: int, written_bytes: int) -> None:
    """Check that there is not more in so many bytes on disk than in any file of data.

    Raises:
        UnreadableError: it is a `bomb`.
    """
    if content_bytes > max(BOMB_BYTES, BOMB_RATIO * written_bytes):
        msg = f"found {content_bytes} bytes of content or more, expected at most {BOMB_RATIO} for each byte on disk"
        raise UnreadableError("bomb", msg)


def check_room(file: int, content_bytes: int) -> None:
    """Check that the disk of an open file has room for what is in it.

    Raises:
        UnreadableError: it is `too_large`.
    """
    if content_bytes > BOMB_BYTES and content_bytes > (free := shutil.disk_usage(file).free):
        msg = f"found {content_bytes} bytes of content or more, expected at most the {free} that the disk has free"
        raise UnreadableError("too_large", msg)


def _written_bytes(file: int, enough: int) -> int:
    """Return how many bytes of a file are not holes; as soon as these are `enough`, that number."""
    written = at = 0
    while written <= enough:
        try:
            begin = os.lseek(file, at, os.SEEK_DATA)
        except OSError:
            # There is nothing but a hole up to the end.
            break
        at = os.lseek(file, begin, os.SEEK_HOLE)
        written += at - begin
    return written
