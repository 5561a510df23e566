"""Content that was seen before: by its bytes, whatever it is called and however old it is."""

import json
import os
from typing import Any

import msgspec
import pytest

from fanfold import documents
from fanfold.errors import DataError
from fanfold.layout import Feed
from fanfold.manifest import ArchivedFile, Manifest
from fanfold.steps import plan
from fanfold.steps.recount import recount
from fanfold.steps.release import release
from tests.conftest import TS, FeedDir, MakeFeed, tree

ARCHIVE = {"duplicates": "archive"}
LATER = "20260103T030405Z"
DAY = {
    "a.json": [{"id": 1, "customer_id": "1", "items": [{"sku": "x"}, {"sku": "y"}]}],
    "b.json": [{"id": 2, "customer_id": "2", "items": []}, {"id": 3, "customer_id": "9"}],
    "sub/c.json.gz": [{"id": 4, "customer_id": "007"}],
}


def bare(make_feed: MakeFeed, files: dict[str, Any], **keys: Any) -> FeedDir:
    """Make a feed of records without a reference, nothing exploded."""
    return make_feed(files, **{"merge": [], "denormalize": {}, "input": ARCHIVE, **keys})


def committed(feed: FeedDir, ts: str) -> tuple[Feed, Manifest]:
    opened = feed.open()
    return opened, documents.read(opened.run(ts).commit_path, Manifest)


def decided(feed: FeedDir, ts: str) -> dict[str, tuple[str, str | None]]:
    return {file.name: (file.decision, file.duplicate_of) for file in committed(feed, ts)[1].files}


def proved(feed: FeedDir, ts: str) -> list[str]:
    opened, found = committed(feed, ts)
    return recount(opened.run(ts), found).gaps


def redeliver(feed: FeedDir) -> None:
    """Land the day again, under other names, in other folders, with old times."""
    for name, content in DAY.items():
        os.utime(feed.land(f"again/x-{name}", content), (1, 1))


def test_a_day_that_comes_again_under_other_names_and_times_makes_no_row(make_feed: MakeFeed) -> None:
    """Redelivered files are archived, count no records, and the manifest says whose bytes they have."""
    feed = make_feed(DAY, input=ARCHIVE)
    first = feed.run()
    redeliver(feed)
    again = feed.run(LATER)
    assert (first.records_in, first.rows_out) == (4, 5)
    assert (again.files_in, again.files_archived, again.records_in, again.rows_out) == (3, 3, 0, 0)
    assert decided(feed, LATER) == {f"again/x-{name}": ("duplicate", f"{TS}/{name}") for name in DAY}
    assert "processed/again/x-sub/c_20260103T030405Z.json.gz" in tree(feed.data_dir)
    assert feed.read(1, LATER).splitlines() == feed.read(1).splitlines()[:1]
    assert proved(feed, TS) == proved(feed, LATER) == []


def test_the_same_name_with_new_content_and_an_old_time_is_processed(make_feed: MakeFeed) -> None:
    """Neither name nor mtime makes a duplicate, also where the size is the same."""
    feed = bare(make_feed, {"a.json": [{"id": 1}]})
    feed.run()
    os.utime(feed.land("a.json", [{"id": 2}]), (1, 1))
    os.utime(feed.land("b.json", [{"id": 3}]), (1, 1))
    assert feed.run(LATER).records_in == 2
    assert decided(feed, LATER) == {"a.json": ("new_content", None), "b.json": ("new", None)}


def test_of_files_with_the_same_bytes_in_one_run_the_first_by_name_is_processed(make_feed: MakeFeed) -> None:
    """Twice in one delivery is once in the output."""
    feed = bare(make_feed, {"b.json": [{"id": 1}], "a.json": [{"id": 1}], "c.json": [{"id": 1}]})
    assert feed.run().records_in == 1
    assert decided(feed, TS) == {
        "a.json": ("new", None),
        "b.json": ("duplicate", f"{TS}/a.json"),
        "c.json": ("duplicate", f"{TS}/a.json"),
    }
    assert proved(feed, TS) == []


def test_content_of_a_run_that_never_finished_was_seen(make_feed: MakeFeed) -> None:
    """What an unfinished run has published counts as seen, and what it has only staged too."""
    feed = bare(make_feed, {"a.json": [{"id": 1}], "b.json": [{"id": 22}]}, subdirs=2)
    feed.stage()
    feed.group(1)
    feed.land("x.json", [{"id": 1}])
    feed.land("y.json", [{"id": 22}])
    feed.run(LATER)
    assert decided(feed, LATER) == {
        "x.json": ("duplicate", f"{TS}/a.json"),
        "y.json": ("duplicate", f"{TS}/b.json"),
    }


@pytest.mark.parametrize("mode", ["infer", "declared"])
def test_what_went_to_quarantine_as_a_whole_was_not_seen(make_feed: MakeFeed, mode: str) -> None:
    """A bad file that comes again is set aside again, not archived as a duplicate."""
    feed = bare(make_feed, {"a.json": "no JSON"}, input={**ARCHIVE, "schema": mode, "fields": {"id": "BIGINT"}})
    feed.run()
    feed.land("b.json", "no JSON")
    assert feed.run(LATER).files_quarantined == 1


