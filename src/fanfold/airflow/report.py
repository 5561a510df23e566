"""What people on call read: how a task failed, as a block of short lines, and what a run has come to."""

import logging
import re
import textwrap
from collections.abc import Iterable
from typing import Any, NoReturn

import msgspec

from fanfold import manifest, proof
from fanfold.airflow.compat import AirflowFailException
from fanfold.feed import quarantine, runs
from fanfold.layout import Feed
from fanfold.manifest import Manifest, Summary

log = logging.getLogger(__name__)

WIDTH = 100


def fail(messages: Iterable[str], spec: str) -> NoReturn:
    """Fail the task for good; Airflow adds a traceback, which is the shortest without a cause.

    Args:
        messages: what is wrong, then what to do; each becomes a few lines.
        spec: what stands for SPEC in the commands in them.
    """
    lines = [line for message in messages for line in _block(message, spec)]
    for line in lines:
        log.error("%s", line)
    raise AirflowFailException(lines[0]) from None


def _block(message: str, spec: str) -> list[str]:
    """Break a message where its parts end, and where they are long; a path or a command stays whole."""
    named = re.sub(r"\bSPEC\b", lambda _: spec, message)
    parts = [part for line in named.splitlines() for part in re.split(r"(?<=;) (?=\S)|(?<=: )(?=fanfold )", line)]
    return [line for part in parts for line in _wrapped(part.strip())]


def _wrapped(part: str) -> list[str]:
    if part.startswith("fanfold "):
        return [f"    {part}"]
    return textwrap.wrap(part, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def of_run(feed: Feed, summary: Summary, without_rows: int) -> dict[str, Any]:
    """Return what a run that `verify_run` has ended has come to, for Airflow's page and for the tasks of others.

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
    committed = manifest.read(run.commit_path, Manifest)
    if output_dir := proof.output_dir(summary, feed.data_dir):
        found["output"] = str(output_dir)
    found["manifest"] = str(run.commit_path)
    if summary.files_quarantined or summary.records_quarantined:
        found["quarantine"] = str(run.feed.quarantine_dir / run.ts)
        found["quarantined"] = quarantine.by_code(run, committed)
    if committed.drift:
        found["drift"] = msgspec.to_builtins(committed.drift)
    return found


def in_quarantine(found: dict[str, Any]) -> str | None:
    """Say what of a run is in quarantine, in a message; None where nothing is."""
    if "quarantined" not in found:
        return None
    codes = ", ".join(f"{code} {number:,}" for code, number in found["quarantined"].items())
    return f"in quarantine: {sum(found['quarantined'].values()):,} ({codes})"
