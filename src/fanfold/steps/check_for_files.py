"""The step that waits for files: whether one is there, when to look again, when to give up."""

import logging

from fanfold.errors import count
from fanfold.feed import landing, not_taken
from fanfold.layout import Feed
from fanfold.steps.list_files import is_ready, list_files

log = logging.getLogger(__name__)


def check_for_files(feed: Feed, ts: str) -> bool:
    """Say whether a file is ready, or the run was given its files already. Nothing is changed."""
    return is_ready(feed, ts)


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
        found = list_files(feed)
        landing.warn(found.held)
        log.info("%s", nothing_ready(feed, found))
    return min(remaining, feed.spec.input.poll_seconds) if remaining > 0 else None


def nothing_ready(feed: Feed, found: landing.Landing) -> str:
    """Say that no file is ready, and why, by what lies in landing; what cannot be taken `landing.warn` has named."""
    held = sum(map(len, found.held.values()))
    why = [not_taken.told(found, held=False), f"{count(held, 'file')} cannot be taken" if held else ""]
    return f"no file is ready in {str(feed.landing_dir)!r}: {', '.join(filter(None, why)) or 'it is empty'}"
