"""Whether a place can hold a feed: what was tested there, and the verdict. It records no clock, host or process."""

import importlib.metadata
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from fanfold import documents
from fanfold.errors import DataError


class Trial(NamedTuple):
    """What a place should guarantee, and how that is tested."""

    name: str
    keeps: Callable[[], bool]
    told: str
    """What it means if the place guarantees it."""
    otherwise: str = ""
    """What is done if it does not. If nothing can be done, the place is not fit."""


class Check(msgspec.Struct, frozen=True):
    """The result of a trial."""

    name: str
    kept: bool
    needed: bool
    told: str


class Fitness(msgspec.Struct, frozen=True):
    """The verdict on a place: it is fit if it guarantees everything that is needed."""

    format: int
    fanfold: str
    fit: bool
    checks: list[Check]

    def check(self, where: str) -> None:
        """Check that the verdict is that the place is fit.

        Raises:
            DataError: it is not.
        """
        if not self.fit:
            lacking = ", ".join(check.name for check in self.checks if check.needed and not check.kept)
            msg = f"{where!r} cannot hold a feed, it fails: {lacking}; use another place, or fix this one"
            raise DataError(msg)


def judged(trials: Iterable[Trial]) -> Fitness:
    """Carry trials out, one after the other, and return the verdict."""
    checks = []
    for trial in trials:
        kept, needed = trial.keeps(), not trial.otherwise
        checks.append(Check(trial.name, kept, needed, trial.told if kept or needed else trial.otherwise))
    fit = all(check.kept for check in checks if check.needed)
    return Fitness(documents.FORMAT, importlib.metadata.version("fanfold"), fit, checks)
