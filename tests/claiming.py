"""Processes that claim, publish, archive and give up, and the rules that hold whatever the order of their requests."""

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from fanfold.bucket.claims import Claims
from fanfold.bucket.entry import Going, Run, State
from fanfold.bucket.objects import Objects
from fanfold.errors import TakenError
from tests.interleavings import LOST, Door, Explorer, Object, Request, Script, World, carried_out

A, B, C = "20260101T000000Z", "20260102T000000Z", "20260103T000000Z"
SPEC, OTHER = {"version": 1}, {"version": 1, "subdirs": 2}
Chosen = dict[str, int]

# Where the manifests of complete runs are. One holds the attempt that was published; an attempt is named after the
# decisions about duplicates that its process knew.
COMPLETE = "runs/"
# What all runs join, and which runs were purged.
REFERENCE, PURGED = "references/customers", "purged/"


@functools.cache
def decoded(content: bytes) -> State:
    return msgspec.json.decode(content, type=State)


def newest(world: World) -> State:
    return decoded(world.chain[-1]) if world.chain else State()


def versions(run: Run) -> set[tuple[str, str, str]]:
    return {(file.name, file.e_tag, file.modified) for file in run.files}


def judge(before: World, after: World, request: Request) -> None:
    """Check a change of the store against the rules of the log, and of a run."""
    if len(after.chain) > len(before.chain):
        judge_entry(newest(before), newest(after), before)
    if request[0] == "create" and request[1].startswith("out/"):
        outputs = [json.loads(one.content) for one in after.objects if one.name.startswith("out/")]
        rows = [str(row) for rows in outputs for row in rows]
        assert len(rows) == len(set(rows)), "published twice"
        of_subdir = request[1].rpartition("/")[0]
        assert not [one for one in before.objects if one.name.startswith(f"{of_subdir}/")], "published by two attempts"


def judge_entry(old: State, new: State, world: World) -> None:
    if new.going or (old.going and not new.runs):
        assert not old.runs, "purged while a run may join"
        assert not new.runs, "claimed while a purge is going on"
        assert new.decided == new.number == old.number + 1
        return
    changed = [ts for ts in old.runs.keys() | new.runs.keys() if old.runs.get(ts) != new.runs.get(ts)]
    assert new.number == old.number + 1
    assert len(changed) == 1, "an entry is one change"
    ts = changed[0]
    was, now = old.runs.get(ts), new.runs.get(ts)
    is_seal = was is not None and now is not None and now.sealed != was.sealed
    assert new.decided == (old.decided if is_seal else new.number)
    if now is None:
        return
    if was is None:
        assert now.number == new.number
        assert (now.attempt, now.sealed, now.released) == (None, [], None)
        there = {Going(one.name, one.listed.e_tag, one.listed.modified.isoformat()) for one in world.objects}
        assert there.isdisjoint(old.going), "claimed before all that is purged is gone"
        others = [versions(run) for name, run in old.runs.items() if name != ts]
        assert versions(now).isdisjoint(set[tuple[str, str, str]]().union(*others)), "a version in two live claims"
        landed = {(one.name, one.listed.e_tag, one.listed.modified.isoformat()) for one in world.objects}
        assert versions(now) <= landed, "claimed from a stale listing"
        return
    fixed = msgspec.structs.replace  # But for what is named, nothing changes.
    if is_seal:
        assert was.released is None
        assert was.attempt is not None
        assert len(now.sealed) == len(was.sealed) + 1
        assert set(was.sealed) < set(now.sealed)
        assert now == fixed(was, sealed=now.sealed)
    elif now.released != was.released:
        assert was.released is None
        assert now == fixed(was, released=sorted({file.subdir for file in was.files} - set(was.sealed)))
    else:
        assert not was.sealed, "another attempt or spec after something is published"
        assert was.released is None
        assert now == fixed(was, attempt=now.attempt, spec=now.spec)
        if now.attempt is not None:
            assert now.attempt != was.attempt
            assert now.spec == was.spec
            _, seen = now.attempt.split(" saw ")
            assert seen == known(ts, old, complete(world)), "decided about duplicates without all others"


