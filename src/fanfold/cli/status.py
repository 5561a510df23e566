"""`fanfold status`: the runs of a feed, and what is in landing."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fanfold.cli.display import Row
    from fanfold.feed.status import RunStatus
    from fanfold.layout import Feed

from fanfold.cli.options import JSON, as_typed, print_json, with_feed
from fanfold.errors import count


@click.command()
@with_feed
@JSON
def status(feed: "Feed", *, as_json: bool) -> None:
    """List the runs, how far each has got, and why it failed.

    Unfinished runs come first, with the state of each group. At the end is what has landed. A complete run is shown as
    failed if too many of its files were bad, or no record is good (quarantine.max_bad_files_percent).
    """
    from fanfold.cli import display
    from fanfold.feed import not_taken, unfinished
    from fanfold.feed import status as statuses
    from fanfold.steps.list_files import list_files
    from fanfold.working_files import told

    found = statuses.status(feed)
    if as_json:
        print_json(found)
        return
    to = display.wide_console()
    display.print_table(to, ("run", "state", "files", "records", "rows", "groups"), map(_row, found))
    if not found:
        to.print("no runs yet")
    for one in found:
        for reason in told(one.failed):
            to.print(as_typed(f"run {one.ts} failed: {reason}"))
        if one.state == "unfinished" and (waiting := statuses.waiting(feed, one.ts)):
            where = as_typed(str(feed.run(one.ts).staging_dir))
            to.print(f"run {one.ts}: {count(waiting, 'file')} waiting in {where}")
        if one.state == "unfinished" and one.failed:
            to.print(as_typed(unfinished.go_on(feed, one.ts)))
    if feed.landing_dir.is_dir():
        landing = list_files(feed)
        to.print(
            ", ".join(filter(None, [f"landing: {count(len(landing.ready), 'file')} ready", not_taken.told(landing)]))
        )


def _row(run: "RunStatus") -> "Row":
    state = run.state + (", failed" if run.failed else "")
    if run.released:
        state += f", {count(run.released, 'file')} released"
    if run.purged:
        state += f", purged: {', '.join(run.purged)}"
    groups = ", ".join(f"{n} {state}" for n, state in run.groups.items()) if run.state == "unfinished" else ""
    rows = sum(run.rows.values()) if isinstance(run.rows, dict) else run.rows
    return (run.ts, state, run.files, run.records, rows, groups)
