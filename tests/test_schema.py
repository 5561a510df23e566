"""The one schema of a run: what values of several kinds become, what is declared, exploded, computed and joined."""

import csv
import io
import json
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from fanfold.engine import expressions
from fanfold.errors import DataError, FanfoldError, MissingError, SpecError
from fanfold.feed import runs
from fanfold.manifest import Column
from fanfold.spec.paths import way_of
from fanfold.steps.plan import plan
from fanfold.steps.recount import recount
from tests.conftest import TS, FeedDir, MakeFeed

FLAT: dict[str, Any] = {"subdirs": 1, "merge": [], "denormalize": {}}
LENIENT: dict[str, Any] = {**FLAT, "quarantine": {"max_bad_records_percent": 100}}


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def columns(feed: FeedDir, n: int = 1) -> dict[str, list[str]]:
    """Return the published table by its columns."""
    header, *rows = cells(feed.read(n))
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def check_count(feed: FeedDir) -> None:
    assert recount(*runs.open_complete(feed.open(), None)).gaps == []


# Types widen.

LONG = "12345678901234567890123456789012345678901234567890"
WIDENED: dict[str, tuple[list[str], str, list[str]]] = {
    "integers": (["1", "-9223372036854775808", "null"], "BIGINT", ["1", "-9223372036854775808", ""]),
    "integer and decimal": (["1", "1.5"], "DECIMAL(18,1)", ["1", "1.5"]),
    "decimals": (["0.1", "123.456", "1e3", "-2.50"], "DECIMAL(18,3)", ["0.1", "123.456", "1e3", "-2.50"]),
    "small and large decimals": (
        ["0.0000000001", "123456789.1"], "DECIMAL(38,10)", ["0.0000000001", "123456789.1"],
    ),
    "integers of 19 digits and decimals": (
        ["9007199254740993", "1234567890123456789", "0.25"],
        "DECIMAL(38,2)",
        ["9007199254740993", "1234567890123456789", "0.25"],
    ),
    "integers beyond 64 bits": (["9223372036854775808", "1"], "DECIMAL(38,0)", ["9223372036854775808", "1"]),
    "38 digits": (["9" * 38], "DECIMAL(38,0)", ["9" * 38]),
    "39 digits": (["9" * 39, "1", "0.50"], "VARCHAR", ["9" * 39, "1", "0.50"]),
    "digits on both sides": ([LONG[:30], "0." + LONG[:20]], "VARCHAR", [LONG[:30], "0." + LONG[:20]]),
    "large exponents": (["1e400", "1E-7", "1.50"], "VARCHAR", ["1e400", "1E-7", "1.50"]),
    "exponents": (["1e2", "1.5E+3", "25e-1"], "DECIMAL(18,1)", ["1e2", "1.5E+3", "25e-1"]),
    "numbers and text": (["1", "1.50", '"x"', LONG, "1e2"], "VARCHAR", ["1", "1.50", "x", LONG, "1e2"]),
    "true, false and numbers": (["true", "1", "2.50", "false"], "VARCHAR", ["true", "1", "2.50", "false"]),
    "true, false and text": (["true", '"x"'], "VARCHAR", ["true", "x"]),
    "booleans": (["true", "false", "null"], "BOOLEAN", ["true", "false", ""]),
    "object and number": (['{"b":"x"}', "1.50", "null"], "VARCHAR", ['{"b":"x"}', "1.50", ""]),
    "array and text": (['["x",1.50]', '"x"', '"1"', '""'], "VARCHAR", ['["x",1.50]', '"x"', '"1"', '""']),
    "array and object": (["[]", "{}", '{"b":[1]}'], "VARCHAR", ["[]", "{}", '{"b":[1]}']),
    "array and boolean": (["[1]", "true"], "VARCHAR", ["[1]", "true"]),
    "null alone": (["null", "null"], "VARCHAR", ["", ""]),
}  # fmt: skip


@pytest.mark.parametrize("apart", [False, True])
def test_types_widen_without_loss(make_feed: MakeFeed, apart: bool) -> None:  # noqa: FBT001
    """Values of several kinds have one column of the narrowest type that holds all of them, or are as written."""
    count = max(len(values) for values, _, _ in WIDENED.values())
    records = [
        "{" + ",".join(f'"{name}":{values[i]}' for name, (values, _, _) in WIDENED.items() if i < len(values)) + "}"
        for i in range(count)
    ]
    if apart:
        files = {f"{i}.json": record for i, record in enumerate(records)}
    else:
        files = {"a.json": "[" + ",".join(records) + "]"}
    feed = make_feed(files, **FLAT)
    feed.run()
    _, found = runs.open_complete(feed.open(), TS)
    assert {column.name: column.type for column in found.columns} == {n: kind for n, (_, kind, _) in WIDENED.items()}
    # Where files take different paths, their records change their order.
    order = sorted if apart else list
    table = {name: order(made) for name, made in columns(feed).items()}
    expected = {name: order(made + [""] * (count - len(made))) for name, (_, _, made) in WIDENED.items()}
    assert table == expected
    check_count(feed)


