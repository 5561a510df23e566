"""References: what is found in their files, what is refused, and the rows that records get from them."""

import gzip
import json
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from fanfold.errors import DataError, FanfoldError, MissingError
from fanfold.native import Beside, Field, Joined, Others, Reader, Rows
from fanfold.records.header import fields_of_csv
from fanfold.records.references import Reference, check_header, opened
from fanfold.spec.merge import Merge
from fanfold.spec.model import Input
from tests.conftest import TS, MakeFeed
from tests.core import read_with

RECORD = Field(kind="object", inside=(Field("id", key=1),))


def merge(name: str = "customers.csv", **settings: Any) -> Merge:
    return Merge.model_validate({"reference": name, "key": "id", "into": "customer", **settings})


def reference(folder: Path, content: bytes | str, wanted: Merge) -> Reference:
    """Write a reference, and read it."""
    path = folder / wanted.reference
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Reference(path, wanted, 1 << 20)


def rows(found: Reference, folder: Path, *keys: object) -> str:
    """Return the key of some records, and the columns that they get from a reference, as CSV."""
    found.freeze(folder / "frozen")
    joins = [Joined(opened(folder / "frozen"))]
    content = "\n".join(json.dumps({"id": key}) for key in keys).encode()
    merged = read_with(Reader(RECORD, Others.REFUSE, joins=joins), [content]).merged
    columns = [(Rows.SLOT, 0, 0), *((Rows.JOIN, 0, slot) for slot in found.slots)]
    again = [Joined(opened(folder / "frozen", find=False))]
    return b"".join(Rows(RECORD, columns, beside=Beside(again)).write([merged])).decode()


def paths(found: Reference) -> list[tuple[str, str]]:
    return [(".".join(column.path), column.type) for column in found.columns]


# What is in it.


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfid,name\n1,Ann\n2,Bob\n",
        b"id,name\r\n1,Ann\r\n\r\n2,Bob",
        b'"id","name"\n"1","Ann"\n"2","Bob"\n',
        b"name,id\nAnn,1\nBob,2\n",
    ],
)
def test_a_csv_may_have_any_form(content: bytes, tmp_path: Path) -> None:
    """A mark, CRLF, quotes, another order of columns, or no newline at the end make no difference."""
    found = reference(tmp_path, content, merge())
    assert paths(found) == [("name", "VARCHAR")]
    assert rows(found, tmp_path, 1, "2", 3) == "1,Ann\n2,Bob\n3,\n"


def test_values_of_a_csv_stay_as_they_are_written(tmp_path: Path) -> None:
    """Every value of a CSV is text; a field of nothing is null, and `""` an empty text."""
    found = reference(tmp_path, 'id,a,b,c,d,e\n1,007,,"",1.50,"x\ny"\n', merge())
    assert {kind for _, kind in paths(found)} == {"VARCHAR"}
    assert rows(found, tmp_path, 1) == '1,007,,"",1.50,"x\ny"\n'


def test_values_of_json_have_the_narrowest_type(tmp_path: Path) -> None:
    """Numbers of JSON have exact types, and stand in CSV as they are written; objects are flat, arrays are JSON."""
    lines = [
        '{"n":1E3,"id":"a","d":12.50,"b":true,"o":{"x":1,"p":{"y":"é"}},"t":[1, {"k":2}],"m":1,"z":null,"e":{}}',
        '{"id":"b","n":-0,"d":7,"m":"x","o":{"x":2.0}}',
    ]
    found = reference(tmp_path, "\n".join(lines), merge("c.json"))
    assert paths(found) == [
        ("n", "BIGINT"), ("d", "DECIMAL(18,1)"), ("b", "BOOLEAN"), ("o.x", "BIGINT"), ("o.p.y", "VARCHAR"),
        ("t", "VARCHAR"), ("m", "VARCHAR"), ("z", "VARCHAR"), ("e", "VARCHAR"),
    ]  # fmt: skip
    assert [column.name for column in found.columns][3:5] == ["o_x", "o_p_y"]
    assert rows(found, tmp_path, "b", "a") == ('b,-0,7,,2.0,,,x,,\na,1E3,12.50,true,1,é,"[1,{""k"":2}]",1,,{}\n')


def test_columns_are_taken_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    """`columns` names what is taken, in which order; it may name the key, and objects with all that is in them."""
    content = '{"a":1,"id":7,"o":{"x":1,"y":2},"b":3}'
    found = reference(tmp_path, content, merge("c.json", columns=["o", "id", "a"]))
    assert paths(found) == [("o.x", "BIGINT"), ("o.y", "BIGINT"), ("id", "BIGINT"), ("a", "BIGINT")]
    assert rows(found, tmp_path, 7, 8) == "7,1,2,7,1\n8,,,,\n"
    assert [field.name for field in found.node.inside] == ["id", "o", "a"]


