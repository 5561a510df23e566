"""One group of a run: whether it has work, how far it is, and whether its originals are as they were read."""

import os

from fanfold import documents, durable, mirrors
from fanfold.errors import MissingError
from fanfold.feed import archive, runs
from fanfold.feed.claimed import claimed_file
from fanfold.layout import Group
from fanfold.manifest import Manifest
from fanfold.working_files import Input, Inputs, Progress


def has_files(group: Group) -> bool:
    """Say whether a group has work: files that were claimed for it, and not released.

    Raises:
        MissingError: the groups are not prepared yet.
    """
    if committed := documents.read_if_there(group.run.commit_path, Manifest):
        return any(str(group.n) in table.outputs for table in committed.each_table.values())
    # A DAG may have more groups than the run has subdirectories.
    if group.n > group.run.feed.spec.subdirs or group.n in runs.released_groups(group.run):
        return False
    inputs = documents.read_if_there(group.inputs_path, Inputs)
    if inputs is None:
        msg = f"{group.subdir} is not prepared, expected create_dynamic_taskgroups before this step"
        raise MissingError(msg)
    return bool(inputs.files)


def progress_of(group: Group) -> Progress | None:
    """Return what a group has done: from its progress.json or, once the run is complete, in numbers by the manifest."""
    committed = documents.read_if_there(group.run.commit_path, Manifest)
    if committed is None:
        return documents.read_if_there(group.progress_path, Progress)
    n = str(group.n)
    files = [Input(file.name, file.size_bytes) for file in committed.files if file.subdir == group.n]
    quarantined = committed.quarantined.get(n)
    bad = quarantined.rows if quarantined else 0
    good = committed.summary.subdirs[n].records - bad
    outputs = {name: table.outputs[n] for name, table in committed.each_table.items()}
    return Progress(files, good, committed.records_unmatched[n], bad, quarantined).with_outputs(outputs)


def last_finished(group: Group, names: list[str]) -> str:
    """Return the last step that a group of these files has finished: staged, merged, published or archived."""
    progress = documents.read_if_there(group.progress_path, Progress)
    if progress is None:
        return "staged"
    if not progress.outputs:
        return "merged"
    return "published" if any((group.subdir_dir / name).exists() for name in names) else "archived"


def is_unchanged(file: Input, state: os.stat_result) -> bool:
    """Say whether a file is in the state that it had when it was read: then it surely has the same bytes."""
    return (state.st_size, state.st_ctime_ns) == (file.size_bytes, file.ctime_ns)


def is_as_read(group: Group, file: Input) -> bool:
    """Say whether a staged original has the bytes that were read. Its owner, mode, links and times may have changed.

    Raises:
        DataError: it is gone.
    """
    state = claimed_file(group, file.name)
    if is_unchanged(file, state):
        return True
    # A file that was too large to be read has no hash.
    same_size = state.st_size == file.size_bytes
    return same_size and file.sha256 in {"", durable.sha256(group.subdir_dir / file.name)}


def is_as_decided(group: Group, file: Input) -> bool:
    """Say whether a file is staged, in the state that it had when it was decided whether it is a duplicate."""
    try:
        return is_unchanged(file, mirrors.lstat(group.staged_path(file.name)))
    except (FileNotFoundError, NotADirectoryError):
        return False


def last_name(group: Group, file: Input) -> str:
    """Return where an original ends, relative to data_dir: in quarantine where it is bad as a whole."""
    return group.quarantined_name(file.name) if file.fault else group.run.archived_name(file.name)


def last_places(group: Group, files: list[Input]) -> tuple[dict[str, str], dict[str, str]]:
    """Return where each original ends, and each marker, by where it is staged."""
    feed, markers = group.run.feed, dict[str, str]()
    places = {group.staged_path(file.name): feed.place(last_name(group, file)) for file in files}
    for file in files:
        if (marker := feed.marker(file.name)) and (archived := group.run.archived_marker_path(file.name)):
            markers[group.staged_path(marker)] = str(archived)
    return places, markers


def is_archived(group: Group, file: Input) -> bool:
    """Say whether an original is at its last place.

    Raises:
        DataError: another file has its name there.
    """
    return archive.is_archived(group.staged_path(file.name), group.run.feed.place(last_name(group, file)))
