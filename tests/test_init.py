"""`fanfold init`: a spec from samples that runs at once, and says nothing of them that is not true."""

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from fanfold import audit
from fanfold.feed import runs
from fanfold.init import samples as sampling
from fanfold.init.write import Made, make
from fanfold.spec.model import Spec, load_spec
from fanfold.steps import local
from fanfold.steps.plan import plan
from fanfold.steps.start import start
from tests.archives import packed

TS = "20260102T030405Z"


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    # Files settle for two seconds.
    os.utime(path, (0, 0))
    return path


def init(folder: Path, *samples: str, references: Sequence[str] = (), name: str | None = None) -> Made:
    return make([folder / one for one in samples], [folder / one for one in references], name, folder)


def run(made: Made) -> list[Path]:
    """Plan and run what was written, with no time to settle; return the tables."""
    text = made.paths[0].read_text(encoding="utf-8")
    made.paths[0].write_text(text.replace("input:\n", "input:\n  settle_seconds: 0\n"), encoding="utf-8")
    feed = start(made.paths[0])
    assert plan(feed).failed == []
    assert local.run(feed, TS, lambda _n, _step, _state: None).failed is None
    assert audit.audit(*runs.open_complete(feed, TS)).findings == []
    return sorted((feed.output_dir / TS).rglob("*.csv"))


def rows(tables: list[Path]) -> list[dict[str, str]]:
    return [row for path in tables for row in csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))]


ORDERS = [
    {
        "order_id": f"o{number:03}",
        "customer_id": f"00{number % 4}",
        "sold_at": "2026-01-02T09:15:00Z",
        "day": "2026-01-02",
        "rating": 3.5,
        "total": 12.5 if number % 2 else 7,
        "weight": "1.2345678",
        "items": [{"sku": ("apple", "milk")[item % 2], "price": "1.25"} for item in range(number % 3)],
        "tags": ["a", "b"],
    }
    for number in range(12)
]


def test_what_is_written_runs_at_once(tmp_path: Path) -> None:
    """The spec of a folder of wrapped documents and two references needs no change: records and items are joined."""
    write(tmp_path / "shop/in/a.json", {"page": 1, "data": {"orders": ORDERS[:6], "notes": [{"n": 1}]}})
    write(tmp_path / "shop/in/b.json", {"page": 2, "data": {"orders": ORDERS[6:], "notes": []}})
    write(tmp_path / "shop/customers.csv", "customer_id,name\n000,Ann\n001,Bob\n002,Cy\n")
    write(tmp_path / "shop/ref/products.csv", "sku,title\napple,Apple\nmilk,Milk\n")
    before = {path.relative_to(tmp_path / "shop") for path in (tmp_path / "shop").rglob("*.*")}
    made = init(tmp_path, "shop/in", references=["shop/customers.csv", "shop/ref/products.csv"])
    spec = load_spec(made.paths[0])
    assert (spec.name, spec.data_dir, spec.input.path) == ("in", str(tmp_path / "shop"), "in")
    assert spec.input.records_at == "/data/orders"
    assert spec.input.fields == {
        "sold_at": "TIMESTAMPTZ", "day": "DATE", "total": "DECIMAL(18,2)", "items.price": "DECIMAL(18,2)",
        "customer_id": "VARCHAR", "items.sku": "VARCHAR",
    }  # fmt: skip
    assert [(one.reference, one.record_keys, one.reference_keys) for one in spec.merge] == [
        ("customers.csv", ["customer_id"], ["customer_id"]),
        ("ref/products.csv", ["items.sku"], ["sku"]),
    ]
    assert {path.relative_to(tmp_path / "shop") for path in (tmp_path / "shop").rglob("*.*")} == before
    made_rows = rows(run(made))
    assert len(made_rows) == sum(max(1, number % 3) for number in range(12))
    assert {row["customer_id"] for row in made_rows if not row["customer_name"]} == {"003"}
    assert {row["items_product_title"] for row in made_rows if row["items_sku"] == "milk"} == {"Milk"}
    text = "\n".join(made.findings)
    assert "12 records at /data/orders" in text
    assert "reference customers.csv: customer_id: 75% of the records with a value match" in text


