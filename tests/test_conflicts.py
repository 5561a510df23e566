"""Forms that exclude each other over a run: which one holds, and which records are bad for it."""

import collections
import csv
import io
import json
import operator
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from fanfold import documents
from fanfold.errors import DataError
from fanfold.manifest import Manifest
from fanfold.native.fields import Seen
from fanfold.schema.rivals import DECLARED, NAMED, Conflict, Rival, exclude
from fanfold.steps.plan import plan
from fanfold.steps.recount import recount
from fanfold.working_files import Form
from tests.conftest import TS, FeedDir, MakeFeed

FLAT: dict[str, Any] = {
    "subdirs": 1,
    "merge": [],
    "denormalize": {},
    "quarantine": {"max_bad_records_percent": 100},
}
ITEMS: dict[str, Any] = {**FLAT, "denormalize": {"explode": ["items"]}}
MERGE = [{"reference": "customers.csv", "key": "customer_id", "into": "customer"}]

Bad = tuple[str, int, str, str]


def bad_records(feed: FeedDir) -> list[dict[str, Any]]:
    listed = sorted((feed.data_dir / "quarantine").rglob("records.jsonl"))
    return [json.loads(line) for path in listed for line in path.read_text().splitlines()]


def bad(feed: FeedDir) -> list[Bad]:
    """Return file, number, pointer and code of each record in quarantine."""
    return sorted((one["file"], one["record"], one["pointer"], one["code"]) for one in bad_records(feed))


def counted(feed: FeedDir) -> None:
    run = feed.at()
    assert recount(run, documents.read(run.commit_path, Manifest)).gaps == []


def parquet(**columns: list[Any]) -> bytes:
    table = io.BytesIO()
    pq.write_table(pa.table(columns), table)
    return table.getvalue()


class Case(NamedTuple):
    """Files, keys of the spec, the first table, and what is bad."""

    files: dict[str, Any]
    keys: dict[str, Any]
    table: str
    bad: list[Bad]


