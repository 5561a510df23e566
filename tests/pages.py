"""What a page of the documentation shows, and how a reader follows it.

A page is followed from top to bottom, in one folder. The language of a fenced block says what to do with it:

    sh title="a.csv"  any language with a title: a file, to be written under that name
    sh                commands, to be run
    text              right behind commands: what they print; `…` stands for anything
    console           commands for the reader's own machine: they are not run
"""

import dataclasses
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

FENCED = re.compile(r'^ *```(\w*)(?: title="([^"]+)")?\n(.*?)^ *```$', re.DOTALL | re.MULTILINE)
# A reader is slower than a test: files settle in the meantime.
SETTLE_SECONDS = 2.1


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str
    text: str
    line: int
    """Number of its first line in the page."""


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2] or "", found[3], text.count("\n", 0, found.start(3)) + 1)
        for found in FENCED.finditer(text)
    ]


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def follow(page: Path, folder: Path) -> Iterator[tuple[Block, str, str]]:
    """Do what a page says, in `folder`; yield each block of commands with what it printed and what the page shows.

    Raises:
        AssertionError: a command failed.
    """
    shown = blocks(page)
    for block, behind in zip(shown, [*shown[1:], None], strict=True):
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            time.sleep(SETTLE_SECONDS if re.search(r"fanfold (plan|status)", block.text) else 0)
            expected = behind.text if behind and behind.language == "text" and not behind.title else ""
            yield block, run(block.text, folder), expected


def run(commands: str, folder: Path) -> str:
    """Run commands in a folder, as a reader does who has Fanfold installed; return what they print.

    Raises:
        AssertionError: one fails.
    """
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(folder / ".airflow"),
        "PWD": str(folder),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\nended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def matches(shown: str, printed: str) -> bool:
    """Say whether a command printed what a page shows: a line `…` stands for any lines, `…` in a line for any text."""
    pattern = ""
    for line in shown.rstrip("\n").split("\n"):
        pattern += (
            r"(?:.*\n)*?" if line.strip() == "…" else r"[^\n]*".join(map(re.escape, line.rstrip().split("…"))) + r" *\n"
        )
    return re.fullmatch(pattern, printed.rstrip("\n") + "\n") is not None