def test_bad_files_with_the_same_bytes_in_one_run_are_all_set_aside(make_feed: MakeFeed) -> None:
    """A file of which nothing can be read makes no other one a duplicate."""
    feed = bare(make_feed, {"a.json": "no JSON", "b.json": "no JSON"})
    assert feed.run().files_quarantined == 2


def test_a_file_that_was_released_is_processed_although_its_duplicate_is_archived(make_feed: MakeFeed) -> None:
    """Only what made rows was seen: a duplicate does not stand for a file that went back to landing."""
    feed = bare(make_feed, {"a.json": [{"id": 1}], "b.json": [{"id": 1}]}, subdirs=2)
    feed.stage()
    (second,) = (n for n in (1, 2) if (feed.data_dir / f"staging/{TS}/{n}/b.json").exists())
    feed.group(second)
    assert release(feed.open(), TS) == ["a.json"]
    assert decided(feed, TS)["b.json"] == ("duplicate", f"{TS}/a.json")
    assert feed.run(LATER).records_in == 1


@pytest.mark.parametrize("mode", ["infer", "declared"])
def test_duplicates_process_quarantine_and_fail(make_feed: MakeFeed, mode: str) -> None:
    """Under `process` they make rows again, `quarantine` sets them aside with a reason, `fail` stops the run."""
    keys = {"duplicates": "archive", "schema": mode, "fields": {"id": "BIGINT"}}
    feed = bare(make_feed, {"a.json": [{"id": 1}]}, input=keys)
    feed.run()
    feed.land("b.json", [{"id": 1}])
    feed.write_spec(merge=[], denormalize={}, input={**keys, "duplicates": "fail"})
    with pytest.raises(DataError, match=rf"'b.json' has the bytes of '{TS}/a.json', expected new content"):
        feed.run(LATER)
    assert release(feed.open(), LATER) == ["b.json"]
    feed.write_spec(merge=[], denormalize={}, input={**keys, "duplicates": "quarantine"})
    summary = feed.run(LATER)
    assert (summary.files_quarantined, summary.records_in, proved(feed, LATER)) == (1, 0, [])
    reason = json.loads((feed.data_dir / f"quarantine/{LATER}/1/b.json.reason.json").read_bytes())
    assert (reason["code"], reason["message"]) == ("duplicate", f"its bytes are those of '{TS}/a.json'")
    feed.land("c.json", [{"id": 1}])
    feed.write_spec(merge=[], denormalize={}, input={**keys, "duplicates": "process"})
    assert feed.run("20260104T000000Z").records_in == 1


def test_every_step_of_a_run_of_duplicates_may_run_again(make_feed: MakeFeed) -> None:
    """Steps that are repeated, also when the run is complete, leave the same tree."""
    feed = make_feed(DAY, input=ARCHIVE)
    feed.run()
    redeliver(feed)
    groups = feed.stage(LATER)
    for n in (*groups, *groups):
        feed.group(int(n), LATER)
    first = feed.verify(LATER)
    left = tree(feed.data_dir)
    assert feed.run(LATER) == first
    assert tree(feed.data_dir) == left


def test_a_duplicate_whose_writer_still_held_it_is_read(make_feed: MakeFeed) -> None:
    """A staged duplicate that changes before its group starts is no duplicate any more."""
    feed = bare(make_feed, {"a.json": '{"id": 1}\n'}, subdirs=1)
    feed.run()
    feed.land("b.json", '{"id": 1}\n')
    feed.stage(LATER)
    with (feed.data_dir / f"staging/{LATER}/1/b.json").open("a") as late:
        late.write('{"id": 2}\n')
    feed.group(1, LATER)
    assert feed.verify(LATER).records_in == 2
    assert decided(feed, LATER) == {"b.json": ("new", None)}


def test_plan_says_what_is_a_duplicate_of_what(make_feed: MakeFeed) -> None:
    """The plan decides as the run does, and moves nothing."""
    feed = make_feed(DAY, input=ARCHIVE)
    feed.run()
    redeliver(feed)
    feed.land("a.json", [{"id": 77}])
    planned = plan.plan(feed.open())
    assert planned.duplicates == {f"again/x-{name}": f"{TS}/{name}" for name in DAY}
    assert (planned.files, planned.records, planned.decisions["a.json"]) == (4, 1, "new_content")


def test_a_manifest_without_decisions_is_read(make_feed: MakeFeed) -> None:
    """Manifests that were written before there was a ledger say what was seen."""
    feed = bare(make_feed, {"a.json": [{"id": 1}]})
    feed.run()
    _, found = committed(feed, TS)
    plain = msgspec.to_builtins(found)
    for file in plain["files"]:
        del file["decision"], file["duplicate_of"]
    feed.at().commit_path.write_bytes(msgspec.json.encode(plain))
    feed.land("b.json", [{"id": 1}])
    assert feed.run(LATER).records_in == 0
    assert ArchivedFile("b.json", 1, 1, "", 0, "").decision == "new"
