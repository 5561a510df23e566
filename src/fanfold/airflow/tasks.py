"""What the DAG's tasks call: one function for each, in the words of Airflow.

They hand over to `fanfold.steps`, which is imported when a task runs, not when a DAG is parsed. A `FanfoldError`
becomes a failure that is not retried, an empty subdirectory a skip; everything else travels untouched and is retried.

What a task did is in its log. An XCom costs a call to the API server: only what a later task needs is one.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException

from fanfold.errors import DataError, EmptySubdir, FanfoldError, PathError
from fanfold.spec.model import Spec

if TYPE_CHECKING:
    from fanfold.layout import Feed

log = logging.getLogger(__name__)


@contextlib.contextmanager
def _in_airflows_words() -> Iterator[None]:
    try:
        yield
    except EmptySubdir as empty:
        raise AirflowSkipException(str(empty)) from None
    except FanfoldError as error:
        raise AirflowFailException("\n".join([str(error), *getattr(error, "__notes__", ())])) from error


@contextlib.contextmanager
def _of_run(spec_path: Path, data_dir: str, execution_ts: str) -> Iterator[None]:
    """Say of a step that fails what to do next, also where another spec than the run's is wanted."""
    with _in_airflows_words():
        try:
            yield
        except EmptySubdir:
            raise
        except FanfoldError as error:
            from fanfold.feed import unfinished
            from fanfold.layout import format_ts, parse_ts

            error.add_note(unfinished.what_next(_open(spec_path, data_dir), format_ts(parse_ts(execution_ts))))
            raise


def _open(spec_path: Path, data_dir: str) -> "Feed":
    from fanfold.feed import runs

    return runs.open_feed(spec_path, data_dir)


def start(spec_path: Path, data_dir: str) -> None:
    """Check spec, allowed roots, landing and references."""
    from fanfold.steps import start as step

    with _in_airflows_words():
        if not Path(data_dir).is_absolute():
            # Each task is a process of its own: a relative path would mean another folder in each.
            msg = f"data_dir {data_dir!r} is relative, expected an absolute path"
            raise PathError(msg)
        step.start(spec_path, data_dir)


def check_for_files(spec_path: Path, data_dir: str, execution_ts: str) -> bool:
    """Say that a file is ready, or staged in this run already; else look again in `poll_seconds`.

    Between two looks no worker slot is held.

    Raises:
        AirflowRescheduleException: none is ready yet.
        AirflowSkipException: none came within `wait_seconds` of the first look.
    """
    from fanfold.feed import landing
    from fanfold.steps import list_files as step

    with _in_airflows_words():
        feed = _open(spec_path, data_dir)
        if step.list_run(feed, execution_ts):
            return True
    context = get_current_context()
    first_look = context["ti"].get_first_reschedule_date(context)
    remaining = feed.spec.input.wait_seconds - (time.time() - first_look.timestamp() if first_look else 0.0)
    if first_look is None or remaining <= 0:
        # Each look is a process of its own: said at each, it would be said for ever.
        landing.warn(step.list_files(feed).held)
    if remaining <= 0:
        msg = f"no file was ready in {feed.landing_dir} within {feed.spec.input.wait_seconds} s"
        raise AirflowSkipException(msg)
    # A supervisor may notice the end of its task one heartbeat late. A task that is queued again by then is taken for
    # the one that ended, and failed.
    soonest = 2 * conf.getint("workers", "min_heartbeat_interval", fallback=5) + 1
    pause = max(soonest, min(remaining, feed.spec.input.poll_seconds))
    raise AirflowRescheduleException(datetime.now(UTC) + timedelta(seconds=pause))  # type: ignore[no-untyped-call]


def list_files(spec_path: Path, data_dir: str, execution_ts: str) -> dict[str, int]:
    """Count the files that are ready, or staged in this run already: `files`, `bytes`."""
    from fanfold.steps import list_files as step

    with _in_airflows_words():
        found = step.list_run(_open(spec_path, data_dir), execution_ts)
    return {"files": len(found), "bytes": sum(file.size_bytes for file in found)}


