"""How the columns of a run differ from those of the run before it."""

import logging
from collections.abc import Mapping

from fanfold import manifest
from fanfold.errors import DataError
from fanfold.feed import runs
from fanfold.layout import Feed
from fanfold.manifest import Drift, Manifest, TableOfRun
from fanfold.working_files import RunSchema, TableSchema

log = logging.getLogger(__name__)


def drift_of(feed: Feed, fixed: RunSchema) -> Drift | None:
    """Compare the columns of a run with those of the newest complete run that has published records.

    Returns:
        How they differ, which may be in nothing; None where there is no such run, or under `on_drift: ignore`.
    """
    if feed.spec.input.on_drift == "ignore":
        return None
    for ts in reversed(runs.complete(feed)):
        before = manifest.read(feed.run(ts).commit_path, Manifest)
        # A run of nothing but bad files or duplicates says nothing about what its records would have had.
        if before.summary.records_in > before.summary.records_quarantined:
            return _between(ts, _types(before.each_table), _types(fixed.each_table))
    return None


def _types(tables: Mapping[str, TableOfRun] | Mapping[str, TableSchema]) -> dict[str, str]:
    """Return the types of the columns by name; the name of a table stands before those of its own."""
    return {f"{name}.{one.name}" if name else one.name: one.type for name, of in tables.items() for one in of.columns}


def _between(since: str, was: dict[str, str], is_now: dict[str, str]) -> Drift:
    return Drift(
        since=since,
        added=[name for name in is_now if name not in was],
        dropped=[name for name in was if name not in is_now],
        retyped=[f"{name}: {was[name]} > {of}" for name, of in is_now.items() if was.get(name, of) != of],
        reordered=[name for name in was if name in is_now] != [name for name in is_now if name in was],
    )


def refusal(feed: Feed, drift: Drift | None) -> str | None:
    """Say why a run with this drift fails under `on_drift: fail`; None where it may go on."""
    if not (drift and drift.changes and feed.spec.input.on_drift == "fail"):
        return None
    return (
        f"the columns are not those of run {drift.since} (input.on_drift: fail): {drift.changes}; if they are right, "
        "set input.on_drift: warn until this run is complete"
    )


def checked_drift(feed: Feed, fixed: RunSchema) -> Drift | None:
    """Return how the columns of a run differ from those of the last run, with a warning; None where they do not.

    Raises:
        DataError: they do, under `on_drift: fail`.
    """
    drift = drift_of(feed, fixed)
    if reason := refusal(feed, drift):
        raise DataError(reason)
    if not (drift and drift.changes):
        return None
    log.warning("the columns are not those of run %s: %s", drift.since, drift.changes)
    return drift