CASES = {
    "letter case, the more frequent one": Case(
        {"a.json": [{"userUPN": "a"}] * 3, "b.json": [{"UserUPN": "b"}], "c.json": [{"x": 1}]},
        FLAT,
        "userUPN,x\na,\na,\na,\n,1\n",
        [("b.json", 1, "/UserUPN", "case_conflict")],
    ),
    "on a tie the first by name of the file": Case(
        {"b.json": [{"id": 1}], "a.json": [{"ID": 2}]}, FLAT, "ID\n2\n", [("b.json", 1, "/id", "case_conflict")]
    ),
    "three of them": Case(
        {"a.json": '{"Id":1}\n{"ID":2}\n{"id":3}\n{"id":4}\n'},
        FLAT,
        "id\n3\n4\n",
        [("a.json", 1, "/Id", "case_conflict"), ("a.json", 2, "/ID", "case_conflict")],
    ),
    "inside of objects": Case(
        {"a.json": [{"o": {"Name": 1, "x": 1}}, {"o": {"name": 2}}, {"o": {"name": 3}}]},
        FLAT,
        "o_name\n2\n3\n",
        [("a.json", 1, "/o/Name", "case_conflict")],
    ),
    "inside of an array that explodes": Case(
        {"a.json": [{"items": [{"sku": 1}, {"SKU": 2}]}, {"items": [{"sku": 3}]}]},
        ITEMS,
        "items_sku\n3\n",
        [("a.json", 1, "/items/1/SKU", "case_conflict")],
    ),
    "of objects": Case(
        {"a.json": [{"O": {"a": 1}}, {"o": {"b": 2}}, {"o": {"b": 3}}]},
        FLAT,
        "o_b\n2\n3\n",
        [("a.json", 1, "/O", "case_conflict")],
    ),
    "a key is there, also with null": Case(
        {"a.json": '{"id":1}\n{"id":2}\n{"ID":null}\n'},
        FLAT,
        "id\n1\n2\n",
        [("a.json", 3, "/ID", "case_conflict")],
    ),
    "no conflict inside of JSON": Case(
        {"a.json": [{"l": [{"a": 1}, {"A": 2}]}, {"l": {"a": 1}}, {"l": {"A": 2}}]},
        FLAT,
        'l\n"[{""a"":1},{""A"":2}]"\n"{""a"":1}"\n"{""A"":2}"\n',
        [],
    ),
    "what is bad in itself does not count": Case(
        {"a.json": '{"id":1,"n":1}\n{"ID":2,"n":"x"}\n{"ID":3,"n":1.5}\n{"ID":4,"id":5}\n{"ID":6'},
        FLAT | {"input": {"fields": {"n": "BIGINT"}}},
        "n,id\n1,1\n",
        [
            ("a.json", 2, "/ID", "case_conflict"),
            ("a.json", 3, "/ID", "case_conflict"),
            ("a.json", 4, "/ID", "case_conflict"),
            ("a.json", 5, "/ID", "truncated"),
        ],
    ),
    "one name of two columns": Case(
        {"a.json": [{"hook": {"id": 2}}, {"hook_id": 3}, {"hook_id": 4}]},
        FLAT,
        "hook_id\n3\n4\n",
        [("a.json", 1, "/hook/id", "name_conflict")],
    ),
    "one name by letter case": Case(
        {"a.json": [{"a": {"b": 2}}, {"a": {"b": 3}}, {"a_B": 3}]},
        FLAT,
        "a_b\n2\n3\n",
        [("a.json", 3, "/a_B", "name_conflict")],
    ),
    "one name with an exploded array": Case(
        {"a.json": [{"items": [{}, {"sku": 1}]}, {"items_sku": 2}, {"items": [], "items_sku": 3}]},
        ITEMS,
        "items_sku\n2\n3\n",
        # No good record has an element, so that an element of any kind is bad.
        [("a.json", 1, "/items/0", "wrong_type")],
    ),
    "one name by the separator": Case(
        {"a.json": [{"a.b": 1}, {"a": {"b": 2}}]},
        FLAT | {"denormalize": {"separator": "."}},
        "a.b\n1\n",
        [("a.json", 2, "/a/b", "name_conflict")],
    ),
    "a reference wins": Case(
        {"a.json": [{"customer_id": "1", "customer_name": "x"}] * 2 + [{"customer_id": "1"}]},
        FLAT | {"merge": MERGE},
        "customer_id,customer_name\n1,Ann\n",
        [("a.json", 1, "/customer_name", "name_conflict"), ("a.json", 2, "/customer_name", "name_conflict")],
    ),
    "a reference wins over objects": Case(
        {"a.json": [{"customer": {"name": "x"}, "customer_id": "1"}, {"customer": {"x": 1}, "customer_id": "1"}]},
        FLAT | {"merge": MERGE},
        "customer_x,customer_id,customer_name\n1,1,Ann\n",
        [("a.json", 1, "/customer/name", "name_conflict")],
    ),
    "lineage wins": Case(
        {"a.json": [{"_source_file": "x"}] * 2 + [{"a": 1}]},
        FLAT | {"output": {"lineage": True}},
        "a,_source_file,_source_record,_source_item\n1,a.json,3,\n",
        [("a.json", 1, "/_source_file", "name_conflict"), ("a.json", 2, "/_source_file", "name_conflict")],
    ),
    "what is declared wins": Case(
        {"a.json": [{"ID": 1}, {"ID": 2}, {"id": 3}]},
        FLAT | {"input": {"fields": {"id": "BIGINT"}}},
        "id\n3\n",
        [("a.json", 1, "/ID", "case_conflict"), ("a.json", 2, "/ID", "case_conflict")],
    ),
    "what is declared wins, also where it is absent": Case(
        {"a.json": [{"hook": {"id": 1}}, {"x": 2}]},
        FLAT | {"input": {"fields": {"hook_id": "BIGINT"}}},
        "hook_id,x\n,2\n",
        [("a.json", 1, "/hook/id", "name_conflict")],
    ),
    "a key that the spec names wins": Case(
        {"a.json": [{"Customer_Id": "1"}] * 2 + [{"customer_id": "2"}]},
        FLAT | {"merge": MERGE},
        "customer_id,customer_name\n2,Bob\n",
        [("a.json", 1, "/Customer_Id", "case_conflict"), ("a.json", 2, "/Customer_Id", "case_conflict")],
    ),
    "a column that the spec names wins": Case(
        {"a.json": [{"ID": 1}] * 2 + [{"id": 2}]},
        FLAT | {"denormalize": {"columns": ["id"]}},
        "id\n2\n",
        [("a.json", 1, "/ID", "case_conflict"), ("a.json", 2, "/ID", "case_conflict")],
    ),
    "a field that is totalled wins": Case(
        {"a.json": [{"o": {"ID": 1}}] * 2 + [{"o": {"id": 2}}]},
        FLAT | {"verify": {"totals": ["o.id"]}},
        "o_id\n2\n",
        [("a.json", 1, "/o/ID", "case_conflict"), ("a.json", 2, "/o/ID", "case_conflict")],
    ),
    "elements that are objects": Case(
        {"a.json": [{"i": 1, "items": [1]}, {"i": 2, "items": [{"s": 1}, None]}, {"i": 3, "items": [{"s": 2}]}]},
        ITEMS,
        "i,items_s\n2,1\n2,\n3,2\n",
        [("a.json", 1, "/items/0", "wrong_type")],
    ),
    "elements that are none": Case(
        {"a.json": [{"items": [1]}, {"items": [{"s": 1}]}, {"items": [2, 3]}, {"items": [4, {}]}]},
        ITEMS,
        "items\n1\n2\n3\n",
        [("a.json", 2, "/items/0", "wrong_type"), ("a.json", 4, "/items/1", "wrong_type")],
    ),
    "elements that are arrays or scalars": Case(
        {"a.json": [{"items": [1]}, {"items": [[2]]}, {"items": [{"s": 1}]}]},
        ITEMS,
        "items\n1\n[2]\n",
        [("a.json", 3, "/items/0", "wrong_type")],
    ),
    "elements that are declared": Case(
        {"a.json": [{"items": [1]}] * 2 + [{"items": [{"s": 1}]}]},
        ITEMS | {"input": {"fields": {"items.s": "BIGINT"}}},
        "items_s\n1\n",
        [("a.json", 1, "/items/0", "wrong_type"), ("a.json", 2, "/items/0", "wrong_type")],
    ),
    "elements that are declared as JSON": Case(
        {"a.json": '[{"items":[1.50,"x"]},{"items":[{"s":1}]}]'},
        ITEMS | {"input": {"fields": {"items": "JSON"}}},
        'items\n1.50\n"""x"""\n"{""s"":1}"\n',
        [],
    ),
    "what explodes is an array": Case(
        {"a.json": [{"items": {"s": 1}}, {"items": 2}, {"items": [{"s": 3}]}]},
        ITEMS,
        "items_s\n3\n",
        [("a.json", 1, "/items", "wrong_type"), ("a.json", 2, "/items", "wrong_type")],
    ),
    "arrays around what explodes": Case(
        {"a.json": [{"o": {"i": [1]}}, {"o": [{"i": [2]}, {"i": [3]}]}, {"o": [{"i": []}]}, {"o": 1}]},
        FLAT | {"denormalize": {"explode": ["o.i"]}},
        "o_i\n2\n3\n\n",
        [("a.json", 1, "/o", "wrong_type"), ("a.json", 4, "/o", "wrong_type")],
    ),
    "objects around what explodes": Case(
        {"a.json": [{"o": {"i": [1]}}, {"o": [{"i": [2]}, {"i": [3]}]}, {"o": {"i": []}}]},
        FLAT | {"denormalize": {"explode": ["o.i"]}},
        "o_i\n1\n\n",
        [("a.json", 2, "/o", "wrong_type")],
    ),
    "objects around a key": Case(
        {"a.json": [{"c": 7}, {"c": {"id": "1"}}]},
        FLAT | {"merge": [MERGE[0] | {"key": {"record": "c.id", "reference": "customer_id"}}]},
        "c_id,customer_name\n1,Ann\n",
        [("a.json", 1, "/c", "wrong_type")],
    ),
    "objects around what is declared": Case(
        {"a.json": [{"i": 1, "l": [{"x": 1}]}, {"i": 2}]},
        FLAT | {"input": {"fields": {"l.x": "BIGINT"}}},
        "l_x,i\n,2\n",
        [("a.json", 1, "/l", "wrong_type")],
    ),
    "a declared key that is an object": Case(
        {"a.json": [{"customer_id": {}}, {"i": 2}]},
        FLAT | {"merge": MERGE, "input": {"fields": {"customer_id": "BIGINT"}}},
        "customer_id,i,customer_name\n,2,\n",
        [("a.json", 1, "/customer_id", "wrong_type")],
    ),
    "both letter cases are declared": Case(
        {"a.json": '{"id":1,"ID":2}\n{"ID":3}\n{"Id":4}\n', "b.csv": "ID,id\nx,5\n", "c.json": [{"id": 6}]},
        FLAT | {"input": {"fields": {"id": "BIGINT", "ID": "VARCHAR"}}, "verify": {"totals": ["id"]}},
        "id,ID\n1,2\n,3\n5,x\n6,\n",
        [("a.json", 3, "/Id", "case_conflict")],
    ),
    "both letter cases are declared, and one is there": Case(
        {"a.json": [{"ID": 3, "o": {"ID": 4}}] * 2, "b.parquet": parquet(ID=[5], o=[{"ID": 6}]), "c.csv": "ID\n7\n"},
        FLAT | {"input": {"fields": {"id": "BIGINT", "ID": "BIGINT", "o.id": "BIGINT", "o.ID": "BIGINT"}}},
        "id,ID,o_id,o_ID\n,3,,4\n,3,,4\n,5,,6\n,7,,\n",
        [],
    ),
    "both letter cases are declared, in an array": Case(
        {"a.json": [{"items": [{"a": 1, "A": 2}]}, {"items": [{"A": 3}]}]},
        ITEMS
        | {
            "input": {"fields": {"items.A": "BIGINT", "items.a": "BIGINT"}},
            "verify": {"totals": ["items.a", "items.A"]},
        },
        "items_A,items_a\n2,1\n3,\n",
        [],
    ),
    "both letter cases are declared, chosen beside SQL": Case(
        {"a.json": [{"id": 1, "ID": 2, "x": 3}]},
        FLAT
        | {
            "input": {"fields": {"id": "BIGINT", "ID": "BIGINT"}},
            "denormalize": {"columns": ["ID", {"y": "x + 1"}, "id"]},
        },
        "ID,y,id\n2,4,1\n",
        [],
    ),
    "nothing but what is declared": Case(
        {"a.json": '{"id":1,"ID":2,"hook_id":3}\n{"Id":4}\n', "b.csv": "id,Id\n5,6\n"},
        FLAT | {"input": {"schema": "declared", "fields": {"id": "BIGINT", "ID": "BIGINT", "hook.id": "BIGINT"}}},
        'id,ID,hook_id,_rescued\n1,2,,"{""hook_id"":3}"\n,,,"{""Id"":4}"\n5,,,"{""Id"":""6""}"\n',
        [],
    ),
    "compressed, and a table of another file": Case(
        {"a.json.gz": [{"id": 1}, {"id": 2}], "b.csv": "ID\n3\n", "c.csv": "id\n4\n"},
        FLAT,
        "id\n1\n2\n4\n",
        [("b.csv", 1, "/ID", "case_conflict")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_form_that_holds(make_feed: MakeFeed, name: str) -> None:
    """Of forms that exclude each other the spec's own, the more frequent, or the first one holds; others are bad."""
    case = CASES[name]
    feed = make_feed(case.files, **case.keys)
    feed.run()
    header, *rows = feed.read().splitlines()
    expected_header, *expected = case.table.splitlines()
    assert (header, sorted(rows)) == (expected_header, sorted(expected))
    assert bad(feed) == case.bad
    counted(feed)


def test_the_message_names_both_and_the_place(make_feed: MakeFeed) -> None:
    """What is said of such a record names file, record, line and byte, both names, their numbers, and what to do."""
    files = {"a.json": [{"id": 1}, {"id": 2}], "b.json": '{"x":1}\n\n {"x":2,\n  "ID":9}\n'}
    feed = make_feed(files, **FLAT)
    feed.run()
    (found,) = bad_records(feed)
    assert {"file": "b.json", "record": 2, "line": 4, "record_line": 3, "pointer": "/ID"}.items() <= found.items()
    assert found["raw"] == '{"x":2,\n  "ID":9}'
    assert found["message"] == (
        "found 'ID', expected 'id', as in 2 of 3 records: keys that differ only in letter case exclude each other, "
        "declare both in input.fields to keep both"
    )


def test_a_scalar_in_place_of_an_array_of_objects_is_named_by_the_form_that_won(make_feed: MakeFeed) -> None:
    """With denormalize.single, a value that is an array of one is told the form of the other elements, and a way."""
    records = [{"items": {"a": 1}}, {"items": [{"a": 2}]}, {"items": "q"}]
    spec = {"denormalize": {"explode": ["items"], "single": True}, "quarantine": {"max_bad_records_percent": 90}}
    feed = make_feed({"a.json": records}, merge=[], **spec)
    fault, *_ = plan(feed.open()).faults
    assert fault.message == (
        "found values other than objects in 'items', expected objects, as in 2 of 3 records: declare items: JSON in "
        "input.fields to keep both"
    )


def test_the_records_of_duplicates_do_not_count(make_feed: MakeFeed) -> None:
    """A file that is published already does not make its form the more frequent one."""
    feed = make_feed({"old.json": [{"ID": 1}, {"ID": 2}]}, **FLAT | {"input": {"duplicates": "archive"}})
    feed.run()
    feed.land("again.json", [{"ID": 1}, {"ID": 2}])
    feed.land("new.json", [{"id": 3}])
    later = "20260103T030405Z"
    feed.run(later)
    assert feed.read(1, later) == "id\n3\n"
    assert bad(feed) == []


def test_a_header_with_both_letter_cases(make_feed: MakeFeed) -> None:
    """Each record of a CSV with a name in both letter cases is bad; a file of Parquet with one is bad as a whole."""
    files = {"a.csv": "id,ID\n1,2\n", "b.parquet": parquet(id=[1], ID=[2]), "c.json": [{"ID": 3}]}
    feed = make_feed(files, **FLAT)
    summary = feed.run()
    assert (feed.read(), summary.files_quarantined) == ("ID\n3\n", 1)
    assert bad(feed) == [("a.csv", 1, "/id", "case_conflict")]
    reasons = sorted((feed.data_dir / f"quarantine/{TS}/1").glob("*.reason.json"))
    assert [json.loads(path.read_text())["code"] for path in reasons] == ["case_conflict"]


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"input": {"fields": {"a.b": "BIGINT", "a_b": "BIGINT"}}}, ["record.a.b", "record.a_b"]),
        ({"merge": MERGE, "input": {"fields": {"customer_name": "BIGINT"}}}, ["record.customer_name", "customer.name"]),
        ({"denormalize": {"columns": ["id", {"ID": "1"}]}}, ["record.id", "spec.ID"]),
        (
            {"input": {"fields": {"id": "BIGINT", "ID": "BIGINT"}}, "output": {"format": "parquet"}},
            ["record.id", "record.ID"],
        ),
    ],
)
def test_a_spec_that_contradicts_itself_is_an_error(
    make_feed: MakeFeed, keys: dict[str, Any], names: list[str]
) -> None:
    """Two columns that the spec itself gives one name are an error before any group starts, which names both."""
    feed = make_feed({"a.json": [{"id": 1, "customer_id": 1}]}, **FLAT | keys)
    with pytest.raises(DataError, match="expected different names") as caught:
        feed.stage()
    assert all(repr(name) in str(caught.value) for name in names)


