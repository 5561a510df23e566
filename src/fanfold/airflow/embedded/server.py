"""An embedded Airflow for one DAG file: SQLite, a worker for each task, three processes that listen on 127.0.0.1 only.

There is no login: every user of this machine can reach the server while it runs.
"""

import contextlib
import importlib.metadata
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fanfold.airflow.embedded import home, processes
from fanfold.airflow.embedded.client import Airflow
from fanfold.airflow.embedded.errors import ServerError
from fanfold.airflow.embedded.processes import Processes

START_SECONDS = 180.0


@contextlib.contextmanager
def embedded_airflow(
    home_dir: Path,
    dag_files: Sequence[Path],
    port: int | None = None,
    environ: Mapping[str, str] = {},
) -> Iterator[Airflow]:
    """Run Airflow for a block, which begins when the DAG file is parsed; no process of it outlives the block.

    A home is used by one server at a time. What a killed server left in it is ended first, and its open runs are
    closed.

    Args:
        home_dir: AIRFLOW_HOME: empty, new, or one that an embedded server made.
        dag_files: the DAG file and the files it looks for beside itself.
        port: port of the api-server on 127.0.0.1; None for a free one.
        environ: variables for Airflow's processes; they win over all others, AIRFLOW__* settings included. The modules
            in FANFOLD_PRELOAD are imported by the scheduler once, and not by every task that it forks.

    Raises:
        ServerError: the home is in use or not ours, Airflow does not start, an import fails.
        ServerDiedError: a process of Airflow ended.
        OSError: the port is taken.
    """
    home_dir, port = home_dir.absolute(), free_port(port)
    with home.locked(home_dir):
        processes.end(home_dir)
        home.link(home_dir / "dags", dag_files)
        (home_dir / "logs").mkdir(exist_ok=True)
        airflows = Processes(home_dir, {**home.environment(home_dir, port), **environ})
        try:
            _migrate(airflows)
            home.execute(home_dir, home.CLOSE_RUNS)
            airflows.start()
            airflow = Airflow(f"http://127.0.0.1:{port}", airflows.check, home_dir / "logs")
            await_parse(airflow)
            yield airflow
        finally:
            airflows.end()


def _migrate(airflows: Processes) -> None:
    """Create or migrate the database, unless this version of Airflow has done so in this home."""
    marker, version = airflows.home_dir / "airflow.version", importlib.metadata.version("apache-airflow-core")
    if not marker.exists():
        # A first start that was killed leaves half a database.
        for file in airflows.home_dir.glob("airflow.db*"):
            file.unlink()
    elif marker.read_text(encoding="utf-8") == version:
        return
    if airflows.spawn("db-migrate", ["db", "migrate"]).wait() != 0:
        msg = f"Airflow's database could not be made; see {airflows.log('db-migrate')}"
        raise ServerError(msg)
    marker.write_text(version, encoding="utf-8")


def await_parse(airflow: Airflow) -> None:
    """Wait until a DAG file is parsed; ServerError says that none is, or that one cannot be imported."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.1)
        errors, dags = [], []
        # Until it listens, the API refuses all.
        with contextlib.suppress(ServerError):
            errors = airflow.call("GET", "/importErrors")["import_errors"]
            dags = airflow.call("GET", "/dags?limit=1")["dags"]
        if errors:
            stack_trace = errors[0]["stack_trace"].strip()
            error = ServerError(f"{errors[0]['filename']} cannot be imported: {stack_trace.splitlines()[-1]}")
            error.add_note(stack_trace)
            raise error
        if dags:
            return
    msg = f"Airflow found no DAG in {START_SECONDS:.0f} s, expected one in the DAG file; see the logs in its home"
    raise ServerError(msg)


def free_port(wish: int | None) -> int:
    """Return a free port of 127.0.0.1; OSError says that the requested one is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", wish or 0))
        return int(probe.getsockname()[1])