def test_records_with_an_array_are_not_documents(tmp_path: Path) -> None:
    """A file with one order in it, which has an id, is a record; the array in it explodes."""
    for number in range(3):
        write(tmp_path / f"in/{number}.json", {"id": number, "items": [{"sku": "a"}, {"sku": "b"}]})
    made = init(tmp_path, "in")
    spec = load_spec(made.paths[0])
    assert (spec.input.records_at, spec.denormalize.explode) == ("", ["items"])
    assert '# records_at: "/items"' in made.paths[0].read_text() or "# records_at: /items" in made.paths[0].read_text()
    assert len(rows(run(made))) == 6


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["2026-01-02", "2026-02-30"], None),
        (["2026-01-02", "2024-02-29", None], "DATE"),
        (["2026-01-02T09:15:00", "2026-01-02T09:15:00.5"], "TIMESTAMP"),
        (["2026-01-02T09:15:00", "2026-01-02T09:15:00Z"], None),
        (["2026-01-02", "soon"], None),
        ([12.5, 12.55, 3], "DECIMAL(18,2)"),
        (["12.50", "-3.25"], "DECIMAL(18,2)"),
        (["12.50", "007"], None),
        ([12.5, 1e30], None),
        ([0.123456, 1.5], None),
        ([True, False], None),
        ([1, 2], None),
        (["", None], None),
    ],
)
def test_a_type_is_declared_only_where_every_value_fits(tmp_path: Path, values: list[Any], kind: str | None) -> None:
    """Dates, times and amounts are declared; not where one value of the samples would be a bad record."""
    write(tmp_path / "in/a.json", [{"id": number, "value": value} for number, value in enumerate(values)])
    made = init(tmp_path, "in")
    assert load_spec(made.paths[0]).input.fields.get("value") == kind
    assert len(rows(run(made))) == len(values)


def test_the_share_of_matches_is_true(tmp_path: Path) -> None:
    """The key with the most matches and the likest name is taken; its share is that of the values that are there."""
    records = [{"id": n, "qty": n % 5, "cust": {"id": str(n % 10) if n % 3 else None}} for n in range(30)]
    write(tmp_path / "in/a.json", records)
    write(tmp_path / "customers.csv", "id,name\n" + "".join(f"{n},n{n}\n" for n in range(7)))
    spec_path = init(tmp_path, "in", references=["customers.csv"]).paths[0]
    values = [str(n % 10) for n in range(30) if n % 3]
    share = sum(int(value) < 7 for value in values) / len(values)
    text = spec_path.read_text(encoding="utf-8")
    assert f"# {share:.0%} of the records with a value match" in text
    assert "record: cust.id, reference: id" in text


def test_a_key_in_an_object_is_found_by_both_names(tmp_path: Path) -> None:
    """Small numbers of `customer.id` are keys of `customer_id`; what matches by chance, in few values, is not named."""
    records = [{"id": n, "customer": {"id": n % 9}, "total": [12.25, 80.5][n > 0]} for n in range(12)]
    write(tmp_path / "in/a.json", records)
    write(tmp_path / "people.csv", "customer_id,weight\n" + "".join(f"{n},{n + 12.25}\n" for n in range(8)))
    spec_path = init(tmp_path, "in", references=["people.csv"]).paths[0]
    assert "record: customer.id, reference: customer_id" in spec_path.read_text(encoding="utf-8")
    assert "weight" not in spec_path.read_text(encoding="utf-8")


def test_a_column_without_a_name_is_not_proposed_as_a_key(tmp_path: Path) -> None:
    """The row numbers that pandas writes before the columns match those of each other file, and join nothing."""
    write(tmp_path / "in/a.csv", ",customer_id,n\n0,c01,1\n1,c02,2\n")
    write(tmp_path / "customers.csv", ",customer_id,name\n0,c02,Bob\n1,c01,Ann\n2,c03,Cid\n")
    made = init(tmp_path, "in", references=["customers.csv"])
    assert [one.key for one in load_spec(made.paths[0]).merge] == ["customer_id"]


