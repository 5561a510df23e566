"""The DAG as Airflow parses it: `dags/transactions.py` and `feed_dag`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

DAGS = Path(__file__).parent.parent / "dags"
PARSE = """
import importlib.util, json, sys
from pathlib import Path
import airflow.sdk
before = set(sys.modules)
written, spec_path = map(Path, sys.argv[1:3])
if written.suffix == ".py":
    from airflow.sdk.definitions._internal.contextmanager import DagContext
    spec = importlib.util.spec_from_file_location("dag_file", written)
    sys.modules["dag_file"] = module = importlib.util.module_from_spec(spec)
    DagContext.current_autoregister_module_name = "dag_file"
    spec.loader.exec_module(module)
    (dag, _), = DagContext.autoregistered_dags
else:
    from fanfold.airflow import feed_dag
    dag = feed_dag(spec_path, **json.loads(sys.argv[3]))
new = {name.partition(".")[0] for name in set(sys.modules) - before}
heavy = sorted(new & {"duckdb", "pandas", "numpy", "pyarrow"})
from airflow.serialization.serialized_objects import DagSerialization
print(json.dumps({"dag": DagSerialization.to_dict(dag), "heavy": heavy}, default=str))
"""
# Where the source lies and what it says of itself is no structure.
NO_STRUCTURE = {"fileloc", "relative_fileloc", "_processor_dags_folder", "doc_md", "dag_display_name"}


def parse(file: Path, tmp_path: Path, **dag_kwargs: Any) -> Any:
    """Parse a DAG file, or make the DAG of a spec, in a process of its own."""
    process = subprocess.run(
        [sys.executable, "-c", PARSE, str(file), str(file), json.dumps(dag_kwargs)],
        env=os.environ | {"AIRFLOW_HOME": str(tmp_path / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def structure(parsed: Any) -> dict[str, Any]:
    found = {key: value for key, value in parsed["dag"]["dag"].items() if key not in NO_STRUCTURE}
    found["tasks"].sort(key=lambda task: task["__var"]["task_id"])
    for task in found["tasks"]:
        task["__var"]["python_callable_name"] = task["__var"]["python_callable_name"].rpartition(".")[2]
        # A DAG file says in one line what the method that it calls may say in more.
        task["__var"]["doc_md"] = task["__var"]["doc_md"].splitlines()[0]
    return found


def test_feed_dag_and_the_written_out_dag_have_one_structure(tmp_path: Path) -> None:
    """Both copies of the wiring serialize to the same tasks, docs, groups, edges, rules, parameters and limits."""
    written = structure(parse(DAGS / "transactions.py", tmp_path))
    made = structure(parse(DAGS / "transactions.yaml", tmp_path))
    assert made == written
    assert len(written["tasks"]) == 25
    assert written["max_active_tasks"] == 5
    assert written["max_active_runs"] == 1


def test_feed_dag_documents_itself_and_each_task(tmp_path: Path) -> None:
    """The DAG has a description, its spec as its page, a tag; every task says what it does."""
    dag = parse(DAGS / "transactions.yaml", tmp_path)["dag"]["dag"]
    assert dag["description"] == "Nested files in transactions, flat tables out in denormalized"
    assert (DAGS / "transactions.yaml").read_text(encoding="utf-8") in dag["doc_md"]
    assert dag["tags"] == ["fanfold"]
    assert all(task["__var"]["doc_md"] for task in dag["tasks"])


def test_the_written_out_dag_fits_on_a_page() -> None:
    """The page that a reader learns from has at most 120 lines."""
    assert len((DAGS / "transactions.py").read_text(encoding="utf-8").splitlines()) <= 120


def test_parsing_loads_no_data_library(tmp_path: Path) -> None:
    """A scheduler that parses the DAG pays for no DuckDB, pandas, NumPy or pyarrow."""
    assert parse(DAGS / "transactions.py", tmp_path)["heavy"] == []


def test_import_fanfold_loads_no_data_library() -> None:
    """`import fanfold` is cheap: it loads no DuckDB and no Airflow."""
    code = "import fanfold, sys; print(sorted({'duckdb', 'pandas', 'airflow'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_files_that_come_and_go_do_not_change_the_dag(tmp_path: Path) -> None:
    """The serialized DAG is the same with no file in landing and with 500."""
    spec = tmp_path / "feed.yaml"
    spec.write_text("version: 1\nname: feed\ndata_dir: data\n", encoding="utf-8")
    landing = tmp_path / "data" / "transactions"
    landing.mkdir(parents=True)
    without = parse(spec, tmp_path)
    for n in range(500):
        (landing / f"{n}.json").write_text("{}", encoding="utf-8")
    assert parse(spec, tmp_path) == without


@pytest.mark.parametrize("subdirs", [1, 50])
def test_the_groups_come_from_the_spec(tmp_path: Path, subdirs: int) -> None:
    """`subdirs` groups of three tasks each are there, whatever their number."""
    spec = tmp_path / "feed.yaml"
    spec.write_text(f"version: 1\nname: feed\nsubdirs: {subdirs}\nconcurrent_tasks: 2\n", encoding="utf-8")
    parsed = structure(parse(spec, tmp_path, tags=["mine"], schedule="@daily", default_args={"retries": 1}))
    assert len(parsed["tasks"]) == 10 + 3 * subdirs
    assert parsed["max_active_tasks"] == 2
    assert len(parsed["tags"]) == 2
    assert set(parsed["tags"]) == {"fanfold", "mine"}
