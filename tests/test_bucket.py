"""A feed in a bucket ends as the same feed in a folder does: the same objects, byte for byte."""

import contextlib
import functools
import gzip
import importlib
import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fanfold import api, audit, mirrors
from fanfold.bucket.store import BucketStore
from fanfold.errors import BusyError, DataError, EmptySubdir, FanfoldError, SpecError
from fanfold.feed import failures, runs, status
from fanfold.steps.create_dynamic_taskgroups import create_dynamic_taskgroups
from fanfold.steps.merge_data import merge_data
from fanfold.steps.release import release
from fanfold.steps.stage_files import stage_files
from tests.conftest import PATIENCE_SECONDS, TS, FeedDir, small_files
from tests.stores.proxy import Proxy
from tests.torture.buckets import Buckets, Feed, tree
from tests.torture.feeds import SHOP, make_feed, make_shop, make_small_shop

if TYPE_CHECKING:
    from tests.stores.servers import Bucket

LATER, LAST = "20260102T040506Z", "20260102T050607Z"
# So many, or more, a run of the small shop makes.
REQUESTS = 80
MORE = [{"id": 70, "customer_id": "2", "items": [{"sku": "b", "qty": 3}], "payments": []}]


@pytest.fixture
def buckets(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Buckets]:
    """Give a store behind a proxy, and the credentials for it: S3, or what a test names by `on_each_store`."""
    store: Bucket = request.getfixturevalue(getattr(request, "param", "moto"))
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    with Proxy(store.endpoint_url) as proxy:
        yield Buckets(tmp_path / "specs", store, proxy)


GCS_HALFWAY = pytest.param("gcs", 0.5, marks=pytest.mark.slow)
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("gcs", "azurite")]
on_each_store = pytest.mark.parametrize("buckets", ["moto", *SLOW], indirect=True)


def step(feed: Feed, name: str, ts: str = TS, n: int = 0) -> None:
    """Do one step as a machine does that has nothing but the spec."""
    do = getattr(importlib.import_module(f"fanfold.steps.{name}"), name)
    with mirrors.working():
        opened = runs.open_feed(feed.spec, None, ts if n else None)
        where, subdirs = opened.spec.data_dir, opened.spec.subdirs
        if name == "stage_files":
            do(opened, ts)
        elif n:
            with contextlib.suppress(EmptySubdir):
                do(f"staging/{ts}/{n}", where)
        else:
            do(where, ts, subdirs)


def prepare(feed: Feed, ts: str = TS) -> None:
    """Claim files for a run, and prepare its groups."""
    for name in ("stage_files", "create_dynamic_taskgroups"):
        step(feed, name, ts)


def groups(feed: Feed, ts: str = TS, subdirs: int = 2) -> None:
    """Do all steps of all groups."""
    for n in range(1, subdirs + 1):
        for name in ("merge_data", "denormalize_data", "archive_files"):
            step(feed, name, ts, n)


def go(feed: Feed, ts: str = TS) -> None:
    """Do all steps of a run on one machine."""
    api.run(feed.spec, ts=ts)


def audited(feed: Feed, *all_ts: str) -> None:
    """Check that a second program accounts for every scalar of complete runs."""
    with mirrors.working():
        opened = runs.open_feed(feed.spec)
        for ts in all_ts:
            assert audit.audit(*runs.open_complete(opened, ts)).findings == []


def same(feed: Feed, spec: Path) -> None:
    """Check that a bucket has what a folder has, and nothing else."""
    found, expected = feed.tree(), tree(spec.with_name("data"))
    assert [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)] == []


def with_markers(root: Path) -> Path:
    """Make a shop whose files have markers, one of them alone."""
    feed = make_small_shop(root, input={"done_suffix": ".done", "duplicates": "archive"})
    for path in [*feed.landing_dir.iterdir()]:
        path.with_name(f"{path.name}.done").touch()
    feed.land("d.json", MORE)
    return feed.spec_path


FEEDS: dict[str, Callable[[Path], Path]] = {
    "every kind of file": functools.partial(make_feed, subdirs=2),
    "tables, archives, and two runs": make_shop,
    "markers": with_markers,
    "compressed archive": functools.partial(make_feed, subdirs=2, archive={"compression": "gzip"}),
    "Parquet": functools.partial(make_feed, subdirs=2, output={"format": "parquet", "lineage": True}),
}


