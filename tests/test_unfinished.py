"""Runs that cannot go on: passed over, listed with their reason, taken up when their cause is gone."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanfold import documents
from fanfold.errors import DataError, EmptySubdir
from fanfold.feed import failures, runs, status, unfinished
from fanfold.manifest import Manifest
from fanfold.steps.denormalize_data import denormalize_data
from fanfold.steps.merge_data import merge_data
from fanfold.steps.stage_files import stage_files
from fanfold.working_files import Failure
from tests.conftest import GROUP_STEPS, TS, FeedDir, MakeFeed, small_files, tree
from tests.test_cli import fanfold
from tests.test_crash import HOOK

pytestmark = pytest.mark.slow

LATER = "20260103T030405Z"
GOOD = [{"id": 1, "customer_id": "1", "items": [{"sku": "x", "qty": 2}]}]
LATE = [{"id": 2, "customer_id": "2", "items": [{"sku": "y", "qty": 3}]}]
ONE: dict[str, Any] = {"subdirs": 1}


def rows(feed: FeedDir) -> list[str]:
    """Return all rows that are published, of all runs."""
    return sorted(
        row for table in feed.data_dir.glob("denormalized/*/*.csv") for row in table.read_text().splitlines()[1:]
    )


def summary(feed: FeedDir, *args: str) -> tuple[int, dict[str, Any], list[str]]:
    done = fanfold("run", feed.spec_path, "--json", *args)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr.splitlines()


def states(feed: FeedDir) -> list[tuple[str, str, list[tuple[str, int | None]]]]:
    listed = json.loads(fanfold("status", feed.spec_path, "--json").stdout)
    return [(one["ts"], one["state"], [(why["step"], why["subdir"]) for why in one["failed"]]) for one in listed]


# What is in the spec and the data, what the first run says, and the spec as it is mended.
MENDED: dict[str, tuple[dict[str, Any], list[Any], str, dict[str, Any]]] = {
    "explode": ({"denormalize": {"explode": ["itms"]}}, GOOD, "'itms' is in no record", {}),
    "separator": (
        {"denormalize": {"explode": []}},
        [{"id": 1, "customer_id": "1", "a": {"b": 1}, "a_b": 2}],
        "separator",
        {"denormalize": {"separator": "__"}},
    ),
    "share of bad records": (
        {},
        [*GOOD, 7],
        "max_bad_records_percent",
        {"quarantine": {"max_bad_records_percent": 60}},
    ),
    "type": (
        {"input": {"fields": {"items.sku": "BIGINT"}}},
        GOOD,
        "max_bad_records_percent",
        {"input": {"fields": {"items.sku": "VARCHAR"}}},
    ),
    "columns": (
        {"denormalize": {"explode": ["items"], "columns": ["id", "coupon"]}},
        GOOD,
        "'coupon' is not a column",
        {"denormalize": {"explode": ["items"], "columns": ["id"]}},
    ),
    "expression": (
        {"denormalize": {"explode": ["items"], "columns": [{"n": "id + nothing"}]}},
        GOOD,
        "nothing",
        {"denormalize": {"explode": ["items"], "columns": [{"n": "id + 1"}]}},
    ),
    "match": (
        {"merge": [{"reference": "customers.csv", "key": "customer_id", "into": "c", "on_missing": "fail"}]},
        [{**GOOD[0], "customer_id": "9"}],
        "expected a key of 'customers.csv'",
        {},
    ),
    "totals": ({"verify": {"totals": ["total"]}}, GOOD, "'total' is not a field", {"verify": {"totals": ["id"]}}),
}


@pytest.mark.parametrize("case", MENDED)
def test_a_mended_spec_is_taken_up(make_feed: MakeFeed, case: str) -> None:
    """Whatever in the spec stops a run that has published nothing: mended, the run goes on, and the log says so."""
    wrong, records, said, mended = MENDED[case]
    feed = make_feed({"a.json": records}, **ONE | wrong)
    code, _, errors = summary(feed)
    assert code in {1, 2}
    assert said in " ".join(errors)
    feed.write_spec(**ONE | mended)
    code, done, errors = summary(feed)
    assert (code, done["files_in"], done["rows_out"]) == (0, 1, 1), errors
    assert "goes on with the spec as it is now: " in errors[1]
    assert runs.unfinished(feed.open()) == []
    made = documents.read(feed.open().run(done["ts"]).commit_path, Manifest)
    assert {**made.spec, "data_dir": ""} == {**feed.open().spec.model_dump(mode="json"), "data_dir": ""}
    assert fanfold("verify", feed.spec_path, "--deep").returncode == 0


def mend_reference(feed: FeedDir) -> None:
    (feed.data_dir / "customers.csv").write_text("customer_id,name\n1,Ann\n9,Zoe\n")


def mend_file(feed: FeedDir) -> None:
    (staged,) = feed.data_dir.glob("staging/*/1/a.json")
    staged.write_text(json.dumps(GOOD))


@pytest.mark.parametrize("mend", [mend_reference, mend_file])
def test_a_mended_reference_or_file_is_taken_up(make_feed: MakeFeed, mend: Callable[[FeedDir], None]) -> None:
    """A record without a match stops the run; with the reference or the file mended, the next `run` ends it."""
    merge = {"reference": "customers.csv", "key": "customer_id", "into": "customer", "on_missing": "fail"}
    feed = make_feed({"a.json": [{**GOOD[0], "customer_id": "9"}]}, **ONE | {"merge": [merge]})
    assert summary(feed)[0] == 1
    mend(feed)
    code, done, errors = summary(feed)
    assert (code, done["records_unmatched"], done["rows_out"]) == (0, 0, 1), errors


def test_a_run_that_cannot_go_on_is_passed_over(make_feed: MakeFeed) -> None:
    """Later files do not wait: the stuck run is named on stderr, not tried again, and taken up once it is mended."""
    feed = make_feed({"a.json": [{"id": 1, "customer_id": "1"}]}, **ONE)
    code, done, errors = summary(feed)
    assert (code, done) == (1, {})
    assert len(errors) == 1
    assert errors[0].startswith("error: denormalize.explode 'items' is in no record")
    stuck = runs.unfinished(feed.open())[0]
    before = tree(feed.data_dir / "staging")
    feed.land("b.json", LATE)
    code, done, errors = summary(feed)
    assert (code, done["files_in"], done["rows_out"]) == (0, 1, 1)
    assert len(errors) == 1
    assert errors[0].startswith(f"WARNING: run {stuck} is passed over: create_dynamic_taskgroups: denormalize.explode ")
    assert f"fanfold run {feed.spec_path} --ts {stuck}" in errors[0]
    assert f"fanfold release {feed.spec_path} {stuck}" in errors[0]
    assert tree(feed.data_dir / "staging") == before
    code, done, errors = summary(feed)
    assert (code, done["files_in"], len(errors)) == (0, 0, 2)
    assert errors[1].startswith("no file is ready in ")
    assert states(feed) == [
        (stuck, "unfinished", [("create_dynamic_taskgroups", None)]),
        (done["ts"], "complete", []) if done["files_in"] else (runs.complete(feed.open())[0], "complete", []),
    ]
    shown = fanfold("status", feed.spec_path).stdout
    assert "unfinished, failed" in shown
    assert f"run {stuck} failed: create_dynamic_taskgroups: denormalize.explode 'items'" in shown
    assert json.loads(fanfold("plan", feed.spec_path, "--json").stdout)["resumes"] is None
    feed.write_spec(**ONE | {"denormalize": {"explode": []}})
    assert json.loads(fanfold("plan", feed.spec_path, "--json").stdout)["resumes"] == stuck
    code, done, _ = summary(feed)
    assert (code, done["ts"], done["rows_out"]) == (0, stuck, 1)


def test_a_run_that_fails_again_holds_up_no_new_one(make_feed: MakeFeed) -> None:
    """A run that is tried again and fails costs its error line and exit code; what has landed since is done at once."""
    feed = make_feed({"a.json": [*GOOD, 7, 8]}, **ONE)
    assert summary(feed)[0] == 1
    feed.land("b.json", LATE)
    feed.write_spec(**ONE | {"quarantine": {"max_bad_records_percent": 20}})
    code, done, errors = summary(feed)
    assert (code, done["files_in"], done["rows_out"]) == (1, 1, 1)
    assert len([line for line in errors if line.startswith("error: ")]) == 1
    assert rows(feed) == ["2,2,y,3,Bob"]
    assert summary(feed)[0] == 0
    assert summary(feed, "--ts", runs.unfinished(feed.open())[0])[0] == 1


def test_a_reason_is_written_down_without_a_clock(make_feed: MakeFeed) -> None:
    """The note of a failure has step, subdirectory and message, and is the same each time; success removes it."""
    feed = make_feed({"a.json": [*GOOD, 7]}, **ONE)
    notes = []
    for _ in range(2):
        groups = feed.stage()
        with pytest.raises(DataError, match="found 1 bad record of 2"):
            merge_data(groups["1"], feed.data_dir)
        notes.append(feed.at().group(1).failure_path.read_bytes())
    assert notes[0] == notes[1]
    noted = documents.read(feed.at().group(1).failure_path, Failure)
    assert (noted.step, noted.subdir) == ("merge_data", 1)
    assert noted.message.startswith(f"staging/{TS}/1: found 1 bad record of 2")
    mend_file(feed)
    merge_data(groups["1"], feed.data_dir)
    assert not feed.at().group(1).failure_path.exists()


LARGE = [{"id": n, "customer_id": "1", "items": [{"sku": "x" * 80, "qty": 2}]} for n in range(1_000)]


def test_what_may_go_away_by_itself_is_a_reason_too(make_feed: MakeFeed) -> None:
    """Where the system refuses to write, `status` says in which step and why, until a run that goes well clears it."""
    feed = make_feed({"a.json": LARGE, "b.json": GOOD}, subdirs=2)
    with small_files(50_000):
        code, _, errors = summary(feed)
    (ts,) = runs.unfinished(feed.open())
    assert (code, "File too large" in errors[0]) == (3, True)
    assert states(feed) == [(ts, "unfinished", [("merge_data", 1)])]
    shown = fanfold("status", feed.spec_path).stdout
    assert f"run {ts} failed: merge_data of subdirectory 1: File too large" in shown
    assert "Errno" not in shown
    assert summary(feed)[0] == 0
    assert states(feed) == [(ts, "complete", [])]
    assert not list(feed.data_dir.glob("staging/*"))


def test_trouble_costs_nothing_that_is_done(make_feed: MakeFeed) -> None:
    """A run that the system has refused something goes on as it was prepared, and each step clears its own reason."""
    feed = make_feed({"a.json": LARGE}, **ONE)
    group, prepared = feed.stage()["1"], feed.at().schema_path.stat()
    with small_files(50_000), pytest.raises(OSError, match="File too large"):
        merge_data(group, feed.data_dir)
    noted = documents.read(feed.at().group(1).failure_path, Failure)
    assert (noted.step, noted.subdir, noted.passing) == ("merge_data", 1, True)
    assert not failures.is_stuck(feed.open(), TS)
    feed.stage()
    assert feed.at().schema_path.stat() == prepared
    merge_data(group, feed.data_dir)
    assert not feed.at().group(1).failure_path.exists()


def test_a_table_that_does_not_fit_is_not_published(make_feed: MakeFeed) -> None:
    """A disk that takes a part of a table and no more is an error: no part of it gets the table's name."""
    feed = make_feed({"a.json": LARGE}, **ONE)
    group = feed.stage()["1"]
    merge_data(group, feed.data_dir)
    with small_files(50_000), pytest.raises(OSError, match=r"File too large: .*/1\.csv'$"):
        denormalize_data(group, feed.data_dir)
    assert rows(feed) == []
    feed.group(1)
    assert feed.verify().rows_out == 1_000


