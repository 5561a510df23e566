"""Every change that a run makes: killed there, or failing there, a plain run after it ends in the undisturbed tree."""

import contextlib
import errno
import gzip
import io
import json
import queue
import random
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import duckdb

from tests.conftest import new_feed, tree
from tests.torture.runs import Ended, Forked, Runner, copy
from tests.torture.shim import CLOCK, TEAR, Strike, operations

SIGKILLED, TRY_AGAIN = -9, 3
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


def make_feed(root: Path, **keys: Any) -> Path:
    """Make a feed with every kind of step: folders, compression, a reference, bad records, a bad file, a duplicate.

    One task at a time: the k-th change is the same in every run. `keys` go into its spec.
    """
    fixed = {"subdirs": 4, "concurrent_tasks": 1, "quarantine": {"max_bad_records_percent": 50}}
    made = new_feed(root, **{**fixed, "input": {"duplicates": "archive"}, **keys})
    records = [{"id": n, "customer_id": str(n % 3), "items": [{"sku": "a", "qty": n}] * (n % 3)} for n in range(6)]
    made.land("a.json", records)
    made.land("sub/b.json", records[:3])
    made.land("c.json", [])
    made.land("d.json.gz", gzip.compress(json.dumps(records).encode(), mtime=0))
    made.land("again/a.json", records)
    made.land("sub/f.json", '{"id": 7, "customer_id": "1", "price": 0.12345678901234567890}\n{"id": 8,}\n{"id": 9}\n')
    made.land("g.json", "no JSON")
    made.land("h.csv", "id,customer_id\n10,007\n11,1\n")
    members = io.BytesIO()
    with zipfile.ZipFile(members, "w") as packed:
        for name, content in {"b.json": '[{"id": 13}]', "a.csv": "id,customer_id\n12,1\n", "c.json": "{"}.items():
            packed.writestr(zipfile.ZipInfo(name), content)
    made.land("k.zip", members.getvalue())
    with duckdb.connect() as connection:
        table = "SELECT * FROM (VALUES (20, '1'), (21, '2')) AS records(id, customer_id)"
        connection.execute(f"COPY ({table}) TO '{made.landing_dir}/i.parquet'")
    return made.spec_path


class Matrix:
    """A feed, what an undisturbed run of it does, and the runs that are disturbed."""

    def __init__(self, spec: Path, folder: Path, runners: list[Runner]) -> None:
        """Do the undisturbed run.

        Args:
            spec: the feed; it is copied for every run.
            folder: empty; copies lie there while they are in use, and those that differ stay.
            runners: so many runs at a time, all of one kind.
        """
        self._spec, self._folder = spec, folder
        self._runners: queue.SimpleQueue[Runner] = queue.SimpleQueue()
        self._jobs = len(runners)
        for runner in runners:
            self._runners.put(runner)
        self.changes, self.expected = self._undisturbed(Strike())
        self.reads, _ = self._undisturbed(Strike(reads=True))

    def _undisturbed(self, strike: Strike) -> tuple[list[str], dict[str, str]]:
        with self._runner() as runner, self._copy("undisturbed") as spec:
            ended = runner.run(spec, strike)
            assert ended == Ended(0, ""), ended
            return operations(spec.with_name("data")), tree(spec.with_name("data"))

    @contextlib.contextmanager
    def _runner(self) -> Iterator[Runner]:
        runner = self._runners.get()
        try:
            yield runner
        finally:
            self._runners.put(runner)

    @contextlib.contextmanager
    def _copy(self, name: str) -> Iterator[Path]:
        yield copy(self._spec, self._folder / name)
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
            ended = runner.run(spec, Strike(at, CLOCK))
            assert ended == Ended(0, ""), f"it ends with {ended}"
            self._is_undisturbed(spec)

        return self._each(points, "clock set back at change", do)

    def _recovers(self, runner: Runner, spec: Path) -> None:
        ended = runner.run(spec)
        assert ended == Ended(0, ""), f"a plain run after it ends with {ended}"
        self._is_undisturbed(spec)

    def _is_undisturbed(self, spec: Path) -> None:
        found = tree(spec.with_name("data"))
        names = [name for name in sorted({*found, *self.expected}) if found.get(name) != self.expected.get(name)]
        assert not names, f"another tree, the first of {len(names)} differences is {names[0]!r}"

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
        """Kill a run before each of these changes, and run it again."""

        def do(runner: Runner, spec: Path, at: int) -> None:
            self._is_killed(runner.run(spec, Strike(at)), spec, at)
            self._recovers(runner, spec)

        return self._each(points, "killed before change", do)

    def tear(self, points: Iterable[int]) -> Result:
        """Kill a run in the middle of each of these changes that is a write, and run it again."""

        def do(runner: Runner, spec: Path, at: int) -> None:
            self._is_killed(runner.run(spec, Strike(at, TEAR)), spec, at)
            self._recovers(runner, spec)

        writes = [at for at in points if self.changes[at - 1].startswith(("write ", "pwrite "))]
        return self._each(writes, "killed in the middle of write", do)

    def kill_twice(self, seed: int, times: int) -> Result:
        """Kill a run at a random change, and the run that mends it at another; then run it again."""
        chosen = random.Random(seed)
        cases = [(chosen.randint(1, len(self.changes)), chosen.random()) for _ in range(times)]

        def do(runner: Runner, spec: Path, case: tuple[int, float]) -> None:
            at, share = case
            second = 1 + int(share * (len(self.changes) - at))
            self._is_killed(runner.run(spec, Strike(at)), spec, at)
            # A mending run may have fewer changes than are left: then it ends, and is run once more.
            ended = runner.run(spec, Strike(second))
            assert ended.code in {SIGKILLED, 0}, f"the second run ends with {ended}"
            self._recovers(runner, spec)

        return self._each(cases, "killed twice", do)

    def fail(self, cases: Iterable[tuple[int, int, bool]], *, reads: bool = False) -> Result:
        """Let changes (or reads) fail, each case with number, errno and whether it lasts; and run again."""

        def do(runner: Runner, spec: Path, case: tuple[int, int, bool]) -> None:
            at, number, lasts = case
            ended = runner.run(spec, Strike(at, str(number), lasts, reads))
            assert ended.code in {0, TRY_AGAIN}, f"it ends with {ended}"
            if ended.code == 0:
                self._is_undisturbed(spec)
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
        assert ended == Ended(SIGKILLED, "") or (ended.code == 0 and done < at), f"not killed, it ends with {ended}"


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


@contextlib.contextmanager
def forks(library: Path, jobs: int) -> Iterator[list[Runner]]:
    """Start so many processes that fork runs."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Forked(library)) for _ in range(jobs)]
