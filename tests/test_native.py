"""The core in C: what it reads, what it says is wrong and where, and that this never depends on its windows."""

import csv
import io
import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.errors import MissingError
from fanfold.native import Field, Form, Joined, Others, Reader, Rows, Seen, Table, codes
from fanfold.native.arrow import batches
from fanfold.native.fields import merged as merged_shapes
from fanfold.native.library import core
from fanfold.records.csv_records import CsvRecords
from fanfold.records.faults import CODES, Fault, UnreadableError
from fanfold.records.json_records import Found, JsonRecords
from fanfold.records.window import Window
from tests import hostile
from tests.core import LARGE, Read, cut, entries, parsed, read_csv, read_json, read_with, slots
from tests.oracle import by_grammar, by_library
from tests.test_records import (
    AROUND,
    BAD_CSV,
    BROKEN,
    CSV,
    DOCUMENT,
    EXACT,
    FAULTS,
    FORMS,
    GOOD,
    WRAPPED,
    mutated,
    with_one_broken,
)


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# One JSON text: RFC 8259.


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_code_and_place(name: str) -> None:
    """What is wrong with a record is told by a code of the list, the byte where it is, and a JSON pointer."""
    content, code, position, pointer = FAULTS[name]
    if not content:
        return
    # In an array of its own, so that what is no object is told by the same rule.
    before = b'{"x":' if content[0] != "{" else b""
    text = before + raw(content) + (b"}" if before and code != "truncated" else b"")
    (wrong,) = read_json(text).wrong
    offset = len(before) + len(raw(content[:position]))
    if code == "too_deep":
        offset, pointer = (offset - 1, "/x" + pointer[2:]) if before else (offset, pointer)
    elif before:
        pointer = "/x" + pointer
    assert (wrong.code, wrong.offset, wrong.pointer) == (code, offset, pointer)
    assert wrong.code in CODES
    assert wrong.message.startswith("found ")
    assert wrong.message.isprintable()


@settings(max_examples=400)
@given(mutated())
def test_a_record_is_good_exactly_when_it_is_an_object_of_json(content: str) -> None:
    """The core agrees with Python's parser on which text is a record, and on its value to the last digit."""
    text = raw(content).strip(b" \t\r\n")
    if not text or text.startswith((b"[", b"\xef\xbb\xbf")):
        return
    found = read_json(text)
    expected = by_library(text)
    if expected is None:
        assert found.wrong or len(found.values) > 1
    else:
        assert (found.values, found.wrong) == ([expected], [])


# Records in a file.


@pytest.mark.parametrize("name", FORMS)
def test_records_are_found_in_every_form(name: str) -> None:
    """Arrays, NDJSON, pretty-printed and concatenated objects give their records."""
    content, _ = FORMS[name]
    found = read_json(content)
    assert [record["i"] for record in found.values] == ["1", "2"]
    assert not found.wrong


@pytest.mark.parametrize(
    "content",
    [
        b'[{"i":1},{"i":2}]\n[{"i":3}]',
        b'[{"i":1},{"i":2}][{"i":3}]',
        b'[]\n[{"i":1}]\n\n[ {"i":2} , {"i":3} ] \n [] ',
        b'\xef\xbb\xbf [{"i":1}]\r\n[{"i":2},{"i":3}]\r\n',
    ],
)
def test_arrays_one_after_the_other_are_records(content: bytes) -> None:
    """The records of several arrays in a file are read like those of one."""
    found = read_json(content)
    assert [record["i"] for record in found.values] == ["1", "2", "3"]
    assert not found.wrong


@pytest.mark.parametrize("form", AROUND)
@pytest.mark.parametrize("name", BROKEN)
def test_reading_goes_on_behind_a_bad_record(name: str, form: str) -> None:
    """Of three records the second of which is bad, the first and the third are read, and the second has a code."""
    broken, expected = BROKEN[name]
    content = raw(AROUND[form] % (GOOD[0], broken, GOOD[1]))
    found = read_json(content, cap=150_000)
    assert found.values == [parsed(record) for record in GOOD]
    (wrong,) = found.wrong
    assert expected is None or wrong.code in expected
    assert wrong.record == 2
    assert wrong.record_offset == content.index(broken[:1].encode(), len(GOOD[0].encode()) + AROUND[form].index("%"))
    if wrong.code != "record_too_large":
        assert wrong.raw.startswith(raw(broken))


@settings(max_examples=300)
@given(with_one_broken())
def test_good_records_around_a_broken_one_survive(made: tuple[str, list[dict[str, Any]]]) -> None:
    """Whatever is wrong with one record, all others of the file are read, in their order."""
    content, expected = made
    found = read_json(raw(content))
    rest = iter(found.values)
    assert all(any(record == one for one in rest) for record in expected), (content, found)
    for one in found.wrong:
        assert one.record_line == raw(content)[: one.record_offset].count(b"\n") + 1
        assert raw(content)[one.record_offset :].startswith(one.raw)


@pytest.mark.parametrize("name", WRAPPED)
def test_records_are_found_inside_of_documents(name: str) -> None:
    """`records_at` leads to the records of each document, and what is wrong around them is told."""
    content, pointer, places, faults = WRAPPED[name]
    found = read_json(content, records_at=pointer)
    assert len(found.values) == len(places)
    assert [one.code for one in found.wrong] == faults


