"""The records of a file, by the core: where they begin and end, what is wrong with a bad one, what values they have."""

import base64
import gzip
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fanfold.faults import CODES, UnreadableError
from fanfold.manifest import BadFile, BadRecord
from fanfold.native import Field, Form, Others, Piece, Reader, Wrong
from fanfold.records.content import WINDOW_BYTES
from fanfold.records.header import fields_of_csv
from fanfold.records.read import Door, FileRead, Rules
from fanfold.schema.declared import known_fields
from fanfold.spec.model import Input, Spec
from tests import hostile
from tests.core import entries, parsed, raw, read_csv, read_json, read_with, slots
from tests.oracle import by_grammar, by_library

MAX_DEPTH = 128


def places(content: bytes, *names: str, form: Form = Form()) -> list[tuple[int, int]]:  # noqa: B008
    """Return line and offset of each record that can be read: to be told them, all their values are called wrong."""
    record = Field(kind="object", inside=tuple(Field(name, type="BOOLEAN") for name in names))
    found = read_with(Reader(record, Others.LEAVE, form), [content])
    return [(one.record_line, one.record_offset) for one in found.wrong if one.code == "wrong_type"]


# One JSON text: RFC 8259.
FAULTS = {
    "nothing": ("", "truncated", 0, ""),
    "a word": ("x", "syntax", 0, ""),
    "no value": ('{"a":}', "syntax", 5, "/a"),
    "no colon": ('{"a" 1}', "syntax", 5, "/a"),
    "no comma": ('{"a":1 "b":2}', "syntax", 7, "/a"),
    "no comma in an array": ('{"a":[1 2]}', "syntax", 8, "/a/0"),
    "no quotes": ("{a:1}", "syntax", 1, ""),
    "single quotes": ("{'a':1}", "syntax", 1, ""),
    "a leading zero": ('{"a":01}', "syntax", 5, "/a"),
    "a plus": ('{"a":+1}', "syntax", 5, "/a"),
    "a bare point": ('{"a":1.}', "syntax", 6, "/a"),
    "an escape": (r'{"a":"\x"}', "syntax", 6, "/a"),
    "half an escape": (r'{"a":"\u12x4"}', "syntax", 6, "/a"),
    "a literal": ('{"a":True}', "syntax", 5, "/a"),
    "a comment": ('{"a":1 /* one */}', "syntax", 7, "/a"),
    "brackets crossed": ('{"a":[1}', "syntax", 7, "/a/0"),
    "nan": ('{"a":{"b":[0,NaN]}}', "nan", 13, "/a/b/1"),
    "infinity": ('{"a":-Infinity}', "nan", 5, "/a"),
    "inf": ("[1,inf]", "nan", 3, "/1"),
    "a comma at the end": ('{"a":[1,2 , ]}', "trailing_comma", 10, "/a/1"),
    "a comma at the end of an object": ('{"a":1,}', "trailing_comma", 6, "/a"),
    "a word behind": ('{"a":1} x', "trailing_garbage", 8, ""),
    "a bracket behind": ('{"a":1}}', "trailing_garbage", 7, ""),
    "a key twice": ('{"o":{"a":1,"b":2,"a":1}}', "duplicate_key", 18, "/o/a"),
    "a key twice, once escaped": (r'{"a":1,"\u0061":1}', "duplicate_key", 7, "/a"),
    "a high half": (r'{"a":"x\ud83d"}', "lone_surrogate", 7, "/a"),
    "a low half": (r'{"a":"\ude00"}', "lone_surrogate", 6, "/a"),
    "two high halves": (r'{"a":"\ud83d\ud83d\ude00"}', "lone_surrogate", 6, "/a"),
    "half a pair as a key": (r'{"\ud83d":1}', "lone_surrogate", 2, ""),
    "a byte": ('{"a":"é\udcff"}', "bad_utf8", 7, "/a"),
    "a byte in a key": ('{"\udcc3":1}', "bad_utf8", 2, ""),
    "a byte outside": ('{"a":\udcff}', "bad_utf8", 5, "/a"),
    "a newline": ('{"a":"x\ny"}', "control_character", 7, "/a"),
    "a null character": ('{"a":"\x00"}', "control_character", 6, "/a"),
    "the end in a text": ('{"a":"x', "truncated", 7, "/a"),
    "the end in an escape": ('{"a":"x\\u00', "truncated", 11, "/a"),
    "the end in an object": ('{"a":[1,', "truncated", 8, "/a/1"),
    "the end before a bracket": ('{"a":{"b":1}', "truncated", 12, "/a"),
    "deep": ("[" * 129 + "]" * 129, "too_deep", 128, "/0" * 128),
    "deep without an end": ('{"a":' * 100_000, "too_deep", 128 * 5, "/a" * 128),
    "pointers are escaped": ('{"a/b":{"m~n":x}}', "syntax", 14, "/a~1b/m~0n"),
    "an empty key": ('{"":x}', "syntax", 4, "/"),
}


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


SINGLE = "a single value: a text, a number, true or false"

WHOLE_NUMBER = "a whole number from -9223372036854775808 to 9223372036854775807 (BIGINT)"
TWO_DIGITS = "a number of at most 16 digits before the point and 2 after it (DECIMAL(18,2))"
NO_DIGITS = "a number of at most 9 digits before the point and none after it (DECIMAL(9,0))"
SECONDS = "a number of seconds since 1970, with at most 6 decimals, up to the year 9999 (EPOCH_S)"
DOUBLES = "a number from -1.7976931348623157e308 to 1.7976931348623157e308 (DOUBLE)"
LEAP = "with seconds from 00 to 59; no time type holds a leap second: declare VARCHAR to keep it"
OTHER_TYPE = "declare another type (input.fields)"
SHOWN = [
    ('"x"', "BIGINT", f"found \"x\" in 'o.v', expected {WHOLE_NUMBER}"),
    (r'"a \" b"', "BIGINT", rf"""found "a \" b" in 'o.v', expected {WHOLE_NUMBER}"""),
    ('"' + "y" * 80 + '"', "BIGINT", 'found "' + "y" * 60 + f"…\" in 'o.v', expected {WHOLE_NUMBER}"),
    ("1.5", "BIGINT", f"found '1.5' in 'o.v', expected {WHOLE_NUMBER}: {OTHER_TYPE}"),
    ("1" * 20, "BIGINT", f"found '{'1' * 20}' in 'o.v', expected {WHOLE_NUMBER}: {OTHER_TYPE}"),
    ("1" * 70, "BIGINT", f"found '{'1' * 60}…' in 'o.v', expected {WHOLE_NUMBER}: {OTHER_TYPE}"),
    (
        "2.5",
        "DECIMAL(9,0)",
        f"found '2.5' in 'o.v', expected {NO_DIGITS}: {OTHER_TYPE}",
    ),
    ('"x"', "DECIMAL(18,2)", f"found \"x\" in 'o.v', expected {TWO_DIGITS}"),
    ("[1]", "DECIMAL(18,2)", f"found an array in 'o.v', expected {TWO_DIGITS}"),
    (
        "{}",
        "VARCHAR",
        f"found an object in 'o.v', expected {SINGLE} (VARCHAR): declare JSON to keep objects and arrays",
    ),
    (
        "1e309",
        "DOUBLE",
        f"found '1e309' in 'o.v', expected {DOUBLES}: {OTHER_TYPE}",
    ),
    (
        "1e12",
        "EPOCH_S",
        f"found '1e12' in 'o.v', expected {SECONDS}: {OTHER_TYPE}",
    ),
    (
        '"2026-06-30T23:59:60Z"',
        "TIMESTAMPTZ",
        f"found \"2026-06-30T23:59:60Z\" in 'o.v', expected a time with a zone as in 2026-01-02T03:04:05.678Z, {LEAP}",
    ),
]


