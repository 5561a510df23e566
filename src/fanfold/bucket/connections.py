"""Many requests at the same time: a store takes its time for each, however many there are."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

CONNECTIONS = 16

Job = TypeVar("Job")
Result = TypeVar("Result")


def at_once(call: Callable[[Job], Result], jobs: Iterable[Job], connections: int = CONNECTIONS) -> Iterator[Result]:
    """Do a call for each job, some at the same time; yield the results in the order of the jobs.

    No more than `connections` jobs are taken ahead of the results that were taken. After an error, or when the caller
    stops, no further one begins, and this ends when those that began have ended.
    """
    begun: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(connections) as threads:
        try:
            for job in jobs:
                begun.append(threads.submit(call, job))
                if len(begun) == connections:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for left in begun:
                left.cancel()
