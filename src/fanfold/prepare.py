"""What create_dynamic_taskgroups prepares: references frozen, every file scanned, the one schema of the run fixed."""

import logging
import os

from fanfold import files
from fanfold.engine import reference, schema
from fanfold.engine.scan import FileScan, scan
from fanfold.errors import DataError, MissingError, StillWrittenError
from fanfold.layout import Run
from fanfold.manifest import FrozenReference, Input, RunSchema, StagedFile
from fanfold.spec import Spec

log = logging.getLogger(__name__)


def fix_schema(
    spec: Spec, structures: list[tuple[str, str]], references: list[tuple[FrozenReference, list[str]]]
) -> RunSchema:
    """Make the one schema of a run.

    Args:
        spec: what to explode, join, and keep.
        structures: file name and structure, in any order of the files.
        references: each with the columns that are taken from it.

    Raises:
        DataError, MissingError: as `create_dynamic_taskgroups`.
    """
    root = schema.tree(sorted(structures, key=lambda found: found[0]))
    if structures:
        schema.check(root, spec)
    record = schema.record_columns(root, spec)
    columns = list(record)
    for index, (_, taken) in enumerate(references):
        columns += schema.reference_columns(index, taken, spec)
    if structures:
        columns = schema.output_columns(columns, spec)
        if not columns:
            msg = f"{structures[0][0]!r}: found no field in any record, expected at least one column"
            raise DataError(msg)
    return RunSchema(schema.record_type(root, spec), record, columns, [frozen for frozen, _ in references])


def freeze_reference(run: Run, index: int) -> tuple[FrozenReference, list[str]]:
    """Freeze the reference of `spec.merge[index]`; return it with the columns that are taken from it.

    Raises:
        DataError, MissingError: as `reference.freeze`.
        StillWrittenError: the file changed while it was read.
    """
    merged, target = run.feed.spec.merge[index], run.reference_path(index)
    source = run.feed.data_dir / merged.reference
    try:
        before = source.stat()
        files.make_dirs(target.parent)
        names = reference.header(source, merged)
        temporary = files.temporary(target)
        rows = reference.freeze(run.feed.data_dir, source, merged, temporary, run.spill_dir(0))
        sha256 = files.sha256(source)
        after = source.stat()
    except FileNotFoundError:
        msg = f"{str(source)!r} is no file, expected the reference {merged.reference!r}"
        raise MissingError(msg) from None
    if files.version(before) != files.version(after):
        msg = f"{str(source)!r} changed while it was read"
        raise StillWrittenError(msg)
    files.publish(target)
    return FrozenReference(merged.reference, sha256, rows), reference.taken_columns(names, merged)


def scan_staged(run: Run, staged: list[StagedFile]) -> tuple[dict[int, list[Input]], list[tuple[str, str]]]:
    """Read all files of the run for their structure.

    Returns:
        The files of each subdirectory, those that cannot be read without `ctime_ns` and `records`; and
        `(name, structure)` of the others.

    Raises:
        DataError: not one of the files can be read.
    """
    states: dict[str, os.stat_result] = {}
    faults: list[DataError] = []
    for file in staged:
        try:
            states[file.name] = files.claimed_file(run, file.subdir, file.name)
        except DataError as error:
            faults.append(error)
    sources = {file.name: run.subdir_dir(file.subdir) / file.name for file in staged if file.name in states}
    scans = scan(run.feed.data_dir, sources, run.feed.spec, os.cpu_count() or 1)
    inputs: dict[int, list[Input]] = {n: [] for n in range(1, run.feed.spec.subdirs + 1)}
    structures: list[tuple[str, str]] = []
    for file in staged:
        found = scans.get(file.name)
        if isinstance(found, FileScan):
            state = states[file.name]
            inputs[file.subdir].append(Input(file.name, state.st_size, state.st_ctime_ns, found.records))
            structures += [(file.name, structure) for structure in found.structures]
        else:
            inputs[file.subdir].append(Input(file.name, file.size_bytes))
            if found:
                faults.append(located(run, file.subdir, found))
    for fault in faults:
        log.info("its group will fail: %s", fault)
    if faults and len(faults) == len(staged):
        # A schema of nothing would be frozen, and the files, once mended, would not fit it.
        raise faults[0]
    return inputs, structures


def located(run: Run, n: int, fault: DataError) -> DataError:
    """Return a fault of a file with the place where the file lies now."""
    return DataError(f"{fault} (the file is in {run.subdir(n)})")
