"""What a run lacks, or has too much: its files and contents, compared with its manifest."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from fanfold import durable, manifest, mirrors
from fanfold.errors import count
from fanfold.feed import purged
from fanfold.feed.index import Index
from fanfold.layout import Run
from fanfold.manifest import Manifest
from fanfold.path_columns import told_apart_by


class Expected(NamedTuple):
    """A file that a run has left: its path relative to `data_dir`, what it is, and its size and hash if known."""

    path: str
    what: str
    size_bytes: int | None
    sha256: str | None


def expected(run: Run, committed: Manifest, *, hash_originals: bool = False) -> Iterator[Expected]:
    """Yield every file that a run has left but for the manifest, also what was purged since.

    Originals have a hash where that is asked for.
    """
    for file in committed.files:
        stored = file.packed or file
        sha256 = stored.sha256 if hash_originals else None
        yield Expected(file.archived_as, f"the original of {file.name!r}", stored.size_bytes, sha256)
        if marker := run.archived_marker_path(file.name):
            yield Expected(relative(run, marker), f"the marker which says that {file.name!r} was done", None, None)
        if file.code:
            reason = run.group(file.subdir).reason_name(file.name)
            yield Expected(reason, f"the reason why {file.name!r} is bad", None, file.reason_sha256)
    for kind, published in (("row", committed.published), ("bad record", committed.quarantined.values())):
        for one in published:
            yield Expected(one.path, count(one.rows, kind), one.size_bytes, one.sha256)
    for reference in committed.summary.references:
        kept = run.feed.kept_reference_path(reference.path, reference.sha256)
        yield Expected(relative(run, kept), f"the reference {reference.path!r} as joined", None, reference.sha256)


def damages(run: Run, files: list[Expected]) -> dict[str, str]:
    """Return a sentence for each file that is missing or changed, and was not purged, by its path."""
    found, left, gone = dict[str, str](), list[Expected](), purged.kinds(run)
    for file in files:
        if gone and purged.kind_of(run.feed, file.path) in gone:
            continue
        size = durable.size(run.feed.place(file.path))
        if size is None:
            found[file.path] = f"{file.path!r} is missing: expected {file.what}"
        elif file.size_bytes not in {None, size}:
            found[file.path] = (
                f"{file.path!r} is changed: found {size:,} bytes, expected {file.what} ({file.size_bytes:,} bytes)"
            )
        elif file.sha256:
            left.append(file)
    mirrors.will_read(run.feed.place(file.path) for file in left)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        hashes = threads.map(lambda file: _hash(run.feed.data_dir / file.path), left)
        for file, sha256 in zip(left, hashes, strict=True):
            if sha256 != file.sha256:
                found[file.path] = f"{file.path!r} is changed: expected {file.what}, sha256 {file.sha256}"
    return found


def _hash(path: Path) -> str:
    sha256 = durable.sha256(path)
    mirrors.has_read(path)
    return sha256


def gaps(run: Run, committed: Manifest) -> list[str]:
    """Return a sentence for each file of a run that is missing, extra or changed, and each content in it twice.

    Originals are compared by their sizes, all other files by their hashes too.
    """
    files = list(expected(run, committed))
    return [
        *damages(run, files).values(),
        *extra(run, files, run.output_dir, run.feed.quarantine_dir / run.ts),
        *doubles(run, committed),
    ]


def extra(run: Run, files: list[Expected], *folders: Path, may_be: Callable[[str], object] = bool) -> Iterator[str]:
    """Yield a sentence for each file in some folders that the run did not write, though its name `may_be` the run's."""
    known = {relative(run, run.manifest_path), *(file.path for file in files)}
    for top in folders:
        for folder, _, names in os.walk(top):
            for name in sorted(names):
                path = relative(run, Path(folder, name))
                if may_be(name) and path not in known:
                    yield f"{path!r} is extra: the run did not write it"


def doubles(run: Run, committed: Manifest) -> Iterator[str]:
    """Yield a sentence for each content that made rows twice in the feed, or not at all."""
    makers: dict[tuple[int, str, str], str] = {}
    made = {file.name: (file.size_bytes, file.sha256) for file in committed.files if not file.code}
    index = Index(run.feed)
    indexed = index.sizes({size for size, _ in made.values()})
    for file in committed.files:
        content = (file.size_bytes, file.sha256)
        ts, _, name = (file.duplicate_of or "").partition("/")
        if ts == run.ts and name in made and made[name] != content:
            yield (
                f"{file.name!r} made no rows, as a duplicate of {name!r}, which was changed since: release the run, "
                f"and land a copy of {file.archived_as!r}"
            )
        if file.code or file.duplicate_of or file.replay_of or run.feed.spec.input.duplicates == "process":
            continue
        own = f"{run.ts}/{file.name}"
        of = makers.setdefault((*content, told_apart_by(run.feed.spec.input, file.name)), own)
        if of == own and file.size_bytes in indexed:
            of = index.first(*content, file.name) or own
        if of != own and of.partition("/")[0] <= run.ts:
            yield f"{file.name!r} has the bytes of {of!r}, and both have rows"


def manifest_gaps(run: Run, committed: Manifest) -> Iterator[str]:
    """Compare both copies of the manifest, byte for byte, with each other and with what Fanfold writes."""
    beside, commit = relative(run, run.manifest_path), relative(run, run.commit_path)
    content = run.commit_path.read_bytes()
    is_written = manifest.as_written(committed, content) == content
    if "output" in purged.kinds(run):
        if not is_written:
            yield f"{commit!r} is changed: expected the manifest of the run, byte for byte"
    elif not run.manifest_path.is_file():
        yield f"{beside!r} is missing: expected the manifest of the run, as in {commit!r}"
    elif not (is_written and run.manifest_path.read_bytes() == content):
        yield f"{beside!r} or {commit!r} is changed: expected the manifest of the run in both, byte for byte"


def relative(run: Run, path: Path) -> str:
    """Return a path as messages and manifests have it: relative to `data_dir`."""
    return str(path.relative_to(run.feed.data_dir))