@pytest.mark.parametrize("schema", ["infer", "declared"])
@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"merge": MERGE}, ["record.customer_id", "customer.id"]),
        (
            {
                "merge": [
                    {**MERGE[0], "key": {"record": "a.b", "reference": "id"}},
                    MERGE[0] | {"key": {"record": "a_b", "reference": "name"}, "into": "c"},
                ]
            },
            ["record.a.b", "record.a_b"],
        ),
        (
            {"merge": [MERGE[0] | {"key": {"record": "_source_file", "reference": "id"}}], "output": {"lineage": True}},
            ["record._source_file", "fanfold._source_file"],
        ),
    ],
)
def test_a_key_is_never_lost_to_another_column_of_its_name(
    make_feed: MakeFeed, keys: dict[str, Any], names: list[str], schema: str
) -> None:
    """If another column has the name of the key of a reference, it is an error that names both, and what to type."""
    record = {"id": 1, "customer_id": 7, "a": {"b": 1}, "a_b": 2, "_source_file": "x"}
    spec = FLAT | keys | ({"input": {"schema": "declared", "fields": {"id": "BIGINT"}}} if schema == "declared" else {})
    feed = make_feed({"a.json": [record]}, customers="customer_id,id,name\n7,x,Ann\n", **spec)
    with pytest.raises(DataError, match="expected different names") as caught:
        feed.stage()
    assert all(repr(name) in str(caught.value) for name in names)


