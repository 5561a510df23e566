"""What is bad goes to quarantine, with the reason, and costs nothing that is good."""

import base64
import gzip
import json
import random
import shutil
import types
from pathlib import Path
from typing import Any

import pytest

from fanfold import documents
from fanfold.errors import DataError
from fanfold.faults import CODES
from fanfold.feed import runs
from fanfold.manifest import BadFile, Manifest, Summary
from fanfold.native import Others
from fanfold.records.read import Door, Rules
from fanfold.steps.archive_files import archive_files
from fanfold.steps.list_files import list_files
from fanfold.steps.merge_data import merge_data
from fanfold.steps.recount import recount
from fanfold.steps.release import release
from tests.conftest import GROUP_STEPS, TS, FeedDir, MakeFeed, new_feed, tree
from tests.test_packed_faults import CODES as ARCHIVES

# Of a record that is too large no text is kept.
NOT_KEPT = {"record_too_large", "too_many_values"}
FLAT: dict[str, Any] = {"subdirs": 1, "merge": [], "denormalize": {}}
ALL_MAY_BE_BAD: dict[str, Any] = {"quarantine": {"max_bad_records_percent": 100}}
LENIENT = {**FLAT, **ALL_MAY_BE_BAD}
LISTED = f"quarantine/{TS}/1/records.jsonl"


def bad_records(feed: FeedDir, n: int = 1) -> list[dict[str, Any]]:
    path = feed.data_dir / f"quarantine/{TS}/{n}/records.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def reason(feed: FeedDir, name: str, n: int = 1) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((feed.data_dir / f"quarantine/{TS}/{n}/{name}.reason.json").read_bytes())
    return read


def quarantined(feed: FeedDir) -> list[str]:
    root = feed.data_dir / "quarantine"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def committed(feed: FeedDir, ts: str = TS) -> Manifest:
    return documents.read(feed.data_dir / f".fanfold/runs/{ts}.json", Manifest)


def check_laws(feed: FeedDir, summary: Summary) -> None:
    """Check what holds for every run whose records become one row each: the counts, the recount, a second run."""
    assert summary.files_in == summary.files_archived + summary.files_quarantined
    assert isinstance(summary.rows_out, int)
    assert summary.records_in == summary.rows_out + summary.records_quarantined
    parts = summary.subdirs.values()
    assert summary.files_in == sum(part.files for part in parts)
    assert summary.bytes_in == sum(part.bytes for part in parts)
    assert summary.records_in == sum(part.records for part in parts)
    assert summary.rows_out == sum(part.rows for part in parts if isinstance(part.rows, int))
    made = committed(feed)
    assert sum(1 for file in made.files if file.code) == summary.files_quarantined
    assert sum(file.records for file in made.files) == summary.records_in
    assert sum(file.records_quarantined for file in made.files) == summary.records_quarantined
    assert sum(listed.rows for listed in made.quarantined.values()) == summary.records_quarantined
    recounted = recount(*runs.open_complete(feed.open(), None))
    assert recounted.gaps == []
    assert (recounted.files, recounted.records) == (summary.files_in, summary.records_in)
    before = tree(feed.data_dir)
    assert feed.run() == summary
    assert tree(feed.data_dir) == before


