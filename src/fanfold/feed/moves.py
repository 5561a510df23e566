"""A file gets another name, and nothing is ever overwritten.

It gets the name by hard link, and then loses the old one. Where the system refuses the link (another user's file, a
file system without links), it is renamed, if no other file has the name. Where that cannot be either (compressed,
another file system), it is written under a hidden name, read back, compared, and only then unlinked.
"""

import ctypes
import errno
import hashlib
import os
import shutil
from pathlib import Path

from fanfold import links
from fanfold.archive_names import packing
from fanfold.durable import fresh, sha256, temporary
from fanfold.originals import packed, unpacked

# How the system says that it does not link or rename this file, here; what is wrong besides, the copy will meet.
REFUSED = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
AT_FDCWD, RENAME_NOREPLACE = -100, 1


def linked(source: str, place: str) -> bool:
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


def renamed(source: str, place: str) -> bool:
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


def copy(source: Path, place: Path) -> Path:
    """Write a file as it is to be at its new place, under a hidden name, which is returned."""
    written = fresh(place)
    suffix = packing(source.name, place.name)
    with links.reading(source) as file, written.open("xb") as copied, packed(copied, suffix) as target:
        shutil.copyfileobj(file, target)
    return written


def name_copy(source: Path, place: Path) -> None:
    """Make a copy visible that is the original when it is read back.

    Raises:
        FileExistsError: another file has the name.
        OSError: the copy is not the original.
    """
    written = temporary(place)
    with unpacked(written, packing(source.name, place.name)) as copied:
        if hashlib.file_digest(copied, "sha256").hexdigest() != sha256(source):
            raise OSError(errno.EIO, f"{str(place)!r} was written, and is not what is read back: the disk fails")
    if not (linked(str(written), str(place)) or renamed(str(written), str(place))):
        # The last resort, for a file system that can do neither: an empty file takes the name, and is then replaced.
        place.touch(exist_ok=False)
        written.replace(place)
