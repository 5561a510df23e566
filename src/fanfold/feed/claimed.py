"""The files that a run has claimed, as they lie staged."""

import contextlib
import os
import stat

from fanfold import mirrors
from fanfold.errors import DataError
from fanfold.layout import Group


def claimed_file(group: Group, name: str) -> os.stat_result:
    """Return the state of a claimed original that is still staged.

    Raises:
        DataError: it is gone, or is not a regular file any more.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        info = mirrors.lstat(group.staged_path(name))
        if stat.S_ISREG(info.st_mode):
            return info
    msg = f"{name!r} is not a file in {group.subdir!r} any more, expected the one that was claimed: put it back"
    raise DataError(msg)


def version(state: os.stat_result) -> tuple[int, int, int, int]:
    """Return what tells two states of one path apart: inode, size, times of last change."""
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
