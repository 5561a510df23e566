"""Processes that work for this one, and end with it, also where it is killed."""

import concurrent.futures
import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from fanfold import interrupt


def forkserver() -> Any:
    """Return the context of processes that have imported everything.

    What they come from is started by the first call, and imports while this process does other things.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fanfold.steps"])
    with interrupt.held():
        # Its start would unblock what is blocked below.
        multiprocessing.resource_tracker.ensure_running()
        # A terminal sends Ctrl-C to all processes: the one that was called answers. What is blocked while the server
        # starts is blocked in it, and in all that come from it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        multiprocessing.forkserver.ensure_running()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        interrupt.ends_with_us(getattr(multiprocessing.forkserver._forkserver, "_forkserver_pid", None))  # noqa: SLF001
    return context


@contextlib.contextmanager
def pool(workers: int, context: Any) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Start a pool of processes; what is still to do is dropped at the end, and killed where an error ends it."""
    with interrupt.unwinding():
        executor = _Pool(workers, mp_context=context, initializer=_prepare)
        try:
            yield executor
        except BaseException:
            # Every step survives kill -9: nobody has to wait for them.
            for process in multiprocessing.active_children():
                process.kill()
            raise
        finally:
            executor.shutdown(cancel_futures=True)


class _Pool(concurrent.futures.ProcessPoolExecutor):
    """A pool that Ctrl-C never finds with a process half started."""

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        with interrupt.held():
            return super().submit(*args, **kwargs)


def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What warnings say, the summary says for all groups together.
    logging.getLogger("fanfold").setLevel(logging.ERROR)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
