"""A folder that stands for a feed in a bucket, for one process: what `fanfold.mirrors` promises.

The log of claims is the truth about runs that are not complete. Their files lie in landing until they are archived, and
stand here in their subdirectories. Their working files are named by the attempt that made them, so nobody ever gives a
name two contents; the log says which attempt holds.
"""

import math
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from fanfold import documents
from fanfold.bucket import landing, originals
from fanfold.bucket.claims import Claimed, Claims, State
from fanfold.bucket.claims import Run as ClaimedRun
from fanfold.bucket.connections import at_once
from fanfold.bucket.copies import Copies
from fanfold.bucket.objects import Object, Objects, is_copy
from fanfold.bucket.probe import check_fit
from fanfold.errors import BusyError, DataError
from fanfold.layout import Feed, Group, Run
from fanfold.manifest import Manifest
from fanfold.mirrors import Landed
from fanfold.spec.model import PLACE, Spec
from fanfold.working_files import Files, Progress, Release, StagedFile

FAILURE, PROGRESS, MERGED, PUBLISHED = "failure.json", "progress.json", "merged.json", "published.json"
RECORDS = ("merged.records", "records.jsonl")
# Working files that follow from the log of claims, and those that only this process needs.
OWN = {"spec.json", "files.json", "release.json", "publishing", "lease", "driver"}


