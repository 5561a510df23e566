"""How a run waits for its files."""

import logging

import pytest

from fanfold.steps.check_for_files import check_for_files, seconds_to_next_look
from tests.conftest import TS, MakeFeed

RECORDS = [{"id": 1, "customer_id": "1", "items": []}]
WAIT = {"wait_seconds": 100, "poll_seconds": 30}


def test_a_file_that_is_ready_or_staged_ends_the_wait(make_feed: MakeFeed) -> None:
    """Without a file there is nothing to go on with; with one there is, also once the run has claimed it."""
    feed = make_feed()
    assert not check_for_files(feed.open(), TS)
    feed.land("a.json", RECORDS)
    assert check_for_files(feed.open(), TS)
    feed.stage()
    assert check_for_files(feed.open(), TS)
    assert not check_for_files(feed.open(), "20270102T030405Z")


@pytest.mark.parametrize(
    ("waited", "pause"), [(None, 30), (0.0, 30), (69.0, 30), (90.0, 10), (99.5, 0.5), (100.0, None), (1e9, None)]
)
def test_the_last_look_is_at_the_end_of_the_wait(make_feed: MakeFeed, waited: float | None, pause: float) -> None:
    """Looks are `poll_seconds` apart, the last one comes when `wait_seconds` are over, and then the wait ends."""
    assert seconds_to_next_look(make_feed(input=WAIT).open(), waited) == pause


def test_what_stays_in_landing_is_named_at_the_first_look_and_the_last(
    make_feed: MakeFeed, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that cannot be taken is warned of twice in a wait, however many looks there are."""
    feed = make_feed(input=WAIT)
    feed.landing_dir.joinpath(b"\xff.json".decode(errors="surrogateescape")).write_text("[]")
    with caplog.at_level(logging.WARNING):
        for waited in (None, 10.0, 40.0, 70.0, 100.0):
            seconds_to_next_look(feed.open(), waited)
    assert len([record for record in caplog.records if "in landing" in record.getMessage()]) == 2
