"""A command on a feed in a bucket, while requests fail or its process is killed: the end is that of a folder.

A feed is copied into the bucket, and out of it, by other means than those that are tested.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

import yaml

from tests.conftest import PATIENCE_SECONDS, TS
from tests.stores import servers
from tests.stores.proxy import Proxy
from tests.stores.servers import BUCKET, S3_SETTINGS, VERDICT, Bucket
from tests.torture.runs import STEPS, Command, arguments

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["fanfold.cli.exits", "fanfold.api", "fanfold.bucket.mirror", "fanfold.steps.local"])
# What only a bucket has.
OWN = (".fanfold/claims/", VERDICT[0])


class Feed(NamedTuple):
    """A feed in a bucket: its spec, and the URL of its objects."""

    spec: Path
    url: str

    def tree(self) -> dict[str, bytes]:
        """Return all objects but those that only a bucket has."""
        bucket, _, prefix = self.url.rpartition("/")
        names, after = list[str](), ""
        while found := _names(bucket, f"{prefix}/", after):
            names += found
            after = found[-1]
        plain = [name.removeprefix(f"{prefix}/") for name in names]
        return {name: _ask(f"{self.url}/{quote(name)}") for name in plain if not name.startswith(OWN)}

    def put(self, name: str, content: bytes) -> None:
        """Put an object into the bucket, as a producer does."""
        _ask(f"{self.url}/{quote(name)}", "PUT", content)

    def delete(self, name: str) -> None:
        """Delete an object."""
        _ask(f"{self.url}/{quote(name)}", "DELETE")


def tree(data_dir: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {str(path.relative_to(data_dir)): path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}


def _ask(url: str, method: str = "GET", content: bytes | None = None) -> bytes:
    # The store of these tests checks no signature, and what is compared must not come through what is tested.
    credential = f"{S3_SETTINGS['credentials']['access_key_id']}/20260101/us-east-1/s3/aws4_request"
    signed = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
    headers = {"Content-Type": "application/octet-stream", "Authorization": signed}
    request = urllib.request.Request(url, content, headers, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
        return bytes(answer.read())


def _names(bucket: str, prefix: str, after: str) -> list[str]:
    query = urlencode({"list-type": 2, "prefix": prefix, "start-after": after})
    found = ET.fromstring(_ask(f"{bucket}?{query}"))
    return [key.text or "" for key in found.iterfind("{*}Contents/{*}Key")]


class Buckets:
    """A store behind a proxy, and processes that work on feeds in it."""

    def __init__(self, root: Path, store: Bucket, proxy: Proxy) -> None:
        """Name the folder of the specs."""
        self._root, self._store, self.proxy, self._made = root, store, proxy, 0
        self._process: multiprocessing.process.BaseProcess | None = None

    def copy(self, spec: Path) -> Feed:
        """Copy a feed from a folder into the bucket."""
        self._made += 1
        prefix = f"feed-{self._made}"
        copied = Path(shutil.copytree(spec.parent, self._root / prefix, ignore=shutil.ignore_patterns("data")))
        feed = Feed(copied / spec.name, f"{self._store.endpoint_url}/{BUCKET}/{prefix}")
        feed.put(*VERDICT)
        for name, content in tree(spec.with_name("data")).items():
            feed.put(name, content)
        keys = yaml.safe_load(spec.read_text())
        store = {"endpoint_url": self.proxy.endpoint_url, "region": S3_SETTINGS["region"]}
        document = {**keys, "data_dir": f"s3://{BUCKET}/{prefix}", "store": store}
        feed.spec.write_text(yaml.safe_dump(document, sort_keys=False))
        return feed

    def start(self, feed: Feed, command: Command = STEPS) -> multiprocessing.process.BaseProcess:
        """Begin a command in a process of its own."""
        if command[:1] == STEPS:
            command = ("run", "SPEC", "--ts", *(command[1:] or (TS,)))
        log = feed.spec.with_name("log")
        process = FORKS.Process(target=_main, args=(arguments(feed.spec, command), str(log)))
        process.start()
        return process

    def run(self, feed: Feed, command: Command = STEPS) -> tuple[int, str]:
        """Do a command to its end; return its exit code, negative for a signal, and what it wrote."""
        self._process = self.start(feed, command)
        self._process.join(PATIENCE_SECONDS)
        return self._process.exitcode or 0, feed.spec.with_name("log").read_text()

    def kill_at(self, number: int, *, carried_out: bool) -> None:
        """Kill the process of the next command with its request of a number, before or after it is carried out."""

        def way(seen: int) -> str | None:
            if seen == number:
                assert self._process
                assert self._process.pid
                if not carried_out:
                    os.kill(self._process.pid, signal.SIGKILL)
                    return "dropped"
                return "killed"
            return None

        self.proxy.fail_by(way)
        self.proxy.after["killed"] = lambda: os.kill(self._process.pid or 0, signal.SIGKILL) if self._process else None


def _main(words: list[str], log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    for name, value in S3_SETTINGS["credentials"].items():
        os.environ[f"AWS_{name.upper()}"] = value
    sys.argv = ["fanfold", *words]
    from fanfold import interrupt
    from fanfold.cli.exits import main

    interrupt.install()
    main()


@contextlib.contextmanager
def buckets(root: Path) -> Iterator[Buckets]:
    """Start a store, with a proxy before it; specs are in a folder."""
    with servers.moto() as store, Proxy(store.endpoint_url) as proxy:
        yield Buckets(root, store, proxy)
