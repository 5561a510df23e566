"""An entry of the log of claims: the state of all unfinished runs.

It holds no clock, host or process. Two processes of one run that decide the same write equal bytes.
"""

from typing import Any

import msgspec

from fanfold import documents


class Claimed(msgspec.Struct, frozen=True):
    """A file of a run: one version of an object. `modified` is the store's time, as ISO 8601."""

    name: str
    subdir: int
    size_bytes: int
    e_tag: str
    modified: str


class Going(msgspec.Struct, frozen=True, order=True):
    """A reference that is being purged: one version of an object. `modified` is the store's time, as ISO 8601."""

    name: str
    e_tag: str
    modified: str


class Run(msgspec.Struct, frozen=True):
    """An unfinished run.

    Attributes:
        ts: its name.
        number: the entry that claimed its files: it tells the run from one that had the same `ts` and has ended.
        spec: the spec that it keeps.
        files: its files, sorted by subdirectory and name. They are taken until the run has ended.
        attempt: whose working files hold; null until a process has prepared the run.
        sealed: the subdirectories of which something may be published. The attempt and the spec are fixed then.
        released: the subdirectories whose files are given back; null unless the run is given up.
    """

    ts: str
    number: int
    spec: dict[str, Any]
    files: list[Claimed]
    attempt: str | None = None
    sealed: list[int] = []
    released: list[int] | None = None


class State(msgspec.Struct, frozen=True):
    """An entry: the unfinished runs, by `ts`, or the references that are being purged.

    `decided` is the newest entry that is more than a seal.
    """

    format: int = documents.FORMAT
    number: int = 0
    decided: int = 0
    runs: dict[str, Run] = {}
    going: list[Going] = []

    def after(self, ts: str, run: Run | None, *, is_seal: bool = False) -> "State":
        """Return the next state, in which a run has changed, or has ended."""
        runs = {name: one for name, one in {**self.runs, ts: run}.items() if one}
        number = self.number + 1
        decided = self.decided if is_seal else number
        return State(number=number, decided=decided, runs=dict(sorted(runs.items())))
