"""The log of claims: all orders of the requests of several processes, and what it does on a store that is wrong."""

import functools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fanfold.bucket import claims
from fanfold.bucket.claims import Claims
from fanfold.bucket.entry import Run, State
from fanfold.errors import BusyError, DataError
from tests.claiming import (
    COMPLETE,
    OTHER,
    REFERENCE,
    SPEC,
    A,
    B,
    C,
    Folder,
    InBucket,
    Live,
    Process,
    check_work,
    does_one,
    done,
    everything_once,
    in_log,
    joins,
    judge,
    judge_kept,
    landed,
    newest,
    prepares_again,
    publishes,
    purges,
    renews,
    script,
    takes_first,
    work,
)
from tests.interleavings import Door, Explorer, carried_out
from tests.stores.proxy import Proxy
from tests.stores.servers import Bucket


@pytest.fixture(autouse=True)
def deletes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep no entry but the newest: what may go wrong with those that are deleted goes wrong soon."""
    monkeypatch.setattr(claims, "KEPT_ENTRIES", 1)


NAMES = [f"202601{day:02}T0{process}0000Z" for day in range(1, 11) for process in range(3)]
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
    """Two runs never both decide about duplicates without having seen the other."""
    world = done(landed("a", "b"), *CLAIMED)
    scripts = [script("p", A, Process.prepare), script("r", B, Process.prepare)]
    assert Explorer(scripts, judge).explore(world) > 500
    scripts.append(script("q", A, Process.prepare, prepares_again))
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
    """What of a run is published while another process gives it up is archived; all else is back in landing."""
    scripts = [script("p", A, Process.whole), script("q", A, Process.give_up, Process.whole)]
    assert Explorer(scripts, judge, everything_once, switches=1).explore(landed("a", "b")) > 1_000


def test_a_purge_takes_no_reference_from_a_run_that_begins() -> None:
    """In all orders, also with a lost answer or two purges, a run keeps the reference that it joins while it goes."""
    world = done(landed("a"), script("p", A, joins)).put("landing/b", b"b")
    scripts = [script("q", A, purges), script("r", B, joins)]
    assert Explorer(scripts, judge_kept, faults=1).explore(world) > 1_000
    scripts.append(script("s", A, purges))
    assert Explorer(scripts, judge_kept, switches=2).explore(world) > 1_000


def test_a_purge_that_is_killed_stops_no_run() -> None:
    """A purge that is killed before any of its requests takes nothing from the next run; another purge ends it."""
    world = done(landed("a"), script("p", A, joins)).put("landing/b", b"b")
    explorer = Explorer([script("q", A, purges)], judge_kept)
    at, requests = explorer.begin(world), 0
    while after := [*explorer.following(at)]:
        again = done(at.world, script("r", A, purges))
        assert (again.get(REFERENCE), newest(again).going) == (None, [])
        then = done(at.world, script("r", B, joins))
        assert then.get(COMPLETE + B)
        assert then.get(REFERENCE)
        at, requests = after[0], requests + 1
    assert requests > 8


@pytest.mark.parametrize("killed", [Process.whole, Process.give_up], ids=["run", "release"])
def test_a_run_goes_on_after_a_kill(killed: Callable[[Process], None]) -> None:
    """A run whose process is killed before any of its requests is completed by another process; so is its release."""
    before = done(landed("a", "b"), script("p", A, Process.claim, Process.prepare, publishes))
    explorer = Explorer([script("p", A, killed)], judge)
    at = explorer.begin(before)
    requests = 0
    while after := [*explorer.following(at)]:
        everything_once(done(at.world, script("q", A, Process.give_up, Process.whole)))
        at, requests = after[0], requests + 1
    assert requests > 15
    everything_once(at.world)


@pytest.mark.slow
def test_two_runs_one_of_them_twice() -> None:
    """Two runs, of which one has two processes, publish and archive each file once."""
    scripts = [script("p", A, Process.whole), script("q", A, Process.whole), script("r", B, Process.whole)]
    assert Explorer(scripts, judge, everything_once, switches=2).explore(landed("a", "b")) > 50_000


def test_three_runs() -> None:
    """Three whole runs, one of them interrupted anywhere, publish and archive each file once."""
    scripts = [script(name, ts, does_one) for name, ts in (("p", A), ("q", B), ("r", C))]
    ended = functools.partial(everything_once, names="abc")
    assert Explorer(scripts, judge, ended, switches=1).explore(landed("a", "b", "c")) > 20_000


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
    Explorer(scripts, judge, pages=pages, faults=3).wander(landed("a", "b", "c"), 30, seed)


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


def test_a_number_that_is_used_again_is_not_read() -> None:
    """A process that has listed an entry, which is deleted then, never reads what another one creates in its place."""

    def reads(door: Door) -> None:
        door.says(in_log(Claims(door).state()))

    scripts = [reads, script("p", A, Process.claim), script("r", B, takes_first, Process.prepare)]
    assert Explorer(scripts, judge).explore(landed("a", "b")) > 5_000


def log_of(*steps: Callable[[Process], object]) -> Live:
    """Return a store with the log of a run that did some steps."""
    store = Live()
    store.world = landed("a", "b")
    for step in steps:
        step(Process(store, "p", A))
    return store


def test_the_log_stays_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few entries are kept, however many there were."""
    monkeypatch.undo()
    store = log_of()
    for n in range(5):
        store.create(f"landing/{n}", b"x")
        Process(store, "p", f"2026010{n + 1}T000000Z").whole()
    kept = [one.name for one in store.list(claims.PREFIX)]
    assert len(store.world.chain) > 20
    assert kept == [f".fanfold/claims/{len(store.world.chain) - n:010}.json" for n in (4, 3, 2, 1, 0)]


