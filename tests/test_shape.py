"""What is proved in one fast reading is what the scan finds, and makes the same tables: the proof saves time only."""

import copy
import json
import random
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fanfold.engine import decoder, scan, shape
from fanfold.engine.fields import Field, union
from fanfold.engine.shape import Proved, confirm, prove
from fanfold.layout import Place
from fanfold.records import batches
from fanfold.spec import Spec
from tests.conftest import TS, FeedDir, new_feed

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


def item(chance: random.Random) -> dict[str, Any]:
    """Make an item whose numbers are of the declared types."""
    price = chance.choice([chance.randrange(10**6) / 100, chance.randrange(100), None])
    return {"qty": chance.randrange(100), "price": price}


def record(chance: random.Random, number: int) -> dict[str, Any]:
    """Make a record of one shape."""
    return {
        "id": number,
        "customer_id": str(chance.randrange(4)),
        "paid": chance.choice([True, False, None]),
        "day": f"2017-01-{chance.randrange(1, 29):02}",
        "at": f"2017-01-02T03:04:{chance.randrange(60):02}",
        "rate": chance.choice([0.5, 1, 1e-3, None, 123456.75, 1e-7]),
        "items": [item(chance) for _ in range(chance.randrange(4))],
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
    "long text": lambda one: one | {"customer_id": "12345678901234567890"},
    "null": lambda one: one | {"items": None},
    "nested": lambda one: one | {"customer_id": {"id": 1}},
    "wide price": lambda one: one | {"items": [{"qty": 1, "price": 1.005}]},
    "large price": lambda one: one | {"items": [{"qty": 1, "price": 12345678.5}]},
    "whole price": lambda one: one | {"items": [{"qty": 1, "price": 10**9}]},
    "price as text": lambda one: one | {"items": [{"qty": 1, "price": "1.5"}]},
    "huge rate": lambda one: one | {"rate": 1e300},
    "no day": lambda one: one | {"day": "2017-02-30"},
    "day with time": lambda one: one | {"day": "2017-02-03 "},
    "null item": lambda one: one | {"items": [None]},
    "scalar": lambda one: one["id"],
}
# Written by hand, since json.dumps does not write them.
TEXTS = [
    '{"id":-0,"customer_id":"1","paid":null,"day":null,"at":null,"rate":-0.0,"items":[]}',
    '{"id":1,"customer_id":"1","paid":null,"day":null,"at":null,"rate":1e400,"items":[]}',
    '{"id":1,"customer_id":"1","paid":null,"day":null,"at":null,"rate":0.1234567890123456789,"items":[]}',
    '{"id":1,"id":2,"customer_id":"1","paid":null,"day":null,"at":null,"rate":1,"items":[]}',
    '{"id":1,"customer_id":"1","paid":null,"day":null,"at":null,"rate":1,"items":[],}',
    '{"id":NaN,"customer_id":"1","paid":null,"day":null,"at":null,"rate":1,"items":[]}',
    '{"id":1,"customer_id":"\\ud800","paid":null,"day":null,"at":null,"rate":1,"items":[]}',
    '{"id":1,"customer_id":"1","paid":null,"day":null,"at":null,"rate":1,"items":[{"qty":1,"price":1.50}]}',
]


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, bool]:
    """Make the text of a file, and say whether it is an array."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    records = [json.dumps(record(chance, n), separators=(",", ":")) for n in range(draw(st.integers(1, 30)))]
    for kind in draw(st.lists(st.sampled_from(sorted(SURPRISES)), max_size=2)):
        one = SURPRISES[kind](record(chance, 7))
        records.insert(draw(st.integers(0, len(records))), json.dumps(one, separators=(",", ":")))
    for text in draw(st.lists(st.sampled_from(TEXTS), max_size=1)):
        records.insert(draw(st.integers(0, len(records))), text)
    if draw(st.booleans()):
        return "[" + draw(st.sampled_from([",", ",\n", " , "])).join(records) + "]", True
    between = draw(st.sampled_from(["\n", "\r\n", "\n\n", "\n \t\n", " ", "\r"]))
    return between.join(records) + draw(st.sampled_from(["", "\n", "\n\n", "\r\n"])), False


def tables(feed: FeedDir) -> dict[str, bytes]:
    """Do a run; return all that it published, the manifest included."""
    feed.run()
    kept = [*feed.data_dir.glob(f"denormalized/{TS}/*"), *feed.data_dir.glob(f"quarantine/{TS}/*/records.jsonl")]
    return {str(path.relative_to(feed.data_dir)): path.read_bytes() for path in kept}


@pytest.mark.parametrize("declared", [False, True], ids=["inferred", "declared"])
@settings(max_examples=30)
@given(texts=st.lists(documents(), min_size=1, max_size=3))
def test_with_and_without_a_proof_the_tables_are_the_same(declared: bool, texts: list[tuple[str, bool]]) -> None:  # noqa: FBT001
    """Whatever the files hold, the tables and the bad records are those of the scan that reads everything."""
    keys: dict[str, Any] = {"subdirs": 1, "quarantine": {"max_bad_records_percent": 100}}
    if declared:
        keys["input"] = {"schema": "declared", "fields": FIELDS}
    made = []
    at_once, in_windows, not_at_all = (64 * 1024, batches.WINDOW_BYTES), (0, batches.WINDOW_BYTES), (0, 1 << 60)
    for small_bytes, window_bytes in (at_once, in_windows, not_at_all):
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
            patched.setattr(shape, "SMALL_BYTES", small_bytes)
            patched.setattr(scan, "WINDOW_BYTES", window_bytes)
            feed = new_feed(Path(folder), {f"{n}.json": text for n, (text, _) in enumerate(texts)}, **keys)
            try:
                made.append(tables(feed))
            except Exception as error:  # noqa: BLE001 - any is to be the same
                made.append({"error": str(error).replace(folder, "").encode()})
    assert made[0] == made[1] == made[2]


def proved(folder: Path, text: str, processes: int = 1) -> dict[str, Proved]:
    """Prove three files of one text."""
    files = {}
    for n in range(3):
        path = folder / f"{n}.json"
        files[path.name] = Place(str(path), path.write_text(text, encoding="utf-8"))
    return prove(files, inferred=True, processes=processes)


@pytest.mark.parametrize("is_array", [True, False])
def test_where_a_file_is_cut_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_array: bool
) -> None:
    """However little is read at a time, and where records lie in records like them, all are counted and measured."""
    records = [{"id": n, "inner": [{"id": n, "price": n / 8}, {"id": n, "price": None}]} for n in range(200)]
    lines = [json.dumps(one) for one in records]
    text = f" [ {' , '.join(lines)} ]\n" if is_array else "\n".join(lines)
    whole = proved(tmp_path, text)
    assert [one.records for one in whole.values()] == [200] * 3
    price = whole["0.json"].fields.find(["inner", "price"])
    assert price is not None
    assert (price.kinds, price.whole, price.fraction) == ({"DECIMAL"}, 2, 3)
    monkeypatch.setattr(shape, "SMALL_BYTES", 0)
    for read_bytes in (150, 163, 500, 1021):
        monkeypatch.setattr(batches, "READ_BYTES", read_bytes)
        cut = proved(tmp_path, text)
        assert {name: one[:2] for name, one in cut.items()} == {name: one[:2] for name, one in whole.items()}


NUMBERS = st.one_of(
    st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 4)).map(lambda n: str(Decimal(n[0]) / 10 ** n[1])),
    st.sampled_from(["0", "7", "1.50", "10.0", "125e-3", "1.25E-2", "-2.5e1", "123456789.25", "null"]),
    st.sampled_from(["1.23456e1", "1.234567E1", "1.2345 ", "1.23456\t"]),
)


@pytest.fixture
def little_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at some hundred bytes at a time, not at a hundred thousand."""
    for module in (decoder, shape):
        monkeypatch.setattr(module, "CHECKED_BYTES", 100)
        monkeypatch.setattr(module, "SMALL_BYTES", 0)
    monkeypatch.setattr(batches, "READ_BYTES", 150)


