"""Kills processes of an Airflow, whatever its executor, at random moments of the life of tasks."""

import contextlib
import random
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

import psutil

LIFE_SECONDS = 0.7


class Killed(NamedTuple):
    """What was killed: a kind of process, and the task that it was at."""

    kind: str
    task: str


def busy(parents: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return the children of these processes that run a task now: their supervisors."""
    found = []
    for parent in parents:
        with contextlib.suppress(psutil.Error):
            found += [worker for worker in parent.children() if worker.children()]
    return found


class Target(Protocol):
    """An Airflow whose processes can be killed."""

    def supervisors(self) -> list[psutil.Process]:
        """Return the processes that run a task now, as the parents of their tasks."""

    def kill(self, kind: str, supervisor: psutil.Process, task: int, /) -> None:
        """Kill what `kind` says of a task that runs."""


class Killer:
    """Kills processes of an Airflow at random moments of the life of tasks."""

    def __init__(self, target: Target, kinds: Mapping[str, int], seed: int) -> None:
        """Note how often each kind of process is killed, in comparison; nothing is killed yet."""
        self._target = target
        self._kinds = kinds
        self._chosen = random.Random(seed)
        self._seen: set[int] = set()
        self.names: dict[str, str] = {}
        self.killed: list[Killed] = []

    def try_kill(self) -> bool:
        """Wait for a task that has just begun, and kill something; say whether there was one."""
        fresh = [one for one in self._target.supervisors() if self._task(one) not in {None, *self._seen}]
        if not fresh:
            time.sleep(0.02)
            return False
        supervisor = self._chosen.choice(fresh)
        process = self._task(supervisor)
        if process is None:
            return False
        self._seen.add(process)
        (kind,) = self._chosen.choices(list(self._kinds), list(self._kinds.values()))
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            task = _title(supervisor)
            time.sleep(self._chosen.uniform(0, LIFE_SECONDS))
            if self._task(supervisor) != process:
                return False
            self._target.kill(kind, supervisor, process)
            self.killed.append(Killed(kind, self.names.get(task, "just begun")))
            return True
        return False

    @staticmethod
    def _task(supervisor: psutil.Process) -> int | None:
        """Return the process of the task that a supervisor runs."""
        with contextlib.suppress(psutil.Error):
            for child in supervisor.children():
                if child.status() != psutil.STATUS_ZOMBIE:
                    return child.pid
        return None


def _title(supervisor: psutil.Process) -> str:
    """Return the id of the task instance that a supervisor runs, which is the end of its title."""
    words = " ".join(supervisor.cmdline()).split()
    return words[-1] if words else "unknown"
