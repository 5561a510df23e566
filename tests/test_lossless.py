"""Nothing is lost: whatever records hold, every value is in its cell, by whatever path its file was read."""

import gzip
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fanfold.feed import runs
from fanfold.manifest import Manifest
from fanfold.steps.recount import recount
from tests.conftest import FeedDir, MakeFeed, new_feed

LENIENT: dict[str, Any] = {"subdirs": 1, "merge": [], "quarantine": {"max_bad_records_percent": 100}}
FIELD = re.compile(r'"((?:[^"]|"")*)"(,|\n)|([^",\n]*)(,|\n)')


def parse_csv(text: str) -> list[list[str | None]]:
    """Read CSV by RFC 4180, nothing as None and `""` as an empty text."""
    rows: list[list[str | None]] = [[]]
    at = 0
    while at < len(text):
        field = FIELD.match(text, at)
        assert field is not None, text[at : at + 40]
        quoted, after_quoted, plain, after_plain = field.groups()
        rows[-1].append(plain or None if quoted is None else quoted.replace('""', '"'))
        if (after_quoted or after_plain) == "\n":
            rows.append([])
        at = field.end()
    return rows[:-1]


class Raw(str):
    """A number as it stands in a document."""

    __slots__ = ()


def dumps(value: Any, indent: str = "", step: str = "") -> str:
    """Write a document in which numbers are `Raw`, compact or pretty-printed."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict | list) and value:
        inner, line, end = indent + step, f"\n{indent}{step}" if step else "", f"\n{indent}" if step else ""
        colon = ": " if step else ":"
        if isinstance(value, dict):
            members = [json.dumps(key) + colon + dumps(one, inner, step) for key, one in value.items()]
            return "{" + line + f",{line}".join(members) + end + "}"
        return "[" + line + f",{line}".join(dumps(one, inner, step) for one in value) + end + "]"
    return json.dumps(value, ensure_ascii=False)


def loads(text: str) -> Any:
    """Read a document, numbers as exact values."""
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every value of a record that is no object, with its path; nothing for null."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, (*path, key))
    elif value is not None:
        yield path, value


def same(cell: str | None, value: Any, *, as_json: bool) -> bool:
    """Say whether a cell holds a value: numbers exactly, text by its characters."""
    if cell is None or value is None:
        return cell is None and value is None
    if isinstance(value, list | dict) or as_json:
        return bool(loads(cell) == loads(dumps(value)))
    if isinstance(value, bool):
        return cell == ("true" if value else "false")
    return Decimal(cell) == Decimal(value) if isinstance(value, Raw) else cell == value


def published(feed: FeedDir) -> tuple[Manifest, list[list[str | None]]]:
    """Return the manifest of the newest run and the rows of its one table, without the header."""
    run, made = runs.open_complete(feed.open(), None)
    header, *rows = parse_csv((run.output_dir / "1.csv").read_bytes().decode())
    assert header == [column.name for column in made.columns]
    return made, rows


# Documents.

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["", " ", "NULL", "null", "007", "1.50", '"', ",", "\n", "\r\n", "\r", "\\", "\t", "{}", "[1,]", "2026-01-02",
     "\u2028", "\x00", "\ufeff", "\U0001f600", "e\u0301", "NaN", "true", ",}", "'", "#", "12345678901234567890.5"]
)  # fmt: skip
INTEGERS = st.integers(-(10**45), 10**45) | st.integers(-(2**64), 2**64) | st.integers(-9, 9)
NUMBERS = st.one_of(
    INTEGERS.map(str),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,25})\.[0-9]{1,25}\Z"),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?[eE][-+]?[0-9]{1,3}\Z"),
    st.sampled_from(["-0", "-0.0", "0.10", "9007199254740993", "1e400", "0.1234567890123456789", "1E-400", "1.0"]),
).map(Raw)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)


@st.composite
def records(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Records whose fields have one kind of value each, or any, and that lack some of them."""
    kinds = {
        "whole": INTEGERS.map(str).map(Raw),
        "small": st.integers(-99, 99).map(str).map(Raw),
        "number": NUMBERS,
        "text": TEXT,
        "flag": st.booleans(),
        "any": SCALARS,
        "list": st.lists(JSON, max_size=3),
        "json": JSON,
    }
    names = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=6, unique=True))
    inner = draw(st.lists(st.sampled_from(sorted(kinds)), max_size=3, unique=True))

    def fields(chosen: list[str]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({}, optional={name: kinds[name] | st.none() for name in chosen})

    nested = st.fixed_dictionaries({}, optional={"a b": fields(inner), "c.d": TEXT | st.none()})
    one = st.tuples(fields(names), nested | st.none()).map(lambda both: {**both[0], "o": both[1]})
    return [{"i": Raw(str(i)), **record} for i, record in enumerate(draw(st.lists(one, min_size=1, max_size=5)))]


def line(document: dict[str, Any]) -> bytes:
    return dumps(document).encode()


def lines(documents: list[dict[str, Any]]) -> bytes:
    return b"".join(line(document) + b"\n" for document in documents)


FORMS: dict[str, tuple[str, Callable[[list[dict[str, Any]]], bytes]]] = {
    "array": ("a.json", lambda documents: dumps(documents).encode()),
    "array, a record a line": ("a.json", lambda documents: b"[\n" + b",\n".join(map(line, documents)) + b"\n]"),
    "NDJSON": ("a.jsonl", lines),
    "pretty-printed": ("a.json", lambda documents: dumps(documents, "", "  ").encode()),
    "pretty-printed objects": ("a.json", lambda documents: "\n".join(dumps(d, "", "\t") for d in documents).encode()),
    "gzip": ("a.json.gz", lambda documents: gzip.compress(dumps(documents).encode())),
    "zstd": ("a.json.zst", lambda documents: zstandard.compress(lines(documents))),
}  # fmt: skip


@settings(max_examples=14)
@given(records(), st.sampled_from(sorted(FORMS)))
def test_every_value_is_in_its_cell(documents: list[dict[str, Any]], form: str) -> None:
    """Every value of any record, in any form of file, is in its cell: numbers exactly, text by its characters."""
    name, write = FORMS[form]
    with tempfile.TemporaryDirectory() as folder:
        feed = new_feed(Path(folder), {name: write(documents)}, **LENIENT, denormalize={})
        summary = feed.run()
        made, rows = published(feed)
        assert recount(*runs.open_complete(feed.open(), None)).gaps == []
    assert (summary.records_in, summary.records_quarantined, summary.rows_out) == (len(documents), 0, len(documents))
    check(made, rows, documents)


def check(made: Manifest, rows: list[list[str | None]], documents: list[dict[str, Any]]) -> None:
    """Check each cell against the documents, and that no value of them has no cell."""
    paths = [tuple(column.path) for column in made.columns]
    # Where a column holds JSON, texts in it have quotes.
    mixed = {path: any(isinstance(found(document, path), dict | list) for document in documents) for path in paths}
    for document, row in zip(documents, rows, strict=True):
        cells = dict(zip(paths, row, strict=True))
        for path in paths:
            value = found(document, path)
            assert same(cells[path], value, as_json=mixed[path]), (path, cells[path], value)
        covered = {path for path, _ in flat(document) if any(path[: len(known)] == known for known in paths)}
        assert covered == {path for path, _ in flat(document)}


def found(document: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


@st.composite
def with_items(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Records with arrays of one kind of element each."""
    price = st.from_regex(r"\A[0-9]{1,18}(\.[0-9]{1,9})?\Z").map(lambda number: Raw(str(Decimal(number))))
    item = st.fixed_dictionaries({}, optional={"sku": TEXT, "price": price, "tags": st.lists(TEXT, max_size=2)})
    elements = draw(st.sampled_from([item, TEXT, NUMBERS, SCALARS, item | st.none()]))
    arrays = draw(st.lists(st.lists(elements, max_size=4) | st.none(), min_size=1, max_size=5))
    documents = [{"i": Raw(str(i)), **({} if array is None else {"items": array})} for i, array in enumerate(arrays)]
    # What explodes is in some record.
    return [*documents, {"items": []}]


@settings(max_examples=8)
@given(with_items(), st.sampled_from(["array", "NDJSON", "gzip"]))
def test_every_value_of_an_item_is_in_its_row(documents: list[dict[str, Any]], form: str) -> None:
    """Every element of an exploded array has its row, with all of its values and those of its record."""
    name, write = FORMS[form]
    with tempfile.TemporaryDirectory() as folder:
        feed = new_feed(Path(folder), {name: write(documents)}, **LENIENT)
        feed.run()
        made, rows = published(feed)
        assert recount(*runs.open_complete(feed.open(), None)).gaps == []
    check(made, rows, [{**d, "items": item} for d in documents for item in d.get("items") or [None]])


EXACT = ["0.1234567890123456789", "9007199254740993.5", "9223372036854775808", "1234567890123456.7", "1e400", "-0.10"]
# One field for each place that a number may stand at, then beside values of other kinds, in a file of their own.
PLACES = """
{"top":N,"object":{"p":{"v":N}},"items":[{"v":1.5,"list":[N]},{"v":N}],"list":[1.5,N],"deep":[{"w":[[N]]}]}
{"whole":7,"decimals":0.5}
{"whole":N,"decimals":N}
{"decimals":12345678.25}
"""
MIXED = '{"text":N,"any":N,"flag":true}\n{"text":"x","any":{"w":1},"flag":N}\n'


@pytest.mark.parametrize("number", EXACT)
def test_a_number_keeps_its_digits_wherever_it_stands(make_feed: MakeFeed, number: str) -> None:
    """A number that neither 64 bits nor a double hold keeps all of its digits, at every place of a record."""
    files = {"a.jsonl": PLACES.replace("N", number), "b.jsonl": MIXED.replace("N", number)}
    feed = make_feed(files, **LENIENT | {"denormalize": {"explode": ["items"]}})
    feed.run()
    columns, rows = table(feed)
    kept = {
        name
        for name, _ in columns
        for row in rows
        if Decimal(number) in map(Decimal, re.findall(r"-?\d[-+.\deE]*", row[name] or ""))
    }
    places = {"top", "object_p_v", "items_v", "items_list", "list", "deep", "text", "any", "whole", "decimals", "flag"}
    assert kept == places


def test_decimals_of_many_digits_on_both_sides_are_exact(make_feed: MakeFeed) -> None:
    """Decimals each of which a double holds are exact in a column that has more digits than a double."""
    numbers = ["0.0000000001", "1234567890.1", "98765432109.3", "-0.7"]
    feed = make_feed({"a.json": "[" + ",".join(f'{{"d":{n}}}' for n in numbers) + "]"}, **LENIENT | {"denormalize": {}})
    feed.run()
    made, rows = published(feed)
    assert [column.type for column in made.columns] == ["DECIMAL(38,10)"]
    assert [Decimal(row[0] or "") for row in rows] == list(map(Decimal, numbers))


@settings(max_examples=20)
@given(
    size=st.integers(1, 20).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p))),
    numbers=st.lists(
        st.tuples(st.integers(-(10**17), 10**17) | st.integers(-2000, 2000), st.integers(0, 6)), min_size=1
    ),
)
@example(size=(5, 2), numbers=[(12550, 2)])
@example(size=(5, 2), numbers=[(5, 1), (100000, 2)])
@example(size=(5, 2), numbers=[(5, 1), (125, 3)])
@example(size=(4, 2), numbers=[(1, 0), (100, 0)])
@example(size=(18, 2), numbers=[(1234567890123456, 2)])
def test_a_declared_decimal_holds_each_number_or_its_record_is_bad(
    size: tuple[int, int], numbers: list[tuple[int, int]]
) -> None:
    """Numbers that a declared decimal holds are published as they are; only the records of others are bad."""
    precision, scale = size
    written = [format(Decimal(n).scaleb(-places), "f") for n, places in numbers]
    lines = "\n".join(f'{{"i":{i},"d":{number}}}' for i, number in enumerate(written))
    held = {}
    for i, number in enumerate(map(Decimal, written)):
        whole, _, fraction = format(abs(number.normalize()), "f").partition(".")
        if len(fraction) <= scale and len(whole.lstrip("0")) <= precision - scale:
            held[i] = number
    fields = {"i": "BIGINT", "d": f"DECIMAL({precision},{scale})"}
    with tempfile.TemporaryDirectory() as folder:
        keys = LENIENT | {"denormalize": {}, "input": {"schema": "declared", "fields": fields}}
        feed = new_feed(Path(folder), {"a.json": lines}, **keys)
        summary = feed.run()
        rows = parse_csv(feed.read(1))[1:]
    assert {int(i or ""): Decimal(d or "") for i, d, _ in rows} == held
    assert summary.records_quarantined == len(numbers) - len(held)


# Both paths.

CARE: dict[str, bytes] = {
    "a bad record": b"x\n",
    "a number that is no double": b'{"i":12345678901234567890123456789012345678901234567890}\n',
    "a key twice": b'{"i":1,"i":2}\n',
    "a record that is no object": b"7\n",
    "a trailing comma": b'{"i":1,}\n',
    "a key without a character": b'{"":1}\n',
}


def table(feed: FeedDir) -> tuple[list[tuple[str, str]], list[dict[str, str | None]]]:
    """Return the columns with their types, and the rows by the names of the columns."""
    made, rows = published(feed)
    names = [column.name for column in made.columns]
    return [(column.name, column.type) for column in made.columns], [dict(zip(names, row, strict=True)) for row in rows]


def with_care(feed: FeedDir, folder: Path, name: str) -> FeedDir:
    """Run the files of a feed again, one of them with a record in front that is bad as it is written."""
    copy = FeedDir(folder / "feed.yaml", folder / "data")
    copy.landing_dir.mkdir(parents=True)
    shutil.copy(feed.spec_path, copy.spec_path)
    for path in (feed.data_dir / "processed").iterdir():
        landed = re.sub(r"_\d{8}T\d{6}Z", "", path.name)
        content = path.read_bytes()
        (copy.landing_dir / landed).write_bytes(CARE["a bad record"] + content if landed == name else content)
    return copy


@settings(max_examples=8)
@given(records())
def test_both_paths_give_one_table(documents: list[dict[str, Any]]) -> None:
    """The same records give the same columns, types and cells, with a bad record among them or without."""
    with tempfile.TemporaryDirectory() as folder:
        plain = new_feed(Path(folder, "plain"), {"a.jsonl": lines(documents)}, **LENIENT, denormalize={})
        plain.run()
        careful = with_care(plain, Path(folder, "careful"), "a.jsonl")
        summary = careful.run()
        (columns, rows), (careful_columns, careful_rows) = table(plain), table(careful)
    assert summary.records_quarantined == 1
    assert sorted(careful_columns) == sorted(columns)
    assert len(rows) == len(careful_rows)
    for row, careful_row in zip(rows, careful_rows, strict=True):
        for name, kind in columns:
            assert equal(row[name], careful_row[name], kind), (name, kind, row[name], careful_row[name])


def equal(cell: str | None, other: str | None, kind: str) -> bool:
    """Say whether two cells are the same; JSON in them by what it says."""
    if cell is not None and other is not None and kind == "VARCHAR" and cell[:1] in {"[", "{"} and cell != other:
        return bool(loads(cell) == loads(other))
    return cell == other


DOCUMENTS: list[dict[str, Any]] = [
    {"i": Raw("1"), "t": "x", "d": Raw("1.50"), "o": {"p": True, "q": [Raw("1.50"), None]}, "items": [{"s": Raw("1")}]},
    {"i": Raw("-2"), "t": 'a"b,\n', "d": Raw("12345678901.125"), "o": None, "items": []},
    {"i": None, "t": "", "o": {"p": False, "q": []}, "items": [None, {"s": Raw("2.25"), "u": "é😀"}]},
    {},
    {"t": None, "o": {}, "items": None, "d": Raw("-7")},
]


@pytest.mark.parametrize("reason", CARE)
def test_a_reason_for_care_changes_no_other_cell(make_feed: MakeFeed, reason: str) -> None:
    """Whatever a file is read with care for, its other records have the cells that they have without it."""
    keys = LENIENT | {"denormalize": {"explode": ["items"]}, "output": {"lineage": True}}
    plain = make_feed({"a.jsonl": lines(DOCUMENTS)}, folder="plain", **keys)
    plain.run()
    careful = make_feed({"a.jsonl": lines(DOCUMENTS) + CARE[reason]}, folder="careful", **keys)
    careful.run()
    _, rows = table(plain)
    _, careful_rows = table(careful)
    for row, careful_row in zip(rows, careful_rows, strict=False):
        for name, cell in row.items():
            other = careful_row[name]
            number = name in {"i", "d", "items_s"} and cell is not None and other is not None
            same_number = number and Decimal(cell or 0) == Decimal(other or 0)
            assert same_number or equal(cell, other, "VARCHAR"), (name, cell, other)


@pytest.mark.parametrize("reason", CARE)
def test_care_for_one_file_changes_no_cell_of_another(make_feed: MakeFeed, reason: str) -> None:
    """A file that is read with care beside others changes neither their records nor how many there are."""
    files = {"a.jsonl": lines(DOCUMENTS), "b.jsonl": lines(DOCUMENTS[:1]) + CARE[reason]}
    feed = make_feed(files, **LENIENT | {"denormalize": {}, "output": {"lineage": True}})
    summary = feed.run()
    _, rows = table(feed)
    of_file = [row for row in rows if row["_source_file"] == "a.jsonl"]
    assert [row["t"] for row in of_file] == ["x", 'a"b,\n', "", None, None]
    assert [row["d"] and Decimal(row["d"]) for row in of_file][:2] == [Decimal("1.5"), Decimal("12345678901.125")]
    assert [row["_source_record"] for row in of_file] == ["1", "2", "3", "4", "5"]
    assert summary.records_in == 7


@pytest.mark.parametrize("empty", ["[{}]", "{}\n{}\n", "[{},{}]"])
def test_records_without_a_field_have_no_value(make_feed: MakeFeed, empty: str) -> None:
    """An object without a field is a record without a value, also where the run has only one column."""
    for i, value in enumerate(['"x"', "[1]", "true", "1.50", '{"b":1}']):
        files = {"a.json": empty, "b.json": f'[{{"a":{value}}}]'}
        feed = make_feed(files, folder=str(i), **LENIENT | {"denormalize": {}})
        feed.run()
        _, rows = published(feed)
        assert sum(1 for row in rows if row == [None]) == empty.count("{}"), value
        assert recount(*runs.open_complete(feed.open(), None)).gaps == []
