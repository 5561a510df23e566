"""Ctrl-C: one line, exit code 130, at any moment from the first line of the command line on.

Every step survives `kill -9`, so the process ends where it is, with all its threads: nothing is unwound, and no
traceback can come of it. What must not stay behind (a temporary directory) is named in `put_away`; what has to end
first (other processes) stands in a block of `unwinding`.

It is imported before everything else, and imports next to nothing: until it is there, Python answers by a traceback.
"""

import os
import sys

# `signal` would import enum first.
from _signal import SIG_IGN, SIGINT, signal  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any, NoReturn, Self

INTERRUPTED = 130
LINE = b"interrupted\n"

# What is done before the process ends, wherever it is just then: also in the middle of one of these.
put_away: "list[Callable[[], None]]" = []


class _State:
    blocks = 0
    came = False
    first = b""


def install() -> None:
    """Answer SIGINT from now on, also where a shell started the process in the background, with SIGINT ignored."""
    signal(SIGINT, _answer)


def _answer(_number: int, _frame: "FrameType | None") -> None:
    if _State.came:
        return
    _State.came = True
    signal(SIGINT, SIG_IGN)
    if not _State.blocks:
        end()
    sys.unraisablehook = _unraisable
    raise KeyboardInterrupt


def _unraisable(what: "Any") -> None:
    """End the process where Python could not raise, say in a callback of its own; it would print a traceback."""
    if issubclass(what.exc_type, KeyboardInterrupt):
        end()


def write_first(before: bytes) -> None:
    """Write something to stderr before the line: what a terminal needs after a table was drawn on it."""
    _State.first = before


def end() -> "NoReturn":
    """Say that the process was interrupted, and end it."""
    try:
        for step in put_away:
            step()
        os.write(2, _State.first + LINE)
    finally:
        os._exit(INTERRUPTED)


def _let_go(trace: "TracebackType | None") -> None:
    """Let frames that have ended drop what they hold: some of it is put away only when nothing holds it."""
    from contextlib import suppress

    while trace is not None:
        # Those that still run hold on.
        with suppress(RuntimeError):
            trace.tb_frame.clear()
        trace = trace.tb_next


class unwinding:  # noqa: N801 - a context manager; contextlib would import too much
    """A block in which SIGINT raises KeyboardInterrupt, so that what is in it is put away; then the process ends."""

    def __enter__(self) -> "Self":
        """Begin the block; blocks may lie in each other."""
        _State.blocks += 1
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        """End the block, and after the outermost, where SIGINT came in it, the process."""
        _State.blocks -= 1
        if _State.came and not _State.blocks:
            _let_go(trace)
            end()
