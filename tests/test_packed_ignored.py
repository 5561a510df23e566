"""Members of an archive that no pattern takes are left inside: counted and named, and never a bad record."""

import json

import pytest

from fanfold.steps.plan import plan
from tests.archives import ENDINGS, GOOD, bad_files, bad_records, check, feed_of, packed, zipped
from tests.conftest import TS, MakeFeed
from tests.test_cli import fanfold

OTHERS = ["LICENSE", "__MACOSX/._good.json", "a/.DS_Store", "a/.x.json", "a/read.me.txt", "b.json.part", "c.pdf"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_no_pattern_takes_is_named_and_left_inside(make_feed: MakeFeed, ending: str) -> None:
    """A readme, a picture, a hidden or unfinished file is counted by plan, run and manifest, and nothing is bad."""
    name = f"x{ending}"
    feed = feed_of(make_feed, {name: packed(ending, [GOOD, *((other, b"text") for other in reversed(OTHERS))])})
    planned = plan(feed.open())
    ran = fanfold("run", feed.spec_path, "--ts", TS)
    told = f"7 members match no pattern ({', '.join(f'{name}/{other}'.__repr__() for other in OTHERS)})"
    assert (ran.returncode, f"in archives {told}\n" in ran.stderr) == (0, True)
    assert str(planned.members_ignored) == told
    (file,) = json.loads(feed.at().commit_path.read_bytes())["files"]
    assert file["ignored"] == {"members": 7, "names": OTHERS}
    assert (file["records"], file["records_quarantined"], bad_records(feed)) == (1, 0, [])
    assert feed.audit(TS).findings == []
    check(feed)


@pytest.mark.parametrize(
    ("patterns", "read"),
    [
        (["*.zip"], "a.csv a.json b.json t.JSON"),
        (["X*"], "a.csv a.json b.json t.JSON"),
        (["*.ZIP", "*.csv"], "a.csv"),
        (["*.zip", "A.*"], "a.csv a.json"),
        (["*.zip", "*.txt", "t*"], "t.JSON u.txt"),
    ],
)
def test_patterns_choose_members_too(make_feed: MakeFeed, patterns: list[str], read: str) -> None:
    """Patterns for files take members by their names; where there are none, or one takes the archive, all are read."""
    members = [(f"k/{name}", b'{"id": 1}') for name in ("a.json", "b.json", "t.JSON", "u.txt")]
    feed = feed_of(make_feed, {"x.zip": zipped([*members, ("k/a.csv", b"id\n1\n")])}, input={"patterns": patterns})
    planned = plan(feed.open())
    feed.run()
    rows = [line.split(",")[1].rpartition("/")[2] for line in feed.read().splitlines()[1:]]
    assert rows == read.split()
    assert planned.members_ignored.members == 5 - len(rows)
    check(feed)


def test_an_archive_of_nothing_that_is_taken_is_a_bad_file(make_feed: MakeFeed) -> None:
    """Its reason names what is in it."""
    keys = {"max_bad_files_percent": 100}
    feed = feed_of(make_feed, {"x.zip": zipped([("a.txt", b"x"), ("k/", b"")]), "y.json": b"{}"}, quarantine=keys)
    feed.run()
    assert bad_files(feed) == {"x.zip": "unknown_format"}
    reason = json.loads((feed.data_dir / f"quarantine/{TS}/1/x.zip.reason.json").read_bytes())
    assert reason["message"] == "found no member to read, expected one: 1 member matches no pattern ('a.txt')"


def test_of_many_members_the_first_names_are_kept(make_feed: MakeFeed) -> None:
    """However many members are left inside, a manifest has ten names of an archive, and a line of a run has ten."""
    feed = feed_of(make_feed, {f"{n}.zip": zipped([GOOD, *((f"{m:02}.txt", b"") for m in range(90))]) for n in (1, 2)})
    shown = ", ".join(f"'1.zip/{m:02}.txt'" for m in range(10))
    ran = fanfold("run", feed.spec_path, "--json")
    assert f"in archives 180 members match no pattern ({shown}, …)" in ran.stderr
    found = json.loads(ran.stdout)["members_ignored"]
    assert (found["members"], len(found["names"])) == (180, 10)


def test_a_feed_without_such_members_says_nothing_of_them(make_feed: MakeFeed) -> None:
    """The manifest of a feed whose files are all read is as it was."""
    feed = feed_of(make_feed, {"x.zip": zipped([GOOD]), "a.json": b"{}"})
    feed.run()
    assert all("ignored" not in file for file in json.loads(feed.at().commit_path.read_bytes())["files"])
