"""Many requests at the same time: a store takes its time for each, however many there are."""

import functools
import http.client
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from fanfold.errors import StoreError

if TYPE_CHECKING:
    import urllib3

CONNECTIONS = 16
STALLED_SECONDS = 30
# More than all groups that run at the same time in one process can use.
KEPT = 64 * CONNECTIONS

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


def send(method: str, url: str, headers: Mapping[str, str] | None = None) -> "urllib3.BaseHTTPResponse":
    """Send a request once, on a connection that is kept for the next one; return its answer, whatever it says.

    Raises:
        urllib3.exceptions.HTTPError: there is no answer.
    """
    address = urlsplit(url)
    proxy_url = None if proxy_bypass(address.netloc) else getproxies().get(address.scheme)
    return _kept(proxy_url).request(method, url, headers=headers, retries=False, timeout=STALLED_SECONDS)


def check(answer: "urllib3.BaseHTTPResponse") -> None:
    """Check that what was asked is done.

    Raises:
        StoreError: it is not, with what the store says of it.
    """
    if answer.status >= http.client.BAD_REQUEST:
        msg = f"status code: {answer.status}: {answer.data.decode(errors='replace')}"
        raise StoreError(msg)


@functools.cache
def _kept(proxy_url: str | None) -> "urllib3.PoolManager":
    from urllib3 import PoolManager, ProxyManager

    return ProxyManager(proxy_url, maxsize=KEPT) if proxy_url else PoolManager(maxsize=KEPT)