@on_each_store
@pytest.mark.parametrize("name", FEEDS)
def test_two_runs_with_a_machine_for_each_step(name: str, buckets: Buckets, tmp_path: Path) -> None:
    """Two runs, the second with duplicates of the first, each step on another machine, give the tree of a folder."""
    spec = FEEDS[name](tmp_path / "made")
    feed, folder = buckets.copy(spec), FeedDir(spec, spec.with_name("data"))
    for ts in (TS, LATER):
        prepare(feed, ts)
        groups(feed, ts)
        step(feed, "verify_run", ts)
        folder.run(ts)
        same(feed, spec)
        audited(feed, ts)
        for file in ("again.json", "again.csv") if ts == TS else ():
            content = json.dumps(MORE) if file == "again.json" else "id,customer_id\n10,007\n11,1\n"
            for landed, raw in {file: content.encode(), f"{file}.done": b""}.items():
                feed.put(f"transactions/{landed}", raw)
                folder.land(landed, raw)


def give_up(feed: Feed) -> None:
    """Give the first run up."""
    with mirrors.working():
        release(runs.open_feed(feed.spec), TS)


def small(buckets: Buckets, tmp_path: Path, **keys: Any) -> tuple[Feed, FeedDir]:
    """Make a shop of three files in a bucket, and the same in a folder."""
    folder = make_small_shop(tmp_path / "made", **keys)
    return buckets.copy(folder.spec_path), folder


def change(buckets: Buckets, feed: Feed, folder: FeedDir, **keys: Any) -> None:
    """Change keys of the spec, of both."""
    folder.write_spec(**keys)
    buckets.write_spec(feed, folder.spec_path)


def everything_once(feed: Feed, names: set[str]) -> None:
    """Check that each file is in one of some runs, and not in landing, and that each scalar is where it is to be."""
    found = feed.tree()
    manifests = [json.loads(content) for name, content in found.items() if name.startswith(".fanfold/runs/")]
    counted = Counter(file["name"] for one in manifests for file in one["files"])
    assert counted == dict.fromkeys(names, 1)
    assert not [name for name in found if name.startswith(("staging/", "transactions/"))]
    audited(feed, *(one["summary"]["ts"] for one in manifests))


def test_an_object_that_is_overwritten_before_it_is_read_stops_its_group(buckets: Buckets, tmp_path: Path) -> None:
    """Nothing of it is published, the message names the way out, and then the next run takes what is there now."""
    feed, folder = small(buckets, tmp_path)
    prepare(feed)
    feed.put("transactions/a.json", json.dumps(MORE).encode())
    for n in (1, 2):
        with contextlib.suppress(DataError):
            step(feed, "merge_data", TS, n)
    with pytest.raises(DataError, match=r"overwritten or removed after it was claimed.*fanfold release"):
        groups(feed)
    give_up(feed)
    folder.land("a.json", MORE)
    go(feed, LATER)
    everything_once(feed, {"a.json", "b.json.gz", "c.zip"})


def test_an_object_that_is_overwritten_before_it_is_kept_keeps_its_group_from_publishing(
    buckets: Buckets, tmp_path: Path
) -> None:
    """An original that cannot be archived any more has no rows: the run is given up, and all that is there goes on."""
    feed, folder = small(buckets, tmp_path, subdirs=1)
    prepare(feed)
    step(feed, "merge_data", TS, 1)
    feed.put("transactions/b.json.gz", gzip.compress(json.dumps(MORE).encode(), mtime=0))
    for _ in range(2):
        with pytest.raises(DataError, match=r"b\.json\.gz' was overwritten or removed after .*fanfold release"):
            step(feed, "denormalize_data", TS, 1)
    assert not [name for name in feed.tree() if name.startswith("denormalized/")]
    give_up(feed)
    folder.land("b.json.gz", MORE)
    go(feed, LATER)
    folder.run(LATER)
    same(feed, folder.spec_path)


