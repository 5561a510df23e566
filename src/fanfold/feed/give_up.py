"""A run that is given up: what it has not published goes back into landing."""

from fanfold import documents, durable, mirrors
from fanfold.errors import DataError
from fanfold.feed import archive, groups, runs
from fanfold.layout import Group, Run
from fanfold.working_files import Progress, Release


def release_unpublished(run: Run) -> tuple[list[int], list[str]]:
    """Put the files of every group that has not published back into landing.

    The decision is on disk first, so a second call completes a first one.

    Returns:
        The groups that have published, and the names that are back in landing, sorted.

    Raises:
        DataError: landing has another file of that name now; all others are back.
    """
    names, landing_dir = runs.staged_names(run), run.feed.landing_dir
    if not run.release_path.exists():
        mirror = mirrors.of(run.feed.data_dir)
        undone = mirror.release(run) if mirror else sorted(n for n in names if not _is_published(run.group(n)))
        durable.write(run.release_path, documents.encode(Release(undone)))
    released, refused = runs.released_groups(run), list[str]()
    for group in map(run.group, released):
        markers = filter(None, map(run.feed.marker, names[group.n]))
        # A file is in landing before the marker that makes it ready.
        refused += archive.give_back(group, [*names[group.n], *markers])
        runs.discard_published(group)
    if refused:
        msg = f"{refused[0]!r} is in landing again, and in {run.staging_dir}: expected one; move one and release again"
        raise DataError(msg)
    back = {name: landing_dir / name for n in released for name in names[n]}
    mirrors.look_at(map(str, back.values()))
    return sorted(names.keys() - set(released)), sorted(name for name, place in back.items() if place.exists())


def _is_published(group: Group) -> bool:
    """Say whether a group has published rows of its originals, in one table at least: all are as read, or archived."""
    progress = documents.read_if_there(group.progress_path, Progress)
    is_there = any(path.exists() for path in group.output_paths)
    if progress is None or not is_there or not runs.has_begun_to_publish(group):
        return False
    if any(groups.is_archived(group, file) for file in progress.files):
        return True
    return all(groups.is_as_read(group, file) for file in progress.files)
