"""The log of claims: which run has which files of a bucket. Processes agree on it by nothing but creating objects.

Each entry, `.fanfold/claims/<n>.json`, is the state of all unfinished runs after one more change. It is made from entry
n - 1, and created only if its number is free. So the entries are one chain, and the newest says all. Older entries
are deleted, the newest never is. Why that is safe:

- A slow process may create a number that was used and deleted. There is a higher number then, and nobody reads the
  lower one: a reader takes the newest entry of its listing, in the version that was listed. A later change deletes it.
- No process believes its own request: a change is done when the newest state shows it. So it does not matter whether an
  answer is lost, or whether a request is carried out twice, or late.
- A listing that runs while entries are created and deleted ends at the entry that was the newest when it began, or at a
  higher one: a store lists by name, and an entry is deleted only after a higher one is there. A few older entries stay,
  so a store that looks in another order would have to be overtaken by as many changes within one listing.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec

from fanfold import documents
from fanfold.bucket.entry import Claimed, Going, Run, State
from fanfold.errors import BusyError, ChangedError, TakenError

PREFIX = ".fanfold/claims/"
ENTRY = re.compile(re.escape(PREFIX) + r"\d{10}\.json")
KEPT_ENTRIES = 5
TRIES = 100


class Object(Protocol):
    """An object of the store, in one version."""

    @property
    def name(self) -> str:
        """Its name, relative to the feed."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    @property
    def e_tag(self) -> str:
        """What the store calls this version."""

    @property
    def modified(self) -> datetime:
        """When this version was made, as the store says it."""


Found = TypeVar("Found", bound=Object)


class Objects(Protocol):
    """What the log needs of a store."""

    def list(self, prefix: str) -> Iterable[Object]:
        """Return the objects below a prefix, by name."""

    def read(self, name: str, e_tag: str) -> bytes | None:
        """Return the content of an object; None where it is not there in this version."""

    def create(self, name: str, content: bytes) -> object:
        """Make an object if its name is free; equal bytes mean done, others raise `TakenError`."""

    def delete(self, name: str, e_tag: str | None = None, modified: datetime | None = None) -> object:
        """Delete an object, if it is there; with an `e_tag`, if it is that version, and not the same bytes again."""


