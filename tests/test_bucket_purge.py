"""A purge of a feed in a bucket, while runs begin, others purge, or it is killed: nobody loses what is still needed."""

import functools
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanfold import mirrors
from fanfold.feed import runs
from fanfold.steps.recount import recount
from tests.conftest import PATIENCE_SECONDS, MakeFeed
from tests.stores.proxy import Proxy
from tests.stores.servers import Bucket
from tests.torture.buckets import Buckets, Feed
from tests.torture.runs import Command

OLD, YOUNG, NEW = "20250101T000000Z", "20250601T000000Z", "20250602T000000Z"
BEFORE = ("--older-than", "2025-12-01", "--yes")
PURGE: Command = ("purge", "SPEC", *BEFORE)
TRY_AGAIN = 3
# Each request takes seconds here: these are enough to be between any two steps.
STRIDE = 2


@pytest.fixture
def buckets(tmp_path: Path, moto: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Buckets]:
    """Give S3 behind a proxy, and the credentials for it."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    with Proxy(moto.endpoint_url) as proxy:
        yield Buckets(tmp_path / "specs", moto, proxy)


@pytest.fixture
def copied(buckets: Buckets, make_feed: MakeFeed) -> Callable[[], Feed]:
    """Return what makes a feed in the bucket: two runs that have joined the same reference, and a file in landing."""
    feed = make_feed({}, subdirs=1, input={"duplicates": "archive"})
    for ts, name in ((OLD, "a.json"), (YOUNG, "b.json"), (NEW, "c.json")):
        feed.land(name, [{"id": ts, "customer_id": "1", "items": [{"sku": "a"}]}])
        if ts != NEW:
            feed.run(ts)
    return functools.partial(buckets.copy, feed.spec_path)


def check(feed: Feed, *complete: str) -> None:
    """Check that these runs are complete, and that nothing is missing that was not purged."""
    with mirrors.working():
        opened = runs.open_feed(feed.spec)
        assert runs.complete(opened) == [*complete]
        assert {ts: recount(*runs.open_complete(opened, ts)).gaps for ts in complete} == {ts: [] for ts in complete}


def meanwhile(
    buckets: Buckets, feed: Feed, purge: Command, number: int, other: Command
) -> tuple[int | None, int | None, str]:
    """Purge; before its request of a number, do another command. Return how both ended, and what the purge said.

    Nothing is done before a reference is deleted: what takes its name behind the look at its version is lost.
    """
    codes = list[int | None]()

    def do() -> None:
        if not (buckets.proxy.asked.startswith("DELETE ") and "/references/" in buckets.proxy.asked):
            process = buckets.start(feed, other, "other")
            process.join(PATIENCE_SECONDS)
            codes.append(process.exitcode)

    buckets.proxy.before["meanwhile"] = do
    buckets.proxy.fail_by(lambda seen: "meanwhile" if seen == number else None)
    code, told = buckets.run(feed, purge)
    buckets.proxy.succeed()
    return code, codes[0] if codes else None, told


def requests_of(buckets: Buckets, feed: Feed, command: Command) -> int:
    """Do a command, and return how many requests it makes."""
    before = buckets.proxy.requests.total()
    assert buckets.run(feed, command)[0] == 0
    return buckets.proxy.requests.total() - before


@pytest.mark.slow
def test_a_run_that_begins_meanwhile_keeps_its_reference(buckets: Buckets, copied: Callable[[], Feed]) -> None:
    """A run that does all its steps before any request of a purge has all that it needs after it."""
    purge: Command = (*PURGE, "--what", "references")
    done = 0
    for number in range(1, requests_of(buckets, copied(), purge) + 1, STRIDE):
        feed = copied()
        # What comes again is told from what was there by its time, in seconds.
        time.sleep(1)
        code, other, told = meanwhile(buckets, feed, purge, number, ("run", "SPEC", "--ts", NEW))
        assert (code, other or 0) == (0, 0), (number, told)
        check(feed, OLD, YOUNG, *([NEW] if other == 0 else []))
        done += other == 0
    assert done > 8


@pytest.mark.slow
def test_two_purges_at_once_lose_no_record(buckets: Buckets, copied: Callable[[], Feed]) -> None:
    """Another purge, of other files, before any request of a purge: one may be told to try again, and all is known."""
    outputs, archive = (*PURGE, "--what", "output"), (*PURGE, "--what", "archive")
    for number in range(1, requests_of(buckets, copied(), outputs) + 1, STRIDE):
        feed = copied()
        code, other, told = meanwhile(buckets, feed, outputs, number, archive)
        assert {code, other} <= {0, TRY_AGAIN}, (number, told)
        assert code == 0 or "another process purges run" in told
        check(feed, OLD, YOUNG)
        for command in (outputs, archive):
            assert buckets.run(feed, command)[0] == 0
        assert not [name for name in feed.tree() if name.startswith(("denormalized/", "processed/"))]


@pytest.mark.slow
def test_killed_at_any_request_a_second_purge_ends_it(buckets: Buckets, copied: Callable[[], Feed]) -> None:
    """A purge that is killed with any of its requests leaves no gap, and is ended by the next one, in the same tree."""
    once = copied()
    requests = requests_of(buckets, once, PURGE)
    for number in range(1, requests + 1, 2 * STRIDE + 1):
        feed = copied()
        buckets.proxy.before.clear()
        buckets.kill_at(number, carried_out=number % 2 == 0)
        code, told = buckets.run(feed, PURGE)
        assert code == -signal.SIGKILL, (number, told)
        buckets.proxy.succeed()
        check(feed, OLD, YOUNG)
        assert buckets.run(feed, PURGE)[0] == 0
        assert feed.tree() == once.tree()
    assert requests > 30
