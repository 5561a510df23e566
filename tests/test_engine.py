"""What becomes of records: values, columns and rows, by hand."""

import csv
import io
import json
import re
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.engine import session
from fanfold.errors import DataError, FanfoldError, MissingError, trouble
from fanfold.steps.merge_data import merge_data
from tests.conftest import FeedDir, MakeFeed

FLAT: dict[str, Any] = {"subdirs": 1, "merge": [], "denormalize": {}}
ITEMS: dict[str, Any] = {**FLAT, "denormalize": {"explode": ["items"]}}

VALUES = {
    "nested objects": ('[{"a":{"b":{"c":1}},"d":"x"}]', "a_b_c,d\n1,x\n"),
    "no object beside objects": ('[{"a":{}},{"a":{"b":1}},{"a":null},{}]', "a_b\n\n1\n\n\n"),
    "only objects without fields": ('[{"a":{},"b":1}]', "a,b\n{},1\n"),
    "leading zeros": ('[{"a":"007"},{"a":"7"}]', "a\n007\n7\n"),
    "null, missing, empty": ('[{"a":null,"b":1},{"b":2},{"a":"","b":3}]', 'a,b\n,1\n,2\n"",3\n'),
    "quoted": (
        json.dumps([{"a": "x,y", "b": 'say "no"', "c": "one\ntwo", "d": "one\rtwo", "e": "\r\n"}]),
        'a,b,c,d,e\n"x,y","say ""no""","one\ntwo","one\rtwo","\r\n"\n',
    ),
    "text as it is": ('[{"a":" x ","b":"NULL","c":"\\ud83d\\ude00 é"}]', "a,b,c\n x ,NULL,😀 é\n"),
    "arrays are JSON": ('[{"a":[1,"x",{"b":null}],"b":[]},{"a":null}]', 'a,b\n"[1,""x"",{""b"":null}]",[]\n,\n'),
    "kinds mixed": (
        '[{"a":1},{"a":"x"},{"a":true},{"a":{"b":2}},{"a":[3]},{"a":null}]',
        'a\n1\n"""x"""\ntrue\n"{""b"":2}"\n[3]\n\n',
    ),
    "object and text": ('[{"a":{"b":1}},{"a":"x"}]', 'a\n"{""b"":1}"\n"""x"""\n'),
    "int and decimal": ('[{"a":1},{"a":1.5},{"a":-3}]', "a\n1\n1.5\n-3\n"),
    "true and false": ('[{"a":true},{"a":false}]', "a\ntrue\nfalse\n"),
    "dates stay text": ('[{"a":"2026-01-02","b":"12:00:00"}]', "a,b\n2026-01-02,12:00:00\n"),
    "largest numbers": ('[{"a":9223372036854775807,"b":-9223372036854775808}]', None),
    "column order is that of the record": ('[{"z":1,"a":2,"m":3}]', "z,a,m\n1,2,3\n"),
    "names as they are": ('[{"sp ace":1,"a.b":2,"q\\"x":3,"filename":4,"item":5,"column_0":6,"ü":7}]', None),
}


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("name", VALUES)
def test_values_are_kept(make_feed: MakeFeed, name: str) -> None:
    """Every value reaches its cell, text by its characters and numbers by their value."""
    content, expected = VALUES[name]
    feed = make_feed({"a.json": content}, **FLAT)
    feed.run()
    if expected is not None:
        assert feed.read() == expected
    else:
        record = json.loads(content)[0]
        assert cells(feed.read()) == [list(record), [str(value) for value in record.values()]]


EXPLODED = {
    "a row an element": ('[{"i":1,"items":[{"s":"a"},{"s":"b"}]},{"i":2,"items":[{"s":"c"}]}]', "1,a 1,b 2,c"),
    "outer rows": ('[{"i":1,"items":[]},{"i":2,"items":null},{"i":3},{"i":4,"items":[{"s":"a"}]}]', "1, 2, 3, 4,a"),
    "null elements": ('[{"i":1,"items":[null,{"s":"a"},{}]}]', "1, 1,a 1,"),
    "scalars": ('[{"i":1,"items":["a","b"]}]', "1,a 1,b"),
    "numbers": ('[{"i":1,"items":[2,1.5]}]', "1,2 1,1.5"),
    "nested in elements": ('[{"i":1,"items":[{"s":{"t":"a"}},{"s":{}},{"s":null}]}]', "1,a 1, 1,"),
    "arrays and scalars": ('[{"i":1,"items":["a",["b"]]}]', '1,"""a""" 1,"[""b""]"'),
    "after other fields": ('[{"i":1,"items":[{"s":"a"}]},{"items":[],"i":2}]', "1,a 2,"),
    "never an element": ('[{"i":1,"items":[]},{"i":2}]', "1 2"),
}


