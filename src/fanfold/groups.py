"""What the three tasks of a group do: merge its files, publish their rows, archive the originals.

Every function may run again at any moment, also after `kill -9`, with the same result.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from fanfold import archive as vault
from fanfold import files, manifest, prepare, runs
from fanfold.engine import counts
from fanfold.engine import merge as engine
from fanfold.engine.careful import Cleaned, Cleaner
from fanfold.engine.denormalize import denormalize
from fanfold.engine.fit import as_declared
from fanfold.engine.source import DATA_FAULTS, Clean
from fanfold.errors import DataError, StillWrittenError
from fanfold.layout import COMPRESSIONS, Run, input_format
from fanfold.manifest import BadFile, BadRecord, Input, Inputs, Progress, Published, RunSchema
from fanfold.records.batches import join
from fanfold.records.faults import OF_SIZE, UnreadableError

log = logging.getLogger(__name__)

# DuckDB takes a millisecond for each file that it opens; many of such a size are read into one.
SMALL_BYTES = 256 * 1024
# What compression makes of records, about.
USUAL_RATIO = 10


class _Merged(NamedTuple):
    """What came of merging.

    Good records, those of them without a match, what the careful path made of files, whether all others were read as
    the types that are declared, and the SHA-256 of files that were read for it here.
    """

    records: int
    unmatched: int
    cleaned: dict[str, Cleaned]
    as_declared: bool
    hashes: dict[str, str]


def is_kept(run: Run, n: int, progress: Progress) -> bool:
    """Say whether what was merged still is what the originals call for."""
    staged = [file for file in progress.files if not runs.is_archived(run, n, file)]
    made = [run.merged_path(n), *([run.bad_records_path(n)] if progress.records_quarantined else [])]
    if len(staged) == len(progress.files) and not all(path.exists() for path in made):
        return False
    return all(runs.is_as_read(run, n, file) for file in staged)


def merge(run: Run, n: int) -> Progress:
    """Merge the files of a subdirectory; the result is in its progress.json when this returns.

    Raises:
        DataError: a file is not where it was, or has a field that the run's schema does not know; too many of the
            records are bad.
        StillWrittenError: a file changed while it was read.
    """
    inputs = manifest.read(run.inputs_path(n), Inputs).files
    schema = runs.schema_of(run)
    before = {file.name: files.claimed_file(run, n, file.name) for file in inputs}
    known = {file.name: file for file in prepare.scanned(run, n, inputs, before, schema)}
    read_now = {name: file for name, file in known.items() if not file.duplicate_of and not file.fault}
    merged = _merge(run, n, read_now, schema)
    hashes = {name: merged.hashes.get(name) or _sha256(run, n, file) for name, file in known.items()}
    after = {name: _unwritten(run, n, name, state, hashes[name]) for name, state in before.items()}
    read = [_read(known[name], after[name], hashes[name], merged.cleaned.get(name)) for name in before]
    good = sum((file.records or 0) - file.records_quarantined for file in read)
    if merged.records != good:
        msg = f"{run.subdir(n)}: merged {merged.records} records, expected the {good} that its files hold"
        raise DataError(msg)
    _report(run, n, read, merged)
    _check_share(run, n, read)
    bad = sum(file.records_quarantined for file in read)
    progress = Progress(read, merged.records, merged.unmatched, bad, as_declared=merged.as_declared)
    files.publish(run.merged_path(n))
    files.write(run.progress_path(n), manifest.encode(progress))
    for path in (run.clean_path(n), *run.joined_paths(n)):
        files.remove(path)
    return progress


def _unwritten(run: Run, n: int, name: str, before: os.stat_result, sha256: str) -> os.stat_result:
    """Return the state of a file after it was read.

    Raises:
        StillWrittenError: its bytes may have changed in between. Another owner, mode or link is no such change.
    """
    after = files.claimed_file(run, n, name)
    if files.version(after) == files.version(before):
        return after
    is_touched = files.version(after)[:-1] != files.version(before)[:-1]
    if is_touched or sha256 not in {"", files.sha256(run.subdir_dir(n) / name)}:
        msg = f"{name!r} changed while it was read: somebody still writes it"
        raise StillWrittenError(msg)
    return after


def _merge(run: Run, n: int, known: Mapping[str, Input], schema: RunSchema) -> _Merged:
    """Merge, and once more with those files on the careful path that turn out to need it."""
    if exact := _merge_exact(run, n, known, as_declared(schema)):
        return exact
    paths = {name: run.subdir_dir(n) / name for name in known}
    careful = {name for name, file in known.items() if file.careful}
    careful |= engine.misfits(run, _without(paths, careful), schema)
    keys: dict[int, set[str | None]] = {}
    size = _record_bytes(known.values())
    while True:
        cleaned = _clean(run, n, {name: paths[name] for name in paths if name in careful}, schema, keys)
        lines = Clean(run.clean_path(n), max((one.line_bytes for one in cleaned.values()), default=0))
        clean = lines if any(one.good for one in cleaned.values()) else None
        fast = _without(paths, careful)
        try:
            merged = engine.merge(
                run, n, engine.Sources(fast, size, clean=clean), schema, files.fresh(run.merged_path(n))
            )
        except DATA_FAULTS:
            refused = set(engine.faulty(run, fast, schema))
            if not refused:
                raise
            careful |= refused
            continue
        if not merged.lacking:
            return _Merged(merged.records, merged.unmatched, cleaned, as_declared=False, hashes={})
        keys |= merged.lacking
        for index in merged.lacking:
            careful |= engine.files_with(run, n, fast, schema, index)


def _merge_exact(run: Run, n: int, known: Mapping[str, Input], schema: RunSchema) -> _Merged | None:
    """Merge files whose values are all of the types that are declared; None where some turn out not to be."""
    if not known or not all(file.exact for file in known.values()):
        return None
    _clean(run, n, {}, schema, {})
    try:
        hashes, joined = _join_small(run, n, known)
        left = {name: run.subdir_dir(n) / name for name in known if not joined or input_format(name) != "json"}
        lines = all(file.proved for name, file in known.items() if input_format(name) == "json")
        sources = engine.Sources(left, _record_bytes(known.values()), lines=lines, joined=joined)
        merge = functools.partial(engine.merge, run, n, schema=schema, target=files.fresh(run.merged_path(n)))
        checked = not all(file.fits for file in known.values())
        try:
            merged = merge(sources, checked=checked)
        except DATA_FAULTS:
            if not lines:
                raise
            # Two records may share a line.
            merged = merge(sources._replace(lines=False), checked=checked)
    except (*DATA_FAULTS, engine.InexactError):
        return None
    if merged.lacking:
        return None
    return _Merged(merged.records, merged.unmatched, {}, as_declared=True, hashes=hashes)


def _join_small(run: Run, n: int, known: Mapping[str, Input]) -> tuple[dict[str, str], list[Path]]:
    """Write the records of many small files of JSON, all of them, to a few files, or to none.

    Returns:
        The hashes of those that were read at once, and the files that were written.
    """
    names = [name for name in known if input_format(name) == "json"]
    size = sum(known[name].size_bytes * _content_ratio(name) for name in names)
    # With lineage, each row tells the file that it comes from.
    if run.feed.spec.output.lineage or len(names) < files.MANY_FILES or size > len(names) * SMALL_BYTES:
        return {}, []
    with contextlib.ExitStack() as stack:
        arrays, others = (stack.enter_context(path.open("wb")) for path in run.joined_paths(n))
        try:
            hashes = join({name: run.feed.place(run.staged_name(n, name)) for name in names}, arrays, others)
        except (UnreadableError, ValueError):
            # It is scanned, but is not proved: in another layout.
            return {}, []
    return hashes, [path for path in run.joined_paths(n) if path.stat().st_size]


def _record_bytes(inputs: Iterable[Input]) -> int:
    """Return how large a record of these files is on average, at least where they are compressed."""
    counted = [(file.size_bytes * _content_ratio(file.name), file.records or 0) for file in inputs]
    return sum(size for size, _ in counted) // max(1, sum(records for _, records in counted))


def _content_ratio(name: str) -> int:
    return USUAL_RATIO if name.endswith(COMPRESSIONS) or input_format(name) == "parquet" else 1


def _sha256(run: Run, n: int, file: Input) -> str:
    is_read = not file.fault or file.fault.code not in OF_SIZE
    return files.sha256(run.subdir_dir(n) / file.name) if is_read else ""


def _without(paths: Mapping[str, Path], careful: Iterable[str]) -> dict[str, Path]:
    return {name: path for name, path in paths.items() if name not in careful}


def _clean(
    run: Run, n: int, paths: Mapping[str, Path], schema: RunSchema, unmatched: Mapping[int, set[str | None]]
) -> dict[str, Cleaned]:
    with files.writing(run.clean_path(n)) as clean, files.writing(run.bad_records_path(n)) as bad:
        cleaner = Cleaner(run.feed.data_dir, run.feed.spec, schema, unmatched, clean, bad)
        return {name: cleaner.add(name, path) for name, path in paths.items()}


def _read(file: Input, state: os.stat_result, sha256: str, cleaned: Cleaned | None) -> Input:
    read = msgspec.structs.replace(
        file, size_bytes=state.st_size, ctime_ns=state.st_ctime_ns, sha256=sha256, careful=cleaned is not None
    )
    if cleaned is None:
        return read
    records = cleaned.good + cleaned.bad
    return msgspec.structs.replace(read, records=records, records_quarantined=cleaned.bad, fault=cleaned.fault)


def _report(run: Run, n: int, read: list[Input], merged: _Merged) -> None:
    place = run.subdir(n)
    if merged.unmatched:
        log.warning("%s: %d of %d records have no match in a reference", place, merged.unmatched, merged.records)
    for file in read:
        if file.fault:
            log.warning("%s: %r goes to quarantine: %s (%s)", place, file.name, file.fault.message, file.fault.code)
        elif file.duplicate_of:
            log.warning("%s: %r makes no rows: it has the bytes of %r", place, file.name, file.duplicate_of)
        elif file.records_quarantined:
            counted = (file.records_quarantined, file.records, file.name)
            log.warning("%s: %d of %d records of %r go to quarantine", place, *counted)


def _check_share(run: Run, n: int, read: list[Input]) -> None:
    quarantine, limit = run.feed.spec.quarantine, run.feed.spec.quarantine.max_bad_records_percent
    counts = [(repr(file.name), file.records_quarantined, file.records or 0) for file in read]
    bad, records = sum(file.records_quarantined for file in read), sum(file.records or 0 for file in read)
    for place, bad_here, records_here in [*counts, (run.subdir(n), bad, records)]:
        if not quarantine.allows(bad_here, records_here):
            listed = run.bad_records_path(n)
            with listed.open("rb") as lines:
                first = msgspec.json.decode(lines.readline(), type=BadRecord)
            msg = (
                f"{place}: found {bad_here} bad records of {records_here}, expected at most {limit:g} % "
                f"(quarantine.max_bad_records_percent); the first: {first.file!r} line {first.line}, "
                f"byte {first.offset}: {first.message} ({first.code}); "
                f"all are in {str(listed)!r}, the file is in {run.subdir(n)}"
            )
            raise DataError(msg)


def publish(run: Run, n: int, progress: Progress) -> Published:
    """Publish what is bad, then the rows of what is good; both are in progress.json when this returns."""
    schema, target = runs.schema_of(run), run.feed.data_dir / run.output_name(n)
    if progress.as_declared:
        schema = as_declared(schema)
    quarantined = None
    if progress.records_quarantined:
        listed = run.feed.data_dir / run.quarantined_records_name(n)
        files.copy(run.bad_records_path(n), listed)
        size, sha256 = listed.stat().st_size, files.sha256(listed)
        quarantined = Published(run.quarantined_records_name(n), progress.records_quarantined, size, sha256)
    files.make_dirs(target.parent)
    temporary = files.fresh(target)
    size = _record_bytes(progress.files)
    rows = denormalize(run, n, schema, size, temporary) if schema.columns else files.write_empty(temporary)
    totals = {name: counts.plain(total) for name, total in counts.merged_sums(run, n, schema, size).items()}
    published = Published(run.output_name(n), rows, temporary.stat().st_size, files.sha256(temporary), totals)
    files.publish(target)
    done = msgspec.structs.replace(progress, published=published, quarantined=quarantined)
    files.write(run.progress_path(n), manifest.encode(done))
    return published


def finish(run: Run, n: int) -> None:
    """Archive the originals of a group whose table is published, be it that this is not noted yet.

    Raises:
        DataError: as `archive`.
    """
    progress = manifest.read(run.progress_path(n), Progress)
    if progress.published is None:
        publish(run, n, progress)
        progress = manifest.read(run.progress_path(n), Progress)
    archive(run, n, progress)


def archive(run: Run, n: int, progress: Progress) -> None:
    """Move the originals to the archive, and those that are bad as a whole to quarantine, each beside its reason.

    Raises:
        DataError: an original changed after it was read, is gone, or its name is taken.
    """
    staged = {run.feed.place(run.staged_name(n, file.name)): file for file in progress.files}
    places = {path: run.feed.place(runs.last_name(run, n, file)) for path, file in staged.items()}
    left = vault.not_archived(places)
    for path in left:
        if not runs.is_as_read(run, n, staged[path]):
            msg = (
                f"{staged[path].name!r} changed after it was read: its writer still held it. It stays staged: "
                "run this group again, from merge_data, to read it as it is now"
            )
            raise DataError(msg)
    for file in progress.files:
        if isinstance(file.fault, BadFile):
            files.write(run.feed.data_dir / run.reason_name(n, file.name), manifest.encode(file.fault))
    markers = {}
    for file in progress.files:
        if (marker := run.marker(file.name)) and (archived := run.archived_marker_path(file.name)):
            markers[run.feed.place(run.staged_name(n, marker))] = str(archived)
    vault.archive(places | markers, left | vault.not_archived(markers))
