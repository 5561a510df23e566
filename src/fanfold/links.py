"""Where a path leads: no link below a folder of the feed leads Fanfold out of it.

A folder that the spec names may itself be a link to another allowed place. Links that are planted while a step works
are not looked for: what is checked is what lies there when the step begins.
"""

import errno
import os
from collections.abc import Collection, Iterable
from io import BufferedReader
from pathlib import Path

from fanfold.errors import PathError

AnyPath = str | os.PathLike[str]


def check_inside(directories: Iterable[AnyPath], roots: Collection[AnyPath]) -> None:
    """Check that directories lie inside of one of `roots`, links followed; those that are missing too.

    Raises:
        PathError: a link leads out of all of them.
    """
    known = {os.fspath(root): os.path.realpath(root) for root in roots}
    real = list(known.values())
    for directory in directories:
        link = os.fspath(directory)
        if not _is_inside(_resolved(link, known), real):
            while not _is_inside(_resolved(parent := os.path.split(link)[0], known), real):
                link = parent
            raise _refused(link)


def _resolved(directory: str, known: dict[str, str]) -> str:
    """Follow links as realpath does, but look at each directory once; `known` are those that were looked at."""
    if directory not in known:
        parent, name = os.path.split(directory)
        path = f"{_resolved(parent, known).rstrip('/')}/{name}" if name else directory
        known[directory] = os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114 - twice as fast
    return known[directory]


def _is_inside(path: str, roots: Collection[str]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def check_plain(directories: Iterable[AnyPath]) -> None:
    """Check that neither Fanfold's own directories nor what lies in them are links. They may be missing.

    Raises:
        PathError: one of them is a link.
    """
    for directory in directories:
        check_no_link(directory)
        for path in Path(directory).glob("*"):
            check_no_link(path)


def check_no_link(path: AnyPath) -> None:
    """Check that a path, followed but for its last name, is not a link.

    Raises:
        PathError: it is one.
    """
    if os.path.islink(path):  # noqa: PTH114
        raise _refused(os.fspath(path))


def open_file(path: AnyPath, flags: int = os.O_RDONLY) -> int:
    """Open a file of the feed, never through a link; return its descriptor.

    Raises:
        PathError: it is a link.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refused(os.fspath(path)) from None
        raise


def reading(path: AnyPath) -> BufferedReader:
    """Open a file of the feed to be read, never through a link.

    Raises:
        PathError: it is a link.
    """
    return os.fdopen(open_file(path), "rb")


def read(path: AnyPath) -> bytes:
    """Return the bytes of a file of the feed, never through a link.

    Raises:
        PathError: it is a link.
    """
    with reading(path) as file:
        return file.read()


def _refused(link: str) -> PathError:
    return PathError(
        f"{link!r} is a link to {os.path.realpath(link)!r}, expected no link that leads out of the feed, and none in "
        "Fanfold's own folders: remove the link and run again"
    )
