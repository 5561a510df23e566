"""What was bad in a member of an archive is corrected and lands again, in whatever form its member is written."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fanfold.errors import DataError
from fanfold.feed import quarantine, replay
from fanfold.manifest import BadRecord
from tests.archives import GOOD, check, encrypted, feed_of, packed, tarred, zipped
from tests.conftest import TS, MakeFeed
from tests.test_cli import fanfold

LATER = "20260103T000000Z"


def test_what_was_bad_in_a_member_is_replayed(make_feed: MakeFeed) -> None:
    """A bad record of a member, or the member itself, lands again alone, and makes its rows once."""
    files = {
        "k/a.csv": b"id,v\n1,2\n3\n",
        "b.jsonl.gz": gzip.compress(b'{"id": 4}\n{"id": }\n'),
        "c.json": b"[nothing]",
        "good.json": b'{"id": 9}',
    }
    feed = feed_of(make_feed, {"x.zip": zipped(files.items())}, input={"duplicates": "archive"})
    feed.run()
    opened = feed.open()
    items = {item.bad.member: item for item in quarantine.items(opened) if isinstance(item.bad, BadRecord)}
    assert list(items) == ["b.jsonl.gz", "c.json", "k/a.csv"]
    # As they are, they land with their own bytes.
    for member, landed, content in [
        ("b.jsonl.gz", "1/1/b.jsonl", b'{"id": }'),
        ("c.json", "1/2/c.json", b"[nothing]"),
        ("k/a.csv", "1/3/a.csv", b"id,v\n3\n"),
    ]:
        assert replay.replay(opened, items[member]).landed_as == f"replay/{TS}/{landed}"
        assert (feed.landing_dir / f"replay/{TS}/{landed}").read_bytes() == content
    # Another member, corrected: it lands in its place.
    (feed.landing_dir / f"replay/{TS}/1/2/c.json").write_bytes(b'[{"id": 5}]')
    summary = feed.run(LATER)
    assert (summary.files_in, summary.files_quarantined, summary.records_in) == (3, 2, 1)
    assert [line.split(",")[0] for line in feed.read(1, LATER).splitlines()[1:]] == ["5"]


def test_a_member_without_a_text_is_replayed_with_another_one(make_feed: MakeFeed) -> None:
    """A member that cannot be unpacked lands as the file that is given in its place, and as nothing without one."""
    feed = feed_of(make_feed, {"x.zip": encrypted()})
    feed.run()
    (item,) = quarantine.items(feed.open())
    with pytest.raises(DataError, match=r"has no text \(encrypted\)"):
        replay.replay(feed.open(), item)
    assert replay.replay(feed.open(), item, b'{"id": 2}').landed_as == f"replay/{TS}/1/1/b.json"
    assert feed.run(LATER).rows_out == 1


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_half_a_member_of_csv_is_not_replayed_as_it_was(make_feed: MakeFeed, ending: str) -> None:
    """A member without a good record that is cut short, too, ends in half a line: only its correction is landed."""
    content = b"id,note\n1\n2,goodbye\n"
    stored = gzip.compress(content, 0) if ending == ".csv.gz" else content
    end = 1536 + len(stored) - (8 if ending == ".csv.gz" else 0) - 5
    feed = feed_of(make_feed, {"x.tar": tarred([GOOD, (f"z{ending}", stored)])[:end]})
    feed.run()
    (item,) = quarantine.items(feed.open())
    with pytest.raises(DataError, match=r"has no text"):
        replay.replay(feed.open(), item)


def test_a_member_that_no_pattern_takes_alone_is_not_landed(make_feed: MakeFeed) -> None:
    """Where only its archive is taken, a member that is bad is not landed alone: no run would take it."""
    feed = feed_of(make_feed, {"x.zip": zipped([GOOD, ("c.json", b"[nothing]")])}, input={"patterns": ["*.zip"]})
    feed.run()
    (item,) = quarantine.items(feed.open())
    with pytest.raises(DataError, match=r"c\.json' matches none of input\.patterns"):
        replay.replay(feed.open(), item)
    quarantine.discard(feed.open(), item)
    assert [one.state for one in quarantine.items(feed.open())] == ["discarded"]


MIXED = {
    "k/a.csv": "id;town\n1;Z\u00fcrich\n2\n",
    "b.jsonl.gz": '{"id": 3, "town": "Z\u00fcrich"}\n{"id": 4, "town": "K\u00f6ln",}\n',
    "c.json": '[{"id": 5, "town": "Nice"}, {"id": 6 "town": "Mende"}]',
    "whole.csv": "id;id\n7;8\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
@pytest.mark.parametrize("ending", [".zip", ".tgz"])
def test_members_are_corrected_in_their_encoding_and_dialect(
    make_feed: MakeFeed, encoding: str, ending: str, tmp_path: Path
) -> None:
    """Lines of an export, corrected, are rows of the next run once, whatever encoding and dialect the members have."""
    made = {name: text.encode(encoding) for name, text in MIXED.items()}
    made["b.jsonl.gz"] = gzip.compress(made["b.jsonl.gz"], mtime=0)
    keys = {"encoding": encoding, "csv": {"delimiter": ";"}, "duplicates": "archive"}
    feed = feed_of(make_feed, {f"x{ending}": packed(ending, made.items())}, input=keys)
    assert feed.run().records_in == 7
    check(feed)
    lines = [json.loads(line) for line in fanfold("quarantine", "export", feed.spec_path).stdout.splitlines()]
    assert [(line["file"].partition("/")[2], line.get("raw")) for line in lines] == [
        ("b.jsonl.gz", '{"id": 4, "town": "K\u00f6ln",}'),
        ("c.json", '{"id": 6 "town": "Mende"}'),
        ("k/a.csv", "2"),
        ("whole.csv", None),
    ]
    corrected: list[dict[str, Any]] = [
        {"record": {"id": 4, "town": "K\u00f6ln"}},
        {"record": {"id": 6, "town": "Mende"}},
        {"raw": "2;S\u00e3o"},
        {"raw": "id;town\n7;\u00c5re\n"},
    ]
    path = tmp_path / "corrected.jsonl"
    path.write_text("".join(json.dumps({"item": a["item"]} | b) + "\n" for a, b in zip(lines, corrected, strict=True)))
    assert fanfold("quarantine", "replay", feed.spec_path, "--with", path).returncode == 0
    summary = feed.run(LATER)
    assert (summary.files_in, summary.records_in, summary.records_quarantined) == (4, 4, 0)
    rows = [line.split(",")[:2] for line in feed.read(1, LATER).splitlines()[1:]]
    assert sorted(rows) == [["2", "S\u00e3o"], ["4", "K\u00f6ln"], ["6", "Mende"], ["7", "\u00c5re"]]
