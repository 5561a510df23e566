"""The step that waits for files: whether one is there, when to look again, when to give up."""

from fanfold.feed import landing
from fanfold.layout import Feed
from fanfold.steps.list_files import list_files, list_run


def check_for_files(feed: Feed, ts: str) -> bool:
    """Say whether a file is ready, or the run was given its files already. Nothing is changed."""
    return bool(list_run(feed, ts))


def seconds_to_next_look(feed: Feed, waited_seconds: float | None) -> float | None:
    """Say when to look again where no file was ready: after `poll_seconds`, and for the last time at `wait_seconds`.

    The first look and the last one warn of the files that stay in landing: said at each look, it would be said for
    ever.

    Args:
        feed: the feed.
        waited_seconds: time since the first look; None at the first look.

    Returns:
        The seconds until the next look; None where the wait is over.
    """
    remaining = feed.spec.input.wait_seconds - (waited_seconds or 0.0)
    if waited_seconds is None or remaining <= 0:
        landing.warn(list_files(feed).held)
    return min(remaining, feed.spec.input.poll_seconds) if remaining > 0 else None