def test_what_stands_around_the_records_may_be_large() -> None:
    """An array beside the records is passed in bounded memory, and judged; only its elements have to fit."""
    beside = ",".join(f'[{{"n":{n}}}]' for n in range(2000))
    content = f'{{"beside":[{beside}],"d":[{{"i":1}}]}}'.encode()
    assert read_json(content, cap=100, records_at="/d").values == [{"i": "1"}]
    found = read_json(content.replace(b'{"n":1000}', b'{"n":1,"n":2}'), cap=100, records_at="/d")
    assert [one.code for one in found.wrong] == ["duplicate_key"]
    assert found.values == [{"i": "1"}]


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        (b'{"i":1}\n{"i":"' + b"x" * 300 + b'"}\n{"i":3}\n', ["record_too_large"]),
        (b'[{"i":1},{"i":"' + b"x" * 300 + b'"},{"i":3}]', ["record_too_large"]),
        (b'[{"i":1},{"i":[{"i":5},' + b" " * 300 + b'{"i":6}]},{"i":3}]', ["record_too_large"]),
        (b'[{"i":1},{"i":[,{"i":3}]', ["truncated"]),
        (b'[{"i":1},{"i":{"t":2},{"i":3}]', ["truncated"]),
        (b'{"i":1}' + b" " * 5000 + b'{"i":3}', []),
    ],
)
def test_a_record_ends_where_its_brackets_close_or_where_the_next_one_begins(content: bytes, faults: list[str]) -> None:
    """A bad or large record costs no other one, and no part of it is taken for a record."""
    found = read_json(content, cap=100)
    assert [record["i"] for record in found.values] == ["1", "3"]
    assert [one.code for one in found.wrong] == faults


# CSV: RFC 4180.


@pytest.mark.parametrize("name", [name for name in CSV if name != "text as it is"])
def test_lines_of_csv_are_records(name: str) -> None:
    """Every line of a CSV file is a record of texts; nothing is null and `""` an empty text."""
    content, expected, _ = CSV[name]
    found = read_csv(content)
    assert [tuple(slots(body, 2)[0]) for _, body in entries(found.merged)] == expected
    assert not found.wrong


@pytest.mark.parametrize("name", BAD_CSV)
def test_a_bad_line_of_csv_costs_no_other(name: str) -> None:
    """A line of CSV that is bad has its code, and the lines before and behind it are read."""
    content, expected = BAD_CSV[name]
    assert read_csv(b"a,b\n" + content, cap=2000).codes == expected


@pytest.mark.parametrize("line", [b'1, "Ann"', b'1,x"y', b'1,"x" ', b'1,""x', b'"1"1,2', b'1,"2"3"'])
@pytest.mark.parametrize("company", [b"", b"3\n", b'3,"4\n5"\n', b"3,4,5\n", b'3,"open\n'])
def test_a_line_of_csv_is_judged_alike_in_any_company(line: bytes, company: bytes) -> None:
    """A field is in quotes as a whole or has none, whatever stands on other lines."""
    found = read_csv(b"a,b\n0,0\n" + line + b"\n" + company + b"6,7\n")
    assert found.codes[:2] == [None, "bad_quote"]
    assert (found.wrong[0].raw, found.wrong[0].line) == (line, 3)
    assert found.codes[-1] is None


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"\n\r\n", "empty_file"),
        (b"a,,b\n", "bad_header"),
        (b'a,""\n', "bad_header"),
        (b"a,a\n", "bad_header"),
        (b'"a,b\n1,2\n', "bad_header"),
        (b"a,\xff\n", "bad_utf8"),
    ],
)
def test_a_header_names_each_column_once(content: bytes, code: str) -> None:
    """A CSV file without a header that names each column once has a fault of the file, and no record."""
    found = read_csv(content)
    assert [(one.code, one.record) for one in found.wrong] == [(code, 0)]
    assert not list(entries(found.merged))


@settings(max_examples=500)
@given(
    st.lists(st.sampled_from(["a", "é", ",", '"', '""', "\n", "\r\n", "\r", " ", "\x00", "#", "1,2\n"]), max_size=30)
)
def test_csv_is_read_to_the_letter(pieces: list[str]) -> None:
    """Of any bytes, the core reads the lines that RFC 4180 has, and says of as many others that they are bad."""
    content = b"a,b\n" + "".join(pieces).encode()
    found = read_csv(content)
    good, bad = by_grammar(content)
    assert [slots(body, 2)[0] for _, body in entries(found.merged)] == good
    assert len(found.wrong) == bad


# Windows.


SMALL = [
    *(content for content, _ in FORMS.values()),
    *(raw(AROUND[form] % (GOOD[0], broken, GOOD[1])) for form in AROUND for broken, _ in BROKEN.values()),
    *(fragment for fragment, _ in hostile.FRAGMENTS.values()),
    *(b'{"id":"1"}\n' + fragment + b'\n{"id":"2"}\n' for fragment, _ in hostile.FRAGMENTS.values()),
    b'[{"i":1},{"i":2}]\n[{"i":3}] x\n[{"i":4},]',
]


@pytest.mark.parametrize("content", [content for content in SMALL if len(content) < 300])
@pytest.mark.parametrize("cap", [12, LARGE])
def test_every_cut_of_a_file_gives_the_same_answer(content: bytes, cap: int) -> None:
    """Wherever one window ends and the next begins, records and faults are the same, to the last place."""
    whole = read_json(content, cap=cap)
    for at in range(len(content) + 1):
        assert read_json(content, at, cap=cap) == whole
    assert read_json(content, *range(1, len(content)), cap=cap) == whole


@pytest.mark.parametrize("name", WRAPPED)
def test_every_cut_of_a_document_gives_the_same_answer(name: str) -> None:
    """So it is around the records of a wrapped document."""
    content, pointer, *_ = WRAPPED[name]
    whole = read_json(content, records_at=pointer)
    for at in range(len(content) + 1):
        assert read_json(content, at, records_at=pointer) == whole
    assert read_json(content, *range(1, len(content)), records_at=pointer) == whole


