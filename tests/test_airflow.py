"""Real runs on a real Airflow: SQLite, every task a process of its own."""

import contextlib
import http.server
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from fanfold.airflow.embedded.client import Airflow, RunOutcome
from fanfold.airflow.embedded.errors import ServerError
from fanfold.airflow.embedded.server import embedded_airflow
from fanfold.airflow.try_out import feed_airflow
from fanfold.layout import format_ts, parse_ts
from fanfold.steps.stage_files import stage_files
from fanfold.steps.start import start
from tests.conftest import CUSTOMERS, PATIENCE_SECONDS, FeedDir, tree

pytestmark = pytest.mark.slow

FEED = """
from datetime import timedelta
from pathlib import Path
from fanfold.airflow import feed_dag
feed_dag(Path({spec!r}), default_args={{"retries": 3, "retry_delay": timedelta(seconds=1)}})
"""
GROUPS_INSIDE_A_TASK = """
from airflow.sdk import TaskGroup, dag, task

@dag(schedule=None)
def groups_inside_a_task():
    @task
    def create_dynamic_taskgroups():
        for n in range(1, 6):
            with TaskGroup(f"subdir_{n}"):
                pass
    create_dynamic_taskgroups()

groups_inside_a_task()
"""
SPEC: dict[str, Any] = {
    "subdirs": 5,
    "concurrent_tasks": 5,
    "notify": {"slack_conn_id": "slack"},
    "input": {"wait_seconds": 1, "poll_seconds": 1},
}
AFTER_THE_SENSOR = 23
STEPS = ("merge_data", "denormalize_data", "archive_files")


class Slack(http.server.ThreadingHTTPServer):
    """A stand-in for Slack: answers with `status`, or never; keeps what it was sent."""

    status: int | None = 200

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), SlackHandler)
        self.received: list[dict[str, Any]] = []


class SlackHandler(http.server.BaseHTTPRequestHandler):
    """One request to the stand-in."""

    server: Slack

    def do_POST(self) -> None:
        """Keep the message, and answer."""
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if self.server.status is None:
            time.sleep(20)
            return
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture(scope="module")
def slack() -> Iterator[Slack]:
    """Start the stand-in for Slack."""
    with Slack() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name the folder that all feeds of this module lie in."""
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def airflow(root: Path, slack: Slack) -> Iterator[Airflow]:
    """Start one Airflow for all tests of this module; each test gives its run a `data_dir` of its own."""
    feed = FeedDir(root / "feed.yaml", root / "data")
    feed.write_spec(**SPEC)
    dag_file = root / "feed.py"
    dag_file.write_text(FEED.format(spec=str(feed.spec_path)), encoding="utf-8")
    inside = root / "groups_inside_a_task.py"
    inside.write_text(GROUPS_INSIDE_A_TASK, encoding="utf-8")
    host, port = slack.server_address[:2]
    connection = {"conn_type": "slackwebhook", "host": f"http://{host!s}:{port}", "password": "T000/B000/secret"}
    environ = {"FANFOLD_ALLOWED_ROOTS": str(root), "AIRFLOW_CONN_SLACK": json.dumps(connection)}
    with embedded_airflow(root / "home", [dag_file, inside], environ=environ) as server:
        yield server


@pytest.fixture
def feed(root: Path, request: pytest.FixtureRequest, slack: Slack) -> FeedDir:
    """Make an empty feed under the common spec."""
    slack.status = 200
    slack.received.clear()
    made = FeedDir(root / "feed.yaml", root / request.node.name / "data")
    made.landing_dir.mkdir(parents=True)
    (made.data_dir / "customers.csv").write_text(CUSTOMERS, encoding="utf-8")
    return made


def land(feed: FeedDir, files: int) -> None:
    for n in range(files):
        records = [{"id": f"{n}-{k}", "customer_id": "007", "items": [{"qty": k}] * k} for k in range(3)]
        feed.land(f"{n}.json", records)


def run(airflow: Airflow, data_dir: Path | str) -> RunOutcome:
    return airflow.run_once("feed", {"data_dir": str(data_dir)}, lambda _: None)


def states(outcome: RunOutcome) -> dict[str, str | None]:
    return {task_id: task.state for task_id, task in outcome.tasks.items()}


RUNS = "/dags/feed/dagRuns"


def clear(airflow: Airflow, run_id: str, tasks: list[str], *, downstream: bool = False) -> None:
    """Clear some tasks of a run, as a person does in the UI."""
    what = {"dag_run_id": run_id, "task_ids": tasks, "include_downstream": downstream}
    airflow.call("POST", "/dags/feed/clearTaskInstances", what | {"dry_run": False, "only_failed": False})


def mark(airflow: Airflow, run_id: str, task: str, state: str) -> None:
    """Mark one task of a run by hand, as a person does in the UI."""
    airflow.call("PATCH", f"{RUNS}/{quote(run_id)}/taskInstances/{task}", {"new_state": state})


def ended(airflow: Airflow, run_id: str) -> RunOutcome:
    return airflow.follow("feed", run_id, lambda _: None)


def said_in(logs: Iterable[Path]) -> str:
    """Return what logs say, the lines of a message joined again."""
    lines = (json.loads(line) for path in logs for line in path.read_text(encoding="utf-8").splitlines())
    return " ".join(" ".join(line["event"].split()) for line in lines)


def trigger(airflow: Airflow, feed: FeedDir, logical_date: str) -> RunOutcome:
    conf = {"data_dir": str(feed.data_dir)}
    airflow.call("PATCH", "/dags/feed", {"is_paused": False})
    made = airflow.call("POST", RUNS, {"logical_date": logical_date, "conf": conf})
    return ended(airflow, made["dag_run_id"])


def asset_events(airflow: Airflow, outcome: RunOutcome) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = airflow.call("GET", f"/assets/events?source_run_id={quote(outcome.run_id)}")[
        "asset_events"
    ]
    return events


def run_broken(airflow: Airflow, feed: FeedDir, n: int, logical_date: str) -> RunOutcome:
    """Do a DAG run whose files are staged, and that of a group is taken away: a directory of its name is there."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FANFOLD_ALLOWED_ROOTS", str(feed.spec_path.parent))
        stage_files(start(feed.spec_path, feed.data_dir), logical_date)
    (staged,) = feed.data_dir.glob(f"staging/*/{n}/*.json")
    staged.rename(feed.data_dir / "saved")
    staged.mkdir()
    return trigger(airflow, feed, logical_date)