def test_sql_does_not_choose_between_letter_cases(make_feed: MakeFeed) -> None:
    """An expression that names a column of which there are two spellings is an error before any group starts."""
    keys = {"input": {"fields": {"id": "BIGINT", "ID": "BIGINT"}}, "denormalize": {"columns": [{"y": "id + 1"}]}}
    feed = make_feed({"a.json": [{"id": 1}]}, **FLAT | keys)
    with pytest.raises(DataError, match="'id' is there in two spellings"):
        feed.stage()


def test_a_reference_has_names_apart(make_feed: MakeFeed) -> None:
    """A reference with a name in both letter cases is an error that names both."""
    keys = {"merge": [{"reference": "r.json", "key": "customer_id", "into": "c"}]}
    feed = make_feed({"a.json": [{"customer_id": 1}]}, **FLAT | keys)
    (feed.data_dir / "r.json").write_text('[{"customer_id":1,"a":{"x":1,"X":2}}]')
    with pytest.raises(DataError, match=r"r\.json: 'a\.x' and 'a\.X' have the same name"):
        feed.stage()


def test_a_file_that_changed_after_the_scan_is_judged_alike(make_feed: MakeFeed) -> None:
    """A file that is written anew between scan and merge has the same forms excluded, by the counts of the scan."""
    feed = make_feed({"a.json": [{"id": 1}, {"id": 2}], "b.json": [{"ID": 3}, {"x": 4}]}, **FLAT)
    feed.stage()
    (feed.data_dir / f"staging/{TS}/1/a.json").write_text(json.dumps([{"ID": 5}, {"ID": 6}, {"id": 7}]))
    feed.group(1)
    feed.verify()
    assert sorted(feed.read().splitlines()) == [",4", "7,", "id,x"]
    assert bad(feed) == [
        ("a.json", 1, "/ID", "case_conflict"),
        ("a.json", 2, "/ID", "case_conflict"),
        ("b.json", 1, "/ID", "case_conflict"),
    ]
    counted(feed)