def test_a_reference_with_a_key_twice_is_only_proposed(tmp_path: Path) -> None:
    """A reference that a run would refuse stands in comments, with its key; so does one outside of data_dir."""
    write(tmp_path / "a/b/c/in/a.json", [{"customer_id": "c01"}, {"customer_id": "c02"}])
    write(tmp_path / "a/b/c/customers.csv", "customer_id,name\nc01,Ann\nc01,Bob\n")
    write(tmp_path / "far/customers.csv", "customer_id,name\nc01,Ann\n")
    twice = init(tmp_path, "a/b/c/in", references=["a/b/c/customers.csv"], name="twice")
    assert load_spec(twice.paths[0]).merge == []
    assert "has customer_id 'c01' twice" in twice.paths[0].read_text(encoding="utf-8")
    far = init(tmp_path, "a/b/c/in", references=["far/customers.csv"], name="far")
    assert load_spec(far.paths[0]).merge == []
    text = far.paths[0].read_text(encoding="utf-8")
    assert "copy it into data_dir" in text
    spec = yaml.safe_load(text.replace("#   ", "  ").replace("# merge:", "merge:"))
    assert spec["name"] == "far"


def test_a_reference_without_a_match_is_named(tmp_path: Path) -> None:
    """A reference whose keys no field has is a line of comment, alone and beside one that is joined."""
    write(tmp_path / "shop/in/a.json", [{"customer_id": "c01"}, {"customer_id": "c02"}])
    write(tmp_path / "shop/customers.csv", "customer_id,name\nc01,Ann\n")
    write(tmp_path / "shop/weather.csv", "station,celsius\nBern,7\n")
    alone = init(tmp_path, "shop/in", references=["shop/weather.csv"], name="alone")
    both = init(tmp_path, "shop/in", references=["shop/weather.csv", "shop/customers.csv"], name="both")
    for made, joined in ((alone, []), (both, ["customers.csv"])):
        assert "reference weather.csv: no field has its keys" in made.findings
        assert "# No field of the samples has values that are keys of weather.csv." in made.paths[0].read_text()
        assert [one.reference for one in load_spec(made.paths[0]).merge] == joined


@pytest.mark.parametrize("inside", [False, True])
def test_a_key_of_two_columns_is_found(tmp_path: Path, *, inside: bool) -> None:
    """Where no column of a reference alone is a key, two of them are, in records and in the elements of an array."""
    lines = [{"country": c, "shop_id": n, "sum": 1} for c in ("CH", "DE") for n in ("s01", "s02", "s03")]
    write(tmp_path / "feed/in/a.json", [{"id": 1, "visits": lines}, {"id": 2, "visits": []}] if inside else lines)
    write(
        tmp_path / "feed/shops.csv",
        "country,shop_id,city\nCH,s01,Bern\nCH,s02,Chur\nDE,s01,Bonn\nDE,s02,Kiel\nDE,s03,Ulm\n",
    )
    made = init(tmp_path, "feed/in", references=["feed/shops.csv"])
    above = "visits." if inside else ""
    paths = f"{above}country, {above}shop_id"
    assert any(line.startswith(f"reference shops.csv: {paths}: 83% of the ") for line in made.findings)
    level = above.replace(".", "_")
    cities = [row[f"{level}shop_city"] for row in rows(run(made)) if row[f"{level}country"]]
    assert sorted(cities) == ["", "Bern", "Bonn", "Chur", "Kiel", "Ulm"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "latin-1"])
