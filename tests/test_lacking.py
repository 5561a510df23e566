"""Deliveries that lack what the spec names: columns of nulls where it is declared, else an error that says the way."""

import json
from typing import Any

import pytest

from fanfold.errors import DataError
from fanfold.feed import runs
from fanfold.steps.recount import recount
from tests.conftest import TS, FeedDir, MakeFeed

FLAT: dict[str, Any] = {"subdirs": 1, "merge": [], "denormalize": {}}
MERGE = [{"reference": "customers.csv", "key": "customer_id", "into": "customer"}]
KEYS: dict[str, dict[str, Any]] = {
    "the array": {"denormalize": {"explode": ["items"]}},
    "an inner array": {"denormalize": {"explode": ["orders.items"]}},
    "the key": {"merge": MERGE},
    "a key inside of an object": {"merge": [MERGE[0] | {"key": {"record": "c.id", "reference": "customer_id"}}]},
    "a column": {"denormalize": {"columns": ["id", "coupon"]}},
    "a column by SQL": {"denormalize": {"columns": ["id", {"more": "coupon + 1"}]}},
    "a total": {"verify": {"totals": ["coupon"]}},
}
FIELDS = {
    "the array": [{"items.sku": "VARCHAR"}, {"items": "BIGINT"}, {"items": "JSON"}],
    "an inner array": [{"orders.items.sku": "VARCHAR"}, {"orders.items": "DECIMAL(4,2)"}],
    "the key": [{"customer_id": "BIGINT"}, {"customer_id": "VARCHAR"}],
    "a key inside of an object": [{"c.id": "VARCHAR"}],
    "a column": [{"coupon": "VARCHAR"}, {"coupon": "JSON"}, {"coupon": "TIMESTAMP"}],
    "a column by SQL": [{"coupon": "BIGINT"}],
    "a total": [{"coupon": "BIGINT"}, {"coupon": "DECIMAL(4,2)"}],
}
DECLARED = [(name, fields) for name, some in FIELDS.items() for fields in some]


def filled(feed: FeedDir) -> list[list[str]]:
    """Return the cells of the first table that are not empty, row by row."""
    return [[cell for cell in line.split(",") if cell] for line in feed.read().splitlines()[1:]]


@pytest.mark.parametrize("mode", ["infer", "declared"])
@pytest.mark.parametrize(("name", "fields"), DECLARED)
def test_what_is_declared_may_be_absent(make_feed: MakeFeed, name: str, fields: dict[str, str], mode: str) -> None:
    """A delivery without the array, key, column or total that is declared has its rows, with nothing in its columns."""
    fields = {"id": "BIGINT", **fields}
    files = {"a.json": [{"id": 1}, {"id": 2}], "b.csv": "id\n3\n"}
    feed = make_feed(files, **FLAT | KEYS[name] | {"input": {"schema": mode, "fields": fields}})
    summary = feed.run()
    assert filled(feed) == [["1"], ["2"], ["3"]]
    assert summary.records_unmatched == (3 if "merge" in KEYS[name] else 0)
    assert feed.read().partition("\n")[0].count(",") > 0
    document = json.loads((feed.at().commit_path).read_text())
    assert document["totals"] == ({"coupon": "0"} if name == "a total" else {})


@pytest.mark.parametrize("around", ["null", "[]", "[{}]", "[null]"])
@pytest.mark.parametrize("path", ["items.p", "items.sku"])
def test_what_is_around_a_declared_field_may_be_empty(make_feed: MakeFeed, path: str, around: str) -> None:
    """An array, or an object, of a declared field is not a misspelling of it, be the names ever so near."""
    spec = FLAT | KEYS["the array"] | {"input": {"fields": {path: "BIGINT"}}}
    feed = make_feed({"a.json": f'{{"id":1,"items":{around}}}'}, **spec)
    assert feed.run().rows_out == 1
    assert feed.read() == f"{path.replace('.', '_')},id\n,1\n"


