"""The command line: real processes, their exit codes, what they print."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanfold.feed import runs
from fanfold.spec.model import load_spec
from tests.conftest import PATIENCE_SECONDS, TS, FeedDir, MakeFeed, tree

pytestmark = pytest.mark.slow

FANFOLD = str(Path(sysconfig.get_path("scripts"), "fanfold"))
SUMMARY_KEYS = [
    "ts",
    "files_in",
    "files_archived",
    "files_quarantined",
    "bytes_in",
    "records_in",
    "records_quarantined",
    "records_unmatched",
    "rows_out",
    "subdirs",
    "references",
    "files_ignored",
    "files_waiting",
    "seconds",
]
RECORDS = [{"customer_id": "1", "items": [1, 2]}, {"customer_id": "9", "items": []}]


def fanfold(*args: object, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [FANFOLD, *map(str, args)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, "COLUMNS": "200", **environ},
    )


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text[:-1]


def test_a_run_prints_its_summary(make_feed: MakeFeed) -> None:
    """`run --json` prints one object whose keys are fixed and whose counts add up; a second one prints the same."""
    feed = make_feed({"a.json": RECORDS, "sub/b.json": RECORDS}, subdirs=3)
    size = 2 * len(json.dumps(RECORDS))
    done = fanfold("run", feed.spec_path, "--json", "--ts", "2026-01-02T04:04:05+01:00")
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(one_line(done.stdout))
    assert list(summary) == SUMMARY_KEYS
    assert summary["ts"] == TS
    assert summary["files_in"] == summary["files_archived"] + summary["files_quarantined"] == 2
    assert (summary["bytes_in"], summary["records_in"], summary["records_quarantined"]) == (size, 4, 0)
    assert (summary["records_unmatched"], summary["rows_out"]) == (2, 6)
    assert [(one["path"], one["rows"], len(one["sha256"])) for one in summary["references"]] == [
        ("customers.csv", 3, 64)
    ]
    assert list(summary["subdirs"]) == ["1", "2", "3"]
    assert summary["subdirs"]["3"] == {"files": 0, "bytes": 0, "records": 0, "rows": 0, "output": None}
    for total, part in (("files_in", "files"), ("bytes_in", "bytes"), ("records_in", "records"), ("rows_out", "rows")):
        assert summary[total] == sum(subdir[part] for subdir in summary["subdirs"].values())
    assert (feed.data_dir / summary["subdirs"]["1"]["output"]).is_file()
    before = tree(feed.data_dir)
    again = json.loads(fanfold("run", feed.spec_path, "--json", "--ts", TS).stdout)
    assert {**again, "seconds": summary["seconds"]} == summary
    assert tree(feed.data_dir) == before


def test_a_run_for_people_proves_its_count(make_feed: MakeFeed) -> None:
    """Without --json a run ends with the sentence that proves its count, and warns of records without a match."""
    feed = make_feed({"a.json": RECORDS}, folder="d[x]")
    done = fanfold("run", feed.spec_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 file in = 1 archived + 0 quarantined; 2 records in = 2 published" in done.stdout
    assert "WARNING: 1 of 2 records kept without a match in customers.csv" in done.stdout
    assert str(feed.data_dir / "denormalized") in done.stdout


def test_no_files_are_no_fault(make_feed: MakeFeed) -> None:
    """Without a file a run prints zeros, writes nothing, and ends well."""
    feed = make_feed()
    before = tree(feed.data_dir)
    done = fanfold("run", feed.spec_path, "--json")
    assert (done.returncode, done.stderr) == (0, f"no file is ready in '{feed.landing_dir}': it is empty\n")
    summary = json.loads(done.stdout)
    assert (list(summary), summary["files_in"], summary["rows_out"]) == (SUMMARY_KEYS, 0, 0)
    assert list(summary["subdirs"]) == ["1", "2", "3"]
    assert tree(feed.data_dir) == before


def test_settling_files_are_waited_for(make_feed: MakeFeed) -> None:
    """A file that landed just now is waited for until it has settled, and is in the run."""
    feed = make_feed({"a.json": RECORDS}, input={"settle_seconds": 2})
    done = fanfold("run", feed.spec_path, "--json")
    assert json.loads(done.stdout)["files_in"] == 1


def test_a_run_resumes_the_oldest(make_feed: MakeFeed) -> None:
    """Without --ts the oldest unfinished run is resumed, which is told, and nothing else is touched."""
    feed = make_feed({"a.json": RECORDS})
    feed.stage("20260101T000000Z")
    feed.land("b.json", RECORDS)
    feed.stage(TS)
    feed.land("c.json", RECORDS)
    done = fanfold("run", feed.spec_path, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["ts"] == "20260101T000000Z"
    assert "resuming the unfinished run 20260101T000000Z" in done.stderr
    assert runs.unfinished(feed.open()) == [TS]
    assert (feed.landing_dir / "c.json").exists()


def test_data_problems_exit_with_1(make_feed: MakeFeed) -> None:
    """Too many bad records and a duplicate key each end in exit code 1, with one line of error and no traceback."""
    feed = make_feed({"bad.json": '{"customer_id": "1"}\n{"id": ', "good.json": RECORDS}, subdirs=2)
    failed = fanfold("run", feed.spec_path)
    errors = [line for line in failed.stderr.split("\n") if line.startswith("error")]
    assert (failed.returncode, failed.stdout, len(errors)) == (1, "", 1)
    assert re.match(r"error: staging/\w+\.\w+/\d: found 1 bad record of 2, expected at most 10 %", errors[0])
    assert "'bad.json' line 2, byte 27: found the end" in errors[0]
    assert "Traceback" not in failed.stderr
    (feed.data_dir / "customers.csv").write_text("customer_id,name\n1,a\n1,b\n")
    feed.land("more.json", RECORDS)
    duplicate = fanfold("run", feed.spec_path, "--ts", TS)
    assert duplicate.returncode == 1
    assert duplicate.stderr.splitlines()[-1] == (
        "error: customers.csv: customer_id '1' in lines 2, 3, expected every key once"
    )


def test_debug_adds_a_traceback(make_feed: MakeFeed) -> None:
    """--debug, anywhere on the line, adds a traceback to the line of the error."""
    feed = make_feed()
    for args in (("--debug", "verify", feed.spec_path), ("verify", feed.spec_path, "--debug")):
        failed = fanfold(*args)
        assert failed.returncode == 2
        assert failed.stderr.startswith("Traceback")
        assert failed.stderr.splitlines()[-1] == "error: there is no complete run yet"


def test_what_is_not_there_exits_with_2(make_feed: MakeFeed, tmp_path: Path) -> None:
    """A spec, a run, a folder or a timestamp that is not there or not allowed is exit code 2 and one line."""
    feed = make_feed()
    for args, message in (
        (("run", tmp_path / "no.yaml"), "is not a file, expected the spec of a feed"),
        (("run", feed.spec_path, "--ts", "today"), "error: 'today' is not an execution timestamp"),
        (("run", feed.spec_path, "--data-dir", "/"), "error: data_dir '/' is outside the allowed roots"),
        (("release", feed.spec_path, TS), f"error: '{TS}' is not an unfinished run"),
        (("status", feed.spec_path, "--data-dir", tmp_path), "is outside the allowed roots"),
    ):
        failed = fanfold(*args)
        assert (failed.returncode, failed.stdout) == (2, "")
        assert message in one_line(failed.stderr)


@pytest.mark.parametrize("args", [["run"], ["run", "--wrong"], ["nothing"]], ids=" ".join)
def test_wrong_usage_exits_with_2(args: list[str]) -> None:
    """A command line that cannot be parsed is exit code 2, and its last line says what is wrong."""
    failed = fanfold(*args)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.splitlines()[-1].startswith("Error: ")


def test_lint_checks_several_specs(make_feed: MakeFeed, tmp_path: Path) -> None:
    """`lint` reads every spec, tells the good ones on stdout and all errors of all others on stderr."""
    feed = make_feed()
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 2\nname: x\nsubdirs: 0\n")
    failed = fanfold("lint", bad, feed.spec_path, tmp_path / "no.yaml")
    assert (failed.returncode, failed.stdout) == (2, f"{feed.spec_path}: ok\n")
    assert [line.split(": ")[:2] for line in failed.stderr.splitlines()[:2]] == [
        [f"{bad}:1", "version"],
        [f"{bad}:3", "subdirs"],
    ]
    assert len(failed.stderr.splitlines()) == 3
    assert fanfold("lint", feed.spec_path).returncode == 0


def test_plan_moves_nothing(make_feed: MakeFeed) -> None:
    """`plan` says which files go where, the columns, the faults, and how the run would end; the tree stays."""
    feed = make_feed({"a.json": RECORDS, "b.json": RECORDS, "bad[x].json": '{"a" [/x]}'}, subdirs=2)
    before = tree(feed.data_dir)
    planned = json.loads(one_line(fanfold("plan", feed.spec_path, "--json").stdout))
    assert (planned["files"], planned["records"], planned["resumes"]) == (3, 4, None)
    assert [planned["subdirs"][n]["files"] for n in ("1", "2")] == [2, 1]
    assert [column["name"] for column in planned["columns"]] == ["customer_id", "items", "customer_name"]
    assert [(fault["file"], fault["code"]) for fault in planned["faults"]] == [("bad[x].json", "syntax")]
    shown = fanfold("plan", feed.spec_path)
    assert (shown.returncode, shown.stderr, planned["failed"]) == (0, "", [])
    assert planned["faults"][0]["message"] in shown.stdout
    assert tree(feed.data_dir) == before


def test_what_is_shown_fits_on_a_screen(make_feed: MakeFeed) -> None:
    """On a terminal `plan` shows twenty columns and says how many more there are; a pipe gets them all."""
    record = {f"column_with_a_name_of_some_length_{n}": n for n in range(300)}
    feed = make_feed({"a.json": [record]}, merge=[], denormalize={})
    planned = fanfold("plan", feed.spec_path).stdout
    assert all(f"column_with_a_name_of_some_length_{n} " in planned for n in range(300))
    command = f"stty cols 60; {FANFOLD} plan {feed.spec_path}"
    screen = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True, check=True).stdout
    assert "column_with_a_name_of_some_length_19 " in screen
    assert "column_with_a_name_of_some_length_20 " not in screen
    assert f"and 280 more columns (fanfold plan {feed.spec_path} --json has all)" in screen
    assert len(fanfold("run", feed.spec_path).stdout.splitlines()) < 50


def test_the_preview_of_a_run_fits_on_a_screen(make_feed: MakeFeed) -> None:
    """The preview has as many rows and columns as a terminal shows, says how many more there are, and cuts no name."""
    name = "column_with_a_name_of_some_length"
    feed = make_feed({"a.json": [{f"{name}_{n}": f"value {n}" for n in range(30)}] * 3}, merge=[], denormalize={})
    command = f"TERM=xterm COLUMNS=60 LINES=15 {FANFOLD} run {feed.spec_path}"
    screen = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True, check=True).stdout
    preview = [line for line in screen.splitlines() if name in line]
    assert len(preview) == 7
    assert all(len(line) <= 60 and line.count("value") == 2 for line in preview)
    assert f"{name}_0 " in preview[0]
    assert "1.csv: the first 2 rows" in screen
    assert "and 23 more columns" in screen


SPEC_WITH_COMMENTS = """\
# The feed of the shop.
version: 1
name: feed                # also the DAG's id
subdirs: 1
input:
  settle_seconds: 0       # at once
