"""`fanfold quarantine`: list, show, replay, discard."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fanfold.layout import Feed

from fanfold.cli.options import JSON, print_json, with_feed
from fanfold.errors import count


@click.group()
def quarantine() -> None:
    """See what is in quarantine, send it again, or say that it is not needed.

    An ITEM is TS/N:K, the K-th bad record of subdirectory N, or TS/N/NAME, a bad file: list shows them.
    """


@quarantine.command("list")
@with_feed
@click.option("--all", "decided", is_flag=True, help="Also what was replayed or discarded.")
@JSON
def list_quarantine(feed: "Feed", *, decided: bool, as_json: bool) -> None:
    """List bad records and files, the oldest first; then the unfinished runs: what is bad in them comes later."""
    from fanfold.feed import quarantine as kept
    from fanfold.feed import status
    from fanfold.formats import place_in

    found = [item for item in kept.items(feed) if decided or item.state == "open"]
    if as_json:
        print_json(found)
        return
    for item in found:
        # One line each, in full: names are there to be copied.
        place = f"{item.bad.file!r}{place_in(item.bad.file, item.bad.line)}"
        click.echo(f"{item.item} {item.state}: {place}: {item.bad.message} ({item.bad.code})")
    waiting = [run for run in status.status(feed) if run.state == "unfinished"]
    for run in waiting:
        reasons = "; ".join(map(str, run.failed)) or "it has not failed; fanfold run SPEC goes on with it"
        click.echo(f"run {run.ts} is unfinished, with {count(run.files, 'file')} waiting: {reasons}")
    if not found and not waiting:
        click.echo("nothing is in quarantine" if decided else "nothing is open in quarantine")


@quarantine.command("show")
@with_feed
@click.argument("item")
def show_quarantine(feed: "Feed", item: str) -> None:
    """Print everything about a bad record or file, as JSON."""
    from fanfold.feed import quarantine as kept

    print_json(kept.find(feed, item))


@quarantine.command("replay")
@with_feed
@click.argument("items", metavar="[ITEM]...", nargs=-1)
@click.option(
    "--with",
    "corrected",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The corrected record (JSON; of CSV with its header), or the corrected file, for one ITEM.",
)
def replay_quarantine(feed: "Feed", items: tuple[str, ...], corrected: Path | None) -> None:
    """Land bad records and files again, as they were or corrected; the next run takes them. Without ITEM all open ones.

    As they were helps when the spec or a reference was corrected. Twice changes nothing.
    """
    from fanfold.feed import quarantine as kept
    from fanfold.feed.replay import replay

    if corrected and len(items) != 1:
        msg = f"found {count(len(items), 'item')}, expected one --with a corrected text"
        raise click.UsageError(msg)
    content = corrected.read_bytes() if corrected else None
    opened = [item for item in kept.items(feed) if item.state == "open"] if not items else []
    for item in [*opened, *(kept.find(feed, name) for name in items)]:
        click.echo(f"{item.item}: landed as {replay(feed, item, content).landed_as}")


@quarantine.command("discard")
@with_feed
@click.argument("items", metavar="ITEM...", nargs=-1, required=True)
@click.option("--reason", help="Why; it is kept.")
def discard_quarantine(feed: "Feed", items: tuple[str, ...], reason: str | None) -> None:
    """Decide that bad records or files are not needed. They stay in quarantine, and are not listed any more."""
    from fanfold.feed import quarantine as kept

    for name in items:
        kept.discard(feed, kept.find(feed, name), reason)
        click.echo(f"{name}: discarded")
