"""Which of several forms holds over a run, where they exclude each other: pure, by the spec and by numbers of records.

The spec's own forms win: what it declares, then what it names. Among the others the most frequent one wins, on a tie
the first. A record that has another form is bad.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fanfold.native.fields import Seen
from fanfold.working_files import Excluded, Form

FREE, NAMED, DECLARED = range(3)
WHY = {NAMED: ", which the spec names", DECLARED: ", which input.fields declares"}


class Rival(NamedTuple):
    """One of the forms: the words for it, and what the spec has to do with it (FREE, NAMED, DECLARED)."""

    form: Form
    words: str
    rank: int = FREE


class Conflict(NamedTuple):
    """Forms that exclude each other.

    Attributes:
        code: of the records that lose.
        place: where they meet, in words that follow those of a form.
        rivals: the forms.
        advice: what to do about it, in words.
        owner: what else excludes them all, in words: a reference, or Fanfold.
    """

    code: str
    place: str
    rivals: list[Rival]
    advice: str
    owner: str = ""


def winners_by_spec(conflict: Conflict) -> list[Rival] | None:
    """Return the forms that win whatever the records have; None where their number decides."""
    if conflict.owner:
        return []
    best = max(rival.rank for rival in conflict.rivals)
    known = [rival for rival in conflict.rivals if rival.rank == best]
    return known if best == DECLARED or (best == NAMED and len(known) == 1) else None


def exclude(conflict: Conflict, seen: Seen) -> list[Excluded]:
    """Return the forms that lose, with what is said of a record that has one of them.

    Args:
        conflict: the forms, in the order of their first appearance.
        seen: the fields of all records that are good otherwise.
    """
    counts = {rival.form: records_with(seen, rival.form) for rival in conflict.rivals}
    winners = winners_by_spec(conflict)
    if winners is None:
        best = max(rival.rank for rival in conflict.rivals)
        winners = [max((one for one in conflict.rivals if one.rank == best), key=lambda one: counts[one.form])]
    expected = conflict.owner or " or ".join(one.words for one in winners) + _why(conflict, winners[0], counts)
    return [
        Excluded(
            rival.form, conflict.code, f"found {rival.words}{conflict.place}, expected {expected}{conflict.advice}"
        )
        for rival in conflict.rivals
        if rival not in winners
    ]


def records_with(seen: Seen, form: Form) -> int:
    """Return in how many records there is a form."""
    records = 0
    for field in _reach(seen, form.path):
        at = field.element if form.inside else field
        if at is not None:
            records += sum(at.kinds.get(kind, 0) for kind in form.kinds) if form.kinds else at.records
    return records


def _reach(field: Seen, path: tuple[str, ...]) -> Iterator[Seen]:
    """Yield what lies at a path, in objects and in the elements of arrays."""
    if not path:
        yield field
        return
    if path[0] in field.fields:
        yield from _reach(field.fields[path[0]], path[1:])
    if field.element:
        yield from _reach(field.element, path)


def _why(conflict: Conflict, winner: Rival, counts: Mapping[Form, int]) -> str:
    if winner.rank > min(rival.rank for rival in conflict.rivals):
        return WHY[winner.rank]
    most = counts[winner.form]
    if not most:
        return " alone"
    numbers = list(counts.values())
    first = ", the first of them" if numbers.count(most) > 1 else ""
    return f", as in {most} of {sum(numbers)} records{first}"
