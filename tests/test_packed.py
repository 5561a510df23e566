"""A zip or tar is one file of the feed: its members are read as files, each by its own name."""

import gzip
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from fanfold.errors import DataError
from fanfold.feed import quarantine, replay, runs
from fanfold.records import members
from fanfold.steps.plan import plan
from fanfold.steps.recount import recount
from fanfold.steps.restore import restore
from tests.archives import ENDINGS, FILES, GOOD, bad_records, check, feed_of, packed, tarred, zipped
from tests.conftest import TS, MakeFeed, tree
from tests.test_cli import fanfold

LATER = "20260103T000000Z"


@pytest.mark.parametrize("ending", ENDINGS)
def test_members_make_the_table_of_the_same_files_in_a_folder(make_feed: MakeFeed, ending: str) -> None:
    """An archive makes the rows, columns and lineage, byte for byte, that its files make in a folder of its name."""
    keys = {"denormalize": {"explode": ["items"]}, "input": {"patterns": ["*"]}}
    others = {"a.json": b'{"id": 90}', f"day{ending}-2.json": b'{"id": 91}', "z.json": b'{"id": 92}'}
    files = {name: content for name, content in FILES.items() if name not in {"f.ndjson", "g.JSON"}}
    alone = feed_of(make_feed, {**others, f"day{ending}": packed(ending, files.items())}, "packed", **keys)
    spread = feed_of(
        make_feed, {**{f"day{ending}/{name}": one for name, one in files.items()}, **others}, "spread", **keys
    )
    assert (alone.run().files_in, spread.run().files_in) == (4, 9)
    rows, wanted = (sorted(feed.read().splitlines()) for feed in (alone, spread))
    assert rows == wanted
    # The order of the rows is that of the files, then of the members: a folder sorts otherwise.
    names = [line.split(",")[-3] for line in alone.read().splitlines()[1:]]
    assert list(dict.fromkeys(name.split("/")[0] for name in names)) == sorted({*others, f"day{ending}"})
    assert [name for name in names if "/" in name] == sorted(name for name in names if "/" in name)
    assert bad_records(alone) == []
    assert f"processed/day_{TS}{ending}" in tree(alone.data_dir)
    check(alone)


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_order_in_an_archive_changes_nothing(make_feed: MakeFeed, ending: str) -> None:
    """However members are ordered in an archive, the same table comes out."""
    orders = [list(FILES.items()) for _ in range(3)]
    for seed, order in enumerate(orders):
        random.Random(seed).shuffle(order)
    feeds = [feed_of(make_feed, {f"x{ending}": packed(ending, order)}, str(at)) for at, order in enumerate(orders)]
    summaries = [feed.run() for feed in feeds]
    assert len({feed.read() for feed in feeds}) == 1
    assert {one.records_in for one in summaries} == {2 + 2 + 2 + 2 + 2 + 1 + 1}
    assert [(bad["member"], bad["record"], bad["code"]) for bad in bad_records(feeds[0])] == [
        ("f.ndjson", 0, "empty_file")
    ]


def test_bad_records_count_within_their_member(make_feed: MakeFeed) -> None:
    """A bad record names archive and member, and its number, line and bytes count in the member."""
    inner = b'{"id": 3}\n{"id": }\n{"id": 4}\n'
    files = {"a.csv": b"id,v\n1,2\n3\n", "k/b.jsonl": inner, "k/c.json.gz": gzip.compress(inner), "k/d.json": b"hello"}
    feed = feed_of(make_feed, {"x.zip": zipped(files.items()), "y.json": b'{"id": 5}\n{"id": ,}'})
    summary = feed.run()
    found = [
        (bad["file"], bad.get("member"), bad["record"], bad["line"], bad["record_offset"]) for bad in bad_records(feed)
    ]
    assert found == [
        ("x.zip", "a.csv", 2, 3, 9),
        ("x.zip", "k/b.jsonl", 2, 2, 10),
        ("x.zip", "k/c.json.gz", 2, 2, 10),
        ("x.zip", "k/d.json", 0, 1, 0),
        ("y.json", None, 2, 2, 10),
    ]
    assert (summary.records_in, summary.records_quarantined, summary.rows_out, summary.files_in) == (11, 5, 6, 2)
    assert "member" not in bad_records(feed)[-1]
    check(feed)


def test_plan_lint_and_list_know_members(make_feed: MakeFeed) -> None:
    """The plan counts as the run does, and each line about a bad record names its member."""
    feed = feed_of(make_feed, {"x.zip": zipped(FILES.items()), "bad.tar": tarred([("a.json", b"{")])})
    planned = plan(feed.open())
    summary = feed.run()
    assert planned.records == summary.records_in == 12
    assert sorted(one.file for one in planned.faults) == ["bad.tar", "x.zip"]
    shown = fanfold("quarantine", "list", feed.spec_path).stdout
    assert f"{TS}/1:1 open: 'x.zip/f.ndjson' line 1: found nothing" in shown
    assert "'bad.tar' line 1: 'a.json': found the end" in shown


def test_a_match_that_fails_names_the_member(make_feed: MakeFeed) -> None:
    """With on_missing: fail, the message says in which member the key stands."""
    merge = [{"reference": "customers.csv", "key": "customer_id", "into": "c", "on_missing": "fail"}]
    feed = feed_of(make_feed, {"x.zip": zipped([("k/a.json", b'{"customer_id": "4711"}')])}, merge=merge)
    with pytest.raises(DataError, match=r"'x\.zip/k/a\.json' line 1: found '4711' in 'customer_id'"):
        feed.run()