@pytest.mark.parametrize("name", ["numbers and text", "object and number", "integer and decimal", "39 digits"])
def test_types_widen_inside_of_objects_and_items(make_feed: MakeFeed, name: str) -> None:
    """Values of several kinds inside of objects and of exploded arrays become what they become at the top."""
    values, kind, expected = WIDENED[name]
    records = [f'{{"o":{{"p":{{"v":{value}}}}},"items":[{{"v":{value}}},{{}}]}}' for value in values]
    feed = make_feed({"a.json": "\n".join(records)}, **FLAT | {"denormalize": {"explode": ["items"]}})
    feed.run()
    table = columns(feed)
    assert table["o_p_v"][::2] == expected
    assert table["items_v"][::2] == expected
    _, found = runs.open_complete(feed.open(), TS)
    assert {column.type for column in found.columns} == {kind}


def test_a_field_of_the_last_record_of_the_last_file_is_a_column(make_feed: MakeFeed) -> None:
    """A field that only the last record of the last file has, at any depth, is a column of all parts of the run."""
    files: dict[str, Any] = {
        "a.json": '{"a":1,"o":{"x":1},"items":[{"s":1}]}\n' * 2000,
        "b.csv": "a\n" + "2\n" * 1000,
        "z.json": '{"a":3,"o":{"x":1},"items":[{"s":1}]}\n' * 999
        + '{"a":3,"o":{"x":1,"y":{"late":true}},"items":[{"s":1},{"late":1.5}],"late":"x"}\n',
    }
    feed = make_feed(files, **FLAT | {"subdirs": 3, "denormalize": {"explode": ["items"]}})
    summary = feed.run()
    headers = {feed.read(n).split("\n")[0] for n in (1, 2, 3)}
    assert headers == {"a,o_x,o_y_late,items_s,items_late,late"}
    assert sum(feed.read(n).count(",1.5,x\n") for n in (1, 2, 3)) == 1
    assert summary.rows_out == 4001
    check_count(feed)


# Declared fields.


def test_declared_fields_are_columns_whether_they_occur_or_not(make_feed: MakeFeed) -> None:
    """Declared fields come first, in their order and by their types, also where no record has them."""
    fields = {"z": "BIGINT", "o.never": "DATE", "items.price": "DECIMAL(18,4)", "o.x": "VARCHAR", "j": "JSON"}
    records = '[{"a":1,"o":{"y":true,"x":7.10},"items":[{"s":"x","price":1.5}],"j":{"k":[1.50]}},{"j":"x"},{"z":"12"}]'
    feed = make_feed({"a.json": records}, **FLAT | {"input": {"fields": fields}, "denormalize": {"explode": ["items"]}})
    feed.run()
    assert feed.read() == (
        "z,o_never,o_x,o_y,items_price,items_s,j,a\n"
        ',,7.10,true,1.5000,x,"{""k"":[1.50]}",1\n'
        ',,,,,,"""x""",\n'
        "12,,,,,,,\n"
    )
    feed.land("b.json", "[{}]")
    feed.run("20260103T000000Z")
    assert feed.read(1, "20260103T000000Z") == "z,o_never,o_x,items_price,j\n,,,,\n"
    check_count(feed)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("BIGINT", ["1", '"007"', "1.0", "1e2"], {"1.5": "inexact", '"x"': "wrong_type", "1e19": "inexact"}),
        ("DECIMAL(5,2)", ["1.25", '"-3"', "999.99"], {"1000": "inexact", "0.001": "inexact", "true": "wrong_type"}),
        ("DOUBLE", ["0.1", '"1e300"'], {"0.12345678901234567891": "inexact", '""': "wrong_type", "[]": "wrong_type"}),
        ("BOOLEAN", ["true", '"false"'], {"1": "wrong_type", '"yes"': "wrong_type"}),
        ("DATE", ['"2026-01-02"'], {'"2026-02-30"': "wrong_type", "20260102": "wrong_type"}),
        ("TIMESTAMP", ['"2026-01-02T03:04:05.5"'], {'"2026-01-02"': "wrong_type", '"2026-01-02T03:04Z"': "wrong_type"}),
        ("TIMESTAMPTZ", ['"2026-01-02T03:04:05+01:00"'], {'"2026-01-02T03:04:05"': "wrong_type"}),
        ("VARCHAR", ["1.50", '"x"', "true", '""'], {"{}": "wrong_type", "[1]": "wrong_type"}),
        ("JSON", ["1.50", '"x"', "{}", "[1]"], {}),
    ],
)  # fmt: skip
def test_what_a_declared_type_does_not_hold_is_quarantined(
    make_feed: MakeFeed, kind: str, good: list[str], bad: dict[str, str]
) -> None:
    """A value that its declared type does not hold exactly makes its record bad, and no other."""
    values = [*good, "null", *bad]
    content = "\n".join(f'{{"i":{i},"o":[{{"v":{value}}}]}}' for i, value in enumerate(values))
    keys = {"input": {"fields": {"o.v": kind}}, "denormalize": {"explode": ["o"]}}
    feed = make_feed({"a.json": content}, **LENIENT | keys)
    summary = feed.run()
    assert columns(feed)["i"] == [str(i) for i in range(len(good) + 1)]
    listed = feed.data_dir / f"quarantine/{TS}/1/records.jsonl"
    found = [json.loads(line) for line in listed.read_text().splitlines()] if bad else []
    assert [(one["code"], one["pointer"]) for one in found] == [(code, "/o/0/v") for code in bad.values()]
    assert summary.records_quarantined == len(bad)
    check_count(feed)


