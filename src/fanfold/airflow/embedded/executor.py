"""The executor of an embedded Airflow: Airflow's LocalExecutor, with a queue and a worker for each task alone.

The workers of one LocalExecutor share a queue and its lock: one that is killed can take a task with it that nobody
misses, or the lock, and then no task starts any more. Here a worker that is killed takes its own task only, which
fails at once, and is tried again as often as its retries say.
"""

from collections.abc import Sequence
from typing import Any

from airflow.executors.base_executor import BaseExecutor
from airflow.executors.local_executor import LocalExecutor


class WorkerPerTaskExecutor(BaseExecutor):
    """Runs every task in a worker of its own; `parallelism` is the most at a time."""

    is_local = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin without a worker."""
        super().__init__(*args, **kwargs)
        self._workers: dict[Any, LocalExecutor] = {}

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        for workload in workload_items:
            worker = LocalExecutor(parallelism=1)  # type: ignore[no-untyped-call]
            worker.start()
            worker.queue_workload(workload, session=None)  # type: ignore[arg-type]
            (key,) = worker.queued_tasks
            worker.trigger_tasks(1)
            # It ends with the task.
            worker.activity_queue.put(None)
            self._workers[key] = worker
            self.running.add(key)
            del self.queued_tasks[key]

    def sync(self) -> None:
        """Report the tasks that ended; a task has failed if its worker ended without reporting."""
        for key, worker in list(self._workers.items()):
            ended = not _is_alive(worker)
            # It reads what was said before the end, and starts a worker again that ended before it took the task.
            worker.sync()
            if not ended or _is_alive(worker):
                continue
            said: Any = worker.event_buffer.get(key)
            if said:
                self.change_state(key, *said)
            else:
                self.fail(key, "its worker was killed")
            worker.activity_queue.close()
            worker.result_queue.close()
            del self._workers[key]

    def end(self) -> None:
        """Wait for the workers, and report what they did."""
        for worker in self._workers.values():
            for process in worker.workers.values():
                process.join()
        self.sync()

    def terminate(self) -> None:
        """End nothing: as in LocalExecutor, tasks outlive a scheduler that is told to stop."""


def _is_alive(worker: LocalExecutor) -> bool:
    return any(process.is_alive() for process in worker.workers.values())
