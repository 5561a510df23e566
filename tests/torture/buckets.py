"""A command on a feed in a bucket, while requests fail or its process is killed: the end is that of a folder.

A feed is copied into the bucket, and out of it, by other means than those that are tested.
"""

import contextlib
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import yaml

from tests.conftest import PATIENCE_SECONDS, TS
from tests.stores import plain, servers
from tests.stores.proxy import Proxy
from tests.stores.servers import BUCKET, VERDICT, Bucket
from tests.torture.runs import STEPS, Command, arguments

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["fanfold.cli.exits", "fanfold.api", "fanfold.bucket.mirror", "fanfold.steps.local"])
NUMBERS = itertools.count(1)
# What only a bucket has.
OWN = (".fanfold/claims/", VERDICT[0])


class Feed(NamedTuple):
    """A feed in a bucket: its spec, and the URL of its objects."""

    spec: Path
    url: str

    def tree(self, *, own: bool = False) -> dict[str, bytes]:
        """Return all objects but those that only a bucket has, or those too."""
        return plain.tree(self.url, () if own else OWN)

    def put(self, name: str, content: bytes) -> None:
        """Put an object into the bucket, as a producer does."""
        plain.put(self.url, {name: content})

    def delete(self, name: str) -> None:
        """Delete an object."""
        plain.ask(f"{self.url}/{quote(name)}", "DELETE")


def tree(data_dir: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {str(path.relative_to(data_dir)): path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}


class Buckets:
    """A store behind a proxy, and processes that work on feeds in it."""

    def __init__(self, root: Path, store: Bucket, proxy: Proxy) -> None:
        """Name the folder of the specs."""
        self._root, self._store, self.proxy = root, store, proxy
        self._process: multiprocessing.process.BaseProcess | None = None

    def copy(self, spec: Path) -> Feed:
        """Copy a feed from a folder into the bucket."""
        prefix = f"feed-{next(NUMBERS)}"
        copied = Path(shutil.copytree(spec.parent, self._root / prefix, ignore=shutil.ignore_patterns("data")))
        feed = Feed(copied / spec.name, f"{self._store.endpoint_url}/{BUCKET}/{prefix}")
        plain.put(feed.url, dict([VERDICT]) | tree(spec.with_name("data")))
        self.write_spec(feed, spec)
        return feed

    def write_spec(self, feed: Feed, spec: Path, **keys: Any) -> None:
        """Write the spec of a feed in a folder anew, for the bucket; `keys` replace its keys."""
        data_dir = f"{self._store.uri}/{feed.url.rpartition('/')[2]}"
        store = {"endpoint_url": self.proxy.endpoint_url, "region": self._store.settings.get("region")}
        document = {**yaml.safe_load(spec.read_text()), **keys, "data_dir": data_dir, "store": store}
        feed.spec.write_text(yaml.safe_dump(document, sort_keys=False))

    def start(self, feed: Feed, command: Command = STEPS, log: str = "log") -> multiprocessing.process.BaseProcess:
        """Begin a command in a process of its own; what it writes goes into a file beside the spec."""
        if command[:1] == STEPS:
            command = ("run", "SPEC", "--ts", *(command[1:] or (TS,)))
        given = (arguments(feed.spec, command), str(feed.spec.with_name(log)), self._store.environment)
        process = FORKS.Process(target=_main, args=given)
        process.start()
        return process

    def run(self, feed: Feed, command: Command = STEPS) -> tuple[int, str]:
        """Do a command to its end; return its exit code, negative for a signal, and what it wrote."""
        self._process = self.start(feed, command)
        self._process.join(PATIENCE_SECONDS)
        return self._process.exitcode or 0, feed.spec.with_name("log").read_text()

    def kill_at(self, number: int, *, carried_out: bool) -> None:
        """Kill the process of the next command with its request of a number, before or after it is carried out."""
        self._kill(lambda seen: seen == number, carried_out=carried_out)

    def kill_at_name(self, part: str) -> None:
        """Kill the process of the next command before it makes the first object that has this in its name."""
        self._kill(lambda _: self.proxy.asked.startswith("PUT ") and part in self.proxy.asked, carried_out=False)

    def _kill(self, is_it: Callable[[int], bool], *, carried_out: bool) -> None:
        def kill() -> None:
            if self._process and self._process.pid:
                os.kill(self._process.pid, signal.SIGKILL)

        def way(seen: int) -> str | None:
            if not is_it(seen):
                return None
            if carried_out:
                return "killed"
            kill()
            return "dropped"

        self.proxy.after["killed"] = kill
        self.proxy.fail_by(way)


def _main(words: list[str], log: str, environment: dict[str, str]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
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