@pytest.mark.parametrize("name", EXPLODED)
def test_an_array_becomes_rows(make_feed: MakeFeed, name: str) -> None:
    """The exploded array gives a row an element; an empty, null or missing one keeps the one row of its record."""
    content, expected = EXPLODED[name]
    feed = make_feed({"a.json": content}, **ITEMS)
    summary = feed.run()
    assert feed.read().split("\n")[1:-1] == expected.split(" ")
    assert summary.rows_out == len(expected.split(" "))


def test_an_array_inside_of_objects_explodes(make_feed: MakeFeed) -> None:
    """The exploded array may lie in nested objects, and a record without these objects keeps its row."""
    records = [{"i": 1, "o": {"p": {"items": [{"s": 1}, {"s": 2}]}}}, {"i": 2}, {"o": {"p": None}, "i": 3}]
    feed = make_feed({"a.json": records}, **FLAT | {"denormalize": {"explode": ["o.p.items"]}})
    feed.run()
    assert feed.read() == "i,o_p_items_s\n1,1\n1,2\n2,\n3,\n"


def test_names_of_elements_are_kept(make_feed: MakeFeed) -> None:
    """Fields with dots and quotes in their names keep their values inside of exploded arrays too."""
    feed = make_feed({"a.json": [{"items": [{"a.b": 1, 'q"x': 2}], "a,b": {"c\nd": 1}}]}, **ITEMS)
    feed.run()
    assert cells(feed.read()) == [["items_a.b", 'items_q"x', "a,b_c\nd"], ["1", "2", "1"]]


@pytest.mark.parametrize(
    "number", ["9223372036854775808", "0.1234567890123456789", "1e400", "123456789012345678901.5", "-1E-400"]
)
@pytest.mark.parametrize("content", ['[{"a":%s}]', '[{"a":[%s]}]', '{"a":1}\n{"a":{"b":%s}}\n'])
def test_numbers_that_would_lose_digits_keep_them(make_feed: MakeFeed, number: str, content: str) -> None:
    """A number that neither 64 bits nor a double hold arrives with all its digits, also inside of JSON."""
    feed = make_feed({"a.json": content % number, "b.json": '[{"a":"x"}]'}, **FLAT | {"subdirs": 2})
    feed.run()
    cell = cells(feed.read())[-1][0]
    assert Decimal(re.sub(r'[^-+.0-9eE]|"b"', "", cell)) == Decimal(number)


def test_large_integers_beside_decimals_keep_their_digits(make_feed: MakeFeed) -> None:
    """An integer is exact in the output, also where another file has decimals in its column."""
    feed = make_feed({"a.json": '[{"a":9007199254740993}]', "b.json": '[{"a":1.5}]'}, **FLAT)
    feed.run()
    assert "9007199254740993" in feed.read()


def test_a_field_of_the_last_record_is_a_column(make_feed: MakeFeed) -> None:
    """A field that only the last record of the last file has is a column of every table of the run."""
    files: dict[str, Any] = {f"{n}.json": [{"a": n}] * 3000 for n in range(3)}
    files["3.json"] = [*[{"a": 3}] * 2999, {"a": 3, "late": "x"}]
    feed = make_feed(files, **FLAT | {"subdirs": 2})
    feed.run()
    assert [feed.read(n).split("\n")[0] for n in (1, 2)] == ["a,late", "a,late"]
    assert (feed.read(1) + feed.read(2)).count("3,x\n") == 1


def zstd(text: str, folder: Path) -> bytes:
    target = folder / "x.zst"
    quoted = text.replace("'", "''")
    duckdb.sql(f"COPY (SELECT '{quoted}') TO '{target}' (FORMAT csv, HEADER false, QUOTE '', COMPRESSION zstd)")
    return target.read_bytes()


