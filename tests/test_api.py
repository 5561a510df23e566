"""The Python API: a run, its plan, its proof and the state of a feed, as typed values; nothing is printed."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import assert_type

import pytest

import fanfold
from fanfold import DataError, FanfoldError, Plan, Purge, Recount, RunStatus, Summary
from tests.conftest import TS, MakeFeed

RECORDS = [{"id": 1, "customer_id": "1", "items": [{"sku": "a"}, {"sku": "b"}]}]


def test_a_feed_is_planned_run_proved_and_listed(make_feed: MakeFeed, capfd: pytest.CaptureFixture[str]) -> None:
    """What the commands print comes as values of the documented types, and nothing is printed."""
    feed = make_feed({"a.json": RECORDS})
    planned = fanfold.plan(feed.spec_path)
    assert_type(planned, Plan)
    assert (planned.files, planned.records, planned.failed) == (1, 1, [])
    done = fanfold.run(str(feed.spec_path), ts="2026-01-02T03:04:05Z")
    assert_type(done, Summary)
    assert (done.ts, done.files_in, done.rows_out) == (TS, 1, 2)
    assert isinstance(done.subdirs["1"].output, str)
    assert (feed.data_dir / done.subdirs["1"].output).is_file()
    found = fanfold.verify(feed.spec_path, deep=True, audit=True)
    assert_type(found, Recount)
    assert (found.ts, found.rows, found.gaps) == (TS, 2, [])
    listed = fanfold.status(feed.spec_path)
    assert_type(listed, list[RunStatus])
    assert [(one.ts, one.state, one.failed) for one in listed] == [(TS, "complete", [])]
    assert capfd.readouterr() == ("", "")


def test_a_run_without_a_name_goes_on_with_what_is_there(make_feed: MakeFeed) -> None:
    """Without `ts` an unfinished run is resumed before a new one begins; without files the counts are zero."""
    feed = make_feed({"a.json": RECORDS})
    feed.stage()
    feed.land("b.json", [{**RECORDS[0], "id": 2}])
    assert (fanfold.run(feed.spec_path).ts, fanfold.run(feed.spec_path).files_in) == (TS, 1)
    assert fanfold.run(feed.spec_path).files_in == 0


def test_what_is_lost_is_a_gap(make_feed: MakeFeed) -> None:
    """A table that was changed behind Fanfold's back is in `gaps`; the default is the newest run."""
    feed = make_feed({"a.json": RECORDS})
    done = fanfold.run(feed.spec_path)
    (feed.data_dir / str(done.subdirs["1"].output)).write_text("id\n", encoding="utf-8")
    found = fanfold.verify(feed.spec_path)
    assert found.ts == done.ts
    assert len(found.gaps) == 1


def test_old_runs_are_purged_only_on_demand(make_feed: MakeFeed) -> None:
    """`purge` says what of the runs before a moment would go; with `yes` it goes, and nothing of the younger ones."""
    feed = make_feed({"a.json": RECORDS})
    fanfold.run(feed.spec_path, ts="20260102T030405Z")
    feed.land("b.json", [{**RECORDS[0], "id": 2}])
    young = fanfold.run(feed.spec_path, ts="20260103T030405Z").subdirs["1"].output
    before, outputs = datetime(2026, 1, 3, tzinfo=UTC), feed.data_dir / "denormalized"
    was = sorted(outputs.rglob("*.csv"))
    planned = fanfold.purge(feed.spec_path, before, ["output"])
    assert_type(planned, list[Purge])
    going = len(list((outputs / TS).iterdir()))
    assert [(one.ts, one.what, one.files) for one in planned] == [(TS, ["output"], going)]
    assert (len(was), sorted(outputs.rglob("*.csv"))) == (2, was)
    assert fanfold.purge(feed.spec_path, before, ["output"], yes=True) == planned
    assert sorted(outputs.rglob("*.csv")) == [feed.data_dir / str(young)]
    assert [one.purged for one in fanfold.status(feed.spec_path)] == [["output"], []]


def test_groups_that_fail_raise_one_error(make_feed: MakeFeed) -> None:
    """Where several groups fail, one `except FanfoldError` is enough: the first error, with the others as its notes."""
    feed = make_feed(
        {"a.json": '{"id":1}\n{"id":nope}\n', "b.json": '{"id":2}\n{"id":oops}\n'}, merge=[], denormalize={}
    )
    with pytest.raises(FanfoldError) as raised:
        fanfold.run(feed.spec_path, ts=TS)
    assert isinstance(raised.value, DataError)
    told = "\n".join([str(raised.value), *raised.value.__notes__])
    assert "a.json" in told
    assert "b.json" in told
    assert [one.state for one in fanfold.status(feed.spec_path)] == ["unfinished"]


def test_a_run_of_garbage_is_complete_and_raises(make_feed: MakeFeed) -> None:
    """A run in which no record is good raises, as the command fails; `status` has its counts and the reason."""
    feed = make_feed({"a.json": "Internal Server Error"})
    with pytest.raises(DataError):
        fanfold.run(feed.spec_path, ts=TS)
    (one,) = fanfold.status(feed.spec_path)
    assert (one.state, one.files, len(one.failed)) == ("complete", 1, 1)


def test_a_data_dir_is_meant_from_the_working_directory(make_feed: MakeFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative `data_dir` is relative to the working directory, as that of the command is."""
    feed = make_feed({"a.json": RECORDS})
    other = feed.spec_path.parent / "other"
    feed.data_dir.rename(other)
    monkeypatch.chdir(feed.spec_path.parent)
    assert fanfold.run(feed.spec_path, data_dir="other").files_in == 1
    assert fanfold.status(feed.spec_path, data_dir="other")[0].files == 1


@pytest.mark.parametrize("name", ["", *(name for name in fanfold.__all__ if name.endswith("Error") or name == "Spec")])
def test_an_import_is_cheap(name: str) -> None:
    """`import fanfold`, and what a DAG file takes of it, loads neither DuckDB nor the steps."""
    code = f"import sys, fanfold; fanfold.{name or '__all__'}; print({{'duckdb', 'fanfold.steps'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