@pytest.mark.parametrize("name", KEYS)
def test_what_is_not_declared_is_an_error_that_names_the_way(make_feed: MakeFeed, name: str) -> None:
    """Undeclared, the run fails before any group: the data is at fault (1); files, nearest name and way are given."""
    near = {"the array": "item", "an inner array": "order", "the key": "custmer_id", "a key inside of an object": "cid"}
    record = {"id": 1, near.get(name, "coupn"): 7}
    feed = make_feed({"a.json": [{"id": 1}], "b.json": [record]}, **FLAT | KEYS[name])
    with pytest.raises(DataError) as caught:
        feed.stage()
    assert caught.value.exit_code == 1
    message = str(caught.value)
    assert "input.fields" in message
    assert near.get(name, "coupn") in message
    assert "2 files, 'a.json' to 'b.json'" in message
    assert not feed.at().schema_path.exists()


@pytest.mark.parametrize("content", ["[]", "[{}]", '[{"id":1,"ID":2}]'])
def test_a_delivery_without_a_field_lacks_nothing(make_feed: MakeFeed, content: str) -> None:
    """A delivery of no records, of records without a field, or of bad ones alone, is published, whatever it lacks."""
    columns = ["id", "coupon", {"more": "coupon + 1"}]
    keys: dict[str, Any] = {"merge": MERGE, "denormalize": {"explode": ["items"], "columns": columns}}
    feed = make_feed(
        {"a.json": content},
        **FLAT | keys | {"verify": {"totals": ["total", "coupon"]}, "quarantine": {"max_bad_records_percent": 100}},
    )
    assert feed.run().files_archived == 1
    assert feed.read().partition("\n")[0] == "id,coupon,more"


@pytest.mark.parametrize("content", ["[]", "{}", '[{"id":1,"ID":2}]'])
@pytest.mark.parametrize("fields", [{}, {"order_id": "BIGINT"}])
def test_a_delivery_without_a_field_has_the_keys_of_its_tables(
    make_feed: MakeFeed, content: str, fields: dict[str, str]
) -> None:
    """The header of a table has its keys and its columns, in this order, whether or not the delivery has records."""
    items = {"explode": ["items"], "keys": ["order_id", "shop.name"], "columns": ["sku", {"n": "1 + 1"}, "order_id"]}
    parts = {"explode": ["parts"], "keys": ["order_id"]}
    keys: dict[str, Any] = {"tables": {"items": items, "parts": parts}, "quarantine": {"max_bad_records_percent": 100}}
    feed = make_feed({"a.json": content}, **FLAT | keys | {"denormalize": {}, "input": {"fields": fields}})
    feed.run()
    head = (feed.data_dir / f"denormalized/{TS}/items/1.csv").read_text().partition("\n")[0]
    assert head.split(",")[:4] == ["order_id", "shop_name", "sku", "n"]
    if content == "[]":
        assert (feed.data_dir / f"denormalized/{TS}/parts/1.csv").read_text() == "order_id\n"


@pytest.mark.parametrize("content", ["{}", "[{}]", '[{"id":1,"ID":2},{}]'])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_records_without_a_field_have_rows(make_feed: MakeFeed, content: str, form: str) -> None:
    """Where no record has a field, the columns say where each row is from: no record is lost, and no run fails."""
    keys: dict[str, Any] = {"output": {"format": form}, "quarantine": {"max_bad_records_percent": 100}}
    feed = make_feed({"a.json": content}, **FLAT | keys)
    assert feed.run().rows_out == 1
    if form == "csv":
        number = content.count("{")
        assert feed.read() == f"_source_file,_source_record,_source_item\na.json,{number},\n"
    assert recount(*runs.open_complete(feed.open(), None)).gaps == []


def test_a_record_that_comes_after_the_scan_is_not_lost(make_feed: MakeFeed) -> None:
    """A record without a field, where the schema was made of none, stops its group, which says what to do."""
    feed = make_feed({"a.json": "[]"}, **FLAT)
    feed.stage()
    (feed.data_dir / f"staging/{TS}/1/a.json").write_text("[{}]")
    with pytest.raises(DataError, match=r"found records where there were none, expected .* fanfold release"):
        feed.group(1)


def test_columns_do_not_depend_on_the_process(make_feed: MakeFeed) -> None:
    """Keys of references that nothing declares are columns in the order of the spec."""
    keys = [f"k{n}" for n in range(9)]
    merge = [MERGE[0] | {"key": {"record": key, "reference": "customer_id"}, "into": f"c{key}"} for key in keys]
    feed = make_feed({"a.json": '{"id":1}'}, **FLAT | {"merge": merge, "input": {"schema": "declared"}})
    feed.run()
    assert feed.read().split(",")[:9] == keys
