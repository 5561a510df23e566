"""What a store that takes its time costs: `fanfold run` on a bucket, beside the same on a folder and bare requests.

    python -m benchmarks.latency [FILES] [BYTES_OF_A_FILE] [MILLISECONDS]

The store is on this machine, behind a proxy that waits before each request. Three walls are measured: of the run on the
bucket; of the same run on a folder; and of obstore alone, which makes requests of the same kinds and sizes on 16
connections. Printed is also how long the run takes, as a multiple of the other two together.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
import yaml
from obstore.store import S3Store

from fanfold.bucket.connections import CONNECTIONS
from tests.stores import servers
from tests.stores.proxy import Proxy
from tests.stores.servers import BUCKET, S3_SETTINGS

TS = "20260102T030405Z"
FANFOLD = Path(sys.executable).with_name("fanfold")
DEFAULTS = [1000, 300_000, 30]
KEYS = {"version": 1, "name": "latency", "input": {"settle_seconds": 0}}


def landed(files: int, size: int) -> dict[str, bytes]:
    """Return orders in files of a size."""
    record = json.dumps({"id": 1000000, "customer_id": "7", "note": "x" * 120, "items": [{"sku": "abc", "n": 3}] * 2})
    lines = [record.replace("1000000", str(1000000 + n)) for n in range(max(1, size // len(record)))]
    return {f"{n}.json": "\n".join([f'{{"id": {n}}}', *lines]).encode() for n in range(files)}


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def fanfold(command: str, spec: Path, *options: str) -> None:
    """Give a command in a process of its own."""
    keys = {f"AWS_{name.upper()}": value for name, value in S3_SETTINGS["credentials"].items()}
    environment = {**os.environ, **keys, "XDG_CACHE_HOME": str(spec.parent / "cache")}
    subprocess.run([FANFOLD, command, spec, *options], check=True, env=environment, stdout=subprocess.DEVNULL)


def run(spec: Path) -> None:
    """Do all steps of a run."""
    fanfold("run", spec, "--ts", TS, "--json")


def again(store: S3Store, requests: list[tuple[str, str, int, int]]) -> None:
    """Make requests of the same kinds and sizes, none of which waits for another one."""
    for size in {received for method, _, _, received in requests if method == "GET"}:
        obstore.put(store, f"again/{size}", b"x" * size, use_multipart=False)

    def ask(number: int) -> None:
        method, path, sent, received = requests[number]
        if "list-type" in path:
            list(obstore.list(store, "again/none"))
        elif method == "GET":
            obstore.get(store, f"again/{received}").bytes()
        elif method == "HEAD":
            obstore.head(store, "again/head")
        elif method == "PUT":
            obstore.put(store, f"again/put/{number}", b"x" * sent, use_multipart=False)
        else:
            obstore.delete(store, f"again/deleted/{number}")

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(ask, range(len(requests))))


def main() -> None:
    """Measure, and print."""
    given = [*map(int, sys.argv[1:])]
    files, size, milliseconds = [*given, *DEFAULTS[len(given) :]]
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.localbucket(Path(folder, "store")) as store,
        Proxy(store.endpoint_url) as proxy,
    ):
        settings: Any = {
            "disable_bulk_delete": True,
            "endpoint": proxy.endpoint_url,
            "region": S3_SETTINGS["region"],
            **S3_SETTINGS["credentials"],
        }
        bare = S3Store(BUCKET, config=settings, client_options={"allow_http": True})
        plain, bucket = Path(folder, "plain"), Path(folder, "bucket")
        for name, content in landed(files, size).items():
            path = plain / "data/transactions" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            obstore.put(bare, f"feed/transactions/{name}", content, use_multipart=False)
        obstore.put(bare, "again/head", b"x")
        where = {
            "data_dir": f"s3://{BUCKET}/feed",
            "store": {"endpoint_url": proxy.endpoint_url, "region": S3_SETTINGS["region"]},
        }
        for root, keys in ((plain, {"data_dir": "data"}), (bucket, where)):
            root.mkdir(exist_ok=True)
            (root / "feed.yaml").write_text(yaml.safe_dump({**KEYS, **keys}), encoding="utf-8")
        on_folder = seconds_of(lambda: run(plain / "feed.yaml"))
        fanfold("doctor", bucket / "feed.yaml")
        proxy.latency_seconds = milliseconds / 1000
        proxy.seen.clear()
        on_bucket = seconds_of(lambda: run(bucket / "feed.yaml"))
        requests = [*proxy.seen]
        alone = seconds_of(lambda: again(bare, requests))
    kinds = Counter("LIST" if "list-type" in urlsplit(path).query else method for method, path, _, _ in requests)
    print(f"requests: {len(requests)} {dict(kinds)}")
    print(f"folder {on_folder:.1f} s, requests alone {alone:.1f} s, bucket {on_bucket:.1f} s")
    print(f"bucket: {on_bucket / (alone + on_folder):.2f} times the others together")


if __name__ == "__main__":
    main()