DECLARED = {"input": {"fields": {"i": "BIGINT", "o.s": "VARCHAR"}}}
KEY = {"record": "o.id", "reference": "customer_id"}
MATCHED = {"merge": [{"reference": "customers.csv", "key": KEY, "into": "c", "on_missing": "quarantine"}]}
# For each code: a record that is bad by it, what the spec has for that, where the fault is in it, its JSON pointer.
BAD_RECORDS: dict[str, tuple[bytes, dict[str, Any], int, str]] = {
    "syntax": (b'{"i":2,"o":{"id":x}}', {}, 17, "/o/id"),
    "nan": (b'{"i":NaN}', {}, 5, "/i"),
    "trailing_comma": (b'{"i":[2,]}', {}, 7, "/i/0"),
    "trailing_garbage": (b'{"i":2}} x', {}, 7, ""),
    "duplicate_key": (b'{"o":{"id":1,"s":2,"id":1}}', {}, 19, "/o/id"),
    "lone_surrogate": (rb'{"s":"x\ud800"}', {}, 7, "/s"),
    "bad_utf8": (b'{"s":"\xc3\xa9\xff"}', {}, 8, "/s"),
    "control_character": (b'{"s":"\x01"}', {}, 6, "/s"),
    "truncated": (b'{"i":2', {}, 6, "/i"),
    "too_deep": (b'{"i":' + b"[" * 128 + b"]" * 128 + b"}", {}, 132, "/i" + "/0" * 127),
    "not_an_object": (b'["i"]', {}, 0, ""),
    "record_too_large": (b'{"s":"' + b"x" * 1100 + b'"}', {"input": {"max_record_bytes": 1024}}, 0, ""),
    "too_many_values": (b'{"s":[' + b"1," * 1_000_000 + b"1]}", {}, 2_000_002, "/s/999998"),
    "too_many_fields": (b"{" + b",".join(b'"k%d":1' % n for n in range(10_001)) + b"}", {}, 1, "/k0"),
    "key_too_long": (b'{"' + b"k" * 4097 + b'":1}', {}, 1, "/" + "k" * 4097),
    "wrong_type": (b'{"s":[], "i":"x"}', DECLARED, 13, "/i"),
    "case_conflict": (b'{"i":2,"O":{"id":"2"}}', {}, 7, "/O"),
    "name_conflict": (b'{"i":2,"o_id":7}', {}, 7, "/o_id"),
    "inexact": (b'{"o":{},"i":1.5}', DECLARED, 12, "/i"),
    "bad_json_text": (b'{"i":2,"p":"{x"}', {"input": {"parse": ["p"]}}, 11, "/p"),
    "no_match": (b'{"i":2,"o":{"s":[1,2],"id":"9"}}', MATCHED, 27, "/o/id"),
}
BEFORE, AFTER = '{"i":1,"o":{"id":"1","é":"é"}}\n'.encode(), b'{"i":3,"o":{"id":"2"}}\n'


@pytest.mark.parametrize("code", BAD_RECORDS)
def test_a_bad_record_costs_no_good_one(make_feed: MakeFeed, code: str) -> None:
    """The good records around a bad one are published, and the bad one is quarantined with reason, place and text."""
    raw, keys, position, pointer = BAD_RECORDS[code]
    feed = make_feed({"a.json": BEFORE + raw + b"\n" + AFTER}, **LENIENT | keys)
    summary = feed.run()
    (bad,) = bad_records(feed)
    message = bad.pop("message")
    assert message.startswith("found ")
    kept = bad.pop("raw", None)
    kept = base64.b64decode(bad.pop("raw_base64")) if kept is None and "raw_base64" in bad else kept
    assert (kept.encode() if isinstance(kept, str) else kept) == (None if code in NOT_KEPT else raw)
    start = len(BEFORE)
    assert bad == {
        "file": "a.json", "record": 2, "line": 2, "offset": start + position, "record_line": 2, "record_offset": start,
        "pointer": pointer, "code": code, "size": len(raw),
    }  # fmt: skip
    assert [row.split(",")[0] for row in feed.read().splitlines()[1:]] == ["1", "3"]
    assert (summary.records_in, summary.records_quarantined, summary.files_archived) == (3, 1, 1)
    check_laws(feed, summary)


BAD_LINES: dict[str, tuple[bytes, int, str]] = {
    "ragged_line": (b"2", 0, ""),
    "bad_quote": (b'2,"x"y', 2, "/o"),
    "bad_utf8": (b"2,x\xff", 3, "/o"),
    "wrong_type": (b"x,2", 0, "/i"),
}


