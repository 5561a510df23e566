"""What the log of a red task has below the reason, and what becomes of the task."""

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fanfold.airflow.embedded.client import Airflow, RunOutcome
from fanfold.airflow.embedded.server import embedded_airflow
from fanfold.feed import lease, runs, status
from fanfold.steps.create_dynamic_taskgroups import create_dynamic_taskgroups
from fanfold.steps.stage_files import stage_files
from tests.conftest import PATIENCE_SECONDS, TS, FeedDir, needs_root
from tests.test_airflow import RUNS, ended

pytestmark = pytest.mark.slow

SPEC: dict[str, Any] = {
    "subdirs": 1,
    "merge": [],
    "denormalize": {"explode": []},
    "input": {"wait_seconds": 1, "poll_seconds": 1},
}
DAGS = """
from datetime import timedelta
from airflow.sdk import dag, task
from fanfold.airflow import feed_dag
from fanfold.airflow.tasks import TASK_DEFAULTS, FeedTasks

def tell(context):
    print("told:", context["exception"])

soon = {{"retry_delay": timedelta(seconds=1)}}
feed = feed_dag({spec!r}, default_args=soon | {{"on_failure_callback": tell}})
feed_dag({spec!r}, dag_id="own_policy", default_args=soon | {{"retry_policy": None}})

@dag(default_args=TASK_DEFAULTS | soon | {{"retries": 1}})
def broken():
    @task
    def list_files():
        FeedTasks({spec!r}).list_files(7, "2026-01-02")
    list_files()

broken()

@dag(default_args=TASK_DEFAULTS | soon)
def soft():
    def looks(task_id, data_dir, **options):
        @task.sensor(task_id=task_id, mode="reschedule", **options)
        def check_for_files():
            return FeedTasks({spec!r}).check_for_files(data_dir, "2026-01-02")
        check_for_files()
    looks("soft_fail", "/", soft_fail=True)
    looks("never_fail", "/", never_fail=True)
    looks("waits", {data_dir!r}, never_fail=True)

soft()

if __name__ == "__main__":
    run = feed.test(run_conf={{"data_dir": {data_dir!r}}})
    tasks = {{one.task_id: (str(one.state), one.try_number) for one in run.get_task_instances()}}
    print((str(run.state), tasks["subdir_1.merge_data"], tasks["verify_run"]))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Name the folder that all feeds of this module lie in."""
    folder = tmp_path_factory.mktemp("red_task")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FANFOLD_ALLOWED_ROOTS", str(folder))
        yield folder