@pytest.mark.usefixtures("little_at_once")
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(NUMBERS, NUMBERS, st.sampled_from(["e", "7e-5,", "1.23456,", "-0]", "12:00:00.1234567Z"])), min_size=1
    )
)
@example([("0.5", "0.5", "")] * 20 + [("125e-3", "1.25E-2", "")])
@example([("12.5", "12.5", "")] * 20 + [("1.23456e1", "1.23456E1", "")])
@example([("12.5", "12.5", "")] * 20 + [("1.2345 ", "0.5", "")])
def test_digits_are_those_of_all_numbers_wherever_they_grow(columns: list[tuple[str, str, str]]) -> None:
    """However numbers grow from one look to the next, each field has the digits of its own, whatever texts hold."""
    lines = [f'{{"a":{a},"in":[{{"b":{b}}}],"note":"{note}"}}' for a, b, note in columns]
    # The first record makes both of them decimals.
    lines.insert(0, '{"a":0.5,"in":[{"b":0.5}],"note":""}')
    with tempfile.TemporaryDirectory() as folder:
        found = proved(Path(folder), "\n".join(lines))
    assert [one.records for one in found.values()] == [len(lines)] * 3
    for n, way in enumerate((["a"], ["in", "b"])):
        numbers = [Decimal(one[n]) for one in columns if one[n] != "null"] + [Decimal("0.5")]
        plain = [format(abs(number.normalize()), "f").partition(".") for number in numbers]
        field = found["2.json"].fields.find(way)
        assert field is not None
        digits = max(len(whole) for whole, _, _ in plain), max(len(fraction) for _, _, fraction in plain)
        assert (field.whole, field.fraction) == digits


