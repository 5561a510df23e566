"""Files that stand for objects: of the right size, without content until somebody reads them."""

import hashlib
import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from fanfold.bucket.connections import CONNECTIONS
from fanfold.bucket.objects import Object, Objects
from fanfold.errors import DataError

# How many files are fetched ahead of who reads them.
AHEAD_FILES = 2 * CONNECTIONS


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
        place = self.root / name
        with self._lock:
            if self._known.get(name) == found:
                return
            if visible:
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as file:
                    file.truncate(found.size_bytes)
            self._known[name] = found
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
            self._absent.discard(name)
            if is_file:
                (self.root / name).unlink(missing_ok=True)

    def fetch(self, name: str) -> None:
        """Fetch the content of a file, if it is not here.

        Raises:
            DataError: the object is not the one that was listed any more.
        """
        if arriving := self._begin(name):
            arriving.result()

    def fetch_ahead(self, names: Iterable[str]) -> None:
        """Begin to fetch the first of several files; each that is here begins the next one."""
        left, lock = iter(names), threading.Lock()

        def begin_next(_: object = None) -> None:
            with lock:
                arriving = next(filter(None, map(self._begin, left)), None)
            if arriving:
                arriving.add_done_callback(begin_next)

        for _ in range(AHEAD_FILES):
            begin_next()

    def _begin(self, name: str) -> Future[None] | None:
        with self._lock:
            if name not in self._absent:
                return None
            if name not in self._arriving:
                self._arriving[name] = self.threads.submit(self._fetch, name, self._known[name])
            return self._arriving[name]

    def _fetch(self, name: str, wanted: Object) -> None:
        place = self.root / name
        arriving = place.with_name(f".{place.name}.fetched")
        place.parent.mkdir(parents=True, exist_ok=True)
        if self.objects.fetch(wanted.name, arriving, wanted.e_tag) is None:
            arriving.unlink(missing_ok=True)
            msg = (
                f"'{self.objects.uri}/{wanted.name}' was overwritten or removed after it was claimed, expected it to "
                "stay as it was until it is archived"
            )
            raise DataError(msg)
        with self._lock:
            arriving.replace(place)
            self._absent.discard(name)

    def lstat(self, path: str) -> os.stat_result:
        """Return the state of a file by what the store says of it: the same on every machine."""
        own, found = os.lstat(path), self._known.get(self.name(path))
        if found is None:
            return own
        # A number for the version, in place of a time: long ago, and another one for other bytes.
        version_ns = int.from_bytes(hashlib.sha256(found.e_tag.encode()).digest()[:6])
        values = (own.st_mode, 0, 0, 1, own.st_uid, own.st_gid, found.size_bytes, 0, 0, 0)
        return os.stat_result(values, {"st_mtime_ns": version_ns, "st_ctime_ns": version_ns, "st_atime_ns": version_ns})
