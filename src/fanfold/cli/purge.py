"""`fanfold purge`: retention, by whole runs."""

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fanfold.feed.purged import Kind
    from fanfold.layout import Feed

from fanfold.cli.options import JSON, print_json, with_feed
from fanfold.errors import FanfoldError, count, nearest

HOURS = {"h": 1, "d": 24, "w": 168}


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
    if wrong := [name for name in named if name not in KINDS]:
        msg = f"found {wrong[0]!r}, {nearest(wrong[0], KINDS)}"
        raise click.BadParameter(msg)
    return [kind for kind in KINDS if kind in named]


@click.command()
@with_feed
@click.option(
    "--older-than",
    "before",
    metavar="AGE",
    required=True,
    callback=_moment,
    help="90d, 12h, 8w, or a date: 2026-01-31.",
)
@click.option(
    "--what",
    metavar="KINDS",
    default="archive,output,quarantine,references",
    show_default=True,
    callback=_kinds,
    help="What to remove, separated by commas.",
)
@click.option("--yes", is_flag=True, help="Remove it for good.")
@JSON
def purge(feed: "Feed", before: datetime, what: "list[Kind]", *, yes: bool, as_json: bool) -> None:
    """Remove what old runs have left behind. Without --yes, it is only shown.

    A run is as old as its timestamp. Unfinished runs stay, and so do runs with open items in quarantine. The output of
    a run stays if a later run has duplicates of its files, and a reference stays if a later run has joined it. The
    manifests stay, so a file that is delivered again is still a duplicate. What is removed cannot be brought back.
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
            click.echo(
                f"run {one.ts} stays: {one.stays}" if not one.what else f"run {one.ts} stays in part: {one.stays}"
            )
    if not going:
        click.echo(f"nothing to purge from before {before:%Y-%m-%dT%H:%M:%SZ}")
    elif yes:
        click.echo(f"purged {count(len(going), 'run')}; their manifests stay")
    else:
        click.echo("nothing is removed yet: add --yes to remove this for good")
