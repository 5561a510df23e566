"""Columns of large texts of Parquet: read value by value, where DuckDB would hold 2,048 rows, and a page as a whole.

A page may have a gigabyte (1,024 texts of 1 MB, as the most used writer makes them), and a dictionary too: pages are
decompressed piece by piece, and a dictionary lies in a file.
"""

import gzip
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import BinaryIO

import zstandard

from fanfold.engine.parquet_pages import DATA_PAGE, DICTIONARY_PAGE, Stored, header_at
from fanfold.engine.parquet_schema import BYTE_ARRAY, OPTIONAL, REPEATED, TOO_LARGE, Node
from fanfold.faults import UnreadableError

# The rows that DuckDB decodes at once, 2,048, are 16 MiB with such values.
LARGE_BYTES = 8 * 1024
MAX_VALUE_BYTES = 64 * 1024 * 1024
PIECE_BYTES = 1024 * 1024
PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY = 0, 2, 8
UNCOMPRESSED, SNAPPY, GZIP, ZSTD = 0, 1, 2, 6
# Where a copy may begin: no program that writes Snappy looks back further than 64 KiB.
WINDOW_BYTES = 256 * 1024


def is_large(node: Node, stored: Iterable[Stored]) -> bool:
    """Say whether a field of records has large texts, and is stored in a way that is read here."""
    return (
        node.stored == BYTE_ARRAY
        and node.repetition != REPEATED
        and any(one.largest > LARGE_BYTES for one in stored)
        and all(one.codec in {UNCOMPRESSED, SNAPPY, GZIP, ZSTD} for one in stored)
        and all(one.encodings <= {PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY} for one in stored)
    )


def texts(file: BinaryIO, stored: Stored, node: Node, spill_dir: Path) -> Iterator[bytes | None]:
    """Yield the values of a column, in their order.

    Args:
        file: the plain file.
        stored: where the pages of the column lie in it.
        node: the column.
        spill_dir: where a dictionary lies, in a file without a name.

    Raises:
        UnreadableError: a value is larger than memory holds.
        ValueError, IndexError, OSError, EOFError, zlib.error, zstandard.ZstdError: a page is damaged.
    """
    at, read = stored.begin, file.fileno()
    with tempfile.TemporaryFile(dir=spill_dir) as kept:
        dictionary = _Dictionary(kept)
        while at < stored.end:
            size, header = header_at(lambda place, most: os.pread(read, most, place), at, node.name)
            body = _Range(read, at + size, header[3])
            at += size + header[3]
            if header[1] == DICTIONARY_PAGE:
                dictionary.fill(_Stream(_pieces(body, stored.codec)), header[7][1])
            elif header[1] == DATA_PAGE:
                page, stream = header[5], _Stream(_pieces(body, stored.codec))
                is_optional = node.repetition == OPTIONAL
                levels = _hybrid(_Stream([stream.take(stream.number(4))]), 1) if is_optional else repeat(1)
                yield from _values(stream, islice(levels, page[1]), page[2], dictionary)
            else:
                page = header[8]
                levels = _hybrid(_Stream([body.read(page[5])]), 1) if page[5] else repeat(1)
                stream = _Stream(_pieces(body, stored.codec if page.get(7, True) else UNCOMPRESSED))
                yield from _values(stream, islice(levels, page[1]), page[4], dictionary)


def _values(
    stream: "_Stream", levels: Iterator[int], encoding: int, dictionary: "_Dictionary"
) -> Iterator[bytes | None]:
    numbers = None
    for level in levels:
        if not level:
            yield None
        elif encoding == PLAIN:
            yield stream.take(stream.number(4))
        else:
            numbers = numbers or _hybrid(stream, stream.number(1))
            yield dictionary[next(numbers)]


