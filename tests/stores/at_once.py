"""Three runs of a feed at once, on three machines, round after round: each file is in exactly one output."""

import csv
import io
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from fanfold import audit, mirrors
from fanfold.feed import runs
from tests.conftest import new_feed
from tests.stores.places import Machine, Place, copied, ended, in_folder, started
from tests.stores.servers import VERDICT

MACHINES = 3
TRY_AGAIN = 3
# What no retry mends would be tried for ever.
TRIES = 30
FILES = 7
PAUSE_SECONDS = 0.2
TOLD_EVERY = 10


class AtOnce:
    """A feed in one place, and what three machines make of it."""

    def __init__(self, store: str, place: Place, machines: list[Machine], seed: int) -> None:
        """Land nothing yet."""
        self._store, self._place, self._machines, self._chance = store, place, machines, random.Random(seed)
        self.differences, self.told = list[str](), Counter[str]()
        self._landed = dict[str, bytes]()

    def round(self, number: int) -> None:
        """Land some files, one of them twice, let all machines run at once, each until it is done, and count."""
        new = {f"{number:03}-{n}.json": _content(f"{number}-{n}") for n in range(FILES)}
        again = self._chance.choice([*new, *self._landed])
        new[f"again/{number:03}.json"] = (new | self._landed)[again]
        self._landed |= new
        self._place.land(new)
        self._until_done(self._machines)
        while self._left():
            # Each takes some, and what all have left is for the next.
            before = self._left()
            self._until_done(self._machines[:1])
            if self._left() == before:
                self._differ(f"round {number}: nobody takes {before}")
                return
        self._count(number)

    def _until_done(self, machines: list[Machine]) -> None:
        todo = dict.fromkeys(machines, 0)
        while todo:
            begun = {machine: machine.start(self._place, "run") for machine in todo}
            for machine, process in begun.items():
                code, told = ended(process)
                todo[machine] += 1
                self.told["done" if code == 0 else _reason(told)] += 1
                if code not in {0, TRY_AGAIN} or todo[machine] == TRIES:
                    self._differ(f"a run ended with {code}, try {todo[machine]}: {told}")
                if code != TRY_AGAIN or todo[machine] == TRIES:
                    del todo[machine]
            time.sleep(PAUSE_SECONDS * self._chance.random() if todo else 0)

    def _left(self) -> list[str]:
        return [name for name in self._place.tree() if name.startswith(("transactions/", "staging/"))]

    def _count(self, number: int) -> None:
        """Check that each file is in one run, and that each record is in one row."""
        tree = self._place.tree()
        manifests = [json.loads(content) for name, content in tree.items() if name.startswith(".fanfold/runs/")]
        files = Counter(file["name"] for one in manifests for file in one["files"])
        rows = Counter(
            row["id"]
            for name, content in tree.items()
            if name.startswith("denormalized/") and name.endswith(".csv")
            for row in csv.DictReader(io.StringIO(content.decode()))
        )
        records = {record["id"] for content in self._landed.values() for record in json.loads(content)}
        for what, found, expected in (("file", files, self._landed.keys()), ("record", rows, records)):
            if found != dict.fromkeys(expected, 1):
                wrong = {name: found[name] for name in {*found, *expected} if found[name] != 1 or name not in expected}
                self._differ(f"round {number}: expected each {what} once, found {wrong}")

    def end(self) -> None:
        """Have the auditor account for every value of every run."""
        with mock.patch.dict(os.environ, self._place.environ), mirrors.working():
            feed = runs.open_feed(self._place.spec_path)
            for ts in runs.complete(feed):
                findings = audit.audit(*runs.open_complete(feed, ts)).findings
                if findings:
                    self._differ(f"the auditor finds in run {ts}: {findings}")

    def _differ(self, what: str) -> None:
        self.differences.append(f"{self._store}: {what}")


def _content(name: str) -> bytes:
    items = [{"sku": "a", "qty": 1}]
    return json.dumps([{"id": f"{name}-{n}", "customer_id": "1", "items": items} for n in range(3)]).encode()


def _reason(told: str) -> str:
    """Return what was said at last, without times, numbers and places."""
    last = told.strip().splitlines()[-1] if told.strip() else "nothing"
    return re.sub(r"'[^']*'|\S+://\S+|\d{8}T\d{6}(\.\d+)?Z|\d+", "…", last)


def at_once(store: str, root: Path, rounds: int, seed: int, say: Callable[[str], object]) -> list[str]:
    """Do rounds in one store, and return what is wrong."""
    began = time.monotonic()
    folder = in_folder(
        new_feed(root, folder=f"at-once-{store}", subdirs=2, input={"duplicates": "archive", "max_files": 3})
    )
    with started(store, root) as bucket:
        place = copied(folder, root / "at-once", bucket)
        if bucket:
            place.put(dict([VERDICT]))
        work = AtOnce(store, place, [Machine.fresh(root) for _ in range(MACHINES)], seed)
        for number in range(1, rounds + 1):
            work.round(number)
            if number % TOLD_EVERY == 0:
                say(f"{store}: {number} of {rounds} rounds, {len(work.differences)} differences")
        work.end()
    found = work.differences
    say(f"{store}: {rounds} rounds of {MACHINES} runs: {len(found)} differences, {time.monotonic() - began:.0f} s")
    for told, times in work.told.most_common():
        say(f"  {times} times: {told}")
    for one in found:
        say(f"  {one}")
    return found
