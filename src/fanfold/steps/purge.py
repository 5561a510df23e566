"""Retention: what old runs have left is removed, a kind of files of a whole run at a time.

What a later run needs stays, and the manifests stay: that a file was seen is never forgotten.
"""

import importlib.metadata
import os
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from fanfold import documents, durable
from fanfold.errors import count
from fanfold.feed import access, lease, purged, quarantine, runs, store
from fanfold.feed.purged import KINDS, Kind, Purged
from fanfold.layout import Feed, Run, parse_ts
from fanfold.manifest import Manifest
from fanfold.steps.gaps import expected, relative
from fanfold.working_files import Inputs, Progress


class Purge(msgspec.Struct, frozen=True):
    """What goes of a run, in files and their bytes; `stays` says why something of an old run does not go."""

    ts: str
    what: list[Kind]
    files: int
    bytes: int
    stays: str | None = None


class _Needs(NamedTuple):
    """The runs that have the rows of a run's duplicates, its references, and the items that it has replayed."""

    rows: set[str]
    references: set[str]
    replayed: set[str]


class _Plan(NamedTuple):
    runs: list[Purge]
    # The references that go with no run, since one that stays has joined them.
    references: set[str]


def plan(feed: Feed, before: datetime, what: Collection[Kind] = KINDS) -> list[Purge]:
    """Say what `purge` would remove. Nothing is changed.

    Returns:
        The runs from before that moment of which something goes, or stays although it is old; the oldest first.

    Raises:
        DataError: a manifest, or the spec of an unfinished run, was changed, or a later version wrote it.
    """
    return _plan(feed, before, what).runs


def purge(feed: Feed, before: datetime, what: Collection[Kind] = KINDS) -> list[Purge]:
    """Remove what complete runs from before a moment have left, but for what is needed. The manifests stay.

    What goes is on disk (`.fanfold/purged`) before the first file goes. A call that was cut short is completed by the
    next one, whatever that is asked for.

    Args:
        feed: the feed.
        before: a run goes if its timestamp is earlier.
        what: the kinds of files: `archive` (originals), `output`, `quarantine`, `references`.

    Returns:
        As `plan`.

    Raises:
        DataError: a manifest, or the spec of an unfinished run, was changed, or a later version wrote it: nothing is
            removed.
        PathError: a link leads out of the feed, or this process may not write into a folder: nothing is removed.
        BusyError: another process purges the feed, or a run that begins holds it for more than a minute.
    """
    if not feed.commits_dir.is_dir():
        return []
    with lease.hold(feed.purge_lease_path, does="fanfold purge"):
        try:
            return _purge(feed, before, what)
        finally:
            feed.purge_lease_path.unlink()


def _purge(feed: Feed, before: datetime, what: Collection[Kind]) -> list[Purge]:
    is_decided = False
    while not is_decided:
        # A run that begins now may join the same references, so it waits. In a bucket nobody waits: if one has begun,
        # it is decided again.
        with runs.one_by_one(feed):
            planned, stay = _plan(feed, before, what)
            opened = ((runs.open_run(feed.data_dir, one.ts), one.what) for one in planned if one.what)
            going = [(run, kinds) for run, kinds in opened if run]
            for run, kinds in going:
                folders = {Path(feed.place(path)).parent for path in _paths(run, kinds, stay)}
                access.check_targets(folders | {feed.purged_dir}, run.feed.folders)
            for run, kinds in going:
                _record(run, {*kinds, *purged.kinds(run)}, done=False)
            references = [path for run, kinds in going for path in _paths(run, {*kinds} & {"references"}, stay)]
            is_decided = store.of(feed).remove_references([Path(feed.place(path)) for path in references])
    for run, kinds in going:
        _remove(run, _paths(run, {*kinds} - {"references"}, stay))
    with runs.one_by_one(feed):
        # An unfinished run may be about to put an original there.
        for run, kinds in going if not runs.unfinished(feed) else ():
            _remove_folders(run, _paths(run, {*kinds} & {"archive"}, stay), run.feed.archive_dir)
    for run, _ in going:
        left = map(feed.place, _paths(run, purged.kinds(run), stay))
        _record(run, purged.kinds(run), done=not any(map(os.path.lexists, left)))
    return planned