def test_forms_of_json(make_feed: MakeFeed, tmp_path: Path) -> None:
    """Arrays, NDJSON, objects, pretty-printed or not, gzip and zstd may come in one subdirectory, in order of names."""
    feed = make_feed(
        {
            "a.json": '[{"i":1},{"i":2}]',
            "b.jsonl": '{"i":3}\n{"i":4}\n',
            "c.ndjson": '{"i":5}\r\n\r\n{"i":6}',
            "d.json": '{"i":7}',
            "e.json": '[\n  {\n    "i": 8\n  }\n]\n',
            "f.json": '{\n  "i": 9\n}\n{\n  "i": 10\n}\n',
            "g.json.gz": '[{"i":11}]',
            "h.json.zst": zstd('{"i":12}', tmp_path),
            "i.json": "",
            "j.json": "[]",
            "k.json": " \n",
        },
        **FLAT,
    )
    summary = feed.run()
    assert feed.read() == "i\n" + "".join(f"{i}\n" for i in range(1, 13))
    assert (summary.files_in, summary.records_in, summary.rows_out) == (11, 12, 12)


ODD_NAMES = ["a*.json", "b?.json", "[c].json", "[!d].json", "e\\f.json", "g'.json", 'h".json', "{i,j}.json", "$k.json"]
ODD_NAMES += [" l .json", "new\nline.json", "ü.json", "%41.json", "~m.json", "a**/n.json", "x=1/o.json", "i=7/p.json"]


def test_odd_file_names(make_feed: MakeFeed) -> None:
    """Characters that are patterns, quotes or partitions elsewhere are only a name here."""
    names = [*ODD_NAMES, "aX.json", "bX.json", "c.json", "d.json"]
    feed = make_feed({name: [{"i": i}] for i, name in enumerate(names)}, **FLAT)
    assert feed.run().records_in == len(names)
    assert sorted(feed.read().split()[1:], key=int) == [str(i) for i in range(len(names))]


@pytest.mark.parametrize("name", ["customer_id=5", "i=5"])
def test_folders_give_no_values(make_feed: MakeFeed, name: str) -> None:
    """A folder in landing that is named like a partition does not replace what the records say."""
    feed = make_feed({f"{name}/a.json": [{"i": 1, "customer_id": 1}]}, subdirs=1, denormalize={})
    feed.run()
    assert feed.read() == "i,customer_id,customer_name\n1,1,Ann\n"


@pytest.mark.parametrize("folder", ["o'ther [x] {y}*?", "name=prod", "sp ace/ü"])
def test_data_dir_may_have_any_name(make_feed: MakeFeed, folder: str) -> None:
    """A data_dir below folders of any name gives the same output."""
    feed = make_feed({"a.json": [{"i": 1, "customer_id": 1}]}, folder=folder, subdirs=1, denormalize={})
    feed.run()
    assert feed.read() == "i,customer_id,customer_name\n1,1,Ann\n"


@pytest.mark.parametrize(
    ("explode", "records", "error", "message"),
    [
        ("itmes", [{"items": []}], DataError, "'itmes' is in no record, did you mean 'items'?"),
        ("items", [{"items": 1}, {"items": "x"}], DataError, "found VARCHAR in 'a.json', expected an array"),
        ("items", [{"items": {"a": 1}}], DataError, "found an object in 'a.json', expected an array"),
    ],
)
def test_explode_is_checked(
    make_feed: MakeFeed, explode: str, records: list[Any], error: type[FanfoldError], message: str
) -> None:
    """An exploded field that is not there, or is no array, is an error before any group starts."""
    feed = make_feed({"a.json": records}, **FLAT | {"denormalize": {"explode": [explode]}})
    with pytest.raises(error) as caught:
        feed.stage()
    assert message in str(caught.value)


def test_columns_are_chosen(make_feed: MakeFeed) -> None:
    """`denormalize.columns` gives the columns and their order, and a misspelt one is named with the nearest."""
    feed = make_feed({"a.json": [{"a": 1, "b": 2, "c": 3}]}, **FLAT | {"denormalize": {"columns": ["c", "a"]}})
    feed.run()
    assert feed.read() == "c,a\n3,1\n"
    feed.write_spec(**FLAT | {"denormalize": {"columns": ["total_prize"]}})
    feed.land("b.json", [{"total_price": 1}])
    with pytest.raises(DataError, match="'total_prize' is not a column, did you mean 'total_price'"):
        feed.stage("20270101T000000Z")


def test_max_record_bytes_holds(make_feed: MakeFeed) -> None:
    """A record larger than `max_record_bytes` fails its group."""
    feed = make_feed({"a.json": [{"a": "x" * 5000}]}, **FLAT | {"input": {"max_record_bytes": 1024}})
    with pytest.raises(DataError, match=r"a\.json"):
        feed.run()


# References.


def joined(feed: FeedDir) -> list[str]:
    feed.run()
    return feed.read().split("\n")[1:-1]


