"""What goes in and comes out: CSV, Parquet, compressed files, tables of Parquet, lineage."""

import csv
import datetime as dt
import gzip
import io
import json
import random
import shutil
import zlib
from decimal import Decimal
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import zstandard

from fanfold.feed import runs
from fanfold.manifest import Summary
from fanfold.steps.recount import recount
from tests.conftest import TS, FeedDir, MakeFeed, tree

FLAT: dict[str, Any] = {"subdirs": 1, "merge": [], "denormalize": {}}
LENIENT: dict[str, Any] = {**FLAT, "quarantine": {"max_bad_records_percent": 100}}


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def parquet(columns: dict[str, tuple[Any, list[Any]]], **options: Any) -> bytes:
    made = pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()})
    buffer = io.BytesIO()
    pq.write_table(made, buffer, **options)
    return buffer.getvalue()


def faults(feed: FeedDir) -> list[tuple[str, str]]:
    """Return file and code of every bad record, then of every bad file."""
    folder = feed.data_dir / f"quarantine/{TS}/1"
    listed = folder / "records.jsonl"
    records = [json.loads(line) for line in listed.read_bytes().splitlines()] if listed.exists() else []
    reasons = [json.loads(path.read_bytes()) for path in sorted(folder.rglob("*.reason.json"))]
    return [(bad["file"], bad["code"]) for bad in (*records, *reasons)]


def check_count(feed: FeedDir, summary: Summary) -> None:
    recounted = recount(*runs.open_complete(feed.open(), TS))
    assert recounted.gaps == []
    assert (recounted.records, recounted.rows) == (summary.records_in, summary.rows_out)


# CSV.

CSV_FILES: dict[str, tuple[str | bytes, str]] = {
    "leading zeros and trailing ones": ("a,b\n007,1.50\n+1,1e3\n", "a,b\n007,1.50\n+1,1e3\n"),
    "nothing and empty": ('a,b\n,""\n"",\n,\n', 'a,b\n,""\n"",\n,\n'),
    "quoted": ('a,b\n"x\ny","x\r\ny"\n"1,5","say ""no"""\n', 'a,b\n"x\ny","x\r\ny"\n"1,5","say ""no"""\n'),
    "CRLF": ("a,b\r\n1,2\r\n\r\n3,4", "a,b\n1,2\n3,4\n"),
    "byte order mark": (b"\xef\xbb\xbfa,b\n1,2\n", "a,b\n1,2\n"),
    "words that mean something elsewhere": ("a,b\nNULL,NaN\ntrue,\\N\n", "a,b\nNULL,NaN\ntrue,\\N\n"),
    "blanks": ("a,b\n x , \n\t,y\n", "a,b\n x , \n\t,y\n"),
    "other separators are text": ("a;b,c\n1;2,3|4\n", "a;b,c\n1;2,3|4\n"),
    "comments are text": ("a,b\n#1,2\n", 'a,b\n"#1",2\n'),
    "one column": ('a\n1\n\n""\n2\n', 'a\n1\n""\n2\n'),
    "names": ('"a,b","c ""d""",filename,ü\n1,2,3,4\n', '"a,b","c ""d""",filename,ü\n1,2,3,4\n'),
    "no line": ("a,b\n", "a,b\n"),
}


@pytest.mark.parametrize("name", CSV_FILES)
@pytest.mark.parametrize("careful", [False, True])
def test_csv_is_kept_as_written(make_feed: MakeFeed, name: str, careful: bool) -> None:  # noqa: FBT001
    """Every value of a CSV file is the text that it was, nothing stays nothing, also where a bad line is beside it."""
    content, expected = CSV_FILES[name]
    raw = content if isinstance(content, bytes) else content.encode()
    if careful:
        raw += b'\n"' + b"x\n"
    feed = make_feed({"a.csv": raw, "z.csv": raw.split(b"\n")[0] + b"\n"}, **LENIENT)
    summary = feed.run()
    assert feed.read() == expected
    assert summary.records_quarantined + summary.files_quarantined == careful
    check_count(feed, summary)


def test_lines_of_many_megabytes_and_many_lines(make_feed: MakeFeed) -> None:
    """A CSV file of many lines, with a field of megabytes among them, is kept as it is."""
    rows = [f'{i},"{i}\n{i}"\n' for i in range(20_000)]
    rows[15_000] = f'x,"{"y," * 1_500_000}"\n'
    content = "a,b\n" + "".join(rows)
    feed = make_feed({"a.csv": content}, **FLAT)
    summary = feed.run()
    assert feed.read() == content
    assert summary.rows_out == 20_000


