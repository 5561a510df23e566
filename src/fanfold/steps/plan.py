"""What a run would do with what lies in landing now, and how it would end. Nothing is moved or written."""

from datetime import UTC, datetime

import msgspec

from fanfold.errors import FanfoldError
from fanfold.feed import failures, not_taken
from fanfold.feed.landing import Landing, warn
from fanfold.feed.verdict import Counts, too_bad
from fanfold.layout import Feed, format_ts
from fanfold.manifest import BadFile, Column, Drift, FrozenReference, Ignored, all_ignored
from fanfold.native import Seen
from fanfold.schema.columns import leaves
from fanfold.spec.paths import written
from fanfold.steps.drift import refusal
from fanfold.steps.list_files import list_files, take
from fanfold.steps.merge_data import too_many_bad
from fanfold.steps.planned_run import PlannedRun, begun_run, new_run


class PlannedSubdir(msgspec.Struct, frozen=True):
    """The files that a subdirectory would be given."""

    files: int
    bytes: int
    records: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has not happened: a new one, or the unfinished one that `resumes` names.

    These count files that stay in landing: `waiting` are left to the next run (`input.max_files`), `settling` are not
    ready yet, `unmarked` lack their marker, `held` cannot be taken, and `ignored` match no pattern. `left` names them,
    in words. `members_ignored` are the members of zip and tar files that no pattern takes. `faults` has each file with
    records that cannot be read, and its first fault. `failed` says why the run would fail; it is empty if the run would
    succeed.

    With `tables`, `columns` is an object by table, and each name in `drift` begins with the name of its table.

    `decisions` says for each file whether it is `new`, `new_content` or a `duplicate`, and `duplicates` gives the
    `<ts>/<name>` with the same bytes. A duplicate is counted as a file, and has no records.
    """

    resumes: str | None
    files: int
    waiting: int
    settling: int
    unmarked: int
    held: int
    ignored: int
    left: str
    bytes: int
    records: int
    subdirs: dict[str, PlannedSubdir]
    columns: list[Column] | dict[str, list[Column]]
    drift: Drift | None
    references: list[FrozenReference]
    faults: list[BadFile]
    members_ignored: Ignored
    failed: list[str]
    decisions: dict[str, str]
    duplicates: dict[str, str]
    fields: dict[str, str]


def plan(feed: Feed) -> Plan:
    """Say what `run` would do: which files go where, the records in them, the columns of the output, the references.

    As `run` does, it takes the oldest unfinished run that may go on; where that would fail, the next one, and at last
    what has landed.

    Raises:
        DataError, MissingError, SpecError: what would stop the run before any group starts, also where no file is ready
            for it yet.
    """
    landing = list_files(feed)
    ready = take(feed.run(format_ts(datetime.now(UTC))), landing.ready).files
    resumed, failed = failures.to_resume(feed), list[str]()
    for ts in [*resumed, *([None] if ready or not resumed else [])]:
        stopped = None
        try:
            planned = (begun_run(feed, ts) if ts else None) or new_run(feed, ready)
            reasons = _failures(planned)
        except FanfoldError as error:
            stopped, reasons = error, [str(error)]
        if not reasons:
            failed += filter(None, [_verdict(planned)])
            break
        failed += [f"run {ts}: {reason}" if ts else reason for reason in reasons]
    if stopped:
        # Otherwise the plan names them.
        warn(landing.held)
        for reason in failed[:-1]:
            stopped.add_note(reason)
        raise stopped
    return _told(planned, ts, landing, failed)


def _failures(planned: PlannedRun) -> list[str]:
    """Say why a run would fail before it is complete: as a whole, or some of its groups."""
    if reason := refusal(planned.feed, planned.drift):
        return [reason]
    limits, failed = planned.feed.spec.quarantine, [*planned.failed]
    for n, names in _parts(planned).items():
        records, bad = _counts(planned, names)
        if not limits.allows(bad, records):
            failed.append(f"subdirectory {n}: {too_many_bad(limits, bad, records)}")
    return failed


def _verdict(planned: PlannedRun) -> str | None:
    """Say why a run that is complete would be reported as failed."""
    names = [file.name for file in planned.files]
    records, bad = _counts(planned, names)
    counts = Counts(
        files=len(names),
        bad_files=sum(one.is_bad for one in planned.reads.values()),
        duplicates=sum(1 for one in planned.decisions.values() if one.duplicate_of),
        records=records,
        bad_records=bad,
    )
    return too_bad(planned.feed.spec.quarantine, counts)


def _parts(planned: PlannedRun) -> dict[int, list[str]]:
    parts: dict[int, list[str]] = {n: [] for n in range(1, planned.feed.spec.subdirs + 1)}
    for file in planned.files:
        parts[file.subdir].append(file.name)
    return parts


def _counts(planned: PlannedRun, names: list[str]) -> tuple[int, int]:
    """Return how many records some files have, and how many of them are bad."""
    read = [planned.reads[name] for name in names if name in planned.reads]
    return sum(one.records for one in read), sum(one.bad for one in read)


def _told(planned: PlannedRun, resumes: str | None, landing: Landing, failed: list[str]) -> Plan:
    sizes, schema = {file.name: file.size_bytes for file in planned.files}, planned.schema
    subdirs = {
        str(n): PlannedSubdir(len(names), sum(sizes[name] for name in names), _counts(planned, names)[0])
        for n, names in _parts(planned).items()
    }
    columns = {name: table.columns for name, table in schema.each_table.items()}
    later = [file.name for file in landing.ready if file.name not in sizes]
    return Plan(
        resumes=resumes,
        files=len(sizes),
        waiting=len(later),
        settling=len(landing.settling),
        unmarked=len(landing.unmarked),
        held=sum(map(len, landing.held.values())),
        ignored=len(landing.ignored),
        left=not_taken.told(landing, later),
        bytes=sum(sizes.values()),
        records=sum(one.records for one in subdirs.values()),
        subdirs=subdirs,
        columns=columns.get("", columns) if sizes else [],
        drift=planned.drift,
        references=schema.references,
        faults=[one.first for one in planned.reads.values() if one.first],
        members_ignored=all_ignored({name: one.ignored for name, one in planned.reads.items() if not one.is_bad}),
        failed=failed,
        decisions={name: one.decision for name, one in planned.decisions.items()},
        duplicates={name: one.duplicate_of for name, one in planned.decisions.items() if one.duplicate_of},
        fields={written(leaf.way): leaf.node.type for leaf in leaves(schema.record, Seen())} if sizes else {},
    )