@pytest.mark.parametrize(("value", "kind", "message"), SHOWN)
def test_what_was_found_is_shown_as_it_is_written(tmp_path: Path, value: str, kind: str, message: str) -> None:
    """A text has its own quotes and no others, what is cut is marked, a declared type is named with its digits."""
    (tmp_path / "a.json").write_text(f'{{"o":[{{"v":{value}}}]}}')
    spec = Spec.model_validate({"version": 1, "name": "a", "input": {"fields": {"o.v": kind}}})
    record = known_fields(spec, [["o"]])
    door = Door(tmp_path, spec, Rules(record, Others.LEARN))
    (piece,) = door.read("a.json", str(tmp_path / "a.json"))
    (wrong,) = piece.wrong
    assert door.bad_record("a.json", wrong).message == message


@pytest.mark.parametrize(
    "content",
    [
        "0", "-0", " 1.5e+10 ", "1E400", '"\U0001f600"', r'"\ud83d\ude00\"\\\/\b\f\n\r\t"', "true", "null", "[]",
        " {} ", '{"":{"":[]},"a":[{},[null,false]],"A":1}', "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1),
        '"\x7f\u2028"', "\r\n[\t1 ,2]\n",
    ],
)  # fmt: skip
def test_json_has_no_fault(content: str) -> None:
    """What RFC 8259 allows, down to 128 levels, has no fault, and its value is kept to the last digit."""
    text = raw(f'{{"x":{content}}}')
    found = read_json(text)
    assert (found.values, found.wrong) == ([by_library(text)], [])


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
SNIPPETS = st.sampled_from(
    [*'{}[]",:\\0123456789+-.eEu \n\r\t\x00\x1f\x7fé\udcff', "NaN", "Infinity", "true", "null", r"\ud83d", r"\ude00",
     '"a":1,']
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """JSON texts with up to three places where something is put in, taken out, or doubled."""
    content = json.dumps(draw(JSON), ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 3)))
        content = content[:start] + draw(SNIPPETS | st.just("") | st.just(content[start:end] * 2)) + content[end:]
    return content


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


@settings(max_examples=200)
@given(JSON, st.none() | st.just(2), st.booleans(), st.randoms(use_true_random=False))
def test_a_pointer_leads_to_its_value(value: Any, indent: int | None, ascii_only: bool, drawn: random.Random) -> None:  # noqa: FBT001
    """Wherever a value of a record is broken, the fault has its place, and its JSON pointer."""
    made = {"a": value}
    pointer, holder, step = drawn.choice([*values(made, "")])
    holder[step] = "this one is broken"
    content = json.dumps(made, indent=indent, ensure_ascii=ascii_only)
    at = content.index('"this one is broken"')
    (wrong, *_) = read_json(content.replace('"this one is broken"', "x").encode()).wrong
    assert (wrong.code, wrong.offset, wrong.pointer) == ("syntax", len(content[:at].encode()), pointer)


