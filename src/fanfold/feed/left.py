"""What stays in landing, in words: how many files, their names, and why."""

from collections.abc import Iterator, Sequence

from fanfold.feed.landing import SHOWN_NAMES, SHOWN_REASONS, Landing


def told(found: Landing, later: Sequence[str] = ()) -> str:
    """Say which files stay in landing, and why: clauses with a comma between them; nothing where none does.

    Args:
        found: what lies in landing.
        later: the names of the ready files that are left to the next run.
    """
    return ", ".join(_clauses(found, later))


def _clauses(found: Landing, later: Sequence[str]) -> Iterator[str]:
    if later:
        yield _clause(later, "waits", "wait", "for the next run")
    if found.ignored:
        yield _clause(found.ignored, "matches", "match", "no pattern")
    if found.settling:
        seconds = f"for {max(found.settling.values()):.1f} more seconds"
        yield _clause(sorted(found.settling), "settles", "settle", seconds)
    if found.unmarked:
        yield _clause(found.unmarked, "has", "have", "no marker (input.done_suffix)")
    for reason, names in [*found.held.items()][:SHOWN_REASONS]:
        yield _clause(names, "cannot", "cannot", "be taken", f": {reason}")


def _clause(names: Sequence[str], *words: str) -> str:
    one, many, what, *why = words
    verb = f"file {one}" if len(names) == 1 else f"files {many}"
    more = ", …" if len(names) > SHOWN_NAMES else ""
    return f"{len(names):,} {verb} {what} ({', '.join(map(repr, names[:SHOWN_NAMES]))}{more}{''.join(why)})"
