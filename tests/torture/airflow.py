"""Real DAG runs under `kill -9` of task processes, supervisors, workers, the scheduler: Airflow alone mends them."""

import collections
import contextlib
import csv
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from fanfold.airflow.embedded import processes
from fanfold.airflow.embedded.client import Airflow
from fanfold.airflow.embedded.server import embedded_airflow
from fanfold.airflow.try_out import PRELOAD
from fanfold.feed import runs
from fanfold.steps.recount import recount
from tests.conftest import FeedDir, new_feed
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
LIFE_SECONDS = 0.7
STANDSTILL_SECONDS = 300
FILES, RECORDS = 12, 20


class Killed(NamedTuple):
    """What was killed: a kind of process, and the task that it was at."""

    kind: str
    task: str


def schedulers() -> list[psutil.Process]:
    """Return the process of the scheduler, unless it has just ended."""
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            # -P, -c, the program, then the component.
            if process.cmdline()[4:5] == ["scheduler"]:
                found.append(process)
    return found


def workers() -> list[psutil.Process]:
    """Return the workers that run a task now."""
    found = []
    for scheduler in schedulers():
        with contextlib.suppress(psutil.Error):
            found += [worker for worker in scheduler.children() if worker.children()]
    return found


class Killer:
    """Kills processes of an Airflow at random moments of the life of tasks."""

    def __init__(self, seed: int, kinds: Mapping[str, int] = KINDS) -> None:
        """Note how often each kind of process is killed; nothing is killed yet."""
        self._kinds = kinds
        self._chosen = random.Random(seed)
        self._seen: set[int] = set()
        self.names: dict[str, str] = {}
        self.killed: list[Killed] = []

    def try_kill(self) -> bool:
        """Wait for a task that has just begun, and kill something; say whether there was one."""
        fresh = [worker for worker in workers() if self._task(worker) not in {None, *self._seen}]
        if not fresh:
            time.sleep(0.02)
            return False
        worker = self._chosen.choice(fresh)
        process = self._task(worker)
        if process is None:
            return False
        self._seen.add(process)
        (kind,) = self._chosen.choices(list(self._kinds), list(self._kinds.values()))
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            task = _title(worker)
            time.sleep(self._chosen.uniform(0, LIFE_SECONDS))
            if self._task(worker) != process:
                return False
            if kind == "scheduler":
                # With the next request the server starts it again.
                for scheduler in schedulers():
                    scheduler.kill()
            if kind in {"supervisor", "worker with its task"}:
                worker.kill()
            if kind in {"task", "worker with its task"}:
                os.kill(process, signal.SIGKILL)
            self.killed.append(Killed(kind, self.names.get(task, "just begun")))
            return True
        return False

    @staticmethod
    def _task(worker: psutil.Process) -> int | None:
        """Return the process of the task that a worker runs."""
        with contextlib.suppress(psutil.Error):
            for child in worker.children():
                if child.status() != psutil.STATUS_ZOMBIE:
                    return child.pid
        return None


def _title(worker: psutil.Process) -> str:
    """Return the id of the task instance that a worker runs, which is the end of its title."""
    words = " ".join(worker.cmdline()).split()
    return words[-1] if words else "unknown"


@contextlib.contextmanager
def airflow(root: Path, environ: Mapping[str, str] = {}) -> Iterator[tuple[Airflow, FeedDir]]:
    """Start an Airflow with a feed of four groups; settings of `environ` win over those of the torture."""
    feed = new_feed(root, subdirs=4, concurrent_tasks=4, input={"wait_seconds": 600, "poll_seconds": 1})
    dag_file = root / "feed.py"
    dag_file.write_text(DAG.format(spec=str(feed.spec_path)), encoding="utf-8")
    processes.MOST_RESTARTS = 1000
    with embedded_airflow(root / "home", [dag_file], environ={**ENVIRON, **environ}, preload=PRELOAD) as server:
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


def torture(
    server: Airflow,
    feed: FeedDir,
    kills: int,
    seed: int,
    at_a_time: int = 10,
    kinds: Mapping[str, int] = KINDS,
) -> tuple[Result, list[Killed]]:
    """Kill so many processes, in as many DAG runs as it takes; then count.

    Args:
        server: the Airflow.
        feed: its feed, empty.
        kills: how many.
        seed: of what is killed and when.
        at_a_time: how many in one DAG run.
        kinds: how often each kind of process, in comparison.
    """
    killer = Killer(seed, kinds)
    expected: dict[str, int] = {}
    wrong: list[str] = []
    number = 0
    while len(killer.killed) < kills and not wrong:
        number += 1
        expected |= land(feed, number)
        wanted = min(kills, len(killer.killed) + at_a_time)
        wrong += _run(server, killer, wanted)
        sys.stderr.write(f"DAG run {number} has ended, {len(killer.killed)} of {kills} are killed\n")
    return Result(number, wrong + count(feed, number, expected)), killer.killed


def _run(server: Airflow, killer: Killer, wanted: int) -> list[str]:
    """Do one DAG run with kills until there are so many; return what a person would have to do."""
    run_id = server.call("POST", "/dags/feed/dagRuns", {"logical_date": None, "conf": {}})["dag_run_id"]
    path = f"/dags/feed/dagRuns/{run_id}"
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
            return [f"DAG run {run_id} is {state} and goes no further: {', '.join(open_)}"]


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
    opened = feed.open()
    wrong += [f"run {ts} is unfinished" for ts in runs.unfinished(opened)]
    for ts in runs.complete(opened):
        wrong += recount(*runs.open_complete(opened, ts)).gaps
    return wrong
