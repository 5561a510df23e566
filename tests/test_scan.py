"""The scan: what is seen of fields in files, however they are divided among threads, and the types that hold it."""

import gzip
import json
import random
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold import types
from fanfold.layout import Place
from fanfold.native import Field, Reader
from fanfold.native.fields import Seen
from fanfold.records import scan as scanning
from fanfold.records.scan import Known, Scan, scan
from fanfold.spec.model import Spec
from fanfold.steps.plan import plan
from tests.conftest import TS, MakeFeed, new_feed
from tests.core import read_with
from tests.test_cli import fanfold

SPEC = Spec.model_validate({"version": 1, "name": "a"})


def scanned(folder: Path, files: Mapping[str, str | bytes], known: Known = Known()) -> Scan:  # noqa: B008
    places = {}
    for name, content in files.items():
        raw = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(raw)
        places[name] = Place(str(folder / name), len(raw))
    return scan(folder, places, SPEC, known)


def seen_of(*values: str) -> Seen:
    """Return what is seen of a field with such JSON texts, each in a record of its own."""
    reader = Reader()
    read_with(reader, ["\n".join(f'{{"a":{value}}}' for value in values).encode()])
    return reader.seen.fields["a"]


TYPES = [
    (["1", "-7"], "BIGINT"),
    (["7.0", "1e3", "9223372036854775807"], "BIGINT"),
    (["9223372036854775808"], "DECIMAL(38,0)"),
    (["1", "1.5"], "DECIMAL(18,1)"),
    (["12345678901234567.5"], "DECIMAL(18,1)"),
    (["123456789012345678", "0.5"], "DECIMAL(38,1)"),
    (["1" * 38], "DECIMAL(38,0)"),
    (["1" * 39], "VARCHAR"),
    (["1" * 20, "0." + "1" * 19], "VARCHAR"),
    (["1e400"], "VARCHAR"),
    (["true", "null"], "BOOLEAN"),
    (["true", "1"], "VARCHAR"),
    (['"x"', "1"], "VARCHAR"),
    (['"1"'], "VARCHAR"),
    (["null"], "VARCHAR"),
    (["[1]"], "JSON"),
    (["{}", "1"], "JSON"),
]


@pytest.mark.parametrize(("values", "kind"), TYPES)
def test_a_field_has_the_narrowest_type_that_holds_all_its_values(values: list[str], kind: str) -> None:
    """The type of a field is the narrowest that holds each value exactly, by value, whatever their order."""
    assert types.of_seen(seen_of(*values)) == types.of_seen(seen_of(*reversed(values))) == kind


TYPED_NULLS = [
    (pa.float64(), [], "DOUBLE"),
    (pa.int64(), ["null"], "BIGINT"),
    (pa.float64(), ["1"], "BIGINT"),
    (pa.string(), ["null", "1.5"], "DECIMAL(18,1)"),
    (pa.int64(), ['"x"'], "VARCHAR"),
    (pa.bool_(), ["7"], "BIGINT"),
    (pa.list_(pa.int64()), ["7"], "BIGINT"),
    (pa.struct({"x": pa.int64()}), ["true"], "BOOLEAN"),
    (pa.map_(pa.string(), pa.int64()), ["7"], "BIGINT"),
    (pa.float64(), ["[1]"], "JSON"),
]


@pytest.mark.parametrize("name", ["a.json", "z.json"])
@pytest.mark.parametrize(("kind", "values", "expected"), TYPED_NULLS)
def test_a_parquet_column_of_nulls_has_no_say_where_there_are_values(
    tmp_path: Path, name: str, kind: Any, values: list[str], expected: str
) -> None:
    """The type of a Parquet column with nothing but nulls counts only where no file has a value in that field."""
    pq.write_table(pa.table({"v": pa.array([None, None, None], kind)}), tmp_path / "m.parquet")
    files: dict[str, str | bytes] = {
        "m.parquet": (tmp_path / "m.parquet").read_bytes(),
        name: "".join(f'{{"v":{one}}}\n' for one in values),
    }
    field = scanned(tmp_path, {key: content for key, content in files.items() if content}).seen.fields["v"]
    assert types.of_seen(field) == expected
    assert (field.records, len(field)) == (3 + len(values), 0)


