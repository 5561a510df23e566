"""The step that prepares the groups: references frozen, files scanned, the one schema of the run fixed."""

import logging
import os
from collections.abc import Collection, Mapping

import msgspec

from fanfold import durable, manifest, types
from fanfold.durable import AnyPath
from fanfold.errors import DataError, FanfoldError, MissingError, StillWrittenError, nearest
from fanfold.feed import access, claim, failures, groups, lease, ledger, quarantine, runs, unfinished
from fanfold.layout import Feed, Place, Run, format_ts, parse_ts
from fanfold.manifest import BadFile, Column, FrozenReference
from fanfold.native.fields import Seen
from fanfold.records import places
from fanfold.records.read import FileRead
from fanfold.records.references import Reference
from fanfold.records.scan import Known, Scan, scan
from fanfold.schema.checks import check, lacking
from fanfold.schema.columns import FANFOLD, RECORD, check_apart
from fanfold.schema.declared import known_fields
from fanfold.schema.infer import draft
from fanfold.schema.record import check_covers, misfits
from fanfold.schema.rivals import exclude
from fanfold.spec.model import Spec
from fanfold.working_files import Excluded, Files, Input, Inputs, RunSchema, StagedFile

log = logging.getLogger(__name__)

# Each with the columns that are taken from it, and their slots in a frozen row.
References = list[tuple[FrozenReference, list[Column], list[int]]]


def create_dynamic_taskgroups(data_dir: AnyPath, ts: str, subdirs: int) -> dict[str, str]:
    """Prepare the groups: freeze the references, list the files of each, fix the one schema of the run.

    A second call keeps what the first one fixed. What cannot be read is left to its group to set aside.

    Args:
        data_dir: root of the feed.
        ts: execution timestamp of the run.
        subdirs: number of groups, where the run has no files.

    Returns:
        `{"1": "staging/<ts>/1", …}`: for each group its subdirectory, also where it is empty.

    Raises:
        DataError: a key stands twice in a reference (its lines are named), two fields become one column, an exploded
            field is no array, an expression is none, or a file is a duplicate under `duplicates: fail`.
        MissingError: a field or column that the spec names is not there.
        StillWrittenError: a reference changed while it was read.
        BusyError: another process prepares this run, or decides about duplicates for too long.
    """
    run = runs.open_run(data_dir, ts)
    if run is None:
        name = format_ts(parse_ts(ts))
        return {str(n): f"staging/{name}/{n}" for n in range(1, subdirs + 1)}
    if not runs.is_complete(run):
        step = "create_dynamic_taskgroups"
        with lease.hold(run.lease_path, does=step), failures.recorded(run, step):
            if not run.schema_path.exists():
                if not runs.has_published(run):
                    # What is there without a schema is of another spec, or of other references.
                    unfinished.forget(run)
                staged = manifest.read(run.files_path, Files)
                access.check_places(run, ((file.name, file.subdir) for file in staged.files))
                prepare(run, staged.files)
    return {str(n): run.group(n).subdir for n in range(1, run.feed.spec.subdirs + 1)}


def look_through(
    feed: Feed, ts: str, found: Mapping[str, Place], taken: list[list[Column]]
) -> tuple[Scan, list[Excluded]]:
    """Look through the files of a run, and decide which forms hold over it, where some exclude each other.

    Files are read once more where something turns out of records that was not known before.

    Args:
        feed: its spec says what is declared.
        ts: the run; where forms exclude each other, the records of duplicates do not count.
        found: where each file lies, by its name.
        taken: of each reference, the columns that are taken from it.

    Returns:
        What is in the files, without the records that are bad; and what no good record has.

    Raises:
        DataError: the spec contradicts itself, or the fields.
    """
    chain, excluded = [path.split(".") for path in feed.spec.denormalize.explode], list[Excluded]()
    counted, reads = dict(found), dict[str, FileRead]()
    while True:
        known = known_fields(feed.spec, chain)
        scanned = scan(feed.data_dir, counted, feed.spec, Known(known, excluded))
        reads |= scanned.files
        made = draft(feed.spec, scanned.seen, taken)
        lost = [*misfits(made.record, scanned.seen, feed.spec)]
        lost = lost or [one for conflict in made.conflicts for one in exclude(conflict, scanned.seen)]
        # Where all records that show that an array lies around another one are bad by it, it stays known: no way back.
        chain = [*chain, *(path for path in made.chain if path not in chain)]
        if not lost and known_fields(feed.spec, chain) == known:
            return Scan(reads, scanned.seen), excluded
        if lost and len(counted) == len(found):
            decisions = decide(feed, ts, found, reads)
            counted = {name: place for name, place in found.items() if not _is_duplicate(decisions, name)}
            if len(counted) < len(found):
                continue
        excluded += lost