def test_keys_compare_as_they_are_written(tmp_path: Path) -> None:
    """A key is its text: 7 and "7" are one, 7.0 and 07 are others; a row without a key is found by nobody."""
    content = '[{"id":7,"n":1},{"id":7.0,"n":2},{"id":"07","n":3},{"id":null,"n":4},{"n":5},{"id":true,"n":6}]'
    found = reference(tmp_path, content, merge("c.json"))
    assert rows(found, tmp_path, "7", 7, "7.0", "07", None, "true") == "7,1\n7,1\n7.0,2\n07,3\n,\ntrue,6\n"
    assert found.freeze(tmp_path / "frozen") == 6


def test_compressed_references_are_read(tmp_path: Path) -> None:
    """A reference may be compressed; one that is cut short is refused."""
    content = gzip.compress(b"id,name\n1,Ann\n")
    assert rows(reference(tmp_path, content, merge("c.csv.gz")), tmp_path, 1) == "1,Ann\n"
    with pytest.raises(
        DataError, match=r"c\.csv\.gz:3: found the end, expected more compressed data \(truncated\), expected every"
    ):
        reference(tmp_path, content[:-9], merge("c.csv.gz"))


def test_the_header_of_a_csv_is_read_whole_wherever_its_bytes_are_cut(tmp_path: Path) -> None:
    """A header that is compressed in two parts, or is larger than a window, has all of its names."""
    head, names = b'\xef\xbb\xbf\r\n"a ""x""\nb",customer,note\r\n', ['a "x"\nb', "customer", "note"]
    for cut in range(len(head) + 2):
        content = head + b"1,2,3\n"
        (tmp_path / "c.csv.gz").write_bytes(gzip.compress(content[:cut]) + gzip.compress(content[cut:]))
        assert fields_of_csv(str(tmp_path / "c.csv.gz"), Input()) == names, cut
    many = [f"{n}_{'x' * 900}" for n in range(2000)]
    (tmp_path / "c.csv").write_text(",".join(many) + "\n1\n", "utf-8")
    assert fields_of_csv(str(tmp_path / "c.csv"), Input()) == many


def test_values_of_parquet_have_the_types_of_their_columns(tmp_path: Path) -> None:
    """A reference may be Parquet: its values are exact, and what is wrong is told by the number of the row."""
    path = tmp_path / "c.parquet"
    table = {
        "id": [7, 8],
        "x": [1.5, None],
        "d": [Decimal("1.50"), None],
        "t": ["é", ""],
        "none": pa.nulls(2, pa.int64()),
    }
    pq.write_table(pa.table(table), path)
    found = Reference(path, merge("c.parquet"), 1 << 20)
    assert paths(found) == [("x", "DOUBLE"), ("d", "DECIMAL(18,1)"), ("t", "VARCHAR"), ("none", "BIGINT")]
    assert rows(found, tmp_path, 7, 8, 9) == '7,1.5,1.50,é,\n8,,,"",\n9,,,,\n'
    pq.write_table(pa.table({"id": [7, 8, 7]}), path)
    with pytest.raises(DataError, match=r"c\.parquet: id '7' in records 1, 3, expected every key once"):
        Reference(path, merge("c.parquet"), 1 << 20).keys()


@pytest.mark.parametrize(("name", "content"), [("c.json", "[]"), ("c.csv", "id,name\n")])
def test_a_reference_may_have_no_rows(name: str, content: str, tmp_path: Path) -> None:
    """No record has a match then."""
    found = reference(tmp_path, content, merge(name))
    assert len(found.keys()) == found.freeze(tmp_path / "frozen") == 0
    assert rows(found, tmp_path, 1).startswith("1")


