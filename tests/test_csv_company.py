"""A CSV file is read alike in whatever company: a quote that is left open costs its own record, and no other."""

import json
import random
from typing import Any

import pytest

from tests.conftest import TS, FeedDir, MakeFeed

INPUT = {"fields": {"id": "VARCHAR", "name": "VARCHAR"}}
KEYS: dict[str, Any] = {
    "merge": [],
    "denormalize": {},
    "subdirs": 1,
    "quarantine": {"max_bad_records_percent": 100},
    "input": INPUT,
}


def ids(feed: FeedDir) -> list[str]:
    return sorted(line.split(",")[0] for line in feed.read(1).splitlines()[1:])


def faults(feed: FeedDir) -> list[tuple[str, str, int]]:
    listed = feed.data_dir / f"quarantine/{TS}/1/records.jsonl"
    lines = listed.read_text().splitlines() if listed.exists() else []
    return sorted((one["file"], one["code"], one["record"]) for one in map(json.loads, lines))


def test_an_open_quote_in_one_of_several_files_costs_its_record(make_feed: MakeFeed) -> None:
    """Of three files, one with a quote that is left open, every other record is published."""
    feed = make_feed(
        {"a.csv": 'id,name\n1,Ann\n2,"Bob\n3,Cy\n4,Di\n', "b.csv": "id,name\n5,Eve\n", "c.csv": "id,name\n6,Fay\n"},
        **KEYS,
    )
    summary = feed.run()
    assert ids(feed) == ["1", "3", "4", "5", "6"]
    assert (summary.records_in, summary.records_quarantined) == (6, 1)
    (fault,) = faults(feed)
    assert fault[::2] == ("a.csv", 2)


@pytest.mark.slow
@pytest.mark.parametrize("schema", ["infer", "declared"])
@pytest.mark.parametrize("seed", range(6))
def test_a_file_is_read_alike_alone_and_beside_others(make_feed: MakeFeed, seed: int, schema: str) -> None:
    """Files with open quotes, ragged and blank lines give the rows and faults that each has alone."""
    chance = random.Random(seed)
    fields = ["Ann", '"Bob"', '"C, D"', '"E\nF"', ' "G"', '"H', 'I"J', "", '""', "K\r", '"L"x', '"M""N"']
    keys = KEYS | {"input": {**INPUT, "schema": schema}}
    files = {}
    for n in range(chance.randint(3, 9)):
        lines = [
            f"{n}-{k},{chance.choice(fields) if chance.random() < 0.2 else 'x'}" for k in range(chance.randint(1, 9))
        ]
        lines += [f"{n}-r,1,2"] * (chance.random() < 0.2) + [""] * (chance.random() < 0.3)
        files[f"{n}.csv"] = "id,name\n" + "\n".join(lines) + "\n" * (chance.random() < 0.7)
    together = make_feed(files, **keys)
    together.run()
    rows, found = [], []
    for name, content in files.items():
        alone = make_feed({name: content}, folder=name, **keys)
        summary = alone.run()
        rows += ids(alone) if summary.rows_out else []
        found += faults(alone)
    assert ids(together) == sorted(rows)
    assert faults(together) == sorted(found)
