"""What create_dynamic_taskgroups prepares: references frozen, every file scanned, the one schema of the run fixed."""

import contextlib
import logging
import os
from collections.abc import Callable, Collection, Mapping

import msgspec

from fanfold import files, ledger, manifest, quarantine, runs
from fanfold.engine import conflicts, expressions, fit, schema
from fanfold.engine.fields import Field, union
from fanfold.engine.reference import Reference
from fanfold.engine.scan import FileScan, scan
from fanfold.errors import DataError, FanfoldError, MissingError, StillWrittenError, nearest
from fanfold.layout import Feed, Place, Run
from fanfold.manifest import BadFile, Column, Excluded, Files, FrozenReference, Input, Inputs, RunSchema, StagedFile
from fanfold.spec import Spec

log = logging.getLogger(__name__)

# Each with the columns that are taken from it.
References = list[tuple[FrozenReference, list[Column]]]


def fix_schema(
    spec: Spec, scans: Mapping[str, FileScan], references: References, excluded: list[Excluded], seen: Field
) -> RunSchema:
    """Make the one schema of a run.

    Args:
        spec: what is declared, exploded, joined, and kept.
        scans: what was found in the files, by name; empty where the spec declares everything.
        references: the references, in the order of the spec.
        excluded: the forms that no good record has: they are not in `scans`.
        seen: the fields of all records, those that have such forms included.

    Raises:
        DataError, MissingError: as `create_dynamic_taskgroups`.
    """
    root = union([scans[name].fields for name in sorted(scans)])
    if scans and spec.input.records_at and all(_points_nowhere(found) for found in scans.values()):
        msg = f"input.records_at {spec.input.records_at!r} leads nowhere in any file, e.g. {min(scans)!r}"
        raise MissingError(msg)
    schema.check(root, seen, spec, scans)
    record, chain, flat, _ = schema.draft(spec, root, [taken for _, taken in references])
    if any(found.records > found.bad for found in scans.values()) and not flat and not excluded:
        msg = f"{min(scans)!r}: found no field in any record, expected at least one column"
        raise DataError(msg)
    rescued = spec.input.schema_mode == "declared"
    # A delivery without a single field lacks nothing in particular.
    is_bare = not root.fields and not rescued
    columns = _chosen(spec, flat, scans, is_bare=is_bare) if flat else flat
    if not is_bare:
        _check_totals(spec, columns, flat, scans)
    return RunSchema(record, chain, rescued, flat, columns, [frozen for frozen, _ in references], excluded)


def _check_totals(spec: Spec, columns: list[Column], flat: list[Column], files: Collection[str]) -> None:
    types = {column.name: column.type for column in columns}
    for name in spec.verify.totals if columns else ():
        if name not in types:
            if any(column.name == name for column in flat):
                msg = f"verify.totals {name!r} is left out by denormalize.columns, expected it there"
                raise MissingError(msg)
            msg = f"verify.totals {name!r} is not a column"
            raise _no_column(msg, nearest(name, types), files)
        if types[name] != "BIGINT" and not types[name].startswith("DECIMAL"):
            msg = f"verify.totals {name!r} is {types[name]}, expected BIGINT or DECIMAL: declare it in input.fields"
            raise DataError(msg)


def _points_nowhere(found: FileScan) -> bool:
    return found.fault is not None and found.fault.code == "pointer_not_found" and found.unreadable


def _no_column(what: str, hint: str, files: Collection[str]) -> FanfoldError:
    # Where there is no scan, the spec knows all columns.
    return schema.lacking(what, hint, files) if files else MissingError(f"{what}, {hint}")


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
    chosen += [column for column in flat if column.source == schema.FANFOLD and column not in chosen]
    schema.check_apart(chosen, spec)
    return chosen


def _column(wanted: str | dict[str, str], flat: list[Column], files: Collection[str]) -> Column:
    if isinstance(wanted, dict):
        ((name, expression),) = wanted.items()
        return expressions.column(name, expression, flat, files)
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
        return Reference(feed.data_dir, source, merged, feed.spec.input.max_record_bytes)
    except FileNotFoundError:
        msg = f"{str(source)!r} is not a file, expected the reference {merged.reference!r}"
        raise MissingError(msg) from None


