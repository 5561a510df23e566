"""One owner at a time: real processes that hold a part of a run, stop in its middle, or die there."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fanfold.errors import BusyError, SpecError
from fanfold.feed import lease, runs
from fanfold.steps import local
from fanfold.steps.archive_files import archive_files
from fanfold.steps.create_dynamic_taskgroups import create_dynamic_taskgroups
from fanfold.steps.denormalize_data import denormalize_data
from fanfold.steps.merge_data import merge_data
from fanfold.steps.release import release
from fanfold.steps.stage_files import stage_files
from tests.conftest import PATIENCE_SECONDS, TS, FeedDir, MakeFeed, tree

pytestmark = pytest.mark.slow

HOLD = """
import sys, time
from pathlib import Path
from fanfold.feed import lease
with lease.hold(Path(sys.argv[1]), does="merge_data"):
    print("held", flush=True)
    time.sleep(10_000)
"""
RECORDS = [{"id": 1, "customer_id": "1", "items": [{"qty": 1}]}]


@contextlib.contextmanager
def holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold a lease in another process, until that is killed."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for owners that are about to end."""
    monkeypatch.setattr(lease, "GRACE_SECONDS", 0)


@pytest.fixture
def feed(make_feed: MakeFeed) -> FeedDir:
    return make_feed({"a.json": RECORDS, "b.json": RECORDS}, subdirs=2)


def test_the_late_one_is_told_who_works(tmp_path: Path) -> None:
    """A lease that is held names step, process and host of its owner; it is free when the owner is done."""
    path = tmp_path / "lease"
    with (
        holding(path) as owner,
        pytest.raises(BusyError, match=rf"is locked by merge_data in process {owner.pid} on '.+' for 0 s: try again"),
        lease.hold(path, does="merge_data"),
    ):
        pass
    with lease.hold(path, does="merge_data"):
        pass
    with lease.hold(path, does="merge_data"):
        pass


def test_threads_of_one_process_keep_each_other_out(tmp_path: Path) -> None:
    """A lease that one thread holds is refused to another one of the same process, which is named."""
    path, said = tmp_path / "lease", f"merge_data in process {os.getpid()}"

    def late() -> None:
        with lease.hold(path, does="archive_files"):
            pass

    with ThreadPoolExecutor(1) as pool:
        with lease.hold(path, does="merge_data"), pytest.raises(BusyError, match=said):
            pool.submit(late).result()
        pool.submit(late).result()


