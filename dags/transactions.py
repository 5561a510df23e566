"""Transactions: nested files are staged into five subdirectories; five TaskGroups merge, denormalize and archive them.

    start > check_for_files > file_check_operations > stage_files > create_dynamic_taskgroups
          > subdir_1 … subdir_5 (merge_data > denormalize_data > archive_files) > verify_run > end

Everything about the feed is in transactions.yaml. The paths of a run come from `data_dir` and its execution timestamp.
"""

from pathlib import Path
from typing import Any

from airflow.sdk import Param, TaskGroup, chain, dag, task

from fanfold.airflow.tasks import DATA_DIR, EXECUTION_TS, TASK_DEFAULTS, FeedTasks

# What each task does; this file says what a task is, and what it waits for.
feed = FeedTasks(Path(__file__).with_name("transactions.yaml"))


@dag(
    dag_id=feed.spec.name,
    description=feed.description,
    doc_md=__doc__,
    tags=["fanfold"],
    schedule=None,
    catchup=False,
    max_active_runs=1,
    max_active_tasks=feed.spec.concurrent_tasks,
    params={"data_dir": Param(feed.spec.data_dir, type="string", description="Root of the feed")},
    default_args=TASK_DEFAULTS,
    on_failure_callback=feed.on_failure,
)
def transactions() -> None:
    @task(outlets=[feed.output])
    def start(data_dir: str, execution_ts: str) -> None:
        """Check what can be checked before the first file: spec, allowed roots, landing, references."""
        feed.start(data_dir, execution_ts)

    @task.sensor(mode="reschedule")
    def check_for_files(data_dir: str, execution_ts: str) -> bool:
        """Wait until a file is ready, without a worker slot between two looks. If no file comes, the run is skipped."""
        return feed.check_for_files(data_dir, execution_ts)

    @task
    def list_files(data_dir: str, execution_ts: str) -> dict[str, int]:
        """Count the files that are ready or already staged in this run, and their bytes."""
        return feed.list_files(data_dir, execution_ts)

    @task.branch
    def multiple_files_check(found: dict[str, int]) -> str:
        """Choose to notify if there are more files than `notify.above_files`, and there is somebody to tell."""
        return feed.multiple_files_check(found)

    @task
    def send_slack_notification(execution_ts: str, found: dict[str, int]) -> None:
        """Tell Slack about the files of the run. This never fails."""
        feed.send_slack_notification(execution_ts, found)

    @task
    def skip_notification() -> None:
        """Send nothing: there are too few files, or there is nobody to tell."""

    @task(trigger_rule="none_failed_min_one_success")
    def stage_files(data_dir: str, execution_ts: str) -> None:
        """Claim the files that are ready into the subdirectories of the run."""
        feed.stage_files(data_dir, execution_ts)

    @task
    def create_dynamic_taskgroups(data_dir: str, execution_ts: str) -> dict[str, str]:
        """Give every group its subdirectory, freeze the references, and fix the one schema of the run."""
        return feed.create_dynamic_taskgroups(data_dir, execution_ts)

    @task
    def merge_data(subdir: str, data_dir: str) -> None:
        """Join the references to every record of the subdirectory."""
        feed.merge_data(subdir, data_dir)

    @task
    def denormalize_data(subdir: str, data_dir: str) -> None:
        """Explode and flatten the merged records, and publish the rows."""
        feed.denormalize_data(subdir, data_dir)

    @task
    def archive_files(subdir: str, data_dir: str) -> None:
        """Move the originals of the subdirectory into the archive."""
        feed.archive_files(subdir, data_dir)

    @task(trigger_rule="none_failed_min_one_success", outlets=[feed.output], multiple_outputs=False)
    def verify_run(data_dir: str, execution_ts: str) -> dict[str, Any]:
        """Account for every file, record and row, and commit the run; its output is an Asset event."""
        return feed.verify_run(data_dir, execution_ts)

    @task
    def end() -> None:
        """Say that all went well: every group, or none because there was nothing to do."""

    with TaskGroup("file_check_operations") as file_check_operations:
        found: Any = list_files(DATA_DIR, EXECUTION_TS)
        multiple_files_check(found) >> [send_slack_notification(EXECUTION_TS, found), skip_notification()]

    groups: Any = create_dynamic_taskgroups(DATA_DIR, EXECUTION_TS)
    verified = verify_run(DATA_DIR, EXECUTION_TS)

    for n in range(1, feed.spec.subdirs + 1):
        with TaskGroup(f"subdir_{n}") as subdir_group:
            subdir = groups[str(n)]
            merge_data(subdir, DATA_DIR) >> denormalize_data(subdir, DATA_DIR) >> archive_files(subdir, DATA_DIR)
        groups >> subdir_group >> verified

    first = [start(DATA_DIR, EXECUTION_TS), check_for_files(DATA_DIR, EXECUTION_TS)]
    staged = stage_files(DATA_DIR, EXECUTION_TS)
    # The direct edge from groups lets verify_run run where every group is skipped.
    chain(*first, file_check_operations, staged, groups, verified, end())


transactions()
