"""`make cluster`: one run of a feed in a bucket, on two Celery workers, shown as `fanfold airflow --once` shows it."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from fanfold import mirrors
from fanfold.cli.airflow import run_once
from tests.cluster.cluster import running
from tests.cluster.places import in_bucket
from tests.conftest import FeedDir


def main(spec_path: Path, data_dir: Path) -> int:
    """Copy a feed with its spec and DAG file, and do one run of the copy; return the exit code of the run."""
    sys.stderr.write("starting PostgreSQL, Redis, a store, Airflow and two Celery workers …\n")
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
        root = Path(folder)
        spec, dag_file = (shutil.copy(path, root) for path in (spec_path, spec_path.with_suffix(".py")))
        place = in_bucket(FeedDir(Path(spec), Path(shutil.copytree(data_dir, root / "data"))))
        # This process looks at the result, by the same store.
        os.environ |= place.environ
        with running([Path(dag_file), Path(spec)], place.environ, place.servers) as cluster, mirrors.working():
            return run_once(cluster.airflow, Path(spec), {})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
