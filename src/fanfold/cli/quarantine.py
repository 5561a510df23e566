"""`fanfold quarantine`: list, show, replay, discard."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fanfold.feed.quarantine import Item
    from fanfold.layout import Feed

from fanfold.cli.options import JSON, as_typed, print_json, with_feed
from fanfold.errors import count

ITEMS = click.argument("items", metavar="[ITEM]...", nargs=-1)
CODES = click.option("--code", "codes", multiple=True, help="Only items that are bad for this reason; may be repeated.")


@click.group()
def quarantine() -> None:
    """List, correct, replay or discard what is in quarantine.

    An ITEM is TS/N:K (the K-th bad record of subdirectory N) or TS/N/NAME (a bad file). `list` shows them.
    """


@quarantine.command("list")
@with_feed
@click.option("--all", "decided", is_flag=True, help="Also list what was replayed or discarded.")
@CODES
@JSON
def list_quarantine(feed: "Feed", codes: tuple[str, ...], *, decided: bool, as_json: bool) -> None:
    """List bad records and files, the oldest first.

    The unfinished runs follow: their bad records and files are not in quarantine yet.
    """
    from fanfold.feed import quarantine as kept
    from fanfold.feed import status
    from fanfold.input_formats import place_in
    from fanfold.working_files import told

    found = [
        item for item in kept.items(feed) if (decided or item.state == "open") and (not codes or item.bad.code in codes)
    ]
    if as_json:
        print_json(found)
        return
    for item in found:
        # One line each, in full: names are there to be copied.
        place = f"{item.bad.source!r}{place_in(item.bad.source, item.bad.line)}"
        click.echo(f"{item.item} {item.state}: {place}: {item.bad.message} ({item.bad.code})")
    waiting = [run for run in status.status(feed) if run.state == "unfinished"]
    for run in waiting:
        reasons = "; ".join(told(run.failed)) or "it has not failed; fanfold run SPEC resumes it"
        files = count(status.waiting(feed, run.ts), "file")
        click.echo(as_typed(f"run {run.ts} is unfinished, with {files} waiting: {reasons}"))
    if not found and not waiting:
        click.echo("nothing is in quarantine" if decided else "nothing is open in quarantine")


@quarantine.command("show")
@with_feed
@click.argument("item")
def show_quarantine(feed: "Feed", item: str) -> None:
    """Print everything about a bad record or file, as JSON."""
    from fanfold.feed import quarantine as kept

    print_json(kept.find(feed, item))


@quarantine.command("export")
@with_feed
@CODES
def export_quarantine(feed: "Feed", codes: tuple[str, ...]) -> None:
    """Print the open items as lines of JSON, to correct them.

    Each line has the record, or its raw text. Correct record or raw in each line, remove the lines that you do not want
    to replay, and pass the file to replay (--with).
    """
    from fanfold.feed import corrections

    for correction in corrections.export(feed, codes):
        print_json(correction)


def _chosen(feed: "Feed", items: tuple[str, ...], codes: tuple[str, ...]) -> "Iterable[Item]":
    """Return the items that are named; where none is, those that are open, of some codes or of all."""
    from fanfold.feed import quarantine as kept

    return [kept.find(feed, name) for name in items] if items else kept.opened(feed, codes)


@quarantine.command("replay")
@with_feed
@ITEMS
@click.option(
    "--with",
    "corrected",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With one ITEM: the corrected record (JSON, or CSV with its header) or file. Without ITEM: the corrected "
    "output of export.",
)
@CODES
def replay_quarantine(feed: "Feed", items: tuple[str, ...], corrected: Path | None, codes: tuple[str, ...]) -> None:
    """Land bad records and files again, as they were or corrected.

    The next run takes them. Without ITEM, all open items are landed. Even without a correction they may be good now, if
    the spec or a reference was corrected. If one of them cannot be landed, none is. But if no ITEM is given, an item
    without text is only passed over, and named. A second call changes nothing.
    """
    from fanfold.feed import corrections, replay

    if (corrected and len(items) > 1) or (codes and (items or corrected)):
        msg = "expected ITEMs, or --code, or --with the corrected output of export, or one ITEM --with its text"
        raise click.UsageError(msg)
    if corrected and not items:
        landed = corrections.replay_file(feed, corrected)
    else:
        content = corrected.read_bytes() if corrected else None
        wanted = [(item, content, repr(item.item)) for item in _chosen(feed, items, codes)]
        landed = replay.replay_all(feed, wanted, is_bulk=not items)
    for decision in landed:
        click.echo(f"{decision.item}: landed as {decision.landed_as}")


@quarantine.command("discard")
@with_feed
@ITEMS
@CODES
@click.option("--reason", help="The reason, which is recorded.")
def discard_quarantine(feed: "Feed", items: tuple[str, ...], codes: tuple[str, ...], reason: str | None) -> None:
    """Decide that bad records or files are not needed.

    They stay in quarantine, but are no longer listed.
    """
    from fanfold.feed import quarantine as kept

    if bool(items) == bool(codes):
        msg = "expected either ITEMs or --code"
        raise click.UsageError(msg)
    for item in _chosen(feed, items, codes):
        kept.discard(feed, item, reason)
        click.echo(f"{item.item}: discarded")
