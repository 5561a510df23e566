"""Many records of a JSON file at a time, by a decoder that checks what it decodes."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

from fanfold.layout import COMPRESSIONS
from fanfold.records.limits import MAX_VALUES
from fanfold.records.read import is_array
from fanfold.records.window import Stream, decompressed

# No record in a window has too many values.
WINDOW_BYTES = MAX_VALUES
# With what is decoded of it, it stays in a cache of the processor: twice as much takes a third longer.
READ_BYTES = 128 * 1024
# Where records lie in records, a window is cut so many of them earlier.
MOST_CUTS = 64
BLANKS = b" \t\r\n"
FIRST_KEY = re.compile(rb'[ \t\r\n]*\[[ \t\r\n]*(\{[ \t\r\n]*"(?:[^"\\]|\\.)*"[ \t\r\n]*:)')
RAW, RAW_ARRAY = msgspec.json.Decoder(msgspec.Raw), msgspec.json.Decoder(list[msgspec.Raw])


class OtherError(ValueError):
    """The file is not one that is read like this."""


class RawDecoder:
    """Decodes windows of any records, to their bytes."""

    def decode(self, window: memoryview, *, lines: bool) -> list[Any]:
        """Return the records of a window: an array of them, or one in each line."""
        return RAW.decode_lines(window) if lines else RAW_ARRAY.decode(window)


def batches(path: Path, decoder: RawDecoder) -> Iterator[list[Any]]:
    """Yield the records of a file, many at a time.

    Raises:
        OtherError: its records are neither in one array nor one in each line, or one is so large that it may have too
            many values.
        UnreadableError: its compression is damaged.
        msgspec.DecodeError: it is no JSON; whatever the decoder raises.
    """
    with decompressed(path) as stream:
        yield from _windows(_some(stream), stream, decoder)


def content_of(path: str, most_bytes: int) -> bytes | None:
    """Return what is in a file; None where it is more than so much."""
    # For a small file this takes a third of the time that a file object does.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces, left = [], most_bytes + 1
        while left and (piece := os.read(descriptor, left)):
            pieces.append(piece)
            left -= len(piece)
    finally:
        os.close(descriptor)
    return b"".join(pieces) if left else None


def records_of(content: bytes, decoder: RawDecoder) -> list[Any]:
    """Return the records of a small file, given its content.

    Raises:
        msgspec.DecodeError: it is no JSON; whatever the decoder raises.
    """
    return decoder.decode(memoryview(content), lines=not is_array(content))


def join(files: Mapping[str, str], arrays: IO[bytes], others: IO[bytes]) -> dict[str, str]:
    """Write the records of files of JSON one a line, those of arrays apart, in the order of the files.

    Args:
        files: the path of each, by name.
        arrays: what is written of those that are an array.
        others: what is written of the others.

    Returns:
        The SHA-256 of each file that was read at once, by name.

    Raises:
        UnreadableError, ValueError: a file is none whose records were proved.
    """
    decoder, hashes = RawDecoder(), {}
    for name, path in files.items():
        content = None if path.endswith(COMPRESSIONS) else content_of(path, WINDOW_BYTES)
        if content is not None:
            hashes[name] = hashlib.sha256(content).hexdigest()
            _write_lines(records_of(content, decoder), arrays if is_array(content) else others)
            continue
        with decompressed(Path(path)) as stream:
            head = _some(stream)
            for records in _windows(head, stream, decoder):
                _write_lines(records, arrays if is_array(head) else others)
    return hashes


def _write_lines(records: list[Any], target: IO[bytes]) -> None:
    lines = b"\n".join(records)
    if lines.count(b"\n") >= len(records):
        # Only between the values of a record are there line ends.
        lines = b"\n".join(bytes(record).replace(b"\n", b" ") for record in records)
    target.write(lines + b"\n")


def _windows(head: bytes, stream: Stream, decoder: RawDecoder) -> Iterator[list[Any]]:
    """Yield the records of a file, many at a time; `head` is what was read of it before."""
    opening = FIRST_KEY.match(head) if is_array(head) else None
    if is_array(head) and opening is None:
        raise OtherError
    # A window is decoded where it lies, between brackets of its own.
    pending = bytearray(b"[" + head[opening.start(1) :] if opening else head)
    while more := _some(stream):
        if len(pending) > WINDOW_BYTES - READ_BYTES:
            # So large a record may have too many values.
            raise OtherError
        pending += more
        cut = _cut_array(pending, opening[1], decoder) if opening else _cut_lines(pending, decoder)
        if cut:
            records, start = cut
            following = bytearray(b"[" if opening else b"")
            following += memoryview(pending)[start:]
            pending = following
            yield records
    yield decoder.decode(memoryview(pending), lines=opening is None)


def _some(stream: Stream) -> bytes:
    """Return the next bytes: so many, but for the last."""
    pieces, wanted = [], READ_BYTES
    while wanted and (piece := stream.read(wanted)):
        pieces.append(piece)
        wanted -= len(piece)
    return b"".join(pieces)


def _cut_lines(pending: bytearray, decoder: RawDecoder) -> tuple[list[Any], int] | None:
    """Return the records of all whole lines, and where the rest begins; None without a whole line."""
    end = pending.rfind(b"\n") + 1
    return (decoder.decode(memoryview(pending)[:end], lines=True), end) if end else None


def _cut_array(pending: bytearray, opening: bytes, decoder: RawDecoder) -> tuple[list[Any], int] | None:
    """Return the records before the last one, and where that begins; None without one before it.

    It begins like the first one; what is nested in another record may do so too, but what is before it is no JSON.
    """
    start = len(pending)
    for _ in range(MOST_CUTS):
        start = pending.rfind(opening, 1, start)
        end = start - 1
        while end > 0 and pending[end] in BLANKS:
            end -= 1
        if end <= 0:
            break
        if pending[end] == ord(","):
            pending[end] = ord("]")
            try:
                return decoder.decode(memoryview(pending)[: end + 1], lines=False), start
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:
                pending[end] = ord(",")
    return None
