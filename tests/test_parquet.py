"""Parquet that comes in: whatever wrote it, each value is exact, or the file is set aside with a code."""

import datetime as dt
import json
import math
import random
import subprocess
import sys
import uuid
from decimal import Decimal
from pathlib import Path
from string import Template
from typing import Any

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from fanfold import native, parquet
from fanfold.audit.parquet_records import parquet_rows
from fanfold.audit.values import Num
from fanfold.faults import CODES, UnreadableError
from tests import parquet_files as by_hand
from tests.parquet_files import A_LIST, BYTE_ARRAY, FIXED, INT_32, INT_64, MAP, OPTIONAL, REPEATED, Column, Element

MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, dt.UTC)


def lines(tmp_path: Path, content: bytes | pa.Table, **options: Any) -> list[str]:
    """Return the records that a file of these bytes, or of this table, has."""
    path = tmp_path / "a.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path, **options)
    read = b"".join(parquet.windows(path)).decode()
    assert [one.name for one in tmp_path.iterdir()] == ["a.parquet"]
    return read.splitlines()


def values(tmp_path: Path, content: bytes | pa.Table, **options: Any) -> list[Any]:
    """Return the values of the one field that each record has."""
    return [next(iter(json.loads(line).values())) for line in lines(tmp_path, content, **options)]


def column(kind: Any, *made: Any) -> pa.Table:
    return pa.table({"v": pa.array(made, kind)})


def code(tmp_path: Path, content: bytes | pa.Table, **options: Any) -> str:
    """Return the code that a file is set aside with."""
    with pytest.raises(UnreadableError) as raised:
        lines(tmp_path, content, **options)
    assert raised.value.code in CODES
    assert str(raised.value).startswith("found ")
    return raised.value.code


def agreed(tmp_path: Path, content: bytes | pa.Table, **options: Any) -> list[str]:
    """Return the records, in which the auditor has found what its own reader finds."""
    read = lines(tmp_path, content, **options)
    names, *rows = parquet_rows(tmp_path / "a.parquet")
    assert len(rows) == len(read)
    for row, line in zip(rows, read, strict=True):
        assert exact(dict(zip(names, row, strict=True))) == exact(json.loads(line, parse_int=Num, parse_float=Num))
    return read


