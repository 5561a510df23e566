"""Looking at files before groups read them: what is in each, the fields of all, and which files are duplicates."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from fanfold import documents, durable
from fanfold.errors import DataError
from fanfold.feed import groups, quarantine, runs
from fanfold.feed.ledger import NEW, Decision, Ledger
from fanfold.layout import Feed, Group, Place
from fanfold.manifest import BadFile, Column
from fanfold.native.fields import Seen
from fanfold.records.read import FileRead
from fanfold.records.scan import Known, scan
from fanfold.schema.checks import misspelled
from fanfold.schema.declared import known_fields
from fanfold.schema.draft import Draft, draft
from fanfold.schema.record import check_covers, misfits
from fanfold.schema.rivals import exclude
from fanfold.spec.model import Input as Settings
from fanfold.spec.paths import way_of
from fanfold.working_files import Excluded, Files, Input, Inputs, RunSchema, StagedFile

log = logging.getLogger(__name__)

MISSPELLED = (
    "no good record has %r (input.fields): its column is empty, and %r, which is not declared, has nearly its name; "
    "if that is the field, correct its path in input.fields, else declare %r too"
)


class Found(NamedTuple):
    """What was found in the files of a run.

    Attributes:
        files: what each file holds, by its name.
        seen: the fields of all good records.
        excluded: what no good record has: another form that excludes it won.
        draft: the fields and columns that follow from all this.
    """

    files: Mapping[str, FileRead]
    seen: Seen
    excluded: list[Excluded]
    draft: Draft


def scan_files(feed: Feed, ts: str, places: Mapping[str, Place], taken: list[list[Column]]) -> Found:
    """Look through the files of a run, and decide which forms hold over it, where some exclude each other.

    Files are read once more where something turns out of records that was not known before. They are not read where
    the spec declares all fields.

    Args:
        feed: its spec says what is declared.
        ts: the run; where forms exclude each other, the records of duplicates do not count.
        places: where each file lies, by its name.
        taken: of each reference, the columns that are taken from it.

    Raises:
        DataError: the spec contradicts itself, or the fields.
    """
    spec = feed.spec
    if spec.input.schema_mode == "declared":
        return Found({}, Seen(), [], draft(spec, Seen(), taken))
    chain, excluded = [[*way_of(path)] for path in spec.exploded], list[Excluded]()
    counted, files = dict(places), dict[str, FileRead]()
    while True:
        known = known_fields(spec, chain)
        scanned = scan(feed.data_dir, counted, spec, Known(known, excluded, chain))
        files |= scanned.files
        made = draft(spec, scanned.seen, taken)
        # Where all records that show that an array lies around another one are bad by it, it stays known: no way back.
        found = [path for path in made.chain if path not in chain]
        chain = [*chain, *found]
        if found and spec.denormalize.single:
            # What is not an array there is one of one.
            continue
        lost = [*misfits(made.record, scanned.seen, spec)]
        lost = lost or [one for conflict in made.conflicts for one in exclude(conflict, scanned.seen)]
        # Two tables may say the same.
        lost = [*dict.fromkeys(lost)]
        if not lost and known_fields(spec, chain) == known:
            for name, one in sorted(files.items()):
                if one.hint:
                    log.warning("%r: %s", name, one.hint)
            for key, path in _not_seen(spec.input, scanned.seen):
                log.warning("no record has %r (%s): is that its name in the files?", path, key)
            for path, near in misspelled(scanned.seen, spec):
                log.warning(MISSPELLED, path, near, near)
            return Found(files, scanned.seen, excluded, made)
        if lost and len(counted) == len(places):
            decisions = decide(feed, ts, places, files)
            duplicates = {name for name, decision in decisions.items() if decision.duplicate_of}
            counted = {name: place for name, place in places.items() if name not in duplicates}
            if duplicates:
                continue
        excluded += lost


def _not_seen(settings: Settings, seen: Seen) -> Iterator[tuple[str, str]]:
    """Yield keys of the spec and the paths there that no record has, if there are records."""
    named = {"input.envelope": settings.envelope, "input.parse": settings.parse}
    for key, path in ((key, path) for key, paths in named.items() for path in paths if seen.fields):
        if not any(seen.reached(way_of(path))):
            yield key, path


def scan_again(
    group: Group, inputs: list[Input], states: Mapping[str, os.stat_result], schema: RunSchema
) -> list[Input]:
    """Return the files of a group as they are now; those that are not as they were scanned are scanned again.

    Args:
        group: the group.
        inputs: its files as they were scanned.
        states: what they are now, by name.
        schema: that of the run.

    Raises:
        DataError: a file that changed does not fit the run's schema.
    """
    feed = group.run.feed
    changed = {
        file.name: Place(group.staged_path(file.name), states[file.name].st_size)
        for file in inputs
        if not groups.is_unchanged(file, states[file.name])
    }
    if not changed:
        return inputs
    files: Mapping[str, FileRead] = {}
    if not schema.rescued:
        known = Known(known_fields(feed.spec, schema.explode), schema.excluded, schema.explode)
        files, seen = scan(feed.data_dir, changed, feed.spec, known)
        check_covers(schema, seen)
    decisions = decide_again(group, changed, files)
    return [
        known_input(feed, file.name, states[file.name], files.get(file.name), decisions.get(file.name))
        if file.name in changed
        else file
        for file in inputs
    ]


def decide(
    feed: Feed, ts: str, found: Mapping[str, Place], reads: Mapping[str, FileRead], merging: int | None = None
) -> dict[str, Decision]:
    """Say of each file of the run `ts`, whether it is new; nothing of those that are bad as a whole.

    Args:
        feed: the feed.
        ts: the run.
        found: where each file lies.
        reads: what is in them, as far as they were scanned.
        merging: the group that decides again; the other groups of the run keep what they have decided.

    Raises:
        DataError: a file is a duplicate, under `duplicates: fail`.
    """
    rule = feed.spec.input.duplicates
    if not found or (rule == "process" and not quarantine.replays(feed).keys() & found.keys()):
        return {}
    unreadable = {name for name, one in reads.items() if one.is_bad}
    hashes = {name: one.sha256 for name, one in reads.items() if one.sha256}
    decisions = Ledger(feed, ts, merging).decide(found, unreadable, hashes)
    if rule == "process":
        return {name: decision for name, decision in decisions.items() if decision.replay_of}
    duplicates = sorted(name for name, decision in decisions.items() if decision.duplicate_of)
    if duplicates and rule == "fail":
        name = duplicates[0]
        msg = (
            f"{name!r} has the bytes of {decisions[name].duplicate_of!r}, expected new content (input.duplicates: "
            f"fail); duplicates in this run: {len(duplicates)}. Give it up (fanfold release), and take them out of "
            "landing"
        )
        raise DataError(msg)
    return decisions


def given(staged: Iterable[StagedFile]) -> dict[str, Decision]:
    """Return what was decided already of the files of a run that is made again."""
    return {f.name: Decision(f.decision, f.duplicate_of, f.replay_of) for f in staged if f.decision}


def decide_again(group: Group, changed: Mapping[str, Place], reads: Mapping[str, FileRead]) -> dict[str, Decision]:
    """Decide about files that are not as they were when it was decided about them: by the bytes that they have now.

    Other files of the run of such a size that have changed as well are decided with them, by their names.
    """
    run, found, sizes = group.run, dict(changed), {place.size_bytes for place in changed.values()}
    staged = documents.read(run.files_path, Files).files
    with runs.one_by_one(run.feed):
        for n in {file.subdir for file in staged} - {group.n}:
            other = run.group(n)
            for file in () if other.progress_path.exists() else documents.read(other.inputs_path, Inputs).files:
                place = other.staged_path(file.name)
                if (size := durable.size(place) or 0) in sizes and not groups.is_as_decided(other, file):
                    found[file.name] = Place(place, size)
        kept = {name: decision for name, decision in given(staged).items() if name in changed}
        return decide(run.feed, run.ts, found, reads, group.n) | kept


def known_input(
    feed: Feed, name: str, state: os.stat_result, read: FileRead | None, decision: Decision | None
) -> Input:
    """Return what is known of a file: its state, what the scan found in it, and what was decided about it.

    A file that is bad as a whole may be so by more than its bytes: it stays so until it changes.
    """
    decision, records = decision or NEW, read.records if read else None
    fault = read.first if read and read.is_bad else None
    if decision.duplicate_of:
        message = f"its bytes are those of {decision.duplicate_of!r}"
        fault = BadFile(name, "duplicate", message) if feed.spec.input.duplicates == "quarantine" else None
    # With no records there is nothing to read.
    records = 0 if fault or decision.duplicate_of else records
    sha256 = read.sha256 if read else None
    return Input(name, state.st_size, state.st_ctime_ns, records, sha256, fault=fault, **decision._asdict())