def test_bad_csv_is_quarantined(make_feed: MakeFeed) -> None:
    """Ragged lines, bad quotes and bad bytes of CSV are quarantined one by one, a file with a bad header as a whole."""
    files = {
        "a.csv": "a,b\n1,2\n3\n4,5,6\n7,8\n",
        "b.csv": 'a,b\n1,"x"y\n2,"x""\n3,4\n',
        "c.csv": b"a,b\n1,\xe9\n2,\xc3\xa9\n",
        "d.csv": "a,a\n1,2\n",
        "e.csv": "a,,\n1,2,3\n",
        "f.csv": "",
    }
    feed = make_feed(files, **LENIENT)
    summary = feed.run()
    assert faults(feed) == [
        ("a.csv", "ragged_line"),
        ("a.csv", "ragged_line"),
        ("b.csv", "bad_quote"),
        ("b.csv", "bad_quote"),
        ("c.csv", "bad_utf8"),
        ("d.csv", "bad_header"),
        ("e.csv", "bad_header"),
        ("f.csv", "empty_file"),
    ]
    assert feed.read() == "a,b\n1,2\n7,8\n3,4\n2,é\n"
    check_count(feed, summary)


def test_formats_come_in_one_run(make_feed: MakeFeed) -> None:
    """JSON, CSV and Parquet in one subdirectory have one table; a text of CSV beside numbers makes the column text."""
    files = {
        "a.csv": "id,name\n007,Ann\n",
        "b.json": '[{"id":1.50,"items":[1]},{"id":12345678901234567890}]',
        "c.parquet": parquet({"name": (pa.string(), ["Bob"]), "id": (pa.int64(), [3])}),
        "d.csv": "name,id\nCid,\n",
        "e.csv.gz": gzip.compress(b"id,extra\n5,x\n"),
    }
    patterns = ["*.csv", "*.json", "*.parquet", "*.csv.gz"]
    feed = make_feed(files, **FLAT | {"input": {"patterns": patterns}})
    summary = feed.run()
    header, *rows = cells(feed.read())
    assert header == ["id", "name", "items", "extra"]
    assert sorted(rows) == sorted(
        [["007", "Ann", "", ""], ["1.50", "", "[1]", ""], ["12345678901234567890", "", "", ""], ["3", "Bob", "", ""],
         ["", "Cid", "", ""], ["5", "", "", "x"]]
    )  # fmt: skip
    check_count(feed, summary)


def test_csv_joins_and_has_declared_types(make_feed: MakeFeed) -> None:
    """Lines of CSV have matches like records of JSON, and their declared columns have the types of the spec."""
    fields = {"n": "DECIMAL(10,2)", "day": "DATE", "ok": "BOOLEAN"}
    content = "customer_id,n,day,ok\n007,1.5,2026-01-02,true\n1,1.005,2026-01-02,true\n1,1,2026-02-30,\n2,,,false\n"
    feed = make_feed({"a.csv": content}, **{**LENIENT, "merge": None} | {"input": {"fields": fields}})
    feed.write_spec(subdirs=1, denormalize={}, quarantine={"max_bad_records_percent": 100}, input={"fields": fields})
    summary = feed.run()
    assert feed.read() == ("n,day,ok,customer_id,customer_name\n1.50,2026-01-02,true,007,James\n,,false,2,Bob\n")
    assert faults(feed) == [("a.csv", "inexact"), ("a.csv", "wrong_type")]
    check_count(feed, summary)


# Parquet that comes in.

MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001 - a time without a zone
# For each type: values, and what they are in the table.
PARQUET: dict[str, tuple[Any, list[Any], list[str]]] = {
    "int8": (pa.int8(), [-128, 127, None], ["-128", "127", ""]),
    "int64": (pa.int64(), [-(2**63), 2**63 - 1], ["-9223372036854775808", "9223372036854775807"]),
    "uint64": (pa.uint64(), [2**64 - 1, 0], ["18446744073709551615", "0"]),
    "decimal(9,2)": (pa.decimal128(9, 2), [Decimal("12.10"), Decimal("-0.01")], ["12.10", "-0.01"]),
    "decimal(38,0)": (pa.decimal128(38, 0), [Decimal(10**38 - 1)], ["9" * 38]),
    "decimal(38,20)": (
        pa.decimal128(38, 20),
        [Decimal("123456789012345678.12345678901234567890"), Decimal("-1e-20")],
        ["123456789012345678.12345678901234567890", "-0.00000000000000000001"],
    ),
    "double": (pa.float64(), [0.1, 1e300, 5e-324, -2.5, None], ["0.1", "1e+300", "5e-324", "-2.5", ""]),
    "boolean": (pa.bool_(), [True, False, None], ["true", "false", ""]),
    "string": (pa.string(), ["x,y", '"', "", "é😀\n", " 1", None], ["x,y", '"', "", "é😀\n", " 1", ""]),
    "large_string": (pa.large_string(), ["x"], ["x"]),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), ["a", "b", "a"], ["a", "b", "a"]),
    "date": (pa.date32(), [dt.date(2026, 1, 2), dt.date(1, 1, 1), None], ["2026-01-02", "0001-01-01", ""]),
    "timestamp": (pa.timestamp("us"), [MOMENT], ["2026-01-02T03:04:05.678901"]),
    "timestamp of nanoseconds": (pa.timestamp("ns"), [1767323045123456789], ["2026-01-02T03:04:05.123456789"]),
    "timestamp with a zone": (pa.timestamp("us", "Europe/Berlin"), [MOMENT], ["2026-01-02T03:04:05.678901Z"]),
    "time": (pa.time64("us"), [dt.time(3, 4, 5, 6)], ["03:04:05.000006"]),
    "null": (pa.null(), [None, None], ["", ""]),
    "list": (pa.list_(pa.int64()), [[1, 2], [], None], ["[1,2]", "[]", ""]),
    "list of decimals": (pa.list_(pa.decimal128(30, 10)), [[Decimal("12345678901234567890.0123456789")]],
                         ["[12345678901234567890.0123456789]"]),
    "list of strings": (pa.list_(pa.string()), [['a"', None, "é"]], ['["a\\"",null,"é"]']),
    "map": (pa.map_(pa.string(), pa.int64()), [[("k", 1), ("l", None)], []], ['{"k":1,"l":null}', "{}"]),
}  # fmt: skip


