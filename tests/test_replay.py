"""What a person can do about what is in quarantine: each item is decided once, and a replay makes its rows once."""

import contextlib
import gzip
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from fanfold import documents, durable
from fanfold.errors import DataError, MissingError
from fanfold.feed import quarantine, replay, runs
from fanfold.feed.folder import Folder
from fanfold.manifest import BadFile
from fanfold.steps.recount import recount
from fanfold.steps.release import release
from tests.conftest import TS, FeedDir, MakeFeed, tree
from tests.test_cli import fanfold

LATER, LAST = "20260103T000000Z", "20260104T000000Z"
# Two bad records with the same text are two records.
LINES = '{"id": 1, "customer_id": "1"}\n{"id": 2,}\n{"id": 3}\n{"id": 2,}\n'


@pytest.fixture
def feed(make_feed: MakeFeed) -> FeedDir:
    """A complete run with two bad records of NDJSON, one of CSV, and a bad file."""
    made = make_feed(
        {"sub/a.json": LINES, "b.csv": 'id,"customer_id"\n5,1\n6\n', "bad.json": '[{"id": 9'},
        subdirs=1,
        denormalize={"explode": []},
        quarantine={"max_bad_records_percent": 60},
        input={"duplicates": "archive"},
    )
    made.run()
    return made


def listed(feed: FeedDir) -> dict[str, str]:
    return {item.item: item.state for item in quarantine.items(feed.open())}


def item(feed: FeedDir, name: str) -> quarantine.Item:
    return quarantine.find(feed.open(), name)


def ids(feed: FeedDir, ts: str) -> list[str]:
    return sorted(line.split(",")[0] for line in feed.read(1, ts).splitlines()[1:])


def gaps(feed: FeedDir) -> list[str]:
    return [gap for ts in runs.complete(feed.open()) for gap in recount(*runs.open_complete(feed.open(), ts)).gaps]


def test_everything_in_quarantine_has_a_name(feed: FeedDir) -> None:
    """Bad files and bad records are listed, each with its reason, and open until something is decided."""
    assert listed(feed) == {
        f"{TS}/1/bad.json": "open",
        f"{TS}/1:1": "open",
        f"{TS}/1:2": "open",
        f"{TS}/1:3": "open",
    }
    assert isinstance(item(feed, f"{TS}/1/bad.json").bad, BadFile)
    with pytest.raises(MissingError, match=f"'{TS}/1:9' is not in quarantine, did you mean '{TS}/1:"):
        item(feed, f"{TS}/1:9")


def test_corrected_records_are_rows_of_the_next_run_once(feed: FeedDir) -> None:
    """Corrected, a bad record goes through the same checks in the next run, is a row, once, and its origin is told."""
    by_file = {one.bad.file: one for one in quarantine.items(feed.open())}
    for number, name in enumerate([f"{TS}/1:2", f"{TS}/1:3"]):
        # The same text twice: each of the two records is one.
        replay.replay(feed.open(), item(feed, name), b'{"id": 2, "customer_id": "007"}')
        with pytest.raises(DataError, match=r"was replayed before, with another text, and waits in landing"):
            replay.replay(feed.open(), item(feed, name), b"something else, which is too late")
        assert list(listed(feed).values()).count("replayed") == number + 1
    replay.replay(feed.open(), by_file["b.csv"], b"id,customer_id\n6,1\n")
    replay.replay(feed.open(), by_file["bad.json"], b'[{"id": 9, "customer_id": "1"}]')
    before = {
        path: digest for path, digest in tree(feed.data_dir).items() if path.startswith(("quarantine", "processed"))
    }
    summary = feed.run(LATER)
    assert (summary.files_in, summary.records_in, summary.records_quarantined) == (4, 4, 0)
    assert ids(feed, LATER) == ["2", "2", "6", "9"]
    committed = runs.open_complete(feed.open(), LATER)[1]
    assert {file.decision for file in committed.files} == {"replay"}
    assert {file.replay_of for file in committed.files} == set(listed(feed))
    assert tree(feed.data_dir).items() >= before.items()
    for name in listed(feed):
        replay.replay(feed.open(), item(feed, name))
    assert feed.run(LAST).files_in == 0
    assert gaps(feed) == []


def test_replayed_as_it_was_a_bad_record_is_bad_again(feed: FeedDir) -> None:
    """Without a correction the same checks find the same faults: new items, that know what they were."""
    for name in listed(feed):
        replay.replay(feed.open(), item(feed, name))
    summary = feed.run(LATER)
    assert summary.rows_out == 0
    assert summary.files_quarantined == 4
    again = {name: state for name, state in listed(feed).items() if state == "open"}
    assert len(again) == 4
    assert {file.replay_of for file in runs.open_complete(feed.open(), LATER)[1].files} == set(listed(feed)) - set(
        again
    )