def mend_group(feed: FeedDir, n: int) -> None:
    (broken,) = feed.data_dir.glob(f"staging/*/{n}/*.json")
    broken.rmdir()
    (feed.data_dir / "saved").rename(broken)


def test_seven_files_all_groups_green_and_the_tree_of_fanfold_run(
    airflow: Airflow, feed: FeedDir, slack: Slack, root: Path, tmp_path: Path
) -> None:
    """Seven files lie as 2, 2, 1, 1, 1, all is green, the tree that of `fanfold run`; cleared as a whole, it stays."""
    land(feed, 7)
    copy = shutil.copytree(feed.data_dir, tmp_path / "data")
    outcome = run(airflow, feed.data_dir)
    skipped = {task for task, state in states(outcome).items() if state != "success"}
    assert (outcome.state, skipped) == ("success", {"file_check_operations.skip_notification"})
    ts = format_ts(parse_ts(outcome.execution_time))
    local = [sys.executable, "-m", "fanfold", "run", str(feed.spec_path), "--data-dir", str(copy), "--ts", ts, "--json"]
    environ = {"FANFOLD_ALLOWED_ROOTS": str(tmp_path)}
    summary = json.loads(subprocess.check_output(local, env=environ))
    assert [subdir["files"] for subdir in summary["subdirs"].values()] == [2, 2, 1, 1, 1]
    assert tree(copy) == tree(feed.data_dir)
    assert len(slack.received) == 1
    assert "7 files" in slack.received[0]["text"]
    assert ts in slack.received[0]["text"]
    (event,) = asset_events(airflow, outcome)
    # What lies in landing is none of the run's counts.
    others = {"files_ignored", "files_waiting"}
    counts = {key: value for key, value in summary.items() if isinstance(value, int | str) and key not in others}
    assert counts.items() <= event["extra"].items()
    assert event["extra"]["uri"] == (feed.data_dir / "denormalized" / ts).as_uri()
    assert event["uri"] == (feed.data_dir / "denormalized").as_uri()
    logs = (root / "home" / "logs").rglob(f"*{outcome.run_id}*/*verify_run*/*.log")
    log = said_in(logs)
    assert "verified: 7 files in = 7 archived + 0 quarantined; 21 records in = 21 published" in log
    assert f"output: {feed.data_dir / 'denormalized' / ts}" in log
    clear(airflow, outcome.run_id, sorted(outcome.tasks))
    again = ended(airflow, outcome.run_id)
    assert (again.state, states(again)) == (outcome.state, states(outcome))
    assert again.tasks["verify_run"].try_number == 2
    assert tree(copy) == tree(feed.data_dir)


