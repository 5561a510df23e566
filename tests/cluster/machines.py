"""The machines of a cluster, which this one stands for: folders and variables of their own, and Airflow's settings."""

import configparser
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from fanfold.airflow.embedded import home, processes
from fanfold.airflow.try_out import PRELOAD
from tests import pages
from tests.cluster.parts import ROOT, Part

GUIDE = ROOT / "docs/guides/executors.md"
VENV = ROOT / ".venv/cluster"
PYTHON = VENV / "bin/python"
WORKERS = ("worker-1", "worker-2")
COMPONENTS = {
    **processes.COMPONENTS,
    **{name: ["celery", "worker", "--skip-serve-logs", "--celery-hostname", name] for name in WORKERS},
}
SETTINGS = {
    **home.SETTINGS,
    "CORE__DAGS_FOLDER": "{folder}/dags",
    "DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://postgres@127.0.0.1:{postgres}/airflow",
    "CELERY__BROKER_URL": "redis://127.0.0.1:{redis}/0",
    "CELERY__RESULT_BACKEND": "db+postgresql+psycopg2://postgres@127.0.0.1:{postgres}/airflow",
    # What every machine has to know alike.
    "CORE__FERNET_KEY": "",
    "API__SECRET_KEY": "{secret}",
    "API_AUTH__JWT_SECRET": "{secret}",
    # Here it stands for the store of logs that a cluster has.
    "LOGGING__BASE_LOG_FOLDER": "{folder}/logs",
}


def recommended() -> dict[str, str]:
    """Return the settings that the guide shows, by section and name: what it recommends is what runs here."""
    (shown,) = (block.text for block in pages.blocks(GUIDE) if block.title == "airflow.cfg")
    parser = configparser.ConfigParser()
    parser.read_string(shown)
    return {f"{name}__{key}".upper(): value for name in parser.sections() for key, value in parser[name].items()}


def settings(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """Return Airflow's settings as variables; `ports` are those of api-server, postgres and redis."""
    known = {"home": folder, "folder": folder, "secret": secrets.token_hex(), **ports, "port": ports["api-server"]}
    ours = {name: value.format(**known) for name, value in SETTINGS.items()}
    return {f"AIRFLOW__{name}": value for name, value in {**ours, **recommended()}.items()}


def machine(folder: Path, name: str) -> dict[str, str]:
    """Make the folders of one machine, and return its variables; it has no other ones."""
    places = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache", "AIRFLOW_HOME": "airflow"}
    root = folder / name
    for place in places.values():
        (root / place).mkdir(parents=True, exist_ok=True)
    variables = {variable: str(root / place) for variable, place in places.items()}
    return {"PATH": f"{VENV}/bin:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **variables}


def airflow(folder: Path, arguments: Sequence[str], name: str, environ: Mapping[str, str]) -> Part:
    """Return what starts a command of Airflow on a machine of its own."""
    # SPT_NOENV: without it, a new title of a process would overwrite its mark.
    variables = {"SPT_NOENV": "1", **PRELOAD, **machine(folder, name), **environ}
    return Part([PYTHON, "-P", "-c", processes.LAUNCH, *arguments], variables)
