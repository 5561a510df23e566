"""Runs of a feed: which there are, how far each is, and how one is given up."""

import subprocess
import sys
from typing import Any

import pytest

from fanfold import documents, durable
from fanfold.errors import DataError, MissingError
from fanfold.feed import give_up, runs
from fanfold.feed.status import RunStatus, status
from fanfold.manifest import Manifest
from fanfold.steps.archive_files import archive_files
from fanfold.steps.denormalize_data import denormalize_data
from fanfold.steps.list_files import list_files, list_run
from fanfold.steps.merge_data import merge_data
from fanfold.steps.recount import recount
from fanfold.steps.release import release
from fanfold.steps.stage_files import stage_files
from fanfold.working_files import Release
from tests.conftest import PATIENCE_SECONDS, TS, FeedDir, MakeFeed, tree

FILES: dict[str, Any] = {
    name: [{"customer_id": "1", "items": [1, 2]}] for name in ("a.json", "b.json", "sub/c.json", "sub/d.json")
}
LATER = "20260103T000000.000001Z"


@pytest.fixture
def feed(make_feed: MakeFeed) -> FeedDir:
    """Four files for two groups."""
    return make_feed(FILES, subdirs=2)


def landed(feed: FeedDir) -> list[str]:
    return [file.name for file in list_files(feed.open()).ready]


def test_status_follows_the_groups(feed: FeedDir) -> None:
    """The status of a run tells for each group the last step that it has finished, and then that it is complete."""
    subdir = f"staging/{TS}/1"
    stage_files(feed.open(), TS)
    for state, step in (
        ("staged", feed.stage),
        ("staged", lambda: merge_data(subdir, feed.data_dir)),
        ("merged", lambda: denormalize_data(subdir, feed.data_dir)),
        ("published", lambda: archive_files(subdir, feed.data_dir)),
        ("archived", lambda: feed.group(2)),
    ):
        assert status(feed.open()) == [RunStatus(TS, "unfinished", 4, None, None, {"1": state, "2": "staged"})]
        step()
    feed.verify()
    assert status(feed.open()) == [RunStatus(TS, "complete", 4, 4, 8, {"1": "archived", "2": "archived"})]


def test_status_lists_unfinished_runs_first(feed: FeedDir) -> None:
    """Unfinished runs come first, each kind from the oldest to the newest, by moment and not by spelling."""
    moments = ["20260101T000000Z", "20260101T000000.500000Z", "20260101T000001Z", "20260102T000000Z"]
    for index, ts in enumerate(moments):
        feed.land("x.json", FILES["a.json"])
        feed.run(ts) if index in {1, 3} else feed.stage(ts)
    assert [(run.ts, run.state) for run in status(feed.open())] == [
        (moments[0], "unfinished"),
        (moments[2], "unfinished"),
        (moments[1], "complete"),
        (moments[3], "complete"),
    ]
    assert runs.unfinished(feed.open()) == [moments[0], moments[2]]


def test_a_feed_without_runs_has_no_status(make_feed: MakeFeed) -> None:
    """A feed that never ran has no run, and what others put into its folders is none."""
    feed = make_feed()
    assert status(feed.open()) == []
    (feed.data_dir / "staging" / "notes").mkdir(parents=True)
    (feed.data_dir / "staging" / "2026").mkdir()
    assert status(feed.open()) == []


@pytest.mark.parametrize("subdirs", [2, 7])
@pytest.mark.parametrize("prepared", [False, True], ids=["staged", "prepared"])
def test_release_before_anything_is_published(make_feed: MakeFeed, subdirs: int, prepared: bool) -> None:  # noqa: FBT001
    """A run released before it published leaves the tree as it was; Fanfold's own notes of feed and reference stay."""
    feed = make_feed(FILES, subdirs=subdirs)
    before = tree(feed.data_dir)
    if prepared:
        feed.stage()
        merge_data(f"staging/{TS}/1", feed.data_dir)
    else:
        stage_files(feed.open(), TS)
    assert release(feed.open(), TS) == list(FILES)
    left = {path for path in tree(feed.data_dir) if path not in before and not path.startswith(".fanfold/")}
    assert left == {"staging/"}
    assert tree(feed.data_dir).items() >= before.items()
    assert feed.run(LATER).files_in == 4


@pytest.mark.parametrize("archived", [False, True], ids=["published", "archived"])
def test_release_after_one_group_published(feed: FeedDir, archived: bool) -> None:  # noqa: FBT001
    """What is published is archived and committed, the rest is back in landing: every original in one place."""
    feed.stage()
    merge_data(f"staging/{TS}/1", feed.data_dir)
    denormalize_data(f"staging/{TS}/1", feed.data_dir)
    if archived:
        archive_files(f"staging/{TS}/1", feed.data_dir)
    returned = release(feed.open(), TS)
    assert len(returned) == 2
    assert landed(feed) == returned
    assert runs.unfinished(feed.open()) == []
    run, committed = runs.open_complete(feed.open(), TS)
    assert committed.released == returned
    assert (committed.summary.files_in, committed.summary.rows_out, list(committed.outputs)) == (2, 4, ["1"])
    assert recount(run, committed).gaps == []
    assert feed.run(LATER).files_in == 2


def test_release_of_what_is_no_unfinished_run_leaves_nothing_behind(feed: FeedDir) -> None:
    """A timestamp that no run has, or a complete one, is refused, and leaves nothing that looks like a run."""
    feed.run()
    before = tree(feed.data_dir)
    for ts in (TS, "2020-01-01T00:00:00Z"):
        with pytest.raises(MissingError, match="is not an unfinished run"):
            release(feed.open(), ts)
        assert tree(feed.data_dir) == before