def test_three_files_leave_two_groups_skipped(airflow: Airflow, feed: FeedDir) -> None:
    """Groups without a file are skipped; all others and verify_run succeed, and so does the run."""
    land(feed, 3)
    outcome = run(airflow, feed.data_dir)
    skipped = {task for task, state in states(outcome).items() if state == "skipped"}
    assert skipped == {
        "file_check_operations.skip_notification",
        *(f"subdir_{n}.{step}" for n in (4, 5) for step in STEPS),
    }
    assert outcome.state == "success", outcome.errors
    assert states(outcome)["verify_run"] == "success"


def test_no_file_skips_everything_after_the_sensor(airflow: Airflow, feed: FeedDir) -> None:
    """Without a file within wait_seconds the rest is skipped, nothing is written, and the run succeeds."""
    before = tree(feed.data_dir)
    outcome = run(airflow, feed.data_dir)
    assert outcome.state == "success", outcome.errors
    assert [state for state in states(outcome).values() if state != "skipped"] == ["success"]
    assert sum(state == "skipped" for state in states(outcome).values()) == AFTER_THE_SENSOR + 1
    assert asset_events(airflow, outcome) == []
    assert tree(feed.data_dir) == before


def test_a_path_outside_the_roots_fails_in_start(airflow: Airflow) -> None:
    """A data_dir outside the allowed roots fails the run in its first task, and says why."""
    outcome = run(airflow, "/etc")
    assert outcome.state == "failed"
    assert states(outcome)["start"] == "failed"
    assert "outside the allowed roots" in outcome.errors["start"]
    assert set(states(outcome).values()) == {"failed", "upstream_failed"}


@pytest.mark.parametrize("status", [500, None])
def test_slack_in_trouble_costs_seconds_and_fails_nothing(
    airflow: Airflow, feed: FeedDir, slack: Slack, root: Path, status: int | None
) -> None:
    """Slack that answers 500, or never, is tried three times and then let be; no log has the webhook's secret."""
    slack.status = status
    land(feed, 2)
    outcome = run(airflow, feed.data_dir)
    assert outcome.state == "success", outcome.errors
    assert len(slack.received) == 3
    logs = list((root / "home" / "logs").rglob("*send_slack_notification*/*"))
    text = "".join(log.read_text(encoding="utf-8") for log in logs if log.is_file())
    assert "the run continues" in text
    assert "B000" not in text


def test_a_broken_file_fails_its_group_only_and_mended_the_run_ends_well(airflow: Airflow, feed: FeedDir) -> None:
    """Four groups publish beside one that fails; mended and cleared, the run ends well and the four are untouched."""
    land(feed, 5)
    outcome = run_broken(airflow, feed, 3, "2026-02-01T04:05:06Z")
    assert outcome.state == "failed"
    assert {task for task, state in states(outcome).items() if state == "failed"} == {"subdir_3.merge_data"}
    assert "is not a file in 'staging/" in outcome.errors["subdir_3.merge_data"]
    outputs = {path: path.stat() for path in feed.data_dir.glob("denormalized/*/*.csv")}
    assert len(outputs) == len(list(feed.data_dir.glob("processed/*.json"))) == 4

    mend_group(feed, 3)
    clear(airflow, outcome.run_id, ["subdir_3.merge_data"], downstream=True)
    mended = ended(airflow, outcome.run_id)
    assert mended.state == "success"
    tries = {task: state.try_number for task, state in mended.tasks.items() if state.state != "skipped"}
    again = {f"subdir_3.{step}" for step in STEPS}
    assert {task for task, number in tries.items() if number > 1} <= again | {"verify_run", "end"}
    assert tries["subdir_3.merge_data"] == 2
    for path, info in outputs.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (info.st_ino, info.st_mtime_ns)
    assert len(list(feed.data_dir.glob("denormalized/*/*.csv"))) == 5


