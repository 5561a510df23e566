"""Several tables from one delivery: where each field stands, which rows there are, and what is proved of them."""

import csv
import gzip
import io
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet

from fanfold import documents
from fanfold.errors import DataError, FanfoldError, MissingError, SpecError
from fanfold.feed import groups, runs
from fanfold.manifest import Manifest, Summary
from fanfold.native import Field, Others, Reader, Rows
from fanfold.proof import sentence
from fanfold.spec.changes import changes
from fanfold.spec.model import Spec, parse_spec
from fanfold.steps import local, restore
from fanfold.steps.merge_data import merge_data
from fanfold.steps.plan import plan
from fanfold.steps.recount import recount
from fanfold.steps.release import release
from fanfold.steps.verify_run import verify_run
from tests.conftest import TS, FeedDir, MakeFeed, tree

SHOP: dict[str, Any] = {
    "orders": {},
    "items": {"explode": ["items"], "keys": ["order_id"]},
    "discounts": {"explode": ["items.discounts"], "keys": ["order_id", "items.sku"]},
    "payments": {"explode": ["payments"], "keys": ["order_id"]},
}
PLAIN: dict[str, Any] = {"denormalize": {}, "merge": [], "subdirs": 1}


def rows(feed: FeedDir, table: str, ts: str = TS) -> list[dict[str, str]]:
    """Return the rows of a table, of all its files in their order."""
    files = sorted((feed.data_dir / "denormalized" / ts / table).glob("*.csv"), key=lambda path: int(path.stem))
    return [row for path in files for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))]


def text(feed: FeedDir, table: str, n: int = 1) -> list[str]:
    """Return the lines of one file of a table."""
    return (feed.data_dir / f"denormalized/{TS}/{table}/{n}.csv").read_text(encoding="utf-8").splitlines()


def committed(feed: FeedDir) -> Manifest:
    """Return the manifest of the run."""
    return documents.read(feed.at().commit_path, Manifest)


def orders(count: int) -> list[dict[str, Any]]:
    """Make orders: some without items, some without payments, some items without discounts."""
    draw = random.Random(7)
    return [
        {
            "order_id": number,
            "country": draw.choice(["CH", "DE", "FR"]),
            "customer_id": str(draw.randrange(5)),
            "address": {"street": f"Way {number}", "city": draw.choice(["Bern", "Ulm"])},
            "total": draw.randrange(10_000),
            "items": [
                {
                    "sku": f"s{draw.randrange(9)}",
                    "price": draw.randrange(1000),
                    "discounts": [{"code": f"c{k}", "off": k + 1} for k in range(draw.randrange(3))],
                }
                for _ in range(draw.randrange(4))
            ],
            "payments": [{"method": "card", "amount": draw.randrange(100)} for _ in range(draw.randrange(3))],
        }
        for number in range(count)
    ]


def shop(make_feed: MakeFeed, found: list[dict[str, Any]], **keys: Any) -> FeedDir:
    """Make a feed of orders in thirty files of several kinds, with two references."""
    merge = [
        {"reference": "customers.csv", "key": ["country", "customer_id"], "into": "customer"},
        {"reference": "products.csv", "key": {"record": "items.sku", "reference": "sku"}, "into": "product"},
    ]
    fixed = {"denormalize": {}, "merge": merge, "tables": SHOP, "verify": {"totals": ["total", "items.price"]}}
    customers = "country,customer_id,name\n" + "".join(f"{c},{n},{c}-{n}\n" for c in ("CH", "DE") for n in range(4))
    feed = make_feed(customers=customers, **{**fixed, **keys})
    products = "sku,title\n" + "".join(f"s{n},Thing {n}\n" for n in range(7))
    (feed.data_dir / "products.csv").write_text(products, encoding="utf-8")
    for k in range(30):
        part = found[k::30]
        if k % 4 == 0:
            feed.land(f"{k:02}.json", part)
        elif k % 4 == 1:
            feed.land(f"{k:02}.jsonl", "\n".join(map(json.dumps, part)))
        elif k % 4 == 2:
            feed.land(f"sub/{k:02}.json.gz", gzip.compress(json.dumps(part).encode(), mtime=0))
        else:
            written = io.BytesIO()
            parquet.write_table(pa.Table.from_pylist(part), written)
            feed.land(f"{k:02}.parquet", written.getvalue())
    return feed


