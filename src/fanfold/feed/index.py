"""The index of a ledger: which files the complete runs have published, found without reading all manifests.

It is derived: a database in the user's cache directory, outside of the feed. It is compared with the manifests that
there are each time it is opened; gone, damaged or stale, it is made again from them. Whenever a new one is made, those
of feeds that are gone, or that were not opened for long, are removed.

A feed in a bucket has a compressed copy of it, with which a machine begins that has none: a hint, compared in the same
way.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from fanfold import documents, durable, mirrors
from fanfold.errors import DataError
from fanfold.layout import Feed
from fanfold.manifest import ArchivedFile
from fanfold.originals import packed, unpacked
from fanfold.path_columns import told_apart_by

WAIT_SECONDS = 60
KEPT_MANIFESTS = 16
KEPT_INDEXES, KEPT_SECONDS = 100, 90 * 86400
# How many manifests the copy in a bucket may lack: so many, or this part of those that it has.
LACKED_MANIFESTS, LACKED_PART = 50, 16
PACKED = ".zst"
# The name of the database says the version of its tables.
NAME = "{}.2.sqlite"
TABLES = """
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS runs (ts TEXT PRIMARY KEY, size_bytes INTEGER, mtime_ns INTEGER) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS files (size_bytes INTEGER, sha256 TEXT, ts TEXT, name TEXT, duplicate INTEGER);
    CREATE INDEX IF NOT EXISTS by_content ON files (size_bytes, sha256);
    CREATE INDEX IF NOT EXISTS by_name ON files (name);
    CREATE INDEX IF NOT EXISTS by_run ON files (ts);
"""


class _Committed(msgspec.Struct):
    """The part of a manifest that is looked at; the rest is not decoded."""

    files: list[ArchivedFile]


class Index:
    """The files of complete runs, but for those that went to quarantine as a whole."""

    def __init__(self, feed: Feed, path: Path | None = None) -> None:
        """Open the index of a feed, at `path` or in the cache directory, and bring it up to date."""
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        mirror = mirrors.of(feed.data_dir)
        name = NAME.format(hashlib.sha256(os.fsencode(mirror.uri if mirror else feed.data_dir)).hexdigest()[:32])
        self._feed, self._path = feed, path or root / "fanfold" / name
        # It says the version of its tables, too.
        self._shared = feed.commits_dir.with_name(NAME.format("index") + PACKED) if mirror else None
        self._open(self._shared)

    def _open(self, shared: Path | None = None) -> None:
        # Many duplicates of one run ask for one manifest.
        self._contents = functools.lru_cache(KEPT_MANIFESTS)(functools.partial(_contents, self._feed))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not self._path.exists()
            if is_new and shared:
                _begin_with(shared, self._path)
            self._connection = _opened(self._path, self._feed)
            os.utime(self._path)
            if is_new:
                _prune(self._path, self._feed)
        except (sqlite3.OperationalError, OSError):
            # There is no place for it, or another process keeps it: it is made for this once.
            self._connection = _opened(":memory:", self._feed)
        except sqlite3.DatabaseError:
            # Damaged.
            self._path.unlink()
            self._open()

    def sizes(self, among: Collection[int]) -> set[int]:
        """Return those of some sizes, in bytes, that a known file has."""
        return self._known("size_bytes", among, "AND NOT duplicate")

    def names(self, among: Collection[str]) -> set[str]:
        """Return those of some names that a known file has."""
        return self._known("name", among, "")

    def share(self) -> None:
        """Replace the copy in the bucket of the feed, if that lacks many manifests."""
        [(shared,)], [(count,)] = map(self._connection.execute, ("PRAGMA user_version", "SELECT count(*) FROM runs"))
        if not self._shared or count - shared < max(LACKED_MANIFESTS, shared // LACKED_PART):
            return
        # On a full disk there is no copy.
        with contextlib.suppress(OSError, sqlite3.OperationalError), tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "copy")
            self._connection.execute(f"PRAGMA user_version = {count}")
            self._connection.execute("VACUUM INTO ?", [str(copy)])
            with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
                # They are made anew in less time than it takes to fetch them.
                connection.executescript("DROP INDEX by_content; DROP INDEX by_name; DROP INDEX by_run; VACUUM")
            with copy.open("rb") as source, durable.writing(self._shared) as file, packed(file, PACKED) as target:
                shutil.copyfileobj(source, target)

    def _known(self, column: str, among: Collection[Any], condition: str) -> set[Any]:
        found = self._connection.execute(
            f"SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM files WHERE {column} = value {condition})",
            [json.dumps(list(among))],
        )
        return {value for (value,) in found}

    def first(self, size: int, sha256: str, like: str) -> str | None:
        """Return the first file that a file `like` with these bytes is a duplicate of, as `<ts>/<name>`.

        Its manifest has confirmed it.
        """
        settings = self._feed.spec.input
        alike = self._connection.execute(
            "SELECT ts, name FROM files WHERE size_bytes = ? AND sha256 = ? AND NOT duplicate ORDER BY ts, name",
            [size, sha256],
        )
        mark = told_apart_by(settings, like)
        found = next(((ts, name) for ts, name in alike if told_apart_by(settings, name) == mark), None)
        if found is None:
            return None
        ts, name = found
        if (name, size, sha256) in self._contents(ts):
            return f"{ts}/{name}"
        # An index that says what no manifest says is none.
        self._connection.close()
        self._path.unlink(missing_ok=True)
        self._open()
        return self.first(size, sha256, like)


def share(feed: Feed) -> None:
    """Leave a copy of the index in the bucket of a feed, as `Index.share` does; of a feed in a folder, nothing."""
    if mirrors.of(feed.data_dir):
        Index(feed).share()


def _opened(database: Path | str, feed: Feed) -> sqlite3.Connection:
    """Open a database; add the runs that came since, and forget those whose manifest is gone or was changed."""
    connection = sqlite3.connect(database, timeout=WAIT_SECONDS, isolation_level=None)
    connection.executescript(TABLES)
    states = {path.stem: mirrors.lstat(path) for path in feed.commits_dir.glob("[!.]*.json")}
    now = {(ts, state.st_size, state.st_mtime_ns) for ts, state in states.items()}
    known = set(connection.execute("SELECT ts, size_bytes, mtime_ns FROM runs").fetchall())
    for ts, _, _ in known - now:
        connection.execute("DELETE FROM files WHERE ts = ?", [ts])
        connection.execute("DELETE FROM runs WHERE ts = ?", [ts])
    new = sorted(now - known)
    mirrors.will_read(str(feed.run(ts).commit_path) for ts, _, _ in new)
    for run in new:
        connection.execute("INSERT INTO runs VALUES (?, ?, ?)", run)
        connection.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?)",
            ((f.size_bytes, f.sha256, run[0], f.name, bool(f.duplicate_of)) for f in _published(feed, run[0])),
        )
        mirrors.has_read(feed.run(run[0]).commit_path)
    connection.execute("COMMIT")
    return connection


def _begin_with(shared: Path, path: Path) -> None:
    """Begin with the copy in the bucket of the feed, unless another process has begun; a damaged one is left."""
    expected = contextlib.suppress(FileNotFoundError, FileExistsError, DataError)
    with expected, unpacked(shared, PACKED) as content, tempfile.NamedTemporaryFile(dir=path.parent) as file:
        shutil.copyfileobj(content, file)
        file.flush()
        path.hardlink_to(file.name)


def _prune(new: Path, feed: Feed) -> None:
    """Say beside a new index which feed it is of, and remove those that nobody needs."""
    # Another process may do the same.
    with contextlib.suppress(OSError):
        new.with_suffix(".feed").unlink(missing_ok=True)
        if not mirrors.of(feed.data_dir):
            new.with_suffix(".feed").symlink_to(feed.data_dir)
        used = {path: path.stat().st_mtime for path in new.parent.glob("*.sqlite")}
        for number, path in enumerate(sorted(used, key=lambda path: -used[path])):
            of, is_old = path.with_suffix(".feed"), used[path] < time.time() - KEPT_SECONDS
            if number >= KEPT_INDEXES or is_old or (of.is_symlink() and not of.exists()):
                for one in (path, path.with_name(f"{path.name}-journal"), of):
                    one.unlink(missing_ok=True)


def _contents(feed: Feed, ts: str) -> set[tuple[str, int, str]]:
    return {(file.name, file.size_bytes, file.sha256) for file in _published(feed, ts)}


def _published(feed: Feed, ts: str) -> list[ArchivedFile]:
    committed = documents.read_if_there(feed.run(ts).commit_path, _Committed)
    return [file for file in committed.files if not file.code] if committed else []