def test_csv_of_another_form_runs_at_once(tmp_path: Path, delimiter: str, encoding: str) -> None:
    """Delimiter and encoding of samples and of references are found; what needs neither has no line of it."""
    name = "Zürich" + ("\x81" if encoding == "latin-1" else "")
    for path, head, line in (("in/a.csv", "nr", "0{0}"), ("in/b.csv", "nr", "1{0}"), ("towns.csv", "mayor", "Ann")):
        text = "".join(f"{line.format(n)}{delimiter}{name} {n}\n" for n in range(3 if head == "nr" else 1))
        file = write(tmp_path / "erp" / path, "")
        file.write_bytes(f"{head}{delimiter}town\n{text}".encode(encoding))
        os.utime(file, (0, 0))
    made = init(tmp_path, "erp/in", references=["erp/towns.csv"])
    assert not [line for line in made.findings if "WARNING" in line]
    spec = load_spec(made.paths[0])
    assert spec.merge
    written: list[Any] = [spec.input, *spec.merge]
    for one in written:
        assert (one.encoding, one.csv.delimiter) == (encoding, delimiter)
    assert ("encoding" in made.paths[0].read_text(encoding="utf-8")) == (encoding != "utf-8")
    found = rows(run(made))
    assert sorted((row["nr"], row["town"]) for row in found) == [
        (f"{file}{n}", f"{name} {n}") for file in "01" for n in range(3)
    ]
    assert [row["nr"] for row in found if row["town_ref_mayor"] == "Ann"] == ["00", "10"]


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_samples_in_archives_are_looked_at_as_files(tmp_path: Path, ending: str) -> None:
    """Encoding and delimiter of members are found, also where an archive is larger than what is read of samples."""
    lines = "".join(f"{n};Z\u00fcrich {n * 7919}\n" for n in range(700_000))
    members = {"k/a.csv": f"nr;town\n{lines}", "b.CSV": "nr;town\n-1;K\u00f6ln\n", "readme.txt": "caf\u00e9"}
    (tmp_path / "in").mkdir()
    archive = tmp_path / f"in/a{ending}"
    archive.write_bytes(packed(ending, ((name, text.encode("cp1252")) for name, text in members.items())))
    os.utime(archive, (0, 0))
    made = init(tmp_path, "in")
    spec = load_spec(made.paths[0])
    assert (spec.input.encoding, spec.input.csv.delimiter) == ("cp1252", ";")
    assert made.findings[0].startswith("read 1 of 1 file, 1,0")
    assert not [line for line in made.findings if "WARNING" in line]
    found = rows(run(made))
    assert (len(found), found[0]) == (700_001, {"nr": "-1", "town": "K\u00f6ln"})


def test_the_size_of_packed_samples_is_told_as_it_is(tmp_path: Path) -> None:
    """What is read of compressed files is larger than they are: both sizes are named."""
    content = b'{"id": 1}\n' * 1000
    write(tmp_path / "in/a.json.gz", "")
    size = (tmp_path / "in/a.json.gz").write_bytes(gzip.compress(content))
    assert init(tmp_path, "in").findings[0] == f"read 1 of 1 file, 10,000 bytes unpacked of {size} bytes on disk"


def test_a_delivery_may_lack_what_the_samples_had(tmp_path: Path) -> None:
    """No array and no key of a reference has to be in each delivery: the next one may have none of them."""
    order = {
        "order_id": "o1",
        "cust": "c1",
        "items": [{"sku": "a", "n": 1, "cuts": [{"of": 1}]}],
        "notes": [{"by": "x"}],
    }
    write(tmp_path / "shop/in/a.json", [order])
    write(tmp_path / "shop/custs.csv", "cust,name\nc1,Ann\n")
    write(tmp_path / "shop/goods.csv", "sku,title\na,Apple\n")
    made = init(tmp_path, "shop/in", references=["shop/custs.csv", "shop/goods.csv"])
    write(tmp_path / "shop/in/a.json", [{"order_id": "o2"}])
    tables = {path.parent.name: rows([path]) for path in run(made) if path.name == "1.csv"}
    assert [row["order_id"] for row in tables["in"]] == ["o2"]
    assert tables["items"] == tables["items_cuts"] == tables["notes"] == []


def test_references_beside_samples_are_not_taken_for_them(tmp_path: Path) -> None:
    """Where samples and references lie in one folder, patterns take the samples alone."""
    for day in (1, 2):
        write(tmp_path / f"in/orders_{day}.csv", f"id,customer_id\n{day},c01\n")
    write(tmp_path / "in/customers.csv", "customer_id,name\nc01,Ann\n")
    made = init(tmp_path, "in", references=["in/customers.csv"])
    spec = load_spec(made.paths[0])
    assert (spec.input.patterns, spec.merge[0].reference) == (["orders_*.csv"], "in/customers.csv")
    assert [row["customer_name"] for row in rows(run(made))] == ["Ann", "Ann"]