@pytest.mark.parametrize(
    "content", [*(content for content, *_ in CSV.values()), *(b"a,b\n" + content for content, _ in BAD_CSV.values())]
)
def test_every_cut_of_a_csv_gives_the_same_answer(content: bytes) -> None:
    """And in CSV, between a CR and its LF, or two quotes."""
    whole = read_csv(content, cap=2000)
    for at in range(min(len(content), 100) + 1):
        assert read_csv(content, at, cap=2000) == whole
    assert read_csv(content, *range(1, len(content)), cap=2000) == whole


@settings(max_examples=60)
@given(st.lists(st.sampled_from([*SMALL, DOCUMENT]), min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_random_cuts_of_larger_files_give_the_same_answer(pieces: list[bytes], drawn: random.Random) -> None:
    """The same holds for files of many records, good and bad, cut at random."""
    content = b"\n".join(pieces)
    cuts = sorted(drawn.randrange(len(content) + 1) for _ in range(drawn.randrange(20)))
    cap = drawn.choice([30, 300, LARGE])
    assert read_json(content, *cuts, cap=cap) == read_json(content, cap=cap)


def test_what_is_said_of_a_comma_does_not_depend_on_windows() -> None:
    """A comma that is far from the bracket behind it is told alike, whether or not it is still in memory."""
    content = b'[{"i":1},' + b"\n" * 2000 + b"]"
    whole = read_json(content)
    (wrong,) = whole.wrong
    assert (wrong.code, wrong.line, wrong.raw, wrong.found) == ("trailing_comma", 1, b",", b",")
    assert read_json(content, *range(1, len(content))) == whole


@pytest.mark.parametrize("in_csv", [False, True])
def test_a_file_is_read_alike_in_any_company(in_csv: bool) -> None:  # noqa: FBT001
    """What one reader says of a file does not depend on the files that it read before, good or bad."""
    drawn = random.Random(3)
    pieces = [b"1,2\n", b'3,"4\n', b'5,"6"\n', b'7, "8"\n', b"9\n", b"1,2,3\r\n", b"\r", b"\x00,\n", b'"a""b",c\n']
    contents = (
        [b"a,b\n" + b"".join(drawn.choices(pieces, k=6)) for _ in range(200)]
        if in_csv
        else [b"\n".join(drawn.choices(SMALL, k=3)) for _ in range(200)]
    )
    record = Field(kind="object", inside=(Field("a"), Field("b"))) if in_csv else Field(type="JSON")
    reader = Reader(record, Others.REFUSE, Form(csv=in_csv, max_record_bytes=1000))
    for content in contents:
        alone = read_with(Reader(record, Others.REFUSE, Form(csv=in_csv, max_record_bytes=1000)), [content])
        assert read_with(reader, [content]) == alone


def test_an_open_quote_costs_its_line_only() -> None:
    """Of several CSV files the first of which has an open quote, all other lines of all files are read."""
    reader = Reader(Field(kind="object", inside=(Field("id"), Field("name"))), Others.REFUSE, Form(csv=True))
    files = [b'id,name\n1,Ann\n2,"Bob\n3,Cy\n4,Di\n', b"id,name\n5,Eve\n", b"id,name\n6,Fay\n"]
    found = [read_with(reader, [content]) for content in files]
    assert [slots(body, 2)[0][0] for one in found for _, body in entries(one.merged)] == ["1", "3", "4", "5", "6"]
    ((wrong,), *others) = [one.wrong for one in found]
    assert (wrong.code, wrong.line, wrong.raw, others) == ("bad_quote", 3, b'2,"Bob', [[], []])


# Beside the reader of today.


def by_reader(records: Iterator[Found]) -> tuple[list[Any], list[Any]]:
    """Return values, and codes with places and pointers, as the reader in Python has them."""
    values, faults = [], []
    for number, one in enumerate(records, 1):
        if one.fault is None:
            values.append(one.value)
            continue
        offset = one.place[1] + len(raw(one.raw[: one.fault.position]))
        large = one.fault.code in {"record_too_large", "too_many_values"}
        kept = b"" if large else raw(one.raw)
        faults.append((number, one.fault.code, one.place, offset, one.fault.pointer, kept))
    return values, faults


def by_core(found: Read) -> tuple[list[Any], list[Any]]:
    return found.values, [
        (one.record, one.code, (one.record_line, one.record_offset), one.offset, one.pointer, one.raw)
        for one in found.wrong
    ]


# What is another answer now, on purpose: garbage in a line ends with it, not at a `[` in it.
CHANGED = {"random.json"}


@pytest.mark.parametrize("kind", ["names", "json", "values", "keys"])
def test_hostile_files_of_json_are_read_as_today(kind: str) -> None:
    """Each hostile file has the records, faults, places and pointers that the reader in Python finds in it."""
    for case in hostile.corpus(kind).cases:
        if case.left or not isinstance(case.content, bytes) or case.name in CHANGED:
            continue
        try:
            expected: Any = by_reader(iter(JsonRecords(Window(io.BytesIO(case.content)), LARGE)))
        except UnreadableError as error:
            expected = [error.code]
        answer = read_json(case.content)
        assert (by_core(answer) if isinstance(expected, tuple) else [one.code for one in answer.wrong]) == expected


# For the first, the reader in Python takes minutes; in the others ever new keys are a fault of the file to it.
NOT_COMPARED = ("escapes", "dynamic")


@pytest.mark.parametrize(
    "case", [case for case in hostile.corpus("large").cases if not str(case.name).startswith(NOT_COMPARED)]
)
def test_large_hostile_files_are_read_as_today(case: hostile.Case) -> None:
    """So it is for what passes a limit of a record."""
    cap = 8 << 20
    assert isinstance(case.content, bytes)
    found = JsonRecords(Window(io.BytesIO(case.content)), cap)
    expected = [(number, one.fault.code, one.place) for number, one in enumerate(found, 1) if one.fault is not None]
    form = Form(max_record_bytes=cap, max_fields=1000)
    answer = read_with(Reader(None, Others.LEARN, form), [case.content])
    assert [(one.record, one.code, (one.record_line, one.record_offset)) for one in answer.wrong] == expected


@settings(max_examples=150)
@given(with_one_broken())
def test_random_broken_files_are_read_as_today(made: tuple[str, list[dict[str, Any]]]) -> None:
    """So it is for files with one broken record, but for where a bad one of many in a line ends."""
    content = raw(made[0])
    values, faults = by_reader(iter(JsonRecords(Window(io.BytesIO(content)), LARGE)))
    answer = by_core(read_json(content))
    assert (answer[0], [one[:3] for one in answer[1]]) == (values, [one[:3] for one in faults])


def test_hostile_files_of_csv_are_read_as_today() -> None:
    """Each hostile CSV has the same good lines and codes, but for a quote in the middle of a field."""
    for case in hostile.csv():
        if case.name in {"quote_middle.csv", "header_twice.csv"} or not isinstance(case.content, bytes):
            continue
        try:
            records = CsvRecords(Window(io.BytesIO(case.content)), 1 << 20)
            names, found = records.names, list(records)
        except UnreadableError as error:
            # 1,000 columns were too many.
            names, found = ["id", "v"], [Found("", (1, 0), None, Fault(error.code, 0, "", ""))]
        answer = read_csv(case.content, cap=1 << 20, names=names)
        values = [tuple(slots(body, len(names))[0]) for _, body in entries(answer.merged)]
        assert values == [tuple(one.value.values()) for one in found if one.value is not None], case.name
        faults = [one.fault.code for one in found if one.fault]
        assert [one.code for one in answer.wrong] == faults or faults == ["too_many_fields"], case.name


# What is learnt.


def learnt(*files: bytes, form: Form = Form(), record: Field | None = None) -> Seen:  # noqa: B008
    reader = Reader(record, Others.LEARN, form)
    for content in files:
        read_with(reader, [content])
    return reader.seen


def test_fields_stand_in_the_order_of_their_first_appearance() -> None:
    """Good records decide the order of fields, and what they hold; a bad one leaves no trace."""
    seen = learnt(b'{"bad":1,"b":NaN}\n{"c":1,"o":{"x":1}}\n{"a":2,"c":null,"o":{"y":[{"z":1.50}]}}\n{"d":1,"d":2}\n')
    assert list(seen.fields) == ["c", "o", "a"]
    assert list(seen.fields["o"].fields) == ["x", "y"]
    assert (seen.objects, seen.fields["c"].integers, seen.fields["c"].nulls) == (2, 1, 1)
    element = seen.fields["o"].fields["y"].element
    assert element is not None
    assert (element.objects, element.fields["z"].whole, element.fields["z"].scale) == (1, 1, 1)


def test_kinds_are_counted_by_records() -> None:
    """A kind counts once for each record that has it, however often; letter case makes another field."""
    seen = learnt(b'{"v":[1,2,"x"],"a":"1"}\n{"v":[3,true],"A":2.50}\n{"v":{"k":1}}\n{"v":null}\n')
    v = seen.fields["v"]
    assert (v.arrays, v.objects, v.nulls) == (2, 1, 1)
    assert v.element is not None
    assert (v.element.integers, v.element.texts, v.element.booleans) == (2, 1, 1)
    assert list(seen.fields) == ["v", "a", "A"]


@pytest.mark.parametrize(
    ("number", "integer", "whole", "scale"),
    [
        ("0", True, 1, 0), ("-7", True, 1, 0), ("7.0", True, 1, 0), ("1e3", True, 4, 0), ("12.50", False, 2, 1),
        ("9223372036854775807", True, 19, 0), ("9223372036854775808", False, 19, 0),
        ("-9223372036854775808", True, 19, 0), ("1e400", False, 401, 0), ("1e-400", False, 1, 400),
        ("0.1000000000000000055", False, 1, 19), ("0e9", True, 1, 0), ("100e-2", True, 1, 0),
        ("1" * 10_000, False, 10_000, 0),
    ],
)  # fmt: skip
def test_digits_are_counted_exactly(number: str, integer: bool, whole: int, scale: int) -> None:  # noqa: FBT001
    """A number is an integer of 64 bits by its value; its digits are counted in its text, idle zeros left out."""
    seen = learnt(f'{{"n":{number}}}'.encode()).fields["n"]
    assert (seen.integers, seen.numbers) == ((1, 0) if integer else (0, 1))
    assert (seen.whole, seen.scale) == (whole, scale)


def test_files_can_be_learnt_apart() -> None:
    """What two readers learn, added in the order of the files, is what one reader learns of both."""
    files = [b'{"b":1,"a":[{"x":1}]}\n', b'{"a":[{"y":2.5}],"c":null}\n', b'{"c":"t","b":{"z":1e9}}\n']
    assert merged_shapes(learnt(one) for one in files) == learnt(*files)


def test_too_many_fields_are_refused_record_by_record() -> None:
    """Records that bring fields beyond the limit are bad, those that have only known ones are good."""
    lines = [b'{"k%d":1}' % n for n in range(8)] + [b'{"k1":2}', b'{"k2":3,"o":{"p":1}}']
    reader = Reader(None, Others.LEARN, Form(max_fields=5))
    found = read_with(reader, [b"\n".join(lines)])
    assert [one.code for one in found.wrong] == ["too_many_fields"] * 4
    assert list(reader.seen.fields) == ["k0", "k1", "k2", "k3", "k4"]
    assert reader.seen.fields["k1"].integers == 2


def test_keys_may_not_be_too_long() -> None:
    """The way to a key has at most 4,096 characters, not bytes."""
    fits, long = "é" * 4096, "é" * 4095
    assert not read_with(Reader(), [f'{{"{fits}":1}}'.encode()]).wrong
    (wrong,) = read_with(Reader(), [f'{{"{long}":{{"a":1}}}}'.encode()]).wrong
    assert (wrong.code, wrong.pointer) == ("key_too_long", f"/{long}/a")


def test_a_record_has_at_most_a_million_values() -> None:
    """One more is a fault of the record alone."""
    good, bad = b"[%s]" % b",".join([b"1"] * 999_998), b"[%s]" % b",".join([b"1"] * 999_999)
    found = read_json(b'{"v":%s}\n{"v":%s}\n{"v":1}\n' % (good, bad))
    assert found.codes == [None, "too_many_values", None]
    assert found.wrong[0].raw == b""


def test_what_is_declared_as_json_is_one_value() -> None:
    """Nothing inside of a field that is declared as JSON is learnt, however many keys it has."""
    declared = Field(kind="object", inside=(Field("j", type="JSON"), Field("n", type="BIGINT")))
    many = ",".join(f'"k{n}":{n}' for n in range(50))
    reader = Reader(declared, Others.LEARN, Form(max_fields=5))
    (wrong,) = read_with(reader, [f'{{"x":1,"j":{{{many}}},"n":7}}\n{{"n":"seven"}}'.encode()]).wrong
    assert (wrong.code, wrong.record) == ("wrong_type", 2)
    assert list(reader.seen.fields) == ["j", "n", "x"]
    assert not reader.seen.fields["j"].fields


def test_readers_on_threads_do_not_meet() -> None:
    """Different readers work at the same time, each with its own answer."""
    content = b"".join(b'{"n":%d,"v":[%d,"x"]}\n' % (n, n * 7) for n in range(3000))
    answers: list[Seen] = []
    threads = [threading.Thread(target=lambda: answers.append(learnt(content))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [learnt(content)] * 4


# Values of declared types.


def form_of(kind: str, number: str) -> str:
    """Return the one form of a value that today's reader gives to the next engine, as the core writes it."""
    if kind.startswith("DECIMAL"):
        scale = int(kind.rstrip(")").split(",")[1])
        whole, _, fraction = number.partition(".")
        return f"{whole}.{fraction.ljust(scale, '0')}" if scale else whole
    if kind == "TIMESTAMP":
        number = number.replace(" ", "T")
    return number


TIMES = [
    ("TIMESTAMPTZ", "2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
    ("TIMESTAMPTZ", "2024-02-29T23:59:59.5+02:00", "2024-02-29T21:59:59.500000Z"),
    ("TIMESTAMPTZ", "2024-12-31T23:30:00-01", "2025-01-01T00:30:00Z"),
    ("TIMESTAMPTZ", "2024-03-01 00:15:00+0030", "2024-02-29T23:45:00Z"),
    ("TIMESTAMPTZ", "2026-01-02T09:15Z", "2026-01-02T09:15:00Z"),
    ("TIMESTAMPTZ", "2026-01-02 09:15:00.1230000+00", "2026-01-02T09:15:00.123000Z"),
    ("TIMESTAMPTZ", "0001-01-01T00:00:00+01", "wrong_type"),
    ("TIMESTAMPTZ", "2026-01-02T09:15:00", "wrong_type"),
    ("TIMESTAMP", "2026-01-02T09:15", "2026-01-02T09:15:00"),
    ("TIMESTAMP", "2026-01-02T09:15:60", "wrong_type"),
]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        *((kind, json.dumps(value) if type(value).__name__ != "Number" else str(value), expected)
          for kind, cases in EXACT.items() if kind != "TIMESTAMPTZ" for value, expected in cases),
        *((kind, json.dumps(value), expected) for kind, value, expected in TIMES),
    ],
)  # fmt: skip
def test_a_declared_type_holds_a_value_exactly_or_not_at_all(kind: str, value: str, expected: str) -> None:
    """A value is what its declared type holds exactly, else its record is bad by `wrong_type` or `inexact`."""
    record = Field(kind="object", inside=(Field("a", type=kind),))
    found = read_json(f'{{"a":{value}}}'.encode(), record=record)
    if expected in {"wrong_type", "inexact"}:
        assert [(one.code, one.pointer) for one in found.wrong] == [(expected, "/a")]
    else:
        ((_, body),) = entries(found.merged)
        assert slots(body, 1)[0] == [form_of(kind, expected)]


@settings(max_examples=500)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_written_as_it_reads_back(number: float) -> None:
    """The shortest text of a double is its form, as Python writes it."""
    record = Field(kind="object", inside=(Field("a", type="DOUBLE"),))
    ((_, body),) = entries(read_json(f'{{"a":{number!r}}}'.encode(), record=record).merged)
    assert slots(body, 1)[0] == [repr(number)]


@settings(max_examples=300)
@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,3})?\Z"))
def test_a_double_holds_what_its_shortest_text_says(number: str) -> None:
    """A number is a DOUBLE exactly when the shortest text of the nearest double has its value."""
    record = Field(kind="object", inside=(Field("a", type="DOUBLE"),))
    found = read_json(f'{{"a":{number}}}'.encode(), record=record)
    nearest = float(number)
    if abs(nearest) != float("inf") and Decimal(repr(nearest)) == Decimal(number):
        ((_, body),) = entries(found.merged)
        assert slots(body, 1)[0] == [repr(nearest)]
    else:
        assert [one.code for one in found.wrong] == ["inexact"]


# Merged records and rows.

ORDER = Field(
    kind="object",
    inside=(
        Field("id", key=1),
        Field("o", "object", inside=(Field("t"), Field("j", type="JSON"))),
        Field("items", "list", inside=(Field(kind="object", inside=(Field("sku", key=1), Field("n", type="BIGINT"))),)),
    ),
)
CHAIN = (0, 1)
SLOT, FILE, NUMBER, ITEM, JOIN = Rows.SLOT, Rows.FILE, Rows.NUMBER, Rows.ITEM, Rows.JOIN


def reference(content: bytes, *names: str) -> Table:
    table = Table()
    record = Field(kind="object", inside=tuple(Field(name, key=not i) for i, name in enumerate(names)))
    found = read_with(Reader(record, Others.LEAVE, Form(csv=True), into=table), [content])
    assert not found.wrong
    return table


def rows_of(content: bytes, columns: list[tuple[int, int, int]], *joins: Joined) -> bytes:
    found = read_with(Reader(ORDER, Others.REFUSE, joins=joins), [content])
    assert not found.wrong
    return b"".join(Rows(ORDER, columns, CHAIN, joins=joins).write([found.merged]))


def test_records_become_rows() -> None:
    """One row for each element, one for a record without any; fields of the record stand in each."""
    content = (
        b'{"id":7,"o":{"t":"a,\\"b\\"","j":[1, {"x" : "y z"}]},"items":[{"n":1e1,"sku":"s"},{"sku":""},null]}\n'
        b'{"id":"x"}'
    )
    columns = [
        (SLOT, 0, 0),
        (SLOT, 0, 1),
        (SLOT, 1, 0),
        (SLOT, 1, 1),
        (SLOT, 0, 2),
        (FILE, 0, 0),
        (NUMBER, 0, 0),
        (ITEM, 0, 0),
    ]
    before, behind = b'7,"a,""b""",', b',"[1,{""x"":""y z""}]",f,1,'
    assert rows_of(content, columns) == (
        before
        + b"s,10"
        + behind
        + b"1\n"
        + before
        + b'"",'
        + behind
        + b"2\n"
        + before
        + b","
        + behind
        + b"3\nx,,,,,f,2,\n"
    )


def test_references_are_joined_where_their_key_stands() -> None:
    """A record, or an element, has the row whose key has the same text; the first of a key twice counts."""
    customers = reference(b"id,name\n07,James\n7,Ann\n7,Bob\n", "id", "name")
    products = reference(b'sku,name\na,"x, y"\n,none\n', "sku", "name")
    assert (len(customers), customers.duplicates) == (3, [(3, 4, 3)])
    joins = [Joined(customers), Joined(products, scope=1)]
    columns = [(SLOT, 0, 0), (JOIN, 0, 1), (SLOT, 1, 0), (JOIN, 1, 1)]
    content = b'{"id":7,"items":[{"sku":"a"},{"sku":"b"}]}\n{"id":"07","items":[{}]}\n{"id":7.0}'
    assert rows_of(content, columns, *joins) == b'7,Ann,a,"x, y"\n7,Ann,b,\n07,James,,\n7.0,,,\n'
    reader = Reader(ORDER, Others.REFUSE, joins=joins)
    read_with(reader, [content])
    assert [reader.unmatched(0), reader.unmatched(1)] == [1, 2]


def test_a_row_without_a_key_matches_nothing() -> None:
    """A key that is null matches no record, not even one whose key is an empty text, and is no duplicate."""
    table = reference(b'id,name\n,Nobody\n,Nobody\n"",Empty\n', "id", "name")
    assert (len(table), table.duplicates) == (3, [])
    content = b'{"id":"","items":[]}\n{"id":null}\n{}'
    assert rows_of(content, [(JOIN, 0, 1)], Joined(table)) == b"Empty\n\n\n"


def test_a_required_match_that_is_not_there_makes_a_record_bad() -> None:
    """A record with an element without a match is one bad record, and no row."""
    products = reference(b"sku,name\na,x\n", "sku", "name")
    reader = Reader(ORDER, Others.REFUSE, joins=[Joined(products, scope=1, required=True)])
    found = read_with(reader, [b'{"id":1,"items":[{"sku":"a"}]}\n{"id":2,"items":[{"sku":"a"},{"sku":"b"}]}'])
    assert found.codes == [None, "no_match"]


def test_keys_may_have_several_parts() -> None:
    """Two fields together are a key; parts do not run into each other."""
    table = Table()
    part = Field(kind="object", inside=(Field("a", key=1), Field("b", key=2), Field("v")))
    read_with(Reader(part, Others.LEAVE, Form(csv=True), into=table), [b"a,b,v\nx,yz,1\nxy,z,2\n"])
    record = Field(kind="object", inside=(Field("a", key=1), Field("b", key=2)))
    joins = [Joined(table, parts=(1, 2))]
    found = read_with(Reader(record, Others.REFUSE, joins=joins), [b'{"a":"x","b":"yz"}{"a":"xy","b":"z"}{"a":"xyz"}'])
    assert b"".join(Rows(record, [(JOIN, 0, 2)], joins=joins).write([found.merged])) == b"1\n2\n\n"


NESTED_LISTS = Field(
    kind="object",
    inside=(
        Field("id"),
        Field("o", "object", inside=(
            Field("k"),
            Field("items", "list", inside=(
                Field(kind="object", inside=(
                    Field("a"),
                    Field("inner", "list", inside=(Field(kind="object", inside=(Field("b"),)),)),
                )),
            )),
        )),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("record", "rows"),
    [
        ('{"id":1}', [None]),
        ('{"id":1,"x":[1, {"y" : null}],"o":{"z":"é\\u00e9","k":2,"w":{}}}',
         ['{"x":[1,{"y":null}],"o":{"z":"é\\u00e9","w":{}}}']),
        ('{"o":{"items":[{"a":1,"q":1},{"q":2}]}}', ['{"o":{"items":{"q":1}}}', '{"o":{"items":{"q":2}}}']),
        ('{"x":1,"o":{"items":[{"q":1},{}],"y":2}}', ['{"x":1,"o":{"y":2,"items":{"q":1}}}', '{"x":1,"o":{"y":2}}']),
        ('{"x":"}","o":{"items":[{"inner":[{"c":"\\""},{"b":1}],"q":[]}]}}',
         ['{"x":"}","o":{"items":{"q":[],"inner":{"c":"\\""}}}}', '{"x":"}","o":{"items":{"q":[]}}}']),
        ('{"o":{"items":[{"inner":[{"c":1}]}]},"p":1.50}', ['{"p":1.50,"o":{"items":{"inner":{"c":1}}}}']),
        ('{"o":{"items":[]},"o2":{"id":7}}', ['{"o2":{"id":7}}']),
    ],
)  # fmt: skip
def test_other_fields_are_kept_as_json(record: str, rows: list[str | None]) -> None:
    """Fields that the schema does not have stand in one column as compact JSON, nested as they were, by rows."""
    found = read_with(Reader(NESTED_LISTS, Others.RESCUE), [record.encode()])
    assert not found.wrong
    written = Rows(NESTED_LISTS, [(Rows.RESCUED, 0, 0), (NUMBER, 0, 0)], (0, 1, 2), rescue=True).write([found.merged])
    read = list(csv.reader(io.StringIO(b"".join(written).decode(), newline="")))
    assert [row[0] or None for row in read] == rows


def test_other_columns_of_a_csv_are_kept_as_json() -> None:
    """So are columns of a CSV, as texts and nulls."""
    record = Field(kind="object", inside=(Field("a"),))
    found = read_with(Reader(record, Others.RESCUE, Form(csv=True)), [b'x,a,"y"""\n"1""",2,\n'])
    written = b"".join(Rows(record, [(SLOT, 0, 0), (Rows.RESCUED, 0, 0)], rescue=True).write([found.merged]))
    assert list(csv.reader([written.decode()])) == [["2", '{"x":"1\\"","y\\"":null}']]


TEXT = st.text(st.sampled_from('ab",#\n\r\té😀\\ 0'), max_size=6)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.none() | TEXT, st.lists(st.tuples(st.none() | TEXT, st.none() | st.integers(0, 9)), max_size=3))
    )
)
def test_rows_read_back_as_the_values(records: list[tuple[str | None, list[tuple[str | None, int | None]]]]) -> None:
    """Whatever the texts are, the CSV that is written is read as they were, by another library too."""
    lines = [json.dumps({"id": one, "items": [{"sku": sku, "n": n} for sku, n in items]}) for one, items in records]
    columns = [(SLOT, 0, 0), (SLOT, 1, 0), (SLOT, 1, 1), (NUMBER, 0, 0)]
    text = rows_of("\n".join(lines).encode() or b"[]", columns).decode()
    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    expected = [
        [one or "", sku or "", "" if n is None else str(n), str(number)]
        for number, (one, items) in enumerate(records, 1)
        for sku, n in items or [(None, None)]
    ]
    assert read == expected


