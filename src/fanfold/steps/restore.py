"""Back from the archive: originals under their old names, and whole runs made again."""

import shutil
from itertools import zip_longest
from pathlib import Path

import msgspec

from fanfold import documents, durable, mirrors
from fanfold.errors import DataError, FanfoldError
from fanfold.feed import access, archive, lease, purged, runs
from fanfold.feed.balance import balance
from fanfold.layout import RECORDS_NAME, Feed, Run
from fanfold.manifest import ArchivedFile, BadRecord, Manifest, Published
from fanfold.scratch import scratch_dir
from fanfold.spec.changes import changes
from fanfold.steps import local
from fanfold.working_files import Files, StagedFile

# What a run is made again from.
NEEDED: tuple[purged.Kind, ...] = ("archive", "quarantine", "references")


def restore(run: Run, committed: Manifest, target_dir: Path) -> list[str]:
    """Copy the originals of a complete run into a directory, under their old names, each with its marker after it.

    Everything is checked before the first is written: nothing is overwritten. A second call completes a first one.

    Returns:
        The names, sorted.

    Raises:
        DataError: an original is missing or changed, or another file has its name in `target_dir`.
        MissingError: originals of the run were purged.
        PathError: a link below `target_dir` leads out of it, or this process may not write into it.
    """
    places = {target_dir / file.name: file for file in committed.files}
    access.check_targets({target.parent for target in places}, [target_dir])
    with purged.left(run, ["archive", "quarantine"]):
        mirrors.look_at(map(str, places))
        for target, file in places.items():
            if target.exists() and durable.sha256(target) != file.sha256:
                raise archive.taken(target)
        for target, file in places.items():
            _copy_out(run, file, target)
    return sorted(file.name for file in committed.files)


def _copy_out(run: Run, file: ArchivedFile, target: Path) -> None:
    archive.copy_out(run.feed.data_dir / file.archived_as, file.name, file.sha256, target)
    marker, archived = run.feed.marker(target.name), run.archived_marker_path(file.name)
    if marker and archived:
        durable.copy(archived, target.with_name(marker))


def stage_again(run: Run, committed: Manifest, feed: Feed) -> None:
    """Stage the originals of a complete run in another `data_dir`, as its stage_files did; the run goes on from there.

    In a bucket it is complete then: nothing is published there before all of it is made.

    The references are those that the run has joined, where `feed` has no others. What was a duplicate is one again.
    A second call completes a first one.

    Raises:
        DataError: an original or a reference is missing or changed.
        MissingError: something of the run was purged that it takes.
        SpecError: the `data_dir` holds another feed.
        BusyError: another process does the same.
    """
    again = feed.run(run.ts)
    purged.check_left(run, NEEDED)
    runs.claim_data_dir(feed)
    if runs.is_complete(again) or again.files_path.exists():
        return
    if mirrors.of(feed.data_dir):
        _make_in_bucket(run, committed, feed)
        return
    durable.make_dirs(feed.landing_dir)
    durable.make_dirs(again.work_dir)
    with lease.hold(again.lease_path, does="stage_files"), purged.left(run, NEEDED):
        for reference in committed.summary.references:
            kept = run.feed.kept_reference_path(reference.path, reference.sha256)
            if not (feed.data_dir / reference.path).exists():
                archive.copy_out(kept, kept.name, reference.sha256, feed.data_dir / reference.path)
        subdirs = _subdirs(run, committed, feed)
        staged = []
        for n in range(1, feed.spec.subdirs + 1):
            durable.make_dirs(again.group(n).subdir_dir)
        for file in committed.files:
            n = subdirs[file.name]
            _copy_out(run, file, again.group(n).subdir_dir / file.name)
            staged.append(StagedFile(file.name, file.size_bytes, n, file.decision, file.duplicate_of, file.replay_of))
        staged.sort(key=lambda file: (file.subdir, file.name))
        durable.write(again.spec_path, runs.encode_spec(feed.spec))
        # A changed spec has changed the columns: then they are compared with those of the last run there.
        drift = msgspec.UNSET if changes(run.feed.spec, feed.spec) else committed.drift or None
        again_files = Files(format=documents.FORMAT, claimed=True, files=staged, drift=drift)
        durable.write(again.files_path, documents.encode(again_files))


def _subdirs(run: Run, committed: Manifest, feed: Feed) -> dict[str, int]:
    if feed.spec.subdirs == run.feed.spec.subdirs:
        return {file.name: file.subdir for file in committed.files}
    parts = balance(((file.name, file.size_bytes) for file in committed.files), feed.spec.subdirs)
    return {name: n for n, names in parts.items() for name in names}


def differences(run: Run, committed: Manifest) -> list[str]:
    """Make a complete run again from its archive, in a temporary directory, and compare what comes out.

    Returns:
        A sentence for each table, list of bad records and file that comes out otherwise. The messages of bad records
        are not compared: another version may say it in other words.

    Raises:
        DataError: an original or a reference is missing or changed.
        FanfoldError, ExceptionGroup: the run does not come to its end again.
    """
    with scratch_dir() as folder:
        made = documents.read(_made(run, committed, Feed(folder, run.feed.spec)).commit_path, Manifest)
        before, now = _outcome(committed), _outcome(made)
        names = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
        differ = [name for name in names if not _differs_in_words(run.feed.data_dir / name, folder / name)]
    made_with = f"it was made with fanfold {committed.fanfold}, duckdb {committed.duckdb}"
    return [f"{name!r} is not what the archive gives ({made_with})" for name in differ]


def _differs_in_words(path: Path, again: Path) -> bool:
    """Say whether two files list the same bad records, in messages of two versions."""
    if path.name != RECORDS_NAME or not path.exists() or not again.exists():
        return False
    mirrors.present(path)
    with path.open("rb") as lines, again.open("rb") as lines_again:
        return all(_without_words(line) == _without_words(other) for line, other in zip_longest(lines, lines_again))


def _without_words(line: bytes | None) -> BadRecord | None:
    return msgspec.structs.replace(msgspec.json.decode(line, type=BadRecord), message="") if line else None


def _made(run: Run, committed: Manifest, feed: Feed) -> Run:
    stage_again(run, committed, feed)
    local.run(feed, run.ts, lambda _n, _step, _state: None)
    return feed.run(run.ts)


def _make_in_bucket(run: Run, committed: Manifest, feed: Feed) -> None:
    """Make a run again in a temporary directory, and put what comes out into a bucket, the manifest last."""
    with scratch_dir() as folder:
        # Its columns are compared with those of the last run there.
        shutil.copytree(
            feed.data_dir, folder, dirs_exist_ok=True, ignore=lambda _, names: {"staging", "references"} & {*names}
        )
        try:
            last = _made(run, committed, Feed(folder, feed.spec)).commit_path
        except* FanfoldError:
            msg = f"run {run.ts} does not come to its end, nothing of it is published: make it in a folder, to see why"
            raise DataError(msg) from None
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != last]
        for path in [*files, last]:
            place = feed.data_dir / path.relative_to(folder)
            if not place.exists():
                durable.move(path, place)


def _outcome(committed: Manifest) -> dict[str, Published | str | None]:
    """Return what a run made of its originals: its tables and lists of bad records by path, its files by name."""
    published = {one.path: one for one in (*committed.published, *committed.quarantined.values())}
    return {**published, **{file.name: file.code for file in committed.files}}
