"""The contents of files: whether one made rows twice, or nowhere, over all complete runs of a feed."""

from fanfold import manifest
from fanfold.audit.findings import Audit
from fanfold.audit.originals import content_of
from fanfold.audit.records import given_by_path
from fanfold.layout import Run
from fanfold.manifest import ArchivedFile, Manifest


def makes_rows(file: ArchivedFile) -> bool:
    """Say whether the records of a file are read."""
    return not file.code and not file.duplicate_of


def check_contents(run: Run, committed: Manifest, found: Audit) -> None:
    """Look for what made rows twice, and for duplicates of nothing."""
    # Run and file of each content that is not a duplicate; what was replayed is a duplicate of nothing.
    makers: dict[tuple[object, ...], list[tuple[str, ArchivedFile]]] = {}
    settings = run.feed.spec.input

    def key(file: ArchivedFile) -> tuple[object, ...]:
        is_named = settings.identity == "name_and_content"
        return (
            file.size_bytes,
            file.sha256,
            file.name if is_named else str(sorted(given_by_path(settings, file.name).items())),
        )

    for path in sorted(run.feed.commits_dir.glob("[!.]*.json")):
        for file in (committed if path.stem == run.ts else manifest.read(path, Manifest)).files:
            if not file.duplicate_of:
                makers.setdefault(key(file), []).append((path.stem, file))
    for file in committed.files:
        same = makers.get(key(file), [])
        others = [f"{ts}/{f.name}" for ts, f in same if f is not file and makes_rows(f) and not f.replay_of]
        if file.duplicate_of and not same:
            if _waits(run, file):
                found.not_audited["duplicates of a file that waits to be read"] += 1
            else:
                message = f"it made no rows, and {file.duplicate_of!r} does not have its bytes"
                found.add("missing", (file.name, 0), message)
        elif others and makes_rows(file) and not file.replay_of and settings.duplicates != "process":
            found.add("doubled", (file.name, 0), f"it has the bytes of {others[0]!r}, and both have rows")


def _waits(run: Run, file: ArchivedFile) -> bool:
    """Say whether a content is staged under a name in an unfinished run, or was released from one into landing."""
    (ts, _, name), feed = str(file.duplicate_of).partition("/"), run.feed
    staged = [folder / name for folder in feed.staging_dir.glob("*/[0-9]*")]
    places = [*staged, feed.landing_dir / name, feed.run(ts).archive_path(name)]
    return (file.size_bytes, file.sha256) in (content_of(path) for path in places if path.is_file())
