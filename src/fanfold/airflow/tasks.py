"""What the tasks of a feed's DAG do: a method of `FeedTasks` for each task id, and what all feeds' DAGs share.

Each method is one call into `fanfold.steps`, which is imported when a task runs, not when a DAG is parsed. What a task
did is in its log. An XCom costs a call to the API server, so a task returns only what another one needs, or a reader.
"""

import contextlib
import logging
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from airflow.sdk import Asset, AssetAlias, get_current_context

from fanfold import bucket, mirrors
from fanfold.airflow import ends, report, slack, stores
from fanfold.airflow.compat import BACKOFF, AirflowRescheduleException, AirflowSkipException, conf
from fanfold.errors import DataError, EmptySubdir, FanfoldError, PathError, count
from fanfold.feed import runs, status, unfinished
from fanfold.layout import Feed, format_ts, parse_subdir, parse_ts
from fanfold.manifest import Summary, of_table
from fanfold.spec.model import load_spec
from fanfold.working_files import told

log = logging.getLogger(__name__)

# Of those that made no rows.
SHOWN_FILES = 10
DATA_DIR = "{{ params.data_dir }}"
# A run that was triggered without a logical date is named by the moment after which it may run.
EXECUTION_TS = "{{ dag_run.logical_date or dag_run.run_after }}"
# weight_rule: a group that has begun is finished before another begins, where groups outnumber slots.
TASK_DEFAULTS = {
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": BACKOFF,
    "weight_rule": "upstream",
    # Airflow would say it in one long line.
    "show_return_value_in_logs": False,
    **ends.RETRY_POLICY,
}


@contextlib.contextmanager
def _working() -> Iterator[None]:
    """Work on a folder, or on a bucket with the credentials of a connection of Airflow (store.conn_id)."""
    with mirrors.working(), bucket.connecting(stores.look_up):
        yield


