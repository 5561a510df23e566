"""What waits in an unfinished run is named where somebody looks for it; a fault of Parquet is named by its record."""

import json
import shlex
import shutil
import subprocess
from typing import Any

import polars as pl
import pytest

from fanfold.errors import DataError
from tests.conftest import TS, FeedDir, MakeFeed
from tests.test_cli import FANFOLD, fanfold

ONE: dict[str, Any] = {"subdirs": 1, "denormalize": {}}
GOOD = {"id": 1, "customer_id": "1"}


def test_quarantine_list_names_the_runs_that_are_unfinished(make_feed: MakeFeed) -> None:
    """Where a run waits with its bad records, list says so, with the reason, and not that nothing is open."""
    feed = make_feed({"a.json": [GOOD, 7], "b.json": [GOOD]}, **ONE)
    fanfold("run", feed.spec_path, "--ts", TS)
    (line,) = fanfold("quarantine", "list", feed.spec_path).stdout.splitlines()
    assert line.startswith(f"run {TS} is unfinished, with 2 files waiting: merge_data of subdirectory 1: ")
    assert "found 1 bad record of 3" in line
    assert json.loads(fanfold("quarantine", "list", feed.spec_path, "--json").stdout) == []
    fanfold("release", feed.spec_path, TS)
    assert fanfold("quarantine", "list", feed.spec_path).stdout == "nothing is open in quarantine\n"


def test_status_says_where_the_files_of_an_unfinished_run_wait(make_feed: MakeFeed) -> None:
    """Whether a run has failed, or was only cut short, status has the number of its files, and their folder."""
    feed = make_feed({"a.json": [GOOD, 7]}, **ONE)
    feed.stage()
    waits = f"run {TS}: 1 file waiting in {feed.data_dir / 'staging' / TS}"
    assert waits in fanfold("status", feed.spec_path).stdout.splitlines()
    listed = fanfold("quarantine", "list", feed.spec_path).stdout
    assert (
        listed
        == f"run {TS} is unfinished, with 1 file waiting: it has not failed; fanfold run {feed.spec_path} resumes it\n"
    )
    fanfold("run", feed.spec_path)
    shown = fanfold("status", feed.spec_path).stdout.splitlines()
    assert waits in shown
    assert any(line.startswith(f"run {TS} failed: merge_data of subdirectory 1: ") for line in shown)


def test_what_is_archived_does_not_wait(make_feed: MakeFeed) -> None:
    """status and list count the files that lie in staging, and status has the command that a failed run goes on by."""
    feed = make_feed({"a.json": [GOOD] * 9, "b.json": [GOOD, 7]}, subdirs=2, denormalize={})
    fanfold("run", feed.spec_path, "--ts", TS)
    shown = fanfold("status", feed.spec_path).stdout.splitlines()
    assert f"run {TS}: 1 file waiting in {feed.data_dir / 'staging' / TS}" in shown
    assert f"to try run {TS} again, once the cause is corrected: fanfold run {feed.spec_path} --ts {TS}" in shown
    assert "is unfinished, with 1 file waiting: " in fanfold("quarantine", "list", feed.spec_path).stdout
    feed.write_spec(subdirs=2, denormalize={}, quarantine={"max_bad_records_percent": 60})
    (way,) = [line for line in fanfold("status", feed.spec_path).stdout.splitlines() if "fanfold " in line]
    assert way.startswith(f"run {TS} has published, so it keeps the spec")
    assert way.endswith(f"give the run up: fanfold release {feed.spec_path} {TS}")


def test_commands_in_messages_are_ready_to_copy(make_feed: MakeFeed) -> None:
    """A command that a message names has the spec and the --data-dir that were typed, quoted for a shell."""
    feed = make_feed({"a.json": [7]}, folder="my feeds", subdirs=1, denormalize={})
    elsewhere = feed.spec_path.parent / "it's"
    shutil.move(feed.data_dir, elsewhere)
    failed = fanfold("run", feed.spec_path, "--data-dir", elsewhere, "--ts", TS)
    told = [line.split(": fanfold ")[1] for line in failed.stderr.splitlines() if ": fanfold " in line]
    assert told == [f"quarantine list {shlex.join([str(feed.spec_path), '--data-dir', str(elsewhere)])}"]
    listed = subprocess.run(f"{FANFOLD} {told[0]}", shell=True, capture_output=True, text=True, check=True)
    assert listed.stdout.startswith(f"{TS}/1/a.json open: ")


def in_parquet(feed: FeedDir) -> None:
    table = pl.DataFrame({"id": [1, 2, 3], "customer_id": ["1", "9", "1"]})
    table.write_parquet(feed.landing_dir / "a.parquet")


def test_a_record_of_parquet_has_a_number_and_no_line(make_feed: MakeFeed) -> None:
    """plan, list and the message of a group speak of a record where a file has no lines."""
    merge = {"reference": "customers.csv", "key": "customer_id", "into": "customer", "on_missing": "quarantine"}
    feed = make_feed(**ONE, merge=[merge])
    in_parquet(feed)
    assert "WARNING: 'a.parquet' record 2: " in fanfold("plan", feed.spec_path).stdout
    failed = fanfold("run", feed.spec_path, "--ts", TS).stderr
    assert "the first: 'a.parquet' record 2: " in failed
    feed.write_spec(**ONE, merge=[merge], quarantine={"max_bad_records_percent": 50})
    fanfold("run", feed.spec_path)
    assert f"{TS}/1:1 open: 'a.parquet' record 2: " in fanfold("quarantine", "list", feed.spec_path).stdout


def test_a_record_of_parquet_without_a_match_is_named_by_its_number(make_feed: MakeFeed) -> None:
    """`on_missing: fail` names the record; a key that a reference in Parquet has twice is named by its records."""
    merge = {"reference": "customers.csv", "key": "customer_id", "into": "customer", "on_missing": "fail"}
    feed = make_feed(**ONE, merge=[merge])
    in_parquet(feed)
    feed.stage()
    with pytest.raises(DataError, match=r"'a\.parquet' record 2: found '9' in 'customer_id'"):
        feed.group(1)
    pl.DataFrame({"customer_id": ["1", "1"], "n": [1, 2]}).write_parquet(feed.data_dir / "customers.parquet")
    feed.write_spec(**ONE, merge=[{**merge, "reference": "customers.parquet"}])
    in_parquet(feed)
    with pytest.raises(DataError, match=r"customers\.parquet: customer_id '1' in records 1, 2"):
        feed.stage("20260103T030405Z")
