"""One owner at a time. What a process that ended was at, however it ended, goes to whoever asks next.

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

import msgspec

from fanfold import links
from fanfold.errors import BusyError

log = logging.getLogger(__name__)

BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")
PAUSE_SECONDS = 0.05
# A process that was killed lets go of its locks only when its memory is put away.
GRACE_SECONDS = 2


class Owner(msgspec.Struct, frozen=True):
    """Who holds a lease: a process of one boot of a host, and what it does."""

    host: str
    boot: str
    process: int
    does: str

    def __str__(self) -> str:
        """Say it in a message."""
        return f"{self.does} in process {self.process} on {self.host!r} (boot {self.boot})"


# Made once: msgspec 0.22 dies where two threads learn one class at once.
OWNER = msgspec.json.Decoder(Owner)


@contextlib.contextmanager
def hold(*paths: Path, does: str) -> Iterator[None]:
    """Own all of `paths` until the block ends, or the process does. Their directories exist.

    Args:
        paths: the leases.
        does: what the owner does, for those who come late.

    Raises:
        BusyError: another process, which is named, owns one of them.
        FileNotFoundError: the run was completed or given up in this moment.
    """
    with contextlib.ExitStack() as held:
        for path in paths:
            held.enter_context(_hold(path, does))
        yield


@contextlib.contextmanager
def _hold(path: Path, does: str) -> Iterator[None]:
    descriptor = links.open_file(path, os.O_RDWR | os.O_CREAT)
    try:
        locked, last = _lock(descriptor), time.monotonic() + GRACE_SECONDS
        while not locked and time.monotonic() < last:
            time.sleep(PAUSE_SECONDS)
            locked = _lock(descriptor)
        written = os.pread(descriptor, 4096, 0)
        owner = _decode(written)
        if not locked:
            msg = f"{str(path.parent)!r} is in work: {owner or 'by another process'}; try again when it has ended"
            raise BusyError(msg)
        if not _is_at(descriptor, path):
            raise FileNotFoundError(path)
        if written:
            log.info("took %r over from a process that did not end well: %s", str(path.parent), owner)
        _write(descriptor, msgspec.json.encode(_myself(does)))
        try:
            yield
        finally:
            _write(descriptor, b"")
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def one_by_one(path: Path, seconds: float) -> Iterator[None]:
    """Let one process at a time into the block; others wait.

    Args:
        path: made empty where it is not there, in a directory that is; its content is not looked at.
        seconds: how long to wait.

    Raises:
        BusyError: after so many seconds another process is still inside.
    """
    last = time.monotonic() + seconds
    while True:
        descriptor = links.open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            if _lock(descriptor) and _is_at(descriptor, path):
                yield
                return
        finally:
            os.close(descriptor)
        if time.monotonic() > last:
            msg = f"{str(path)!r} is locked by another process for {seconds:g} s; try again when it has ended"
            raise BusyError(msg)
        time.sleep(PAUSE_SECONDS)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _write(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)


def _decode(written: bytes) -> Owner | None:
    # Between locking and writing, a new owner has not named itself yet.
    with contextlib.suppress(msgspec.MsgspecError):
        return OWNER.decode(written)
    return None


def _myself(does: str) -> Owner:
    try:
        boot = BOOT_ID_PATH.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        boot = "unknown"
    return Owner(socket.gethostname(), boot, os.getpid(), does)