def test_an_archive_is_not_a_reference(make_feed: MakeFeed) -> None:
    """A reference in an archive is refused before anything is claimed."""
    feed = feed_of(make_feed, {"a.json": b'{"k": 1}'}, merge=[{"reference": "customers.zip", "key": "k", "into": "c"}])
    (feed.data_dir / "customers.zip").write_bytes(zipped([("customers.csv", b"k,v\n1,2\n")]))
    ended = fanfold("run", feed.spec_path)
    assert (ended.returncode, "customers.zip is an archive, expected a file of CSV" in ended.stderr) == (1, True)
    assert (feed.landing_dir / "a.json").exists()


def test_an_archive_is_one_file_of_the_ledger(make_feed: MakeFeed, tmp_path: Path) -> None:
    """Landed again an archive is a duplicate by its bytes; it is restored as it came, whatever the archive packs."""
    content = packed(".tar", FILES.items())
    feed = feed_of(make_feed, {"x.tar": content}, input={"duplicates": "archive"}, archive={"compression": "gzip"})
    feed.run()
    feed.land("again.tar", content)
    assert feed.run(LATER).records_in == 0
    assert (feed.data_dir / f"processed/x_{TS}.tar").read_bytes() == content
    assert restore(*runs.open_complete(feed.open(), TS), tmp_path) == ["x.tar"]
    assert (tmp_path / "x.tar").read_bytes() == content
    archived = feed.data_dir / f"processed/x_{TS}.tar"
    archived.write_bytes(content.replace(b'"id": 15', b'"id": 16'))
    assert "is changed" in "".join(recount(*runs.open_complete(feed.open(), TS)).gaps)


def test_folders_in_an_archive_give_columns(make_feed: MakeFeed) -> None:
    """Folders in and around an archive that say date=… give it to their records; the name of the archive does not."""
    files = {"day=2/a.json": b'{"id": 1}', "b.json": b'{"id": 2}', "day=3/c.json": b'{"id": }\n{"id": 3}'}
    feed = feed_of(make_feed, {"shop=7/x=1.zip": zipped(files.items())}, input={"path_columns": True})
    feed.run()
    rows = [dict(zip(["shop", "id", "day"], line.split(","), strict=False)) for line in feed.read().splitlines()]
    assert rows[0] == {"shop": "shop", "id": "id", "day": "day"}
    assert [(row["shop"], row["id"], row["day"]) for row in rows[1:]] == [
        ("7", "2", ""),
        ("7", "1", "2"),
        ("7", "3", "3"),
    ]
    (item,) = quarantine.items(feed.open())
    assert replay.replay(feed.open(), item).landed_as == f"replay/{TS}/1/1/shop=7/day=3/c.json"
    check(feed)


def test_fields_around_the_records_of_a_member_come_along(make_feed: MakeFeed) -> None:
    """A wrapped document in an archive gives its records what stands around them, on a replay too."""
    pages = {f"{n}.json": b'{"page": %d, "rows": [{"id": 1}, {"id": }, {"id": 3}]}' % n for n in (1, 2)}
    feed = feed_of(
        make_feed, {"x.tgz": packed(".tgz", pages.items())}, input={"records_at": "/rows", "envelope": ["page"]}
    )
    feed.run()
    assert sorted(line[:3] for line in feed.read().splitlines()[1:]) == ["1,1", "1,2", "3,1", "3,2"]
    item = list(quarantine.items(feed.open()))[1]
    landed = feed.landing_dir / str(replay.replay(feed.open(), item, b'{"id": 2}').landed_as)
    assert json.loads(landed.read_bytes()) == {"page": 2, "rows": [{"id": 2}]}
    check(feed)


def test_declared_fields_hold_in_members(make_feed: MakeFeed) -> None:
    """With a declared schema nothing is scanned, and members are read by it all the same."""
    fields = {"schema": "declared", "fields": {"id": "BIGINT"}}
    feed = feed_of(
        make_feed,
        {"x.zip": zipped([GOOD, ("b.json", b'{"id": "x"}\n{"id": 2, "y": 3}'), ("c.json", b"no")])},
        input=fields,
    )
    feed.run()
    assert [(bad["member"], bad["record"], bad["code"]) for bad in bad_records(feed)] == [
        ("b.json", 1, "wrong_type"),
        ("c.json", 0, "syntax"),
    ]
    assert [line.split(",")[0] for line in feed.read().splitlines()] == ["id", "2", "1"]


def test_members_are_unpacked_into_files_without_a_name(tmp_path: Path) -> None:
    """While a member is read nothing of it lies under a name: a kill leaves nothing behind."""
    (tmp_path / "x.tgz").write_bytes(packed(".tgz", FILES.items()))
    for member in members.members(str(tmp_path / "x.tgz"), tmp_path, str):
        assert Path(member.path).is_file()
        assert [path.name for path in tmp_path.iterdir()] == ["x.tgz"]


def test_verify_reads_an_archive_once_for_all_tables(make_feed: MakeFeed) -> None:
    """However many tables a feed has, an archive is read for its hash, and for its members once."""
    content = json.dumps([{"id": n, "a": [{"v": n}], "b": [{"v": 1}, {"v": 2}]} for n in range(3)]).encode()
    opened = list[str]()

    def read(folder: str, **keys: Any) -> int:
        feed = make_feed({"x.zip": zipped([("a.json", content)])}, folder=folder, subdirs=1, merge=[], **keys)
        feed.run()
        opened.clear()
        assert recount(*runs.open_complete(feed.open(), TS)).gaps == []
        return sum(path.endswith(f"x_{TS}.zip") for path in opened)

    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    tables = {"tables": {"orders": {"explode": []}, "a": {"explode": ["a"]}, "b": {"explode": ["b"]}}}
    assert read("one", denormalize={}) == read("three", denormalize={}, **tables) == 2