def test_a_claim_that_the_system_refuses_has_a_reason_too(make_feed: MakeFeed) -> None:
    """Where files cannot be claimed, `status` says why; once they are, there is no reason any more."""
    feed = make_feed({f"{n}.json": GOOD for n in range(400)}, **ONE)
    with small_files(10_000), pytest.raises(OSError, match="File too large"):
        stage_files(feed.open(), TS)
    (failed,) = status.status_of(feed.open(), TS).failed
    assert (failed.step, failed.subdir) == ("stage_files", None)
    assert failed.message == f"File too large: {str(feed.at().files_path)!r}"
    assert stage_files(feed.open(), TS) == 400
    assert status.status_of(feed.open(), TS).failed == []


def test_a_group_that_can_go_on_is_not_passed_over(make_feed: MakeFeed) -> None:
    """A run of which one group is stuck and another was killed is resumed, so the other one ends."""
    feed = make_feed({"a.json": GOOD * 9, "b.json": [*LATE, 7]}, subdirs=2)
    groups = feed.stage()
    with pytest.raises(DataError):
        merge_data(groups["2"], feed.data_dir)
    assert summary(feed)[0] == 1
    assert status.status(feed.open())[0].groups == {"1": "archived", "2": "staged"}
    code, _, errors = summary(feed)
    assert (code, len(errors)) == (0, 2)
    assert errors[1].startswith("no file is ready in ")