def test_a_shop_gets_four_tables_with_all_that_its_orders_have(make_feed: MakeFeed) -> None:
    """Thirty files of all kinds become four tables whose rows are those that the orders call for, one by one."""
    found = orders(120)
    feed = shop(make_feed, found)
    summary = feed.run()
    customers = {(c, str(n)): f"{c}-{n}" for c in ("CH", "DE") for n in range(4)}
    products = {f"s{n}": f"Thing {n}" for n in range(7)}
    wanted: dict[str, list[tuple[str, ...]]] = {name: [] for name in SHOP}
    for one in found:
        number = str(one["order_id"])
        customer = customers.get((one["country"], one["customer_id"]), "")
        address = one["address"]["street"], one["address"]["city"]
        wanted["orders"].append((number, one["country"], one["customer_id"], *address, str(one["total"]), customer))
        for item in one["items"]:
            wanted["items"].append((number, item["sku"], str(item["price"]), products.get(item["sku"], "")))
            of_item = [(number, item["sku"], one["code"], str(one["off"])) for one in item["discounts"]]
            wanted["discounts"] += of_item
        wanted["payments"] += [(number, one["method"], str(one["amount"])) for one in one["payments"]]
    made = {name: [tuple(row.values()) for row in rows(feed, name)] for name in SHOP}
    assert {name: sorted(one) for name, one in made.items()} == {name: sorted(one) for name, one in wanted.items()}
    assert summary.rows_out == {name: len(one) for name, one in wanted.items()}
    lacking = sum(
        (one["country"], one["customer_id"]) not in customers or any(i["sku"] not in products for i in one["items"])
        for one in found
    )
    assert summary.records_unmatched == lacking


def test_the_proof_is_kept_by_table(make_feed: MakeFeed) -> None:
    """Counts, sums, recount, a second making and a second verify agree, and each names the table."""
    found = orders(60)
    feed = shop(make_feed, found)
    summary = feed.run()
    made = committed(feed)
    assert (made.columns, made.outputs, made.explode, made.totals) == ([], {}, [], {})
    assert {name: table.totals for name, table in made.each_table.items()} == {
        "orders": {"total": str(sum(one["total"] for one in found))},
        "items": {"items.price": str(sum(item["price"] for one in found for item in one["items"]))},
        "discounts": {},
        "payments": {},
    }
    assert made.each_table["discounts"].explode == [["items"], ["items", "discounts"]]
    run, again = feed.at(), feed.verify()
    assert again == summary
    counted = recount(run, made)
    assert (counted.gaps, counted.rows) == ([], summary.rows_out)
    assert restore.differences(run, made) == []
    assert "rows of items, " in sentence(summary)
    for part in summary.subdirs.values():
        assert isinstance(part.rows, dict)
        assert isinstance(part.output, dict)
        assert part.rows.keys() == part.output.keys() == SHOP.keys()
    assert isinstance(summary.rows_out, dict)
    for name, number in summary.rows_out.items():
        assert number == sum(part.rows[name] for part in summary.subdirs.values() if isinstance(part.rows, dict))


def test_a_key_field_is_summed_once_a_record_where_it_stands(make_feed: MakeFeed) -> None:
    """A total that is repeated in a table below counts once for each record, or element, that has a row there."""
    found = [
        {
            "id": 1,
            "paid": 5,
            "items": [{"sku": "a", "price": 3, "parts": []}, {"sku": "b", "price": 4, "parts": [1, 2]}],
        },
        {"id": 2, "paid": 7, "items": []},
        {
            "id": 3,
            "paid": 11,
            "items": [{"sku": "c", "price": 6, "parts": [3]}, {"sku": "d", "price": 8, "parts": [4]}],
        },
    ]
    tables = {"records": {}, "items": {"explode": ["items"], "keys": ["paid"]}}
    tables["parts"] = {"explode": ["items.parts"], "keys": ["paid", "items.price"]}
    feed = make_feed({"a.json": found}, **PLAIN, tables=tables, verify={"totals": ["paid", "items.price"]})
    feed.run()
    made = committed(feed)
    assert {name: table.totals for name, table in made.each_table.items()} == {
        "records": {"paid": "23"},
        "items": {"paid": "16", "items.price": "21"},
        "parts": {"paid": "16", "items.price": "18"},
    }
    assert recount(feed.at(), made).gaps == []


