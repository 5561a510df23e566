"""The REST API of an embedded Airflow: start a run, follow it, ask for anything else."""

import abc
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fanfold.airflow.embedded import home
from fanfold.airflow.embedded.home import ServerError

# Proxies of the environment are for other hosts.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class TaskState:
    """One task of a run; `start` and `end` in seconds since the epoch, None before they are known."""

    task_id: str
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
    data_dir: str | None
    tasks: Mapping[str, TaskState]
    errors: Mapping[str, str]


class Client(abc.ABC):
    """Asks the server at `url`; whoever runs it says with each request whether it is alive, and where its logs are."""

    url = ""

    @abc.abstractmethod
    def _check_children(self) -> None:
        """Raise ServerError where a process of the server ended."""

    @abc.abstractmethod
    def _log(self, component: str) -> Path:
        """Return the log of a process of the server."""

    def run_once(
        self,
        dag_id: str,
        conf: Mapping[str, object],
        on_progress: Callable[[Mapping[str, TaskState]], None],
    ) -> RunOutcome:
        """Trigger one run and wait for its end; every call makes a run of its own.

        Args:
            dag_id: a DAG of the DAG file; it is unpaused.
            conf: the conf of the run, JSON values.
            on_progress: as for `follow`.

        Raises:
            ServerError: there is no such DAG, Airflow refuses the conf, or a process of the server ended.
        """
        dag = f"/dags/{quote(dag_id, safe='')}"
        known = {item["dag_id"]: item for item in self.call("GET", f"/dags?limit={home.PAGE}")["dags"]}
        if dag_id not in known:
            msg = f"no DAG {dag_id!r} in the DAG file, expected one of {sorted(known)}"
            raise ServerError(msg)
        if known[dag_id]["is_paused"]:
            self.call("PATCH", dag, {"is_paused": False})
        run = self.call("POST", f"{dag}/dagRuns", {"logical_date": None, "conf": dict(conf)})
        self._warm()
        return self.follow(dag_id, run["dag_run_id"], on_progress)

    def follow(
        self,
        dag_id: str,
        run_id: str,
        on_progress: Callable[[Mapping[str, TaskState]], None],
        poll_seconds: float = 0.5,
    ) -> RunOutcome:
        """Wait for the end of a run that was triggered, or cleared.

        Args:
            dag_id: its DAG.
            run_id: the run.
            on_progress: called with all tasks by task_id (mapped ones as `id[n]`) whenever one of them changed.
            poll_seconds: pause between two looks at the run.

        Raises:
            ServerError: there is no such run, or a process of the server ended.
        """
        path = f"/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
        run: dict[str, Any] = {"state": None}
        tasks: dict[str, TaskState] = {}
        since = 0.0
        while run["state"] not in {"success", "failed"}:
            time.sleep(poll_seconds)
            asked = time.time()
            run = self.call("GET", path)
            changed = {key: task for key, task in self._tasks(path, since).items() if tasks.get(key) != task}
            # A row is stamped when it is written and seen when it is committed.
            since = asked - 5.0
            tasks |= changed
            if changed:
                on_progress(dict(tasks))
        tasks = self._tasks(path, 0.0)
        return RunOutcome(
            run_id=run["dag_run_id"],
            state=run["state"],
            execution_time=run["logical_date"] or run["run_after"],
            data_dir=(run["conf"] or {}).get("data_dir"),
            tasks=tasks,
            errors={key: self._error(path, task) for key, task in tasks.items() if task.state == "failed"},
        )

    def _warm(self) -> None:
        """Have the server build the API of the tasks while the scheduler plans: its first call takes seconds."""
        # This header is no token: the API would try to renew one, and log a traceback.
        request = urllib.request.Request(f"{self.url}/execution/health", headers={"Authorization": "None"})  # noqa: S310
        with contextlib.suppress(OSError), OPENER.open(request, timeout=60):
            pass

    def _tasks(self, path: str, since: float) -> dict[str, TaskState]:
        """Return all tasks of a run that changed at or after `since` (epoch seconds)."""
        tasks: dict[str, TaskState] = {}
        after = datetime.fromtimestamp(since, UTC).isoformat()
        rows: list[dict[str, Any]] = []
        full = True
        while full:
            query = urlencode({"limit": home.PAGE, "offset": len(rows), "order_by": "id", "updated_at_gte": after})
            page = self.call("GET", f"{path}/taskInstances?{query}")
            rows += page["task_instances"]
            full = bool(page["task_instances"]) and len(rows) < page["total_entries"]
        for row in rows:
            key = row["task_id"] if row["map_index"] < 0 else f"{row['task_id']}[{row['map_index']}]"
            times = (None if row[f"{end}_date"] is None else _epoch(row[f"{end}_date"]) for end in ("start", "end"))
            tasks[key] = TaskState(key, row["state"], row["try_number"], *times)
        return tasks

    def _error(self, path: str, task: TaskState) -> str:
        """Return the last error in the log of a task as one line; a killed task may have written none."""
        task_id, _, index = task.task_id.removesuffix("]").partition("[")
        query = f"full_content=true&map_index={index or -1}"
        log = self.call("GET", f"{path}/taskInstances/{quote(task_id, safe='')}/logs/{task.try_number}?{query}")
        for event in reversed(log["content"]):
            if event.get("level") in {"error", "critical"}:
                detail = event.get("error_detail")
                text = f"{detail[0]['exc_type']}: {detail[0]['exc_value']}" if detail else event["event"]
                return " ".join(text.split())
        return f"ended without an error in its log; see {self._log('scheduler')}"

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Send one request to the API and return its JSON.

        Raises:
            ServerError: the API refuses, does not answer, or a process of the server ended.
        """
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/api/v2{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Accept": "application/json"},
            method=method,
        )
        self._check_children()
        try:
            with OPENER.open(request, timeout=60) as answer:
                content = answer.read()
        except OSError as error:
            self._check_children()
            # An HTTPError is an OSError too, with the reason in its body.
            text = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
            msg = f"{method} {path}: {error} {' '.join(text.split())}; see {self._log('api-server')}"
            raise ServerError(msg) from error
        # What is deleted has no content.
        result: dict[str, Any] = json.loads(content) if content else {}
        return result


def _epoch(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