@pytest.mark.parametrize("sample", ["a.json", "1.json"])
def test_what_init_writes_beside_a_sample_is_not_taken_for_one(tmp_path: Path, sample: str) -> None:
    """Made in the folder of its sample, a feed takes the sample, and not the JSON Schema that was written there."""
    write(tmp_path / sample, '{"id":1}\n{"id":2}\n')
    made = init(tmp_path, sample, name="feed")
    landing = load_spec(made.paths[0])
    if landing.input.path == "landing":
        write(tmp_path / landing.data_dir / "landing" / sample, '{"id":1}\n{"id":2}\n')
    assert rows(run(made)) == [{"id": "1"}, {"id": "2"}]


@pytest.mark.parametrize("inside", [False, True])
def test_an_object_whose_keys_are_data_is_one_column(tmp_path: Path, *, inside: bool) -> None:
    """An object with hundreds of keys, each in one record, is declared as JSON, also in an array: one column."""
    objects = [{f"user{n}_{m}": "2026-01-02" for m in range(9)} for n in range(40)]
    lines = [{"id": n, "by": one} for n, one in enumerate(objects)]
    write(
        tmp_path / "in/a.json",
        [{"id": one["id"], "items": [{"sku": "a", **one}]} for one in lines] if inside else lines,
    )
    made = init(tmp_path, "in")
    text = made.paths[0].read_text(encoding="utf-8")
    assert "360 different keys" in text
    assert "user1_1" not in text
    path = "items.by" if inside else "by"
    assert load_spec(made.paths[0]).input.fields[path] == "JSON"
    assert not [line for line in made.findings if "WARNING" in line]
    assert [json.loads(row[path.replace(".", "_")]) for row in rows(run(made))] == objects


def test_an_object_of_keys_in_an_array_that_stays_json_is_not_declared(tmp_path: Path) -> None:
    """Where an array has nothing but such objects, it stays JSON as a whole: nothing in it is declared."""
    write(tmp_path / "in/a.json", [{"id": n, "items": [{"by": {f"u{n}_{m}": m for m in range(9)}}]} for n in range(40)])
    made = init(tmp_path, "in")
    assert load_spec(made.paths[0]).input.fields == {}
    assert [json.loads(row["items"])[0]["by"][f"u{n}_8"] for n, row in enumerate(rows(run(made)))] == [8] * 40


def test_arrays_side_by_side_and_below_each_other_are_tables(tmp_path: Path) -> None:
    """Each array of objects is a table, tied by its keys to those above; one of values stays JSON."""
    item = {"sku": "a", "price": 1.5, "Taxes & more": [{"rate": 2.25}, {"rate": 3.25}]}
    records = [
        {
            "order_id": f"o{n}",
            "items": [item | {"line_nr": line} for line in range(n)],
            "payments": [{"paid": 1.25}],
            "tags": ["x", "y", "z"],
        }
        for n in range(5)
    ]
    write(tmp_path / "in/a.json", records)
    write(tmp_path / "products.csv", "sku,title\na,Apple\n")
    made = init(tmp_path, "in", references=["products.csv"], name="Shop")
    spec = load_spec(made.paths[0])
    assert {name: (table.explode, table.keys) for name, table in spec.tables.items()} == {
        "shop": ([], []),
        "items": (["items"], ["order_id"]),
        "items_taxes_more": (["items.Taxes & more"], ["order_id", "items.line_nr"]),
        "payments": (["payments"], ["order_id"]),
    }
    assert spec.input.fields == dict.fromkeys(
        ["items.price", "items.Taxes & more.rate", "payments.paid"], "DECIMAL(18,2)"
    ) | {"items.sku": "VARCHAR"}
    text = made.paths[0].read_text(encoding="utf-8")
    assert "one row per element: 10 in 5 records" in text
    assert "tags is an array of 15 values" in text
    tables = run(made)
    found = {name: rows([path for path in tables if path.parent.name == name]) for name in spec.tables}
    assert {name: len(some) for name, some in found.items()} == {
        "shop": 5, "items": 10, "items_taxes_more": 20, "payments": 5,
    }  # fmt: skip
    assert {row["items_product_title"] for row in found["items"]} == {"Apple"}