def test_one_table_of_an_array_is_what_denormalize_gives(make_feed: MakeFeed) -> None:
    """Where no table has the records, their fields stand in the one below, byte for byte as without `tables`."""
    files: dict[str, Any] = {"a.json": [{"id": 1, "items": [{"q": 1}, {"q": 2}]}, {"id": 2}, {"id": 3, "items": []}]}
    plain = make_feed(files, subdirs=1, merge=[])
    plain.run()
    feed = make_feed(files, folder="tables", **PLAIN, tables={"items": {"explode": ["items"]}})
    feed.run()
    assert "\n".join(text(feed, "items")) + "\n" == plain.read()


def test_fields_without_a_table_of_their_own_stand_in_all_tables_below(make_feed: MakeFeed) -> None:
    """A record with an empty array keeps a row in each table that has its fields, and an element does likewise."""
    found = [{"id": 1, "a": [{"x": 1, "b": [7]}, {"x": 2}], "c": []}, {"id": 2, "a": [], "c": [9]}]
    feed = make_feed({"a.json": found}, **PLAIN, tables={"b": {"explode": ["a.b"]}, "c": {"explode": ["c"]}})
    feed.run()
    assert text(feed, "b") == ["id,a_x,a_b", "1,1,7", "1,2,", "2,,"]
    assert text(feed, "c") == ["id,c", "1,", "2,9"]


def test_an_array_in_the_middle_may_have_the_table(make_feed: MakeFeed) -> None:
    """The record's fields stand in the table of its items and below; what the items have only in theirs."""
    found = [{"id": 1, "a": [{"x": 1, "b": [7, 8]}, {"x": 2}]}, {"id": 2}]
    feed = make_feed({"a.json": found}, **PLAIN, tables={"a": {"explode": ["a"]}, "b": {"explode": ["a.b"]}})
    feed.run()
    assert text(feed, "a") == ["id,a_x", "1,1", "1,2", "2,"]
    assert text(feed, "b") == ["id,a_b", "1,7", "1,8", "2,"]


def test_columns_may_name_what_is_around_the_elements(make_feed: MakeFeed) -> None:
    """`columns` of a table stand behind its keys, and name fields of the levels above, or SQL over them."""
    found = [{"id": 1, "rate": 2, "a": [{"x": 3, "y": 4}]}]
    columns = ["a_x", {"scaled": "a_x * rate"}, "id", "rate"]
    tables = {"top": {"columns": ["id", "rate"]}, "a": {"explode": ["a"], "keys": ["id"], "columns": columns}}
    feed = make_feed({"a.json": found}, **PLAIN, tables=tables)
    feed.run()
    assert text(feed, "a") == ["id,a_x,scaled,rate", "1,3,6,2"]
    assert text(feed, "top") == ["id,rate", "1,2"]
    assert feed.audit().not_audited["values left out by tables.a.columns"] == 1


def test_names_are_apart_by_table(make_feed: MakeFeed) -> None:
    """Two fields that would become one column are no conflict where they stand in different tables."""
    found = [{"id": 1, "a_x": "above", "a": [{"x": "inside"}]}]
    feed = make_feed({"a.json": found}, **PLAIN, tables={"top": {}, "a": {"explode": ["a"], "keys": ["id"]}})
    assert feed.run().records_quarantined == 0
    assert (text(feed, "top")[1], text(feed, "a")[1]) == ("1,above", "1,inside")
    feed.write_spec(**PLAIN, tables={"a": {"explode": ["a"]}}, quarantine={"max_bad_records_percent": 100})
    feed.land("b.json", [{"id": 2, "a_x": "above", "a": []}])
    assert feed.run("20260102T030406Z").records_quarantined == 0


