"""The auditor: content with what is right, and it names what is not, however well everything else was made to match."""

import csv
import datetime as dt
import decimal
import gzip
import hashlib
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner

from fanfold import audit, documents
from fanfold.audit import Audit
from fanfold.cli import cli
from fanfold.feed import runs
from fanfold.manifest import Manifest
from tests.conftest import TS, FeedDir, MakeFeed, new_feed
from tests.parquet_files import BYTE_ARRAY, DECIMAL, Column, Element, written

# What a change does to the rows of a table (the first is the header), and to the records in quarantine.
Rows = list[list[str | None]]
Records = list[dict[str, Any]]


def orders(first: int, count: int) -> list[dict[str, Any]]:
    """Make orders of two or three items each; every value of a table is another one."""
    return [
        {
            "id": n,
            "customer_id": str(n % 2 + 1),
            "note": "" if n % 3 else f'n{n}, "x"\n',
            "paid": bool(n % 2),
            "tags": [n, {"k": f"{n}.50"}],
            "items": [{"sku": f"s{n}-{i}", "price": n * 100 + i + 0.25} for i in range(2 + n % 2)],
        }
        for n in range(first, first + count)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> FeedDir:
    """A complete run of two subdirectories: arrays, lines and CSV, bad records, a duplicate."""
    bad = ['{"id": NaN, "note": "bad"}', '{"id": 1', '{"id": 1, "id": 2}']
    feed = new_feed(
        tmp_path_factory.mktemp("audit"),
        {
            "a.json": orders(1, 20),
            "b.json": orders(80, 10),
            "c.json": orders(80, 10),
            "A.csv": 'id,customer_id,note\n70,1,\n71,2,""\n72,9,x\n',
            "e.json": "\n".join([*(json.dumps(order) for order in orders(30, 20)), *bad]),
        },
        subdirs=2,
        input={"duplicates": "archive"},
        quarantine={"max_bad_records_percent": 50},
    )
    feed.run()
    return feed


@pytest.fixture
def feed(made: FeedDir, tmp_path: Path) -> FeedDir:
    """A copy of that run."""
    shutil.copytree(made.data_dir.parent, tmp_path / "feed")
    return FeedDir(tmp_path / "feed/feed.yaml", tmp_path / "feed/data")


def read_rows(text: str) -> Rows:
    """Read a table so that null and an empty text stay apart."""
    rows: Rows = [[]]
    for quoted, plain, end in csv_tokens(text):
        rows[-1].append(quoted if quoted is not None else plain or None)
        if end == "\n":
            rows.append([])
    return rows[:-1]


def csv_tokens(text: str) -> list[tuple[str | None, str, str]]:
    """Take CSV apart, a character at a time."""
    found, at = [], 0
    while at < len(text):
        quoted = None
        start = at
        if text[at] == '"':
            quoted, at = "", at + 1
            while text[at] != '"' or text[at + 1 : at + 2] == '"':
                quoted += text[at]
                at += 2 if text[at] == '"' else 1
            at += 1
        else:
            while text[at] not in ",\n":
                at += 1
        found.append((quoted, text[start:at], text[at]))
        at += 1
    return found


def write_rows(rows: Rows) -> str:
    """Write a table: null as nothing, an empty text as `""`."""
    lines = []
    for row in rows:
        cells = []
        for cell in row:
            line = io.StringIO()
            csv.writer(line, lineterminator="").writerow([cell, "x"])
            cells.append('""' if cell == "" else line.getvalue()[:-2] if cell is not None else "")
        lines.append(",".join(cells) + "\n")
    return "".join(lines)


def forge(feed: FeedDir, n: str, change: Callable[[Rows, Records], object]) -> None:
    """Change the table and the quarantine of a subdirectory, and make hashes, counts and both manifests match."""
    run, committed = runs.open_complete(feed.open(), TS)
    facts = msgspec.to_builtins(committed)
    table, listed = feed.data_dir / facts["outputs"][n]["path"], facts["quarantined"].get(n)
    rows = read_rows(table.read_bytes().decode())
    records = [json.loads(line) for line in (feed.data_dir / listed["path"]).read_text().splitlines()] if listed else []
    before = len(records)
    change(rows, records)
    table.write_bytes(write_rows(rows).encode())
    _describe(facts["outputs"][n], table, len(rows) - 1)
    if listed:
        path = feed.data_dir / listed["path"]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        _describe(listed, path, len(records))
    for file in facts["files"]:
        if file["name"] == "e.json":
            file["records"] += len(records) - before
            file["records_quarantined"] += len(records) - before
    summary = facts["summary"]
    summary["subdirs"][n]["rows"] = len(rows) - 1
    summary["rows_out"] = sum(output["rows"] for output in facts["outputs"].values())
    summary["records_in"] += len(records) - before
    summary["subdirs"][n]["records"] += len(records) - before
    summary["records_quarantined"] += len(records) - before
    for column, name in zip(facts["columns"], rows[0], strict=False):
        column["name"] = name
    forged = documents.encode(msgspec.convert(facts, Manifest))
    for place in (run.commit_path, run.manifest_path):
        place.write_bytes(forged)


def _describe(published: dict[str, Any], path: Path, rows: int) -> None:
    content = path.read_bytes()
    published |= {"rows": rows, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _row(rows: Rows, chance: random.Random) -> int:
    return chance.randrange(1, len(rows))


def _full(rows: Rows, chance: random.Random, kinds: type[object] = str) -> tuple[int, int]:
    cells = [(r, c) for r in range(1, len(rows)) for c, cell in enumerate(rows[r]) if isinstance(cell, kinds) and cell]
    return chance.choice(cells)


def change_value(rows: Rows, _records: Records, chance: random.Random) -> None:
    r, c = _full(rows, chance)
    rows[r][c] = str(rows[r][c])[:-1] + ("7" if str(rows[r][c])[-1] != "7" else "8")


def round_value(rows: Rows, _records: Records, chance: random.Random) -> None:
    r, c = chance.choice(
        [(r, c) for r in range(1, len(rows)) for c, x in enumerate(rows[r]) if x and x.endswith(".25")]
    )
    rows[r][c] = str(rows[r][c]).replace(".25", ".3")


def drop_row(rows: Rows, _records: Records, chance: random.Random) -> None:
    rows.pop(_row(rows, chance))


def drop_record(rows: Rows, _records: Records, chance: random.Random) -> None:
    key = rows[_row(rows, chance)][rows[0].index("id")]
    rows[1:] = [row for row in rows[1:] if row[rows[0].index("id")] != key]


def double_record(rows: Rows, _records: Records, chance: random.Random) -> None:
    at = rows[0].index("id")
    key = rows[_row(rows, chance)][at]
    found = [row for row in rows[1:] if row[at] == key]
    last = max(i for i, row in enumerate(rows) if row[at] == key)
    rows[last + 1 : last + 1] = [list(row) for row in found]


def double_row(rows: Rows, _records: Records, chance: random.Random) -> None:
    r = _row(rows, chance)
    rows.insert(r, list(rows[r]))


def wrong_match(rows: Rows, _records: Records, chance: random.Random) -> None:
    at = rows[0].index("customer_name")
    r = chance.choice([r for r in range(1, len(rows)) if rows[r][at]])
    rows[r][at] = {"Ann": "Bob", "Bob": "Ann"}[str(rows[r][at])]


def lost_match(rows: Rows, _records: Records, chance: random.Random) -> None:
    at = rows[0].index("customer_name")
    rows[chance.choice([r for r in range(1, len(rows)) if rows[r][at]])][at] = None


def shift_columns(rows: Rows, _records: Records, chance: random.Random) -> None:
    r = _row(rows, chance)
    rows[r] = [rows[r][-1], *rows[r][:-1]]


def null_for_empty(rows: Rows, _records: Records, chance: random.Random) -> None:
    cells = [(r, c) for r in range(1, len(rows)) for c, cell in enumerate(rows[r]) if not cell]
    r, c = chance.choice(cells)
    rows[r][c] = None if rows[r][c] == "" else ""


def swap_values(rows: Rows, _records: Records, chance: random.Random) -> None:
    c = rows[0].index(chance.choice(["id", "tags"]))
    r = chance.choice([r for r in range(1, len(rows) - 1) if rows[r][c] != rows[r + 1][c]])
    rows[r][c], rows[r + 1][c] = rows[r + 1][c], rows[r][c]


def swap_rows(rows: Rows, _records: Records, chance: random.Random) -> None:
    r = chance.randrange(1, len(rows) - 1)
    rows[r], rows[r + 1] = rows[r + 1], rows[r]


def rename_column(rows: Rows, _records: Records, chance: random.Random) -> None:
    c = chance.choice([c for c, name in enumerate(rows[0]) if name])
    rows[0][c] = f"{rows[0][c]}x"


def make_up_a_row(rows: Rows, _records: Records, chance: random.Random) -> None:
    r = _row(rows, chance)
    rows.insert(r, ["4711" if cell and cell.isdigit() else cell for cell in rows[r]])


def change_quarantine(_rows: Rows, records: Records, chance: random.Random) -> None:
    record = chance.choice(records)
    record["raw"] = record["raw"].replace("id", "ie", 1)


def drop_quarantine(_rows: Rows, records: Records, chance: random.Random) -> None:
    records.pop(chance.randrange(len(records)))


def claim_more(_rows: Rows, records: Records, chance: random.Random) -> None:
    record = chance.choice(records[:2])
    record["size"] = len(record["raw"]) + 3


CHANGES = [
    change_value, round_value, drop_row, drop_record, double_record, double_row, wrong_match, lost_match, shift_columns,
    null_for_empty, swap_values, swap_rows, rename_column, make_up_a_row,
]  # fmt: skip


def audited(feed: FeedDir) -> Audit:
    """Audit the run."""
    return audit.audit(*runs.open_complete(feed.open(), TS))


def tables(feed: FeedDir) -> list[str]:
    """Return the numbers of the subdirectories whose table has rows."""
    return [n for n, output in runs.open_complete(feed.open(), TS)[1].outputs.items() if output.rows]


def test_a_run_that_is_right_has_no_difference(feed: FeedDir) -> None:
    """The auditor is content with a run of every kind, and says what it has compared."""
    found = audited(feed)
    assert (found.findings, found.not_audited) == ([], {})
    assert (found.files, found.records, found.rows) == (5, 20 + 23 + 3 + 10, 50 + 50 + 3 + 25)
    assert found.scalars > found.rows * 3


@pytest.mark.parametrize("turn", range(56))
def test_what_is_changed_and_made_to_match_is_named(feed: FeedDir, turn: int) -> None:
    """A value, row, record, match, column or name that was changed together with the manifests is named."""
    chance = random.Random(turn)
    change = CHANGES[turn % len(CHANGES)]
    n = chance.choice(tables(feed))
    forge(feed, n, lambda rows, records: change(rows, records, chance))
    found = audited(feed)
    assert found.findings, change.__name__
    if change not in {rename_column, make_up_a_row}:
        assert any(one.record for one in found.findings), found


@pytest.mark.parametrize("change", [change_quarantine, drop_quarantine, claim_more])
@pytest.mark.parametrize("turn", range(3))
def test_quarantine_changed_and_made_to_match_is_named(feed: FeedDir, change: Any, turn: int) -> None:
    """A bad record whose text or size is changed, or that is gone, is named with file and number."""
    n = next(iter(runs.open_complete(feed.open(), TS)[1].quarantined))
    forge(feed, n, lambda rows, records: change(rows, records, random.Random(turn)))
    assert {one.file for one in audited(feed).findings if one.record} == {"e.json"}


def test_a_difference_is_named_with_file_record_and_pointer(feed: FeedDir) -> None:
    """A changed value is named by the file, the number of the record, and the JSON pointer of its field."""

    def change(rows: Rows, _records: Records) -> None:
        at = rows[0].index("items_price")
        row = next(row for row in rows if row[0] == "3")
        row[at] = "301.26"

    n = next(n for n in tables(feed) if "\n3," in feed.read(int(n)))
    forge(feed, n, change)
    (one,) = audited(feed).findings
    assert (one.what, one.file, one.record, one.pointer) == ("changed", "a.json", 3, "/items/price")
    assert "'301.26'" in one.message


LIKENESS = [
    ("m", '[5,"6"]', '["5","6"]'),
    ("m", '[5,"6"]', "[5,6]"),
    ("m", '[5,"6"]', '[5.0,"6"]'),
    ("x", '"7"', "7"),
    ("x", '"a"', "a"),
    ("day", "2026-01-02", "2026-01-02T00:00:00"),
    ("real", "-0.0", "0.0"),
    ("whole", "1000", "1e3"),
    ("sum", "1.50", "1.5"),
    ("n", "12.5", "12.50"),
    ("note", "é", "e\u0301"),
]
LIKE_FIELDS = {"x": "JSON", "day": "DATE", "real": "DOUBLE", "whole": "BIGINT", "sum": "DECIMAL(6,2)"}


@pytest.mark.parametrize(("column", "right", "wrong"), LIKENESS)
def test_what_looks_alike_is_told_apart(make_feed: MakeFeed, column: str, right: str, wrong: str) -> None:
    """A number written otherwise, a text without its quotes, a moment for a day, zero for minus zero are named."""
    first = '{"id":1,"m":[5,"6"],"x":"7","day":"2026-01-02","real":-0.0,"whole":1e3,"sum":1.5,"n":12.5,"note":"é"}'
    feed = make_feed(
        {"a.json": first + '\n{"x":{"k":"v"}}\n{"x":"a"}\n'},
        merge=[],
        denormalize={},
        subdirs=1,
        input={"fields": LIKE_FIELDS},
    )
    feed.run()

    def change(rows: Rows, _records: Records) -> None:
        at = rows[0].index(column)
        (row,) = [row for row in rows[1:] if row[at] == right]
        row[at] = wrong

    forge(feed, "1", change)
    assert {one.what for one in audited(feed).findings} == {"changed"}


def test_records_around_which_a_document_stands_are_audited(make_feed: MakeFeed) -> None:
    """Records are found where `records_at` leads to, past whatever stands beside the way; a changed one is named."""
    beside = '"meta": [1, {"orders": [{"id": 0}]}, []], "note": "[{]"'
    text = f'\ufeff{{{beside}, "data": {{"orders": [{{"id": 1}}, {{"id": 2}}], "x": null}}}}\n'
    feed = make_feed(
        {"a.json": text, "b.json": f'{{"data": {{"orders": [{{"id": 3}}]}}, {beside}}}'},
        merge=[],
        denormalize={},
        subdirs=1,
        input={"records_at": "/data/orders"},
    )
    feed.run()
    assert audited(feed).records == 3
    forge(feed, "1", lambda rows, _records: rows[3].__setitem__(0, "4"))
    (one,) = audited(feed).findings
    assert (one.what, one.file, one.record, one.pointer) == ("changed", "b.json", 1, "/id")


@pytest.mark.parametrize(("envelope", "scalars", "around"), [([], 5, 10), (["page", "shop.m"], 11, 7)])
def test_what_stands_around_records_is_audited_or_counted(
    make_feed: MakeFeed, envelope: list[str], scalars: int, around: int
) -> None:
    """What no record takes along is counted as not audited: fields that are not named, or around no record."""
    text = """{"page":1, "shop":{"n":"x", "m":[1, {"z":2}]}, "data":{"orders":[{"id":1}, {"id":2}], "next":"u"}}
        {"data":{"orders":[], "next":null}, "page":2, "more":[{"a":3}, [4, null]]}
        {"data":{"orders":[{"id":3, "n":4}]}, "shop":{"n":"y"}} {"page":5, "data":{"orders":[{"id":5,}]}}"""
    settings = {"records_at": "/data/orders", "envelope": envelope}
    lenient = {"quarantine": {"max_bad_records_percent": 50}}
    feed = make_feed({"a.json": text}, input=settings, merge=[], denormalize={}, subdirs=1, **lenient)
    assert feed.run().records_quarantined == 1
    found = audited(feed)
    assert (found.findings, found.rows) == ([], 3)
    assert (found.scalars, found.not_audited) == (
        scalars, {"values around the records, in no table (see input.envelope)": around},
    )  # fmt: skip


def test_large_files_are_audited_in_parts(make_feed: MakeFeed) -> None:
    """Records that lie across the parts in which a file is read, compressed or not, are whole."""
    records = [{"id": n, "note": "ü" * (n % 1000), "more": [n, "\n"]} for n in range(4000)]
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records).encode()
    feed = make_feed(
        {"a.json": lines, "b.json.gz": gzip.compress(lines + b"\n{}")}, merge=[], denormalize={}, subdirs=1
    )
    feed.run()
    found = audited(feed)
    assert (found.findings, found.rows) == ([], 8001)


@pytest.mark.parametrize("of", ["20200101T000000Z/old.json", f"{TS}/a.json", f"{TS}/landed.json"])
def test_a_file_that_is_said_to_be_a_duplicate_of_nothing_is_named(make_feed: MakeFeed, of: str) -> None:
    """A file without rows is missing where no file of a complete run, nor one that waits, has its bytes."""
    feed = make_feed(
        {"a.json": [{"id": 1}], "b.json": [{"id": 1}]}, merge=[], denormalize={}, input={"duplicates": "archive"}
    )
    feed.run()
    run, committed = runs.open_complete(feed.open(), TS)
    content = b'[{"id": 2}]'
    (feed.data_dir / committed.files[1].archived_as).write_bytes(content)
    facts = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content), "duplicate_of": of}
    files = [committed.files[0], msgspec.structs.replace(committed.files[1], **facts)]
    feed.land("landed.json", [{"id": 3}])
    for place in (run.commit_path, run.manifest_path):
        place.write_bytes(documents.encode(msgspec.structs.replace(committed, files=files)))
    assert "missing" in {one.what for one in audited(feed).findings}


