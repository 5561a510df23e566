"""The file system: scan, claim, publish, archive, give back."""

import errno
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fanfold import durable
from fanfold.errors import DataError, MissingError
from fanfold.feed import claimed, give_up, landing, runs, staging, store
from fanfold.layout import Run
from fanfold.steps.recount import recount
from fanfold.steps.release import release
from tests.conftest import TS, FeedDir, MakeFeed, tree

PATTERNS = ["*.json", "*.gz"]


def names(feed: FeedDir, settle_seconds: float = 0) -> list[str]:
    return [file.name for file in feed.scan(patterns=PATTERNS, settle_seconds=settle_seconds).ready]


def test_scan_finds_files_in_all_folders(feed: FeedDir) -> None:
    """Files that match a pattern are listed by name, with their size, from all sub-folders."""
    feed.land("Z.json", "four")
    feed.land("other.txt", "x")
    feed.land("A.JSON", "x")
    found = feed.scan(patterns=PATTERNS)
    expected = [("A.JSON", 1), ("Z.json", 4), ("a.json", 1), ("sub/b.json", 1)]
    assert found == (expected, {}, {}, [], ["other.txt"])


@pytest.mark.parametrize(
    "name", [".a.json", "x.json.part", "x.json.tmp", "x.json.crdownload", "x.json~", ".hidden/a.json", "up.part/a.json"]
)
def test_scan_passes_over_unfinished_and_hidden(feed: FeedDir, name: str) -> None:
    """Hidden names and unfinished downloads, folders too, are left alone whatever the patterns are."""
    feed.land(name, "x")
    assert [file.name for file in feed.scan(patterns=["*"]).ready] == ["a.json", "sub/b.json"]


def test_scan_passes_over_what_is_no_regular_file(feed: FeedDir, caplog: pytest.LogCaptureFixture) -> None:
    """Directories are passed over; links, FIFOs, sockets and a name that is not UTF-8 too, with a warning."""
    (feed.landing_dir / "link.json").symlink_to("a.json")
    (feed.landing_dir / "dangling.json").symlink_to("nowhere")
    (feed.landing_dir / "folder").symlink_to("sub")
    (feed.landing_dir / "dir.json").mkdir()
    os.mkfifo(feed.landing_dir / "fifo.json")
    Path(os.fsdecode(os.fsencode(feed.landing_dir) + b"/\xff.json")).write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(feed.landing_dir / "s.json"))
    found = feed.scan(patterns=PATTERNS)
    assert [file.name for file in found.ready] == ["a.json", "sub/b.json"]
    with caplog.at_level(logging.WARNING):
        landing.warn(found.held)
    others = "'dangling.json', 'fifo.json', 'link.json' and 1 more stay in landing"
    assert [record.getMessage() for record in caplog.records] == [
        r"'\udcff.json' stays in landing: its name is not UTF-8",
        f"{others}: not a regular file, but a link or a pipe: land the file itself",
    ]


@pytest.mark.parametrize("age", [5, 1_000_000, -3600, -1_000_000_000])
def test_scan_waits_for_settled_files(feed: FeedDir, age: int) -> None:
    """A file is ready when both its times of change are old enough; an mtime that is still to come does not count."""
    mtime = (feed.landing_dir / "a.json").stat().st_ctime - age
    os.utime(feed.landing_dir / "a.json", (mtime, mtime))
    found = feed.scan(patterns=PATTERNS, settle_seconds=3000)
    assert found.ready == []
    assert sorted(found.settling) == ["a.json", "sub/b.json"]
    assert 3000 - 60 < found.settling["a.json"] <= 3000
    time.sleep(0.05)
    assert names(feed, settle_seconds=0.02) == names(feed) == ["a.json", "sub/b.json"]


def test_scan_needs_a_directory(feed: FeedDir) -> None:
    """A landing directory that is not there is an error that names it."""
    with pytest.raises(MissingError, match=r"nowhere' is not a directory, expected the landing directory"):
        feed.scan(path="nowhere")


def test_claim_moves(feed: FeedDir) -> None:
    """A claimed file is the same inode in its subdirectory, and gone from landing."""
    inode = (feed.landing_dir / "sub/b.json").stat().st_ino
    run = feed.at()
    assert store.of(run.feed).claim(run, [("sub/b.json", 2)]) == (set(), {})
    assert (run.group(2).subdir_dir / "sub/b.json").stat().st_ino == inode
    assert names(feed) == ["a.json"]


def test_claim_again_completes(feed: FeedDir) -> None:
    """A second claim moves what the first did not, and tells what is in neither place."""
    run = feed.at()
    store.of(run.feed).claim(run, [("a.json", 1)])
    assert store.of(run.feed).claim(run, [("a.json", 1), ("sub/b.json", 1), ("gone.json", 2)]) == ({"gone.json"}, {})
    assert names(feed) == []