@pytest.mark.usefixtures("little_at_once")
@pytest.mark.parametrize(
    "late",
    [
        '"id":-0,"rate":0.5', '"id":1,"rate":-0', '"id":9223372036854775808,"rate":0.5',
        '"id":1,"rate":0.12345678901234567', '"id":1,"rate":12345678901234.567',
        '"id":1,"rate":1234567890123456789e-3', '"id":1,"rate":1e-400', '"id":1,"rate":987654321.12345671',
    ],
)  # fmt: skip
@pytest.mark.parametrize("rates", [[0.25], [123456789.5, 0.12345678]], ids=["few digits", "many digits"])
def test_a_number_that_is_not_held_is_seen_after_many_that_are(tmp_path: Path, late: str, rates: list[float]) -> None:
    """Neither in the last record nor in the middle of many does such a number slip through; a 64-bit one may."""
    held = [f'{{"id":{2**63 - 1 - n},"rate":{rates[n % len(rates)]}}}' for n in range(100)]
    assert len(proved(tmp_path, "\n".join(held))) == 3
    assert proved(tmp_path, "\n".join([*held, f"{{{late}}}"])) == {}
    assert proved(tmp_path, "\n".join([*held, f"{{{late}}}", *held])) == {}


@pytest.mark.usefixtures("little_at_once")
def test_what_is_learned_of_a_file_that_is_not_proved_is_forgotten(tmp_path: Path) -> None:
    """Large numbers of a file that turns out to be none of JSON do not stand for those of the next."""
    texts = {
        "1.json": '{"rate":0.5}',
        "2.json": "\n".join(['{"rate":12345.5}'] * 100 + ['{"rate":']),
        "3.json": "\n".join(['{"rate":123.5}'] * 100),
    }
    files = {}
    for name, text in texts.items():
        files[name] = Place(str(tmp_path / name), (tmp_path / name).write_text(text, encoding="utf-8"))
    found = prove(files, inferred=True, processes=1)
    assert {name: one.fields.fields["rate"].whole for name, one in found.items()} == {"1.json": 3, "3.json": 3}


