"""What another version of Fanfold has written: an older form is read, proved and gone on with, a newer one refused."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from fanfold import documents
from fanfold.documents import FORMAT
from fanfold.errors import DataError
from fanfold.feed import quarantine, replay, runs
from fanfold.manifest import Manifest
from fanfold.steps import local, purge, restore
from fanfold.steps.recount import recount
from fanfold.steps.release import release
from tests.conftest import FeedDir, tree
from tests.format_samples import FIRST, FORMATS_DIR, PREPARED, PUBLISHED, SECOND, make
from tests.test_cli import fanfold

NUMBERS = sorted(int(path.name) for path in FORMATS_DIR.iterdir())


@pytest.fixture(params=NUMBERS)
def feed(request: pytest.FixtureRequest, tmp_path: Path) -> FeedDir:
    """A copy of the feed that a format has, with the empty folders that Git does not keep."""
    root = tmp_path / "feed"
    shutil.copytree(FORMATS_DIR / str(request.param), root)
    (root / "data" / "transactions").mkdir(exist_ok=True)
    return FeedDir(root / "feed.yaml", root / "data")


def gaps(feed: FeedDir) -> list[str]:
    return [gap for ts in runs.complete(feed.open()) for gap in recount(*runs.open_complete(feed.open(), ts)).gaps]


def finish(feed: FeedDir, ts: str) -> int | dict[str, int]:
    return local.run(feed.open(), ts, lambda _n, _step, _state: None).summary.rows_out


def test_there_is_a_feed_of_every_format() -> None:
    """No format is without a feed that the tests read."""
    assert list(range(FORMAT + 1)) == NUMBERS


def test_the_present_format_is_what_is_written(tmp_path: Path) -> None:
    """What is written has the keys that were kept: other keys need another FORMAT, with a feed of its own."""
    made = make(tmp_path, FORMAT).data_dir
    kept = FORMATS_DIR / str(FORMAT) / "data"
    documents = [path.relative_to(kept) for path in kept.rglob("*.json") if ".fanfold" in path.parts]
    assert len(documents) > 10
    for path in documents:
        before, now = (json.loads((root / path).read_bytes()) for root in (kept, made))
        assert list(now) == list(before), f"{path}: raise FORMAT; before a release, write its feed anew"


def test_complete_runs_are_proved_in_every_way(feed: FeedDir) -> None:
    """verify, --deep and --audit find an older run as they find one of today."""
    assert gaps(feed) == []
    for ts in (FIRST, SECOND):
        assert feed.audit(ts).findings == []
        assert restore.differences(*runs.open_complete(feed.open(), ts)) == []


def test_a_changed_byte_in_an_older_manifest_is_named(feed: FeedDir) -> None:
    """Another form of the same JSON, in both copies, is not what Fanfold has written."""
    run, _ = runs.open_complete(feed.open(), FIRST)
    for path in (run.commit_path, run.manifest_path):
        path.write_bytes(path.read_bytes().replace(b'"files_in": 4', b'"files_in":  4'))
    assert ["is changed: expected the manifest of the run in both" in gap for gap in gaps(feed)] == [True]


def test_originals_come_back_and_open_items_are_replayed(feed: FeedDir, tmp_path: Path) -> None:
    """restore and replay work on an older run, and what it has seen is a duplicate for the next one."""
    names = restore.restore(*runs.open_complete(feed.open(), FIRST), tmp_path / "restored")
    assert names == ["a.json", "bad.json", "c.json", "sub/b.csv"]
    shutil.copy(tmp_path / "restored" / "a.json", feed.landing_dir)
    states = {item.item: item.state for item in quarantine.items(feed.open())}
    assert sorted(states.values()) == ["discarded", "open", "replayed"]
    (name,) = (name for name, state in states.items() if state == "open")
    item = quarantine.find(feed.open(), name)
    replay.replay(feed.open(), item, b'{"id": 11, "customer_id": "1", "items": []}')
    summary = feed.run("20250106T000000Z")
    assert (summary.files_in, summary.rows_out) == (2, 1)
    # A replay of that version does not say what was landed; it is still not landed twice.
    (old,) = (name for name, state in states.items() if state == "replayed")
    replay.replay(feed.open(), quarantine.find(feed.open(), old))
    assert not list(feed.landing_dir.rglob("*.csv"))


def test_unfinished_runs_go_on(feed: FeedDir) -> None:
    """A run of an older version that has published, and one that has not, end as if nothing had happened."""
    assert (finish(feed, PUBLISHED), finish(feed, PREPARED)) == (4, 2)
    assert feed.read(1, PUBLISHED).splitlines()[1:] == ["20,1,a,0.1,Ann", "20,1,b,,Ann"]
    assert gaps(feed) == []
    for ts in (PUBLISHED, PREPARED):
        assert feed.audit(ts).findings == []
        assert runs.open_complete(feed.open(), ts)[1].format == FORMAT
    assert fanfold("run", feed.spec_path).returncode == 0
    assert runs.unfinished(feed.open()) == []


def test_unfinished_runs_can_be_given_up(feed: FeedDir) -> None:
    """release takes an older run, too: what it has published is committed, the rest is in landing again."""
    assert release(feed.open(), PUBLISHED) == ["d1.json"]
    assert release(feed.open(), PREPARED) == ["e.json"]
    assert gaps(feed) == []
    assert feed.run("20250106T000000Z").rows_out == 4


def test_older_runs_are_purged(feed: FeedDir) -> None:
    """purge takes older runs, and still knows what they have seen."""
    for item in list(quarantine.items(feed.open())):
        if item.state == "open":
            quarantine.discard(feed.open(), item)
    for ts in (PUBLISHED, PREPARED):
        finish(feed, ts)
    found = purge.purge(feed.open(), datetime(2025, 1, 4, tzinfo=UTC))
    assert [one.ts for one in found] == [FIRST, SECOND, PUBLISHED]
    assert gaps(feed) == []
    assert not [path for path in tree(feed.data_dir / "processed") if FIRST in path]
    assert feed.audit(PREPARED).findings == []


@pytest.mark.parametrize("number", [FORMAT + 1, FORMAT + 7])
def test_what_a_later_version_wrote_is_refused_in_one_line(tmp_path: Path, number: int) -> None:
    """A manifest with a higher number, or a feed in which a later version has staged a run, names that version."""
    feed = make(tmp_path, FORMAT)
    commit = feed.at(SECOND).commit_path
    content = json.loads(commit.read_bytes()) | {"format": number, "fanfold": "9.1.0", "columns": 7}
    commit.write_bytes(msgspec.json.encode(content))
    message = rf"was written by fanfold 9\.1\.0, in format {number}; this version reads formats up to {FORMAT}: install"
    with pytest.raises(DataError, match=message):
        documents.read(commit, Manifest)
    told = fanfold("verify", feed.spec_path)
    assert (told.returncode, told.stderr.count("\n"), "install fanfold 9.1.0 or later" in told.stderr) == (1, 1, True)
    identity = feed.open().identity_path
    identity.write_bytes(identity.read_bytes().replace(b'"format": %d' % FORMAT, b'"format": %d' % number))
    before = tree(feed.data_dir)
    for command in (["run"], ["status"], ["release"], ["purge", "--older-than", "1d", "--yes"]):
        told = fanfold(*command[:1], feed.spec_path, *command[1:], *([PREPARED] if command == ["release"] else []))
        assert (told.returncode, f"in format {number}" in told.stderr) == (1, True), command
    with pytest.raises(DataError, match=f"in format {number}"):
        runs.open_run(feed.data_dir, PREPARED)
    assert tree(feed.data_dir) == before
