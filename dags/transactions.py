"""Transactions: nested files are staged into five subdirectories; five TaskGroups merge, denormalize and archive them.

    start > check_for_files > file_check_operations > stage_files > create_dynamic_taskgroups
          > subdir_1 … subdir_5 (merge_data > denormalize_data > archive_files) > verify_run > end

Everything about the feed is in transactions.yaml. The paths of a run come from `data_dir` and its execution timestamp.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, Param, TaskGroup, chain, dag, task

from fanfold import load_spec
from fanfold.airflow import tasks

SPEC = Path(__file__).with_name("transactions.yaml")
DATA_DIR = "{{ params.data_dir }}"
# A run that was triggered without a logical date is named by the moment after which it may run.
EXECUTION_TS = "{{ dag_run.logical_date or dag_run.run_after }}"
RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": 2}

spec = load_spec(SPEC)
output = Asset(f"{spec.name}_{spec.output.path}")


# weight_rule: a group that has begun is finished before another begins, where groups outnumber slots.
@dag(
    dag_id=spec.name,
    schedule=None,
    catchup=False,
    max_active_runs=1,
    max_active_tasks=spec.concurrent_tasks,
    params={"data_dir": Param(spec.data_dir, type="string", description="Root of the feed")},
    default_args={**RETRIES, "weight_rule": "upstream"},
    doc_md=__doc__,
)
def transactions() -> None:
    @task
    def start(data_dir: str) -> None:
        tasks.start(SPEC, data_dir)

    @task.sensor(mode="reschedule", poke_interval=spec.input.poll_seconds, timeout=366 * 86_400)
    def check_for_files(data_dir: str, execution_ts: str) -> bool:
        return tasks.check_for_files(SPEC, data_dir, execution_ts)

    @task
    def list_files(data_dir: str, execution_ts: str) -> dict[str, int]:
        return tasks.list_files(SPEC, data_dir, execution_ts)

    @task.branch
    def multiple_files_check(found: dict[str, int]) -> str:
        several = found["files"] > spec.notify.above_files
        return "file_check_operations." + ("send_slack_notification" if several else "skip_notification")

    @task
    def send_slack_notification(execution_ts: str, found: dict[str, int]) -> None:
        tasks.send_slack_notification(spec, execution_ts, found)

    @task
    def skip_notification() -> None:
        pass

    @task(trigger_rule="none_failed_min_one_success")
    def stage_files(data_dir: str, execution_ts: str) -> None:
        tasks.stage_files(SPEC, data_dir, execution_ts)

    @task(multiple_outputs=True)
    def create_dynamic_taskgroups(data_dir: str, execution_ts: str) -> dict[str, str]:
        return tasks.create_dynamic_taskgroups(SPEC, data_dir, execution_ts)

    @task
    def merge_data(subdir: str, data_dir: str) -> None:
        tasks.merge_data(SPEC, subdir, data_dir)

    @task
    def denormalize_data(subdir: str, data_dir: str) -> None:
        tasks.denormalize_data(SPEC, subdir, data_dir)

    @task
    def archive_files(subdir: str, data_dir: str) -> None:
        tasks.archive_files(SPEC, subdir, data_dir)

    @task(trigger_rule="none_failed_min_one_success", outlets=[output])
    def verify_run(data_dir: str, execution_ts: str, *, outlet_events: Any = None) -> None:
        outlet_events[output].extra = tasks.verify_run(SPEC, data_dir, execution_ts)

    @task
    def end() -> None:
        pass

    with TaskGroup("file_check_operations") as file_check_operations:
        found: Any = list_files(DATA_DIR, EXECUTION_TS)
        multiple_files_check(found) >> [send_slack_notification(EXECUTION_TS, found), skip_notification()]

    groups: Any = create_dynamic_taskgroups(DATA_DIR, EXECUTION_TS)
    verified = verify_run(DATA_DIR, EXECUTION_TS)

    for n in range(1, spec.subdirs + 1):
        with TaskGroup(f"subdir_{n}") as subdir_group:
            subdir = groups[str(n)]
            merge_data(subdir, DATA_DIR) >> denormalize_data(subdir, DATA_DIR) >> archive_files(subdir, DATA_DIR)
        groups >> subdir_group >> verified

    first = [start(DATA_DIR), check_for_files(DATA_DIR, EXECUTION_TS)]
    chain(*first, file_check_operations, stage_files(DATA_DIR, EXECUTION_TS), groups)
    # The direct edge lets verify_run run where every group is skipped.
    groups >> verified >> end()


transactions()
