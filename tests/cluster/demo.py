"""`make cluster`: one run of a feed on a cluster of two Celery workers, shown as `fanfold airflow --once` shows it."""

import sys
from pathlib import Path

from fanfold.cli.airflow import run_once
from fanfold.spec.model import load_spec
from tests.cluster.cluster import running


def main(spec_path: Path, *data_dir: str) -> int:
    """Do one run by the DAG file beside the spec, in the spec's `data_dir` or in another; return its exit code."""
    spec = load_spec(spec_path)
    sys.stderr.write("starting PostgreSQL, Redis, Airflow and two Celery workers …\n")
    with running([spec_path.with_suffix(".py"), spec_path]) as cluster:
        return run_once(cluster.airflow, spec, {"data_dir": data_dir[0]} if data_dir else {})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
