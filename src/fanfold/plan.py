"""What a run would do with what lies in landing now. Nothing is moved or written."""

import os

import msgspec

from fanfold import prepare, runs, steps
from fanfold.balance import balance
from fanfold.engine import reference
from fanfold.engine.scan import FileScan, scan
from fanfold.files import sha256
from fanfold.layout import Feed
from fanfold.manifest import Column, FrozenReference


class PlannedSubdir(msgspec.Struct, frozen=True):
    """The files that a subdirectory would be given."""

    files: int
    bytes: int
    records: int


class Plan(msgspec.Struct, frozen=True):
    """A run that has not happened. `faults` say which files would fail their group, and why."""

    resumes: str | None
    files: int
    settling: int
    bytes: int
    records: int
    subdirs: dict[str, PlannedSubdir]
    columns: list[Column]
    references: list[FrozenReference]
    faults: list[str]


def plan(feed: Feed) -> Plan:
    """Say what a run would do: which files go where, the records in them, the columns of the output, the references.

    Raises:
        DataError, MissingError: what would stop the run before any group starts.
    """
    landing = steps.list_files(feed)
    sizes = {file.name: file.size_bytes for file in landing.ready}
    parts = balance(sizes.items(), feed.spec.subdirs)
    references, taken = [], []
    for merged in feed.spec.merge:
        source = feed.data_dir / merged.reference
        rows = reference.check(feed.data_dir, source, merged)
        references.append(FrozenReference(merged.reference, sha256(source), rows))
        taken.append(reference.taken_columns(reference.header(source, merged), merged))
    found = scan(feed.data_dir, {n: feed.landing_dir / n for n in sizes}, feed.spec, os.cpu_count() or 1)
    scans = {name: result for name, result in found.items() if isinstance(result, FileScan)}
    structures = [(name, structure) for name, result in scans.items() for structure in result.structures]
    columns = (
        prepare.fix_schema(feed.spec, structures, list(zip(references, taken, strict=True))).columns if sizes else []
    )
    waiting = runs.unfinished(feed)
    return Plan(
        resumes=waiting[0] if waiting else None,
        files=len(sizes),
        settling=len(landing.settling),
        bytes=sum(sizes.values()),
        records=sum(result.records for result in scans.values()),
        subdirs={
            str(n): PlannedSubdir(
                len(names), sum(sizes[f] for f in names), sum(scans[f].records for f in names if f in scans)
            )
            for n, names in parts.items()
        },
        columns=columns,
        references=references,
        faults=[str(result) for result in found.values() if not isinstance(result, FileScan)],
    )