def test_rows_are_quoted_as_today(tmp_path: Path) -> None:
    """Texts stand in quotes in CSV exactly where DuckDB's writer puts them."""
    import duckdb

    texts = [chr(code) for code in range(1, 0x250) if code not in range(0xD800, 0xE000)]
    texts += ["", " a", "a ", "#x", "a#b", 'a"b', "a,b", "a\tb", "a'b", "NULL", "\\N", "a\r\nb", ";", "|"]
    path = tmp_path / "t.csv"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (i INTEGER, v VARCHAR)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", list(enumerate(texts)))
        connection.execute(f"COPY (SELECT v, i FROM t ORDER BY i) TO '{path}' (FORMAT csv, HEADER false, NULLSTR '')")
    content = "\n".join(json.dumps({"id": text, "o": {"t": n}}) for n, text in enumerate(texts)).encode()
    assert rows_of(content, [(SLOT, 0, 0), (SLOT, 0, 1)]) == path.read_bytes()


def test_large_texts_beside_many_elements_take_bounded_pieces() -> None:
    """A record whose rows are far larger than itself is written piece by piece."""
    content = json.dumps({"id": "x" * 400_000, "items": [{"n": n} for n in range(200)]}).encode()
    found = read_with(Reader(ORDER, Others.REFUSE), [content])
    pieces = [len(piece) for piece in Rows(ORDER, [(SLOT, 0, 0), (SLOT, 1, 1)], CHAIN).write([found.merged])]
    assert sum(pieces) > 80_000_000
    assert max(pieces) < 2_000_000