# What is refused.


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("c.csv", "", DataError, "c.csv:1: found nothing, expected a header line"),
        ("c.csv", "id,n,n\n", DataError, "found 'n', expected another name for column 3: column 2 has the same"),
        (
            "c.csv",
            "id,,\n",
            DataError,
            "found nothing, expected a name for column 3: column 2 has none, and only one may lack it",
        ),
        ("c.csv", b"id,n\xe9\n", DataError, "expected UTF-8"),
        ("c.csv", "ident,name\n", MissingError, "c.csv:1: column 'id' is not there, did you mean 'ident'?"),
        ("c.json", '{"name":1}', MissingError, "c.json:1: column 'id' is not there, expected one of 'name'"),
        (
            "c.csv",
            "id,name\n1,Ann\n2,Bob,x\n",
            DataError,
            "c.csv:3: found 3 fields, expected 2 fields, as in the header",
        ),
        ("c.csv", "id,name\n1\n", DataError, "(ragged_line), expected every record to be good"),
        ("c.csv", b"id,name\n1,\xe9\n", DataError, "as in merge.encoding: latin-1 (bad_utf8), expected every record"),
        ("c.csv", 'id,name\n1,"A"x\n', DataError, "(bad_quote), expected every record to be good"),
        ("c.json", '[{"id":1},\n{"id":NaN}]', DataError, "c.json:2: found 'NaN', expected"),
        ("c.json", "", DataError, "(empty_file), expected every record to be good"),
        ("c.json", '{"id":[1]}\n{"id":null}', DataError, "c.json: key 'id' is an array, expected text or a number"),
        ("c.csv", "id,name,Name\n", DataError, "c.csv: 'name' and 'Name' have the same name, expected different names"),
        ("c.json", '{"id":1,"o":{"x":1}}\n{"id":2,"o":{"X":1}}', DataError, "'o.x' and 'o.X' have the same name"),
        ("c.json", '{"id":1,"x":"' + "y" * (1 << 20) + '"}', DataError, "(record_too_large), expected every record"),
    ],
)
def test_what_is_not_a_proper_table_is_refused(
    name: str, content: bytes | str, error: type[FanfoldError], message: str, tmp_path: Path
) -> None:
    """A reference that is no proper table is one error of one line, which names the place."""
    with pytest.raises(error) as caught:
        reference(tmp_path, content, merge(name))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_that_is_once_an_object_is_refused(tmp_path: Path) -> None:
    """Where some keys are texts and one is an object, that one is named when the reference is frozen."""
    found = reference(tmp_path, '{"id":1}\n{"id":{"a":1}}\n', merge("c.json"))
    for act in (found.keys, lambda: found.freeze(tmp_path / "frozen")):
        with pytest.raises(
            DataError,
            match=r"c\.json:2: found an object in 'id', expected a single value: a text, a number, true or false",
        ):
            act()


def test_columns_that_are_asked_for_have_to_be_there(tmp_path: Path) -> None:
    """One of `columns` that the file lacks is an error, with the nearest name."""
    with pytest.raises(MissingError, match="column 'town' is not there, did you mean 'towns'"):
        reference(tmp_path, "id,towns\n", merge(columns=["town"]))


def test_a_header_is_checked_at_once(tmp_path: Path) -> None:
    """Before the first file it is known whether a CSV has its columns; other formats are not opened."""
    path = tmp_path / "customers.csv"
    path.write_bytes(b"ident,name\n1,\xff\n")
    check_header(path, merge(key={"record": "id", "reference": "ident"}))
    with pytest.raises(MissingError, match=r"customers\.csv:1: column 'id' is not there"):
        check_header(path, merge())
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"customers\.csv:1: found nothing, expected a header line"):
        check_header(path, merge())
    check_header(tmp_path / "missing.json", merge("missing.json"))


# Keys that are there twice.


def test_duplicate_keys_are_named_with_their_lines(tmp_path: Path) -> None:
    """A key twice is an error with all its lines, also behind newlines in quotes; three keys are shown."""
    found = reference(tmp_path, 'id,name\n1,"A\nn\nn"\n2,Bob\n1,Anne\n3,x\n2,Rob\n1,Ann\n', merge())
    with pytest.raises(DataError) as caught:
        found.freeze(tmp_path / "frozen")
    assert str(caught.value) == "customers.csv: id '1' in lines 2, 6, 9; '2' in lines 5, 8, expected every key once"
    many = reference(tmp_path, "id\n" + "".join(f"{n % 5}\n" for n in range(100)), merge())
    with pytest.raises(DataError) as caught:
        many.keys()
    lines = "; ".join(
        f"'{key}' in lines {', '.join(str(2 + key + 5 * n) for n in range(10))}, and more" for key in range(3)
    )
    assert str(caught.value) == f"customers.csv: id {lines}; and more keys, expected every key once"


def test_the_first_of_duplicate_keys_counts(tmp_path: Path) -> None:
    """Under `on_duplicate: first` the first line of a key is joined; the others are not counted."""
    content = "id,name\n" + "".join(f"{n % 3000},{n}\n" for n in range(9000)) + ",Nobody\n,Nobody\n"
    found = reference(tmp_path, content, merge(on_duplicate="first"))
    keys = found.keys()
    assert len(keys) - keys.repeated == found.freeze(tmp_path / "frozen") == 3002
    assert rows(found, tmp_path, *range(0, 3000, 500)) == "".join(f"{n},{n}\n" for n in range(0, 3000, 500))