def complete(world: World) -> list[bytes]:
    return [one.content for one in world.objects if one.name.startswith(COMPLETE)]


def known(ts: str, state: State, manifests: Iterable[bytes]) -> str:
    """Return the decisions that a run must know: those of other runs that are prepared, and those of complete ones."""
    live = {run.attempt or "" for run in state.runs.values() if run.ts != ts}
    return json.dumps(sorted({one.split(" saw ")[0] for one in live | {one.decode() for one in manifests}} - {""}))


def shown(test: Callable[[State], bool]) -> Callable[[World], bool]:
    """Return a fact: some entry of the log has said so."""
    return lambda world: any(test(decoded(entry)) for entry in world.chain)


def in_log(state: State) -> Callable[[World], bool]:
    """Return a fact: the state was the newest of the log once."""
    return lambda world: state == (decoded(world.chain[state.number - 1]) if state.number else State())


def has_attempt(ts: str, attempt: str, state: State) -> bool:
    return ts in state.runs and state.runs[ts].attempt == attempt


class Process:
    """What a process of a run does: the calls of the log, and what lies between them."""

    def __init__(self, door: Door, name: str, ts: str, log: Claims | None = None) -> None:
        self.door, self.name, self.ts, self.log = door, name, ts, log or Claims(door)
        self.tries = 0

    def claim(self, *, takes: Callable[[list[Object]], Chosen] | None = None) -> Run | None:
        run = self.log.claim(self.ts, SPEC, self.found, takes or in_turn)
        if run:
            self.door.says(shown(lambda state: state.runs.get(self.ts) == run))
        return run

    def found(self) -> list[Object]:
        if self.door.read(COMPLETE + self.ts) is not None:
            return []
        return [*self.door.list("landing/")]

    def prepare(self) -> str | None:
        """Prepare until it holds; return the attempt of the run, None where it has ended."""
        while True:
            state = self.log.state()
            self.door.says(in_log(state))
            run = state.runs.get(self.ts)
            if run is None:
                return None
            if run.attempt or run.released is not None:
                return run.attempt
            manifests = [self.door.read(one.name) for one in self.door.list(COMPLETE)]
            self.tries += 1
            attempt = f"{self.name}.{self.tries} saw {known(self.ts, state, [one for one in manifests if one])}"
            if self.log.prepared(self.ts, attempt, state):
                self.door.says(shown(functools.partial(has_attempt, self.ts, attempt)))
                return attempt

    def renew(self, spec: dict[str, Any]) -> None:
        state = self.log.state()
        if self.ts in state.runs and self.log.renewed(self.ts, spec, state):
            self.door.says(shown(lambda state: self.ts in state.runs and state.runs[self.ts].spec == spec))

    def publish(self, attempt: str, n: int) -> bool:
        """Seal and publish one subdirectory."""
        if not self.log.sealed(self.ts, attempt, n):
            return False
        run = self.log.state().runs.get(self.ts)
        self.door.says(shown(lambda state: self.ts in state.runs and n in state.runs[self.ts].sealed))
        if run:
            self.door.create(output(run, n, attempt), published(run, n))
        return True

    def archive(self, run: Run) -> None:
        for file in run.files:
            if file.subdir in run.sealed:
                self.door.delete(file.name, file.e_tag)

    def end(self, run: Run) -> None:
        self.log.ended(run)
        self.door.says(shown(lambda state: state.number > run.number and gone(state, run)))

    def whole(self, *, takes: Callable[[list[Object]], Chosen] | None = None) -> None:
        """Do all that a run does, from the claim to the end."""
        run = self.claim(takes=takes)
        while run and run.released is None:
            attempt = self.prepare()
            if attempt and all(self.publish(attempt, n) for n in sorted({file.subdir for file in run.files})):
                now = self.log.state().runs.get(self.ts)
                if now and now.number == run.number:
                    self.archive(now)
                    self.door.create(COMPLETE + self.ts, attempt.encode())
                    self.end(now)
                return
            run = self.log.state().runs.get(self.ts)

    def give_up(self) -> None:
        run = self.log.state().runs.get(self.ts)
        if run is None or (undone := self.log.released(run)) is None:
            return
        self.door.says(shown(lambda state: self.ts in state.runs and state.runs[self.ts].released == undone))
        now = self.log.state().runs.get(self.ts)
        if now is None or now.number != run.number:
            return
        for n in now.sealed:
            self.door.create(output(now, n, now.attempt or ""), published(now, n))
        self.archive(now)
        if now.sealed:
            self.door.create(COMPLETE + self.ts, (now.attempt or "").encode())
        self.end(now)