def values(value: Any, pointer: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the pointer of each value in an object or array, with what it lies in, and where."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in members:
        way = f"{pointer}/{str(step).replace('~', '~0').replace('/', '~1')}"
        yield way, value, step
        yield from values(inner, way)


# The records of a JSON file.

FORMS = {
    "array": (b'[{"i":1},{"i":2}]', [(1, 1), (1, 9)]),
    "array, a record a line": (b'[\n{"i":1},\n{"i":2}\n]\n', [(2, 2), (3, 11)]),
    "array, blanks": (b' \t\r\n[ {"i":1} , {"i":2} ] \n', [(2, 6), (2, 16)]),
    "pretty-printed array": (b'[\n  {\n    "i": 1\n  },\n  {\n    "i": 2\n  }\n]', [(2, 4), (5, 24)]),
    "NDJSON": (b'{"i":1}\n{"i":2}\n', [(1, 0), (2, 8)]),
    "NDJSON, no last newline": (b'{"i":1}\n{"i":2}', [(1, 0), (2, 8)]),
    "NDJSON, CRLF and blank lines": (b'\r\n{"i":1}\r\n\r\n \r\n{"i":2}\r\n', [(2, 2), (5, 16)]),
    "pretty-printed objects": (b'{\n "i": 1\n}\n{\n "i": 2\n}\n', [(1, 0), (4, 12)]),
    "concatenated": (b'{"i":1}{"i":2}', [(1, 0), (1, 7)]),
    "concatenated with a blank": (b'{"i":1} {"i":2}', [(1, 0), (1, 8)]),
    "byte order mark": (b'\xef\xbb\xbf{"i":1}\n{"i":2}', [(1, 3), (2, 11)]),
    "byte order mark, array": (b'\xef\xbb\xbf[{"i":1},{"i":2}]', [(1, 4), (1, 12)]),
    "bytes before": ('[{"i":1,"ü":"😀"},{"i":2}]'.encode(), [(1, 1), (1, 21)]),
}


@pytest.mark.parametrize("name", FORMS)
def test_records_are_found_in_every_form(name: str) -> None:
    """Arrays, NDJSON, pretty-printed and concatenated objects give their records, each with line and byte offset."""
    content, expected = FORMS[name]
    found = read_json(content)
    assert [record["i"] for record in found.values] == ["1", "2"]
    assert not found.wrong
    assert places(content, "i") == expected


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


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
def test_a_file_of_nothing_is_an_empty_file(content: bytes) -> None:
    """A file without anything but blanks has the code `empty_file`, an empty array has no record and no fault."""
    assert [(one.code, one.record) for one in read_json(content).wrong] == [("empty_file", 0)]
    assert (read_json(b"[ ]\n").values, read_json(b"[ ]\n").wrong) == ([], [])


DOCUMENT = b'{"meta":{"n":[2]},"data":{"orders":[{"i":1},\n{"i":2}]},"x":"]"}\n'
WRAPPED = {
    "nested": (DOCUMENT, "/data/orders", [(1, 36), (2, 45)], []),
    "several documents": (DOCUMENT + DOCUMENT, "/data/orders", [(1, 36), (2, 45), (3, 100), (4, 109)], []),
    "an index": (b'[{"d":[{"i":1}]},{"d":[{"i":2}]}]', "/1/d", [(1, 23)], []),
    "escaped": (b'{"a/b":{"m~n":[{"i":1}]}}', "/a~1b/m~0n", [(1, 15)], []),
    "an empty key": (b'{"":[{"i":1}]}', "/", [(1, 5)], []),
    "one object": (b'{"d":{"i":1}}', "/d", [(1, 5)], []),
    "null": (b'{"d":null}', "/d", [], []),
    "an empty array": (b'{"d":[]}', "/d", [], []),
    "not there": (b'{"e":[{"i":1}]}', "/d", [], ["pointer_not_found"]),
    "through a value": (b'{"d":7}', "/d/e", [], ["pointer_not_found"]),
    "a value": (b'{"d":7}', "/d", [], ["not_an_object"]),
    "a bad record in it": (b'{"d":[{"i":x},{"i":2}],"e":1}', "/d", [(1, 14)], ["syntax"]),
    "bad behind it": (b'{"d":[{"i":1}],"e":x}', "/d", [(1, 6)], ["syntax"]),
    "cut short": (b'{"d":[{"i":1}]', "/d", [(1, 6)], ["truncated"]),
    "twice": (b'{"d":[{"i":1}],"d":[{"i":2}]}', "/d", [(1, 6)], ["duplicate_key"]),
    "a comma at the end": (b'{"d":[{"i":1}],}', "/d", [(1, 6)], ["trailing_comma"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPED)
def test_records_are_found_inside_of_documents(name: str) -> None:
    """`records_at` leads to the records of each document, with their places, or the reason is told."""
    content, pointer, expected, faults = WRAPPED[name]
    found = read_json(content, records_at=pointer)
    assert len(found.values) == len(expected)
    assert [one.code for one in found.wrong] == faults
    assert places(content, "i", form=Form(records_at=pointer)) == expected


def test_what_stands_around_the_records_may_be_large() -> None:
    """An array beside the records is passed in bounded memory, and judged; only its elements have to fit."""
    beside = ",".join(f'[{{"n":{n}}}]' for n in range(2000))
    content = f'{{"beside":[{beside}],"d":[{{"i":1}}]}}'.encode()
    assert read_json(content, cap=100, records_at="/d").values == [{"i": "1"}]
    found = read_json(content.replace(b'{"n":1000}', b'{"n":1,"n":2}'), cap=100, records_at="/d")
    assert [one.code for one in found.wrong] == ["duplicate_key"]
    assert found.values == [{"i": "1"}]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"d":[{"i":1}]}\n{"e":[]}\n{"d":[{"i":3}]}\n', ["1", "pointer_not_found", "3"]),
        ('{"d":[{"i":1}],"x":tru}\n{"d":[{"i":3}]}\n', ["1", "syntax", "3"]),
        ('{"d":5}\n{"d":{"i":3}}\n{"d":null}\n', ["not_an_object", "3"]),
        ('{"d":[{"i":1},{"i', ["1", "truncated"]),
        ('{"d":[{"i":1}]', ["1", "truncated"]),
        ('{"d":[{"i":1}],}', ["1", "trailing_comma"]),
        ('{"d":[],"d":[]}\n{"d":[{"i":3}]}', ["duplicate_key", "3"]),
        ('{"d":[{"i":1}]\n{"d":[{"i":3}]}\n', ["1", "syntax", "3"]),
        ('{"d":[{"i":1}]},{"d":[{"i":3}]}\n', ["1", "trailing_garbage", "3"]),
        ('{"d":[{"i":1}],\n{"d":[{"i":3}]}\n', ["1", "syntax", "3"]),
        ('{"d":[{"i":1}],"x":[[{}]\n{"d":[{"i":3}]}\n', ["1", "syntax", "3"]),
    ],
)
def test_a_bad_document_costs_no_other_document_a_record(content: str, found: list[str]) -> None:
    """What is wrong around the records of a wrapped document is one bad record, and the next document is read."""
    answer = read_json(content.encode(), records_at="/d")
    good = iter(answer.values)
    assert [code or next(good)["i"] for code in answer.codes] == found


