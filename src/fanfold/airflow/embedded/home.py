"""The AIRFLOW_HOME of an embedded Airflow: its lock, its settings, its links to the DAG files, its database."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from fanfold.airflow.embedded.errors import ServerError

MOST_ROWS = 100_000
SETTINGS = {
    "CORE__EXECUTOR": "fanfold.airflow.embedded.executor.WorkerPerTaskExecutor",
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "CORE__EXECUTION_API_SERVER_URL": "http://127.0.0.1:{port}/execution/",
    # The default asks the name service.
    "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
    # Within this time a changed DAG would be parsed and not stored.
    "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
    "DATABASE__SQL_ALCHEMY_CONN": "sqlite:///{home}/airflow.db?timeout=30",
    "API__HOST": "127.0.0.1",
    "API__PORT": "{port}",
    "API__BASE_URL": "http://127.0.0.1:{port}",
    "API__MAXIMUM_PAGE_LIMIT": str(MOST_ROWS),
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    # All cores may be busy with the tasks.
    "WORKERS__EXECUTION_API_TIMEOUT": "30",
    # A worker that misses the end of its task sees it, and takes the next one, after this time.
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}
# The next scheduler then takes the tasks of the one before at once.
END_JOBS = "UPDATE job SET state = 'failed' WHERE state = 'running';"
# Open runs would block new ones, and their tasks would start again. A DAG counts once it is parsed by this server.
CLOSE_RUNS = f"""\
UPDATE task_instance SET state = 'failed' WHERE state IN
 ('queued', 'running', 'restarting', 'up_for_retry', 'up_for_reschedule', 'deferred', 'awaiting_input');
UPDATE dag_run SET state = 'failed', end_date = strftime('%Y-%m-%d %H:%M:%f000', 'now')
 WHERE state IN ('running', 'queued');
UPDATE dag SET is_stale = 1;
DELETE FROM import_error;
{END_JOBS}
"""


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """Own the home for a block; the lock ends with the process.

    Raises:
        ServerError: another server has the home, or it was made by something else.
    """
    file = home / "server.lock"
    if home.exists() and not file.exists() and any(home.iterdir()):
        msg = f"{str(home)!r} has other files in it, expected a folder for the embedded server alone"
        raise ServerError(msg)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"a server already runs in {str(home)!r}, expected a home of its own: stop that server, or use --home"
            raise ServerError(msg) from error
        yield


def link(folder: Path, files: Sequence[Path]) -> None:
    """Replace the links in a folder with links to these files."""
    folder.mkdir(exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_symlink():
            entry.unlink()
    for file in files:
        (folder / file.name).symlink_to(file.absolute())


def environment(home: Path, port: int) -> dict[str, str]:
    """Return the environment of Airflow's processes: connections and variables pass, settings are those of the server.

    What it does not set, its secrets among it, is in the airflow.cfg that Airflow makes in a new home.
    """
    dropped = ("AIRFLOW__", "AIRFLOW_CONFIG", "_AIRFLOW")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environ |= {f"AIRFLOW__{name}": value.format(home=home, port=port) for name, value in SETTINGS.items()}
    for name in ("NO_PROXY", "no_proxy"):
        environ[name] = ",".join(filter(None, [environ.get(name), "127.0.0.1", "localhost"]))
    if environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Without bytecode every process compiles Airflow again, which doubles the time of a start.
        environ.setdefault("PYTHONPYCACHEPREFIX", str(home / "pycache"))
    # SPT_NOENV: setproctitle would overwrite the environment that others see, and with it the mark of the process.
    return environ | {"AIRFLOW_HOME": str(home), "SPT_NOENV": "1"}


def execute(home: Path, script: str) -> None:
    """Change Airflow's database with an SQL script."""
    with contextlib.closing(sqlite3.connect(home / "airflow.db", timeout=30)) as database:
        database.executescript(script)
