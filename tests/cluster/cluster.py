"""A cluster for the DAG of a feed: it starts, runs are triggered, parts of it are killed, its database is wiped."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from fanfold.airflow.embedded import home
from fanfold.airflow.embedded.client import Airflow, OnProgress, RunOutcome
from fanfold.airflow.embedded.errors import ServerError
from fanfold.airflow.embedded.server import await_parse, free_port
from tests.cluster import machines
from tests.cluster.machines import COMPONENTS, PYTHON, VENV
from tests.cluster.parts import Part, Parts

START_SECONDS = 60.0
SQL = "import psycopg, sys; psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[2])"
# What it answered is on disk. A new title would overwrite the mark of its process.
REDIS = "--bind 127.0.0.1 --appendonly yes --appendfsync always --set-proc-title no"


class Cluster:
    """A cluster that runs: its API is `airflow`, its processes are `parts`."""

    def __init__(self, parts: Parts, dag_files: Sequence[Path], environ: Mapping[str, str]) -> None:
        """Start all parts, and wait until the DAG file is parsed.

        Args:
            parts: no process of them runs yet.
            dag_files: the DAG file and the files that it looks for beside itself.
            environ: Airflow's settings, as variables; they win over those of the cluster.

        Raises:
            ServerError: a part does not start, or the DAG file cannot be imported.
        """
        self.parts = parts
        self._ports = {name: free_port(None) for name in ("api-server", "postgres", "redis")}
        self._environ = {**machines.settings(parts.folder, self._ports), **environ}
        self.airflow = Airflow(f"http://127.0.0.1:{self._ports['api-server']}", self._check, parts.folder)
        home.link(parts.folder / "dags", dag_files)
        self._start_servers()
        self._sql("CREATE DATABASE airflow")
        self._migrate()
        # A copy of it is an empty database in no time.
        self._sql("CREATE DATABASE migrated TEMPLATE airflow")
        self._start_airflow()

    def trigger(self, dag_id: str, data_dir: Path | str) -> str:
        """Start a run of a DAG on a feed; return the id of the run."""
        conf = {"data_dir": str(data_dir)}
        run = self.airflow.call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def wait(self, dag_id: str, run_id: str, on_progress: OnProgress = lambda _: None) -> RunOutcome:
        """Wait for the end of a run."""
        return self.airflow.follow(dag_id, run_id, on_progress)

    def kill(self, part: str) -> None:
        """Kill a part with all that it started; the next request to the API starts it again."""
        self.parts.kill(part)

    def restart(self, part: str) -> None:
        """Kill a part, and start it again at once."""
        self.kill(part)
        self._check()

    def wipe_database(self) -> None:
        """Replace Airflow's database by an empty one: Airflow has forgotten all runs. What waits in Redis stays."""
        for name in COMPONENTS:
            self.parts.stop(name)
        self._sql("DROP DATABASE airflow WITH (FORCE)", "CREATE DATABASE airflow TEMPLATE migrated")
        self._start_airflow()

    def _check(self) -> None:
        """Start again what has ended; no request is made before the API listens again."""
        if "api-server" in self.parts.check():
            self._await("the API", self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._ports["api-server"])) == 0

    def _await(self, what: str, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not answers():
            if time.monotonic() > deadline:
                msg = f"{what} does not answer after {START_SECONDS:.0f} s; see the logs in {self.parts.folder}"
                raise ServerError(msg)
            time.sleep(0.1)

    def _start_servers(self) -> None:
        folder, ports = self.parts.folder, {name: str(port) for name, port in self._ports.items()}
        commands: dict[str, list[str | Path]] = {
            "redis": [VENV / "bin/redis-server", *REDIS.split(), "--port", ports["redis"], "--dir", folder],
            "postgres": [sys.executable, "-m", "tests.cluster.postgres", folder / "database", ports["postgres"]],
        }
        for name, command in commands.items():
            self.parts.start(name, Part(command, machines.machine(folder, name)))
        self._await("PostgreSQL", lambda: self._try_sql("SELECT 1").returncode == 0)

    def _migrate(self) -> None:
        part = machines.airflow(self.parts.folder, ["db", "migrate"], "db-migrate", self._environ)
        with self.parts.log("db-migrate").open("wb") as log:
            done = subprocess.run(part.command, env=part.environ, stdout=log, stderr=log, check=False)
        if done.returncode:
            msg = f"Airflow's database could not be made; see {self.parts.log('db-migrate')}"
            raise ServerError(msg)

    def _start_airflow(self) -> None:
        for name, arguments in COMPONENTS.items():
            self.parts.start(name, machines.airflow(self.parts.folder, arguments, name, self._environ))
        await_parse(self.airflow)

    def _sql(self, *commands: str) -> None:
        for command in commands:
            self._try_sql(command).check_returncode()

    def _try_sql(self, command: str) -> subprocess.CompletedProcess[bytes]:
        address = f"host=127.0.0.1 port={self._ports['postgres']} user=postgres"
        return subprocess.run([PYTHON, "-c", SQL, address, command], capture_output=True, check=False)


@contextlib.contextmanager
def running(
    dag_files: Sequence[Path], environ: Mapping[str, str] = {}, servers: Mapping[str, Part] = {}
) -> Iterator[Cluster]:
    """Run a cluster, and more servers beside it, for a block; no process and no file of it outlives the block."""
    with Parts() as parts:
        for name, part in servers.items():
            parts.start(name, part)
        yield Cluster(parts, dag_files, environ)
