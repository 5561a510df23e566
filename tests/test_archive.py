"""The archive: originals get their last place whole, and nothing in it is overwritten."""

import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from fanfold import durable
from fanfold.errors import DataError, PathError
from fanfold.feed import runs, staging
from fanfold.feed.folder import Folder
from fanfold.layout import Run
from fanfold.steps.archive_files import archive_files
from fanfold.steps.denormalize_data import denormalize_data
from fanfold.steps.merge_data import merge_data
from fanfold.steps.recount import recount
from tests.conftest import TS, FeedDir, MakeFeed, needs_root, tree

RECORDS = [{"id": n, "customer_id": "1", "items": [{"qty": n}]} for n in range(100)]
LATER = "20260103T000000Z"


def archived(feed: FeedDir) -> list[str]:
    return sorted(str(p.relative_to(feed.data_dir / "processed")) for p in feed.data_dir.glob("processed/**/*.*"))


def places(run: Run, *names: str) -> dict[str, str]:
    return {str(run.group(1).subdir_dir / name): str(run.archive_path(name)) for name in names}


def test_archive_moves(feed: FeedDir, run: Run) -> None:
    """An archived file is the same inode under its new name; a second call changes nothing."""
    inode = (run.group(1).subdir_dir / "a.json").stat().st_ino
    Folder(run.feed).archive(places(run, "a.json", "sub/b.json"))
    archived = feed.data_dir / "processed" / f"a_{TS}.json"
    assert (archived.stat().st_ino, archived.stat().st_nlink) == (inode, 1)
    assert (feed.data_dir / f"processed/sub/b_{TS}.json").read_text() == "B"
    assert staging.left_in(run) is None
    before = tree(feed.data_dir)
    Folder(run.feed).archive(places(run, "a.json", "sub/b.json"))
    assert tree(feed.data_dir) == before


