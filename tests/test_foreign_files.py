"""Files of somebody else under the names that a run publishes: named, never overwritten, never taken for its own."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanfold import documents
from fanfold.errors import DataError
from fanfold.feed import runs, unfinished
from fanfold.steps.denormalize_data import denormalize_data
from fanfold.steps.merge_data import merge_data
from fanfold.steps.release import release
from fanfold.working_files import Progress
from tests.conftest import TS, FeedDir, MakeFeed

RECORDS = '{"id":1,"items":[{"sku":"a"}]}\n{"id":2,"items":x}\n'
PLAIN: dict[str, Any] = {"subdirs": 1, "merge": [], "quarantine": {"max_bad_records_percent": 100}}
TABLES: dict[str, Any] = {"denormalize": {}, "tables": {"orders": {}, "items": {"explode": ["items"]}}}
PLACES: dict[str, tuple[dict[str, Any], str]] = {
    "a table": ({}, f"denormalized/{TS}/1.csv"),
    "a table of Parquet": ({"output": {"format": "parquet"}}, f"denormalized/{TS}/1.parquet"),
    "the second of two tables": (TABLES, f"denormalized/{TS}/items/1.csv"),
    "the bad records": ({}, f"quarantine/{TS}/1/records.jsonl"),
}
SUBDIR = f"staging/{TS}/1"


def put(path: Path, what: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if what == "a directory":
        path.mkdir()
    else:
        path.write_text("of somebody else")


def is_still(path: Path, what: str) -> bool:
    return path.is_dir() if what == "a directory" else path.read_text() == "of somebody else"


@pytest.fixture(params=PLACES)
def stuck(request: pytest.FixtureRequest, make_feed: MakeFeed) -> tuple[FeedDir, Path]:
    """A feed, and the place of a file that its run will publish."""
    keys, place = PLACES[request.param]
    feed = make_feed({"a.json": RECORDS}, **PLAIN | keys)
    return feed, feed.data_dir / place


@pytest.mark.parametrize("what", ["a file", "a directory"])
def test_a_file_of_somebody_else_is_named_and_stays(stuck: tuple[FeedDir, Path], what: str) -> None:
    """Nothing of the run is published before the name is free; then the run ends."""
    feed, place = stuck
    put(place, what)
    feed.stage()
    with pytest.raises(DataError, match=rf"{place.name}' exists and is not of this run, .* move it away"):
        feed.group(1)
    assert is_still(place, what)
    assert not runs.has_published(feed.at())
    assert [path for path in feed.at().group(1).output_paths if path.is_file() and path != place] == []
    place.rename(feed.data_dir / "away")
    feed.group(1)
    assert feed.verify().files_archived == 1
    assert feed.audit().findings == []


def test_a_file_of_somebody_else_stays_when_the_run_is_prepared_anew_or_given_up(stuck: tuple[FeedDir, Path]) -> None:
    """A changed spec is taken up, and the run can be given up: neither removes the file."""
    feed, place = stuck
    put(place, "a file")
    feed.stage()
    with pytest.raises(DataError):
        feed.group(1)
    feed.spec_path.write_text(feed.spec_path.read_text() + "verify: {totals: [id]}\n")
    unfinished.take_up(feed.open(), TS)
    assert runs.open_run(feed.data_dir, TS).feed.spec.verify.totals == ["id"]  # type: ignore[union-attr]
    assert is_still(place, "a file")
    feed.stage()
    with pytest.raises(DataError):
        feed.group(1)
    assert release(feed.open(), TS) == ["a.json"]
    assert is_still(place, "a file")
    assert [path.name for path in feed.landing_dir.iterdir()] == ["a.json"]


@pytest.mark.parametrize("is_changed", [False, True])
def test_what_a_group_has_published_is_its_own(stuck: tuple[FeedDir, Path], is_changed: bool) -> None:  # noqa: FBT001
    """Cut short between the names and the note of them, it publishes again, also what was read anew since."""
    feed, _ = stuck
    feed.stage()
    merge_data(SUBDIR, feed.data_dir)
    denormalize_data(SUBDIR, feed.data_dir)
    path = feed.at().group(1).progress_path
    progress = documents.read(path, Progress)
    path.write_bytes(documents.encode(msgspec.structs.replace(progress, published=None, tables={}, quarantined=None)))
    if is_changed:
        staged = Path(feed.at().group(1).staged_path("a.json"))
        staged.write_text(RECORDS.replace('"id":1', '"id":7').replace("x", "[]"))
    feed.group(1)
    assert feed.verify().records_quarantined == (not is_changed)
    assert feed.audit().findings == []


def test_equal_bytes_are_done(make_feed: MakeFeed) -> None:
    """A table that is there already, byte for byte, is published: an older version may have been cut short there."""
    feed = make_feed({"a.json": RECORDS}, **PLAIN)
    put(feed.data_dir / f"denormalized/{TS}/1.csv", "a file")
    (feed.data_dir / f"denormalized/{TS}/1.csv").write_text("id,items_sku\n1,a\n")
    assert feed.run().rows_out == 1