def test_any_tasks_of_a_finished_run_cleared_in_any_order_change_nothing(airflow: Airflow, feed: FeedDir) -> None:
    """Whichever tasks are cleared, alone, downstream, or by two people at once: the run ends well, the tree stays."""
    land(feed, 7)
    outcome = run(airflow, feed.data_dir)
    assert outcome.state == "success", outcome.errors
    before = tree(feed.data_dir)
    chance = random.Random(11)
    ids = sorted(outcome.tasks)
    for downstream in (False, True):
        chosen = [chance.sample(ids, 5) for _ in range(2)]
        with ThreadPoolExecutor() as at_once:
            clears = [at_once.submit(clear, airflow, outcome.run_id, ids, downstream=downstream) for ids in chosen]
        for tasks, cleared in zip(chosen, clears, strict=True):
            # Of two clears at once Airflow may refuse one: that person tries again.
            if isinstance(cleared.exception(), ServerError):
                clear(airflow, outcome.run_id, tasks, downstream=downstream)
        again = ended(airflow, outcome.run_id)
        assert again.state == "success", (chosen, again.errors)
        assert tree(feed.data_dir) == before, chosen


def test_a_task_marked_by_hand_skips_no_work(airflow: Airflow, feed: FeedDir) -> None:
    """A failed task marked successful does not let the next one publish less; mended and cleared, the run ends well."""
    land(feed, 5)
    outcome = run_broken(airflow, feed, 3, "2026-02-02T04:05:06Z")
    assert outcome.state == "failed"
    mark(airflow, outcome.run_id, "subdir_3.merge_data", "success")
    clear(airflow, outcome.run_id, ["subdir_3.denormalize_data"], downstream=True)
    again = ended(airflow, outcome.run_id)
    assert "has no merged records, expected merge_data before this step" in again.errors["subdir_3.denormalize_data"]
    assert len(list(feed.data_dir.glob("denormalized/*/*.csv"))) == 4
    mend_group(feed, 3)
    mark(airflow, outcome.run_id, "subdir_1.archive_files", "failed")
    clear(airflow, outcome.run_id, ["subdir_1.archive_files", "subdir_3.merge_data"], downstream=True)
    last = ended(airflow, outcome.run_id)
    assert last.state == "success", last.errors
    assert len(list(feed.data_dir.glob("processed/*.json"))) == 5
    assert not list(feed.data_dir.glob("staging/*"))


def test_a_dag_run_deleted_and_triggered_again_goes_on_where_it_was(airflow: Airflow, feed: FeedDir) -> None:
    """With the same logical date a new DAG run completes what the deleted one began, and changes no complete run."""
    land(feed, 5)
    logical_date = "2026-02-03T04:05:06Z"
    outcome = run_broken(airflow, feed, 2, logical_date)
    assert outcome.state == "failed"
    airflow.call("DELETE", f"{RUNS}/{quote(outcome.run_id)}")
    mend_group(feed, 2)
    outcome = trigger(airflow, feed, logical_date)
    assert outcome.state == "success", outcome.errors
    assert len(list(feed.data_dir.glob("denormalized/20260203T040506Z/*.csv"))) == 5
    before = tree(feed.data_dir)
    airflow.call("DELETE", f"{RUNS}/{quote(outcome.run_id)}")
    assert trigger(airflow, feed, logical_date).state == "success"
    assert tree(feed.data_dir) == before


