"""A stand-in for Kubernetes: what KubernetesExecutor starts in a pod for a task, in a process with an empty folder."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.executors.base_executor import BaseExecutor

from fanfold.airflow.embedded.processes import MARK

# What a chart hands to a pod: settings of Airflow, and the credentials of a store. And the mark by which this Airflow
# ends its processes.
HANDED_ON = (
    "AIRFLOW__CORE__DAGS_FOLDER",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    MARK,
)


class PodExecutor(BaseExecutor):
    """Runs every task as a pod would: nothing of an earlier task is there, and nothing of it stays."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin without a pod."""
        super().__init__(*args, **kwargs)
        self._pods: dict[Any, tuple[Path, subprocess.Popen[bytes]]] = {}

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for workload in workload_items:
            folder = Path(tempfile.mkdtemp(prefix="pod-"))
            (folder / "input.json").write_text(workload.model_dump_json(), encoding="utf-8")
            module = ["-P", "-m", "airflow.sdk.execution_time.execute_workload"]
            pod = subprocess.Popen(
                [sys.executable, *module, "--json-path", folder / "input.json"],
                cwd=folder,
                env=variables(folder),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            key = workload.ti.key
            self._pods[key] = folder, pod
            self.running.add(key)
            del self.queued_tasks[key]

    def sync(self) -> None:
        """Report the pods that ended, and remove their folders."""
        for key, (folder, pod) in list(self._pods.items()):
            if pod.poll() is None:
                continue
            shutil.rmtree(folder)
            del self._pods[key]
            if pod.returncode:
                self.fail(key, f"its pod ended with exit code {pod.returncode}")
            else:
                self.success(key)

    def end(self) -> None:
        """Wait for the pods, and report what they did."""
        for _, pod in self._pods.values():
            pod.wait()
        self.sync()

    def terminate(self) -> None:
        """End nothing: pods outlive a scheduler that is told to go."""


def variables(folder: Path) -> dict[str, str]:
    """Return all variables of a pod whose only folder is this one."""
    places = {name: str(folder) for name in ("HOME", "TMPDIR", "AIRFLOW_HOME")}
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return {"PATH": path, "LANG": "C.UTF-8", **places, **{name: os.environ[name] for name in HANDED_ON}}
