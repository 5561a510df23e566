"""Where a feed lives: in a folder, or in a bucket. The steps know this one protocol."""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from fanfold import mirrors
from fanfold.feed.folder import Folder
from fanfold.layout import Feed, Group, Run
from fanfold.mirrors import Landed


class Store(Protocol):
    """What becomes of the files of one feed. A second call of each method completes a first one."""

    @property
    def tasks_per_core(self) -> int:
        """How many tasks may run for each core: a task that waits for the store leaves its core to others."""

    def check_fit(self) -> None:
        """Check, before the first file, that this process can do all that the methods below have to do."""

    def work_alone(self) -> None:
        """Keep to this process what only a later step of a group needs: it is made again after a crash."""

    def landing(self) -> tuple[dict[str, Callable[[], Landed]], dict[str, list[str]]]:
        """List what lies in landing and is in no run, by name; and what cannot be looked at, by the reason."""

    def claim(self, run: Run, places: Iterable[tuple[str, int]]) -> tuple[set[str], dict[str, list[str]]]:
        """Make files of landing those of one run; return the names that others took, and the refused, by the reason."""

    def begin_again(self, run: Run) -> None:
        """Have what is derived next of a run stand apart from what was derived of it before."""

    def prepared(self, run: Run) -> bool:
        """Make what was derived of a run hold for its groups; False where another run has decided meanwhile."""

    def holds(self, run: Run) -> bool:
        """Say whether a run still is what this process knows of it; False where another one has ended or changed it."""

    def seal(self, group: Group) -> None:
        """Decide, before a group publishes, that its run keeps what was derived of it."""

    def keep(self, places: Mapping[str, str]) -> None:
        """Put originals out of the reach of their producers, before what was made of them is published."""

    def archive(self, places: Mapping[str, str]) -> None:
        """Move originals to their last places: all are there before the first one loses its old name."""

    def land(self, places: Mapping[str, str]) -> None:
        """Move files into landing, where a run may claim them at once: none is ever there and at its old place."""

    def remove_references(self, paths: Collection[Path]) -> bool:
        """Remove references that no run has joined; False where a run has begun or ended meanwhile: decide again."""

    def release(self, run: Run) -> list[int]:
        """Decide to give a run up; return the groups that have not published, whose files go back into landing."""

    def end(self, run: Run) -> None:
        """Remove what was only for a run, and free the names that it has claimed."""


def of(feed: Feed) -> Store:
    """Return the store of a feed: the bucket that its folder stands for, or the folder itself."""
    mirror = mirrors.of(feed.data_dir)
    return mirror.store(feed) if mirror else Folder(feed)