def _is_duplicate(decisions: Mapping[str, ledger.Decision], name: str) -> bool:
    return name in decisions and decisions[name].duplicate_of is not None


def fix_schema(spec: Spec, scanned: Scan | None, references: References, excluded: list[Excluded]) -> RunSchema:
    """Make the one schema of a run.

    Args:
        spec: what is declared, exploded, joined, and kept.
        scanned: what was found in the files; None where the spec declares everything.
        references: the references, in the order of the spec.
        excluded: the forms that no good record has: they are not in what was found.

    Raises:
        DataError, MissingError: as `create_dynamic_taskgroups`.
    """
    found, root = (scanned.files, scanned.seen) if scanned else ({}, Seen())
    if found and spec.input.records_at and all(_points_nowhere(one) for one in found.values()):
        msg = f"input.records_at {spec.input.records_at!r} leads nowhere in any file, e.g. {min(found)!r}"
        raise MissingError(msg)
    check(root, excluded, spec, found)
    record, chain, flat, _ = draft(spec, root, [taken for _, taken, _ in references])
    rescued = spec.input.schema_mode == "declared"
    # A delivery without a single field lacks nothing in particular.
    is_bare = not root.fields and not rescued
    columns = _chosen(spec, flat, found, is_bare=is_bare) if flat else flat
    if not is_bare:
        _check_totals(spec, columns, flat, found)
    frozen, joined = [one for one, _, _ in references], [slots for _, _, slots in references]
    fixed = RunSchema(record, chain, rescued, flat, columns, frozen, excluded, joined)
    places.places(fixed, spec)
    return fixed


def _check_totals(spec: Spec, columns: list[Column], flat: list[Column], found: Collection[str]) -> None:
    known = {".".join(column.path): column for column in flat if column.source == RECORD}
    for path in spec.verify.totals if columns else ():
        if path not in known:
            msg = f"verify.totals {path!r} is not a field of the records"
            raise _no_column(msg, nearest(path, known), found)
        if known[path] not in columns:
            msg = f"verify.totals {path!r} is left out by denormalize.columns, expected it there"
            raise MissingError(msg)
        if not types.is_exact(known[path].type):
            msg = (
                f"verify.totals {path!r} is {known[path].type}, expected BIGINT or DECIMAL: declare it in input.fields"
            )
            raise DataError(msg)


def _points_nowhere(found: FileRead) -> bool:
    return found.is_bad and found.first is not None and found.first.code == "pointer_not_found"


def _no_column(what: str, hint: str, files: Collection[str]) -> FanfoldError:
    # Where there is no scan, the spec knows all columns.
    return lacking(what, hint, files) if files else MissingError(f"{what}, {hint}")


def _chosen(spec: Spec, flat: list[Column], files: Collection[str], *, is_bare: bool) -> list[Column]:
    """Return the columns of the output: all, or those of `denormalize.columns` in its order, then Fanfold's own."""
    if spec.denormalize.columns is None:
        return flat
    chosen = []
    for wanted in spec.denormalize.columns:
        try:
            chosen.append(_column(wanted, flat, files))
        except FanfoldError:
            if not is_bare:
                raise
            name = wanted if isinstance(wanted, str) else next(iter(wanted))
            chosen.append(Column(name, "VARCHAR", "spec", [], expression="NULL"))
    chosen += [column for column in flat if column.source == FANFOLD and column not in chosen]
    check_apart(chosen, spec)
    return chosen


def _expression(name: str, expression: str, flat: list[Column], files: Collection[str]) -> Column:
    # DuckDB is only there where it is needed.
    from fanfold.engine import expressions

    return expressions.column(name, expression, flat, files)


def _column(wanted: str | dict[str, str], flat: list[Column], files: Collection[str]) -> Column:
    if isinstance(wanted, dict):
        ((name, expression),) = wanted.items()
        return _expression(name, expression, flat, files)
    known = {column.name: column for column in flat}
    if wanted not in known:
        msg = f"denormalize.columns {wanted!r} is not a column"
        raise _no_column(msg, nearest(wanted, known), files)
    return known[wanted]