def test_plan_says_what_the_run_does(make_feed: MakeFeed) -> None:
    """`plan` has the columns of the run, and names the first record that loses in each file."""
    files = {"a.json": [{"id": 1}] * 4, "b.json": [{"x": 1}, {"ID": 2}], "c.json": [{"ID": 3}], "d.json": [{"ID": 4}]}
    feed = make_feed(files, **FLAT)
    planned = plan(feed.open())
    assert isinstance(planned.columns, list)
    assert [column.name for column in planned.columns] == ["id", "x"]
    faults = [(fault.file, fault.code, fault.pointer) for fault in planned.faults]
    assert faults == [(name, "case_conflict", "/ID") for name in ("b.json", "c.json", "d.json")]


def test_a_form_that_lost_is_told_by_what_the_record_has(make_feed: MakeFeed) -> None:
    """What is wrong with a value is said of its own kind, also where values of several kinds exclude another one."""
    content = '{"items":[{"s":1}]}\n{"items":{"s":2}}\n{"items":"x"}\n{"items":7}\n{"items":[]}\n'
    feed = make_feed({"a.json": content}, **ITEMS)
    feed.run()
    assert [one["message"] for one in bad_records(feed)] == [
        f"found {found} as 'items', expected an array" for found in ("an object", '"x"', "'7'")
    ]