def test_a_declared_path_in_a_declared_field_is_an_error(make_feed: MakeFeed) -> None:
    """A declared path that lies in another one is an error before any group starts."""
    feed = make_feed({"a.json": [{"o": 1}]}, **FLAT | {"input": {"fields": {"o": "JSON", "o.p": "JSON"}}})
    with pytest.raises(FanfoldError, match=r"^input\.fields: 'o' and 'o\.p' are declared[^\n]*$"):
        feed.stage()


@pytest.mark.parametrize(
    ("declared", "record", "near"),
    [
        ("phone1", {"phone2": "5"}, "'phone2'"),
        ("items.skuu", {"items": [{"sku": "x"}]}, "'items.sku'"),
        ("o.p.quantiti", {"o": {"p": {"quantity": 1}}}, "'o.p.quantity'"),
        ("order.itmes.sku", {"order": {"items": {"sku": 1}}}, "'order.items.sku'"),
        ("odrer.items.sku", {"order": {"items": {"sku": 1}}}, "'order.items.sku'"),
        ("a.b", {"a.b": 7}, "'\"a.b\"'"),
        ("o.a.b", {"o": {"a.b": 7}, "o.a.bc": 8}, "'o.\"a.b\"'"),
        ('"a.b"', {"a": {"b": 7}}, "'a.b'"),
    ],
)
def test_an_absent_field_is_a_column_of_nulls_and_a_near_name_is_warned_of(
    make_feed: MakeFeed, caplog: pytest.LogCaptureFixture, declared: str, record: dict[str, object], near: str
) -> None:
    """Where no record has a declared field, and some have an undeclared one of nearly its name, a warning says so."""
    name = "_".join(way_of(declared))
    table = {"explode": ["items"] if "items" in record else [], "columns": ["id", name]}
    keys = {"input": {"fields": {declared: "VARCHAR"}}, "denormalize": table}
    feed = make_feed({"a.json": [{"id": 1, **record}] * 2, "b.json": [{"id": 1, **record}]}, **FLAT | keys)
    said = f"no good record has {declared!r} (input.fields): its column is empty, and {near}, which is not declared"
    plan(feed.open())
    assert caplog.text.count(said) == 1
    caplog.clear()
    feed.run()
    assert caplog.text.count(said) == 1
    assert columns(feed) == {"id": ["1"] * 3, name: [""] * 3}
    check_count(feed)


def test_similar_names_may_both_be_declared(make_feed: MakeFeed, caplog: pytest.LogCaptureFixture) -> None:
    """An absent field is not warned of where its neighbour is declared too, or is of another name."""
    fields = {"price_1": "BIGINT", "price_2": "BIGINT", "elsewhere": "BIGINT"}
    feed = make_feed({"a.json": [{"price_1": 1}]}, **FLAT | {"input": {"fields": fields}})
    feed.run()
    assert feed.read() == "price_1,price_2,elsewhere\n1,,\n"
    assert "input.fields" not in caplog.text


@pytest.mark.parametrize(
    ("declared", "record"),
    [
        ("payload.items.at", {"payload": {"items": {"arr": 1}}}),
        ("order.items.discounts.code", {"order": {"items": {"price": 1}}}),
        ("home.postal_code", {"work": {"postal_code": 1}}),
        ("billing.address.street_name", {"shipping": {"address": {"street_name": 1}}}),
        ('"a.long.key".x', {"a.long.key": {"y": 1}}),
    ],
)
def test_fields_of_other_names_are_not_misspelled(
    make_feed: MakeFeed, caplog: pytest.LogCaptureFixture, declared: str, record: dict[str, object]
) -> None:
    """A declared field may be absent, however long the path is that it has in common with another field."""
    feed = make_feed({"a.json": [record]}, **FLAT | {"input": {"fields": {declared: "BIGINT"}}})
    feed.run()
    assert "input.fields" not in caplog.text


# Only what is declared.

