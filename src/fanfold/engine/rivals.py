"""Which of several forms holds over a run, where they exclude each other: pure, by the spec and by numbers of records.

The spec's own forms win: what it declares, then what it names. Among the others the most frequent one wins, on a tie
the first. A record that has another form is bad.
"""

from collections.abc import Mapping
from typing import NamedTuple

from fanfold.manifest import Excluded, Form

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


class Count(NamedTuple):
    """In how many records there is a form, and the first of them: number of its file by name, number in the file."""

    records: int = 0
    first: tuple[int, int] = (0, 0)


def winners_by_spec(conflict: Conflict) -> list[Rival] | None:
    """Return the forms that win whatever the records have; None where their number decides."""
    if conflict.owner:
        return []
    best = max(rival.rank for rival in conflict.rivals)
    known = [rival for rival in conflict.rivals if rival.rank == best]
    return known if best == DECLARED or (best == NAMED and len(known) == 1) else None


def exclude(conflict: Conflict, counts: Mapping[Form, Count]) -> list[Excluded]:
    """Return the forms that lose, with what is said of a record that has one of them.

    Args:
        conflict: the forms.
        counts: of those that are in some record which is good otherwise.
    """
    winners = winners_by_spec(conflict)
    if winners is None:
        best = max(rival.rank for rival in conflict.rivals)
        winners = [min((one for one in conflict.rivals if one.rank == best), key=lambda one: _order(one, counts))]
    expected = conflict.owner or " or ".join(one.words for one in winners) + _why(conflict, winners[0], counts)
    return [
        Excluded(
            rival.form, conflict.code, f"found {rival.words}{conflict.place}, expected {expected}{conflict.advice}"
        )
        for rival in conflict.rivals
        if rival not in winners
    ]


def _order(rival: Rival, counts: Mapping[Form, Count]) -> tuple[int, tuple[int, int]]:
    count = counts.get(rival.form, Count())
    return -count.records, count.first


def _why(conflict: Conflict, winner: Rival, counts: Mapping[Form, Count]) -> str:
    if winner.rank > min(rival.rank for rival in conflict.rivals):
        return WHY[winner.rank]
    numbers = [counts.get(rival.form, Count()).records for rival in conflict.rivals]
    most = counts.get(winner.form, Count()).records
    if not most:
        return " alone"
    first = ", the first of them" if numbers.count(most) > 1 else ""
    return f", as in {most} of {sum(numbers)} records{first}"
