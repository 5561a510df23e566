"""The store of a feed in a folder: files are claimed, archived and given back by giving them another name."""

import contextlib
import errno
import functools
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from fanfold import documents
from fanfold.archive_names import packing
from fanfold.durable import discard_temporary, make_all_dirs, remove_all, sync_dirs, sync_files
from fanfold.errors import MissingError, PathError
from fanfold.feed import access, archive, groups, moves, runs
from fanfold.feed.access import is_writable, who_am_i
from fanfold.input_formats import is_hidden
from fanfold.layout import Feed, Group, Run
from fanfold.mirrors import Landed
from fanfold.working_files import Progress

NOT_A_FILE = "not a regular file, but a link or a pipe: land the file itself"


class Folder:
    """The store of a feed that lies in a folder."""

    tasks_per_core = 1

    def __init__(self, feed: Feed) -> None:
        """Name the folder; nothing is looked at."""
        self._feed = feed

    def check_fit(self) -> None:
        """Check that files can be claimed by a rename, and that this process may read and write where it has to.

        Raises:
            MissingError: the landing directory is not there.
            PathError: landing and staging are on two file systems, or a permission is lacking.
        """
        feed = self._feed
        _check_landing(feed)
        staging_dir = feed.staging_dir if feed.staging_dir.is_dir() else feed.data_dir
        if feed.landing_dir.stat().st_dev != staging_dir.stat().st_dev:
            msg = (
                f"{str(feed.landing_dir)!r} is on another file system than {str(staging_dir)!r}, expected one for "
                "both: a file is claimed by renaming it"
            )
            raise PathError(msg)
        access.check_readable(feed.landing_dir)
        access.check_writable(folder for folder in feed.folders if folder != feed.landing_dir)
        access.check_writable(feed.staging_dir / ts for ts in runs.unfinished(feed))

    def work_alone(self) -> None:
        """Change nothing: every step finds the files of the one before."""

    def landing(self) -> tuple[dict[str, Callable[[], Landed]], dict[str, list[str]]]:
        """List the files in landing and its sub-folders, by name; and the folders that cannot be read, by the reason.

        Raises:
            MissingError: there is no such directory.
        """
        _check_landing(self._feed)
        held: dict[str, list[str]] = {}
        look = functools.cache(lambda folder: (is_writable(folder), os.lstat(folder)))
        found = _walk(str(self._feed.landing_dir), "", held)
        return {name: functools.partial(_landed, name, entry, look) for name, entry in found}, held

    def claim(self, run: Run, places: Iterable[tuple[str, int]]) -> tuple[set[str], dict[str, list[str]]]:
        """Move files out of landing into their subdirectories: the rename is the claim.

        Files that are in their subdirectory already are left as they are, so a second call completes a first one. Of a
        file and its marker either both are claimed, or none.

        Returns:
            The names that somebody else took before, and those that the system refuses to rename, by the reason.
        """
        vanished: set[str] = set()
        held: dict[str, list[str]] = {}
        touched: set[str] = set()
        marker = run.feed.spec.input.done_suffix
        # The marker first: a file without one is not ready.
        suffixes = [marker, ""] if marker else [""]
        places = [*places]
        folders = {os.path.dirname(run.group(n).staged_path(name)) for name, n in places}  # noqa: PTH120 - there may be many
        make_all_dirs({Path(folder) for folder in folders})
        for name, n in places:
            landed, staged = f"{run.feed.landing_dir}/{name}", run.group(n).staged_path(name)
            folders = {landed.rpartition("/")[0], staged.rpartition("/")[0]}
            touched |= folders
            try:
                for suffix in suffixes:
                    if not os.path.lexists(staged + suffix):
                        os.rename(landed + suffix, staged + suffix)  # noqa: PTH104
            except FileNotFoundError:
                vanished.add(name)
            except PermissionError as error:
                refused = f"{who_am_i()} may not rename it ({error.strerror})"
                held.setdefault(f"{refused}: look at attributes (lsattr) and access lists", []).append(name)
            if marker and not os.path.lexists(staged):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(staged + marker, landed + marker)  # noqa: PTH104
        sync_dirs(touched)
        return vanished, held

    def begin_again(self, run: Run) -> None:
        """Change nothing: working files are replaced where they lie."""

    def prepared(self, run: Run) -> bool:  # noqa: ARG002 - of a bucket, the log says it by run
        """Say that what was derived holds: the lease of the run keeps all others out."""
        return True

    def holds(self, run: Run) -> bool:  # noqa: ARG002 - as above
        """Say that a run is what this process knows of it: its lease keeps all others out."""
        return True

    def seal(self, group: Group) -> None:
        """Change nothing: the lease of the group keeps all others out."""

    def keep(self, places: Mapping[str, str]) -> None:
        """Change nothing: the claim has moved the originals out of the reach of their producers."""

    def archive(self, places: Mapping[str, str]) -> None:
        """Move originals to their last places. Nothing is ever overwritten.

        All are whole at their new place before the first copied or linked one loses its old one. A second call
        completes a first one.

        Args:
            places: for each original where it lies staged, its path in the archive or in quarantine; a name there that
                has a suffix of compression more is written compressed.

        Raises:
            DataError: another file has a name already: nothing is moved.
            FileExistsError: another file has a name by now.
            OSError: what was written is not what is read back.
        """
        left = archive.not_archived(places)
        directories = set(map(os.path.dirname, places.values()))
        make_all_dirs({Path(directory) for directory in directories})
        sync_files(left)
        copied = {
            source: place
            for source, place in left.items()
            if packing(source, place) or not (moves.linked(source, place) or moves.renamed(source, place))
        }
        sync_files([moves.copy(Path(source), Path(place)) for source, place in copied.items()])
        for source, place in copied.items():
            moves.name_copy(Path(source), Path(place))
        sync_dirs(directories)
        for source, place in places.items():
            if source in copied or source not in left:
                discard_temporary(Path(place))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(source)  # noqa: PTH108 - as a Path it takes twice as long
        sync_dirs([directory for directory in set(map(os.path.dirname, places)) if Path(directory).is_dir()])

    def land(self, places: Mapping[str, str]) -> None:
        """Move files into landing, as `archive` does, but each by one rename where the system can.

        There a run may claim a file at once: one that is killed in between must not leave it under its old name, to be
        landed twice.
        """
        left = archive.not_archived(places)
        make_all_dirs({Path(place).parent for place in left.values()})
        # What its producer has closed since cannot be opened: it goes back as it is.
        sync_files([source for source in left if os.access(source, os.R_OK, effective_ids=True)])
        self.archive(
            {
                source: place
                for source, place in places.items()
                if source not in left or not moves.renamed(source, place)
            }
        )
        sync_dirs({Path(name).parent for moved in left.items() for name in moved})

    def remove_references(self, paths: Collection[Path]) -> bool:
        """Remove references that no run has joined: the lock of the feed keeps the runs out."""
        remove_all(paths)
        return True

    def release(self, run: Run) -> list[int]:
        """Return the groups that have not published, whose files go back into landing."""
        return sorted(n for n in runs.staged_names(run) if not _is_published(run.group(n)))

    def end(self, run: Run) -> None:
        """Change nothing: with `staging/<ts>` all is gone that was only for the run."""