RESCUED: dict[str, tuple[str, dict[str, str], list[str], str]] = {
    "nothing": ('{"a":1}', {"a": "BIGINT"}, [], "a,_rescued\n1,\n"),
    "at the top": ('{"x":"1\\n","a":1,"y":[1.50]}', {"a": "BIGINT"}, [],
                   'a,_rescued\n1,"{""x"":""1\\n"",""y"":[1.50]}"\n'),
    "all": ('{"a":1,"":null}', {"b": "BIGINT"}, [], 'b,_rescued\n,"{""a"":1,"""":null}"\n'),
    "nested": ('{"o":{"p":{"a":1,"b":2},"c":3},"d":4}', {"o.p.a": "BIGINT"}, [],
               'o_p_a,_rescued\n1,"{""o"":{""p"":{""b"":2},""c"":3},""d"":4}"\n'),
    "an array that does not explode": ('{"a":1,"l":[{"x":1}]}', {"a": "BIGINT"}, [],
                                       'a,_rescued\n1,"{""l"":[{""x"":1}]}"\n'),
    "of each item": ('{"a":1,"items":[{"s":"x","t":1},{"s":"y"},{"u":{}}],"b":2}',
                     {"a": "BIGINT", "items.s": "VARCHAR"}, ["items"],
                     """a,items_s,_rescued
1,x,"{""b"":2,""items"":{""t"":1}}"
1,y,"{""b"":2}"
1,,"{""b"":2,""items"":{""u"":{}}}"
"""),
    "of the outer row": ('{"a":1,"items":[],"b":2}', {"items.s": "VARCHAR"}, ["items"],
                         'items_s,_rescued\n,"{""a"":1,""b"":2}"\n'),
    "of two levels": (
        '{"a":1,"x":0,"orders":[{"id":7,"y":1,"items":[{"s":"p","z":2},{"s":"q"}]},{"id":8,"y":3,"items":[]},{"id":9}]}',
        {"a": "BIGINT", "orders.id": "BIGINT", "orders.items.s": "VARCHAR"},
        ["orders", "orders.items"],
        """a,orders_id,orders_items_s,_rescued
1,7,p,"{""x"":0,""orders"":{""y"":1,""items"":{""z"":2}}}"
1,7,q,"{""x"":0,""orders"":{""y"":1}}"
1,8,,"{""x"":0,""orders"":{""y"":3}}"
1,9,,"{""x"":0}"
""",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RESCUED)
def test_what_is_not_declared_is_rescued(make_feed: MakeFeed, name: str) -> None:
    """Under `schema: declared`, only declared fields are columns, all others are in `_rescued`, nested as they were."""
    content, fields, explode, expected = RESCUED[name]
    keys = {"input": {"schema": "declared", "fields": fields}, "denormalize": {"explode": explode}}
    feed = make_feed({"a.json": content}, **FLAT | keys)
    feed.run()
    assert feed.read() == expected
    check_count(feed)


def test_a_declared_schema_holds_for_all_formats(make_feed: MakeFeed) -> None:
    """Under `schema: declared`, what CSV and Parquet have beside the declared fields is in `_rescued` too."""
    table = io.BytesIO()
    pq.write_table(pa.table({"n": [2], "o": [{"x": 1, "y": 2.5}]}), table)
    files = {"a.csv": 'n,m\n1,"x ""y"""\n', "b.parquet": table.getvalue(), "c.json": '{"n":3}', "d.csv": "n\n4\n"}
    keys = {"input": {"schema": "declared", "fields": {"n": "BIGINT", "o.x": "BIGINT"}}}
    feed = make_feed(files, **FLAT | keys)
    feed.run()
    found = {row[0]: (row[1], json.loads(row[2]) if row[2] else None) for row in cells(feed.read())[1:]}
    assert found == {"1": ("", {"m": 'x "y"'}), "2": ("1", {"o": {"y": 2.5}}), "3": ("", None), "4": ("", None)}
    check_count(feed)


def test_a_key_is_known_under_a_declared_schema(make_feed: MakeFeed) -> None:
    """Under `schema: declared`, a declared key joins as written, and what is bad is quarantined as ever."""
    merge = [{"reference": "customers.csv", "key": "customer_id", "into": "c"}]
    keys = {"merge": merge, "input": {"schema": "declared", "fields": {"customer_id": "VARCHAR", "n": "BIGINT"}}}
    feed = make_feed({"a.json": '{"customer_id":"007","n":1}\n{"n":x}\n{"customer_id":7,"n":"x"}\n'}, **LENIENT | keys)
    summary = feed.run()
    assert feed.read() == "customer_id,n,c_name,_rescued\n007,1,James,\n"
    assert summary.records_quarantined == 2
    check_count(feed)


# Arrays.

ORDERS = (
    '[{"i":1,"orders":[{"o":10,"items":[{"s":"a"},{"s":"b"}]},{"o":11,"items":[]},{"o":12,"items":null},{"o":13}]},'
    '{"i":2,"orders":[]},{"i":3,"orders":null},{"i":4},{"i":5,"orders":[null,{"items":[null,{"s":"c"}]}]}]'
)
ROWS_OF_ORDERS = """i,orders_o,orders_items_s
1,10,a
1,10,b
1,11,
1,12,
1,13,
2,,
3,,
4,,
5,,
5,,
5,,c
"""


@pytest.mark.parametrize("explode", [["orders", "orders.items"], ["orders.items"], ["orders.items", "orders"]])
@pytest.mark.parametrize("careful", [False, True])
def test_two_levels_of_arrays_become_rows(make_feed: MakeFeed, explode: list[str], careful: bool) -> None:  # noqa: FBT001
    """An array inside of an array explodes too; a record or item whose array is empty or missing keeps a row."""
    content = ORDERS[:-1] + (",x]" if careful else "]")
    feed = make_feed({"a.json": content}, **LENIENT | {"denormalize": {"explode": explode}})
    summary = feed.run()
    # The order of columns is that of the fields as they were seen.
    assert columns(feed) == {name: list(made) for name, *made in zip(*cells(ROWS_OF_ORDERS), strict=True)}
    assert (summary.rows_out, summary.records_quarantined) == (11, int(careful))
    check_count(feed)


def test_three_levels_of_arrays_become_rows(make_feed: MakeFeed) -> None:
    """Arrays on one line explode at any depth, through objects too, and each level keeps its rows."""
    content = (
        '{"a":[{"b":{"c":[{"d":[1,2]},{"d":[]}]},"n":1},{"b":null,"n":2},{"b":{"c":[]},"n":3}]}\n{"a":[]}\n{"a":[{}]}\n'
    )
    feed = make_feed({"a.json": content}, **FLAT | {"denormalize": {"explode": ["a.b.c.d"]}})
    feed.run()
    assert feed.read() == "a_b_c_d,a_n\n1,1\n2,1\n,1\n,2\n,3\n,\n,\n"
    check_count(feed)


def test_arrays_of_plain_values_explode(make_feed: MakeFeed) -> None:
    """An array of texts, numbers or nulls gives a row a value; arrays inside of an exploded one stay JSON."""
    content = '{"t":["a",null,"","x,y"],"i":1}\n{"t":[],"i":2}\n'
    feed = make_feed({"a.json": content}, **FLAT | {"denormalize": {"explode": ["t"]}})
    feed.run()
    assert feed.read() == 't,i\na,1\n,1\n"",1\n"x,y",1\n,2\n'
    nested = make_feed(
        {"a.json": '{"t":[[1,2],[],null]}'}, folder="nested", **FLAT | {"denormalize": {"explode": ["t"]}}
    )
    nested.run()
    assert nested.read() == 't\n"[1,2]"\n[]\n\n'


def test_arrays_side_by_side_are_refused(make_feed: MakeFeed) -> None:
    """Two arrays that lie side by side cannot explode together: the spec is refused, and both are named."""
    feed = make_feed({"a.json": ORDERS}, **FLAT)
    feed.write_spec(**FLAT | {"denormalize": {"explode": ["orders", "payments"]}})
    with pytest.raises(SpecError, match="'orders' and 'payments' are side by side"):
        feed.open()
    feed.write_spec(**FLAT | {"denormalize": {"explode": ["orders.items", "orders.notes"]}})
    with pytest.raises(SpecError, match="side by side"):
        feed.open()


@pytest.mark.parametrize("value", ["1", '"x"', "true", '{"s":1}'])
def test_a_record_whose_array_is_none_is_quarantined(make_feed: MakeFeed, value: str) -> None:
    """Where the field that explodes is no array in one record, that record is bad, and no other."""
    content = f'{{"i":1,"items":[{{"s":1}}]}}\n{{"i":2,"items":{value}}}\n{{"i":3}}\n'
    feed = make_feed({"a.json": content}, **LENIENT | {"denormalize": {"explode": ["items"]}})
    summary = feed.run()
    assert columns(feed)["i"] == ["1", "3"]
    assert summary.records_quarantined == 1
    check_count(feed)


# Computed columns.

FLAT_ROW = {"id": 7, "name": "Ann", "price": 1.25, "day": "2026-01-02", "ok": True, "o": {"s pace": "x"}, "none": None}
EXPRESSIONS = {
    "price * 3": "3.75",
    "price + id": "8.25",
    "upper(name)": "ANN",
    "name || '-' || id": "Ann-7",
    "CASE WHEN id > 5 THEN 'large' ELSE 'small' END": "large",
    "coalesce(none, 'nothing')": "nothing",
    '"o_s pace"': "x",
    "CAST(day AS DATE) + 1": "2026-01-03",
    "strftime(CAST(day AS DATE), '%Y')": "2026",
    "ok AND id BETWEEN 1 AND 9": "true",
    "name IN ('Ann', 'Bob')": "true",
    "name LIKE 'A%'": "true",
    "round(price, 1)": "1.3",
    "id::VARCHAR": "7",
    "md5(name)": "82e335f7ac0e0e412b2ae15abe662110",
    "id -- )": "7",
    "(id, name)": "(7, Ann)",
    "length(name) -- a comment": "3",
    "NULL": "",
    "'it''s; fine'": "it's; fine",
    "list_transform([1, 2], lambda x: x + id)": "[8, 9]",
    "id % 4 = 3": "true",
    "nullif(name, 'Ann')": "",
    "split_part(name, 'n', 1)": "A",
    "if(ok, 'yes', 'no')": "yes",
    "date_add(CAST(day AS DATE), INTERVAL 1 DAY)": "2026-01-03T00:00:00",
    "array_to_string(['a', name], '-')": "a-Ann",
    "list_sum([id, 1])": "8",
    "repeat(name, 2)": "AnnAnn",
    "len(range(id))": "7",
    "fdiv(id, 2)": "3.0",
}


def test_columns_are_computed(make_feed: MakeFeed) -> None:
    """A column may be an SQL expression over the columns of its row."""
    names = {f"c{i}": expression for i, expression in enumerate(EXPRESSIONS)}
    chosen = ["name", *({name: expression} for name, expression in names.items()), "id"]
    feed = make_feed({"a.json": [FLAT_ROW]}, **FLAT | {"denormalize": {"columns": chosen}})
    feed.run()
    header, row = cells(feed.read())
    assert header == ["name", *names, "id"]
    assert dict(zip(names.values(), row[1:-1], strict=True)) == EXPRESSIONS


def test_types_of_computed_columns(make_feed: MakeFeed) -> None:
    """A computed column has the type of its expression, exact where that is exact, also in Parquet."""
    chosen = [
        {"a": "id + 1"}, {"b": "price * 2"}, {"c": "name || 'x'"}, {"d": "CAST(day AS DATE)"}, {"e": "id > 1"},
        {"f": "sqrt(id)"}, {"g": "CAST(day AS TIMESTAMP)"}, {"h": "[id]"}, {"i": "id::HUGEINT * 10"},
    ]  # fmt: skip
    keys = FLAT | {"denormalize": {"columns": chosen}, "output": {"format": "parquet"}}
    feed = make_feed({"a.json": [FLAT_ROW]}, **keys)
    feed.run()
    found = pq.read_schema(feed.data_dir / f"denormalized/{TS}/1.parquet").types
    assert [found[0], *found[2:6], found[7]] == [
        pa.int64(), pa.string(), pa.date32(), pa.bool_(), pa.float64(), pa.string(),
    ]  # fmt: skip
    assert pa.types.is_decimal(found[1])
    assert found[6] == pa.timestamp("us")
    assert found[8] == pa.decimal128(38, 0)


def test_columns_are_computed_from_references_and_items(make_feed: MakeFeed) -> None:
    """An expression sees the columns of references and of exploded arrays, by their names in the table."""
    chosen = [{"what": "customer_name || ' buys ' || items_s"}, "customer_id"]
    records = [{"customer_id": "1", "items": [{"s": "x"}, {"s": "y"}]}, {"customer_id": "9", "items": [{"s": "z"}]}]
    feed = make_feed({"a.json": records}, subdirs=1, denormalize={"explode": ["items"], "columns": chosen})
    feed.run()
    assert feed.read() == "what,customer_id\nAnn buys x,1\nAnn buys y,1\n,9\n"
    check_count(feed)


REFUSED = [
    "(SELECT 1)", "(SELECT max(id))", "id IN (SELECT 1)", "EXISTS (SELECT 1)", "random()", "uuid()", "now()",
    "today()", "get_current_timestamp()", "read_csv('/etc/passwd')", "(FROM read_csv('/etc/passwd'))",
    "read_text('/etc/passwd')", "sum(id)", "count(*)", "row_number() OVER ()", "max(id) OVER ()", "no_column",
    "record.id", "1; SELECT 2", "1) FROM (SELECT 1", "1 AS x", "*", "columns(*)", "current_setting('threads')",
    "getenv('HOME')", "version()", "unnest([1, 2])", "setseed(0.5)", "nextval('x')", " ", ")", "'", "no_function(id)",
    "$1", "?", "DROP TABLE x", "pi() /*", "id) -- ", "current_date", "current_time", "CURRENT_TIMESTAMP",
    "localtimestamp", "current_user", "session_user", "user", "current_schema", "current_database()", "pg_typeof(id)",
    "age(epoch_ms(id))", "AGE(epoch_ms(id))", "epoch_ms(id).age()", "list_transform([epoch_ms(id)], lambda x: age(x))",
    "current_localtime()", "current_localtimestamp()", "ago(INTERVAL 1 DAY)", "name::INET", "host(name)",
    "stem(name, 'english')", "st_area(name)", "load_aws_credentials()", "session_user()", "user()",
    "nullif(random(), 1)", "geomean(id)", "json_group_array(name)", "generate_subscripts([1, 2], 1)",
    "regexp_split_to_table(name, 'x')", "get_block_size('x')", "format_type(1, 2)",
]  # fmt: skip


@pytest.mark.parametrize("expression", REFUSED)
def test_what_is_no_expression_of_one_row_is_refused(expression: str) -> None:
    """An expression that reads elsewhere, aggregates, answers differently each time, or is none, is refused."""
    flat = [Column("id", "BIGINT", "record", ["id"]), Column("name", "VARCHAR", "record", ["name"])]
    with pytest.raises(FanfoldError) as caught:
        expressions.column("c", expression, flat)
    assert str(caught.value).startswith(f"denormalize.columns 'c': {expression!r}: ")
    assert "\n" not in str(caught.value)
    assert "extension" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("sum(id)", "found sum(), which takes the values of several rows"),
        ("wavg(id, id)", "found wavg(), which takes the values of several rows"),
        ("unnest([id])", "found unnest(), which makes rows, not one value"),
        ("random()", "found random(), which does not depend on its row alone"),
        ("nullif(random(), 1)", "found random(), which does not depend on its row alone"),
        ("current_date", "found current_date, which does not depend on its row alone"),
        ("version()", "found version(), which does not depend on its row alone"),
    ],
)
def test_a_refused_function_says_why(expression: str, reason: str) -> None:
    """What is said of a function that is refused is true of it."""
    with pytest.raises(DataError) as caught:
        expressions.column("c", expression, [Column("id", "BIGINT", "record", ["id"])])
    assert f": {reason}, expected SQL over the columns of one row" in str(caught.value)


