"""Temporary directories: each is removed at the end of its block, and by Ctrl-C at whatever moment it comes.

What a killed process leaves, the next one removes.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from fanfold import interrupt


@contextlib.contextmanager
def scratch_dir() -> Iterator[Path]:
    """Make an empty directory among the temporary files (TMPDIR), and remove it with everything in it."""
    top = Path(tempfile.gettempdir()).resolve()
    _remove_abandoned(top)
    folder = top / f"fanfold-{uuid.uuid4().hex}"
    remove = partial(_remove, folder)
    # Before it is there: SIGINT may come at any moment.
    interrupt.put_away.append(remove)
    try:
        content = folder / "content"
        folder.mkdir(mode=0o700)
        with (folder / "new").open("x") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Under this name others try it, and it is never free there before the process ends.
            (folder / "new").rename(folder / "lock")
            content.mkdir()
            yield content
    finally:
        remove()
        interrupt.put_away.remove(remove)


def _remove_abandoned(top: Path) -> None:
    for lock in top.glob("fanfold-*/lock"):
        # It is in use, of another user, or gone by now.
        with contextlib.suppress(OSError), lock.open("rb") as file:
            info = lock.parent.lstat()
            if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid():
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(lock.parent)


def _remove(folder: Path) -> None:
    content = folder / "content"
    # It may have been done before, or be done in part.
    with contextlib.suppress(OSError):
        # Threads that nobody waits for may still work in it. From now on they find nothing.
        content.rename(folder / "gone")
        # They cannot make a folder again where a file lies.
        content.touch()
    shutil.rmtree(folder, ignore_errors=True)
