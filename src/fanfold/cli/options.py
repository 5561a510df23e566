"""What commands share: common arguments, opening the feed, and printing JSON."""

import functools
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fanfold import mirrors
from fanfold.errors import with_spec

# What stands for SPEC in the commands that messages name: the process has one command line.
_typed: dict[str, str] = {}


def _spec(_context: click.Context, _argument: click.Parameter, path: Path) -> Path:
    _typed["spec"] = str(path)
    return path


def _absolute(_context: click.Context, _option: click.Parameter, path: str | None) -> str | None:
    _typed["data_dir"] = path or ""
    return None if path is None else str(mirrors.absolute(path))


def as_typed(message: str) -> str:
    """Return a message as people read it: buckets by their names, commands with the spec and --data-dir of this one."""
    options = ["--data-dir", _typed["data_dir"]] if _typed.get("data_dir") else []
    named = mirrors.named(message)
    return with_spec(named, shlex.join([_typed["spec"], *options])) if "spec" in _typed else named


SPEC = click.argument("spec", type=click.Path(path_type=Path), callback=_spec)
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
