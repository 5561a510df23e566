"""The files that a run has claimed, as they lie staged."""

import contextlib
import os
import stat

from fanfold import mirrors
from fanfold.errors import DataError
from fanfold.feed.access import who_am_i
from fanfold.layout import Group


def claimed_file(group: Group, name: str) -> os.stat_result:
    """Return the state of a claimed original that is still staged.

    Raises:
        DataError: it is gone, is not a regular file any more, or may not be read any more.
    """
    path = group.staged_path(name)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        info = mirrors.lstat(path)
        if stat.S_ISREG(info.st_mode):
            if os.access(path, os.R_OK, effective_ids=True):
                return info
            msg = f"{name!r} in {group.subdir!r}: {who_am_i()} may not read it any more: allow it, and run again"
            raise DataError(msg)
    msg = f"{name!r} is not a file in {group.subdir!r} any more, expected the one that was claimed: put it back"
    raise DataError(msg)


def version(state: os.stat_result) -> tuple[int, int, int, int]:
    """Return what tells two states of one path apart: inode, size, times of last change."""
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