def open_reference(feed: Feed, index: int) -> Reference:
    """Read the reference of `spec.merge[index]` for its fields.

    Raises:
        DataError, MissingError: as `Reference`.
    """
    merged = feed.spec.merge[index]
    source = feed.data_dir / merged.reference
    try:
        return Reference(source, merged, feed.spec.input.max_record_bytes)
    except FileNotFoundError:
        msg = f"{str(source)!r} is not a file, expected the reference {merged.reference!r}"
        raise MissingError(msg) from None


def freeze_reference(run: Run, index: int) -> tuple[FrozenReference, list[Column], list[int]]:
    """Freeze the reference of `spec.merge[index]`; return it with the columns that are taken from it, and their slots.

    Raises:
        DataError, MissingError: as `Reference`.
        StillWrittenError: the file changed while it was read.
    """
    target, name = run.reference_path(index), run.feed.spec.merge[index].reference
    source = run.feed.data_dir / name
    try:
        before = source.stat()
        durable.make_dirs(target.parent)
        opened = open_reference(run.feed, index)
        rows = opened.freeze(durable.fresh(target))
        sha256 = durable.sha256(source.resolve())
        kept = run.feed.kept_reference_path(name, sha256)
        # Kept as it was, the run can be made again from the archive.
        copied = None if durable.size(kept) is not None else durable.copy_unpublished(source, kept)
        after = source.stat()
    except FileNotFoundError:
        msg = f"{str(source)!r} is not a file, expected the reference {name!r}"
        raise MissingError(msg) from None
    if claim.version(before) != claim.version(after):
        msg = f"{str(source)!r} changed while it was read"
        raise StillWrittenError(msg)
    if copied:
        durable.publish(kept)
    durable.publish(target)
    return FrozenReference(name, sha256, rows), opened.columns, opened.slots


def prepare(run: Run, staged: list[StagedFile]) -> None:
    """Freeze the references, scan the files, fix the schema; write down the files of each group, and the schema last.

    Raises:
        DataError, MissingError, StillWrittenError: as `create_dynamic_taskgroups`.
    """
    spec = run.feed.spec
    references = [freeze_reference(run, index) for index in range(len(spec.merge))]
    inputs: dict[int, list[Input]] = {n: [] for n in range(1, spec.subdirs + 1)}
    states: dict[str, os.stat_result] = {}
    for file in staged:
        try:
            states[file.name] = claim.claimed_file(run.group(file.subdir), file.name)
        except DataError as error:
            log.info("its group will fail: %s", error)
    found = {
        file.name: Place(run.group(file.subdir).staged_path(file.name), states[file.name].st_size)
        for file in staged
        if file.name in states
    }
    if staged and not found:
        # A schema of nothing would be frozen, and the files, once put back, would not fit it.
        claim.claimed_file(run.group(staged[0].subdir), staged[0].name)
    scanned, excluded = None, list[Excluded]()
    if spec.input.schema_mode == "infer":
        scanned, excluded = look_through(run.feed, run.ts, found, [taken for _, taken, _ in references])
    fixed = fix_schema(spec, scanned, references, excluded)
    for one in excluded:
        log.warning("records are bad (%s): %s", one.code, one.message)
    given = {f.name: ledger.Decision(f.decision, f.duplicate_of, f.replay_of) for f in staged if f.decision}
    undecided = {name: place for name, place in found.items() if name not in given}
    reads = scanned.files if scanned else {}
    # Two runs that decide at once could each take the same bytes for new, or each for those of the other.
    with runs.one_by_one(run.feed):
        decisions = given | (decide(run.feed, run.ts, undecided, reads) if undecided else {})
        for file in staged:
            if state := states.get(file.name):
                as_read = _as_read(file.name, state, reads.get(file.name))
                inputs[file.subdir].append(_decided(run, as_read, decisions.get(file.name)))
            else:
                inputs[file.subdir].append(Input(file.name, file.size_bytes))
        for n, listed in inputs.items():
            durable.write(run.group(n).inputs_path, manifest.encode(Inputs(listed)))
        durable.write(run.schema_path, manifest.encode(fixed))


