"""Whether files are new to the feed, or duplicates: decided once, by their bytes, and again where these change."""

import os
from collections.abc import Iterable, Mapping

from fanfold import durable, manifest
from fanfold.errors import DataError
from fanfold.feed import quarantine, runs
from fanfold.feed.ledger import NEW, Decision, Ledger
from fanfold.layout import Feed, Group, Place
from fanfold.manifest import BadFile, Files, Input, Inputs, StagedFile
from fanfold.records.read import FileRead


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
    staged = manifest.read(run.files_path, Files).files
    with runs.one_by_one(run.feed):
        for n in {file.subdir for file in staged} - {group.n}:
            other = run.group(n)
            for file in () if other.progress_path.exists() else manifest.read(other.inputs_path, Inputs).files:
                place = other.staged_path(file.name)
                if (size := durable.size(place) or 0) in sizes and not runs.is_as_decided(other, file):
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
