"""Every change that a command makes: killed there, or failing there, a second call ends in the undisturbed tree."""

import contextlib
import csv
import errno
import queue
import random
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from fanfold.feed import runs
from tests.conftest import tree
from tests.torture.runs import STEPS, Command, Ended, Runner, copy
from tests.torture.scenes import RELEASE, Scene, kill, opened
from tests.torture.shim import CLOCK, TEAR, Strike, operations

SIGKILLED, WRONG, TRY_AGAIN = -9, 2, 3
# What cannot fail for want of room.
NEEDS_NO_ROOM = ("unlink", "rmdir", "ftruncate", "truncate")
PLACES = (
    "feed.json",
    "spec.json",
    "files.json",
    "reference",
    "inputs.json",
    "schema.json",
    "records.jsonl",
    "merged.records",
    "progress.json",
    "lease",
    "quarantine",
    "reason.json",
    "denormalized",
    "link ",
    "_manifest.json",
    ".fanfold/runs",
    "rmdir ",
)
Case = TypeVar("Case")


class Result(NamedTuple):
    """How many cases there were, and what was wrong, one sentence each."""

    cases: int
    differences: list[str]


class Matrix:
    """A scene, what comes of it undisturbed, and the times that its command is disturbed."""

    def __init__(self, scene: Scene, folder: Path, runners: list[Runner]) -> None:
        """Do the command undisturbed.

        Args:
            scene: its feed is copied for every call.
            folder: empty; copies lie there while they are in use, and those that differ stay.
            runners: so many calls at a time, all of one kind.
        """
        self._scene, self._folder = scene, folder
        self._runners: queue.SimpleQueue[Runner] = queue.SimpleQueue()
        self._jobs = len(runners)
        for runner in runners:
            self._runners.put(runner)
        if scene.killed:
            kill(scene.spec, runners[0], scene.killed)
        # What comes of it undisturbed: of the command, with those that follow (`before`), and after a change.
        self.trees: dict[str, dict[str, str]] = {}
        self.changes = self._undisturbed(Strike())
        self.reads = self._undisturbed(Strike(reads=True))
        if change := scene.change:
            for name, make in {"kept": change.kept, "now": change.made}.items():
                with self._runner() as runner, self._copy("undisturbed") as spec:
                    make(opened(spec))
                    self._do(runner, spec, scene.command)
                    self._goes_on(runner, spec, name)

    @property
    def expected(self) -> dict[str, str]:
        """The tree that an undisturbed command leaves."""
        return self.trees["at once"]

    def _undisturbed(self, strike: Strike) -> list[str]:
        with self._runner() as runner, self._copy("undisturbed") as spec:
            self._is_well(runner.run(spec, strike, self._scene.command), self._scene.command)
            done = operations(spec.with_name("data"))
            self._is_tree(spec, "at once")
            self._goes_on(runner, spec, "before")
            return done

    @contextlib.contextmanager
    def _runner(self) -> Iterator[Runner]:
        runner = self._runners.get()
        try:
            yield runner
        finally:
            self._runners.put(runner)

    @contextlib.contextmanager
    def _copy(self, name: str) -> Iterator[Path]:
        yield copy(self._scene.spec, self._folder / name)
        shutil.rmtree(self._folder / name)

    def _each(self, cases: Iterable[Case], name: str, do: Callable[[Runner, Path, Case], None]) -> Result:
        """Do something for each case with a copy of the feed; what it asserts in vain is a difference."""

        def one(case: Case) -> str | None:
            with self._runner() as runner:
                try:
                    with self._copy(f"{name}-{case}".replace("/", "_")) as spec:
                        do(runner, spec, case)
                except AssertionError as wrong:
                    return f"{name} {case}: {wrong}"
            return None

        listed = list(cases)
        with ThreadPoolExecutor(self._jobs) as pool:
            return Result(len(listed), [found for found in pool.map(one, listed) if found])

    def clock(self, points: Iterable[int]) -> Result:
        """Let the time of day fall back by a day at each of these changes."""

        def do(runner: Runner, spec: Path, at: int) -> None:
            self._is_well(self._strike(runner, spec, Strike(at, CLOCK)), self._scene.command)
            self._is_tree(spec, "at once")

        return self._each(points, "clock set back at change", do)

    def _strike(self, runner: Runner, spec: Path, strike: Strike) -> Ended:
        return runner.run(spec, strike, self._scene.command)

    def _recovers(self, runner: Runner, spec: Path) -> None:
        """Change what is to be changed, call the command again, and compare what comes of it in the end."""
        self._goes_on(runner, spec, self._scene.change.of(spec.with_name("data")) if self._scene.change else "before")

    def _goes_on(self, runner: Runner, spec: Path, by: str) -> None:
        scene = self._scene
        if scene.change:
            scene.change.made(opened(spec))
            if by == "kept" and scene.change.refused and runs.unfinished(opened(spec).open()):
                ended, by = runner.run(spec, command=scene.command), "now"
                assert ended.code == WRONG, f"what is refused ends with {ended}"
                assert f"fanfold {RELEASE[0]}" in ended.error, ended
                self._do(runner, spec, RELEASE)
        self._is_well(runner.run(spec, command=scene.command), scene.command, scene.codes)
        self._do(runner, spec, *scene.then)
        self._is_tree(spec, by)

    def _do(self, runner: Runner, spec: Path, *commands: Command) -> None:
        for command in commands:
            self._is_well(runner.run(spec, command=command), command)

    @staticmethod
    def _is_well(ended: Ended, command: Command, codes: Collection[int] = (0,)) -> None:
        assert ended.code in codes, f"{' '.join(command)} ends with {ended}"
        assert command[:1] != STEPS or not ended.error, ended

    def _is_tree(self, spec: Path, by: str) -> None:
        found = tree(spec.with_name("data"))
        expected = self.trees.setdefault(by, found)
        names = [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
        assert not names, f"another tree, the first of {len(names)} differences to {by!r} is {names[0]!r}"

    def spread(self, points: int) -> list[int]:
        """Return so many numbers of changes, evenly spread, and the first of each place."""
        last = len(self.changes) - 1
        evenly = {1 + index * last // (points - 1) for index in range(points)}
        return sorted(
            evenly | {1 + next(i for i, what in enumerate(self.changes) if place in what) for place in PLACES}
        )

    def spread_by(self, step: int) -> list[int]:
        """Return each so many-th number of a change, and those of the lease that only the command line takes."""
        driver = [at for at, what in enumerate(self.changes, 1) if "/driver" in what]
        return sorted({*range(1, len(self.changes) + 1, step), *driver})

    def kill(self, points: Iterable[int]) -> Result:
        """Kill the command before each of these changes, and call it again."""

        def do(runner: Runner, spec: Path, at: int) -> None:
            self._is_killed(self._strike(runner, spec, Strike(at)), spec, at)
            self._recovers(runner, spec)

        return self._each(points, "killed before change", do)

    def tear(self, points: Iterable[int]) -> Result:
        """Kill the command in the middle of each of these changes that is a write, and call it again."""

        def do(runner: Runner, spec: Path, at: int) -> None:
            self._is_killed(self._strike(runner, spec, Strike(at, TEAR)), spec, at)
            self._recovers(runner, spec)

        writes = [at for at in points if self.changes[at - 1].startswith(("write ", "pwrite "))]
        return self._each(writes, "killed in the middle of write", do)

    def kill_twice(self, seed: int, times: int) -> Result:
        """Kill the command at a random change, and the call that mends it at another; then call it again."""
        chosen = random.Random(seed)
        cases = [(chosen.randint(1, len(self.changes)), chosen.random()) for _ in range(times)]

        def do(runner: Runner, spec: Path, case: tuple[int, float]) -> None:
            at, share = case
            second = 1 + int(share * (len(self.changes) - at))
            self._is_killed(self._strike(runner, spec, Strike(at)), spec, at)
            # A mending run may have fewer changes than are left: then it ends, and is run once more.
            ended = self._strike(runner, spec, Strike(second))
            assert ended.code in {SIGKILLED, 0}, f"the second run ends with {ended}"
            self._recovers(runner, spec)

        return self._each(cases, "killed twice", do)

    def interleave(self, points: Iterable[int], between: Command) -> Result:
        """Kill the command before each of these changes, do another, and call it again: the same rows and originals."""
        with self._runner() as runner, self._copy("undisturbed") as spec:
            self._do(runner, spec, self._scene.command, between, *self._scene.then)
            expected = held_in(spec.with_name("data"))

        def do(runner: Runner, spec: Path, at: int) -> None:
            self._is_killed(self._strike(runner, spec, Strike(at)), spec, at)
            self._do(runner, spec, between)
            self._is_well(runner.run(spec, command=self._scene.command), self._scene.command, self._scene.codes)
            self._do(runner, spec, *self._scene.then)
            found = held_in(spec.with_name("data"))
            assert found == expected, f"lost: {expected - found}, too many: {found - expected}"

        return self._each(points, f"killed, and {between[0]} before it is called again, at change", do)

    def fail(self, cases: Iterable[tuple[int, int, bool]], *, reads: bool = False) -> Result:
        """Let changes (or reads) fail, each case with number, errno and whether it lasts; and run again."""

        def do(runner: Runner, spec: Path, case: tuple[int, int, bool]) -> None:
            at, number, lasts = case
            ended = self._strike(runner, spec, Strike(at, str(number), lasts, reads))
            assert ended.code in {0, TRY_AGAIN}, f"it ends with {ended}"
            if ended.code == 0:
                self._is_tree(spec, "at once")
            self._recovers(runner, spec)

        return self._each(cases, "failed at " + ("read" if reads else "change"), do)

    def full_disk(self, points: Iterable[int]) -> Result:
        """Let all that needs room fail with ENOSPC, from each of these changes on; and run again."""
        needy = [at for at in points if not self.changes[at - 1].startswith(NEEDS_NO_ROOM)]
        return self.fail((at, errno.ENOSPC, True) for at in needy)

    def broken_disk(self, points: Iterable[int], *, reads: bool = False) -> Result:
        """Let one change (or read) fail with EIO, at each of these; and run again."""
        return self.fail(((at, errno.EIO, False) for at in points), reads=reads)

    @staticmethod
    def _is_killed(ended: Ended, spec: Path, at: int) -> None:
        # Once in some twenty runs DuckDB writes a table with one write less than usual: there is no last change then.
        done = len(operations(spec.with_name("data")))
        assert ended.code == SIGKILLED or (ended.code == 0 and done < at), f"not killed, it ends with {ended}"


def held_in(data_dir: Path) -> Counter[str]:
    """Count all rows that are published, whatever the run, and the contents of all originals, wherever they lie.

    Rows are told by the names of their columns: a run has these in the order in which its own files bring them.
    """
    found: Counter[str] = Counter()
    for path in data_dir.glob("denormalized/*/**/[0-9]*.csv"):
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                found[str(sorted((name, value) for name, value in row.items() if value))] += 1
    for name, content in tree(data_dir).items():
        if name.startswith(("transactions/", "staging/", "processed/")) and content:
            found[f"an original: {content}"] += 1
    return found


def not_durable(changes: Iterable[str]) -> list[str]:
    """Name what a power cut could undo or empty: from the order of changes, and of what brings them to the disk.

    A file is renamed when its content is on disk; the run is committed, and an original loses its old name, when all
    new names outside of staging are.
    """
    unwritten: set[str] = set()
    unnamed: dict[str, str] = {}
    found = []
    for change in changes:
        kind, _, place = change.partition(" ")
        source, _, target = place.partition(" -> ")
        if kind in {"open", "write", "pwrite", "ftruncate"}:
            unwritten.add(place)
        elif kind in {"fsync", "fdatasync"}:
            unwritten.discard(place)
            unnamed = {name: parent for name, parent in unnamed.items() if parent != place}
        elif kind in {"rename", "link"}:
            if source in unwritten:
                found.append(f"{change}: the content is not on disk")
            unnamed.pop(source, None)
            unnamed[target] = str(PurePosixPath(target).parent)
        elif kind == "mkdir":
            unnamed[place] = str(PurePosixPath(place).parent)
        commits = kind == "rename" and target.startswith(".fanfold/runs/")
        gives_up = kind == "unlink" and place.startswith("staging/") and "/.fanfold/" not in place
        if commits or gives_up:
            late = [name for name in unnamed if not name.startswith("staging/") and name != target]
            found += [f"{change}: the name {name} is not on disk" for name in late]
    return found
