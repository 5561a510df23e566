"""Two ways to do a whole run under the shim: the command line, and a fork of a process that has all imported."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.conftest import TS
from tests.torture.shim import Strike

SECONDS = 120


class Ended(NamedTuple):
    """How a run ended: its exit code, negative for a signal, and its error."""

    code: int
    error: str


class CommandLine:
    """`fanfold run`, with all its processes."""

    def __init__(self, library: Path) -> None:
        """Note the shim."""
        self._library = library

    def start(
        self, spec: Path, strike: Strike | None = None, ts: str = TS, prefix: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        """Start a run in a session of its own, by the command `prefix` where there is one."""
        environ = dict(os.environ)
        if strike is not None:
            environ |= {"LD_PRELOAD": str(self._library), **strike.environ(spec.with_name("data"))}
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", "fanfold", "run", str(spec), "--ts", ts],
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @staticmethod
    def end(process: subprocess.Popen[str]) -> Ended:
        """Wait for the end of a run that was started."""
        with process:
            _, errors = process.communicate(timeout=SECONDS)
        return Ended(process.returncode, errors)

    def run(self, spec: Path, strike: Strike | None = None, ts: str = TS) -> Ended:
        """Do a run to its end."""
        return self.end(self.start(spec, strike, ts))


class Forked:
    """Every step of a run in one process, without the start of an interpreter."""

    def __init__(self, library: Path) -> None:
        """Start the process that forks."""
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.forked"],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "LD_PRELOAD": str(library)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._one_by_one = threading.Lock()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the process that forks."""
        with self._server as server:
            assert server.stdin is not None
            server.stdin.close()

    def run(self, spec: Path, strike: Strike | None = None, ts: str = TS) -> Ended:
        """Do a run to its end."""
        settings = (strike or Strike()).environ(spec.with_name("data"))
        with self._one_by_one:
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            self._server.stdin.write(json.dumps({"spec": str(spec), "ts": ts, **settings}) + "\n")
            self._server.stdin.flush()
            return Ended(*json.loads(self._server.stdout.readline()))


Runner = CommandLine | Forked


def copy(spec: Path, folder: Path) -> Path:
    """Copy a feed with its `data_dir`; return the spec of the copy."""
    return Path(shutil.copytree(spec.parent, folder)) / spec.name