def test_an_object_that_is_overwritten_before_it_is_archived_is_kept_as_it_was_read(
    buckets: Buckets, tmp_path: Path
) -> None:
    """Once rows are published, their original is in the archive; what took its name in landing is the next run's."""
    feed, folder = small(buckets, tmp_path)
    prepare(feed)
    for n in (1, 2):
        for name in ("merge_data", "denormalize_data"):
            step(feed, name, TS, n)
    feed.put("transactions/a.json", json.dumps(MORE).encode())
    feed.delete("transactions/b.json.gz")
    for n in (1, 2):
        step(feed, "archive_files", TS, n)
    step(feed, "verify_run", TS)
    go(feed, LATER)
    folder.run(TS)
    folder.land("a.json", MORE)
    folder.run(LATER)
    same(feed, folder.spec_path)


def test_the_same_bytes_that_are_landed_again_are_another_file(buckets: Buckets, tmp_path: Path) -> None:
    """They stay in landing while the run goes on, and the next run finds them to be a duplicate."""
    feed, folder = small(buckets, tmp_path)
    before = feed.tree()["transactions/a.json"]
    prepare(feed)
    # A store tells times to the second.
    time.sleep(1.1)
    feed.put("transactions/a.json", before)
    groups(feed)
    step(feed, "verify_run")
    folder.run(TS)
    folder.land("a.json", before)
    same(feed, folder.spec_path)
    go(feed, LATER)
    folder.run(LATER)
    same(feed, folder.spec_path)


def test_a_spec_that_changes_holds_for_what_is_not_published(buckets: Buckets, tmp_path: Path) -> None:
    """A run that has published nothing is prepared anew; one that has published keeps its spec."""
    keys = {"tables": {"orders": {"columns": ["id"]}, "items": {"explode": ["items"], "keys": ["id"]}}}
    feed, folder = small(buckets, tmp_path)
    feed_of = {"before": feed, "after": buckets.copy(folder.spec_path)}
    folder.run(TS)
    prepare(feed)
    step(feed, "merge_data", TS, 1)
    prepare(feed_of["after"])
    for name in ("merge_data", "denormalize_data"):
        step(feed_of["after"], name, TS, 1)
    for one in feed_of.values():
        buckets.write_spec(one, folder.spec_path, **keys)
        go(one)
    same(feed_of["after"], folder.spec_path)
    changed = make_small_shop(tmp_path / "changed", **keys)
    changed.run(TS)
    same(feed, changed.spec_path)


def test_a_run_that_fails_goes_on_when_its_cause_is_gone(buckets: Buckets, tmp_path: Path) -> None:
    """A bad reference is passed over until it is mended, also by machines that know nothing of each other."""
    feed, folder = small(buckets, tmp_path)
    good = feed.tree()["customers.csv"]
    feed.put("customers.csv", good + b"1,Twice\n")
    step(feed, "stage_files")
    for _ in range(2):
        with pytest.raises(DataError, match=r"customers\.csv"):
            step(feed, "create_dynamic_taskgroups")
    with mirrors.working():
        assert failures.is_stuck(runs.open_feed(feed.spec), TS)
    feed.put("customers.csv", good)
    go(feed)
    folder.run(TS)
    same(feed, folder.spec_path)


def test_what_may_go_away_by_itself_is_a_reason_in_a_bucket_too(buckets: Buckets, tmp_path: Path) -> None:
    """Where a machine's disk is full, every machine can say why the run has not ended; a retry clears the reason."""
    feed, folder = small(buckets, tmp_path)
    records = [{"id": n, "customer_id": "2", "note": "x" * 80} for n in range(1_000)]
    feed.put("transactions/d.json.gz", folder.land("d.json.gz", records).read_bytes())

    def reasons() -> list[tuple[str, int | None]]:
        with mirrors.working():
            return [(one.step, one.subdir) for one in status.status_of(runs.open_feed(feed.spec), TS).failed]

    prepare(feed)
    with small_files(20_000), pytest.raises(OSError, match="File too large"):
        groups(feed)
    assert [name for name, _ in reasons()] == ["merge_data"]
    groups(feed)
    assert reasons() == []
    go(feed)
    folder.run(TS)
    same(feed, folder.spec_path)