GOOD = '{"i":1,"s":"ü"}', '{"i":3,"s":"]}"}'
BROKEN = {
    "an unterminated text": ('{"i":2,"s":"x}', {"truncated", "control_character"}),
    "an unterminated key": ('{"i":2,"s:"x"}', None),
    "a missing brace": ('{"i":2,"s":{"t":1}', {"truncated"}),
    "a missing bracket": ('{"i":2,"s":[1,{"t":1}}', {"syntax", "truncated"}),
    "a brace too many": ('{"i":2}}', {"trailing_garbage"}),
    "a missing value": ('{"i":2,"s":}', {"syntax"}),
    "a comma inside": ('{"i":2,}', {"trailing_comma"}),
    "a brace too many, and more": ('{"i":2}} more', {"trailing_garbage"}),
    "garbage": ("garbage", {"syntax"}),
    "a number": ("7", {"not_an_object"}),
    "an array": ("[2]", {"not_an_object"}),
    "NaN": ('{"i":NaN}', {"nan"}),
    "a key twice": ('{"i":2,"i":2}', {"duplicate_key"}),
    "half a pair": (r'{"i":"\ud83d"}', {"lone_surrogate"}),
    "a byte that is no UTF-8": ('{"i":"\udcff"}', {"bad_utf8"}),
    "a byte that is no UTF-8 outside": ('{"i":2\udcff}', {"bad_utf8"}),
    "a control character": ('{"i":"\x01"}', {"control_character"}),
    "too deep": ('{"i":' + "[" * 128 + "]" * 128 + "}", {"too_deep"}),
    "much too deep": ('{"i":' + "[" * 50_000 + "]" * 50_000 + "}", {"too_deep"}),
    "deep and unterminated": ('{"i":' + "[" * 50_000, {"too_deep"}),
    "too large": ('{"i":"' + "x" * 200_000 + '"}', {"record_too_large"}),
    "too large, and broken": ('{"i":"' + "x" * 200_000 + '"x}', {"record_too_large"}),
    "too large, with brackets in texts": ('{"i":["' + r"}]\"" * 60_000 + '"]}', {"record_too_large"}),
}
AROUND = {
    "array": "[%s,%s,%s]",
    "array, a record a line": "[\n%s,\n%s,\n%s\n]\n",
    "array, indented": "[\n  %s,\n  %s,\n  %s\n]\n",
    "NDJSON": "%s\n%s\n%s\n",
    "NDJSON, CRLF": "%s\r\n%s\r\n%s",
}


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


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        ('[{"i":1},,{"i":3}]', [None, "syntax", None]),
        ('[,{"i":1},{"i":3}]', ["syntax", None, None]),
        ('[{"i":1},{"i":3},]', [None, None, "trailing_comma"]),
        ('[{"i":1},{"i":3}', [None, None, "truncated"]),
        ('[{"i":1},{"i":3},', [None, None, "truncated"]),
        ('[{"i":1},{"i":3},{"i":', [None, None, "truncated"]),
        ('[{"i":1},{"i":3}] x', [None, None, "trailing_garbage"]),
        ('[{"i":1},{"i":3}]]', [None, None, "trailing_garbage"]),
        ('{"i":1}\n,\n{"i":3}\n', [None, "syntax", None]),
        ('{"i":1}\n{"i":3}\n{"i":', [None, None, "truncated"]),
        ('{\n "i": 1\n}\n{\n "i": \n}\n{\n "i": 3\n}\n', [None, "syntax", None]),
        ('{\n "i": 1\n}\n{\n "i": "x\n}\n{\n "i": 3\n}\n', [None, "control_character", None]),
        ('{"i":1}\n["i",2\n{"i":3}\n', [None, "not_an_object", "not_an_object", None, "truncated"]),
        ('{"i":1} xyz {"i":3}', [None, "trailing_garbage", None]),
        ('{"i":1}garbage\n{"i":3}', [None, "trailing_garbage", None]),
        ('{"i":1} 5" tall\n{"i":3}', [None, "trailing_garbage", None]),
        ('{"i":1} "{ \\"}" {"i":3}', [None, "trailing_garbage", "syntax", None]),
        ('{"i":1},"x"\n{"i":3}', [None, "trailing_garbage", None]),
        ('{"i":1}},"x":{"i":2}}\n{"i":1}\n{"i":3}', ["trailing_garbage", None, None]),
        ('[{"i":1} xyz, {"i":3}]', [None, "trailing_garbage", None]),
        ('[{"i":1} xyz {"i":3}]', [None, "trailing_garbage", None]),
        ('[{"i":1}\nx\ny\n,{"i":3}]', [None, "trailing_garbage", "trailing_garbage", None]),
        ('[{"i":2} "x":2},{"i":1},{"i":3}]', ["trailing_garbage", None, None]),
        ('[{"i":1},x {"i":3}]', [None, "syntax", None]),
        ('[{"i":1},x {"j":2},{"i":3}]', [None, "syntax", None]),
        ('{"i":1} x' + "y" * 5000 + '}{"i":3}', [None, "trailing_garbage", None]),
        ('{"i":1}{"i":{"t":2}{"i":3}', [None, "truncated", None]),
    ],
)
def test_what_is_wrong_between_records_costs_none(content: str, faults: list[str | None]) -> None:
    """A comma too many, a file that ends early, and text behind the records are one fault, and cost no record."""
    found = read_json(content.encode())
    assert found.codes == faults
    assert [record["i"] for record in found.values] == ["1", "3"]


@pytest.mark.parametrize(
    "content",
    [
        '{"i":1}\n[{"i":2},{"i":3}]\n{"i":4}\n[\n]\n[ {"i":5} ]',
        '[{"i":1}]\n{"i":2}\n[{"i":3},{"i":4}] {"i":5}',
        '{"i":1}[{"i":2}]{"i":3}[{"i":4},{"i":5}][]',
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_objects_and_arrays_come_in_any_order(content: str, step: int) -> None:
    """A file may have objects and arrays of objects one after the other: all of these are records."""
    found = read_json(content.encode(), *range(step, len(content), step))
    assert ([record["i"] for record in found.values], found.wrong) == ([*"12345"], [])


@pytest.mark.parametrize("line", ["[2]", '["a",{"j":9}]', "[INFO] x", "[[]]"])
def test_an_array_of_something_else_is_one_bad_line(line: str) -> None:
    """Behind an object, an array that does not begin with an object is one bad record, as any other value is."""
    found = read_json(f'{{"i":1}}\n{line}\n{{"i":2}}\n'.encode())
    assert [one.raw.decode() for one in found.wrong] == [line]
    assert found.codes[::2] == [None, None]


@pytest.mark.parametrize("content", [b"{}x" * 100_000, b"{}x{" * 50_000, b'{}"' * 100_000, b"[" + b"{}x" * 100_000])
def test_what_stands_between_records_is_looked_at_once(content: bytes) -> None:
    """Garbage behind each of many records costs no more time than the records do."""
    started = time.monotonic()
    read_json(content)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("content", "faults"),
    [
        ('[{"i":1} {"i":2},{"i":3}]', [("syntax", 9, "")]),
        ('[{"i":1}{"i":2}\n{"i":3}\n', [("syntax", 8, "")]),
        ('{"i":1}\n[{"i":2}\n{"i":3}\n', [("syntax", 17, "")]),
        ('[{"i":1}\n{"i":2},{"i":3}\n', [("syntax", 9, ""), ("truncated", 25, "")]),
        ('[{"i":1}\n{"i":2}\n{"i":3}]', [("syntax", 9, "")]),
        ('{"i":1}\n[{"i":2},x\n{"i":3}\n', [("syntax", 17, "x"), ("truncated", 27, "")]),
        ('[{"i":1}\n[{"i":2},{"i":3}]', [("syntax", 9, "[")]),
        ('[{"i":1},{"i":2}[{"i":3}]\n', [("syntax", 16, "[")]),
        ('[{"i":1}\n[{"i":2}\n[{"i":3}]\n', [("syntax", 9, "["), ("syntax", 18, "[")]),
        ('[{"i":1}],[{"i":2}]\n[{"i":3}],\n', [("trailing_garbage", 9, ","), ("trailing_garbage", 29, ",")]),
        ('[{"i":1}]] , [{"i":2},{"i":3}]', [("trailing_garbage", 9, "] ,")]),
        ('{"i":1},\n{"i":2},{"i":3}\n', [("trailing_garbage", 7, ","), ("trailing_garbage", 16, ",")]),
        ('{"i":1}]\n{"i":2}] {"i":3}]', [("trailing_garbage", at, "]") for at in (7, 16, 25)]),
        ('[{"i":1}]\n{"i":2}[{"i":3}]', []),
        ('[{"i":1},{"i":2}[]\n[{"i":3}]', [("syntax", 16, "[")]),
        ('{"i":1}{"i":2}{"i":3', None),
        ('[{"i":1},{"i":9,"s":"x\n[{"i":2},{"i":3}]\n', [("truncated", 9, '{"i":9,"s":"x'), ("syntax", 23, "[")]),
        ('[\n{"i":1},\n{"i":9,"s":"x\n[{"i":2},\n{"i":3}\n]', None),
    ],
)
def test_a_broken_frame_costs_no_record(content: str, faults: list[tuple[str, int, str]] | None) -> None:
    """What lacks or is too much between records and arrays is a bad record of its own, and costs none."""
    found = read_json(content.encode())
    expected = ["1", "2"] if content.endswith('{"i":3') else ["1", "2", "3"]
    assert [record["i"] for record in found.values] == expected
    assert faults is None or [(one.code, one.record_offset, one.raw.decode()) for one in found.wrong] == faults


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


# A text that is broken open may end the array, if it has a bracket for that.
PIECE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="]"), max_size=5)
NESTED = st.recursive(
    st.booleans() | PIECE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PIECE, inner, max_size=3),
    max_leaves=5,
)
RECORD = st.builds(
    lambda first, rest: {"i": first, **rest},
    st.integers(0, 99),
    st.fixed_dictionaries({"s": PIECE | st.just('"},{"')}, optional={"o": NESTED, "t": st.none() | st.integers()}),
)


