"""A feed in a bucket: how many requests its runs make, and what a machine that has seen nothing yet begins with."""

import dataclasses
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from fanfold import api, mirrors
from fanfold.bucket import copies
from fanfold.feed import index, runs
from fanfold.feed.index import Index
from fanfold.steps.create_dynamic_taskgroups import create_dynamic_taskgroups
from fanfold.steps.stage_files import stage_files
from fanfold.steps.start import start
from fanfold.steps.verify_run import verify_run
from tests.conftest import GROUP_STEPS, TS
from tests.stores.proxy import Proxy
from tests.stores.servers import S3_SETTINGS, VERDICT, Bucket

LATER = "20260103T000000Z"
Proxied = Callable[[Bucket], tuple[Bucket, Proxy]]


@dataclasses.dataclass(frozen=True)
class Feed:
    """A feed in a bucket, and the proxy that counts its requests."""

    spec: Path
    bucket: Bucket
    proxy: Proxy

    def put(self, name: str, content: object) -> None:
        """Put an object there: bytes as they are, all else as JSON."""
        self.bucket.objects().create(name, content if isinstance(content, bytes) else json.dumps(content).encode())

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin with a prefix."""
        return [found.name for found in self.bucket.objects().list() if found.name.startswith(prefix)]


@pytest.fixture
def feed(s3_bucket: Bucket, proxied: Proxied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Feed:
    """Make a feed of two subdirectories with nothing in landing; the machine has seen nothing yet."""
    for name, value in S3_SETTINGS["credentials"].items():
        monkeypatch.setenv(f"AWS_{name.upper()}", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bucket, proxy = proxied(s3_bucket)
    spec = tmp_path / "feed.yaml"
    spec.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "name": "feed",
                "data_dir": bucket.uri,
                "subdirs": 2,
                "input": {"path": "landing", "settle_seconds": 0},
                "store": {"endpoint_url": bucket.endpoint_url, "region": S3_SETTINGS["region"]},
            }
        )
    )
    s3_bucket.objects().create(*VERDICT)
    return Feed(spec, s3_bucket, proxy)


def add_manifests(feed: Feed, count: int) -> None:
    """Add complete runs before the first one, each with a file of a content of its own."""
    [name] = feed.names(".fanfold/runs/")
    manifest = json.loads(feed.bucket.objects().read(name) or b"")
    for number in range(count):
        one = dict(manifest["files"][0], name=f"{number}.json", size_bytes=1000 + number, sha256=f"{number:064x}")
        content = json.dumps({**manifest, "files": [one]}).encode()
        feed.put(f".fanfold/runs/2025{1 + number // 28:02}{1 + number % 28:02}T000000Z.json", content)


@pytest.fixture
def shared(feed: Feed) -> Feed:
    """Have runs enough for a copy of the index, and one more run, which leaves that copy in the bucket."""
    feed.put("landing/a.json", [{"id": 1}])
    api.run(feed.spec, ts=TS)
    assert not feed.names(".fanfold/index")
    add_manifests(feed, index.LACKED_MANIFESTS)
    feed.put("landing/b.json", [{"id": 2}])
    api.run(feed.spec, ts=LATER)
    assert feed.names(".fanfold/index")
    return feed


def look(feed: Feed) -> tuple[dict[int, str | None], int]:
    """Return, on a machine that has no index, who has some contents first, and how many objects that took."""
    feed.proxy.requests.clear()
    with mirrors.working():
        opened = Index(runs.open_feed(feed.spec))
        fetched = feed.proxy.requests["GET"]
        return {number: opened.first(1000 + number, f"{number:064x}", "x.json") for number in (0, 7, 99)}, fetched


KNOWN = {0: "20250101T000000Z/0.json", 7: "20250108T000000Z/7.json", 99: None}


def test_fresh_machine_begins_with_the_copy_in_the_bucket(
    shared: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that has seen nothing fetches one object, and the manifests that came later; not those of all runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    # The log of claims, the identity of the feed, and the copy.
    assert look(shared) == (KNOWN, 3)
    # What this machine has seen, it knows.
    assert look(shared) == (KNOWN, 2)


@pytest.mark.parametrize("damage", ["gone", "not compressed", "no database", "cut", "wrong"])
def test_damaged_copy_costs_time_and_nothing_else(
    shared: Feed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """Whatever is wrong with the copy, the answers are those of the manifests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    [name] = shared.names(".fanfold/index")
    objects = shared.bucket.objects()
    content = objects.read(name) or b""
    objects.delete(name)
    match damage:
        case "not compressed":
            shared.put(name, b"not compressed" * 100)
        case "no database":
            shared.put(name, zstandard.compress(b"no database" * 1000))
        case "cut":
            shared.put(name, content[: len(content) // 2])
        case "wrong":
            path = tmp_path / "wrong"
            path.write_bytes(zstandard.ZstdDecompressor().decompressobj().decompress(content))
            with sqlite3.connect(path) as connection:
                connection.execute("UPDATE files SET name = 'other.json' WHERE name = '7.json'")
            connection.close()
            shared.put(name, zstandard.compress(path.read_bytes()))
    known, fetched = look(shared)
    assert known == KNOWN
    assert fetched >= index.LACKED_MANIFESTS or damage == "wrong"


def of_one_process(files: int, groups: int, references: int) -> dict[str, int]:
    """Return how many requests the first run of a feed with one table makes in one process (docs/scale.md)."""
    entries = groups + 3
    return {
        # Each entry of the log: before and after it is created.
        "LIST": 2 * entries + 9,
        "GET": files + groups + references + 4,
        "HEAD": files + references + 1,
        # Each original; of each group what it is to read, its table, and what it has published; three copies of each
        # reference; the log; the identity, the schema, and the manifest twice.
        "PUT": files + 3 * groups + 3 * references + entries + 4,
        # Originals in landing, the working files, and all but five entries of the log.
        "DELETE": files + 2 * groups + 2 * references + 1 + max(0, entries - 5),
    }


def of_many_processes(files: int, groups: int, references: int) -> dict[str, int]:
    """Return how many requests it makes with each step in a process of its own (docs/scale.md)."""
    return {
        "LIST": 10 * groups + 26,
        "GET": 3 * files + groups * (2 * references + 17) + 3 * references + 9,
        "HEAD": 5 * files + 3 * groups * (references + 3) + 4 * references + 1,
        "PUT": files + 6 * groups + 3 * references + 7,
        "DELETE": files + 4 * groups + 2 * references + 1 + max(0, groups + 3 - 5),
    }


def in_one_process(spec: Path, uri: str, groups: int) -> None:
    """Do all steps as `fanfold run` does."""
    assert api.run(spec, ts=TS).subdirs[str(groups)].files, uri


def in_many_processes(spec: Path, uri: str, groups: int) -> None:
    """Do each step with nothing that an earlier one has left."""
    whole = [start, stage_files, create_dynamic_taskgroups]
    todo: list[tuple[Any, int | None]] = [(do, None) for do in whole]
    todo += [(do, n) for n in range(1, groups + 1) for do in GROUP_STEPS]
    for do, n in [*todo, (verify_run, None)]:
        with mirrors.working():
            if do is start:
                start(spec)
                continue
            feed = runs.open_feed(spec, None, TS if n else None, n)
            if do is stage_files:
                stage_files(feed, TS)
            else:
                do(*((f"staging/{TS}/{n}", uri) if n else (uri, TS, groups)))


@pytest.mark.parametrize(("files", "groups", "references"), [(5, 2, 1), (9, 3, 2)])
@pytest.mark.parametrize(
    ("run", "expected"), [(in_one_process, of_one_process), (in_many_processes, of_many_processes)]
)
def test_requests_follow_a_formula(  # noqa: PLR0913, PLR0917 - one row of its table
    feed: Feed, files: int, groups: int, references: int, run: Any, expected: Any
) -> None:
    """A run makes as many requests as the documentation says: none is added unnoticed."""
    spec = yaml.safe_load(feed.spec.read_text())
    merge = [{"reference": f"{number}.csv", "key": "id", "into": f"r{number}"} for number in range(references)]
    # Groups that end at the same time ask for the log once more.
    feed.spec.write_text(yaml.safe_dump({**spec, "subdirs": groups, "concurrent_tasks": 1, "merge": merge}))
    for number in range(references):
        feed.put(f"{number}.csv", b"id,name\n1,Ann\n")
    for number in range(files):
        feed.put(f"landing/{number}.json", [{"id": "1", "number": number}])
    run(feed.spec, feed.bucket.uri, groups)
    counted = feed.proxy.requests
    kinds = {"LIST": "GET list-type", "GET": "GET", "HEAD": "HEAD", "PUT": "PUT", "DELETE": "DELETE"}
    assert {kind: counted[name] for kind, name in kinds.items()} == expected(files, groups, references)
    assert set(counted) == {*kinds.values()}


def content_bytes(folder: Path) -> int:
    """Return how much of a disk the files below a folder take; one that only stands for another takes nothing."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def test_what_was_read_makes_room(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task that reads the files of all groups needs the room of one group, and of what is fetched ahead."""
    monkeypatch.setattr(copies, "AHEAD_FILES", 2)
    spec = yaml.safe_load(feed.spec.read_text())
    feed.spec.write_text(yaml.safe_dump({**spec, "subdirs": 4, "verify": {"totals": ["id"]}}))
    for number in range(24):
        feed.put(f"landing/{number}.json", [{"id": number, "text": "x" * 200_000}])
    with mirrors.working():
        opened = runs.open_feed(feed.spec)
        stage_files(opened, TS)
        create_dynamic_taskgroups(feed.bucket.uri, TS, 4)
        assert 4 * 200_000 < content_bytes(opened.staging_dir) < 10 * 200_000
        for n in range(1, 5):
            for do in GROUP_STEPS:
                do(f"staging/{TS}/{n}", feed.bucket.uri)
    feed.proxy.bytes_received.clear()
    with mirrors.working():
        opened = runs.open_feed(feed.spec)
        assert verify_run(feed.bucket.uri, TS, 4).rows_out == 24
        # The tables, and the merged records, with which their sums are made again.
        assert feed.proxy.bytes_received["GET"] > 9 * 24 * 200_000 // 5
        assert content_bytes(opened.data_dir) < 12 * 200_000
