"""What becomes of the files of a feed in a bucket: nothing is renamed, the log of claims decides.

Files stay in landing until they are archived. Before anything that was made of them is published, they are copied to
their last places: until then a producer who overwrites one has only to be told.
"""

import math
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fanfold import durable, links
from fanfold.archive_names import packing
from fanfold.bucket import landing, originals
from fanfold.bucket.claims import Claims
from fanfold.bucket.connections import at_once
from fanfold.bucket.entry import Claimed, Going
from fanfold.bucket.objects import Object, Objects
from fanfold.bucket.probe import check_fit
from fanfold.bucket.view import View, in_landing, last_places
from fanfold.errors import BusyError
from fanfold.layout import Feed, Group, Run
from fanfold.mirrors import Landed
from fanfold.originals import packed
from fanfold.spec.model import PLACE


class BucketStore:
    """The store of a feed that lies in a bucket, as one process sees it."""

    tasks_per_core = 2

    def __init__(self, feed: Feed, objects: Objects, view: View, claims: Claims) -> None:
        """Name the parts; no request is sent."""
        self._feed, self._objects, self._view, self._claims = feed, objects, view, claims

    def check_fit(self) -> None:
        """Check that the store was tried, and keeps what a feed rests on.

        Raises:
            DataError: it was never tried (fanfold doctor), or cannot hold a feed.
        """
        check_fit(self._objects)

    def work_alone(self) -> None:
        """Keep to this process what only a later step of a group needs: it is made again after a crash."""
        self._view.alone, self._view.copies.room_bytes = True, math.inf

    def landing(self) -> tuple[dict[str, Callable[[], Landed]], dict[str, list[str]]]:
        """List what lies in landing and is in no unfinished run, by name; all of it can be looked at."""
        # The log first: an object of a run that ends meanwhile is never taken for a new one.
        taken = {(file.name, file.e_tag) for run in self._claims.state().runs.values() for file in run.files}
        return landing.entries(self._view.copies, self._feed.spec.input.path, taken), {}

    def claim(self, run: Run, places: Iterable[tuple[str, int]]) -> tuple[set[str], dict[str, list[str]]]:
        """Claim files for a run, all in one entry of the log; return those that are gone, or that others have."""
        wanted, marker = dict(places), run.feed.spec.input.done_suffix or ""
        parts = {part: n for name, n in wanted.items() for part in {name, name + marker}}

        def choose(free: list[Any]) -> dict[str, int]:
            names = {one.name for one in free}
            return {part: n for part, n in parts.items() if {part.removesuffix(marker), part} <= names}

        spec = run.feed.spec.model_dump(mode="json", exclude=PLACE)

        def found() -> Iterable[Object]:
            return [] if self._is_complete(run) else landing.listed(self._view.copies, run.feed.spec.input.path)

        claimed = self._claims.claim(run.ts, spec, found, choose)
        before, self._view.state = self._view.state, self._claims.state()
        if claimed and self._view.state.decided == before.decided + 1 and not before.going:
            self._view.show(run.ts, claimed, [])
        else:
            # What others have decided meanwhile counts, and references that were being purged are gone.
            self._view.refresh()
        return wanted.keys() - {file.name for file in (claimed.files if claimed else ())}, {}

    def _is_complete(self, run: Run) -> bool:
        return self._objects.head(self._view.copies.name(run.commit_path)) is not None

    def begin_again(self, run: Run) -> None:
        """Have what is derived next of a run stand apart from what was derived of it before."""
        self._view.attempts[run.ts] = uuid.uuid4().hex[:16]
        self._view.held.discard(run.ts)
        durable.remove_all([run.failure_path, *(group.failure_path for group in run.groups)])
        self._view.copies.drop_all(f"staging/{run.ts}/.fanfold/")

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

    def holds(self, run: Run) -> bool:
        """Say whether nobody else has ended a run, prepared it anew, or archived its files, since it was looked at."""
        return self._view.holds(run)

    def seal(self, group: Group) -> None:
        """Decide, before a group publishes, that its run keeps what was derived of it.

        Raises:
            BusyError: another process has prepared the run anew, or given it up.
        """
        ts = group.run.ts
        if not self._claims.sealed(ts, self._view.attempts[ts], group.n):
            msg = f"another process has prepared run {ts} anew, or given it up: try again"
            raise BusyError(msg)

    def keep(self, places: Mapping[str, str]) -> None:
        """Copy originals to their last places; each stays in landing.

        Raises:
            TakenError: another object has the name.
            DataError: an original was overwritten in landing, or removed, and is not at its last place.
        """
        compressed = {staged: place for staged, place in places.items() if packing(staged, place)}
        for staged, place in compressed.items():
            if os.path.lexists(staged):
                _compress(staged, Path(place))
        as_they_are = {staged: place for staged, place in places.items() if staged not in compressed}
        self._each(partial(originals.keep, self._view.copies), as_they_are)

    def archive(self, places: Mapping[str, str]) -> None:
        """Remove originals out of landing, if they are unchanged there; `not_archived` has compared what is kept."""
        is_kept = self._view.copies.known
        self.keep({staged: place for staged, place in places.items() if not is_kept(self._view.copies.name(place))})
        self._each(partial(originals.remove, self._view.copies), places)

    def _each(self, do: Callable[[str, str], None], places: Mapping[str, str]) -> None:
        for _ in at_once(lambda place: do(*map(self._view.copies.name, place)), places.items()):
            pass

    def land(self, places: Mapping[str, str]) -> None:
        """Move files into landing; those that were claimed there have never left it."""
        for _ in at_once(lambda move: self._land(*move), places.items()):
            pass

    def _land(self, path: str, landed: str) -> None:
        name = self._view.copies.name(path)
        original = self._view.copies.known(name)
        if original is None or original.name == name:
            self._objects.create(self._view.copies.name(landed), Path(path))
            self._objects.delete(name)
        self._view.copies.drop(name)

    def remove_references(self, paths: Iterable[Path]) -> bool:
        """Remove references that no run has joined; say whether no run has begun or ended meanwhile."""
        found = [known for path in paths if (known := self._view.copies.known(self._view.copies.name(path)))]
        going = [Going(one.name, one.e_tag, one.modified.isoformat()) for one in found]
        if not (going or self._view.state.going):
            return True
        is_done = self._claims.purge(going, self._view.state)
        self._view.refresh()
        return is_done

    def release(self, run: Run) -> list[int]:
        """Decide to give a run up; return the groups whose files go back into landing."""
        claimed = self._view.state.runs[run.ts]
        members = {n: [file for file in claimed.files if file.subdir == n] for n in claimed.sealed}
        # Nobody publishes before all originals of the group are kept, which those are not that are gone before.
        lost = [n for n, files in members.items() if any(self._is_gone(run, file) for file in files)]
        for file in (file for n in lost for file in members[n]):
            originals.discard(self._view.copies, in_landing(run.feed.spec, file), last_places(run, file))
        released = self._claims.released(claimed, lost) or []
        self._view.state = self._claims.state()
        return released

    def _is_gone(self, run: Run, file: Claimed) -> bool:
        landed = in_landing(run.feed.spec, file)
        return (
            not any(map(self._view.copies.known, last_places(run, file))) and self._objects.head(landed.name) != landed
        )

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
        self._view.copies.drop_all(f"staging/{run.ts}/")


def _compress(staged: str, place: Path) -> None:
    suffix = packing(staged, place.name)
    with links.reading(staged) as file, durable.writing(place) as written, packed(written, suffix) as target:
        shutil.copyfileobj(file, target)
