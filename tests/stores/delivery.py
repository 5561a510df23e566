"""Deliveries of a feed that has everything: all formats, archives, bad records, bad files, duplicates, sub-folders."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zstandard

from tests.archives import packed, parquet
from tests.conftest import FeedDir, new_feed

Record = dict[str, Any]
RECORDS = 12
# Larger than what comes through memory: the store copies it.
LARGE_RECORDS, LARGE_TEXT = 500, "a long text, " * 700
# What good files of a run before end in, some of which are delivered again.
GOOD = (".jsonl", ".csv", ".tar")
SKUS = "abcdefgh"
CUSTOMERS = "customer_id,name\n" + "".join(f"{n:03},Name {n}\n" for n in range(40))
PRODUCTS = "sku,name,group\n" + "".join(f"{sku},Product {sku},{n % 3}\n" for n, sku in enumerate(SKUS))
SPEC: dict[str, Any] = {
    "subdirs": 4,
    "merge": [
        {"reference": "customers.csv", "key": "customer_id", "into": "customer"},
        {"reference": "products.csv", "key": {"record": "items.sku", "reference": "sku"}, "into": "product"},
    ],
    "denormalize": {},
    "tables": {
        "orders": {},
        "items": {"explode": ["items"], "keys": ["id"]},
        "payments": {"explode": ["payments"], "keys": ["id"]},
    },
    "input": {"duplicates": "archive"},
    "quarantine": {"max_bad_records_percent": 100, "max_bad_files_percent": 100},
}
# Each writes and archives in another way.
FORMS: dict[str, dict[str, Any]] = {
    "CSV": {},
    "Parquet": {"output": {"format": "parquet", "lineage": True}, "archive": {"compression": "zstd"}},
}


def make(root: Path, **keys: Any) -> FeedDir:
    """Make the feed in a folder, with its references, and nothing in landing; `keys` go into its spec."""
    feed = new_feed(root, customers=CUSTOMERS, **{**SPEC, **keys})
    (feed.data_dir / "products.csv").write_text(PRODUCTS)
    return feed


def deliveries(files: int, later: int) -> list[dict[str, bytes]]:
    """Return three deliveries, by name: one of so many files, and two later ones, which repeat files of all before."""
    chance, made = random.Random(files), list[dict[str, bytes]]()
    for number, many in enumerate((files, later, later)):
        before = [content for one in made for name, content in one.items() if name.endswith(GOOD)]
        made.append({name: content for n in range(many) for name, content in [_file(number, n, chance, before)]})
        large = [{**record, "note": LARGE_TEXT} for record in _records(number, many, LARGE_RECORDS, chance)]
        made[-1][f"large/{number}.json"] = _array(large)
    return made


def _file(number: int, n: int, chance: random.Random, before: list[bytes]) -> tuple[str, bytes]:
    """Return the n-th file of a delivery: each kind in turn."""
    kinds = [*KINDS, *AGAIN]
    kind = kinds[n % len(kinds)]
    folder = ("", "north/", "north/é ü/", "50%+1 a&b/")[n // len(kinds) % 4]
    name = f"{folder}{number}-{n:04}"
    records = _records(number, n, RECORDS, chance)
    if kind not in AGAIN:
        return f"{name}{kind}", KINDS[kind](records)
    # In the first delivery, the same bytes twice; later, those of a run before.
    content = chance.choice(before) if before else _array(_records(number, n % 3, 3, random.Random(n % 3)))
    return f"{name}{kind}", content


def _records(number: int, n: int, many: int, chance: random.Random) -> list[Record]:
    return [
        {
            "id": f"{number}-{n}-{k}",
            "customer_id": f"{chance.randrange(44):03}",
            "items": [
                {"sku": chance.choice(SKUS), "qty": chance.randint(1, 9), "price": round(chance.uniform(0, 99), 2)}
                for _ in range(chance.randrange(4))
            ],
            "payments": [{"method": chance.choice(["card", "cash"])} for _ in range(chance.randrange(3))],
            "note": chance.choice([None, "", 'a "quoted", é note']),
        }
        for k in range(many)
    ]


def _array(records: list[Record]) -> bytes:
    return json.dumps(records).encode()


def _lines(records: list[Record]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def _with_bad_lines(records: list[Record]) -> bytes:
    return _lines(records[:5]) + b'{"id": "bad",}\n{"id": "torn", "items": [\n' + _lines(records[5:])


def _csv(records: list[Record]) -> bytes:
    return "".join(["id,customer_id\n", *(f"{one['id']},{one['customer_id']}\n" for one in records)]).encode()


def _members(records: list[Record]) -> list[tuple[str, bytes]]:
    return [
        ("a/array.json", _array(records[:3])),
        ("a/table.csv", _csv(records[3:5])),
        ("lines.jsonl.gz", gzip.compress(_with_bad_lines(records[5:8]), mtime=0)),
        ("rows.parquet", parquet(records[8:])),
        ("readme.txt", b"no records"),
        ("torn.json", b'[{"id": '),
    ]


def _zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


KINDS: dict[str, Callable[[list[Record]], bytes]] = {
    ".json": _array,
    ".jsonl": _lines,
    ".ndjson": _with_bad_lines,
    ".json.gz": lambda records: gzip.compress(_array(records), mtime=0),
    ".ndjson.zst": lambda records: _zstd(_lines(records)),
    ".csv": _csv,
    ".csv.gz": lambda records: gzip.compress(_csv(records), mtime=0),
    ".CSV.zst": lambda records: _zstd(_csv(records) + b"too,many,fields\n"),
    ".parquet": parquet,
    ".zip": lambda records: packed(".zip", _members(records)),
    ".tar": lambda records: packed(".tar", _members(records)),
    ".tar.gz": lambda records: packed(".tar.gz", _members(records)),
    ".tar.zst": lambda records: packed(".tar.zst", _members(records)),
    # What no record can be read of, and what is cut off.
    ".bad.json": lambda records: b"no JSON: " + records[0]["id"].encode(),
    ".bad.parquet": lambda records: parquet(records)[:-9],
    ".torn.json.gz": lambda records: gzip.compress(_lines(records), mtime=0)[:-20],
    ".torn.zip": lambda records: packed(".zip", _members(records))[:-30],
    ".empty.json": lambda _: b"",
}
AGAIN = (".again.json", ".again.jsonl")
