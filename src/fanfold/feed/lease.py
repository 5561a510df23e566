"""One owner at a time: when a process ends, however it ends, the next one that asks becomes the owner.

A lease is a file in the folder of the run, locked by its owner (flock) as long as the owner lives; the file names the
owner for those who come late. On a shared file system it must lock across hosts (NFS 4 does).
"""

import contextlib
import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from fanfold import links
from fanfold.errors import BusyError

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.05
# A process that was killed lets go of its locks only when its memory is put away.
GRACE_SECONDS = 2


@contextlib.contextmanager
def hold(*paths: Path, does: str) -> Iterator[None]:
    """Own all of `paths` until the block ends, or the process does. Their directories exist.

    Args:
        paths: the leases.
        does: what the owner does, for those who come late.

    Raises:
        BusyError: another process, which is named, owns one of them.
        FileNotFoundError: the run was completed or given up a moment ago.
    """
    owner = f"{does} in process {os.getpid()} on {socket.gethostname()!r}"
    with contextlib.ExitStack() as held:
        for path in paths:
            descriptor = held.enter_context(locked(path, GRACE_SECONDS, names_owner=True))
            if before := _owner(descriptor):
                log.info("took over %r: its owner, %s, ended without releasing it", str(path), before)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, owner.encode(), 0)
            held.callback(os.ftruncate, descriptor, 0)
        yield


@contextlib.contextmanager
def locked(path: Path, seconds: float, *, names_owner: bool = False) -> Iterator[int]:
    """Let one process at a time into the block, with the descriptor of the locked file; the others wait.

    Args:
        path: the file to lock, made empty where it is missing. Its directory exists.
        seconds: how long to wait.
        names_owner: whether the file says who has locked it.

    Raises:
        BusyError: another process is still inside after that time.
    """
    last = time.monotonic() + seconds
    while True:
        descriptor = links.open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            is_ours = False
            with contextlib.suppress(BlockingIOError, FileNotFoundError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The one before may have removed the file, and the run with it.
                is_ours = os.path.samestat(os.fstat(descriptor), path.stat())
            if is_ours:
                yield descriptor
                return
            if time.monotonic() > last:
                owner = _owner(descriptor) if names_owner else ""
                msg = f"{str(path)!r} is locked by {owner or 'another process'} for {seconds:g} s: try again later"
                raise BusyError(msg)
        finally:
            os.close(descriptor)
        time.sleep(PAUSE_SECONDS)


def _owner(descriptor: int) -> str:
    """Return the name of the owner; none where it was given back, or a new owner has not written its name yet."""
    return os.pread(descriptor, 4096, 0).decode(errors="replace")
