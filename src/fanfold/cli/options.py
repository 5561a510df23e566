"""What commands share: common arguments, opening the feed, and printing JSON."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fanfold import mirrors


def _absolute(_context: click.Context, _option: click.Parameter, path: str | None) -> str | None:
    return None if path is None else str(mirrors.absolute(path))


SPEC = click.argument("spec", type=click.Path(path_type=Path))
TS = click.argument("ts")
DATA_DIR = click.option(
    "--data-dir", metavar="PATH", callback=_absolute, help="Root of the feed, instead of the spec's data_dir."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def with_feed(command: Callable[..., None]) -> Callable[..., None]:
    """Pass a command the feed of its first argument, the spec; --data-dir may name another root."""

    @SPEC
    @DATA_DIR
    @functools.wraps(command)
    def opened(spec: Path, data_dir: str | None, **arguments: Any) -> None:
        from fanfold.feed import runs

        command(runs.open_feed(spec, data_dir), **arguments)

    return opened


def print_json(document: Any) -> None:
    """Print one JSON object, or a list of them, on a line."""
    import msgspec

    click.echo(msgspec.json.encode(document).decode())