def test_unknown_fields_are_rescued_in_the_table_that_has_their_level(make_feed: MakeFeed) -> None:
    """With a declared schema `_rescued` has the unknown fields of the record once, and those of each element."""
    found = [{"id": 1, "new": 5, "a": [{"x": 1, "more": [6]}, {"x": 2}]}, {"id": 2}]
    fields = {"id": "BIGINT", "a.x": "BIGINT"}
    tables = {"top": {}, "a": {"explode": ["a"], "keys": ["id"]}}
    feed = make_feed({"a.json": found}, **PLAIN, tables=tables, input={"schema": "declared", "fields": fields})
    feed.run()
    assert text(feed, "top") == ["id,_rescued", '1,"{""new"":5}"', "2,"]
    assert text(feed, "a") == ["id,a_x,_rescued", '1,1,"{""a"":{""more"":[6]}}"', "1,2,"]


def test_records_without_a_field_of_their_own_have_rows(make_feed: MakeFeed) -> None:
    """A record that is nothing but its array is a row of lineage, as where there is one table."""
    feed = make_feed({"a.json": [{"a": [1, 2]}, {"a": []}]}, **PLAIN, tables={"top": {}, "a": {"explode": ["a"]}})
    feed.run()
    assert text(feed, "top")[1:] == ["a.json,1,", "a.json,2,"]
    assert text(feed, "a") == ["a", "1", "2"]


def test_every_table_says_where_its_rows_are_from(make_feed: MakeFeed) -> None:
    """With `output.lineage` each table has file, record and element of its rows."""
    found = [{"id": 1, "a": [{"b": [5, 6]}]}]
    tables = {"top": {}, "a": {"explode": ["a"]}, "b": {"explode": ["a.b"]}}
    feed = make_feed({"a.json": found}, **PLAIN, tables=tables, output={"lineage": True})
    feed.run()
    assert [row["_source_item"] for name in tables for row in rows(feed, name)] == ["", "1", "1.1", "1.2"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_hold_all_in_each_format(make_feed: MakeFeed, form: str) -> None:
    """As Parquet too, the audit finds every value in its table, and the run comes out the same again."""
    feed = shop(make_feed, orders(45), output={"format": form, "lineage": True})
    feed.run()
    assert restore.differences(feed.at(), committed(feed)) == []
    assert recount(feed.at(), committed(feed)).gaps == []
    path = feed.data_dir / f"denormalized/{TS}/items/1.{form}"
    if form == "parquet":
        assert parquet.read_table(path).column_names[:2] == ["order_id", "items_sku"]


def test_a_row_that_is_gone_is_named_with_its_table(make_feed: MakeFeed) -> None:
    """Verify, recount and audit notice a table with a row less, each by its own count."""
    feed = shop(make_feed, orders(45))
    feed.run()
    path = feed.data_dir / f"denormalized/{TS}/payments/1.csv"
    kept = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(kept[:-1]))
    with pytest.raises(DataError, match=r"payments/1\.csv' is changed"):
        feed.verify()
    assert "payments/1.csv" in recount(feed.at(), committed(feed)).gaps[0]
    assert {(one.what, "payments" in one.message) for one in feed.audit().findings} == {("missing", True)}


def test_a_run_without_files_has_each_table(make_feed: MakeFeed) -> None:
    """Where nothing is ready, the counts are zeros by table all the same."""
    feed = make_feed(**PLAIN, tables=SHOP)
    summary = local.run(feed.open(), TS, lambda _n, _step, _state: None).summary
    assert summary.rows_out == dict.fromkeys(SHOP, 0)
    assert verify_run(feed.data_dir, TS, 1, SHOP) == summary


