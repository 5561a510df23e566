"""`fanfold airflow`: a feed's DAG in an embedded Airflow, for one run or until Ctrl-C."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from fanfold import display, interrupt, manifest
from fanfold.airflow.embedded.client import RunOutcome, TaskState
from fanfold.airflow.embedded.server import EmbeddedAirflow
from fanfold.layout import Feed, Run, format_ts, parse_ts
from fanfold.manifest import Manifest, Summary, empty_summary
from fanfold.spec.model import Spec, load_spec

MADE_DAG = '''"""The DAG of a feed, made because no DAG file lies beside its spec."""

from pathlib import Path

from fanfold.airflow import feed_dag

dag = feed_dag(Path({spec!r}))
'''
# Imported once by the scheduler, not anew in every task that it forks.
PRELOAD = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "fanfold.airflow.dag",
    "fanfold.steps.start",
    "fanfold.steps.stage_files",
    "fanfold.steps.create_dynamic_taskgroups",
    "fanfold.steps.merge_data",
    "fanfold.steps.denormalize_data",
    "fanfold.steps.archive_files",
    "fanfold.steps.verify_run",
)
BOARD_STATES = {"running": "running", "success": "done", "skipped": "skipped", "failed": "failed"}


def run_once(spec_path: Path, conf: Mapping[str, Any], home: Path | None, port: int | None) -> int:
    """Run the feed's DAG once, show it, and stop everything.

    Args:
        spec_path: the spec.
        conf: conf of the DAG run; `{"data_dir": "/data/feed"}` overrides the Param of that name.
        home: AIRFLOW_HOME; None for `.airflow` beside the spec.
        port: port of the api-server; None for a free one.

    Returns:
        0 where the run ended well, else 1.

    Raises:
        SpecError, MissingError: as `load_spec`.
        ServerError: Airflow did not start, or the DAG file cannot be imported.
    """
    spec = load_spec(spec_path)
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    errors.print("starting Airflow …", style="dim")
    with _server(spec_path, home, port, {"AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False"}) as server:
        errors.print(f"Airflow is at {server.url}; a file is awaited up to {spec.input.wait_seconds:g} s", style="dim")
        with display.Board(errors, spec.subdirs) as board:
            outcome = server.run_once(spec.name, conf, lambda tasks: _show(board, tasks))
    run = Feed(Path(outcome.data_dir or spec.data_dir), spec).run(format_ts(parse_ts(outcome.execution_time)))
    for task_id, reason in outcome.errors.items():
        errors.print(f"error: {task_id}: {reason}", style="red", markup=False)
    if outcome.state != "success":
        errors.print(f"run {run.ts} failed; `fanfold status` shows how far it is", style="red")
        return 1
    display.print_summary(Console(), _summary(run), _seconds(outcome, spec), run.feed.data_dir)
    return 0


def serve(spec_path: Path, home: Path | None, port: int | None) -> None:
    """Serve Airflow's UI with the feed's DAG until Ctrl-C.

    Raises:
        SpecError, MissingError: as `load_spec`.
        ServerError: Airflow did not start, the DAG file cannot be imported, or a process of Airflow ended.
    """
    spec = load_spec(spec_path)
    with _server(spec_path, home, port, {}) as server:
        sys.stdout.write(f"Airflow serves the DAG {spec.name!r} at {server.url} (Ctrl-C stops it)\n")
        sys.stdout.flush()
        server.wait()


@contextlib.contextmanager
def _server(
    spec_path: Path, home: Path | None, port: int | None, environ: Mapping[str, str]
) -> Iterator[EmbeddedAirflow]:
    spec_path = spec_path.resolve()
    home = home or spec_path.parent / ".airflow"
    written = spec_path.with_suffix(".py")
    with interrupt.unwinding(), tempfile.TemporaryDirectory(prefix="fanfold-") as folder:
        made = Path(folder, f"{spec_path.stem}.py")
        made.write_text(MADE_DAG.format(spec=str(spec_path)), encoding="utf-8")
        slots = max(8, 2 * load_spec(spec_path).concurrent_tasks)
        environ = {"AIRFLOW__CORE__PARALLELISM": str(slots), **environ}
        dag_files = [written, spec_path] if written.is_file() else [made]
        with EmbeddedAirflow(home, dag_files, port, environ, PRELOAD) as server:
            yield server


def _show(board: display.Board, tasks: Mapping[str, TaskState]) -> None:
    for task_id, task in tasks.items():
        group, _, step = task_id.partition(".")
        if step in display.STEPS and task.state in BOARD_STATES:
            board.update(int(group.removeprefix("subdir_")), step, BOARD_STATES[task.state])


def _summary(run: Run) -> Summary:
    committed = manifest.read_if_there(run.commit_path, Manifest)
    return committed.summary if committed else empty_summary(run.ts, run.feed.spec.subdirs)


def _seconds(outcome: RunOutcome, spec: Spec) -> dict[str, float]:
    """Return for each group how long it took, from the start of its first task to the end of its last."""
    seconds = {}
    for n in range(1, spec.subdirs + 1):
        group = [outcome.tasks[f"subdir_{n}.{step}"] for step in display.STEPS if f"subdir_{n}.{step}" in outcome.tasks]
        starts = [task.start for task in group if task.start is not None]
        ends = [task.end for task in group if task.end is not None]
        if starts and ends:
            seconds[str(n)] = max(ends) - min(starts)
    return seconds