def test_damaged_merged_records_are_refused() -> None:
    """Bytes that are no merged records are an error, and nothing worse."""
    found = read_with(Reader(ORDER, Others.REFUSE), [b'{"id":7,"items":[{"sku":"s"}]}'])
    for at in range(len(found.merged)):
        for byte in (0, 1, 0x7F, 0xFF):
            damaged = found.merged[:at] + bytes([byte]) + found.merged[at + 1 :]
            try:
                list(Rows(ORDER, [(SLOT, 0, 0), (SLOT, 1, 1)], CHAIN).write([damaged]))
            except ValueError:
                continue


@pytest.mark.parametrize(
    "columns", [[(SLOT, 5, 0)], [(SLOT, 0, 9)], [(JOIN, 0, 0)], [(9, 0, 0)], [(SLOT, 2, 0)]]
)  # fmt: skip
def test_columns_that_are_not_there_are_refused(columns: list[tuple[int, int, int]]) -> None:
    """What is asked for has to be in the schema."""
    with pytest.raises(ValueError, match="refuses to open"):
        Rows(ORDER, columns, CHAIN)


TYPED: dict[str, tuple[str, list[str | None], list[Any]]] = {
    "n": ("BIGINT", ["-9223372036854775808", "7.0", "1e3", None, "0"], [-(2**63), 7, 1000, None, 0]),
    "d": (
        "DECIMAL(38,3)",
        ["-12.5", "99999999999999999999999999999999999.999", "0.001", "-0", None],
        [*map(Decimal, ("-12.500", "99999999999999999999999999999999999.999", "0.001", "0.000")), None],
    ),
    "x": ("DOUBLE", ["1.5", "-1e300", None, "5e-324", "0"], [1.5, -1e300, None, 5e-324, 0.0]),
    "b": ("BOOLEAN", ["true", "false", None, "true", "false"], [True, False, None, True, False]),
    "t": ("VARCHAR", ['"é"', '""', "null", "12.50", '"a\\nb"'], ["é", "", None, "12.50", "a\nb"]),
    "j": ("JSON", ["[1, 2]", '{"a" : null}', '"x"', None, "1.0"], ["[1,2]", '{"a":null}', '"x"', None, "1.0"]),
    "on": (
        "DATE",
        ['"1969-12-31"', '"2024-02-29"', '"0001-01-01"', None, '"9999-12-31"'],
        [date(1969, 12, 31), date(2024, 2, 29), date(1, 1, 1), None, date(9999, 12, 31)],
    ),
    "at": (
        "TIMESTAMPTZ",
        [
            '"2024-02-29T23:59:59.5+02:00"', '"1969-12-31T23:59:59.999999Z"', None, '"2026-01-02T09:15Z"',
            '"0001-01-01T00:00Z"',
        ],
        [
            datetime(2024, 2, 29, 21, 59, 59, 500_000, UTC), datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), None,
            datetime(2026, 1, 2, 9, 15, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC),
        ],
    ),
}  # fmt: skip


