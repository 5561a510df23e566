"""The step that moves the originals of a subdirectory into the archive."""

from fanfold import durable, manifest
from fanfold.durable import AnyPath
from fanfold.errors import DataError, MissingError
from fanfold.feed import archive as vault
from fanfold.feed import groups, runs
from fanfold.layout import Run
from fanfold.manifest import BadFile
from fanfold.steps.denormalize_data import publish
from fanfold.steps.group import group
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
    with group(subdir, data_dir, "archive_files") as (run, n):
        progress = groups.progress_of(run.group(n))
        if progress is None or progress.published is None:
            msg = f"{subdir} has nothing published, expected denormalize_data before this step"
            raise MissingError(msg)
        if not runs.is_complete(run):
            archive(run, n, progress)
    return {"files": len(progress.files), "bytes": sum(file.size_bytes for file in progress.files)}


def archive(run: Run, n: int, progress: Progress) -> None:
    """Move the originals to the archive, and those that are bad as a whole to quarantine, each beside its reason.

    Raises:
        DataError: an original changed after it was read, is gone, or its name is taken.
    """
    staged = {run.group(n).staged_path(file.name): file for file in progress.files}
    places = {path: run.feed.place(groups.last_name(run.group(n), file)) for path, file in staged.items()}
    left = vault.not_archived(places)
    for path in left:
        if not groups.is_as_read(run.group(n), staged[path]):
            msg = (
                f"{staged[path].name!r} changed after it was read: its writer still held it. It stays staged: "
                "run this group again, from merge_data, to read it as it is now"
            )
            raise DataError(msg)
    for file in progress.files:
        if isinstance(file.fault, BadFile):
            durable.write(run.feed.data_dir / run.group(n).reason_name(file.name), manifest.encode(file.fault))
    markers = {}
    for file in progress.files:
        if (marker := run.feed.marker(file.name)) and (archived := run.archived_marker_path(file.name)):
            markers[run.group(n).staged_path(marker)] = str(archived)
    vault.archive(places | markers)


def finish(run: Run, n: int) -> None:
    """Archive the originals of a group whose table is published, be it that this is not noted yet.

    Raises:
        DataError: as `archive`.
    """
    progress = manifest.read(run.group(n).progress_path, Progress)
    if progress.published is None:
        publish(run, n, progress)
        progress = manifest.read(run.group(n).progress_path, Progress)
    archive(run, n, progress)
