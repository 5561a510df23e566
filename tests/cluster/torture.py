"""A cluster under `kill -9`: tasks, supervisors, workers, and its other parts; and its database wiped."""

import contextlib
import os
import signal
import time

import psutil

from fanfold.airflow.embedded.processes import MARK
from tests.cluster.cluster import Cluster
from tests.cluster.machines import WORKERS
from tests.torture.airflow import ENVIRON, Torture
from tests.torture.killer import busy

KINDS = {
    "task": 35,
    "supervisor": 20,
    "worker": 15,
    "stalled worker": 5,
    "scheduler": 10,
    "api-server": 5,
    "redis": 5,
    "redis with its data": 5,
}
STORE = {"store": 10}
# Longer than the timeout of a heartbeat.
STALL_SECONDS = 12.0
SETTINGS = {
    **ENVIRON,
    # A message that its worker took to the grave comes again within seconds, even to a task that has been tried again.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "10",
}


class Killable:
    """What can be killed of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        """Kill nothing yet."""
        self._cluster = cluster

    def supervisors(self) -> list[psutil.Process]:
        """Return the processes of Celery's pools that run a task now."""
        return busy(self._cluster.parts.processes(WORKERS))

    def kill(self, kind: str, supervisor: psutil.Process, task: int) -> None:
        """Kill what `kind` says of a task that runs: itself, its supervisor, its worker, or a part of the cluster."""
        worker = supervisor.environ()[MARK].split()[0]
        if kind == "task":
            os.kill(task, signal.SIGKILL)
        elif kind == "supervisor":
            supervisor.kill()
        elif kind == "stalled worker":
            self._stall(worker)
        elif kind == "redis with its data":
            self._cluster.kill("redis")
            (self._cluster.parts.folder / "appendonly.aof").unlink()
        else:
            self._cluster.kill(worker if kind == "worker" else kind)

    def _stall(self, worker: str) -> None:
        """Stop a worker until Airflow has given its tasks to the other one; then it goes on as if nothing were."""
        (main,) = self._cluster.parts.processes([worker])
        stopped = [main, *main.children(recursive=True)]
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        time.sleep(STALL_SECONDS)
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def forget(cluster: Cluster, tortured: Torture) -> None:
    """Start a run, and wipe Airflow's database in the middle of its groups: the next run has to finish it."""
    path = tortured.trigger()
    states = {"running", "success"}
    while not any(
        task["task_id"].startswith("subdir_") and task["state"] in states
        for task in cluster.airflow.call("GET", f"{path}/taskInstances?limit=100")["task_instances"]
    ):
        time.sleep(0.5)
    cluster.wipe_database()
