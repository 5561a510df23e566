"""Folders like `date=2026-01-02/` become fields of the records below them (input.path_columns)."""

import csv
import gzip
import io
import json
from typing import Any
from urllib.parse import quote

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from fanfold.feed import quarantine, runs
from fanfold.feed.replay import replay
from fanfold.native import Others, Reader
from fanfold.native.fields import Field
from fanfold.path_columns import path_columns
from fanfold.spec.model import Input
from fanfold.steps.plan import plan
from fanfold.steps.recount import recount
from fanfold.steps.restore import differences
from tests.conftest import TS, FeedDir, MakeFeed

ON: dict[str, Any] = {"path_columns": True}
LAX: dict[str, Any] = {"max_bad_records_percent": 100, "max_bad_files_percent": 100}
FLAT: dict[str, Any] = {"subdirs": 1, "merge": [], "denormalize": {}, "input": ON, "quarantine": LAX}
LATER = "20260103T030405Z"


def rows(feed: FeedDir, ts: str = TS) -> list[dict[str, str]]:
    """Return the rows of a run; an empty text and null are both ``."""
    return list(csv.DictReader(io.StringIO(feed.read(1, ts))))


def codes(feed: FeedDir, ts: str = TS) -> list[tuple[str, int, str, str]]:
    path = feed.at(ts).group(1).quarantined_records_path
    lines = path.read_text().splitlines() if path.exists() else []
    return [(one["file"], one["record"], one["code"], one["pointer"]) for one in map(json.loads, lines)]


def as_parquet(records: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(records), sink)
    return sink.getvalue()