def test_two_local_runs_beside_a_dag_run_put_each_file_into_one_output(
    airflow: Airflow, feed: FeedDir, root: Path
) -> None:
    """Two `fanfold run` and a DAG run at once: retries get the DAG run through, no record is a row twice."""
    land(feed, 20)
    command = [sys.executable, "-m", "fanfold", "run", str(feed.spec_path), "--data-dir", str(feed.data_dir)]
    environ = {"FANFOLD_ALLOWED_ROOTS": str(root)}
    local: list[int] = []

    def run_beside() -> None:
        while not list(feed.data_dir.glob("staging/*/1/*")):
            time.sleep(0.01)
        beside = [subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environ) for _ in range(2)]
        for number, process in enumerate(beside):
            # What lands while they work goes to any of them.
            feed.land(f"late-{number}.json", [{"id": f"late-{number}", "customer_id": "1", "items": []}])
            with process:
                local.append(process.wait(timeout=PATIENCE_SECONDS))

    thread = threading.Thread(target=run_beside, daemon=True)
    thread.start()
    outcome = run(airflow, feed.data_dir)
    thread.join()
    assert outcome.state == "success", outcome.errors
    assert set(local) <= {0, 3}
    for _ in range(3):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environ)
    assert not list(feed.data_dir.glob("staging/*"))
    lines = [line for table in feed.data_dir.glob("denormalized/*/*.csv") for line in table.read_text().split()[1:]]
    # A record of `land` has as many rows as its number says, but for the first, which has one.
    rows = [f"{n}-{k}" for n in range(20) for k in (0, 1, 2, 2)] + ["late-0", "late-1"]
    assert sorted(line.split(",")[0] for line in lines) == sorted(rows)


@contextlib.contextmanager
def other_spec(feed: FeedDir, **keys: Any) -> Iterator[None]:
    """Change the spec that all feeds of this module have, for a while."""
    feed.write_spec(**SPEC | keys)
    yield
    feed.write_spec(**SPEC)


def test_a_mended_spec_is_taken_up_by_create_dynamic_taskgroups(airflow: Airflow, feed: FeedDir) -> None:
    """Where a spec stops a run, the task says what to clear: cleared with its downstream, it takes the mended one."""
    land(feed, 2)
    with other_spec(feed, denormalize={"explode": ["itms"]}):
        outcome = run(airflow, feed.data_dir)
        assert states(outcome)["create_dynamic_taskgroups"] == "failed"
        assert "'itms' is in no record" in outcome.errors["create_dynamic_taskgroups"]
    clear(airflow, outcome.run_id, ["create_dynamic_taskgroups"], downstream=True)
    again = ended(airflow, outcome.run_id)
    assert again.state == "success", again.errors
    assert len(list(feed.data_dir.glob("processed/*.json"))) == 2


def test_a_group_stopped_by_the_spec_says_which_task_to_clear(airflow: Airflow, feed: FeedDir) -> None:
    """With nothing published, too many bad records are allowed later: create_dynamic_taskgroups takes the spec up."""
    feed.land("a.json", [{"id": 1, "customer_id": "1", "items": []}, 7])
    outcome = run(airflow, feed.data_dir)
    assert "max_bad_records_percent" in outcome.errors["subdir_1.merge_data"]
    assert "clear create_dynamic_taskgroups with its downstream" in outcome.errors["subdir_1.merge_data"]
    with other_spec(feed, quarantine={"max_bad_records_percent": 60}):
        clear(airflow, outcome.run_id, ["create_dynamic_taskgroups"], downstream=True)
        again = ended(airflow, outcome.run_id)
    assert again.state == "success", again.errors
    assert len(list(feed.data_dir.glob("quarantine/*/1/records.jsonl"))) == 1


def test_a_stuck_run_holds_up_no_later_one(airflow: Airflow, feed: FeedDir, root: Path) -> None:
    """A DAG run after one that cannot go on ends well, and its stage_files says why the other is unfinished."""
    feed.land("a.json", [{"id": 1, "customer_id": "1", "items": []}, 7])
    assert run(airflow, feed.data_dir).state == "failed"
    feed.land("b.json", [{"id": 2, "customer_id": "2", "items": []}])
    outcome = run(airflow, feed.data_dir)
    assert outcome.state == "success", outcome.errors
    logs = (root / "home" / "logs").rglob(f"*{outcome.run_id}*/*stage_files*/*.log")
    assert "is passed over: merge_data of subdirectory 1: " in said_in(logs)


