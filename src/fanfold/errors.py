"""Errors that a retry cannot fix, and the exit code of each kind.

Everything that is not a `FanfoldError` (an `OSError`, a killed worker) may go away by itself: Airflow retries it, and
the command line ends with exit code 3.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

Number = TypeVar("Number", int, int | None)
# What a command in a message is about: the message knows no path.
PLACEHOLDER = re.compile(r"\b(fanfold [a-z-]+(?: [a-z-]+)? )SPEC\b")


class FanfoldError(Exception):
    """The spec, the data or the folder must change before the same step can succeed."""

    exit_code = 1


class DataError(FanfoldError):
    """The data is the problem: a file that is not JSON, a duplicate key, a gap in the counts."""


class TakenError(DataError):
    """An object is to be created, but its name is taken by other bytes."""


class ChangedError(DataError):
    """The version of an object that a run has claimed no longer exists."""


class MissingError(FanfoldError):
    """Something that is needed does not exist: a directory, a reference, a column, a run."""

    exit_code = 2


class PathError(FanfoldError):
    """A path leads outside the allowed roots."""

    exit_code = 2


class AccessError(FanfoldError):
    """The store has no such bucket, or refuses the credentials."""

    exit_code = 2


class SpecError(FanfoldError):
    """The spec is wrong. The message has one line per error: `file:line: path: found, expected`."""

    exit_code = 2


class EmptySubdir(FanfoldError):  # noqa: N818 - not an error: it is how a group learns that it has nothing to do
    """The subdirectory was given no file in this run: its group is skipped."""

    exit_code = 0


class StillWrittenError(OSError):
    """A file changed while it was read. Trying again helps once its writer is done."""


class StoreError(OSError):
    """A store did not answer, or answered with an error, for as long as it was asked. Trying again may help."""


class BusyError(OSError):
    """Another process is working on the same part of a run. Trying again helps once it has ended."""


def trouble(error: OSError) -> str:
    """Return what the system said, without its number: `No space left on device: '/data/x'`."""
    where = f": {error.filename!r}" if error.filename else ""
    return f"{error.strerror or error}{where}"


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return the end of a message: the valid name closest to `name`, or else all valid names.

    Args:
        name: what was found.
        known: what would have been valid, in the order to list it.
        cutoff: how alike two names must be, from 0 to 1.
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"expected one of {', '.join(map(repr, names))}" if names else "there is none"


def alike(messages: Mapping[Number, str]) -> list[list[Number]]:
    """Return the groups whose messages are the same, apart from their own numbers in paths; in order."""
    same: dict[str, list[Number]] = {}
    for n, message in messages.items():
        same.setdefault(re.sub(rf"/{n}\b", "/", message), []).append(n)
    return list(same.values())


def with_spec(message: str, spec: str) -> str:
    """Return a message whose commands are ready to copy: `spec` replaces SPEC."""
    return PLACEHOLDER.sub(lambda match: match[1] + spec, message)


def count(number: int, noun: str) -> str:
    """Return a number with its noun, for a message: `1 file`, `1,000 files`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def count_of(number: int, what: str) -> str:
    """Return a number with words that begin with its noun in the plural: `1 value by SQL`, `2 values by SQL`."""
    noun, rest = what.split(" ", 1)
    return f"{count(number, noun.removesuffix('s'))} {rest}"
