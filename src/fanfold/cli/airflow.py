"""`fanfold airflow`: the feed's DAG in an embedded Airflow, for one run or until Ctrl-C."""

import contextlib
import importlib.util
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import click

from fanfold.cli.options import SPEC, as_typed
from fanfold.errors import MissingError

if TYPE_CHECKING:
    from fanfold.airflow.embedded.client import Airflow

CONF = 'Conf of the run as JSON, e.g. \'{"data_dir": "/data/feed"}\'.'


def _json_object(_context: click.Context, _option: click.Parameter, text: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        if isinstance(parsed := json.loads(text), dict):
            return parsed
    # What was found may have secrets.
    msg = "found something else, expected a JSON object"
    raise click.BadParameter(msg)


@click.command()
@SPEC
@click.option("--once", is_flag=True, help="Trigger one run, show it, stop Airflow, and exit with the run's outcome.")
@click.option("--conf", default="{}", callback=_json_object, help=CONF)
@click.option("--home", type=click.Path(path_type=Path), help="AIRFLOW_HOME (default: .airflow beside the spec).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the UI on 127.0.0.1 (default: a free one).")
def airflow(spec: Path, *, once: bool, conf: dict[str, Any], home: Path | None, port: int | None) -> None:
    """Try the feed's DAG in an embedded Airflow.

    It serves its UI until Ctrl-C. With --once, it does one run and stops. If there is a DAG file beside the spec with
    the same name (transactions.py or transactions_dag.py for transactions.yaml), it is used. If not, feed_dag makes
    one. Everything listens on 127.0.0.1 only.
    """
    # Airflow may be there without what else the embedded one needs.
    if not all(importlib.util.find_spec(name) for name in ("airflow", "psutil")):
        msg = "Airflow is not installed, expected it beside Fanfold: pip install 'fanfold[airflow]'"
        raise MissingError(msg)
    from fanfold.airflow.try_out import feed_airflow
    from fanfold.spec.model import load_spec

    loaded = load_spec(spec)
    signal.signal(signal.SIGTERM, _exit)
    click.echo("starting Airflow …", err=True)
    # Nothing but the one run is to be scheduled.
    environ = {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": str(not once)}
    with feed_airflow(spec, home, port, environ) as server:
        if once:
            sys.exit(run_once(server, spec, conf))
        click.echo(f"Airflow serves the DAG {loaded.name!r} at {server.url} (Ctrl-C stops it)")
        server.wait()


def _exit(number: int, _frame: object) -> NoReturn:
    # A second SIGTERM must not leave processes behind.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + number)


def run_once(server: "Airflow", spec_path: Path, conf: Mapping[str, Any]) -> int:
    """Do one run, show its progress, its errors and its summary, and return the exit code that says how it ended."""
    from fanfold.airflow.try_out import group_tasks, subdir_seconds
    from fanfold.cli import display
    from fanfold.feed import runs
    from fanfold.layout import format_ts, parse_ts
    from fanfold.spec.model import load_spec
    from fanfold.steps.verify_run import verify_run

    spec = load_spec(spec_path)
    click.echo(f"Airflow is at {server.url}; the run waits for files for up to {spec.input.wait_seconds:g} s", err=True)
    with display.Board(spec.subdirs) as board:

        def show(tasks: Any) -> None:
            for n, step, task in group_tasks(tasks):
                board(n, step, "done" if task.state == "success" else task.state or "")

        outcome = server.run_once(spec.name, conf, show)
    ts = format_ts(parse_ts(outcome.execution_time))
    for task_id, reason in outcome.errors.items():
        click.secho(as_typed(f"error: {task_id}: {reason}"), err=True, fg="red")
    if outcome.state != "success":
        click.secho(as_typed(f"run {ts} failed; fanfold status SPEC shows how far it got"), err=True, fg="red")
        return 1
    if spec.store.conn_id:
        # Airflow alone knows the credentials.
        run = f"/dags/{spec.name}/dagRuns/{quote(outcome.run_id)}/taskInstances/verify_run"
        found = server.call("GET", f"{run}/xcomEntries/return_value?stringify=false")["value"]
        click.echo(f"outputs: {found.get('output')}\n{found['proof']}")
        return 0
    feed = runs.open_feed(spec_path, conf.get("data_dir"))
    summary = verify_run(feed.data_dir, ts, spec.subdirs)
    display.print_summary(summary, subdir_seconds(outcome.tasks), feed.data_dir, spec.output.csv)
    return 0