def freeze_reference(run: Run, index: int) -> tuple[FrozenReference, list[Column]]:
    """Freeze the reference of `spec.merge[index]`; return it with the columns that are taken from it.

    Raises:
        DataError, MissingError: as `Reference`.
        StillWrittenError: the file changed while it was read.
    """
    target = run.reference_path(index)
    source = run.feed.data_dir / run.feed.spec.merge[index].reference
    try:
        before = source.stat()
        files.make_dirs(target.parent)
        files.make_dirs(run.spill_dir(0))
        opened = open_reference(run.feed, index)
        lines = target.with_suffix(".ndjson")
        with contextlib.ExitStack() as stack:
            clean = stack.enter_context(files.writing(lines)) if opened.careful else None
            rows = opened.freeze(files.fresh(target), run.spill_dir(0), clean)
        files.remove(lines)
        sha256 = files.sha256(source.resolve())
        kept = run.feed.kept_reference_path(run.feed.spec.merge[index].reference, sha256)
        # Kept as it was, the run can be made again from the archive.
        copied = None if files.size(kept) is not None else files.copy_unpublished(source, kept)
        after = source.stat()
    except FileNotFoundError:
        msg = f"{str(source)!r} is not a file, expected the reference {run.feed.spec.merge[index].reference!r}"
        raise MissingError(msg) from None
    if files.version(before) != files.version(after):
        msg = f"{str(source)!r} changed while it was read"
        raise StillWrittenError(msg)
    if copied:
        files.publish(kept)
    files.publish(target)
    return FrozenReference(run.feed.spec.merge[index].reference, sha256, rows), opened.columns


def prepare(run: Run, staged: list[StagedFile]) -> None:
    """Freeze the references, scan the files, fix the schema; write down the files of each group, and the schema last.

    Raises:
        DataError, MissingError, StillWrittenError: as `create_dynamic_taskgroups`.
    """
    references = [freeze_reference(run, index) for index in range(len(run.feed.spec.merge))]
    inputs: dict[int, list[Input]] = {n: [] for n in range(1, run.feed.spec.subdirs + 1)}
    states: dict[str, os.stat_result] = {}
    for file in staged:
        try:
            states[file.name] = files.claimed_file(run, file.subdir, file.name)
        except DataError as error:
            log.info("its group will fail: %s", error)
    places = {
        file.name: Place(run.feed.place(run.staged_name(file.subdir, file.name)), states[file.name].st_size)
        for file in staged
        if file.name in states
    }
    if staged and not places:
        # A schema of nothing would be frozen, and the files, once put back, would not fit it.
        files.claimed_file(run, staged[0].subdir, staged[0].name)
    declared = run.feed.spec.input.schema_mode == "declared"
    scans = {} if declared else scan(run.feed.data_dir, places, run.feed.spec, os.cpu_count() or 1)
    given = {f.name: ledger.Decision(f.decision, f.duplicate_of, f.replay_of) for f in staged if f.decision}
    undecided = {name: place for name, place in places.items() if name not in given}

    def decided() -> dict[str, ledger.Decision]:
        return given | (decide(run.feed, run.ts, undecided, scans) if undecided else {})

    settled, fixed = settle(run.feed, places, scans, references, decided)
    judge = _Judge(fixed, run.feed.spec)
    for one in fixed.excluded:
        log.warning("records are bad (%s): %s", one.code, one.message)
    # Two runs that decide at once could each take the same bytes for new, or each for those of the other.
    with runs.one_by_one(run.feed):
        decisions = decided()
        for file in staged:
            if state := states.get(file.name):
                found = Input(file.name, state.st_size, state.st_ctime_ns)
                found = judge.input(file.name, state, settled[file.name]) if file.name in settled else found
                inputs[file.subdir].append(_decided(run, found, state, decisions.get(file.name)))
            else:
                inputs[file.subdir].append(Input(file.name, file.size_bytes))
        for n, listed in inputs.items():
            files.write(run.inputs_path(n), manifest.encode(Inputs(listed)))
        files.write(run.schema_path, manifest.encode(fixed))


def settle(
    feed: Feed,
    places: Mapping[str, Place],
    scans: Mapping[str, FileScan],
    references: References,
    decided: Callable[[], Mapping[str, ledger.Decision]],
) -> tuple[dict[str, FileScan], RunSchema]:
    """Make the one schema of a run, and return it with the scans of its files, as they count for it.

    A record that has a form which another one excludes is not in them any more; its file takes the careful path.

    Args:
        feed: its spec.
        places: where each file lies, by its name.
        scans: what was found in them; empty where the spec declares everything.
        references: the references, in the order of the spec.
        decided: says what each file is: the records of duplicates do not count.

    Raises:
        DataError, MissingError: as `create_dynamic_taskgroups`.
    """

    def duplicates() -> set[str]:
        return {name for name, decision in decided().items() if decision.duplicate_of}

    taken = [columns for _, columns in references]
    settled, excluded = conflicts.settle(feed, places, scans, taken, duplicates)
    seen = union([scans[name].fields for name in sorted(scans)])
    return settled, fix_schema(feed.spec, settled, references, excluded, seen)


