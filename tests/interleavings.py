"""All orders in which the requests of several processes may reach a store, one after the other.

A process is a function that works through a `Door`. It has to be deterministic: what it asks next follows from the
answers that it was given. So a process that stands before a request is known by its answers; it is moved on by running
it again from its beginning, with one answer more. Two orders that lead to the same store and the same answers are one
position, which is looked at once.
"""

import contextlib
import dataclasses
import hashlib
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from fanfold.bucket.claims import ENTRY
from fanfold.errors import ChangedError, TakenError

EPOCH = datetime(2026, 1, 2, tzinfo=UTC)
UNBOUNDED = 1_000
LOST = "answer lost"


class Object(NamedTuple):
    """An object of the store of the tests."""

    name: str
    size_bytes: int
    e_tag: str
    modified: datetime


class Stored(NamedTuple):
    """A name, what it has, and when it was written: by how long the log was, and how often since."""

    name: str
    content: bytes
    version: int = 1

    @property
    def listed(self) -> Object:
        modified = EPOCH + timedelta(seconds=self.version)
        return Object(self.name, len(self.content), hashlib.sha256(self.content).hexdigest()[:8], modified)


class World(NamedTuple):
    """A store, and what is not in it but true: the entries of the log that were the newest once, in their order."""

    objects: tuple[Stored, ...] = ()
    chain: tuple[bytes, ...] = ()

    def get(self, name: str) -> Stored | None:
        return next((one for one in self.objects if one.name == name), None)

    def put(self, name: str, content: bytes) -> "World":
        old = self.get(name)
        others = [one for one in self.objects if one.name != name]
        version = max(old.version if old else 0, len(self.chain)) + 1
        return self._replace(objects=tuple(sorted([*others, Stored(name, content, version)])))

    def without(self, name: str) -> "World":
        return self._replace(objects=tuple(one for one in self.objects if one.name != name))


Request = tuple[Any, ...]
Fact = Callable[[World], bool]
# What a rule of the product says of a change: the world before it, after it, and the request.
Judge = Callable[[World, World, Request], None]


class _Waits(BaseException):
    """The process has no answer to its next request."""


class Door:
    """What a process sees of the store; it stops before the first request that has no answer."""

    def __init__(self, answers: tuple[Any, ...], *, pages: bool = False) -> None:
        self._answers, self._pages, self.asks = iter(answers), pages, ()  # type: tuple[Iterator[Any], bool, Request]
        self.facts: list[Fact] = []

    def _ask(self, *request: Any) -> Any:
        for answer in self._answers:
            if answer == LOST:
                raise ConnectionError(LOST)
            return answer
        self.asks = request
        raise _Waits

    def list(self, prefix: str) -> Iterator[Object]:
        """Yield the objects; with `pages`, each by a request of its own."""
        if not self._pages:
            yield from self._ask("list", prefix)
            return
        found = self._ask("next", prefix, "")
        while found:
            yield found
            found = self._ask("next", prefix, found.name)

    def read(self, name: str, e_tag: str | None = None) -> bytes | None:
        content: bytes | None = self._ask("read", name, e_tag)
        return content

    def create(self, name: str, content: bytes) -> None:
        """Make an object, if its name is free; else compare what is there."""
        if self._ask("create", name, content):
            return
        there = self._ask("read", name, None)
        if there is None:
            raise ChangedError(name)
        if there != content:
            raise TakenError(name)

    def delete(self, name: str, e_tag: str | None = None, modified: datetime | None = None) -> None:
        """Delete an object, if it is there in that version, and was not written again."""
        self._ask("delete", name, e_tag, modified)

    def length(self) -> int:
        """Return how many entries the log has had: this no process can know."""
        length: int = self._ask("length", "")
        return length

    def says(self, fact: Fact) -> None:
        """Claim something that has to be true of the world now."""
        self.facts.append(fact)


def carried_out(world: World, request: Request) -> tuple[Any, World]:
    """Return the answer of the store to a request, and the world after it."""
    kind, name, *rest = request
    old = world.get(name)
    is_it = old is not None and bool(rest) and rest[0] in {None, old.listed.e_tag}
    answer: Any = None
    match kind:
        case "length":
            answer = len(world.chain)
        case "list":
            answer = tuple(one.listed for one in world.objects if one.name.startswith(name))
        case "next":
            later = (one.listed for one in world.objects if one.name.startswith(name) and one.name > rest[0])
            answer = next(later, None)
        case "read" if old and is_it:
            answer = old.content
        case "delete" if old and is_it and rest[1] in {None, old.listed.modified}:
            world = world.without(name)
        case "create" if old:
            answer = False
        case "create":
            answer = True
            world = _created(world, name, rest[0])
    return answer, world


def _created(world: World, name: str, content: bytes) -> World:
    after = world.put(name, content)
    if not ENTRY.fullmatch(name):
        return after
    number = int(name[-15:-5])
    assert number <= len(world.chain) + 1, f"entry {number} has none before it"
    return after if number <= len(world.chain) else after._replace(chain=(*world.chain, content))


Script = Callable[[Door], None]


class _Place(NamedTuple):
    """Where a process stands: its answers so far, what it asks next (nothing: it has ended), and what it says."""

    answers: tuple[Any, ...]
    asks: Request
    facts: list[Fact]


