"""Commands without the start of an interpreter: a process that has everything imported forks one child for each.

It reads a request from each line of stdin, and answers on stdout when the child has ended. The child does a command of
the command line, or every step of a run, one after another, under the shim that this process was started with.
"""

import contextlib
import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

from fanfold import cli
from fanfold.errors import FanfoldError
from tests.conftest import TS, FeedDir

TRY_AGAIN = 3


def steps(spec: str, ts: str = TS) -> tuple[int, str]:
    """Do all steps of a run; return the exit code of the command line, and the error."""
    path = Path(spec)
    try:
        FeedDir(path, path.with_name("data")).run(ts)
    except FanfoldError as error:
        return error.exit_code, f"{type(error).__name__}: {error}"
    # What a step may let through is what a disk may say: any.
    except Exception as error:  # noqa: BLE001
        return TRY_AGAIN, f"{type(error).__name__}: {error}"
    return 0, ""


def child(request: dict[str, Any], answer: int) -> None:
    os.setsid()
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(quiet, descriptor)
    os.environ.update(request["environ"])
    ctypes.CDLL(None).torture_configure()
    command, *arguments = request["command"]
    if command != "steps":
        os.dup2(answer, 2)
        sys.argv = ["fanfold", command, *arguments]
        cli.main()
    code, error = steps(request["spec"], *arguments)
    os.environ.pop("TORTURE_ROOT", None)
    ctypes.CDLL(None).torture_configure()
    os.write(answer, error.encode())
    os._exit(code)


def main() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin:
        readable, writable = os.pipe()
        process = os.fork()
        if not process:
            os.close(readable)
            with contextlib.suppress(BaseException):
                child(json.loads(line), writable)
            os._exit(98)
        os.close(writable)
        with os.fdopen(readable, "rb") as errors:
            error = errors.read().decode()
        _, status = os.waitpid(process, 0)
        sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(status), error]) + "\n")
        sys.stdout.flush()


main()