class Claims:
    """The log of one feed. Each method may be called again, and by several processes at once."""

    def __init__(self, objects: Objects) -> None:
        """Name the log; no request is made."""
        self._objects, self._newest = objects, State()

    def state(self) -> State:
        """Return the newest state: a listing, and a read where it is new to this process.

        Raises:
            BusyError: others change the log without a pause.
            DataError: a later version wrote the entry, or somebody changed it.
        """
        return self._look()[0]

    def append(self, change: Callable[[State], State | None]) -> State:
        """Change the newest state, and return one that shows the change.

        Args:
            change: returns the next state, or None where there is nothing to do. It is asked again when another process
                was faster, and in the end; so it has to see in a state that it is done.

        Raises:
            BusyError, DataError: see `state`.
        """
        for _ in range(TRIES):
            state, names = self._look()
            changed = change(state)
            if changed is None:
                for name in names[:-KEPT_ENTRIES]:
                    self._objects.delete(name)
                return state
            try:
                self._objects.create(_name(changed.number), documents.encode(changed))
            except (TakenError, ChangedError):
                # Another process was faster, and its entry may be gone already.
                continue
        raise _busy()

    def claim(
        self,
        ts: str,
        spec: dict[str, Any],
        found: Callable[[], Iterable[Found]],
        choose: Callable[[list[Found]], Mapping[str, int]],
    ) -> Run | None:
        """Claim files for a run. A run that has claimed gets what it has.

        The log is read before landing is listed, and must not change until the claim is made. So no file is claimed
        that a run has, or that a run has archived and deleted since it was listed. References that are being purged are
        deleted first: what is there after the claim stays.

        Args:
            ts: the name of the run.
            spec: its spec.
            found: lists landing; nothing where the run is complete, which is to be looked up in this call.
            choose: returns the subdirectory of each file that the run takes, by name, from those that are free.

        Returns:
            The run; None where it takes no file.
        """

        def change(state: State) -> State | None:
            if ts in state.runs:
                return None
            self._delete(state.going)
            # A condition on a delete names the e_tag: it cannot tell two objects of one name and content apart.
            taken = {(file.name, file.e_tag) for run in state.runs.values() for file in run.files}
            free = [one for one in found() if (one.name, one.e_tag) not in taken]
            subdirs = choose(free)
            files = [
                Claimed(one.name, subdirs[one.name], one.size_bytes, one.e_tag, one.modified.isoformat())
                for one in free
                if one.name in subdirs
            ]
            files.sort(key=lambda file: (file.subdir, file.name))
            return state.after(ts, Run(ts, state.number + 1, spec, files)) if files else None

        return self.append(change).runs.get(ts)

    def prepared(self, ts: str, attempt: str, based_on: State) -> bool:
        """Say that an attempt has prepared a run: its working files hold from now on.

        Returns:
            Whether they do. If not, something of the run is published, it was given up or has ended; or a run has
            changed since, so decisions about duplicates have to be made again. If this run has got an attempt by then,
            that has complete working files, and need not be replaced.
        """
        return self._decide(ts, based_on, attempt)

    def renewed(self, ts: str, spec: dict[str, Any], based_on: State) -> bool:
        """Let a run be prepared again, with another spec or the same one (as JSON has it).

        Returns:
            Whether it is to be prepared with that spec. If not, something of it is published, it was given up or has
            ended, or the log has changed since.
        """
        return self._decide(ts, based_on, None, spec)

    def _decide(self, ts: str, based_on: State, attempt: str | None, spec: dict[str, Any] | None = None) -> bool:
        """Change a run, unless more than seals has come since the decision was made."""

        def change(state: State) -> State | None:
            run = state.runs.get(ts)
            if run is None or run.sealed or run.released is not None or state.decided != based_on.decided:
                return None
            decided = msgspec.structs.replace(run, attempt=attempt, spec=spec or run.spec)
            return state.after(ts, decided) if decided != run else None

        run = self.append(change).runs.get(ts)
        return run is not None and run.attempt == attempt and run.spec == (spec or run.spec)

    def sealed(self, ts: str, attempt: str, subdir: int) -> bool:
        """Say that a subdirectory is going to be published, from the working files of an attempt.

        Returns:
            Whether it may be. If not, the run is of another attempt, has ended, or has given the subdirectory back.
        """

        def change(state: State) -> State | None:
            run = state.runs.get(ts)
            if run is None or run.attempt != attempt or subdir in run.sealed or run.released is not None:
                return None
            sealed = sorted([*run.sealed, subdir])
            return state.after(ts, msgspec.structs.replace(run, sealed=sealed), is_seal=True)

        run = self.append(change).runs.get(ts)
        return run is not None and run.attempt == attempt and subdir in run.sealed

    def released(self, run: Run, lost: Collection[int] = ()) -> list[int] | None:
        """Give a run up: what is not sealed now never is, and its files go back. The first call decides.

        Args:
            run: the run.
            lost: sealed subdirectories that go back as well, since nothing of them was published, or can be.

        Returns:
            The subdirectories that are given back; None where the run has ended.
        """

        def change(state: State) -> State | None:
            now = _same(state, run)
            if now is None or now.released is not None:
                return None
            undone = sorted({file.subdir for file in now.files}.difference(now.sealed) | {*lost})
            return state.after(run.ts, msgspec.structs.replace(now, released=undone))

        now = _same(self.append(change), run)
        return now.released if now else None

    def ended(self, run: Run) -> None:
        """Say that a run is complete, or has given back all that it had: its files are free."""
        self.append(lambda state: state.after(run.ts, None) if _same(state, run) else None)

    def purge(self, going: Collection[Going], based_on: State) -> bool:
        """Delete references that no run has joined.

        The log says so first, and a run that claims files from then on deletes them itself. So it does not matter
        whether this call is cut short, or is slow: what a later run puts there is another version.

        Returns:
            Whether they are gone. If not, there is an unfinished run, or the log has changed since the decision: it
            has to be made again.
        """
        wanted = sorted(going)

        def begins(state: State) -> State | None:
            if state.going == wanted or state.runs or state.decided != based_on.decided:
                return None
            return State(number=state.number + 1, decided=state.number + 1, going=wanted)

        def ends(state: State) -> State | None:
            number = state.number + 1
            return State(number=number, decided=number) if wanted and state.going == wanted else None

        if self.append(begins).going != wanted:
            return False
        self._delete(wanted)
        self.append(ends)
        return True

    def _delete(self, going: Iterable[Going]) -> None:
        for one in going:
            self._objects.delete(one.name, one.e_tag, datetime.fromisoformat(one.modified))

    def _look(self) -> tuple[State, list[str]]:
        """Return the newest state, and the names of the entries that are there, from the oldest."""
        for _ in range(TRIES):
            entries = [one for one in self._objects.list(PREFIX) if ENTRY.fullmatch(one.name)]
            name, known = entries[-1].name if entries else _name(0), _name(self._newest.number)
            # In the version that was listed: it may be deleted by now, and its number used by a slow process.
            content = self._objects.read(name, entries[-1].e_tag) if name > known else None
            if content is not None:
                self._newest = documents.parse(content, State, name)
            if content is not None or name == known:
                return self._newest, [one.name for one in entries]
            # There is a newer one by now; or the listing lacks what was there before.
        raise _busy()


def _name(number: int) -> str:
    return f"{PREFIX}{number:010}.json"


def _same(state: State, run: Run) -> Run | None:
    """Return what a run is now; None where it has ended, even if its files were claimed again under its `ts`."""
    now = state.runs.get(run.ts)
    return now if now and now.number == run.number else None


def _busy() -> BusyError:
    return BusyError(f"{PREFIX!r} was changed by others in each of {TRIES} attempts to change it: try again")
