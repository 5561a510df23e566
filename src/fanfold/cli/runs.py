"""`fanfold release`, `restore`, `purge`: what can be done with the runs of a feed."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fanfold.feed.purged import Kind
    from fanfold.layout import Feed

from fanfold.cli.options import JSON, TS, as_typed, print_json, with_feed
from fanfold.errors import FanfoldError, count, nearest

HOURS = {"h": 1, "d": 24, "w": 168}
PURGED, WHAT = "archive,output,quarantine,references", "What to remove, separated by commas."
AGE = "90d, 12h, 8w, or a date: 2026-01-31."


@click.command()
@with_feed
@TS
def release(feed: "Feed", ts: str) -> None:
    """Give up an unfinished run. Unpublished files go back to landing; published ones are committed."""
    from fanfold.steps import release as releasing

    click.echo(f"released: {len(releasing.release(feed, ts)):,} back in landing")


@click.command()
@with_feed
@TS
@click.option("--to", "target", type=click.Path(path_type=Path), help="Where to put them (default: landing).")
def restore(feed: "Feed", ts: str, target: Path | None) -> None:
    """Copy the originals of a complete run back.

    The copies have the names that the files landed with; the archive stays as it is. The next run treats copies in
    landing as duplicates (input.duplicates). To make a run again, use fanfold run --from-archive.
    """
    from fanfold.feed import runs
    from fanfold.steps import restore as restoring

    names = restoring.restore(*runs.open_complete(feed, ts), target.absolute() if target else feed.landing_dir)
    click.echo(as_typed(f"restored: {len(names):,} in {target or feed.landing_dir}"))


def _moment(_context: click.Context, _option: click.Parameter, text: str) -> datetime:
    from fanfold.layout import parse_ts

    try:
        if found := re.fullmatch(r"(\d{1,6})([hdw])", text):
            return datetime.now(UTC) - timedelta(hours=int(found[1]) * HOURS[found[2]])
        return parse_ts(text)
    except (FanfoldError, OverflowError):
        msg = f"found {text!r}, expected hours, days or weeks (12h, 90d, 8w), or an ISO 8601 date or timestamp"
        raise click.BadParameter(msg) from None


def _kinds(_context: click.Context, _option: click.Parameter, text: str) -> "list[Kind]":
    from fanfold.feed.purged import KINDS

    named = [name.strip() for name in text.split(",")]
    for wrong in [name for name in named if name not in KINDS]:
        msg = f"found {wrong!r}, {nearest(wrong, KINDS)}"
        raise click.BadParameter(msg)
    return [kind for kind in KINDS if kind in named]


@click.command()
@with_feed
@click.option("--older-than", "before", metavar="AGE", required=True, callback=_moment, help=AGE)
@click.option("--what", metavar="KINDS", default=PURGED, show_default=True, callback=_kinds, help=WHAT)
@click.option("--yes", is_flag=True, help="Remove it. Without this, it is only shown.")
@JSON
def purge(feed: "Feed", before: datetime, what: "list[Kind]", *, yes: bool, as_json: bool) -> None:
    """Show what old runs have left behind; remove it with --yes.

    This covers originals, output, quarantine, and the references that were kept (--what). A run is as old as its
    timestamp. Unfinished runs stay, and so do runs with open items in quarantine. The output of a run stays if a later
    run has duplicates of its files, and a reference stays if a later run has joined it. The manifests stay: a file that
    is delivered again is still a duplicate. This cannot be undone.
    """
    from fanfold.cli import display
    from fanfold.steps import purge as retention

    found = (retention.purge if yes else retention.plan)(feed, before, what)
    if as_json:
        print_json(found)
        return
    going = [one for one in found if one.what]
    total = ("all", "", sum(one.files for one in going), sum(one.bytes for one in going))
    rows = ((one.ts, ", ".join(one.what), one.files, one.bytes) for one in going)
    display.print_table(display.wide_console(), ("run", "what", "files", "bytes"), rows, total if going else ())
    for one in found:
        if one.stays:
            click.echo(as_typed(f"run {one.ts} stays{' in part' if one.what else ''}: {one.stays}"))
    if not going:
        click.echo(f"nothing to purge from before {before:%Y-%m-%dT%H:%M:%SZ}")
    elif yes:
        click.echo(f"purged {count(len(going), 'run')}; their manifests stay")
    else:
        click.echo("nothing is removed yet: add --yes to remove this for good")