@pytest.fixture(scope="module")
def dag_file(root: Path) -> Path:
    """Write a DAG file with the DAG of a feed, one with another retry policy, and one that fails by itself."""
    feed = FeedDir(root / "feed.yaml", root / "data")
    feed.write_spec(**SPEC)
    feed.landing_dir.mkdir(parents=True)
    path = root / "dags" / "feed.py"
    path.parent.mkdir()
    path.write_text(DAGS.format(spec=str(feed.spec_path), data_dir=str(feed.data_dir)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def airflow(root: Path, dag_file: Path) -> Iterator[Airflow]:
    """Start one Airflow for all tests of this module."""
    with embedded_airflow(root / "home", [dag_file]) as server:
        yield server


@pytest.fixture
def feed(root: Path, request: pytest.FixtureRequest) -> FeedDir:
    """Make an empty feed under the common spec."""
    made = FeedDir(root / "feed.yaml", root / request.node.name / "data")
    made.landing_dir.mkdir(parents=True)
    return made


def run(airflow: Airflow, feed: FeedDir, dag_id: str = "feed") -> RunOutcome:
    return airflow.run_once(dag_id, {"data_dir": str(feed.data_dir)}, lambda _: None)


def log_of(airflow: Airflow, run_id: str, task: str, attempt: int, dag_id: str = "feed") -> list[dict[str, Any]]:
    """Return the log of one try of a task, as its page in the browser asks for it."""
    path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task}/logs/{attempt}"
    content: list[dict[str, Any]] = airflow.call("GET", f"{path}?full_content=true")["content"]
    return content


def errors(log: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a log that say what is wrong; a traceback is none of them."""
    assert not any("error_detail" in line or "Traceback" in line["event"] for line in log)
    *told, last = [line["event"] for line in log if line.get("level") == "error"]
    assert last == "Task exited"
    return told


def test_bad_data_ends_in_the_reason_without_a_traceback(airflow: Airflow, feed: FeedDir) -> None:
    """merge_data fails after one try; its log has what, where and what next, no traceback; callbacks get the reason."""
    feed.land("a.json", '[{"id": 1}, 7]')
    outcome = run(airflow, feed)
    failed = outcome.tasks["subdir_1.merge_data"]
    assert (outcome.state, failed.state, failed.try_number) == ("failed", "failed", 1)
    log = log_of(airflow, outcome.run_id, "subdir_1.merge_data", 1)
    told = errors(log)
    assert any(line["event"].startswith("told: staging/") for line in log)
    assert "found 1 bad record of 2" in told[0]
    assert told[-1].startswith("    fanfold release ")
    assert outcome.errors["subdir_1.merge_data"] == " ".join(" ".join(told).split())


def test_a_verdict_ends_in_the_reason_without_a_traceback(airflow: Airflow, feed: FeedDir) -> None:
    """verify_run of a run in which no record is good fails after one try, and its log has no traceback."""
    feed.land("a.json", "Internal Server Error")
    outcome = run(airflow, feed)
    failed = outcome.tasks["verify_run"]
    assert (failed.state, failed.try_number) == ("failed", 1)
    told = errors(log_of(airflow, outcome.run_id, "verify_run", 1))
    assert "no record is good" in " ".join(told)
    assert told[-1].startswith("    fanfold quarantine list ")


def tried_again(airflow: Airflow, feed: FeedDir, task: str) -> str:
    """Trigger a run, and wait until a task is to be tried again; return the id of the DAG run."""
    airflow.call("PATCH", "/dags/feed", {"is_paused": False})
    conf = {"data_dir": str(feed.data_dir)}
    made: str = airflow.call("POST", RUNS, {"logical_date": "2026-01-02T03:04:05Z", "conf": conf})["dag_run_id"]
    path, until = f"{RUNS}/{quote(made, safe='')}/taskInstances/{task}", time.monotonic() + PATIENCE_SECONDS
    while airflow.call("GET", path)["state"] != "up_for_retry":
        assert time.monotonic() < until
        time.sleep(0.1)
    return made


def ends_well(airflow: Airflow, run_id: str, task: str) -> None:
    """Check that a run ends well, by as many retries of a task as it takes, and forget it."""
    outcome = ended(airflow, run_id)
    assert outcome.state == "success", outcome.errors
    assert outcome.tasks[task].try_number > 1
    airflow.call("DELETE", f"{RUNS}/{quote(run_id, safe='')}")


def test_trouble_that_may_go_away_is_told_without_a_traceback_and_retried(airflow: Airflow, feed: FeedDir) -> None:
    """A group that another process works on fails for now: its log says so in short lines; the next try ends well."""
    feed.land("a.json", [{"id": 1}])
    opened = runs.open_feed(feed.spec_path, feed.data_dir)
    assert stage_files(opened, TS) == 1
    create_dynamic_taskgroups(feed.data_dir, TS, 1)
    with lease.hold(opened.run(TS).group(1).lease_path, does="a test"):
        made = tried_again(airflow, feed, "subdir_1.merge_data")
    told = errors(log_of(airflow, made, "subdir_1.merge_data", 1))
    assert "is locked by a test in process" in " ".join(told)
    assert told[-2:] == ["What to do:", "- correct the cause. Airflow tries this task again by itself"]
    ends_well(airflow, made, "subdir_1.merge_data")


@needs_root
def test_on_a_full_disk_status_says_why_until_a_retry_ends_well(airflow: Airflow, feed: FeedDir) -> None:
    """The log of the task and `fanfold status` say that the disk is full; with room, a retry clears the reason."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", feed.data_dir], check=True)
    try:
        feed.land("a.json", [{"id": n, "text": "x" * 50} for n in range(2_600)])
        made = tried_again(airflow, feed, "subdir_1.denormalize_data")
        told = errors(log_of(airflow, made, "subdir_1.denormalize_data", 1))
        opened = runs.open_feed(feed.spec_path, feed.data_dir)
        (table,) = opened.run(TS).group(1).output_paths
        why = f"No space left on device: {str(table)!r}"
        assert f"{why} (attempt 1 of 4);" in " ".join(map(str.strip, told))
        assert [(one.step, one.message) for one in status.status_of(opened, TS).failed] == [("denormalize_data", why)]
        subprocess.run(["mount", "-o", "remount,size=64m", feed.data_dir], check=True)
        ends_well(airflow, made, "subdir_1.denormalize_data")
        assert [(one.ts, one.state, one.failed) for one in status.status(opened)] == [(TS, "complete", [])]
    finally:
        subprocess.run(["umount", feed.data_dir], check=True)


