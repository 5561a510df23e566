"""The core in C: what it reads, what it says is wrong and where, and that this never depends on its windows."""

import csv
import io
import json
import random
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanfold.engine.session import connect
from fanfold.errors import MissingError
from fanfold.faults import CODES
from fanfold.native import Beside, Excluded, Field, Form, Joined, Others, Reader, Rows, Seen, Table, codes
from fanfold.native.arrow import Stream
from fanfold.native.fields import merged as merged_shapes
from fanfold.native.library import core
from tests import hostile
from tests.core import LARGE, cut, entries, frozen_table, raw, read_csv, read_json, read_with, slots
from tests.test_records import (
    AROUND,
    BAD_CSV,
    BROKEN,
    CSV,
    DOCUMENT,
    FORMS,
    GOOD,
    WRAPPED,
)

# Windows.


SMALL = [
    *(content for content, _ in FORMS.values()),
    *(raw(AROUND[form] % (GOOD[0], broken, GOOD[1])) for form in AROUND for broken, _ in BROKEN.values()),
    *(fragment for fragment, _ in hostile.FRAGMENTS.values()),
    *(b'{"id":"1"}\n' + fragment + b'\n{"id":"2"}\n' for fragment, _ in hostile.FRAGMENTS.values()),
    b'[{"i":1},{"i":2}]\n[{"i":3}] x\n[{"i":4},]',
    b'[{"i":1}{"i":2}\n[{"i":3}] ,[{"i":4},{"i":"x\n[{"i":5}],] {"i":6},\n{"i":7}]',
    r'{"a":["é😀\u00e9\ud83d\ude00",12345.678e-9,true,null,false,12345678901234567890]}'.encode(),
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


# Forms that exclude each other.

EXCLUDED = [
    (Excluded(("Name",)), '{"name":1,"Name":null}', "/Name", '"Name"'),
    (Excluded(("N\u00e4me",)), '{"N\\u00e4me":1}', "/N\u00e4me", '"N\\u00e4me"'),
    (Excluded(("o", "b"), code="name_conflict"), '{"o":{"a":1,"b":"x"}}', "/o/b", '"b"'),
    (Excluded(("items", "Sku")), '{"items":[{"sku":1},{"Sku":1},{"Sku":2}]}', "/items/1/Sku", '"Sku"'),
    (Excluded(("v",), ("array",), code="wrong_type"), '{"v":[1]}', "/v", "["),
    (Excluded(("v",), ("object", "scalar"), code="wrong_type"), '{"v":"a b"}', "/v", '"a'),
    (Excluded(("v",), ("object", "array"), code="wrong_type"), '{"v":{}}', "/v", "{"),
    (Excluded(("v",), ("scalar",), inside=True, code="wrong_type"), '{"v":[null,{"a":1},12.5]}', "/v/2", "12.5"),
    (Excluded(("v",), ("array",), inside=True, code="wrong_type"), '{"v":[{"a":[]},[[]]]}', "/v/1", "["),
    (Excluded(("items", "v"), ("array",), code="wrong_type"), '{"items":[{"v":null},{"v":[]}]}', "/items/1/v", "["),
    (Excluded(("items", "v", "w")), '{"items":[[{"v":[{"w":1}]}]]}', "/items/0/0/v/0/w", '"w"'),
    (Excluded(("a",)), '{"o":{"a":1},"items":[{"a":1}],"a":1}', "/a", '"a"'),
]  # fmt: skip
NOT_EXCLUDED = [
    (Excluded(("Name",)), '{"name":1,"o":{"Name":1},"items":[{"Name":1}]}'),
    (Excluded(("v",), ("array",)), '{"v":{"v":[1]}}'),
    (Excluded(("v",), ("object", "array", "scalar")), '{"v":null}'),
    (Excluded(("v",), ("object", "array", "scalar")), '{"w":1}'),
    (Excluded(("v",), ("scalar",), inside=True), '{"v":1}'),
    (Excluded(("v",), ("scalar",), inside=True), '{"v":[null,[1],{"a":1}]}'),
    (Excluded(("v",), ("scalar",)), '{"v":[1]}'),
]
READINGS = {
    "learning": (None, Others.LEARN),
    "with a schema": (Field(kind="object", inside=(Field("v", type="JSON"), Field("name"))), Others.REFUSE),
    "as one value": (Field(type="JSON"), Others.REFUSE),
    "leaving": (Field(kind="object", inside=(Field("o", "object", inside=(Field("a"),)),)), Others.LEAVE),
    "keeping": (Field(kind="object", inside=(Field("o", "object", inside=(Field("a"),)),)), Others.RESCUE),
}


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(("form", "content", "pointer", "found"), EXCLUDED)
def test_a_record_with_an_excluded_form_is_bad(
    form: Excluded, content: str, pointer: str, found: str, reading: str
) -> None:
    """A record that has a form which another one excludes is bad, at the first place of it, on every path."""
    record, others = READINGS[reading]
    text = raw(content)
    for windows in (cut(text + b"\n{}"), cut(text + b"\n{}", *range(1, len(text)))):
        answer = read_with(Reader(record, others, excluded=[Excluded(("no", "such")), form]), windows)
        (wrong,) = answer.wrong
        if reading == "with a schema" and wrong.code == "too_many_fields":
            continue
        assert (wrong.code, wrong.pointer, wrong.found.decode(), wrong.raw) == (form.code, pointer, found, text)


@pytest.mark.parametrize("reading", ["learning", "as one value", "leaving", "keeping"])
@pytest.mark.parametrize(("form", "content"), NOT_EXCLUDED)
def test_a_record_without_an_excluded_form_is_good(form: Excluded, content: str, reading: str) -> None:
    """A form is meant at its own path, and of its own kinds; null is of no kind."""
    record, others = READINGS[reading]
    assert not read_with(Reader(record, others, excluded=[form]), [raw(content)]).wrong


def test_an_excluded_record_leaves_no_trace() -> None:
    """What a record with an excluded form holds is not learnt; what is wrong by the grammar is said first."""
    reader = Reader(None, excluded=[Excluded(("A",)), Excluded(("v",), ("array",))])
    found = read_with(reader, [b'{"new":1,"A":1}\n{"a":1}\n{"A":1,"x":NaN}\n{"v":[{"y":1}]}'])
    assert [one.code for one in found.wrong] == ["case_conflict", "nan", "case_conflict"]
    assert list(reader.seen.fields) == ["a"]


@pytest.mark.parametrize("others", [Others.LEARN, Others.REFUSE, Others.RESCUE])
def test_an_excluded_column_of_a_csv_makes_its_lines_bad(others: Others) -> None:
    """Each line of a CSV has all fields of its header, those that are null too; a null is of no kind."""
    record = None if others is Others.LEARN else Field(kind="object", inside=(Field("a"), Field("b")))
    content = b'b,a\n1,\n,"x y"\n'
    reader = Reader(record, others, Form(csv=True), excluded=[Excluded(("a",))])
    found = [(one.pointer, one.found) for one in read_with(reader, [content]).wrong]
    assert found == [("/a", b""), ("/a", b"x")]
    reader = Reader(record, others, Form(csv=True), excluded=[Excluded(("b",), ("scalar",), code="wrong_type")])
    assert [(one.code, one.pointer, one.found) for one in read_with(reader, [content]).wrong] == [
        ("wrong_type", "/b", b"1")
    ]


def test_a_form_that_is_not_one_is_refused() -> None:
    """The empty path leads to the record itself, which is never excluded."""
    with pytest.raises(ValueError, match="refuses to open"):
        Reader(excluded=[Excluded(())])


# Files one after the other, and what is counted.


def test_a_file_may_be_dropped_half_way() -> None:
    """Where a file ends early, the next one begins afresh: nothing is said of it, what was learnt so far stays."""
    for begun in (b'{"a":1}\n{"b":[{"c"', b'[{"a":1},{"x', b'{"a":1}\n{"x":[,{"x":1}', b'{"a":1}\n"x"'):
        reader = Reader()
        pieces = reader.read(b"f", [begun, b"\n"])
        windows = iter([begun])
        for _ in reader.read(b"g", windows):
            break
        del pieces
        found = read_with(reader, [b'{"d":1}\n{"e":}'])
        assert [(one.record, one.line, one.offset) for one in found.wrong] == [(2, 2, 13)]
        assert (reader.counts.records, reader.counts.bytes) == (2, 14)
        assert [*reader.seen.fields][-1] == "d"
        assert "b" not in reader.seen.fields


def test_fields_and_records_without_a_match_are_counted() -> None:
    """Fields are counted over all files; records without a match by file, once each, the good ones only."""
    reader = Reader()
    read_with(reader, [b'{"a":1,"o":{"b":1,"c":[{"d":1}]}}\n{"x":NaN}'])
    assert reader.counts.nodes == 7
    read_with(reader, [b'{"a":1,"e":1}'])
    counts = reader.counts
    assert (counts.records, counts.bad, counts.bytes, counts.nodes) == (1, 0, 13, 8)
    joins = [Joined(reference(b"id,name\n1,Ann\n", "id", "name")), Joined(reference(b"id\n1\n", "id"), required=True)]
    one = Reader(ORDER, Others.REFUSE, joins=[joins[0], Joined(joins[0].table, scope=1)])
    lines = b'{"id":1}\n{"id":2,"items":[{"sku":2},{"sku":1}]}\n{"id":1,"items":[{"sku":9}]}\n{"id":NaN}'
    alone = [Reader(ORDER, Others.REFUSE, joins=[Joined(joins[0].table, scope=scope)]) for scope in (0, 1)]
    assert [read_with(reader, [lines]) and reader.counts.unmatched for reader in (one, *alone)] == [2, 1, 2]
    read_with(one, [b'{"id":3}'])
    assert one.counts.unmatched == 1
    required = Reader(ORDER, Others.REFUSE, joins=joins)
    read_with(required, [b'{"id":1}\n{"id":2}'])
    assert (required.counts.bad, required.counts.unmatched) == (1, 0)


SIZED = {
    "lines": ("%s\n%s\n%s\n", ""),
    "an array": ("[%s, %s ,%s]", ""),
    "a pretty array": ("[\n  %s,\n  %s,\n  %s\n]\n", ""),
    "wrapped": ('{"x":[1],"d":[%s,%s\n ,%s ]}', "/d"),
}  # fmt: skip


@pytest.mark.parametrize("form", SIZED)
@pytest.mark.parametrize(
    "bad", ['{"a":NaN}', '{"a" : 1,\n "a":2 }', '"x"', '{"a":"' + "y" * 200 + '"}', '{"a":"\\ud800"}']
)
def test_the_size_of_a_bad_record_is_that_of_its_text(form: str, bad: str) -> None:
    """From its offset on, the file has so many bytes of a bad record, no more and no less, be it kept or not."""
    around, pointer = SIZED[form]
    if form == "lines":
        bad = bad.replace("\n", "")
    content = raw(around % ('{"a":1}', bad, '{"a":3}'))
    (wrong,) = read_json(content, cap=100, records_at=pointer).wrong
    assert content[wrong.record_offset : wrong.record_offset + wrong.size] == raw(bad)
    large = wrong.code == "record_too_large"
    assert wrong.raw == (b"" if large else raw(bad))


@pytest.mark.parametrize("line", [b'1,"x', b"1,2,3", b"1,\xff", b'"' + b"y" * 150 + b'\n\n",2', b"y" * 500 + b",2"])
def test_the_size_of_a_bad_line_is_that_of_its_text(line: bytes) -> None:
    """So it is in CSV, where neither LF nor CRLF belongs to the line."""
    for end in (b"\n", b"\r\n"):
        content = b"a,b" + end + b"1,2" + end + line + end + b"3,4" + end
        wrong = read_csv(content, cap=100).wrong[0]
        assert content[wrong.record_offset : wrong.record_offset + wrong.size] == line


# Merged records and rows.

ORDER = Field(
    kind="object",
    inside=(
        Field("id", key=1),
        Field("o", "object", inside=(Field("t"), Field("j", type="JSON"))),
        Field("items", "list", inside=(Field(kind="object", inside=(Field("sku", key=1), Field("n", type="BIGINT"))),)),
    ),
)
CHAIN = ((0, False), (1, False))
SLOT, FILE, NUMBER, ITEM, JOIN = Rows.SLOT, Rows.FILE, Rows.NUMBER, Rows.ITEM, Rows.JOIN


def reference(content: bytes, *names: str) -> Table:
    record = Field(kind="object", inside=tuple(Field(name, key=not i) for i, name in enumerate(names)))
    with tempfile.TemporaryDirectory() as folder:
        return frozen_table(Path(folder) / "frozen", [content], record)


def rows_of(content: bytes, columns: list[tuple[int, int, int]], *joins: Joined) -> bytes:
    found = read_with(Reader(ORDER, Others.REFUSE, joins=joins), [content])
    assert not found.wrong
    return b"".join(Rows(ORDER, columns, CHAIN, beside=Beside(joins)).write([found.merged]))


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
    assert (len(customers), customers.duplicates) == (3, [(3, 4, 3, b"7")])
    joins = [Joined(customers), Joined(products, scope=1)]
    columns = [(SLOT, 0, 0), (JOIN, 0, 1), (SLOT, 1, 0), (JOIN, 1, 1)]
    content = b'{"id":7,"items":[{"sku":"a"},{"sku":"b"}]}\n{"id":"07","items":[{}]}\n{"id":7.0}'
    assert rows_of(content, columns, *joins) == b'7,Ann,a,"x, y"\n7,Ann,b,\n07,James,,\n7.0,,,\n'
    readers = [Reader(ORDER, Others.REFUSE, joins=one) for one in (joins[:1], joins[1:], joins)]
    assert [read_with(reader, [content]) and reader.counts.unmatched for reader in readers] == [1, 2, 3]


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
    assert (found.wrong[0].pointer, found.wrong[0].message) == (
        "/items/1/sku",
        "found 'b', expected a match for join 0",
    )


ORDERS = Field(
    kind="object",
    inside=(
        Field(
            "o",
            "list",
            inside=(
                Field(
                    kind="object",
                    inside=(Field("l", "list", inside=(Field(kind="object", inside=(Field("s", key=1),)),)),),
                ),
            ),
        ),
        Field("t", "list", inside=(Field(key=1),)),
    ),
)


@pytest.mark.parametrize(
    ("content", "scope", "pointer"),
    [
        (
            b'{"o":[{"l":[]},{"l":[{"s":"a"}]},{"l":[{"s":"a"},{"s":"a"},{"s":"b"}]},{"l":[{"s":"c"}]}]}',
            2,
            "/o/2/l/2/s",
        ),
        (b'{"o":[{"l":[{"s":"a"}]},null,{"l":[{}]}]}', 2, "/o/2/l/0/s"),
        (b'{"o":[{"l":{"s":"a"}},{"l":{"s":"b"}}]}', 2, "/o/1/l/s"),
        (b'{"t":["a","a","b"]}', 3, "/t/2"),
    ],
)
def test_a_pointer_to_what_has_no_match_leads_to_its_element(content: bytes, scope: int, pointer: str) -> None:
    """The pointer to a key without a match has the number of each element on the way, as the file has it."""
    table = reference(b"sku,name\na,x\n", "sku", "name")
    form = Form(single=[("o", "l")])
    reader = Reader(ORDERS, Others.REFUSE, form, joins=[Joined(table, scope=scope, required=True)])
    (wrong,) = read_with(reader, [content]).wrong
    assert (wrong.code, wrong.pointer) == ("no_match", pointer)
    # In each of them the key itself, or what should have it, is the last of its kind.
    assert wrong.offset == max(content.rfind(b'"b"'), content.rfind(b"{}"))


@pytest.mark.parametrize(
    ("content", "at", "pointer"),
    [
        (b'\n {\n"k": 1,\n "id": {"a" : "y"}}', b'"y"', "/id/a"),
        (b'{"id":{"a":"caf\\u00e9 x"},"k":1}', b'"caf', "/id/a"),
        (b'{"k":1,"id":{"a":12.50}}', b"12", "/id/a"),
        (b'{"k":1,"id":{"a":null}}', b"null", "/id/a"),
        (b' {"k":1,"id":{}}', b'{"k"', "/id/a"),
        (b'{"id":{"a":"x"}} \n {"k":null,"id":{"a":"x"}}', b"null", "/k"),
        (b'{"id":{"a":"x"},"k":1}\n {"id":{"a":"x"}}', b'{"id":{"a":"x"}}', "/k"),
        (b'{"k":1,"p":1,"id":"{\\"a\\":\\"z\\"}"}', b'"{', "/id/a"),
    ],
)
def test_the_place_of_what_has_no_match_is_that_of_its_key(
    tmp_path: Path, content: bytes, at: bytes, pointer: str
) -> None:
    """Line and offset are those of the first part of the key that is null, else of the first one; without it, of the
    record.
    """
    part = Field(kind="object", inside=(Field("a", key=1), Field("b", key=2)))
    key = Field("id", "object", inside=(Field("a", key=1),))
    record = Field(kind="object", inside=(key, Field("k", key=2), Field("p")))
    table = frozen_table(tmp_path / "frozen", [b"a,b\nx,1\n"], part)
    form = Form(parsed=[("id",)])
    reader = Reader(record, Others.REFUSE, form, joins=[Joined(table, parts=(1, 2), required=True)])
    wrong = read_with(reader, [content]).wrong[-1]
    assert (wrong.code, wrong.pointer, wrong.offset) == ("no_match", pointer, content.rindex(at))
    assert wrong.line == 1 + content[: wrong.offset].count(b"\n")


def test_keys_may_have_several_parts(tmp_path: Path) -> None:
    """Two fields together are a key; parts do not run into each other."""
    part = Field(kind="object", inside=(Field("a", key=1), Field("b", key=2), Field("v")))
    table = frozen_table(tmp_path / "frozen", [b"a,b,v\nx,yz,1\nxy,z,2\n"], part)
    record = Field(kind="object", inside=(Field("a", key=1), Field("b", key=2)))
    joins = [Joined(table, parts=(1, 2))]
    found = read_with(Reader(record, Others.REFUSE, joins=joins), [b'{"a":"x","b":"yz"}{"a":"xy","b":"z"}{"a":"xyz"}'])
    assert b"".join(Rows(record, [(JOIN, 0, 2)], beside=Beside(joins)).write([found.merged])) == b"1\n2\n\n"


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
    written = Rows(
        NESTED_LISTS,
        [(Rows.RESCUED, 0, 0), (NUMBER, 0, 0)],
        ((0, False), (1, False), (2, False)),
        beside=Beside(rescued=True),
    ).write([found.merged])
    read = list(csv.reader(io.StringIO(b"".join(written).decode(), newline="")))
    assert [row[0] or None for row in read] == rows


def test_other_columns_of_a_csv_are_kept_as_json() -> None:
    """So are columns of a CSV, as texts and nulls."""
    record = Field(kind="object", inside=(Field("a"),))
    found = read_with(Reader(record, Others.RESCUE, Form(csv=True)), [b'x,a,"y"""\n"1""",2,\n'])
    written = b"".join(
        Rows(record, [(SLOT, 0, 0), (Rows.RESCUED, 0, 0)], beside=Beside(rescued=True)).write([found.merged])
    )
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
    """Return a table of pyarrow with each value as the text that its type has, which DuckDB casts to it."""
    record = Field(kind="object", inside=tuple(Field(name, type=kind) for name, kind in kinds.items()))
    found = read_with(Reader(record, Others.REFUSE), [records.encode()])
    assert not found.wrong
    places = [(SLOT, 0, slot) for slot in range(len(kinds))]
    table = pa.table(
        Stream(
            list(zip(kinds, values, strict=True)),
            lambda arrow: Rows(record, places, form=arrow),
            lambda: [found.merged],
        )
    )
    table.validate(full=True)
    casts = ", ".join(f'"{name}"::{kind} AS "{name}"' for name, kind in zip(kinds, values, strict=True))
    with connect(Path()) as connection:
        connection.register("texts", table)
        return connection.sql(f"SELECT {casts} FROM texts").to_arrow_table()


def test_rows_become_columns_of_arrow() -> None:
    """Each type arrives in Arrow with its values, exactly, and nulls where there is none."""
    kinds = {name: kind for name, (kind, *_) in TYPED.items()}
    records = [
        ",".join(f'"{name}":{written[row]}' for name, (_, written, _) in TYPED.items() if written[row] is not None)
        for row in range(5)
    ]
    table = columns_of(kinds, list(kinds.values()), "\n".join(f"{{{one}}}" for one in records))
    assert table.to_pydict() == {name: expected for name, (_, _, expected) in TYPED.items()}


def test_undeclared_numbers_may_be_given_a_type_in_the_end() -> None:
    """Numbers that stand as they are written fit every type that holds them; another type is an error."""
    records = '{"n":12.50}\n{"n":7}\n{"n":1e1}'
    table = columns_of({"n": "VARCHAR"}, ["DECIMAL(18,2)"], records)
    assert table.to_pydict() == {"n": [Decimal("12.50"), Decimal("7.00"), Decimal("10.00")]}
    with pytest.raises(ValueError, match="refuses a call"):
        columns_of({"n": "VARCHAR"}, ["BIGINT"], records)


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        ("BIGINT", "1E3", 1000), ("BIGINT", "7.0", 7), ("BIGINT", "-0", 0), ("BIGINT", "-0.0e5", 0),
        ("BIGINT", "-9223372036854775808.00", -(2**63)), ("BIGINT", "922337203685477580700e-2", 2**63 - 1),
        ("DECIMAL(18,2)", "1e-2", Decimal("0.01")), ("DECIMAL(18,2)", "-0.0", Decimal("0.00")),
        ("DECIMAL(18,2)", "-1.50E+1", Decimal("-15.00")), ("DECIMAL(18,2)", "0e-400", Decimal("0.00")),
        ("DECIMAL(38,10)", "-1e27", Decimal("-1e27")), ("DECIMAL(3,3)", "0.9990", Decimal("0.999")),
        ("DECIMAL(38,0)", "9" * 38, Decimal("9" * 38)),
        ("DECIMAL(18,2)", "1e16", None), ("DECIMAL(18,2)", "0.001", None), ("BIGINT", "9223372036854775808", None),
        ("BIGINT", "0.5", None), ("DECIMAL(38,2)", "1e400", None), ("BIGINT", "1e-400", None),
    ],
)  # fmt: skip
def test_a_column_takes_a_number_as_it_is_written(kind: str, number: str, expected: Any) -> None:
    """Whatever form an undeclared number has, its column holds its value; what the type does not hold is an error."""
    if expected is None:
        with pytest.raises(ValueError, match="refuses a call"):
            columns_of({"n": "VARCHAR"}, [kind], f'{{"n":{number}}}')
    else:
        assert columns_of({"n": "VARCHAR"}, [kind], f'{{"n":{number}}}').to_pydict() == {"n": [expected]}