class FeedTasks:
    """The tasks of one feed: `start` … `end`, and the outlet of `verify_run`.

    A `FanfoldError` becomes a failure that is not retried, an empty subdirectory a skip. An `OSError` is explained and
    retried. Everything else travels untouched and is retried.
    """

    def __init__(self, spec_path: str | os.PathLike[str]) -> None:
        """Read the spec.

        Raises:
            MissingError, SpecError: as `load_spec`; Airflow shows them as import errors.
        """
        self.path = Path(spec_path).absolute()
        self.spec = load_spec(self.path)
        # The Asset behind it is named when there are rows: a run without any has no event.
        self.output = AssetAlias(f"{self.spec.name}_{self.spec.output.path}")
        # A DAG without a callback is not asked for one.
        self.on_failure = self.send_slack_failure if "failed" in self.spec.notify.on else None
        self.description = f"Nested files in {self.spec.input.path}, flat tables out in {self.spec.output.path}"
        self.doc_md = f"{self.description}. The spec:\n\n```yaml\n{self.path.read_text(encoding='utf-8')}```"

    def start(self, data_dir: str, execution_ts: str) -> None:
        """Check what can be checked before the first file: spec, allowed roots, landing, references.

        Then finish the runs that earlier DAG runs have left unfinished, unless their cause is still there.
        """
        from fanfold.airflow.leftover import finish_others
        from fanfold.steps.start import start
        from fanfold.steps.verify_run import verdict_of

        with self._failures(data_dir, execution_ts):
            if not (mirrors.is_uri(data_dir) or Path(data_dir).is_absolute()):
                # Each task is a process of its own: a relative path would mean another folder in each.
                msg = f"data_dir {data_dir!r} is relative, expected an absolute path, or the URI of a bucket"
                raise PathError(msg)
            feed = start(self.path, data_dir)
            for done in finish_others(feed, format_ts(parse_ts(execution_ts))):
                self._tell(feed, done)
                if failed := verdict_of(data_dir, done.ts):
                    log.warning("%s", failed)

    def check_for_files(self, data_dir: str, execution_ts: str) -> bool:
        """Wait until a file is ready, without a worker slot between two looks. If no file comes, the run is skipped."""
        from fanfold.steps.check_for_files import check_for_files, nothing_ready, seconds_to_next_look
        from fanfold.steps.list_files import list_files

        with self._failures(data_dir, execution_ts):
            feed = self._open(data_dir)
            if check_for_files(feed, execution_ts):
                return True
            context, now = get_current_context(), datetime.now(UTC)
            first_look = context["ti"].get_first_reschedule_date(context)
            pause = seconds_to_next_look(feed, (now - first_look).total_seconds() if first_look else None)
        if pause is None:
            msg = f"{nothing_ready(feed, list_files(feed))}; waited for {feed.spec.input.wait_seconds} s"
            raise AirflowSkipException(msg)
        # A supervisor may notice the end of its task one heartbeat late. A task that is queued again by then is taken
        # for the one that ended, and failed.
        soonest = 2 * conf.getint("workers", "min_heartbeat_interval", fallback=5) + 1
        pause, sensor = max(soonest, pause), cast("Any", context["task"])
        if any(getattr(sensor, option, False) for option in ("never_fail", "silent_fail")):
            # It takes every exception for a failure, also the one that asks for another look.
            sensor.poke_interval = pause
            return False
        raise AirflowRescheduleException(now + timedelta(seconds=pause))  # type: ignore[no-untyped-call]

    def list_files(self, data_dir: str, execution_ts: str) -> dict[str, int]:
        """Count the files that are ready or already staged in this run, and their bytes."""
        from fanfold.steps.list_files import list_run

        with self._failures(data_dir, execution_ts):
            found = list_run(self._open(data_dir), execution_ts)
        return {"files": len(found), "bytes": sum(file.size_bytes for file in found)}

    def multiple_files_check(self, found: dict[str, int]) -> str:
        """Choose to notify if there are more files than `notify.above_files`, and there is somebody to tell."""
        told = self.spec.notify
        is_told = found["files"] > told.above_files and "files" in told.on and slack.is_there(told.slack_conn_id)
        return "file_check_operations." + ("send_slack_notification" if is_told else "skip_notification")

    def send_slack_notification(self, execution_ts: str, found: dict[str, int]) -> None:
        """Tell Slack about the files of the run. This never fails."""
        ready = f"ready: {count(found['files'], 'file')}, {count(found['bytes'], 'byte')}"
        self._notify(format_ts(parse_ts(execution_ts)), ready)

    def skip_notification(self) -> None:
        """Send nothing: there are too few files, or there is nobody to tell."""

    def send_slack_failure(self, context: Mapping[str, Any]) -> None:
        """Tell Slack that a DAG run has failed, and why, if `notify.on` asks for it: the DAG's on_failure_callback."""
        dag_run, params = context.get("dag_run"), context.get("params") or {}
        ts = format_ts(dag_run.logical_date or dag_run.run_after) if dag_run else str(context.get("run_id"))
        reasons = list[str]()
        # Where the feed cannot be opened, Airflow's log has the reason.
        with contextlib.suppress(FanfoldError, OSError), _working():
            feed = self._open(params.get("data_dir", self.spec.data_dir))
            reasons = told(status.status_of(feed, ts).failed)
        why = "; ".join(reasons) or "the logs of its failed tasks in Airflow say why"
        self._notify(ts, f"failed: {why}")

    def stage_files(self, data_dir: str, execution_ts: str) -> None:
        """Claim the files that are ready into the subdirectories of the run."""
        from fanfold.steps.stage_files import stage_files

        with self._failures(data_dir, execution_ts):
            log.info("files: %d", stage_files(self._open(data_dir), execution_ts))

    def create_dynamic_taskgroups(self, data_dir: str, execution_ts: str) -> dict[str, str]:
        """Give every group its subdirectory, freeze the references, and fix the one schema of the run.

        If this task is cleared, a run that has published nothing uses the changed spec from here on.
        """
        from fanfold.steps.create_dynamic_taskgroups import create_dynamic_taskgroups

        with self._failures(data_dir, execution_ts):
            feed, ts = self._open(data_dir), format_ts(parse_ts(execution_ts))
            unfinished.take_up(feed, ts)
            groups = create_dynamic_taskgroups(data_dir, ts, feed.spec.subdirs)
            if len(groups) > feed.spec.subdirs and not runs.is_complete(feed.run(ts)):
                msg = (
                    f"run {ts} has {len(groups)} subdirectories, the DAG has {count(feed.spec.subdirs, 'group')}: "
                    f"end it with fanfold run SPEC --ts {ts}, or give it up with fanfold release SPEC {ts}"
                )
                raise DataError(msg)
        return {str(n): groups.get(str(n), f"staging/{ts}/{n}") for n in range(1, feed.spec.subdirs + 1)}

    def merge_data(self, subdir: str, data_dir: str) -> None:
        """Join the references to every record of the subdirectory."""
        from fanfold.steps.merge_data import merge_data

        self._do(merge_data, subdir, data_dir)

    def denormalize_data(self, subdir: str, data_dir: str) -> None:
        """Explode and flatten the merged records, and publish the rows."""
        from fanfold.steps.denormalize_data import denormalize_data

        self._do(denormalize_data, subdir, data_dir)

    def archive_files(self, subdir: str, data_dir: str) -> None:
        """Move the originals of the subdirectory into the archive."""
        from fanfold.steps.archive_files import archive_files

        self._do(archive_files, subdir, data_dir)

    def verify_run(self, data_dir: str, execution_ts: str) -> dict[str, Any]:
        """Account for every file, record and row, and commit the run; its output is an Asset event.

        The proof, the counts, the paths and what is in quarantine are logged and returned. If too much is bad, or
        no record is good, this fails after the run is committed, and again when it is cleared.
        """
        from fanfold.steps.verify_run import verdict_of, verify_run

        with self._failures(data_dir, execution_ts):
            feed = self._open(data_dir)
            found = self._tell(feed, verify_run(data_dir, execution_ts, feed.spec.subdirs, feed.spec.tables))
            if failed := verdict_of(data_dir, execution_ts):
                report.say_errors([failed])
                ends.fail(failed)
        return found

    def end(self) -> None:
        """Say that all went well: every group, or none because there was nothing to do."""

    def _open(self, data_dir: str) -> Feed:
        return runs.open_feed(self.path, data_dir)

    def _spec(self, data_dir: str) -> str:
        """Return what stands for SPEC in a command about this feed."""
        elsewhere = [] if Path(data_dir) == Path(self.spec.data_dir) else ["--data-dir", data_dir]
        return shlex.join([str(self.path), *elsewhere])

    def _do(self, step: Callable[[str, str], object], subdir: str, data_dir: str) -> None:
        ts, n = parse_subdir(subdir)
        with self._failures(data_dir, ts, n):
            log.info("%s", step(subdir, data_dir))

    def _tell(self, feed: Feed, summary: Summary) -> dict[str, Any]:
        """Log the result of a run. Slack hears of a success, if the spec says so; rows are told by an Asset event."""
        from fanfold.steps.verify_run import without_rows

        empty = without_rows(feed.data_dir, summary.ts)
        for file, why in empty[:SHOWN_FILES]:
            log.info("%r made no rows: it %s", file.name, why)
        found = report.of_run(feed, summary, len(empty))
        for key, value in found.items():
            log.info("%s: %s", key, value)
        bad = report.in_quarantine(found)
        if bad:
            log.warning("%s; to list them: fanfold quarantine list SPEC", bad)
        if status.status_of(feed, summary.ts).failed:
            return found
        if bad and "quarantined" in self.spec.notify.on:
            self._notify(summary.ts, f"complete; {bad}")
        if not any(of_table(summary.rows_out).values()):
            log.info("no Asset event is emitted: the run has no rows")
            return found
        uri = found["output"] if mirrors.is_uri(found["output"]) else Path(found["output"]).as_uri()
        event = get_current_context()["outlet_events"][self.output]
        event.add(Asset(uri=uri.rpartition("/")[0]), extra={"uri": uri, **found})
        return found

    def _notify(self, ts: str, text: str) -> None:
        slack.notify(self.spec.notify.slack_conn_id, f"Fanfold: feed {self.spec.name}, run {ts}: {text}")

    @contextlib.contextmanager
    def _failures(self, data_dir: str, execution_ts: str, n: int | None = None) -> Iterator[None]:
        """Tell Airflow how a task ends, and log what to do next; `n` is the number of its group."""
        with _working(), report.in_lines(self._spec(data_dir)):
            try:
                if mirrors.is_uri(data_dir):
                    runs.open_feed(self.path, data_dir, execution_ts if n else None, n)
                yield
            except EmptySubdir as empty:
                raise AirflowSkipException(str(empty)) from None
            except OSError as error:
                task = get_current_context()["ti"]
                report.say_errors([report.of_trouble(error, data_dir, task.try_number, task.max_tries + 1)])
                ends.fail_for_now(error)
            except FanfoldError as error:
                lines = [str(error), *getattr(error, "__notes__", ())]
                # Where the spec cannot be read, only the failure is told.
                with contextlib.suppress(FanfoldError):
                    ways = unfinished.what_next(self._open(data_dir), format_ts(parse_ts(execution_ts)), n)
                    lines += ["What to do:", *(f"- {way}" for way in ways)]
                report.say_errors(lines)
                ends.fail(str(error), error)
