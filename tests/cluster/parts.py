"""The processes of a cluster: each part has a log and a mark, which all that it starts inherits, and by which it ends.

A process beside them, the guard, holds one end of a pipe. However the tests end, Ctrl-C and `kill -9` included, the
pipe closes. The guard then ends all parts and removes their folder.
"""

import collections
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self

import psutil

from fanfold.airflow.embedded import processes
from fanfold.airflow.embedded.errors import ServerDiedError

ROOT = Path(__file__).parents[2]
MOST_DEATHS = 5


class Part(NamedTuple):
    """What starts a part."""

    command: Sequence[str | Path]
    environ: Mapping[str, str]


class Parts:
    """The parts in one folder, which is made for them and goes with them."""

    def __init__(self) -> None:
        """Make the folder, and start the guard."""
        self.folder = Path(tempfile.mkdtemp(prefix="fanfold-cluster-"))
        # PostgreSQL does not run as root; another user has to find its own folder in this one.
        self.folder.chmod(0o711)
        self._guard = self._spawn([sys.executable, "-m", __name__, self.folder], None, subprocess.PIPE, "guard")
        self._parts: dict[str, Part] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._killed: set[str] = set()
        self.deaths: collections.Counter[str] = collections.Counter()
        """How often each part ended by itself."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End every part, and remove the folder."""
        with self._guard as guard:
            assert guard.stdin is not None
            guard.stdin.close()
        for child in self._children.values():
            child.wait()

    def start(self, name: str, part: Part) -> None:
        """Start a part; if it ends, `check` starts it again."""
        self._parts[name] = part
        self._killed.discard(name)
        environ = {**part.environ, processes.MARK: f"{name} {self.folder}"}
        self._children[name] = self._spawn(part.command, environ, subprocess.DEVNULL, name)

    def kill(self, name: str) -> None:
        """Kill a part and all that it started, as if its machine went dark."""
        self._killed.add(name)
        processes.end(self.folder, name)
        self._children[name].wait()

    def stop(self, name: str) -> None:
        """Kill a part, and do not start it again."""
        self.kill(name)
        del self._children[name]

    def check(self) -> list[str]:
        """Start every part that has ended again, as a service manager would; return their names.

        Raises:
            ServerDiedError: a part ended by itself too often.
        """
        ended = [name for name, child in self._children.items() if child.poll() is not None]
        self.deaths.update(set(ended) - self._killed)
        for name in ended:
            if self.deaths[name] > MOST_DEATHS:
                msg = f"{name} ended by itself more than {MOST_DEATHS} times; see {self.log(name)}"
                raise ServerDiedError(msg)
            # What it started must not go on beside what is started again.
            self.kill(name)
            self.start(name, self._parts[name])
        return ended

    def processes(self, names: Iterable[str]) -> list[psutil.Process]:
        """Return the main process of each of these parts that runs."""
        found = []
        for name in names:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(self._children[name].pid))
        return found

    def log(self, name: str) -> Path:
        """Return the log of a part."""
        return self.folder / f"{name}.log"

    def _spawn(
        self, command: Sequence[str | Path], environ: Mapping[str, str] | None, stdin: int, name: str
    ) -> subprocess.Popen[bytes]:
        log: IO[bytes]
        with self.log(name).open("ab") as log:
            return subprocess.Popen(
                command,
                env=environ,
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the tests; the guard then ends the parts.
                start_new_session=True,
                cwd=ROOT,
            )


def guard(folder: Path) -> None:
    """Wait until nobody holds the other end of standard input, then end the parts and remove their folder."""
    sys.stdin.read()
    processes.end(folder)
    shutil.rmtree(folder)


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
