"""A feed in a folder or a bucket, and machines that share nothing but that place."""

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml

from tests.conftest import PATIENCE_SECONDS, FeedDir
from tests.stores import plain, servers
from tests.stores.servers import Bucket
from tests.torture.buckets import OWN
from tests.torture.buckets import tree as files_below

NUMBERS = itertools.count(1)
STORES = ("moto", "localbucket", "azurite", "gcs")


class Place(NamedTuple):
    """Where a feed lies: its spec, and the folder or the URL of all that is in it."""

    spec_path: Path
    data_dir: Path | None
    url: str = ""
    environ: Mapping[str, str] = {}

    def tree(self, *, own: bool = False) -> dict[str, bytes]:
        """Return all files, but those that only a bucket has, or those too."""
        found = plain.tree(self.url) if self.data_dir is None else files_below(self.data_dir)
        return {name: content for name, content in found.items() if own or not name.startswith(OWN)}

    def put(self, contents: Mapping[str, bytes]) -> None:
        """Put files there, as a producer does: whole under their names."""
        if self.data_dir is None:
            plain.put(self.url, dict(contents))
            return
        for name, content in contents.items():
            path = self.data_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.part")
            part.write_bytes(content)
            part.rename(path)

    def land(self, delivered: Mapping[str, bytes]) -> None:
        """Put files into landing."""
        self.put({f"transactions/{name}": content for name, content in delivered.items()})


def in_folder(feed: FeedDir) -> Place:
    """Return a feed that lies in a folder."""
    return Place(feed.spec_path, feed.data_dir)


def copied(source: Place, root: Path, bucket: Bucket | None) -> Place:
    """Copy all files of a feed into a bucket, or into a folder below `root`, with a spec that names the new place."""
    root = root / f"copy-{next(NUMBERS)}"
    root.mkdir(parents=True)
    document: dict[str, Any] = yaml.safe_load(source.spec_path.read_text())
    document |= {"data_dir": "data", "store": {}}
    if bucket:
        prefix, settings = root.name, bucket.settings
        store = {"endpoint_url": bucket.endpoint_url, "region": settings.get("region")}
        document |= {"data_dir": f"{bucket.uri}/{prefix}", "store": store}
        place = Place(root / "feed.yaml", None, f"{bucket.endpoint_url}/{servers.BUCKET}/{prefix}", bucket.environment)
    else:
        place = Place(root / "feed.yaml", root / "data")
        (root / "data/transactions").mkdir(parents=True)
    place.spec_path.write_text(yaml.safe_dump(document, sort_keys=False))
    place.put(source.tree(own=True))
    return place


class Machine:
    """A machine: a home, temporary files and a cache of its own."""

    def __init__(self, root: Path) -> None:
        """Make its folders."""
        self._environ = {"HOME": str(root), "TMPDIR": str(root / "tmp"), "XDG_CACHE_HOME": str(root / "cache")}
        for folder in self._environ.values():
            Path(folder).mkdir(parents=True, exist_ok=True)

    @classmethod
    def fresh(cls, root: Path) -> Self:
        """Make another machine, below a folder."""
        return cls(root / f"machine-{next(NUMBERS)}")

    def start(self, place: Place, command: str, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command of `fanfold` on a feed."""
        return subprocess.Popen(
            [sys.executable, "-m", "fanfold", command, str(place.spec_path), *arguments],
            env={**os.environ, **self._environ, **place.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def do(self, place: Place, command: str, *arguments: str) -> tuple[int, str]:
        """Do a command; return its exit code and what it wrote."""
        return ended(self.start(place, command, *arguments))


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end of a command; return its exit code and what it wrote."""
    with process:
        told, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, told


@contextlib.contextmanager
def started(name: str, root: Path) -> Iterator[Bucket | None]:
    """Start a store; nothing for a folder."""
    with contextlib.ExitStack() as stack:
        match name:
            case "folder":
                yield None
            case "localbucket":
                yield stack.enter_context(servers.localbucket(root / "localbucket"))
            case _:
                yield stack.enter_context(
                    {"moto": servers.moto, "azurite": servers.azurite, "gcs": servers.gcs}[name]()
                )