def test_a_group_that_fails_is_mended_while_the_others_are_published(buckets: Buckets, tmp_path: Path) -> None:
    """What a failed group said is gone once the run is complete, and nothing of it is left in the bucket."""
    strict = {"quarantine": {"max_bad_records_percent": 0, "max_bad_files_percent": 100}}
    feed, folder = small(buckets, tmp_path)
    folder.land("d.json", "{}\n{,}\n")
    feed.put("transactions/d.json", b"{}\n{,}\n")
    change(buckets, feed, folder, **SHOP | strict)
    with pytest.raises(FanfoldError):
        api.run(feed.spec, ts=TS)
    change(buckets, feed, folder, **SHOP)
    assert [name for name in feed.tree() if name.endswith("failure.json")]
    with contextlib.suppress(FanfoldError):
        api.run(feed.spec, ts=TS)
    give_up(feed)
    go(feed, LATER)
    everything_once(feed, {"a.json", "b.json.gz", "c.zip", "d.json"})


PLAIN = (
    "e\u0301.json",
    "\u00e9.json",
    "50%+1 a&b=c;d.json",
    "%2F.json",
    "back\\slash.json",
    "~.json",
    ".hidden/h.json",
)
LONG = "n" * 300
HELD = {
    "a.json": "its name is also that of a folder",
    f"{LONG}.json": "its name is too long",
    f"{LONG}/a.json": "the name of a folder that it is in has more than 255 bytes",
    "/c.json": "its key cannot be the path of a file",
    "d//e.json": "its key cannot be the path of a file",
}


def test_a_key_that_cannot_be_the_name_of_a_file_is_held(
    buckets: Buckets, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays in landing with its reason, and stops nothing; all others are taken, whatever letters they have."""
    feed, folder = small(buckets, tmp_path)
    (folder.landing_dir / "a.json").unlink()
    for n, name in enumerate((*PLAIN, "a.json/b.json")):
        content = json.dumps([{**MORE[0], "id": n}]).encode()
        folder.land(name, content)
        feed.put(f"transactions/{name}", content)
    for n, name in enumerate(HELD):
        feed.put(f"transactions/{name}", json.dumps([{"id": f"held-{n}"}]).encode())
    # A name with a dot before it is hidden, and there is nothing to say of a folder.
    silent = {"../f.json": b"[]", "folder/": b""}
    for name, content in silent.items():
        feed.put(f"transactions/{name}", content)
    go(feed)
    folder.run(TS)
    found = feed.tree()
    assert {name: f"transactions/{name}" in found for name in HELD} == dict.fromkeys(HELD, True)
    left = {f"transactions/{name}" for name in (*HELD, *silent)}
    assert {name: found[name] for name in found.keys() - left} == tree(folder.data_dir)
    for name, reason in HELD.items():
        assert any(repr(name) in line and reason in line for line in caplog.messages), (name, caplog.messages)


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize(
    ("buckets", "share"), [("moto", 0.1), ("moto", 0.5), ("moto", 0.9), GCS_HALFWAY], indirect=["buckets"]
)
def test_a_process_that_is_killed_is_followed_by_one_that_ends_its_run(
    share: float, *, carried_out: bool, buckets: Buckets, tmp_path: Path
) -> None:
    """Killed with a request, before or after that is carried out, a run is ended by a process that knows nothing."""
    feed, folder = small(buckets, tmp_path, archive={"compression": "gzip"})
    folder.run(TS)
    buckets.kill_at(int(share * REQUESTS), carried_out=carried_out)
    assert buckets.run(feed)[0] == -signal.SIGKILL
    buckets.proxy.succeed()
    go(feed)
    same(feed, folder.spec_path)


def test_what_was_decided_to_be_published_is_published_by_a_release(
    buckets: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group whose process ended right after it decided to publish is finished; the others go back into landing."""
    feed, _ = small(buckets, tmp_path)

    def ends(_store: BucketStore, _places: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(BucketStore, "keep", ends)
        with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)):
            go(feed)
    give_up(feed)
    go(feed, LATER)
    everything_once(feed, {"a.json", "b.json.gz", "c.zip"})


