"""Two ways to do a command under the shim: the command line, and a fork of a process that has all imported."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.conftest import PATIENCE_SECONDS, TS
from tests.torture.shim import Strike

# Arguments of `fanfold`, in which two words stand for the spec and its folder; or all steps of a run, one by one.
Command = tuple[str, ...]
SPEC, FOLDER = "SPEC", "FOLDER"
STEPS: Command = ("steps",)


class Ended(NamedTuple):
    """How a command ended: its exit code, negative for a signal, and its error."""

    code: int
    error: str


def arguments(spec: Path, command: Command) -> list[str]:
    """Return the arguments of a command on a feed."""
    places = {SPEC: str(spec), FOLDER: str(spec.parent)}
    return [places.get(word, word.replace(f"{FOLDER}/", f"{spec.parent}/")) for word in command]


class CommandLine:
    """`fanfold`, with all its processes; the steps of a run are `fanfold run`."""

    def __init__(self, library: Path) -> None:
        """Note the shim."""
        self._library = library

    def start(
        self, spec: Path, strike: Strike | None = None, command: Command = STEPS, prefix: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        """Start a command in a session of its own, by the command `prefix` where there is one."""
        if command[:1] == STEPS:
            command = ("run", SPEC, "--ts", *(command[1:] or (TS,)))
        environ = dict(os.environ)
        if strike is not None:
            environ |= {"LD_PRELOAD": str(self._library), **strike.environ(spec.with_name("data"))}
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", "fanfold", *arguments(spec, command)],
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @staticmethod
    def end(process: subprocess.Popen[str]) -> Ended:
        """Wait for the end of a command that was started."""
        with process:
            _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        return Ended(process.returncode, errors)

    def run(self, spec: Path, strike: Strike | None = None, command: Command = STEPS) -> Ended:
        """Do a command to its end."""
        return self.end(self.start(spec, strike, command))


class Forked:
    """A command, or every step of a run, in one process, without the start of an interpreter."""

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

    def run(self, spec: Path, strike: Strike | None = None, command: Command = STEPS) -> Ended:
        """Do a command to its end."""
        settings = (strike or Strike()).environ(spec.with_name("data"))
        with self._one_by_one:
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            self._server.stdin.write(
                json.dumps({"spec": str(spec), "command": arguments(spec, command), "environ": settings}) + "\n"
            )
            self._server.stdin.flush()
            return Ended(*json.loads(self._server.stdout.readline()))


Runner = CommandLine | Forked


def copy(spec: Path, folder: Path) -> Path:
    """Copy a feed with its `data_dir`; return the spec of the copy."""
    return Path(shutil.copytree(spec.parent, folder)) / spec.name


@contextlib.contextmanager
def forks(library: Path, jobs: int) -> Iterator[list[Runner]]:
    """Start so many processes that fork runs."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Forked(library)) for _ in range(jobs)]