def test_keys_compare_as_text(make_feed: MakeFeed) -> None:
    """ "007" is not "7", a number matches the text it is written as, and a record without match is kept and counted."""
    records = [{"customer_id": "007"}, {"customer_id": "7"}, {"customer_id": None}, {}, {"customer_id": "1"}]
    feed = make_feed({"a.json": records}, subdirs=1, denormalize={})
    assert feed.run().records_unmatched == 3
    assert feed.read() == "customer_id,customer_name\n007,James\n7,\n,\n,\n1,Ann\n"


@pytest.mark.parametrize("other", ["2", "1.5", '"x"', "true"])
def test_a_number_matches_whatever_the_others_are(make_feed: MakeFeed, other: str) -> None:
    """The key 1 matches the line of 1, also where another record's key is a decimal or a text."""
    feed = make_feed({"a.json": f'[{{"customer_id":1}},{{"customer_id":{other}}}]'}, subdirs=1, denormalize={})
    assert joined(feed)[0].endswith(",Ann")


@pytest.mark.parametrize(
    "customers",
    [
        b'\xef\xbb\xbfcustomer_id,name\r\n1,Ann\r\n2,"B\r\nb"\r\n',
        b'customer_id,name\n1,Ann\n2,"B\r\nb"',
        b'"customer_id","name"\n"1","Ann"\n"2","B\r\nb"\n',
    ],
    ids=["BOM and CRLF", "no last newline", "all quoted"],
)
def test_forms_of_references(make_feed: MakeFeed, customers: bytes) -> None:
    """A reference may have a BOM, CRLF, quotes, newlines in values, or no newline at its end."""
    feed = make_feed({"a.json": [{"customer_id": 1}, {"customer_id": 2}]}, customers=customers, subdirs=1)
    feed.write_spec(subdirs=1, denormalize={})
    feed.run()
    assert feed.read() == 'customer_id,customer_name\n1,Ann\n2,"B\r\nb"\n'


def test_reference_values_are_text(make_feed: MakeFeed) -> None:
    """Values of a reference stay as written, an empty field is nothing and `""` is an empty text."""
    customers = 'customer_id,a,b,c,d\n1,007,,"",1.50\n'
    feed = make_feed({"a.json": [{"customer_id": 1}]}, customers=customers, subdirs=1, denormalize={})
    assert joined(feed) == ['1,007,,"",1.50']


def test_duplicate_keys_are_named_with_their_lines(make_feed: MakeFeed) -> None:
    """A key twice in the reference is an error before any group, with its lines, also behind quoted newlines."""
    customers = 'customer_id,name\n1,"A\nn\nn"\n2,Bob\n1,Anne\n3,x\n2,Rob\n1,Ann\n'
    feed = make_feed({"a.json": [{"customer_id": "1", "items": []}]}, customers=customers)
    with pytest.raises(DataError) as caught:
        feed.stage()
    assert str(caught.value) == (
        "customers.csv: customer_id '1' in lines 2, 6, 9; '2' in lines 5, 8, expected every key once"
    )
    assert not (feed.data_dir / "denormalized").exists()


def test_the_first_of_duplicate_keys_counts(make_feed: MakeFeed) -> None:
    """Under `on_duplicate: first` the first line of a key is joined, and only that one."""
    customers = "customer_id,name\n" + "".join(f"{i % 3000},{i}\n" for i in range(6000))
    merge = [{"reference": "customers.csv", "key": "customer_id", "into": "c", "on_duplicate": "first"}]
    records = [{"customer_id": i} for i in range(3000)]
    feed = make_feed({"a.json": records}, customers=customers, subdirs=1, merge=merge, denormalize={})
    assert joined(feed) == [f"{i},{i}" for i in range(3000)]


def test_on_missing_fail(make_feed: MakeFeed) -> None:
    """Under `on_missing: fail` a record without a match fails its group, the key is named, other groups publish."""
    merge = [{"reference": "customers.csv", "key": "customer_id", "into": "customer", "on_missing": "fail"}]
    files: dict[str, Any] = {"a.json": [{"customer_id": "9"}], "b.json": [{"customer_id": "1"}]}
    feed = make_feed(files, subdirs=2, merge=merge, denormalize={})
    groups = feed.stage()
    with pytest.raises(DataError, match=r"line 1: found '9' in 'customer_id', expected a key of 'customers\.csv'"):
        merge_data(groups["1"], feed.data_dir)
    feed.group(2)
    assert feed.read(2) == "customer_id,customer_name\n1,Ann\n"