def test_a_bad_text_in_parquet_is_its_record_s_alone(make_feed: MakeFeed) -> None:
    """The auditor reads what stands beside a text that is not UTF-8, which is in quarantine."""
    texts = pa.array([b"a", b"\xff", b"b"], pa.binary()).view(pa.string())
    buffer = io.BytesIO()
    pq.write_table(pa.table({"t": texts, "n": [1, 2, 3]}), buffer)
    keys = {"merge": [], "denormalize": {}, "subdirs": 1, "quarantine": {"max_bad_records_percent": 50}}
    feed = make_feed({"a.parquet": buffer.getvalue()}, **keys)
    assert feed.run().records_quarantined == 1
    assert audited(feed).findings == []


def test_values_of_parquet_are_audited(make_feed: MakeFeed) -> None:
    """Times, days, moments, bytes, decimals, infinity and lists of Parquet are compared as what they are."""
    table = pa.table(
        {
            "t": [dt.time(1, 2, 3, 400000), None],
            "ns": pa.array([1, 2], pa.timestamp("ns", tz="UTC")),
            "bin": [b"abc", b"x\\y"],
            "f": [[float("inf")], [1.5]],
            "real": [float("nan"), -0.0],
            "d": [decimal.Decimal("1.50"), None],
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    feed = make_feed({"a.parquet": buffer.getvalue()}, merge=[], denormalize={}, subdirs=1)
    feed.run()
    forge(feed, "1", lambda rows, _records: rows[1].__setitem__(rows[0].index("bin"), "abd"))
    (one,) = audited(feed).findings
    assert (one.what, one.record, one.pointer) == ("changed", 1, "/bin")


@pytest.mark.parametrize("across", [False, True])
def test_one_content_with_rows_from_two_originals_is_named(make_feed: MakeFeed, *, across: bool) -> None:
    """Rows of one content from two originals are named, in one run and over two, though the manifest says `new`."""
    feed = make_feed({"a.json": [{"id": 1}]}, merge=[], denormalize={})
    feed.land("x.json" if across else "b.json", [{"id": 1}])
    if across:
        (feed.landing_dir / "x.json").rename(feed.data_dir / "x.json")
        feed.run()
        (feed.data_dir / "x.json").rename(feed.landing_dir / "x.json")
    ts = "20260103T000000Z" if across else TS
    feed.run(ts)
    run, committed = runs.open_complete(feed.open(), ts)
    # The run was made under `duplicates: process`: now it says that it was not.
    spec = {**committed.spec, "input": {**committed.spec["input"], "duplicates": "archive"}}
    committed = msgspec.structs.replace(committed, spec=spec)
    for place in (run.commit_path, run.manifest_path):
        place.write_bytes(documents.encode(committed))
    found = audit.audit(*runs.open_complete(feed.open(), ts)).findings
    assert {one.what for one in found} == {"doubled"}
    assert "both have rows" in found[0].message


def test_a_sample_counts_everything_and_compares_a_part(feed: FeedDir) -> None:
    """With a sample all records are counted, a share of them is compared, and the rest is facts."""
    found = audit.audit(*runs.open_complete(feed.open(), TS), 30)
    assert found.findings == []
    assert found.rows == 128
    assert 20 < found.not_audited["records outside of the sample"] < 50


def test_the_command_says_what_was_audited(feed: FeedDir) -> None:
    """`fanfold verify --audit` prints what it compared; a difference is a line, and ends with 1."""
    done = CliRunner().invoke(cli, ["verify", str(feed.spec_path), "--audit"])
    assert done.exit_code == 0, done.output
    assert "records in 5 files, 128 rows: differences: 0" in done.output
    forge(feed, tables(feed)[0], lambda rows, _records: rows.pop())
    done = CliRunner().invoke(cli, ["verify", str(feed.spec_path), "--audit", "--json"])
    assert done.exit_code == 1
    report = json.loads(done.output)
    assert report["audit"]["findings"][0]["what"] == "missing"
    assert any(gap.startswith("missing: ") for gap in report["gaps"])


@pytest.mark.parametrize("number", [1, 2])
def test_numbers_agree_with_their_nouns(make_feed: MakeFeed, number: int) -> None:
    """One is told as one: values by SQL, files in quarantine, and what the manifest says of a file."""
    columns = {"columns": ["id", {"n": "id + 1"}]}
    feed = make_feed({"a.json": '{"id":1}' * number}, subdirs=1, merge=[], denormalize=columns)
    for at in range(number):
        feed.land(f"bad{at}.json", f"{at}")
    feed.run()
    done = CliRunner().invoke(cli, ["verify", str(feed.spec_path), "--audit"])
    many = "s" if number > 1 else ""
    assert f"not audited: {number} file{many} in quarantine (only" in done.output
    assert f"not audited: {number} value{many} by SQL" in done.output
    name = next((feed.data_dir / "processed").iterdir())
    name.write_text('{"id":1}' * (number + 1))
    done = CliRunner().invoke(cli, ["verify", str(feed.spec_path), "--audit"])
    assert f"the manifest says {number} record{many}, 0 bad" in done.output


@pytest.mark.parametrize("place", ["archived", "duplicate", "table", "quarantine", "reference"])
def test_what_is_gone_is_named(feed: FeedDir, place: str) -> None:
    """An original, a table, a list of bad records or a reference that is gone is a difference, and no other error."""
    run, committed = runs.open_complete(feed.open(), TS)
    kept = run.feed.kept_reference_path("customers.csv", committed.summary.references[0].sha256)
    gone = {
        "archived": feed.data_dir / f"processed/a_{TS}.json",
        "duplicate": feed.data_dir / f"processed/c_{TS}.json",
        "table": feed.data_dir / committed.outputs["1"].path,
        "quarantine": feed.data_dir / next(iter(committed.quarantined.values())).path,
        "reference": kept,
    }[place]
    gone.unlink()
    assert audited(feed).findings
    done = CliRunner().invoke(cli, ["verify", str(feed.spec_path), "--audit"])
    assert done.exit_code == 1
    assert gone.name in done.output


def test_a_bad_record_has_a_code_of_its_kind(feed: FeedDir) -> None:
    """A record that is not JSON is in quarantine with a code of JSON."""

    def change(_rows: Rows, records: Records) -> None:
        records[0]["code"] = "bad_quote"

    forge(feed, next(iter(runs.open_complete(feed.open(), TS)[1].quarantined)), change)
    (one,) = audited(feed).findings
    assert (one.what, one.file, one.record) == ("changed", "e.json", 21)


@pytest.mark.parametrize("kind", ["BIGINT", "DECIMAL(18,2)", "DOUBLE"])
def test_exponents_beyond_those_of_a_decimal_are_audited(make_feed: MakeFeed, kind: str) -> None:
    allowed = {"max_bad_records_percent": 100}
    feed = make_feed(merge=[], denormalize={}, input={"fields": {"id": kind}}, quarantine=allowed)
    numbers = [f"{digits}e{sign}{'9' * 20}" for digits in ("1", "0", "-0.0") for sign in ("", "-")]
    feed.land("a.json", "".join(f'{{"id": {number}}}\n' for number in numbers))
    feed.run()
    committed = documents.read(feed.at().commit_path, Manifest)
    assert audit.audit(feed.at(), committed).findings == []


@pytest.mark.parametrize("name", ["a.json", "a.csv"])
def test_a_first_record_that_is_bad_behind_a_byte_order_mark_is_audited(make_feed: MakeFeed, name: str) -> None:
    feed = make_feed(merge=[], denormalize={}, quarantine={"max_bad_records_percent": 100})
    feed.land(name, '\ufeff{"id": NaN}\n{"id": 1}\n' if name == "a.json" else '\ufeffid\n"1"x\n2\n')
    feed.run()
    committed = documents.read(feed.at().commit_path, Manifest)
    assert audit.audit(feed.at(), committed).findings == []


KEYS_IN_ARRAYS = {
    "items.sku": [
        '{"items":[{"sku":"a"},{"sku":"b"},{},null]}',
        '{"items":[]}',
        "{}",
        '{"items":[{"sku":"a"},{"sku":"a"}]}',
    ],
    "tags": ['{"tags":["a","b",null]}', '{"tags":[]}', '{"tags":["a"]}'],
    "o.items.sku": ['{"o":[{"items":[{"sku":"a"},{"sku":"b"}]},{"items":[]},null]}', '{"o":[{"items":[{"sku":"a"}]}]}'],
    "o.no": ['{"o":[{"no":"a","items":[{"sku":1},{"sku":2}]},{"no":"b","items":[]},{}]}', '{"o":[{"no":"a"}]}'],
}
EXPLODED = {"items.sku": ["items"], "tags": ["tags"], "o.items.sku": ["o", "o.items"], "o.no": ["o", "o.items"]}


@pytest.mark.parametrize("schema", ["infer", "declared"])
@pytest.mark.parametrize("on_missing", ["keep", "quarantine"])
@pytest.mark.parametrize("key", KEYS_IN_ARRAYS)
def test_a_key_inside_of_an_array_is_looked_up_there(
    make_feed: MakeFeed, key: str, on_missing: str, schema: str
) -> None:
    """A reference whose key stands in an element is joined to the element; a record lacks one where an element does."""
    merge = {"reference": "p.csv", "key": {"record": key, "reference": "k"}, "into": "p", "on_missing": on_missing}
    settings = {"schema": schema, "fields": {key: "VARCHAR"} if schema == "declared" else {}}
    explode, lenient = {"explode": EXPLODED[key]}, {"max_bad_records_percent": 100}
    spec = {"merge": [merge], "denormalize": explode, "input": settings, "quarantine": lenient}
    feed = make_feed({"a.json": "\n".join(KEYS_IN_ARRAYS[key])}, subdirs=1, **spec)
    (feed.data_dir / "p.csv").write_text("k,name\na,Apple\n")
    summary = feed.run()
    assert feed.audit().findings == []
    assert "Apple" in feed.read()
    assert (summary.records_unmatched, summary.records_quarantined) == ((1, 0) if on_missing == "keep" else (0, 1))


@pytest.mark.parametrize("on_missing", ["keep", "quarantine"])
@pytest.mark.parametrize("keys", [["cid"], ["o.cid"], ["items.cid"], ["items.cid", "items.n"], ["id", "cid"]])
def test_a_key_that_nothing_declares_is_joined_all_the_same(
    make_feed: MakeFeed, keys: list[str], on_missing: str
) -> None:
    """With input.schema: declared a key of a reference is known, since the spec names it; the audit knows it, too."""
    merge = {"reference": "p.csv", "key": {"record": keys, "reference": ["k", "n"][: len(keys)]}, "into": "p"}
    spec = {"merge": [merge | {"on_missing": on_missing}], "denormalize": {"explode": ["items"]}, "subdirs": 1}
    lenient = {"quarantine": {"max_bad_records_percent": 100}}
    record = {"id": "a", "cid": "a", "o": {"cid": "a"}, "items": [{"cid": "a", "n": "a"}]}
    settings = {"schema": "declared", "fields": {"id": "VARCHAR"}}
    feed = make_feed({"a.json": [record, {"items": [{}]}]}, **spec | lenient, input=settings)
    (feed.data_dir / "p.csv").write_text("k,n,name\na,a,Apple\n")
    feed.run()
    assert feed.audit().findings == []
    assert "Apple" in feed.read()


@pytest.mark.parametrize("nulls", [["id", "0"], ["id", "n", "name", "k"]])
def test_a_column_may_have_the_name_of_what_means_null(make_feed: MakeFeed, nulls: list[str]) -> None:
    """What input.csv.nulls names is null among values; a header has names, in a reference, too."""
    key = {"record": "id", "reference": "k"}
    merge = [{"reference": "p.csv", "key": key, "into": "p", "csv": {"nulls": [*nulls]}}]
    spec = {"merge": merge, "denormalize": {}, "subdirs": 1, "input": {"csv": {"nulls": nulls}}}
    feed = make_feed({"a.csv": 'id,n\n1,id\n"id",0\nid,7\n'}, **spec)
    (feed.data_dir / "p.csv").write_text('k,name\n1,Apple\n"id",name\n')
    feed.run()
    assert feed.audit().findings == []
    assert "1,,Apple" in feed.read()


BARE: dict[str, Any] = {"merge": [], "denormalize": {"explode": ["b"]}}
JOINED: dict[str, Any] = {
    "merge": [{"reference": "customers.csv", "key": "customer_id", "into": "customer", "on_missing": "quarantine"}],
    "denormalize": {},
    "subdirs": 1,
    "quarantine": {"max_bad_records_percent": 100},
}


@pytest.mark.parametrize(("right", "wrong"), [("},{", "} {"), ("{", ",{"), ("}]", "},]"), (",", ",,")])
def test_commas_that_do_not_belong_between_records_are_named(make_feed: MakeFeed, right: str, wrong: str) -> None:
    """Records of an array have one comma between them: a missing or extra one is named with file and record."""
    feed = make_feed({"a.json": '[{"id":1},{"id":2}]'}, merge=[], denormalize={}, subdirs=1)
    feed.run()
    original = feed.data_dir / f"processed/a_{TS}.json"
    original.write_text(original.read_text().replace(right, wrong, 1))
    found = [one for one in audited(feed).findings if "the rest is not audited" in one.message]
    assert [(one.what, one.file) for one in found] == [("changed", "a.json")]
    assert found[0].record > 0


MIXED = """{"id":1}
[{"id":2},{"id":3}] xyz {"id":4}
{"id":5}garbage
[1,2]
{"id":1}},"x":{}}
[{"id":6} xyz {"id":7},{"id":0} "x":1},{"id":8},
{"id":9}
{"id":10}
{"id":11}
[{"id":12}
[{"id":13}]
"""


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_objects_arrays_and_what_is_wrong_between_them_are_audited(name: str, make_feed: MakeFeed) -> None:
    """The auditor, which has no rules of its own for bad records, finds the same records around them."""
    spec: dict[str, Any] = {"merge": [], "denormalize": {}, "subdirs": 1}
    feed = make_feed({name: MIXED}, **spec, quarantine={"max_bad_records_percent": 100})
    feed.run()
    assert feed.read() == "id\n" + "".join(f"{n}\n" for n in range(1, 14))
    found = feed.audit()
    assert (found.findings, found.rows) == ([], 13)


def test_two_records_without_a_comma_that_nothing_is_said_of_are_named(make_feed: MakeFeed) -> None:
    """A missing comma is said of in quarantine once, and then only another one ends the array."""
    spec: dict[str, Any] = {"merge": [], "denormalize": {}, "subdirs": 1}
    feed = make_feed(
        {"a.json": '[{"id":1}\n{"id":2},{"id":3},{"id":4}]'}, **spec, quarantine={"max_bad_records_percent": 100}
    )
    feed.run()
    original = feed.data_dir / f"processed/a_{TS}.json"
    original.write_text(original.read_text().replace("3},", "3} "))
    assert any("the rest is not audited" in one.message for one in audited(feed).findings)


def test_columns_in_another_order_than_the_fields_are_named(make_feed: MakeFeed) -> None:
    """Columns that were swapped in table and manifest are named: they stand as their fields first appeared."""
    feed = make_feed(
        {"b.json": '{"z":1,"a":{"y":1}}', "a.json": '{"z":1,"a":null,"m":2,"b":[{"q":1}]}'}, subdirs=2, **BARE
    )
    feed.run()
    run, committed = runs.open_complete(feed.open(), TS)
    assert [column.name for column in committed.columns] == ["z", "a_y", "m", "b_q"]
    forged = msgspec.structs.replace(committed, columns=[committed.columns[i] for i in (0, 2, 1, 3)])
    for place in (run.commit_path, run.manifest_path):
        place.write_bytes(documents.encode(forged))
    assert any("found the columns ['z', 'm', 'a_y', 'b_q']" in one.message for one in audited(feed).findings)


def test_a_line_of_csv_in_quarantine_that_has_a_match_is_named(make_feed: MakeFeed) -> None:
    """A good record of CSV that was moved to quarantine as `no_match` is named, for its key has a match."""
    feed = make_feed({"a.csv": 'customer_id,n\n1,"a"\n9,b\n'}, **JOINED)
    feed.run()

    def move(rows: Rows, records: Records) -> None:
        del rows[1]
        records.insert(0, records[0] | {"record": 1, "record_offset": 14, "size": 5, "raw": '1,"a"'})

    forge(feed, "1", move)
    assert ("extra", "a.csv", 1) in {(one.what, one.file, one.record) for one in audited(feed).findings}


def test_a_key_in_a_parsed_text_has_no_match_there(make_feed: MakeFeed) -> None:
    """A record that lacks a match by a key inside a text (`input.parse`) is in quarantine rightly."""
    merge = [{"reference": "customers.csv", "key": {"record": "n.id", "reference": "customer_id"}, "into": "customer"}]
    spec = JOINED | {"merge": [merge[0] | {"on_missing": "quarantine"}], "input": {"parse": ["n"]}}
    lines = [json.dumps({"n": json.dumps([{"id": "1"}, {"id": key}])}) for key in ("1", "9", "1")]
    feed = make_feed({"a.json": "\n".join(lines)}, **spec | {"denormalize": {"explode": ["n"]}})
    assert feed.run().records_quarantined == 1
    assert audited(feed).findings == []


def test_an_object_that_only_a_record_without_a_match_has_makes_its_column_json(make_feed: MakeFeed) -> None:
    """Texts stand in quotes where a record in quarantine has an object in their column: that is no difference."""
    feed = make_feed({"a.json": '{"customer_id":"1","x":"a"}\n{"customer_id":"9","x":{"k":1}}'}, **JOINED)
    assert feed.run().records_quarantined == 1
    assert audited(feed).findings == []


def test_a_pointer_counts_elements_that_are_bad(make_feed: MakeFeed) -> None:
    """Records are found where `records_at` leads to, also behind an element of an array that is bad."""
    text = '[{"a":1,"a":2}, {"orders": [{"id": 1}, {"id": 2}]}]'
    feed = make_feed({"a.json": text}, input={"records_at": "/1/orders"}, **{**JOINED, "merge": []})
    assert (feed.run().records_in, audited(feed).rows) == (3, 2)


def test_a_cell_too_many_is_named(feed: FeedDir) -> None:
    """A row with one more cell than there are columns is named with its record."""
    forge(feed, tables(feed)[0], lambda rows, _records: rows[3].append("1"))
    (one,) = audited(feed).findings
    assert (one.what, one.record > 0) == ("changed", True)


def test_a_total_of_the_elements_of_an_array_is_recounted(make_feed: MakeFeed) -> None:
    """The sum of what an array has for elements is compared with that of the manifest."""
    spec = {"denormalize": {"explode": ["n"]}, "verify": {"totals": ["n", "id"]}, "merge": []}
    feed = make_feed({"a.json": '{"id":1,"n":[1,2.5,null]}\n{"id":2,"n":[]}'}, **spec)
    feed.run()
    run, committed = runs.open_complete(feed.open(), TS)
    forged = msgspec.structs.replace(committed, totals=committed.totals | {"n": "3.6"})
    for place in (run.commit_path, run.manifest_path):
        place.write_bytes(documents.encode(forged))
    assert [one.file for one in audited(feed).findings] == ["n"]


def test_a_list_of_bad_records_that_cannot_be_read_is_named(feed: FeedDir) -> None:
    """Quarantine that is no JSON any more is a difference, and no other error."""
    listed = next(iter(runs.open_complete(feed.open(), TS)[1].quarantined.values())).path
    (feed.data_dir / listed).write_text("{}\n[")
    assert any(one.file == listed and "cannot be read" in one.message for one in audited(feed).findings)


UNHELD = {
    "a day after the year 9999": pa.array([2_932_897, 1], pa.int32()).view(pa.date32()),
    "one in a list": pa.ListArray.from_arrays(
        pa.array([0, 1, 2], pa.int32()), pa.array([2_932_897, 1], pa.int32()).view(pa.date32())
    ),
    "one in an object": pa.StructArray.from_arrays(
        [pa.array([2_932_897, 1], pa.int32()).view(pa.date32()), pa.array(["a", "b"])], ["day", "text"]
    ),
    "a moment": pa.array([253_402_300_800_000_000, 1], pa.timestamp("us", tz="UTC")),
}


@pytest.mark.parametrize("kind", UNHELD)
def test_what_python_does_not_hold_is_not_audited(make_feed: MakeFeed, kind: str) -> None:
    """A value of Parquet that Python does not hold is counted as not audited; what stands beside it is compared."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"v": UNHELD[kind], "n": [1, 2]}), buffer)
    feed = make_feed({"a.parquet": buffer.getvalue()}, merge=[], denormalize={}, subdirs=1)
    feed.run()
    found = audited(feed)
    assert (found.findings, found.not_audited.total()) == ([], 1)
    forge(feed, "1", lambda rows, _records: rows[1].__setitem__(rows[0].index("n"), "7"))
    assert [(one.what, one.record, one.pointer) for one in audited(feed).findings] == [("changed", 1, "/n")]


def test_moments_of_twelve_bytes_are_audited_in_all_years(make_feed: MakeFeed) -> None:
    """INT96 is compared up to 9999, also in years that 64 bits of nanoseconds do not hold, wherever it stands."""
    days = [f"{year}-02-28T00:00:00" for year in ("0001", "1600", "1677", "2262", "2300", "9999")]
    held = pa.array([*days, "2026-01-02T03:04:05.678901", None], pa.string()).cast(pa.timestamp("us"))
    moments, held = (pa.concat_arrays([held, pa.array([v], held.type)]) for v in (253_402_300_800_000_000, None))
    ends = pa.array(range(len(moments) + 1), pa.int32())
    names, texts = ["t", "d", "s", "l", "m"], pa.array(["k"] * len(moments))
    lists, maps = pa.ListArray.from_arrays(ends, moments), pa.MapArray.from_arrays(ends, texts, moments)
    table = pa.table([moments, held, pa.StructArray.from_arrays([moments], ["x"]), lists, maps], names)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, use_deprecated_int96_timestamps=True)
    keys: dict[str, Any] = {"denormalize": {"explode": ["l"]}, "input": {"fields": {"d": "TIMESTAMP"}}}
    feed = make_feed({"a.parquet": buffer.getvalue()}, merge=[], subdirs=1, **keys)
    feed.run()
    found = audited(feed)
    assert (found.findings, found.rows, found.not_audited.total()) == ([], 9, 4)
    forge(feed, "1", lambda rows, _records: rows[2].__setitem__(rows[0].index("l"), "2184-09-18T23:34:33.709551"))
    assert [(one.what, one.record, one.pointer) for one in audited(feed).findings] == [("changed", 2, "/l")]


def test_a_file_that_pyarrow_cannot_read_is_not_audited(make_feed: MakeFeed) -> None:
    """Rows of a file of Parquet that pyarrow cannot read are passed over and counted; those around are compared."""
    unread = written(
        [Element("v", BYTE_ARRAY, converted=DECIMAL, scale=1, precision=100)], [Column(BYTE_ARRAY, [b"\1", b"\2"])], 2
    )
    feed = make_feed(
        {"a.json": '{"v":1}', "b.parquet": unread, "c.json": '{"v":3}'}, merge=[], denormalize={}, subdirs=1
    )
    feed.run()
    found = audited(feed)
    assert (found.findings, found.records, found.rows) == ([], 4, 2)
    assert found.not_audited["files in Parquet that pyarrow cannot read"] == 1
    forge(feed, "1", lambda rows, _records: rows[4].__setitem__(0, "7"))
    assert audited(feed).findings[0].file == "c.json"


def test_the_kept_text_of_a_bad_row_of_parquet_is_compared(make_feed: MakeFeed) -> None:
    """Text in quarantine that is not that of the row of Parquet is named."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"n": ["1", "x"], "f": [1e22, 0.1], "s": [{"a": None}, {"a": [b"\0"]}]}), buffer)
    keys = {"merge": [], "denormalize": {}, "subdirs": 1, "quarantine": {"max_bad_records_percent": 50}}
    feed = make_feed({"a.parquet": buffer.getvalue()}, input={"fields": {"n": "BIGINT"}}, **keys)
    assert feed.run().records_quarantined == 1
    forge(feed, "1", lambda _rows, records: records[0].update(raw=records[0]["raw"].replace("0.1", "0.2")))
    assert [(one.what, one.record) for one in audited(feed).findings if one.file == "a.parquet"] == [("changed", 2)]


def test_a_key_twice_in_a_map_is_a_reason_and_no_warning(make_feed: MakeFeed) -> None:
    """A row of Parquet with a key twice in a map must be in quarantine, and nothing is printed for it."""
    maps = pa.array([[("a", 1), ("a", 2)], [("b", 1)], []], pa.map_(pa.string(), pa.int32()))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"m": maps}), buffer)
    keys = {"merge": [], "denormalize": {}, "subdirs": 1, "quarantine": {"max_bad_records_percent": 50}}
    feed = make_feed({"a.parquet": buffer.getvalue()}, **keys)
    assert feed.run().records_quarantined == 1
    found = audited(feed)
    assert (found.findings, [*found.not_audited]) == ([], ["texts of bad Parquet records"])


