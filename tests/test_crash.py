"""A real `fanfold run` is killed in its middle; a plain second run ends in the tree of an undisturbed one."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import PATIENCE_SECONDS, TS, MakeFeed, tree

pytestmark = pytest.mark.slow

HOOK = Path(__file__).parent / "crash"
POINTS = 40
# Each is hit, wherever the points fall.
PLACES = (
    "files.json",
    "schema.json",
    "progress.json",
    "records.jsonl",
    "quarantine",
    "denormalized",
    "processed",
    ".fanfold/runs",
)


def run(spec: Path, crash_at: int | None = None) -> subprocess.Popen[bytes]:
    """Start `fanfold run`, which is killed before its `crash_at`-th change (0: counted only; None: plainly)."""
    environ = dict(os.environ)
    if crash_at is not None:
        environ |= {
            "PYTHONPATH": str(HOOK),
            "CRASH_ROOT": str(spec.parent / "data"),
            "CRASH_AT": str(crash_at),
            "CRASH_LOG": str(spec.parent / "changes"),
        }
    return subprocess.Popen(
        [sys.executable, "-m", "fanfold", "run", str(spec), "--ts", TS],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for the end of a run; return its exit code and what it said on stderr."""
    with process:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, errors.decode()


@pytest.fixture
def feed(make_feed: MakeFeed, request: pytest.FixtureRequest) -> Path:
    """Make a feed with every kind of step: folders, compression, a reference, bad records, a bad file, a duplicate."""
    bad = {"max_bad_records_percent": 50}
    keys = getattr(request, "param", {"concurrent_tasks": 2})
    made = make_feed(**{"subdirs": 8, "quarantine": bad, "input": {"duplicates": "archive"}, **keys})
    records = [{"id": n, "customer_id": str(n % 3), "items": [{"sku": "a", "qty": n}] * (n % 3)} for n in range(6)]
    made.land("a.json", records)
    made.land("sub/b.json", records[:3])
    made.land("c.json", [])
    made.land("d.json.gz", gzip.compress(json.dumps(records).encode(), mtime=0))
    made.land("e.json", records[2:])
    made.land("again/e.json", records[2:])
    made.land("sub/f.json", '{"id": 7, "customer_id": "1", "price": 0.12345678901234567890}\n{"id": 8,}\n{"id": 9}\n')
    made.land("g.json", "no JSON")
    made.land("h.csv", "id,customer_id\n10,007\n11,1\n")
    spec: Path = made.spec_path
    return spec


def copy(feed: Path, folder: Path) -> Path:
    return Path(shutil.copytree(feed.parent, folder)) / feed.name


# One task at a time: the k-th change is the same in every run.
ONE = {"concurrent_tasks": 1}
TABLES = {"denormalize": {}, "tables": {"orders": {}, "items": {"explode": ["items"], "keys": ["id"]}}, "subdirs": 4}


@pytest.mark.parametrize("feed", [ONE, {**ONE, **TABLES}], indirect=True, ids=["one table", "several tables"])
def test_killed_at_any_change_and_run_again_the_tree_is_that_of_an_undisturbed_run(feed: Path, tmp_path: Path) -> None:
    """Killed at 40 points spread over all steps, a run leaves nothing that a plain second run does not mend."""
    undisturbed = copy(feed, tmp_path / "undisturbed")
    assert end(run(undisturbed, crash_at=0)) == (0, "")
    changes = (undisturbed.parent / "changes.what").read_text(encoding="utf-8").splitlines()
    expected = tree(undisturbed.parent / "data")

    def crash(point: int) -> str:
        spec = copy(feed, tmp_path / f"killed-at-{point}")
        assert end(run(spec, crash_at=point)) == (-signal.SIGKILL, ""), f"not killed at {point}"
        last = (spec.parent / "changes.what").read_text(encoding="utf-8").splitlines()[-1]
        assert end(run(spec)) == (0, "")
        assert tree(spec.parent / "data") == expected, f"another tree after a kill at change {point}: {last}"
        shutil.rmtree(spec.parent)
        return last

    spread = {1 + index * (len(changes) - 1) // (POINTS - 1) for index in range(POINTS)}
    points = spread | {1 + next(i for i, what in enumerate(changes) if place in what) for place in PLACES}
    with ThreadPoolExecutor(2) as pool:
        hit = "\n".join(pool.map(crash, sorted(points)))
    assert len(spread) == POINTS
    for place in PLACES:
        assert place in hit, f"no kill near {place}"


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_any_moment_twice_and_run_again_the_tree_is_that_of_an_undisturbed_run(
    feed: Path, tmp_path: Path, seed: int
) -> None:
    """Killed at a random moment, and once more during the recovery, a run leaves nothing that a third does not mend."""
    undisturbed = copy(feed, tmp_path / "undisturbed")
    began = time.monotonic()
    assert end(run(undisturbed)) == (0, "")
    usual = time.monotonic() - began
    spec = copy(feed, tmp_path / "killed")
    moments = random.Random(seed)
    for _ in range(2):
        process = run(spec)
        time.sleep(moments.uniform(0.3, 1.0) * usual)
        os.killpg(process.pid, signal.SIGKILL)
        end(process)
    assert end(run(spec)) == (0, "")
    assert tree(spec.parent / "data") == tree(undisturbed.parent / "data")
