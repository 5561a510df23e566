"""A run that is given up: what it has not published goes back into landing."""

import os

from fanfold import documents, durable, mirrors
from fanfold.errors import DataError
from fanfold.feed import archive, runs, store
from fanfold.layout import Group, Run
from fanfold.working_files import Release


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
        undone = store.of(run.feed).release(run)
        durable.write(run.release_path, documents.encode(Release(undone)))
    released, refused = runs.released_groups(run), list[str]()
    for group in map(run.group, released):
        markers = filter(None, map(run.feed.marker, names[group.n]))
        # A file is in landing before the marker that makes it ready.
        refused += give_back(group, [*names[group.n], *markers])
        runs.discard_published(group)
    if refused:
        msg = f"{refused[0]!r} is in landing again, and in {run.staging_dir}: expected one; move one and release again"
        raise DataError(msg)
    back = {name: landing_dir / name for n in released for name in names[n]}
    mirrors.look_at(map(str, back.values()))
    return sorted(names.keys() - set(released)), sorted(name for name, place in back.items() if place.exists())


def give_back(group: Group, names: list[str]) -> list[str]:
    """Move staged originals back into landing under their old names. A second call completes a first one.

    Returns:
        The names that stay staged, because landing has another file of that name now.
    """
    places, refused = {}, []
    for name in names:
        staged, landed = group.staged_path(name), f"{group.run.feed.landing_dir}/{name}"
        try:
            if os.path.lexists(staged):
                archive.is_archived(staged, landed)
                places[staged] = landed
        except DataError:
            refused.append(name)
    store.of(group.run.feed).land(places)
    return refused