def test_a_dead_owner_is_taken_over_without_a_person(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After kill -9 of its owner a lease is free at once, and who takes it over is told whose it was."""
    caplog.set_level("INFO")
    path = tmp_path / "lease"
    with holding(path) as owner:
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        with lease.hold(path, does="merge_data"):
            pass
    assert f"merge_data in process {owner.pid}" in caplog.text
    caplog.clear()
    with lease.hold(path, does="merge_data"):
        pass
    assert caplog.text == ""


def test_a_lease_of_a_run_that_is_gone_cannot_be_held(tmp_path: Path) -> None:
    """A run that was completed while somebody waited for it is not worked on any more."""
    path = tmp_path / "run" / "lease"
    with pytest.raises(FileNotFoundError), lease.hold(path, does="merge_data"):
        pass


@pytest.mark.parametrize("step", [merge_data, denormalize_data, archive_files])
def test_a_task_that_was_thought_dead_is_not_disturbed(feed: FeedDir, step: object) -> None:
    """While the first still works on a group, a second task of it touches nothing; later it gets through."""
    groups = feed.stage()
    before = tree(feed.data_dir)
    with holding(feed.at().group(1).lease_path), pytest.raises(BusyError):
        step(groups["1"], feed.data_dir)  # type: ignore[operator]
    feed.at().group(1).lease_path.unlink()
    assert tree(feed.data_dir) == before
    feed.group(1)
    feed.group(2)
    assert feed.verify().rows_out == 2


def test_other_groups_go_on_while_one_is_held(feed: FeedDir) -> None:
    """A group that is held holds up itself, and what is done to the whole run: verify_run and release."""
    feed.stage()
    with holding(feed.at().group(1).lease_path):
        feed.group(2)
        with pytest.raises(BusyError):
            feed.verify()
        with pytest.raises(BusyError):
            release(feed.open(), TS)
    feed.group(1)
    assert feed.verify().files_in == 2


def test_staging_and_preparing_have_one_owner(feed: FeedDir) -> None:
    """Two that stage or prepare one run do it one after the other; the late one stops."""
    feed.stage()
    with holding(feed.at().lease_path):
        with pytest.raises(BusyError):
            stage_files(feed.open(), TS)
        with pytest.raises(BusyError):
            create_dynamic_taskgroups(feed.data_dir, TS, 2)


def test_a_second_fanfold_run_leaves_a_run_in_work_alone(feed: FeedDir) -> None:
    """Groups that the first has not begun stay its own: a second `fanfold run` of the same run stops."""
    feed.stage()
    with holding(feed.at().driver_path):
        before = {path: digest for path, digest in tree(feed.data_dir).items() if "lease" not in path}
        with pytest.raises(BusyError, match="is locked by"):
            local.run(feed.open(), TS, lambda _n, _step, _state: None)
        assert {path: digest for path, digest in tree(feed.data_dir).items() if "lease" not in path} == before
        with pytest.raises(BusyError):
            release(feed.open(), TS)


def test_deciding_waits_for_its_turn(feed: FeedDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs never decide about duplicates at once: the second waits, and stops when that takes too long."""
    stage_files(feed.open(), TS)
    monkeypatch.setattr(runs, "WAIT_SECONDS", 0.2)
    with runs.one_by_one(feed.open()), pytest.raises(BusyError, match=r"locked by another process for 0\.2 s"):
        create_dynamic_taskgroups(feed.data_dir, TS, 2)
    assert create_dynamic_taskgroups(feed.data_dir, TS, 2)


def test_two_feeds_on_one_data_dir_are_refused_by_name(feed: FeedDir) -> None:
    """A data_dir knows the feed that it holds: a spec of another name is refused, whatever it would do."""
    summary = feed.run()
    before = tree(feed.data_dir)
    feed.write_spec(name="other")
    feed.land("c.json", RECORDS)
    with pytest.raises(SpecError, match=r"name: found 'other', expected 'feed', the feed of .*: give each feed a"):
        feed.open()
    feed.write_spec()
    (feed.landing_dir / "c.json").unlink()
    assert tree(feed.data_dir) == before
    assert feed.run() == summary


def test_a_lock_before_the_first_name_is_no_other_feed(feed: FeedDir) -> None:
    """A process killed between locking the data_dir and naming it leaves an empty name, which the next one fills."""
    path = feed.open().identity_path
    path.parent.mkdir()
    path.touch()
    feed.run()
    assert json.loads(path.read_text())["name"] == "feed"


def run(feed: FeedDir, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fanfold", "run", str(feed.spec_path), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def rows(feed: FeedDir) -> list[str]:
    tables = sorted(feed.data_dir.glob("denormalized/*/*.csv"))
    return sorted(line for table in tables for line in table.read_text().splitlines()[1:])


def test_a_stopped_process_keeps_its_run_and_dead_gives_it_up(make_feed: MakeFeed) -> None:
    """A `fanfold run` that hangs keeps its run: a second one stops with exit code 3; after kill -9 a third ends it."""
    feed = make_feed(subdirs=1)
    records = [{"id": n, "customer_id": "1", "items": [{"qty": 1}]} for n in range(150_000)]
    feed.land("a.json", records)
    first = run(feed)
    while not list(feed.data_dir.glob("staging/*/.fanfold/1/lease")):
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    try:
        with run(feed) as second:
            _, errors = second.communicate(timeout=PATIENCE_SECONDS)
        assert second.returncode == 3, errors
        assert f"fanfold run in process {first.pid}" in errors
    finally:
        with first:
            first.kill()
    with run(feed) as third:
        _, errors = third.communicate(timeout=PATIENCE_SECONDS)
    assert third.returncode == 0, errors
    assert len(rows(feed)) == 150_000


@pytest.mark.parametrize("same_ts", [True, False], ids=["one-run", "two-runs"])
def test_three_runs_at_once_put_each_file_into_one_output(make_feed: MakeFeed, same_ts: bool) -> None:  # noqa: FBT001
    """Three `fanfold run` of one feed at the same moment, then one more: each record is a row, once."""
    feed = make_feed(subdirs=3, input={"duplicates": "archive"})
    for name in range(12):
        # Each content lies there under two names.
        feed.land(f"{name}.json", [{"id": f"{name // 2}-{k}", "customer_id": "1", "items": []} for k in range(20)])
    options = ["--ts", TS] if same_ts else []
    together = [run(feed, *options) for _ in range(3)]
    for process in together:
        with process:
            process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode in {0, 3}
    for _ in range(3):
        with run(feed) as last:
            _, errors = last.communicate(timeout=PATIENCE_SECONDS)
        assert last.returncode == 0, errors
    assert runs.unfinished(feed.open()) == []
    assert [row.split(",")[0] for row in rows(feed)] == sorted(f"{name}-{k}" for name in range(6) for k in range(20))
    assert len(list(feed.data_dir.glob("processed/*.json"))) == 12


def test_bytes_staged_in_an_unfinished_run_are_seen(make_feed: MakeFeed) -> None:
    """A file that an unfinished run has staged, delivered again to a second run, makes rows in one of them only."""
    feed = make_feed({"a.json": RECORDS}, subdirs=1, input={"duplicates": "archive"})
    feed.stage()
    feed.land("b.json", RECORDS)
    later = "20260103T000000Z"
    second = feed.run(later)
    assert (second.files_archived, second.records_in) == (1, 0)
    feed.group(1)
    assert feed.verify().rows_out == 1


def test_bytes_staged_in_a_released_run_are_not_seen(make_feed: MakeFeed) -> None:
    """Once a run is given up its files are new again, also to those that were duplicates of them."""
    feed = make_feed({"a.json": RECORDS}, subdirs=1, input={"duplicates": "archive"})
    feed.stage()
    release(feed.open(), TS)
    assert feed.run("20260103T000000Z").rows_out == 1
