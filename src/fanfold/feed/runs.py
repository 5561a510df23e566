"""A feed and its runs: how they are opened, which there are, how far each is, and how one is given up."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import ValidationError

from fanfold import durable, links, manifest
from fanfold.durable import AnyPath
from fanfold.errors import DataError, MissingError, SpecError, nearest
from fanfold.feed import archive, claim, landing, lease
from fanfold.feed.verdict import verdict
from fanfold.layout import Feed, Group, Run, format_ts, parse_ts
from fanfold.manifest import (
    Failure,
    Files,
    Identity,
    Input,
    Inputs,
    Manifest,
    Progress,
    Release,
    RunSchema,
    SubdirSummary,
    Summary,
)
from fanfold.spec.model import Spec, allowed_roots, check_allowed, load_spec

# What is done one by one is short, but for the hashes of files that may be duplicates.
WAIT_SECONDS = 60


class Reason(msgspec.Struct, frozen=True):
    """Why a run failed: the step, its subdirectory (null where it is the whole run), and what it said."""

    step: str
    subdir: int | None
    message: str


class RunStatus(msgspec.Struct, frozen=True):
    """How far a run is, and what it failed for.

    `groups` gives for each subdirectory with files the step that it has reached. A complete run has failed where too
    much of it is bad.
    """

    ts: str
    state: Literal["unfinished", "complete"]
    files: int
    records: int | None
    rows: int | None
    groups: dict[str, str]
    released: int = 0
    failed: list[Reason] = []


def open_feed(spec_path: AnyPath, data_dir: AnyPath | None = None) -> Feed:
    """Return the feed of a spec, under its own `data_dir` or another (a relative one: to the spec's folder).

    Raises:
        MissingError, SpecError: as `load_spec`.
        PathError: `data_dir`, or a folder of the feed in it, leads outside the allowed roots.
    """
    path = Path(spec_path)
    spec = load_spec(path)
    roots = allowed_roots(path, spec)
    root = check_allowed(path.resolve().parent / (data_dir or spec.data_dir), roots, "data_dir")
    feed = Feed(root, spec)
    for folder in [*feed.folders, *(root / merged.reference for merged in spec.merge)]:
        check_allowed(folder, roots, "path")
    links.check_inside([feed.references_dir, feed.resolutions_dir], feed.folders)
    check_identity(feed)
    return feed


def check_identity(feed: Feed) -> bool:
    """Say whether a feed's `data_dir` knows already that it holds this feed.

    Raises:
        SpecError: it holds another one.
    """
    # It is empty between the first lock and the first word.
    if not feed.identity_path.exists() or not feed.identity_path.stat().st_size:
        return False
    name = manifest.read(feed.identity_path, Identity).name
    if name != feed.spec.name:
        msg = (
            f"name: found {feed.spec.name!r}, expected {name!r}, the feed of {str(feed.data_dir)!r}: give each feed a "
            f"data_dir of its own, or, where this one was renamed, write its name into {str(feed.identity_path)!r}"
        )
        raise SpecError(msg)
    return True


def claim_data_dir(feed: Feed) -> None:
    """Write down, once, which feed the `data_dir` holds.

    Raises:
        SpecError: it holds another one.
    """
    durable.make_dirs(feed.identity_path.parent)
    with one_by_one(feed):
        if not check_identity(feed):
            durable.write(feed.identity_path, manifest.encode(Identity(feed.spec.name)))


def owned(run: Run, step: str, *more: Path) -> AbstractContextManager[None]:
    """Own a run, all its groups, and `more` leases, for a step on the whole; nothing of a run that has no folder.

    Raises:
        BusyError: another process owns a part of it.
    """
    if not run.staging_dir.is_dir():
        return contextlib.nullcontext()
    durable.make_dirs(run.work_dir)
    groups = [group.lease_path for group in run.groups if group.work_dir.is_dir()]
    return lease.hold(*more, run.lease_path, *groups, does=step)


def one_by_one(feed: Feed) -> AbstractContextManager[None]:
    """Let one run of the feed at a time into a block; the others wait.

    Raises:
        BusyError: another run is in there for longer than a minute.
    """
    return lease.one_by_one(feed.identity_path, WAIT_SECONDS)


def open_run(data_dir: AnyPath, ts: str) -> Run | None:
    """Return a run with the spec that it began with; None where nothing was staged under `ts`.

    Raises:
        PathError: a link leads out of the feed, or lies among Fanfold's own files of the run.
    """
    bare = Feed(Path(data_dir).resolve(), Spec(version=1, name="run")).run(format_ts(parse_ts(ts)))
    if committed := manifest.read_if_there(bare.commit_path, Manifest):
        run = Feed(bare.feed.data_dir, _spec_of(bare, committed)).run(bare.ts)
        check_links(run, ((file.name, file.subdir) for file in committed.files))
        return run
    links.check_plain([bare.staging_dir, bare.work_dir])
    if not bare.files_path.exists():
        return None
    return Feed(bare.feed.data_dir, Spec.model_validate_json(links.read(bare.spec_path))).run(bare.ts)


def check_links(run: Run, names: Iterable[tuple[str, int]]) -> None:
    """Check that no link leads out of the feed from where a run has files, or will have.

    Args:
        run: the run.
        names: the names of files in landing, each with the number of its subdirectory.

    Raises:
        PathError: one does, or lies among Fanfold's own files.
    """
    folders = {(name.rpartition("/")[0], n) for name, n in names}
    links.check_inside(run.directories(folders), run.feed.folders)
    links.check_plain(run.own_dirs({n for _, n in folders}))


def check_places(run: Run, names: Iterable[tuple[str, int]]) -> None:
    """Check, before anything is changed, what a run needs of the places of its files, as `check_links` takes them.

    Raises:
        PathError: a link leads out of the feed, or this process may not write into a folder.
    """
    names = list(names)
    check_links(run, names)
    folders = {(name.rpartition("/")[0], n) for name, n in names}
    links.check_inside((run.feed.landing_dir / folder for folder, _ in folders), run.feed.folders)
    landing.check_writable(run.directories(folders))


def open_complete(feed: Feed, ts: str | None) -> tuple[Run, Manifest]:
    """Return a complete run, the newest without a `ts`, and its manifest.

    Raises:
        MissingError: there is none.
    """
    known = complete(feed)
    name = format_ts(parse_ts(ts)) if ts else known[-1] if known else "any"
    if name not in known:
        msg = f"{name!r} is no complete run, {nearest(name, known)}" if known else "there is no complete run yet"
        raise MissingError(msg)
    committed = manifest.read(feed.run(name).commit_path, Manifest)
    run = Feed(feed.data_dir, _spec_of(feed.run(name), committed)).run(name)
    check_links(run, ((file.name, file.subdir) for file in committed.files))
    return run, committed


def _spec_of(run: Run, committed: Manifest) -> Spec:
    """Return the spec of a complete run.

    Raises:
        DataError: somebody changed it.
    """
    try:
        return Spec.model_validate(committed.spec)
    except ValidationError as error:
        place = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        msg = f"{str(run.commit_path)!r} was changed ({place} in its spec), expected the manifest that Fanfold wrote"
        raise DataError(msg) from None


def unfinished(feed: Feed) -> list[str]:
    """Return the timestamps of the runs that are not complete, the oldest first."""
    return sorted(_named(feed.staging_dir, ""), key=parse_ts)


def complete(feed: Feed) -> list[str]:
    """Return the timestamps of the runs that are complete, the oldest first."""
    return sorted(_named(feed.commits_dir, ".json"), key=parse_ts)


def _named(directory: Path, suffix: str) -> Iterator[str]:
    for name in (path.name for path in directory.iterdir()) if directory.is_dir() else ():
        ts = name.removesuffix(suffix)
        try:
            if name == ts + suffix and format_ts(parse_ts(ts)) == ts:
                yield ts
        except MissingError:
            continue


def status(feed: Feed) -> list[RunStatus]:
    """Describe every run: the unfinished ones first, each kind from the oldest to the newest."""
    waiting = unfinished(feed)
    described = [_unfinished_status(feed, ts) for ts in waiting]
    for ts in complete(feed):
        if ts not in waiting:
            committed = manifest.read(feed.run(ts).commit_path, Manifest)
            summary = committed.summary
            groups = {n: "archived" for n, subdir in summary.subdirs.items() if subdir.files}
            described.append(
                RunStatus(
                    ts,
                    "complete",
                    summary.files_in,
                    summary.records_in,
                    summary.rows_out,
                    groups,
                    len(committed.released),
                    [Reason("verify_run", None, told) for told in [verdict(committed)] if told],
                )
            )
    return described


def _unfinished_status(feed: Feed, ts: str) -> RunStatus:
    run = open_run(feed.data_dir, ts) or feed.run(ts)
    staged = manifest.read_if_there(run.files_path, Files)
    names: dict[int, list[str]] = {}
    for file in staged.files if staged else ():
        names.setdefault(file.subdir, []).append(file.name)
    groups = {str(n): group_state(run.group(n), members) for n, members in sorted(names.items())}
    failed = [Reason(failure.step, failure.subdir, failure.message) for failure in failures(run)]
    return RunStatus(ts, "unfinished", sum(map(len, names.values())), None, None, groups, failed=failed)


def failures(run: Run) -> list[Failure]:
    """Return why an unfinished run cannot go on: as a whole, then each group."""
    paths = [run.failure_path, *(group.failure_path for group in run.groups)]
    return [failure for path in paths if (failure := manifest.read_if_there(path, Failure))]


def group_state(group: Group, names: list[str]) -> str:
    """Return the last step that a group has finished: staged, merged, published or archived."""
    progress = manifest.read_if_there(group.progress_path, Progress)
    if progress is None:
        return "staged"
    if progress.published is None:
        return "merged"
    return "archived" if not any((group.subdir_dir / name).exists() for name in names) else "published"


def has_published(run: Run) -> bool:
    """Say whether something of an unfinished run is published, or was."""
    for group in run.groups:
        progress = manifest.read_if_there(group.progress_path, Progress)
        if (progress and progress.published) or group.output_path.exists():
            return True
    return False


def encode_spec(spec: Spec) -> bytes:
    """Return a spec as a run keeps it."""
    return spec.model_dump_json(exclude={"data_dir"}, indent=1).encode()


def empty_summary(ts: str, subdirs: int) -> Summary:
    """Return the counts of a run without files."""
    return Summary(
        ts=format_ts(parse_ts(ts)),
        files_in=0,
        files_archived=0,
        files_quarantined=0,
        bytes_in=0,
        records_in=0,
        records_quarantined=0,
        records_unmatched=0,
        rows_out=0,
        subdirs={str(n): SubdirSummary() for n in range(1, subdirs + 1)},
        references=[],
    )


def release_unpublished(run: Run) -> tuple[list[int], list[str]]:
    """Put the files of every group that has not published back into landing.

    The decision is on disk first, so a second call completes a first one.

    Returns:
        The groups that have published, and the names that are back in landing, sorted.

    Raises:
        DataError: landing has another file of that name now; all others are back.
    """
    staged = manifest.read(run.files_path, Files).files
    release = manifest.read_if_there(run.release_path, Release)
    if release is None:
        given = {file.subdir for file in staged}
        release = Release(sorted(n for n in given if not _stands(run.group(n))))
        durable.write(run.release_path, manifest.encode(release))
    taken = []
    for n in release.subdirs:
        names = [file.name for file in staged if file.subdir == n]
        # A file is in landing before the marker that makes it ready.
        taken += archive.give_back(run.group(n), [*names, *filter(None, map(run.feed.marker, names))])
        durable.discard(run.group(n).output_path)
        durable.discard(run.group(n).quarantined_records_path)
    if taken:
        msg = f"{taken[0]!r} is in landing again, and in {run.staging_dir}: expected one; move one and release again"
        raise DataError(msg)
    kept = sorted({file.subdir for file in staged} - set(release.subdirs))
    returned = (file.name for file in staged if file.subdir in release.subdirs)
    return kept, sorted(name for name in returned if (run.feed.landing_dir / name).exists())


def _stands(group: Group) -> bool:
    """Say whether what a group has published is that of its originals: all are as they were read, or archived."""
    if not group.output_path.exists():
        return False
    progress = manifest.read_if_there(group.progress_path, Progress)
    if progress is None:
        return False
    if any(is_archived(group, file) for file in progress.files):
        return True
    return all(is_as_read(group, file) for file in progress.files)


def is_as_read(group: Group, file: Input) -> bool:
    """Say whether a staged original has the bytes that were read. Its owner, mode, links and times may have changed."""
    state = claim.claimed_file(group, file.name)
    if is_unchanged(file, state):
        return True
    # A file that was too large to be read has no hash.
    same_size = state.st_size == file.size_bytes
    return same_size and file.sha256 in {"", durable.sha256(group.subdir_dir / file.name)}


def is_as_decided(group: Group, file: Input) -> bool:
    """Say whether a file is staged, in the state that it had when it was decided whether it is a duplicate."""
    try:
        return is_unchanged(file, os.lstat(group.staged_path(file.name)))
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_unchanged(file: Input, state: os.stat_result) -> bool:
    """Say whether a file is in the state that it had when it was read: then it surely has the same bytes."""
    return (state.st_size, state.st_ctime_ns) == (file.size_bytes, file.ctime_ns)


def last_name(group: Group, file: Input) -> str:
    """Return where an original ends, relative to data_dir: in quarantine where it is bad as a whole."""
    return group.quarantined_name(file.name) if file.fault else group.run.archived_name(file.name)


def is_archived(group: Group, file: Input) -> bool:
    """Say whether an original is at its last place."""
    return archive.is_archived(group.staged_path(file.name), group.run.feed.place(last_name(group, file)))


def is_complete(run: Run) -> bool:
    """Say whether the run is committed."""
    return run.commit_path.exists()


def has_files(group: Group) -> bool:
    """Say whether a group has work: files that were claimed for it, and not released.

    Raises:
        MissingError: the groups are not prepared yet.
    """
    if committed := manifest.read_if_there(group.run.commit_path, Manifest):
        return str(group.n) in committed.outputs
    inputs = manifest.read_if_there(group.inputs_path, Inputs)
    released = manifest.read_if_there(group.run.release_path, Release)
    # A DAG may have more groups than the run has subdirectories.
    if (released and group.n in released.subdirs) or group.n > group.run.feed.spec.subdirs:
        return False
    if inputs is None:
        msg = f"{group.subdir} is not prepared, expected create_dynamic_taskgroups before this step"
        raise MissingError(msg)
    return bool(inputs.files)


def progress_of(group: Group) -> Progress | None:
    """Return what a group has done, from its own notes or, once the run is complete, from the manifest."""
    committed = manifest.read_if_there(group.run.commit_path, Manifest)
    if committed is None:
        return manifest.read_if_there(group.progress_path, Progress)
    read = [
        Input(
            file.name,
            file.size_bytes,
            records=file.records,
            sha256=file.sha256,
            records_quarantined=file.records_quarantined,
            decision=file.decision,
            duplicate_of=file.duplicate_of,
            replay_of=file.replay_of,
        )
        for file in committed.files
        if file.subdir == group.n
    ]
    subdir = committed.summary.subdirs[str(group.n)]
    bad = committed.quarantined.get(str(group.n))
    return Progress(
        read,
        subdir.records - (bad.rows if bad else 0),
        committed.records_unmatched[str(group.n)],
        bad.rows if bad else 0,
        bad,
        committed.outputs[str(group.n)],
    )


def schema_of(run: Run) -> RunSchema:
    """Return the schema that was fixed for a run.

    Raises:
        MissingError: it was not fixed yet.
    """
    found = manifest.read_if_there(run.schema_path, RunSchema)
    if found is None:
        msg = f"run {run.ts} has no schema yet, expected create_dynamic_taskgroups before this step"
        raise MissingError(msg)
    return found
