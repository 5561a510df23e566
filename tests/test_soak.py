"""A live feed: three producers write into landing while `fanfold run` is called again and again.

SOAK_SECONDS=600 pytest tests/test_soak.py makes it longer, SOAK_SEED=2 another one. What is expected is told by plain
Python, from what the producers remember.
"""

import collections
import csv
import dataclasses
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FeedDir, MakeFeed
from tests.test_cli import fanfold

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
SEED = int(os.environ.get("SOAK_SEED", "1"))
SETTLE_SECONDS = 0.3
PRODUCERS = 3
# One record in so many is of a kind that could stop a feed.
POISON_EVERY = 1000
POISON: list[dict[str, Any]] = [
    {"ID": 9},
    {"items_sku": 1, "items": [{"sku": "x"}]},
    {"items": [1]},
    {"customer_name": "x"},
]


@dataclasses.dataclass
class Producer:
    """Writes files into landing until it is told to stop, and remembers the records of each."""

    feed: FeedDir
    number: int
    stop: threading.Event
    written: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)

    def run(self) -> None:
        """Deliver, rest for longer than a file takes to settle, deliver again."""
        chance = random.Random(SEED * PRODUCERS + self.number)
        while not self.stop.is_set():
            records = self.records(chance)
            self.deliver(f"p{self.number}-{len(self.written):05d}.json", records, chance)
            if chance.random() < 0.1:
                self.deliver(f"again/p{self.number}-{len(self.written):05d}.json", records, chance)
            self.stop.wait(chance.uniform(0, 4) * SETTLE_SECONDS)

    def deliver(self, name: str, records: list[dict[str, Any]], chance: random.Random) -> None:
        """Write a file, some in two parts with a long pause between, under a name that says that more will come."""
        text, path = json.dumps(records), self.feed.landing_dir / name
        part = path.with_name(f"{path.name}.part")
        part.parent.mkdir(exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            file.write(text[: len(text) // 2])
            if chance.random() < 0.3:
                file.flush()
                time.sleep(SETTLE_SECONDS * 1.5)
            file.write(text[len(text) // 2 :])
        self.written[name] = records
        part.rename(path)

    def records(self, chance: random.Random) -> list[dict[str, Any]]:
        """Make the records of a file: most deliveries are whole, some lack a field, some records are poison."""
        lacking = chance.choice([None, None, None, None, None, "items", "customer_id"])
        records = []
        for n in range(chance.randint(1, 120)):
            items = [{"sku": chance.choice("abc"), "qty": chance.randint(1, 9)} for _ in range(chance.randint(0, 3))]
            record: dict[str, Any] = {"id": f"{self.number}-{len(self.written)}-{n}"}
            record |= {"customer_id": chance.choice(["1", "2", "007", "9"]), "items": items}
            record.pop(lacking or "", None)
            if chance.randrange(POISON_EVERY) == 0:
                record |= chance.choice(POISON)
            records.append(record)
        return records


def published(feed: FeedDir) -> collections.Counter[str]:
    """Count the rows of each record in all tables that belong to a complete run."""
    found: collections.Counter[str] = collections.Counter()
    for path in feed.data_dir.glob("denormalized/*/*.csv"):
        with path.open(encoding="utf-8", newline="") as table:
            found.update(row["id"] for row in csv.DictReader(table))
    return found


def quarantined(feed: FeedDir) -> set[str]:
    lists = feed.data_dir.glob("quarantine/*/*/records.jsonl")
    return {json.loads(json.loads(line)["raw"])["id"] for path in lists for line in path.read_bytes().splitlines()}


def lying_in(folders: Iterator[Path]) -> set[str]:
    return {str(path.relative_to(folder)) for folder in folders for path in folder.rglob("*.json")}


def failures(feed: FeedDir) -> dict[str, list[str]]:
    """Return what `status` says of the unfinished runs: for each why it failed."""
    listed = json.loads(fanfold("status", feed.spec_path, "--json").stdout)
    return {one["ts"]: [why["message"] for why in one["failed"]] for one in listed if one["state"] == "unfinished"}


def check(feed: FeedDir, written: dict[str, list[dict[str, Any]]]) -> None:
    """Check each record: all its rows are published, once; or it is in quarantine, or in a run that says why not."""
    rows, bad, stuck = published(feed), quarantined(feed), failures(feed)
    assert all(stuck.values()), stuck
    staged = lying_in(
        folder for ts in stuck for folder in (feed.data_dir / "staging" / ts).iterdir() if folder.name.isdecimal()
    )
    files = lying_in(iter([*feed.data_dir.glob("quarantine/*/[0-9]*")]))
    places: dict[str, set[str]] = collections.defaultdict(set)
    expected = {}
    for name, records in written.items():
        for record in records:
            expected[record["id"]] = max(1, len(record.get("items", [])))
            places[record["id"]].add(name)
    assert rows.keys() <= expected.keys()
    for record, wanted in expected.items():
        waits = places[record] & (staged | files)
        assert rows[record] == wanted or (rows[record] == 0 and (waits or record in bad)), (record, rows[record])
        assert not (rows[record] and record in bad), record


def test_a_live_feed_loses_nothing_and_runs_on(make_feed: MakeFeed) -> None:
    """Each record that can be read is published once, `status` explains the rest, and the feed runs on to the end."""
    feed = make_feed(subdirs=3, input={"settle_seconds": SETTLE_SECONDS, "duplicates": "archive"})
    stop, ended = threading.Event(), time.monotonic() + SECONDS
    producers = [Producer(feed, number, stop) for number in range(PRODUCERS)]
    threads = [threading.Thread(target=producer.run) for producer in producers]
    for thread in threads:
        thread.start()
    codes: collections.Counter[int] = collections.Counter()
    told: list[str] = []
    try:
        while time.monotonic() < ended:
            done = fanfold("run", feed.spec_path, "--json")
            codes[done.returncode] += 1
            told += [line for line in done.stderr.splitlines() if line.startswith("error (")]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert told == []
    assert codes.keys() <= {0, 1, 2}
    written = {name: records for producer in producers for name, records in producer.written.items()}
    last = [{"id": "last", "customer_id": "1", "items": [{"sku": "a", "qty": 1}] * 2}]
    stuck = failures(feed)
    # A run waits for a person where its delivery lacks what the spec names, or too much of it is bad.
    waits_for = ("is in no record", "quarantine.max_bad_records_percent")
    assert all(any(reason in why for reason in waits_for) for reasons in stuck.values() for why in reasons), stuck
    for ts in stuck:
        assert fanfold("release", feed.spec_path, ts).returncode == 0
    while fanfold("run", feed.spec_path).returncode:
        assert failures(feed)
    feed.land("last.json", last)
    written["last.json"] = last
    assert fanfold("run", feed.spec_path).returncode == 0
    assert published(feed)["last"] == 2
    assert not lying_in(iter([feed.landing_dir]))
    check(feed, written)
    for path in sorted(feed.data_dir.glob(".fanfold/runs/*.json")):
        done = fanfold("verify", feed.spec_path, path.stem, "--audit")
        assert done.returncode == 0, done.stdout
