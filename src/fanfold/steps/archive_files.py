"""The step that moves the originals of a subdirectory into the archive."""

from fanfold import documents, durable
from fanfold.durable import AnyPath
from fanfold.errors import DataError, MissingError
from fanfold.feed import groups, runs, store
from fanfold.feed.archive import not_archived
from fanfold.layout import Group
from fanfold.steps.leased import on_group
from fanfold.working_files import Progress


def archive_files(subdir: str, data_dir: AnyPath) -> dict[str, int]:
    """Move the originals of a subdirectory into the archive, once the rows made from them are published.

    Nothing in the archive is ever overwritten. A second call completes a first one.

    Returns:
        `files`, `bytes`.

    Raises:
        EmptySubdir: the subdirectory has no files in this run.
        MissingError: nothing is published yet.
        DataError: an original changed after it was read (its writer still held it), is gone, or its name is taken.
    """
    with on_group(subdir, data_dir, "archive_files") as group:
        progress = groups.progress_of(group)
        if progress is None or not progress.outputs:
            msg = f"{subdir} has nothing published, expected denormalize_data before this step"
            raise MissingError(msg)
        if not runs.is_complete(group.run):
            archive(group, progress)
    return {"files": len(progress.files), "bytes": sum(file.size_bytes for file in progress.files)}


def archive(group: Group, progress: Progress) -> None:
    """Move the originals to the archive, and those that are bad as a whole to quarantine, each beside its reason.

    Raises:
        DataError: an original changed after it was read, is gone, or its name is taken.
    """
    feed, staged = group.run.feed, {group.staged_path(file.name): file for file in progress.files}
    places, markers = groups.last_places(group, progress.files)
    for path in not_archived(places | markers):
        if path in staged and not groups.is_as_read(group, staged[path]):
            msg = (
                f"{staged[path].name!r} changed after it was read: its writer still held it. It stays staged: "
                "run this group again, from merge_data, to read it as it is now"
            )
            raise DataError(msg)
    for file in progress.files:
        if file.fault:
            durable.write(feed.data_dir / group.reason_name(file.name), documents.encode(file.fault))
    store.of(feed).archive(places | markers)