def columns_of(kinds: dict[str, str], values: list[str], records: str) -> Any:
    """Return a table of pyarrow, with each value in a column of its type."""
    record = Field(kind="object", inside=tuple(Field(name, type=kind) for name, kind in kinds.items()))
    found = read_with(Reader(record, Others.REFUSE), [records.encode()])
    assert not found.wrong
    rows = Rows(record, [(SLOT, 0, slot) for slot in range(len(kinds))])
    columns = [(name, kind) for name, kind in zip(kinds, values, strict=True)]
    return pa.Table.from_batches([pa.record_batch(batch) for batch in batches(rows, columns, [found.merged])])


def test_rows_become_columns_of_arrow() -> None:
    """Each type arrives in Arrow with its values, exactly, and nulls where there is none."""
    kinds = {name: kind for name, (kind, *_) in TYPED.items()}
    records = [
        ",".join(f'"{name}":{written[row]}' for name, (_, written, _) in TYPED.items() if written[row] is not None)
        for row in range(5)
    ]
    table = columns_of(kinds, list(kinds.values()), "\n".join(f"{{{one}}}" for one in records))
    table.validate(full=True)
    assert table.to_pydict() == {name: expected for name, (_, _, expected) in TYPED.items()}


def test_undeclared_numbers_may_be_given_a_type_in_the_end() -> None:
    """Numbers that stand as they are written fit every type that holds them; another type is an error."""
    records = '{"n":12.50}\n{"n":7}\n{"n":1e1}'
    table = columns_of({"n": "VARCHAR"}, ["DECIMAL(18,2)"], records)
    assert table.to_pydict() == {"n": [Decimal("12.50"), Decimal("7.00"), Decimal("10.00")]}
    with pytest.raises(ValueError, match="refuses a call"):
        columns_of({"n": "VARCHAR"}, ["BIGINT"], records)


