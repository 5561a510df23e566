"""The fuzzer itself: it runs, it is clean for a few seconds, and it would see a fault."""

import os
import subprocess
from pathlib import Path

import pytest

import compiler
from tests.fuzz.__main__ import SANITIZED, start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        compiler.of_the_system() is None and not os.environ.get("CI"), reason="only gcc and clang have the sanitizers"
    ),
]


def test_a_few_seconds_of_mutations_find_nothing(tmp_path: Path) -> None:
    """Under sanitizers, no mutation crashes the core, and no cut of one gives another answer."""
    running = start(tmp_path, seed=7, seconds=3)
    printed, _ = running.communicate()
    assert running.returncode == 0, (tmp_path / "found").read_bytes()
    assert int(printed) > 100


def test_the_sanitizers_see_a_step_too_far(tmp_path: Path) -> None:
    """What the core is built with for this ends a process that reads behind its memory."""
    source = tmp_path / "far.c"
    source.write_text(
        "#include <stdlib.h>\nint main(int n, char **a) { (void)a; char *p = calloc(8, 1); return p[n + 7]; }\n"
    )
    command = compiler.of_the_system() or []
    subprocess.run([*command, *SANITIZED, "-o", tmp_path / "far", source], check=True)
    done = subprocess.run([tmp_path / "far"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "AddressSanitizer" in done.stderr or "runtime error" in done.stderr
