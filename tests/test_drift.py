"""Columns that are not those of the run before: told, refused, or let be; and the same whenever they are told."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanfold import audit
from fanfold.feed import failures, runs
from fanfold.manifest import Drift
from tests.conftest import TS, FeedDir, MakeFeed, tree
from tests.test_cli import fanfold

LATER, LAST = "20260103T030405Z", "20260104T030405Z"
BASE: dict[str, Any] = {"subdirs": 1, "denormalize": {}, "merge": []}
BEFORE = [{"id": 1, "gone": "x", "other": 1}]
AFTER = [{"other": "two", "id": 2, "new": True}]
DRIFT = {
    "since": TS,
    "added": ["new"],
    "dropped": ["gone"],
    "retyped": ["other: BIGINT > VARCHAR"],
    "reordered": True,
}


def committed(feed: FeedDir, ts: str) -> Any:
    return json.loads(feed.at(ts).commit_path.read_bytes())


def test_the_manifest_has_what_is_new_gone_retyped_and_in_another_order(make_feed: MakeFeed) -> None:
    """Columns are compared by name, type and order; the manifest and `run --json` have it, only where there is some."""
    feed = make_feed({"a.json": BEFORE}, **BASE)
    feed.run()
    feed.land("b.json", AFTER)
    planned = json.loads(fanfold("plan", feed.spec_path, "--json").stdout)
    done = fanfold("run", feed.spec_path, "--ts", LATER, "--json")
    assert json.loads(done.stdout)["drift"] == committed(feed, LATER)["drift"] == planned["drift"] == DRIFT
    told = "added new; dropped gone; retyped other: BIGINT > VARCHAR; in another order"
    assert f"WARNING: the columns are not those of run {TS}: {told}" in done.stderr
    feed.land("c.json", AFTER)
    feed.run(LAST)
    for ts in (TS, LAST):
        assert b"drift" not in feed.at(ts).commit_path.read_bytes().replace(b"on_drift", b"")
    assert feed.audit(LATER).findings == []


@pytest.mark.parametrize("fmt", ["csv", "parquet"])
def test_a_column_of_a_reference_drifts_too(make_feed: MakeFeed, fmt: str) -> None:
    """A reference that takes on a column changes the output as much as the files do."""
    feed = make_feed({"a.json": [{"customer_id": "1"}]}, subdirs=1, denormalize={}, output={"format": fmt})
    feed.run()
    (feed.data_dir / "customers.csv").write_text("customer_id,name,city\n1,Ann,Rome\n")
    feed.land("b.json", [{"customer_id": "1"}])
    feed.run(LATER)
    assert committed(feed, LATER)["drift"]["added"] == ["customer_city"]


NOTHING_NEW: dict[str, dict[str, Any]] = {
    "a duplicate": {"b.json": BEFORE[:1]},
    "a duplicate set aside": {"b.json": BEFORE[:1]},
    "an empty array": {"b.json": []},
    "a header alone": {"b.csv": "x,y\n"},
    "bad records of other fields": {"b.json": [{"x": 1, "id": {"y": 2}}]},
    "a duplicate beside a bad file": {"b.json": BEFORE[:1], "c.json": "no JSON"},
}


@pytest.mark.parametrize("case", NOTHING_NEW)
def test_a_run_without_a_good_record_of_its_own_does_not_drift(make_feed: MakeFeed, case: str) -> None:
    """Under `fail` it goes on, be its files duplicates, empty or bad: `plan` and `run` agree, and nothing is told."""
    rule = "quarantine" if "aside" in case else "archive"
    keys = {"duplicates": rule, "on_drift": "fail", "fields": {"id": "BIGINT"}}
    feed = make_feed({"a.json": BEFORE[:1]}, **BASE, input=keys, quarantine={"max_bad_records_percent": 100})
    feed.run()
    feed.land("a2.json", AFTER)
    feed.write_spec(**BASE, input=keys | {"on_drift": "warn"}, quarantine={"max_bad_records_percent": 100})
    feed.run(LATER)
    feed.write_spec(**BASE, input=keys, quarantine={"max_bad_records_percent": 100})
    for name, content in NOTHING_NEW[case].items():
        feed.land(name, content)
    planned = json.loads(fanfold("plan", feed.spec_path, "--json").stdout)
    assert (planned["drift"], [reason for reason in planned["failed"] if "on_drift" in reason]) == (None, [])
    assert feed.run(LAST).files_in == len(NOTHING_NEW[case])
    assert "drift" not in committed(feed, LAST)


def test_runs_that_published_no_record_are_not_compared(make_feed: MakeFeed) -> None:
    """A run of bad files has no columns to compare, neither with the one before it nor with the one after it."""
    feed = make_feed({"a.json": BEFORE}, **BASE)
    feed.run()
    feed.land("b.json", "no JSON")
    feed.run(LATER)
    feed.land("c.json", AFTER)
    feed.run(LAST)
    assert "drift" not in committed(feed, LATER)
    assert committed(feed, LAST)["drift"] == DRIFT


def test_fail_stops_the_run_before_any_group_and_a_changed_spec_lets_it_go_on(make_feed: MakeFeed) -> None:
    """Under `fail`, `plan` and `run` say why and end with 1, twice; under `warn` the run goes on, with its drift."""
    feed = make_feed({"a.json": BEFORE}, **BASE, input={"on_drift": "fail"})
    feed.run()
    feed.land("b.json", AFTER)
    for command in (["plan"], ["run", "--ts", LATER], ["run", "--ts", LATER]):
        ended = fanfold(command[0], feed.spec_path, *command[1:])
        assert ended.returncode == 1
        assert (
            f"are not those of run {TS} (input.on_drift: fail): added new; dropped gone" in ended.stdout + ended.stderr
        )
    assert not (feed.data_dir / "denormalized" / LATER).exists()
    assert failures.is_stuck(feed.open(), LATER)
    feed.write_spec(**BASE, input={"on_drift": "warn"})
    assert json.loads(fanfold("run", feed.spec_path, "--json").stdout)["drift"] == DRIFT
    assert runs.unfinished(feed.open()) == []


def test_ignore_says_nothing(make_feed: MakeFeed) -> None:
    """Under `ignore` nothing is compared: not in the log, not in the manifest, not by plan."""
    feed = make_feed({"a.json": BEFORE}, **BASE, input={"on_drift": "ignore"})
    feed.run()
    feed.land("b.json", AFTER)
    assert json.loads(fanfold("plan", feed.spec_path, "--json").stdout)["drift"] is None
    done = fanfold("run", feed.spec_path, "--ts", LATER, "--json")
    assert (done.stderr, json.loads(done.stdout).get("drift")) == ("", None)
    assert "drift" not in committed(feed, LATER)


def test_the_drift_is_that_of_the_moment_when_the_schema_was_fixed(make_feed: MakeFeed) -> None:
    """A run that is completed later, made again, or verified deeply, has the drift, and the bytes, that it had."""
    feed = make_feed({"a.json": BEFORE}, **BASE)
    feed.run()
    feed.land("b.json", AFTER)
    feed.stage(LATER)
    feed.land("c.json", AFTER)
    feed.run(LAST)
    feed.group(1, LATER)
    feed.verify(LATER)
    assert committed(feed, LATER)["drift"] == DRIFT
    assert fanfold("verify", feed.spec_path, LATER, "--deep", "--audit").returncode == 0
    for ts in (TS, LATER):
        again = Path(f"{feed.data_dir}-{ts}")
        assert fanfold("run", feed.spec_path, "--from-archive", ts, "--data-dir", again).returncode == 0
        made = {path: digest for path, digest in tree(again).items() if ts in path and not path.startswith("staging")}
        assert made.items() <= tree(feed.data_dir).items()


def test_made_again_with_a_changed_spec_the_columns_are_compared_anew(make_feed: MakeFeed) -> None:
    """What a changed spec makes of an archive is not said to drift as the first output did."""
    feed = make_feed({"a.json": BEFORE}, **BASE)
    feed.run()
    feed.land("b.json", AFTER)
    feed.run(LATER)
    feed.write_spec(**BASE | {"denormalize": {"columns": ["id"]}})
    again = feed.data_dir.with_name("again")
    done = fanfold("run", feed.spec_path, "--from-archive", LATER, "--data-dir", again, "--json")
    assert "drift" not in json.loads(done.stdout)


def test_a_run_before_drift_was_known_is_complete_and_goes_on(make_feed: MakeFeed) -> None:
    """Working files and manifests without a drift are read as ever: a run that was staged by then ends well."""
    feed = make_feed({"a.json": BEFORE}, **BASE)
    feed.stage()
    schema_path = feed.at().schema_path
    fixed = json.loads(schema_path.read_bytes())
    del fixed["drift"]
    schema_path.write_text(json.dumps(fixed))
    feed.group(1)
    assert feed.verify().rows_out == 1
    assert fanfold("verify", feed.spec_path, "--deep").returncode == 0


def test_the_audit_sees_a_drift_that_is_not_so(make_feed: MakeFeed) -> None:
    """Each part of a drift is compared with the columns of both runs."""
    feed = make_feed({"a.json": BEFORE}, **BASE)
    feed.run()
    feed.land("b.json", AFTER)
    feed.run(LATER)
    run, made = runs.open_complete(feed.open(), LATER)
    false = msgspec.structs.replace(made, drift=Drift(TS, [], [], [], reordered=False))
    found = {finding.file for finding in audit.audit(run, false).findings}
    assert found == {"drift.added", "drift.dropped", "drift.retyped", "drift.reordered"}
