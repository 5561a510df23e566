"""The processes of an embedded Airflow: every one is recorded, and ended with all that it started."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from fanfold.airflow.embedded.home import ServerError

MARK = "FANFOLD_SERVER"
GRACE_SECONDS = 5.0


def _members(record: Mapping[str, Any]) -> list[psutil.Process]:
    """Return the live processes of a record: those with its token, and those in its sessions."""
    sessions = set()
    for session in record["sessions"]:
        try:
            same = psutil.Process(session["pid"]).create_time() == session["created"]
        except psutil.Error:
            # Until the next boot no new process gets the number of a session that still has members.
            same = session["created"] > psutil.boot_time()
        if same:
            sessions.add(session["pid"])
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            in_session = os.getsid(process.pid) in sessions
            if process.status() != psutil.STATUS_ZOMBIE and (
                in_session or process.environ().get(MARK) == record["token"]
            ):
                members.append(process)
    return members


def end_recorded(home: Path, children: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """End every process that is recorded in the home, by force after some seconds, and drop the record.

    Raises:
        ServerError: a process survives SIGKILL.
    """
    file = home / "processes.json"
    if not file.exists():
        return
    record = json.loads(file.read_text(encoding="utf-8"))
    try:
        _signal_until_gone(record, signal.SIGTERM, again=False)
    finally:
        alive = _signal_until_gone(record, signal.SIGKILL, again=True)
    if alive:
        msg = f"processes that cannot be ended: {sorted(process.pid for process in alive)}"
        raise ServerError(msg)
    for child in children.values():
        child.wait()
    file.unlink()


def end_session(pid: int) -> None:
    """Kill what is left of the session that a process, which has ended, had begun."""
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == pid:
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=GRACE_SECONDS)


def _signal_until_gone(record: Mapping[str, Any], number: signal.Signals, *, again: bool) -> list[psutil.Process]:
    """Signal the processes of a record, once or again and again, and return those alive at the end of the grace."""
    deadline = time.monotonic() + GRACE_SECONDS
    alive = _members(record)
    sent = False
    while alive and time.monotonic() < deadline:
        if again or not sent:
            for process in alive:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)
            sent = True
        time.sleep(0.05)
        alive = _members(record)
    return alive