def test_two_processes_that_decide_the_same_write_the_same() -> None:
    """An entry holds nothing of the process that wrote it."""
    steps = Process.claim, lambda process: process.log.prepared(A, "x", process.log.state()), publishes
    assert log_of(*steps).world == log_of(*steps).world


def test_a_run_that_is_claimed_again_is_another_one() -> None:
    """Who knows only a run that has ended does not end, and does not give up, what was claimed under its name since."""
    store = log_of(Process.claim)
    log = Claims(store)
    first = log.state().runs[A]
    log.ended(first)
    Process(store, "q", A).claim()
    assert log.released(first) is None
    log.ended(first)
    again = log.state().runs[A]
    assert (again.number > first.number, again.released) == (True, None)


def test_what_is_no_entry_is_not_read() -> None:
    """Other objects beside the entries, such as those that stand for a folder, are left alone."""
    store = log_of(Process.claim)
    for name in ("", "zzz.json", "0000000009.json.bak", "99999999999.json"):
        store.create(claims.PREFIX + name, b"?")
    assert Claims(store).state().number == 1


def test_an_entry_that_was_changed_is_named() -> None:
    """An entry that Fanfold did not write is an error that names it; so is one of a later version."""
    store = log_of()
    store.create(f"{claims.PREFIX}0000000001.json", b"[]")
    with pytest.raises(DataError, match=r"^'\.fanfold/claims/0000000001\.json' was changed \(.+\), expected the State"):
        Claims(store).state()
    store.create(f"{claims.PREFIX}0000000002.json", b'{"format": 99}')
    with pytest.raises(DataError, match=r"0000000002\.json' was written by fanfold .+, in format 99; this"):
        Claims(store).state()


def test_a_listing_that_goes_back_is_not_believed() -> None:
    """A process that has seen an entry never acts on a listing without it."""
    store = log_of(Process.claim)
    log = Claims(store)
    number = log.state().number
    store.world = store.world.without(f"{claims.PREFIX}{number:010}.json")
    with pytest.raises(BusyError, match=r"^'\.fanfold/claims/' was changed by others in each of 100 attempts"):
        log.state()


