"""A feed and its runs: how they are opened, which there are, and who may work on them."""

import contextlib
import importlib.metadata
from contextlib import AbstractContextManager
from pathlib import Path

from pydantic import ValidationError

from fanfold import documents, durable, links, mirrors
from fanfold.durable import AnyPath
from fanfold.errors import DataError, MissingError, SpecError, nearest
from fanfold.feed import access, lease
from fanfold.layout import Feed, Group, Run, format_ts, is_ts, parse_ts
from fanfold.manifest import Manifest
from fanfold.spec.model import PLACE, Spec, load_spec
from fanfold.spec.roots import allowed_roots, check_allowed, check_allowed_uri
from fanfold.working_files import Claimed, Files, Identity, Progress, Release, RunSchema

# The work is short, but for the hashes of files that may be duplicates.
WAIT_SECONDS = 60


def open_feed(spec_path: AnyPath, data_dir: AnyPath | None = None, ts: str | None = None, n: int | None = None) -> Feed:
    """Return the feed of a spec, under its own `data_dir` or another (a relative one: to the spec's folder).

    Of a feed in a bucket, what concerns the group `n` of the run `ts` is enough for who works on that alone.

    Raises:
        MissingError, SpecError: as `load_spec`.
        PathError: `data_dir`, or a folder of the feed in it, leads outside the allowed roots.
    """
    path = Path(spec_path)
    spec = load_spec(path)
    wanted = data_dir or spec.data_dir
    if mirrors.is_uri(wanted):
        # The library that talks to buckets is only there where it is needed.
        from fanfold import bucket

        check_allowed_uri(str(wanted), path, spec)
        feed = Feed(bucket.opened(str(wanted), spec, ts, n).root, spec)
        check_identity(feed)
        return feed
    roots = allowed_roots(path, spec)
    root = check_allowed(path.resolve().parent / wanted, roots, "data_dir")
    feed = Feed(root, spec)
    for folder in [*feed.folders, *(root / merged.reference for merged in spec.merge)]:
        check_allowed(folder, roots, "path")
    links.check_inside([feed.references_dir, feed.resolutions_dir, feed.purged_dir], feed.folders)
    check_identity(feed)
    return feed


def check_identity(feed: Feed) -> None:
    """Check that a feed's `data_dir` does not hold another feed.

    Raises:
        SpecError: it does.
        DataError: a later version of Fanfold has staged a run there; or it was copied from a bucket, with a run that
            is not complete.
    """
    # The file is empty between the first lock and the first word.
    if not durable.size(feed.identity_path):
        return
    name = documents.read(feed.identity_path, Identity).name
    if name != feed.spec.name:
        msg = (
            f"name: found {feed.spec.name!r}, expected {name!r}, the feed of {str(feed.data_dir)!r}: give each feed a "
            f"data_dir of its own or, if you renamed this one, write its new name into {str(feed.identity_path)!r}"
        )
        raise SpecError(msg)
    entries = sorted(feed.claims_dir.glob("*.json"))
    if entries and (begun := documents.read(entries[-1], Claimed).runs):
        msg = (
            f"run {min(begun)} was begun in a bucket, and is not complete: complete it there, or give it up there "
            "(fanfold release), and copy the feed again"
        )
        raise DataError(msg)


def claim_data_dir(feed: Feed) -> None:
    """Write down, once, which feed the `data_dir` holds.

    Raises:
        SpecError: it holds another one.
    """
    durable.make_dirs(feed.identity_path.parent)
    with one_by_one(feed):
        check_identity(feed)
        identity = Identity(format=documents.FORMAT, fanfold=importlib.metadata.version("fanfold"), name=feed.spec.name)
        durable.write(feed.identity_path, documents.encode(identity))


def one_by_one(feed: Feed) -> AbstractContextManager[object]:
    """Let one run of the feed at a time into a block; the others wait.

    Raises:
        BusyError: another run is in there for longer than a minute.
    """
    return lease.locked(feed.identity_path, WAIT_SECONDS)


def owned(run: Run, step: str, *more: Path) -> AbstractContextManager[None]:
    """Own a run, all its groups, and `more` leases, for a step on the whole run; nothing where it has no folder.

    Raises:
        BusyError: another process owns a part of it.
    """
    if not run.staging_dir.is_dir():
        return contextlib.nullcontext()
    durable.make_dirs(run.work_dir)
    groups = [group.lease_path for group in run.groups if group.work_dir.is_dir()]
    return lease.hold(*more, run.lease_path, *groups, does=step)


