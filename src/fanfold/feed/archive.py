"""Originals move to their last place, or back into landing: whole, and nothing is ever overwritten.

Where an original stays as it is, it gets its new name by hard link and then loses the old one. Where the system
refuses the link (another user's file, a file system without links), it is renamed, if no other file has the name. Where
that cannot be either (compressed, another file system), it is written under a hidden name, read back, compared, and
only then unlinked where it was.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from fanfold import links, mirrors
from fanfold.archive_names import packing
from fanfold.durable import (
    discard_temporary,
    fresh,
    make_all_dirs,
    make_dirs,
    publish,
    sha256,
    size,
    sync_dirs,
    sync_files,
    temporary,
    writing,
)
from fanfold.errors import DataError
from fanfold.feed.originals import original, original_sha256, packed, unpacked
from fanfold.layout import Group

# How the system says that it does not link or rename this file, here; what is wrong besides, the copy will meet.
REFUSED = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
AT_FDCWD, RENAME_NOREPLACE = -100, 1


def taken(place: str | Path) -> DataError:
    """Return the error of a name that an original cannot have, since another file has it."""
    return DataError(f"{str(place)!r} exists and is another file, expected the name to be free: nothing is overwritten")


def is_archived(staged: str, place: str) -> bool:
    """Say whether an original is at its last place; its staged name may still have to be removed.

    Raises:
        DataError: another file has its name there already.
        PathError: a link has.
    """
    if not os.path.lexists(place):
        return False
    if os.path.lexists(staged) and not _is_same(Path(staged), Path(place)):
        links.check_no_link(place)
        raise taken(place)
    return True


def _is_same(staged: Path, place: Path) -> bool:
    mirror = mirrors.of(staged)
    if os.path.samestat(staged.lstat(), place.lstat()) or (mirror and mirror.is_copy(str(staged), str(place))):
        return True
    with contextlib.suppress(DataError):
        return size(place) is not None and sha256(staged) == original_sha256(place, staged.name)
    return False


def not_archived(places: Mapping[str, str]) -> dict[str, str]:
    """Return those of the places, as `archive` takes them, at which the original is not yet.

    Raises:
        DataError: another file has the name there already.
    """
    return {staged: place for staged, place in places.items() if not is_archived(staged, place)}


def archive(places: Mapping[str, str]) -> None:
    """Move originals to their last places. Nothing is ever overwritten.

    All are whole at their new place before the first copied or linked one loses its old one. A second call completes a
    first one.

    Args:
        places: for each original where it lies staged, its path in the archive or in quarantine; a name there that has
            a suffix of compression more is written compressed.

    Raises:
        DataError: another file has a name already: nothing is moved.
        FileExistsError: another file has a name by now.
        OSError: what was written is not what is read back.
    """
    if mirror := mirrors.of(next(iter(places), "")):
        keep(places)
        mirror.archive(places)
        return
    left = not_archived(places)
    directories = set(map(os.path.dirname, places.values()))
    make_all_dirs({Path(directory) for directory in directories})
    sync_files(left)
    copied = {
        source: place
        for source, place in left.items()
        if packing(source, place) or not (_linked(source, place) or _renamed(source, place))
    }
    sync_files([_copy(Path(source), Path(place)) for source, place in copied.items()])
    for source, place in copied.items():
        _name_copy(Path(source), Path(place))
    sync_dirs(directories)
    for source, place in places.items():
        if source in copied or source not in left:
            discard_temporary(Path(place))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(source)  # noqa: PTH108 - as a Path it takes twice as long
    sync_dirs([directory for directory in set(map(os.path.dirname, places)) if Path(directory).is_dir()])


def keep(places: Mapping[str, str]) -> None:
    """Copy the originals of a feed in a bucket to their last places, before something made of them is published.

    They lie in landing until they are archived, where a producer may overwrite them. In a folder nothing is done: the
    claim has moved them out of there. A second call completes a first one.

    Raises:
        DataError: an original was overwritten or removed, or another object has its last name.
    """
    if mirror := mirrors.of(next(iter(places), "")):
        for source, place in not_archived(places).items():
            if packing(source, place) and os.path.lexists(source):
                make_dirs(Path(place).parent)
                _copy(Path(source), Path(place))
                publish(Path(place))
        mirror.keep(places)


def land(places: Mapping[str, str]) -> None:
    """Move files into landing, as `archive` does, but each by one rename where the system can.

    There a run may claim a file at once: one that is killed in between must not leave it under its old name, to be
    landed twice.
    """
    if mirror := mirrors.of(next(iter(places), "")):
        mirror.give_back(places)
        return
    left = not_archived(places)
    make_all_dirs({Path(place).parent for place in left.values()})
    sync_files(left)
    archive({source: place for source, place in places.items() if source not in left or not _renamed(source, place)})
    sync_dirs({Path(name).parent for moved in left.items() for name in moved})


def _linked(source: str, place: str) -> bool:
    """Give a file a second name, if that is free; say whether the system can.

    Raises:
        FileExistsError: the name is not free.
    """
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        return False
    return True


def _renamed(source: str, place: str) -> bool:
    """Give a file another name, if that is free; say whether the system can.

    Raises:
        FileExistsError: the name is not free.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(place), RENAME_NOREPLACE):
        if (number := ctypes.get_errno()) in REFUSED:
            return False
        raise OSError(number, os.strerror(number), source, None, place)
    return True


def _copy(source: Path, place: Path) -> Path:
    """Write a file as it is to be at its new place, under a hidden name, which is returned."""
    written = fresh(place)
    suffix = packing(source.name, place.name)
    with links.reading(source) as file, written.open("xb") as copied, packed(copied, suffix) as target:
        shutil.copyfileobj(file, target)
    return written


def _name_copy(source: Path, place: Path) -> None:
    """Make a copy visible that is the original when it is read back.

    Raises:
        FileExistsError: another file has the name.
        OSError: the copy is not the original.
    """
    written = temporary(place)
    with unpacked(written, packing(source.name, place.name)) as copied:
        if hashlib.file_digest(copied, "sha256").hexdigest() != sha256(source):
            raise OSError(errno.EIO, f"{str(place)!r} was written, and is not what is read back: the disk fails")
    if not (_linked(str(written), str(place)) or _renamed(str(written), str(place))):
        # The last resort, for a file system that can do neither: an empty file takes the name, and is then replaced.
        place.touch(exist_ok=False)
        written.replace(place)


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
                is_archived(staged, landed)
                places[staged] = landed
        except DataError:
            refused.append(name)
    land(places)
    return refused


def copy_out(place: Path, name: str, sha256_expected: str, target: Path) -> None:
    """Copy the original that landed as `name` to `target`, as it came; a file that is it already stays.

    Raises:
        DataError: the original is missing or changed, or `target` is another file.
    """
    if target.exists():
        if sha256(target) == sha256_expected:
            return
        raise taken(target)
    try:
        with original(place, name) as content, writing(target) as copied:
            shutil.copyfileobj(content, copied)
            copied.flush()
            # One that was too large to be read has no hash.
            if sha256_expected and sha256(temporary(target)) != sha256_expected:
                discard_temporary(target)
                msg = f"{str(place)!r} is changed, expected {name!r} with sha256 {sha256_expected}"
                raise DataError(msg)
    except FileNotFoundError:
        msg = f"{str(place)!r} is missing, expected the original of {name!r}"
        raise DataError(msg) from None