def exact(value: Any) -> Any:
    """Return a value of JSON with its numbers by their values."""
    if isinstance(value, dict):
        return {key: exact(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [exact(inner) for inner in value]
    return Decimal(value) if isinstance(value, Num) else value


# Values.

FORMS: dict[str, tuple[Any, list[Any], str]] = {
    "int8": (pa.int8(), [-128, None], "-128"),
    "int64": (pa.int64(), [-(2**63), 2**63 - 1], "-9223372036854775808"),
    "uint8": (pa.uint8(), [255], "255"),
    "uint32": (pa.uint32(), [2**32 - 1, 0], "4294967295"),
    "uint64": (pa.uint64(), [2**64 - 1, 1], "18446744073709551615"),
    "decimal of 32 bits": (pa.decimal32(9, 2), [Decimal("12.10"), Decimal("-0.01")], "12.10"),
    "decimal of 64 bits": (pa.decimal64(18, 4), [Decimal("-12.1000")], "-12.1000"),
    "decimal of 128 bits": (pa.decimal128(38, 38), [Decimal("-1e-38")], "-0." + "0" * 37 + "1"),
    "decimal of 76 digits": (pa.decimal256(76, 10), [Decimal("-" + "9" * 66 + ".0123456789")],
                             "-" + "9" * 66 + ".0123456789"),
    "double": (pa.float64(), [0.1, 1e300, 5e-324, -0.0, 3.0], "0.1"),
    "float is the double that it is": (pa.float32(), [0.1], "0.10000000149011612"),
    "half": (pa.float16(), [1.5, -0.25], "1.5"),
    "boolean": (pa.bool_(), [True, False, None], "true"),
    "text": (pa.string(), ['é😀\n"\\\x01\x7f', "", " 1", None], '"é😀\\n\\"\\\\\\u0001\x7f"'),
    "text in a dictionary": (pa.dictionary(pa.int32(), pa.string()), ["a", "b", "a"], '"a"'),
    "bytes": (pa.binary(), [b"a'\\\xff", b""], r'"a\\x27\\x5C\\xFF"'),
    "bytes of one size": (pa.binary(3), [b"abc"], '"abc"'),
    "JSON stays text": (pa.json_(), ['{"a": 1}'], r'"{\"a\": 1}"'),
    "UUID": (pa.uuid(), [uuid.UUID(int=7).bytes], '"00000000-0000-0000-0000-000000000007"'),
    "day": (pa.date32(), [dt.date(2026, 1, 2), dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(2000, 2, 29)],
            '"2026-01-02"'),
    "time in milliseconds": (pa.time32("ms"), [dt.time(3, 4, 5, 6000), dt.time(0)], '"03:04:05.006000"'),
    "time in microseconds": (pa.time64("us"), [dt.time(3, 4, 5, 6)], '"03:04:05.000006"'),
    "timestamp in milliseconds": (pa.timestamp("ms"), [dt.datetime(1969, 12, 31, 23, 59, 59, 999000)],  # noqa: DTZ001
                                  '"1969-12-31T23:59:59.999000"'),
    "timestamp in microseconds": (pa.timestamp("us"), [MOMENT.replace(tzinfo=None)], '"2026-01-02T03:04:05.678901"'),
    "timestamp of whole seconds": (pa.timestamp("s"), [dt.datetime(2026, 1, 2)], '"2026-01-02T00:00:00"'),  # noqa: DTZ001
    "timestamp in nanoseconds": (pa.timestamp("ns"), [1767323045123456789, -1], '"2026-01-02T03:04:05.123456789"'),
    "timestamp with a zone": (pa.timestamp("us", "Europe/Berlin"), [MOMENT], '"2026-01-02T03:04:05.678901Z"'),
    "nothing": (pa.null(), [None, None], "null"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("inside", ["alone", "list", "struct", "map"])
def test_values_are_exact_and_the_auditor_reads_the_same(tmp_path: Path, form: str, inside: str) -> None:
    """Each kind of value is written with all of its digits, wherever it stands; the auditor's reader agrees."""
    kind, made, first = FORMS[form]
    array = (
        pa.array(made, kind)
        if not isinstance(kind, pa.ExtensionType)
        else kind.wrap_array(pa.array(made, kind.storage_type))
    )
    ends = pa.array(range(len(made) + 1), pa.int32())
    wrapped: dict[str, Any] = {
        "alone": lambda: (array, first),
        "list": lambda: (pa.ListArray.from_arrays(ends, array), f"[{first}]"),
        "struct": lambda: (pa.StructArray.from_arrays([array, array], ["x", 'y"']), f'{{"x":{first},"y\\"":{first}}}'),
        "map": lambda: (pa.MapArray.from_arrays(ends, pa.array(["k"] * len(made)), array), f'{{"k":{first}}}'),
    }
    values, expected = wrapped[inside]()
    table = pa.table({"v": values})
    assert agreed(tmp_path, table)[0] == f'{{"v":{expected}}}'


def test_times_of_nanoseconds_keep_them(tmp_path: Path) -> None:
    """A time of day has nine digits of a second where six are too few, and six else."""
    assert agreed(tmp_path, column(pa.list_(pa.time64("ns")), [1, 1000, 3_600_000_000_000])) == [
        '{"v":["00:00:00.000000001","00:00:00.000001","01:00:00"]}',
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
def test_what_is_no_number_is_a_text(tmp_path: Path, kind: Any) -> None:
    """NaN and the infinities, which JSON has not, are written as texts."""
    assert values(tmp_path, column(kind, math.nan, math.inf, -math.inf)) == ["NaN", "Infinity", "-Infinity"]


def test_days_beyond_the_calendar_have_a_sign(tmp_path: Path) -> None:
    """Years before 0 and after 9999 are written by ISO 8601, and none is taken for another one."""
    days = [-719528, -719529, 2932896, 2932897, 2**31 - 1, -(2**31)]
    assert values(tmp_path, column(pa.date32(), *days)) == [
        "0000-01-01", "-0001-12-31", "9999-12-31", "+10000-01-01", "+5881580-07-11", "-5877641-06-23",
    ]  # fmt: skip


def test_int96_keeps_nanoseconds(tmp_path: Path) -> None:
    """A timestamp of twelve bytes, which old programs write, has all of its digits."""
    table = column(pa.timestamp("ns"), 1767323045123456789, None, -1, 1000)
    assert agreed(tmp_path, table, use_deprecated_int96_timestamps=True) == [
        '{"v":"2026-01-02T03:04:05.123456789"}', '{"v":null}', '{"v":"1969-12-31T23:59:59.999999999"}',
        '{"v":"1970-01-01T00:00:00.000001"}',
    ]  # fmt: skip


@pytest.mark.parametrize("nanoseconds", [0, 1, 1000, 123_456_789, 86_399_999_999_999])
def test_int96_has_all_digits_in_all_years(tmp_path: Path, nanoseconds: int) -> None:
    """The auditor's reader has the nanoseconds of INT96 also where 64 bits are too few for those since 1970."""
    julian_days = [1_721_426, 2_305_507, 2_440_588, 2_561_118, 5_373_484]
    stored = [nanoseconds.to_bytes(8, "little") + day.to_bytes(4, "little") for day in julian_days]
    content = by_hand.written([Element("v", by_hand.INT_96)], [Column(by_hand.INT_96, stored)], len(stored))
    assert [line[6:16] for line in agreed(tmp_path, content)] == [
        "0001-01-01", "1600-02-29", "1970-01-01", "2300-01-01", "9999-12-31",
    ]  # fmt: skip


KEYS: dict[str, tuple[Any, list[Any], str]] = {
    "objects": (
        pa.struct([("a", pa.int32()), ('"é', pa.float64()), ("n", pa.null())]),
        [{"a": 1, '"é': 1e22, "n": None}, {"a": 2, '"é': math.nan, "n": None}],
        '{"a":1,"\\"é":1e+22,"n":null}',
    ),
    "arrays": (pa.list_(pa.string()), [["x", None, '"'], []], '["x",null,"\\""]'),
    "maps": (pa.map_(pa.decimal128(4, 2), pa.bool_()), [[(Decimal("1.50"), True)], []], '{"1.50":true}'),
    "zeros, which are not one key": (pa.float64(), [0.0, -0.0], "0.0"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_the_auditor_reads_maps_whatever_their_keys_are(tmp_path: Path, kind: str) -> None:
    """A key that is an object, an array or a map is its JSON as a text, for the run and for the auditor."""
    of, keys, first = KEYS[kind]
    table = column(pa.map_(of, pa.int8()), [(key, 5) for key in keys], None, [])
    assert json.loads(agreed(tmp_path, table)[0])["v"].popitem()[1] == 5
    assert first in json.loads(lines(tmp_path, table)[0])["v"]


@pytest.mark.parametrize(("kind", "size"), [(BYTE_ARRAY, None), (FIXED, 5)])
def test_decimals_in_bytes_are_exact(tmp_path: Path, kind: int, size: int | None) -> None:
    """A decimal whose digits are stored as bytes, of any or of one size, is what these bytes say."""
    element = Element("v", kind, converted=by_hand.DECIMAL, precision=11, scale=2, size=size)
    stored = [value.to_bytes(5, "big", signed=True) for value in (1, -1, 12345678901)]
    content = by_hand.written([element], [Column(kind, stored)], 3)
    assert agreed(tmp_path, content) == ['{"v":0.01}', '{"v":-0.01}', '{"v":123456789.01}']


def test_decimals_in_bytes_may_have_any_number_of_digits(tmp_path: Path) -> None:
    """A decimal of a hundred digits has a hundred digits, be it more than any library reads."""
    element = Element("v", BYTE_ARRAY, converted=by_hand.DECIMAL, precision=100, scale=1)
    content = by_hand.written([element], [Column(BYTE_ARRAY, [int("7" * 100).to_bytes(42, "big")])], 1)
    assert lines(tmp_path, content) == [f'{{"v":{"7" * 99}.7}}']


def test_older_and_other_annotations(tmp_path: Path) -> None:
    """Enums and JSON are text, BSON is bytes, unsigned numbers are not negative, times of the older kind are UTC."""
    elements = [
        Element("enum", BYTE_ARRAY, converted=by_hand.ENUM), Element("json", BYTE_ARRAY, converted=19),
        Element("bson", BYTE_ARRAY, converted=20),
        Element("unsigned", INT_32, converted=13), Element("unsigned_64", INT_64, converted=14),
        Element("at", INT_64, converted=10), Element("bytes", BYTE_ARRAY),
    ]  # fmt: skip
    columns = [
        Column(BYTE_ARRAY, [b"RED"]), Column(BYTE_ARRAY, [b"[1]"]), Column(BYTE_ARRAY, [b"\5\0\0\0\0"]),
        Column(INT_32, [-1]), Column(INT_64, [-1]),
        Column(INT_64, [1_000_001]), Column(BYTE_ARRAY, [b"old text"]),
    ]  # fmt: skip
    (line,) = lines(tmp_path, by_hand.written(elements, columns, 1))
    assert json.loads(line) == {
        "enum": "RED", "json": "[1]", "bson": r"\x05\x00\x00\x00\x00",
        "unsigned": 2**32 - 1, "unsigned_64": 2**64 - 1,
        "at": "1970-01-01T00:00:01.000001Z", "bytes": "old text",
    }  # fmt: skip


# Nesting.


def test_repeated_fields_without_an_annotation_are_lists(tmp_path: Path) -> None:
    """A field or a group that is repeated, with nothing that says so, is a list that is never null."""
    elements = [
        Element("a", INT_32, REPEATED), Element("one", repetition=REPEATED, children=1), Element("b", INT_32),
        Element("two", repetition=REPEATED, children=2), Element("c", INT_32), Element("d", INT_32, OPTIONAL),
    ]  # fmt: skip
    repetition, definition = [0, 1, 0, 0], [1, 1, 0, 1]
    columns = [
        Column(INT_32, [1, 2, 3], repetition, definition),
        Column(INT_32, [4, 5, 6], repetition, definition),
        Column(INT_32, [7, 8, 9], repetition, definition),
        Column(INT_32, [10, 11], repetition, [2, 1, 0, 2]),
    ]
    assert agreed(tmp_path, by_hand.written(elements, columns, 3)) == [
        '{"a":[1,2],"one":[{"b":4},{"b":5}],"two":[{"c":7,"d":10},{"c":8,"d":null}]}',
        '{"a":[],"one":[],"two":[]}',
        '{"a":[3],"one":[{"b":6}],"two":[{"c":9,"d":11}]}',
    ]


@pytest.mark.parametrize(
    ("name", "inner", "expected"),
    [("array", 1, '[{"x":1}]'), ("l_tuple", 1, '[{"x":1}]'), ("bag", 1, "[1]"), ("bag", 2, '[{"x":1,"y":1}]'),
     ("array", 0, "[1]")],
)  # fmt: skip
def test_lists_of_older_programs(tmp_path: Path, name: str, inner: int, expected: str) -> None:
    """What is an element of a list follows the format's rules for lists that were written before there was one."""
    repeated = Element(name, None if inner else INT_32, REPEATED, children=inner)
    elements = [Element("l", converted=A_LIST, repetition=OPTIONAL, children=1), repeated]
    elements += [Element(field, INT_32) for field in "xy"[:inner]]
    columns = [Column(INT_32, [1], [0, 0, 0], [2, 1, 0])] * max(inner, 1)
    content = by_hand.written(elements, columns, 3)
    assert agreed(tmp_path, content) == [f'{{"l":{expected}}}', '{"l":[]}', '{"l":null}']


def test_nesting_of_every_kind(tmp_path: Path) -> None:
    """Lists of lists, maps of maps, and objects in all of them keep each null, each empty list and each order."""
    deep = pa.map_(pa.string(), pa.map_(pa.int32(), pa.list_(pa.list_(pa.struct([("s", pa.string())])))))
    made: list[Any] = [
        [("b", [(2, [[{"s": "x"}, None, {"s": None}], None, []]), (1, None)]), ("a", None), ("", [])],
        [], None, [("z", [(0, [[]])])],
    ]  # fmt: skip
    assert agreed(tmp_path, column(deep, *made)) == [
        '{"v":{"b":{"2":[[{"s":"x"},null,{"s":null}],null,[]],"1":null},"a":null,"":{}}}',
        '{"v":{}}', '{"v":null}', '{"v":{"z":{"0":[[]]}}}',
    ]  # fmt: skip


def test_names_are_as_they_are(tmp_path: Path) -> None:
    """Names with quotes, dots, blanks, of nothing, of SQL or of another script are keys; so are names of our own."""
    names = ['"', "a.b", "", " ", "é", "É", "file_row_number", "filename", "select", "c1", "\ue001x", "\\", "\n"]
    table = pa.table({name: pa.array([{name: index}]) for index, name in enumerate(names)})
    (line,) = agreed(tmp_path, table)
    assert json.loads(line) == {name: {name: index} for index, name in enumerate(names)}


@pytest.mark.slow
def test_records_are_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Rows come in their order over groups and pages, in whatever way these are compressed."""
    table = pa.table(
        {"i": range(5000), "s": [str(i) * (i % 7) for i in range(5000)], "l": [[i] * (i % 3) for i in range(5000)]}
    )
    expected = [
        f'{{"i":{i},"s":"{str(i) * (i % 7)}","l":{json.dumps([i] * (i % 3), separators=(",", ":"))}}}'
        for i in range(5000)
    ]
    for options in (
        {"row_group_size": 700, "data_page_size": 100}, {"compression": "zstd", "data_page_version": "2.0"},
        {"compression": "gzip", "use_dictionary": False, "write_page_checksum": True},
        {"compression": "brotli"}, {"compression": "lz4"}, {"compression": "none", "row_group_size": 1},
    ):  # fmt: skip
        assert lines(tmp_path, table, **options) == expected, options


def test_windows_are_small(tmp_path: Path) -> None:
    """Windows have about 1 MiB, whatever the rows have."""
    pq.write_table(column(pa.string(), *["x" * 10_000] * 1000), tmp_path / "a.parquet")
    sizes = list(map(len, parquet.windows(tmp_path / "a.parquet")))
    assert sum(sizes) == 1000 * 10_009
    assert max(sizes) < 1.1 * 2**20
    assert len(sizes) > 5


@pytest.mark.parametrize(
    "empty", [pa.table({"a": pa.array([], pa.int64())}), pa.table({"a": pa.array([], pa.list_(pa.int8()))})]
)
def test_a_file_without_rows_has_none(tmp_path: Path, empty: pa.Table) -> None:
    """A file without rows gives nothing, and is not bad."""
    assert lines(tmp_path, empty) == []
    assert parquet.fields(tmp_path / "a.parquet").objects == 0


WRITTEN = """
COPY (
    SELECT i, 'name ' || (i % 97) AS s, CASE WHEN i % 5 > 0 THEN 'u' || hash(i) END AS u, i / 7 AS f, i % 3 = 0 AS b,
        DATE '2020-01-01' + (i % 900)::INT AS d, TIMESTAMP '2026-01-01' + to_microseconds(i * 1234567) AS t,
        (i * 1000003)::DECIMAL(38, 4) AS n, [i, i + 1] AS l, {'a': i, 'b': [{'c': 'x' || i}]} AS o,
        MAP([i::VARCHAR], [i * 2]) AS m, (i + 9223372036854775808)::UBIGINT AS w, encode('b' || i) AS x
    FROM range(3000) r(i)
) TO '$path' (FORMAT parquet, PARQUET_VERSION $version, COMPRESSION $compression, ROW_GROUP_SIZE 2048)
"""


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("compression", ["snappy", "zstd", "lz4_raw", "gzip", "brotli", "uncompressed"])
def test_what_duckdb_writes_is_exact(tmp_path: Path, version: str, compression: str) -> None:
    """Files by another program, of both versions of pages and with all of its encodings, give its values."""
    query = Template(WRITTEN).substitute(path=tmp_path / "a.parquet", version=version, compression=compression)
    with duckdb.connect(config={"threads": 1, "async_threads": 0}) as connection:
        connection.execute(query)
    assert len(agreed(tmp_path, (tmp_path / "a.parquet").read_bytes())) == 3000


NUMBERS = [0, -1, 2**63 - 1, -(2**63), 7, 7, 7, None, *range(200)]
ENCODED: dict[str, tuple[str, pa.Array]] = {
    "differences": ("DELTA_BINARY_PACKED", pa.array(NUMBERS, pa.int64())),
    "differences of 32 bits": ("DELTA_BINARY_PACKED", pa.array([2**31 - 1, -(2**31), 0, *range(300)], pa.int32())),
    "lengths": ("DELTA_LENGTH_BYTE_ARRAY", pa.array(["", "a", None, "é" * 300, *map(str, range(300))])),
    "prefixes": ("DELTA_BYTE_ARRAY", pa.array(["", "ab", None, "abc", "b", *map(str, range(300))])),
    "prefixes of one size": ("DELTA_BYTE_ARRAY", pa.array([b"abc", b"abd", b"xbd"] * 99, pa.binary(3))),
    "split doubles": ("BYTE_STREAM_SPLIT", pa.array([0.1, -0.0, 5e-324, None, 1e300])),
    "split integers": ("BYTE_STREAM_SPLIT", pa.array([1, -1, 2**31 - 1, None], pa.int32())),
    "split decimals": ("BYTE_STREAM_SPLIT", pa.array([Decimal("-1.5"), Decimal(10**30)], pa.decimal128(38, 2))),
    "booleans": ("RLE", pa.array([True, False, None, True, True] * 99)),
}


@pytest.mark.parametrize("form", ENCODED)
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_values_are_exact_in_each_encoding(tmp_path: Path, form: str, version: str) -> None:
    """A value is the same in each encoding, beside nulls, over several pages and groups, and in lists."""
    encoding, array = ENCODED[form]
    table = pa.table({"v": array, "l": pa.array([[one] for one in array.to_pylist()], pa.list_(array.type))})
    options = {"column_encoding": {"v": encoding, "l.list.element": encoding}, "row_group_size": 150}
    expected = [json.loads(line)["v"] for line in lines(tmp_path, table)]
    read = agreed(tmp_path, table, use_dictionary=False, data_page_version=version, data_page_size=64, **options)
    assert [json.loads(line) for line in read] == [{"v": value, "l": [value]} for value in expected]


# One bad record.


def judged(tmp_path: Path) -> tuple[int, list[tuple[int, str]]]:
    reader = native.Reader()
    pieces = list(reader.read(b"a", parquet.windows(tmp_path / "a.parquet")))
    return reader.counts.records, [(one.record, one.code) for piece in pieces for one in piece.wrong]


def test_a_text_that_is_not_utf8_costs_its_record_alone(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 in a column of text make one record bad, and no other."""
    content = by_hand.written(
        [Element("v", BYTE_ARRAY, converted=0)], [Column(BYTE_ARRAY, [b"a", b"\xff\xed\xa0\x80", b"b"])], 3
    )
    (tmp_path / "a.parquet").write_bytes(content)
    assert judged(tmp_path) == (3, [(2, "bad_utf8")])


def test_a_key_twice_in_a_map_costs_its_record_alone(tmp_path: Path) -> None:
    """A map that has a key twice makes its record bad: none of the two values is dropped without a word."""
    table = column(pa.map_(pa.string(), pa.int64()), [("a", 1)], [("k", 1), ("k", 2)], [])
    pq.write_table(table, tmp_path / "a.parquet")
    assert judged(tmp_path) == (3, [(2, "duplicate_key")])


# What files say of themselves.


def test_fields_say_what_the_schema_says(tmp_path: Path) -> None:
    """The fields of a file are known without its rows, in their order, those that are null everywhere included."""
    kinds = {
        "z": pa.int16(), "d": pa.float32(), "n": pa.decimal128(20, 4), "u": pa.uint64(), "t": pa.timestamp("us"),
        "o": pa.struct([("l", pa.list_(pa.float64())), ("m", pa.map_(pa.string(), pa.int64()))]), "b": pa.bool_(),
        "nothing": pa.null(),
    }  # fmt: skip
    pq.write_table(
        pa.table({name: pa.array([None, None], kind) for name, kind in kinds.items()}), tmp_path / "a.parquet"
    )
    found = parquet.fields(tmp_path / "a.parquet")
    seen = found.fields
    assert found.objects == 2
    assert list(seen) == list(kinds)
    assert (seen["z"].integers, seen["z"].whole) == (2, 19)
    assert (seen["n"].numbers, seen["n"].whole, seen["n"].scale) == (2, 16, 4)
    assert (seen["u"].numbers, seen["u"].whole, seen["d"].numbers, seen["b"].booleans) == (2, 20, 2, 2)
    assert (seen["t"].texts, seen["nothing"].nulls, seen["o"].objects) == (2, 2, 2)
    inner, a_float = seen["o"].fields, native.Seen(numbers=2, is_float=True, floats=2)
    assert (inner["l"].arrays, inner["l"].element, inner["m"]) == (2, a_float, native.Seen(arrays=2))
    assert {name: one.is_float for name, one in seen.items() if one.is_float} == {"d": True}


# What lies.


@pytest.mark.parametrize(
    ("said", "group", "column"),
    [
        (0, 6, None),
        (6, 0, None),
        (0, 0, None),
        (7, 7, None),
        (6, 6, 5),
        (5, 5, 5),
        (-6, -6, None),
        (2**40, 2**40, None),
    ],
)
def test_counts_that_lie_are_found(tmp_path: Path, said: int, group: int, column: int | None) -> None:
    """A footer that says another number of rows than its groups or its pages have is no file to read."""
    columns = [Column(INT_32, range(6)), Column(INT_32, range(6), said=column)]
    content = by_hand.written([Element("a", INT_32), Element("b", INT_32)], columns, 6, said, group)
    assert code(tmp_path, content) == "unreadable"


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_counts_of_lists_that_lie_are_found(tmp_path: Path, rows: int) -> None:
    """Rows that the pages of a list do not have, or have beside them, are not made up and not lost."""
    column = Column(INT_32, [1, 2, 3], [0, 1, 0], [1, 1, 1])
    content = by_hand.written([Element("l", INT_32, REPEATED)], [column], rows)
    assert code(tmp_path, content) == "unreadable"


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}])
def test_checksums_of_pages_are_checked(tmp_path: Path, options: dict[str, Any]) -> None:
    """A byte that changed in any page with a checksum is found, also where the values stay readable."""
    table = pa.table({"s": ["one", "two", "one"] * 10, "i": range(10**15, 10**15 + 30)})
    pq.write_table(table, tmp_path / "a.parquet", compression="none", write_page_checksum=True, **options)
    whole = (tmp_path / "a.parquet").read_bytes()
    assert len(lines(tmp_path, whole)) == 30
    for found in (whole.index(b"\3\0\0\0two") + 4, whole.index((10**15 + 7).to_bytes(8, "little"))):
        damaged = bytearray(whole)
        damaged[found] ^= 1
        assert code(tmp_path, bytes(damaged)) == "unreadable"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ([Element("a", INT_32), Element("A", INT_32)], "case_conflict"),
        ([Element("a", INT_32), Element("a", INT_32)], "case_conflict"),
        ([Element("o", children=2), Element("k", INT_32), Element("K", INT_32)], "case_conflict"),
        ([Element("o", children=3), Element("k", INT_32)], "unreadable"),
        ([Element("o", children=1)] * 200 + [Element("k", INT_32)], "too_deep"),
        ([Element("o", children=1)] * 100_000 + [Element("k", INT_32)], "too_deep"),
        ([Element("k" * 5000, INT_32)], "key_too_long"),
        ([Element(f"k{i}", INT_32) for i in range(10_001)], "too_many_fields"),
        ([Element(b"\xff", INT_32)], "unreadable"),
        ([Element("k", 99)], "unreadable"),
        ([Element("k", FIXED, size=-1)], "unreadable"),
        ([Element("k", INT_64, converted=6)], "unreadable"),
        ([Element("k", FIXED, size=12, converted=21)], "unreadable"),
        ([Element("k", INT_32, converted=by_hand.DECIMAL, precision=3, scale=2**31 - 1)], "unreadable"),
    ],
)
def test_schemas_that_cannot_be_are_set_aside(tmp_path: Path, elements: list[Element], expected: str) -> None:
    """A schema that is no tree, means what cannot be, or has names that no table can have, sets its file aside."""
    content = by_hand.written(elements, [Column(INT_32, [1])], 1)
    assert code(tmp_path, content) == expected
    with pytest.raises(UnreadableError) as raised:
        parquet.fields(tmp_path / "a.parquet")
    assert raised.value.code == expected


@pytest.mark.parametrize(
    ("repetition", "definition"), [([0, 1, 1], [1, 1, 1]), ([0, 0, 0], [1, 1, 1]), ([0, 1, 0], [1, 0, 1])]
)
def test_columns_of_one_list_that_disagree_are_set_aside(
    tmp_path: Path, repetition: list[int], definition: list[int]
) -> None:
    """Two columns of one list that have another number of elements in a row are not put together."""
    elements = [Element("l", repetition=REPEATED, children=2), Element("a", INT_32), Element("b", INT_32)]
    columns = [Column(INT_32, [1, 2, 3], [0, 1, 0], [1, 1, 1]), Column(INT_32, [4, 5, 6], repetition, definition)]
    assert code(tmp_path, by_hand.written(elements, columns, 2)) == "unreadable"


@pytest.mark.parametrize(("size", "expected"), [(2**31 - 1, "too_large"), (-1, "unreadable"), (3, "unreadable")])
def test_pages_that_lie_of_their_size_take_no_memory(tmp_path: Path, size: int, expected: str) -> None:
    """A page that says that it has two gigabytes is not given room for them."""
    content = by_hand.written([Element("v", INT_32)], [Column(INT_32, [1], size=size, codec=6)], 1)
    assert code(tmp_path, content) == expected


@pytest.mark.parametrize("at", [-1, -(2**63), 0, 5, 10**6, 2**63 - 1])
def test_places_that_are_not_pages_are_not_read(tmp_path: Path, at: int) -> None:
    """A page that is said to lie before or behind the file, or where none is, sets the file aside: no retry helps."""
    assert code(tmp_path, by_hand.written([Element("v", INT_32)], [Column(INT_32, [1], at=at)], 1)) == "unreadable"


def test_a_footer_of_other_kinds_of_values_is_set_aside(tmp_path: Path) -> None:
    """A number where a text is expected is damage, as any other byte."""
    content = by_hand.written([Element("v", INT_32)], [Column(INT_32, [1])], 1)
    # The name of the root, of four bytes, becomes an integer.
    assert content.count(b"\x18\x04root") == 1
    assert code(tmp_path, content.replace(b"\x18\x04root", b"\x15\x84\x80\x80\x80\x00")) == "unreadable"


@pytest.mark.parametrize("codec", [3, 5, 99])
def test_a_codec_that_is_not_read_is_named(tmp_path: Path, codec: int) -> None:
    """A file that is compressed by what only old programs write is set aside, and says by what it can be written."""
    content = by_hand.written([Element("v", INT_32)], [Column(INT_32, [1], codec=codec)], 1)
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(UnreadableError, match=r"an unsupported codec .*: write the file with one of these"):
        lines(tmp_path, content)


@pytest.mark.parametrize("dictionary", [True, False])
def test_more_content_than_somebody_writes_is_a_bomb(tmp_path: Path, *, dictionary: bool) -> None:
    """One long text many times, in few bytes of the file, is set aside before it fills a disk; short texts are not."""
    for text, told in (("x" * 1_000_000, "bomb"), ("done", "")):
        made = pa.BufferOutputStream()
        pq.write_table(pa.table({"s": [text] * 100}), made, compression="ZSTD", use_dictionary=dictionary)
        content = made.getvalue().to_pybytes()
        if told:
            assert code(tmp_path, content) == told
        else:
            assert len(lines(tmp_path, content)) == 100


def test_more_values_than_bytes_can_mean_are_a_bomb(tmp_path: Path) -> None:
    """A page of some bytes that says a billion values is not unpacked."""
    content = by_hand.written([Element("k", INT_32, OPTIONAL)], [Column(INT_32, [], (), [0], said=2**30)], 2**30)
    assert code(tmp_path, content) == "bomb"


def test_nulls_take_no_longer_than_their_file_is_worth(tmp_path: Path) -> None:
    """Millions of nulls in a few bytes are a bomb; in as many bytes as a wide file has, they are read."""
    nulls = pa.nulls(3_000_000, pa.int64())
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": nulls, "b": nulls}), path)
    assert path.stat().st_size < 16_000
    assert code(tmp_path, path.read_bytes()) == "bomb"
    few = pa.nulls(5_000, pa.int64())
    pq.write_table(pa.table({f"n{n}": few for n in range(1000)}), path)
    reading = parquet.windows(path)
    assert b'"n999":null' in next(iter(reading))


def test_a_map_whose_key_is_null_is_set_aside(tmp_path: Path) -> None:
    """A key that is null, which the format does not allow, is not taken for a text."""
    elements = [
        Element("m", converted=MAP, children=1), Element("kv", repetition=REPEATED, children=2),
        Element("key", INT_32, OPTIONAL), Element("value", INT_32),
    ]  # fmt: skip
    columns = [Column(INT_32, [], [0], [1]), Column(INT_32, [1], [0], [1])]
    assert code(tmp_path, by_hand.written(elements, columns, 1)) == "unreadable"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1",
        b"PAR1\0\0\0\0PAR1",
        b'{"id":1}',
        b"PAR1" + b"\xff" * 99 + b"\xff\xff\xff\x7fPAR1",
        *(b"PAR1" + filling * 5000 + b"\x88\x13\0\0PAR1" for filling in (b"\x1c", b"\x19", b"\x2c", b"\xff")),
    ],
)
def test_what_is_no_parquet_is_set_aside(tmp_path: Path, content: bytes) -> None:
    """A file that is no Parquet, or whose footer is anything, is unreadable."""
    assert code(tmp_path, content) == "unreadable"