def test_fields_in_a_parquet_column_of_nulls_are_there_and_have_no_say(tmp_path: Path) -> None:
    """Such a column of objects has its fields beside those of other files, whose values alone say what they hold."""
    kind = pa.struct({"x": pa.float64(), "y": pa.list_(pa.struct({"z": pa.string()})), "w": pa.int64()})
    pq.write_table(pa.table({"v": pa.array([None], kind)}), tmp_path / "m.parquet")
    files: dict[str, str | bytes] = {
        "m.parquet": (tmp_path / "m.parquet").read_bytes(),
        "a.json": '{"v":{"x":1,"y":[{"z":2}]}}',
    }
    seen = scanned(tmp_path, files).seen
    found = {path: types.of_seen(one) for path in seen.paths() if (one := seen.find(path.split("."))) and not len(one)}
    assert found == {"v.x": "BIGINT", "v.y.z": "BIGINT", "v.w": "BIGINT"}


def test_parquet_columns_of_nulls_in_two_files_agree_on_a_type(tmp_path: Path) -> None:
    """Where no file has a value, the types that all files say count together."""
    for name, kind in (("a.parquet", pa.int64()), ("b.parquet", pa.string())):
        pq.write_table(pa.table({"v": pa.array([None], kind)}), tmp_path / name)
    files = {name: (tmp_path / name).read_bytes() for name in ("a.parquet", "b.parquet")}
    assert types.of_seen(scanned(tmp_path, files).seen.fields["v"]) == "VARCHAR"


NUMBERS = st.one_of(
    st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 4)).map(lambda n: str(Decimal(n[0]) / 10 ** n[1])),
    st.sampled_from(["0", "7", "1.50", "10.0", "125e-3", "1.25E-2", "-2.5e1", "123456789.25", "1.23456e1"]),
    st.integers(-(10**40), 10**40).map(str),
)


@settings(max_examples=200)
@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_digits_are_those_of_all_numbers(numbers: list[str]) -> None:
    """The digits of a field before and behind the point are the most that one of its numbers has."""
    values = [Decimal(number) for number in numbers]
    seen = seen_of(*numbers)
    plain = [format(value.copy_abs(), "f").partition(".") for value in values]
    whole = max(len(one.lstrip("0")) or 1 for one, _, _ in plain)
    scale = max(len(fraction.rstrip("0")) for _, _, fraction in plain)
    assert (seen.whole, seen.scale) == (whole, scale)
    if types.of_seen(seen) == "BIGINT":
        assert all(value == int(value) and -(2**63) <= value < 2**63 for value in values)


@pytest.mark.parametrize(
    ("kind", "values", "is_held"),
    [
        ("BIGINT", ["7.0"], True), ("BIGINT", ["7.5"], False), ("DECIMAL(18,2)", ["1", "2.25"], True),
        ("DECIMAL(18,2)", ["0.125"], False), ("DECIMAL(18,2)", ["1" * 17], False), ("VARCHAR", ["1", "true"], True),
        ("VARCHAR", ["[]"], False), ("JSON", ["[]"], True), ("BOOLEAN", ["null"], True), ("BOOLEAN", ["1"], False),
    ],
)  # fmt: skip
def test_a_type_holds_values_or_not(kind: str, values: list[str], is_held: bool) -> None:  # noqa: FBT001
    """A type holds a field exactly when it holds each value of it; what is nothing but null fits each."""
    assert types.holds(kind, seen_of(*values)) == is_held


def files_of(drawn: random.Random, number: int) -> dict[str, str | bytes]:
    """Return files of several formats, good and bad, whose fields differ."""
    files: dict[str, str | bytes] = {}
    for n in range(number):
        records = [
            {f"k{drawn.randrange(9)}": drawn.choice([1, 2.5, "x", None, [{"in": n}], {"o": True}]) for _ in range(4)}
            for _ in range(drawn.randrange(1, 30))
        ]
        lines = "\n".join(drawn.choice([json.dumps(one)] * 9 + ["{bad"]) for one in records)
        kinds: list[tuple[str, str | bytes]] = (
            [
                ("json", json.dumps(records)), ("jsonl", lines), ("json.gz", gzip.compress(lines.encode())),
                ("csv", f"k1,c{n}\n1,2\n3\n"), ("csv", 'a,a\n1,"'), ("json.gz", gzip.compress(lines.encode())[:-6]),
                ("json.gz", b"no gzip"), ("json", ""), ("jsonl", "no JSON"),
            ]
        )  # fmt: skip
        kind, content = drawn.choice(kinds)
        files[f"{n:03}.{kind}"] = content
    return files