@pytest.mark.usefixtures("little_at_once")
def test_where_digits_need_not_be_counted_a_tiny_number_is_proved(tmp_path: Path) -> None:
    """A number that is not written plainly leaves its file proved, with digits that nothing holds, or with none."""
    path = tmp_path / "a.json"
    lines = ['{"price":0.5,"rate":0.5}'] * 50 + ['{"price":0.5,"rate":1e-7}'] + ['{"price":0.25,"rate":0.5}'] * 50
    files = {"a.json": Place(str(path), path.write_text("\n".join(lines), encoding="utf-8"))}
    assert prove(files, inferred=True, processes=1) == {}
    found = prove(files, inferred=False, processes=1)["a.json"]
    assert found.records == 101
    assert found.fields.fields["price"].whole > 38
    path.write_text('{"rates":[0.5,1e-7]}', encoding="utf-8")
    assert prove(files, inferred=False, processes=1) == {}


def test_records_that_share_a_line_take_the_fast_path(tmp_path: Path) -> None:
    """Two records in a line are read as what is declared, like those that have a line each."""
    texts = {"a.json": '{"id":1,"rate":0.5} {"id":2,"rate":1e-7}\n\n', "b.json": '{"id":3,"rate":0.5}\n'}
    keys: dict[str, Any] = {
        "input": {"schema": "declared", "fields": {"id": "BIGINT", "rate": "DOUBLE"}},
        "merge": [],
        "denormalize": {},
    }
    feed = new_feed(tmp_path, texts, subdirs=1, **keys)
    feed.run()
    assert feed.read(1) == "id,rate,_rescued\n1,0.5,\n2,1e-07,\n3,0.5,\n"
    made = json.loads((feed.data_dir / f"denormalized/{TS}/_manifest.json").read_bytes())
    assert [file["careful"] for file in made["files"]] == [False, False]


LACKING = {
    "a key": '{"id":1,"price":0.5}\n{"id":2}\n{"price":0.25,"id":3}\n',
    "all keys": '{"id":1,"price":0.5}\n{}\n{"price":0.25,"id":3}\n',
    "a key of an object": '{"id":1,"o":{"x":1}}\n{"id":2,"o":{}}\n{"id":3,"o":null}\n',
    "a key of an item": '{"id":1,"items":[{"x":1},{"x":1,"y":2}]}\n{"id":2,"items":[]}\n{"id":3,"items":[{"y":1}]}\n',
}


