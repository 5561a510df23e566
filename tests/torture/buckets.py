"""A command on a feed in a bucket, while requests fail or its process is killed: the end is that of a folder.

The store keeps its objects as files, so a feed is copied into it and out of it as a folder is.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.conftest import PATIENCE_SECONDS, TS
from tests.stores import servers
from tests.stores.proxy import Proxy
from tests.stores.servers import BUCKET, S3_SETTINGS
from tests.torture.runs import STEPS, Command, arguments

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["fanfold.cli.exits", "fanfold.api", "fanfold.bucket.mirror", "fanfold.steps.local"])
# What only a bucket has.
OWN = (".fanfold/claims/", ".fanfold/store.json")


class Feed(NamedTuple):
    """A feed in a bucket: its spec, and the folder in which the store keeps its objects."""

    spec: Path
    data_dir: Path

    def tree(self) -> dict[str, bytes]:
        """Return all objects but those that only a bucket has."""
        return {name: content for name, content in tree(self.data_dir).items() if not name.startswith(OWN)}


def tree(data_dir: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {str(path.relative_to(data_dir)): path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}


class Buckets:
    """A store behind a proxy, and processes that work on feeds in it."""

    def __init__(self, root: Path, proxy: Proxy) -> None:
        """Name the folder in which the store keeps its objects."""
        self._root, self.proxy, self._made = root, proxy, 0
        self._process: multiprocessing.process.BaseProcess | None = None

    def copy(self, spec: Path) -> Feed:
        """Copy a feed from a folder into the bucket."""
        self._made += 1
        prefix = f"feed-{self._made}"
        data_dir = self._root / BUCKET / prefix
        shutil.copytree(spec.with_name("data"), data_dir)
        shutil.copytree(spec.parent, self._root / "specs" / prefix, ignore=shutil.ignore_patterns("data"))
        copied = self._root / "specs" / prefix / spec.name
        keys = yaml.safe_load(spec.read_text())
        store = {"endpoint_url": self.proxy.endpoint_url, "region": S3_SETTINGS["region"]}
        copied.write_text(
            yaml.safe_dump({**keys, "data_dir": f"s3://{BUCKET}/{prefix}", "store": store}, sort_keys=False)
        )
        return Feed(copied, data_dir)

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
    """Start a store in a folder, with a proxy before it."""
    with servers.localbucket(root) as store, Proxy(store.endpoint_url) as proxy:
        yield Buckets(root, proxy)