def test_a_run_of_nothing_but_bad_files_is_red_and_complete(airflow: Airflow, feed: FeedDir) -> None:
    """verify_run commits the run, then fails; cleared, it says the same; the next run is held up by nothing."""
    for n in range(3):
        feed.land(f"{n}.json", f"Internal Server Error {n}")
    outcome = run(airflow, feed.data_dir)
    before = tree(feed.data_dir)
    for _ in range(2):
        assert (states(outcome)["verify_run"], states(outcome)["end"]) == ("failed", "upstream_failed")
        assert "no record is good: 3 of 3 files" in outcome.errors["verify_run"]
        assert {state for task, state in states(outcome).items() if "archive_files" in task} == {"success", "skipped"}
        assert not list(feed.data_dir.glob("staging/*"))
        clear(airflow, outcome.run_id, ["verify_run"], downstream=True)
        outcome = ended(airflow, outcome.run_id)
    assert tree(feed.data_dir) == before
    land(feed, 1)
    assert run(airflow, feed.data_dir).state == "success"


def test_a_scheduler_that_ends_is_started_again(airflow: Airflow, feed: FeedDir) -> None:
    """A scheduler killed during a run is started again, with what it had begun ended; the run ends well."""
    land(feed, 5)

    def kill_scheduler() -> None:
        while not list(feed.data_dir.glob("staging/*/1/*")):
            time.sleep(0.01)
        # -c, the program, then the component.
        components = {process.cmdline()[4]: process for process in psutil.Process().children()}
        components["scheduler"].kill()

    killer = threading.Thread(target=kill_scheduler, daemon=True)
    killer.start()
    outcome = run(airflow, feed.data_dir)
    killer.join()
    assert outcome.state == "success", outcome.errors
    assert len(list(feed.data_dir.glob("processed/*.json"))) == 5


def test_a_taskgroup_cannot_be_made_inside_a_running_task(airflow: Airflow) -> None:
    """Airflow refuses a TaskGroup inside a running task: that is why the loop stands in the DAG."""
    outcome = airflow.run_once("groups_inside_a_task", {}, lambda _: None)
    assert "TaskGroup can only be used inside a dag" in outcome.errors["create_dynamic_taskgroups"]


def test_everything_listens_on_this_machine_only(airflow: Airflow) -> None:
    """No process of the embedded Airflow listens on any address but 127.0.0.1."""
    assert airflow.url.startswith("http://127.0.0.1:")
    listening = [
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def alive(process: psutil.Process) -> bool:
    """Say that a process still runs; one that ended stays in the table until its new parent looks."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_killed_the_next_start_ends_what_was_left(root: Path) -> None:
    """After kill -9 of `fanfold airflow`, the next start, SIGTERM and Ctrl-C leave no process of any."""
    command = [sys.executable, "-m", "fanfold", "airflow", str(root / "feed.yaml"), "--home", str(root / "killed")]

    def serve() -> tuple[subprocess.Popen[str], list[psutil.Process]]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert "Airflow serves the DAG 'feed' at http://127.0.0.1:" in process.stdout.readline()
        return process, psutil.Process(process.pid).children(recursive=True)

    killed, orphans = serve()
    with killed:
        killed.kill()
    assert any(map(alive, orphans))
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        server, children = serve()
        assert not any(map(alive, orphans))
        with server:
            server.send_signal(number)
            server.wait(timeout=PATIENCE_SECONDS)
        assert server.returncode == code
        assert children
        assert not any(map(alive, children))


def test_the_dag_file_that_init_writes_is_used(tmp_path: Path) -> None:
    """NAME_dag.py beside NAME.yaml is the DAG that `fanfold airflow` runs, with what somebody has written into it."""
    feed = FeedDir(tmp_path / "shop.yaml", tmp_path / "data")
    feed.write_spec(name="shop", merge=[], denormalize={"explode": []})
    feed.landing_dir.mkdir(parents=True)
    (tmp_path / "shop_dag.py").write_text(
        "from pathlib import Path\nfrom fanfold.airflow import feed_dag\n"
        'feed_dag(Path(__file__).with_name("shop.yaml"), tags=["mine"])\n',
        encoding="utf-8",
    )
    with feed_airflow(feed.spec_path, tmp_path / "home", None) as airflow:
        tags = {tag["name"] for tag in airflow.call("GET", "/dags/shop")["tags"]}
    assert "mine" in tags
