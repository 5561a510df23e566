"""Back from the archive: originals under their old names, and whole runs made again."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from fanfold import documents, durable
from fanfold.errors import DataError, SpecError
from fanfold.feed import runs
from fanfold.layout import Feed, Run
from fanfold.manifest import Manifest
from fanfold.steps import local, restore
from fanfold.steps.verify_run import verify_run
from tests.conftest import TS, FeedDir, MakeFeed, tree
from tests.test_cli import fanfold

OLD = '[{"id": 0, "customer_id": "1", "items": []}]'
LATER = "20260103T000000Z"
CONTENT = {
    "sub/a.json": json.dumps([{"id": n, "customer_id": "1", "items": [{"qty": n}] * n} for n in range(5)]),
    "b.json": '{"id": 7, "customer_id": "007"}\n{"id": 8,}\n{"id": 9, "price": 0.12345678901234567890}\n',
    "c.csv": "id,customer_id\n1,1\n",
    "bad.json": "no JSON",
    "again.json": "[]",
    "twice.json": "[]",
}


@pytest.fixture
def feed(make_feed: MakeFeed) -> FeedDir:
    """A complete run with a duplicate of an earlier run, one of itself, bad records and a bad file."""
    made = make_feed(
        {"first.json": OLD},
        input={"duplicates": "archive"},
        archive={"compression": "zstd"},
        quarantine={"max_bad_records_percent": 50},
    )
    made.run("20260101T000000Z")
    made.land("old.json", OLD)
    for name, content in CONTENT.items():
        made.land(name, content)
    made.run()
    return made


def opened(feed: FeedDir) -> tuple[Run, Manifest]:
    return runs.open_complete(feed.open(), TS)


def test_originals_come_back_under_their_old_names(feed: FeedDir, tmp_path: Path) -> None:
    """Restored, every original has its old name and its bytes, the bad ones too; the archive stays as it is."""
    before = tree(feed.data_dir)
    target = tmp_path / "target"
    for _ in range(2):
        assert restore.restore(*opened(feed), target) == sorted([*CONTENT, "old.json"])
    assert {name: (target / name).read_text() for name in CONTENT} == CONTENT
    assert len([path for path in target.rglob("*") if path.is_file()]) == len(CONTENT) + 1
    assert tree(feed.data_dir) == before


def test_restored_into_landing_they_are_duplicates(feed: FeedDir) -> None:
    """What is put back into landing makes no rows again in the next run, but for what was bad, which is bad again."""
    done = fanfold("restore", feed.spec_path, TS)
    assert (done.returncode, done.stdout) == (0, f"restored: 7 in {feed.landing_dir}\n")
    summary = feed.run(LATER)
    assert (summary.files_in, summary.files_quarantined, summary.rows_out) == (7, 1, 0)


def test_nothing_is_restored_over_another_file(feed: FeedDir, tmp_path: Path) -> None:
    """A name that another file has is an error before the first original is written."""
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "c.csv").write_text("mine")
    with pytest.raises(DataError, match=r"c\.csv' exists and is another file, expected the name to be free"):
        restore.restore(*opened(feed), tmp_path / "target")
    assert tree(tmp_path / "target").keys() == {"c.csv"}


def test_a_changed_original_is_not_restored(feed: FeedDir, tmp_path: Path) -> None:
    """An original that is not what was archived is an error, and nothing is left under its name."""
    place = next(feed.data_dir.glob("processed/c_*"))
    place.write_bytes(place.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"is (changed, expected 'c.csv' with sha256|damaged)"):
        restore.restore(*opened(feed), tmp_path / "target")
    assert not (tmp_path / "target" / "c.csv").exists()


def test_made_again_elsewhere_a_run_has_the_same_output(feed: FeedDir) -> None:
    """A run made again from its archive in another data_dir gives the same tables and manifest, byte for byte."""
    before = tree(feed.data_dir)
    # The reference of that day is kept, whatever became of it since.
    (feed.data_dir / "customers.csv").write_text("customer_id,name\n1,Changed\n")
    again = feed.spec_path.parent / "again"
    for _ in range(2):
        done = fanfold("run", feed.spec_path, "--from-archive", TS, "--data-dir", again)
        assert (done.returncode, done.stderr) == (0, "")
    for folder in ("denormalized", "quarantine"):
        assert tree(again / folder / TS) == tree(feed.data_dir / folder / TS)
    assert tree(again / "processed").items() <= tree(feed.data_dir / "processed").items()
    (feed.data_dir / "customers.csv").unlink()
    assert {path: digest for path, digest in before.items() if path != "customers.csv"} == tree(feed.data_dir)


def test_made_again_under_a_changed_spec_a_run_is_what_it_would_have_been(feed: FeedDir) -> None:
    """The spec that is given counts, not that of the run: other subdirectories, another format."""
    feed.write_spec(
        subdirs=2,
        output={"format": "parquet"},
        input={"duplicates": "archive"},
        quarantine={"max_bad_records_percent": 50},
    )
    again = feed.spec_path.parent / "again"
    rows = opened(feed)[1].summary.rows_out
    done = fanfold("run", feed.spec_path, "--from-archive", TS, "--data-dir", again, "--json")
    assert json.loads(done.stdout)["rows_out"] == rows
    assert sorted(path.name for path in (again / "denormalized" / TS).iterdir()) == [
        "1.parquet",
        "2.parquet",
        "_manifest.json",
    ]


def test_cut_short_a_run_made_again_is_completed(feed: FeedDir) -> None:
    """Killed while it copies originals or later, `--from-archive` goes on where it was."""
    run, committed = opened(feed)
    again = FeedDir(feed.spec_path, feed.spec_path.parent / "again")
    target = runs.open_feed(feed.spec_path, again.data_dir)
    restore.stage_again(run, committed, target)
    complete = tree(again.data_dir)
    target.run(TS).files_path.unlink()
    (target.run(TS).group(committed.files[0].subdir).subdir_dir / committed.files[0].name).unlink()
    restore.stage_again(run, committed, target)
    assert tree(again.data_dir) == complete
    summary = local.run(target, TS, lambda _n, _step, _state: None).summary
    assert summary == committed.summary


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--from-archive", TS], ["--from-archive", TS, "--ts", TS, "--data-dir", "x"]])
def test_a_run_is_made_again_elsewhere_only(make_feed: MakeFeed, options: list[str]) -> None:
    """--from-archive wants a data_dir, another one than the feed's, and knows its timestamp."""
    feed = make_feed()
    done = fanfold("run", feed.spec_path, *options)
    assert done.returncode == 2
    assert "--from-archive needs --data-dir, where the run is to be made, and no --ts" in done.stderr
    same = fanfold("run", feed.spec_path, "--from-archive", TS, "--data-dir", feed.data_dir)
    assert (same.returncode, "is the feed's own" in same.stderr) == (2, True)


