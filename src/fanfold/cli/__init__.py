"""The command line."""

from fanfold.cli.commands import cli
from fanfold.cli.exits import main

__all__ = ["cli", "main"]
