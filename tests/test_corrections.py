"""Many bad records are corrected at once: exported as lines, and landed again by the lines that come back."""

import json
from pathlib import Path

import pytest

from fanfold.errors import DataError, MissingError
from fanfold.feed import corrections, quarantine, runs
from fanfold.feed.folder import Folder
from fanfold.steps.recount import recount
from tests.conftest import TS, FeedDir, MakeFeed, tree
from tests.test_cli import fanfold

LATER = "20260103T000000Z"
FILES = {
    "a.json": '{"id": 1, "customer_id": "1"}\n{"id": 2, "price": 12.50,}\n{"id": {"no": 3.10}, "t": "é\\n"}\n',
    "b.csv": 'id,"customer_id"\n5,1\n6\n7,1,"x"\n',
    "bad.json": "[",
}


@pytest.fixture
def feed(make_feed: MakeFeed) -> FeedDir:
    """A run with bad records of JSON and CSV, one of which can be read, and a bad file."""
    made = make_feed(
        FILES,
        subdirs=1,
        denormalize={},
        quarantine={"max_bad_records_percent": 90},
        input={"duplicates": "archive", "fields": {"id": "BIGINT"}},
    )
    made.run()
    return made


def exported(feed: FeedDir, *options: object) -> list[dict[str, object]]:
    done = fanfold("quarantine", "export", feed.spec_path, *options)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def write(feed: FeedDir, lines: list[dict[str, object]]) -> Path:
    path = feed.spec_path.with_name("corrected.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def states(feed: FeedDir) -> dict[str, str]:
    return {item.item: item.state for item in quarantine.items(feed.open())}


def test_each_open_item_is_a_line(feed: FeedDir) -> None:
    """A line has the id, the reason, and the record if it can be read, digit for digit; else its text, or neither."""
    lines = {str(line["item"]): line for line in exported(feed)}
    assert {name: line.get("record", line.get("raw")) for name, line in lines.items()} == {
        f"{TS}/1/bad.json": None,
        f"{TS}/1:1": '{"id": 2, "price": 12.50,}',
        f"{TS}/1:2": {"id": {"no": 3.1}, "t": "é\n"},
        f"{TS}/1:3": "6",
        f"{TS}/1:4": '7,1,"x"',
    }
    assert (lines[f"{TS}/1:3"]["file"], lines[f"{TS}/1:3"]["code"]) == ("b.csv", "ragged_line")
    printed = fanfold("quarantine", "export", feed.spec_path, "--code", "wrong_type").stdout
    assert printed.endswith('"record":{"id":{"no":3.10},"t":"é\\n"}}\n')
    assert printed.count("\n") == 1


def test_corrected_lines_are_rows_of_the_next_run_once(feed: FeedDir) -> None:
    """What comes back is landed, each item by itself; again it changes nothing, also after the run that took it."""
    lines = {str(line["item"]): line for line in exported(feed)}
    lines[f"{TS}/1:1"]["raw"] = '{"id": 2, "price": 12.50}'
    lines[f"{TS}/1:2"]["record"] = {"id": 3}
    lines[f"{TS}/1:3"]["raw"] = '6,"007"'
    lines[f"{TS}/1:4"]["raw"] = "7,1"
    del lines[f"{TS}/1/bad.json"]
    path = write(feed, list(lines.values()))
    done = fanfold("quarantine", "replay", feed.spec_path, "--with", path)
    assert (done.returncode, done.stderr, done.stdout.count("landed as replay/")) == (0, "", 4)
    before = tree(feed.data_dir)
    assert len(corrections.replay_file(feed.open(), path)) == 4
    assert tree(feed.data_dir) == before
    assert feed.run(LATER).rows_out == 4
    assert sorted(feed.read(1, LATER).splitlines()[1:]) == ["2,12.50,,", "3,,,", "6,,007,James", "7,,1,Ann"]
    committed = runs.open_complete(feed.open(), LATER)[1]
    assert {file.replay_of for file in committed.files} == set(lines)
    corrections.replay_file(feed.open(), path)
    assert not [path for path in feed.landing_dir.rglob("*") if path.is_file()]
    assert [gap for ts in (TS, LATER) for gap in recount(*runs.open_complete(feed.open(), ts)).gaps] == []


def test_an_array_and_lines_without_a_text(feed: FeedDir) -> None:
    """An array of objects is taken too, with a byte order mark; an item without a text is landed as it was."""
    path = feed.spec_path.with_name("array.json")
    items = [{"item": f"{TS}/1:3"}, {"item": f"{TS}/1/bad.json", "raw": '[{"id": 9}]'}]
    path.write_bytes(b"\xef\xbb\xbf\n" + json.dumps(items, indent=1).encode())
    landed = {one.item: one.landed_as for one in corrections.replay_file(feed.open(), path)}
    texts = {name: (feed.landing_dir / str(place)).read_text() for name, place in landed.items()}
    assert texts == {f"{TS}/1:3": "id,customer_id\n6\n", f"{TS}/1/bad.json": '[{"id": 9}]'}


WRONG: dict[str, tuple[list[object], str]] = {
    "unknown": ([{"item": f"{TS}/1:9", "raw": "x"}], r"corrected:2: '.*/1:9' is not in quarantine"),
    "no run": ([{"item": "20200101T000000Z/1:1", "raw": "x"}], r"corrected:2: '2020.*' is not in quarantine"),
    "nonsense": ([{"item": "me"}], r"corrected:2: 'me' is not in quarantine"),
    "twice": ([{"item": f"{TS}/1:1"}], r"corrected:2: '.*/1:1' is in .*corrected:1, too, expected each item once"),
    "discarded": ([{"item": f"{TS}/1:2"}], r"corrected:2: '.*/1:2' was discarded, expected an item that is open"),
    "replayed": ([{"item": f"{TS}/1:3", "raw": "6,1"}], r"corrected:2: '.*/1:3' was replayed before, with another"),
    "misspelt": ([{"item": f"{TS}/1:4", "recorded": {}}], r"corrected:2: found something else \(.*recorded"),
    "no JSON": ([b"no JSON"], r"corrected:2: found something else"),
    "no object": ([7], r"corrected:2: found something else"),
    "too deep": ([b"[" * 100_000], r"corrected:2: found something else"),
    "both": (
        [{"item": f"{TS}/1/bad.json", "record": {}, "raw": ""}],
        r"corrected:2: found both record and raw, expected only one",
    ),
    "CSV": ([{"item": f"{TS}/1:4", "record": {"id": 7}}], r"corrected:2: found a record, expected raw, a line of CSV"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_line_is_named_before_anything_is_written(feed: FeedDir, wrong: str) -> None:
    """One line that cannot be landed is an error with its place, and nothing of the file is landed."""
    open_feed = feed.open()
    quarantine.discard(open_feed, quarantine.find(open_feed, f"{TS}/1:2"))
    corrections.replay_file(open_feed, write(feed, [{"item": f"{TS}/1:3", "raw": "6,2"}]))
    before = tree(feed.data_dir)
    lines, message = WRONG[wrong]
    path = feed.spec_path.with_name("corrected")
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join([json.dumps({"item": f"{TS}/1:1", "raw": "{}"}).encode(), *encoded]))
    with pytest.raises((DataError, MissingError), match=message) as caught:
        corrections.replay_file(feed.open(), path)
    assert "\n" not in str(caught.value)
    assert tree(feed.data_dir) == before


def test_cut_short_the_next_call_lands_the_rest(feed: FeedDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the decisions, or between two files, a second call with the same file lands each item once."""
    path = write(feed, [{"item": f"{TS}/1:{n}", "raw": text} for n, text in ((1, '{"id": 2}'), (3, "6,1"))])
    whole = Folder.land

    def one_only(folder: Folder, places: dict[str, str]) -> None:
        whole(folder, dict([*places.items()][:1]))
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "land", one_only)
        with pytest.raises(KeyboardInterrupt):
            corrections.replay_file(feed.open(), path)
    assert len([path for path in feed.landing_dir.rglob("*") if path.is_file()]) == 1
    corrections.replay_file(feed.open(), path)
    assert len([path for path in feed.landing_dir.rglob("*") if path.is_file()]) == 2
    assert feed.run(LATER).rows_out == 2


@pytest.mark.slow
def test_a_thousand_at_once(make_feed: MakeFeed) -> None:
    """A thousand bad records are exported, corrected and landed in seconds, and are rows of one run."""
    number = 1000
    feed = make_feed(
        {"a.json": "".join(f'{{"id": {n},}}\n' for n in range(number)) + '{"id": -1}\n'},
        subdirs=2, merge=[], denormalize={}, quarantine={"max_bad_records_percent": 100},
    )  # fmt: skip
    feed.run()
    lines = exported(feed)
    fixed = [{"item": line["item"], "raw": str(line["raw"]).replace(",}", "}")} for line in lines]
    done = fanfold("quarantine", "replay", feed.spec_path, "--with", write(feed, fixed))
    assert (done.returncode, done.stdout.count("\n")) == (0, number)
    assert feed.run(LATER).rows_out == number


def test_an_empty_delivery_has_the_chosen_columns(make_feed: MakeFeed) -> None:
    """A delivery without a record, `[]`, gives a table with the header of denormalize.columns, and no row."""
    columns = ["id", {"twice": "id * 2"}, "customer_name"]
    for form in ("csv", "parquet"):
        feed = make_feed(
            {"a.json": "[]"}, folder=form, subdirs=2, output={"format": form}, denormalize={"columns": columns}
        )
        assert feed.run().rows_out == 0
        assert recount(*runs.open_complete(feed.open(), TS)).gaps == []
    assert make_feed({"a.json": "[]"}, folder="all", denormalize={}).run().rows_out == 0
    csv = FeedDir(feed.spec_path.parent.parent / "csv" / "feed.yaml", feed.spec_path.parent.parent / "csv" / "data")
    assert csv.read() == "id,twice,customer_name\n"