@pytest.mark.parametrize("seed", range(6))
def test_threads_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Files that are divided among threads have the same records, faults, and fields in the same order."""
    files = files_of(random.Random(seed), 40)
    alone = scanned(tmp_path, files)
    monkeypatch.setattr(scanning, "PARALLEL_BYTES", 1)
    monkeypatch.setattr(scanning, "LARGE_FILE_BYTES", 0)
    together = scanned(tmp_path, files)
    assert together == alone
    assert list(together.seen.paths()) == list(alone.seen.paths())
    assert [*together.files] == sorted(files)


def test_fields_come_in_the_order_of_names_of_files(tmp_path: Path) -> None:
    """The first file by name decides where a field stands, and is the one that is named for it."""
    found = scanned(tmp_path, {"b.json": '{"x":1,"a":1}', "a.csv": "c,a\n1,2\n", "c.json": '{"x":{"y":1},"z":1}'})
    assert [(name, field.first_file) for name, field in found.seen.fields.items()] == [
        ("c", "a.csv"), ("a", "a.csv"), ("x", "b.json"), ("z", "c.json"),
    ]  # fmt: skip
    assert found.seen.fields["x"].fields["y"].first_file == "c.json"


@pytest.mark.parametrize("bad", ['{"late":1,', "[1]", '{"late":1}\n{"late":', b"\xff"])
def test_bad_records_and_files_leave_no_trace(tmp_path: Path, bad: str | bytes) -> None:
    """What is bad by the grammar is in no field; a file that turns out to be damaged, in none at all."""
    packed = gzip.compress(b'{"late":1}\n' * 100_000)
    damaged = packed[:-8] + b"\0" * 8
    files: dict[str, str | bytes] = {"a.json": '{"id":1}', "b.json": bad, "c.json.gz": damaged}
    found = scanned(tmp_path, files)
    assert found.files["c.json.gz"].is_bad
    good = 1 if bad == '{"late":1}\n{"late":' else 0
    assert ("late" in found.seen.fields) == bool(good)
    assert found.files["b.json"].records - found.files["b.json"].bad == good


def test_what_is_declared_is_judged(tmp_path: Path) -> None:
    """A record that does not hold what is declared is bad in the scan already, and its other fields are not seen."""
    declared = Field(kind="object", inside=(Field("n", type="BIGINT"),))
    found = scanned(tmp_path, {"a.json": '{"n":1,"x":1}\n{"n":"one","y":1}\n'}, Known(declared))
    assert (found.files["a.json"].records, found.files["a.json"].bad) == (2, 1)
    assert list(found.seen.fields) == ["n", "x"]


@pytest.mark.slow
@pytest.mark.parametrize("parallel_bytes", [1, 1 << 22])
def test_records_that_bring_too_many_fields_are_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parallel_bytes: int
) -> None:
    """Over all files of a run the first 10,000 fields are kept; records with others are bad, files are not."""
    monkeypatch.setattr(scanning, "PARALLEL_BYTES", parallel_bytes)
    monkeypatch.setattr(scanning, "LARGE_FILE_BYTES", 0)
    files: dict[str, str | bytes] = {
        f"{n}.json": "\n".join(json.dumps({"id": n, f"k{n * 3000 + i}": 1}) for i in range(3000)) for n in range(4)
    }
    found = scanned(tmp_path, files)
    assert len(found.seen.fields) == 10_000
    assert [(one.records, one.bad) for one in found.files.values()] == [(3000, 0)] * 3 + [(3000, 2001)]
    assert not any(one.is_bad for one in found.files.values())


def test_files_together_have_as_many_fields_as_a_run_may(make_feed: MakeFeed) -> None:
    """A file whose columns are too many beside those before it is bad, CSV as a file, Parquet by its records."""
    names = {letter: [f"{letter}{i}" for i in range(6000)] for letter in "abc"}
    feed = make_feed({"a.csv": f"{','.join(names['a'])}\n{'1,' * 5999}1\n"}, merge=[], denormalize={}, subdirs=1)
    feed.land("b.csv", f"{','.join(names['b'])}\n{'1,' * 5999}1\n".encode())
    pq.write_table(pa.Table.from_pylist([dict.fromkeys(names["c"], 1)]), feed.landing_dir / "c.parquet")
    feed.write_spec(merge=[], denormalize={}, subdirs=1, quarantine={"max_bad_records_percent": 90})
    planned, done = plan(feed.open()), fanfold("run", feed.spec_path, "--ts", TS, "--json")
    told = json.loads(done.stdout)
    assert (planned.records, told["records_in"], told["records_quarantined"]) == (2, 2, 1)
    listed = fanfold("quarantine", "list", feed.spec_path).stdout
    limit = "expected at most 10,000 fields in all files of a run"
    fewer = (
        "declare the fields that you need (input.fields, with input.schema: declared): _rescued then takes the others"
    )
    assert (
        f"'b.csv' line 1: found a header that takes the run above its limit, {limit}: {fewer} (too_many_fields)"
        in listed
    )
    assert f"'c.parquet' record 1: found \"c0\", {limit}: {fewer} (too_many_fields)" in listed
    (table,) = feed.data_dir.glob("denormalized/*/1.csv")
    header = table.read_text().split("\n")[0].split(",")
    assert (header[:6000], len(header)) == (names["a"], 6000)


FIELDS = {
    "id": "BIGINT",
    "customer_id": "VARCHAR",
    "paid": "BOOLEAN",
    "day": "DATE",
    "at": "TIMESTAMP",
    "rate": "DOUBLE",
    "items.qty": "BIGINT",
    "items.price": "DECIMAL(9,2)",
}


def record(chance: random.Random, number: int) -> dict[str, Any]:
    """Make a record of one shape."""
    price = chance.choice([chance.randrange(10**6) / 100, chance.randrange(100), None])
    return {
        "id": number,
        "customer_id": str(chance.randrange(4)),
        "paid": chance.choice([True, False, None]),
        "day": f"2017-01-{chance.randrange(1, 29):02}",
        "at": f"2017-01-02T03:04:{chance.randrange(60):02}",
        "rate": chance.choice([0.5, 1, 1e-3, None, 123456.75, 1e-7]),
        "items": [{"qty": chance.randrange(100), "price": price} for _ in range(chance.randrange(4))],
    }


SURPRISES: dict[str, Any] = {
    "text": lambda one: one | {"id": f"00{one['id']}"},
    "decimal": lambda one: one | {"id": one["id"] + 0.125},
    "missing": lambda one: {key: value for key, value in one.items() if key != "paid"},
    "further": lambda one: one | {"note": "n"},
    "item without quantity": lambda one: one | {"items": [{"qty": 1, "price": 0.5}, {"price": 0.125}]},
    "item with a note": lambda one: one | {"items": [{"note": {"by": 1}, "qty": 1}, {"qty": 1, "price": 0.25}]},
    "order": lambda one: dict(reversed(one.items())),
    "large": lambda one: one | {"id": 12345678901234567890},
    "null": lambda one: one | {"items": None},
    "nested": lambda one: one | {"customer_id": {"id": 1}},
    "large price": lambda one: one | {"items": [{"qty": 1, "price": 12345678.5}]},
    "price as text": lambda one: one | {"items": [{"qty": 1, "price": "1.5"}]},
    "huge rate": lambda one: one | {"rate": 1e300},
    "no day": lambda one: one | {"day": "2017-02-30"},
    "null item": lambda one: one | {"items": [None]},
    "scalar": lambda one: one["id"],
}
# Written by hand, since json.dumps does not write them.
TEXTS = [
    '{"id":-0,"customer_id":"1","paid":null,"day":null,"at":null,"rate":-0.0,"items":[]}',
    '{"id":1,"rate":1e400}',
    '{"id":1,"rate":0.1234567890123456789,"items":[]}',
    '{"id":1,"id":2}',
    '{"id":1,"items":[],}',
    '{"id":NaN}',
    '{"id":1,"customer_id":"\\ud800"}',
    '{"id":1,"items":[{"qty":1,"price":1.50}]}',
]


@pytest.mark.parametrize("declared", [False, True], ids=["inferred", "declared"])
@pytest.mark.parametrize("seed", range(12))
def test_whatever_files_hold_each_scalar_is_where_the_auditor_looks_for_it(
    tmp_path: Path, seed: int, *, declared: bool
) -> None:
    """Records of one shape with surprises among them: the auditor finds each scalar in a table or in quarantine."""
    chance, files = random.Random(seed), {}
    for n in range(3):
        records = [json.dumps(record(chance, i), separators=(",", ":")) for i in range(chance.randrange(1, 30))]
        for kind in chance.sample(sorted(SURPRISES), 3):
            records.insert(chance.randrange(len(records) + 1), json.dumps(SURPRISES[kind](record(chance, 7))))
        records.insert(chance.randrange(len(records) + 1), chance.choice(TEXTS))
        if chance.random() < 0.5:
            files[f"{n}.json"] = "[" + chance.choice([",", ",\n", " , "]).join(records) + "]"
        else:
            files[f"{n}.json"] = chance.choice(["\n", "\r\n", "\n\n", "\n \t\n", " "]).join(records)
    keys: dict[str, Any] = {"subdirs": 1, "quarantine": {"max_bad_records_percent": 100}}
    if declared:
        keys["input"] = {"schema": "declared", "fields": FIELDS}
    feed = new_feed(tmp_path, files, **keys)
    # It is audited there.
    feed.run()
    assert feed.audit().scalars > 0
