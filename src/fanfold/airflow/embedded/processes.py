"""The processes of an embedded Airflow: each bears a mark, which all that it starts inherits, and by which all end."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from fanfold.airflow.embedded import home
from fanfold.airflow.embedded.errors import ServerDiedError, ServerError

MARK = "FANFOLD_SERVER"
COMPONENTS = {
    "api-server": ["api-server"],
    # The scheduler's log server would listen on 0.0.0.0.
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "dag-processor": ["dag-processor"],
}
# With its default threshold the garbage collector takes a sixth of a start. What forks tasks imports once, by
# FANFOLD_PRELOAD, what each task would import anew.
LAUNCH = """\
import gc, importlib, os, runpy, sys
gc.set_threshold(10000)
for name in os.environ.get("FANFOLD_PRELOAD", "").split() if sys.argv[1] in {"scheduler", "celery"} else ():
    importlib.import_module(name)
runpy.run_module("airflow", run_name="__main__", alter_sys=True)
"""
MOST_RESTARTS = 5
GRACE_SECONDS = 10.0


class Processes:
    """The processes of the server in one home."""

    def __init__(self, home_dir: Path, environ: Mapping[str, str]) -> None:
        """Start nothing yet.

        Args:
            home_dir: AIRFLOW_HOME.
            environ: the environment of all processes.
        """
        self.home_dir = home_dir
        self._environ = environ
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._restarts = 0

    def start(self) -> None:
        """Start all components."""
        for name, arguments in COMPONENTS.items():
            self._children[name] = self.spawn(name, arguments)

    def check(self) -> None:
        """Start a scheduler that has ended again, as systemd would: on SQLite it can die of two clears at once.

        Raises:
            ServerDiedError: another component ended, or the scheduler once too often.
        """
        for name, child in self._children.items():
            if child.poll() is None:
                continue
            if name != "scheduler" or self._restarts >= MOST_RESTARTS:
                msg = f"Airflow's {name} ended with exit code {child.returncode}; see {self.log(name)}"
                raise ServerDiedError(msg)
            self._restarts += 1
            self.log(name).replace(self.log(f"{name}.{self._restarts}"))
            end(self.home_dir, name)
            home.execute(self.home_dir, home.END_JOBS)
            self._children[name] = self.spawn(name, COMPONENTS[name])

    def end(self) -> None:
        """End them all, with what they started."""
        end(self.home_dir)
        for child in self._children.values():
            child.wait()

    def log(self, name: str) -> Path:
        """Return the log of a component."""
        return self.home_dir / "logs" / f"{name}.log"

    def spawn(self, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start an Airflow command, with a log of that name."""
        with self.log(name).open("wb") as log:
            # -P: a folder in the working directory that bears the name of a module must not be imported.
            return subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-c", LAUNCH, *arguments],
                env={**self._environ, MARK: f"{name} {self.home_dir}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the server, which ends them.
                start_new_session=True,
            )


def end(home_dir: Path, component: str = "") -> None:
    """Kill all processes of a home, or those of one component; also those of a server that was killed itself.

    SQLite survives it, and so do Fanfold's steps.

    Raises:
        ServerError: a process survives SIGKILL.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    while alive := list(_marked(f"{component} {home_dir}")):
        if time.monotonic() > deadline:
            pids = sorted(process.pid for process in alive)
            msg = f"the processes {pids} of Airflow survive SIGKILL, expected none: end them, then try again"
            raise ServerError(msg)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=0.5)


def _marked(mark: str) -> Iterator[psutil.Process]:
    """Yield the live processes whose mark ends in this one."""
    for process in psutil.process_iter():
        # A zombie has no environment any more.
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK, "").endswith(mark):
                yield process