def test_a_run_that_has_published_keeps_its_spec(make_feed: MakeFeed) -> None:
    """Once a group has published, the spec stays; the log says so once, what differs, and the command that helps."""
    feed = make_feed({"a.json": GOOD * 9, "b.json": [*LATE, 7]}, subdirs=2)
    assert summary(feed)[0] == 1
    stuck = runs.unfinished(feed.open())[0]
    feed.write_spec(subdirs=2, quarantine={"max_bad_records_percent": 60})
    code, _, passed = summary(feed)
    assert code == 0
    code, done, errors = summary(feed, "--ts", stuck)
    assert (code, done) == (1, {})
    for lines, subject in ((passed, ". It has"), (errors, f"WARNING: run {stuck} has")):
        (kept,) = [line for line in lines if "keeps the spec" in line]
        assert f"{subject} published, so it keeps the spec that it began with; changed since: " in kept
        assert "quarantine.max_bad_records_percent 10.0 > 60.0" in kept
        assert kept.endswith(f"fanfold release {feed.spec_path} {stuck}")
        assert "--ts" not in kept
    assert fanfold("release", feed.spec_path, stuck).returncode == 0
    assert summary(feed)[0] == 0
    assert len(rows(feed)) == 10


def test_a_run_keeps_where_its_files_lie(make_feed: MakeFeed) -> None:
    """With other subdirectories and folders in the spec, a run that goes on keeps its own, and says so."""
    feed = make_feed({"a.json": GOOD, "b.json": LATE}, subdirs=2, denormalize={"explode": ["itms"]})
    assert summary(feed)[0] == 1
    (feed.data_dir / "elsewhere").mkdir()
    feed.write_spec(
        subdirs=1,
        input={"path": "elsewhere"},
        archive={"path": "old", "compression": "gzip"},
        quarantine={"path": "bad"},
        output={"path": "new", "format": "parquet"},
    )
    code, done, errors = summary(feed)
    assert (code, done["rows_out"], len(done["subdirs"])) == (0, 2, 2), errors
    assert any("keeps what it began with: subdirs 2 > 1; input.path " in line for line in errors)
    assert sorted(path.suffix for path in feed.data_dir.glob("processed/*")) == [".json", ".json"]
    assert len(list(feed.data_dir.glob("new/*/*.parquet"))) == 2
    assert not (feed.data_dir / "denormalized").exists()


