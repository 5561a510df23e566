"""A sample of the torture: the k-th change of a run killed or failing, full and foreign disks, Airflow under kill -9.

`make torture` does all of it; tests/torture has the means.
"""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import TS, needs_root, tree
from tests.torture import shim
from tests.torture.airflow import KINDS, Embedded, airflow, torture
from tests.torture.feeds import make_feed
from tests.torture.killer import Killer
from tests.torture.matrix import Matrix, not_durable
from tests.torture.runs import STEPS, CommandLine, Ended, Runner, copy, forks
from tests.torture.scenes import SCENES, Scene
from tests.torture.shim import CLOCK, STOP, Strike, operations

pytestmark = pytest.mark.slow

LATER = "20260102T040506Z"
EARLIER = "20250102T030405Z"
POINTS = 48
SCENE_POINTS = 6
# Root, too, is refused what a mode refuses to the owner.
OBEYING = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
DAY = 24 * 60 * 60
ORIGINAL = re.compile(
    r"(?:transactions|processed|(?:staging|quarantine)/[^/]+/\d+)/(?P<stem>[^._][^._]*?)(?:_\d{8}T\d{6}Z)?(?P<suffix>\..*)"
)
NOTE = re.compile(r"records\.jsonl|\.reason\.json")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the shim; without a compiler these tests fail, and say what is missing."""
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the feed that all runs get a copy of."""
    return make_feed(tmp_path_factory.mktemp("feed"))


@pytest.fixture(scope="module")
def runners(library: Path) -> Iterator[list[Runner]]:
    """Start processes that fork."""
    with forks(library, 2) as started:
        yield started