merge:
  - reference: customers.csv
    key: customer_id
    into: customer        # nests here
denormalize: {explode: [items]}
"""


def test_plan_writes_the_fields_into_the_spec(make_feed: MakeFeed) -> None:
    """`plan --write-fields` adds the types of all fields to the spec and leaves every other line of it as it was."""
    feed = make_feed({"a.json": [{"customer_id": "1", "n": 1, "items": [{"p": 1.5}], "o": {"x": [1]}, "b": True}]})
    feed.spec_path.write_text(SPEC_WITH_COMMENTS, encoding="utf-8")
    columns = json.loads(fanfold("plan", feed.spec_path, "--json").stdout)["columns"]
    for _ in range(2):
        assert fanfold("plan", feed.spec_path, "--write-fields").returncode == 0
        fields = load_spec(feed.spec_path).input.fields
        assert fields == {
            "customer_id": "VARCHAR",
            "n": "BIGINT",
            "items.p": "DECIMAL(18,1)",
            "o.x": "JSON",
            "b": "BOOLEAN",
        }
        written = feed.spec_path.read_text(encoding="utf-8").splitlines()
        assert [line for line in written if line in SPEC_WITH_COMMENTS.splitlines()] == SPEC_WITH_COMMENTS.splitlines()
        assert len(written) == len(SPEC_WITH_COMMENTS.splitlines()) + 1 + len(fields)
    assert json.loads(fanfold("plan", feed.spec_path, "--json").stdout)["columns"] == columns


def test_plan_tells_the_drift(make_feed: MakeFeed) -> None:
    """`plan` names the columns that came, went, and changed their type since the last complete run."""
    feed = make_feed({"a.json": [{"customer_id": "1", "items": [], "gone": 1, "other": 1}]})
    feed.run()
    feed.land("b.json", [{"customer_id": "1", "items": [], "other": "x", "new": True}])
    drift = json.loads(fanfold("plan", feed.spec_path, "--json").stdout)["drift"]
    assert drift == {
        "since": TS,
        "added": ["new"],
        "dropped": ["gone"],
        "retyped": ["other: BIGINT > VARCHAR"],
        "reordered": False,
    }
    shown = fanfold("plan", feed.spec_path).stdout
    assert f"columns since run {TS}: added new; dropped gone; retyped other: BIGINT > VARCHAR" in shown


@pytest.mark.parametrize("output", ["csv", "parquet"])
def test_a_run_without_a_column_is_verified(make_feed: MakeFeed, output: str) -> None:
    """A delivery without a record makes an empty table, which verify accepts in any format."""
    feed = make_feed({"a.json": "[]"}, merge=[], denormalize={}, output={"format": output})
    assert feed.run().rows_out == 0
    found = fanfold("verify", feed.spec_path, "--audit")
    assert (found.returncode, found.stderr) == (0, "")


def test_status_release_and_verify(make_feed: MakeFeed) -> None:
    """`status` lists runs, `release` gives one up, `verify` recounts one and exits with 1 when something is missing."""
    feed = make_feed({"a.json": RECORDS})
    assert "no runs yet" in fanfold("status", feed.spec_path).stdout
    feed.stage()
    found = json.loads(fanfold("status", feed.spec_path, "--json").stdout)
    assert [(one["ts"], one["state"], one["groups"]) for one in found] == [(TS, "unfinished", {"1": "staged"})]
    assert fanfold("release", feed.spec_path, TS).stdout == "released: 1 back in landing\n"
    feed.run()
    proven = fanfold("verify", feed.spec_path)
    assert proven.returncode == 0
    assert f"run {TS}: recounted 1 original, " in proven.stdout
    assert "2 records, 3 rows: nothing lost, nothing twice" in proven.stdout
    (feed.data_dir / f"denormalized/{TS}/1.csv").unlink()
    failed = fanfold("verify", feed.spec_path, TS, "--json")
    assert (failed.returncode, failed.stderr) == (1, "")
    assert json.loads(failed.stdout)["gaps"] == [f"'denormalized/{TS}/1.csv' is missing: expected 3 rows"]


@pytest.mark.parametrize("package", ["airflow", "psutil"])
def test_without_airflow_its_command_says_what_to_install(make_feed: MakeFeed, package: str) -> None:
    """`fanfold airflow` where Airflow, or what it needs here, is not installed is exit code 2, and names the extra."""
    code = f"import sys; sys.modules['{package}'] = None; from fanfold.cli import main; main()"
    command = [sys.executable, "-c", code, "airflow", str(make_feed().spec_path)]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "pip install 'fanfold[airflow]'" in one_line(failed.stderr)


def test_the_schema_is_json(tmp_path: Path) -> None:
    """`schema` prints the JSON Schema of the spec; `python -m fanfold` is the same command."""
    printed = fanfold("schema").stdout
    assert json.loads(printed)["title"] == "Spec"
    module = subprocess.run([sys.executable, "-m", "fanfold", "schema"], capture_output=True, cwd=tmp_path, check=True)
    assert module.stdout.decode() == printed


# A run that is stopped in its middle.


@pytest.fixture
def large(make_feed: MakeFeed) -> FeedDir:
    """A feed whose groups take long enough to be stopped while they run."""
    numbers = random.Random(1)
    records: list[Any] = [
        {"customer_id": str(i % 3), "items": [{"a": numbers.random(), "b": f"text {i}"} for _ in range(5)]}
        for i in range(8_000)
    ]
    return make_feed({f"{n}.json": json.dumps(records) for n in range(4)}, subdirs=4)


def processes(mark: str) -> Iterator[tuple[int, str]]:
    """Yield number and command line of every live process that has inherited `mark`."""
    for folder in Path("/proc").iterdir():
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("moment", ["while files are scanned", "while groups run"])
def test_an_interrupted_run_goes_on(large: FeedDir, moment: str) -> None:
    """Ctrl-C ends a run with exit code 130 and one line, whatever its threads do; the next run completes it."""
    command = [FANFOLD, "run", str(large.spec_path), "--ts", TS]
    sign = large.at().files_path if moment == "while files are scanned" else large.at().group(1).progress_path
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(sign.exists)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors.strip()) == (130, "interrupted")
    assert runs.unfinished(large.open()) == [TS]
    assert json.loads(fanfold("run", large.spec_path, "--json").stdout)["rows_out"] == 160_000


def test_a_run_is_one_process_and_can_be_killed(large: FeedDir) -> None:
    """A run starts no process; killed by SIGKILL it leaves none, and the next run completes what it began."""
    mark = uuid.uuid4().hex
    command = [FANFOLD, "run", str(large.spec_path), "--ts", TS]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "MARK": mark}) as process:
        wait_until(large.at().group(1).progress_path.exists)
        assert [number for number, _ in processes(mark)] == [process.pid]
        process.kill()
    wait_until(lambda: not list(processes(mark)))
    assert runs.unfinished(large.open()) == [TS]
    assert json.loads(fanfold("run", large.spec_path, "--json").stdout)["rows_out"] == 160_000