def decide(
    feed: Feed, ts: str, found: Mapping[str, Place], reads: Mapping[str, FileRead], merging: int | None = None
) -> dict[str, ledger.Decision]:
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
    if feed.spec.input.duplicates == "process" and not quarantine.replays(feed).keys() & found.keys():
        return {}
    unreadable = {name for name, one in reads.items() if one.is_bad}
    hashes = {name: one.sha256 for name, one in reads.items() if one.sha256}
    decisions = ledger.Ledger(feed, ts, merging).decide(found, unreadable, hashes)
    if feed.spec.input.duplicates == "process":
        return {name: decision for name, decision in decisions.items() if decision.replay_of}
    duplicates = {name: decision.duplicate_of for name, decision in decisions.items() if decision.duplicate_of}
    if duplicates and feed.spec.input.duplicates == "fail":
        name, of = min(duplicates.items())
        msg = (
            f"{name!r} has the bytes of {of!r}, expected new content (input.duplicates: fail); "
            f"duplicates in this run: {len(duplicates)}. Give it up (fanfold release), and take them out of landing"
        )
        raise DataError(msg)
    return decisions


def _as_read(name: str, state: os.stat_result, read: FileRead | None) -> Input:
    """Return a file as it was scanned; one that is bad as a whole may be so by more than its bytes: it stays so."""
    if read is None:
        return Input(name, state.st_size, state.st_ctime_ns)
    fault = read.first if read.is_bad else None
    records = 0 if fault else read.records
    return Input(name, state.st_size, state.st_ctime_ns, records, read.sha256, fault=fault)


def _decided(run: Run, file: Input, decision: ledger.Decision | None) -> Input:
    if decision is None:
        return file
    if not decision.duplicate_of:
        return msgspec.structs.replace(file, decision=decision.decision, replay_of=decision.replay_of)
    fault = None
    if run.feed.spec.input.duplicates == "quarantine":
        fault = BadFile(file.name, "duplicate", f"its bytes are those of {decision.duplicate_of!r}")
    # With no records there is nothing to read: it stays as it is unless the file changes.
    return msgspec.structs.replace(
        file, records=0, fault=fault, decision=decision.decision, duplicate_of=decision.duplicate_of
    )


def current(
    run: Run, n: int, inputs: list[Input], states: Mapping[str, os.stat_result], fixed: RunSchema
) -> list[Input]:
    """Return the files of a group as they are now; those that are not as they were scanned are scanned again.

    Args:
        run: the run.
        n: number of the group.
        inputs: its files as they were scanned.
        states: what they are now, by name.
        fixed: the schema of the run.

    Raises:
        DataError: a file that changed does not fit the run's schema.
    """
    changed = {file.name for file in inputs if not groups.is_unchanged(file, states[file.name])}
    if not changed:
        return inputs
    left = {name: Place(run.group(n).staged_path(name), states[name].st_size) for name in changed}
    reads: Mapping[str, FileRead] = {}
    if not fixed.rescued:
        known = Known(known_fields(run.feed.spec, fixed.explode), fixed.excluded)
        reads, seen = scan(run.feed.data_dir, left, run.feed.spec, known)
        check_covers(fixed, seen)
    again = _decide_again(run, n, left, reads)
    return [
        _decided(run, _as_read(file.name, states[file.name], reads.get(file.name)), again.get(file.name))
        if file.name in changed
        else file
        for file in inputs
    ]


def _decide_again(
    run: Run, n: int, changed: Mapping[str, Place], reads: Mapping[str, FileRead]
) -> dict[str, ledger.Decision]:
    """Decide about files that are not as they were when it was decided about them: by the bytes that they have now.

    Other files of the run of such a size that have changed as well are decided with them, by their names.
    """
    if not changed:
        return {}
    found, sizes = dict(changed), {place.size_bytes for place in changed.values()}
    staged = manifest.read(run.files_path, Files).files
    given = {f.name: ledger.Decision(f.decision, f.duplicate_of, f.replay_of) for f in staged if f.decision}
    with runs.one_by_one(run.feed):
        for group in {file.subdir for file in staged if not run.group(file.subdir).progress_path.exists()} - {n}:
            for file in manifest.read(run.group(group).inputs_path, Inputs).files:
                place = run.group(group).staged_path(file.name)
                if (size := durable.size(place) or 0) in sizes and not groups.is_as_decided(run.group(group), file):
                    found[file.name] = Place(place, size)
        return decide(run.feed, run.ts, found, reads, n) | {name: given[name] for name in given.keys() & changed.keys()}