@pytest.mark.parametrize("key", ["concurrent_tasks", "notify", "patterns"])
def test_keys_of_later_runs_make_nothing_anew(make_feed: MakeFeed, key: str) -> None:
    """A changed key that says nothing about a staged run leaves what was prepared as it is, and a stuck run stuck."""
    feed = make_feed({"a.json": [*GOOD, 7]}, **ONE)
    assert summary(feed)[0] == 1
    before = tree(feed.data_dir / "staging")
    changed = {"notify": {"above_files": 7}, "patterns": {"patterns": ["*.json"]}, "concurrent_tasks": 1}[key]
    feed.write_spec(**ONE | {"input" if key == "patterns" else key: changed})
    assert summary(feed)[0] == 0
    assert tree(feed.data_dir / "staging") == before


TAKE_UP = (
    "import sys; from fanfold.feed import runs, status, unfinished; "
    "unfinished.take_up(runs.open_feed(sys.argv[1]), sys.argv[2])"
)


def take_up(spec: Path, crash_at: int) -> int:
    """Take up the spec in a process that is killed before its `crash_at`-th change; return how it ended."""
    environ = os.environ | {"PYTHONPATH": str(HOOK), "CRASH_AT": str(crash_at)}
    environ |= {"CRASH_ROOT": str(spec.parent / "data"), "CRASH_LOG": str(spec.parent / "changes")}
    command = [sys.executable, "-c", TAKE_UP, str(spec), TS]
    return subprocess.run(command, env=environ, check=False, capture_output=True, start_new_session=True).returncode