@on_each_store
def test_a_file_that_another_run_archives_meanwhile_is_known_to_this_one(buckets: Buckets, tmp_path: Path) -> None:
    """A run that compares its file with one of a run that ends in this moment finds it in the archive."""
    feed, folder = small(buckets, tmp_path, input={"duplicates": "archive"})
    prepare(feed)
    again = feed.tree()["transactions/a.json"]
    feed.put("transactions/again.json", again)
    with mirrors.working():
        opened = runs.open_feed(feed.spec)
        stage_files(opened, LATER)
        assert buckets.run(feed)[0] == 0
        create_dynamic_taskgroups(opened.spec.data_dir, LATER, opened.spec.subdirs)
    go(feed, LATER)
    folder.run(TS)
    folder.land("again.json", again)
    folder.run(LATER)
    same(feed, folder.spec_path)


STEPS = ("merge_data", "denormalize_data", "archive_files", "verify_run")


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_a_run_that_another_process_ends_is_to_be_tried_again(
    name: str, buckets: Buckets, tmp_path: Path
) -> None:
    """What is gone with the run is not the fault of its data: the step says so, and writes nothing down."""
    feed, folder = small(buckets, tmp_path)
    prepare(feed)
    if name != "merge_data":
        step(feed, "merge_data", TS, 1)
    with mirrors.working():
        opened = runs.open_feed(feed.spec)
        assert buckets.run(feed)[0] == 0
        do = getattr(importlib.import_module(f"fanfold.steps.{name}"), name)
        of = (opened.data_dir, TS, 2) if name == "verify_run" else (f"staging/{TS}/1", opened.data_dir)
        with pytest.raises(BusyError, match="another process has ended or continued run"):
            do(*of)
        # Another group of it, which had begun before, meets the same.
        told = DataError("its original is gone")
        with (
            pytest.raises(BusyError, match="another process has ended or continued run"),
            failures.recorded(opened.run(TS), name),
        ):
            raise told
    folder.run(TS)
    same(feed, folder.spec_path)


def test_a_step_whose_originals_another_process_archives_is_to_be_tried_again(buckets: Buckets, tmp_path: Path) -> None:
    """An original that is in the archive was not overwritten: the step says so, and writes nothing down."""
    feed, folder = small(buckets, tmp_path)
    prepare(feed)
    with mirrors.working():
        opened = runs.open_feed(feed.spec)
        # The other process stops before the run is complete.
        buckets.kill_at_name("denormalized/" + TS + "/_manifest.json")
        assert buckets.run(feed)[0] == -signal.SIGKILL
        buckets.proxy.succeed()
        with pytest.raises(BusyError, match="another process has"):
            merge_data(f"staging/{TS}/1", opened.data_dir)
    assert not [name for name in feed.tree() if name.endswith("failure.json")]
    go(feed)
    folder.run(TS)
    same(feed, folder.spec_path)


def test_of_two_feeds_that_begin_in_one_place_at_once_one_has_it(buckets: Buckets, tmp_path: Path) -> None:
    """The one that is later has claimed nothing, is to be tried again, and is told then whose place it is."""
    feed, _ = small(buckets, tmp_path)
    other = feed.spec.with_name("other.yaml")
    other.write_text(feed.spec.read_text().replace("name: feed", "name: other"))
    with mirrors.working():
        opened = runs.open_feed(other)
        assert buckets.run(feed)[0] == 0
        feed.put("transactions/d.json", json.dumps(MORE).encode())
        with pytest.raises(BusyError, match=r"another process has just begun a feed at .*: try again"):
            stage_files(opened, LATER)
    with pytest.raises(SpecError, match="found 'other', expected 'feed'"):
        api.run(other)
    go(feed, LATER)
    everything_once(feed, {"a.json", "b.json.gz", "c.zip", "d.json"})


@pytest.mark.parametrize("seed", [1, 2])
def test_requests_that_fail_change_nothing(seed: int, buckets: Buckets, tmp_path: Path) -> None:
    """A fifth of all requests fails, in all ways that there are: the tree is the same."""
    feed, folder = small(buckets, tmp_path)
    folder.run(TS)
    buckets.proxy.fail_at_random(seed, 0.2)
    go(feed)
    buckets.proxy.succeed()
    assert buckets.proxy.failed.total() > REQUESTS / 10
    same(feed, folder.spec_path)


