"""Whether the file systems of a feed guarantee what it relies on: tested in temporary folders, which are removed."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fanfold import durable
from fanfold.errors import BusyError, MissingError
from fanfold.feed import lease
from fanfold.feed.moves import REFUSED
from fanfold.fitness import Fitness, Trial, judged
from fanfold.layout import Feed

LOCKS_AND_STAYS = """
import fcntl, sys, time
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
"""


def probe(feed: Feed) -> Fitness:
    """Test the folders of a feed, one on each of their file systems. Nothing is left behind.

    Raises:
        MissingError: the data_dir is not there.
        OSError: this process may not write there, or the disk fails.
    """
    if not feed.data_dir.is_dir():
        msg = f"{str(feed.data_dir)!r} is not a directory, expected the root of the feed (data_dir)"
        raise MissingError(msg)
    folders = [feed.output_dir, feed.archive_dir, feed.quarantine_dir, feed.staging_dir, feed.data_dir]
    with contextlib.ExitStack() as made:
        by_device = {
            folder.stat().st_dev: made.enter_context(tempfile.TemporaryDirectory(prefix=".fanfold-doctor-", dir=folder))
            for folder in folders
            if folder.is_dir()
        }
        return judged(_trials([Path(directory) for directory in by_device.values()]))


def _trials(directories: list[Path]) -> Iterator[Trial]:
    def in_each(keeps: Callable[[Path], bool]) -> Callable[[], bool]:
        return lambda: all(map(keeps, directories))

    yield Trial("rename", in_each(_renames), "a file is complete and on disk when its name appears")
    yield Trial(
        "link",
        in_each(_links),
        "an original gets its final name by a link, which never replaces a file",
        "an original is renamed, or copied and compared, if no file has the name",
    )
    yield Trial("lock", in_each(_locks), "a lock keeps out other processes on this machine as long as its owner lives")


def _renames(directory: Path) -> bool:
    path = directory / "renamed"
    for content in (b"old", b"new"):
        durable.write(path, content)
    return path.read_bytes() == b"new" and not durable.temporary(path).exists()


def _links(directory: Path) -> bool:
    first, second = directory / "first", directory / "second"
    first.write_bytes(b"first")
    try:
        os.link(first, second)
        os.link(directory / "renamed", second)
    except FileExistsError:
        return second.read_bytes() == b"first"
    except OSError as error:
        if error.errno not in REFUSED:
            raise
    return False


def _locks(directory: Path) -> bool:
    path = directory / "locked"
    path.touch()
    command = [sys.executable, "-c", LOCKS_AND_STAYS, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:  # noqa: S603 - our own
        try:
            is_locked = bool(other.stdout and other.stdout.readline()) and not _can_lock(path, 0)
        finally:
            other.kill()
    return is_locked and _can_lock(path, lease.GRACE_SECONDS)


def _can_lock(path: Path, seconds: float) -> bool:
    with contextlib.suppress(BusyError), lease.locked(path, seconds):
        return True
    return False
