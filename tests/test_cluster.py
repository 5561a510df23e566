"""A cluster of two Celery workers, with PostgreSQL and Redis; and a stand-in for Kubernetes.

`python -m tests.cluster` kills more of it, and wipes its database; tests/cluster has the means.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fanfold.airflow.embedded.processes import MARK
from fanfold.airflow.embedded.server import embedded_airflow
from tests.cluster.cluster import running
from tests.cluster.machines import PYTHON, recommended
from tests.cluster.parts import ROOT, Parts
from tests.cluster.places import in_bucket
from tests.cluster.torture import Killable
from tests.conftest import PATIENCE_SECONDS
from tests.torture.airflow import ENVIRON, Torture, make_dag
from tests.torture.killer import Killer, busy

pytestmark = pytest.mark.slow

# A part that starts a process of its own, as workers do.
PARTS = """
import signal, sys, time
from tests.cluster.parts import Part, Parts
# Whoever starts these tests in the background has SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
with Parts() as parts:
    parts.start("worker", Part([sys.executable, "-c", {forks!r}], {{}}))
    while b"started" not in parts.log("worker").read_bytes():
        time.sleep(0.01)
    print(parts.folder, flush=True)
    time.sleep(1000)
"""
KNOWN = """
from airflow.configuration import conf
with conf.make_sure_configuration_loaded(with_providers=True):
    for name, section in conf.configuration_description.items():
        print(*(f"{name}__{key}".upper() for key in section["options"]))
"""
FORKS = "import os, time; os.fork(); print('started', flush=True); time.sleep(1000)"


def marked(folder: str) -> list[int]:
    """Return the processes that bear the mark of a cluster in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").endswith(folder):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_nothing_of_a_cluster_outlives_its_tests(number: signal.Signals) -> None:
    """Tests that are killed, or interrupted, leave no process and no file of their cluster behind."""
    command = [sys.executable, "-c", PARTS.format(forks=FORKS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tests:
        assert tests.stdout is not None
        folder = tests.stdout.readline().strip()
        assert len(marked(folder)) == 2
        tests.send_signal(number)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while Path(folder).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(folder).exists()
    assert marked(folder) == []


def test_a_run_on_a_cluster_ends_exact_although_a_worker_is_killed(tmp_path: Path) -> None:
    """Two Celery workers share only a bucket, and one is killed: the run ends, nothing is lost, nothing is twice."""
    feed, dag_file = make_dag(tmp_path, subdirs=2)
    place = in_bucket(feed)
    with running([dag_file], {**ENVIRON, **place.environ}, place.servers) as cluster:
        killer = Killer(Killable(cluster), {"worker": 1}, seed=1)
        tortured = Torture(cluster.airflow, place.feed, killer, place.data_dir)
        tortured.run(kills=1)
        assert not cluster.parts.deaths
    assert [one.kind for one in killer.killed] == ["worker"]
    assert tortured.result().differences == []


def test_every_setting_of_the_guide_is_one_of_airflow() -> None:
    """Airflow and its Celery provider know every setting that the guide shows, under that name."""
    assert "CELERY__TASK_ACKS_LATE" in recommended()
    command = [str(PYTHON), "-c", KNOWN]
    known = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in recommended() if name not in known] == []


class Pods:
    """The pods of an Airflow, which are processes of its scheduler."""

    @staticmethod
    def supervisors() -> list[psutil.Process]:
        """Return the pods whose task runs now."""
        return busy(process for process in psutil.Process().children() if "scheduler" in process.cmdline())

    @staticmethod
    def kill(_kind: str, supervisor: psutil.Process, task: int) -> None:
        """Kill a pod as a whole, as an eviction would."""
        supervisor.kill()
        os.kill(task, signal.SIGKILL)


def test_a_task_needs_nothing_but_its_pod(tmp_path: Path) -> None:
    """Each task has an empty folder, a pod's variables and a bucket only, and a pod is killed: the run ends exact."""
    feed, dag_file = make_dag(tmp_path, subdirs=1)
    place = in_bucket(feed)
    home = tmp_path / "home"
    environ = {
        **ENVIRON,
        **place.environ,
        "AIRFLOW__CORE__EXECUTOR": "tests.cluster.pods.PodExecutor",
        "AIRFLOW__CORE__DAGS_FOLDER": f"{home}/dags",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": f"{home}/logs",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(tmp_path),
    }
    killer = Killer(Pods(), {"pod": 1}, seed=1)
    with Parts() as parts, embedded_airflow(home, [dag_file], environ=environ) as server:
        parts.start("store", place.servers["store"])
        tortured = Torture(server, place.feed, killer, place.data_dir)
        tortured.run(kills=1)
    assert len(killer.killed) == 1
    assert tortured.result().differences == []
