"""An embedded Airflow for one DAG file: SQLite, a worker for each task, three processes that listen on 127.0.0.1 only.

A start takes the lock of the home, ends what a killed server left, links the DAG file, writes airflow.cfg, creates or
migrates the database, closes the runs that were left open, starts api-server, scheduler and dag-processor, and waits
for the first parse. There is no login: every user of this machine can reach the server while it runs.
"""

import contextlib
import importlib.metadata
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

import psutil

from fanfold.airflow.embedded import home
from fanfold.airflow.embedded.client import Client
from fanfold.airflow.embedded.home import ServerError
from fanfold.airflow.embedded.processes import MARK, end_recorded, end_session

COMPONENTS = {
    "api-server": ["api-server"],
    # The scheduler's log server would listen on 0.0.0.0.
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
}
# With its default threshold the garbage collector takes a sixth of a start.
LAUNCH = """\
import gc, importlib, os, runpy
gc.set_threshold(10000)
for name in os.environ.get("FANFOLD_PRELOAD", "").split():
    importlib.import_module(name)
runpy.run_module("airflow", run_name="__main__", alter_sys=True)
"""
START_SECONDS = 180.0


class ServerDiedError(ServerError):
    """A process of the server ended by itself, or was killed."""

    exit_code = 3


class EmbeddedAirflow(Client):
    """Context manager: Airflow runs between enter and exit, and no process of it outlives the exit.

    Inside the context SIGTERM raises SystemExit(143), where it is entered in the main thread. A scheduler that ends is
    started again, some times.
    """

    MOST_RESTARTS = 5

    def __init__(
        self,
        home_dir: Path,
        dag_files: Sequence[Path],
        port: int | None = None,
        environ: Mapping[str, str] = {},
        preload: Sequence[str] = (),
    ) -> None:
        """Note the wishes; nothing happens before enter.

        Args:
            home_dir: AIRFLOW_HOME: empty, new, or one that an embedded server made.
            dag_files: the DAG file and the files it looks for beside itself.
            port: port of the api-server on 127.0.0.1; None for a free one.
            environ: variables for Airflow's processes; they win over all others, AIRFLOW__* settings included.
            preload: modules that the scheduler imports once, and not every task that it forks anew.
        """
        self.url = ""
        self._home = home_dir.absolute()
        self._dag_files = [file.absolute() for file in dag_files]
        self._port = port
        self._environ = dict(environ)
        self._preload = " ".join(preload)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._record: dict[str, Any] = {}
        self._restarts = 0
        self._on_exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start Airflow and return when the DAG file is parsed.

        Raises:
            ServerError: the home is in use or not ours, the port is taken, Airflow does not start, an import fails.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(home.locked(self._home))
            if threading.current_thread() is threading.main_thread():
                stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _exit_on_signal))
            stack.callback(self._stop)
            self._start()
            self._on_exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End every process of the server, running tasks included."""
        self._on_exit.close()

    def wait(self) -> None:
        """Block until the caller is interrupted.

        Raises:
            ServerError: a process of the server ended.
        """
        while True:
            self._check_children()
            time.sleep(0.5)

    def _start(self) -> None:
        end_recorded(self._home, {})
        home.link(self._home / "dags", self._dag_files)
        (self._home / "logs").mkdir(exist_ok=True)
        port = _free_port(self._port)
        self.url = f"http://127.0.0.1:{port}"
        home.write_settings(self._home, port)
        self._record = {"owner": os.getpid(), "token": secrets.token_hex(16), "sessions": []}
        self._migrate(self._environ_of("db-migrate"))
        home.close_runs(self._home)
        for component, arguments in COMPONENTS.items():
            self._spawn(component, arguments, self._environ_of(component))
        self._await_parse(port)

    def _spawn(self, component: str, arguments: Sequence[str], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a component in a session of its own.

        The record is written before and after: a process of a start that was killed between is found by its token.
        """
        home.write(self._home / "processes.json", json.dumps(self._record))
        with self._log(component).open("wb") as log:
            # -P: a folder in the working directory that bears the name of a module must not be imported.
            child = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-c", LAUNCH, *arguments],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[component] = child
        self._record["sessions"].append({"pid": child.pid, "created": psutil.Process(child.pid).create_time()})
        home.write(self._home / "processes.json", json.dumps(self._record))
        return child

    def _migrate(self, environ: Mapping[str, str]) -> None:
        """Create or migrate the database, unless this version of Airflow has done so in this home."""
        marker, version = self._home / "airflow.version", importlib.metadata.version("apache-airflow-core")
        if not marker.exists():
            # A first start that was killed leaves half a database.
            for file in self._home.glob("airflow.db*"):
                file.unlink()
        elif marker.read_text(encoding="utf-8") == version:
            return
        if self._spawn("db-migrate", ["db", "migrate"], environ).wait() != 0:
            msg = f"Airflow's database could not be made; see {self._log('db-migrate')}"
            raise ServerError(msg)
        del self._children["db-migrate"]
        home.write(marker, version)

    def _await_parse(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        listens = False
        while time.monotonic() < deadline:
            self._check_children()
            if not listens:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    listens = True
            elif errors := self.call("GET", "/importErrors")["import_errors"]:
                lines = errors[0]["stack_trace"].strip().splitlines()
                raise ServerError("\n".join([f"{errors[0]['filename']}: {lines[-1]}", *lines[-12:]]))
            elif self.call("GET", "/dags?limit=1")["dags"]:
                return
            time.sleep(0.1)
        msg = f"no DAG found in {START_SECONDS:.0f} s; see {self._home / 'logs'}"
        raise ServerError(msg)

    def _check_children(self) -> None:
        for component, child in list(self._children.items()):
            if child.poll() is None:
                continue
            if component == "scheduler" and self._restarts < self.MOST_RESTARTS:
                self._restart_scheduler(child.pid)
            else:
                msg = f"Airflow's {component} ended with exit code {child.returncode}; see {self._log(component)}"
                raise ServerDiedError(msg)

    def _restart_scheduler(self, pid: int) -> None:
        """Start the scheduler again, as systemd would: on SQLite it can die of two clears at once."""
        self._restarts += 1
        self._log("scheduler").replace(self._log(f"scheduler.{self._restarts}"))
        end_session(pid)
        home.end_jobs(self._home)
        self._spawn("scheduler", COMPONENTS["scheduler"], self._environ_of("scheduler"))

    def _environ_of(self, component: str) -> dict[str, str]:
        preload = {"FANFOLD_PRELOAD": self._preload if component == "scheduler" else ""}
        return home.environment(self._home) | {MARK: self._record["token"]} | self._environ | preload

    def _log(self, component: str) -> Path:
        return self._home / "logs" / f"{component}.log"

    def _stop(self) -> None:
        if threading.current_thread() is threading.main_thread():
            # A second SIGTERM must not leave processes behind.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            end_recorded(self._home, self._children)
        finally:
            self._children = {}


def _exit_on_signal(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _free_port(wish: int | None) -> int:
    """Return a port of 127.0.0.1 nobody listens on.

    Raises:
        ServerError: the port wished for is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wish or 0))
        except OSError as error:
            msg = f"port {wish} of 127.0.0.1 cannot be used: {error.strerror}"
            raise ServerError(msg) from error
        return int(probe.getsockname()[1])