FORMS: dict[str, Any] = {
    "d.json": b'[{"n":1},{"n":2}]',
    "d.ndjson": b'{"n":1}\n{"n":2}\n',
    "d.csv": b"n\n1\n2\n",
    "d.json.gz": gzip.compress(b'{"n":1}\n{"n":2}\n'),
    "d.csv.gz": gzip.compress(b"n\r\n1\r\n2\r\n"),
    "d.parquet": as_parquet([{"n": 1}, {"n": 2}]),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("output", ["csv", "parquet"])
def test_every_format_gets_the_fields_of_its_path(make_feed: MakeFeed, name: str, output: str) -> None:
    """Records of every format begin with the fields of their path, decoded, in both formats of output."""
    feed = make_feed(
        {f"a/date=2026-01-02/b/store=A%3A%2F%20%C3%A9/{name}": FORMS[name]}, **FLAT | {"output": {"format": output}}
    )
    feed.run()
    if output == "csv":
        assert rows(feed) == [{"date": "2026-01-02", "store": "A:/ é", "n": n} for n in "12"]
    else:
        table = parquet.read_table(feed.data_dir / f"denormalized/{TS}/1.parquet").to_pylist()
        assert table == [{"date": "2026-01-02", "store": "A:/ é", "n": n} for n in (1, 2)] or name.startswith("d.csv")
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []
    assert differences(*runs.open_complete(feed.open(), TS)) == []


def test_without_the_key_a_path_says_nothing(make_feed: MakeFeed) -> None:
    """Without path_columns, folders of any name are only folders."""
    feed = make_feed({"date=2026-01-02/d.json": '{"n":1}'}, **FLAT | {"input": {}})
    feed.run()
    assert rows(feed) == [{"n": "1"}]


def test_only_folders_count(make_feed: MakeFeed) -> None:
    """The name of a file is no folder, `=x` and `x` are no columns; an empty value is a text, and null is null."""
    names = ["k=1.json", "=x/a.json", "x/b.json", "e=/c.json", "e=__HIVE_DEFAULT_PARTITION__/d.json", "e=1/e=2/f.json"]
    feed = make_feed(dict.fromkeys(names, '{"n":1}'), **FLAT | {"output": {"lineage": True}})
    feed.run()
    assert {row["_source_file"]: row.get("e") for row in rows(feed)} == dict(
        zip(names, ["", "", "", "", "", "2"], strict=True)
    )
    assert '\n1,"",e=/c.json' in feed.read()
    assert "\n1,,e=__HIVE_DEFAULT_PARTITION__/d.json" in feed.read()


OWN = [
    ('{"n":1,"k":"7"}', "7"),
    ('{"k":7,"n":1}', "7"),
    ('{"n":1,"k":"\\u0037"}', "7"),
    ('{"n":1,"k":null}', "7"),
    ('{"n":1}', "7"),
    ('{"n":1,"o":{"k":8}}', "7"),
    ('{"k":8,"n":1}', "name_conflict"),
    ('{"n":1,"k":7.0}', "name_conflict"),
    ('{"n":1,"k":""}', "name_conflict"),
    ('{"n":1,"k":{"k":"7"}}', "name_conflict"),
    ('{"k":["7"],"n":1}', "name_conflict"),
    ('{"k":"7","n":1,"k":"7"}', "duplicate_key"),
    ('{"k":8,"n":1,"n":2}', "duplicate_key"),
]


@pytest.mark.parametrize(("record", "expected"), OWN)
def test_a_record_that_says_otherwise_is_bad(make_feed: MakeFeed, record: str, expected: str) -> None:
    """A record's own field must be null or the text of its path, else it is bad; the records around it are not."""
    content = f'{{"n":0,"o":null}}\n{record}\n{{"n":2,"k":"7"}}\n'
    feed = make_feed({"k=7/a.json": content}, **FLAT)
    feed.run()
    bad = [] if expected == "7" else [("k=7/a.json", 2, expected)]
    assert [one[:3] for one in codes(feed)] == bad
    assert [row["k"] for row in rows(feed)] == ["7"] * (3 - len(bad))
    assert feed.read().splitlines()[0].startswith("k,n")


def test_a_cell_that_says_otherwise_is_bad(make_feed: MakeFeed) -> None:
    """A column of a CSV of the same name must be empty or the text of the path, in each line for itself."""
    feed = make_feed({"k=a,b/a.csv": 'n,k\n1,"a,b"\n2,\n3,a\n4,""\n'}, **FLAT)
    feed.run()
    assert rows(feed) == [{"k": "a,b", "n": "1"}, {"k": "a,b", "n": "2"}]
    assert codes(feed) == [("k=a,b/a.csv", 3, "name_conflict", "/k"), ("k=a,b/a.csv", 4, "name_conflict", "/k")]


@pytest.mark.parametrize(("own", "expected"), [(7.5, []), (None, []), (8.5, ["name_conflict"])])
def test_a_column_of_parquet_may_say_the_same(make_feed: MakeFeed, own: float | None, expected: list[str]) -> None:
    """A column of Parquet of the same name must be null or written as in the path; the path column stays first."""
    table = pa.table({"n": [1], "k": pa.array([own], pa.float64()), "m": pa.MapArray.from_arrays([0, 1], ["x"], ["y"])})
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    feed = make_feed({"k=7.5/a.parquet": sink.getvalue(), "k=b/b.json": '{"n":2}'}, **FLAT)
    feed.run()
    assert [one[2] for one in codes(feed)] == expected
    assert [row["k"] for row in rows(feed)] == ([] if expected else ["7.5"]) + ["b"]
    assert next(iter(rows(feed)[0])) == "k"


def test_a_file_beside_the_folders_keeps_its_own_field(make_feed: MakeFeed) -> None:
    """A field counts as given only below a folder of its name: other files of the run keep theirs, whatever it is."""
    feed = make_feed({"k=7/a.json": '{"n":1}', "z.json": '{"n":2,"k":{"x":1}}'}, **FLAT | {"denormalize": {}})
    feed.run()
    assert codes(feed) == []
    assert [row["k"] for row in rows(feed)] == ["7", '{"x":1}'] or rows(feed)


def test_declared_types_keys_and_totals_know_path_columns(make_feed: MakeFeed) -> None:
    """A path column has the type that is declared for it, joins to a reference, is drift, and is proved by a total."""
    keys = FLAT | {
        "merge": [{"reference": "customers.csv", "key": {"record": "who", "reference": "customer_id"}, "into": "c"}],
        "input": ON | {"fields": {"day": "DATE", "price": "DECIMAL(5,2)"}},
        "verify": {"totals": ["price"]},
    }
    files = {f"day=2026-01-0{d}/who={d}/price=1.5/a.json": f'{{"n":{d}}}' for d in (1, 2)}
    feed = make_feed(files, **keys)
    feed.run()
    assert feed.read() == "day,price,who,n,c_name\n2026-01-01,1.50,1,1,Ann\n2026-01-02,1.50,2,2,Bob\n"
    assert runs.open_complete(feed.open(), TS)[1].totals == {"price": "3"}
    found = recount(*runs.open_complete(feed.open(), TS))
    assert (found.totals, found.gaps) == ({"price": "3"}, [])


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.json.gz", "a.parquet"])
def test_a_path_that_its_type_does_not_hold_makes_records_bad(make_feed: MakeFeed, name: str) -> None:
    """A folder whose value the declared type does not hold makes each record below it bad, and no other."""
    content: Any = as_parquet([{"n": 1}]) if "parquet" in name else "n\n1\n" if "csv" in name else '{"n":1}'
    feed = make_feed(
        {f"d=soon/{name}": content, "d=2026-01-02/b.json": '{"n":2}'},
        **FLAT | {"input": ON | {"fields": {"d": "DATE"}}},
    )
    assert plan(feed.open()).failed == []
    feed.run()
    assert rows(feed) == [{"d": "2026-01-02", "n": "2"}]
    assert codes(feed) == [(f"d=soon/{name}", 1, "wrong_type", "/d")]
    (line,) = feed.at().group(1).quarantined_records_path.read_text().splitlines()
    assert json.loads(line)["message"] == "found 'soon' in 'd', expected a date as in 2026-01-02"


def test_a_declared_schema_keeps_what_it_does_not_declare(make_feed: MakeFeed) -> None:
    """With `schema: declared` a declared path column has its column, another goes to _rescued with its value."""
    inputs = ON | {"schema": "declared", "fields": {"k": "BIGINT", "n": "BIGINT", "j": "JSON"}}
    feed = make_feed(
        {"k=7/x=a%22b/j=t/a.json": '{"n":1,"x":"a\\"b"}', "k=7/x=q/b.csv": "n,y\n2,3\n"}, **FLAT | {"input": inputs}
    )
    feed.run()
    assert [(row["k"], row["n"], row["j"]) for row in rows(feed)] == [("7", "1", '"t"'), ("7", "2", "")]
    assert [json.loads(row["_rescued"]) for row in rows(feed)] == [{"x": 'a"b'}, {"x": "q", "y": "3"}]


def test_a_file_that_is_bad_as_a_whole_leaves_no_column(make_feed: MakeFeed) -> None:
    """The path of a file that is bad as a whole makes no column; that of a file without records does."""
    feed = make_feed({"bad=1/a.json": "Internal Server Error", "good=1/b.json": "[]", "h.json": '{"n":1}'}, **FLAT)
    feed.run()
    assert feed.read() == "good,n\n,1\n"


def test_the_less_frequent_letter_case_is_bad(make_feed: MakeFeed) -> None:
    """A folder and a field that differ in letter case alone exclude each other, as two fields do."""
    feed = make_feed({"Date=1/a.json": '{"n":1}', "b.json": '{"n":2,"date":3}\n{"n":4,"date":5}'}, **FLAT)
    feed.run()
    assert codes(feed) == [("Date=1/a.json", 1, "case_conflict", "/Date")]
    assert [row["n"] for row in rows(feed)] == ["2", "4"]


def test_the_same_bytes_at_two_paths_are_two_files(make_feed: MakeFeed) -> None:
    """Files with the same bytes are duplicates only where their path columns are the same, in later runs too."""
    keys = FLAT | {"input": ON | {"duplicates": "archive"}}
    files = {f"date=2026-01-0{d}/store={s}/d.json": '{"visits":3}' for d, s in [(1, "A"), (2, "B")]}
    feed = make_feed(files | {"date=2026-01-01/x/store=A/copy.json": '{"visits":3}'}, **keys)
    feed.run()
    assert [(row["date"], row["store"]) for row in rows(feed)] == [("2026-01-01", "A"), ("2026-01-02", "B")]
    feed.land("again/store=B/date=2026-01-02/d.json", '{"visits":3}')
    feed.land("date=2026-01-03/store=A/d.json", '{"visits":3}')
    feed.run(LATER)
    assert [(row["date"], row["store"]) for row in rows(feed, LATER)] == [("2026-01-03", "A")]
    assert recount(*runs.open_complete(feed.open(), LATER)).gaps == []


def test_a_replayed_record_keeps_its_path(make_feed: MakeFeed) -> None:
    """A bad record that is landed again, corrected, has the fields of the path that it first came by."""
    feed = make_feed({"p/k=a%2Fb/a.json": '{"n":1}\n{"n":}\n'}, **FLAT)
    feed.run()
    (item,) = quarantine.items(feed.open())
    landed = replay(feed.open(), item, b'{"n":2}')
    assert landed.landed_as == f"replay/{TS}/1/1/k=a%2Fb/a.json"
    feed.run(LATER)
    assert rows(feed, LATER) == [{"k": "a/b", "n": "2"}]


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=200)
@given(st.dictionaries(WORDS, WORDS, max_size=4))
def test_paths_are_decoded_as_urls(columns: dict[str, str]) -> None:
    """What the standard library encodes for a URL is decoded to the same texts."""
    name = "".join(f"{quote(key, safe='')}={quote(value, safe='')}/" for key, value in columns.items()) + "a.json"
    assert path_columns(Input(path_columns=True), name) == columns
    assert path_columns(Input(), name) == {}


@given(st.integers(1, 9), st.booleans())
def test_windows_do_not_matter(size: int, csv_file: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """What is given stands in each record, and conflicts are found, wherever the windows of a file end."""
    from fanfold.native import Form

    content = b"n,k\n1,7\n2,8\n3,\n" if csv_file else b'{"n":1,"k":7}\n{"n":2,"k":8}\n{"n":3}\n'
    schema = Field("", "object", inside=(Field("k"), Field("n")))

    def read(step: int) -> tuple[bytes, list[tuple[str, int]]]:
        reader = Reader(schema, Others.REFUSE, Form(csv=csv_file))
        windows = [content[i : i + step] for i in range(0, len(content), step)]
        pieces = list(reader.read(b"f", windows, {"k": "7"}))
        return b"".join(p.merged for p in pieces), [(one.code, one.record) for p in pieces for one in p.wrong]

    assert read(size) == read(len(content))
    assert read(size)[1] == [("name_conflict", 2)]