def stage_files(spec_path: Path, data_dir: str, execution_ts: str) -> None:
    """Claim the files that are ready into the run's subdirectories."""
    from fanfold.steps import stage_files as step

    with _in_airflows_words():
        log.info("files: %d", step.stage_files(_open(spec_path, data_dir), execution_ts))


def create_dynamic_taskgroups(spec_path: Path, data_dir: str, execution_ts: str) -> dict[str, str]:
    """Prepare the groups; return the subdirectory of each, by its number.

    A run that has published nothing takes up a changed spec here, when this task is cleared.
    """
    from fanfold.feed import runs, unfinished
    from fanfold.layout import format_ts, parse_ts
    from fanfold.steps import create_dynamic_taskgroups as step

    with _in_airflows_words():
        feed, ts = _open(spec_path, data_dir), format_ts(parse_ts(execution_ts))
        unfinished.take_up(feed, ts)
        groups = step.create_dynamic_taskgroups(data_dir, ts, feed.spec.subdirs)
        if len(groups) > feed.spec.subdirs and not runs.is_complete(feed.run(ts)):
            msg = (
                f"run {ts} has {len(groups)} subdirectories, the DAG has {feed.spec.subdirs} groups: end it with "
                f"fanfold run SPEC --ts {ts}, or give it up with fanfold release SPEC {ts}"
            )
            raise DataError(msg)
    return {str(n): groups.get(str(n), f"staging/{ts}/{n}") for n in range(1, feed.spec.subdirs + 1)}


def merge_data(spec_path: Path, subdir: str, data_dir: str) -> None:
    """Join the references to every record of the subdirectory."""
    from fanfold.steps import merge_data as step

    with _of_run(spec_path, data_dir, Path(subdir).parent.name):
        log.info("%s", step.merge_data(subdir, data_dir))


def denormalize_data(spec_path: Path, subdir: str, data_dir: str) -> None:
    """Explode and flatten the merged records, and publish the rows."""
    from fanfold.steps import denormalize_data as step

    with _of_run(spec_path, data_dir, Path(subdir).parent.name):
        log.info("%s", step.denormalize_data(subdir, data_dir))


def archive_files(spec_path: Path, subdir: str, data_dir: str) -> None:
    """Move the originals into the archive."""
    from fanfold.steps import archive_files as step

    with _of_run(spec_path, data_dir, Path(subdir).parent.name):
        log.info("%s", step.archive_files(subdir, data_dir))


def verify_run(spec_path: Path, data_dir: str, execution_ts: str) -> dict[str, Any]:
    """Account for everything and commit the run; return its counts.

    Where too much is bad, or nothing could be read, it fails once the run is committed, and fails again when cleared.
    """
    import msgspec

    from fanfold.steps import verify_run as step

    with _of_run(spec_path, data_dir, execution_ts):
        summary = step.verify_run(data_dir, execution_ts, _open(spec_path, data_dir).spec.subdirs)
    counts: Mapping[str, Any] = msgspec.to_builtins(summary)
    if failed := step.verdict_of(data_dir, execution_ts):
        raise AirflowFailException(failed)
    return {key: value for key, value in counts.items() if isinstance(value, (int, str))}


def send_slack_notification(spec: Spec, execution_ts: str, found: Mapping[str, int]) -> None:
    """Tell Slack about the files of a run. Never fails."""
    from fanfold.airflow.slack import notify
    from fanfold.layout import format_ts, parse_ts

    run = format_ts(parse_ts(execution_ts))
    notify(
        spec.notify.slack_conn_id,
        f"Fanfold: feed {spec.name}, run {run}: {found['files']:,} files, {found['bytes']:,} bytes are ready",
    )
