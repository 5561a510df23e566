"""How the columns of a run differ from those of the run before it."""

import logging
from collections.abc import Mapping

from fanfold import documents
from fanfold.errors import DataError
from fanfold.feed import runs
from fanfold.feed.ledger import Decision
from fanfold.layout import Feed
from fanfold.manifest import Drift, Manifest, TableOfRun
from fanfold.steps.scan_files import Found
from fanfold.working_files import RunSchema, TableSchema

log = logging.getLogger(__name__)


def drift_of(feed: Feed, fixed: RunSchema, found: Found, decisions: Mapping[str, Decision]) -> Drift | None:
    """Compare the columns of a run with those of the newest complete run that has published records.

    Args:
        feed: its runs, and what its spec says of drift.
        fixed: the schema of the run.
        found: what is in its files.
        decisions: what was decided about them.

    Returns:
        How they differ, which may be in nothing; None where there is no such run, under `on_drift: ignore`, or where no
        file but duplicates has a good record: such a run says nothing about what its records would have had.
    """
    if feed.spec.input.on_drift == "ignore" or not _has_records(feed, found, decisions):
        return None
    for ts in reversed(runs.complete(feed)):
        before = documents.read(feed.run(ts).commit_path, Manifest)
        if before.summary.records_in > before.summary.records_quarantined:
            return _between(ts, _types(before.each_table), _types(fixed.each_table))
    return None


def _has_records(feed: Feed, found: Found, decisions: Mapping[str, Decision]) -> bool:
    duplicates = {name for name, decision in decisions.items() if decision.duplicate_of}
    if feed.spec.input.schema_mode == "declared":
        # Nothing was read yet.
        return not decisions or duplicates < decisions.keys()
    return any(read.records > read.bad for name, read in found.files.items() if name not in duplicates)


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


def checked(feed: Feed, drift: Drift | None) -> Drift | None:
    """Return a drift, with a warning; None where nothing differs.

    Raises:
        DataError: something does, under `on_drift: fail`.
    """
    if reason := refusal(feed, drift):
        raise DataError(reason)
    if not (drift and drift.changes):
        return None
    log.warning("the columns are not those of run %s: %s", drift.since, drift.changes)
    return drift