def test_a_log_that_is_always_changed_ends_a_try() -> None:
    """A process that others overtake again and again gives up, and may be tried again."""
    store = log_of()

    def overtaken(state: State) -> State:
        Claims(store).append(lambda now: now.after(B, None) if now.number == state.number else None)
        return state.after(A, None)

    with pytest.raises(BusyError, match="try again"):
        Claims(store).append(overtaken)
    assert len(store.world.chain) == claims.TRIES


@pytest.mark.slow
def test_processes_in_a_directory(tmp_path: Path) -> None:
    """Real processes, which claim from one directory at once, publish and archive each file once."""
    folder = Folder(tmp_path)
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        for one in [pool.submit(work, folder, NAMES[process::3]) for process in range(3)]:
            one.result()
    check_work(folder, NAMES)


@pytest.mark.slow
def test_processes_in_a_bucket(bucket: Bucket, proxied: Callable[[Bucket], tuple[Bucket, Proxy]]) -> None:
    """On a real store that fails one request in ten, each file is published and archived once."""
    place, proxy = proxied(bucket)
    proxy.fail_at_random(seed=1, share=0.1)
    with ThreadPoolExecutor(3) as pool:
        for one in [pool.submit(work, InBucket(place.objects()), NAMES[process:6:3]) for process in range(3)]:
            one.result()
    check_work(InBucket(bucket.objects()), NAMES[:6])