def same(found: str, expected: str) -> bool:
    """Say whether two cells are the same, numbers by their value."""
    try:
        return found == expected or Decimal(found) == Decimal(expected)
    except ArithmeticError:
        return False


@pytest.mark.parametrize("beside", ["nothing", "text"])
def test_values_of_parquet_are_kept(make_feed: MakeFeed, beside: str) -> None:
    """Every value of Parquet reaches its cell exactly, also where the column is text because of another file."""
    count = max(len(values) for _, values, _ in PARQUET.values())
    padded = {kind: (made, [*values, *[None] * (count - len(values))]) for kind, (made, values, _) in PARQUET.items()}
    files = {"a.parquet": parquet({"i": (pa.int64(), list(range(count))), **padded})}
    if beside == "text":
        files["b.json"] = json.dumps({"i": -1, **dict.fromkeys(PARQUET, "x")}).encode()
    feed = make_feed(files, **FLAT)
    summary = feed.run()
    header, *rows = cells(feed.read())
    found = sorted((dict(zip(header, row, strict=True)) for row in rows), key=lambda row: int(row["i"]))
    if beside == "text":
        first = found.pop(0)
        assert {kind: first[kind] for kind in PARQUET} == {
            kind: '"x"' if kind.startswith(("list", "map")) else "x" for kind in PARQUET
        }
    wrong = {
        kind: cell
        for kind, (_, _, expected) in PARQUET.items()
        for row, want in zip(found, [*expected, *[""] * (count - len(expected))], strict=True)
        if not same(cell := row[kind], want)
    }
    assert wrong == {}
    check_count(feed, summary)


def test_decimals_of_parquet_that_are_too_long_keep_their_digits(make_feed: MakeFeed) -> None:
    """A decimal of Parquet with more than 38 digits is kept with all of them, or its file is quarantined."""
    value = "1234567890123456789012345678901234567890.0123456789"
    content = parquet({"a": (pa.decimal256(50, 10), [Decimal(value)])})
    feed = make_feed({"a.parquet": content, "b.json": '{"b":1}'}, **LENIENT)
    summary = feed.run()
    assert value in feed.read() or summary.files_quarantined == 1


NESTED = pa.struct([("id", pa.int64()), ("in", pa.struct([("s", pa.string()), ("l", pa.list_(pa.int64()))]))])
ITEM = pa.struct([("sku", pa.string()), ("price", pa.decimal128(20, 4)), ("tags", pa.list_(pa.string()))])


def nested_parquet(**options: Any) -> bytes:
    return parquet(
        {
            "who": (
                NESTED,
                [{"id": 1, "in": {"s": "x", "l": [1]}}, None, {"id": None, "in": None}, {"id": 4, "in": {}}],
            ),
            "items": (
                pa.list_(ITEM),
                [
                    [{"sku": "a", "price": Decimal("1.5000"), "tags": ["t"]}, {"sku": "b", "price": None, "tags": []}],
                    [],
                    None,
                    [None, {"sku": "", "price": Decimal("1234567890123456.7891"), "tags": None}],
                ],
            ),
        },
        **options,
    )


ROWS_OF_NESTED = """who_id,who_in_s,who_in_l,items_sku,items_price,items_tags
1,x,[1],a,1.5000,"[""t""]"
1,x,[1],b,,[]
,,,,,
,,,,,
4,,,,,
4,,,"",1234567890123456.7891,
"""


