"""A folder that stands for a feed in a bucket, for one process: what `fanfold.mirrors` promises.

The log of claims is the truth about runs that are not complete. Their files lie in landing until they are archived, and
stand here in their subdirectories. Their working files are named by the attempt that made them, so nobody ever gives a
name two contents; the log says which attempt holds.
"""

import os
import uuid
from collections.abc import Iterable
from pathlib import Path

import msgspec

from fanfold import documents
from fanfold.bucket.claims import Claims
from fanfold.bucket.connections import at_once
from fanfold.bucket.copies import Copies
from fanfold.bucket.objects import Objects, is_copy
from fanfold.bucket.store import BucketStore
from fanfold.bucket.view import FAILURE, MERGED, PROGRESS, PUBLISHED, RECORDS, View
from fanfold.errors import BusyError, TakenError
from fanfold.layout import Feed, Run
from fanfold.manifest import Manifest
from fanfold.spec.model import Spec
from fanfold.working_files import Progress

PURGED = ".fanfold/purged/"
# Working files that follow from the log of claims, and those that only this process needs.
OWN = {"spec.json", "files.json", "release.json", "publishing", "lease", "driver"}


class BucketMirror:
    """A folder that stands for the feed of `objects`."""

    def __init__(self, objects: Objects, root: Path, spec: Spec) -> None:
        """Begin with an empty folder; `refresh` shows what is there."""
        self.uri, self.root = objects.uri, root
        self._objects, self._copies, self._claims = objects, Copies(objects, root), Claims(objects)
        feed = Feed(root, spec)
        self._view, self._identity = View(feed, self._copies, self._claims), self._copies.name(feed.identity_path)

    def close(self) -> None:
        """Let go of the threads."""
        self._copies.threads.shutdown(wait=False, cancel_futures=True)

    def fetch(self, path: str) -> None:
        """Fetch what a file stands for, if it is not here yet."""
        self._copies.fetch(self._copies.name(path))

    def will_read(self, paths: Iterable[str]) -> None:
        """Fetch what several files stand for ahead of who reads them, in that order."""
        self._copies.fetch_ahead(map(self._copies.name, paths))

    def has_read(self, path: str) -> None:
        """Say that who reads a file is done: it may make room for others."""
        self._copies.has_read(self._copies.name(path))

    def lstat(self, path: str) -> os.stat_result:
        """Return the state of a file, which is the same on every machine."""
        return self._copies.lstat(path)

    def _key(self, name: str) -> str | None:
        """Return the key of a file; None for one that only this process needs."""
        ts, rest = _working(name)
        last = rest.rpartition("/")[2]
        if not rest or last == FAILURE:
            return name
        if last in OWN:
            return None
        return f"staging/{ts}/.fanfold/{self._view.attempts.setdefault(ts, uuid.uuid4().hex[:16])}/{rest}"

    def put(self, path: Path, content: Path) -> None:
        """Create an object, or find it there with the same bytes; what may change is written anew.

        Raises:
            TakenError: other bytes have its name.
            BusyError: another process has begun to publish the run, whose spec this one changes; or another one has
                just begun with a feed here, or purges the same run.
        """
        name = self._copies.name(path)
        ts, rest = _working(name)
        if rest == "spec.json":
            self._renew(ts, content)
        key = self._key(name)
        if key is None:
            return
        if busy := self._busy(name):
            try:
                self._copies.has_content(name, self._objects.create(name, content, self._copies.known(name)))
            except TakenError:
                raise BusyError(busy) from None
            return
        if _may_change(name):
            self._objects.replace(key, content.read_bytes())
            self._copies.drop(name, is_file=False)
            return
        if ts and ts not in self._view.held and rest.endswith(("inputs.json", "schema.json")):
            # Nobody reads them before they hold: they may be written again, when others were faster.
            self._objects.replace(key, content.read_bytes())
            return
        if rest.endswith(RECORDS) and (self._view.alone or not content.stat().st_size):
            return
        if rest.endswith(PROGRESS):
            done = documents.decode(content.read_bytes(), Progress)
            if self._view.alone and not done.outputs:
                return
            key = key.removesuffix(PROGRESS) + (PUBLISHED if done.outputs else MERGED)
        self._copies.has_content(name, self._objects.create(key, content))

    def _busy(self, name: str) -> str | None:
        """Say what it means if another process has written a file since it was seen; None if that does not matter."""
        if name == self._identity and not self._copies.known(name):
            return f"another process has just begun a feed at {self.uri!r}: try again"
        run = name.removeprefix(PURGED).removesuffix(".json")
        return f"another process purges run {run}: try again" if name.startswith(PURGED) else None

    def _renew(self, ts: str, content: Path) -> None:
        run, spec = self._view.state.runs.get(ts), msgspec.json.decode(content.read_bytes())
        if run and run.spec != spec:
            if not self._claims.renewed(ts, spec, self._view.state):
                msg = f"another process works on run {ts}, whose spec is to be changed: try again"
                raise BusyError(msg)
            self._view.refresh()

    def forget(self, paths: Iterable[Path]) -> None:
        """Remove objects; the working files of an attempt go when their run ends."""
        names = [self._copies.name(path) for path in paths if path.exists()]
        for _ in at_once(self._objects.delete, (one for one in names if not _working(one)[1] or _may_change(one))):
            pass
        for name in names:
            self._copies.drop(name, is_file=False)

    def look_at(self, paths: Iterable[str]) -> None:
        """Show files of landing, where they are there."""
        self._view.look_at(map(self._copies.name, paths))

    def see(self, run: Run, committed: Manifest) -> None:
        """Show the tables and the originals of a complete run."""
        self._view.see(run, committed)

    def refresh(self, ts: str | None = None, n: int | None = None) -> None:
        """Show what is in the bucket by now, as `View.refresh` does."""
        self._view.refresh(ts, n)

    def are_copies(self, one: str, other: str) -> bool:
        """Say whether the store proves that two files have the same bytes."""
        found = [self._copies.known(self._copies.name(path)) for path in (one, other)]
        return all(found) and is_copy(*filter(None, found))

    def store(self, feed: Feed) -> BucketStore:
        """Return what decides about the files of the feed."""
        return BucketStore(feed, self._objects, self._view, self._claims)


def _working(name: str) -> tuple[str, str]:
    """Return the run of a working file, and the rest of its name; nothing for any other file."""
    top, _, rest = name.partition("/")
    ts, _, rest = rest.partition("/")
    own, _, rest = rest.partition("/")
    return (ts, rest) if top == "staging" and own == ".fanfold" else ("", "")


def _may_change(name: str) -> bool:
    is_own = name.startswith(".fanfold/") and not name.startswith((".fanfold/runs/", ".fanfold/references/"))
    return is_own or name.endswith(f"/{FAILURE}")