def test_two_references(make_feed: MakeFeed) -> None:
    """Each reference nests under its own name, by its own keys, with the columns that it is asked for."""
    merge = [
        {"reference": "customers.csv", "key": {"record": "who.id", "reference": "customer_id"}, "into": "customer"},
        {"reference": "shops.csv", "key": "shop", "into": "place", "columns": ["town", "shop"]},
    ]
    records = [{"who": {"id": 1}, "shop": "s"}, {"who": {"id": 2}, "shop": "t"}, {"who": {"id": 9}, "shop": "u"}]
    feed = make_feed({"a.json": records}, subdirs=1, merge=merge, denormalize={})
    (feed.data_dir / "shops.csv").write_text("shop,street,town\ns,x,Ulm\nu,y,Rom\n", encoding="utf-8")
    summary = feed.run()
    assert feed.read() == ("who_id,shop,customer_name,place_town,place_shop\n1,s,Ann,Ulm,s\n2,t,Bob,,\n9,u,,Rom,u\n")
    assert summary.records_unmatched == 2
    assert [(reference.path, reference.rows) for reference in summary.references] == [
        ("customers.csv", 3),
        ("shops.csv", 2),
    ]


@pytest.mark.parametrize(
    ("customers", "error", "message"),
    [
        ("", DataError, "customers.csv:1: found nothing, expected a header line"),
        ("customer_id,name,Name\n", DataError, "'name' and 'Name' have the same name, expected different names"),
        ("customer_id,,x,\n", DataError, "expected a name for column 4: column 2 has none, and only one may lack it"),
        ("costumer_id,name\n", MissingError, "'customer_id' is not there, did you mean 'costumer_id'?"),
        (b"customer_id,n\xe9\n", DataError, "expected UTF-8"),
        ("customer_id,name\n1,Ann,x\n", DataError, "found 3 fields, expected 2 fields, as in the header (ragged_line)"),
        ("customer_id,name\n1\n", DataError, "found 1 field, expected 2 fields, as in the header (ragged_line)"),
        (b"customer_id,name\n1,\xe9\n", DataError, "UTF-8"),
    ],
)
def test_bad_references_are_refused(
    make_feed: MakeFeed, customers: str | bytes, error: type[FanfoldError], message: str
) -> None:
    """A reference that is no proper table is an error before any group starts, in one line."""
    feed = make_feed({"a.json": [{"customer_id": "1", "items": []}]}, customers=customers)
    with pytest.raises(error) as caught:
        feed.stage()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=10)
@given(st.lists(st.lists(SCALARS, max_size=3), min_size=1, max_size=5))
def test_every_scalar_reaches_the_output(records: list[list[Any]]) -> None:
    """Whatever lies in the exploded arrays, every scalar is a cell, in order, as many rows as the records call for."""
    with tempfile.TemporaryDirectory() as folder:
        feed = FeedDir(Path(folder, "feed.yaml"), Path(folder, "data"))
        feed.landing_dir.mkdir(parents=True)
        feed.write_spec(**ITEMS)
        feed.land("a.json", [{"i": "row", "items": items} for items in records])
        feed.run()
        rows = [row[1:] for row in cells(feed.read())[1:]]
    expected = [as_text(value) for items in records for value in (items or [None])]
    has_column = any(value is not None for items in records for value in items)
    assert rows == [[value] if has_column else [] for value in expected]


def as_text(value: Any) -> str:
    return "" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)


def test_nothing_is_left_in_staging(make_feed: MakeFeed) -> None:
    """A complete run leaves nothing in staging."""
    feed = make_feed({"a.json": [{"i": 1}]}, **FLAT)
    feed.run()
    assert list((feed.data_dir / "staging").iterdir()) == []


def test_a_duckdb_without_memory_is_explained(tmp_path: Path) -> None:
    """A query that needs more memory than DuckDB has says so in a sentence; other faults of DuckDB stay as they are."""
    large = "SELECT repeat('x', 100000) || i AS x FROM range(20000) AS numbers(i) ORDER BY x DESC"
    with (
        pytest.raises(OSError, match="leave large fields out") as caught,
        session.connect(tmp_path, tmp_path) as opened,
    ):
        opened.execute(f"SELECT sum(length(x)) FROM ({large})").fetchall()
    assert re.fullmatch(
        r"DuckDB has no memory left \([\d.]+ MiB/[\d.]+ MiB used\), expected .*: '" + re.escape(str(tmp_path)) + "'",
        trouble(caught.value),
    )
    with pytest.raises(duckdb.BinderException), session.connect(tmp_path, tmp_path) as opened:
        opened.execute("SELECT nothing")