@pytest.mark.parametrize(
    ("names", "name", "table"),
    [
        (["orders-2026-01-01.json", "sub/Orders_2.json.gz"], None, "orders"),
        (["web_orders.json"], None, "web_orders"),
        (["web_orders.json"], "shop", "shop"),
        (["orders.json", "more.json"], None, "drops"),
        (["20260101.json"], None, "drops"),
        (["data-1.json", "data-2.json"], None, "drops"),
    ],
)
def test_the_table_of_the_records_has_the_name_of_their_files(
    tmp_path: Path, names: list[str], name: str | None, table: str
) -> None:
    """It is what all files are called before numbers; else, and where a name is given, that of the feed."""
    for at, one in enumerate(names):
        content = json.dumps([{"id": f"o{at}", "items": [{"a": 1}], "payments": [{"b": 2}]}])
        path = tmp_path / "drops" / one
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content.encode()) if one.endswith("gz") else content.encode())
    assert [*load_spec(init(tmp_path, "drops", name=name).paths[0]).tables] == [table, "items", "payments"]


@pytest.mark.parametrize(("skus", "is_key"), [(["ab", "ba", "a"], True), (["ab", "aa"], False), (["ab", "b-"], False)])
def test_a_key_of_an_array_is_unique_in_its_record(tmp_path: Path, skus: list[str], *, is_key: bool) -> None:
    """Only a field that each element has, and no two of one record share, ties what lies in the elements to them."""
    records = [
        {"id": f"o{n}", "items": [{"sku": None if sku == "-" else sku, "parts": [{"n": 1}]} for sku in one]}
        for n, one in enumerate(skus)
    ]
    write(tmp_path / "in/a.json", records)
    spec = load_spec(init(tmp_path, "in", name="x").paths[0])
    assert spec.tables["items_parts"].keys == ["id", "items.sku"][: 1 + is_key]


def test_fields_around_the_records_are_proposed(tmp_path: Path) -> None:
    """Of a wrapped document, the scalars around the records are a line to uncomment, and then they are columns."""
    rows_of = [{"id": f"o{n}", "total": n} for n in range(3)]
    document = {
        "batch": 7,
        "total": 3,
        "meta": {"shop": "Bern", "pages": [1, 2]},
        "data": {"next": None, "rows": rows_of},
    }
    write(tmp_path / "in/a.json", document)
    made = init(tmp_path, "in", name="x")
    text = made.paths[0].read_text(encoding="utf-8")
    assert "# envelope: [batch, meta.shop]" in text
    made.paths[0].write_text(text.replace("# envelope:", "envelope:"), encoding="utf-8")
    assert rows(run(made))[2] == {"id": "o2", "total": "2", "batch": "7", "meta_shop": "Bern"}


def test_all_faults_of_a_reference_are_named(tmp_path: Path) -> None:
    """A reference outside of data_dir that has a key twice needs two things, and the spec says both."""
    write(tmp_path / "a/b/c/in/a.json", [{"customer_id": "c01"}, {"customer_id": "c02"}])
    write(tmp_path / "far/customers.csv", "customer_id,name\nc01,Ann\nc01,Bob\n")
    text = init(tmp_path, "a/b/c/in", references=["far/customers.csv"], name="far").paths[0].read_text(encoding="utf-8")
    assert "copy it into data_dir" in text
    assert "has customer_id 'c01' twice" in text


@pytest.mark.parametrize("place", ["array", "key", "data", "reference", "value"])
def test_nothing_of_the_samples_becomes_a_line_of_the_spec(tmp_path: Path, place: str) -> None:
    """A line break in a name or a value of samples ends no comment: it cannot write a key into the spec."""
    evil = "tags\nquarantine: {raw: false}\n#"
    records = [
        {
            "array": {"id": n, evil: ["x"]},
            "key": {"id": n, f"{evil} id": n},
            "data": {"id": n, evil: {f"k{n}_{m}": 1 for m in range(9)}},
            "value": {"id": n, "ref": evil},
            "reference": {"id": n},
        }[place]
        for n in range(40)
    ]
    write(tmp_path / "feed/in/a.json", records)
    name = f"{evil}.json" if place == "reference" else "refs.json"
    write(tmp_path / "far/away/of/here" / name, [{"ref": evil}])
    made = init(tmp_path, "feed/in", references=[f"far/away/of/here/{name}"])
    assert load_spec(made.paths[0]).quarantine.raw
    text = made.paths[0].read_text(encoding="utf-8")
    assert not [line for line in text.splitlines() if line.startswith("quarantine")]
    assert not [line for line in made.findings if "\n" in line]


