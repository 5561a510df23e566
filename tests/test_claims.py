"""The log of claims: all orders of the requests of several processes, and what it does on a store that is wrong."""

import pytest

from fanfold.bucket import claims
from fanfold.bucket.claims import Claims
from tests.claiming import (
    A,
    B,
    C,
    Process,
    done,
    everything_once,
    in_log,
    judge,
    landed,
    publishes,
    renews,
    script,
    takes_first,
)
from tests.interleavings import Door, Explorer


@pytest.fixture(autouse=True)
def deletes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep no entry but the newest: what may go wrong with those that are deleted goes wrong soon."""
    monkeypatch.setattr(claims, "KEPT_ENTRIES", 1)


CLAIMED = (script("x", A, takes_first), script("y", B, Process.claim))
PREPARED = (*CLAIMED, script("z", A, Process.prepare))


def test_every_order_of_claims() -> None:
    """In all orders of requests, two processes of a run and another run claim each file once, also when one fails."""
    scripts = [script("p", A, Process.claim), script("q", A, Process.claim), script("r", B, Process.claim)]
    assert Explorer(scripts, judge, faults=1).explore(landed("a", "b")) > 10_000
    # A listing may go on while entries come and go.
    assert Explorer(scripts, judge, pages=True).explore(landed("a", "b")) > 4_000


def test_no_claim_from_a_stale_listing() -> None:
    """A slow process never claims what another run has archived, and uses no entry of the log that was deleted."""
    scripts = [script("p", A, Process.claim), script("r", B, Process.whole)]
    assert Explorer(scripts, judge).explore(landed("a", "b")) > 10_000
    scripts = [script("p", A, Process.claim), script("q", A, Process.claim), script("r", B, Process.whole)]
    assert Explorer(scripts, judge, switches=2).explore(landed("a", "b")) > 3_000


def test_every_order_of_preparations() -> None:
    """Two runs never both decide about duplicates without having seen the other, and a run keeps its first attempt."""
    world = done(landed("a", "b"), *CLAIMED)
    scripts = [script("p", A, Process.prepare), script("r", B, Process.prepare)]
    assert Explorer(scripts, judge).explore(world) > 500
    scripts.append(script("q", A, Process.prepare))
    assert Explorer(scripts, judge, switches=2).explore(world) > 5_000


def test_decisions_of_a_run_that_ends_are_seen() -> None:
    """A run that decides while another one is completed, or given up, decides on what is true in the end."""
    world = done(landed("a", "b"), *PREPARED)
    for ends in (Process.whole, Process.give_up):
        scripts = [script("p", A, ends), script("r", B, Process.prepare)]
        assert Explorer(scripts, judge).explore(world) > 500


def test_every_order_of_ends() -> None:
    """A run is published by its one attempt, or has a new spec, or is given back: never two of these."""
    world = done(landed("a", "b"), *PREPARED)
    scripts = [script("p", A, renews), script("q", A, publishes), script("r", A, Process.give_up)]
    assert Explorer(scripts, judge, switches=2).explore(world) > 5_000


def test_every_order_of_whole_runs() -> None:
    """In all orders of requests, two runs publish and archive each file once."""
    scripts = [script("p", A, Process.whole), script("r", B, Process.whole)]
    assert Explorer(scripts, judge, everything_once).explore(landed("a", "b")) > 20_000


def test_two_processes_of_one_run() -> None:
    """Two processes of a run, each interrupted anywhere, publish and archive each file once."""
    scripts = [script("p", A, Process.whole), script("q", A, Process.whole)]
    assert Explorer(scripts, judge, everything_once, switches=1).explore(landed("a", "b")) > 1_000


def test_a_run_is_given_up_while_it_works() -> None:
    """What of a run is published while another process gives it up is archived, all else is back."""
    scripts = [script("p", A, Process.whole), script("q", A, Process.give_up)]
    assert Explorer(scripts, judge, switches=2).explore(landed("a", "b")) > 3_000


@pytest.mark.slow
def test_two_runs_one_of_them_twice() -> None:
    """Two runs, of which one has two processes, publish and archive each file once."""
    scripts = [script("p", A, Process.whole), script("q", A, Process.whole), script("r", B, Process.whole)]
    assert Explorer(scripts, judge, everything_once, switches=2).explore(landed("a", "b")) > 50_000


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pages", [False, True])
def test_orders_by_chance(seed: int, *, pages: bool) -> None:
    """Five processes of three runs, with requests that are lost, late or sent twice, keep every rule."""
    scripts = [
        script("p", A, Process.whole),
        script("q", A, Process.whole),
        script("r", B, Process.whole),
        script("s", B, Process.give_up),
        script("t", C, takes_first, renews, Process.prepare, publishes),
    ]
    Explorer(scripts, judge, pages=pages, faults=3).wander(landed("a", "b", "c"), 60, seed)


def test_the_state_never_goes_back() -> None:
    """A state is at least as new as the log was when it was asked for, and never older than one before."""

    def reads(door: Door) -> None:
        log, number = Claims(door), 0
        for _ in range(3):
            length = door.length()
            state = log.state()
            assert state.number >= max(length, number)
            door.says(in_log(state))
            number = state.number

    scripts = [reads, script("r", B, takes_first, Process.prepare, publishes)]
    for pages in (False, True):
        assert Explorer(scripts, judge, pages=pages).explore(landed("a", "b")) > 1_000