BREAKING = ["{", "}", "[", ",", "x", "", "\udcff", "\x00", ",,"]
BREAKING_TEXTS = ['"', "\\", '{"', '"}', '":']


@st.composite
def with_one_broken(draw: st.DrawFn) -> tuple[str, list[list[dict[str, Any]]], str]:
    """Files of good records, those before and behind one in which something was changed, and this one.

    A closing bracket is not put in: it may end the array, which is a fault of the file. Where all records are in one
    line, no quote is put in or taken out: then nobody knows what is a text.
    """
    form = draw(st.sampled_from(["NDJSON", "lines", "pretty", "compact"]))
    indent = 1 if form == "pretty" else None
    halves = [draw(st.lists(RECORD, min_size=1, max_size=4)) for _ in range(2)]
    written = [[json.dumps(record, indent=indent, ensure_ascii=False) for record in half] for half in halves]
    broken = json.dumps(draw(RECORD), indent=indent)
    texts = form != "compact"
    places = [i for i, char in enumerate(broken) if texts or char not in '"\\'][1:]
    at = draw(st.sampled_from(places))
    put = draw(st.sampled_from(BREAKING + BREAKING_TEXTS if texts else BREAKING))
    broken = broken[:at] + put + broken[at + draw(st.integers(0, 1)) :]
    between, around = {"NDJSON": ("\n", "%s\n"), "compact": (",", "[%s]")}.get(form, (",\n", "[\n%s\n]"))
    content = around % between.join([*written[0], broken, *written[1]])
    return content, parsed(json.dumps(halves)), broken


@pytest.mark.slow
@settings(max_examples=400)
@given(with_one_broken())
def test_good_records_around_a_broken_one_survive(made: tuple[str, list[list[dict[str, Any]]], str]) -> None:
    """Whatever is changed in one record, all others are read, in their order; it is bad unless it still is JSON."""
    content, (before, behind), broken = raw(made[0]), made[1], raw(made[2])
    found, value = read_json(content), by_library(broken)
    if value is not None:
        assert (found.values, found.wrong) == ([*before, value, *behind], [])
        return
    assert found.values[: len(before)] == before
    assert found.values[len(found.values) - len(behind) :] == behind
    assert found.codes[len(before)] or len(found.values) > len(before) + len(behind)
    assert found.wrong
    for one in found.wrong:
        assert one.record_line == content[: one.record_offset].count(b"\n") + 1
        assert content[one.record_offset :].startswith(one.raw)
        assert one.size == len(one.raw)


@settings(max_examples=300)
@given(mutated(), st.booleans())
def test_reading_any_text_ends(content: str, in_array: bool) -> None:  # noqa: FBT001
    """Any text is read to its end; outside of the bad records there are good ones, commas, brackets and blanks."""
    text = raw(f'[{{"i":1}},{content}' if in_array else f'{{"i":1}}\n{content}')
    found = read_json(text)
    assert found.values[0] == {"i": "1"}
    rest, end = "", 0
    for one in found.wrong:
        assert one.record_offset >= end
        rest += text[end : one.record_offset].decode() + " "
        end = one.record_offset + one.size
    rest, good, decoder = rest + text[end:].decode(), [], json.JSONDecoder(parse_int=str, parse_float=str)
    while rest := rest.lstrip("[], \t\r\n\ufeff"):
        value, at = decoder.raw_decode(rest)
        good.append(value)
        rest = rest[at:]
    assert good == found.values


@settings(max_examples=250)
@given(st.text('{}[]"\\ax,', max_size=30), st.lists(st.integers(1, 7), max_size=30))
@example('""\\', [1, 2])
def test_the_end_of_a_large_record_is_found_piece_by_piece(tail: str, sizes: list[int]) -> None:
    """A record that is too large to be kept ends at the same byte, however the file is cut in reading."""
    content = raw("{" + tail)
    at, cuts = 0, list[int]()
    while sizes and at + sizes[0] < len(content):
        at += sizes.pop(0)
        cuts.append(at)
    whole = read_json(content, cap=1)
    assert read_json(content, *cuts, cap=1) == whole
    if by_library(content) is not None:
        assert [(one.code, one.size) for one in whole.wrong] == [("record_too_large", len(content))]


# CSV: RFC 4180.

CSV = {
    "plain": (b"a,b\n1,2\n3,4\n", [("1", "2"), ("3", "4")], [(2, 4), (3, 8)]),
    "nothing and empty": (b'a,b\n,""\n"",\n', [(None, ""), ("", None)], [(2, 4), (3, 8)]),
    "quoted": (b'a,b\n"x,""y""","1\n2\r\n3"\n5,6\n', [('x,"y"', "1\n2\r\n3"), ("5", "6")], [(2, 4), (5, 23)]),
    "CRLF, blank lines, no last newline": (
        b"\r\na,b\r\n\r\n1,2\r\n\r\n3,4",
        [("1", "2"), ("3", "4")],
        [(4, 9), (6, 16)],
    ),
    "byte order mark": (b'\xef\xbb\xbf"a",b\n1,2\n', [("1", "2")], [(2, 9)]),
    "text as it is": (b"a,b\n 007 ,x y'\n\xc3\xa9,NULL\n", [(" 007 ", "x y'"), ("é", "NULL")], [(2, 4), (3, 15)]),
    "a lone carriage return": (b"a,b\n1\r2,3\n", [("1\r2", "3")], [(2, 4)]),
    "no line": (b"a,b\n", [], []),
    "no line, no newline": (b"a,b", [], []),
}


@pytest.mark.parametrize("name", CSV)
def test_lines_of_csv_are_records(name: str) -> None:
    """Every line of a CSV file is a record of texts with its place; nothing is null and `""` an empty text."""
    content, expected, at = CSV[name]
    found = read_csv(content)
    assert [tuple(slots(body, 2)[0]) for _, body in entries(found.merged)] == expected
    assert not found.wrong
    assert places(content, "a", "b", form=Form(csv=True)) == at