@pytest.mark.parametrize("code", BAD_LINES)
def test_a_bad_line_costs_no_good_one(make_feed: MakeFeed, code: str) -> None:
    """The good lines of a CSV file around a bad one are published, and the bad one is quarantined as it was."""
    raw, position, pointer = BAD_LINES[code]
    before = b'i,o\r\n1,"x\r\ny"\r\n'
    feed = make_feed({"a.csv": before + raw + b"\r\n3,z\r\n"}, **LENIENT | {"input": {"fields": {"i": "BIGINT"}}})
    summary = feed.run()
    (bad,) = bad_records(feed)
    kept = bad["raw"].encode() if "raw" in bad else base64.b64decode(bad["raw_base64"])
    assert (bad["code"], bad["pointer"], bad["record"], kept) == (code, pointer, 2, raw)
    assert (bad["record_line"], bad["record_offset"]) == (4, len(before))
    if code != "wrong_type":
        assert bad["offset"] == len(before) + position
    assert feed.read() == 'i,o\n1,"x\r\ny"\n3,z\n'
    check_laws(feed, summary)


GZIP = gzip.compress(b'{"i":1}\n' * 100, mtime=0)
# For each code: name and content of a file that is bad by it, what the spec has for that, line and byte of the fault.
BAD_FILES: list[tuple[str, str, bytes, dict[str, Any], int | None, int | None]] = [
    ("empty_file", "a.json", b"", {}, 1, 0),
    ("empty_file", "a.jsonl", b" \n", {}, 1, 0),
    ("empty_file", "a.csv", b"", {}, 1, 0),
    ("unreadable", "a.json.gz", b"no gzip", {}, None, None),
    ("bomb", "a.json.gz", gzip.compress(bytes(1 << 20), mtime=0) * 80, {}, None, None),
    ("too_many_fields", "a.csv", b",".join(b"c%d" % n for n in range(10_001)), {}, 1, 58_890),
    ("key_too_long", "a.csv", b"c" * 4097, {}, 1, 0),
    ("unreadable", "a.json.gz", GZIP[:-6] + b"\0\0" + GZIP[-4:], {}, None, None),
    ("unreadable", "a.json.zst", b"no zstd", {}, None, None),
    ("unreadable", "a.parquet", b"no Parquet", {}, None, None),
    ("bad_header", "a.csv", b"a,a\n1,2\n", {}, 1, 2),
    ("bad_utf8", "a.csv", b"a,\xff\n1,2\n", {}, 1, 2),
    ("wrong_encoding", "a.csv", "a\n1\n".encode("utf-16"), {}, None, None),
    ("pointer_not_found", "a.json", b'{"e":[{"i":1}]}', {"input": {"records_at": "/d"}}, 1, 14),
    ("syntax", "a.json", b"\nno JSON\n", {}, 2, 1),
    ("truncated", "a.json", b'[{"i":1', {}, 1, 7),
    ("not_an_object", "a.json", b"[1,\n2]", {}, 1, 1),
    ("too_deep", "a.json", b"[" * 100_000, {}, 1, 129),
    ("ragged_line", "a.csv", b"a,b\n1\n2\n", {}, 2, 4),
]


def test_every_code_is_tried() -> None:
    """Every code of the list is one that a record, a line or a file has; duplicates and full disks have their own."""
    assert {*BAD_RECORDS, *BAD_LINES, *(code for code, *_ in BAD_FILES), *ARCHIVES, "duplicate", "too_large"} == set(
        CODES
    )


@pytest.mark.parametrize(("code", "name", "content", "keys", "line", "offset"), BAD_FILES)
def test_a_bad_file_costs_no_good_one(  # noqa: PLR0913, PLR0917 - one case of a table
    make_feed: MakeFeed,
    code: str,
    name: str,
    content: bytes,
    keys: dict[str, Any],
    line: int | None,
    offset: int | None,
) -> None:
    """A file of which no record can be read goes to quarantine as it is, beside its reason; the other is published."""
    feed = make_feed({f"sub/{name}": content, "b.json": '{"d":[{"i":1}]}' if keys else '[{"i":1}]'}, **FLAT | keys)
    summary = feed.run()
    assert (summary.files_quarantined, summary.files_archived, summary.records_quarantined) == (1, 1, 0)
    assert (summary.records_in, summary.rows_out) == (1, 1)
    assert quarantined(feed) == [f"{TS}/1/sub/{name}", f"{TS}/1/sub/{name}.reason.json"]
    assert (feed.data_dir / f"quarantine/{TS}/1/sub/{name}").read_bytes() == content
    told = reason(feed, f"sub/{name}")
    assert told["message"].startswith("found ")
    assert list(told) == list(BadFile.__struct_fields__)
    assert (told["file"], told["code"], told["line"], told["offset"]) == (f"sub/{name}", code, line, offset)
    assert feed.read() == "i\n1\n"
    assert [file.code for file in committed(feed).files] == [None, code]
    check_laws(feed, summary)


