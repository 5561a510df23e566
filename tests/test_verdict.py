"""Runs of which too much is bad: complete, held up by nobody, and reported as failed, whoever looks."""

import json
import subprocess
from typing import Any

import pytest

from fanfold.feed import runs
from fanfold.steps.recount import recount
from tests.conftest import TS, FeedDir, MakeFeed, tree
from tests.test_cli import fanfold

pytestmark = pytest.mark.slow

FLAT: dict[str, Any] = {"subdirs": 2, "merge": [], "denormalize": {}}
GOOD, BAD = '{"id": %d}', "Internal Server Error %d"


def files(good: int, bad: int) -> dict[str, Any]:
    landed = {f"good-{n}.json": GOOD % n for n in range(good)}
    return landed | {f"bad-{n}.json": BAD % n for n in range(bad)}


def run(feed: FeedDir, *args: str) -> subprocess.CompletedProcess[str]:
    return fanfold("run", feed.spec_path, "--json", "--ts", TS, *args)


@pytest.mark.parametrize(
    ("good", "bad", "limits", "said"),
    [
        (5, 5, {}, None),
        (4, 5, {}, "5 of 9 files and 0 records are bad, expected at most 50 % of the files"),
        (9, 1, {"max_bad_files_percent": 10}, None),
        (9, 1, {"max_bad_files_percent": 9.9}, "1 of 10 files and 0 records are bad, expected at most 9.9 %"),
        (1, 9, {"max_bad_files_percent": 100}, None),
        (0, 1, {"max_bad_files_percent": 100, "max_bad_records_percent": 100}, "no record is good: 1 of 1 file"),
        (0, 3, {"max_bad_records_percent": 0}, "no record is good: 3 of 3 files"),
        (9, 1, {"max_bad_records_percent": 0}, "1 of 10 files and 0 records are bad, expected none"),
        (9, 0, {"max_bad_records_percent": 0, "max_bad_files_percent": 0}, None),
    ],
)
def test_a_run_of_too_many_bad_files_is_complete_and_reported(
    make_feed: MakeFeed, good: int, bad: int, limits: dict[str, Any], said: str | None
) -> None:
    """Beyond the limits a run is committed, its summary printed, one line of error, exit code 1; again, the same."""
    feed = make_feed(files(good, bad), **FLAT, quarantine=limits)
    first = run(feed)
    summary = json.loads(first.stdout)
    assert (summary["files_in"], summary["files_quarantined"], summary["rows_out"]) == (good + bad, bad, good)
    before = tree(feed.data_dir)
    assert runs.unfinished(feed.open()) == []
    for done in (first, run(feed)):
        assert done.returncode == (1 if said else 0)
        assert len(done.stderr.splitlines()) == (1 if said else 0)
        if said:
            assert f"error: run {TS} is complete, but {said}" in done.stderr
    assert tree(feed.data_dir) == before
    verified = fanfold("verify", feed.spec_path, TS)
    assert verified.returncode == 0
    assert "nothing lost, nothing twice\n" in verified.stdout
    failed = (
        f"run {TS} is complete, but {said}",
        f"; they are in quarantine: fanfold quarantine list {feed.spec_path}\n",
    )
    assert [part in verified.stdout for part in failed] == [bool(said)] * 2
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []
    (status,) = json.loads(fanfold("status", feed.spec_path, "--json").stdout)
    assert status["state"] == "complete"
    assert [said in why["message"] for why in status["failed"]] == ([True] if said else [])
    shown = fanfold("status", feed.spec_path).stdout
    assert ("complete, failed" in shown) == bool(said)
    feed.land("next.json", '{"id": 100}')
    assert fanfold("run", feed.spec_path).returncode == 0


@pytest.mark.parametrize("lines", [2, 3])
def test_no_bad_record_allowed_means_none(make_feed: MakeFeed, lines: int) -> None:
    """With 0 % allowed, a file of which one record is bad and one of which all are end in the same exit code."""
    records = ['{"id": 1}', "x", "y"][3 - lines :]
    feed = make_feed({"a.json": "\n".join(records)}, **FLAT, quarantine={"max_bad_records_percent": 0})
    assert run(feed).returncode == 1


def test_a_run_whose_records_are_all_bad_by_a_value_has_no_good_one(make_feed: MakeFeed) -> None:
    """Where all records are bad by a declared type, and all may be bad, the run still says that no record is good."""
    limits = {"max_bad_records_percent": 100}
    feed = make_feed({"a.json": '{"id": "x"}'}, **FLAT, quarantine=limits, input={"fields": {"id": "BIGINT"}})
    done = run(feed)
    assert (done.returncode, json.loads(done.stdout)["records_quarantined"]) == (1, 1)
    assert "no record is good: 0 of 1 file and 1 record are bad" in done.stderr


@pytest.mark.parametrize("way", ["archive", "quarantine"])
def test_duplicates_are_no_bad_files(make_feed: MakeFeed, way: str) -> None:
    """A day that comes again, archived or set aside as duplicates, is no failure; nor is an empty array of records."""
    feed = make_feed({"a.json": GOOD % 1, "b.json": GOOD % 2}, **FLAT, input={"duplicates": way})
    assert run(feed).returncode == 0
    for name, n in (("c.json", 1), ("d.json", 2)):
        feed.land(name, GOOD % n)
    assert fanfold("run", feed.spec_path).returncode == 0
    feed.land("e.json", [])
    assert fanfold("run", feed.spec_path).returncode == 0


def test_the_first_of_two_outcomes_does_not_hide_the_second(make_feed: MakeFeed) -> None:
    """A run that fails again, and the new one of which no record is good, are each said in a line."""
    feed = make_feed({"a.json": [{"id": 1}, 7]}, **FLAT)
    assert run(feed).returncode == 1
    feed.land("b.json", "no JSON")
    feed.write_spec(**FLAT, quarantine={"max_bad_records_percent": 20})
    done = fanfold("run", feed.spec_path, "--json")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(errors), json.loads(done.stdout)["files_quarantined"]) == (1, 2, 1)