def test_as_it_was_is_enough_when_something_else_was_corrected(make_feed: MakeFeed) -> None:
    """A record without a match is replayed once the reference has its key; so is one whose declared type was wrong."""
    merge = {"reference": "customers.csv", "key": "customer_id", "into": "customer", "on_missing": "quarantine"}
    feed = make_feed(
        {"a.json": json.dumps({"data": {"rows": [{"id": n, "customer_id": str(n)} for n in range(4)]}})},
        subdirs=1,
        merge=[merge],
        denormalize={"explode": []},
        quarantine={"max_bad_records_percent": 60},
        input={"records_at": "/data/rows"},
    )
    assert feed.run().records_quarantined == 2
    (feed.data_dir / "customers.csv").write_text("customer_id,name\n0,Zoe\n3,Eva\n")
    done = fanfold("quarantine", "replay", feed.spec_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("landed as replay/") == 2
    assert feed.run(LATER).records_quarantined == 0
    assert sorted(feed.read(1, LATER).splitlines()[1:]) == ["0,0,Zoe", "3,3,Eva"]


@pytest.mark.parametrize("where", ["before the decision", "before it is in landing", "with both names"])
def test_a_replay_that_was_cut_short_is_completed_by_a_second_one(
    feed: FeedDir, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Killed anywhere, a replay called again lands its file once; the first text counts as soon as it is decided."""

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    def is_decision(files: Mapping[Path, bytes]) -> bool:
        return all(path.suffix == ".json" for path in files)

    write, name = durable.write_all, f"{TS}/1:1"
    with monkeypatch.context() as patched:
        if where == "before the decision":
            patched.setattr(durable, "write_all", lambda files: kill() if is_decision(files) else write(files))
        else:
            patched.setattr(Folder, "land", kill)
        with pytest.raises(Killed):
            replay.replay(feed.open(), item(feed, name), b'{"id": 1}')
    if where == "with both names":
        (waiting,) = (feed.data_dir / ".fanfold/quarantine").rglob("*.landing")
        landed = next(iter(quarantine.replays(feed.open())))
        (feed.landing_dir / landed).parent.mkdir(parents=True)
        (feed.landing_dir / landed).hardlink_to(waiting)
    told = pytest.raises(DataError, match="with another text")
    with contextlib.nullcontext() if where == "before the decision" else told:
        replay.replay(feed.open(), item(feed, name), b'{"id": 2}')
    assert not list((feed.data_dir / ".fanfold/quarantine").rglob("*.landing"))
    (landed_path,) = (path for path in feed.landing_dir.rglob("*") if path.is_file())
    assert landed_path.read_text() == ('{"id": 2}' if where == "before the decision" else '{"id": 1}')


def test_a_replay_of_a_run_that_was_given_up_is_replayed_by_the_next(feed: FeedDir) -> None:
    """Staged and released, what was replayed is in landing again, and still a replay."""
    replay.replay(feed.open(), item(feed, f"{TS}/1:2"), b'{"id": 2, "customer_id": "1"}')
    feed.stage(LATER)
    release(feed.open(), LATER)
    assert feed.run(LAST).rows_out == 1
    assert [file.decision for file in runs.open_complete(feed.open(), LAST)[1].files] == ["replay"]


def test_a_file_that_later_has_the_name_of_a_replay_is_none(feed: FeedDir) -> None:
    """The name of a replay does not make a later file one: the same bytes again are a duplicate."""
    landed = replay.replay(feed.open(), item(feed, f"{TS}/1:2"), b'{"id": 2, "customer_id": "1"}').landed_as
    feed.run(LATER)
    feed.land(str(landed), b'{"id": 2, "customer_id": "1"}')
    assert feed.run(LAST).records_in == 0


def test_discarded_an_item_is_decided_and_stays(feed: FeedDir) -> None:
    """A discarded item is not listed as open, keeps its place, is not replayed, and a second call changes nothing."""
    name = f"{TS}/1/bad.json"
    done = fanfold("quarantine", "discard", feed.spec_path, name, "--reason", "a test of the producer")
    assert (done.returncode, done.stdout) == (0, f"{name}: discarded\n")
    assert listed(feed)[name] == "discarded"
    before = tree(feed.data_dir)
    quarantine.discard(feed.open(), item(feed, name), "another reason")
    with pytest.raises(DataError, match="was discarded, expected an item that is open"):
        replay.replay(feed.open(), item(feed, name))
    assert tree(feed.data_dir) == before
    decided = documents.read(next((feed.data_dir / ".fanfold/quarantine").rglob("*.json")), quarantine.Resolution)
    assert decided == quarantine.Resolution(name, "discarded", None, "a test of the producer")
    replay.replay(feed.open(), item(feed, f"{TS}/1:1"))
    with pytest.raises(DataError, match="was replayed as 'replay/"):
        quarantine.discard(feed.open(), item(feed, f"{TS}/1:1"))
    assert gaps(feed) == []


@pytest.mark.parametrize(
    ("spec", "name", "message"),
    [
        ({}, "a.json", "has no text"),
        ({"input": {"patterns": ["a.json.gz"]}}, "a.json.gz", "matches none of input.patterns"),
    ],
)
def test_what_cannot_be_replayed_says_why(
    make_feed: MakeFeed, spec: dict[str, object], name: str, message: str
) -> None:
    """A record without a byte, or a file that no pattern takes, is an error, and nothing is decided."""
    quarantined = {"quarantine": {"max_bad_records_percent": 60}, "denormalize": {"explode": []}}
    feed = make_feed(subdirs=1, **(quarantined | spec))
    content = [json.loads(line) for line in LINES.splitlines() if not line.endswith(",}")]
    feed.land(name, "[" + json.dumps(content)[1:-1] + (', {"id": 4,}]' if name.endswith("gz") else ","))
    feed.run()
    with pytest.raises(DataError, match=message):
        replay.replay(feed.open(), item(feed, f"{TS}/1:1"))
    assert listed(feed) == {f"{TS}/1:1": "open"}


@pytest.mark.parametrize("name", ["a.parquet", "a.zip"])
def test_a_row_of_parquet_is_replayed_from_its_original(make_feed: MakeFeed, name: str) -> None:
    """Under `raw: false`, too, a bad row of Parquet is replayed as it was: it is read from the archived original."""
    feed = make_feed(
        subdirs=1, merge=[], denormalize={}, quarantine={"raw": False, "max_bad_records_percent": 60},
        input={"fields": {"id": "BIGINT"}},
    )  # fmt: skip
    written = io.BytesIO()
    pq.write_table(pa.table({"id": ["1", "x", "3"], "of": ["a", "\u2028\r\n", None]}), written)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as members:
        members.writestr("a.parquet", written.getvalue())
    feed.land(name, (packed if name == "a.zip" else written).getvalue())
    assert feed.run().records_quarantined == 1
    decision = replay.replay(feed.open(), item(feed, f"{TS}/1:1"))
    landed = (feed.open().landing_dir / str(decision.landed_as)).read_text()
    assert json.loads(landed) == {"id": "x", "of": "\u2028\r\n"}
    assert gaps(feed) == []


@pytest.mark.parametrize("corrected", [None, b'{"id": "x", "n": 8}'])
def test_a_row_of_parquet_is_read_again_where_records_stand_inside_documents(
    make_feed: MakeFeed, corrected: bytes | None
) -> None:
    """A row becomes a document of JSON that has it at `records_at`, with nothing around it."""
    settings = {"records_at": "/data/rows", "envelope": ["batch"], "fields": {"id": "BIGINT"}}
    feed = make_feed(subdirs=1, merge=[], denormalize={}, quarantine={"max_bad_records_percent": 60}, input=settings)
    written = io.BytesIO()
    pq.write_table(pa.table({"id": ["1", "x"], "n": [7, 8]}), written)
    feed.land("a.parquet", written.getvalue())
    assert feed.run().records_quarantined == 1
    feed.spec_path.write_text(feed.spec_path.read_text().replace("BIGINT", "VARCHAR"))
    replay.replay(feed.open(), item(feed, f"{TS}/1:1"), corrected)
    assert feed.run(LATER).records_quarantined == 0
    assert feed.read(1, LATER) == "id,n\nx,8\n"


@pytest.mark.parametrize("with_file", [False, True])
def test_an_item_without_a_text_keeps_no_other_one_back(make_feed: MakeFeed, with_file: bool) -> None:  # noqa: FBT001
    """Where all open items are replayed, one that has no text is passed over, named and counted; it stays open."""
    feed = make_feed(subdirs=1, merge=[], denormalize={}, quarantine={"max_bad_records_percent": 90})
    feed.land("a.csv.gz", gzip.compress(b"id,note\n1,2,3\n1,hello\n2,goodbye\n", 0)[:-13])
    feed.land("b.json", '[{"id": 1} {"id": 2}, {"id": NaN}]')
    assert feed.run().records_quarantined == 4
    corrections = feed.spec_path.with_name("lines")
    corrections.write_text(fanfold("quarantine", "export", feed.spec_path).stdout)
    done = fanfold("quarantine", "replay", feed.spec_path, *(["--with", corrections] if with_file else []))
    assert (done.returncode, done.stdout.count("landed as")) == (0, 2)
    named = [f"{TS}/1:2", f"{TS}/1:3"]
    assert all(done.stderr.count(name if not with_file else "lines:") == 1 + with_file for name in named)
    assert "2 items passed over" in done.stderr
    assert [name for name, state in listed(feed).items() if state == "open"] == named


@pytest.mark.parametrize("meta", [{"shop": "Bern", "page": 2}, {"shop": None, "page": 2}, None])
def test_a_row_of_parquet_keeps_a_field_that_stands_around_records_elsewhere(make_feed: MakeFeed, meta: Any) -> None:
    """A row that has a field of `input.envelope` itself is replayed with it around the record: both are one column."""
    settings = {"records_at": "/rows", "envelope": ["batch", "meta.shop"], "fields": {"id": "BIGINT"}}
    feed = make_feed(subdirs=1, merge=[], denormalize={}, quarantine={"max_bad_records_percent": 60}, input=settings)
    written, kind = io.BytesIO(), pa.struct({"shop": pa.string(), "page": pa.int64()})
    table = {"id": ["1", "x"], "batch": [7, 8], "meta": pa.array([{"shop": "Chur", "page": 1}, meta], kind)}
    pq.write_table(pa.table(table), written)
    feed.land("a.parquet", written.getvalue())
    assert feed.run().records_quarantined == 1
    feed.spec_path.write_text(feed.spec_path.read_text().replace("BIGINT", "VARCHAR"))
    replay.replay(feed.open(), item(feed, f"{TS}/1:1"))
    assert feed.run(LATER).records_quarantined == 0
    head, row = feed.read(1, LATER).splitlines()
    found = {name: value or None for name, value in zip(head.split(","), row.split(","), strict=True)}
    page = str(meta["page"]) if meta else None
    assert (found["batch"], found.get("meta_shop"), found.get("meta_page")) == ("8", meta and meta["shop"], page)


def test_half_a_line_of_csv_is_not_replayed_as_it_was(make_feed: MakeFeed) -> None:
    """What a file that is cut short ends in may look like a whole line: only its correction is landed."""
    feed = make_feed(subdirs=1, merge=[], denormalize={}, quarantine={"max_bad_records_percent": 60})
    feed.land("a.csv.gz", gzip.compress(b"id,note\n1,hello\n2,goodbye\n", 0)[:-13])
    assert feed.run().records_quarantined == 1
    with pytest.raises(DataError, match=r"has no text \(truncated\)"):
        replay.replay(feed.open(), item(feed, f"{TS}/1:1"))
    replay.replay(feed.open(), item(feed, f"{TS}/1:1"), b"id,note\n2,goodbye\n")
    feed.run(LATER)
    assert feed.read(1, LATER) == "id,note\n2,goodbye\n"


@pytest.mark.slow
def test_the_command_line_lists_and_shows(feed: FeedDir, tmp_path: Path) -> None:
    """`list` names what is open, with --all what is decided too; `show` has all of it; `--with` takes one item."""

    def names(*options: str) -> list[str]:
        done = fanfold("quarantine", "list", feed.spec_path, "--json", *options)
        return [one["item"] for one in json.loads(done.stdout)]

    (tmp_path / "corrected").write_text('{"id": 2}')
    done = fanfold("quarantine", "replay", feed.spec_path, f"{TS}/1:1", "--with", tmp_path / "corrected")
    assert done.returncode == 0
    assert names() == [f"{TS}/1/bad.json", f"{TS}/1:2", f"{TS}/1:3"]
    assert len(names("--all")) == 4
    assert f"{TS}/1:2" in fanfold("quarantine", "list", feed.spec_path).stdout
    shown = json.loads(fanfold("quarantine", "show", feed.spec_path, f"{TS}/1:2").stdout)
    assert (shown["item"], shown["bad"]["record"]) == (f"{TS}/1:2", 2)
    wrong = fanfold("quarantine", "replay", feed.spec_path, f"{TS}/1:2", f"{TS}/1:3", "--with", tmp_path / "corrected")
    assert (wrong.returncode, "or one ITEM --with its text" in wrong.stderr) == (2, True)
    assert fanfold("quarantine", "discard", feed.spec_path).returncode == 2
    done = fanfold("quarantine", "discard", feed.spec_path, "--code", "truncated")
    assert done.stdout == f"{TS}/1/bad.json: discarded\n"
    assert names() == [f"{TS}/1:2", f"{TS}/1:3"]
    assert names("--all", "--code", "truncated") == [f"{TS}/1/bad.json"]