def test_plan_has_the_columns_of_each_table(make_feed: MakeFeed) -> None:
    """`plan` says what each table will have, and how that differs from the last run, by table."""
    feed = make_feed({"a.json": [{"id": 1, "a": [{"x": 1}]}]}, **PLAIN, tables={"top": {}, "a": {"explode": ["a"]}})
    planned = plan(feed.open())
    assert isinstance(planned.columns, dict)
    assert {name: [one.name for one in found] for name, found in planned.columns.items()} == {
        "top": ["id"],
        "a": ["a_x"],
    }
    feed.run()
    feed.land("b.json", [{"id": "b", "a": [{"x": 1, "y": 2}]}])
    drift = plan(feed.open()).drift
    assert drift is not None
    assert (drift.added, drift.dropped, drift.retyped) == (["a.a_y"], [], ["top.id: BIGINT > VARCHAR"])


# Crashes.


def half_published(make_feed: MakeFeed, folder: str) -> FeedDir:
    """Make a feed whose run stopped between two tables of its first subdirectory."""
    feed = shop(lambda *args, **keys: make_feed(*args, folder=folder, **keys), orders(45), subdirs=2)
    feed.stage()
    merge_data(f"staging/{TS}/1", feed.data_dir)
    group = feed.at().group(1)
    progress = groups.progress_of(group)
    feed.group(1)
    # As it was before the second table was published.
    for path in group.output_paths[1:]:
        path.unlink()
    for file in progress.files if progress else ():
        Path(feed.at().archive_path(file.name)).rename(group.staged_path(file.name))
    group.progress_path.write_bytes(documents.encode(progress) if progress else b"")
    return feed


def test_stopped_between_two_tables_a_run_ends_in_the_same_tree(make_feed: MakeFeed) -> None:
    """What is published of some tables stays, the others follow, and the tree is that of an undisturbed run."""
    undisturbed = shop(make_feed, orders(45), subdirs=2)
    undisturbed.run()
    feed = half_published(make_feed, "half")
    feed.group(1)
    feed.group(2)
    feed.verify()
    assert tree(feed.data_dir) == tree(undisturbed.data_dir)


def test_released_between_two_tables_what_is_published_is_completed(make_feed: MakeFeed) -> None:
    """A subdirectory with one table to be seen counts as published: the others are made, the rest goes back."""
    feed = half_published(make_feed, "half")
    returned = release(feed.open(), TS)
    made = committed(feed)
    assert returned == sorted(path.relative_to(feed.landing_dir).as_posix() for path in feed.landing_dir.rglob("*.*"))
    assert {name: [*table.outputs] for name, table in made.each_table.items()} == {name: ["1"] for name in SHOP}
    assert feed.audit().findings == []


def test_a_table_that_is_no_longer_wanted_is_a_change_of_the_spec() -> None:
    """A run that has published nothing takes up a spec with a table less."""
    before = Spec(version=1, name="a", tables={"top": {}, "a": {"explode": ["a"]}})  # type: ignore[dict-item]
    now = Spec(version=1, name="a", tables={"top": {}})  # type: ignore[dict-item]
    assert [*changes(before, now)] == ["tables.a"]
    assert "tables" not in Spec(version=1, name="a").model_dump()