@pytest.mark.slow
def test_damage_anywhere_gives_the_same_rows_or_a_code(tmp_path: Path) -> None:
    """Whatever byte of a file with checksums is changed or cut off, its rows stay as they are, or it is set aside."""
    made: dict[str, list[Any]] = {"i": [1, None, 3], "s": ["a", "bb", "a"], "l": [[1], [], [2, 3]]}
    table = pa.table({**made, "d": [Decimal("1.5"), None, Decimal(2)]})
    pq.write_table(table, tmp_path / "a.parquet", write_page_checksum=True, compression="none", store_schema=False)
    whole = (tmp_path / "a.parquet").read_bytes()
    rows, chosen = lines(tmp_path, whole), random.Random(1)
    outcomes = {"same": 0, "code": 0, "other": 0}
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[chosen.randrange(len(damaged))] = chosen.randrange(256)
        try:
            read = lines(
                tmp_path, bytes(damaged if chosen.random() < 0.9 else damaged[: chosen.randrange(len(damaged))])
            )
        except UnreadableError:
            outcomes["code"] += 1
        else:
            outcomes["same" if read == rows else "other"] += 1
            assert len(read) == len(rows)
    # What the footer or a header says has no checksum: another name, another kind.
    assert outcomes["same"] > 10 < outcomes["code"]
    assert outcomes["other"] < 100


