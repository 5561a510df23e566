"""A run as far as it can be known before it does its work: one that begins, or one that goes on. Nothing is written."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from fanfold import documents, durable
from fanfold.errors import DataError
from fanfold.feed import access, runs, unfinished
from fanfold.feed.balance import balance
from fanfold.feed.claimed import claimed_file
from fanfold.feed.landing import LandedFile
from fanfold.feed.ledger import NEW, Decision
from fanfold.layout import Feed, Group, Place, Run
from fanfold.manifest import Drift, FrozenReference
from fanfold.native import Table
from fanfold.records import table
from fanfold.records.read import Door, FileRead
from fanfold.records.references import Reference, opened_all
from fanfold.steps.drift import drift_of
from fanfold.steps.fix_schema import fix_schema
from fanfold.steps.freeze_reference import Frozen, source_of
from fanfold.steps.merge_data import check_match, door_of
from fanfold.steps.scan_files import decide, given, scan_again, scan_files
from fanfold.working_files import Files, Inputs, Progress, RunSchema, StagedFile


class PlannedRun(NamedTuple):
    """What is known of a run.

    Attributes:
        feed: the feed, with the spec of the run.
        files: the files of the run, by subdirectory and name.
        schema: its schema.
        drift: how its columns differ from those of the run before it.
        decisions: what its files are to the feed, by name.
        reads: what its files hold, by name; nothing of duplicates, and of a group that fails.
        failed: why groups fail: a record has no match, a file is gone or does not fit.
    """

    feed: Feed
    files: list[StagedFile]
    schema: RunSchema
    drift: Drift | None
    decisions: dict[str, Decision]
    reads: dict[str, FileRead]
    failed: list[str]


def new_run(feed: Feed, ready: Iterable[LandedFile]) -> PlannedRun:
    """Return a run that begins with files of landing.

    Raises:
        DataError, MissingError, PathError: what would stop it before any group starts.
    """
    sizes = {file.name: file.size_bytes for file in ready}
    parts = balance(sizes.items(), feed.spec.subdirs)
    files = [StagedFile(name, sizes[name], n) for n in parts for name in parts[n]]
    places = {name: Place(f"{feed.landing_dir}/{name}", size) for name, size in sizes.items()}
    run, intent = Run(feed, "landing"), Files(claimed=False, files=files)
    access.check_places(run, intent.places)
    return _prepared(run, intent, places)


def begun_run(feed: Feed, ts: str) -> PlannedRun | None:
    """Return an unfinished run as it would go on; None where it was given no file, or is given up.

    Raises:
        DataError, MissingError, SpecError: what would stop it before any group starts.
    """
    run = runs.open_run(feed.data_dir, ts)
    if run is None or runs.is_complete(run) or run.release_path.exists():
        return None
    staged, spec = documents.read(run.files_path, Files), unfinished.renewed(feed, run)
    if spec is None and run.schema_path.exists():
        return _as_prepared(run, staged)
    run = Feed(feed.data_dir, spec or run.feed.spec).run(run.ts)
    places = {}
    for file in staged.files:
        # A claim that was cut short goes on with what is still in landing.
        paths = [run.group(file.subdir).staged_path(file.name), f"{feed.landing_dir}/{file.name}"]
        if path := next(filter(os.path.isfile, paths[: 1 if staged.claimed else 2]), None):
            places[file.name] = Place(path, durable.size(path) or 0)
    if not staged.claimed:
        staged = msgspec.structs.replace(staged, files=[file for file in staged.files if file.name in places])
    elif not places:
        claimed_file(run.group(staged.files[-1].subdir), staged.files[-1].name)
    return _prepared(run, staged, places)


def _prepared(run: Run, staged: Files, places: Mapping[str, Place]) -> PlannedRun:
    """Return a run as create_dynamic_taskgroups prepares it, whose groups read their records after that."""
    feed, references, tables = run.feed, list[Frozen](), list[Table]()
    for merge in feed.spec.merge:
        source = source_of(feed, merge)
        opened = Reference(source, merge, feed.spec.input.max_record_bytes)
        keys = opened.keys(whole=feed.spec.has_sql)
        frozen = FrozenReference(merge.reference, durable.sha256(source.resolve()), len(keys) - keys.repeated)
        references.append(Frozen(frozen, opened.columns, opened.slots))
        tables.append(keys)
    found = scan_files(feed, run.ts, places, [one.columns for one in references])
    fixed = fix_schema(feed.spec, found, references)
    decisions = given(staged.files)
    decisions |= decide(feed, run.ts, {name: places[name] for name in places.keys() - decisions.keys()}, found.files)
    drift = staged.drift
    if isinstance(drift, msgspec.UnsetType):
        drift = drift_of(feed, fixed, found, decisions) if places else None
    # The scan has judged all records by this schema, but for their matches in references.
    is_known = not fixed.rescued and all(merge.on_missing == "keep" for merge in feed.spec.merge)
    door = door_of(feed.data_dir, feed.spec, fixed, tables)

    def read(group: Group, names: list[str]) -> Iterator[tuple[str, FileRead]]:
        for name in names if staged.claimed else ():
            claimed_file(group, name)
        for name in names:
            if not decisions.get(name, NEW).duplicate_of:
                yield name, found.files[name] if is_known else _read(door, name, places[name].path)

    def check_sql(names: list[str]) -> None:
        _check_sql(feed, fixed, door, tables, [(name, places[name].path) for name in names])

    return PlannedRun(feed, staged.files, fixed, drift, decisions, *_read_groups(run, staged.files, read, check_sql))


def _as_prepared(run: Run, staged: Files) -> PlannedRun:
    """Return a run that goes on with its schema: what is published stays, all else is read by it."""
    schema, decisions = runs.schema_of(run), dict[str, Decision]()
    opened, staged_at = opened_all(run), dict[str, str]()
    door = door_of(run.feed.data_dir, run.feed.spec, schema, opened)

    def read(group: Group, names: list[str]) -> Iterator[tuple[str, FileRead]]:
        progress = documents.read_if_there(group.progress_path, Progress)
        if is_done := progress is not None and bool(progress.outputs):
            files = progress.files
        else:
            states = {name: claimed_file(group, name) for name in names}
            files = scan_again(group, documents.read(group.inputs_path, Inputs).files, states, schema)
        for file in files:
            decisions[file.name] = Decision(file.decision, file.duplicate_of, file.replay_of)
            if file.duplicate_of:
                continue
            if is_done or file.fault:
                known = FileRead(file.records or 0, file.records_quarantined, file.fault, file.fault is not None)
                yield file.name, known
            else:
                staged_at[file.name] = group.staged_path(file.name)
                yield file.name, _read(door, file.name, staged_at[file.name])

    def check_sql(names: list[str]) -> None:
        _check_sql(run.feed, schema, door, opened, [(name, staged_at[name]) for name in names if name in staged_at])

    reads, failed = _read_groups(run, staged.files, read, check_sql)
    return PlannedRun(run.feed, staged.files, schema, schema.drift, decisions, reads, failed)


def _read_groups(
    run: Run,
    files: Iterable[StagedFile],
    read: Callable[[Group, list[str]], Iterable[tuple[str, FileRead]]],
    check_sql: Callable[[list[str]], None],
) -> tuple[dict[str, FileRead], list[str]]:
    """Read the files of each group, and evaluate SQL over what is good; return what they hold, and why groups fail."""
    names, reads, failed = defaultdict[int, list[str]](list), dict[str, FileRead](), list[str]()
    limits = run.feed.spec.quarantine
    for file in files:
        names[file.subdir].append(file.name)
    for n in sorted(names):
        try:
            found = dict(read(run.group(n), names[n]))
            good = {name: one for name, one in found.items() if not one.is_bad}
            # A file that is bad as a whole has no records.
            found |= {name: one._replace(records=0, bad=0) for name, one in found.items() if one.is_bad}
            reads |= found
            if limits.allows(sum(one.bad for one in good.values()), sum(one.records for one in good.values())):
                check_sql(sorted(good))
        except DataError as error:
            failed.append(str(error))
    return dict(sorted(reads.items())), failed


def _check_sql(feed: Feed, schema: RunSchema, door: Door, tables: list[Table], files: list[tuple[str, str]]) -> None:
    """Evaluate the expressions of the spec over all good records of a group, as denormalize_data does.

    Raises:
        DataError: one has no answer for a value.
    """

    def windows() -> Iterator[bytes]:
        return (piece.merged for name, path in files for piece in door.read(name, path))

    table.check_sql(table.Merged(feed.spec, schema, tables, windows, feed.spec.input.max_record_bytes))


def _read(door: Door, name: str, path: str) -> FileRead:
    """Read a file as merge_data does.

    Raises:
        DataError: a record has no match in a reference with `on_missing: fail`.
    """
    for piece in door.read(name, path):
        for wrong in piece.wrong:
            check_match(door, name, wrong)
    return door.found