def test_where_a_dag_has_another_retry_policy_bad_data_still_fails_at_once(airflow: Airflow, feed: FeedDir) -> None:
    """With the retry policy replaced, Airflow adds its traceback, and the task is not retried either."""
    feed.land("a.json", '[{"id": 1}, 7]')
    outcome = run(airflow, feed, "own_policy")
    failed = outcome.tasks["subdir_1.merge_data"]
    assert (failed.state, failed.try_number) == ("failed", 1)
    log = log_of(airflow, outcome.run_id, "subdir_1.merge_data", 1, "own_policy")
    assert [one["exc_type"] for line in log for one in line.get("error_detail", ())] == ["AirflowFailException"]
    assert outcome.errors["subdir_1.merge_data"].startswith("staging/")


def test_a_sensor_that_is_to_skip_where_it_fails_does(airflow: Airflow) -> None:
    """With `soft_fail` or `never_fail` the sensor is skipped, and its log says why; it waits for files all the same."""
    outcome = airflow.run_once("soft", {}, lambda _: None)
    assert {name: one.state for name, one in outcome.tasks.items()} == dict.fromkeys(
        ("soft_fail", "never_fail", "waits"), "skipped"
    )
    for name in ("soft_fail", "never_fail"):
        log = log_of(airflow, outcome.run_id, name, 1, "soft")
        assert not any("error_detail" in line for line in log)
        assert any("outside" in line["event"] for line in log if line.get("level") == "error")
    log = log_of(airflow, outcome.run_id, "waits", 1, "soft")
    assert any("waited for 1.0 s" in line.get("reason", "") for line in log)


def test_an_error_that_nobody_explained_keeps_its_traceback(airflow: Airflow) -> None:
    """What is neither of the data nor of the system travels untouched: Airflow shows its traceback, and retries."""
    outcome = airflow.run_once("broken", {}, lambda _: None)
    assert outcome.tasks["list_files"].try_number == 2
    log = log_of(airflow, outcome.run_id, "list_files", 1, "broken")
    (detail,) = [line["error_detail"][0] for line in log if line.get("error_detail")]
    assert detail["exc_type"] in {"TypeError", "AttributeError"}
    assert any("fanfold" in frame["filename"] for frame in detail["frames"])


def test_dag_test_returns_a_failed_dag_run(root: Path, dag_file: Path) -> None:
    """dag.test() is not ended by a task that fails: it returns a failed DAG run, whose log has the reason."""
    FeedDir(root / "feed.yaml", root / "data").land("a.json", '[{"id": 1}, 7]')
    environ = os.environ | {
        "AIRFLOW_HOME": str(root / "dag_test"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dag_file.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }

    def python(*args: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, *args]
        return subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )

    assert python("-m", "airflow", "db", "migrate").returncode == 0
    done = python(str(dag_file))
    assert done.returncode == 0, done.stderr
    *log, last = done.stdout.splitlines()
    assert ast.literal_eval(last) == ("failed", ("failed", 1), ("upstream_failed", 0))
    assert "found 1 bad record of 2" in "".join(log) + done.stderr
