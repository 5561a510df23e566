"""Whether originals are at their last places, and how they come out of the archive again."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from fanfold import links, mirrors
from fanfold.durable import discard_temporary, sha256, size, temporary, writing
from fanfold.errors import DataError
from fanfold.originals import original, original_sha256


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
    if os.path.samestat(staged.lstat(), place.lstat()) or mirrors.are_copies(staged, place):
        return True
    with contextlib.suppress(DataError):
        return size(place) is not None and sha256(staged) == original_sha256(place, staged.name)
    return False


def not_archived(places: Mapping[str, str]) -> dict[str, str]:
    """Return those of the places, as a store archives them, at which the original is not yet.

    Raises:
        DataError: another file has the name there already.
    """
    return {staged: place for staged, place in places.items() if not is_archived(staged, place)}


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