def test_taking_up_a_spec_is_safe_to_cut_short(make_feed: MakeFeed, tmp_path: Path) -> None:
    """Killed before any of its changes, and run again, taking up a spec ends in the same tree, and so does the run."""
    feed = make_feed({"a.json": [*GOOD, 7], "b.json": LATE}, subdirs=2)
    groups = feed.stage()
    merge_data(groups["2"], feed.data_dir)
    with pytest.raises(DataError):
        merge_data(groups["1"], feed.data_dir)
    keys: dict[str, Any] = {"denormalize": {"explode": []}, "quarantine": {"max_bad_records_percent": 60}}
    feed.write_spec(subdirs=2, **keys)

    def copy(name: str) -> FeedDir:
        folder = Path(shutil.copytree(feed.spec_path.parent, tmp_path / name))
        return FeedDir(folder / feed.spec_path.name, folder / "data")

    undisturbed = copy("undisturbed")
    assert take_up(undisturbed.spec_path, 0) == 0
    changes = (undisturbed.spec_path.parent / "changes.what").read_text(encoding="utf-8").splitlines()
    taken = tree(undisturbed.data_dir)
    undisturbed.run()
    assert "id,customer_id,items,customer_name" in undisturbed.read(2)
    for point in range(1, len(changes) + 1):
        killed = copy(f"killed-at-{point}")
        assert take_up(killed.spec_path, point) == -signal.SIGKILL
        unfinished.take_up(killed.open(), TS)
        assert tree(killed.data_dir) == taken, changes[point - 1]
        killed.run()
        assert tree(killed.data_dir) == tree(undisturbed.data_dir), changes[point - 1]
        shutil.rmtree(killed.spec_path.parent)


def test_what_was_derived_before_is_not_believed_without_a_schema(make_feed: MakeFeed) -> None:
    """Cut short while it prepares a run anew, then with its first spec again: nothing merged before is published."""
    feed = make_feed({"a.json": [*GOOD, 7], "b.json": LATE}, subdirs=2)
    groups = feed.stage()
    merge_data(groups["2"], feed.data_dir)
    feed.at().schema_path.unlink()
    (feed.data_dir / "customers.csv").write_text("customer_id,city\n1,Rome\n2,Oslo\n")
    feed.stage()
    feed.group(2)
    assert feed.read(2) == "id,customer_id,items_sku,items_qty,customer_city\n2,2,y,3,Oslo\n"


def test_a_dag_of_more_groups_than_a_run_has_skips_them(make_feed: MakeFeed) -> None:
    """The groups that a run keeps are done; those that its DAG has beyond them have nothing to do."""
    feed = make_feed({"a.json": GOOD}, subdirs=1)
    feed.stage()
    for step in GROUP_STEPS:
        with pytest.raises(EmptySubdir):
            step(f"staging/{TS}/2", feed.data_dir)


def test_a_duplicate_of_what_is_stuck_costs_no_row(make_feed: MakeFeed) -> None:
    """The same bytes again are a duplicate of the stuck run's; released or mended, the original makes its rows once."""
    bad = [*GOOD, 7]
    for way in ("release", "mend"):
        feed = make_feed({"a.json": bad}, way, **ONE | {"input": {"duplicates": "archive"}})
        assert summary(feed)[0] == 1
        stuck = runs.unfinished(feed.open())[0]
        feed.land("again.json", bad)
        code, done, _ = summary(feed)
        assert (code, done["files_in"], done["rows_out"]) == (0, 1, 0)
        if way == "release":
            assert fanfold("release", feed.spec_path, stuck).returncode == 0
        feed.write_spec(**ONE, input={"duplicates": "archive"}, quarantine={"max_bad_records_percent": 60})
        assert summary(feed)[0] == 0
        assert rows(feed) == ["1,1,x,2,Ann"]
        assert runs.unfinished(feed.open()) == []


def test_a_release_that_cannot_end_holds_up_no_new_run(make_feed: MakeFeed) -> None:
    """A release whose name landing has again is passed over too, and completed once the name is free."""
    feed = make_feed({"a.json": [*GOOD, 7]}, **ONE)
    assert summary(feed)[0] == 1
    stuck = runs.unfinished(feed.open())[0]
    feed.land("a.json", LATE)
    assert fanfold("release", feed.spec_path, stuck).returncode == 1
    code, done, errors = summary(feed)
    assert (code, done["rows_out"]) == (0, 1), errors
    assert "release: 'a.json' is in landing again" in errors[0]
    feed.write_spec(**ONE, quarantine={"max_bad_records_percent": 60})
    codes = [summary(feed)[0] for _ in range(2)]
    assert codes == [0, 0]
    assert rows(feed) == ["1,1,x,2,Ann", "2,2,y,3,Bob"]


def test_stage_files_names_what_is_stuck(make_feed: MakeFeed, caplog: pytest.LogCaptureFixture) -> None:
    """In Airflow, where each run has its own ts, stage_files warns of a stuck run with its reason, and goes on."""
    feed = make_feed({"a.json": [{"id": 1, "customer_id": "1"}]}, **ONE)
    with pytest.raises(DataError):
        feed.stage()
    feed.land("b.json", LATE)
    assert feed.run(LATER).rows_out == 1
    assert f"run {TS} is passed over: create_dynamic_taskgroups: denormalize.explode 'items'" in caplog.text
