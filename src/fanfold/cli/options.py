"""What commands share: their common arguments, and how they print for machines."""

from pathlib import Path
from typing import Any

import click
import msgspec

SPEC = click.argument("spec", type=click.Path(path_type=Path))
DATA_DIR = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Root of the feed, in place of the spec's data_dir."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def print_json(document: Any) -> None:
    """Print one JSON object, or a list of them, on a line."""
    click.echo(msgspec.json.encode(document).decode())


def absolute(data_dir: Path | None) -> Path | None:
    """Return a `--data-dir` as it is meant: relative to the working directory."""
    return data_dir.absolute() if data_dir else None