@pytest.mark.parametrize("text", LACKING.values(), ids=LACKING)
def test_records_that_lack_fields_are_proved_where_the_schema_is_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Records may lack what others of their file have, seen early or late; each file has the fields of its own."""
    monkeypatch.setattr(shape, "SMALL_BYTES", 0)
    monkeypatch.setattr(batches, "READ_BYTES", 150)
    whole = text.splitlines()[0] + "\n"
    texts = {"early.json": text, "late.json": whole * 100 + text, "note.json": whole + '{"id":2,"note":"n"}\n'}
    texts |= {"whole.json": whole, "odd.json": text + '{"id":"x"}\n{"id":true}\n{"id":[1]}\n'}
    files = {}
    for name, content in texts.items():
        files[name] = Place(str(tmp_path / name), (tmp_path / name).write_text(content, encoding="utf-8"))
    found = prove(files, inferred=False, processes=1)
    assert {name: one.records for name, one in found.items()} == {
        "early.json": 3, "late.json": 103, "note.json": 2, "whole.json": 1,
    }  # fmt: skip
    paths = sorted(found["early.json"].fields.paths())
    assert sorted(found["late.json"].fields.paths()) == paths
    assert "note" in found["note.json"].fields.fields
    assert "note" not in found["whole.json"].fields.fields
    assert set(prove(files, inferred=True, processes=1)) <= {"whole.json"}


def test_a_known_file_is_confirmed_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that have some of the fields are confirmed, with their digits; not those with a field or a kind more."""
    monkeypatch.setattr(shape, "SMALL_BYTES", 0)
    fields = Field("a.json")
    fields.absorb({"id": "UBIGINT", "price": "DOUBLE", "inner": {"note": "VARCHAR", "rate": "DOUBLE"}})
    texts = {
        "a.json": '[{"id":1},{"price":10.25},{"inner":{"rate":0.125}},{"inner":null,"price":1}]',
        "more.json": '[{"id":1},{"other":1}]',
        "kind.json": '[{"id":1},{"price":"1"}]',
        "digits.json": '[{"id":1},{"price":0.12345678901234567}]',
        "scalar.json": '[{"id":1},null]',
    }
    files = {}
    for name, text in texts.items():
        files[name] = Place(str(tmp_path / name), (tmp_path / name).write_text(text, encoding="utf-8"))
    found = confirm(files, {name: copy.deepcopy(fields) for name in files}, processes=1)
    assert {name: one.records for name, one in found.items()} == {"a.json": 4}
    digits = [found["a.json"].fields.find(way) for way in (["price"], ["inner", "rate"], ["id"])]
    assert [(field.whole, field.fraction) for field in digits if field] == [(2, 2), (1, 3), (1, 0)]


def test_small_files_that_lack_fields_are_scanned_be_there_ever_so_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is confirmed of small files, however much they are together; the scan measures them."""
    monkeypatch.setattr(shape, "PARALLEL_BYTES", 0)
    files = {}
    for n in range(3):
        path = tmp_path / f"{n}.json"
        files[path.name] = Place(str(path), path.write_text('[{"id":1},{"price":10.25}]', encoding="utf-8"))
    assert confirm(files, {name: Field(name) for name in files}, processes=2) == {}
    found = scan.scan(tmp_path, files, Spec(version=1, name="small"), threads=2)
    prices = [one.fields.fields["price"] for one in found.values()]
    assert [(price.whole, price.fraction) for price in prices] == [(2, 2)] * 3


def test_several_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are divided among processes have the same records, fields and digits as in one process."""
    text = json.dumps([{"id": n, "price": n / 4} for n in range(100)])
    alone = proved(tmp_path, text)
    monkeypatch.setattr(shape, "PARALLEL_BYTES", 0)
    together = proved(tmp_path, text, processes=2)
    assert [(name, one.records) for name, one in sorted(together.items())] == [(f"{n}.json", 100) for n in range(3)]
    assert union([together[name].fields for name in sorted(together)]) == union([alone["0.json"].fields])


def test_a_record_that_may_have_too_many_values_is_not_proved(tmp_path: Path) -> None:
    """A record as long as it takes to have too many values is left to the scan, which counts them."""
    notes = ["n", "n" * batches.WINDOW_BYTES, *["n" * 10_000] * 80]
    text = json.dumps([{"id": 1, "note": note} for note in notes])
    assert proved(tmp_path, text) == {}


def test_one_of_many_small_files_that_needs_another_look_takes_none_with_it(tmp_path: Path) -> None:
    """Many are looked at together; the one with a number that a double does not hold is not proved, all others are."""
    prices = [0.5] * 20
    files = {}
    for n, price in enumerate(prices):
        text = json.dumps([{"id": n, "price": price}])
        path = tmp_path / f"{n:02}.json"
        written = path.write_text(text.replace("0.5", "0.12345678901234567") if n == 7 else text)
        files[path.name] = Place(str(path), written)
    found = prove(files, inferred=True, processes=1)
    assert set(found) == set(files) - {"07.json"}
    assert {(one.records, one.fields.fields["price"].fraction) for one in found.values()} == {(1, 1)}
