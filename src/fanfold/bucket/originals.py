"""Originals of a run in a bucket: they stay in landing until they are archived, and are kept before rows are there."""

from collections.abc import Iterable

from fanfold.bucket.copies import Copies
from fanfold.bucket.objects import SMALL_BYTES, Object, is_copy
from fanfold.errors import ChangedError


def keep(copies: Copies, staged: str, place: str) -> None:
    """Copy an original to its last place. A second call completes a first one.

    Raises:
        TakenError: another object has the name.
        DataError: it was overwritten in landing, or removed, and is not at its last place.
    """
    original, kept = copies.known(staged), copies.known(place)
    if original is None or (kept and is_copy(original, kept)):
        return
    try:
        # What is here need not be asked for, where the store would send it.
        here = copies.here(staged) if original.size_bytes <= SMALL_BYTES else None
        copied = copies.objects.create(place, here) if here else copies.objects.copy(original, place)
    except ChangedError:
        # A call that was cut short may have copied it before.
        found = copies.objects.head(place)
        if found is None or found.size_bytes != original.size_bytes:
            raise copies.changed(staged, original) from None
        copied = found
    copies.stand_in(place, copied)


def remove(copies: Copies, staged: str, _: str) -> None:
    """Remove an original from landing, if it is unchanged. The same bytes that were landed again are another file."""
    original = copies.known(staged)
    if original:
        copies.objects.delete(original.name, original.e_tag, original.modified)
    copies.drop(staged)


def discard(copies: Copies, landed: Object, places: Iterable[str]) -> None:
    """Remove copies of an original of which nothing is published; what is gone from landing is only there."""
    for place in filter(copies.known, places):
        if copies.objects.head(landed.name) == landed:
            copies.objects.delete(place)
            copies.drop(place)
