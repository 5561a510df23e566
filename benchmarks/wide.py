"""What many subdirectories cost under Airflow: parsing the DAG, the whole run, and how many groups are in work at once.

    python -m benchmarks.wide [SUBDIRS ...]

Each number gets an embedded Airflow of its own, and one DAG run of a tiny feed with a file for each subdirectory. Five
tasks run at once; depth first, few more groups than that are begun and not archived at any moment.
"""

import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.orchestration import PARSE, SPEC, land, seconds
from fanfold.airflow.embedded.client import RunOutcome
from fanfold.airflow.embedded.server import embedded_airflow
from fanfold.airflow.try_out import PRELOAD


def most_in_work(outcome: RunOutcome, subdirs: int) -> int:
    """Return how many groups had begun and had not archived yet, at most."""
    events = []
    for n in range(1, subdirs + 1):
        first, last = outcome.tasks[f"subdir_{n}.merge_data"], outcome.tasks[f"subdir_{n}.archive_files"]
        events += [(first.start or 0, 1), (last.end or 0, -1)]
    return max(itertools.accumulate(change for _, change in sorted(events)))


def main(numbers: list[int]) -> None:
    """Measure and print."""
    for subdirs in numbers:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            spec, dag = folder / "tiny.yaml", folder / "feed.py"
            spec.write_text(f"{SPEC}subdirs: {subdirs}\n", encoding="utf-8")
            dag.write_text(f"from fanfold.airflow import feed_dag\nfeed_dag({str(spec)!r})\n", encoding="utf-8")
            script = PARSE.format(spec=str(spec))
            parse = min(float(subprocess.check_output([sys.executable, "-c", script]).split()[-1]) for _ in range(3))
            land(folder, 0, files=subdirs)
            with embedded_airflow(folder / "home", [dag], environ=PRELOAD) as airflow:
                outcome = airflow.run_once("tiny", {}, lambda _: None)
            taken, most = seconds(outcome), most_in_work(outcome, subdirs)
            print(
                f"{subdirs} subdirectories: parsing {parse:.2f} s, {len(outcome.tasks)} tasks in {taken:.1f} s "
                f"({1000 * taken / len(outcome.tasks):.0f} ms a task), at most {most} groups in work",
                flush=True,
            )


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [5, 50, 200])
