"""The part of sample files that is read: a bounded one, so that a gigabyte takes seconds."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from fanfold.errors import MissingError
from fanfold.faults import UnreadableError
from fanfold.feed.landing import scan_landing
from fanfold.formats import compression, input_format, is_archive, taken_inside
from fanfold.layout import Place
from fanfold.manifest import source_file
from fanfold.records.content import windows
from fanfold.records.members import members
from fanfold.spec.model import Input

# What is read of all samples together, and of a reference.
SAMPLE_BYTES, REFERENCE_BYTES = 8 << 20, 16 << 20
SAMPLE_FILES = 64
# Where no record is that small, so much is read of a file.
MOST_BYTES = 32 << 20
# A text of JSON, the last one perhaps without its end, or a bracket.
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
CLOSERS = {b"{": b"}", b"[": b"]"}


class Samples(NamedTuple):
    """Sample files.

    Attributes:
        folder: where they lie, all of them, some perhaps in folders of it.
        names: of all files, relative to it, sorted.
        places: of those that are read, the file or the part of it that is read; of an archive, its members.
        read_files: how many are read.
        read_bytes: how much is read; decompressed, where a file is compressed.
        total_bytes: of all files, as they lie on disk.
    """

    folder: Path
    names: list[str]
    places: dict[str, Place]
    read_files: int
    read_bytes: int
    total_bytes: int


def take(paths: Iterable[Path], references: Iterable[Path], scratch: Path) -> Samples:
    """Choose files, and put the beginnings of those that are too large into `scratch`.

    Args:
        paths: files, and folders whose files are meant.
        references: files that are not samples, wherever they lie.
        scratch: a folder for parts of files.

    Raises:
        MissingError: a path is not there, or no file can be read.
    """
    found = {file for path in paths for file in _files(path)} - set(references)
    if not found:
        msg = f"found no file to read, expected samples: {', '.join(Input().patterns)}"
        raise MissingError(msg)
    folder = Path(os.path.commonpath([file.parent for file in found]))
    names = sorted(str(file.relative_to(folder)) for file in found)
    # Evenly spread: the files of a folder are often one for each day.
    chosen = names[:: -(-len(names) // SAMPLE_FILES)]
    most = SAMPLE_BYTES // len(chosen)
    places = dict(part for name in chosen for part in _parts(folder / name, name, most, scratch))
    read = sum(place.size_bytes for place in places.values())
    return Samples(folder, names, places, len(chosen), read, sum(file.stat().st_size for file in found))


def _parts(source: Path, name: str, most: int, scratch: Path) -> Iterable[tuple[str, Place]]:
    """Return what is read of a file: of an archive its members, or the beginnings of the first ones."""
    if not is_archive(name):
        return [part_of(source, name, most, scratch)]
    parts, left, is_taken = list[tuple[str, Place]](), most, taken_inside(name, Input().patterns)
    with contextlib.suppress(UnreadableError), contextlib.closing(members(str(source), scratch, is_taken)) as found:
        for member in found:
            if member.path:
                inner, place = part_of(Path(member.path), source_file(name, member.name), most // 8, scratch)
                if place.path == member.path:
                    # It lies there for a moment only.
                    copied = shutil.copy(member.path, f"{scratch}/{len(list(scratch.iterdir()))}")
                    place = Place(copied, place.size_bytes)
                parts.append((inner, place))
                left -= place.size_bytes
            if left <= 0:
                break
    # Looking at it says why there is none.
    return parts or [(name, Place(str(source), source.stat().st_size))]


def _files(path: Path) -> Iterator[Path]:
    path = path.resolve()
    if path.is_dir():
        landed = scan_landing(path, Input().patterns, 0)
        yield from (path / file.name for file in landed.ready)
    elif path.is_file():
        yield path
    else:
        msg = f"{str(path)!r} is not a file or a folder, expected samples of the files that will land"
        raise MissingError(msg)


def part_of(source: Path, name: str, most: int, scratch: Path) -> tuple[str, Place]:
    """Return a name and a place of a file, or of its beginning: whole records, `most` bytes or a little more.

    What is read of a large file of Parquet is the JSON of its records, and its name says so.
    """
    size, kind = source.stat().st_size, input_format(name)
    is_packed = bool(compression(name))
    if size <= most and not is_packed:
        return name, Place(str(source), size)
    content, is_whole = _beginning(source, kind == "parquet", most)
    cut = _whole_lines if kind == "csv" else _closed
    # A record may be larger than that.
    while not is_whole and most < MOST_BYTES and not cut(content):
        most *= 8
        content, is_whole = _beginning(source, kind == "parquet", most)
    content = content if is_whole else cut(content) or content
    target = scratch / f"{len(list(scratch.iterdir()))}.{'csv' if kind == 'csv' else 'json'}"
    target.write_bytes(content)
    return f"{name}.json" if kind == "parquet" else name, Place(str(target), len(content))


def _beginning(source: Path, is_parquet: bool, most: int) -> tuple[bytes, bool]:  # noqa: FBT001 - told by position
    """Return the beginning of what is in a file, and whether that is all."""
    from fanfold import parquet

    content = bytearray()
    try:
        for window in parquet.windows(source) if is_parquet else windows(str(source), lambda _: None):
            content += window
            if len(content) > most:
                return bytes(content[:most]), False
    except UnreadableError:
        # What came before is good; a run says what is wrong.
        return bytes(content), False
    return bytes(content), True


def _whole_lines(content: bytes) -> bytes:
    """Return the lines of CSV that are whole: up to the last line break outside of quotes."""
    end = content.rfind(b"\n") + 1
    while end and content.count(b'"', 0, end) % 2:
        end = content.rfind(b"\n", 0, end - 1) + 1
    return content[:end]


def _closed(content: bytes) -> bytes:
    """Return JSON that was cut with its last whole record as the last one, and its brackets closed; b"" without one."""
    around, ends = list[bytes](), dict[int, int]()
    for token in TOKEN.finditer(content):
        if token[0] in CLOSERS:
            around.append(token[0])
        elif token[0] in CLOSERS.values() and around:
            around.pop()
            ends[len(around)] = token.end()
    # Records stand one after the other, or in the first array that was not at its end.
    depth = 0 if 0 in ends else around.index(b"[") + 1 if b"[" in around else 0
    closers = b"".join(CLOSERS[one] for one in reversed(around[:depth]))
    return content[: ends[depth]] + closers if depth in ends else b""