# What lint refuses.


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("tables: {Orders: {}}", "expected 1 to 100 lowercase letters"),
        ("tables: {a/b: {}}", "expected 1 to 100 lowercase letters"),
        ("tables: {..: {}}", "expected 1 to 100 lowercase letters"),
        ("tables: {a: {explode: [x, y]}}", "are side by side"),
        ("tables: {a: {explode: [x], keys: [x.y]}}", "levels above its own as keys of 'a' (found 'x.y')"),
        (
            "tables: {a: {explode: [x], keys: [y.z]}, b: {explode: [y]}}",
            "levels above its own as keys of 'a' (found 'y.z')",
        ),
        ("tables: {a: {keys: [id]}}", "expected none, as its rows are records, as keys of 'a' (found 'id')"),
        ("tables: {a: {}}\ndenormalize: {explode: [x]}", "denormalize: found explode or columns beside tables"),
        ("tables: {a: {columns: []}}", "tables.a.columns: found []"),
        ("tables: {a: {explod: [x]}}", "unknown key 'explod', did you mean 'explode'"),
        ("merge: [{reference: a.csv, key: [], into: a}]", "merge.0.key: found []"),
        ("merge: [{reference: a.csv, key: {record: [a, b], reference: c}, into: a}]", "expected as many parts"),
        ("merge: [{reference: a.csv, key: [id, x.y], into: a}]\ntables: {a: {explode: [x]}}", "of several levels"),
    ],
)
def test_a_spec_that_cannot_work_is_refused(yaml: str, expected: str) -> None:
    """What no delivery could make right is an error of the spec, with its key and what was expected."""
    with pytest.raises(SpecError) as refused:
        parse_spec(f"version: 1\nname: a\n{yaml}\n", "a.yaml")
    assert expected in str(refused.value)
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize(
    ("keys", "expected", "kind"),
    [
        ({"tables": {"a": {"explode": ["b"]}}}, "tables.a.explode 'b' is in no record", DataError),
        ({"tables": {"a": {"explode": ["a"], "keys": ["no"]}}}, "tables.a.keys 'no' is not a column", DataError),
        ({"tables": {"a": {"explode": ["a"], "columns": ["no"]}}}, "tables.a.columns 'no' is not a column", DataError),
        ({"tables": {"a": {"columns": [{"c": "no + 1"}]}}}, "tables.a.columns 'c': 'no + 1'", DataError),
        (
            {"tables": {"a": {"columns": ["id"]}}, "verify": {"totals": ["n"]}},
            "left out by tables.columns",
            MissingError,
        ),
    ],
)
def test_a_table_that_the_records_do_not_give_is_refused(
    make_feed: MakeFeed, keys: dict[str, Any], expected: str, kind: type[FanfoldError]
) -> None:
    """What a table names and no record has fails before any group starts, named by its table."""
    feed = make_feed({"a.json": [{"id": 1, "n": 2, "a": [{"x": 1}]}]}, **{**PLAIN, **keys})
    with pytest.raises(kind, match=r".*") as refused:
        feed.stage()
    assert expected in str(refused.value)


# Keys of several parts, and keys in elements.

TWO = "country,id,name\nCH,1,Ann\nDE,1,Bob\nCH,12,Cyd\nCH1,2,Dan\n"


def joined(make_feed: MakeFeed, records: list[Any], customers: str = TWO, **keys: Any) -> tuple[FeedDir, Summary]:
    """Run a feed that joins by country and id."""
    merge = [{"reference": "customers.csv", "key": ["country", "id"], "into": "customer", **keys.pop("merge", {})}]
    feed = make_feed({"a.json": records}, customers=customers, **{**PLAIN, "merge": merge, **keys})
    return feed, feed.run()


def test_a_key_of_two_parts_matches_by_both(make_feed: MakeFeed) -> None:
    """Parts compare each by its text: what joins them to one text matches nothing, nor does a record that lacks one."""
    records = [
        {"id": 1, "country": "CH"},
        {"country": "DE", "id": "1"},
        {"country": "CH1", "id": 2},
        {"country": "CH", "id": "2"},
        {"country": "CH", "id": None},
        {"id": 1},
        {"country": "CH", "id": 1.0},
    ]
    feed, summary = joined(make_feed, records)
    assert [line.rpartition(",")[2] for line in feed.read().splitlines()[1:]] == ["Ann", "Bob", "Dan", "", "", "", ""]
    assert summary.records_unmatched == 4


def test_parts_may_have_other_names_in_the_reference(make_feed: MakeFeed) -> None:
    """The parts of both sides belong together by their order."""
    key = {"record": ["id", "where.land"], "reference": ["id", "country"]}
    feed, _ = joined(make_feed, [{"id": 12, "where": {"land": "CH"}}], merge={"key": key})
    assert feed.read().splitlines() == ["id,where_land,customer_name", "12,CH,Cyd"]


