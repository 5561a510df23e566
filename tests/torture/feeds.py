"""Feeds that have every kind of step, small enough to be run a thousand times.

One task at a time: the k-th change is the same in every run.
"""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import duckdb

from tests.conftest import FeedDir, new_feed

ORDERS: list[dict[str, Any]] = [
    {
        "id": n,
        "customer_id": str(n % 3),
        "items": [{"sku": "ab"[k % 2], "qty": n} for k in range(n % 3)],
        "payments": [{"amount": f"{n}.50"}] * (n % 2),
    }
    for n in range(6)
]
BOTH_REFERENCES = [
    {"reference": "customers.csv", "key": "customer_id", "into": "customer"},
    {"reference": "products.csv", "key": {"record": "items.sku", "reference": "sku"}, "into": "product"},
]
SHOP: dict[str, Any] = {
    "subdirs": 2,
    "concurrent_tasks": 1,
    "merge": BOTH_REFERENCES,
    "denormalize": {},
    "tables": {"orders": {}, "items": {"explode": ["items"], "keys": ["id"]}},
    "quarantine": {"max_bad_records_percent": 60, "max_bad_files_percent": 100},
    "input": {"duplicates": "archive"},
}


def zipped(members: dict[str, str | bytes]) -> bytes:
    """Make a zip."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


def tarred(members: dict[str, str | bytes]) -> bytes:
    """Make a tar, with a link beside its members."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in members.items():
            raw, info = content.encode() if isinstance(content, str) else content, tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
        link = tarfile.TarInfo("link.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return made.getvalue()


def make_feed(root: Path, **keys: Any) -> Path:
    """Make a feed with every kind of step: folders, compression, a reference, bad records, a bad file, a duplicate.

    `keys` go into its spec.
    """
    fixed = {"subdirs": 4, "concurrent_tasks": 1, "quarantine": {"max_bad_records_percent": 50}}
    made = new_feed(root, **{**fixed, "input": {"duplicates": "archive"}, **keys})
    records = [{"id": n, "customer_id": str(n % 3), "items": [{"sku": "a", "qty": n}] * (n % 3)} for n in range(6)]
    made.land("a.json", records)
    made.land("sub/b.json", records[:3])
    made.land("c.json", [])
    made.land("d.json.gz", gzip.compress(json.dumps(records).encode(), mtime=0))
    made.land("again/a.json", records)
    made.land("sub/f.json", '{"id": 7, "customer_id": "1", "price": 0.12345678901234567890}\n{"id": 8,}\n{"id": 9}\n')
    made.land("g.json", "no JSON")
    made.land("h.csv", "id,customer_id\n10,007\n11,1\n")
    made.land("k.zip", zipped({"b.json": '[{"id": 13}]', "a.csv": "id,customer_id\n12,1\n", "c.json": "{"}))
    with duckdb.connect() as connection:
        table = "SELECT * FROM (VALUES (20, '1'), (21, '2')) AS records(id, customer_id)"
        connection.execute(f"COPY ({table}) TO '{made.landing_dir}/i.parquet'")
    return made.spec_path


def make_small_shop(root: Path, **keys: Any) -> FeedDir:
    """Make a feed of two tables and two references, one keyed in the elements; `keys` go into its spec."""
    made = new_feed(root, **{**SHOP, **keys})
    (made.data_dir / "products.csv").write_text("sku,name\na,Apple\n")
    made.land("a.json", ORDERS)
    made.land("b.json.gz", ORDERS[1:])
    made.land("c.zip", zipped({"bad.json": "{", "good.json": json.dumps(ORDERS[2:])}))
    return made


def make_shop(root: Path) -> Path:
    """Make a shop with archives whole and broken beside plain files, in folders that name columns, for two runs."""
    keys = {"max_files": 6, "path_columns": True, "duplicates": "archive"}
    archive = {"name": "{date}-{name}_{ts}", "compression": "gzip"}
    made = make_small_shop(root, input=keys, archive=archive)
    members: dict[str, str | bytes] = {
        "c.csv": "id,customer_id\n30,1\n31,007\n",
        "inner.zip": zipped({"a.json": "[]"}),
        "plain.json": json.dumps(ORDERS),
        "text.txt": "no records",
        "torn.json": '[{"id": 1}, {"id":',
        "whole.jsonl.gz": gzip.compress(b'{"id": 40, "items": [{"sku": "b"}]}\n{"id": 41,}\n', mtime=0),
    }
    made.land("day=2026-01-01/d.tar", tarred(members))
    made.land("day=2026-01-01/e.zip", zipped(members)[:-30])
    made.land("day=2026-01-02/f.tar.gz", gzip.compress(tarred(members), mtime=0))
    made.land("day=2026-01-02/g.tar.gz", gzip.compress(tarred(members), mtime=0)[:200])
    made.land("day=2026-01-02/h.json", ORDERS[3:])
    made.land("i.zip", zipped(members))
    made.land("j.json", "no JSON")
    made.land("k.zip", zipped({"bad.json": "{", "good.json": json.dumps(ORDERS[2:])}))
    return made.spec_path
