"""`fanfold status`, `release`, `restore`: the runs of a feed, and what is done with one."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fanfold.cli.display import Row
    from fanfold.feed.status import RunStatus
    from fanfold.layout import Feed

from fanfold.cli.options import JSON, print_json, with_feed
from fanfold.errors import count


@click.command()
@with_feed
@JSON
def status(feed: "Feed", *, as_json: bool) -> None:
    """List the runs, and what is in landing.

    Unfinished runs come first. Shown is how far each group is, and why a run failed. A complete run is shown as failed
    if too many of its files were bad, or nothing could be read (quarantine.max_bad_files_percent).
    """
    from fanfold.cli import display
    from fanfold.feed import left
    from fanfold.feed import status as statuses
    from fanfold.steps.list_files import list_files

    found = statuses.status(feed)
    if as_json:
        print_json(found)
        return
    to = display.wide_console()
    display.print_table(to, ("run", "state", "files", "records", "rows", "groups"), map(_row, found))
    if not found:
        to.print("no runs yet")
    for one in found:
        for reason in one.failed:
            to.print(f"run {one.ts} failed: {reason}")
        if one.state == "unfinished":
            to.print(f"run {one.ts}: {count(one.files, 'file')} waiting in {feed.run(one.ts).staging_dir}")
    if feed.landing_dir.is_dir():
        landing = list_files(feed)
        stay = left.told(landing)
        to.print(f"landing: {count(len(landing.ready), 'file')} ready" + (f", {stay}" if stay else ""))


def _row(run: "RunStatus") -> "Row":
    state = run.state + (", failed" if run.failed else "")
    if run.released:
        state += f", {count(run.released, 'file')} released"
    if run.purged:
        state += f", purged: {', '.join(run.purged)}"
    groups = ", ".join(f"{n} {state}" for n, state in run.groups.items()) if run.state == "unfinished" else ""
    rows = sum(run.rows.values()) if isinstance(run.rows, dict) else run.rows
    return (run.ts, state, run.files, run.records, rows, groups)


@click.command()
@with_feed
@click.argument("ts")
def release(feed: "Feed", ts: str) -> None:
    """Give up an unfinished run. Unpublished files go back to landing; published ones are committed."""
    from fanfold.steps import release as releasing

    click.echo(f"released: {len(releasing.release(feed, ts)):,} back in landing")


@click.command()
@with_feed
@click.argument("ts")
@click.option("--to", "target", type=click.Path(path_type=Path), help="Where to put them (default: landing).")
def restore(feed: "Feed", ts: str, target: Path | None) -> None:
    """Put the originals of a complete run back, as copies.

    They get their old names, and the archive stays as it is. The next run treats copies in landing as duplicates
    (input.duplicates). To make a run again, use fanfold run --from-archive.
    """
    from fanfold.feed import runs
    from fanfold.steps import restore as restoring

    names = restoring.restore(*runs.open_complete(feed, ts), target.absolute() if target else feed.landing_dir)
    click.echo(f"restored: {len(names):,} in {target or feed.landing_dir}")
