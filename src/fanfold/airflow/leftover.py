"""Runs that earlier DAG runs have left unfinished: the next DAG run finishes them, as `fanfold run` does."""

import functools
import logging
from collections.abc import Iterator

from airflow.sdk import get_current_context

from fanfold.errors import FanfoldError
from fanfold.feed import failures, runs
from fanfold.layout import Feed
from fanfold.manifest import Summary
from fanfold.steps import local

log = logging.getLogger(__name__)


def finish_others(feed: Feed, but: str) -> Iterator[Summary]:
    """Finish the unfinished runs of a feed, all but one, the oldest first.

    A run that would only fail again is left, and so is one that fails: no run holds up another one. Nothing is done
    while another run of this DAG is active, since its tasks may still do their work. Leases keep out everybody else. A
    second call goes on where the first one was.

    Yields:
        The counts of each run that is complete.
    """
    waiting = [ts for ts in runs.unfinished(feed) if ts != but and not failures.is_stuck(feed, ts)]
    if not waiting:
        return
    task = get_current_context()["ti"]
    if task.get_dr_count(dag_id=task.dag_id, states=["running"]) > 1:
        log.info("unfinished, and left to the other active DAG runs: %s", ", ".join(waiting))
        return
    for ts in waiting:
        log.warning("run %s was left unfinished: this DAG run resumes it", ts)
        try:
            yield local.run(feed, ts, functools.partial(log.info, "subdir_%d: %s %s")).summary
        # What may go away by itself, the next DAG run tries again.
        except (FanfoldError, OSError, ExceptionGroup) as error:
            for one in error.exceptions if isinstance(error, ExceptionGroup) else [error]:
                log.warning("run %s stays unfinished: %s", ts, "; ".join([str(one), *getattr(one, "__notes__", ())]))