def _plan(feed: Feed, before: datetime, what: Collection[Kind]) -> _Plan:
    # The unfinished ones first: one that ends meanwhile is then among the complete ones.
    unfinished, complete = runs.unfinished(feed), runs.complete(feed)
    needs = {ts: _needs(feed.run(ts)) for ts in complete}
    replayed = set[str]().union(*(one.replayed for one in needs.values()))
    old = {ts for ts in complete if parse_ts(ts) < before and ts not in unfinished}
    items = {ts: number for ts in old if (number := _open_items(feed, ts, replayed))}
    staying = [ts for ts in complete if ts not in old or ts in items]
    holders = {of: ts for ts in unfinished for of in _duplicated(feed, ts)}
    holders |= {of: ts for ts in staying for of in needs[ts].rows}
    stay = set[str]().union(*(needs[ts].references for ts in staying))
    found, counted = list[Purge](), set[str]()
    for ts in complete:
        reasons = dict[Kind, str]()
        if ts in items:
            reasons = dict.fromkeys(KINDS, f"{count(items[ts], 'item')} open: fanfold quarantine list SPEC")
        elif ts in holders:
            reasons["output"] = f"its output has the rows of duplicates in run {holders[ts]}"
        if unfinished:
            reasons.setdefault("references", "an unfinished run may join the references")
        if opened := runs.open_run(feed.data_dir, ts):
            found.append(_of_run(opened, what if ts in old else (), reasons, stay, counted))
    return _Plan([one for one in found if one.what or one.stays], stay)


def _needs(run: Run) -> _Needs:
    committed, gone = documents.read(run.commit_path, Manifest), purged.kinds(run)
    rows = {file.duplicate_of.partition("/")[0] for file in committed.files if file.duplicate_of}
    kept = (run.feed.kept_reference_path(one.path, one.sha256) for one in committed.summary.references)
    return _Needs(
        set() if "output" in gone else rows - {run.ts},
        set() if "references" in gone else {relative(run, path) for path in kept},
        {file.replay_of for file in committed.files if file.replay_of},
    )


def _duplicated(feed: Feed, ts: str) -> set[str]:
    """Return the runs that have the rows of an unfinished run's duplicates."""
    run = runs.open_run(feed.data_dir, ts)
    decided = [
        found
        for group in (run.groups if run else ())
        for found in (
            documents.read_if_there(group.inputs_path, Inputs),
            documents.read_if_there(group.progress_path, Progress),
        )
        if found
    ]
    return {file.duplicate_of.partition("/")[0] for one in decided for file in one.files if file.duplicate_of}


def _open_items(feed: Feed, ts: str, replayed: set[str]) -> int:
    """Count the items that are neither discarded, nor replayed by a complete run."""
    items = quarantine.items_of(feed, ts)
    return sum(1 for one in items if one.state != "discarded" and one.item not in replayed)


def _of_run(run: Run, asked: Collection[Kind], reasons: dict[Kind, str], stay: set[str], counted: set[str]) -> Purge:
    """Say what goes of a run of what is asked for. Of runs that have joined one reference, the first counts it."""
    record = purged.record(run)
    known: list[Kind] = record.what if record else []
    # What a call that was cut short has left goes in any case, unless a run may need it that has begun since.
    begun = [kind for kind in known if record and not record.done]
    wanted = {
        kind: _paths(run, [kind], stay) for kind in KINDS if kind in begun or (kind in asked and kind not in known)
    }
    there = [kind for kind, paths in wanted.items() if paths]
    going = [kind for kind in there if kind not in reasons or (kind in begun and kind != "references")]
    places = {path for kind in going for path in wanted[kind]} - counted
    sizes = [size for path in places if (size := durable.size(run.feed.place(path))) is not None]
    counted |= places
    why = dict.fromkeys(reasons[kind] for kind in there if kind not in going)
    return Purge(run.ts, going, len(sizes), sum(sizes), "; ".join(why) or None)


def _paths(run: Run, kinds: Collection[Kind], stay: Collection[str]) -> list[str]:
    """Return the paths, relative to data_dir, of what is of a run and of these kinds, but for references that stay."""
    if not kinds:
        return []
    files = expected(run, documents.read(run.commit_path, Manifest))
    paths = [*(one.path for one in files), relative(run, run.manifest_path)]
    return [path for path in paths if path not in stay and purged.kind_of(run.feed, path) in kinds]


def _record(run: Run, kinds: Collection[Kind], *, done: bool) -> None:
    what: list[Kind] = [kind for kind in KINDS if kind in kinds]
    version = importlib.metadata.version("fanfold")
    durable.write(run.purged_path, documents.encode(Purged(documents.FORMAT, version, run.ts, what, done)))


def _remove(run: Run, paths: list[str]) -> None:
    """Remove files, and the folders of the run that are empty then. Those of the archive belong to all runs."""
    durable.remove_all([Path(run.feed.place(path)) for path in paths])
    for top in (run.feed.output_dir, run.feed.quarantine_dir):
        _remove_folders(run, paths, top)


def _remove_folders(run: Run, paths: list[str], top: Path) -> None:
    """Remove the folders below `top` that paths lie in, where nothing is left in them."""
    for folder in sorted({Path(run.feed.place(path)).parent for path in paths}, reverse=True):
        if folder.is_relative_to(top):
            durable.remove_empty_dirs(folder, top)