def _check_landing(feed: Feed) -> None:
    if not feed.landing_dir.is_dir():
        msg = f"{str(feed.landing_dir)!r} is not a directory, expected the landing directory (input.path)"
        raise MissingError(msg)


def _walk(directory: str, folder: str, held: dict[str, list[str]]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield files with their names: `folder`, which ends in a slash, is what those of a directory begin with."""
    try:
        found = os.scandir(directory)
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENAMETOOLONG}:
            raise
        held.setdefault(error.strerror or "", []).append(directory)
        return
    with found as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            name = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, f"{name}/", held)
            else:
                yield name, entry


def _landed(name: str, entry: os.DirEntry[str], look: Callable[[str], tuple[bool, os.stat_result]]) -> Landed:
    if reason := _held(name, entry, look):
        return Landed(reason)
    info = entry.stat(follow_symlinks=False)
    return Landed(None, info.st_size, info.st_mtime, info.st_ctime)


def _held(name: str, entry: os.DirEntry[str], look: Callable[[str], tuple[bool, os.stat_result]]) -> str | None:
    """Say why a file cannot be taken: by rule where a rule says it, not by trying. `look` tells of its folder."""
    folder, me = entry.path.rpartition("/")[0], os.geteuid()
    if not entry.is_file(follow_symlinks=False):
        return NOT_A_FILE
    if name != name.encode(errors="replace").decode():
        return "its name is not UTF-8"
    if not os.access(entry.path, os.R_OK, effective_ids=True):
        return f"{who_am_i()} may not read it"
    may_write, info = look(folder)
    if not may_write:
        return f"{who_am_i()} may not write into {folder!r}, so it cannot move a file out: allow it"
    if info.st_mode & stat.S_ISVTX and me not in {0, info.st_uid, entry.stat(follow_symlinks=False).st_uid}:
        whose = f"only the owner of a file may move it, and Fanfold runs as {who_am_i()}"
        return f"{folder!r} is sticky: {whose}: chmod -t"
    return None


def _is_published(group: Group) -> bool:
    """Say whether a group has published rows of its originals, in one table at least: all are as read, or archived."""
    progress = documents.read_if_there(group.progress_path, Progress)
    is_there = any(path.exists() for path in group.output_paths)
    if progress is None or not is_there or not runs.has_begun_to_publish(group):
        return False
    if any(groups.is_archived(group, file) for file in progress.files):
        return True
    return all(groups.is_as_read(group, file) for file in progress.files)
