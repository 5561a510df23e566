"""A client for a running Airflow and its REST API: start a run, follow it, send any other request."""

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fanfold.airflow.embedded.errors import ServerError
from fanfold.airflow.embedded.home import MOST_ROWS

# Proxies of the environment are for other hosts.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class TaskState:
    """One task of a run; `start` and `end` in seconds since the epoch, None before they are known."""

    state: str | None
    try_number: int
    start: float | None
    end: float | None


@dataclass(frozen=True)
class RunOutcome:
    """A finished run: `state` is "success" or "failed", `errors` has one line for each task that failed."""

    run_id: str
    state: str
    execution_time: str
    tasks: Mapping[str, TaskState]
    errors: Mapping[str, str]


OnProgress = Callable[[Mapping[str, TaskState]], None]


class Airflow:
    """The server at `url`."""

    def __init__(self, url: str, check: Callable[[], None], logs_dir: Path) -> None:
        """Ask nothing yet.

        Args:
            url: where it listens.
            check: called with each request; a ServerDiedError says that a process of the server ended.
            logs_dir: the logs of its components.
        """
        self.url = url
        self._check = check
        self._logs_dir = logs_dir

    def wait(self) -> None:
        """Block until the caller is interrupted.

        Raises:
            ServerDiedError: a process of the server ended.
        """
        while True:
            self._check()
            time.sleep(POLL_SECONDS)

    def run_once(self, dag_id: str, conf: Mapping[str, object], on_progress: OnProgress) -> RunOutcome:
        """Trigger one run and wait for its end; every call makes a run of its own.

        Args:
            dag_id: a DAG of the DAG file; it is unpaused.
            conf: the conf of the run, JSON values.
            on_progress: as for `follow`.

        Raises:
            ServerError: there is no such DAG, or Airflow refuses the conf.
            ServerDiedError: a process of the server ended.
        """
        known = sorted(item["dag_id"] for item in self.call("GET", f"/dags?limit={MOST_ROWS}")["dags"])
        if dag_id not in known:
            msg = f"no DAG {dag_id!r} in the DAG file, expected one of {known}"
            raise ServerError(msg)
        self.call("PATCH", f"/dags/{quote(dag_id)}", {"is_paused": False})
        run = self.call("POST", f"/dags/{quote(dag_id)}/dagRuns", {"logical_date": None, "conf": dict(conf)})
        self._warm()
        return self.follow(dag_id, run["dag_run_id"], on_progress)

    def follow(self, dag_id: str, run_id: str, on_progress: OnProgress) -> RunOutcome:
        """Wait for the end of a run that was triggered, or cleared.

        Args:
            dag_id: its DAG.
            run_id: the run.
            on_progress: called with all tasks by task_id, again and again.

        Raises:
            ServerError: there is no such run.
            ServerDiedError: a process of the server ended.
        """
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"
        while True:
            began = time.monotonic()
            run = self.call("GET", path)
            rows = self.call("GET", f"{path}/taskInstances?limit={MOST_ROWS}")["task_instances"]
            tasks = {row["task_id"]: _state(row) for row in rows}
            on_progress(tasks)
            if run["state"] in {"success", "failed"}:
                break
            # Of many tasks the answer costs the server time, which the tasks need.
            time.sleep(max(POLL_SECONDS, 4 * (time.monotonic() - began)))
        return RunOutcome(
            run_id=run["dag_run_id"],
            state=run["state"],
            execution_time=run["logical_date"] or run["run_after"],
            tasks=tasks,
            errors={row["task_id"]: self._error(path, row) for row in rows if row["state"] == "failed"},
        )

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Send one request to the API and return its JSON.

        Raises:
            ServerError: the API refuses, or does not answer.
            ServerDiedError: a process of the server ended.
        """
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/api/v2{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Accept": "application/json"},
            method=method,
        )
        self._check()
        try:
            with OPENER.open(request, timeout=60) as answer:
                # What is deleted has no content.
                result: dict[str, Any] = json.loads(answer.read() or b"{}")
                return result
        except OSError as error:
            self._check()
            # An HTTPError is an OSError too, with the reason in its body.
            text = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
            msg = f"{method} {path}: {error} {' '.join(text.split())}; see {self._logs_dir / 'api-server.log'}"
            raise ServerError(msg) from error

    def _warm(self) -> None:
        """Have the server build the API of the tasks while the scheduler plans: its first call takes seconds."""
        # This header is no token: the API would try to renew one, and log a traceback.
        request = urllib.request.Request(f"{self.url}/execution/health", headers={"Authorization": "None"})  # noqa: S310
        with contextlib.suppress(OSError), OPENER.open(request, timeout=60):
            pass

    def _error(self, path: str, row: Mapping[str, Any]) -> str:
        """Return the errors in the log of a task as one line, else what it raised; a killed task may have none."""
        query = f"full_content=true&map_index={row['map_index']}"
        log = self.call("GET", f"{path}/taskInstances/{row['task_id']}/logs/{row['try_number']}?{query}")
        errors = [event for event in log["content"] if event.get("level") in {"error", "critical"}]
        raised = [detail[0] for event in errors if (detail := event.get("error_detail"))]
        # Skip "Task exited": the task has said why before it.
        texts = [event["event"] for event in errors if not event.keys() & {"error_detail", "exit_code"}]
        texts = texts or [f"{one['exc_type']}: {one['exc_value']}" for one in raised[-1:]]
        if texts:
            return " ".join(" ".join(texts).split())
        return f"the task ended without an error in its log; see {self._logs_dir / 'scheduler.log'}"


def _state(row: Mapping[str, Any]) -> TaskState:
    start, end = (stamp and datetime.fromisoformat(stamp).timestamp() for stamp in (row["start_date"], row["end_date"]))
    return TaskState(row["state"], row["try_number"], start, end)