# The policy, alone.


def rivals(*ranks: int) -> list[Rival]:
    return [Rival(Form((name,)), repr(name), rank) for name, rank in zip("abc", ranks, strict=False)]


@pytest.mark.parametrize(
    ("ranks", "counts", "winners"),
    [
        ((0, 0), {"a": 1, "b": 2}, "b"),
        ((0, 0), {"a": 2, "b": 2}, "a"),
        ((0, 0), {}, "a"),
        ((NAMED, 0), {"b": 2}, "a"),
        ((NAMED, NAMED, 0), {"b": 1, "c": 5}, "b"),
        ((NAMED, DECLARED), {"a": 2}, "b"),
        ((DECLARED, DECLARED, 0), {"c": 9}, "ab"),
    ],
)
def test_what_wins(ranks: tuple[int, ...], counts: dict[str, int], winners: str) -> None:
    """What is declared wins, then what the spec names, then the more frequent form, then the first one."""
    seen = Seen(fields={name: Seen(integers=records) for name, records in counts.items()})
    lost = exclude(Conflict("x", "", rivals(*ranks), ""), seen)
    assert {one.form.path[0] for one in lost} == {*"abc"[: len(ranks)]} - {*winners}


# Any mixture, by an oracle of its own.

PATHS = [("id",), ("ID",), ("Id",), ("hook", "id"), ("hook", "Id"), ("Hook", "id"), ("hook_id",), ("items_sku",)]
DECLARED_FIELDS = [[], [], [], ["id"], ["id", "ID"], ["hook_id"], ["Id", "hook_id"]]

CODES_OF_FORMS = {"case_conflict", "name_conflict", "wrong_type"}

Record = dict[str, Any]


def random_record(rng: random.Random, number: int) -> Record:
    record: Record = {"t": f"r{number}"}
    for path in rng.sample(PATHS, rng.choice([0, 1, 1, 1, 2])):
        value = rng.choice([None, number])
        if len(path) == 1:
            record[path[0]] = value
        else:
            record.setdefault(path[0], {})[path[1]] = value
    if rng.random() < 0.5:
        scalar = rng.choice([number, "x"])
        elements = [{"sku": number}, {"SKU": number}, {"q": None}, scalar, scalar, None]
        weights = rng.choice([[9, 1, 1, 0, 0, 1], [0, 0, 0, 3, 3, 1], [4, 1, 0, 1, 0, 1]])
        record["items"] = rng.choices(elements, weights, k=rng.randrange(3))
        if rng.random() < 0.1:
            record["items"] = rng.choice([{"sku": 1}, 5])
    if rng.random() < 0.2:
        record["n"] = rng.choice(["x", 1.5, {}, 7])
    return dict(rng.sample([*record.items()], len(record)))


def random_files(rng: random.Random, declared: list[str]) -> tuple[dict[str, str], dict[tuple[str, int], Record]]:
    """Return the text of files, and their records by file and number; those that are no JSON are left out."""
    files, records = {"base.json": '[{"t":"base","items":[{"sku":0}]}]'}, {}
    records["base.json", 1] = {"t": "base", "items": [{"sku": 0}]}
    for name in rng.sample(["a.json", "b.json", "c.ndjson", "d.json.gz", "e.csv", "f.csv"], rng.randrange(1, 5)):
        made: list[Record | None] = [random_record(rng, rng.randrange(1000)) for _ in range(rng.randrange(1, 9))]
        if name.endswith(".csv"):
            names = ["t", rng.choice(["id", "ID"]), *rng.sample(["hook_id", "items_sku"], rng.randrange(2))]
            names = ["id", "ID"] if {"id", "ID"} <= {*declared} and rng.random() < 0.5 else names
            made = [{one: rng.choice([None, "8"]) if one != "t" else "csv" for one in names} for _ in made]
            made[0] = dict.fromkeys(names, "9")
            lines = [",".join(value or '""' * (key == "t") for key, value in (one or {}).items()) for one in made]
            lines = [line if line.strip(",") or "," in line else '""' for line in lines]
            files[name] = "\n".join([",".join(names), *lines])
        elif name.endswith(".json"):
            files[name] = json.dumps(made)
        else:
            made.insert(rng.randrange(len(made) + 1), None)
            files[name] = "\n".join("{oops" if one is None else json.dumps(one) for one in made)
        records |= {(name, number): one for number, one in enumerate(made, 1) if one is not None}
    return files, records


