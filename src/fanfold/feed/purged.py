"""What was purged of complete runs: a record of each in `.fanfold/purged`, beside the manifest, which stays.

The record holds no clock; the manifest says which files there were. It is on disk before the first file goes.
"""

import contextlib
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from typing import Literal, get_args

import msgspec

from fanfold import documents, mirrors
from fanfold.errors import DataError, MissingError
from fanfold.layout import Feed, Run

Kind = Literal["archive", "output", "quarantine", "references"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Purged(msgspec.Struct, frozen=True):
    """Which kinds of files of a run were purged, and by which version; `done`: none of them is left."""

    format: int
    fanfold: str
    run: str
    what: list[Kind]
    done: bool


def record(run: Run) -> Purged | None:
    """Return the record of what was purged of a run; None if nothing was."""
    return documents.read_if_there(run.purged_path, Purged)


def kinds(run: Run) -> list[Kind]:
    """Return which kinds of files of a run were purged, in their order."""
    found = record(run)
    return found.what if found else []


def kind_of(feed: Feed, path: str) -> Kind:
    """Return which kind of file a manifest names by a path relative to `data_dir`.

    Raises:
        DataError: Fanfold keeps no such file there: somebody changed the manifest.
    """
    folders = (feed.archive_dir, feed.output_dir, feed.quarantine_dir, feed.references_dir)
    place = feed.place(path)
    for kind, folder in zip(KINDS, folders, strict=True):
        if place.startswith(f"{folder}/") and ".." not in PurePosixPath(path).parts:
            return kind
    msg = f"a manifest was changed: found {path!r}, expected a file in a folder of the feed"
    raise DataError(msg)


def lost(run: Run) -> str | None:
    """Say that a run was purged, and what can no longer be proved about it; None if nothing was purged."""
    gone = set(kinds(run))
    if not gone:
        return None
    ways = ["counted"] * bool(gone - {"references"}) + ["made again"] * bool(gone - {"output"}) + ["audited"]
    last = " or ".join(filter(None, [", ".join(ways[:-1]), ways[-1]]))
    return f"purged ({', '.join(kinds(run))}): it can no longer be {last} as a whole"


def kinds_now(run: Run) -> list[Kind]:
    """Return as `kinds` what was purged, also since the feed was opened."""
    mirrors.look_at([str(run.purged_path)])
    return kinds(run)


@contextlib.contextmanager
def left(run: Run, needed: Collection[Kind]) -> Iterator[None]:
    """Check that what a block needs of a complete run was not purged: at first and, where the block fails, again.

    Raises:
        MissingError: it was.
    """
    check_left(run, needed)
    try:
        yield
    except (DataError, OSError):
        kinds_now(run)
        check_left(run, needed)
        raise


def check_left(run: Run, needed: Collection[Kind]) -> None:
    """Check that what is needed of a complete run was not purged.

    Raises:
        MissingError: it was.
    """
    if gone := [kind for kind in kinds(run) if kind in needed]:
        msg = f"run {run.ts} was purged ({', '.join(gone)}), expected a run that still has its files"
        raise MissingError(msg)
