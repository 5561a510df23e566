"""Whoever is on call sees only Airflow's page: what it says, and that following it is enough."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fanfold.airflow.embedded.client import Airflow, RunOutcome
from fanfold.airflow.embedded.server import embedded_airflow
from fanfold.feed import runs
from fanfold.layout import format_ts, parse_ts
from fanfold.steps.verify_run import verdict_of
from tests.conftest import CUSTOMERS, PATIENCE_SECONDS, TS, FeedDir, tree
from tests.test_airflow import RUNS, Slack, asset_events, clear, ended, run, states
from tests.test_airflow import slack as slack  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.slow

DAG = """
from datetime import timedelta
from fanfold.airflow import feed_dag
feed_dag({spec!r}, max_active_runs=2, default_args={{"retry_delay": timedelta(seconds=1)}})
"""
SPEC: dict[str, Any] = {
    "subdirs": 2,
    "notify": {"slack_conn_id": "slack", "on": ["failed", "quarantined"]},
    "input": {"wait_seconds": 1, "poll_seconds": 1},
}
GOOD = {"id": 1, "customer_id": "1", "items": [{"sku": "x"}]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name the folder that all feeds of this module lie in."""
    return tmp_path_factory.mktemp("oncall")


@pytest.fixture(scope="module")
def airflow(root: Path, slack: Slack) -> Iterator[Airflow]:
    """Start one Airflow for all tests of this module."""
    feed = FeedDir(root / "feed.yaml", root / "data")
    feed.write_spec(**SPEC)
    dag_file = root / "feed.py"
    dag_file.write_text(DAG.format(spec=str(feed.spec_path)), encoding="utf-8")
    host, port = slack.server_address[:2]
    connection = {"conn_type": "slackwebhook", "host": f"http://{host!s}:{port}", "password": "T000/B000/secret"}
    environ = {"FANFOLD_ALLOWED_ROOTS": str(root), "AIRFLOW_CONN_SLACK": json.dumps(connection)}
    with (
        embedded_airflow(root / "home", [dag_file], environ=environ) as server,
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setenv("FANFOLD_ALLOWED_ROOTS", str(root))
        yield server


@pytest.fixture
def feed(root: Path, request: pytest.FixtureRequest, slack: Slack) -> Iterator[FeedDir]:
    """Make an empty feed under the common spec, which is the same again afterwards."""
    slack.received.clear()
    made = FeedDir(root / "feed.yaml", root / request.node.name / "data")
    made.landing_dir.mkdir(parents=True)
    (made.data_dir / "customers.csv").write_text(CUSTOMERS, encoding="utf-8")
    yield made
    made.write_spec(**SPEC)


def log_of(airflow: Airflow, outcome: RunOutcome, task: str) -> list[tuple[str, str]]:
    """Return level and text of each line in the log of a task, as its page in the browser asks for it."""
    path = f"{RUNS}/{quote(outcome.run_id, safe='')}/taskInstances/{task}"
    log = airflow.call("GET", f"{path}/logs/{outcome.tasks[task].try_number}?full_content=true")
    return [(event.get("level") or "", event["event"]) for event in log["content"]]


def errors(airflow: Airflow, outcome: RunOutcome, task: str) -> list[str]:
    return [text for level, text in log_of(airflow, outcome, task) if level == "error" and text != "Task exited"]


def command(line: str) -> str:
    """Run a command of a message; return what it prints."""
    program, *args = shlex.split(line)
    assert program == "fanfold"
    whole = [sys.executable, "-m", "fanfold", *args]
    return subprocess.run(whole, check=True, capture_output=True, text=True).stdout


def in_data(feed: FeedDir, ts: str) -> Any:
    return json.loads((feed.data_dir / ".fanfold" / "runs" / f"{ts}.json").read_bytes())


def ts_of(outcome: RunOutcome) -> str:
    return format_ts(parse_ts(outcome.execution_time))


def parsed(airflow: Airflow, feed: FeedDir) -> None:
    """Wait until Airflow's DAG is that of the spec: a DAG that was parsed with another one may have no callback."""
    until, spec = time.monotonic() + PATIENCE_SECONDS, feed.spec_path.read_text(encoding="utf-8")
    while spec not in (known := airflow.call("GET", "/dags/feed/details"))["doc_md"] and time.monotonic() < until:
        airflow.call("PUT", f"/parseDagFile/{known['file_token']}")
        time.sleep(2)
    assert spec in known["doc_md"]


def told(slack: Slack, word: str) -> list[str]:
    """Wait until Slack was told something; return all that it was told."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not any(word in one["text"] for one in slack.received) and time.monotonic() < until:
        time.sleep(0.1)
    return [one["text"] for one in slack.received]


def test_the_message_alone_mends_a_bad_file(airflow: Airflow, feed: FeedDir, slack: Slack) -> None:
    """Short lines say what is wrong, where and what next; that, done in a shell and the browser, is enough."""
    parsed(airflow, feed)
    feed.land("a.json", [GOOD, 7])
    outcome = run(airflow, feed.data_dir)
    lines, ts = errors(airflow, outcome, "subdir_1.merge_data"), ts_of(outcome)
    assert "found 1 bad record of 2, expected at most 10 % (quarantine.max_bad_records_percent)" in " ".join(
        map(str.strip, lines)
    )
    assert all(len(line) <= 84 or str(feed.data_dir) in line or "fanfold " in line for line in lines), lines
    (way,) = (line for line in lines if line.startswith("- if a file is wrong: "))
    after = " ".join(map(str.strip, lines[lines.index(way) :]))
    (folder,) = re.findall(r"correct it in '([^']+)'", after)
    assert folder == str(feed.data_dir / "staging" / ts / "1")
    assert f"fanfold release {feed.spec_path} --data-dir {feed.data_dir} {ts}" in [line.strip() for line in lines]
    (post,) = told(slack, "failed")
    assert post.startswith(f"Fanfold: feed feed, run {ts}: failed: merge_data of subdirectory 1: ")
    Path(folder, "a.json").write_text(json.dumps([GOOD]))
    assert "and clear merge_data of its group with its downstream tasks" in after
    clear(airflow, outcome.run_id, ["subdir_1.merge_data"], downstream=True)
    again = ended(airflow, outcome.run_id)
    assert again.state == "success", again.errors
    assert in_data(feed, ts)["summary"]["rows_out"] == 1


def test_what_a_bad_spec_stopped_the_next_dag_run_finishes(airflow: Airflow, feed: FeedDir) -> None:
    """Run 1 fails for a bad spec; mended, run 2 completes both, each with an Asset event; cleared, run 1 is green."""
    feed.write_spec(**SPEC | {"denormalize": {"explode": ["itms"]}})
    feed.land("a.json", [GOOD])
    first = run(airflow, feed.data_dir)
    assert states(first)["create_dynamic_taskgroups"] == "failed"
    assert "- or correct it and wait: the next DAG run goes on with this run" in errors(
        airflow, first, "create_dynamic_taskgroups"
    )
    feed.write_spec(**SPEC)
    feed.land("b.json", [GOOD])
    second = run(airflow, feed.data_dir)
    assert second.state == "success", second.errors
    for outcome in (first, second):
        assert in_data(feed, ts_of(outcome))["summary"]["rows_out"] == 1
    uris = {event["extra"]["uri"] for event in asset_events(airflow, second)}
    assert uris == {(feed.data_dir / "denormalized" / ts_of(outcome)).as_uri() for outcome in (first, second)}
    log = log_of(airflow, second, "start")
    assert ("warning", f"run {ts_of(first)} was left unfinished: this DAG run resumes it") in log
    assert any(text.startswith("proof: verified: 1 file in") for _, text in log)
    before = tree(feed.data_dir)
    clear(airflow, first.run_id, ["create_dynamic_taskgroups"], downstream=True)
    assert ended(airflow, first.run_id).state == "success"
    assert tree(feed.data_dir) == before


def test_without_a_new_file_too_an_unfinished_run_is_finished(airflow: Airflow, feed: FeedDir) -> None:
    """A run that was only staged is finished by a DAG run that has no file of its own, and is skipped."""
    staged(feed, {"a.json": [GOOD]})
    outcome = run(airflow, feed.data_dir)
    assert (outcome.state, states(outcome)["check_for_files"]) == ("success", "skipped")
    assert in_data(feed, TS)["summary"]["rows_out"] == 1
    assert len(asset_events(airflow, outcome)) == 1


def test_a_run_that_fails_again_holds_up_nobody(airflow: Airflow, feed: FeedDir) -> None:
    """An unfinished run that turns out to be bad stays so, with a line in the log of start; the new one is good."""
    staged(feed, {"a.json": [GOOD, 7]})
    feed.land("b.json", [GOOD])
    outcome = run(airflow, feed.data_dir)
    assert outcome.state == "success", outcome.errors
    assert runs.unfinished(opened(feed)) == [TS]
    warnings = " ".join(text.strip() for level, text in log_of(airflow, outcome, "start") if level == "warning")
    assert re.search(rf"\brun {TS} stays unfinished: .*max_bad_records", warnings)


def test_a_live_dag_run_is_not_disturbed(airflow: Airflow, feed: FeedDir) -> None:
    """While another DAG run is active, whose run it may be, nothing is finished for it; a DAG run after it does so."""
    staged(feed, {"a.json": [GOOD]})
    feed.write_spec(**SPEC | {"input": {"wait_seconds": 600, "poll_seconds": 1}})
    other = feed.data_dir.with_name("other")
    (other / "transactions").mkdir(parents=True)
    (other / "customers.csv").write_text(CUSTOMERS)
    conf = {"data_dir": str(other)}
    waits = airflow.call("POST", RUNS, {"logical_date": None, "conf": conf})["dag_run_id"]
    path = f"{RUNS}/{quote(waits, safe='')}/taskInstances/check_for_files"
    while airflow.call("GET", path)["state"] != "up_for_reschedule":
        time.sleep(0.2)
    feed.write_spec(**SPEC)
    outcome = run(airflow, feed.data_dir)
    assert runs.unfinished(opened(feed)) == [TS]
    said = " ".join(text.strip() for _, text in log_of(airflow, outcome, "start"))
    assert f"left to the other active DAG runs: {TS}" in said
    assert ended(airflow, waits).state == "success"
    run(airflow, feed.data_dir)
    assert runs.unfinished(opened(feed)) == []


def test_killed_while_it_finishes_another_run_start_is_tried_again(airflow: Airflow, feed: FeedDir) -> None:
    """kill -9 of start, in the middle of a run that it finishes: the retry ends it, with each record once."""
    records = [{**GOOD, "id": n} for n in range(60_000)]
    staged(feed, {f"{n}.json": records[n::4] for n in range(4)})

    def kill() -> None:
        driver = feed.data_dir / "staging" / TS / ".fanfold" / "driver"
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                if list(driver.parent.glob("*/progress.json")) and (
                    owner := re.search(r"process (\d+)", driver.read_text())
                ):
                    os.kill(int(owner[1]), signal.SIGKILL)
                    return
            time.sleep(0.002)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    outcome = run(airflow, feed.data_dir)
    killer.join()
    assert outcome.state == "success", outcome.errors
    assert outcome.tasks["start"].try_number == 2
    rows = [
        row for table in feed.data_dir.glob(f"denormalized/{TS}/*.csv") for row in table.read_text().splitlines()[1:]
    ]
    assert sorted(int(row.partition(",")[0]) for row in rows) == list(range(60_000))
    assert runs.unfinished(opened(feed)) == []


def test_a_green_run_with_quarantine_says_so(airflow: Airflow, feed: FeedDir, slack: Slack) -> None:
    """verify_run logs and returns proof, counts, paths and codes; event and Slack have them; the command works."""
    feed.write_spec(**SPEC | {"quarantine": {"max_bad_records_percent": 90}})
    feed.land("a.json", [GOOD, 7, "x"])
    feed.land("b.json", [GOOD])
    feed.land("c.json", "no JSON")
    outcome = run(airflow, feed.data_dir)
    assert outcome.state == "success", outcome.errors
    ts, log = ts_of(outcome), log_of(airflow, outcome, "verify_run")
    said, asked, listing = (text for level, text in log if level == "warning" and "operator_helpers" not in text)
    assert (said, asked) == ("in quarantine: 3 (not_an_object 2, syntax 1);", "to list them:")
    assert len(command(listing).splitlines()) == 3
    path = f"{RUNS}/{quote(outcome.run_id, safe='')}/taskInstances/verify_run/xcomEntries/return_value"
    returned = airflow.call("GET", f"{path}?deserialize=true")["value"]
    counts = {key: value for key, value in in_data(feed, ts)["summary"].items() if isinstance(value, int | str)}
    assert returned == {
        "proof": "verified: 3 files in = 2 archived + 1 quarantined; 4 records in = 2 published + 2 quarantined, "
        "as 2 rows (1 file made none): nothing lost, nothing twice",
        **counts,
        "output": str(feed.data_dir / "denormalized" / ts),
        "manifest": str(feed.data_dir / ".fanfold" / "runs" / f"{ts}.json"),
        "quarantine": str(feed.data_dir / "quarantine" / ts),
        "quarantined": {"not_an_object": 2, "syntax": 1},
    }
    page = " ".join(text.strip() for level, text in log if level == "info")
    assert returned["proof"] in page
    for key in ("output", "manifest", "quarantine"):
        assert Path(returned[key]).exists()
        assert f"{key}: {returned[key]}" in page
    (event,) = asset_events(airflow, outcome)
    assert event["extra"] == {"uri": Path(returned["output"]).as_uri(), **returned}
    assert told(slack, ts) == [f"Fanfold: feed feed, run {ts}: complete; {said.rstrip(';')}"]


def test_a_run_without_rows_has_no_asset_event(airflow: Airflow, feed: FeedDir) -> None:
    """Where all files are duplicates or have no records, the run is green, and nobody is told of an output."""
    feed.write_spec(**SPEC | {"input": {**SPEC["input"], "duplicates": "archive"}})
    feed.land("a.json", [GOOD])
    assert len(asset_events(airflow, run(airflow, feed.data_dir))) == 1
    feed.land("b.json", [GOOD])
    feed.land("c.json", "[]")
    outcome = run(airflow, feed.data_dir)
    assert outcome.state == "success", outcome.errors
    assert in_data(feed, ts_of(outcome))["summary"]["rows_out"] == 0
    assert asset_events(airflow, outcome) == []
    assert ("info", "no Asset event is emitted: the run has no rows") in log_of(airflow, outcome, "verify_run")


def test_drift_is_in_the_log_and_the_event_and_fails_where_asked(airflow: Airflow, feed: FeedDir) -> None:
    """A new column is told by create_dynamic_taskgroups and by the event; under fail it stops the run, until mended."""
    feed.land("a.json", [GOOD])
    assert run(airflow, feed.data_dir).state == "success"
    feed.land("b.json", [{**GOOD, "coupon": "c"}])
    feed.write_spec(**SPEC | {"input": {**SPEC["input"], "on_drift": "fail"}})
    outcome = run(airflow, feed.data_dir)
    assert {task for task, state in states(outcome).items() if state == "failed"} == {"create_dynamic_taskgroups"}
    assert "added coupon" in outcome.errors["create_dynamic_taskgroups"]
    feed.write_spec(**SPEC)
    clear(airflow, outcome.run_id, ["create_dynamic_taskgroups"], downstream=True)
    again = ended(airflow, outcome.run_id)
    assert again.state == "success", again.errors
    assert any(
        level == "warning" and "added coupon" in text
        for level, text in log_of(airflow, again, "create_dynamic_taskgroups")
    )
    (event,) = asset_events(airflow, again)
    assert event["extra"]["drift"]["added"] == ["coupon"]


@pytest.mark.parametrize(
    "notify", [{"slack_conn_id": None}, {"slack_conn_id": "nowhere"}, {"slack_conn_id": "slack", "on": []}]
)
def test_with_nobody_to_tell_the_branch_skips(
    airflow: Airflow, feed: FeedDir, slack: Slack, notify: dict[str, Any]
) -> None:
    """Without a connection, with one that is not there, or nothing to tell: skip_notification; one warning at most."""
    feed.write_spec(**SPEC | {"notify": notify})
    for n in range(3):
        feed.land(f"{n}.json", [GOOD])
    outcome = run(airflow, feed.data_dir)
    assert (outcome.state, states(outcome)["file_check_operations.skip_notification"]) == ("success", "success")
    warned = [
        t
        for _, t in log_of(airflow, outcome, "file_check_operations.multiple_files_check")
        if "no message is sent" in t
    ]
    assert len(warned) == (notify["slack_conn_id"] == "nowhere")
    assert slack.received == []


def test_a_red_run_that_is_complete_is_told_with_its_reason(airflow: Airflow, feed: FeedDir, slack: Slack) -> None:
    """Where no record is good, Slack has the reason once, and the command in the log lists what it is."""
    parsed(airflow, feed)
    feed.land("a.json", "Internal Server Error")
    outcome = run(airflow, feed.data_dir)
    assert outcome.state == "failed"
    (post,) = told(slack, "failed")
    assert "no record is good: 1 of 1 file" in post
    assert str(verdict_of(feed.data_dir, ts_of(outcome))) in post
    listing = errors(airflow, outcome, "verify_run")[-1].strip()
    assert "Internal" not in listing
    assert command(listing).startswith(f"{ts_of(outcome)}/1/a.json open: ")


def opened(feed: FeedDir) -> Any:
    return runs.open_feed(feed.spec_path, feed.data_dir)


def staged(feed: FeedDir, files: dict[str, list[Any]]) -> None:
    """Leave a run behind that has claimed its files, and gone no further."""
    from fanfold.steps.stage_files import stage_files

    for name, content in files.items():
        feed.land(name, content)
    assert stage_files(opened(feed), TS) == len(files)