def test_many_rows_are_many_batches() -> None:
    """Columns come in pieces of bounded size, and DuckDB reads them."""
    import duckdb

    table = columns_of({"n": "BIGINT"}, ["BIGINT"], "\n".join(f'{{"n":{n}}}' for n in range(200_000)))
    assert len(table.column("n").chunks) > 2
    with duckdb.connect() as connection:
        connection.register("numbers", table)
        found = connection.execute("SELECT count(*), sum(n) FROM numbers").fetchall()
    assert found == [(200_000, 200_000 * 199_999 // 2)]


ENDLESS = """
import resource
from fanfold.native import Field, Form, Others, Reader

def windows():
    yield b'{"a":"'
    while True:
        yield b"x" * (1 << 20)

used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)
try:
    list(Reader(Field(type="JSON"), Others.REFUSE, Form(max_record_bytes=1 << 29)).read(b"f", windows()))
except MemoryError:
    print([piece.wrong for piece in Reader().read(b"f", [b'{"a":1}{'])][0][0].code)
"""


def test_without_memory_a_call_fails_and_others_go_on() -> None:
    """Where there is no memory left, the call that needs it raises, and nothing else is harmed."""
    done = subprocess.run([sys.executable, "-c", ENDLESS], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("truncated\n", "")


# The library.


def test_codes_are_those_of_the_list() -> None:
    """Every code that the core gives is one of the stable list."""
    assert set(codes()) <= set(CODES)


def test_a_library_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    """Without the core, or with one that is no library, the message says what to do, and the exit code is 2."""
    with pytest.raises(MissingError, match="install Fanfold again") as caught:
        core(tmp_path / "missing.so")
    assert caught.value.exit_code == 2
    (tmp_path / "other.so").write_bytes(b"no library")
    with pytest.raises(MissingError, match="install Fanfold again"):
        core(tmp_path / "other.so")


def test_windows_are_cut_where_a_test_says() -> None:
    """The tests' own cuts lose nothing."""
    assert cut(b"abc", 1, 1) == [b"a", b"", b"bc"]
