"""What stands around records, JSON in texts, and arrays of one: what records take from where it stands in the wild."""

import csv
import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from fanfold.feed import quarantine, replay, runs
from fanfold.native import Form, Others, Piece, Reader
from fanfold.steps.plan import plan
from fanfold.steps.recount import recount
from tests.conftest import TS, FeedDir, MakeFeed, tree
from tests.core import cut, parsed, raw
from tests.test_cli import fanfold
from tests.test_spec import errors_of

FLAT = {"subdirs": 1, "merge": [], "denormalize": {"explode": []}, "quarantine": {"max_bad_records_percent": 100}}
LATER = "20260103T030405Z"


def ran(make_feed: MakeFeed, files: dict[str, Any], folder: str = "feed", **keys: Any) -> FeedDir:
    """Run a feed, which is audited, and count it again."""
    feed = make_feed(files, folder=folder, **{**FLAT, **keys})
    feed.run()
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []
    return feed


def bad(feed: FeedDir) -> dict[int, tuple[str, str]]:
    """Return code and pointer of the bad records, by their numbers."""
    found = feed.data_dir / f"quarantine/{TS}/1/records.jsonl"
    lines = [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []
    return {line["record"]: (line["code"], line["pointer"]) for line in lines}


@pytest.mark.parametrize("key", ["envelope", "parse"])
def test_a_path_that_no_record_has_is_a_warning(
    key: str, make_feed: MakeFeed, caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelled path is named with its key, in plan and run; one that a record has is not."""
    content = {"day": "2026-01-02", "records": [{"id": 1, "p": "[1]"}]}
    right = {"envelope": "day", "parse": "p"}[key]
    settings = {"records_at": "/records", key: [right, f"{right}x"]}
    feed = make_feed({"a.json": json.dumps(content)}, **FLAT, input=settings)
    plan(feed.open())
    feed.run()
    told = [record.message for record in caplog.records if "no record has" in record.message]
    assert told == [f"no record has '{right}x' (input.{key}): is that its name in the files?"] * 2


# --- input.parse

PAYLOAD = '{"items":[{"sku":"a\\"b","n":1.50},{"sku":"\\u00e9"}],"x":{"y":[1, {"z" : 2}]}}'


@pytest.mark.parametrize("form", ["json", "csv", "json.gz"])
def test_what_a_text_holds_is_read_as_if_it_stood_there(make_feed: MakeFeed, form: str) -> None:
    """Objects in a text flatten, its arrays explode, its numbers are as written, in JSON and in CSV."""
    content: str | bytes = json.dumps([{"id": "1", "p": PAYLOAD}, {"id": "2", "p": None}, {"id": "3", "p": " {} "}])
    if form == "csv":
        doubled = PAYLOAD.replace('"', '""')
        content = f'id,p\n1,"{doubled}"\n2,\n3, {{}} \n'
    if form == "json.gz":
        content = gzip.compress(str(content).encode(), mtime=0)
    keys: dict[str, Any] = {"input": {"parse": ["p"]}, "denormalize": {"explode": ["p.items"]}}
    feed = ran(make_feed, {f"a.{form}": content}, **keys)
    assert feed.read() == (
        'id,p_items_sku,p_items_n,p_x_y\n1,"a""b",1.50,"[1,{""z"":2}]"\n1,é,,"[1,{""z"":2}]"\n2,,,\n3,,,\n'
    )
    assert bad(feed) == {}


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "x", "{", '{"a":1}}', '{"a":1} x', '{"a":NaN}', '{"a":1,"a":2}', "[1,]", '"\ud800"', '{"a":"\t"}'),
        *("'a'", "[" * 127, "[" * 128 + "]" * 128, "\x00", "01", "nul", '{"a":1}\n{"a":2}'),
    ],
)
def test_a_text_that_is_not_json_makes_its_record_bad(make_feed: MakeFeed, text: str) -> None:
    """By bad_json_text, at the beginning of the text; the other records are read, and a fault of JSON itself wins."""
    # Half of a surrogate pair is in the text by an escape of its own.
    written = json.dumps({"id": 2, "p": text}).replace("\\ud800", "\\\\ud800")
    content = f'{{"id":1,"p":"[]"}}\n{written}\n{{"id":3,"p":"null"}}\n{written[:-1]},"q":+1}}\n'
    feed = ran(make_feed, {"a.json": content}, input={"parse": ["p"]})
    assert feed.read() == "id,p\n1,[]\n3,\n"
    code, pointer = bad(feed)[2]
    assert (code, pointer[:2]) == ("too_deep" if text.endswith("]]") else "bad_json_text", "/p")
    assert bad(feed)[4] == ("syntax", "/q")
    (line, _) = (feed.data_dir / f"quarantine/{TS}/1/records.jsonl").read_text().splitlines()
    assert content.encode()[json.loads(line)["offset"] :].startswith(json.dumps(text)[:1].encode())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"n":"x"}', "wrong_type"),
        ('{"n":"x"', "bad_json_text"),
        ('{"n":"x","n":1}', "bad_json_text"),
        ('{"n":"x"} 1', "bad_json_text"),
        ('{"N":1}', "case_conflict"),
        ('{"N":1,}', "bad_json_text"),
        ('{"in":"{\\"n\\":\\"x\\"}"', "bad_json_text"),
        ('{"in":"{\\"n\\":\\"x\\"}"}', "wrong_type"),
        ('{"in":"{\\"n\\":\\"x\\""}', "bad_json_text"),
        ('{"in":"{","n":"x"}', "bad_json_text"),
    ],
)
@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_the_grammar_of_a_text_is_judged_before_what_is_in_it(
    make_feed: MakeFeed, text: str, code: str, ending: str
) -> None:
    """A text that breaks behind a value which is wrong in itself is bad_json_text, as a record would be syntax."""
    good = '{"n":7,"in":"{\\"n\\":7}"}'
    rows = [{"id": number, "p": good if number else text} for number in range(9)]
    made = io.StringIO()
    written = csv.DictWriter(made, ["id", "p"])
    written.writeheader()
    written.writerows(rows)
    content = made.getvalue() if ending == ".csv" else "".join(json.dumps(row) + "\n" for row in rows)
    types = {"p.n": "BIGINT", "p.in.n": "BIGINT"}
    feed = ran(make_feed, {f"a{ending}": content}, input={"parse": ["p", "p.in"], "fields": types})
    assert {number: one[0] for number, one in bad(feed).items()} == {1: code}


def test_what_is_wrong_before_a_text_counts_before_its_grammar(make_feed: MakeFeed) -> None:
    """Of two values of a record that are wrong, the first counts, whether it is a text that breaks or not."""
    records = [{"a": 1, "p": "[]"}, {"a": "x", "p": "{"}, {"p": "{", "a": "x"}, {"a": 1, "p": "[]"}]
    feed = ran(make_feed, {"a.json": records}, input={"parse": ["p"], "fields": {"a": "BIGINT"}})
    assert bad(feed) == {2: ("wrong_type", "/a"), 3: ("bad_json_text", "/p")}


def test_each_path_is_parsed_once_and_inside_of_texts_where_it_is_named(make_feed: MakeFeed) -> None:
    """A text in a parsed text is parsed where its path is named; an array of texts is parsed one by one."""
    inner = json.dumps({"deep": json.dumps([1, {"z": json.dumps("q")}])})
    record = {
        "id": 1,
        "ev": [{"p": inner, "o": 1}, {"p": '"x"'}],
        "ms": ['{"k":1}', '{"k":"[2]"}'],
        "once": '"\\"y\\""',
    }
    fields = {"other": "JSON"}
    parse = ["ev.p", "ev.p.deep", "ms", "once", "other.p"]
    files = {"a.json": [{**record, "other": {"p": '{"q":[1.0]}', "r": "[]"}}]}
    keys: dict[str, Any] = {"input": {"parse": parse, "fields": fields}, "denormalize": {"explode": ["ms"]}}
    feed = ran(make_feed, files, **keys)
    header, *rows = csv.reader(io.StringIO(feed.read()))
    assert header == ["other", "id", "ev", "ms_k", "once"]
    assert [row[3:] for row in rows] == [["1", '"y"'], ["[2]", '"y"']]
    assert json.loads(rows[0][0]) == {"p": {"q": [1.0]}, "r": "[]"}
    assert json.loads(rows[0][2]) == [{"p": {"deep": [1, {"z": '"q"'}]}, "o": 1}, {"p": "x"}]


def test_what_is_not_declared_in_a_text_goes_to_rescued(make_feed: MakeFeed) -> None:
    """With input.schema: declared, what a text holds beside the declared fields is in _rescued, nested as it was."""
    records = [{"id": 1, "p": '{"a":5,"b":[1, {"c":"\\u00e9"}]}', "q": '{"d": 1.0}', "r": "7"}, {"id": 2, "q": "{"}]
    settings = {"parse": ["p", "q", "r"], "schema": "declared", "fields": {"id": "BIGINT", "p.a": "BIGINT"}}
    feed = ran(make_feed, {"a.json": records}, input=settings)
    assert feed.read().splitlines()[0] == "id,p_a,_rescued"
    rescued = feed.read().splitlines()[1].split(",", 2)[2][1:-1].replace('""', '"')
    assert parsed(rescued) == {"p": {"b": ["1", {"c": "é"}]}, "q": {"d": "1.0"}, "r": "7"}
    assert bad(feed) == {2: ("bad_json_text", "/q")}


def test_a_value_in_a_text_is_checked_like_any_other(make_feed: MakeFeed) -> None:
    """Declared types hold inside of texts; the pointer leads into them, the offset to where the text begins."""
    records = '{"id":1,"p":"{\\"n\\":\\"7\\"}"}\n{"id":2,"p":"{\\"n\\":7.5}"}\n'
    feed = ran(make_feed, {"a.json": records}, input={"parse": ["p"], "fields": {"p.n": "BIGINT"}})
    assert feed.read() == "p_n,id\n7,1\n"
    assert bad(feed) == {2: ("inexact", "/p/n")}


# --- denormalize.single


def test_an_object_in_place_of_a_list_is_a_list_of_one(make_feed: MakeFeed) -> None:
    """Objects, scalars and lists mix freely over a run where an array explodes, whichever comes more often or first."""
    one: dict[str, Any] = {"id": 1, "items": {"sku": "a"}}
    many: dict[str, Any] = {"id": 2, "items": [{"sku": "b"}, {"sku": "c"}]}
    rest: list[dict[str, Any]] = [{"id": 3, "items": None}, {"id": 4, "items": []}, {"id": 5}]
    keys: dict[str, Any] = {"denormalize": {"explode": ["items"], "single": True}, "output": {"lineage": True}}
    for number, records in enumerate(([one, one, many, *rest], [many, one, *rest], [one, *rest], [many, *rest])):
        feed = ran(make_feed, {"a.json": records}, f"feed{number}", **keys)
        expected = [
            f"{record['id']},{item.get('sku', '')},a.json,{place},{index}"
            for place, record in enumerate(records, start=1)
            for index, item in (
                enumerate(record["items"] if isinstance(record["items"], list) else [record["items"]], start=1)
                if record.get("items")
                else [("", {})]
            )
        ]
        assert feed.read().splitlines()[1:] == expected
        assert bad(feed) == {}


def test_single_holds_for_scalars_nested_arrays_texts_and_csv(make_feed: MakeFeed) -> None:
    """A scalar is a list of one, also in CSV; so is an object around an array, and one in a text with JSON."""
    tags = {"a.json": [{"id": 1, "t": "x"}, {"id": 2, "t": ["y", "z"]}], "b.csv": "id,t\n3,w\n4,\n"}
    feed = ran(make_feed, tags, "scalars", denormalize={"explode": ["t"], "single": True})
    assert feed.read() == "id,t\n1,x\n2,y\n2,z\n3,w\n4,\n"
    orders = [{"o": {"i": {"s": 1}}}, {"o": [{"i": [{"s": 2}, {"s": 3}]}, {"i": {"s": 4}}]}]
    feed = ran(make_feed, {"a.json": orders}, "nested", denormalize={"explode": ["o.i"], "single": True})
    assert feed.read() == "o_i_s\n1\n2\n3\n4\n"
    texts = [{"p": '{"i":{"s":1}}'}, {"p": '{"i":"[{\\"s\\":2},{\\"s\\":3}]"}'}, {"p": '{"i":"{\\"s\\":4}"}'}]
    keys: dict[str, Any] = {"denormalize": {"explode": ["p.i"], "single": True}, "input": {"parse": ["p", "p.i"]}}
    assert ran(make_feed, {"a.json": texts}, "texts", **keys).read() == "p_i_s\n1\n2\n3\n4\n"
    keys["input"] |= {"schema": "declared", "fields": {"p.i.s": "BIGINT"}}
    assert ran(make_feed, {"a.json": texts}, "declared", **keys).read() == "p_i_s,_rescued\n1,\n2,\n3,\n4,\n"


def test_single_holds_in_each_of_several_tables(make_feed: MakeFeed) -> None:
    """An object in place of a list is one row of the table of that array, and in no other one."""
    records = [{"id": 1, "a": {"x": 1}, "b": [{"y": 2}]}, {"id": 2, "a": [{"x": 3}, {"x": 4}], "b": {"y": 5}}]
    tables = {"records": {}, "as": {"explode": ["a"], "keys": ["id"]}, "bs": {"explode": ["b"], "keys": ["id"]}}
    feed = make_feed({"a.json": records}, **FLAT | {"denormalize": {"single": True}, "tables": tables})
    feed.run()
    found = {name: (feed.data_dir / f"denormalized/{TS}/{name}/1.csv").read_text() for name in tables}
    assert found == {"records": "id\n1\n2\n", "as": "id,a_x\n1,1\n2,3\n2,4\n", "bs": "id,b_y\n1,2\n2,5\n"}
    assert recount(*runs.open_complete(feed.open(), TS)).gaps == []


def test_without_single_an_object_in_place_of_a_list_is_bad(make_feed: MakeFeed) -> None:
    """The default is as it was: the record is bad by wrong_type."""
    records = [{"id": 1, "items": {"sku": "a"}}, {"id": 2, "items": [{"sku": "b"}]}]
    feed = ran(make_feed, {"a.json": records}, denormalize={"explode": ["items"]})
    assert bad(feed) == {1: ("wrong_type", "/items")}


# --- input.envelope

AROUND = ["batch", "meta.source", "tags", "data.page"]
DOCUMENTS = (
    '{"batch":7,"meta":{"source":"x","other":1},"data":{"rows":[{"id":1,"meta":{"own":3}},{"id":2}],"page":{"no":1.0}}}\n'
    '{"data":{"rows":[{"id":3}]},"batch":null}\n'
    ' {"tags":[1, {"a" : "b"}],"data":{"page":4,"rows":[{"id":4},{"id":5,"batch":1},{"id":6,"meta":[]}]},"batch":"é"}'
    '{"data":{"rows":{"id":7}},"meta":{"source":"late","x":["{",{}]},"tags":[]}\n'
)
WAYS = [tuple(path.split(".")) for path in AROUND]


def test_each_record_takes_along_what_stands_around_it(make_feed: MakeFeed) -> None:
    """Before or behind the records, in each document its own; objects flatten, arrays are JSON, what lacks is null."""
    settings = {"records_at": "/data/rows", "envelope": AROUND, "fields": {"data.page": "JSON"}}
    feed = ran(make_feed, {"a.json": DOCUMENTS}, input=settings)
    assert feed.read() == (
        "data_page,id,meta_own,meta_source,batch,tags\n"
        '"{""no"":1.0}",1,3,x,7,\n"{""no"":1.0}",2,,x,7,\n,3,,,,\n4,4,,,é,"[1,{""a"":""b""}]"\n,7,,late,,[]\n'
    )
    assert bad(feed) == {5: ("name_conflict", "/batch"), 6: ("name_conflict", "/meta")}


def test_only_what_is_named_of_a_declared_schema_is_taken_along(make_feed: MakeFeed) -> None:
    """With input.schema: declared the files are looked through ahead, and the columns are the declared ones."""
    fields = {"id": "BIGINT", "batch": "VARCHAR", "meta.source": "VARCHAR"}
    settings = {"records_at": "/data/rows", "envelope": AROUND[:2], "schema": "declared", "fields": fields}
    feed = ran(make_feed, {"a.json": DOCUMENTS}, input=settings)
    rows = ['1,7,x,"{""meta"":{""own"":3}}"', "2,7,x,", "3,,,", "4,é,,", "7,,late,"]
    assert feed.read().splitlines()[1:] == rows
    assert bad(feed) == {5: ("name_conflict", "/batch"), 6: ("name_conflict", "/meta")}


def test_keys_types_arrays_and_texts_work_in_what_stands_around(make_feed: MakeFeed) -> None:
    """A reference is joined by it, a type is checked, an array in it explodes, a text in it is parsed."""
    document = {"h": '{"c":"1","at":60}', "rows": [{"id": 1}], "lines": [{"s": "a"}, {"s": "b"}]}
    settings = {"records_at": "/rows", "envelope": ["h", "lines"], "parse": ["h"], "fields": {"h.at": "EPOCH_S"}}
    merge = [{"reference": "customers.csv", "key": {"record": "h.c", "reference": "customer_id"}, "into": "cu"}]
    keys: dict[str, Any] = {"merge": merge, "denormalize": {"explode": ["lines"]}, "input": settings}
    feed = ran(
        make_feed, {"a.json": json.dumps(document), "b.json": json.dumps({**document, "h": '{"at":"x"}'})}, **keys
    )
    assert feed.read().splitlines()[1:] == [f"1970-01-01T00:01:00Z,1,1,{one},Ann" for one in "ab"]
    assert bad(feed) == {1: ("wrong_type", "/h/at")}


@pytest.mark.parametrize(
    ("document", "columns"),
    [
        ('{"o":[{"id":1}],"c":1,"m":{"z":2,"y":3},"a":4}', "id,c,m_z,m_y,a"),
        ('{"m":{"y":3,"z":2},"o":[{"id":1}],"a":4,"c":1}', "id,m_y,m_z,a,c"),
        ('{"c":1,"o":[{"id":1,"m":{"x":5}}],"m":{"z":2},"a":null}', "id,m_x,m_z,m_y,c,a"),
        ('{"a":4,"o":[{"id":1}]}\n{"m":{"y":3},"c":1,"o":[{"id":2}],"a":5}', "id,a,m_y,m_z,c"),
    ],
)
def test_what_stands_around_records_has_columns_in_the_order_of_the_document(
    make_feed: MakeFeed, document: str, columns: str
) -> None:
    """Whatever the order in the spec is, columns stand in that of their first appearance: run and audit agree."""
    input_ = {"records_at": "/o", "envelope": ["a", "m.y", "c", "m.z"]}
    feed = ran(make_feed, {"a.json": document, "b.json": '{"o":[],"m":{"y":1,"z":2},"a":1,"c":1}'}, input=input_)
    assert set(feed.read().splitlines()[0].split(",")) <= set(columns.split(","))
    named = feed.read().splitlines()[0].split(",")
    assert named == [name for name in columns.split(",") if name in named]


@pytest.mark.parametrize(
    ("content", "rows", "codes"),
    [
        ('{"a":1,"r":[{"id":1}] x\n{"a":2,"r":[{"id":2}]}', ["1,1", "2,2"], ["syntax"]),
        ('{"r":[{"id":1}],"b":{"a":1,"a":2},"a":1}', ["1,1"], ["duplicate_key"]),
        ('{"r":[{"id":1}],"a":{"b":1,"b":2}}', ["1"], ["duplicate_key"]),
        ('{"r":[{"id":1}],"a":1,"a":2}\n{"r":[{"id":2}]}', ["1,1", "2,"], ["duplicate_key"]),
        ('{"r":[{"id":1},{"id":2},{"id":x},{"id":3}],"a":', ["1", "2", "3"], ["syntax", "truncated"]),
        (
            '{"a":1,"r":[{"id":1},\n{"id":\n{"id":3}],"a2":1}\n{"r":[{"id":4}],"a":2}',
            ["1,1", "3,1", "4,2"],
            ["truncated"],
        ),
    ],
)
def test_what_is_wrong_around_records_costs_none_of_them(
    make_feed: MakeFeed, content: str, rows: list[str], codes: list[str]
) -> None:
    """A fault around records is a bad record of its own; records have what stood around them up to there."""
    feed = ran(make_feed, {"a.json": content}, input={"records_at": "/r", "envelope": ["a"]})
    assert feed.read().splitlines()[1:] == rows
    assert [code for code, _ in bad(feed).values()] == codes


def test_records_in_an_array_around_them_take_along_what_is_beside_the_array(make_feed: MakeFeed) -> None:
    """The pointer may lead through an array: its indexes are not keys of the fields around, also for a replay."""
    content = '[{"a":9,"r":[]},{"a":1,"r":[{"id":1},{"id":"x"}],"b":{"c":2}}]\n[1,{"r":[{"id":3}]}]'
    settings = {"records_at": "/1/r", "envelope": ["a", "b.c"], "fields": {"id": "BIGINT"}}
    feed = ran(make_feed, {"a.json": content}, input=settings)
    assert feed.read() == "id,a,b_c\n1,1,2\n3,,\n"
    (one,) = quarantine.items(feed.open())
    replay.replay(feed.open(), one, b'{"id": 2}')
    feed.run(LATER)
    assert feed.read(1, LATER) == "id,a,b_c\n2,1,2\n"


def test_what_a_path_gives_is_compared_with_what_stands_around(make_feed: MakeFeed) -> None:
    """A field of the path and one of the same name around the records agree, or the records are bad."""
    documents = ['{"day":"1","r":[{"id":1,"p":"[1]"}]}', '{"r":[{"id":2}],"day":2}', '{"r":[{"id":3}]}']
    settings = {"records_at": "/r", "envelope": ["day"], "parse": ["p"], "path_columns": True}
    feed = ran(make_feed, {"day=1/a.json": "\n".join(documents)}, input=settings)
    assert feed.read() == "day,id,p\n1,1,[1]\n1,3,\n"
    assert bad(feed) == {2: ("name_conflict", "/day")}


@pytest.mark.parametrize(
    ("around", "beside", "record", "columns"),
    [
        (["b", "a"], '"a":1,"b":2', "{}", "id,a,b"),
        (["a.y", "c", "a.x.z", "a.x.k"], '"a":{"x":{"k":1,"z":2},"y":3},"c":4', "{}", "id,a_x_k,a_x_z,a_y,c"),
        (["m.s", "a"], '"a":1,"m":{"s":2}', '{"m":null}', "id,m_s,a"),
        (["m.s.t"], '"m":{"s":{"t":2}}', '{"m":{"s":null,"u":3}}', "id,m_s_t,m_u"),
        (["m.s"], '"m":{"s":null}', '{"m":null}', "id,m_s"),
    ],
)
@pytest.mark.parametrize("is_behind", [False, True])
def test_what_stands_around_has_the_order_of_the_document_and_room_in_a_null(  # noqa: PLR0913 - one row of its table
    make_feed: MakeFeed, *, around: list[str], beside: str, record: str, columns: str, is_behind: bool
) -> None:
    """Columns stand as the document has them, whatever the order in the spec; null is no object yet."""
    own = json.loads(record)
    rows = f'"r":[{json.dumps({"id": 1, **own})},{json.dumps({"id": 2, **own})}]'
    content = f"{{{rows},{beside}}}" if is_behind else f"{{{beside},{rows}}}"
    feed = ran(make_feed, {"a.json": content}, input={"records_at": "/r", "envelope": around})
    assert feed.read().splitlines()[0] == columns
    assert bad(feed) == {}
    assert feed.audit().findings == []


def read(content: bytes, *cuts: int, ahead: tuple[int, ...] = (), others: Others = Others.LEARN) -> tuple[Any, ...]:
    """Read documents with one reader, ahead of which another one reads in windows of its own."""
    reader = Reader(None, others, Form(records_at="/data/rows", around=WAYS))
    pieces = list(reader.read(b"f", cut(content, *cuts), ahead=iter(cut(content, *ahead))))
    return Piece(b"".join(one.merged for one in pieces), [x for one in pieces for x in one.wrong]), reader.learnt


def test_windows_of_any_size_change_nothing() -> None:
    """Wherever the windows of either reader end, the same fields are seen in the same records."""
    content = raw(DOCUMENTS + '{"batch":[9],"data":{"rows":[{"id":8},{"id":\n{"id":9}]},"tags":8} x\n' + DOCUMENTS)
    whole = read(content)
    assert len(whole[0].wrong) == 6
    for at in range(len(content)):
        assert read(content, at) == whole == read(content, ahead=(at,)), at
    for size in (1, 2, 3, 7, 50):
        every = tuple(range(size, len(content), size))
        assert read(content, *every) == whole == read(content, *every, ahead=every) == read(content, ahead=every)


def test_a_reader_ahead_keeps_only_what_it_needs() -> None:
    """Of many documents no more is read ahead than the window that is read, and the document it ends in."""
    document = b'{"data":{"rows":[%s]},"batch":1}\n' % b",".join(b'{"id":%d}' % n for n in range(2_000))
    taken, fed = 0, 0

    def windows(*, is_ahead: bool) -> Any:
        nonlocal taken, fed
        for _ in range(400):
            taken, fed = taken + is_ahead, fed + (not is_ahead)
            assert taken - fed <= 4
            yield document

    reader = Reader(form=Form(records_at="/data/rows", around=[("batch",)]))
    for _ in reader.read(b"f", windows(is_ahead=False), ahead=windows(is_ahead=True)):
        pass
    assert (reader.counts.records, reader.seen.fields["batch"].integers) == (800_000, 800_000)


def test_a_replayed_record_has_around_it_what_it_had(make_feed: MakeFeed) -> None:
    """A bad record lands again in a document of its own, with what stood around it, and makes the rows it should."""
    documents = (
        '{"h":{"x":"\\u00e9","y":1.50},"d":{"rows":[{"id":1,"n":"x"},{"id":2,"n":3}],"page":[1, {}]}}\n'
        '{"d":{"page":2,"rows":[{"id":3,"n":"y"}]},"h":{"x":null}}'
    )
    settings = {"records_at": "/d/rows", "envelope": ["h.x", "h.y", "d.page"], "fields": {"n": "BIGINT"}}
    feed = ran(make_feed, {"a.json": documents}, input=settings)
    assert bad(feed) == {1: ("wrong_type", "/n"), 3: ("wrong_type", "/n")}
    feed.write_spec(**{**FLAT, "input": {**settings, "fields": {}}})
    for one in quarantine.items(feed.open()):
        replay.replay(feed.open(), one)
    feed.run(LATER)
    assert feed.read(1, LATER) == 'id,n,h_x,h_y,d_page\n1,x,é,1.50,"[1,{}]"\n3,y,,,2\n'


def test_an_envelope_that_was_changed_in_a_table_is_found(make_feed: MakeFeed) -> None:
    """The auditor works out by itself what each record takes along, and sees where a table has something else."""
    feed = ran(make_feed, {"a.json": DOCUMENTS}, input={"records_at": "/data/rows", "envelope": AROUND[:2]})
    table = feed.data_dir / f"denormalized/{TS}/1.csv"
    table.write_text(table.read_text().replace("late", "lane"))
    assert any("'lane'" in str(one) for one in feed.audit().findings)


def test_the_command_line_knows_all_of_it(make_feed: MakeFeed) -> None:
    """plan, run, verify --deep and --audit agree, a second run gives the same bytes, and --write-fields fits."""
    document = {"b": 1, "rows": [{"at": 5, "p": '{"items":{"s":1}}'}, {"at": 6, "p": '{"items":[{"s":2},{"s":3}]}'}]}
    keys: dict[str, Any] = {
        **FLAT,
        "input": {"records_at": "/rows", "envelope": ["b"], "parse": ["p"], "fields": {"at": "EPOCH_S"}},
        "denormalize": {"explode": ["p.items"], "single": True},
        "verify": {"totals": ["p.items.s", "b"]},
    }
    feed, other = (make_feed({"a.json": json.dumps(document)}, folder=folder, **keys) for folder in ("one", "two"))
    assert fanfold("plan", feed.spec_path, "--write-fields").returncode == 0
    assert fanfold("plan", feed.spec_path).returncode == 0
    for one in (feed, other):
        assert fanfold("run", one.spec_path, "--ts", TS).returncode == 0
        for option in ("--deep", "--audit"):
            done = fanfold("verify", one.spec_path, option)
            assert done.returncode == 0, done.stdout + done.stderr
    assert (
        feed.read()
        == other.read()
        == ("at,p_items_s,b\n1970-01-01T00:00:05Z,1,1\n1970-01-01T00:00:06Z,2,1\n1970-01-01T00:00:06Z,3,1\n")
    )
    output = f"denormalized/{TS}/1.csv"
    assert tree(feed.data_dir)[output] == tree(other.data_dir)[output]


@pytest.mark.parametrize(
    ("input_", "expected"),
    [
        ("{envelope: [a]}", "input.records_at, since these fields are around the records"),
        ("{records_at: /d/r, envelope: [d]}", "fields apart from each other, and beside the records at /d/r"),
        ("{records_at: /d/r, envelope: [d.r.x]}", "fields apart from each other, and beside the records at /d/r"),
        ("{records_at: /0/r, envelope: ['0']}", "fields apart from each other, and beside the records at /0/r"),
        ("{records_at: /0/r, envelope: [0.r.x]}", "fields apart from each other, and beside the records at /0/r"),
        ("{records_at: /r, envelope: [a, a.b]}", "fields apart from each other, and beside the records at /r"),
        ("{records_at: /r, envelope: [a.b], fields: {a: JSON}}", "no type in input.fields for what is around 'a.b'"),
        (
            "{records_at: /r, envelope: [a], schema: declared, fields: {b: JSON}}",
            "'a', or fields in it, in input.fields, as input.schema is declared",
        ),
    ],
)
def test_an_envelope_that_cannot_be_is_refused_by_lint(tmp_path: Path, input_: str, expected: str) -> None:
    """Lint names the line, what was found, and what was expected."""
    (error,) = errors_of(tmp_path, f"version: 1\nname: t\ninput: {input_}\n")
    assert error.startswith("s.yaml:3: input.envelope: found [")
    assert error.endswith(f"expected {expected}")


def test_envelopes_that_do_not_belong_are_not_believed() -> None:
    """What another reader hands over may be anything: sizes that are not there are refused, not read."""
    from fanfold.native.library import core

    reader = Reader(form=Form(records_at="/r", around=[("a",)]))
    for given in (b"x", struct.pack("<QI", 0, 9), struct.pack("<QI", 0, 1) + b"xy", b"\xff" * 12):
        assert core().fanfold_reader_envelopes(reader.handle, given, len(given)) == -2