@pytest.mark.parametrize("options", [{}, {"row_group_size": 1}, {"compression": "zstd", "use_dictionary": False}])
def test_nested_parquet_becomes_rows(make_feed: MakeFeed, options: dict[str, Any]) -> None:
    """Structs of Parquet flatten and a list of structs explodes, like objects and arrays of JSON."""
    feed = make_feed({"a.parquet": nested_parquet(**options)}, **FLAT | {"denormalize": {"explode": ["items"]}})
    summary = feed.run()
    assert feed.read() == ROWS_OF_NESTED
    assert (summary.records_in, summary.rows_out) == (4, 6)
    check_count(feed, summary)


def test_parquet_read_with_care_gives_the_same_rows(make_feed: MakeFeed) -> None:
    """A Parquet file with a record that has no match gives the same rows for all its others."""
    merge = [{"reference": "customers.csv", "key": {"record": "who.id", "reference": "customer_id"}, "into": "c"}]
    explode = {"denormalize": {"explode": ["items"]}}
    feed = make_feed({"a.parquet": nested_parquet()}, **LENIENT | explode)
    feed.write_spec(**LENIENT | explode | {"merge": [{**merge[0], "on_missing": "quarantine"}]})
    (feed.data_dir / "customers.csv").write_text("customer_id,name\n1,Ann\n4,Dan\n", encoding="utf-8")
    summary = feed.run()
    found = [[cell if cell not in {"1.5", "1.5000"} else "1.5" for cell in row[:-1]] for row in cells(feed.read())]
    expected = [[cell if cell != "1.5000" else "1.5" for cell in row] for row in cells(ROWS_OF_NESTED)]
    assert found == expected[:3] + expected[5:]
    assert faults(feed) == [("a.parquet", "no_match")] * 2
    check_count(feed, summary)


def test_declared_types_hold_for_parquet(make_feed: MakeFeed) -> None:
    """A value of Parquet that its declared type does not hold makes its record bad, with the number of its row."""
    content = parquet({"a": (pa.float64(), [1.0, 1.5, None, 2.0]), "d": (pa.date32(), [dt.date(2026, 1, 2)] * 4)})
    feed = make_feed({"a.parquet": content}, **LENIENT | {"input": {"fields": {"a": "BIGINT", "d": "DATE"}}})
    summary = feed.run()
    assert feed.read() == "a,d\n1,2026-01-02\n,2026-01-02\n2,2026-01-02\n"
    assert faults(feed) == [("a.parquet", "inexact")]
    check_count(feed, summary)


def test_parquet_files_of_different_columns(make_feed: MakeFeed) -> None:
    """Parquet files with other columns, in other order and of other numeric types, have one table without loss."""
    long = Decimal("12345678901.0000000001")
    files = {
        "a.parquet": parquet({"n": (pa.int32(), [1]), "s": (pa.string(), ["x"])}),
        "b.parquet": parquet({"t": (pa.bool_(), [True]), "n": (pa.decimal128(30, 10), [long])}),
        "c.parquet": parquet({"n": (pa.uint64(), [2**64 - 1])}),
        "d.parquet": parquet({"n": (pa.int64(), [])}),
        "e.parquet": parquet({"n": (pa.string(), ["007"])}),
    }  # fmt: skip
    for names in (("a", "b", "c", "d"), tuple("abcde")):
        chosen = {f"{name}.parquet": files[f"{name}.parquet"] for name in names}
        feed = make_feed(chosen, folder="".join(names), **FLAT)
        summary = feed.run()
        header, *rows = cells(feed.read())
        assert header == ["n", "s", "t"]
        numbers = {Decimal(row[0]) for row in rows if row[0] != "007"}
        assert numbers == {Decimal(1), long, Decimal(2**64 - 1)}
        assert ["007", "", ""] in rows or "e" not in names
        check_count(feed, summary)


@pytest.mark.parametrize("damage", ["no Parquet", "no footer", "cut short", "changed"])
def test_damaged_parquet_is_quarantined(make_feed: MakeFeed, damage: str) -> None:
    """A Parquet file that cannot be read goes to quarantine as a whole, and costs no other file."""
    whole = parquet({"i": (pa.int64(), list(range(5000))), "s": (pa.string(), [f"text {i}" for i in range(5000)])})
    middle = len(whole) // 3
    damaged = {
        "no Parquet": b"no Parquet",
        "no footer": whole[:-8] + b"\0" * 8,
        "cut short": whole[:middle],
        "changed": whole[:200] + b"\xff" * 4000 + whole[4200:],
    }[damage]
    feed = make_feed({"a.parquet": damaged, "b.json": '{"i":1}'}, **FLAT)
    summary = feed.run()
    assert faults(feed) == [("a.parquet", "unreadable")]
    assert (summary.files_quarantined, summary.rows_out) == (1, 1)
    assert (feed.data_dir / f"quarantine/{TS}/1/a.parquet").read_bytes() == damaged
    check_count(feed, summary)


