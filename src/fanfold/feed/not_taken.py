"""What stays in landing, in words: how many files, their names, and why."""

from collections.abc import Iterator, Sequence

from fanfold.errors import count
from fanfold.feed.landing import SHOWN_NAMES, SHOWN_REASONS, Landing


def told(found: Landing, later: Sequence[str] = (), *, held: bool = True) -> str:
    """Say which files stay in landing, and why: clauses separated by commas; nothing if none stays.

    Args:
        found: what lies in landing.
        later: the names of the ready files that are left to the next run.
        held: whether to name those that cannot be taken: not where `landing.warn` has named them.
    """
    return ", ".join(_clauses(found if held else found._replace(held={}), later))


def _clauses(found: Landing, later: Sequence[str]) -> Iterator[str]:
    if later:
        yield _clause(later, "waits for the next run", "wait for the next run")
    if found.ignored:
        yield _clause(found.ignored, "matches no pattern", "match no pattern")
    if found.settling:
        seconds = f"for {max(found.settling.values()):.1f} more seconds"
        yield _clause(sorted(found.settling), f"settles {seconds}", f"settle {seconds}")
    if found.unmarked:
        yield _clause(found.unmarked, "waits for its marker", "wait for their markers")
    for reason, names in [*found.held.items()][:SHOWN_REASONS]:
        yield _clause(names, "cannot be taken", "cannot be taken", f": {reason}")
    if more := sum(map(len, [*found.held.values()][SHOWN_REASONS:])):
        yield f"{count(more, 'more file')} cannot be taken"


def _clause(names: Sequence[str], one: str, many: str, why: str = "") -> str:
    verb = f"file {one}" if len(names) == 1 else f"files {many}"
    more = ", …" if len(names) > SHOWN_NAMES else ""
    return f"{len(names):,} {verb} ({', '.join(map(repr, names[:SHOWN_NAMES]))}{more}{why})"
