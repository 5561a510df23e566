"""Folders that stand for a feed in a bucket: the steps work on them as on any folder.

What is opened there is fetched first; what `durable` writes there is put into the bucket at that moment. So a bucket
passes through the states that a folder could be in after a crash, and through no others. Here is only who stands for
what; `fanfold.bucket` does the work.
"""

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fanfold.errors import MissingError

if TYPE_CHECKING:
    from fanfold.feed.store import Store
    from fanfold.layout import Feed, Run
    from fanfold.manifest import Manifest

AnyPath = str | os.PathLike[str]

URI = re.compile(r"(s3|gs|az)://\S+")


class Landed(NamedTuple):
    """A file in landing as it is now: why nobody can take it, its size, and when it changed, in seconds."""

    held: str | None
    size_bytes: int = 0
    mtime: float = 0.0
    ctime: float = 0.0


class Mirror(Protocol):
    """A folder that stands for a feed in a bucket. Paths are in that folder."""

    uri: str
    root: Path

    def fetch(self, path: str) -> None:
        """Fetch what a file stands for, if it is not here yet."""

    def will_read(self, paths: Iterable[str]) -> None:
        """Fetch what several files stand for ahead of who reads them, in that order."""

    def has_read(self, path: str) -> None:
        """Say that who reads a file is done: it may make room for others."""

    def lstat(self, path: str) -> os.stat_result:
        """Return the state of a file, which is the same on every machine."""

    def put(self, path: Path, content: Path) -> None:
        """Put a complete file into the bucket under the name of `path`."""

    def forget(self, paths: Iterable[Path]) -> None:
        """Remove files from the bucket, where they are there."""

    def look_at(self, paths: Iterable[str]) -> None:
        """Show files of landing, where they are there."""

    def see(self, run: "Run", committed: "Manifest") -> None:
        """Show the tables and originals of a complete run."""

    def are_copies(self, one: str, other: str) -> bool:
        """Say whether it is known, without a look, that two files have the same bytes."""

    def store(self, feed: "Feed") -> "Store":
        """Return what decides about the files of the feed."""


_mirrors: dict[str, tuple[Mirror, Callable[[], object]]] = {}


def is_uri(data_dir: AnyPath) -> bool:
    """Say whether the root of a feed is in a bucket."""
    return isinstance(data_dir, str) and URI.fullmatch(data_dir) is not None


def absolute(data_dir: AnyPath | None) -> AnyPath | None:
    """Return the root of a feed that is meant relative to the working directory, and not to the spec."""
    return data_dir if data_dir is None or is_uri(data_dir) else Path(data_dir).absolute()


def use(mirror: Mirror, put_away: Callable[[], object]) -> None:
    """Let a folder stand for its bucket, until the block of `working` ends."""
    _mirrors[str(mirror.root)] = mirror, put_away
    _watch()


@functools.cache
def _watch() -> None:
    """Have every file fetched before Python opens it, whoever opens it: nobody reads what only stands for a file."""
    sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _mirrors:
        path, _, flags = arguments
        if isinstance(path, (str, os.PathLike)) and not (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
            present(path)


@contextlib.contextmanager
def working() -> Iterator[None]:
    """Put away at the end of the block what stands for buckets that were opened in it; errors name the buckets."""
    before = {*_mirrors}
    try:
        yield
    except BaseException as error:
        _name_buckets(error)
        raise
    finally:
        for root in _mirrors.keys() - before:
            _, put_away = _mirrors.pop(root)
            put_away()


def of(path: AnyPath) -> Mirror | None:
    """Return the mirror that a path is in, if it is in one."""
    if not _mirrors:
        return None
    place = os.fspath(path)
    return next((one for root, (one, _) in _mirrors.items() if place == root or place.startswith(f"{root}/")), None)


def at(uri: str) -> Mirror | None:
    """Return the mirror of a bucket, where there is one."""
    return next((one for one, _ in _mirrors.values() if one.uri == uri.rstrip("/")), None)


def folder(data_dir: AnyPath) -> Path:
    """Return the folder to work on: a directory itself, or the one that stands for a bucket.

    Raises:
        MissingError: nothing stands for the bucket.
    """
    if not is_uri(data_dir):
        return Path(data_dir).resolve()
    if mirror := at(str(data_dir)):
        return mirror.root
    msg = f"{str(data_dir)!r} is not open, expected the feed of a spec to be opened before its runs"
    raise MissingError(msg)


def present(path: AnyPath) -> AnyPath:
    """Fetch what a path stands for, if it stands for something: for a library that opens files without Python."""
    if mirror := of(path):
        mirror.fetch(os.fspath(path))
    return path


def will_read(paths: Iterable[str]) -> None:
    """Say which files will be read next, in that order: those that stand for something are fetched ahead."""
    found = [*paths] if _mirrors else []
    if found and (mirror := of(found[0])):
        mirror.will_read(found)


def has_read(path: AnyPath) -> None:
    """Say that who reads a file is done: one that stands for something may make room for others."""
    if mirror := of(path):
        mirror.has_read(os.fspath(path))


def look_at(paths: Iterable[str]) -> None:
    """Show which files are in landing: in a bucket it is not shown as a whole."""
    found = [*paths] if _mirrors else []
    if found and (mirror := of(found[0])):
        mirror.look_at(found)


def see(run: "Run", committed: "Manifest") -> None:
    """Show the tables and originals of a complete run."""
    if mirror := of(run.feed.data_dir):
        mirror.see(run, committed)


def put(contents: Mapping[Path, Path]) -> None:
    """Put complete files into the bucket that they stand for, each under the name of its path."""
    if mirror := of(next(iter(contents), "")):
        with ThreadPoolExecutor() as threads:
            for _ in threads.map(lambda path: mirror.put(path, contents[path]), contents):
                pass


def forget(paths: Collection[Path]) -> None:
    """Remove files from the bucket in which they are."""
    if mirror := of(next(iter(paths), "")):
        mirror.forget(paths)


def are_copies(one: AnyPath, other: AnyPath) -> bool:
    """Say whether a store proves, without a look, that two files have the same bytes."""
    mirror = of(one)
    return mirror is not None and mirror.are_copies(os.fspath(one), os.fspath(other))


def lstat(path: AnyPath) -> os.stat_result:
    """Return the state of a file, as `os.lstat` does; of one in a bucket, the same on every machine."""
    mirror = of(path)
    return mirror.lstat(os.fspath(path)) if mirror else os.lstat(path)


def _name_buckets(error: BaseException) -> None:
    error.args = tuple(named(part) if isinstance(part, str) else part for part in error.args)
    if notes := getattr(error, "__notes__", None):
        notes[:] = map(named, notes)
    if isinstance(error, OSError) and isinstance(error.filename, str):
        error.filename = named(error.filename)
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        _name_buckets(inner)


def named(text: str) -> str:
    """Return a message with the names of buckets in place of the folders that stand for them."""
    for root, (mirror, _) in _mirrors.items():
        text = text.replace(root, mirror.uri)
    return text