def test_many_originals_are_put_on_disk_together(feed: FeedDir, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are many, the system is asked once for all of them; where it cannot be, for each."""
    asked: list[Path] = []
    monkeypatch.setattr(durable, "sync_file", asked.append)
    monkeypatch.setattr(durable, "MANY_FILES", 2)
    staged = list(places(run, "a.json", "sub/b.json"))
    durable.sync_files(staged)
    assert asked == []
    monkeypatch.setattr(durable, "MANY_FILES", 3)
    durable.sync_files(staged)
    assert asked == list(map(Path, staged))
    monkeypatch.setattr(durable, "MANY_FILES", 2)
    with pytest.raises(FileNotFoundError):
        durable.sync_files([*staged, feed.data_dir / "gone"])


def test_archive_again_completes(feed: FeedDir, run: Run) -> None:
    """Cut short between the new name and the loss of the old one, an archive is completed by a second call."""
    Folder(run.feed).archive(places(run, "a.json"))
    (run.group(1).subdir_dir / "a.json").hardlink_to(run.archive_path("a.json"))
    Folder(run.feed).archive(places(run, "a.json", "sub/b.json"))
    assert staging.left_in(run) is None
    assert sorted(path.name for path in (feed.data_dir / "processed").rglob("*.json")) == [
        f"a_{TS}.json",
        f"b_{TS}.json",
    ]


def test_archive_never_overwrites(run: Run) -> None:
    """A name that another file has in the archive is an error; that file and all staged originals stay."""
    content = "other"
    taken = run.archive_path("sub/b.json")
    taken.parent.mkdir(parents=True)
    taken.write_text(content)
    inode = taken.stat().st_ino
    with pytest.raises(DataError, match="exists and is another file, expected the name to be free"):
        Folder(run.feed).archive(places(run, "a.json", "sub/b.json"))
    assert (taken.read_text(), taken.stat().st_ino) == (content, inode)
    assert [(run.group(1).subdir_dir / name).read_text() for name in ("a.json", "sub/b.json")] == ["A", "B"]
    taken.unlink()
    Folder(run.feed).archive(places(run, "a.json", "sub/b.json"))
    assert taken.read_text() == "B"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_the_archive_holds_the_same_bytes(make_feed: MakeFeed, compression: str) -> None:
    """Originals are compressed but for those that are; the rows stay the same, and a recount finds no gap."""
    lines = "".join(f"{json.dumps(record)}\n" for record in RECORDS)
    content = {"sub/a.json": json.dumps(RECORDS), "b.json.gz": lines, "c.csv": "id,customer_id\n1,1\n", "bad.json": "{"}
    plain = make_feed(content, folder="plain")
    feed = make_feed(content, folder="compressed", archive={"compression": compression})
    assert plain.run() == feed.run()
    suffix = {"gzip": "gz", "zstd": "zst"}[compression]
    assert archived(feed) == [f"b_{TS}.json.gz", f"c_{TS}.csv.{suffix}", f"sub/a_{TS}.json.{suffix}"]
    packed = (feed.data_dir / f"processed/sub/a_{TS}.json.{suffix}").read_bytes()
    unpacked = (
        gzip.decompress(packed) if suffix == "gz" else zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    )
    assert json.loads(unpacked) == RECORDS
    assert [feed.read(n) for n in (1, 2, 3)] == [plain.read(n) for n in (1, 2, 3)]
    proof = recount(*runs.open_complete(feed.open(), TS))
    assert proof == recount(*runs.open_complete(plain.open(), TS))
    assert proof.gaps == []


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_every_byte_of_a_compressed_original_counts(make_feed: MakeFeed, compression: str) -> None:
    """A recount names a compressed original of which one byte changed, also one that its reader does not look at."""
    feed = make_feed({"a.json": json.dumps(RECORDS)}, archive={"compression": compression})
    feed.run()
    (path,) = feed.data_dir.glob("processed/a_*")
    whole = path.read_bytes()
    for position in (0, 4, 9, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert len(recount(*runs.open_complete(feed.open(), TS)).gaps) == 1


def test_cut_short_a_compressed_original_is_written_again(make_feed: MakeFeed) -> None:
    """A half-written copy, and a whole one whose original still is staged, are both completed by a second call."""
    feed = make_feed({"a.json": json.dumps(RECORDS)}, subdirs=1, archive={"compression": "gzip"})
    (group,) = feed.stage().values()
    merge_data(group, feed.data_dir)
    denormalize_data(group, feed.data_dir)
    staged, place = feed.data_dir / group / "a.json", feed.at().archive_path("a.json")
    content = staged.read_bytes()
    place.parent.mkdir()
    durable.temporary(place).write_bytes(b"half")
    archive_files(group, feed.data_dir)
    assert gzip.decompress(place.read_bytes()) == content
    staged.write_bytes(content)
    durable.temporary(place).hardlink_to(place)
    archive_files(group, feed.data_dir)
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    assert feed.verify().files_archived == 1


def test_files_that_would_be_named_alike_go_one_after_the_other(make_feed: MakeFeed) -> None:
    """Of `a.json` and `a.json.gz`, which compressed have one name, the second waits in landing for the next run."""
    feed = make_feed({"a.json": RECORDS, "a.json.gz": RECORDS}, archive={"compression": "gzip"})
    assert feed.run().files_in == 1
    assert feed.run(LATER).files_in == 1
    assert archived(feed) == [f"a_{TS}.json.gz", f"a_{LATER}.json.gz"]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Mount another file system."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@needs_root
def test_an_archive_on_another_file_system(make_feed: MakeFeed, elsewhere: Path) -> None:
    """Where a hard link cannot lead, originals are copied, compared, and then unlinked; cut short, it is completed."""
    feed = make_feed({"a.json": RECORDS, "b.json": RECORDS, "bad.json": "{"}, subdirs=1)
    (group,) = feed.stage().values()
    merge_data(group, feed.data_dir)
    denormalize_data(group, feed.data_dir)
    # Both directories are mounted over: that of the archive and that of what is bad as a whole.
    for name in ("processed", "quarantine"):
        (feed.data_dir / name).mkdir(exist_ok=True)
        (elsewhere / name).mkdir()
        subprocess.run(["mount", "--bind", elsewhere / name, feed.data_dir / name], check=True)
    try:
        staged = feed.data_dir / group / "a.json"
        content = staged.read_bytes()
        archive_files(group, feed.data_dir)
        assert not staged.exists()
        staged.write_bytes(content)
        archive_files(group, feed.data_dir)
        assert feed.verify().files_archived == 2
        assert sorted(os.listdir(elsewhere / "processed")) == [f"a_{TS}.json", f"b_{TS}.json"]  # noqa: PTH208
        assert (elsewhere / f"quarantine/{TS}/1/bad.json").read_text() == "{"
        assert recount(*runs.open_complete(feed.open(), TS)).gaps == []
    finally:
        for name in ("processed", "quarantine"):
            subprocess.run(["umount", feed.data_dir / name], check=True)


@needs_root
def test_landing_on_another_file_system_is_refused(make_feed: MakeFeed) -> None:
    """A landing directory that no rename leads out of is refused before anything is touched."""
    feed = make_feed({"a.json": RECORDS})
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", feed.landing_dir], check=True)
    try:
        with pytest.raises(PathError, match=r"is on another file system than .*, expected one for both"):
            feed.open()
    finally:
        subprocess.run(["umount", feed.landing_dir], check=True)
    assert feed.run().files_in == 1


@needs_root
def test_a_full_archive_leaves_the_original_where_it_is(feed: FeedDir, tmp_path: Path, elsewhere: Path) -> None:
    """What does not fit on the other file system stays staged, and is archived once there is room."""
    staged, place = tmp_path / "a.json", elsewhere / "a.json"
    staged.write_bytes(os.urandom(2_000_000))
    with pytest.raises(OSError, match="No space left"):
        Folder(feed.open()).archive({str(staged): str(place)})
    assert (staged.stat().st_size, place.exists()) == (2_000_000, False)
    subprocess.run(["mount", "-o", "remount,size=4m", elsewhere], check=True)
    Folder(feed.open()).archive({str(staged): str(place)})
    assert (staged.exists(), os.listdir(elsewhere)) == (False, ["a.json"])  # noqa: PTH208