def test_another_feed_is_not_written_into(feed: FeedDir, make_feed: MakeFeed) -> None:
    """A data_dir that holds another feed is refused."""
    other = make_feed({"a.json": "[]"}, folder="other", name="other")
    other.run()
    with pytest.raises(SpecError, match="expected 'other'"):
        restore.stage_again(*opened(feed), Feed(other.data_dir, feed.open().spec))


def test_deep_the_archive_gives_the_same_bytes(feed: FeedDir) -> None:
    """`verify --deep` makes the run again, finds the same bytes, and changes nothing."""
    before = tree(feed.data_dir)
    done = fanfold("verify", feed.spec_path, TS, "--deep")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("nothing lost, nothing twice\n")
    assert tree(feed.data_dir) == before


def forge(feed: FeedDir, kind: str, old: str, new: str) -> str:
    """Change a file that a run has made, and its manifests with it; return its path."""
    run, committed = opened(feed)
    forged = json.loads(documents.encode(committed))
    made = next(one for one in forged[kind].values() if old in (feed.data_dir / one["path"]).read_text())
    path = feed.data_dir / made["path"]
    path.write_text(path.read_text().replace(old, new))
    made |= {"sha256": durable.sha256(path), "size_bytes": path.stat().st_size}
    content = documents.encode(msgspec.convert(forged, Manifest))
    for place in (run.commit_path, run.manifest_path):
        place.write_bytes(content)
    assert fanfold("verify", feed.spec_path, TS).returncode == 0
    return str(made["path"])


@pytest.mark.parametrize(
    ("kind", "old", "new"), [("outputs", "Ann", "Eve"), ("quarantined", "trailing_comma", "bad_number")]
)
def test_deep_finds_what_the_archive_does_not_give(feed: FeedDir, kind: str, old: str, new: str) -> None:
    """A table or a list of bad records that was changed together with its manifest is found by making the run again."""
    path = forge(feed, kind, old, new)
    deep = fanfold("verify", feed.spec_path, TS, "--deep")
    assert deep.returncode == 1
    assert f"'{path}' is not what the archive gives" in deep.stdout


def test_deep_lets_another_version_have_other_words(feed: FeedDir) -> None:
    """A list of bad records whose messages alone differ is what the archive gives."""
    forge(feed, "quarantined", ", expected ", ", wanted ")
    assert fanfold("verify", feed.spec_path, TS, "--deep").returncode == 0


def test_a_reference_is_kept_once_for_each_content(make_feed: MakeFeed) -> None:
    """Two runs with one reference keep it once; lost or changed, a recount names it."""
    feed = make_feed({"a.json": "[]"}, subdirs=1)
    feed.run()
    feed.land("b.json", "[]")
    feed.run(LATER)
    (kept,) = (feed.data_dir / ".fanfold/references").iterdir()
    assert kept.read_bytes() == (feed.data_dir / "customers.csv").read_bytes()
    kept.write_text("changed")
    with pytest.raises(DataError, match=r"is changed: expected the reference 'customers\.csv' as joined, sha256"):
        verify_run(feed.data_dir, TS, 1)
    shutil.rmtree(kept.parent)
    assert fanfold("verify", feed.spec_path, TS).returncode == 1
