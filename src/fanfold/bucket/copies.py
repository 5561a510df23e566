"""Files that stand for objects: of the right size, without content until somebody reads them."""

import errno
import hashlib
import itertools
import math
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from fanfold.bucket.connections import CONNECTIONS
from fanfold.bucket.objects import Object, Objects
from fanfold.errors import ChangedError, StillWrittenError

# How many files, and how much, are fetched ahead of one who reads.
AHEAD_FILES, AHEAD_BYTES = 2 * CONNECTIONS, 64 * 1024**2


class Copies:
    """The files below a folder that stand for objects. Their names are relative to it; threads share them."""

    def __init__(self, objects: Objects, root: Path) -> None:
        """Begin with an empty folder."""
        self.root, self.objects = root, objects
        self.threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="bucket")
        self._lock = threading.RLock()
        self._known: dict[str, Object] = {}
        # Those whose content is not here, and those whose content is on its way.
        self._absent: set[str] = set()
        self._arriving: dict[str, Future[None]] = {}
        self._numbers = itertools.count()
        # What was fetched ahead and not read yet, with what comes behind it; and what was read, the oldest first.
        self._ahead: dict[str, Iterator[str]] = {}
        self._read: dict[str, int] = {}
        self._read_bytes = 0
        # How much of what was read may stay, in case that it is read again.
        self.room_bytes = math.inf

    def name(self, path: str | os.PathLike[str]) -> str:
        """Return the name of a path in the folder."""
        return os.fspath(path)[len(str(self.root)) + 1 :]

    def known(self, name: str) -> Object | None:
        """Return the object that a file stands for, or is a copy of."""
        return self._known.get(name)

    def here(self, name: str) -> Path | None:
        """Return where the content of an object is, if it is here."""
        with self._lock:
            return self.root / name if name in self._known and name not in self._absent else None

    def stand_in(self, name: str, found: Object, *, visible: bool = True) -> None:
        """Let a file stand for an object; one that is not visible is there when it is read."""
        with self._lock:
            known = self._known.get(name)
            self._known[name] = found
            if known and (known.name, known.e_tag) == (found.name, found.e_tag):
                return
            if visible:
                self._make(name)
            self._absent.add(name)
            self._arriving.pop(name, None)

    def has_content(self, name: str, found: Object) -> None:
        """Say that a file has the content of an object: it was written here."""
        with self._lock:
            self._known[name] = found
            self._absent.discard(name)

    def drop(self, name: str, *, is_file: bool = True) -> None:
        """Let a file stand for nothing; remove it, if it is not removed by somebody else."""
        with self._lock:
            self._known.pop(name, None)
            self._ahead.pop(name, None)
            self._keep(name)
            self._absent.discard(name)
            if is_file:
                (self.root / name).unlink(missing_ok=True)

    def drop_all(self, prefix: str) -> list[str]:
        """Let all files below a prefix stand for nothing; remove them, and return their names."""
        with self._lock:
            names = [name for name in self._known if name.startswith(prefix)]
            for name in names:
                self.drop(name)
        return names

    def fetch(self, name: str) -> None:
        """Fetch the content of a file, if it is not here.

        Raises:
            DataError: a file that a run has claimed is not in landing any more, or is another one there.
            StillWrittenError: any other object was replaced or removed since it was listed.
        """
        if arriving := self._begin(name):
            arriving.result()

    def fetch_ahead(self, names: Iterable[str]) -> None:
        """Begin to fetch the first of several files; each that was read begins the next ones."""
        self._begin_next(iter([*names]))

    def _begin_next(self, left: Iterator[str]) -> None:
        with self._lock:
            sizes = [self._known[name].size_bytes for name, behind in self._ahead.items() if behind is left]
            while not sizes or (len(sizes) < AHEAD_FILES and sum(sizes) < AHEAD_BYTES):
                name = next((one for one in left if one in self._absent and one not in self._ahead), None)
                if name is None:
                    return
                self._begin(name)
                self._ahead[name] = left
                sizes.append(self._known[name].size_bytes)

    def has_read(self, name: str) -> None:
        """Say that who reads a file is done: of those that nobody reads, the oldest make room."""
        with self._lock:
            if left := self._ahead.pop(name, None):
                self._begin_next(left)
            self._keep(name)
            if self.here(name):
                self._read[name] = self._known[name].size_bytes
                self._read_bytes += self._read[name]
            while self._read_bytes > self.room_bytes:
                self._keep(oldest := next(iter(self._read)))
                self._arriving.pop(oldest, None)
                # Whoever has it open keeps what is in it.
                self._make(oldest)
                self._absent.add(oldest)

    def _keep(self, name: str) -> None:
        """Have a file stay while somebody reads it, or until it was read again."""
        self._read_bytes -= self._read.pop(name, 0)

    def _make(self, name: str) -> None:
        """Make the file that stands for an object."""
        place, made = self.root / name, self.root.with_name("made")
        place.parent.mkdir(parents=True, exist_ok=True)
        with made.open("wb") as file:
            file.truncate(self._known[name].size_bytes)
        made.replace(place)

    def _begin(self, name: str) -> Future[None] | None:
        with self._lock:
            self._keep(name)
            if name not in self._absent:
                return None
            if name not in self._arriving:
                self._arriving[name] = self.threads.submit(self._fetch, name, self._known[name])
            return self._arriving[name]

    def _fetch(self, name: str, wanted: Object) -> None:
        place, arriving = self.root / name, self.root.with_name(f"arriving-{next(self._numbers)}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            found = self.objects.fetch(wanted.name, arriving, wanted.e_tag)
            with self._lock:
                # It may stand for another object by now.
                known = self._known.get(name)
                if found and known and known.e_tag == wanted.e_tag:
                    arriving.replace(place)
                    self._absent.discard(name)
        finally:
            with self._lock:
                self._arriving.pop(name, None)
            arriving.unlink(missing_ok=True)
        if found is None:
            raise self.changed(name, wanted)

    def changed(self, name: str, wanted: Object) -> Exception:
        """Return the error of an object that is not what a file stands for any more."""
        where = f"{self.objects.uri}/{wanted.name}"
        if wanted.name.startswith("staging/"):
            # A working file goes with its run, as in a folder.
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), where)
        if name == wanted.name:
            return StillWrittenError(f"{where!r} was overwritten or removed while it was read: try again")
        return ChangedError(
            f"{where!r} was overwritten or removed after it was claimed, expected it to stay in landing until it is "
            "archived: give the run up (fanfold release SPEC TS), and the next one takes what is there now"
        )

    def lstat(self, path: str) -> os.stat_result:
        """Return the state of a file by what the store says of it: the same on every machine."""
        own, found = os.lstat(path), self._known.get(self.name(path))
        if found is None:
            return own
        # A number for the version, in place of a time: long ago, and another one for other bytes.
        version_ns = int.from_bytes(hashlib.sha256(found.e_tag.encode()).digest()[:6])
        values = (own.st_mode, 0, 0, 1, own.st_uid, own.st_gid, found.size_bytes, 0, 0, 0)
        return os.stat_result(values, {"st_mtime_ns": version_ns, "st_ctime_ns": version_ns, "st_atime_ns": version_ns})
