"""What this process may do in the folders of a feed, and that no link leads it out of them."""

import contextlib
import os
import pwd
from collections.abc import Collection, Iterable
from pathlib import Path

from fanfold import links
from fanfold.errors import PathError
from fanfold.layout import Run
from fanfold.links import AnyPath


def who_am_i() -> str:
    """Name the user that this process is, for messages."""
    with contextlib.suppress(KeyError):
        return f"user {pwd.getpwuid(os.geteuid()).pw_name!r}"
    return f"user {os.geteuid()}"


def is_writable(directory: AnyPath) -> bool:
    """Say whether this process may make and remove names in a directory."""
    return os.access(directory, os.W_OK | os.X_OK, effective_ids=True)


def check_readable(directory: AnyPath) -> None:
    """Check that this process may list a directory and look at what lies in it.

    Raises:
        PathError: it may not.
    """
    if not os.access(directory, os.R_OK | os.X_OK, effective_ids=True):
        msg = f"{os.fspath(directory)!r}: {who_am_i()} may not read it, expected read and search permission"
        raise PathError(msg)


def check_writable(directories: Iterable[AnyPath]) -> None:
    """Check that this process may write into directories, or make them where they are missing.

    Raises:
        PathError: it may not, or something else has the name of one.
    """
    for directory in directories:
        there = wanted = os.fspath(directory)
        while not os.path.lexists(there):
            there = os.path.split(there)[0]
        needed = "" if there == wanted else f", where {wanted!r} is to be made"
        if not Path(there).is_dir():
            msg = f"{there!r} is not a folder{needed}: move it away, and run again"
            raise PathError(msg)
        if not is_writable(there):
            msg = f"{there!r}: {who_am_i()} may not write into this folder{needed}: change its owner, group or mode"
            raise PathError(msg)


def check_targets(directories: Iterable[AnyPath], roots: Collection[AnyPath]) -> None:
    """Check that directories lie inside of one of `roots`, links followed, and that this process may write into them.

    Raises:
        PathError: a link leads out, or it may not.
    """
    directories = list(directories)
    links.check_inside(directories, roots)
    check_writable(directories)


def check_links(run: Run, names: Iterable[tuple[str, int]]) -> list[str]:
    """Check that no link leads out of the feed from where a run has files, or will have.

    Args:
        run: the run.
        names: the names of files in landing, each with the number of its subdirectory.

    Returns:
        The directories in which the run has files, or will have, but for those of landing.

    Raises:
        PathError: one leads out, or lies among Fanfold's own files.
    """
    folders = {(name.rpartition("/")[0], run.group(n)) for name, n in names}
    groups, feed = {group for _, group in folders}, run.feed
    own = [run.staging_dir, run.work_dir, run.references_dir, run.output_dir]
    directories = [*feed.folders[1:], feed.references_dir, *own, *(group.spill_dir for group in groups)]
    # There may be as many folders as files: a Path takes longer to make than to look at.
    below = {f"{feed.archive_dir}/{folder}" for folder, _ in folders}
    for folder, group in folders:
        below |= {group.staged_path(folder), f"{group.quarantine_dir}/{folder}"}
    found = [*map(str, directories), *(path.rstrip("/") for path in below)]
    links.check_inside(found, feed.folders)
    links.check_plain([*own, *(path for group in groups for path in (group.work_dir, group.quarantine_dir))])
    return found


def check_places(run: Run, names: Iterable[tuple[str, int]]) -> None:
    """Check, before anything is changed, what a run needs of the places of its files, as `check_links` takes them.

    Raises:
        PathError: a link leads out of the feed, or this process may not write into a folder.
    """
    names = list(names)
    found = check_links(run, names)
    landing_dirs = {f"{run.feed.landing_dir}/{name}".rpartition("/")[0] for name, _ in names}
    links.check_inside(landing_dirs, run.feed.folders)
    check_writable(found)
