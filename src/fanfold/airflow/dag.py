"""`feed_dag`: the DAG of `dags/transactions.py`, for users who only have a spec."""

import os
from typing import Any

from airflow.sdk import DAG, Param, TaskGroup, chain, dag, task

from fanfold.airflow.tasks import DATA_DIR, EXECUTION_TS, TASK_DEFAULTS, FeedTasks


def feed_dag(spec_path: str | os.PathLike[str], **dag_kwargs: Any) -> DAG:
    """Make the DAG of a feed.

    Tasks, in order: start, check_for_files, file_check_operations (list_files, multiple_files_check,
    send_slack_notification or skip_notification), stage_files, create_dynamic_taskgroups, for each of the spec's
    subdirectories a TaskGroup subdir_N (merge_data, denormalize_data, archive_files), verify_run, end. The structure
    comes from the spec alone: files that come and go do not change it.

    Args:
        spec_path: the spec. In a DAG file, `Path(__file__).with_name("transactions.yaml")`.
        dag_kwargs: passed on to Airflow's DAG (`schedule`, `start_date`, `tags`, callbacks, …). They win over ours;
            `params`, `default_args`, `tags` and `on_failure_callback` are added to ours.

    Raises:
        MissingError, SpecError: as `load_spec`; Airflow shows them as import errors.
    """
    feed = FeedTasks(spec_path)
    theirs = dag_kwargs.get("on_failure_callback") or []
    callbacks = [feed.on_failure] if feed.on_failure else []
    callbacks += theirs if isinstance(theirs, list) else [theirs]
    settings = {
        "dag_id": feed.spec.name,
        "description": feed.description,
        "doc_md": feed.doc_md,
        "schedule": None,
        "catchup": False,
        "max_active_runs": 1,
        "max_active_tasks": feed.spec.concurrent_tasks,
        **dag_kwargs,
        "on_failure_callback": callbacks or None,
        "params": {"data_dir": Param(feed.spec.data_dir, type="string", description="Root of the feed")}
        | dag_kwargs.get("params", {}),
        "default_args": TASK_DEFAULTS | dag_kwargs.get("default_args", {}),
        "tags": ["fanfold", *dag_kwargs.get("tags", [])],
    }

    @dag(**settings)  # noqa: AIR002 - the schedule is in the settings
    def wiring() -> None:
        with TaskGroup("file_check_operations") as file_check_operations:
            found: Any = task(feed.list_files)(DATA_DIR, EXECUTION_TS)
            notifications = [
                task(feed.send_slack_notification)(EXECUTION_TS, found),
                task(feed.skip_notification)(),
            ]
            task.branch(feed.multiple_files_check)(found) >> notifications

        stage_files = task(trigger_rule="none_failed_min_one_success")(feed.stage_files)
        groups: Any = task(feed.create_dynamic_taskgroups)(DATA_DIR, EXECUTION_TS)
        verify_run = task(trigger_rule="none_failed_min_one_success", outlets=[feed.output], multiple_outputs=False)(
            feed.verify_run
        )
        verified = verify_run(DATA_DIR, EXECUTION_TS)
        for n in range(1, feed.spec.subdirs + 1):
            with TaskGroup(f"subdir_{n}") as subdir_group:
                steps = (feed.merge_data, feed.denormalize_data, feed.archive_files)
                chain(*(task(step)(groups[str(n)], DATA_DIR) for step in steps))
            groups >> subdir_group >> verified

        chain(
            task(outlets=[feed.output])(feed.start)(DATA_DIR, EXECUTION_TS),
            task.sensor(mode="reschedule")(feed.check_for_files)(DATA_DIR, EXECUTION_TS),
            file_check_operations,
            stage_files(DATA_DIR, EXECUTION_TS),
            groups,
            # This direct edge lets verify_run run where every group is skipped.
            verified,
            task(feed.end)(),
        )

    made: DAG = wiring()
    return made