# Files.


def test_a_check_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check writes nothing that stays, be the reference good or not."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    assert len(reference(tmp_path, "id,name\n1,Ann\n2,Bob\n", merge()).keys()) == 2
    with pytest.raises(DataError, match="expected every key once"):
        reference(tmp_path, "id,name\n1,Ann\n1,Bob\n", merge()).keys()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["customers.csv", "tmp"]


def test_a_reference_is_frozen_alike_each_time(tmp_path: Path) -> None:
    """What is there already is replaced, by the same bytes."""
    found = reference(tmp_path, "id,name\n1,Ann\n2,Bob\n", merge())
    found.freeze(tmp_path / "one")
    (tmp_path / "two").write_bytes(b"x" * 1000)
    found.freeze(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_reference_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    """What is not there may come: the error is not one of the data."""
    with pytest.raises(FileNotFoundError):
        Reference(tmp_path / "customers.csv", merge(), 1 << 20)


def test_a_parquet_reference_may_have_no_rows(make_feed: MakeFeed) -> None:
    feed = make_feed(subdirs=1, denormalize={}, merge=[{"reference": "r.parquet", "key": "k", "into": "r"}])
    pq.write_table(
        pa.table({"k": pa.array([], pa.string()), "v": pa.array([], pa.int64())}), feed.data_dir / "r.parquet"
    )
    feed.land("a.json", '{"k": "a"}\n')
    feed.run()
    assert feed.read(1) == "k,r_v\na,\n"


def test_an_open_reference_is_shared_while_it_is_used(make_feed: MakeFeed) -> None:
    """Groups at work at the same time share one index; one that is written anew is opened anew."""
    feed = make_feed({"a.json": '{"customer_id": "1"}\n'}, subdirs=1, denormalize={})
    feed.stage()
    place = feed.at().reference_path(0)
    table = opened(place)
    assert opened(place) is table
    assert opened(place, find=False) is not table
    content = place.read_bytes()
    place.unlink()
    place.write_bytes(content)
    assert opened(place) is not table


def test_a_record_without_a_match_says_what_it_has(make_feed: MakeFeed) -> None:
    """A bad record names its key, or that it has none, the reference, and the key of the spec that made it bad."""
    merge = [{"reference": "customers.csv", "key": "customer_id", "into": "c", "on_missing": "quarantine"}]
    keys: dict[str, Any] = {"merge": merge, "denormalize": {}, "quarantine": {"max_bad_records_percent": 100}}
    feed = make_feed({"a.json": [{"customer_id": "9"}, {"x": 1}, {"customer_id": ""}]}, subdirs=1, **keys)
    feed.run()
    lines = (feed.data_dir / f"quarantine/{TS}/1/records.jsonl").read_text().splitlines()
    expected = "expected a key of 'customers.csv' (merge.0.on_missing: quarantine)"
    assert [json.loads(line)["message"] for line in lines] == [
        f"found '9' in 'customer_id', {expected}",
        f"found nothing in 'customer_id', {expected}",
        f"found \"\" in 'customer_id', {expected}",
    ]


def test_of_several_references_by_one_field_the_right_one_is_named(make_feed: MakeFeed) -> None:
    """A bad record names, of two references with the same key, the one that lacks it; of two parts, the null one."""
    merge = [
        {"reference": "customers.csv", "key": "customer_id", "into": "c", "on_missing": "fail"},
        {"reference": "days.csv", "key": ["customer_id", "day"], "into": "d", "on_missing": "quarantine"},
    ]
    keys: dict[str, Any] = {"merge": merge, "denormalize": {}, "quarantine": {"max_bad_records_percent": 100}}
    content = 'customer_id,day\n1,Mo\n1,\n2,""\n1,Tu\n'
    feed = make_feed({"a.csv": content}, subdirs=1, **keys)
    (feed.data_dir / "days.csv").write_text("customer_id,day\n1,Mo\n", encoding="utf-8")
    feed.run()
    lines = (feed.data_dir / f"quarantine/{TS}/1/records.jsonl").read_text().splitlines()
    expected = "expected a key of 'days.csv' (merge.1.on_missing: quarantine)"
    found = [json.loads(line) for line in lines]
    assert [(one["message"], one["pointer"], one["line"], one["offset"]) for one in found] == [
        (f"found nothing in 'day', {expected}", "/day", 3, content.index("1,\n") + 2),
        (f"found '2', \"\" in 'customer_id', 'day', {expected}", "/customer_id", 4, content.index("2,")),
        (f"found '1', 'Tu' in 'customer_id', 'day', {expected}", "/customer_id", 5, content.index("1,Tu")),
    ]