# Compressed files.

LINES = b"".join(b'{"i":%d,"s":"%d"}\n' % (i, i * 7919 % 10_007) for i in range(3000))


def zstd(content: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(content)


COMPRESSED = {
    "a.json.gz": gzip.compress(LINES, mtime=0),
    "b.json.gz": gzip.compress(LINES[:30_000], mtime=0) + gzip.compress(LINES[30_000:], mtime=0),
    "c.json.zst": zstd(LINES),
    "d.json.zst": zstd(LINES, write_checksum=True, write_content_size=False),
    "e.json.zst": zstd(LINES[:30_000]) + zstd(LINES[30_000:]),
    "f.csv.gz": gzip.compress(b"i,s\n1,x\n", mtime=0),
    "g.csv.zst": zstd(b"i,s\n1,x\n"),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_files_are_read(make_feed: MakeFeed, name: str) -> None:
    """Files of gzip and zstd, also of several members or frames, give the records of what was compressed."""
    feed = make_feed({name: COMPRESSED[name]}, **FLAT | {"input": {"patterns": ["*.gz", "*.zst"]}})
    summary = feed.run()
    assert summary.files_quarantined == 0
    if ".csv" in name:
        assert feed.read() == "i,s\n1,x\n"
    else:
        assert feed.read() == "i,s\n" + "".join(f"{i},{i * 7919 % 10_007}\n" for i in range(3000))
    check_count(feed, summary)


def zstd_in_two_blocks(before: bytes, after: bytes) -> tuple[bytes, bytes]:
    """Return the two parts of one frame of zstd, cut where the first content ends."""
    compressor = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    first = compressor.compress(before) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return first, compressor.compress(after) + compressor.flush()


TRUNCATED = {
    "gzip, in the checksum": ("a.json.gz", gzip.compress(LINES, mtime=0)[:-5]),
    "gzip, in a record": ("a.json.gz", gzip.compress(LINES, mtime=0)[:-2000]),
    "zstd, between records": ("a.json.zst", zstd_in_two_blocks(LINES, b'{"i":-1}\n')[0]),
    "zstd, in the checksum": ("a.json.zst", zstd(LINES, write_checksum=True)[:-2]),
    "zstd, in a record": ("a.json.zst", b"".join(zstd_in_two_blocks(LINES, b'{"i":-1}\n'))[:-20]),
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_a_truncated_file_is_told(make_feed: MakeFeed, name: str) -> None:
    """A compressed file that is cut short has a fault of the code `truncated`, wherever it is cut."""
    landed, content = TRUNCATED[name]
    feed = make_feed({landed: content, "b.json": '{"i":-2}'}, **LENIENT)
    summary = feed.run()
    assert faults(feed) == [(landed, "truncated")]
    check_count(feed, summary)


@pytest.mark.parametrize("name", ["gzip, in the checksum", "zstd, in the checksum", "zstd, between records"])
def test_the_records_of_a_truncated_file_are_kept(make_feed: MakeFeed, name: str) -> None:
    """All records that a file which is cut short still has are published."""
    landed, content = TRUNCATED[name]
    feed = make_feed({landed: content, "b.json": '{"i":-2}'}, **LENIENT)
    summary = feed.run()
    assert summary.rows_out == 3001
    assert summary.records_quarantined == 1


WRONG = {
    "a.json.gz": COMPRESSED["a.json.gz"][:-8] + b"\0\0\0\0" + COMPRESSED["a.json.gz"][-4:],
    "b.json.gz": COMPRESSED["a.json.gz"][:5000] + b"\xff" * 50 + COMPRESSED["a.json.gz"][5050:],
    "c.json.zst": COMPRESSED["d.json.zst"][:-4] + b"\0\0\0\0",
    "d.csv.gz": COMPRESSED["f.csv.gz"][:-8] + b"\0\0\0\0" + COMPRESSED["f.csv.gz"][-4:],
    "e.json.gz": COMPRESSED["a.json.gz"] + b"garbage",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_checksum_denies_is_not_believed(make_feed: MakeFeed, name: str) -> None:
    """A compressed file with a wrong checksum, or other damage, goes to quarantine as a whole."""
    patterns = ["*.gz", "*.zst", "*.json"]
    feed = make_feed({name: WRONG[name], "z.json": '{"i":-2}'}, **FLAT | {"input": {"patterns": patterns}})
    summary = feed.run()
    assert faults(feed) == [(name, "unreadable")]
    assert (summary.rows_out, summary.files_quarantined) == (1, 1)
    check_count(feed, summary)


# Parquet that goes out.

EXACT: list[dict[str, Any]] = [
    {"i": 1, "d": "0.10", "t": True, "s": "x"},
    {"i": 9223372036854775807, "d": "123456789012345678.123", "t": None, "s": ""},
    {"i": None, "d": "-5", "s": "é\n"},
]


def exact_json(records: list[dict[str, Any]]) -> str:
    return "\n".join(
        "{" + ",".join(f'"{k}":{v if k == "d" else json.dumps(v)}' for k, v in record.items()) + "}"
        for record in records
    )


def test_parquet_has_exact_types(make_feed: MakeFeed) -> None:
    """Tables of Parquet are compressed by zstd, with integers, exact decimals, booleans and text."""
    feed = make_feed({"a.json": exact_json(EXACT)}, **FLAT | {"output": {"format": "parquet"}})
    summary = feed.run()
    path = feed.data_dir / f"denormalized/{TS}/1.parquet"
    table = pq.read_table(path)
    assert table.schema.names == ["i", "d", "t", "s"]
    assert table.schema.types == [pa.int64(), pa.decimal128(38, 3), pa.bool_(), pa.string()]
    assert table.to_pylist() == [
        {"i": 1, "d": Decimal("0.100"), "t": True, "s": "x"},
        {"i": 9223372036854775807, "d": Decimal("123456789012345678.123"), "t": None, "s": ""},
        {"i": None, "d": Decimal("-5.000"), "t": None, "s": "é\n"},
    ]
    metadata = pq.ParquetFile(path).metadata
    assert {metadata.row_group(0).column(i).compression for i in range(4)} == {"ZSTD"}
    check_count(feed, summary)


def test_declared_types_are_those_of_parquet(make_feed: MakeFeed) -> None:
    """Declared types are the types of the columns of Parquet."""
    fields = {
        "n": "DECIMAL(10,2)", "f": "DOUBLE", "b": "BIGINT", "day": "DATE", "at": "TIMESTAMP", "on": "TIMESTAMPTZ",
        "ok": "BOOLEAN", "t": "VARCHAR",
    }  # fmt: skip
    record = {
        "n": 1.5, "f": 0.1, "b": "12", "day": "2026-01-02", "at": "2026-01-02T03:04:05.678",
        "on": "2026-01-02T03:04:05+01:00", "ok": "true", "t": 7,
    }  # fmt: skip
    feed = make_feed({"a.json": [record, {}]}, **FLAT | {"output": {"format": "parquet"}, "input": {"fields": fields}})
    feed.run()
    table = pq.read_table(feed.data_dir / f"denormalized/{TS}/1.parquet")
    utc = dt.datetime(2026, 1, 2, 2, 4, 5, tzinfo=dt.UTC)
    assert table.to_pylist()[0] == {
        "n": Decimal("1.50"), "f": 0.1, "b": 12, "day": dt.date(2026, 1, 2),
        "at": dt.datetime(2026, 1, 2, 3, 4, 5, 678000), "on": utc, "ok": True, "t": "7",  # noqa: DTZ001
    }  # fmt: skip
    assert set(table.to_pylist()[1].values()) == {None}


def test_parts_of_parquet_have_one_schema(make_feed: MakeFeed) -> None:
    """All parts of a run have the same schema, whether a part has nulls, no rows, or took another path."""
    files: dict[str, Any] = {
        "a.json": '{"a":1,"b":"x","items":[{"p":1.5}]}\n' * 30,
        "b.json": '{"a":null,"c":true}\n' * 20,
        "c.json": '{"a":2,"items":[{"p":1234567890.123456789}]}\n{"a":x}\n' + '{"a":3}\n' * 20,
        "d.json": "no JSON",
        "e.csv": "b\ny\n" * 10,
    }
    keys = FLAT | {
        "subdirs": 5,
        "output": {"format": "parquet", "lineage": True},
        "denormalize": {"explode": ["items"]},
    }
    feed = make_feed(files, **keys)
    summary = feed.run()
    tables = [pq.read_schema(feed.data_dir / f"denormalized/{TS}/{n}.parquet") for n in range(1, 6)]
    assert all(table.equals(tables[0], check_metadata=True) for table in tables)
    assert tables[0].names == ["a", "b", "items_p", "c", "_source_file", "_source_record", "_source_item"]
    files_of = [pq.ParquetFile(feed.data_dir / f"denormalized/{TS}/{n}.parquet").schema for n in range(1, 6)]
    assert all(schema.equals(files_of[0]) for schema in files_of)
    check_count(feed, summary)


@pytest.mark.parametrize("output", ["csv", "parquet"])
def test_a_run_gives_the_same_bytes_again(make_feed: MakeFeed, output: str) -> None:
    """The same files give the same tree, byte for byte, in another folder, however they were written there."""
    files: dict[str, Any] = {
        f"{n}.json": [{"i": i, "f": i / 8, "s": str(i) * 3} for i in range(n * 300)] for n in range(1, 6)
    }
    files |= {"a.csv": "i,s\n1,x\n2\n" * 9, "b.parquet": nested_parquet(), "c.json": '{"i":1}\n{"i":x}\n' * 4}
    keys = LENIENT | {"subdirs": 2, "output": {"format": output, "lineage": True}}
    first = make_feed(files, folder="first", **keys)
    second = make_feed(dict(reversed(files.items())), folder="the/second", **keys)
    assert first.run() == second.run()
    assert tree(first.data_dir) == tree(second.data_dir)


@pytest.mark.slow
def test_row_groups_are_as_small_as_what_is_joined_is_large(make_feed: MakeFeed) -> None:
    """Small records that are joined to a large value are not kept in memory by ten thousands."""
    merge = [{"reference": "customers.csv", "key": "id", "into": "c"}]
    spec = {"subdirs": 1, "merge": merge, "denormalize": {}, "output": {"format": "parquet"}}
    feed = make_feed({"a.json": "".join('{"id":1}\n' for _ in range(5000))}, **spec)
    (feed.data_dir / "customers.csv").write_text(f"id,large\n1,{'y' * 50_000}\n")
    feed.run()
    table = pq.ParquetFile(feed.data_dir / f"denormalized/{TS}/1.parquet")
    assert table.num_row_groups > 1


def test_columns_of_maps_stand_where_they_are_in_the_file(make_feed: MakeFeed) -> None:
    """Maps have the place that the file gives them, among others and among each other."""
    kind = pa.map_(pa.string(), pa.int64())
    names = ["id", *(f"m{number}" for number in range(8)), "z"]
    columns = [pa.array([1]) if name in {"id", "z"} else pa.array([[("a", 1)]], kind) for name in names]
    inner = pa.struct([("k", pa.int64()), ("n", kind), ("m", kind)])
    table = pa.table([*columns, pa.array([{"k": 1, "n": [], "m": []}], inner)], [*names, "o"])
    feed = make_feed({}, subdirs=1, merge=[], denormalize={})
    pq.write_table(table, feed.land("a.parquet", b""))
    feed.run()
    assert feed.read().partition("\n")[0].split(",") == [*names, "o_k", "o_n", "o_m"]


@pytest.mark.slow
def test_row_groups_keep_the_order(make_feed: MakeFeed) -> None:
    """A table of several row groups has its rows in the order of the records."""
    count = 150_000
    content = "".join(f'{{"i":{i}}}\n' for i in range(count))
    feed = make_feed({"a.json": content}, **FLAT | {"output": {"format": "parquet"}})
    feed.run()
    path = feed.data_dir / f"denormalized/{TS}/1.parquet"
    assert pq.read_table(path)["i"].to_pylist() == list(range(count))
    assert pq.ParquetFile(path).num_row_groups > 1


# Lineage.


def lineage(feed: FeedDir) -> list[tuple[str, ...]]:
    header, *rows = cells(feed.read())
    assert header[-3:] == ["_source_file", "_source_record", "_source_item"]
    return [(row[0], *row[-3:]) for row in rows]


def test_rows_know_their_file_and_record(make_feed: MakeFeed) -> None:
    """Each row has its file, the number of its record there, bad ones counted, and the place of its item."""
    files: dict[str, Any] = {
        "a.json": '[{"i":1,"items":[{"s":"x"},{"s":"y"}]},{"i":2},{"i":3,"items":[]}]',
        "sub/b.jsonl": '{"i":4}\n\n{"i":x}\n{"i":5,"items":[null]}\n',
        "c.csv": "i,t\n6,x\n7\n8,y\n",
        "d.parquet": parquet({"i": (pa.int64(), [9, 10])}),
        "e.json": '{"i":11}{"i":12}',
    }
    keys = {"denormalize": {"explode": ["items"]}, "output": {"lineage": True}}
    feed = make_feed(files, **LENIENT | keys)
    summary = feed.run()
    assert sorted(lineage(feed), key=lambda row: int(row[0])) == [
        ("1", "a.json", "1", "1"),
        ("1", "a.json", "1", "2"),
        ("2", "a.json", "2", ""),
        ("3", "a.json", "3", ""),
        ("4", "sub/b.jsonl", "1", ""),
        ("5", "sub/b.jsonl", "3", "1"),
        ("6", "c.csv", "1", ""),
        ("8", "c.csv", "3", ""),
        ("9", "d.parquet", "1", ""),
        ("10", "d.parquet", "2", ""),
        ("11", "e.json", "1", ""),
        ("12", "e.json", "2", ""),
    ]
    check_count(feed, summary)


@pytest.mark.parametrize("bad", ["", "x\n"])
def test_rows_know_the_places_of_both_arrays(make_feed: MakeFeed, bad: str) -> None:
    """With two levels of arrays, the place of an item is that of the outer and of the inner one, as 2.1."""
    content = (
        bad + '{"i":1,"orders":[{"items":[{"s":1},{"s":2}]},{"items":[{"s":3}]},{"items":[]},null]}\n'
        '{"i":2,"orders":[]}\n{"i":3}\n'
    )
    keys = {"denormalize": {"explode": ["orders", "orders.items"]}, "output": {"lineage": True}}
    feed = make_feed({"a.json": content}, **LENIENT | keys)
    summary = feed.run()
    shift = 1 if bad else 0
    assert [(row[0], row[2], row[3]) for row in lineage(feed)] == [
        ("1", str(1 + shift), "1.1"),
        ("1", str(1 + shift), "1.2"),
        ("1", str(1 + shift), "2.1"),
        ("1", str(1 + shift), "3"),
        ("1", str(1 + shift), "4"),
        ("2", str(2 + shift), ""),
        ("3", str(3 + shift), ""),
    ]
    check_count(feed, summary)


def test_lineage_is_right_behind_many_records(make_feed: MakeFeed) -> None:
    """The number of a record is right in files of thousands, and by name where several files hold the same."""
    files: dict[str, Any] = {f"{n}.json": [{"i": n * 10_000 + i} for i in range(3000)] for n in range(3)}
    feed = make_feed(files, **FLAT | {"output": {"lineage": True}})
    feed.run()
    expected = [(str(n * 10_000 + i), f"{n}.json", str(i + 1), "") for n in range(3) for i in range(3000)]
    assert lineage(feed) == expected


def test_lineage_goes_with_references(make_feed: MakeFeed) -> None:
    """Rows that are joined with a reference say where they come from as others do, bad records counted."""
    merge = [{"reference": "customers.csv", "key": "customer_id", "into": "customer"}]
    feed = make_feed(
        {
            "a.json": [{"customer_id": "1", "items": [{"q": 1}, {"q": 2}]}, {"customer_id": "x"}],
            "b.jsonl": '{"customer_id":"2"}\nbad\n{"customer_id":"007"}\n',
        },
        **LENIENT | {"merge": merge, "denormalize": {"explode": ["items"]}, "output": {"lineage": True}},
    )
    feed.run()
    assert [row.split(",", 1)[1] for row in feed.read().splitlines()[1:]] == [
        "1,Ann,a.json,1,1",
        "2,Ann,a.json,1,2",
        ",,a.json,2,",
        ",Bob,b.jsonl,1,",
        ",James,b.jsonl,3,",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("output", ["csv", "parquet"])
@pytest.mark.parametrize("size", [4_000, 64_000])
def test_large_records_take_no_more_memory(make_feed: MakeFeed, size: int, output: str) -> None:
    """Records of kilobytes, many megabytes in all, are published; none of them is too much for a task's memory."""
    chance = random.Random(size)
    lines = [json.dumps({"i": i, "v": chance.randbytes(size // 2).hex()}) for i in range(80_000_000 // size)]
    feed = make_feed(
        {"a.json": "\n".join(lines)}, subdirs=1, merge=[], denormalize={"explode": []}, output={"format": output}
    )
    assert feed.run().rows_out == len(lines)
    run, committed = runs.open_complete(feed.open(), TS)
    assert recount(run, committed).gaps == []


def test_csv_that_is_cut_short_in_its_compression_has_no_half_record(make_feed: MakeFeed) -> None:
    text = b'id,name\n1,Alexander\n2,"Bo""b"\n'
    for size in range(8, len(text)):
        allowed = {"max_bad_records_percent": 100, "max_bad_files_percent": 100}
        keys = {"input": {"patterns": ["*.csv", "*.csv.gz"]}, "quarantine": allowed}
        feed = make_feed(subdirs=1, merge=[], denormalize={}, **keys)
        stream = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
        feed.land("a.csv.gz", stream.compress(text[:size]) + stream.flush(zlib.Z_SYNC_FLUSH))
        feed.land("b.csv", b"id,name\n9,z\n")
        feed.run()
        whole = text[: text[:size].rfind(b"\n") + 1].decode()
        assert feed.read(1) == f"{whole}9,z\n", size
        shutil.rmtree(feed.data_dir)


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_a_pointer_is_for_json_alone(make_feed: MakeFeed, names: str) -> None:
    """`input.records_at` leads into documents of JSON; CSV and Parquet beside them have their records as ever."""
    content = io.BytesIO()
    pq.write_table(pa.table({"id": [2]}), content)
    files = {f"{names[0]}.json": '{"data":[{"id":1}]}', f"{names[1]}.parquet": content.getvalue(), "c.csv": "id\n3\n"}
    feed = make_feed(files, subdirs=1, merge=[], denormalize={}, input={"records_at": "/data"})
    feed.run()
    assert sorted(feed.read().split()) == ["1", "2", "3", "id"]