def test_release_with_a_table_written_but_not_noted(feed: FeedDir) -> None:
    """A table that became visible just before the crash counts as published, half a table does not."""
    feed.stage()
    for n in (1, 2):
        merge_data(f"staging/{TS}/{n}", feed.data_dir)
    run = feed.at()
    noted = run.group(1).progress_path.read_bytes()
    denormalize_data(f"staging/{TS}/1", feed.data_dir)
    run.group(1).progress_path.write_bytes(noted)
    (run.output_dir / ".2.csv.tmp").write_text("half")
    assert len(release(feed.open(), TS)) == 2
    assert sorted(path.name for path in run.output_dir.iterdir()) == ["1.csv", "_manifest.json"]
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []


def test_release_twice(feed: FeedDir) -> None:
    """A run that was given up, or is complete, is not an unfinished run any more."""
    feed.stage()
    release(feed.open(), TS)
    with pytest.raises(MissingError, match=f"'{TS}' is not an unfinished run"):
        release(feed.open(), TS)
    feed.run()
    with pytest.raises(MissingError, match=f"'{TS}' is not an unfinished run"):
        release(feed.open(), TS)


@pytest.mark.parametrize("published", [False, True])
def test_release_where_landing_has_the_name_again(feed: FeedDir, published: bool) -> None:  # noqa: FBT001
    """A name that landing has again is told and both files stay; moved away, a second release completes the first."""
    feed.stage()
    if published:
        feed.group(2)
    name = next(path.name for path in feed.at().group(1).subdir_dir.glob("*.json"))
    feed.land(name, "new")
    for _ in range(2):
        with pytest.raises(DataError, match=f"'{name}' is in landing again, and in .*: expected one; move one"):
            release(feed.open(), TS)
    assert (feed.landing_dir / name).read_text() == "new"
    (feed.landing_dir / name).unlink()
    assert name in release(feed.open(), TS)
    assert runs.unfinished(feed.open()) == []
    assert len(landed(feed)) == (2 if published else 4)


def test_release_removes_what_is_no_run(feed: FeedDir) -> None:
    """A folder that a crash left before files.json has nothing to give back, and is removed."""
    (feed.data_dir / "staging" / TS / ".fanfold").mkdir(parents=True)
    assert runs.unfinished(feed.open()) == [TS]
    assert release(feed.open(), TS) == []
    assert runs.unfinished(feed.open()) == []
    assert landed(feed) == list(FILES)


def test_a_released_group_is_skipped(feed: FeedDir) -> None:
    """A task of a released run that comes too late does nothing."""
    feed.stage()
    feed.group(1)
    release(feed.open(), TS)
    before = tree(feed.data_dir)
    for n in (1, 2):
        feed.group(n)
    assert tree(feed.data_dir) == before


@pytest.mark.parametrize("done", ["decided", "given back"])
def test_a_release_that_was_cut_short_is_completed_by_the_next_run(make_feed: MakeFeed, done: str) -> None:
    """A run whose release was killed after its decision, or after files moved, does not block the feed."""
    feed = make_feed({"a.json": [{"id": 1, "customer_id": "1", "items": []}], "b.json": "{"}, subdirs=2)
    feed.stage()
    feed.group(1)
    run = feed.at()
    durable.write(run.release_path, documents.encode(Release([2])))
    if done == "given back":
        give_up.give_back(run.group(2), ["b.json"])
    assert stage_files(feed.open(), TS) == 1
    assert runs.unfinished(feed.open()) == []
    assert [path.name for path in feed.landing_dir.iterdir()] == ["b.json"]
    assert documents.read(run.commit_path, Manifest).released == ["b.json"]


def test_a_table_whose_original_changed_since_is_withdrawn_by_release(make_feed: MakeFeed) -> None:
    """A late writer cannot leave a run that neither ends nor is given up: its rows go, its file is back in landing."""
    feed = make_feed({"a.json": [{"id": 1, "customer_id": "1", "items": []}]}, subdirs=1)
    (group,) = feed.stage().values()
    merge_data(group, feed.data_dir)
    denormalize_data(group, feed.data_dir)
    with (feed.data_dir / group / "a.json").open("a", encoding="utf-8") as late:
        late.write('{"id": ')
    assert release(feed.open(), TS) == ["a.json"]
    assert not list(feed.data_dir.glob("denormalized/*"))
    assert runs.unfinished(feed.open()) == []


def test_a_run_knows_its_files_wherever_they_are(make_feed: MakeFeed) -> None:
    """A sensor that looks again, when files are staged or archived, sees those of its run, not an empty landing."""
    feed = make_feed({"a.json": [{"id": 1, "customer_id": "1", "items": []}]}, subdirs=1)
    landed = list_run(feed.open(), TS)
    assert [file.name for file in landed] == ["a.json"]
    feed.stage()
    assert list_run(feed.open(), TS) == landed
    feed.group(1)
    feed.verify()
    assert list_run(feed.open(), TS) == landed


MANY = """
import gc, pathlib, sys, threading
from fanfold import documents, working_files

gc.set_threshold(5)
sys.setswitchinterval(1e-6)
begin = threading.Barrier(4)

def read():
    begin.wait()
    documents.read(pathlib.Path(sys.argv[1]), working_files.RunSchema)

threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.slow
def test_groups_may_read_their_first_documents_at_once(make_feed: MakeFeed) -> None:
    """Threads that read a document of one kind at the same moment, as the first of their process, do not end it."""
    feed = make_feed({"a.json": '{"id":1,"customer_id":"1","items":[{"p":1}]}'})
    feed.stage()
    for _ in range(10):
        subprocess.run([sys.executable, "-c", MANY, str(feed.at().schema_path)], check=True, timeout=PATIENCE_SECONDS)
