"""Looking through files before groups read them: what is in each, and the fields of all of them."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from fanfold.feed import runs
from fanfold.layout import Feed, Group, Place
from fanfold.manifest import Column, Excluded, Input, RunSchema
from fanfold.native.fields import Seen
from fanfold.records.read import FileRead
from fanfold.records.scan import Known, scan
from fanfold.schema import infer
from fanfold.schema.rivals import exclude
from fanfold.steps.decide import decide, decide_again, known_input


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
    draft: infer.Draft


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
        return Found({}, Seen(), [], infer.draft(spec, Seen(), taken))
    chain, excluded = [path.split(".") for path in spec.denormalize.explode], list[Excluded]()
    counted, files = dict(places), dict[str, FileRead]()
    while True:
        known = infer.known_fields(spec, chain)
        scanned = scan(feed.data_dir, counted, spec, Known(known, excluded))
        files |= scanned.files
        draft = infer.draft(spec, scanned.seen, taken)
        lost = [*infer.misfits(draft.record, scanned.seen, spec)]
        lost = lost or [one for conflict in draft.conflicts for one in exclude(conflict, scanned.seen)]
        # Where all records that show that an array lies around another one are bad by it, it stays known: no way back.
        chain = [*chain, *(path for path in draft.chain if path not in chain)]
        if not lost and infer.known_fields(spec, chain) == known:
            return Found(files, scanned.seen, excluded, draft)
        if lost and len(counted) == len(places):
            decisions = decide(feed, ts, places, files)
            duplicates = {name for name, decision in decisions.items() if decision.duplicate_of}
            counted = {name: place for name, place in places.items() if name not in duplicates}
            if duplicates:
                continue
        excluded += lost


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
        if not runs.is_unchanged(file, states[file.name])
    }
    if not changed:
        return inputs
    files: Mapping[str, FileRead] = {}
    if not schema.rescued:
        known = Known(infer.known_fields(feed.spec, schema.explode), schema.excluded)
        files, seen = scan(feed.data_dir, changed, feed.spec, known)
        infer.check_covers(schema.record, seen)
    decisions = decide_again(group, changed, files)
    return [
        known_input(feed, file.name, states[file.name], files.get(file.name), decisions.get(file.name))
        if file.name in changed
        else file
        for file in inputs
    ]
