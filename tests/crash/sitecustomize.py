"""Loaded by every process of a crash test: kills them all, by SIGKILL, before the k-th change of the file system.

CRASH_ROOT is the directory whose changes count, CRASH_AT is k (0: never), CRASH_LOG gets one byte for each change, and
CRASH_LOG.what a line that names it.
"""

import fcntl
import os
import signal
import sys

ROOT, AT, LOG = os.environ["CRASH_ROOT"], int(os.environ["CRASH_AT"]), os.environ["CRASH_LOG"]
CHANGES = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
counter = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
what = os.open(f"{LOG}.what", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def on_event(event: str, arguments: tuple[object, ...]) -> None:
    if event not in CHANGES or not arguments or not str(arguments[0]).startswith(ROOT):
        return
    if event == "open" and not int(str(arguments[2] or 0)) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return
    fcntl.flock(counter, fcntl.LOCK_EX)
    os.write(counter, b".")
    # A rename and a link name two places.
    places = [str(place).removeprefix(ROOT) for place in arguments[:2] if str(place).startswith(ROOT)]
    os.write(what, f"{event} {' '.join(places)}\n".encode())
    if os.fstat(counter).st_size == AT:
        os.killpg(0, signal.SIGKILL)
    fcntl.flock(counter, fcntl.LOCK_UN)


sys.addaudithook(on_event)