def decide(
    feed: Feed, ts: str, found: Mapping[str, Place], scans: Mapping[str, FileScan], merging: int | None = None
) -> dict[str, ledger.Decision]:
    """Say of each file of the run `ts`, whether it is new; nothing of unreadable ones.

    Args:
        feed: the feed.
        ts: the run.
        found: where each file lies.
        scans: what is in them, as far as they were scanned.
        merging: the group that decides again; the other groups of the run keep what they have decided.

    Raises:
        DataError: a file is a duplicate, under `duplicates: fail`.
    """
    if feed.spec.input.duplicates == "process" and not quarantine.replays(feed).keys() & found.keys():
        return {}
    unreadable = {name for name, scanned in scans.items() if scanned.unreadable}
    hashes = {name: scanned.sha256 for name, scanned in scans.items() if scanned.sha256}
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


def _decided(run: Run, found: Input, state: os.stat_result, decision: ledger.Decision | None) -> Input:
    if decision is None:
        return found
    if not decision.duplicate_of:
        return msgspec.structs.replace(found, decision=decision.decision, replay_of=decision.replay_of)
    fault = None
    if run.feed.spec.input.duplicates == "quarantine":
        fault = BadFile(found.name, "duplicate", f"its bytes are those of {decision.duplicate_of!r}")
    # With no records there is nothing to read: it stays as it is unless the file changes.
    return Input(
        found.name,
        state.st_size,
        state.st_ctime_ns,
        records=0,
        fault=fault,
        decision=decision.decision,
        duplicate_of=decision.duplicate_of,
    )


class _Judge:
    """Says of files how they are to be read; those of one shape have their fields in common."""

    def __init__(self, fixed: RunSchema, spec: Spec) -> None:
        self._fixed, self._keys = fixed, {merged.record_key for merged in spec.merge}
        self._judged: dict[int, tuple[Field, bool, bool, bool]] = {}

    def input(self, name: str, state: os.stat_result, found: FileScan) -> Input:
        """Return a file as it was scanned."""
        if found.fault and not found.records:
            # Why, depends on more than the file: on the disk, on the other files. It is decided once.
            return Input(name, state.st_size, state.st_ctime_ns, records=0, fault=found.fault)
        if id(found.fields) not in self._judged:
            needs_care = fit.needs_care(found.fields, self._fixed.record, rescue=self._fixed.rescued)
            is_exact = fit.is_exact(found.fields, self._fixed.record, self._keys)
            fits = fit.fits(found.fields, self._fixed.record)
            # As long as they are kept, no other fields have their identity.
            self._judged[id(found.fields)] = found.fields, needs_care, is_exact, fits
        _, needs_care, is_exact, fits = self._judged[id(found.fields)]
        careful = found.careful or needs_care
        exact = is_exact and not careful
        return Input(
            name,
            state.st_size,
            state.st_ctime_ns,
            found.records,
            careful=careful,
            exact=exact,
            fits=exact and fits and found.proved,
            proved=found.proved,
        )


def scanned(
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
    changed = {f.name for f in inputs if not runs.is_unchanged(f, states[f.name])}
    known = {f.name: f for f in inputs if f.records is not None and f.name not in changed}
    judge = _Judge(fixed, run.feed.spec)
    left = {
        f.name: Place(run.feed.place(run.staged_name(n, f.name)), states[f.name].st_size)
        for f in inputs
        if f.name not in known
    }
    scans = scan(run.feed.data_dir, left, run.feed.spec, measure_all=not fixed.rescued)
    again = _decide_again(run, n, {name: left[name] for name in changed}, scans)
    for file in inputs:
        if found := scans.get(file.name):
            good = conflicts.without(run.feed, (file.name, left[file.name]), found, fixed.excluded, fixed.excluded)
            if not fixed.rescued:
                fit.check_covers(fixed.record, good.fields)
            before = ledger.Decision(file.decision, file.duplicate_of, file.replay_of)
            decision = again.get(file.name) if file.name in changed else before
            known[file.name] = _decided(
                run, judge.input(file.name, states[file.name], good), states[file.name], decision
            )
    return [known[file.name] for file in inputs]


def _decide_again(
    run: Run, n: int, changed: Mapping[str, Place], scans: Mapping[str, FileScan]
) -> dict[str, ledger.Decision]:
    """Decide about files that are not as they were when it was decided about them: by the bytes that they have now.

    Other files of the run of such a size that have changed as well are decided with them, by their names.
    """
    if not changed:
        return {}
    places, sizes = dict(changed), {place.size_bytes for place in changed.values()}
    staged = manifest.read(run.files_path, Files).files
    given = {f.name: ledger.Decision(f.decision, f.duplicate_of, f.replay_of) for f in staged if f.decision}
    with runs.one_by_one(run.feed):
        for group in {file.subdir for file in staged if not run.progress_path(file.subdir).exists()} - {n}:
            for file in manifest.read(run.inputs_path(group), Inputs).files:
                place = run.feed.place(run.staged_name(group, file.name))
                if (size := files.size(place) or 0) in sizes and not runs.is_as_decided(run, group, file):
                    places[file.name] = Place(place, size)
        return decide(run.feed, run.ts, places, scans, n) | {
            name: given[name] for name in given.keys() & changed.keys()
        }
