"""What a feed has seen before, according to its runs: a file is its bytes, never its name or its time."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fanfold import documents, durable, mirrors
from fanfold.errors import ChangedError
from fanfold.feed import groups, quarantine, runs
from fanfold.feed.index import Index
from fanfold.layout import Feed, Group, Place, Run
from fanfold.originals import original_sha256
from fanfold.path_columns import told_apart_by
from fanfold.working_files import Input, Inputs, Progress


class Decision(NamedTuple):
    """What a file is to the feed.

    `new`, `new_content` of a known name, `duplicate` of `<ts>/<name>`, or `replay` of an item of the quarantine.
    """

    decision: str
    duplicate_of: str | None = None
    replay_of: str | None = None


NEW, NEW_CONTENT = Decision("new"), Decision("new_content")


class Ledger:
    """The files whose rows are published, or will be by an unfinished run.

    Files that went to quarantine as a whole, and duplicates, are not among them, nor are files that are released. What
    counts is in what the runs wrote down: nothing of it can be lost without them, grow stale, or expire.
    """

    def __init__(self, feed: Feed, ts: str, merging: int | None = None) -> None:
        """Read what the runs of `feed` have published, and what those but `ts` have staged.

        Where the group `merging` of `ts` decides again, what its other groups have merged counts as published, and
        files of the run that are as they were when it was decided about them count as staged.
        """
        self._ts, self._feed = ts, feed
        self._replays = quarantine.replays(feed)
        self._names: set[str] = set()
        # By size, hash, and what tells it from others with the same bytes.
        self._first: dict[tuple[int, str, str], str] = {}
        self._sizes: set[int] = set()
        # By their size: who they are, and where each may lie.
        self._staged: dict[int, list[tuple[str, list[Path]]]] = defaultdict(list)
        # The unfinished ones first: one that is completed meanwhile is then among the complete ones.
        unfinished = [*filter(None, (runs.open_run(feed.data_dir, other) for other in runs.unfinished(feed)))]
        for run in unfinished:
            self._add_run(run, merging)
        # In a bucket, one may have ended since it was seen: then its manifest says what it has.
        mirrors.look_at(str(run.commit_path) for run in unfinished if run.ts != ts)
        self._index = Index(feed)

    def _add_run(self, run: Run, merging: int | None) -> None:
        is_merging, released = merging is not None and run.ts == self._ts, runs.released_groups(run)
        for group in run.groups:
            progress = documents.read_if_there(group.progress_path, Progress)
            if group.n in released:
                continue
            if progress and (group.n != merging if is_merging else progress.outputs):
                self._add(run.ts, [file for file in progress.files if not file.fault])
            elif run.ts != self._ts or is_merging:
                listed = documents.read_if_there(group.inputs_path, Inputs) or Inputs([])
                self._add_staged(group, [f for f in listed.files if not is_merging or groups.is_as_decided(group, f)])

    def _add(self, ts: str, published: list[Input]) -> None:
        self._names |= {file.name for file in published}
        for file in published:
            if not file.duplicate_of:
                self._sizes.add(file.size_bytes)
                self._first.setdefault(self._key(file.size_bytes, file.sha256, file.name), f"{ts}/{file.name}")

    def _add_staged(self, group: Group, staged: list[Input]) -> None:
        self._names |= {file.name for file in staged}
        for file in staged:
            if not file.duplicate_of and not file.fault:
                places = [Path(group.staged_path(file.name)), group.run.archive_path(file.name)]
                self._staged[file.size_bytes].append((f"{group.run.ts}/{file.name}", places))

    def _key(self, size: int, sha256: str | None, name: str) -> tuple[int, str, str]:
        return size, sha256 or "", told_apart_by(self._feed.spec.input, name)

    def _hash_staged(self, size: int) -> None:
        for label, places in self._staged.pop(size, ()):
            for place in places:
                # Its group may archive it in this moment; one that is in neither place is lost to its own run.
                with contextlib.suppress(FileNotFoundError, ChangedError):
                    name = label.partition("/")[2]
                    self._first.setdefault(
                        self._key(size, original_sha256(place, PurePosixPath(name).name), name), label
                    )
                    self._sizes.add(size)
                    break
                mirrors.look_at(map(str, places))

    def decide(
        self, found: Mapping[str, Place], unreadable: Collection[str] = (), hashes: Mapping[str, str] = {}
    ) -> dict[str, Decision]:
        """Say of each file, by its name, what it is. Of files with the same bytes the first by name is not a duplicate.

        Only files that share their size with another are read. What was replayed from quarantine is a duplicate of
        nothing: it made no rows before.

        Args:
            found: where each lies.
            unreadable: those that go to quarantine as a whole; nothing is decided of them, but for replays.
            hashes: the SHA-256 of those that were read already, by name.
        """
        names = self._names | self._index.names(found.keys() - self._names)
        indexed = self._index.sizes({size for _, size in found.values()})
        counts = Counter(size for name, (_, size) in found.items() if name not in unreadable)
        decisions = {}
        for name in sorted(found):
            path, size = found[name]
            if name in self._replays and name not in names:
                decisions[name] = Decision("replay", replay_of=self._replays[name])
                continue
            if name in unreadable:
                continue
            decisions[name] = NEW_CONTENT if name in names else NEW
            self._hash_staged(size)
            if size in self._sizes or counts[size] > 1 or size in indexed:
                sha256 = hashes.get(name) or durable.sha256(Path(path))
                of = self._index.first(size, sha256, name) if size in indexed else None
                of = of or self._first.setdefault(self._key(size, sha256, name), f"{self._ts}/{name}")
                if of != f"{self._ts}/{name}":
                    decisions[name] = Decision("duplicate", of)
        return decisions