# What it takes.


def test_nothing_is_left_where_reading_ends_early(tmp_path: Path) -> None:
    """A reader that stops after the first window leaves no file behind."""
    pq.write_table(column(pa.string(), *["x" * 10_000] * 1000), tmp_path / "a.parquet")
    read = parquet.windows(tmp_path / "a.parquet")
    next(read)
    read.close()  # type: ignore[attr-defined]
    assert [one.name for one in tmp_path.iterdir()] == ["a.parquet"]


LARGE = [None if i % 5 == 3 else "é" * (9000 + 7 * i) + str(i) * (i % 900) for i in range(100)]


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False, "write_page_checksum": True},
        {"data_page_version": "2.0"},
        {"data_page_version": "2.0", "use_dictionary": False, "row_group_size": 30},
        {"write_batch_size": 1, "dictionary_pagesize_limit": 10_000},
        {"column_encoding": {"s": "DELTA_BYTE_ARRAY"}, "use_dictionary": False},
    ],
)
def test_large_texts_are_exact(tmp_path: Path, compression: str, options: dict[str, Any]) -> None:
    """Large texts, in whatever way they are stored, stand in their rows, beside small ones, null and lists."""
    table = pa.table(
        {
            "i": range(100),
            "s": LARGE,
            "l": [[i] * (i % 3) for i in range(100)],
            "t": pa.array(LARGE[::-1]),
            "u": pa.array([text or "" for text in LARGE]).dictionary_encode(),
        },
        schema=pa.schema(
            [("i", pa.int64()), ("s", pa.string()), ("l", pa.list_(pa.int16())), ("t", pa.binary()),
             pa.field("u", pa.dictionary(pa.int32(), pa.string()), nullable=False)]
        ),
    )  # fmt: skip
    read = [json.loads(line) for line in lines(tmp_path, table, compression=compression, **options)]
    assert [row["s"] for row in read] == LARGE
    assert [row["u"] for row in read] == [text or "" for text in LARGE]
    assert [(row["i"], len(row["l"])) for row in read] == [(i, i % 3) for i in range(100)]
    assert [row["t"] and row["t"].replace(r"\xC3\xA9", "é") for row in read] == LARGE[::-1]


