"""Every request that a command makes in a bucket: killed with it, or failing, a second call ends in a folder's tree."""

import contextlib
import hashlib
import json
import queue
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from tests.conftest import PATIENCE_SECONDS, TS
from tests.stores.proxy import WAYS
from tests.torture.buckets import Buckets, Feed, tree
from tests.torture.matrix import SIGKILLED, TRY_AGAIN, WRONG, Result, held_in
from tests.torture.runs import Command
from tests.torture.scenes import COMMITTED, PUBLISHED, RELEASE, Scene, opened

BEFORE, AFTER = "killed before", "killed after"
DISTURBED: tuple[str | int, ...] = (BEFORE, AFTER, *WAYS)
FAILING_SHARE = 0.2
One = TypeVar("One")


class Case(NamedTuple):
    """The number of a request, and what becomes of it."""

    at: int
    way: str | int


class BucketMatrix:
    """A scene in a bucket, and the times that its command is disturbed.

    Its feed is made anew; `expected` are the trees, with hashes, that come of it in a folder.
    """

    def __init__(self, scene: Scene, expected: Mapping[str, Mapping[str, str]], stores: list[Buckets]) -> None:
        """Do the command undisturbed, and count its requests; so many calls are made at a time as there are stores."""
        self._scene, self._expected, self._jobs = scene, expected, len(stores)
        self._stores: queue.SimpleQueue[Buckets] = queue.SimpleQueue()
        for store in stores:
            self._stores.put(store)
        with self._feed() as (store, feed):
            before = store.proxy.requests.total()
            self._is_well(store.run(feed, scene.command), scene.command)
            self.requests = store.proxy.requests.total() - before
            self._do(store, feed, *scene.then)
            self._rows = self._held(feed)
            self._is_tree(feed, "before")

    def cases(self, number: int, seed: int) -> list[Case]:
        """Return so many cases, by chance: all, where there are no more."""
        found = [Case(at, way) for at in range(1, self.requests + 1) for way in DISTURBED]
        return sorted(random.Random(seed).sample(found, min(number, len(found))), key=repr)

    def disturb(self, cases: Iterable[Case]) -> Result:
        """Kill the command with a request, or let that fail; and call it again."""

        def do(store: Buckets, feed: Feed, case: Case) -> None:
            is_killed = case.way in {BEFORE, AFTER}
            if is_killed:
                store.kill_at(case.at, carried_out=case.way == AFTER)
            else:
                store.proxy.fail(case.at, case.way)
            code, told = store.run(feed, self._scene.command)
            store.proxy.succeed()
            # With parallel requests it may have a few less than before: then there is no last one.
            assert code == 0 or (code == SIGKILLED and is_killed), f"it ends with {code}: {told}"
            self._goes_on(store, feed)

        return self._each(cases, do)

    def fail_at_random(self, seeds: Iterable[int]) -> Result:
        """Let a share of all requests fail, in all ways; and call it again."""

        def do(store: Buckets, feed: Feed, seed: int) -> None:
            store.proxy.fail_at_random(seed, FAILING_SHARE)
            code, told = store.run(feed, self._scene.command)
            store.proxy.succeed()
            assert code in {0, TRY_AGAIN}, f"it ends with {code}: {told}"
            self._goes_on(store, feed)

        return self._each(seeds, do)

    def interleave(self, points: Iterable[int], between: Command) -> Result:
        """Do another command at each of these requests, all of it: the same rows and originals."""
        with self._feed() as (store, feed):
            self._do(store, feed, between, self._scene.command, *self._scene.then)
            expected = self._held(feed)

        def do(store: Buckets, feed: Feed, at: int) -> None:
            others: list[int | None] = []

            def other() -> None:
                process = store.start(feed, between, "between")
                process.join(PATIENCE_SECONDS)
                others.append(process.exitcode)

            store.proxy.before["delayed"] = other
            store.proxy.fail(at, "delayed")
            code, told = store.run(feed, self._scene.command)
            store.proxy.succeed()
            assert {*others} <= {0}, feed.spec.with_name("between").read_text()
            assert code in {0, TRY_AGAIN}, f"it ends with {code}: {told}"
            self._do(store, feed, self._scene.command, *self._scene.then)
            found = self._held(feed)
            assert found == expected, f"lost: {expected - found}, too many: {found - expected}"

        return self._each(points, do)

    @contextlib.contextmanager
    def _feed(self) -> Iterator[tuple[Buckets, Feed]]:
        """Copy the feed into the bucket; where a run of it was killed, one is killed there."""
        store = self._stores.get()
        try:
            feed = store.copy(self._scene.spec)
            if self._scene.killed:
                # What was merged stays with the process that does all steps.
                name = self._scene.killed.replace("merged.records", "schema.json").replace("/.", "/")
                store.kill_at_name(name.removesuffix(".tmp"))
                assert store.run(feed)[0] == SIGKILLED
                store.proxy.succeed()
            yield store, feed
        finally:
            store.proxy.succeed()
            self._stores.put(store)

    def _each(self, cases: Iterable[One], do: Callable[[Buckets, Feed, One], None]) -> Result:
        def one(case: One) -> str | None:
            try:
                with self._feed() as (store, feed):
                    do(store, feed, case)
            except AssertionError as wrong:
                return f"{case} in {feed.url}: {wrong}"
            return None

        listed = list(cases)
        with ThreadPoolExecutor(self._jobs) as pool:
            return Result(len(listed), [found for found in pool.map(one, listed) if found])

    def _goes_on(self, store: Buckets, feed: Feed) -> None:
        scene, by = self._scene, "before"
        if scene.change:
            by = self._state(feed)
            self._change(store, feed)
            if by == "kept" and scene.change.refused:
                code, told = store.run(feed, scene.command)
                by = "now"
                assert code == WRONG, f"what is refused ends with {code}: {told}"
                self._do(store, feed, RELEASE)
        code, told = store.run(feed, scene.command)
        assert code in scene.codes, f"{' '.join(scene.command)} ends with {code}: {told}"
        self._do(store, feed, *scene.then)
        self._is_tree(feed, by)

    def _state(self, feed: Feed) -> str:
        """Say by what a run goes on, as `Change.of` does: by the log of claims."""
        found = feed.tree(own=True)
        entries = sorted(name for name in found if name.startswith(".fanfold/claims/"))
        run = json.loads(found[entries[-1]])["runs"].get(TS) if entries else None
        assert self._scene.change
        frozen = "sealed" if self._scene.change.frozen == PUBLISHED else "attempt"
        if COMMITTED in found or (run and run[frozen]):
            return "before"
        return "kept" if run else "now"

    def _change(self, store: Buckets, feed: Feed) -> None:
        """Make the change in a copy of the folder, and copy what it has changed."""
        assert self._scene.change
        copied = Path(shutil.copytree(self._scene.spec.parent, feed.spec.with_name("changed"))) / feed.spec.name
        before = tree(copied.with_name("data"))
        self._scene.change.made(opened(copied))
        store.write_spec(feed, copied)
        for name, content in tree(copied.with_name("data")).items():
            if before.get(name) != content:
                feed.put(name, content)

    def _do(self, store: Buckets, feed: Feed, *commands: Command) -> None:
        for command in commands:
            self._is_well(store.run(feed, command), command)

    @staticmethod
    def _is_well(ended: tuple[int, str], command: Command) -> None:
        assert ended[0] == 0, f"{' '.join(command)} ends with {ended[0]}: {ended[1]}"

    def _is_tree(self, feed: Feed, by: str) -> None:
        if self._scene.killed and self._scene.command == RELEASE:
            # Groups run at the same time in a bucket: which of them is given up is by chance, what comes of all is not.
            held = self._held(feed)
            assert held == self._rows, f"lost: {self._rows - held}, too many: {held - self._rows}"
            return
        found = {name: hashlib.sha256(content).hexdigest() for name, content in feed.tree().items()}
        expected = {name: digest for name, digest in self._expected[by].items() if digest}
        names = [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
        assert not names, f"another tree, the first of {len(names)} differences to {by!r} is {names[0]!r}"

    def _held(self, feed: Feed) -> Counter[str]:
        folder = feed.spec.with_name("held")
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in feed.tree().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return held_in(folder)