@pytest.mark.slow
def test_what_is_compressed_and_has_no_room_is_set_aside(make_feed: MakeFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed file whose content is larger than what the disk has free goes to quarantine; another is read."""
    digits = random.Random(0).randbytes(35 << 20).hex()
    lines = "".join(f'{{"i":{at},"v":"{digits[at : at + 4000]}"}}\n' for at in range(0, len(digits), 4000)).encode()
    feed = make_feed({"a.json.gz": gzip.compress(lines, 1), "b.json": '{"i":1}', "c.json": lines}, **FLAT)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: types.SimpleNamespace(free=64 << 20))
    summary = feed.run()
    assert (summary.files_quarantined, summary.rows_out) == (1, 1 + lines.count(b"\n"))
    assert reason(feed, "a.json.gz")["code"] == "too_large"
    check_laws(feed, summary)


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.json.zst", "a.csv", "a.parquet"])
@pytest.mark.parametrize("content", [b"\xff", b""])
def test_a_run_of_nothing_but_a_bad_file_ends_well(make_feed: MakeFeed, name: str, content: bytes) -> None:
    """A run whose only file is bad puts it into quarantine and is complete."""
    feed = make_feed(subdirs=1, merge=[], denormalize={})
    (feed.landing_dir / name).write_bytes(content)
    summary = feed.run()
    assert (summary.files_in, summary.files_quarantined, summary.rows_out) == (1, 1, 0)
    assert quarantined(feed) == [f"{TS}/1/{name}", f"{TS}/1/{name}.reason.json"]
    check_laws(feed, summary)


@pytest.mark.parametrize("content", ['{"a":x}', '[{"a":1', ""])
def test_a_group_of_bad_files_beside_others_ends_well(make_feed: MakeFeed, content: str) -> None:
    """Where one subdirectory has nothing but bad files, its table has the columns of the run and no row."""
    feed = make_feed({"a.json": [{"a": 1, "b": 2}] * 50, "b.json": content}, **FLAT | {"subdirs": 2})
    summary = feed.run()
    assert feed.read(2) == "a,b\n"
    assert quarantined(feed) == [f"{TS}/2/b.json", f"{TS}/2/b.json.reason.json"]
    check_laws(feed, summary)


def test_the_reason_of_a_file_names_no_place_of_the_machine(make_feed: MakeFeed) -> None:
    """The reason of a bad file is the same wherever the data lies."""
    files = {"a.parquet": b"no Parquet", "b.json.gz": b"x", "c.json.zst": b"x", "d.json": b"x", "e.json": b'{"i":1}'}
    feeds = [make_feed(files, folder=folder, **FLAT) for folder in ("here", "there/and/there")]
    for feed in feeds:
        feed.run()
    assert tree(feeds[0].data_dir / "quarantine") == tree(feeds[1].data_dir / "quarantine")
    assert "here" not in "".join(json.dumps(reason(feeds[0], name)) for name in list(files)[:4])


def test_names_that_are_those_of_the_quarantine(make_feed: MakeFeed) -> None:
    """Bad files named records.jsonl, or like the reason of another, keep apart from what Fanfold writes there."""
    names = ["records.jsonl", "records.jsonl.bad", "a.json", "a.json.reason.json", "a.json.reason.json.bad"]
    patterns = ["*.json", "*.jsonl", "*.bad"]
    feed = make_feed(dict.fromkeys(names, "no JSON"), **LENIENT | {"input": {"patterns": patterns}})
    feed.land("good.json", '{"i":1}\n{"i":x}\n')
    summary = feed.run()
    assert (summary.files_quarantined, summary.records_quarantined) == (5, 1)
    found = quarantined(feed)
    assert len(found) == 2 * len(names) + 1
    assert [bad["file"] for bad in bad_records(feed)] == ["good.json"]
    reasons = [path for path in found if path.endswith(".reason.json") and path.removesuffix(".reason.json") in found]
    told = {json.loads((feed.data_dir / "quarantine" / path).read_bytes())["file"]: path for path in reasons}
    assert set(names) <= set(told)
    for name in names:
        original = feed.data_dir / "quarantine" / told[name].removesuffix(".reason.json")
        assert original.read_text() == "no JSON"
    check_laws(feed, summary)


def test_the_text_of_bad_records_may_be_left_out(make_feed: MakeFeed) -> None:
    """Under `raw: false` the quarantine has the reason of a bad record, and nothing of its text."""
    feed = make_feed(
        {"a.json": b'{"i":1}\n{"secret":x}\n{"secret":"\xff"}\n'},
        **FLAT | {"quarantine": {"raw": False, "max_bad_records_percent": 100}},
    )
    summary = feed.run()
    assert [bad["code"] for bad in bad_records(feed)] == ["syntax", "bad_utf8"]
    assert all("raw" not in bad and "raw_base64" not in bad for bad in bad_records(feed))
    check_laws(feed, summary)


def test_places_are_those_in_the_decompressed_file(make_feed: MakeFeed) -> None:
    """Line and byte of a bad record in a gzip file are those of its decompressed text."""
    content = b'{"i":1}\n' * 5000 + b'{"i":x}\n' + b'{"i":2}\n'
    feed = make_feed({"a.json.gz": gzip.compress(content, mtime=0)}, **FLAT)
    summary = feed.run()
    (bad,) = bad_records(feed)
    assert (bad["record"], bad["line"], bad["offset"]) == (5001, 5001, 5000 * 8 + 5)
    assert summary.rows_out == 5001
    check_laws(feed, summary)


def test_bad_records_come_in_the_order_of_files_and_records(make_feed: MakeFeed) -> None:
    """The bad records of a subdirectory are listed by file and by their number in it, whatever the files hold."""
    files = {
        "c.json": '{"i":1}\n{"i":x}\n{"i":2}\n{"i":y}\n',
        "a.csv": "i,s\n1\n2,x\n",
        "b.json": '[{"i":"x"},{"i":1,"i":2},{"i":5}]',
    }
    feed = make_feed(files, **LENIENT | DECLARED)
    summary = feed.run()
    found = [(bad["file"], bad["record"]) for bad in bad_records(feed)]
    assert found == [("a.csv", 1), ("b.json", 1), ("b.json", 2), ("c.json", 2), ("c.json", 4)]
    check_laws(feed, summary)


def test_steps_run_twice_end_in_the_same_tree(make_feed: MakeFeed) -> None:
    """Every step that is run twice, with bad records and bad files, ends in the tree of a run without repetition."""
    files: dict[str, Any] = {
        "a.json": '{"i":1}\n{"i":x}\n{"i":3}\n',
        "b.json": "no JSON",
        "c.csv": "i,s\n1,2\n3\n",
        "sub/d.json": '{"i":4,"late":true}',
        "e.json.gz": b"no gzip",
    }
    once, twice = (make_feed(files, folder=folder, **LENIENT | {"subdirs": 2}) for folder in ("once", "twice"))
    summary = once.run()
    twice.stage()
    for n in twice.stage():
        for step in GROUP_STEPS:
            assert step(f"staging/{TS}/{n}", twice.data_dir) == step(f"staging/{TS}/{n}", twice.data_dir)
    assert twice.verify() == summary == twice.verify()
    for n in twice.stage():
        twice.group(int(n))
    assert tree(twice.data_dir) == tree(once.data_dir)
    check_laws(twice, summary)


# Thresholds.


@pytest.mark.parametrize(
    ("percent", "bad", "records", "allowed"),
    [
        (10, 1, 10, True),
        (10, 2, 19, False),
        (0, 1, 1000, False),
        (0, 0, 5, True),
        (100, 4, 5, True),
        (0.1, 1, 1000, True),
    ],
)
def test_a_group_with_too_many_bad_records_fails_before_it_publishes(
    make_feed: MakeFeed,
    percent: float,
    bad: int,
    records: int,
    allowed: bool,  # noqa: FBT001
) -> None:
    """More than `max_bad_records_percent` bad records fail a group before it writes anything."""
    content = '{"i":x}\n' * bad + '{"i":1}\n' * (records - bad)
    files = {"a.json": content, "b.json": '{"i":1}\n' * 20}
    feed = make_feed(files, **FLAT | {"subdirs": 2, "quarantine": {"max_bad_records_percent": percent}})
    groups = feed.stage()
    n = next(n for n in (1, 2) if (feed.at().group(n).subdir_dir / "a.json").exists())
    feed.group(3 - n)
    if allowed:
        feed.group(n)
        check_laws(feed, feed.verify())
        return
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            merge_data(groups[str(n)], feed.data_dir)
        found = f"{bad} bad record{'' if bad == 1 else 's'} of {records:,}"
        assert f"staging/{TS}/{n}: found {found}, expected at most {percent:g} %" in str(caught.value)
        assert "'a.json' line 1, byte 5: found 'x', expected a value: a text in quotes, " in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (feed.data_dir / f"denormalized/{TS}/{n}.csv").exists()
    assert quarantined(feed) == []
    with pytest.raises(DataError, match="have published nothing"):
        feed.verify()
    assert len(feed.read(3 - n).splitlines()) == 21


def test_what_has_no_match_counts_among_the_bad(make_feed: MakeFeed) -> None:
    """Records without a match, under `on_missing: quarantine`, count for `max_bad_records_percent`."""
    merge = [{"reference": "customers.csv", "key": "customer_id", "into": "c", "on_missing": "quarantine"}]
    records = [{"customer_id": "1"}] * 8 + [{"customer_id": "9"}] * 2
    feed = make_feed({"a.json": records}, subdirs=1, merge=merge, denormalize={})
    groups = feed.stage()
    with pytest.raises(DataError, match=r"found 2 bad records of 10, expected at most 10 %.*\(no_match\)"):
        merge_data(groups["1"], feed.data_dir)
    assert quarantined(feed) == []


# Records without a match.


def test_records_without_a_match_are_quarantined(make_feed: MakeFeed) -> None:
    """Under `on_missing: quarantine` every record without a match, in files of each format, is quarantined."""
    merge = [
        {"reference": "customers.csv", "key": "customer_id", "into": "c", "on_missing": "quarantine"},
        {"reference": "shops.csv", "key": "shop", "into": "s", "on_missing": "quarantine"},
    ]
    files: dict[str, Any] = {
        "a.json": '[{"customer_id":1,"shop":"x"},{"customer_id":9,"shop":"x"},{"customer_id":1,"shop":"y"}]',
        "b.csv": "customer_id,shop\n007,x\n7,x\n,x\n2,\n",
        "c.json": '{"shop":"x"}\n{"customer_id":null,"shop":"x"}\n{"customer_id":2,"shop":"x"}\n{"customer_id":8}\n',
        "d.json": [{"customer_id": "1", "shop": "x"}],
    }
    feed = make_feed(files, **LENIENT | {"merge": merge})
    (feed.data_dir / "shops.csv").write_text("shop,town\nx,Ulm\n", encoding="utf-8")
    summary = feed.run()
    found = [(bad["file"], bad["record"], bad["pointer"]) for bad in bad_records(feed)]
    assert found == [
        ("a.json", 2, "/customer_id"),
        ("a.json", 3, "/shop"),
        ("b.csv", 2, "/customer_id"),
        ("b.csv", 3, "/customer_id"),
        ("b.csv", 4, "/shop"),
        ("c.json", 1, "/customer_id"),
        ("c.json", 2, "/customer_id"),
        ("c.json", 4, "/customer_id"),
    ]
    assert {bad["code"] for bad in bad_records(feed)} == {"no_match"}
    assert sorted(feed.read().splitlines()[1:]) == ["007,x,James,Ulm", "1,x,Ann,Ulm", "1,x,Ann,Ulm", "2,x,Bob,Ulm"]
    assert (summary.records_unmatched, summary.records_quarantined) == (0, 8)
    check_laws(feed, summary)


@pytest.mark.parametrize("key", ["1.50", "true", '"x\\u0000"', "12345678901234567890", "1e2", '""'])
def test_keys_of_any_kind_find_no_match(make_feed: MakeFeed, key: str) -> None:
    """A key of any kind that is not in the reference has no match, and its record is quarantined as it was."""
    merge = [{"reference": "customers.csv", "key": "customer_id", "into": "c", "on_missing": "quarantine"}]
    feed = make_feed({"a.json": f'{{"customer_id":1}}\n{{"customer_id":{key}}}\n'}, **LENIENT | {"merge": merge})
    summary = feed.run()
    assert [bad["raw"] for bad in bad_records(feed)] == [f'{{"customer_id":{key}}}']
    assert feed.read() == "customer_id,c_name\n1,Ann\n"
    check_laws(feed, summary)


# Giving a run up.


@pytest.mark.parametrize("done", range(4))
def test_a_run_with_quarantine_is_released(make_feed: MakeFeed, done: int) -> None:
    """A release keeps what a group has published, with its quarantine, and gives all others back; nothing is lost."""
    files: dict[str, Any] = {
        "a.json": '{"i":1}\n' * 20 + '{"i":x}\n',
        "bad.json": "no JSON",
        "c.json": '{"i":x}\n{"i":2}\n',
    }
    feed = make_feed(files, **FLAT | {"subdirs": 2})
    contents = {name: (feed.landing_dir / name).read_bytes() for name in files}
    groups = feed.stage()
    run = feed.at()
    n = next(n for n in (1, 2) if (run.group(n).subdir_dir / "a.json").exists())
    other = {path.name for path in run.group(3 - n).subdir_dir.iterdir()}
    for step in GROUP_STEPS[:done]:
        step(groups[str(n)], feed.data_dir)
    with pytest.raises(DataError, match="bad record"):
        merge_data(groups[str(3 - n)], feed.data_dir)
    back = release(feed.open(), TS)
    published = done >= 2
    assert set(back) == (other if published else set(files))
    assert [name for name in back if (feed.landing_dir / name).read_bytes() != contents[name]] == []
    if published:
        summary = committed(feed).summary
        assert (summary.records_quarantined, summary.rows_out) == (1, 20)
        assert [bad["code"] for bad in bad_records(feed, n)] == ["syntax"]
        assert recount(*runs.open_complete(feed.open(), TS)).gaps == []
    else:
        assert quarantined(feed) == []
        assert not (feed.data_dir / f"denormalized/{TS}").exists()
    assert list_files(feed.open()).ready != []
    feed.write_spec(**LENIENT)
    again = feed.run("20260103T000000Z")
    assert again.files_in == len(back)


def test_what_was_published_of_a_changed_original_is_withdrawn(make_feed: MakeFeed) -> None:
    """A release withdraws table and quarantine of a group whose original changed after it was read."""
    feed = make_feed({"a.json": '{"i":1}\n{"i":x}\n'}, **LENIENT)
    groups = feed.stage()
    for step in GROUP_STEPS[:2]:
        step(groups["1"], feed.data_dir)
    assert quarantined(feed) == [f"{TS}/1/records.jsonl"]
    with (feed.at().group(1).subdir_dir / "a.json").open("ab") as file:
        file.write(b'{"i":3}\n')
    with pytest.raises(DataError, match="changed after it was read"):
        archive_files(groups["1"], feed.data_dir)
    assert release(feed.open(), TS) == ["a.json"]
    assert quarantined(feed) == []
    assert not (feed.data_dir / f"denormalized/{TS}").exists()
    summary = feed.run()
    assert feed.read() == "i\n1\n3\n"
    check_laws(feed, summary)


@pytest.mark.parametrize("now", ['{"i":1}\n{"i":3}\n', ""])
def test_what_a_changed_original_has_no_longer_leaves_quarantine(make_feed: MakeFeed, now: str) -> None:
    """A group that was published with bad records, and is read again without any, leaves none of the old ones."""
    feed = make_feed({"a.json": '{"i":1}\n{"i":x}\n'}, **LENIENT)
    groups = feed.stage()
    for step in GROUP_STEPS[:2]:
        step(groups["1"], feed.data_dir)
    (feed.at().group(1).subdir_dir / "a.json").write_text(now)
    with pytest.raises(DataError, match="changed after it was read"):
        archive_files(groups["1"], feed.data_dir)
    feed.group(1)
    summary = feed.verify()
    assert quarantined(feed) == ([] if now else [f"{TS}/1/a.json", f"{TS}/1/a.json.reason.json"])
    check_laws(feed, summary)


# The proof.


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> FeedDir:
    """A complete run with bad records and a bad file."""
    files = {"a.json": '{"i":1}\n{"i":x}\n{"i":3}\n', "b.json": "no JSON"}
    made = new_feed(tmp_path_factory.mktemp("complete"), files, **LENIENT)
    made.run()
    return made


@pytest.fixture
def feed(complete: FeedDir, tmp_path: Path) -> FeedDir:
    """A copy of the complete run, to be damaged."""
    shutil.copytree(complete.spec_path.parent, tmp_path / "copy")
    return FeedDir(tmp_path / "copy" / "feed.yaml", tmp_path / "copy" / "data")


@pytest.mark.parametrize("damage", ["changed", "longer", "gone"])
@pytest.mark.parametrize("path", [LISTED, f"quarantine/{TS}/1/b.json"])
def test_what_is_changed_in_quarantine_is_named(feed: FeedDir, path: str, damage: str) -> None:
    """Bad records and bad files that are gone or have one other bit are named by a recount."""
    file = feed.data_dir / path
    raw = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(raw[:2] + bytes([raw[2] ^ 1]) + raw[3:] if damage == "changed" else raw + b" ")
    gaps = recount(*runs.open_complete(feed.open(), TS)).gaps
    assert len(gaps) == 1
    assert gaps[0].startswith(f"{path!r} is ")
    if damage != "changed" or path == LISTED:
        with pytest.raises(DataError, match=path):
            feed.verify()
    file.write_bytes(raw)
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_run_is_not_committed_without_its_quarantine(make_feed: MakeFeed, damage: str) -> None:
    """A run whose bad records are changed or gone before verify_run fails, and is not committed."""
    feed = make_feed({"a.json": '{"i":1}\n{"i":x}\n{"i":3}\n'}, **LENIENT)
    feed.stage()
    feed.group(1)
    path = feed.data_dir / LISTED
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes().replace(b"x", b"y"))
    with pytest.raises(
        DataError, match=f"{LISTED}' is {'missing' if damage == 'gone' else 'changed'}: expected 1 bad record"
    ):
        feed.verify()
    assert runs.unfinished(feed.open()) == [TS]


def test_what_is_missing_or_extra_in_quarantine_is_named(feed: FeedDir) -> None:
    """A reason that is gone, and a file that nobody has put there, are named by a recount."""
    reason, extra = f"quarantine/{TS}/1/b.json.reason.json", f"quarantine/{TS}/1/sub/x"
    (feed.data_dir / reason).unlink()
    (feed.data_dir / extra).parent.mkdir()
    (feed.data_dir / extra).write_bytes(b"x")
    gaps = recount(*runs.open_complete(feed.open(), TS)).gaps
    assert [gap.partition(" is ")[0] for gap in gaps] == [repr(reason), repr(extra)]


def test_bad_records_that_are_gone_before_they_are_published_are_made_again(make_feed: MakeFeed) -> None:
    """A group whose list of bad records is gone makes it again, as long as its originals are staged."""
    feed = make_feed({"a.jsonl": '{"i":1}\nbad\n{"i":2}\n'}, **LENIENT)
    groups = feed.stage()
    merge_data(groups["1"], feed.data_dir)
    run = feed.at()
    run.group(1).bad_records_path.unlink()
    feed.group(1)
    assert feed.verify().records_quarantined == 1


def test_a_parquet_that_the_disk_does_not_give_is_not_set_aside(make_feed: MakeFeed) -> None:
    """A file that cannot be read for now is tried again: it is no bad file."""
    feed = make_feed({"a.parquet": b"", "b.json": '{"i":1}'}, **LENIENT)
    path = feed.landing_dir / "a.parquet"
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        list(Door(feed.data_dir, feed.open().spec, Rules(None, Others.LEARN)).read(path.name, str(path)))