def has(value: Any, path: tuple[str, ...]) -> bool:
    if isinstance(value, list):
        return any(has(one, path) for one in value)
    return not path or (isinstance(value, dict) and path[0] in value and has(value[path[0]], path[1:]))


def elements(record: Record) -> list[bool]:
    """Say of the elements of the array whether they are objects; nothing of null."""
    items = record.get("items")
    return [isinstance(one, dict) for one in items if one is not None] if isinstance(items, list) else []


def ways(values: list[Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all keys, each where it first is in an object of its parents, what lies in it behind it."""
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    objects = [one for one in flat if isinstance(one, dict)]
    for name in dict.fromkeys(key for one in objects for key in one):
        yield (*above, name)
        yield from ways([one[name] for one in objects if name in one], (*above, name))


class Oracle:
    """Says which records are good, by counting: forms are the paths of keys, and whether elements are objects."""

    def __init__(self, records: dict[tuple[str, int], Record], declared: list[str]) -> None:
        self.records, self.declared, self.lost = records, declared, set[tuple[str, int]]()
        outer: list[list[Any]] = [[("id",), ("ID",), ("Id",)], [("hook",), ("Hook",)]]
        outer += [[("hook", "id"), ("hook", "Id")], [True, False]]
        inner: list[list[Any]] = [[("items", "sku"), ("items", "SKU")]]
        if all(self.present(form) for form in (True, False)):
            self.settle(outer)
            self.settle(inner)
        else:
            self.settle(outer + inner)
        leaves = [*PATHS, ("items", "sku"), ("items", "SKU")]
        names = {"_".join(path).lower() for path in leaves}
        self.settle([[path for path in leaves if "_".join(path).lower() == name] for name in sorted(names)])
        self.good = {key for key, one in records.items() if key not in self.lost and self.is_good(one)}

    def is_good(self, record: Record) -> bool:
        return record.get("n") in (None, 7) and isinstance(record.get("items"), list | None)

    def has(self, record: Record, form: Any) -> bool:
        return form in elements(record) if isinstance(form, bool) else has(record, form)

    def is_declared(self, form: Any) -> bool:
        return not isinstance(form, bool) and ".".join(form) in self.declared

    def present(self, form: Any) -> bool:
        return self.is_declared(form) or any(self.has(one, form) for one in self.left())

    def left(self) -> list[Record]:
        return [one for key, one in sorted(self.records.items()) if key not in self.lost and self.is_good(one)]

    def settle(self, groups: list[list[Any]]) -> None:
        groups = [[form for form in group if self.present(form)] for group in groups]
        groups = [group for group in groups if len(group) > 1]
        losers = [form for group in groups for form in group if any(map(self.is_declared, group))]
        losers = [form for form in losers if not self.is_declared(form)]
        open_groups = [group for group in groups if not any(map(self.is_declared, group))]
        left = self.left()
        order = [*dict.fromkeys(kind for one in left for kind in elements(one)), True, False, *ways(left)]
        for group in open_groups:
            most = [(sum(self.has(one, form) for one in left), form) for form in sorted(group, key=order.index)]
            best = max(most, key=operator.itemgetter(0))[1]
            losers += [form for form in group if form != best]
        self.lost |= {key for key, one in self.records.items() if any(self.has(one, form) for form in losers)}


def expected_rows(record: Record) -> list[frozenset[tuple[str, str]]]:
    def flat(value: Any, name: str) -> dict[str, str]:
        if isinstance(value, dict):
            inner = (flat(one, f"{name}_{key}" if name else key) for key, one in value.items())
            return {key: text for one in inner for key, text in one.items()}
        return {} if value is None or name == "" else {name: str(value)}

    items = record.get("items") or [None]
    around = flat({key: value for key, value in record.items() if key != "items"}, "")
    return [frozenset((around | flat(one, "items")).items()) for one in items]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_any_mixture_is_as_an_oracle_counts_it(make_feed: MakeFeed, seed: int) -> None:
    """Whatever forms meet in whatever files, good records are in the tables, the others in quarantine, by counting."""
    rng = random.Random(seed)
    declared = rng.choice(DECLARED_FIELDS)
    files, records = random_files(rng, declared)
    subdirs = rng.choice([1, 3])
    fields = dict.fromkeys(["n", *declared], "BIGINT")
    feed = make_feed(files, **ITEMS | {"subdirs": subdirs, "input": {"fields": fields}})
    feed.run()
    oracle = Oracle(records, declared)
    tables = [
        list(csv.reader(io.StringIO(path.read_text()))) for path in (feed.data_dir / "denormalized").rglob("*.csv")
    ]
    assert len({tuple(table[0]) for table in tables}) == 1
    rows = [
        frozenset((name, cell) for name, cell in zip(table[0], row, strict=True) if cell)
        for table in tables
        for row in table[1:]
    ]
    good = [row for key in oracle.good for row in expected_rows(records[key])]
    assert collections.Counter(rows) == collections.Counter(good)
    faulty = {(one["file"], one["record"]) for one in bad_records(feed) if one["code"] not in CODES_OF_FORMS}
    assert {(one["file"], one["record"]) for one in bad_records(feed)} - faulty == records.keys() - oracle.good - faulty
    assert not faulty & oracle.good
    counted(feed)


def test_an_array_that_only_bad_records_show_does_not_hold_up_a_run(make_feed: MakeFeed) -> None:
    # Looked through without `items` as an array, the record shows it; looked through with it, the record is bad.
    keys = {**FLAT, "denormalize": {"explode": ["items.sub"]}, "input": {"fields": {"items.sub.w": "BIGINT"}}}
    feed = make_feed(**keys)
    feed.land("a.json", '{"id":1,"items":[{"sub":[{"w":"x"}]}]}\n{"id":2}\n')
    feed.run()
    assert feed.read(1) == "items_sub_w,id\n,2\n"
    assert [one[:2] for one in bad(feed)] == [("a.json", 1)]
    counted(feed)


# What a Parquet file says of columns that no good record has a value in.

TEXT, STRUCT, LIST = pa.string(), pa.struct([("x", pa.list_(pa.struct([("a", pa.int64())])))]), pa.list_(pa.string())


@pytest.mark.parametrize("kind", [TEXT, STRUCT, LIST, pa.float64()], ids=["text", "struct", "list", "double"])
@pytest.mark.parametrize(
    "keys",
    [
        {"denormalize": {"explode": ["p.x"]}},
        {"denormalize": {"explode": ["p.x"]}, "input": {"parse": ["p"]}},
        {"denormalize": {"explode": ["p"]}},
        {"input": {"fields": {"p.x": "BIGINT"}}},
        {"input": {"fields": {"p.x": "BIGINT"}, "parse": ["p"]}},
        {"input": {"fields": {"p": "VARCHAR"}}},
        {"merge": [{"reference": "customers.csv", "key": {"record": "p", "reference": "customer_id"}, "into": "c"}]},
    ],
    ids=str,
)
@pytest.mark.parametrize("beside", [None, {"p": {"x": []}}, {"p": []}, {"p": "1"}], ids=str)
def test_a_column_of_nulls_has_no_form_that_excludes_others(
    make_feed: MakeFeed, kind: pa.DataType, keys: dict[str, Any], beside: dict[str, Any] | None
) -> None:
    """Whatever its type is, and whatever the spec calls for: its records are good, and the scan comes to an end."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": [1, 2], "p": pa.array([None, None], kind)}), sink)
    files: dict[str, Any] = {"a.parquet": sink.getvalue()} | ({"b.json": [{"id": 3} | beside]} if beside else {})
    feed = make_feed(files, **FLAT | keys)
    faults, refused = list[Any](), ""
    try:
        faults = plan(feed.open()).faults
    except DataError as error:
        refused = str(error)
    assert "a.parquet" not in {fault.file for fault in faults}
    if refused:
        # No file has what the spec names, or all of them have another form.
        assert "'p" in refused
    else:
        feed.run()