def test_claim_never_overwrites(feed: FeedDir, run: Run) -> None:
    """A new file of a claimed name stays in landing, and the claimed one stays as it was."""
    feed.land("a.json", "new")
    assert store.of(run.feed).claim(run, [("a.json", 1)]) == (set(), {})
    assert (run.group(1).subdir_dir / "a.json").read_text() == "A"
    assert (feed.landing_dir / "a.json").read_text() == "new"


def test_give_back_restores(feed: FeedDir, run: Run) -> None:
    """Files given back lie in landing as they did, sub-folders too; a second call changes nothing."""
    assert give_up.give_back(run.group(1), ["a.json", "sub/b.json"]) == []
    assert names(feed) == ["a.json", "sub/b.json"]
    assert staging.left_in(run) is None
    assert give_up.give_back(run.group(1), ["a.json", "sub/b.json"]) == []


def test_give_back_again_completes(feed: FeedDir, run: Run) -> None:
    """Cut short between the name in landing and the loss of the staged one, it is completed by a second call."""
    (feed.landing_dir / "a.json").hardlink_to(run.group(1).subdir_dir / "a.json")
    assert give_up.give_back(run.group(1), ["a.json", "sub/b.json"]) == []
    assert names(feed) == ["a.json", "sub/b.json"]
    assert staging.left_in(run) is None


def test_give_back_never_overwrites(feed: FeedDir, run: Run) -> None:
    """A name that landing has again stays staged and is told, the others are given back."""
    feed.land("a.json", "new")
    assert give_up.give_back(run.group(1), ["a.json", "sub/b.json"]) == ["a.json"]
    assert (feed.landing_dir / "a.json").read_text() == "new"
    assert (run.group(1).subdir_dir / "a.json").read_text() == "A"
    assert names(feed) == ["a.json", "sub/b.json"]


def test_publish_is_a_rename(tmp_path: Path) -> None:
    """What was complete under the temporary name appears under the final one, nothing else is left."""
    durable.temporary(tmp_path / "1.csv").write_text("x")
    assert durable.temporary(tmp_path / "1.csv").name.startswith(".")
    durable.publish(tmp_path / "1.csv")
    assert tree(tmp_path).keys() == {"1.csv"}


def test_write_leaves_what_is_there(tmp_path: Path) -> None:
    """A file that holds the content already keeps its inode and its mtime; another content replaces it."""
    path = tmp_path / "new" / "x.json"
    durable.write(path, b"1")
    before = path.stat()
    durable.write(path, b"1")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    durable.write(path, b"2")
    assert (path.read_bytes(), os.listdir(path.parent)) == (b"2", ["x.json"])  # noqa: PTH208 - names are enough


