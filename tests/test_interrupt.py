"""Ctrl-C: at any moment of any command, one line and exit code 130, and the next run goes on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid

import pytest

from tests.conftest import FeedDir, new_feed
from tests.test_cli import fanfold, processes

# What comes before the first line of Fanfold is answered by Python: the test begins behind it.
STARTED = "from fanfold import __main__, interrupt; interrupt.install(); print('started', flush=True); __main__.main()"
LINE = "interrupted\n"
RECORDS = [{"customer_id": str(n % 3), "items": [{"a": n * 1.5, "b": f"text {n}"}] * 3} for n in range(2_000)]
COMMANDS = {
    "run": (["run", "SPEC"], 1.5),
    "plan": (["plan", "SPEC"], 1.0),
    "verify": (["verify", "COMPLETE"], 0.8),
    "verify --deep": (["verify", "--deep", "COMPLETE"], 1.5),
    "status": (["status", "COMPLETE"], 0.4),
    "--help": (["--help"], 0.2),
}


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeedDir]:
    """One feed that is to be run, and one whose run is complete."""
    root = tmp_path_factory.mktemp("feeds")
    files = {f"{n}.json": json.dumps([{**record, "n": n} for record in RECORDS]) for n in range(4)}
    made = {name: new_feed(root, files, folder=name) for name in ("SPEC", "COMPLETE")}
    made["COMPLETE"].run()
    return made


def interrupted(arguments: list[str], delay: float, *, group: bool, again: bool) -> tuple[int, str, list[int]]:
    """Return exit code, stderr, and the processes that are left, of a command that SIGINT met after a delay."""
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", STARTED, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MARK": mark},
        start_new_session=True,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        time.sleep(delay)
        for _ in range(2 if again else 1):
            (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
            time.sleep(0.01)
        _, errors = process.communicate(timeout=60)
    deadline = time.monotonic() + 10
    while (left := list(processes(mark))) and time.monotonic() < deadline:
        time.sleep(0.01)
    return process.returncode, errors, [pid for pid, _ in left]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupt_at_any_moment_is_one_line(feeds: dict[str, FeedDir], command: str) -> None:
    """SIGINT, to the process or to its group, once or twice, ends a command with 130, one line, and no process left."""
    chance = random.Random(command)
    arguments, span = COMMANDS[command]
    arguments = [str(feeds[part].spec_path) if part in feeds else part for part in arguments]
    for turn in range(4):
        # The first comes while everything is imported.
        delay = chance.random() * span * turn / 3
        code, errors, left = interrupted(arguments, delay, group=turn % 2 == 0, again=turn > 1)
        told = [line for line in errors.splitlines(keepends=True) if not line.startswith("resuming the unfinished run")]
        # It may have come when all was done.
        assert (code, told) in [(130, [LINE]), (0, [])], (turn, delay)
        assert turn or code == 130
        assert left == []
    if command == "run":
        assert fanfold("run", feeds["SPEC"].spec_path).returncode == 0