def test_fields_nested_in_references_have_an_order(make_feed: MakeFeed) -> None:
    """Columns of objects in a reference stand as their fields first appeared there; swapped ones are named."""
    merge = [{"reference": "p.json", "key": {"record": "id", "reference": "k"}, "into": "p"}]
    feed = make_feed({"a.json": '{"id":"1"}'}, merge=merge, denormalize={}, subdirs=1)
    (feed.data_dir / "p.json").write_text('{"k":"2","o":{"y":{"b":1},"x":2}}\n{"k":"1","o":{"x":3,"y":{"a":1,"b":2}}}')
    feed.run()
    run, committed = runs.open_complete(feed.open(), TS)
    assert [column.name for column in committed.columns] == ["id", "p_o_y_b", "p_o_y_a", "p_o_x"]
    forged = msgspec.structs.replace(committed, columns=[committed.columns[i] for i in (0, 2, 1, 3)])
    for place in (run.commit_path, run.manifest_path):
        place.write_bytes(documents.encode(forged))
    assert any("expected ['id', 'p_o_y_b', 'p_o_y_a', 'p_o_x']" in one.message for one in audited(feed).findings)


@pytest.mark.parametrize(("number", "cell"), [(1, "=1+1"), (2, "'-5"), (5, "'plain")])
def test_a_formula_that_is_not_escaped_is_named(make_feed: MakeFeed, number: int, cell: str) -> None:
    """A text that a spreadsheet would run, or one that it would not and that is escaped, is another text."""
    texts = ["=1+1", "-5", "'=q", "@x", "plain"]
    lines = "\n".join(json.dumps({"t": text}) for text in texts)
    escaping = {"output": {"csv": {"escape_formulas": True}}}
    feed = make_feed({"a.json": lines}, merge=[], denormalize={}, subdirs=1, **escaping)
    feed.run()
    assert feed.read().splitlines() == ["t", "'=1+1", "-5", "'=q", "'@x", "plain"]
    forge(feed, "1", lambda rows, _records: rows[number].__setitem__(0, cell))
    assert [one.record for one in audited(feed).findings] == [number]


