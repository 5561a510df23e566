"""What tests share: a feed on disk, all its steps in this process, and the tree that is left.

def test_something(make_feed: MakeFeed) -> None:
    feed = make_feed(subdirs=2)                           # any key of the spec; settle_seconds is 0
    feed.land("a.json", [{"id": 1, "customer_id": "1"}])  # into landing
    summary = feed.run()                                  # every step once, in the order of the DAG
    assert feed.read(1).splitlines()[0] == "id,customer_id,customer_name"
    assert "processed/a_20260102T030405Z.json" in tree(feed.data_dir)
"""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import json
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, settings

from fanfold import audit
from fanfold.audit import Audit
from fanfold.errors import EmptySubdir
from fanfold.feed import landing, runs, store
from fanfold.layout import Feed, Run
from fanfold.manifest import Summary
from fanfold.steps.archive_files import archive_files
from fanfold.steps.create_dynamic_taskgroups import create_dynamic_taskgroups
from fanfold.steps.denormalize_data import denormalize_data
from fanfold.steps.merge_data import merge_data
from fanfold.steps.stage_files import stage_files
from fanfold.steps.start import start
from fanfold.steps.verify_run import verify_run

pytest_plugins = ["tests.stores.fixtures"]

TS = "20260102T030405Z"
# What a test waits for comes at once, or on a slow machine that does much else later; what hangs never does.
PATIENCE_SECONDS = 600
CUSTOMERS = "customer_id,name\n1,Ann\n2,Bob\n007,James\n"
GROUP_STEPS = (merge_data, denormalize_data, archive_files)

MakeFeed = Callable[..., "FeedDir"]

# An example takes as long as the machine lets it.
settings.register_profile("fanfold", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fanfold")

# In CI nothing is skipped: where a file system cannot be mounted there, the test fails.
needs_root = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root mounts a file system")


@contextlib.contextmanager
def small_files(size_bytes: int) -> Iterator[None]:
    """Have the system refuse to make a file larger, as a full disk does."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


def tree(data_dir: Path) -> dict[str, str]:
    """Return relative path and SHA-256 of everything under `data_dir`; a directory ends in `/` and has no hash."""
    return {
        f"{path.relative_to(data_dir)}{'/' if path.is_dir() else ''}": ""
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data_dir.rglob("*"))
    }


@dataclasses.dataclass(frozen=True)
class FeedDir:
    """A feed on disk: a spec, and the `data_dir` beside it."""

    spec_path: Path
    data_dir: Path

    @property
    def landing_dir(self) -> Path:
        """Where `land` puts files."""
        return self.data_dir / "transactions"

    def write_spec(self, **keys: Any) -> None:
        """Write the spec: small, ready at once, one reference, one exploded array; `keys` replace its keys."""
        spec: dict[str, Any] = {
            "version": 1,
            "name": "feed",
            "subdirs": 3,
            "concurrent_tasks": 2,
            "merge": [{"reference": "customers.csv", "key": "customer_id", "into": "customer"}],
            "denormalize": {"explode": ["items"]},
        }
        # Files of tests that are not about duplicates may be alike.
        spec |= {**keys, "input": {"settle_seconds": 0, "duplicates": "process", **keys.get("input", {})}}
        self.spec_path.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")

    def land(self, name: str, content: str | bytes | list[Any]) -> Path:
        """Put a file into landing: bytes as they are, or text or records (a JSON array), for `.gz` compressed."""
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        raw = text.encode() if isinstance(text, str) else text
        path = self.landing_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(raw, mtime=0) if name.endswith(".gz") and raw is not content else raw)
        return path

    def open(self) -> Feed:
        """Do `start`."""
        return start(self.spec_path)

    def scan(self, **settings: Any) -> landing.Landing:
        """Look at landing, with other keys of `input`."""
        feed = self.open()
        spec = feed.spec.model_copy(update={"input": feed.spec.input.model_copy(update=settings)})
        return landing.scan_landing(Feed(self.data_dir, spec))

    def at(self, ts: str = TS) -> Run:
        """Return the folders of a run."""
        return self.open().run(ts)

    def stage(self, ts: str = TS) -> dict[str, str]:
        """Do `stage_files` and `create_dynamic_taskgroups`; return the groups."""
        feed = self.open()
        stage_files(feed, ts)
        return create_dynamic_taskgroups(feed.data_dir, ts, feed.spec.subdirs)

    def group(self, n: int, ts: str = TS) -> None:
        """Do the steps of one group; an empty one is skipped."""
        with contextlib.suppress(EmptySubdir):
            for step in GROUP_STEPS:
                step(f"staging/{ts}/{n}", self.data_dir)

    def verify(self, ts: str = TS) -> Summary:
        """Do `verify_run`."""
        return verify_run(self.data_dir, ts, self.open().spec.subdirs)

    def run(self, ts: str = TS) -> Summary:
        """Do all steps of a run, each once, in the order of the DAG."""
        for n in self.stage(ts):
            self.group(int(n), ts)
        summary = self.verify(ts)
        if self.at(ts).commit_path.exists():
            assert self.audit(ts).findings == []
        return summary

    def audit(self, ts: str = TS) -> Audit:
        """Account for every scalar of a complete run."""
        return audit.audit(*runs.open_complete(self.open(), ts))

    def read(self, n: int = 1, ts: str = TS) -> str:
        """Return the published table of one subdirectory, every character as it is."""
        return (self.data_dir / f"denormalized/{ts}/{n}.csv").read_bytes().decode()


def new_feed(
    root: Path,
    files: Mapping[str, str | bytes | list[Any]] | None = None,
    folder: str = "feed",
    customers: str | bytes = CUSTOMERS,
    **keys: Any,
) -> FeedDir:
    """Make a feed in `root / folder`: `keys` go into its spec, `files` into landing."""
    feed = FeedDir(root / folder / "feed.yaml", root / folder / "data")
    feed.landing_dir.mkdir(parents=True)
    feed.write_spec(**keys)
    text = customers.encode() if isinstance(customers, str) else customers
    (feed.data_dir / "customers.csv").write_bytes(text)
    for name, content in (files or {}).items():
        feed.land(name, content)
    return feed


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what is derived of the tests' feeds out of the user's cache directory."""
    with pytest.MonkeyPatch.context() as patched:
        cache = tmp_path_factory.mktemp("cache")
        patched.setenv("XDG_CACHE_HOME", str(cache))
        yield cache


@pytest.fixture
def feed(make_feed: MakeFeed) -> FeedDir:
    """Make a feed of two files; modules that need another one have their own."""
    return make_feed({"a.json": "A", "sub/b.json": "B"})


@pytest.fixture
def run(feed: FeedDir) -> Run:
    """Make a run that has claimed both files into its first subdirectory."""
    claimed = feed.at()
    assert store.of(claimed.feed).claim(claimed, [("a.json", 1), ("sub/b.json", 1)]) == (set(), {})
    return claimed


@pytest.fixture
def make_feed(tmp_path: Path) -> MakeFeed:
    """Make feeds in `tmp_path`: `make_feed(files, folder="feed", customers=CUSTOMERS, **keys_of_the_spec)`."""
    return functools.partial(new_feed, tmp_path)