@pytest.mark.parametrize("expression", ["random()", "(SELECT 1)", "no_column", "read_csv('customers.csv')"])
def test_a_refused_expression_stops_the_run_at_once(make_feed: MakeFeed, expression: str) -> None:
    """A run whose spec has an expression that is refused fails before any group starts, and names it."""
    feed = make_feed({"a.json": [FLAT_ROW]}, **FLAT | {"denormalize": {"columns": [{"c": expression}]}})
    with pytest.raises(DataError) as caught:
        feed.stage()
    assert repr(expression) in str(caught.value)
    assert not (feed.data_dir / "denormalized").exists()


def test_an_expression_that_fails_for_a_value_is_told(make_feed: MakeFeed) -> None:
    """An expression that has no result for some row fails its group with one line, and publishes nothing."""
    feed = make_feed(
        {"a.json": [{"n": "1"}, {"n": "x"}]}, **FLAT | {"denormalize": {"columns": [{"m": "CAST(n AS INTEGER)"}]}}
    )
    with pytest.raises(DataError, match=r"denormalize\.columns 'm': .* record 2 of 'a.json' \(n 'x'\): ") as caught:
        feed.run()
    assert "\n" not in str(caught.value)
    assert not (feed.data_dir / f"denormalized/{TS}/1.csv").exists()


