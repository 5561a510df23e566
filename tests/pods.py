"""A run as pods do it: each step in a process of its own, with an empty home, and nothing that an earlier one left."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

STEPS = ("start", "stage_files", "create_dynamic_taskgroups")
GROUP_STEPS = ("merge_data", "denormalize_data", "archive_files")
DO = """
import importlib, sys
from fanfold import mirrors
from fanfold.errors import EmptySubdir
from fanfold.feed import runs
step, spec, ts, n = sys.argv[1:]
with mirrors.working():
    do = getattr(importlib.import_module(f"fanfold.steps.{step}"), step)
    feed = do(spec) if step == "start" else runs.open_feed(spec, None, *((ts, int(n)) if int(n) else ()))
    where = feed.spec.data_dir
    if step == "stage_files":
        do(feed, ts)
    elif step == "create_dynamic_taskgroups":
        do(where, ts, feed.spec.subdirs)
    elif step == "verify_run":
        do(where, ts, feed.spec.subdirs)
    elif step != "start":
        try:
            do(f"staging/{ts}/{n}", where)
        except EmptySubdir:
            pass
"""


def step(name: str, spec: Path, ts: str, n: int = 0, env: Mapping[str, str] = {}) -> subprocess.CompletedProcess[str]:
    """Do one step in a process of its own."""
    with tempfile.TemporaryDirectory() as home:
        kept = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG"}}
        own = {"HOME": home, "TMPDIR": home, "XDG_CACHE_HOME": f"{home}/cache"}
        done = subprocess.run(
            [sys.executable, "-c", DO, name, str(spec), ts, str(n)],
            env=kept | own | dict(env),
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        left = [path for path in Path(home).iterdir() if path.name.startswith("fanfold-")]
        assert not left, left
    return done


def run(spec: Path, ts: str, subdirs: int, env: Mapping[str, str] = {}) -> None:
    """Do all steps of a run, one after the other."""
    todo = [*((name, 0) for name in STEPS)]
    todo += [(name, n) for n in range(1, subdirs + 1) for name in GROUP_STEPS]
    for name, n in [*todo, ("verify_run", 0)]:
        done = step(name, spec, ts, n, env)
        assert not done.returncode, (name, n, done.stderr)