def test_large_texts_alone_are_read(tmp_path: Path) -> None:
    """A file that has nothing but a column of large texts gives them all; damage in them is found."""
    assert values(tmp_path, pa.table({"s": LARGE}), compression="snappy") == LARGE
    whole = (tmp_path / "a.parquet").read_bytes()
    assert code(tmp_path, whole[:5000] + b"\xff" * 5000 + whole[10_000:]) == "unreadable"


MEASURED = """
import resource, sys
from pathlib import Path
from fanfold import parquet
path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(sum(window.count(b"\\n") for window in parquet.windows(path)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "rows", "options"),
    [(20_000, 6000, {"use_dictionary": False}), (2_000_000, 60, {}), (200, 600_000, {"compression": "snappy"})],
)
def test_memory_does_not_grow_with_groups_pages_and_rows(
    tmp_path: Path, size: int, rows: int, options: dict[str, Any]
) -> None:
    """A group of rows, a page, and a dictionary of 120 MB take no more memory than some rows."""
    text = random.Random(1).randbytes(size // 2).hex()
    table = pa.table({"s": [text[i % size :] + text[: i % size] for i in range(rows)]})
    pq.write_table(table, tmp_path / "a.parquet", **{"compression": "none", "row_group_size": rows} | options)
    ran = subprocess.run([sys.executable, "-c", MEASURED, str(tmp_path / "a.parquet")], check=True, capture_output=True)
    found, kilobytes = map(int, ran.stdout.split())
    assert found == rows
    assert kilobytes < 80_000