BAD_CSV = {
    "too few": (b"1,2\n1\n3,4\n", [None, "ragged_line", None]),
    "too many": (b"1,2\n1,2,3\n3,4\n", [None, "ragged_line", None]),
    "text behind a quote": (b'1,2\n"x"y,2\n3,4\n', [None, "bad_quote", None]),
    "a quote in a field without quotes": (b'1,2\n3,x"y\n4, "z"\n5,6\n', [None, "bad_quote", "bad_quote", None]),
    "a quote that never ends": (b'1,2\n3,"x\n5,6\n', [None, "bad_quote", None]),
    "a quote that never ends in the last line": (b'1,2\n3,4\n5,"x', [None, None, "truncated"]),
    "no UTF-8": (b"1,2\n3,\xff\n5,6\n", [None, "bad_utf8", None]),
    "no UTF-8, quoted": (b'1,2\n3,"\xe9"\n5,6\n', [None, "bad_utf8", None]),
    "too large": (b"1,2\n3," + b"x" * 3000 + b"\n5,6\n", [None, "record_too_large", None]),
    "too large, quoted": (b'1,2\n3,"' + b"x\n" * 1500 + b'"\n5,6\n', [None, "record_too_large", None]),
}


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
        (b"a,,b,\n", "bad_header"),
        (b'a,"",\n', "bad_header"),
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


NO_HEADER = " (if the file has no header, csv: {header: false})"


@pytest.mark.parametrize(
    ("content", "message", "place"),
    [
        (
            b'\nid,n,"id"\n1,2,3\n',
            "found 'id', expected another name for column 3: column 1 has the same" + NO_HEADER,
            (2, 6),
        ),
        (
            b"id,,n,,x\n",
            "found nothing, expected a name for column 4: column 2 has none, and only one may lack it" + NO_HEADER,
            (1, 6),
        ),
        (b'id,"n"x,y\n1\n', "found '\"n\"x', expected quotes around the whole field, or none in it", (1, 3)),
        (b'id,"n\n1,2\n', "found '\"n', expected quotes around the whole field, or none in it", (1, 3)),
        (b"id,n\xff\n", r"found '\xff', expected UTF-8", (1, 4)),
        (
            b"id," + b"n" * 98,
            "found 'id', expected a header line of at most input.max_record_bytes",
            (1, 0),
        ),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_bad_header_says_which_name_is_bad(content: bytes, message: str, place: tuple[int, int], step: int) -> None:
    """What is said of a header quotes the first name that is wrong, and says where it stands."""
    (wrong,) = read_csv(content, *range(step, len(content), step), cap=100).wrong
    assert (wrong.message, (wrong.line, wrong.offset)) == (message, place)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"1,2,3", "found 3 fields, expected 2 fields, as in the header"),
        (b"1", "found 1 field, expected 2 fields, as in the header"),
        (b'1,x"y', "found 'x\"y', expected quotes around the whole field, or none in it"),
        (b'1,"x,y"z', "found '\"x,y\"z', expected quotes around the whole field, or none in it"),
    ],
)
def test_a_bad_line_says_what_it_has(line: bytes, found: str) -> None:
    """A line of CSV with more or fewer fields than the header is told by both numbers, a bad quote by its field."""
    (wrong,) = read_csv(b"a,b\n" + line + b"\n1,2\n").wrong
    assert wrong.message == found


@pytest.mark.parametrize("text", [rb"\ud800", rb"\udc00\ud800", rb"\q", rb"\u12g4"])
def test_what_was_found_has_the_backslashes_of_the_file(text: bytes) -> None:
    """A backslash of the file is one backslash in the message; another byte is one escape."""
    (wrong,) = read_json(b'{"a":"' + text + b'"}').wrong
    assert wrong.message.startswith(f"found '{text.decode()}', expected ")
    (wrong,) = read_json(b'{"a":"\xff\\n"}').wrong
    assert wrong.message.startswith(r"found '\xff\n', expected ")


@pytest.mark.parametrize(
    ("header", "names"),
    [(b",a,b", ("", "a", "b")), (b"a,,b", ("a", "", "b")), (b'a,b,""', ("a", "b", "")), (b"a,b,", ("a", "b", ""))],
)
def test_one_column_may_have_no_name(header: bytes, names: tuple[str, ...]) -> None:
    """A header may lack one name: its column has the empty name, as a key of JSON may be empty."""
    found = read_csv(header + b"\n1,2,3\n4,,6\n", names=names)
    assert not found.wrong
    assert [slots(body, 3)[0] for _, body in entries(found.merged)] == [["1", "2", "3"], ["4", None, "6"]]


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


CELLS = st.none() | st.text(st.sampled_from('ab",\n\r é😀0 '), max_size=6)


@settings(max_examples=200)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_csv_is_read_as_it_was_written(rows: list[tuple[str | None, str | None]], newline: str, quoted: bool) -> None:  # noqa: FBT001
    """Any cells, written by RFC 4180, are read as they were."""

    def cell(value: str | None) -> str:
        needed = value == "" or (value is not None and (quoted or any(char in value for char in '",\r\n')))
        return "" if value is None else '"' + value.replace('"', '""') + '"' if needed else value

    content = newline.join(["a,b", *(f"{cell(a)},{cell(b)}" for a, b in rows), ""]).encode()
    found = read_csv(content)
    assert [tuple(slots(body, 2)[0]) for _, body in entries(found.merged)] == rows


# Values.

