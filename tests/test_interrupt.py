"""Ctrl-C: at any moment of any command, one line and exit code 130, and the next run goes on."""

import contextlib
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from tests.conftest import PATIENCE_SECONDS, FeedDir, MakeFeed, new_feed
from tests.test_cli import fanfold, processes

pytestmark = pytest.mark.slow

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


def interrupted(
    arguments: list[str], delay: float, scratch_dir: Path, *, group: bool, again: bool
) -> tuple[int, str, list[int]]:
    """Return exit code, stderr, and the processes that are left, of a command that SIGINT met after a delay."""
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", STARTED, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MARK": mark, "TMPDIR": str(scratch_dir)},
        start_new_session=True,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        time.sleep(delay)
        for _ in range(2 if again else 1):
            (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
            time.sleep(0.01)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (left := list(processes(mark))) and time.monotonic() < deadline:
        time.sleep(0.01)
    return process.returncode, errors, [pid for pid, _ in left]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupt_at_any_moment_is_one_line(feeds: dict[str, FeedDir], command: str, tmp_path: Path) -> None:
    """SIGINT, to process or group, once or twice, ends a command with 130, one line, no process and no scratch left."""
    chance = random.Random(command)
    arguments, span = COMMANDS[command]
    arguments = [str(feeds[part].spec_path) if part in feeds else part for part in arguments]
    for turn in range(4):
        # The first comes while everything is imported.
        delay = chance.random() * span * turn / 3
        code, errors, left = interrupted(arguments, delay, tmp_path, group=turn % 2 == 0, again=turn > 1)
        # A run that has ended may say that nothing was ready.
        passed = ("resuming the unfinished run", *([] if code else ["no file is ready"]))
        told = [line for line in errors.splitlines(keepends=True) if not line.startswith(passed)]
        # It may have come when all was done.
        assert (code, told) in [(130, [LINE]), (0, [])], (turn, delay)
        assert turn or code == 130
        assert left == []
        assert list(tmp_path.iterdir()) == []
    if command == "run":
        assert fanfold("run", feeds["SPEC"].spec_path).returncode == 0


def test_an_interrupted_run_gives_the_terminal_its_cursor_back(make_feed: MakeFeed) -> None:
    """On a terminal, where the groups are drawn, the cursor is shown again before the line."""
    # So much that the run cannot end before the signal, however late this process is told that it has begun.
    content = json.dumps(RECORDS * 48)
    feed = make_feed({f"{n}.json": content for n in range(32)}, subdirs=32, input={"duplicates": "process"})
    ours, its = pty.openpty()
    command = [sys.executable, "-c", STARTED, "run", str(feed.spec_path)]
    environ = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=its, env=environ) as process:
        os.close(its)
        shown = b""
        while b"merge_data" not in shown:
            shown += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        # When nobody has the other end open any more, Linux answers so.
        with contextlib.suppress(OSError):
            while more := os.read(ours, 4096):
                shown += more
    os.close(ours)
    assert process.returncode == 130
    assert shown.count(b"\x1b[?25l") == 1
    # Between both, the table may still be wiped off.
    assert re.search(rb"\x1b\[\?25h[\r\n]*(\x1b\[1A|\x1b\[2K)*interrupted\r\n$", shown)
