"""Real DAG runs under `kill -9` of task processes, supervisors, workers, the scheduler: Airflow alone mends them."""

import collections
import contextlib
import csv
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from fanfold.airflow.embedded import processes
from fanfold.airflow.embedded.client import Airflow
from fanfold.airflow.embedded.server import embedded_airflow
from fanfold.airflow.try_out import PRELOAD
from fanfold.feed import runs
from fanfold.steps.recount import recount
from tests.conftest import FeedDir, new_feed
from tests.torture.killer import Killer, busy
from tests.torture.matrix import Result

DAG = """
from datetime import timedelta
from pathlib import Path
from fanfold.airflow import feed_dag
feed_dag(Path({spec!r}), default_args={{
    "retries": 1000, "retry_delay": timedelta(seconds=1), "retry_exponential_backoff": False,
}})
"""
# What Airflow notices after minutes, it notices after seconds.
ENVIRON = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "8",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES": "1000",
    "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
}
# A supervisor is the worker that runs the task; killed alone, it leaves a task that nobody hears any more.
KINDS = {"task": 60, "supervisor": 20, "worker with its task": 12, "scheduler": 8}
STANDSTILL_SECONDS = 300
FILES, RECORDS = 12, 20


def schedulers() -> list[psutil.Process]:
    """Return the process of the scheduler, unless it has just ended."""
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            # -P, -c, the program, then the component.
            if process.cmdline()[4:5] == ["scheduler"]:
                found.append(process)
    return found


class Embedded:
    """What can be killed of the embedded Airflow."""

    kinds = KINDS

    @staticmethod
    def supervisors() -> list[psutil.Process]:
        """Return the processes that run a task now, as the parents of their tasks."""
        return busy(schedulers())

    @staticmethod
    def kill(kind: str, supervisor: psutil.Process, task: int) -> None:
        """Kill what `kind` says of a task that runs."""
        if kind == "scheduler":
            # With the next request the server starts it again.
            for scheduler in schedulers():
                scheduler.kill()
        if kind in {"supervisor", "worker with its task"}:
            supervisor.kill()
        if kind in {"task", "worker with its task"}:
            os.kill(task, signal.SIGKILL)


def make_dag(root: Path, subdirs: int = 4) -> tuple[FeedDir, Path]:
    """Make a feed, and the DAG file `feed.py` for it: its tasks are tried again and again."""
    feed = new_feed(root, subdirs=subdirs, concurrent_tasks=4, input={"wait_seconds": 600, "poll_seconds": 1})
    dag_file = root / "feed.py"
    dag_file.write_text(DAG.format(spec=str(feed.spec_path)), encoding="utf-8")
    return feed, dag_file


@contextlib.contextmanager
def airflow(root: Path, environ: Mapping[str, str] = {}) -> Iterator[tuple[Airflow, FeedDir]]:
    """Start an Airflow with a feed of four groups; settings of `environ` win over those of the torture."""
    feed, dag_file = make_dag(root)
    processes.MOST_RESTARTS = 1000
    with embedded_airflow(root / "home", [dag_file], environ={**ENVIRON, **PRELOAD, **environ}) as server:
        server.call("PATCH", "/dags/feed", {"is_paused": False})
        yield server, feed


def land(feed: FeedDir, number: int) -> dict[str, int]:
    """Land the files of a run; return for each record id its number of rows."""
    expected: dict[str, int] = {}
    for file in range(FILES):
        records = [
            {"id": f"{number}-{file}-{k}", "customer_id": str(k % 3), "items": [{"qty": k}] * (k % 4)}
            for k in range(RECORDS)
        ]
        feed.land(f"{number}/{file}.json", records)
        expected |= {f"{number}-{file}-{k}": max(1, k % 4) for k in range(RECORDS)}
    return expected