# References.


def reference(feed: FeedDir, name: str, content: str | bytes | pa.Table) -> None:
    path = feed.data_dir / name
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def test_references_of_each_format_join_in_order(make_feed: MakeFeed) -> None:
    """References of CSV, JSON and Parquet are joined in the order of the spec, nested and with their types."""
    chosen = ["price"]
    merge = [
        {"reference": "shops.json", "key": "shop", "into": "shop_info"},
        {"reference": "customers.csv", "key": "customer_id", "into": "customer"},
        {"reference": "prices.parquet", "key": {"record": "o.sku", "reference": "sku"}, "into": "p", "columns": chosen},
    ]  # fmt: skip
    records = [
        {"customer_id": 1, "shop": "x", "o": {"sku": 5}},
        {"customer_id": 9, "shop": "y", "o": {"sku": "006"}},
        {"customer_id": "007", "shop": None, "o": {}},
    ]
    feed = make_feed({"a.json": records}, **FLAT | {"merge": merge})
    reference(feed, "shops.json", '{"shop":"x","at":{"town":"Ulm","no":1.50},"tags":[1]}\n{"shop":"y","open":true}\n')
    reference(feed, "prices.parquet", pa.table({"sku": [5, 6], "price": [1.5, 2.5], "other": ["a", "b"]}))
    summary = feed.run()
    assert cells(feed.read()) == [
        ["customer_id", "shop", "o_sku", "shop_info_at_town", "shop_info_at_no", "shop_info_tags", "shop_info_open",
         "customer_name", "p_price"],
        ["1", "x", "5", "Ulm", "1.50", "[1]", "", "Ann", "1.5"],
        ["9", "y", "006", "", "", "", "true", "", ""],
        ["007", "", "", "", "", "", "", "James", ""],
    ]  # fmt: skip
    assert summary.records_unmatched == 2
    assert [(one.path, one.rows) for one in summary.references] == [
        ("shops.json", 2), ("customers.csv", 3), ("prices.parquet", 2),
    ]  # fmt: skip
    check_count(feed)


