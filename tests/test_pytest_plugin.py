"""The plugin of pytest: the fixture is there without a word, and makes feeds that are tested in milliseconds."""

import pytest

pytest_plugins = ["pytester"]

SPEC = """
version: 1
name: shop
subdirs: 2
input: {path: in, done_suffix: .done, fields: {day: DATE, items.price: "DECIMAL(18,2)"}}
merge: [{reference: customers.csv, key: customer_id, into: customer}]
denormalize: {explode: [items]}
quarantine: {max_bad_records_percent: 50}
"""
TEST = """
from decimal import Decimal
from pathlib import Path

import pytest

from fanfold import DataError, SpecError

SPEC = Path(__file__).with_name("shop.yaml")
RECORD = {"customer_id": "007", "day": "2026-01-02", "items": [{"sku": "apple", "price": 1.2}, {"sku": "milk"}]}


def test_rows(fanfold_feed):
    feed = fanfold_feed(SPEC)
    feed.reference("customers.csv", [{"customer_id": "007", "name": "Ada, B."}])
    feed.land("sub/a.json", [RECORD])
    feed.land("b.json.gz", [RECORD | {"day": "soon"}, RECORD | {"customer_id": None, "items": []}])
    feed.land("c.csv", [{"customer_id": "x", "day": "2026-01-03"}])
    done = feed.run()
    assert (done.files_in, done.records_in, done.rows_out, done.records_quarantined) == (3, 4, 4, 1)
    rows = sorted(feed.rows(), key=lambda row: (row["day"], row["items_sku"]))
    assert [(row["customer_name"], row["items_price"]) for row in rows] == [
        ("", ""), ("Ada, B.", "1.20"), ("Ada, B.", ""), ("", ""),
    ]
    (bad,) = feed.quarantined()
    assert (bad.file, bad.code, bad.record) == ("b.json.gz", "wrong_type", 1)
    feed.land("d.json", [RECORD, RECORD])
    assert feed.run("20260103T000000Z").rows_out == 4
    assert len(feed.rows(ts="20260103T000000Z")) == 4


def test_parquet_and_two_feeds(fanfold_feed):
    text = "version: 1\\nname: p\\noutput: {format: parquet}\\n"
    one, two = fanfold_feed(text), fanfold_feed(text)
    assert one.data_dir != two.data_dir
    one.land("a.json", [{"id": 1, "price": 12.50, "none": None}])
    one.run()
    assert one.rows() == [{"id": 1, "price": Decimal("12.5"), "none": None}]
    assert two.run().files_in == 0
    with pytest.raises(AssertionError, match="no table"):
        two.rows()


def test_errors(fanfold_feed):
    with pytest.raises(SpecError, match="spec:2: nam: unknown key"):
        fanfold_feed("version: 1\\nnam: p\\n")
    feed = fanfold_feed("version: 1\\nname: p\\n")
    feed.land("a.json", "garbage")
    with pytest.raises(DataError):
        feed.run()
    assert [one.code for one in feed.quarantined()] == ["syntax"]
"""


def test_the_fixture_tests_a_spec(pytester: pytest.Pytester) -> None:
    """A test lands records and references, runs, and sees rows and what is bad, all of it in a temporary folder."""
    pytester.makefile(".yaml", shop=SPEC)
    pytester.makepyfile(TEST)
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist", "-q").assert_outcomes(passed=3)
    assert not [*pytester.path.glob("data"), *pytester.path.glob(".fanfold")]


def test_the_plugin_is_loaded_lazily(pytester: pytest.Pytester) -> None:
    """A project whose tests do not use the fixture pays nothing: neither the spec nor DuckDB is imported."""
    pytester.makepyfile("import sys\ndef test(): assert not {'duckdb', 'fanfold.spec', 'msgspec'} & {*sys.modules}")
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q").assert_outcomes(passed=1)
    assert "fanfold_feed" in pytester.runpytest_subprocess("--fixtures").stdout.str()