class Torture:
    """DAG runs one after the other, in which processes are killed; then all is counted."""

    def __init__(self, server: Airflow, feed: FeedDir, killer: Killer, data_dir: str = "") -> None:
        """Begin with a feed that is empty; DAG runs know its folder as `data_dir`, where that is another name."""
        self._server = server
        self._data_dir = data_dir or str(feed.data_dir)
        self._feed = feed
        self._killer = killer
        self._expected: dict[str, int] = {}
        self._runs = 0
        self._wrong: list[str] = []

    def run(self, kills: int) -> bool:
        """Land files, do one DAG run with at most so many kills, and say whether it ended well."""
        wanted = len(self._killer.killed) + kills
        self._wrong += _follow(self._server, self._killer, self.trigger(), wanted)
        sys.stderr.write(f"DAG run {self._runs} has ended, {len(self._killer.killed)} are killed\n")
        return not self._wrong

    def trigger(self) -> str:
        """Land files, and start a DAG run; return its path in the API."""
        self._runs += 1
        self._expected |= land(self._feed, self._runs)
        conf = {"data_dir": self._data_dir}
        run = self._server.call("POST", "/dags/feed/dagRuns", {"logical_date": None, "conf": conf})
        return f"/dags/feed/dagRuns/{run['dag_run_id']}"

    def result(self) -> Result:
        """Count, and audit, what has become of all files; a case is a DAG run."""
        return Result(self._runs, self._wrong + count(self._feed, self._runs, self._expected))


def torture(server: Airflow, feed: FeedDir, killer: Killer, kills: int, at_a_time: int = 10) -> Result:
    """Kill so many processes, in as many DAG runs as it takes; then count.

    Args:
        server: the Airflow.
        feed: its feed, empty.
        killer: what kills.
        kills: how many.
        at_a_time: how many in one DAG run.
    """
    tortured = Torture(server, feed, killer)
    while len(killer.killed) < kills and tortured.run(min(at_a_time, kills - len(killer.killed))):
        pass
    return tortured.result()


def _follow(server: Airflow, killer: Killer, path: str, wanted: int) -> list[str]:
    """Follow a DAG run, with kills until there are so many; return what a person would have to do."""
    looked, changed, before = 0.0, time.monotonic(), ""
    while True:
        if len(killer.killed) < wanted:
            killer.try_kill()
        else:
            time.sleep(0.2)
        if time.monotonic() - looked < 1:
            continue
        looked = time.monotonic()
        state = server.call("GET", path)["state"]
        if state == "success":
            return []
        tasks = server.call("GET", f"{path}/taskInstances?limit=100")["task_instances"]
        killer.names |= {task["id"]: task["task_id"] for task in tasks}
        states = json.dumps([[task["task_id"], task["state"], task["try_number"]] for task in tasks])
        if states != before:
            before, changed = states, looked
        if state == "failed" or looked - changed > STANDSTILL_SECONDS:
            open_ = [
                f"{task['task_id']} {task['state']}" for task in tasks if task["state"] not in {"success", "skipped"}
            ]
            return [f"{path} is {state} and goes no further: {', '.join(open_)}"]


def count(feed: FeedDir, number: int, expected: dict[str, int]) -> list[str]:
    """Say what is lost, what is there twice, and what is unfinished."""
    rows: collections.Counter[str] = collections.Counter()
    for table in feed.data_dir.glob("denormalized/*/*.csv"):
        with table.open(encoding="utf-8", newline="") as lines:
            rows.update(row["id"] for row in csv.DictReader(lines))
    wrong = [
        f"record {key}: {rows[key]} rows, expected {wanted}" for key, wanted in expected.items() if rows[key] != wanted
    ]
    wrong += [f"record {key} was never landed" for key in rows if key not in expected]
    for run in range(1, number + 1):
        for file in range(FILES):
            stem = f"{run}/{file}"
            places = [
                *feed.data_dir.glob(f"transactions/{stem}.json"),
                *feed.data_dir.glob(f"staging/*/*/{stem}.json"),
                *feed.data_dir.glob(f"processed/{stem}_*.json"),
                *feed.data_dir.glob(f"quarantine/*/*/{stem}.json"),
            ]
            if len(places) != 1:
                wrong.append(f"original {stem}.json is in {len(places)} places: {places}")
    # A bucket has no folder that is empty.
    feed.landing_dir.mkdir(exist_ok=True)
    opened = feed.open()
    wrong += [f"run {ts} is unfinished" for ts in runs.unfinished(opened)]
    for ts in runs.complete(opened):
        wrong += recount(*runs.open_complete(opened, ts)).gaps
        wrong += [f"run {ts}: {finding}" for finding in feed.audit(ts).findings]
    return wrong