class _Range(io.RawIOBase):
    """Some bytes of a file."""

    def __init__(self, file: int, at: int, size: int) -> None:
        self._file, self._at, self._end = file, at, at + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        piece = os.pread(self._file, min(len(buffer), self._end - self._at), self._at)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class _Stream:
    """Bytes that come in pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._data, self._at = iter(pieces), bytearray(), 0

    def take(self, size: int) -> bytes:
        if size > MAX_VALUE_BYTES:
            raise UnreadableError(TOO_LARGE, f"found a value of {size} bytes, expected at most {MAX_VALUE_BYTES}")
        if size > len(self._data) - self._at:
            del self._data[: self._at]
            self._at = 0
            while size > len(self._data):
                piece = next(self._pieces, b"")
                if not piece:
                    raise IndexError
                self._data += piece
        self._at += size
        return bytes(self._data[self._at - size : self._at])

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def varint(self) -> int:
        value = shift = 0
        while (byte := self.number(1)) > 127 and shift < 64:  # noqa: PLR2004 - seven bits a byte
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift


class _Dictionary:
    """The values of a dictionary, in a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._places = file, [0]

    def fill(self, stream: _Stream, count: int) -> None:
        self._file.seek(0)
        self._places = [0]
        for _ in range(count):
            value = stream.take(stream.number(4))
            self._file.write(value)
            self._places.append(self._places[-1] + len(value))
        self._file.flush()

    def __getitem__(self, number: int) -> bytes:
        begin, end = self._places[number], self._places[number + 1]
        return os.pread(self._file.fileno(), end - begin, begin)


def _hybrid(stream: _Stream, width: int) -> Iterator[int]:
    """Yield small numbers, which are written as runs, or packed in groups of eight; more may come than are meant."""
    mask = (1 << width) - 1
    while True:
        head = stream.varint()
        if not head & 1:
            yield from repeat(stream.number((width + 7) // 8), head >> 1)
            continue
        for _ in range(head >> 1):
            packed = stream.number(width)
            yield from [packed >> place * width & mask for place in range(8)]


def _pieces(body: io.RawIOBase, codec: int) -> Iterator[bytes]:
    """Yield what is compressed in a page, piece by piece."""
    if codec == SNAPPY:
        return _snappy(_Stream(iter(lambda: body.read(PIECE_BYTES) or b"", b"")))
    source: io.RawIOBase | gzip.GzipFile | zstandard.ZstdDecompressionReader = body
    if codec == GZIP:
        source = gzip.GzipFile(fileobj=io.BufferedReader(body))
    elif codec == ZSTD:
        source = zstandard.ZstdDecompressor().stream_reader(io.BufferedReader(body), read_across_frames=True)
    return iter(lambda: source.read(PIECE_BYTES) or b"", b"")


def _snappy(stream: _Stream) -> Iterator[bytes]:
    left, window = stream.varint(), bytearray()
    while left > 0:
        tag = stream.number(1)
        kind, size = tag & 3, tag >> 2
        if kind == 0:
            size = size + 1 if size < 60 else stream.number(size - 59) + 1  # noqa: PLR2004 - the size stands behind
            while size > 0:
                window += stream.take(part := min(size, PIECE_BYTES))
                size, left = size - part, left - part
                if len(window) > PIECE_BYTES + WINDOW_BYTES:
                    yield bytes(window[:-WINDOW_BYTES])
                    del window[:-WINDOW_BYTES]
            continue
        back = tag >> 5 << 8 | stream.number(1) if kind == 1 else stream.number(2 if kind == 2 else 4)  # noqa: PLR2004
        size = (size & 7) + 4 if kind == 1 else size + 1
        if not 0 < back <= len(window):
            raise IndexError
        copied = window[-back:] if back < size else window[len(window) - back : len(window) - back + size]
        window += (copied * (size // back + 1))[:size] if back < size else copied
        left -= size
        if len(window) > PIECE_BYTES + WINDOW_BYTES:
            yield bytes(window[:-WINDOW_BYTES])
            del window[:-WINDOW_BYTES]
    yield bytes(window)