def open_run(data_dir: AnyPath, ts: str) -> Run | None:
    """Return a run with the spec that it began with; None where nothing was staged under `ts`.

    Raises:
        DataError: the spec that it began with was changed; or a later version has staged a run in the feed.
        PathError: a link leads out of the feed, or lies among Fanfold's own files of the run.
    """
    bare = Feed(mirrors.folder(data_dir), Spec(version=1, name="run")).run(format_ts(parse_ts(ts)))
    if committed := documents.read_if_there(bare.commit_path, Manifest):
        return _as_committed(bare, committed)
    links.check_plain([bare.staging_dir, bare.work_dir])
    if not bare.files_path.exists():
        return None
    if durable.size(bare.feed.identity_path):
        documents.read(bare.feed.identity_path, Identity)
    return Feed(bare.feed.data_dir, Spec.model_validate_json(links.read(bare.spec_path))).run(bare.ts)


def open_complete(feed: Feed, ts: str | None) -> tuple[Run, Manifest]:
    """Return a complete run, the newest without a `ts`, and its manifest.

    Raises:
        MissingError: there is none.
    """
    known = complete(feed)
    name = format_ts(parse_ts(ts)) if ts else known[-1] if known else "any"
    if name not in known:
        msg = f"{name!r} is not a complete run, {nearest(name, known)}" if known else "there is no complete run yet"
        raise MissingError(msg)
    committed = documents.read(feed.run(name).commit_path, Manifest)
    return _as_committed(feed.run(name), committed), committed


def _as_committed(run: Run, committed: Manifest) -> Run:
    """Return a complete run with the spec of its manifest.

    Raises:
        DataError: somebody changed that.
    """
    try:
        spec = Spec.model_validate(committed.spec)
    except ValidationError as error:
        place = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        msg = f"{str(run.commit_path)!r} was changed ({place} in its spec), expected the manifest that Fanfold wrote"
        raise DataError(msg) from None
    opened = Feed(run.feed.data_dir, spec).run(run.ts)
    access.check_links(opened, ((file.name, file.subdir) for file in committed.files))
    mirrors.see(opened, committed)
    return opened


def unfinished(feed: Feed) -> list[str]:
    """Return the timestamps of the runs that are not complete, the oldest first."""
    return _named(feed.staging_dir, "")


def complete(feed: Feed) -> list[str]:
    """Return the timestamps of the runs that are complete, the oldest first."""
    return _named(feed.commits_dir, ".json")


def _named(directory: Path, suffix: str) -> list[str]:
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    found = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    return sorted(filter(is_ts, found), key=parse_ts)


def is_complete(run: Run) -> bool:
    """Say whether the run is committed."""
    return run.commit_path.exists()


def has_published(run: Run) -> bool:
    """Say whether something of an unfinished run is published, or was."""
    return any(map(has_begun_to_publish, run.groups))


def has_begun_to_publish(group: Group) -> bool:
    """Say whether the files under the names of a group's tables are its own: until then they are somebody else's."""
    progress = documents.read_if_there(group.progress_path, Progress)
    return group.publishing_path.exists() or bool(progress and progress.outputs)


def discard_published(group: Group) -> None:
    """Remove what a group has published, or was about to; not what somebody else has put there."""
    is_own = has_begun_to_publish(group)
    for path in (group.quarantined_records_path, *group.output_paths):
        if is_own:
            durable.discard(path)
        durable.discard_temporary(path)
        durable.remove_empty_dirs(path.parent)


def staged_names(run: Run) -> dict[int, list[str]]:
    """Return the names of the files that each group was given, by its number; none where nothing is staged."""
    staged = documents.read_if_there(run.files_path, Files)
    names: dict[int, list[str]] = {}
    for file in staged.files if staged else ():
        names.setdefault(file.subdir, []).append(file.name)
    return names


def released_groups(run: Run) -> list[int]:
    """Return the numbers of the groups whose files go back into landing, since the run is given up."""
    release = documents.read_if_there(run.release_path, Release)
    return release.subdirs if release else []


def schema_of(run: Run) -> RunSchema:
    """Return the schema that was fixed for a run.

    Raises:
        MissingError: it was not fixed yet.
    """
    found = documents.read_if_there(run.schema_path, RunSchema)
    if found is None:
        msg = f"run {run.ts} has no schema yet, expected create_dynamic_taskgroups before this step"
        raise MissingError(msg)
    return found


def encode_spec(spec: Spec) -> bytes:
    """Return a spec as a run keeps it."""
    return spec.model_dump_json(exclude=PLACE, indent=1).encode()
