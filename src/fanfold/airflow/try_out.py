"""A feed's DAG in an embedded Airflow, for trying it out."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from fanfold import interrupt
from fanfold.airflow.embedded.client import Airflow, TaskState
from fanfold.airflow.embedded.server import embedded_airflow
from fanfold.scratch import scratch_dir
from fanfold.spec.model import load_spec

MADE_DAG = "from fanfold.airflow import feed_dag\n\nfeed_dag({spec!r})\n"
# Imported once by the scheduler, not anew in every task that it forks; steps.local imports all steps.
PRELOAD = {
    "FANFOLD_PRELOAD": "airflow.sdk.execution_time.supervisor airflow.sdk.execution_time.task_runner "
    "fanfold.airflow.dag fanfold.steps.local"
}


@contextlib.contextmanager
def feed_airflow(
    spec_path: Path, home: Path | None, port: int | None, environ: Mapping[str, str] = {}
) -> Iterator[Airflow]:
    """Run Airflow with the DAG of a feed for a block; Ctrl-C in it ends every process of Airflow.

    A DAG file beside the spec that has its name, or that and `_dag`, is used; without one, one is made with `feed_dag`.

    Args:
        spec_path: the spec.
        home: AIRFLOW_HOME; None for `.airflow` beside the spec.
        port: port of the api-server; None for a free one.
        environ: variables for Airflow's processes.

    Raises:
        MissingError, SpecError: as `load_spec`.
        ServerError, ServerDiedError: as `embedded_airflow`.
    """
    spec_path = spec_path.resolve()
    slots = max(8, 2 * load_spec(spec_path).concurrent_tasks)
    names = (f"{spec_path.stem}.py", f"{spec_path.stem}_dag.py")
    written = [path for path in map(spec_path.with_name, names) if path.is_file()][:1]
    with interrupt.unwinding(), scratch_dir() as folder:
        made = folder / names[0]
        made.write_text(MADE_DAG.format(spec=str(spec_path)), encoding="utf-8")
        dag_files = [*written, spec_path] if written else [made]
        environ = {"AIRFLOW__CORE__PARALLELISM": str(slots), **PRELOAD, **environ}
        with embedded_airflow(home or spec_path.parent / ".airflow", dag_files, port, environ) as airflow:
            yield airflow


def group_tasks(tasks: Mapping[str, TaskState]) -> Iterator[tuple[int, str, TaskState]]:
    """Yield subdirectory, step and state of each task in a group."""
    for task_id, task in tasks.items():
        group, _, step = task_id.partition(".")
        if group.startswith("subdir_"):
            yield int(group.removeprefix("subdir_")), step, task


def subdir_seconds(tasks: Mapping[str, TaskState]) -> dict[str, float]:
    """Return for each group how long it took, from the start of its first task to the end of its last."""
    times: dict[str, list[float]] = {}
    for n, _, task in group_tasks(tasks):
        times.setdefault(str(n), []).extend(time for time in (task.start, task.end) if time)
    return {n: max(of_group) - min(of_group) for n, of_group in times.items() if of_group}
