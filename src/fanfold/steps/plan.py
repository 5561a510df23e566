"""What a run would do with what lies in landing now, and how it would end. Nothing is moved or written."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from fanfold import durable
from fanfold.errors import DataError
from fanfold.feed import failures, left, runs
from fanfold.feed.balance import balance
from fanfold.feed.landing import warn
from fanfold.feed.verdict import Counts, too_bad
from fanfold.layout import Feed, Place, format_ts
from fanfold.manifest import BadFile, Column, Drift, FrozenReference
from fanfold.native import Seen, Table
from fanfold.records.read import FileRead
from fanfold.records.references import Reference
from fanfold.schema.columns import leaves
from fanfold.spec.model import Quarantine
from fanfold.spec.paths import written
from fanfold.steps.drift import drift_of, refusal
from fanfold.steps.fix_schema import fix_schema, has_fields
from fanfold.steps.freeze_reference import Frozen, source_of
from fanfold.steps.list_files import list_files, take
from fanfold.steps.merge_data import check_match, door_of, too_many_bad
from fanfold.steps.scan_files import decide, scan_files
from fanfold.working_files import RunSchema


class PlannedSubdir(msgspec.Struct, frozen=True):
    """The files that a subdirectory would be given."""

    files: int
    bytes: int
    records: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has not happened.

    These count files that stay in landing: `waiting` are left to the next run (`input.max_files`), `settling` are not
    ready yet, `unmarked` lack their marker, `held` cannot be taken, and `ignored` match no pattern. `left` names them,
    in words. `faults` has each file with records that cannot be read, and its first fault. `failed` says why the run
    would fail; it is empty if the run would succeed.

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
    failed: list[str]
    decisions: dict[str, str]
    duplicates: dict[str, str]
    fields: dict[str, str]


def plan(feed: Feed) -> Plan:
    """Say what a run would do: which files go where, the records in them, the columns of the output, the references.

    Raises:
        DataError, MissingError: what would stop the run before any group starts.
    """
    landing = list_files(feed)
    warn(landing.held)
    ready, later = take(feed.run(format_ts(datetime.now(UTC))), landing.ready)
    places = {file.name: Place(f"{feed.landing_dir}/{file.name}", file.size_bytes) for file in ready}
    sizes = {name: place.size_bytes for name, place in places.items()}
    parts = balance(sizes.items(), feed.spec.subdirs)
    references, tables = list[Frozen](), list[Table]()
    for merge in feed.spec.merge:
        source = source_of(feed, merge)
        opened = Reference(source, merge, feed.spec.input.max_record_bytes)
        keys = opened.keys()
        frozen = FrozenReference(merge.reference, durable.sha256(source.resolve()), len(keys) - keys.repeated)
        references.append(Frozen(frozen, opened.columns, opened.slots))
        tables.append(keys)
    found = scan_files(feed, "landing", places, [one.columns for one in references])
    fixed = fix_schema(feed.spec, found, references)
    drift = drift_of(feed, fixed) if places and has_fields(feed.spec, found) else None
    decisions = decide(feed, "landing", places, found.files)
    duplicates = {name: decision.duplicate_of for name, decision in decisions.items() if decision.duplicate_of}
    reads, failed = dict[str, FileRead](), [reason] if (reason := refusal(feed, drift)) else list[str]()
    for names in parts.values():
        try:
            reads |= _read(feed, fixed, tables, {name: places[name] for name in names if name not in duplicates})
        except DataError as error:
            failed.append(str(error))
    records = {n: sum(reads[name].records for name in names if name in reads) for n, names in parts.items()}
    columns = {name: table.columns for name, table in fixed.each_table.items()}
    waiting = [ts for ts in runs.unfinished(feed) if not failures.is_stuck(feed, ts)]
    return Plan(
        resumes=waiting[0] if waiting else None,
        files=len(sizes),
        waiting=len(later),
        settling=len(landing.settling),
        unmarked=len(landing.unmarked),
        held=sum(map(len, landing.held.values())),
        ignored=len(landing.ignored),
        left=left.told(landing, later),
        bytes=sum(sizes.values()),
        records=sum(records.values()),
        subdirs={
            str(n): PlannedSubdir(len(names), sum(sizes[name] for name in names), records[n])
            for n, names in parts.items()
        },
        columns=columns.get("", columns) if places else [],
        drift=drift,
        references=[one.reference for one in references],
        faults=[one.first for one in reads.values() if one.first],
        failed=failed or _failures(feed.spec.quarantine, parts, reads, len(duplicates)),
        decisions={name: decision.decision for name, decision in decisions.items()},
        duplicates=duplicates,
        fields=_fields(fixed) if places else {},
    )


def _read(feed: Feed, schema: RunSchema, tables: list[Table], places: Mapping[str, Place]) -> dict[str, FileRead]:
    """Read the files of a group as merge_data does.

    Raises:
        DataError: a record has no match in a reference with `on_missing: fail`.
    """
    door, reads = door_of(feed.data_dir, feed.spec, schema, tables), {}
    for name, place in places.items():
        for piece in door.read(name, place.path):
            for wrong in piece.wrong:
                check_match(door, name, wrong)
        # A file that is bad as a whole has no records.
        reads[name] = door.found._replace(records=0, bad=0) if door.found.is_bad else door.found
    return reads


def _failures(
    limits: Quarantine, parts: Mapping[int, list[str]], reads: Mapping[str, FileRead], duplicates: int
) -> list[str]:
    """Say why groups would fail by the number of their bad records; where none does, why the run would."""
    failed = []
    for n, names in parts.items():
        read = [reads[name] for name in names if name in reads]
        records, bad = sum(one.records for one in read), sum(one.bad for one in read)
        if not limits.allows(bad, records):
            failed.append(f"subdirectory {n}: {too_many_bad(limits, bad, records)}")
    counts = Counts(
        files=sum(map(len, parts.values())),
        bad_files=sum(one.is_bad for one in reads.values()),
        duplicates=duplicates,
        records=sum(one.records for one in reads.values()),
        bad_records=sum(one.bad for one in reads.values()),
    )
    reason = too_bad(limits, counts)
    return failed or ([reason] if reason else [])


def _fields(fixed: RunSchema) -> dict[str, str]:
    """Return the fields of the records with their types, as `input.fields` declares them."""
    found = leaves(fixed.record, Seen())
    return {written(leaf.way): leaf.node.type for leaf in found}