# JSON texts, each with the form that its declared type gives it, or the code of its record.
EXACT: dict[str, list[tuple[str, str]]] = {
    "BIGINT": [
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1.0", "1"),
        ("12e2", "1200"),
        ('"007"', "7"),
        ('"+5"', "5"),
        ("9223372036854775808", "inexact"),
        ("1.5", "inexact"),
        ("1e999999999", "inexact"),
        ("1e9999999999999999999", "inexact"),
        ('""', "wrong_type"),
        ('" 1"', "wrong_type"),
        ('"1_000"', "wrong_type"),
        ('"1,5"', "wrong_type"),
        ('"\u0661"', "wrong_type"),
        ("true", "wrong_type"),
        ("{}", "wrong_type"),
        ("[]", "wrong_type"),
    ],
    "DECIMAL(4,2)": [
        ("12.34", "12.34"),
        ("-99.99", "-99.99"),
        ("1.200", "1.20"),
        ("1e1", "10.00"),
        ('"12.30"', "12.30"),
        ("100", "inexact"),
        ("0.001", "inexact"),
        ("1e-3", "inexact"),
        ('"x"', "wrong_type"),
    ],
    "DECIMAL(2,2)": [("0.25", "0.25"), ("0", "0.00"), ("1", "inexact"), ("-1", "inexact")],
    "DECIMAL(38,20)": [
        ("123456789012345678.12345678901234567890", "123456789012345678.12345678901234567890"),
        ("1234567890123456789.5", "inexact"),
    ],
    "DOUBLE": [
        ("0.1", "0.1"),
        ("1e300", "1e+300"),
        ("12345678901234567", "inexact"),
        ("0.1234567890123456789", "inexact"),
        ("1e400", "inexact"),
        ("1e-400", "inexact"),
        ('"NaN"', "NaN"),
        ('"-Infinity"', "-Infinity"),
        ('"nan"', "wrong_type"),
        ('"inf"', "wrong_type"),
        ("false", "wrong_type"),
    ],
    "BOOLEAN": [("true", "true"), ('"false"', "false"), ('"True"', "wrong_type"), ("1", "wrong_type")],
    "VARCHAR": [
        ("1.50", "1.50"),
        ("true", "true"),
        ('""', ""),
        (r'"x\ny"', "x\ny"),
        ('{"a":"x"}', "wrong_type"),
        ('["x"]', "wrong_type"),
    ],
    "DATE": [
        ('"2024-02-29"', "2024-02-29"),
        ('"2023-02-29"', "wrong_type"),
        ('"20240229"', "2024-02-29"),
        ('"2024-2-9"', "wrong_type"),
        ('"2024-02-29T00:00:00"', "wrong_type"),
        ("2024", "wrong_type"),
    ],
    "TIMESTAMP": [
        ('"2024-02-29T23:59:59.123456"', "2024-02-29T23:59:59.123456"),
        ('"2024-02-29 23:59:59"', "2024-02-29T23:59:59"),
        ('"2026-01-02T09:15"', "2026-01-02T09:15:00"),
        ('"2024-02-29T23:59:59.1234567"', "wrong_type"),
        ('"2024-02-29T24:00:01"', "wrong_type"),
        ('"2024-02-29T23:59:59Z"', "wrong_type"),
        ('"2024-02-29"', "wrong_type"),
        ('"2026-01-02T09:15:60"', "wrong_type"),
    ],
    "TIMESTAMPTZ": [
        ('"2024-02-29T23:59:59Z"', "2024-02-29T23:59:59Z"),
        ('"2024-02-29T23:59:59.5+02:00"', "2024-02-29T21:59:59.500000Z"),
        ('"2024-12-31T23:30:00-01"', "2025-01-01T00:30:00Z"),
        ('"2024-03-01 00:15:00+0030"', "2024-02-29T23:45:00Z"),
        ('"2026-01-02T09:15Z"', "2026-01-02T09:15:00Z"),
        ('"2026-01-02 09:15:00.1230000+00"', "2026-01-02T09:15:00.123000Z"),
        ('"0001-01-01T00:00:00+01"', "wrong_type"),
        ('"2026-01-02T09:15:00"', "wrong_type"),
        ('"2024-02-29T23:59:59"', "wrong_type"),
    ],
}


def as_type(kind: str, value: str) -> str | None:
    """Return the form that a declared type gives to a JSON text, or the code of its record."""
    found = read_json(raw(f'{{"a":{value}}}'), record=Field(kind="object", inside=(Field("a", type=kind),)))
    if found.wrong:
        assert [one.pointer for one in found.wrong] == ["/a"]
        return found.wrong[0].code
    ((_, body),) = entries(found.merged)
    return slots(body, 1)[0][0]


@pytest.mark.parametrize(
    ("kind", "value", "expected"), [(kind, *case) for kind, cases in EXACT.items() for case in cases]
)
def test_a_declared_type_holds_a_value_exactly_or_not_at_all(kind: str, value: str, expected: str) -> None:
    """A value is what its declared type holds exactly, else its record is bad by `wrong_type` or `inexact`."""
    assert as_type(kind, value) == expected


@settings(max_examples=400)
@given(
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?\Z"),
    st.integers(1, 38).flatmap(lambda precision: st.tuples(st.just(precision), st.integers(0, precision))),
)
def test_decimals_are_exact(number: str, sizes: tuple[int, int]) -> None:
    """A number is in DECIMAL(p,s), with its value and s digits, exactly when it has no more digits than that holds."""
    precision, scale = sizes
    value = Fraction(number)
    fits = (value * 10**scale).denominator == 1 and abs(value) < 10 ** (precision - scale)
    text = as_type(f"DECIMAL({precision},{scale})", number)
    if not fits:
        assert text == "inexact"
        return
    assert text is not None
    assert Fraction(text) == value
    assert len(text.partition(".")[2]) == scale


@settings(max_examples=500)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_is_written_as_it_reads_back(number: float) -> None:
    """The shortest text of a double is its form, as Python writes it."""
    assert as_type("DOUBLE", repr(number)) == repr(number)


@settings(max_examples=300)
@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,3})?\Z"))
def test_a_double_holds_what_its_shortest_text_says(number: str) -> None:
    """A number is a DOUBLE exactly when the shortest text of the nearest double has its value."""
    nearest = float(number)
    is_exact = abs(nearest) != float("inf") and Fraction(repr(nearest)) == Fraction(number)
    assert as_type("DOUBLE", number) == (repr(nearest) if is_exact else "inexact")


# Hostile files.


@pytest.mark.parametrize("kind", ["names", "json", "values", "keys", "tables", "large"])
def test_faults_of_hostile_files_lie_where_they_are_said_to(kind: str) -> None:
    """Line, byte and size of each bad record are those of its text in the file, and do not depend on windows."""
    cap = 1 << 20 if kind == "tables" else 8 << 20
    for case in hostile.corpus(kind).cases:
        # Which of the limits of a run a file meets depends on the others.
        if case.left or not isinstance(case.content, bytes) or case.code in {"too_many_fields", "wrong_encoding"}:
            continue
        content, is_parquet = case.content, str(case.name).endswith(".parquet")
        if is_parquet or case.records == ("case_conflict",) or case.name == "part_b.json":
            continue
        reader = Reader(form=Form(csv=str(case.name).endswith(".csv"), max_record_bytes=cap))
        found = read_with(reader, [content])
        codes = tuple(one.code for one in found.wrong)
        assert codes[:1] == (case.code,) if case.code else codes == case.records, case.name
        end = 0
        for one in found.wrong:
            assert end <= one.record_offset <= one.offset <= one.record_offset + one.size or not one.record
            assert one.record_line == content[: one.record_offset].count(b"\n") + 1
            assert one.line == content[: one.offset].count(b"\n") + 1
            end = one.record_offset + one.size
            assert one.raw in {b"", content[one.record_offset : end]}
        step = 1 if len(content) < 10_000 else 99_991
        pieces = [content[at : at + step] for at in range(0, len(content), step)]
        assert read_with(reader, pieces).wrong == found.wrong, case.name


# Files: what the door makes of them.

LINES = [b'{"i":1}', b'{"i":x}', "{'i':\"é\"}".encode(), b'{"i":"\xff"}', b'{"i":2}']


def door(spec: dict[str, Any] | None = None, rules: Rules = Rules(None, Others.LEARN)) -> Door:  # noqa: B008
    return Door(Path("/"), Spec.model_validate({"version": 1, "name": "a", **(spec or {})}), rules)