def test_three_processes_take_each_file_once(buckets: Buckets, tmp_path: Path) -> None:
    """At once, on one feed, with files of the same bytes: each file is in one run, and each record in one table."""
    feed, folder = small(buckets, tmp_path, input={"duplicates": "archive", "max_files": 2})
    names = {"a.json", "b.json.gz", "c.zip", *(f"{n}.json" for n in range(6))}
    for n in range(6):
        content = json.dumps([{**MORE[0], "id": n % 3}]).encode()
        feed.put(f"transactions/{n}.json", content)
        folder.land(f"{n}.json", content)
    running = [buckets.start(feed, ("run", "SPEC")) for _ in range(3)]
    for process in running:
        process.join(PATIENCE_SECONDS)
    while any(name.startswith(("transactions/", "staging/")) for name in feed.tree()):
        api.run(feed.spec)
    everything_once(feed, names)
    for n in range(5):
        folder.run(f"2026010{n + 1}T000000Z")
    assert rows(feed.tree()) == rows(tree(folder.data_dir))


def rows(found: Mapping[str, bytes]) -> Counter[bytes]:
    """Count the rows of all tables, whatever their runs."""
    tables = (content.splitlines()[1:] for name, content in found.items() if name.endswith(".csv") and "denorm" in name)
    return Counter(row for table in tables for row in table)


@on_each_store
def test_a_feed_moves_from_a_folder_to_a_bucket_and_back(buckets: Buckets, tmp_path: Path) -> None:
    """Copied with all its files, it goes on; with a run that is not complete it is refused, and nothing is done."""
    feed, folder = small(buckets, tmp_path)
    folder.run(TS)
    moved = buckets.copy(folder.spec_path)
    folder.land("d.json", MORE)
    moved.put("transactions/d.json", json.dumps(MORE).encode())
    go(moved, LATER)
    folder.run(LATER)
    same(moved, folder.spec_path)
    copied_back(moved, tmp_path / "back").run(LAST)

    before = feed.tree(own=True)
    prepare(feed)
    begun = copied_back(feed, tmp_path / "begun")
    with pytest.raises(DataError, match=f"run {TS} was begun in a bucket"):
        begun.open()
    for name, content in before.items():
        (begun.data_dir / name).write_bytes(content)
    shutil.rmtree(begun.data_dir / ".fanfold")
    shutil.rmtree(begun.data_dir / "staging")
    begun.stage(TS)
    moved = buckets.copy(begun.spec_path)
    before = moved.tree(own=True)
    with pytest.raises(DataError, match=f"if a folder was copied here, complete run {TS} there"):
        go(moved)
    assert moved.tree(own=True) == before


def copied_back(feed: Feed, root: Path) -> FeedDir:
    """Copy a feed from a bucket into a folder."""
    folder = make_small_shop(root)
    shutil.rmtree(folder.data_dir)
    for name, content in feed.tree(own=True).items():
        place = folder.data_dir / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    folder.landing_dir.mkdir(exist_ok=True)
    return folder


def test_what_a_process_leaves_that_outlives_its_run_is_removed(buckets: Buckets, tmp_path: Path) -> None:
    """Working files that are written for a run which has ended are gone with the next run."""
    feed, folder = small(buckets, tmp_path)
    go(feed)
    feed.put(f"staging/{TS}/.fanfold/0123456789abcdef/1/merged.records", b"late")
    feed.put(f"staging/{TS}/.fanfold/1/failure.json", b"{}")
    go(feed, LATER)
    folder.run(TS)
    same(feed, folder.spec_path)


def test_what_is_nobodys_in_staging_is_left_alone(buckets: Buckets, tmp_path: Path) -> None:
    """Objects in staging that are not below the name of a run stay, and stop no run; below one, they are named."""
    feed, _ = small(buckets, tmp_path)
    others = {"staging/README": b"mine", "staging/notes/.fanfold/1": b"mine", f"staging/x{TS}/1/a.json": b"mine"}
    for name, content in others.items():
        feed.put(name, content)
    go(feed)
    assert {name: content for name, content in feed.tree().items() if name.startswith("staging/")} == others
    feed.put(f"staging/{LATER}/1/a.json", b"[]")
    with pytest.raises(DataError, match=rf"^staging/{LATER} has files that no run in this bucket has claimed"):
        go(feed, LAST)
