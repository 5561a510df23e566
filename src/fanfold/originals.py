"""The bytes of an original as it landed, wherever it is now: if the archive has compressed it, it is unpacked."""

import contextlib
import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import zstandard

from fanfold import links
from fanfold.archive_names import packing
from fanfold.errors import DataError


def original(place: Path, name: str) -> contextlib.AbstractContextManager[Any]:
    """Open the original that landed as `name` and lies at `place` now.

    Raises:
        DataError: its compression is damaged.
        PathError: it is a link.
    """
    return unpacked(place, packing(name, place.name))


def original_sha256(place: Path, name: str) -> str:
    """Return the SHA-256 of an original's bytes as they landed, in hexadecimal; errors as in `original`."""
    with original(place, name) as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextlib.contextmanager
def unpacked(path: Path, suffix: str | None) -> Iterator[Any]:
    """Open a file that the archive has compressed as the suffix says, `.gz` or `.zst`, or left as it was.

    Raises:
        DataError: its compression is damaged.
        PathError: it is a link.
    """
    try:
        with links.reading(path) as file, _unpacking(file, suffix) as content:
            yield content
    except (EOFError, gzip.BadGzipFile, zstandard.ZstdError) as error:
        msg = f"{str(path)!r} is damaged ({error}), expected the original, compressed"
        raise DataError(msg) from None


def _unpacking(file: IO[bytes], suffix: str | None) -> Any:
    match suffix:
        case ".gz":
            return gzip.GzipFile(fileobj=file)
        case ".zst":
            return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return file


def packed(file: IO[bytes], suffix: str | None) -> Any:
    """Return a file that compresses what is written to it into `file`: always to the same bytes."""
    match suffix:
        case ".gz":
            # Neither name nor time goes into its header.
            return gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
        case ".zst":
            return zstandard.ZstdCompressor(write_checksum=True).stream_writer(file, closefd=False)
    return file