@pytest.fixture(scope="module")
def matrix(spec: Path, runners: list[Runner], tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """Do the undisturbed run."""
    return Matrix(Scene(spec), tmp_path_factory.mktemp("matrix"), runners)


@pytest.fixture
def command_line(library: Path) -> CommandLine:
    """Return the command line under the shim."""
    return CommandLine(library)


@pytest.fixture
def feed(spec: Path, tmp_path: Path) -> Path:
    """Copy the feed for one test."""
    return copy(spec, tmp_path / "feed")


def sample(count: int, of: int, seed: int) -> list[int]:
    return sorted(random.Random(seed).sample(range(1, of + 1), count))


def data_dir(spec: Path) -> Path:
    return spec.with_name("data")


def originals(spec: Path) -> dict[str, list[str]]:
    """Say for every name in landing under which paths it lies."""
    found: dict[str, list[str]] = {}
    for path in tree(data_dir(spec)):
        if (original := ORIGINAL.fullmatch(path)) and not NOTE.search(path):
            found.setdefault(f"{original['stem']}{original['suffix']}", []).append(path)
    return found


def test_killed_before_a_change_of_the_file_system_a_plain_run_mends_all(matrix: Matrix) -> None:
    """Killed before any of 60 changes, those of DuckDB included, a run leaves nothing that a plain one cannot mend."""
    killed = matrix.kill(matrix.spread(POINTS))
    assert killed.cases >= 60
    assert not killed.differences


def test_killed_in_the_middle_of_a_write_a_plain_run_mends_all(matrix: Matrix) -> None:
    """A write of which half reached the file is made again, be it a table, a note or a lease."""
    torn = matrix.tear(range(1, len(matrix.changes), 4))
    assert torn.cases > 5
    assert not torn.differences


def test_killed_again_while_it_is_mended_a_plain_run_mends_all(matrix: Matrix) -> None:
    """A run that mends may be killed as well, at any change."""
    assert matrix.kill_twice(seed=1, times=10) == (10, [])


def test_from_a_full_disk_on_nothing_is_lost(matrix: Matrix) -> None:
    """From any change on without room, a run ends with exit code 3; with room, a plain run ends as if undisturbed."""
    full = matrix.full_disk(sample(14, len(matrix.changes), seed=2))
    assert full.cases >= 5
    assert not full.differences


def test_a_change_that_fails_loses_nothing(matrix: Matrix) -> None:
    """A change that fails with EIO ends the run with exit code 3 or does no harm; a plain run after it ends well."""
    assert matrix.broken_disk(sample(10, len(matrix.changes), seed=3)) == (10, [])


def test_a_read_that_fails_once_is_no_fault_of_the_file(matrix: Matrix) -> None:
    """A read that fails once with EIO puts no file on another path, and none into quarantine: the tree is the same."""
    assert matrix.broken_disk(sample(14, len(matrix.reads), seed=4), reads=True) == (14, [])


def test_a_clock_that_is_set_back_in_the_middle_changes_nothing(matrix: Matrix) -> None:
    """When the time of day falls back by a day in the middle of a run, the run ends as if undisturbed."""
    assert matrix.clock(range(20, len(matrix.changes), 100)).differences == []


def test_content_is_on_disk_before_its_name_and_every_name_before_the_commit(matrix: Matrix) -> None:
    """In a run that is not killed, content is synced before its name, and names before an unlink or the commit."""
    assert not_durable(matrix.changes) == []


@pytest.mark.parametrize("name", SCENES)
def test_every_command_is_killed_and_called_again(name: str, runners: list[Runner], tmp_path: Path) -> None:
    """Killed at a change of any kind, a command leaves nothing that a second call does not mend, by a new spec too."""
    (tmp_path / "scene").mkdir()
    matrix = Matrix(SCENES[name](tmp_path / "scene"), tmp_path / "matrix", runners)
    points = range(1, len(matrix.changes) + 1, 1 + len(matrix.changes) // SCENE_POINTS)
    assert matrix.kill(points).differences == []


@pytest.mark.parametrize("name", ["release of what is not published", "quarantine replay --with"])
def test_what_is_landed_is_landed_once(name: str, runners: list[Runner], tmp_path: Path) -> None:
    """Killed among the files that it lands, of which a run takes the first ones, a command lands none of them again."""
    (tmp_path / "scene").mkdir()
    matrix = Matrix(SCENES[name](tmp_path / "scene"), tmp_path / "matrix", runners)
    landing = [at for at, what in enumerate(matrix.changes, 1) if "transactions/" in what]
    points = landing[:: 1 + len(landing) // SCENE_POINTS]
    assert matrix.interleave(points, (*STEPS, "20260101T030405Z")).differences == []


def test_the_command_line_is_killed_with_all_its_processes(
    matrix: Matrix, command_line: CommandLine, feed: Path, tmp_path: Path
) -> None:
    """Killed before a change of any of its processes, `fanfold run` leaves nothing that a second does not mend."""
    undisturbed = copy(feed, tmp_path / "undisturbed")
    assert command_line.run(undisturbed, Strike()) == Ended(0, "")
    assert tree(data_dir(undisturbed)) == matrix.expected
    changes = operations(data_dir(undisturbed))
    driver = [at for at, what in enumerate(changes, 1) if what.endswith("/driver")]
    assert driver

    def kill(at: int) -> None:
        killed = copy(feed, tmp_path / f"killed-{at}")
        assert command_line.run(killed, Strike(at)).code == -signal.SIGKILL
        assert command_line.run(killed) == Ended(0, "")
        assert tree(data_dir(killed)) == matrix.expected, changes[at - 1]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(kill, [*driver[:1], *sample(3, len(changes), seed=5)]))


@needs_root
@pytest.mark.parametrize("limit", ["size={0}k", "nr_inodes={0}"])
def test_a_disk_that_is_full_gets_room_and_the_run_goes_on(
    matrix: Matrix, command_line: CommandLine, feed: Path, tmp_path: Path, limit: str
) -> None:
    """On a full disk, or one without inodes, a run ends with exit code 3 and says so; given room, it ends well."""
    disk = tmp_path / "disk"
    disk.mkdir()
    needed = {"size={0}k": (48, 128), "nr_inodes={0}": (44,)}[limit]
    for room in needed:
        options = limit.format(room)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=64m,{options}", "tmpfs", disk], check=True)
        try:
            small = copy(feed, disk / "feed")
            ended = command_line.run(small)
            assert ended.code == 3, (room, ended)
            first, *more = ended.error.splitlines()
            assert "No space left on device" in first, ended
            # An error that several groups have is told once, with their numbers.
            told = ("run ", "this is the error of the groups ")
            assert all("No space left on device" in line or line.startswith(told) for line in more), ended
            subprocess.run(["mount", "-o", "remount,size=64m,nr_inodes=10k", disk], check=True)
            assert command_line.run(small) == Ended(0, "")
            assert tree(data_dir(small)) == matrix.expected
        finally:
            subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("place", "mode", "expected"),
    [
        ("", 0o500, (2, "may not write into this folder")),
        ("processed", 0o500, (2, "may not write into this folder")),
        ("customers.csv", 0, (3, "Permission denied")),
    ],
)
def test_what_may_not_be_read_or_written_is_named_and_loses_nothing(  # noqa: PLR0913, PLR0917 - one row of its table
    matrix: Matrix, command_line: CommandLine, feed: Path, place: str, mode: int, expected: tuple[int, str]
) -> None:
    """Where a directory may not be written, or a reference not be read, a run names it; permitted, it ends well."""
    path = data_dir(feed) / place
    if not path.exists():
        path.mkdir()
    usual = path.stat().st_mode
    path.chmod(mode)
    ended = command_line.end(command_line.start(feed, prefix=OBEYING))
    path.chmod(usual)
    assert (ended.code, expected[1] in ended.error, path.name in ended.error) == (expected[0], True, True), ended
    assert all(len(places) == 1 for places in originals(feed).values())
    assert command_line.run(feed) == Ended(0, "")
    assert tree(data_dir(feed)) == matrix.expected


@pytest.mark.parametrize("before", ["spec.json.tmp", "rename transactions/"])
def test_a_file_that_vanishes_before_it_is_claimed_is_in_no_run_until_it_is_back(
    matrix: Matrix, command_line: CommandLine, feed: Path, tmp_path: Path, before: str
) -> None:
    """A file taken away after it was listed, or noted, is not in the run; put back, the next run has it."""
    landed = originals(feed).keys()
    # On the command line the same changes come first.
    at = 1 + next(at for at, what in enumerate(matrix.changes) if before in what)
    process = command_line.start(feed, Strike(at, STOP))
    os.waitpid(process.pid, os.WUNTRACED)
    vanished = data_dir(feed) / "transactions/sub/b.json"
    vanished.rename(tmp_path / "b.json")
    os.killpg(process.pid, signal.SIGCONT)
    ended = command_line.end(process)
    assert ended.code == 0
    assert "'sub/b.json' was taken out of landing before it could be claimed" in ended.error
    assert "sub/b.json" not in originals(feed)
    (tmp_path / "b.json").rename(vanished)
    later = command_line.run(feed, command=(*STEPS, LATER))
    assert (later.code, later.error.count("\n")) == (0, 1)
    assert "the columns are not those of run" in later.error
    assert originals(feed).keys() == landed
    assert originals(feed)["sub/b.json"] == [f"processed/sub/b_{LATER}.json"]
    assert all(len(places) == 1 for places in originals(feed).values())


def test_times_of_files_and_of_runs_may_lie_anywhere(command_line: CommandLine, feed: Path) -> None:
    """A file of long ago is taken, and one of the future; a run may be older than those before it."""
    landing = data_dir(feed) / "transactions"
    os.utime(landing / "a.json", (0, 0))
    ahead = time.time() + DAY
    os.utime(landing / "sub/b.json", (ahead, ahead))
    assert command_line.run(feed) == Ended(0, "")
    assert originals(feed)["a.json"] == [f"processed/a_{TS}.json"]
    assert originals(feed)["sub/b.json"] == [f"processed/sub/b_{TS}.json"]
    (landing / "c.json").write_text('[{"customer_id": "1", "items": []}]')
    earlier = command_line.run(feed, command=(*STEPS, EARLIER))
    assert (earlier.code, earlier.error.count("\n")) == (0, 1)
    assert "the columns are not those of run" in earlier.error
    assert f"processed/c_{EARLIER}.json" in tree(data_dir(feed))


def test_a_clock_a_day_behind_takes_what_need_not_settle(matrix: Matrix, command_line: CommandLine, feed: Path) -> None:
    """To a clock that is a day behind, all files are of the future: without `settle_seconds` they are taken at once."""
    assert command_line.run(feed, Strike(fault=CLOCK)) == Ended(0, "")
    assert tree(data_dir(feed)) == matrix.expected


def test_a_clock_a_day_behind_names_what_waits(matrix: Matrix, command_line: CommandLine, feed: Path) -> None:
    """With `settle_seconds` such files wait, each run names them, nothing is lost, and a right clock takes them."""
    text = feed.read_text(encoding="utf-8")
    feed.write_text(text.replace("settle_seconds: 0", "settle_seconds: 0.01"), encoding="utf-8")
    before = tree(data_dir(feed))
    ended = command_line.run(feed, Strike(fault=CLOCK))
    assert ended.code == 0
    assert "'a.json', " in ended.error
    assert "stay in landing: its time of change is in the future: set the clock right" in ended.error
    assert tree(data_dir(feed)) == before
    feed.write_text(text, encoding="utf-8")
    assert command_line.run(feed) == Ended(0, "")
    assert tree(data_dir(feed)) == matrix.expected


def test_airflow_mends_what_is_killed_without_a_person(tmp_path: Path) -> None:
    """Five processes of Airflow killed, its own retries end the runs: nothing lost, nothing twice, no human step."""
    killer = Killer(Embedded(), KINDS, seed=1)
    with airflow(tmp_path) as (server, fed):
        result = torture(server, fed, killer, kills=5, at_a_time=5)
    assert len(killer.killed) == 5
    assert result.differences == []


def test_a_worker_that_is_killed_is_missed_at_once(tmp_path: Path) -> None:
    """Without any heartbeat timeout, what died with its worker is tried again: the executor sees that it is gone."""
    killer = Killer(Embedded(), {"worker with its task": 1}, seed=3)
    with airflow(tmp_path, {"AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "100000"}) as (server, fed):
        result = torture(server, fed, killer, kills=3, at_a_time=3)
    assert len(killer.killed) == 3
    assert result.differences == []
