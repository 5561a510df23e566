"""The Slack notification: no secret of its connection is in any log, whatever goes wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from tests.conftest import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

NOTIFY = """
import json, logging, os, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
from fanfold.airflow.slack import notify
for number, connection in enumerate(json.load(sys.stdin)):
    os.environ[f"AIRFLOW_CONN_SLACK_{number}"] = json.dumps(connection)
    notify(f"slack_{number}", "7 files")
"""
SECRET = "kJ8xQ2"
TOKENS = [
    f"T0/B0/{SECRET}",
    f"T0/B0/{SECRET} with a blank",
    f"T0/B0/{SECRET}\nof two lines",
    f"T0/B0/{SECRET}\u00e9\u2603",
    f"T0/B0/{SECRET}%zz?#@",
    f"://{SECRET}",
    f"http://[{SECRET}",
    f"http://user:{SECRET}@127.0.0.1:notaport/x",
    f"ftp://127.0.0.1:1/{SECRET}",
    f"http://127.0.0.1:1/{SECRET}",
    f"http://{SECRET}.invalid/x",
    f"{SECRET}://x",
]


def test_what_is_quoted_calls_nobody(httpserver: HTTPServer, tmp_path: Path) -> None:
    """A text of a record that Slack would take for a command or a link arrives as the characters that it is."""
    httpserver.expect_request("/T0/B0/x", json={"text": "'&lt;!channel&gt; &amp; more'"}).respond_with_data("ok")
    connection = {"conn_type": "slackwebhook", "host": httpserver.url_for("").rstrip("/"), "password": "T0/B0/x"}
    ended = subprocess.run(
        [sys.executable, "-c", NOTIFY.replace('"7 files"', "\"'<!channel> & more'\"")],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        input=json.dumps([connection]),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    assert "no notification" not in ended.stdout
    httpserver.check()


def test_no_log_has_the_secret(httpserver: HTTPServer, tmp_path: Path) -> None:
    """A token of any form, accepted, refused or not even a URL, is in no log, at any level, and nothing fails."""
    httpserver.expect_ordered_request(f"/T0/B0/{SECRET}").respond_with_data("ok")
    connections = [
        {"conn_type": "slackwebhook", "host": httpserver.url_for("").rstrip("/"), "password": token} for token in TOKENS
    ]
    ended = subprocess.run(
        [sys.executable, "-c", NOTIFY],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        input=json.dumps(connections),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert ended.returncode == 0, ended.stderr[-1000:].replace(SECRET, "SECRET")
    assert SECRET not in ended.stdout + ended.stderr
    # The first one is sent.
    failed = [
        number
        for number in range(len(TOKENS))
        if f"no message was sent through connection 'slack_{number}'" in ended.stdout
    ]
    assert failed == list(range(1, len(TOKENS)))
