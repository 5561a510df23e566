"""Temporary directories: nothing stays behind."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fanfold.scratch import scratch_dir

# It makes and removes directories until SIGINT comes; a thread fills them all the while, and nobody waits for it.
BUSY = """
import contextlib, threading
from fanfold import interrupt
from fanfold.scratch import scratch_dir

now = []

def fill():
    number = 0
    while True:
        number += 1
        with contextlib.suppress(OSError):
            now[-1].joinpath(f"part {number % 50}").mkdir()

interrupt.install()
for turn in range(1_000_000):
    with scratch_dir() as folder:
        now.append(folder)
        for number in range(50):
            (folder / str(number)).write_bytes(b"content")
        if not turn:
            threading.Thread(target=fill, daemon=True).start()
            print("started", flush=True)
"""


def test_a_block_removes_what_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is empty and private at first, and gone after the block, whatever the block raises."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyError), scratch_dir() as folder:  # noqa: PT012 - it ends as the block raises
        assert list(folder.iterdir()) == []
        assert [path.stat().st_mode & 0o077 for path in tmp_path.iterdir()] == [0]
        (folder / "deep" / "deeper").mkdir(parents=True)
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_interrupt_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    """SIGINT while a directory is made, filled or removed, also by a thread that goes on, leaves nothing behind."""
    chance = random.Random(1)
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", BUSY],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        ) as process:
            assert process.stdout
            assert process.stderr
            process.stdout.readline()
            time.sleep(chance.random() / 20)
            process.send_signal(signal.SIGINT)
            errors = process.stderr.read()
        assert (process.returncode, errors) == (130, b"interrupted\n")
        assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory whose process was killed is gone after the next block; that of a living process, or a link, stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = "from fanfold.scratch import scratch_dir\nwith scratch_dir() as folder: print(folder, flush=True), input()"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "content").mkdir(parents=True)
    (elsewhere / "lock").touch()
    (tmp_path / "fanfold-link").symlink_to("elsewhere")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout
        other = Path(process.stdout.readline().strip())
        with scratch_dir():
            assert other.is_dir()
        process.kill()
    assert other.is_dir()
    with scratch_dir():
        assert not other.parent.exists()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["content", "elsewhere", "fanfold-link", "lock"]
