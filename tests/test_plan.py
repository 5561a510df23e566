"""What `plan` says of a run, and that the run ends so."""

import json
from pathlib import Path
from typing import Any

import pytest

from fanfold.errors import DataError, MissingError
from fanfold.steps.plan import plan
from tests.conftest import CUSTOMERS, TS, MakeFeed
from tests.test_cli import fanfold

GOOD, UNMATCHED = {"id": 1, "customer_id": "1"}, {"id": 2, "customer_id": "9"}
MERGE = {"reference": "customers.csv", "key": "customer_id", "into": "customer"}
BASE: dict[str, Any] = {"subdirs": 1, "denormalize": {}}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "all good": ({"a.json": [GOOD]}, {}, None),
    "a few bad records": ({"a.json": [GOOD] * 20 + [7]}, {}, None),
    "too many bad records": ({"a.json": [GOOD, 7]}, {}, "found 1 bad record of 2, expected at most 10 %"),
    "a bad file of three": ({"a.json": [GOOD], "b.json": [GOOD], "c.json": "no JSON"}, {}, None),
    "nothing to read": ({"a.json": "no JSON"}, {}, "no record is good: 1 of 1 file"),
    "a declared type": (
        {"a.json": [{"id": 1, "at": "yesterday"}]},
        {"merge": [], "input": {"fields": {"at": "TIMESTAMP"}}},
        "found 1 bad record of 1",
    ),
    "declared fields alone": (
        {"a.json": [{"id": "x"}, {"id": 2}]},
        {"merge": [], "input": {"schema": "declared", "fields": {"id": "BIGINT"}}},
        "found 1 bad record of 2",
    ),
    "no match, kept": ({"a.json": [UNMATCHED]}, {}, None),
    "no match, quarantined": (
        {"a.json": [GOOD, UNMATCHED]},
        {"merge": [MERGE | {"on_missing": "quarantine"}]},
        "found 1 bad record of 2",
    ),
    "SQL that fails for a value": (
        {"a.json": [GOOD | {"id": "x"}, GOOD | {"id": "7"}]},
        {"merge": [], "denormalize": {"columns": [{"n": "id::BIGINT"}]}},
        "'id::BIGINT' fails for record 1 of 'a.json' (id 'x'): Could not convert string 'x' to INT64, expected",
    ),
    "SQL that fails for no good record": (
        {"a.json": [GOOD | {"id": "7"}, {"id": "x", "customer_id": []}, GOOD], "b.json": "{]"},
        {"merge": [], "denormalize": {"columns": [{"n": "id::BIGINT"}]}, "quarantine": {"max_bad_records_percent": 50}}
        | {"input": {"fields": {"customer_id": "VARCHAR"}}},
        None,
    ),
    "SQL that fails for a value of a reference, in one of several tables": (
        {"a.json": [GOOD | {"items": [{"sku": "a"}, {"sku": "b"}]}], "b.json": [UNMATCHED]},
        {
            "merge": [MERGE],
            "tables": {
                "orders": {"columns": ["id"]},
                "items": {"explode": ["items"], "columns": ["customer_name", {"n": "1 % (items_sku = 'a')::BIGINT"}]},
            },
        },
        "fails for record 1, element 2 of 'a.json' (items_sku 'b'): Division by zero",
    ),
    "no match, refused": (
        {"a.json": [GOOD, UNMATCHED]},
        {"merge": [MERGE | {"on_missing": "fail"}]},
        "found '9' in 'customer_id', expected a key of 'customers.csv' (merge.0.on_missing: fail)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_plan_ends_as_the_run_does(make_feed: MakeFeed, case: str) -> None:
    """The same files and spec: `plan` has the exit code of `run`, its reason, and its counts of records."""
    files, keys, reason = CASES[case]
    feed = make_feed(files, customers=CUSTOMERS, **BASE | keys)
    planned, shown = plan(feed.open()), fanfold("plan", feed.spec_path)
    done = fanfold("run", feed.spec_path, "--ts", TS, "--json")
    assert (shown.returncode, done.returncode) == (int(reason is not None),) * 2
    assert [reason in one for one in planned.failed if reason] == ([True] if reason else [])
    assert (reason or "") in done.stderr
    if done.stdout:
        assert planned.records == json.loads(done.stdout)["records_in"]


def test_a_column_that_is_not_there_is_told_with_all_that_are_in_their_order(make_feed: MakeFeed) -> None:
    """A column, plain or in SQL, that nothing resembles: the columns are listed in order, and the way is named."""
    for wanted in ("zzz", {"x": "zzz + 1"}):
        keys = {"merge": [], "denormalize": {"columns": [wanted]}}
        feed = make_feed({"a.json": [{"d": 1, "c": 2, "b": 3, "a": 4}]}, folder=str(wanted), **keys)
        with pytest.raises(DataError, match=r"expected one of 'd', 'c', 'b', 'a' \(read: 'a\.json'\)\. If records may"):
            plan(feed.open())


def test_what_the_spec_declares_and_does_not_name_is_an_error_of_the_spec(make_feed: MakeFeed) -> None:
    """Where the spec declares all fields, a column that is not among them, also in SQL, is its own fault: exit 2."""
    for wanted in ("ids", {"x": "ids + 1"}):
        keys = {"merge": [], "denormalize": {"columns": [wanted]}}
        declared = {"schema": "declared", "fields": {"id": "BIGINT"}}
        feed = make_feed({"a.json": [{"id": 1}]}, folder=str(wanted), input=declared, **keys)
        with pytest.raises(MissingError, match="did you mean 'id'"):
            plan(feed.open())


@pytest.mark.parametrize("found", ["a link", "a file"])
def test_what_is_in_the_way_of_the_archive_stops_plan_and_run_alike(
    make_feed: MakeFeed, tmp_path: Path, found: str
) -> None:
    """A folder of the archive that leads elsewhere, or is a file, ends both with exit code 2, and its name."""
    feed = make_feed({"sub/a.json": [GOOD]}, customers=CUSTOMERS, **BASE)
    place = feed.data_dir / "processed"
    if found == "a file":
        place.touch()
    else:
        place.mkdir()
        place = place / "sub"
        place.symlink_to(tmp_path)
    for command in ("plan", "run"):
        done = fanfold(command, feed.spec_path)
        assert (done.returncode, repr(str(place)) in done.stderr) == (2, True), done.stderr
    assert (feed.landing_dir / "sub/a.json").exists()
