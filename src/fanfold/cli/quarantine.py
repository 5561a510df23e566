"""`fanfold quarantine`: list, show, replay, discard."""

from pathlib import Path

import click

from fanfold.cli.options import DATA_DIR, JSON, SPEC, absolute, print_json


@click.group()
def quarantine() -> None:
    """See what is in quarantine, send it again, or say that it is not needed.

    An ITEM is TS/N:K, the K-th bad record of subdirectory N, or TS/N/NAME, a bad file: list shows them.
    """


@quarantine.command("list")
@SPEC
@click.option("--all", "decided", is_flag=True, help="Also what was replayed or discarded.")
@DATA_DIR
@JSON
def list_quarantine(spec: Path, data_dir: Path | None, *, decided: bool, as_json: bool) -> None:
    """List bad records and files, the oldest first."""
    from fanfold.feed import quarantine, runs

    items = quarantine.items(runs.open_feed(spec, absolute(data_dir)))
    found = [item for item in items if decided or item.state == "open"]
    if as_json:
        print_json(found)
        return
    for item in found:
        # One line each, in full: names are there to be copied.
        place = f"{item.bad.file!r}" + (f" line {item.bad.line}" if item.bad.line else "")
        click.echo(f"{item.item} {item.state}: {place}: {item.bad.message} ({item.bad.code})")
    if not found:
        click.echo("nothing is in quarantine" if decided else "nothing is open in quarantine")


@quarantine.command("show")
@SPEC
@click.argument("item")
@DATA_DIR
def show_quarantine(spec: Path, item: str, data_dir: Path | None) -> None:
    """Print everything about a bad record or file, as JSON."""
    from fanfold.feed import quarantine, runs

    print_json(quarantine.find(runs.open_feed(spec, absolute(data_dir)), item))


@quarantine.command("replay")
@SPEC
@click.argument("items", metavar="[ITEM]...", nargs=-1)
@click.option(
    "--with",
    "corrected",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The corrected record (JSON; of CSV with its header), or the corrected file, for one ITEM.",
)
@DATA_DIR
def replay_quarantine(spec: Path, items: tuple[str, ...], corrected: Path | None, data_dir: Path | None) -> None:
    """Land bad records and files again, as they were or corrected; the next run takes them. Without ITEM all open ones.

    As they were helps when the spec or a reference was corrected. Twice changes nothing.
    """
    from fanfold.feed import quarantine, runs
    from fanfold.feed.replay import replay

    if corrected and len(items) != 1:
        msg = f"found {len(items)} items, expected one --with a corrected text"
        raise click.UsageError(msg)
    feed = runs.open_feed(spec, absolute(data_dir))
    content = corrected.read_bytes() if corrected else None
    opened = [item for item in quarantine.items(feed) if item.state == "open"] if not items else []
    for item in [*opened, *(quarantine.find(feed, name) for name in items)]:
        click.echo(f"{item.item}: landed as {replay(feed, item, content).landed_as}")


@quarantine.command("discard")
@SPEC
@click.argument("items", metavar="ITEM...", nargs=-1, required=True)
@click.option("--reason", help="Why; it is kept.")
@DATA_DIR
def discard_quarantine(spec: Path, items: tuple[str, ...], reason: str | None, data_dir: Path | None) -> None:
    """Decide that bad records or files are not needed. They stay in quarantine, and are not listed any more."""
    from fanfold.feed import quarantine, runs

    feed = runs.open_feed(spec, absolute(data_dir))
    for name in items:
        quarantine.discard(feed, quarantine.find(feed, name), reason)
        click.echo(f"{name}: discarded")
