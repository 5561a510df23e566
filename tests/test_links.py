"""Links at any depth: none that is planted below a folder of the feed leads Fanfold out of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from fanfold.errors import PathError
from fanfold.feed import quarantine, replay, runs
from fanfold.steps.recount import recount
from fanfold.steps.release import release
from tests.conftest import GROUP_STEPS, TS, FeedDir, MakeFeed, tree

RECORDS = [{"id": n, "customer_id": "1", "items": [{"qty": n}]} for n in range(3)]
FILES = {"sub/a.json": RECORDS, "b.json": RECORDS, "sub/bad.json": "{"}
# Where a link may be planted before a run, and whether its name is that of a directory.
BEFORE = [
    ("processed/sub", True),
    ("quarantine/<ts>", True),
    ("quarantine/<ts>/1", True),
    ("quarantine/<ts>/1/sub", True),
    ("denormalized/<ts>", True),
    ("denormalized/<ts>/1.csv", False),
    ("staging/<ts>", True),
    ("staging/<ts>/1", True),
    ("staging/<ts>/1/sub", True),
    ("staging/<ts>/.fanfold", True),
    ("staging/<ts>/.fanfold/1", True),
    ("staging/<ts>/.fanfold/reference", True),
    ("staging/<ts>/.fanfold/1/spill", True),
    (".fanfold/references", True),
    (".fanfold/quarantine", True),
    (".fanfold/runs", True),
    (".fanfold", True),
    (".fanfold/feed.json", False),
    (".fanfold/runs/<ts>.json", False),
    ("processed", True),
    ("quarantine", True),
    ("denormalized", True),
    ("staging", True),
]
# The temporary names of what is written: a link there is removed, not followed.
TEMPORARY = [
    "denormalized/<ts>/.1.csv.tmp",
    "denormalized/<ts>/._manifest.json.tmp",
    "quarantine/<ts>/1/.records.jsonl.tmp",
    "quarantine/<ts>/1/sub/.bad.json.reason.json.tmp",
    "processed/.b_<ts>.json.gz.tmp",
    ".fanfold/.feed.json.tmp",
    ".fanfold/runs/.<ts>.json.tmp",
]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Make a directory outside of all roots, with a file that nobody may touch."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "1.csv").write_text("precious", encoding="utf-8")
    return place


def plant(feed: FeedDir, name: str, target: Path) -> Path:
    link = feed.data_dir / name.replace("<ts>", TS)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    return link


def command(feed: FeedDir, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fanfold", arguments[0], str(feed.spec_path), *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("name", "is_directory"), BEFORE)
def test_a_link_out_of_the_feed_is_named_and_nothing_is_claimed(
    make_feed: MakeFeed,
    elsewhere: Path,
    name: str,
    is_directory: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """A link that leads out, planted before a run, is named with its target; without it the run does all."""
    feed = make_feed(FILES, subdirs=1, quarantine={"max_bad_records_percent": 100})
    link = plant(feed, name, elsewhere if is_directory else elsewhere / "1.csv")
    landed, outside = tree(feed.landing_dir), tree(elsewhere)
    with pytest.raises(PathError) as refused:
        feed.run()
    assert repr(str(link)) in str(refused.value)
    assert repr(str(link.resolve())) in str(refused.value)
    assert (tree(feed.landing_dir), tree(elsewhere)) == (landed, outside)
    link.unlink()
    assert (feed.run().files_in, tree(elsewhere)) == (3, outside)
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []


@pytest.mark.parametrize("target", ["1.csv", "new"])
def test_a_temporary_name_that_is_a_link_is_not_written_through(
    make_feed: MakeFeed, elsewhere: Path, target: str
) -> None:
    """A link planted where Fanfold writes before it renames is refused or removed, be its target there or not."""
    keys = {"subdirs": 1, "archive": {"compression": "gzip"}, "quarantine": {"max_bad_records_percent": 100}}
    feed = make_feed({**FILES, "c.json": '{"id": 1, "customer_id": "1", "items": []} {'}, **keys)
    planted = [plant(feed, name, elsewhere / target) for name in TEMPORARY]
    outside = tree(elsewhere)
    while True:
        try:
            feed.run()
        except PathError as error:
            (link,) = (link for link in planted if link.is_symlink() and repr(str(link)) in str(error))
            link.unlink()
        else:
            break
        finally:
            assert tree(elsewhere) == outside
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize(
    "name",
    [
        "processed/sub",
        "processed/b_<ts>.json",
        "quarantine/<ts>",
        "denormalized/<ts>",
        "denormalized/<ts>/.1.csv.tmp",
        "staging/<ts>/.fanfold/1/merged.parquet",
        "staging/<ts>/.fanfold/1/.progress.json.tmp",
        "staging/<ts>/.fanfold/1/records.jsonl",
        "staging/<ts>/.fanfold/1/clean.ndjson",
        "staging/<ts>/.fanfold/1/lease",
        ".fanfold/runs/<ts>.json",
    ],
)
def test_a_link_planted_between_two_steps_is_not_followed(
    make_feed: MakeFeed, elsewhere: Path, name: str, step: int
) -> None:
    """A link that is planted while a run waits stops its next step; without it the run goes on, nothing is lost."""
    feed = make_feed(FILES, subdirs=1, quarantine={"max_bad_records_percent": 100})
    (group,) = feed.stage().values()
    for done in GROUP_STEPS[:step]:
        done(group, feed.data_dir)
    link = feed.data_dir / name.replace("<ts>", TS)
    kept = link.with_name("kept")
    if link.exists():
        link.rename(kept)
    plant(feed, name, elsewhere if Path(name).suffix in {"", ".tmp"} and "lease" not in name else elsewhere / "1.csv")
    outside = tree(elsewhere)
    for again in (feed.run, lambda: release(feed.open(), TS)):
        with pytest.raises(PathError, match="is a link to") as refused:
            again()
        assert repr(str(link)) in str(refused.value)
        assert tree(elsewhere) == outside
    link.unlink()
    if kept.exists():
        kept.rename(link)
    assert feed.run().files_in == 3
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []


def test_landing_is_not_left_by_a_link_when_files_come_back(make_feed: MakeFeed, elsewhere: Path) -> None:
    """A release, a replay and a restore write through no link below landing."""
    feed = make_feed(FILES, subdirs=1, quarantine={"max_bad_records_percent": 100})
    feed.stage()
    (feed.landing_dir / "sub").rmdir()
    link = plant(feed, "transactions/sub", elsewhere)
    outside = tree(elsewhere)
    with pytest.raises(PathError, match="is a link to"):
        release(feed.open(), TS)
    link.unlink()
    assert len(release(feed.open(), TS)) == 3
    feed.run()
    opened = feed.open()
    (feed.landing_dir / "sub").rmdir()
    link = plant(feed, "transactions/sub", elsewhere)
    done = command(feed, "restore", TS)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"{str(link)!r} is a link to {str(elsewhere)!r}" in done.stderr
    planted = plant(feed, "transactions/replay", elsewhere)
    (item,) = quarantine.items(opened)
    with pytest.raises(PathError, match="is a link to"):
        replay.replay(opened, item)
    assert tree(elsewhere) == outside
    link.unlink()
    planted.unlink()
    replay.replay(opened, item)
    assert command(feed, "restore", TS).returncode == 0
    assert tree(elsewhere) == outside


def test_an_original_or_a_table_that_is_a_link_is_a_gap(make_feed: MakeFeed, elsewhere: Path) -> None:
    """A link in the place of an archived original or a published table is not read, but named."""
    feed = make_feed({"a.json": RECORDS}, subdirs=1)
    feed.run()
    for name in (f"processed/a_{TS}.json", f"denormalized/{TS}/1.csv"):
        path = feed.data_dir / name
        (elsewhere / "same").write_bytes(path.read_bytes())
        path.unlink()
        path.symlink_to(elsewhere / "same")
        done = command(feed, "verify")
        assert done.returncode in {1, 2}
        assert name in done.stdout + done.stderr
        path.unlink()
        path.write_bytes((elsewhere / "same").read_bytes())
    assert command(feed, "verify").returncode == 0


def test_folders_of_the_spec_may_be_links_inside_of_the_roots(
    make_feed: MakeFeed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Archive and quarantine may themselves be links to other allowed places; all that follows is as without."""
    feed = make_feed(FILES, subdirs=1, quarantine={"max_bad_records_percent": 100})
    monkeypatch.setenv("FANFOLD_ALLOWED_ROOTS", f"{tmp_path / 'feed'}:{tmp_path / 'vault'}")
    for name in ("processed", "quarantine"):
        (tmp_path / "vault" / name).mkdir(parents=True)
        (feed.data_dir / name).symlink_to(tmp_path / "vault" / name)
    assert feed.run().files_in == 3
    assert (tmp_path / f"vault/processed/sub/a_{TS}.json").exists()
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []
