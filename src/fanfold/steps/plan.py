"""What a run would do with what lies in landing now. Nothing is moved or written."""

import msgspec

from fanfold import durable, manifest
from fanfold.feed import failures, runs
from fanfold.feed.balance import balance
from fanfold.feed.landing import warn
from fanfold.layout import Feed, Place
from fanfold.manifest import BadFile, Column, FrozenReference, Manifest
from fanfold.native.fields import Seen
from fanfold.records.scan import Known, scan
from fanfold.schema.columns import leaves
from fanfold.schema.declared import known_fields
from fanfold.steps import create_dynamic_taskgroups
from fanfold.steps.list_files import list_files
from fanfold.working_files import Excluded, RunSchema


class PlannedSubdir(msgspec.Struct, frozen=True):
    """The files that a subdirectory would be given."""

    files: int
    bytes: int
    records: int


class Drift(msgspec.Struct, frozen=True):
    """How the columns differ from those of the last complete run: names, and for another type `name: old > new`."""

    since: str
    added: list[str]
    dropped: list[str]
    retyped: list[str]


class Plan(msgspec.Struct, frozen=True):
    """A run that has not happened.

    `held` is how many files cannot be taken out of landing. `faults` say which files have records that cannot be read,
    by the first of them.

    `decisions` say what each file is to the feed (`new`, `new_content`, `duplicate`), `duplicates` of which
    `<ts>/<name>` those are the same bytes; they are counted as files, and have no records.
    """

    resumes: str | None
    files: int
    settling: int
    held: int
    bytes: int
    records: int
    subdirs: dict[str, PlannedSubdir]
    columns: list[Column]
    drift: Drift | None
    references: list[FrozenReference]
    faults: list[BadFile]
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
    sizes = {file.name: file.size_bytes for file in landing.ready}
    parts = balance(sizes.items(), feed.spec.subdirs)
    references: create_dynamic_taskgroups.References = []
    for index, merged in enumerate(feed.spec.merge):
        opened = create_dynamic_taskgroups.open_reference(feed, index)
        sha256 = durable.sha256((feed.data_dir / merged.reference).resolve())
        references.append((FrozenReference(merged.reference, sha256, opened.check()), opened.columns, opened.slots))
    places = {name: Place(f"{feed.landing_dir}/{name}", size) for name, size in sizes.items()}
    fixed, scanned = None, None
    excluded: list[Excluded] = []
    if feed.spec.input.schema_mode == "infer":
        scanned, excluded = create_dynamic_taskgroups.look_through(
            feed, "landing", places, [taken for _, taken, _ in references]
        )
    if sizes:
        fixed = create_dynamic_taskgroups.fix_schema(feed.spec, scanned, references, excluded)
    if scanned is None:
        known = Known(known_fields(feed.spec, fixed.explode if fixed else []))
        scanned = scan(feed.data_dir, places, feed.spec, known)
    reads = scanned.files
    decisions = create_dynamic_taskgroups.decide(feed, "landing", places, reads)
    columns = fixed.columns if fixed else []
    duplicates = {name: decision.duplicate_of for name, decision in decisions.items() if decision.duplicate_of}
    records = {name: 0 if name in duplicates else one.records for name, one in reads.items()}
    waiting = [ts for ts in runs.unfinished(feed) if not failures.is_stuck(feed, ts)]
    return Plan(
        resumes=waiting[0] if waiting else None,
        files=len(sizes),
        settling=len(landing.settling),
        held=sum(map(len, landing.held.values())),
        bytes=sum(sizes.values()),
        records=sum(records.values()),
        subdirs={
            str(n): PlannedSubdir(len(names), sum(sizes[f] for f in names), sum(records[f] for f in names))
            for n, names in parts.items()
        },
        columns=columns,
        drift=_drift(feed, columns) if sizes else None,
        references=[frozen for frozen, _, _ in references],
        faults=[one.first for one in reads.values() if one.first],
        decisions={name: decision.decision for name, decision in decisions.items()},
        duplicates=duplicates,
        fields=_fields(fixed) if fixed else {},
    )


def _drift(feed: Feed, columns: list[Column]) -> Drift | None:
    complete = runs.complete(feed)
    if not complete:
        return None
    committed = manifest.read(feed.run(complete[-1]).commit_path, Manifest)
    before, now = ({column.name: column.type for column in some} for some in (committed.columns, columns))
    return Drift(
        complete[-1],
        [name for name in now if name not in before],
        [name for name in before if name not in now],
        [f"{name}: {before[name]} > {now[name]}" for name in now if name in before and before[name] != now[name]],
    )


def _fields(fixed: RunSchema) -> dict[str, str]:
    """Return the fields of the records with their types, as `input.fields` declares them; keys with dots cannot be."""
    found = leaves(fixed.record, Seen())
    return {".".join(leaf.way): leaf.node.type for leaf in found if all(n and "." not in n for n in leaf.way)}
