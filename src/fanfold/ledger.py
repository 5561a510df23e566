"""What a feed has seen before, told from the manifests of its runs: a file is its bytes, never its name or its time."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from fanfold import files, manifest, runs
from fanfold.layout import Feed
from fanfold.manifest import ArchivedFile, Input, Progress


class Decision(NamedTuple):
    """What a file is to the feed; `duplicate_of` is `<ts>/<name>` of the file with the same bytes."""

    decision: Literal["new", "new_content", "duplicate"]
    duplicate_of: str | None = None


class _Committed(msgspec.Struct):
    """The part of a manifest that is looked at; the rest is not decoded."""

    files: list[ArchivedFile]


class Ledger:
    """The files whose rows are published, in complete runs and in groups of unfinished ones.

    Files that went to quarantine as a whole, and duplicates, are not among them. It has no state of its own: nothing
    in it can be lost, grow stale or expire.
    """

    def __init__(self, feed: Feed) -> None:
        """Read what `feed` has published."""
        self._names: set[str] = set()
        self._first: dict[tuple[int, str], str] = {}
        self._sizes: set[int] = set()
        for ts in runs.complete(feed):
            committed = manifest.read(feed.run(ts).commit_path, _Committed)
            self._add(ts, (file for file in committed.files if not file.code))
        for run in filter(None, (runs.open_run(feed.data_dir, ts) for ts in runs.unfinished(feed))):
            for n in range(1, run.feed.spec.subdirs + 1):
                progress = manifest.read_if_there(run.progress_path(n), Progress)
                if progress and progress.published:
                    self._add(run.ts, (file for file in progress.files if not file.fault))

    def _add(self, ts: str, published: Iterable[ArchivedFile | Input]) -> None:
        for file in published:
            self._names.add(file.name)
            if not file.duplicate_of:
                self._sizes.add(file.size_bytes)
                self._first.setdefault((file.size_bytes, file.sha256 or ""), f"{ts}/{file.name}")

    def decide(self, ts: str, found: Mapping[str, tuple[Path, int]]) -> dict[str, Decision]:
        """Say of each file, by its name, what it is. Of files with the same bytes the first by name is no duplicate.

        Only files that share their size with another are read.

        Args:
            ts: the run that they are in.
            found: path and size in bytes of each.
        """
        counts = Counter(size for _, size in found.values())
        first = dict(self._first)
        decisions = {}
        for name in sorted(found):
            path, size = found[name]
            decisions[name] = Decision("new_content" if name in self._names else "new")
            if size in self._sizes or counts[size] > 1:
                of = first.setdefault((size, files.sha256(path)), f"{ts}/{name}")
                if of != f"{ts}/{name}":
                    decisions[name] = Decision("duplicate", of)
        return decisions