@pytest.mark.parametrize(("explode", "level"), [("items", "items"), ("orders.items", "orders.items")])
def test_what_is_joined_to_elements_is_named_as_a_field_of_theirs(
    make_feed: MakeFeed, explode: str, level: str
) -> None:
    """The columns of a reference whose key lies in an exploded array begin with the path of that array."""
    items: Any = [{"sku": "a"}, {"sku": "b"}]
    for key in reversed(level.split(".")):
        items = {key: items} if key == "items" else {key: [items]}
    merge = {"reference": "products.csv", "key": {"record": f"{level}.sku", "reference": "sku"}, "into": "product"}
    outer = explode.rpartition(".")[0]
    feed = make_feed(
        {"a.json": [{"id": 1, **items}]},
        subdirs=1,
        merge=[merge],
        denormalize={"explode": [*([outer] if outer else []), explode]},
    )
    (feed.data_dir / "products.csv").write_text("sku,name\na,Apple\n", encoding="utf-8")
    feed.run()
    name = level.replace(".", "_")
    assert feed.read().splitlines() == [f"id,{name}_sku,{name}_product_name", "1,a,Apple", "1,b,"]


def test_two_lines_of_one_key_are_named_by_all_parts(make_feed: MakeFeed) -> None:
    """A key that a reference has twice is an error that shows its parts and lines."""
    with pytest.raises(DataError, match=r"country, id 'CH', '1' in lines 2, 4, expected every key once"):
        joined(make_feed, [{"id": 1, "country": "CH"}], "country,id,name\nCH,1,A\nCH,2,B\nCH,1,C\n")


def test_a_record_without_a_match_is_named_by_all_parts(make_feed: MakeFeed) -> None:
    """Quarantined, it says which parts were found; failing, the group does."""
    records = [{"id": 1, "country": "CH"}, {"id": 9, "country": "CH"}]
    limits = {"max_bad_records_percent": 50}
    feed, summary = joined(make_feed, records, merge={"on_missing": "quarantine"}, quarantine=limits)
    assert summary.records_quarantined == 1
    bad = json.loads((feed.data_dir / f"quarantine/{TS}/1/records.jsonl").read_bytes())
    assert bad["message"].startswith("found 'CH', '9' in 'country', 'id', expected a key of 'customers.csv'")
    with pytest.raises(DataError, match=r"found 'CH', '9' in 'country', 'id', expected a key of 'customers\.csv'"):
        joined(lambda *args, **keys: make_feed(*args, folder="fail", **keys), records, merge={"on_missing": "fail"})


def test_an_element_without_a_match_costs_its_record_once(make_feed: MakeFeed) -> None:
    """A record with two elements that no reference has is quarantined once, out of every table."""
    records = [
        {"id": 1, "a": [{"c": "1"}, {"c": "8"}, {"c": "9"}], "b": [1]},
        {"id": 2, "a": [{"c": "2"}], "b": []},
        {"id": 3, "a": [], "b": [2]},
    ]
    merge = [
        {
            "reference": "customers.csv",
            "key": {"record": "a.c", "reference": "customer_id"},
            "into": "customer",
            "on_missing": "quarantine",
        }
    ]
    tables = {"top": {}, "a": {"explode": ["a"], "keys": ["id"]}, "b": {"explode": ["b"], "keys": ["id"]}}
    quarantine = {"max_bad_records_percent": 50}
    feed = make_feed({"a.json": records}, **{**PLAIN, "merge": merge}, tables=tables, quarantine=quarantine)
    summary = feed.run()
    assert (summary.records_quarantined, summary.records_unmatched) == (1, 0)
    assert (text(feed, "top")[1:], text(feed, "a")[1:], text(feed, "b")[1:]) == (["2", "3"], ["2,2,Bob"], ["3,2"])


def test_a_key_that_can_never_match_is_refused(make_feed: MakeFeed) -> None:
    """A key in an array that no table explodes, or parts that turn out to be of two levels, fail before any group."""
    records = [{"id": 1, "a": [{"c": "1", "b": [{"d": 1}]}]}]
    for key, tables in (("a.c", {"top": {}}), (["id", "a.c"], {"d": {"explode": ["a.b"]}})):
        merge = [{"reference": "customers.csv", "key": key, "into": "customer"}]
        folder = f"feed-{len(key)}"
        feed = make_feed(
            {"a.json": records}, folder, **{**PLAIN, "merge": merge}, tables=tables, customers="a.c,id,c\n1,1,x\n"
        )
        with pytest.raises(DataError, match="expected"):
            plan(feed.open())


