"""How the command line ends: exit codes, and one line for each error."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn

import click

from fanfold import interrupt, mirrors
from fanfold.cli.commands import cli
from fanfold.cli.options import as_typed
from fanfold.errors import FanfoldError, SpecError

TRY_AGAIN = 3


def main() -> NoReturn:
    """Run the command line and exit.

    Exit codes: 0 done; 1 the data is the problem; 2 usage, spec, a path outside the roots, something that is not
    there; 3 try again (disk full, I/O); 130 interrupted. One line on stderr for each error; a traceback
    only with `--debug`.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger().handlers[0].setFormatter(_Named("%(levelname)s: %(message)s"))
    # What groups warn of, the summary says for all of them together.
    logging.getLogger("fanfold.steps.merge_data").setLevel(logging.ERROR)
    code = _run([argument for argument in sys.argv[1:] if argument != "--debug"])
    # Python would take a while to put everything away, and in it SIGINT would be answered by a traceback.
    os._exit(code)


class _Named(logging.Formatter):
    """Names the bucket, and not the folder that stands for it; and the spec in commands."""

    def format(self, record: logging.LogRecord) -> str:
        return as_typed(super().format(record))


def _run(arguments: list[str]) -> int:
    try:
        # Each line was flushed as it was printed.
        with mirrors.working():
            return int(cli(args=arguments, standalone_mode=False) or 0)
    except SystemExit as stop:
        return int(stop.code or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        interrupt.end()
    except BrokenPipeError:
        return 0
    except BaseException as error:  # noqa: BLE001 - this is where every error ends
        if "--debug" in sys.argv:
            traceback.print_exc()
        ends = list(_ends(error))
        for line, _ in ends:
            click.echo(as_typed(line), err=True)
        return min(code for _, code in ends)


def _ends(error: BaseException) -> Iterator[tuple[str, int]]:
    """Yield a line and an exit code for each error, and behind it what was added to it."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _ends(inner)
    else:
        yield _line(error), error.exit_code if isinstance(error, FanfoldError) else TRY_AGAIN
    # The smallest code counts: a note changes nothing.
    yield from ((note, TRY_AGAIN) for note in getattr(error, "__notes__", ()))


def _line(error: BaseException) -> str:
    if isinstance(error, SpecError):
        return str(error)
    message = " ".join(str(error).split())
    if isinstance(error, FanfoldError):
        return f"error: {message}"
    passing = isinstance(error, (OSError, MemoryError)) or "duckdb" in type(error).__module__
    kind = "try again" if passing else "internal error, --debug shows where"
    return f"error ({kind}): {type(error).__name__}: {message}"