@pytest.mark.parametrize("key", ['"007"', "7", "1.50", "12345678901234567890", "true", '"é"'])
def test_keys_of_json_references_match_as_written(make_feed: MakeFeed, key: str) -> None:
    """A key of a JSON reference matches the key of a record that is written in the same way."""
    merge = [{"reference": "r.json", "key": "k", "into": "r"}]
    feed = make_feed({"a.json": f'[{{"k":{key}}},{{"k":"other"}}]'}, **FLAT | {"merge": merge})
    reference(feed, "r.json", f'[{{"k":{key},"found":"yes"}},{{"k":"none","found":"no"}}]')
    feed.run()
    assert columns(feed)["r_found"] == ["yes", ""]


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("r.json", '{"k":1,"v":"a"}\n{"k":"2","v":"b"}\n\n{"k":"1","v":"c"}\n{"k":2}\n{"k":null}\n{"k":null}\n', True),
        ("r.json", '[\n{"k":1,"v":"a"},\n{"k":2,"v":"b"},\n{\n"k":1\n},\n{"k":2}\n]', False),
        ("r.parquet", pa.table({"k": [1, 2, 1, 3, 2], "v": list("abcde")}), False),
    ],
)
def test_duplicate_keys_of_any_reference_are_named(
    make_feed: MakeFeed,
    name: str,
    content: Any,
    lines: bool,  # noqa: FBT001
) -> None:
    """A key twice in a reference of JSON or Parquet is an error that names key and lines; the first counts if asked."""
    merge = {"reference": name, "key": "k", "into": "r"}
    feed = make_feed({"a.json": '[{"k":1},{"k":2},{"k":3}]'}, **FLAT | {"merge": [merge]})
    reference(feed, name, content)
    with pytest.raises(DataError) as caught:
        feed.stage()
    numbers = ("1, 4", "2, 5") if lines else ("2, 4", "3, 7") if name == "r.json" else ("1, 3", "2, 5")
    kind = "records" if name.endswith(".parquet") else "lines"
    expected = f"{name}: k '1' in {kind} {numbers[0]}; '2' in {kind} {numbers[1]}, expected every key once"
    assert str(caught.value) == expected
    feed.write_spec(**FLAT | {"merge": [{**merge, "on_duplicate": "first", "columns": ["v"]}]})
    other = "20260103T000000Z"
    feed.land("b.json", '[{"k":1},{"k":2},{"k":3}]')
    feed.run(other)
    assert [row[1] for row in cells(feed.read(1, other))[1:3]] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("r.json", '{"k":1}\n{"k":x}\n', DataError, "r.json:2: found 'x', expected a value: a text in quotes, "),
        ("r.json", "", DataError, "found nothing, expected records (empty_file)"),
        ("r.json", '{"q":1}', MissingError, "column 'k' is not there"),
        ("r.json", '{"k":{"a":1}}', DataError, "k"),
        ("r.json", '{"k":1,"V":1,"v":2}', DataError, "'V'"),
        ("r.parquet", b"no Parquet", DataError, "(unreadable)"),
        ("r.parquet", pa.table({"q": [1]}), MissingError, "column 'k' is not there"),
    ],
)
def test_bad_references_are_refused(
    make_feed: MakeFeed, name: str, content: Any, error: type[FanfoldError], message: str
) -> None:
    """A reference of JSON or Parquet with a bad record, or without its key, is an error before any group starts."""
    feed = make_feed({"a.json": '{"k":1}'}, **FLAT | {"merge": [{"reference": name, "key": "k", "into": "r"}]})
    reference(feed, name, content)
    with pytest.raises(error) as caught:
        feed.stage()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Names.


