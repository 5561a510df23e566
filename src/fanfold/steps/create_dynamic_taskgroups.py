"""The step that prepares the groups: references frozen, files scanned, the one schema of the run fixed."""

import logging
import os
from collections.abc import Mapping

import msgspec

from fanfold import documents, durable
from fanfold.durable import AnyPath
from fanfold.errors import DataError
from fanfold.feed import access, failures, lease, runs, store, unfinished
from fanfold.feed.claimed import claimed_file
from fanfold.layout import Place, Run, format_ts, parse_ts
from fanfold.steps.drift import checked, drift_of
from fanfold.steps.fix_schema import fix_schema
from fanfold.steps.freeze_reference import copy_if_purged, freeze_reference
from fanfold.steps.scan_files import Found, decide, given, known_input, scan_files
from fanfold.working_files import Files, Input, Inputs, RunSchema, StagedFile

log = logging.getLogger(__name__)


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
            field is not an array, an expression is not SQL, a file is a duplicate under `duplicates: fail`, or the
            columns are not those of the last run under `on_drift: fail`.
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
                prepare(run)
    return {str(group.n): group.subdir for group in run.groups}


def prepare(run: Run) -> None:
    """Freeze the references, scan the files, fix the schema; write down the files of each group, and the schema last.

    Raises:
        DataError, MissingError, StillWrittenError: as `create_dynamic_taskgroups`.
    """
    spec, claimed = run.feed.spec, documents.read(run.files_path, Files)
    access.check_places(run, claimed.places)
    staged = claimed.files
    references = [freeze_reference(run, index) for index in range(len(spec.merge))]
    states = _states(run, staged)
    places = {
        file.name: Place(run.group(file.subdir).staged_path(file.name), states[file.name].st_size)
        for file in staged
        if file.name in states
    }
    found = scan_files(run.feed, run.ts, places, [one.columns for one in references])
    fixed = fix_schema(spec, found, references)
    for one in fixed.excluded:
        log.warning("records are bad (%s): %s", one.code, one.message)
    # Two runs that decide at once could each take the same bytes for new, or each for those of the other.
    with runs.one_by_one(run.feed):
        # From now on nobody purges what an unfinished run may join.
        for frozen in references:
            copy_if_purged(run, frozen.reference)
        _write_down(run, claimed, states, found, fixed)
        # In a bucket nobody waits: who was slower decides again.
        while not store.of(run.feed).prepared(run):
            _write_down(run, claimed, states, found, fixed)


def _write_down(run: Run, claimed: Files, states: Mapping[str, os.stat_result], found: Found, fixed: RunSchema) -> None:
    """Decide which files are duplicates; write down the files of each group, and the schema last."""
    decisions = given(claimed.files)
    places = {
        file.name: Place(run.group(file.subdir).staged_path(file.name), states[file.name].st_size)
        for file in claimed.files
        if file.name in states and file.name not in decisions
    }
    decisions |= decide(run.feed, run.ts, places, found.files)
    drift = claimed.drift
    if isinstance(drift, msgspec.UnsetType):
        drift = checked(run.feed, drift_of(run.feed, fixed, found, decisions))
    inputs: dict[int, list[Input]] = {group.n: [] for group in run.groups}
    for file in claimed.files:
        known = Input(file.name, file.size_bytes)
        if state := states.get(file.name):
            read, decision = found.files.get(file.name), decisions.get(file.name)
            known = known_input(run.feed, file.name, state, read, decision)
        inputs[file.subdir].append(known)
    durable.write_all({group.inputs_path: documents.encode(Inputs(inputs[group.n])) for group in run.groups})
    durable.write(run.schema_path, documents.encode(msgspec.structs.replace(fixed, drift=drift)))


def _states(run: Run, staged: list[StagedFile]) -> dict[str, os.stat_result]:
    """Return the states of the staged files that are where they were claimed to.

    Raises:
        DataError: none of them is: a schema of nothing would be fixed, and the files, once put back, would not fit it.
    """
    states: dict[str, os.stat_result] = {}
    for file in staged:
        try:
            states[file.name] = claimed_file(run.group(file.subdir), file.name)
        except DataError as error:
            if file == staged[-1] and not states:
                raise
            log.info("its group will fail: %s", error)
    return states
