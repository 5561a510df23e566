"""Which of several forms holds over a run, where they exclude each other: pure, by the spec and by numbers of records.

The spec's own forms win: what it declares, then what it names. Among the others the most frequent one wins, on a tie
the first. A record that has another form is bad.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import NamedTuple

from fanfold.native.fields import Seen
from fanfold.spec.model import Spec
from fanfold.spec.paths import Way, written
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


def named(way: Way, spec: Spec) -> Rival:
    """Return a field as a rival of others by its name: what the spec says of it, or of a field inside of it."""

    def leads(names: Iterable[str], start: str, separator: str) -> bool:
        return any((name + separator).startswith(start + separator) for name in names)

    tables = spec.flat_tables.values()
    columns = [name for table in tables for name in table.columns or () if isinstance(name, str)]
    keys = chain.from_iterable([*(merge.record_keys for merge in spec.merge), *(table.keys for table in tables)])
    paths = [*spec.exploded, *keys, *spec.verify.totals]
    rank, separator = FREE, spec.denormalize.separator
    if leads(spec.input.fields, written(way), "."):
        rank = DECLARED
    elif leads(paths, written(way), ".") or leads(columns, separator.join(way), separator):
        rank = NAMED
    return Rival(Form(way), repr(written(way)), rank)


def exclude(conflict: Conflict, seen: Seen) -> list[Excluded]:
    """Return the forms that lose, each with the message for a record that has it.

    Args:
        conflict: the forms, in the order of their first appearance.
        seen: the fields of all records that are good otherwise.
    """
    counts = {rival.form: _records_with(seen, rival.form) for rival in conflict.rivals}
    best = max(rival.rank for rival in conflict.rivals)
    winners = [rival for rival in conflict.rivals if rival.rank == best]
    if conflict.owner:
        winners, expected = [], conflict.owner
    else:
        if best != DECLARED:
            winners = [max(winners, key=lambda one: counts[one.form])]
        expected = " or ".join(one.words for one in winners) + _why(conflict, winners[0], counts)
    return [
        Excluded(one.form, conflict.code, f"found {one.words}{conflict.place}, expected {expected}{conflict.advice}")
        for one in conflict.rivals
        if one not in winners
    ]


def _why(conflict: Conflict, winner: Rival, counts: Mapping[Form, int]) -> str:
    if winner.rank > min(rival.rank for rival in conflict.rivals):
        return WHY[winner.rank]
    most, numbers = counts[winner.form], list(counts.values())
    if not most:
        return " alone"
    first = ", the first of them" if numbers.count(most) > 1 else ""
    return f", as in {most} of {sum(numbers)} records{first}"


def _records_with(seen: Seen, form: Form) -> int:
    records = 0
    for field in seen.reached(form.path):
        at = field.element if form.inside else field
        if at is not None:
            records += sum(at.kinds.get(kind, 0) for kind in form.kinds) if form.kinds else at.records
    return records