@pytest.mark.parametrize("on_missing", ["keep", "quarantine"])
def test_a_reference_that_pyarrow_cannot_read_is_not_audited(make_feed: MakeFeed, on_missing: str) -> None:
    """What is joined from a reference of Parquet that pyarrow cannot read is counted; the rest is compared."""
    elements = [
        Element("k", BYTE_ARRAY, converted=0),
        Element("v", BYTE_ARRAY, converted=DECIMAL, scale=1, precision=100),
    ]
    content = written(elements, [Column(BYTE_ARRAY, [b"1"]), Column(BYTE_ARRAY, [b"\1"])], 1)
    merge = {"reference": "p.parquet", "key": {"record": "id", "reference": "k"}, "into": "p", "on_missing": on_missing}
    lenient = {"quarantine": {"max_bad_records_percent": 100}}
    feed = make_feed(
        {"a.json": '{"id":"1","n":1}{"id":"2","n":2}'}, merge=[merge], denormalize={}, subdirs=1, **lenient
    )
    (feed.data_dir / "p.parquet").write_bytes(content)
    feed.run()
    found = audited(feed)
    assert (found.findings, found.not_audited["references that pyarrow cannot read"]) == ([], 1)
    forge(feed, "1", lambda rows, _records: rows[1].__setitem__(1, "7"))
    assert [(one.what, one.record, one.pointer) for one in audited(feed).findings] == [("changed", 1, "/n")]
