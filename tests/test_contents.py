"""A duplicate is told by the bytes that are read, each time they are: no mode, owner, link or time changes that."""

import contextlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fanfold.errors import DataError
from fanfold.manifest import Summary
from fanfold.steps.archive_files import archive_files
from fanfold.steps.create_dynamic_taskgroups import create_dynamic_taskgroups
from fanfold.steps.denormalize_data import denormalize_data
from fanfold.steps.merge_data import merge_data
from fanfold.steps.stage_files import stage_files
from fanfold.steps.verify_run import verify_run
from tests.conftest import FeedDir, MakeFeed

LATER = "20260103T030405Z"
ALIKE = [{"id": 1}]


def change_mode(path: Path) -> None:
    path.chmod(path.stat().st_mode ^ 0o002)


def change_owner(path: Path) -> None:
    os.chown(path, 4711, 4711)


def back_up(path: Path) -> None:
    (path.parents[4] / f"backup-{path.name}-{path.stat().st_nlink}").hardlink_to(path)


def touch(path: Path) -> None:
    os.utime(path)


TOUCHES = [change_mode, change_owner, back_up, touch]
MOMENTS = ["claimed", "prepared", "merged", "published"]


@pytest.fixture
def feed(make_feed: MakeFeed) -> FeedDir:
    """A feed that has published its yesterday, and of two files with one content that come today."""
    made = make_feed({"old.json": [{"id": 7}]}, merge=[], denormalize={}, subdirs=2, input={"duplicates": "archive"})
    made.run()
    for name, content in {
        "a.json": ALIKE,
        "b.json": ALIKE,
        "c.json": [{"id": 2}],
        "old-again.json": [{"id": 7}],
    }.items():
        made.land(name, content)
    return made


def touch_staged(feed: FeedDir, act: Callable[[Path], None]) -> None:
    for path in sorted((feed.data_dir / f"staging/{LATER}").glob("[0-9]/*")):
        act(path)


def run_touched(feed: FeedDir, moment: str, act: Callable[[Path], None]) -> Summary:
    """Do a run, step by step over all groups, and touch all that is staged at a moment."""
    opened = feed.open()
    stage_files(opened, LATER)
    if moment == "claimed":
        touch_staged(feed, act)
    groups = create_dynamic_taskgroups(feed.data_dir, LATER, 2)
    for step, before in (
        (merge_data, "prepared"),
        (denormalize_data, "merged"),
        (archive_files, "published"),
    ):
        if moment == before:
            touch_staged(feed, act)
        for subdir in groups.values():
            step(subdir, feed.data_dir)
    summary = verify_run(feed.data_dir, LATER, 2)
    assert feed.audit(LATER).findings == []
    return summary


@pytest.mark.slow
@pytest.mark.parametrize("schema", ["infer", "declared"])
@pytest.mark.parametrize("act", TOUCHES)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_duplicate_stays_one_whatever_else_of_it_changes(
    feed: FeedDir, moment: str, act: Callable[[Path], None], schema: str
) -> None:
    """A chmod, chown, backup by hard link or new time at any moment makes no row twice, and no step fail."""
    declared = {"schema": "declared", "fields": {"id": "BIGINT"}} if schema == "declared" else {}
    feed.write_spec(merge=[], denormalize={}, subdirs=2, input={"duplicates": "archive", **declared})
    summary = run_touched(feed, moment, act)
    assert (summary.files_in, summary.files_archived, summary.rows_out) == (4, 4, 2)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_two_links_to_one_file_make_its_rows_once(make_feed: MakeFeed, compression: str) -> None:
    """Two hard links to one file in landing are two files with one content, in one subdirectory or in two."""
    keys = {"merge": [], "denormalize": {}, "input": {"duplicates": "archive"}, "archive": {"compression": compression}}
    feed = make_feed({f"{n}.json": [{"id": n}] for n in range(6)}, subdirs=2, **keys)
    for n in range(6):
        (feed.landing_dir / f"{n}-link.json").hardlink_to(feed.landing_dir / f"{n}.json")
    summary = feed.run()
    assert (summary.files_in, summary.files_archived, summary.rows_out) == (12, 12, 6)
    assert not any(feed.landing_dir.iterdir())


def test_of_files_that_become_alike_one_makes_rows(feed: FeedDir) -> None:
    """A file that its writer gives the bytes of another one while it is staged is a duplicate of that."""
    feed.stage(LATER)
    n = next(n for n in (1, 2) if (feed.data_dir / f"staging/{LATER}/{n}/c.json").exists())
    (feed.data_dir / f"staging/{LATER}/{n}/c.json").write_text('[{"id": 1}]')
    for group in (1, 2):
        feed.group(group, LATER)
    assert feed.verify(LATER).rows_out == 1
    assert feed.audit(LATER).findings == []


def test_a_duplicate_whose_original_was_changed_since_is_named(feed: FeedDir) -> None:
    """Where the file that a duplicate was archived for has other bytes in the end, the run is not committed."""
    feed.stage(LATER)
    groups = {path.name: n for n in (1, 2) for path in (feed.data_dir / f"staging/{LATER}/{n}").iterdir()}
    feed.group(groups["b.json"], LATER)
    if groups["a.json"] != groups["b.json"]:
        (feed.data_dir / f"staging/{LATER}/{groups['a.json']}/a.json").write_text('[{"id": 8}]')
    for n in (1, 2):
        feed.group(n, LATER)
    with pytest.raises(DataError, match=r"'b.json' made no rows, as a duplicate of 'a.json', which was changed since"):
        feed.verify(LATER)


def test_files_that_are_touched_while_runs_go_on_make_their_rows_once(make_feed: MakeFeed) -> None:
    """Thirty files, a second link to each, and thirty that come again, under chmod, chown and backup: no row twice."""
    chance = random.Random(3)
    feed = make_feed(
        {f"y{n}.json": [{"id": n, "day": 1}] for n in range(30)},
        merge=[],
        denormalize={},
        subdirs=3,
        input={"duplicates": "archive"},
    )
    feed.run()
    for n in range(30):
        feed.land(f"again-{n}.json", [{"id": n, "day": 1}])
        feed.land(f"new-{n}.json", [{"id": n, "day": 2}])
        (feed.landing_dir / f"link-{n}.json").hardlink_to(feed.landing_dir / f"new-{n}.json")
    stop, backups = threading.Event(), feed.data_dir.parent / "backups"
    backups.mkdir()

    def back_up_aside(path: Path) -> None:
        (backups / f"{chance.random()}-{path.name}").hardlink_to(path)

    def disturb() -> None:
        while not stop.wait(0.01):
            paths: list[Path] = []
            # A folder may go while it is looked through.
            with contextlib.suppress(FileNotFoundError):
                paths += [*feed.landing_dir.glob("*"), *feed.data_dir.glob("staging/*/[0-9]/*")]
            for path in chance.sample(paths, min(5, len(paths))):
                with contextlib.suppress(FileNotFoundError):
                    chance.choice([change_mode, change_owner, back_up_aside])(path)

    thread = threading.Thread(target=disturb)
    thread.start()
    command = [sys.executable, "-m", "fanfold", "run", str(feed.spec_path), "--ts", LATER]
    try:
        for _ in range(5):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 3:
                break
    finally:
        stop.set()
        thread.join()
    # On a slow machine a file may be touched in each of these runs while it is read.
    if done.returncode == 3:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert feed.audit(LATER).rows == 30
    assert feed.audit(LATER).findings == []