@pytest.mark.parametrize("text", ['{"x":[{"a":"z"}]}', '{"x":[{"a":[]}]}', "7", "{"])
def test_a_parsed_column_of_bad_texts_ends(make_feed: MakeFeed, text: str) -> None:
    """Where no record of a file is good, its columns say nothing of the texts that are parsed."""
    keys = {"input": {"parse": ["p"], "fields": {"p.x.a": "BIGINT"}}, "denormalize": {"explode": ["p.x"]}}
    feed = make_feed({"a.parquet": parquet(id=[1], p=[text])}, **FLAT | keys)
    assert [fault.file for fault in plan(feed.open()).faults] == ["a.parquet"]


@pytest.mark.parametrize("names", [("id", "ID"), ("ID", "id")])
def test_names_in_structs_of_nulls_exclude_each_other_once(make_feed: MakeFeed, names: tuple[str, str]) -> None:
    """A field that is excluded, inside of an object, is not found again by each look at the columns."""
    tables = []
    for name in names:
        sink = io.BytesIO()
        pq.write_table(pa.table({"s": pa.array([{name: None}, None], pa.struct([(name, pa.int64())]))}), sink)
        tables.append(sink.getvalue())
    feed = make_feed({"a.parquet": tables[0], "b.parquet": tables[1], "c.json": [{"s": {"id": 1}}]}, **FLAT)
    feed.run()
    assert feed.read().splitlines()[0] == "s_id"
