"""What one run of a command costs, as a whole process with all that it starts."""

import contextlib
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil


class Cost(NamedTuple):
    """Of one run: wall and CPU seconds, the peak of the resident memory of its largest process, in bytes.

    `between` is how many bytes it has written that are neither input nor output.
    """

    wall: float
    cpu: float
    peak: int
    between: int = 0


class Spread(NamedTuple):
    """Of several runs: the least, the median, the most."""

    least: float
    median: float
    most: float


def run(
    command: Sequence[str | Path],
    environ: Mapping[str, str] = {},
    log: Path | None = None,
    between: tuple[Path, str] | None = None,
) -> Cost:
    """Run a command to its end.

    Args:
        command: what is run.
        environ: what is added to the environment.
        log: where all goes that it says.
        between: a folder, and the pattern of what is written there between input and output.

    Raises:
        CalledProcessError: it failed; what it said is in the log.
    """
    with (log or Path(os.devnull)).open("wb") as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(map(str, command)), stdout=said, stderr=subprocess.STDOUT, env=os.environ | environ
        )
        # A process that nobody waits for is in no usage but its own.
        seen: dict[int, tuple[float, int]] = {}
        sizes: dict[Path, int] = {}
        watcher = threading.Thread(target=_watch, args=(process.pid, seen, between, sizes), daemon=True)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(map(str, command)))
    cpu = sum(cpu for cpu, _ in seen.values())
    # The usage would count what this process had when it forked.
    peak = max((peak for _, peak in seen.values()), default=0)
    return Cost(wall, max(cpu, usage.ru_utime + usage.ru_stime), peak, sum(sizes.values()))


def spread(values: Sequence[float]) -> Spread:
    """Return least, median and most."""
    return Spread(min(values), statistics.median(values), max(values))


def _watch(
    pid: int, seen: dict[int, tuple[float, int]], between: tuple[Path, str] | None, sizes: dict[Path, int]
) -> None:
    """Note CPU seconds and the peak of memory of a process and all below it, as they were last seen.

    And the largest size of each file that matches a pattern in a folder.
    """
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            for one in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error, OSError):
                    times, before = one.cpu_times(), seen.get(one.pid, (0.0, 0))
                    seen[one.pid] = times.user + times.system, max(before[1], _peak(one.pid))
            if between:
                _note_sizes(*between, sizes)
            time.sleep(0.1)


def _note_sizes(folder: Path, pattern: str, sizes: dict[Path, int]) -> None:
    # What is removed meanwhile has been seen, or is seen next time.
    with contextlib.suppress(OSError):
        for path in folder.glob(pattern):
            if path.is_file():
                sizes[path] = max(sizes.get(path, 0), path.stat().st_size)


def _peak(pid: int) -> int:
    """Return the most memory that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)