def test_an_object_where_a_list_is_expected_is_one_element_in_its_table(make_feed: MakeFeed) -> None:
    """`denormalize.single` holds for the arrays of all tables, and for the keys in them."""
    records = [{"id": 1, "a": {"c": "1", "b": 7}}, {"id": 2, "a": [{"c": "9", "b": [8, 9]}]}, {"id": 3, "a": None}]
    merge = [{"reference": "customers.csv", "key": {"record": "a.c", "reference": "customer_id"}, "into": "customer"}]
    tables = {"top": {}, "a": {"explode": ["a"], "keys": ["id"]}, "b": {"explode": ["a.b"], "keys": ["id", "a.c"]}}
    keys = {**PLAIN, "merge": merge, "denormalize": {"single": True}, "tables": tables}
    feed = make_feed({"a.json": records}, **keys)
    assert feed.run().records_unmatched == 1
    assert (text(feed, "a")[1:], text(feed, "b")[1:]) == (["1,1,Ann", "2,9,"], ["1,1,7", "2,9,8", "2,9,9"])
    assert recount(feed.at(), committed(feed)).gaps == []


# The core.


def test_the_core_writes_no_row_for_values_that_stand_elsewhere() -> None:
    """An element without one inside of it has a row where its values stand here, and none where they do not."""
    inner = Field("b", "list", inside=(Field("", "object", inside=(Field("y"),)),))
    element = Field("", "object", inside=(Field("x"), inner))
    record = Field("", "object", inside=(Field("id"), Field("a", "list", inside=(element,))))
    reader = Reader(record, Others.REFUSE)
    lines = [{"id": 1, "a": [{"x": 1, "b": [{"y": 1}, {"y": 2}]}, {"x": 2, "b": []}]}, {"id": 2}]
    merged = b"".join(piece.merged for piece in reader.read(b"a", ["\n".join(map(json.dumps, lines)).encode()]))
    columns = [(Rows.SLOT, 0, 0), (Rows.SLOT, 1, 0), (Rows.SLOT, 2, 0), (Rows.ITEM, 0, 0)]

    def written(elsewhere: set[int]) -> list[bytes]:
        chain = [(scope, scope in elsewhere) for scope in range(3)]
        whole = b"".join(Rows(record, columns, chain).write([merged]))
        # Where the windows end changes nothing.
        assert b"".join(Rows(record, columns, chain).write([merged[i : i + 1] for i in range(len(merged))])) == whole
        return whole.split()

    rows_of_elements = [b"1,1,1,1.1", b"1,1,2,1.2"]
    assert written(set()) == [*rows_of_elements, b"1,2,,2", b"2,,,"]
    assert written({1}) == [*rows_of_elements, b"2,,,"]
    assert written({0}) == [*rows_of_elements, b"1,2,,2"]
    assert written({0, 1}) == rows_of_elements


def test_many_elements_are_as_many_rows_as_a_plain_count_gives(make_feed: MakeFeed) -> None:
    """A record of a hundred thousand elements beside another array costs no memory and loses none."""
    found = {"id": 1, "a": [{"x": n} for n in range(100_000)], "b": [[n] for n in range(3)]}
    feed = make_feed(
        {"a.json": [found]},
        **PLAIN,
        tables={"a": {"explode": ["a"]}, "b": {"explode": ["b"], "keys": ["id"]}},
        verify={"totals": ["a.x"]},
    )
    stage = feed.stage()
    assert [*stage] == ["1"]
    feed.group(1)
    assert feed.verify().rows_out == {"a": 100_000, "b": 3}
    totals = runs.open_complete(feed.open(), TS)[1].each_table["a"].totals
    assert Decimal(totals["a.x"]) == sum(range(100_000))
