"""What the guarantees cost: `fanfold run` as it is, beside the same with ledger, leases, fsync and hashes patched out.

    python benchmarks/overhead.py [TURNS] [MEGABYTES] [FILES]

Both run the same feed (nested orders, half of the files JSON arrays, half NDJSON, a reference) in fresh processes, in
turn, after one warm-up of each; each turn lands other records. Printed are wall seconds, their ratios, and the median.
What is patched out: every fsync, the leases, the look into the ledger, every SHA-256, and verify_run's comparison of
what is on disk. What stays: the order of writes, the counts, the strict reading.
"""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SPEC = """
version: 1
name: overhead
data_dir: data
concurrent_tasks: 2
input: {settle_seconds: 0}
merge: [{reference: customers.csv, key: customer_id, into: customer}]
denormalize: {explode: [items]}
"""
# Both import it before anything else: to patch it takes that.
AS_IT_IS = """
import contextlib, os, types
from fanfold import durable
from fanfold.feed import ledger, lease
from fanfold.steps import verify_run
from fanfold.records import read, table
"""
WITHOUT = """
os.fsync = durable.sync_files = lambda _: None
durable.sha256 = lambda _: "0" * 64
hashed = types.SimpleNamespace(hexdigest=lambda: "0" * 64, update=lambda _: None)
read.hashlib = table.hashlib = types.SimpleNamespace(sha256=lambda *_: hashed)
lease.hold = lambda *_, **__: contextlib.nullcontext()
lease.one_by_one = lambda *_: contextlib.nullcontext()
ledger.Ledger = type("Ledger", (), {"__init__": lambda *_: None, "decide": lambda *_: {}})
verify_run.gaps = lambda *_: []
"""


def land(folder: Path, turn: int, megabytes: int, files: int) -> None:
    """Put orders of so many megabytes in all, in so many files, into landing, and the reference beside it."""
    chance = random.Random(turn)  # noqa: S311 - no secrets
    landing = folder / "data" / "transactions"
    landing.mkdir(parents=True, exist_ok=True)
    lines = ["customer_id,name,city", *(f"{n},Customer {n},City {n % 50}" for n in range(10_000))]
    (folder / "data" / "customers.csv").write_text("\n".join(lines), encoding="utf-8")
    size = megabytes * 1_000_000 // files
    for n in range(files):
        records: list[str] = []
        written = 0
        while written < size:
            items = [
                {"sku": f"S{chance.randrange(5000)}", "quantity": k + 1, "price": chance.randrange(10**5) / 100}
                for k in range(chance.randrange(1, 8))
            ]
            number = f"{turn}-{n}-{len(records)}"
            order = {"order": number, "customer_id": str(chance.randrange(12_000)), "items": items, "note": "x" * 40}
            records.append(json.dumps(order))
            written += len(records[-1]) + 1
        text = "[" + ",\n".join(records) + "]" if n % 2 else "\n".join(records)
        (landing / f"{n}.json").write_text(text, encoding="utf-8")


def run(folder: Path, environ: dict[str, str]) -> float:
    """Do one run in fresh processes; return its wall time in seconds."""
    command = [sys.executable, "-m", "fanfold", "run", str(folder / "overhead.yaml")]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environ})
    return time.perf_counter() - began


def main(turns: int, megabytes: int, files: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "overhead.yaml").write_text(SPEC, encoding="utf-8")
        ways = {}
        for way, patches in {"as it is": AS_IT_IS, "without": AS_IT_IS + WITHOUT}.items():
            (folder / way).mkdir()
            (folder / way / "sitecustomize.py").write_text(patches, encoding="utf-8")
            ways[way] = {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(folder / way)}
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(turns + 1):
            for way in sorted(ways, reverse=bool(turn % 2)):
                shutil.rmtree(folder / "data", ignore_errors=True)
                land(folder, turn, megabytes, files)
                os.sync()
                taken[way].append(run(folder, ways[way]))
            print(f"turn {turn}:", ", ".join(f"{way} {values[-1]:.2f} s" for way, values in taken.items()), flush=True)
        ratios = [a / b for a, b in zip(taken["as it is"][1:], taken["without"][1:], strict=True)]
        median, low, high = statistics.median(ratios), min(ratios), max(ratios)
        print(f"as it is / without: median {median:.3f}, from {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*map(int, given + ["5", "100", "20"][len(given) :]))