def joins(process: Process) -> None:
    """Do a run that joins a reference: it relies on the copy that is kept when it looks, or else keeps its own."""
    if run := process.claim():
        if process.door.read(REFERENCE) is None:
            process.door.create(REFERENCE, b"customers")
        process.door.create(COMPLETE + process.ts, b"joined")
        process.end(run)


def purges(process: Process) -> None:
    """Purge all runs that are complete."""
    state = process.log.state()
    complete = [one.name.removeprefix(COMPLETE) for one in process.door.list(COMPLETE)]
    going = [Going(one.name, one.e_tag, one.modified.isoformat()) for one in process.door.list(REFERENCE)]
    for ts in complete:
        process.door.create(PURGED + ts, b"")
    process.log.purge(going, state)


def judge_kept(before: World, after: World, request: Request) -> None:
    """Check, beside all else, that a complete run has its reference, unless it was purged."""
    judge(before, after, request)
    known = {one.name for one in after.objects}
    kept = {name for name in known if name.startswith(COMPLETE)} - {
        COMPLETE + name.removeprefix(PURGED) for name in known if name.startswith(PURGED)
    }
    assert not kept or REFERENCE in known, f"{kept} has lost its reference"


def output(run: Run, n: int, attempt: str) -> str:
    return f"out/{run.ts}/{n}/{hashlib.sha256(attempt.encode()).hexdigest()[:8]}"


def published(run: Run, n: int) -> bytes:
    return json.dumps([[file.name, file.e_tag, file.modified] for file in run.files if file.subdir == n]).encode()


def gone(state: State, run: Run) -> bool:
    now = state.runs.get(run.ts)
    return now is None or now.number != run.number


def in_turn(free: list[Object]) -> Chosen:
    return {one.name: 1 + place % 2 for place, one in enumerate(free)}


def script(name: str, ts: str, *steps: Callable[[Process], object]) -> Script:
    """Return a process that does some steps, and begins again when a request fails, as a task that is retried."""

    def run(door: Door) -> None:
        tries = 0
        while True:
            process = Process(door, f"{name}{tries}", ts)
            try:
                for step in steps:
                    step(process)
            except ConnectionError:
                tries += 1
            else:
                return

    return run


def landed(*names: str) -> World:
    world = World()
    for name in names:
        world = world.put(f"landing/{name}", name.encode())
    return world


def done(world: World, *scripts: Script) -> World:
    """Return the world after some processes, one after the other."""
    for one in scripts:
        explorer = Explorer([one], judge)
        at = explorer.begin(world)
        while after := [*explorer.following(at)]:
            at = after[0]
        world = at.world
    return world


def first(free: list[Object]) -> Chosen:
    return {one.name: 1 for one in free[:1]}


def takes_first(process: Process) -> None:
    process.claim(takes=first)


def does_one(process: Process) -> None:
    """Do a whole run with one file."""
    process.whole(takes=first)


def publishes(process: Process) -> None:
    run = process.log.state().runs.get(process.ts)
    if run and run.attempt:
        process.publish(run.attempt, 1)