def through(opened: Door, path: Path, name: str | None = None) -> tuple[FileRead, list[Wrong]]:
    pieces: list[Piece] = list(opened.read(name or path.name, str(path)))
    return opened.found, [one for piece in pieces for one in piece.wrong]


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".json": bytes,
    ".json.gz": gzip.compress,
    ".json.zst": zstandard.compress,
}


@pytest.mark.parametrize("suffix", PACKED)
def test_a_file_is_read_alike_however_it_is_packed(tmp_path: Path, suffix: str) -> None:
    """Records, places and faults are those of the text, over many windows of it; the hash is that of the file."""
    line = ('{"a":"' + "é" * 5000 + '"}\n').encode()
    content = line * 500 + b'{"a":x}\n{"a":1}\n'
    assert len(content) > 4 * WINDOW_BYTES
    path = tmp_path / f"a{suffix}"
    path.write_bytes(PACKED[suffix](content))
    found, (wrong,) = through(door(), path)
    assert (found.records, found.bad, found.is_bad) == (502, 1, False)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (wrong.code, wrong.record, wrong.line, wrong.offset) == ("syntax", 501, 501, 500 * len(line) + 5)
    assert found.first == BadFile(
        path.name,
        "syntax",
        "found 'x', expected a value: a text in quotes, a number, true, false, null, '{' or '['",
        501,
        500 * len(line) + 5,
        "/a",
    )


@pytest.mark.parametrize("suffix", [".json.gz", ".json.zst"])
@pytest.mark.parametrize("newline", [b"\n", b""])
def test_of_a_file_that_is_cut_short_what_is_there_is_read(tmp_path: Path, suffix: str, newline: bytes) -> None:
    """Compressed data that ends early has its records, and one that is bad for that; one of nothing is a bad file."""
    drawn = random.Random(0)
    lines = [b'{"i":"%s"}' % drawn.randbytes(20).hex().encode() for _ in range(50_000)]
    packed = PACKED[suffix](b"\n".join(lines) + newline)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(packed[:-4])
    found, wrong = through(door(), path)
    assert [one.code for one in wrong] == ["truncated"]
    assert (found.bad, found.is_bad) == (1, False)
    assert wrong[0].record == found.records
    assert wrong[0].record_line == found.records - (suffix == ".json.gz" and not newline)
    assert 0 < found.records <= len(lines) + 1
    assert found.sha256 == hashlib.sha256(packed[:-4]).hexdigest()
    path.write_bytes(packed[:15])
    found, _ = through(door(), path)
    assert (found.is_bad, found.first and found.first.code) == (True, "truncated")


def test_a_file_of_which_nothing_can_be_read_is_bad_as_a_whole(tmp_path: Path) -> None:
    """A file is bad where no record of it is JSON; where records are JSON, but none is as declared, it is not."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"i":x}\n{"i":y}\n')
    assert through(door(), path)[0].is_bad
    path.write_bytes(b'{"i":"x"}\n{"i":y}\n')
    declared = Rules(Field(kind="object", inside=(Field("i", type="BIGINT"),)), Others.LEARN)
    found, wrong = through(door(rules=declared), path)
    assert (found.records, found.bad, found.is_bad) == (2, 2, False)
    assert [one.code for one in wrong] == ["wrong_type", "syntax"]
    path.write_bytes(b"[]")
    found, _ = through(door(), path)
    assert found[:4] == (0, 0, None, False)


def test_a_door_reads_one_file_after_the_other(tmp_path: Path) -> None:
    """Whatever a file before was like, of any format, the next one is read as if it were alone."""
    contents = {
        "a.json": b'{"i":1}\n{"i":', "b.csv": b'i,j\n1,"', "c.json.gz": gzip.compress(b'{"i":1}')[:-5], "d.csv": b"",
        "e.json": b'[{"i":1},{"i":2}]', "f.csv": b"i\n1\n", "g.json.zst": b"no zstd", "h.json": b'{"i":7}',
    }  # fmt: skip
    together = door()
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert through(together, path) == through(door(), path)


@pytest.mark.parametrize(
    ("line", "place", "kept"),
    [(1, (2, 13), b'{"i":x}'), (2, (3, 17), LINES[2]), (3, (4, 33), LINES[3])],
)
def test_a_bad_record_is_described(tmp_path: Path, line: int, place: tuple[int, int], kept: bytes) -> None:
    """A bad record has line and byte of its fault and of its first character, and its text or its bytes, or neither."""
    (tmp_path / "a.json").write_bytes(b"\n".join(LINES))
    for keep in (True, False):
        opened = door({"quarantine": {"raw": keep}})
        wrong = through(opened, tmp_path / "a.json")[1][line - 1]
        made: BadRecord = opened.bad_record("a.json", wrong)
        begin = sum(len(one) + 1 for one in LINES[:line])
        assert (made.record, made.line, made.offset) == (line + 1, *place)
        assert (made.record_line, made.record_offset, made.size) == (line + 1, begin, len(kept))
        text = base64.b64decode(made.raw_base64) if made.raw_base64 else (made.raw or "").encode()
        assert text == (kept if keep else b"")


def test_the_header_of_a_csv_names_its_fields(tmp_path: Path) -> None:
    """The names of a CSV are told without its records, be it compressed; a header that is none is said to be so."""
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b'b,"a,""x"""\n1\n'))
    assert fields_of_csv(str(tmp_path / "a.csv.gz"), Input()) == ["b", 'a,"x"']
    (tmp_path / "b.csv").write_bytes(b"a,a\n1,2\n")
    with pytest.raises(UnreadableError, match="expected another name for column"):
        fields_of_csv(str(tmp_path / "b.csv"), Input())


NESTED_LINES = {
    "an array": ('[{"id":1},\n{"id":NaN,"s":[\n{"id":7}]},\n{"id":3},{"id":4}]', ["1", "3", "4"]),
    "lines": ('{"id":1}\n{"id":NaN,"s":[\n{"id":7}\n]}\n{"id":3}\n', ["1", "3"]),
    "lines, never closed": ('{"id":1}\n{"id":NaN,"s":[\n{"id":7}\n{"id":3}\n', ["1", "7", "3"]),
    "lines, a text never closed": ('{"id":1}\n{"id":2,"s":"x\n{"id":3}\n', ["1", "3"]),
}


@pytest.mark.parametrize("name", NESTED_LINES)
def test_what_is_inside_of_a_bad_record_is_not_a_record(name: str) -> None:
    """Where the brackets of a bad record close, it ends there, also where objects begin lines inside of it."""
    content, good = NESTED_LINES[name]
    for window in (1, 7, len(content)):
        cuts = range(window, len(content), window)
        read = read_json(content.encode(), *cuts)
        assert [value["id"] for value in read.values] == good
        assert len(read.wrong) == 1