def test_what_is_bad_and_what_is_a_duplicate_is_said(tmp_path: Path) -> None:
    """A bad record, a file of garbage and the same bytes twice are named, and do not stop it."""
    write(tmp_path / "in/a.json", '{"id":1}\n{"id":nope}\n')
    write(tmp_path / "in/b.json", '{"id":1}\n{"id":nope}\n')
    write(tmp_path / "in/c.json", "Internal Server Error")
    text = "\n".join(init(tmp_path, "in").findings)
    assert "'a.json' line 2: found 'nope'" in text
    assert "'b.json' has the bytes of 'a.json'" in text
    assert "'c.json' line 1" in text


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A second call names the file that is there, ends with 2, and changes nothing; a DAG file alone is enough."""
    write(tmp_path / "in/a.json", [{"id": 1}])
    command = [sys.executable, "-m", "fanfold", "init", "in", "--name", "shop"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "wrote shop.yaml, shop_dag.py, fanfold.schema.json" in first.stdout
    assert "fanfold plan shop.yaml" in first.stdout
    (tmp_path / "shop_dag.py").write_text("mine", encoding="utf-8")
    (tmp_path / "shop.yaml").unlink()
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "shop_dag.py' is there already" in second.stderr
    assert (tmp_path / "shop_dag.py").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "shop.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "is not a file or a folder"),
        (["empty"], "found no file to read in 'empty'"),
        (["in", "--reference", "nowhere.csv"], "expected a reference"),
        (["in", "--name", "a b"], "name: found 'a b'"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    """Samples, references or a name that cannot be are exit code 2 and one line; nothing is written."""
    write(tmp_path / "in/a.json", [{"id": 1}])
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "fanfold", "init", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert words in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"in", "empty"}


def test_where_samples_cannot_be_landing_there_is_a_new_one(tmp_path: Path) -> None:
    """Samples in a folder that Fanfold needs for itself stay there; the spec names a new landing, and says why."""
    write(tmp_path / "staging/a.json", [{"id": 1}])
    made = init(tmp_path, "staging")
    spec = load_spec(made.paths[0])
    assert (Path(spec.data_dir) / spec.input.path).is_dir()
    assert "drop files here" in made.paths[0].read_text(encoding="utf-8")
    assert any("landing is the new folder data/staging/landing: drop files there" in one for one in made.findings)
    assert plan(start(made.paths[0])).files == 0
    assert (tmp_path / "staging/a.json").exists()


def test_the_schema_beside_a_spec_agrees_with_it(tmp_path: Path) -> None:
    """The first line names a JSON Schema that lies beside the spec, needs no network, and takes the spec."""
    write(tmp_path / "in/a.json", [{"id": 1, "day": "2026-01-02"}])
    made = init(tmp_path, "in")
    first, *_ = text = made.paths[0].read_text(encoding="utf-8").splitlines()
    assert first == "# yaml-language-server: $schema=fanfold.schema.json"
    schema = json.loads((tmp_path / "fanfold.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load("\n".join(text)))
    assert set(schema["properties"]) == set(Spec.model_fields)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("form", ["array", "lines", "wrapped", "csv"])
def test_of_large_files_whole_records_are_read(tmp_path: Path, form: str, *, compress: bool) -> None:
    """A file that is cut anywhere, also in a text with brackets or line breaks, has no record that is not in it."""
    records = [{"id": n, "text": 'a "b]} \n,[{' * (n % 4), "items": [{"n": n}]} for n in range(40)]
    match form:
        case "array":
            text = json.dumps(records)
        case "lines":
            text = "\n".join(map(json.dumps, records))
        case "wrapped":
            text = json.dumps({"meta": {"a": [1]}, "data": {"orders": records}})
        case _:
            text = "id,text\n" + "".join(
                f'{one["id"]},"{str(one["text"]).replace(chr(34), chr(34) * 2)}"\n' for one in records
            )
    name = f"a.{'csv' if form == 'csv' else 'json'}"
    for most in range(len(text) // 3, len(text) // 2, 7):
        path = tmp_path / str(most) / (name + ".gz" * compress)
        path.parent.mkdir()
        path.write_bytes(gzip.compress(text.encode()) if compress else text.encode())
        (scratch := tmp_path / f"{most}s").mkdir()
        _, place = sampling.part_of(path, path.name, most, scratch)
        part = Path(place.path).read_bytes().decode()
        if compress or Path(place.path) != path:
            match form:
                case "csv":
                    found: list[Any] = [
                        {"id": int(row["id"]), "text": row["text"]}
                        for row in csv.DictReader(part.splitlines(keepends=True))
                    ]
                    wanted: list[Any] = [{"id": one["id"], "text": one["text"]} for one in records]
                case "lines":
                    found, wanted = list(map(json.loads, part.splitlines())), records
                case "wrapped":
                    found, wanted = json.loads(part)["data"]["orders"], records
                case _:
                    found, wanted = json.loads(part), records
            assert found == wanted[: len(found)]
            assert len(found) > 5


def test_a_reader_of_a_gigabyte_reads_a_part(tmp_path: Path) -> None:
    """Of many large files some are read, and of each a part: the spec says how much."""
    for number in range(100):
        write(tmp_path / f"in/{number:03}.jsonl", '{"id": 1, "x": "y"}\n' * 20_000)
    made = init(tmp_path, "in")
    told = re.fullmatch(r"read 50 of 100 files, ([\d,]+) of 40,000,000 bytes", made.findings[0])
    assert told
    assert int(told[1].replace(",", "")) < sampling.SAMPLE_BYTES
    assert load_spec(made.paths[0]).input.path == "in"


def test_a_large_record_is_read_whole(tmp_path: Path) -> None:
    """A record that is larger than the part of a file that is read is not taken for a bad one."""
    for number in range(40):
        write(tmp_path / f"in/{number:02}.jsonl", [{"id": number, "text": "x" * 300_000}, {"id": 100 + number}])
    made = init(tmp_path, "in")
    assert not [line for line in made.findings if "WARNING" in line]


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8bgarbage", gzip.compress(b"", mtime=0), gzip.compress(b'{"a":1}\n' * 99, mtime=0)[:30]]
)
def test_damaged_samples_do_not_stop_it(tmp_path: Path, content: bytes) -> None:
    """An empty file, and a compressed one that is damaged or cut, are named; what else there is is found."""
    write(tmp_path / "in/a.json", [{"id": 1}])
    (tmp_path / "in/b.json.gz").write_bytes(content)
    made = init(tmp_path, "in")
    assert made.findings[1].startswith("json: ")
    assert load_spec(made.paths[0]).name == "in"


def test_json_in_texts_is_read_as_if_it_stood_there(tmp_path: Path) -> None:
    """What files of CSV have as a text, and those of JSON as it is, makes the same rows, under the spec as written."""
    orders = [{"id": f"o{n}", "to": {"city": "Bern"}, "items": [{"sku": f"s{n}", "price": 1.25}]} for n in range(8)]
    write(tmp_path / "in/a.json", orders[:4])
    lines = io.StringIO(newline="")
    csv.writer(lines).writerows(
        [["id", "to", "items"], *([one["id"], json.dumps(one["to"]), json.dumps(one["items"])] for one in orders[4:])]
    )
    write(tmp_path / "in/b.csv", lines.getvalue())
    made = init(tmp_path, "in")
    assert load_spec(made.paths[0]).input.parse == ["items", "to"]
    found = rows(run(made))
    assert sorted(row["items_sku"] for row in found) == sorted(f"s{n}" for n in range(8))
    assert {(row["to_city"], row["items_price"]) for row in found} == {("Bern", "1.25")}


@pytest.mark.parametrize("text", ["[draft", "{}x", "7", '["a"]\n[', "plain"])
def test_texts_that_are_not_all_json_stay_texts(tmp_path: Path, text: str) -> None:
    """A single text that is not an array or an object keeps a field as it is, and no record is bad."""
    write(tmp_path / "in/a.json", [{"id": n, "note": '{"a": 1}'} for n in range(5)] + [{"id": 5, "note": text}])
    made = init(tmp_path, "in")
    assert load_spec(made.paths[0]).input.parse == []
    assert [row["note"] for row in rows(run(made))][-1] == text