class Log(RuleBasedStateMachine):
    """Calls in any order, some with what was true before, against a plain model of the runs."""

    states, runs, attempts = Bundle("states"), Bundle("runs"), Bundle("attempts")
    timestamps, processes = st.sampled_from([A, B, C]), st.integers(0, 2)

    def __init__(self) -> None:
        super().__init__()
        self.store = Live()
        self.logs = [Claims(self.store) for _ in range(3)]
        self.model: dict[str, dict[str, Any]] = {}
        self.decided = self.claimed = 0

    def ask(self, call: Callable[[], Any]) -> Any:
        """Return an answer, from a second call where the first one gets none."""
        try:
            return call()
        except ConnectionError:
            return call()

    def changes(self, ts: str, **values: Any) -> None:
        self.model[ts] |= values
        self.decided += "sealed" not in values

    @rule(name=st.sampled_from("abc"), content=st.binary(max_size=1))
    def land(self, name: str, content: bytes) -> None:
        self.store.world = self.store.world.put(f"landing/{name}", content)

    @rule()
    def lose(self) -> None:
        self.store.loses = True

    @precondition(lambda self: self.store.sent)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        _, self.store.world = carried_out(self.store.world, data.draw(st.sampled_from(self.store.sent)))

    @rule(process=processes)
    def restart(self, process: int) -> None:
        self.logs[process] = Claims(self.store)

    @rule(target=states, process=processes)
    def look(self, process: int) -> tuple[State, int]:
        return self.logs[process].state(), self.decided

    @rule(target=runs, ts=timestamps)
    def run(self, ts: str) -> Any:
        run = self.logs[0].state().runs.get(ts)
        return (run, self.model[ts]["claimed"]) if run else multiple()

    @rule(process=processes, ts=timestamps, most=st.integers(1, 3))
    def claim(self, process: int, ts: str, most: int) -> None:
        taken = {file for run in self.model.values() for file in run["files"]}
        free = [one for one in self.store.list("landing/") if (one.name, one.e_tag) not in taken][:most]
        chosen = {one.name: 1 + place % 2 for place, one in enumerate(free)}
        run = self.ask(
            lambda: self.logs[process].claim(ts, SPEC, lambda: self.store.list("landing/"), lambda _: chosen)
        )
        if ts not in self.model and free:
            self.claimed += 1
            files = {(one.name, one.e_tag): chosen[one.name] for one in free}
            self.model[ts] = {"claimed": self.claimed, "files": files, "spec": SPEC}
            self.changes(ts, attempt=None, released=None)
            self.model[ts]["sealed"] = []
        assert (run is not None) == (ts in self.model)

    @rule(target=attempts)
    def name(self) -> str:
        return f"attempt {len(self.store.sent)}"

    @rule(process=processes, ts=timestamps, attempt=attempts, based_on=states)
    def prepared(self, process: int, ts: str, attempt: str, based_on: tuple[State, int]) -> None:
        answer = self.ask(lambda: self.logs[process].prepared(ts, attempt, based_on[0]))
        if self.is_open(ts) and based_on[1] == self.decided and self.model[ts]["attempt"] != attempt:
            self.changes(ts, attempt=attempt)
        assert answer == (ts in self.model and self.model[ts]["attempt"] == attempt)

    @rule(process=processes, ts=timestamps, spec=st.sampled_from([SPEC, OTHER]), based_on=states)
    def renewed(self, process: int, ts: str, spec: dict[str, Any], based_on: tuple[State, int]) -> None:
        answer = self.ask(lambda: self.logs[process].renewed(ts, spec, based_on[0]))
        renewed = {"attempt": None, "spec": spec}
        if self.is_open(ts) and based_on[1] == self.decided and self.model[ts] != self.model[ts] | renewed:
            self.changes(ts, **renewed)
        assert answer == (ts in self.model and self.model[ts] == self.model[ts] | renewed)

    @rule(process=processes, ts=timestamps, attempt=attempts, n=st.integers(1, 2))
    def sealed(self, process: int, ts: str, attempt: str, n: int) -> None:
        answer = self.ask(lambda: self.logs[process].sealed(ts, attempt, n))
        run = self.model.get(ts, {"attempt": None})
        if run["attempt"] == attempt and run["released"] is None and n not in run["sealed"]:
            self.changes(ts, sealed=sorted([*run["sealed"], n]))
        assert answer == (run["attempt"] == attempt and n in self.model[ts]["sealed"])

    @rule(process=processes, old=runs)
    def released(self, process: int, old: tuple[Run, int]) -> None:
        answer = self.ask(lambda: self.logs[process].released(old[0]))
        run = self.model.get(old[0].ts, {"claimed": 0})
        if run["claimed"] != old[1]:
            assert answer is None
            return
        if run["released"] is None:
            self.changes(old[0].ts, released=sorted(set(run["files"].values()) - set(run["sealed"])))
        assert answer == run["released"]

    @rule(process=processes, old=runs)
    def ended(self, process: int, old: tuple[Run, int]) -> None:
        self.ask(lambda: self.logs[process].ended(old[0]))
        if self.model.get(old[0].ts, {"claimed": 0})["claimed"] == old[1]:
            del self.model[old[0].ts]
            self.decided += 1

    def is_open(self, ts: str) -> bool:
        return ts in self.model and not self.model[ts]["sealed"] and self.model[ts]["released"] is None

    @invariant()
    def agrees(self) -> None:
        """The log says of each run what the model says."""
        state = Claims(self.store).state()
        assert {(one.name, one.e_tag) for run in state.runs.values() for file in run.files for one in [file]} == {
            file for run in self.model.values() for file in run["files"]
        }
        for ts, run in self.model.items():
            now = state.runs[ts]
            assert {(file.name, file.e_tag): file.subdir for file in now.files} == run["files"]
            assert {key: getattr(now, key) for key in run if key not in {"files", "claimed"}} == {
                key: value for key, value in run.items() if key not in {"files", "claimed"}
            }
        assert state.runs.keys() == self.model.keys()


def test_calls_in_any_order() -> None:
    """Calls in any order, with what was true before, lost answers and repeated requests, do what a plain model does."""
    run_state_machine_as_test(Log, settings=settings(max_examples=60, stateful_step_count=40))
