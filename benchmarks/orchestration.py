"""What Fanfold adds to Airflow: a tiny feed against empty DAGs of the same tasks, and the cost of parsing.

    python benchmarks/orchestration.py [TURNS]

Three DAGs live in one embedded Airflow and run in turn, after one warm-up: `tiny`, a feed of 20 files of 5 KB; `empty`,
the same 25 tasks, with their arguments and what they hand on, whose bodies do nothing; `bare`, 25 tasks without any.
Printed are the wall seconds, from the start of the first task to the end of the last, the ratios, and their medians.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from fanfold.airflow.embedded.client import RunOutcome
from fanfold.airflow.embedded.server import embedded_airflow
from fanfold.airflow.try_out import PRELOAD

SPEC = """
version: 1
name: tiny
data_dir: tiny
input: {settle_seconds: 0}
merge: [{reference: customers.csv, key: customer_id, into: customer}]
denormalize: {explode: [items]}
"""
BARE = """
from airflow.sdk import TaskGroup, chain, dag, task

@dag(dag_id="bare", schedule=None, max_active_tasks=5, max_active_runs=1)
def bare():
    def step(name, **settings):
        @task(task_id=name, **settings)
        def body():
            pass
        return body()

    @task.sensor(mode="reschedule", poke_interval=5)
    def check_for_files():
        return True

    @task.branch
    def multiple_files_check():
        return "file_check_operations.send_slack_notification"

    with TaskGroup("file_check_operations") as checks:
        listed, several = step("list_files"), multiple_files_check()
        listed >> several >> [step("send_slack_notification"), step("skip_notification")]
    groups = step("create_dynamic_taskgroups")
    verified = step("verify_run", trigger_rule="none_failed_min_one_success")
    for n in range(1, 6):
        with TaskGroup(f"subdir_{n}") as group:
            step("merge_data") >> step("denormalize_data") >> step("archive_files")
        groups >> group >> verified
    staged = step("stage_files", trigger_rule="none_failed_min_one_success")
    chain(step("start"), check_for_files(), checks, staged, groups)
    groups >> verified >> step("end")

bare()
"""
BODIES = """class Empty(FeedTasks):
    start = stage_files = send_slack_notification = merge_data = denormalize_data = archive_files = print
    check_for_files = lambda *_: True
    list_files = lambda *_: {"files": 20, "bytes": 100_000}
    create_dynamic_taskgroups = lambda *_: {str(n): f"staging/20260102T030405Z/{n}" for n in range(1, 6)}
    verify_run = lambda *_: {"files_in": 20}

feed = Empty("""
PARSE = """
import time
import airflow.sdk
began = time.perf_counter()
from fanfold.airflow import feed_dag
feed_dag({spec!r})
print(time.perf_counter() - began)
"""


def land(folder: Path, turn: int, files: int = 20) -> None:
    """Put files of about 5 KB, other ones each turn, into landing, and the reference beside it."""
    landing = folder / "tiny" / "transactions"
    landing.mkdir(parents=True, exist_ok=True)
    lines = ["customer_id,name", *(f"{n},Customer {n}" for n in range(100))]
    (folder / "tiny" / "customers.csv").write_text("\n".join(lines), encoding="utf-8")
    items = [{"sku": f"S{n}", "quantity": n, "price": n / 4} for n in range(5)]
    for n in range(files):
        records = [{"id": 100 * files * turn + 100 * n + k, "customer_id": str(k), "items": items} for k in range(22)]
        (landing / f"{n}.json").write_text(json.dumps(records), encoding="utf-8")


def seconds(outcome: RunOutcome) -> float:
    """Return the wall time of a run, from the start of its first task to the end of its last."""
    if outcome.state != "success":
        raise SystemExit(str(outcome.errors))
    starts = [task.start for task in outcome.tasks.values() if task.start]
    return max(task.end for task in outcome.tasks.values() if task.end) - min(starts)


def main(turns: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tiny.yaml").write_text(SPEC, encoding="utf-8")
        feed, empty, bare = (folder / f"{name}.py" for name in ("feed", "empty", "bare"))
        feed.write_text(
            f"from fanfold.airflow import feed_dag\nfeed_dag({str(folder / 'tiny.yaml')!r})\n", encoding="utf-8"
        )
        written = (Path(__file__).parents[1] / "dags" / "transactions.py").read_text(encoding="utf-8")
        written = written.replace(
            'Path(__file__).with_name("transactions.yaml")', f"Path({str(folder / 'tiny.yaml')!r})"
        )
        written = written.replace("feed = FeedTasks(", BODIES)
        empty.write_text(written.replace("dag_id=feed.spec.name", 'dag_id="empty"'), encoding="utf-8")
        bare.write_text(BARE, encoding="utf-8")
        script = PARSE.format(spec=str(folder / "tiny.yaml"))
        parses = [float(subprocess.check_output([sys.executable, "-c", script]).split()[-1]) for _ in range(5)]
        print(
            f"parsing the DAG, beyond `import airflow.sdk`: median {statistics.median(parses):.3f} s of {len(parses)}"
        )
        taken: dict[str, list[float]] = {"tiny": [], "empty": [], "bare": []}
        with embedded_airflow(folder / "home", [feed, empty, bare], environ=PRELOAD) as airflow:
            for turn in range(turns + 1):
                for dag_id, values in taken.items():
                    land(folder, turn)
                    values.append(seconds(airflow.run_once(dag_id, {}, lambda _: None)))
                print(
                    f"turn {turn}:", ", ".join(f"{key} {values[-1]:.2f} s" for key, values in taken.items()), flush=True
                )
        for other in ("empty", "bare"):
            ratios = [a / b for a, b in zip(taken["tiny"][1:], taken[other][1:], strict=True)]
            print(
                f"tiny / {other}: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