@pytest.mark.parametrize("careful", [False, True])
def test_keys_may_be_any_text(make_feed: MakeFeed, careful: bool) -> None:  # noqa: FBT001
    """A key without a character, and keys that begin like Fanfold's own, are columns like all others."""
    record = {
        "": 1, "\ue000": 2, "\ue000rescued": 3, "\ue000file": "4", "\ue000record": 5, "\ue001origin": 6, "record": 7,
        "o": {"": 8, "\ue000": 9}, "items": [{"": 10, "\ue000rescued": 11}], "column_0": 12, "item_1": 13, "key": 14,
        "a\nb": 15, "a\u0000b": 16, "row": 17, "'": 18, '"': 19, "{x}": 20, "$x": 21,
    }  # fmt: skip
    content = json.dumps(record) + ("\nx\n" if careful else "")
    feed = make_feed({"a.json": content}, **LENIENT | {"denormalize": {"explode": ["items"]}})
    feed.run()
    header, row = cells(feed.read())
    expected = {key: str(value) for key, value in record.items() if key not in {"o", "items"}}
    expected |= {"o_": "8", "o_\ue000": "9", "items_": "10", "items_\ue000rescued": "11"}
    assert dict(zip(header, row, strict=True)) == expected
    check_count(feed)


def test_a_column_without_a_name_may_be_alone(make_feed: MakeFeed) -> None:
    """A table whose one column has no name is read back with its rows, and in Parquet its name is `_`."""
    feed = make_feed({"a.json": '[{"":"x"},{"":null},{"":""}]'}, **FLAT)
    feed.run()
    assert feed.read() == '""\nx\n\n""\n'
    check_count(feed)
    other = make_feed({"a.json": '[{"":"x"}]'}, folder="other", **FLAT | {"output": {"format": "parquet"}})
    other.run()
    assert pq.read_table(other.data_dir / f"denormalized/{TS}/1.parquet").to_pylist() == [{"_": "x"}]
    check_count(other)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_column_without_a_name_and_one_of_an_underscore_are_two(make_feed: MakeFeed, form: str) -> None:
    """A field `""` and a field `_` both have their column, are totalled and audited, and SQL distinguishes them."""
    keys: dict[str, Any] = {
        "denormalize": {"columns": ["", "_", {"both": "__ * 10 + _"}]},
        "verify": {"totals": ['""', "_"]},
        "output": {"format": form},
    }
    feed = make_feed({"a.json": '{"":1,"_":2}\n{"_":3}\n', "b.json": '{"":4}'}, **FLAT | keys)
    feed.run()
    if form == "csv":
        assert feed.read() == '"",_,both\n1,2,12\n,3,\n4,,\n'
    else:
        table = pq.read_table(feed.data_dir / f"denormalized/{TS}/1.parquet")
        assert table.to_pydict() == {"__": [1, None, 4], "_": [2, 3, None], "both": [12, None, None]}
    assert runs.open_complete(feed.open(), None)[1].totals == {'""': "5", "_": "5"}
    check_count(feed)
    assert feed.audit().findings == []
