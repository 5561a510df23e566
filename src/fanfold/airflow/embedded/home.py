"""The AIRFLOW_HOME of an embedded Airflow: its lock, its settings, its links to the DAG files, its database."""

import base64
import configparser
import contextlib
import fcntl
import importlib.util
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from fanfold.errors import FanfoldError

PAGE = 1000
SETTINGS = """\
[core]
dags_folder = {home}/dags
executor = fanfold.airflow.embedded.executor.WorkerPerTaskExecutor
parallelism = {workers}
load_examples = False
dags_are_paused_at_creation = False
dag_discovery_safe_mode = False
simple_auth_manager_all_admins = True
execution_api_server_url = http://127.0.0.1:{port}/execution/
# The default asks the name service.
hostname_callable = socket.gethostname
# Within this time a changed DAG would be parsed and not stored.
min_serialized_dag_update_interval = 0
fernet_key = {fernet_key}
[database]
sql_alchemy_conn = sqlite:///{home}/airflow.db?timeout=30
[api]
host = 127.0.0.1
port = {port}
base_url = http://127.0.0.1:{port}
maximum_page_limit = {page}
secret_key = {secret_key}
[api_auth]
jwt_secret = {jwt_secret}
[scheduler]
scheduler_idle_sleep_time = 0.1
[dag_processor]
parsing_processes = 1
min_file_process_interval = 60
[logging]
base_log_folder = {home}/logs
colored_console_log = False
namespace_levels = http.access=WARNING
[workers]
# All cores may be busy with the tasks.
execution_api_timeout = 30
# A worker that misses the end of its task sees it, and takes the next one, after this time.
min_heartbeat_interval = 1
"""
# Open runs would block new ones, and their tasks would start again. A DAG counts once it is parsed by this server.
SETTLE = """\
BEGIN;
UPDATE task_instance SET state = CASE WHEN state IS NULL OR state = 'scheduled' THEN 'skipped' ELSE 'failed' END
 WHERE (state IS NULL OR state NOT IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed'))
 AND (dag_id, run_id) IN (SELECT dag_id, run_id FROM dag_run WHERE state IN ('running', 'queued'));
UPDATE dag_run SET state = 'failed', end_date = strftime('%Y-%m-%d %H:%M:%f000', 'now')
 WHERE state IN ('running', 'queued');
UPDATE job SET state = 'failed' WHERE state = 'running';
UPDATE dag SET is_stale = 1;
DELETE FROM import_error;
COMMIT;
"""


class ServerError(FanfoldError):
    """Airflow did not start, a DAG file cannot be imported, or a process of the server died."""

    exit_code = 2


def locked(home: Path) -> IO[str]:
    """Take the home until the file returned is closed, or this process is gone.

    Raises:
        ServerError: another server has the home, or it was made by something else.
    """
    file = home / "server.lock"
    if home.exists() and not file.exists() and any(home.iterdir()):
        msg = f"{str(home)!r} has other files in it, expected a folder for the embedded server alone"
        raise ServerError(msg)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = file.open("a", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        msg = f"a server already runs in {str(home)!r}; {home / 'processes.json'} has its process id (owner)"
        raise ServerError(msg) from error
    return lock


def link(folder: Path, files: Sequence[Path]) -> None:
    """Make the folder hold links to these files and nothing else.

    Raises:
        ServerError: a file is not there, or the folder holds what is no link.
    """
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder / "__pycache__")
    for entry in folder.iterdir():
        if not entry.is_symlink():
            msg = f"{str(entry)!r} is no link, expected only links made by the embedded server: move it away"
            raise ServerError(msg)
        entry.unlink()
    for file in files:
        if not file.is_file():
            msg = f"{str(file)!r} is no file, expected the DAG file or one beside it"
            raise ServerError(msg)
        (folder / file.name).symlink_to(file)


def write_settings(home: Path, port: int) -> None:
    """Write airflow.cfg anew; its secrets are made once, as the database holds what they encrypt."""
    old = configparser.RawConfigParser()
    old.read(home / "airflow.cfg", encoding="utf-8")
    fernet_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    text = SETTINGS.format(
        home=str(home).replace("%", "%%"),
        port=port,
        page=PAGE,
        workers=min(32, max(8, os.cpu_count() or 1)),
        fernet_key=old.get("core", "fernet_key", fallback=fernet_key),
        secret_key=old.get("api", "secret_key", fallback=secrets.token_urlsafe(32)),
        jwt_secret=old.get("api_auth", "jwt_secret", fallback=secrets.token_urlsafe(48)),
    )
    write(home / "airflow.cfg", text)


def environment(home: Path) -> dict[str, str]:
    """Return the environment of Airflow's processes; connections, variables and settings of other sections pass."""
    sections = (f"AIRFLOW__{name.upper()}__" for name in re.findall(r"^\[(\w+)\]$", SETTINGS, re.MULTILINE))
    ours = ("AIRFLOW_HOME", "AIRFLOW_CONFIG", "_AIRFLOW", *sections)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    for name in ("NO_PROXY", "no_proxy"):
        environ[name] = ",".join(filter(None, [environ.get(name), "127.0.0.1", "localhost"]))
    spec = importlib.util.find_spec("airflow")
    compiled = spec is not None and spec.origin is not None and Path(spec.origin).with_name("__pycache__").exists()
    if environ.pop("PYTHONDONTWRITEBYTECODE", "") and not compiled:
        # Without bytecode every process compiles Airflow again, which doubles the time of a start.
        environ["PYTHONPYCACHEPREFIX"] = environ.get("PYTHONPYCACHEPREFIX") or str(home / "pycache")
    # SPT_NOENV: setproctitle would overwrite the environment that others see, and with it the token.
    return environ | {"AIRFLOW_HOME": str(home), "SPT_NOENV": "1"}


def close_runs(home: Path) -> None:
    """Close the runs that a killed server left open, and forget what it had parsed."""
    with contextlib.closing(sqlite3.connect(home / "airflow.db")) as database:
        database.executescript(SETTLE)


def end_jobs(home: Path) -> None:
    """Note that no scheduler runs: the next one then takes the tasks of the one before at once."""
    with contextlib.closing(sqlite3.connect(home / "airflow.db", timeout=30)) as database, database:
        database.execute("UPDATE job SET state = 'failed' WHERE state = 'running' AND job_type = 'SchedulerJob'")


def write(file: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    new = file.with_name(f"{file.name}.new")
    new.touch(0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(file)