class BucketMirror:
    """A folder that stands for the feed of `objects`."""

    def __init__(self, objects: Objects, root: Path, spec: Spec) -> None:
        """Begin with an empty folder; `refresh` shows what is there."""
        self.uri, self.root = objects.uri, root
        self._objects, self._copies, self._claims = objects, Copies(objects, root), Claims(objects)
        self._feed = Feed(root, spec)
        self._state = State()
        # Of the runs that are not complete, and those that hold.
        self._attempts: dict[str, str] = {}
        self._held: set[str] = set()
        self._seen: set[str] = set()
        self._alone = False

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
        return f"staging/{ts}/.fanfold/{self._attempts.setdefault(ts, uuid.uuid4().hex[:16])}/{rest}"

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
        if ts and ts not in self._held and rest.endswith(("inputs.json", "schema.json")):
            # Nobody reads them before they hold: they may be written again, when others were faster.
            self._objects.replace(key, content.read_bytes())
            return
        if rest.endswith(RECORDS) and (self._alone or not content.stat().st_size):
            return
        if rest.endswith(PROGRESS):
            done = documents.decode(content.read_bytes(), Progress)
            if self._alone and not done.outputs:
                return
            key = key.removesuffix(PROGRESS) + (PUBLISHED if done.outputs else MERGED)
        self._copies.has_content(name, self._objects.create(key, content))

    def _renew(self, ts: str, content: Path) -> None:
        run, spec = self._state.runs.get(ts), msgspec.json.decode(content.read_bytes())
        if run and run.spec != spec:
            if not self._claims.renewed(ts, spec, self._state):
                msg = f"another process works on run {ts}, whose spec is to be changed: try again"
                raise BusyError(msg)
            self.refresh()

    def forget(self, paths: Iterable[Path]) -> None:
        """Remove objects; the working files of an attempt go when their run ends."""
        names = [self._copies.name(path) for path in paths if path.exists()]
        for _ in at_once(self._objects.delete, (one for one in names if not _working(one)[1] or _may_change(one))):
            pass
        for name in names:
            self._copies.drop(name, is_file=False)

    def look_at(self, paths: Iterable[str]) -> None:
        """Show files of landing, where they are there."""
        self._look_at(map(self._copies.name, paths))

    def check_fit(self) -> None:
        """Check that the store was tried, and keeps what a feed rests on."""
        check_fit(self._objects)

    # What is there

    def refresh(self, ts: str | None = None, n: int | None = None) -> None:
        """Show what is in the bucket by now: of complete runs their manifests, of the others all that they have.

        With a `ts`, show what concerns that run; with an `n`, what concerns that group of it.
        """
        self._state = self._claims.state()
        names = [merge.reference for merge in self._feed.spec.merge]
        if ts:
            run = self._feed.run(ts)
            names += map(self._copies.name, (self._feed.identity_path, run.commit_path, run.purged_path))
        else:
            for found in self._objects.list(".fanfold/"):
                if not found.name.startswith(".fanfold/claims/"):
                    self._copies.stand_in(found.name, found)
        self._look_at(names)
        for folder in (self._feed.landing_dir, self._feed.staging_dir):
            folder.mkdir(parents=True, exist_ok=True)
        working = [*self._objects.list(f"staging/{ts}" if ts else "staging")]
        for one in self._state.runs.values():
            # What this process prepares is not what holds.
            if ts in {None, one.ts} and (one.ts in self._held or one.ts not in self._attempts):
                self._show(one.ts, one, working, n)
        if left := [found for found in working if _ts(found) not in self._state.runs]:
            self._remove_left(left)

    def _remove_left(self, left: Iterable[Object]) -> None:
        """Remove working files of runs that have ended: a process that knew nothing of it has written them.

        Raises:
            DataError: a run was begun in a folder, which was copied into the bucket.
        """
        if begun := [_ts(found) for found in left if not found.name.startswith(f"staging/{_ts(found)}/.fanfold/")]:
            msg = (
                f"run {begun[0]} was begun in a folder, and is not complete: complete it there, or give it up there "
                "(fanfold release), and copy the feed again"
            )
            raise DataError(msg)
        # One that has claimed its files since they were listed has not made them.
        now = self._claims.state().runs
        for found in left:
            if _ts(found) not in now:
                self._objects.delete(found.name)

    def _look_at(self, names: Iterable[str]) -> None:
        for found in at_once(self._objects.head, names):
            if found:
                self._copies.stand_in(found.name, found)

    def _list(self, prefix: str) -> None:
        for found in self._objects.list(prefix):
            self._copies.stand_in(found.name, found)

    def _show(self, ts: str, claimed: ClaimedRun, working: Iterable[Object], n: int | None = None) -> None:
        spec = Spec.model_validate(claimed.spec)
        run = Feed(self.root, spec).run(ts)
        if self._copies.known(self._copies.name(run.commit_path)):
            # A call that was cut short has left nothing to do but to end it.
            run.staging_dir.mkdir(parents=True, exist_ok=True)
            return
        for group in run.groups:
            group.subdir_dir.mkdir(parents=True, exist_ok=True)
        run.work_dir.mkdir(exist_ok=True)
        run.spec_path.write_bytes(spec.model_dump_json(exclude=PLACE, indent=1).encode())
        marker = spec.input.done_suffix or "\0"
        staged = [
            StagedFile(file.name, file.size_bytes, file.subdir)
            for file in claimed.files
            if not file.name.endswith(marker)
        ]
        run.files_path.write_bytes(documents.encode(Files(format=documents.FORMAT, claimed=True, files=staged)))
        for group in map(run.group, claimed.sealed):
            group.work_dir.mkdir(exist_ok=True)
            group.publishing_path.touch()
        if claimed.released is not None:
            run.release_path.write_bytes(documents.encode(Release(claimed.released)))
        self._make_room((file.subdir, file.size_bytes) for file in claimed.files)
        shown = [file for file in claimed.files if n in {None, file.subdir}]
        for file in shown:
            self._copies.stand_in(_staged(run, file), self._in_landing(spec, file))
        if claimed.attempt:
            self._attempts[ts] = claimed.attempt
            self._held.add(ts)
        prefix = f"staging/{ts}/.fanfold/"
        for found in (one for one in working if one.name.startswith(prefix)):
            attempt, _, rest = found.name.removeprefix(prefix).partition("/")
            if found.name.endswith(FAILURE):
                self._copies.stand_in(found.name, found)
            elif attempt == claimed.attempt:
                # What is published comes behind what is merged, and takes its place.
                plain = rest.removesuffix(MERGED).removesuffix(PUBLISHED)
                self._copies.stand_in(prefix + plain + ("" if plain == rest else PROGRESS), found)
                if rest.endswith(MERGED):
                    # Where there is no record, they were not put into the bucket.
                    (self.root / prefix / plain / RECORDS[0]).touch()
        if published := [file for file in shown if file.subdir in claimed.sealed]:
            self._list(f"{run.output_name}/")
            self._list(self._copies.name(run.feed.quarantine_dir / ts) + "/")
            for _ in at_once(partial(self._find, run), published):
                pass

    def _make_room(self, files: Iterable[tuple[int, int]]) -> None:
        """Let what was read stay, as long as it is not more than the largest group of a run has."""
        sizes = Counter[int]()
        for n, size_bytes in files:
            sizes[n] += size_bytes
        if not self._alone:
            self._copies.room_bytes = max(sizes.values(), default=0)

    def _in_landing(self, spec: Spec, file: Claimed) -> Object:
        return Object(
            f"{spec.input.path}/{file.name}", file.size_bytes, file.e_tag, datetime.fromisoformat(file.modified)
        )

    def _find(self, run: Run, file: Claimed) -> None:
        """Show an original at its last place, if it is there: in the archive; in quarantine it was listed."""
        places = _last_places(run, file)
        if not any(map(self._copies.known, places)):
            found = self._objects.head(places[0]) if places else None
            if found is None:
                return
            self._copies.stand_in(found.name, found)
        claimed = self._in_landing(run.feed.spec, file)
        if self._objects.head(claimed.name) != claimed:
            self._copies.drop(_staged(run, file))

    def see(self, run: Run, committed: Manifest) -> None:
        """Show the tables and the originals of a complete run."""
        if run.ts in self._seen:
            return
        self._seen.add(run.ts)
        self._make_room((file.subdir, file.size_bytes) for file in committed.files)
        self._list(f"{run.output_name}/")
        self._list(self._copies.name(run.feed.quarantine_dir / run.ts) + "/")
        names = [file.archived_as for file in committed.files if not file.code]
        markers = (run.archived_marker_path(file.name) for file in committed.files)
        names += [self._copies.name(path) for path in markers if path]
        self._look_at(name for name in names if not self._copies.known(name))

    # The life of a run

    def work_alone(self) -> None:
        """Keep to this process what only a later step of a group needs: it is made again after a crash."""
        self._alone, self._copies.room_bytes = True, math.inf

    def landing(self) -> dict[str, Callable[[], Landed]]:
        """List what lies in landing and is in no unfinished run, by name."""
        # The log first: an object of a run that ends meanwhile is never taken for a new one.
        taken = {(file.name, file.e_tag) for run in self._claims.state().runs.values() for file in run.files}
        return landing.entries(self._copies, self._feed.spec.input.path, taken)

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
        before, self._state = self._state, self._claims.state()
        if claimed and self._state.decided == before.decided + 1:
            self._show(run.ts, claimed, [])
        else:
            # What others have decided meanwhile counts.
            self.refresh()
        return wanted.keys() - {file.name for file in (claimed.files if claimed else ())}

    def _is_complete(self, run: Run) -> bool:
        return self._objects.head(self._copies.name(run.commit_path)) is not None

    def begin_again(self, run: Run) -> None:
        """Have what is derived next of a run stand apart from what was derived of it before."""
        self._attempts[run.ts] = uuid.uuid4().hex[:16]
        self._held.discard(run.ts)
        self.forget([run.failure_path, *(group.failure_path for group in run.groups)])
        self._copies.drop_all(f"staging/{run.ts}/.fanfold/")

    def prepared(self, run: Run) -> bool:
        """Make what was derived of a run hold for its groups; say whether no other run has decided meanwhile.

        Raises:
            BusyError: another process has published something of the run, or has given it up.
        """
        if self._claims.prepared(run.ts, self._attempts[run.ts], self._state):
            self._held.add(run.ts)
            return True
        before = self._state.runs[run.ts]
        self.refresh()
        now = self._state.runs.get(run.ts)
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
        if not self._claims.sealed(ts, self._attempts[ts], group.n):
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
        claimed = self._state.runs[run.ts]
        members = {n: [file for file in claimed.files if file.subdir == n] for n in claimed.sealed}
        # Nobody publishes before all originals of the group are kept, which those are not that are gone before.
        lost = [n for n, files in members.items() if any(self._is_gone(run, file) for file in files)]
        for file in (file for n in lost for file in members[n]):
            originals.discard(self._copies, self._in_landing(run.feed.spec, file), _last_places(run, file))
        return self._claims.released(claimed, lost) or []

    def _is_gone(self, run: Run, file: Claimed) -> bool:
        landed = self._in_landing(run.feed.spec, file)
        return not any(map(self._copies.known, _last_places(run, file))) and self._objects.head(landed.name) != landed

    def end(self, run: Run) -> None:
        """Remove what was only for a run, and free the names that it has claimed."""
        known = self._state.runs.get(run.ts)
        self._state = self._claims.state()
        claimed = self._state.runs.get(run.ts)
        # Not those of a run that has claimed under this name since.
        if known and claimed and claimed.number == known.number:
            self._objects.delete_all(f"staging/{run.ts}/")
            self._claims.ended(claimed)
        self._attempts.pop(run.ts, None)
        self._copies.drop_all(f"staging/{run.ts}/")


def _ts(found: Object) -> str:
    return found.name.split("/")[1]


def _working(name: str) -> tuple[str, str]:
    """Return the run of a working file, and the rest of its name; nothing for any other file."""
    top, _, rest = name.partition("/")
    ts, _, rest = rest.partition("/")
    own, _, rest = rest.partition("/")
    return (ts, rest) if top == "staging" and own == ".fanfold" else ("", "")


def _may_change(name: str) -> bool:
    is_own = name.startswith(".fanfold/") and not name.startswith((".fanfold/runs/", ".fanfold/references/"))
    return is_own or name.endswith(f"/{FAILURE}")


def _staged(run: Run, file: Claimed) -> str:
    return f"staging/{run.ts}/{file.subdir}/{file.name}"


def _last_places(run: Run, file: Claimed) -> list[str]:
    """Return where an original, or a marker, may end."""
    marker = run.feed.spec.input.done_suffix
    if marker and file.name.endswith(marker):
        place = run.archived_marker_path(file.name.removesuffix(marker))
        return [str(place.relative_to(run.feed.data_dir))] if place else []
    return [run.archived_name(file.name), run.group(file.subdir).quarantined_name(file.name)]
