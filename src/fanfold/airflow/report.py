"""What people on call read: short lines, errors that may go away by themselves, and the result of a run."""

import contextlib
import copy
import logging
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from fanfold import documents, manifest, mirrors, proof
from fanfold.errors import trouble, with_spec
from fanfold.feed import quarantine, runs
from fanfold.layout import Feed
from fanfold.manifest import Manifest, Summary

log = logging.getLogger(__name__)

# What a page of 1,280 pixels shows of a line, beside the grid and behind the time and the level.
WIDTH = 84


class Lines(logging.Handler):
    """Breaks each message into short lines, and completes the commands in it.

    Args:
        spec: what stands for SPEC in a command.
    """

    def __init__(self, spec: str) -> None:  # noqa: D107 - the class says it
        super().__init__()
        self.spec = spec

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a message on, as one log record for each of its lines."""
        for line in lines_of(record.getMessage(), self.spec):
            part = copy.copy(record)
            part.msg, part.args = line, None
            logging.getLogger().handle(part)


@contextlib.contextmanager
def in_lines(spec: str) -> Iterator[None]:
    """Break what Fanfold logs in a block into lines that fit on Airflow's page; `spec` stands for SPEC in commands."""
    logger, handler = logging.getLogger("fanfold"), Lines(spec)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def lines_of(message: str, spec: str) -> list[str]:
    """Break a message where its parts end, and break long parts; a path or a command stays whole."""
    named = with_spec(mirrors.named(message), spec)
    parts = [part for line in named.splitlines() for part in re.split(r"(?<=;) (?=\S)|(?<=: )(?=fanfold )", line)]
    return [line for part in parts for line in _wrapped(part.strip())]


def _wrapped(part: str) -> list[str]:
    if part.startswith("fanfold "):
        return [f"    {part}"]
    return textwrap.wrap(part, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def say_errors(messages: Iterable[str]) -> None:
    """Log what is wrong, and what to do."""
    for message in messages:
        log.error("%s", message)


def of_trouble(error: OSError, data_dir: str, attempt: int, attempts: int) -> str:
    """Return what Airflow's page says about an error that may go away by itself: a full disk, a busy part of a run."""
    told = f"{trouble(error)} (attempt {attempt} of {attempts}); the feed is in {data_dir!r}"
    if attempt < attempts:
        return f"{told}\nWhat to do:\n- correct the cause. Airflow tries this task again by itself"
    return (
        f"{told}\nWhat to do:\n- correct the cause, and clear this task with its downstream tasks\n"
        "- or correct it and wait: the next DAG run goes on with this run"
    )


def of_run(feed: Feed, summary: Summary, without_rows: int) -> dict[str, Any]:
    """Return the result of a run that `verify_run` has completed, for Airflow's page and for other DAGs.

    Args:
        feed: the feed.
        summary: the counts of the run.
        without_rows: how many of its files made no rows.

    Returns:
        `proof`, the sentence; the counts of the summary, with `rows_out.<table>` where there are `tables`. Where there
        were files: the absolute paths `output` (none without a table), `manifest`, and `quarantine` with `quarantined`,
        the number of bad records and files by code, the most frequent first. Where the columns are not those of the run
        before: `drift`.
    """
    fields = msgspec.structs.asdict(summary)
    fields |= {f"rows_out.{name}": rows for name, rows in manifest.of_table(summary.rows_out).items() if name}
    counts = {key: value for key, value in fields.items() if isinstance(value, (int, str))}
    found: dict[str, Any] = {"proof": proof.sentence(summary, without_rows), **counts}
    run = runs.open_run(feed.data_dir, summary.ts)
    if run is None:
        return found
    committed = documents.read(run.commit_path, Manifest)
    if output_dir := proof.output_dir(summary, feed.data_dir):
        found["output"] = mirrors.named(str(output_dir))
    found["manifest"] = mirrors.named(str(run.commit_path))
    if summary.files_quarantined or summary.records_quarantined:
        found["quarantine"] = mirrors.named(str(run.feed.quarantine_dir / run.ts))
        found["quarantined"] = quarantine.by_code(run, committed)
    if committed.drift:
        found["drift"] = msgspec.to_builtins(committed.drift)
    return found


def in_quarantine(found: dict[str, Any]) -> str | None:
    """Say what a run has put into quarantine; None if nothing."""
    if "quarantined" not in found:
        return None
    codes = ", ".join(f"{code} {number:,}" for code, number in found["quarantined"].items())
    return f"in quarantine: {sum(found['quarantined'].values()):,} ({codes})"
