"""A folder that stands for a feed in a bucket, for one process: what `fanfold.mirrors` promises.

The log of claims is the truth about runs that are not complete. Their files lie in landing until they are archived, and
stand here in their subdirectories. Their working files are named by the attempt that made them, so nobody ever gives a
name two contents; the log says which attempt holds.
"""

import math
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from fanfold import documents
from fanfold.bucket import landing, originals
from fanfold.bucket.claims import Claimed, Claims
from fanfold.bucket.connections import at_once
from fanfold.bucket.copies import Copies
from fanfold.bucket.objects import Object, Objects, is_copy
from fanfold.bucket.probe import check_fit
from fanfold.bucket.view import FAILURE, MERGED, PROGRESS, PUBLISHED, RECORDS, View, in_landing, last_places
from fanfold.errors import BusyError
from fanfold.layout import Feed, Group, Run
from fanfold.manifest import Manifest
from fanfold.mirrors import Landed
from fanfold.spec.model import PLACE, Spec
from fanfold.working_files import Progress

# Working files that follow from the log of claims, and those that only this process needs.
OWN = {"spec.json", "files.json", "release.json", "publishing", "lease", "driver"}


class BucketMirror:
    """A folder that stands for the feed of `objects`."""

    def __init__(self, objects: Objects, root: Path, spec: Spec) -> None:
        """Begin with an empty folder; `refresh` shows what is there."""
        self.uri, self.root = objects.uri, root
        self._objects, self._copies, self._claims = objects, Copies(objects, root), Claims(objects)
        self._view = View(Feed(root, spec), self._copies, self._claims)
        self._path = spec.input.path

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

    # Files

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
            BusyError: another process has begun to publish the run, whose spec this one changes.
        """
        name = self._copies.name(path)
        ts, rest = _working(name)
        if rest == "spec.json":
            self._renew(ts, content)
        key = self._key(name)
        if key is None:
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

    def check_fit(self) -> None:
        """Check that the store was tried, and keeps what a feed rests on."""
        check_fit(self._objects)

    # The life of a run

    def work_alone(self) -> None:
        """Keep to this process what only a later step of a group needs: it is made again after a crash."""
        self._view.alone, self._copies.room_bytes = True, math.inf

    def landing(self) -> dict[str, Callable[[], Landed]]:
        """List what lies in landing and is in no unfinished run, by name."""
        # The log first: an object of a run that ends meanwhile is never taken for a new one.
        taken = {(file.name, file.e_tag) for run in self._claims.state().runs.values() for file in run.files}
        return landing.entries(self._copies, self._path, taken)

    def claim(self, run: Run, places: Iterable[tuple[str, int]]) -> set[str]:
        """Claim files for a run, all in one entry of the log; return those that are gone, or that others have."""
        wanted, marker = dict(places), run.feed.spec.input.done_suffix or ""
        parts = {part: n for name, n in wanted.items() for part in {name, name + marker}}

        def choose(free: list[Any]) -> dict[str, int]:
            names = {one.name for one in free}
            return {part: n for part, n in parts.items() if {part.removesuffix(marker), part} <= names}

        spec = run.feed.spec.model_dump(mode="json", exclude=PLACE)

        def found() -> Iterable[Object]:
            return [] if self._is_complete(run) else landing.listed(self._copies, run.feed.spec.input.path)

        claimed = self._claims.claim(run.ts, spec, found, choose)
        before, self._view.state = self._view.state, self._claims.state()
        if claimed and self._view.state.decided == before.decided + 1:
            self._view.show(run.ts, claimed, [])
        else:
            # What others have decided meanwhile counts.
            self._view.refresh()
        return wanted.keys() - {file.name for file in (claimed.files if claimed else ())}

    def _is_complete(self, run: Run) -> bool:
        return self._objects.head(self._copies.name(run.commit_path)) is not None

    def begin_again(self, run: Run) -> None:
        """Have what is derived next of a run stand apart from what was derived of it before."""
        self._view.attempts[run.ts] = uuid.uuid4().hex[:16]
        self._view.held.discard(run.ts)
        self.forget([run.failure_path, *(group.failure_path for group in run.groups)])
        self._copies.drop_all(f"staging/{run.ts}/.fanfold/")

    def prepared(self, run: Run) -> bool:
        """Make what was derived of a run hold for its groups; say whether no other run has decided meanwhile.

        Raises:
            BusyError: another process has published something of the run, or has given it up.
        """
        if self._claims.prepared(run.ts, self._view.attempts[run.ts], self._view.state):
            self._view.held.add(run.ts)
            return True
        before = self._view.state.runs[run.ts]
        self._view.refresh()
        now = self._view.state.runs.get(run.ts)
        if now is None or now.attempt != before.attempt or now.released is not None:
            msg = f"another process has prepared run {run.ts}, or given it up: try again"
            raise BusyError(msg)
        return False

    def seal(self, group: Group) -> None:
        """Decide, before a group publishes, that its run keeps what was derived of it.

        Raises:
            BusyError: another process has prepared the run anew, or given it up.
        """
        ts = group.run.ts
        if not self._claims.sealed(ts, self._view.attempts[ts], group.n):
            msg = f"another process has prepared run {ts} anew, or given it up: try again"
            raise BusyError(msg)

    def is_copy(self, staged: str, place: str) -> bool:
        """Say whether the store proves that an original and a file at its last place have the same bytes."""
        found = [self._copies.known(self._copies.name(path)) for path in (staged, place)]
        return all(found) and is_copy(*filter(None, found))

    def keep(self, places: Mapping[str, str]) -> None:
        """Copy originals to their last places; each stays in landing.

        Raises:
            TakenError: another object has the name.
            DataError: an original was overwritten in landing, or removed, and is not at its last place.
        """
        self._each(partial(originals.keep, self._copies), places)

    def archive(self, places: Mapping[str, str]) -> None:
        """Remove originals that are at their last places out of landing, if they are unchanged there."""
        self.keep(places)
        self._each(partial(originals.remove, self._copies), places)

    def _each(self, do: Callable[[str, str], None], places: Mapping[str, str]) -> None:
        for _ in at_once(lambda place: do(*map(self._copies.name, place)), places.items()):
            pass

    def give_back(self, places: Mapping[str, str]) -> None:
        """Move files into landing; those that were claimed there have never left it."""
        for _ in at_once(lambda move: self._give_back(*move), places.items()):
            pass

    def _give_back(self, path: str, landed: str) -> None:
        name = self._copies.name(path)
        original = self._copies.known(name)
        if original is None or original.name == name:
            self._objects.create(self._copies.name(landed), Path(path))
            self._objects.delete(name)
        self._copies.drop(name)

    def release(self, run: Run) -> list[int]:
        """Decide to give a run up; return the groups whose files go back into landing."""
        claimed = self._view.state.runs[run.ts]
        members = {n: [file for file in claimed.files if file.subdir == n] for n in claimed.sealed}
        # Nobody publishes before all originals of the group are kept, which those are not that are gone before.
        lost = [n for n, files in members.items() if any(self._is_gone(run, file) for file in files)]
        for file in (file for n in lost for file in members[n]):
            originals.discard(self._copies, in_landing(run.feed.spec, file), last_places(run, file))
        return self._claims.released(claimed, lost) or []

    def _is_gone(self, run: Run, file: Claimed) -> bool:
        landed = in_landing(run.feed.spec, file)
        return not any(map(self._copies.known, last_places(run, file))) and self._objects.head(landed.name) != landed

    def end(self, run: Run) -> None:
        """Remove what was only for a run, and free the names that it has claimed."""
        known = self._view.state.runs.get(run.ts)
        self._view.state = self._claims.state()
        claimed = self._view.state.runs.get(run.ts)
        # Not those of a run that has claimed under this name since.
        if known and claimed and claimed.number == known.number:
            self._objects.delete_all(f"staging/{run.ts}/")
            self._claims.ended(claimed)
        self._view.attempts.pop(run.ts, None)
        self._copies.drop_all(f"staging/{run.ts}/")


def _working(name: str) -> tuple[str, str]:
    """Return the run of a working file, and the rest of its name; nothing for any other file."""
    top, _, rest = name.partition("/")
    ts, _, rest = rest.partition("/")
    own, _, rest = rest.partition("/")
    return (ts, rest) if top == "staging" and own == ".fanfold" else ("", "")


def _may_change(name: str) -> bool:
    is_own = name.startswith(".fanfold/") and not name.startswith((".fanfold/runs/", ".fanfold/references/"))
    return is_own or name.endswith(f"/{FAILURE}")