@pytest.mark.parametrize(("length", "fits"), [(255, True), (256, False)])
def test_a_name_must_fit(tmp_path: Path, length: int, fits: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A name fits when the file system can hold it counted in bytes."""
    path = tmp_path / "not" / "there" / ("é" * (length // 2) + "x" * (length % 2))
    assert (len(os.fsencode(path.name)) <= durable.longest_name(path.parent)) is fits
    if fits:
        path.parent.mkdir(parents=True)
        path.touch()


def test_a_file_that_may_not_be_read_stays_in_landing(feed: FeedDir) -> None:
    """A file or directory that this process may not read stays in landing, with a warning; others are found."""
    feed.land("closed.json", "[]").chmod(0)
    feed.land("closed/a.json", "[]").parent.chmod(0)
    code = (
        "import logging, os, sys; from fanfold.feed import landing; from fanfold.layout import Feed; "
        "from fanfold.spec.model import Input, Spec; from pathlib import Path; logging.basicConfig(); "
        "settings = Input(path='transactions', patterns=['*'], settle_seconds=0); "
        "feed = Feed(Path(sys.argv[1]), Spec(version=1, name='feed', input=settings)); "
        "os.geteuid() or os.setresuid(65534, 65534, 65534); "
        "found = landing.scan_landing(feed); landing.warn(found.held); "
        "print([file.name for file in found.ready])"
    )
    for folder in (feed.landing_dir, feed.landing_dir / "sub"):
        folder.chmod(0o777)
    above = [parent for parent in feed.landing_dir.parents if parent.stat().st_uid == os.geteuid()]
    for parent in above:
        parent.chmod(parent.stat().st_mode | 0o555)
    done = subprocess.run([sys.executable, "-c", code, str(feed.data_dir)], capture_output=True, text=True, check=True)
    (feed.landing_dir / "closed").chmod(0o755)
    assert done.stdout.strip() == "['a.json', 'sub/b.json']"
    assert re.search("'closed.json' stays in landing: user .* may not read it", done.stderr)
    assert "closed' stays in landing: Permission denied" in done.stderr


@pytest.mark.parametrize("found", ["nothing", "a directory", "a link"])
def test_a_claimed_file_must_be_there(run: Run, found: str) -> None:
    """A claimed file that is gone, or is something else now, is an error that says where it was."""
    path = run.group(1).subdir_dir / "a.json"
    path.unlink()
    if found == "a directory":
        path.mkdir()
    elif found == "a link":
        path.symlink_to("sub/b.json")
    with pytest.raises(DataError, match=f"'a.json' is not a file in 'staging/{TS}/1' any more, expected the one"):
        claimed.claimed_file(run.group(1), "a.json")


def test_remove_run_keeps_what_is_left(feed: FeedDir, run: Run) -> None:
    """A run with a file left in a subdirectory is not removed; without it, it is, and a second call changes nothing."""
    before = tree(feed.data_dir)
    with pytest.raises(DataError, match="is left in a finished run, expected nothing"):
        staging.remove_run(run)
    assert tree(feed.data_dir) == before
    give_up.give_back(run.group(1), ["a.json", "sub/b.json"])
    staging.remove_run(run)
    staging.remove_run(run)
    assert not run.staging_dir.exists()


@pytest.mark.parametrize("fault", [errno.ENOENT, errno.ENOTEMPTY])
def test_two_processes_may_remove_a_run(feed: FeedDir, run: Run, monkeypatch: pytest.MonkeyPatch, fault: int) -> None:
    """What another process takes away, or makes for its lease, in the same moment, is no failure of a finished run."""
    give_up.give_back(run.group(1), ["a.json", "sub/b.json"])
    remove, raised = shutil.rmtree, [OSError(fault, os.strerror(fault))]

    def disturbed(path: Path) -> None:
        if raised:
            raise raised.pop()
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", disturbed)
    staging.remove_run(run)
    assert not run.staging_dir.exists()
    assert feed.data_dir.is_dir()


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_waits_for_its_marker_and_both_are_archived(make_feed: MakeFeed) -> None:
    """With a done_suffix a file is ready when its marker is there; both move together, only the file is counted."""
    feed = make_feed(
        {"sub/a.json": [{"id": 1, "customer_id": "1", "items": []}]}, subdirs=2, input={"done_suffix": ".done"}
    )
    feed.land("b.json", [])
    feed.land("b.json.done.json", [])
    assert feed.run().files_in == 0
    feed.land("sub/a.json.done", "")
    assert feed.run().files_in == 1
    assert (feed.landing_dir / "b.json").exists()
    assert {path for path in tree(feed.data_dir) if path.startswith("processed/sub/")} == {
        "processed/sub/",
        f"processed/sub/a_{TS}.json",
        f"processed/sub/a.json_{TS}.done",
    }
    proof = recount(*runs.open_complete(feed.open(), TS))
    assert (proof.gaps, proof.files) == ([], 1)
    (feed.data_dir / f"processed/sub/a.json_{TS}.done").unlink()
    gaps = recount(*runs.open_complete(feed.open(), TS)).gaps
    assert gaps == [
        f"'processed/sub/a.json_{TS}.done' is missing: expected the marker which says that 'sub/a.json' was done"
    ]


def test_a_file_whose_marker_was_taken_away_stays_in_landing(make_feed: MakeFeed) -> None:
    """Between listing and claim a marker, or its file, may vanish: then neither is claimed, and the rest is."""
    feed = make_feed(
        {f"{name}{suffix}": "[]" for name in ("a.json", "b.json", "c.json") for suffix in ("", ".done")},
        input={"done_suffix": ".done"},
    )
    (feed.landing_dir / "a.json.done").unlink()
    (feed.landing_dir / "b.json").unlink()
    run = feed.at()
    vanished, held = store.of(run.feed).claim(run, [("a.json", 1), ("b.json", 1), ("c.json", 1)])
    assert (vanished, held) == ({"a.json", "b.json"}, {})
    assert names_in(feed.landing_dir) == ["a.json", "b.json.done"]
    assert names_in(run.group(1).subdir_dir) == ["c.json", "c.json.done"]


def test_a_released_file_gets_its_marker_back(make_feed: MakeFeed) -> None:
    """Given back, a file and its marker are in landing again, so that the next run takes them."""
    feed = make_feed({"a.json": "[]", "a.json.done": ""}, input={"done_suffix": ".done"})
    feed.stage()
    assert release(feed.open(), TS) == ["a.json"]
    assert names_in(feed.landing_dir) == ["a.json", "a.json.done"]
