"""The claim: files of landing become those of one run, by a rename; and what a run leaves in staging."""

import contextlib
import errno
import logging
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from fanfold import durable, mirrors
from fanfold.errors import DataError
from fanfold.feed.access import who_am_i
from fanfold.feed.landing import warn
from fanfold.layout import Group, Run

log = logging.getLogger(__name__)


def claim(run: Run, files: Iterable[tuple[str, int]]) -> set[str]:
    """Move files out of landing into their subdirectories: the rename is the claim.

    Files that are in their subdirectory already are left as they are, so a second call completes a first one. A warning
    says of those that are not claimed why.

    Args:
        run: the run that claims.
        files: name in landing and number of the subdirectory of each.

    Returns:
        The names that are not claimed: somebody else took them before, or the system refuses to rename them. Of a file
        and its marker either both are claimed, or none.
    """
    if mirror := mirrors.of(run.feed.data_dir):
        return mirror.claim(run, files)
    vanished: set[str] = set()
    held: dict[str, list[str]] = {}
    touched: set[str] = set()
    marker = run.feed.spec.input.done_suffix
    # The marker first: a file without one is not ready.
    suffixes = [marker, ""] if marker else [""]
    places = [*files]
    folders = {os.path.dirname(run.group(n).staged_path(name)) for name, n in places}  # noqa: PTH120 - there may be many
    durable.make_all_dirs({Path(folder) for folder in folders})
    for name, n in places:
        landed, staged = f"{run.feed.landing_dir}/{name}", run.group(n).staged_path(name)
        folders = {landed.rpartition("/")[0], staged.rpartition("/")[0]}
        touched |= folders
        try:
            for suffix in suffixes:
                if not os.path.lexists(staged + suffix):
                    os.rename(landed + suffix, staged + suffix)  # noqa: PTH104
        except FileNotFoundError:
            vanished.add(name)
        except PermissionError as error:
            refused = f"{who_am_i()} may not rename it ({error.strerror})"
            held.setdefault(f"{refused}: look at attributes (lsattr) and access lists", []).append(name)
        if marker and not os.path.lexists(staged):
            with contextlib.suppress(FileNotFoundError):
                os.rename(staged + marker, landed + marker)  # noqa: PTH104
    durable.sync_dirs(touched)
    warn({reason: sorted(names) for reason, names in held.items()})
    for name in sorted(vanished):
        log.warning("%r was taken out of landing before it could be claimed: it is not in this run", name)
    return vanished.union(*held.values())


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


def left_in(run: Run) -> Path | None:
    """Return a file that lies in a subdirectory of the run; None where all are empty."""
    for folder, _, names in os.walk(run.staging_dir):
        if names and not Path(folder).is_relative_to(run.work_dir):
            return Path(folder, names[0])
    return None


def remove_run(run: Run) -> None:
    """Remove `staging/<ts>` of a run that is complete, or that has no file; a second call completes a first one.

    Raises:
        DataError: a file is left in a subdirectory; nothing is removed.
    """
    if not run.staging_dir.is_dir():
        return
    if left := left_in(run):
        msg = f"{str(left)!r} is left in a finished run, expected nothing: move it away and run again"
        raise DataError(msg)
    # Without files.json there is no run: a removal that is cut short leaves none behind that cannot be read.
    run.files_path.unlink(missing_ok=True)
    while run.staging_dir.is_dir():
        try:
            shutil.rmtree(run.staging_dir)
        except OSError as error:
            # Another process removes it as well, or came for its lease a moment ago.
            if error.errno not in {errno.ENOENT, errno.ENOTEMPTY}:
                raise
    durable.sync_dirs({run.feed.staging_dir})
    if mirror := mirrors.of(run.feed.data_dir):
        mirror.end(run)
