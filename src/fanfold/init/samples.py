"""Sample files on disk: how much of each is read, so that a gigabyte takes seconds, and where their feed lives."""

import contextlib
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fanfold.errors import FanfoldError, MissingError
from fanfold.faults import UnreadableError
from fanfold.feed import access, runs
from fanfold.feed.landing import scan_landing
from fanfold.input_formats import compression, input_format, is_archive, taken_by, taken_inside
from fanfold.layout import Feed, Place
from fanfold.manifest import source_file
from fanfold.records.content import windows
from fanfold.records.members import members
from fanfold.spec.model import Input, Spec
from fanfold.spec.roots import allowed_roots, check_allowed

# What is read of all samples together, and of a reference.
SAMPLE_BYTES, REFERENCE_BYTES = 8 << 20, 16 << 20
SAMPLE_FILES = 64
# Where no record is that small, so much is read of a file.
MOST_BYTES = 32 << 20
# A text of JSON, the last one perhaps without its end, or a bracket.
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
SCHEMA_NAME = "fanfold.schema.json"
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


def take(paths: Collection[Path], references: Iterable[Path], scratch: Path) -> Samples:
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
        where = ", ".join(repr(str(path)) for path in paths)
        msg = f"found no file to read in {where}, expected samples: {', '.join(Input().patterns)}"
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
        spec = Spec(version=1, name="samples")
        settings = spec.input.model_copy(update={"path": path.name, "settle_seconds": 0})
        landed = scan_landing(Feed(path.parent, spec.model_copy(update={"input": settings})))
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


class Home(NamedTuple):
    """Where a feed lives.

    Attributes:
        data_dir: as the spec writes it.
        path: of landing, in data_dir.
        patterns: of the files to take; none where the usual ones do.
        references: their names in data_dir, by their paths; those that lie elsewhere are not there.
        reason: why landing is not where the samples lie; empty where it is.
    """

    data_dir: str
    path: str
    patterns: list[str]
    references: dict[Path, str]
    reason: str


def home_of(name: str, samples: Samples, references: list[Path], to_dir: Path) -> Home:
    """Choose where a feed lives: landing is the folder of the samples, data_dir the one around it and the references.

    Where that cannot be, landing is a new folder below `to_dir`.

    Args:
        name: of the feed.
        samples: its samples.
        references: its references.
        to_dir: where the spec will lie.
    """
    root = Path(os.path.commonpath([samples.folder.parent, *(path.parent for path in references)]))
    if len(samples.folder.relative_to(root).parts) > 2:  # noqa: PLR2004 - what lies far above is not of this feed
        root = samples.folder.parent
    path, reason = str(PurePosixPath(samples.folder.relative_to(root))), ""
    try:
        patterns = _patterns(samples, references, to_dir)
        spec = Spec.model_validate({"version": 1, "name": name, "data_dir": str(root), "input": {"path": path}})
        feed = Feed(root, spec)
        check_allowed(root, allowed_roots(to_dir / "spec.yaml", spec), "data_dir")
        access.check_writable([root, *feed.folders])
        runs.check_identity(feed)
    except (FanfoldError, ValueError) as error:
        root, path, patterns = to_dir / "data" / name, "landing", []
        reason = " ".join(str(error).splitlines()[:3])
    inside = {one: str(one.relative_to(root)) for one in references if one.is_relative_to(root)}
    return Home(os.path.relpath(root, to_dir), path, patterns, inside, reason)


def _patterns(samples: Samples, references: list[Path], to_dir: Path) -> list[str]:
    """Return the patterns that take the samples, and no reference and no other file beside them; none for the usual.

    The JSON Schema of the spec, which `to_dir` gets, is no sample either.

    Raises:
        ValueError: there are none.
    """
    names = {Path(name).name for name in samples.names}
    tables = {path.name for path in references if path.parent.is_relative_to(samples.folder)}
    tables |= {SCHEMA_NAME} if to_dir.resolve().is_relative_to(samples.folder.resolve()) else set()
    beside = {one.name for one in samples.folder.iterdir() if one.is_file()} - names | tables
    if _tell(Input().patterns, names, beside):
        return []
    suffixes = sorted({"".join(re.findall(r"\.[A-Za-z]\w*", name)) for name in names})
    # Names in sorted order have in common what the first and the last one have.
    low, high = min(names), max(names)
    common = max((low[:end] for end in range(len(low)) if high.startswith(low[:end])), key=len)
    start = re.split(r"[\d.]", common, maxsplit=1)[0]
    # What lies beside samples that are named may be of another kind.
    for begin, others in (("", beside), (start, tables)):
        patterns = [f"{begin}*{suffix}" for suffix in suffixes]
        if _tell(patterns, names, others):
            return patterns
    msg = "no pattern separates the samples from the other files in their folder"
    raise ValueError(msg)


def _tell(patterns: list[str], names: set[str], others: set[str]) -> bool:
    """Say whether patterns take all of some names, and none of others."""
    takes = taken_by(patterns).match
    return all(map(takes, names)) and not any(map(takes, others))