@dataclasses.dataclass
class Position:
    """A world, where each process stands, and the requests that are still on their way."""

    world: World
    places: tuple[int, ...]
    late: tuple[Request, ...] = ()
    faults: int = 0
    last: int = -1
    switches: int = 0
    before: "Position | None" = None

    @property
    def key(self) -> tuple[Any, ...]:
        return self.world, self.places, self.late, self.faults, self.last


class Explorer:
    """The positions that some processes can get into.

    Args:
        scripts: the processes.
        judge: raises where a change breaks a rule.
        ended: raises where the world is wrong when all processes have ended.
        pages: whether a listing takes a request for each object.
        faults: how many creations may lose their answer and be carried out later, or never, or be carried out twice.
        switches: how often a process may be interrupted that could go on.
    """

    def __init__(
        self, scripts: list[Script], judge: Judge, ended: Callable[[World], None] = lambda _: None, **bounds: Any
    ) -> None:
        self._scripts, self._judge, self._ended = scripts, judge, ended
        self._pages, self._faults = bounds.get("pages", False), bounds.get("faults", 0)
        self._switches = bounds.get("switches", UNBOUNDED)
        self._places: list[list[_Place]] = [[] for _ in scripts]
        self._known: list[dict[tuple[Any, ...], int]] = [{} for _ in scripts]
        self._answers: dict[tuple[World, Request], tuple[Any, World]] = {}

    def _place(self, process: int, answers: tuple[Any, ...]) -> int:
        """Return the number of the place where a process with these answers stands."""
        known = self._known[process]
        if answers not in known:
            door = Door(answers, pages=self._pages)
            with contextlib.suppress(_Waits):
                self._scripts[process](door)
            known[answers] = len(known)
            self._places[process].append(_Place(answers, door.asks, door.facts))
        return known[answers]

    def _carried_out(self, world: World, request: Request) -> tuple[Any, World]:
        if (world, request) not in self._answers:
            answer, after = carried_out(world, request)
            if after != world:
                self._judge(world, after, request)
            self._answers[world, request] = answer, after
        return self._answers[world, request]

    def _moved(self, at: Position, process: int, answer: Any, world: World, **values: Any) -> Position:
        place = self._places[process][at.places[process]]
        now = self._place(process, (*place.answers, answer))
        places = (*at.places[:process], now, *at.places[process + 1 :])
        moved = dataclasses.replace(at, world=world, places=places, before=at, **values)
        for fact in self._places[process][now].facts[len(place.facts) :]:
            assert fact(world), f"process {process} says what is not true"
        if self._switches == UNBOUNDED:
            return moved
        interrupts = at.last not in {-1, process} and self._places[at.last][at.places[at.last]].asks
        return dataclasses.replace(moved, last=process, switches=at.switches + bool(interrupts))

    def following(self, at: Position) -> Iterator[Position]:
        """Yield the positions after one more request."""
        for process, number in enumerate(at.places):
            asks = self._places[process][number].asks
            if not asks:
                continue
            answer, world = self._carried_out(at.world, asks)
            yield self._moved(at, process, answer, world)
            if asks[0] == "create" and at.faults < self._faults:
                # Sent and cut off: it comes later, or never. And: carried out, and sent once more on the way.
                later = tuple(sorted([*at.late, asks]))
                yield self._moved(at, process, LOST, at.world, late=later, faults=at.faults + 1)
                yield self._moved(at, process, answer, world, late=later, faults=at.faults + 1)
        for request in set(at.late):
            late = list(at.late)
            late.remove(request)
            _, world = self._carried_out(at.world, request)
            yield dataclasses.replace(at, world=world, late=tuple(late), before=at)

    def _told(self, at: Position | None) -> str:
        """Return the requests that led to a position, one a line."""
        lines = list[str]()
        while at and at.before:
            moved = [one for one, number in enumerate(at.places) if number != at.before.places[one]]
            for process in moved:
                asked = self._places[process][at.before.places[process]].asks
                answer = self._places[process][at.places[process]].answers[-1]
                lines.append(f"process {process}: {str(asked)[:300]} -> {str(answer)[:300]}")
            if not moved:
                lines.append(f"late: {set(at.before.late) - set(at.late)}")
            at = at.before
        return "\n".join(reversed(lines))

    def _after(self, at: Position) -> list[Position]:
        """Return the positions after one more request, checked."""
        try:
            if not any(self._places[process][number].asks for process, number in enumerate(at.places)):
                self._ended(at.world)
            return [*self.following(at)]
        except AssertionError as error:
            error.add_note(self._told(at))
            raise

    def begin(self, world: World) -> Position:
        return Position(world, tuple(self._place(process, ()) for process in range(len(self._scripts))))

    def explore(self, world: World) -> int:
        """Look at every position that can be reached; return their number."""
        stack, seen = [self.begin(world)], dict[tuple[Any, ...], int]()
        while stack:
            at = stack.pop()
            if at.switches > self._switches or seen.get(at.key, at.switches + 1) <= at.switches:
                continue
            seen[at.key] = at.switches
            stack += self._after(at)
        return len(seen)

    def wander(self, world: World, walks: int, seed: int) -> None:
        """Follow some orders to their end, by chance."""
        chance = random.Random(seed)
        for _ in range(walks):
            at = self.begin(world)
            while after := self._after(at):
                at = chance.choice(after)
