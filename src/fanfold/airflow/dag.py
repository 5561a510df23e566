"""`feed_dag`: the DAG of `dags/transactions.py`, for users who only have a spec."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, Param, TaskGroup, chain, dag, task

from fanfold.airflow import tasks
from fanfold.spec.model import load_spec

DATA_DIR = "{{ params.data_dir }}"
# A run that was triggered without a logical date is named by the moment after which it may run.
EXECUTION_TS = "{{ dag_run.logical_date or dag_run.run_after }}"
RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": 2}


def feed_dag(spec_path: str | os.PathLike[str], **dag_kwargs: Any) -> DAG:
    """Make the DAG of a feed.

    Tasks, in order: start, check_for_files, file_check_operations (list_files, multiple_files_check,
    send_slack_notification or skip_notification), stage_files, create_dynamic_taskgroups, for each of the spec's
    subdirectories a TaskGroup subdir_N (merge_data, denormalize_data, archive_files), verify_run, end. The structure
    comes from the spec alone: files that come and go do not change it.

    Args:
        spec_path: the spec. In a DAG file, `Path(__file__).with_name("transactions.yaml")`.
        dag_kwargs: passed on to Airflow's DAG (`schedule`, `start_date`, `tags`, callbacks, …); they win over ours.

    Raises:
        MissingError, SpecError: as `load_spec`; Airflow shows them as import errors.
    """
    path = Path(spec_path).absolute()
    spec = load_spec(path)
    output = Asset(f"{spec.name}_{spec.output.path}")
    settings: dict[str, Any] = {
        "dag_id": spec.name,
        "schedule": None,
        "catchup": False,
        "max_active_runs": 1,
        "max_active_tasks": spec.concurrent_tasks,
        "params": {},
        "default_args": {},
    } | dag_kwargs
    data_dir = Param(spec.data_dir, type="string", description="Root of the feed")
    settings["params"] = {"data_dir": data_dir, **settings["params"]}
    settings["default_args"] = {**RETRIES, "weight_rule": "upstream", **settings["default_args"]}

    @dag(**settings)  # noqa: AIR002 - the schedule is in the settings
    def feed() -> None:
        @task
        def start(data_dir: str) -> None:
            tasks.start(path, data_dir)

        @task.sensor(mode="reschedule", poke_interval=spec.input.poll_seconds, timeout=366 * 86_400)
        def check_for_files(data_dir: str, execution_ts: str) -> bool:
            return tasks.check_for_files(path, data_dir, execution_ts)

        @task
        def list_files(data_dir: str, execution_ts: str) -> dict[str, int]:
            return tasks.list_files(path, data_dir, execution_ts)

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
            tasks.stage_files(path, data_dir, execution_ts)

        @task(multiple_outputs=True)
        def create_dynamic_taskgroups(data_dir: str, execution_ts: str) -> dict[str, str]:
            return tasks.create_dynamic_taskgroups(path, data_dir, execution_ts)

        @task
        def merge_data(subdir: str, data_dir: str) -> None:
            tasks.merge_data(path, subdir, data_dir)

        @task
        def denormalize_data(subdir: str, data_dir: str) -> None:
            tasks.denormalize_data(path, subdir, data_dir)

        @task
        def archive_files(subdir: str, data_dir: str) -> None:
            tasks.archive_files(path, subdir, data_dir)

        @task(trigger_rule="none_failed_min_one_success", outlets=[output])
        def verify_run(data_dir: str, execution_ts: str, *, outlet_events: Any = None) -> None:
            outlet_events[output].extra = tasks.verify_run(path, data_dir, execution_ts)

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
        first, staged = [start(DATA_DIR), check_for_files(DATA_DIR, EXECUTION_TS)], stage_files(DATA_DIR, EXECUTION_TS)
        chain(*first, file_check_operations, staged, groups)
        # The direct edge lets verify_run run where every group is skipped.
        groups >> verified >> end()

    made: DAG = feed()
    return made
