"""A feed in a bucket on a real Airflow: every task is a process of its own, and shares nothing but the bucket."""

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from fanfold.airflow.try_out import feed_airflow
from fanfold.layout import format_ts, parse_ts
from tests.conftest import CUSTOMERS, PATIENCE_SECONDS
from tests.stores.servers import S3_SETTINGS
from tests.test_airflow import said_in
from tests.torture import buckets as stores
from tests.torture.buckets import tree

pytestmark = pytest.mark.slow

DAGS = Path(__file__).parents[1] / "dags"
SECRET = "wJalrXUtnFEMI-a-secret-of-a-test"
RUNS = "/dags/transactions/dagRuns"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """The DAG file and the spec of the repository, with a waiting sensor, beside an empty feed in a folder."""
    folder = tmp_path / "feed"
    (folder / "data/transactions").mkdir(parents=True)
    (folder / "data/customers.csv").write_text(CUSTOMERS)
    shutil.copy(DAGS / "transactions.py", folder)
    document = yaml.safe_load((DAGS / "transactions.yaml").read_text())
    document["merge"][0]["key"] = "customer_id"
    document["input"] = {"path": "transactions", "settle_seconds": 0, "wait_seconds": 300, "poll_seconds": 1}
    (folder / "transactions.yaml").write_text(yaml.safe_dump({**document, "data_dir": "data"}, sort_keys=False))
    return folder / "transactions.yaml"


def test_a_feed_in_a_bucket_is_green_and_names_the_bucket(spec: Path, tmp_path: Path) -> None:
    """All 25 tasks do their work with the credentials of a connection; logs, XCom and Asset name s3://, no secret."""
    with stores.buckets(tmp_path / "specs") as buckets:
        feed = buckets.copy(spec)
        keys = yaml.safe_load(feed.spec.read_text())
        uri, endpoint_url = keys["data_dir"], keys["store"]["endpoint_url"]
        feed.spec.write_text(yaml.safe_dump({**keys, "store": {"conn_id": "orders"}}, sort_keys=False))
        connection = {
            "conn_type": "aws",
            "login": S3_SETTINGS["credentials"]["access_key_id"],
            "password": SECRET,
            "extra": {"endpoint_url": endpoint_url, "region_name": "us-east-1"},
        }
        files = {
            f"{n}.json": [{"id": f"{n}-{k}", "customer_id": "007", "items": [{"qty": k}] * k} for k in range(3)]
            for n in range(7)
        }

        def land() -> None:
            time.sleep(20)
            for name, records in files.items():
                feed.put(f"transactions/{name}", json.dumps(records).encode())

        home, later = tmp_path / "home", threading.Thread(target=land)
        later.start()
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("AIRFLOW_CONN_ORDERS", json.dumps(connection))
            command = [sys.executable, "-m", "fanfold", "airflow", str(feed.spec), "--once", "--home", str(home)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
        later.join()
        assert done.returncode == 0, done.stderr
        assert f"outputs: {uri}/denormalized/" in done.stdout
        assert "verified: 7 files in = 7 archived + 0 quarantined; 21 records in = 21 published" in done.stdout

        with feed_airflow(feed.spec, home, None, {"AIRFLOW_CONN_ORDERS": json.dumps(connection)}) as airflow:
            (first,) = airflow.call("GET", RUNS)["dag_runs"]
            tasks = airflow.call("GET", f"{RUNS}/{quote(first['dag_run_id'])}/taskInstances")["task_instances"]
            states = {task["task_id"]: task["state"] for task in tasks}
            assert len(states) == 25
            assert {name for name, state in states.items() if state != "success"} == {
                "file_check_operations.send_slack_notification"
            }
            ts = format_ts(parse_ts(first["logical_date"] or first["run_after"]))
            (event,) = airflow.call("GET", "/assets/events")["asset_events"]
            assert event["uri"] == f"{uri}/denormalized"
            told: dict[str, Any] = event["extra"]
            assert told["uri"] == told["output"] == f"{uri}/denormalized/{ts}"
            assert told["manifest"] == f"{uri}/.fanfold/runs/{ts}.json"
            feed.put("transactions/bad.json", b'[{"id": 1, "customer_id": "1", "items": []}, {"id": 2,}]')
            failed = airflow.run_once("transactions", {}, lambda _: None)
        log = said_in((home / "logs").rglob("*verify_run*/*.log"))
        assert f"output: {uri}/denormalized/{ts}" in log
        assert failed.state == "failed"
        (reason,) = failed.errors.values()
        assert "found 1 bad record of 2, expected at most 10 %" in reason
        assert "give the run up, and land the corrected file" in reason
        feed_tree = feed.tree()
        everything = [done.stdout, done.stderr, *map(str, feed_tree.values()), *map(str, tree(home / "logs").values())]
        assert not [one for one in everything if SECRET in one or "/fanfold-" in one]

    local = [sys.executable, "-m", "fanfold", "run", str(spec), "--ts", ts]
    for name, records in files.items():
        spec.with_name("data").joinpath("transactions", name).write_text(json.dumps(records))
    subprocess.check_output(local)
    unfinished = ("staging/", "transactions/")
    made = {name: content for name, content in feed_tree.items() if not name.startswith(unfinished)}
    assert made == tree(spec.with_name("data"))
