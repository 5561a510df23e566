"""The index of the ledger: derived, compared with the manifests each time, made again when it is gone or wrong."""

import os
import shutil
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from fanfold import documents, durable
from fanfold.feed import runs
from fanfold.feed.index import KEPT_INDEXES, KEPT_SECONDS, Index
from tests.conftest import TS, FeedDir, MakeFeed, tree

LATER = "20260103T000000Z"


@pytest.fixture
def feed(make_feed: MakeFeed) -> FeedDir:
    """Two complete runs: of one file and a bad one, then of a duplicate and a new one."""
    made = make_feed({"a.json": "[]", "bad.json": "{"}, input={"duplicates": "archive"})
    made.run()
    made.land("again.json", "[]")
    made.land("b.json", "[ ]")
    made.run(LATER)
    return made


def known(feed: FeedDir, path: Path) -> dict[str, str | None]:
    """Return for some contents who is known to have them first."""
    index = Index(feed.open(), path)
    found = {}
    for content in ("[]", "[ ]", "{", "[  ]"):
        digest = feed.data_dir / "digest"
        digest.write_text(content)
        found[content] = index.first(len(content), durable.sha256(digest), "a.json")
        digest.unlink()
    return found


EXPECTED = {"[]": f"{TS}/a.json", "[ ]": f"{LATER}/b.json", "{": None, "[  ]": None}


def test_content_of_complete_runs_is_known(feed: FeedDir, tmp_path: Path) -> None:
    """A file is known by its bytes, as the first that had them; what went to quarantine as a whole is not."""
    assert known(feed, tmp_path / "new" / "index") == EXPECTED
    index = Index(feed.open(), tmp_path / "new" / "index")
    assert index.sizes({3, 1, 4}) == {3}
    assert index.names({"again.json", "bad.json", "[]"}) == {"again.json"}


def test_many_duplicates_of_a_run_ask_for_its_manifest_once(
    feed: FeedDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day of files that is delivered again costs one reading of the manifest that knows them, not one for each."""
    index = Index(feed.open(), tmp_path / "index")
    digest = feed.data_dir / "digest"
    digest.write_text("[]")
    sha256 = durable.sha256(digest)
    asked: list[Path] = []
    read = documents.read_if_there

    def counted(path: Path, kind: Any) -> Any:
        asked.append(path)
        return read(path, kind)

    monkeypatch.setattr(documents, "read_if_there", counted)
    assert {index.first(2, sha256, "a.json") for _ in range(5)} == {f"{TS}/a.json"}
    assert asked == [feed.at().commit_path]


def test_it_follows_the_manifests(feed: FeedDir, tmp_path: Path) -> None:
    """A run that came since is added, one whose manifest is gone is forgotten; nothing in the feed is changed."""
    path = tmp_path / "index"
    commit = feed.at(LATER).commit_path
    content = commit.read_bytes()
    commit.unlink()
    assert known(feed, path) == EXPECTED | {"[ ]": None}
    commit.write_bytes(content)
    before = tree(feed.data_dir)
    assert known(feed, path) == EXPECTED
    assert tree(feed.data_dir) == before
    feed.at().commit_path.unlink()
    # The duplicate of a file that is known no more makes it known no better.
    assert known(feed, path) == EXPECTED | {"[]": None}


@pytest.mark.parametrize("damage", ["gone", "no database", "cut"])
def test_damaged_it_is_made_again(feed: FeedDir, tmp_path: Path, damage: str) -> None:
    """Gone, overwritten or cut short, an index costs time and nothing else."""
    path = tmp_path / "index"
    assert known(feed, path) == EXPECTED
    match damage:
        case "gone":
            path.unlink()
        case "no database":
            path.write_bytes(b"no database" * 1000)
        case "cut":
            path.write_bytes(path.read_bytes()[:5000])
    assert known(feed, path) == EXPECTED


def test_wrong_it_makes_no_duplicate(feed: FeedDir, tmp_path: Path) -> None:
    """What an index says, and no manifest confirms, is not believed: no file is taken for a duplicate by mistake."""
    path = tmp_path / "index"
    assert known(feed, path) == EXPECTED
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE files SET name = 'other.json' WHERE name = 'b.json'")
    connection.close()
    assert known(feed, path) == EXPECTED


def test_without_a_place_it_is_made_each_time(feed: FeedDir, tmp_path: Path) -> None:
    """Where the cache cannot be written, the answers are the same."""
    (tmp_path / "file").touch(stat.S_IRUSR)
    assert known(feed, tmp_path / "file" / "index") == EXPECTED
    assert runs.complete(feed.open()) == [TS, LATER]


def test_indexes_that_nobody_needs_are_removed(feed: FeedDir, make_feed: MakeFeed, tmp_path: Path) -> None:
    """A new index removes those of feeds that are gone, of long ago, and of too many; one in use stays."""
    folder = tmp_path / "cache"
    gone = make_feed(folder="gone")
    Index(gone.open(), folder / "gone.2.sqlite")
    shutil.rmtree(gone.data_dir)
    assert known(feed, folder / "used.2.sqlite") == EXPECTED
    assert {path.name for path in folder.iterdir()} == {"used.2.sqlite", "used.2.feed"}
    for number in range(KEPT_INDEXES + 5):
        path = folder / f"{number}.1.sqlite"
        path.touch()
        os.utime(path, (time.time() - number - 60,) * 2)
    os.utime(folder / "0.1.sqlite", (time.time() - KEPT_SECONDS - 60,) * 2)
    Index(feed.open(), folder / "new.2.sqlite")
    left = sorted(path.name for path in folder.glob("*.sqlite"))
    assert len(left) == KEPT_INDEXES
    assert {"new.2.sqlite", "used.2.sqlite", "1.1.sqlite"} <= {*left}
    assert "0.1.sqlite" not in left
    assert f"{KEPT_INDEXES}.1.sqlite" not in left