def renews(process: Process) -> None:
    process.renew(OTHER)


def everything_once(world: World, names: str = "ab") -> None:
    """Check the end of runs: each file is published and archived, or neither."""
    assert not newest(world).runs
    rows = [row[0] for one in world.objects if one.name.startswith("out/") for row in json.loads(one.content)]
    landing = [one.name for one in world.objects if one.name.startswith("landing/")]
    assert sorted(rows + landing) == [f"landing/{name}" for name in names]


def prepares_again(process: Process) -> None:
    """Prepare a run that has an attempt."""
    state = process.log.state()
    manifests = [process.door.read(one.name) for one in process.door.list(COMPLETE)]
    attempt = f"{process.name} saw {known(process.ts, state, [one for one in manifests if one])}"
    if process.log.prepared(process.ts, attempt, state):
        process.door.says(shown(functools.partial(has_attempt, process.ts, attempt)))


class Live(Door):
    """A store that answers at once. `loses`: the answer to the next creation does not arrive."""

    def __init__(self) -> None:
        super().__init__(())
        self.world, self.loses, self.sent = World(), False, list[Request]()

    def _ask(self, *request: Any) -> Any:
        answer, self.world = carried_out(self.world, request)
        if request[0] == "create":
            self.sent.append(request)
            if self.loses:
                self.loses = False
                raise ConnectionError(LOST)
        return answer


class Folder(Door):
    """A store in a directory: a creation is a link, which the system refuses where the name is taken."""

    def __init__(self, root: Path) -> None:
        super().__init__(())
        self._root = root

    def list(self, prefix: str) -> Iterator[Object]:
        with contextlib.suppress(FileNotFoundError):
            for path in sorted((self._root / prefix).iterdir()):
                with contextlib.suppress(FileNotFoundError):
                    modified = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                    content = path.read_bytes()
                    yield Object(f"{prefix}{path.name}", len(content), hashlib.sha256(content).hexdigest(), modified)

    def read(self, name: str, e_tag: str | None = None) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            content = (self._root / name).read_bytes()
            return content if e_tag in {None, hashlib.sha256(content).hexdigest()} else None
        return None

    def create(self, name: str, content: bytes) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._root / f"{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.write_bytes(content)
        try:
            os.link(temporary, path)
        except FileExistsError:
            if self.read(name) != content:
                raise TakenError(name) from None

    def delete(self, name: str, e_tag: str | None = None, modified: datetime | None = None) -> None:
        assert modified is None, "nobody purges here"
        if self.read(name, e_tag) is not None:
            (self._root / name).unlink(missing_ok=True)


class InBucket(Door):
    """A real store."""

    def __init__(self, objects: Objects) -> None:
        super().__init__(())
        self._objects = objects

    def list(self, prefix: str) -> Iterator[Object]:
        yield from map(Object._make, self._objects.list(prefix))

    def read(self, name: str, e_tag: str | None = None) -> bytes | None:
        return self._objects.read(name, e_tag)

    def create(self, name: str, content: bytes) -> None:
        self._objects.create(name, content)

    def delete(self, name: str, e_tag: str | None = None, modified: datetime | None = None) -> None:
        self._objects.delete(name, e_tag, modified)


def work(door: Door, names: list[str]) -> None:
    """Land a file and do a whole run, again and again. A name is that of the file and of the run."""
    for name in names:
        door.create(f"landing/{name}", name.encode())
        Process(door, name, name).whole()


def check_work(door: Door, names: list[str]) -> None:
    """Check that each file is published and archived once."""
    outputs = [door.read(one.name) or b"" for name in names for n in (1, 2) for one in door.list(f"out/{name}/{n}/")]
    assert sorted(row[0] for output in outputs for row in json.loads(output)) == [f"landing/{name}" for name in names]
    assert not [*door.list("landing/")]
    assert not Claims(door).state().runs