def test_many_rows_are_many_batches() -> None:
    """Columns come in pieces of bounded size."""
    record = Field(kind="object", inside=(Field("n", type="BIGINT"),))
    found = read_with(Reader(record, Others.REFUSE), [b"".join(b'{"n":%d}\n' % n for n in range(200_000))])
    table = pa.table(
        Stream([("n", "BIGINT")], lambda arrow: Rows(record, [(SLOT, 0, 0)], form=arrow), lambda: [found.merged])
    )
    assert len(table.column("n").chunks) > 2
    assert sum(map(int, table.column("n").to_pylist())) == 200_000 * 199_999 // 2


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


REFUSED = """
from fanfold.native import Form, Reader

def windows():
    yield b"a,a\\n"
    for _ in range(200):
        yield b"x" * (1 << 20)

reader = Reader(form=Form(csv=True))
print([wrong.code for piece in reader.read(b"f", windows()) for wrong in piece.wrong], reader.counts.bytes >> 20)
print(int(open("/proc/self/statm").read().split()[1]) * 4096 < 100 << 20)
"""


def test_what_stands_behind_a_bad_header_is_not_kept() -> None:
    """Where reading of a file ends early, the rest of it is passed over, and counted."""
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['bad_header'] 200\nTrue\n", "")


# The library.


def test_codes_are_those_of_the_list() -> None:
    """Every code that the core gives is one of the stable list."""
    assert set(codes()) <= set(CODES)


def test_a_library_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    """Without the core, or with one that is no library, the message says what to do, and the exit code is 2."""
    with pytest.raises(MissingError, match="reinstall Fanfold") as caught:
        core(tmp_path / "missing.so")
    assert caught.value.exit_code == 2
    (tmp_path / "other.so").write_bytes(b"no library")
    with pytest.raises(MissingError, match="reinstall Fanfold"):
        core(tmp_path / "other.so")


def test_windows_are_cut_where_a_test_says() -> None:
    """The tests' own cuts lose nothing."""
    assert cut(b"abc", 1, 1) == [b"a", b"", b"bc"]
