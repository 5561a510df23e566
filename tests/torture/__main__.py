"""`make torture`: commands killed at every change, second kills, faults, and Airflow under random `kill -9`."""

import argparse
import collections
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.torture import kernel, shim
from tests.torture.airflow import KINDS, Embedded, airflow, torture
from tests.torture.feeds import make_feed
from tests.torture.killer import Killer
from tests.torture.matrix import Matrix, Result, not_durable
from tests.torture.runs import CommandLine, Runner, forks
from tests.torture.scenes import SCENES, Scene

# Each archives in another way.
FEEDS: dict[str, dict[str, Any]] = {
    "linked archive": {},
    "compressed archive": {"archive": {"compression": "gzip"}},
    "several tables": {
        "denormalize": {},
        "tables": {"orders": {}, "items": {"explode": ["items"], "keys": ["id"]}},
    },
}


class Report:
    """Prints a line for each part as it ends."""

    def __init__(self) -> None:
        """Begin the clock."""
        self._began = time.monotonic()
        self.differences = 0

    def part(self, name: str, do: Callable[[], Result]) -> None:
        """Do a part, and say how many cases it had, how many differ, and how long it took."""
        began = time.monotonic()
        result = do()
        self.differences += len(result.differences)
        self.say(f"{name}: {result.cases:,} cases, {len(result.differences)} differences, {_seconds(began)}")
        for difference in result.differences:
            self.say(f"  {difference}")

    def say(self, text: str) -> None:
        """Print a line."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def end(self) -> None:
        """Say how long it took."""
        self.say(f"{self.differences} differences in all, {_seconds(self._began)}")


def _seconds(began: float) -> str:
    return f"{time.monotonic() - began:.0f} s"


def disturb(report: Report, name: str, matrix: Matrix, options: argparse.Namespace) -> None:
    """Kill at every change once, and let changes and reads fail."""
    changes = range(1, len(matrix.changes) + 1, options.every)
    some = range(1, len(matrix.changes) + 1, options.every * options.faults_every)
    reads = range(1, len(matrix.reads) + 1, options.every * options.faults_every)
    report.say(f"{name}: a run changes {len(matrix.changes):,} times, and reads {len(matrix.reads):,} times")
    report.part(f"{name}: order of fsync, rename, unlink", lambda: Result(1, not_durable(matrix.changes)))
    report.part(f"{name}: killed before each change", lambda: matrix.kill(changes))
    report.part(f"{name}: killed in the middle of each write", lambda: matrix.tear(changes))
    report.part(f"{name}: killed twice", lambda: matrix.kill_twice(options.seed, options.twice))
    report.part(f"{name}: disk full from a change on", lambda: matrix.full_disk(some))
    report.part(f"{name}: a change fails with EIO", lambda: matrix.broken_disk(some))
    report.part(f"{name}: a read fails with EIO", lambda: matrix.broken_disk(reads, reads=True))
    report.part(f"{name}: clock set back a day at a change", lambda: matrix.clock(some))


def torture_feed(report: Report, name: str, spec: Path, library: Path, options: argparse.Namespace) -> None:
    """Disturb runs of one feed: in forks, at every change, then by the command line, at some."""
    place = spec.parent.parent
    with forks(library, options.jobs) as runners:
        disturb(report, name, Matrix(Scene(spec), place / "forked", runners), options)
    lines: list[Runner] = [CommandLine(library) for _ in range(options.jobs)]
    matrix = Matrix(Scene(spec), place / "command-line", lines)
    points = matrix.spread_by(options.every * options.command_line)
    report.part(f"{name}: `fanfold run` killed before a change", lambda: matrix.kill(points))
    report.part(f"{name}: changes by the shim and by strace", lambda: kernel.compare(library, spec, place))


def torture_scene(report: Report, name: str, place: Path, library: Path, options: argparse.Namespace) -> None:
    """Disturb a command of one scene."""
    with forks(library, options.jobs) as runners:
        matrix = Matrix(SCENES[name](place, runners[0]), place / "forked", runners)
        changes = range(1, len(matrix.changes) + 1, options.every)
        some = range(1, len(matrix.changes) + 1, options.every * options.faults_every)
        reads = range(1, len(matrix.reads) + 1, options.every * options.faults_every)
        report.part(f"{name}: killed before each change", lambda: matrix.kill(changes))
        report.part(f"{name}: killed in the middle of each write", lambda: matrix.tear(changes))
        report.part(f"{name}: killed twice", lambda: matrix.kill_twice(options.seed, options.twice // 10))
        report.part(f"{name}: disk full from a change on", lambda: matrix.full_disk(some))
        report.part(f"{name}: a change fails with EIO", lambda: matrix.broken_disk(some))
        report.part(f"{name}: a read fails with EIO", lambda: matrix.broken_disk(reads, reads=True))


def under_airflow(report: Report, folder: Path, options: argparse.Namespace) -> None:
    """Kill processes of Airflow at random."""
    killer = Killer(Embedded(), KINDS, options.seed)

    def do() -> Result:
        with airflow(folder) as (server, feed):
            return torture(server, feed, killer, options.kills)

    report.part(f"Airflow: {options.kills} kills, then its own retries; DAG runs", do)
    for what in ("kind", "task"):
        counted = collections.Counter(getattr(one, what) for one in killer.killed)
        report.say(f"  killed by {what}: " + ", ".join(f"{name} {number}" for name, number in counted.most_common()))


def main() -> int:
    """Do everything; return 1 where something differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="processes of Airflow to kill; 0 starts none")
    parser.add_argument("--only", default="", help="only the feeds and scenes that have this in their name")
    parser.add_argument("--twice", type=int, default=100, help="runs that are killed, and killed again while mended")
    parser.add_argument("--every", type=int, default=1, help="only each so many-th change and read")
    parser.add_argument("--faults-every", type=int, default=5, help="only each so many-th of these fails; 1: each")
    parser.add_argument("--command-line", type=int, default=40, help="each so many-th change by the command line too")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--dir", type=Path, help="where the feeds lie (default: the system's temporary directory)")
    options = parser.parse_args()
    report = Report()
    report.say(f"{shlex.join(['python', '-m', 'tests.torture', *sys.argv[1:]])} (seed {options.seed})")
    with tempfile.TemporaryDirectory(prefix="torture-", dir=options.dir) as folder:
        root = Path(folder)
        # Nothing of the user's is written to.
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")
        library = shim.build(root)
        for name in (name for name in [*FEEDS, *SCENES] if options.only in name):
            place = root / re.sub(r"\W+", "-", name)
            place.mkdir()
            if name in FEEDS:
                torture_feed(report, name, make_feed(place, **FEEDS[name]), library, options)
            else:
                torture_scene(report, name, place, library, options)
        if options.kills:
            (root / "airflow").mkdir()
            under_airflow(report, root / "airflow", options)
    report.end()
    return 1 if report.differences else 0


sys.exit(main())
