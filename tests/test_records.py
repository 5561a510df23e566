"""The careful reader: where records begin and end, what is wrong with a bad one, and what is made of a good one."""

import base64
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fanfold.manifest import Node
from fanfold.records.canonical import Misfit, scalar
from fanfold.records.csv_records import CsvRecords
from fanfold.records.diagnose import MAX_DEPTH, diagnose, locate, token
from fanfold.records.faults import CODES, Fault, UnreadableError, bad_record
from fanfold.records.json_records import Found, JsonRecords, Number, Parser
from fanfold.records.read import read
from fanfold.records.resume import Skipper
from fanfold.records.window import CHUNK_BYTES, Window
from fanfold.spec import Input

LARGE = 1 << 24

# One JSON text.

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
    """What is wrong with a JSON text is told by a code of the list, the character where it is, and a JSON pointer."""
    content, *expected = FAULTS[name]
    fault = diagnose(content)
    assert fault is not None
    assert [fault.code, fault.position, fault.pointer] == expected
    assert fault.code in CODES
    assert fault.message.startswith("found ")
    assert fault.message.isprintable()


@pytest.mark.parametrize(
    "content",
    [
        "0", "-0", " 1.5e+10 ", "1E400", '"\U0001f600"', r'"\ud83d\ude00\"\\\/\b\f\n\r\t"', "true", "null", "[]",
        " {} ",
        '{"":{"":[]},"a":[{},[null,false]],"A":1}', "[" * MAX_DEPTH + "]" * MAX_DEPTH, '"\x7f\u2028"', "\r\n[\t1 ,2]\n",
    ],
)  # fmt: skip
def test_json_has_no_fault(content: str) -> None:
    """What RFC 8259 allows, down to 128 levels, has no fault."""
    assert diagnose(content) is None


def is_strict_json(content: str) -> bool:
    """Say whether the standard library, made strict, accepts a text."""

    def refuse(name: str) -> NoReturn:
        raise ValueError(name)

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise ValueError(pairs)
        return made

    try:
        value = json.loads(
            content, parse_constant=refuse, object_pairs_hook=members, parse_int=Number, parse_float=Number
        )
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return True


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


@settings(max_examples=600)
@given(mutated())
def test_a_text_has_no_fault_exactly_when_it_is_json(content: str) -> None:
    """A text has a fault exactly when a strict parser refuses it, and the fault lies within the text."""
    fault = diagnose(content)
    assert (fault is None) == is_strict_json(content)
    assert fault is None or 0 <= fault.position <= len(content)


@settings(max_examples=200)
@given(st.dictionaries(TEXT, JSON, max_size=5), st.none() | st.just(2), st.booleans())
def test_a_pointer_leads_to_its_value(record: dict[str, Any], indent: int | None, ascii_only: bool) -> None:  # noqa: FBT001
    """The place of every value of a record is found by its JSON pointer."""
    content = json.dumps(record, indent=indent, ensure_ascii=ascii_only)
    for pointer, value in values(record, ""):
        found, _ = json.JSONDecoder().raw_decode(content, locate(content, pointer))
        assert found == value


def values(value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    yield pointer, value
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in members:
        yield from values(inner, pointer + token(str(step)))


# The records of a JSON file.


def framed(content: bytes, cap: int = LARGE, records_at: str = "") -> list[Found]:
    return list(JsonRecords(Window(io.BytesIO(content)), cap, records_at))


def good(found: list[Found]) -> list[dict[str, Any]]:
    return [one.value for one in found if one.fault is None and one.value is not None]


def codes(found: list[Found]) -> list[str | None]:
    return [one.fault.code if one.fault else None for one in found]


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
    content, places = FORMS[name]
    found = framed(content)
    assert codes(found) == [None, None]
    assert [record["i"] for record in good(found)] == ["1", "2"]
    assert [one.place for one in found] == places
    assert all(content[one.place[1] :].startswith(one.raw.encode()) for one in found)


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
def test_a_file_of_nothing_is_an_empty_file(content: bytes) -> None:
    """A file without anything but blanks has the code `empty_file`, an empty array has no record and no fault."""
    with pytest.raises(UnreadableError) as caught:
        framed(content)
    assert caught.value.code == "empty_file"
    assert framed(b"[ ]\n") == []


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
    content, pointer, places, faults = WRAPPED[name]
    found = framed(content, records_at=pointer)
    assert [one.place for one in found if one.fault is None] == places
    assert [code for code in codes(found) if code] == faults


GOOD = '{"i":1,"s":"ü"}', '{"i":3,"s":"]}"}'
BROKEN = {
    "an unterminated text": ('{"i":2,"s":"x}', {"truncated", "control_character"}),
    "an unterminated key": ('{"i":2,"s:"x"}', None),
    "a missing brace": ('{"i":2,"s":{"t":1}', {"truncated"}),
    "a missing bracket": ('{"i":2,"s":[1,{"t":1}}', {"syntax", "truncated"}),
    "a brace too many": ('{"i":2}}', {"trailing_garbage"}),
    "a missing value": ('{"i":2,"s":}', {"syntax"}),
    "a comma inside": ('{"i":2,}', {"trailing_comma"}),
    "garbage behind": ('{"i":2} garbage', {"trailing_garbage"}),
    "garbage": ("garbage", {"syntax"}),
    "a number": ("7", {"not_an_object"}),
    "an array": ('[{"i":2}]', {"not_an_object"}),
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
    content = (AROUND[form] % (GOOD[0], broken, GOOD[1])).encode("utf-8", "surrogateescape")
    found = framed(content, cap=150_000)
    assert good(found) == [json.loads(record, parse_int=Number) for record in GOOD]
    assert [found[0].fault, found[-1].fault] == [None, None]
    assert len(found) == 3
    fault, place = found[1].fault, found[1].place
    assert fault is not None
    assert expected is None or fault.code in expected
    assert place[1] == content.index(broken[:1].encode(), len(GOOD[0].encode()) + AROUND[form].index("%"))
    if fault.code != "record_too_large":
        assert found[1].raw.startswith(broken)


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
        ('{"i":1}\n[{"i":2}\n{"i":3}\n', [None, "truncated", None]),
        ('{"i":1}{"i":{"t":2}{"i":3}', [None, "truncated", None]),
    ],
)
def test_what_is_wrong_between_records_costs_none(content: str, faults: list[str | None]) -> None:
    """A comma too many, a file that ends early, and text behind the records are one fault, and cost no record."""
    found = framed(content.encode())
    assert codes(found) == faults
    assert [record["i"] for record in good(found)] == ["1", "3"]


def test_a_missing_comma_is_a_fault(tmp_path: Path) -> None:
    """Where two records of an array have no comma between them, the second is bad, and no other."""
    path = tmp_path / "a.json"
    path.write_text('[{"i":1} {"i":2},{"i":3}]', encoding="utf-8")
    found = list(read(path, Input()))
    assert codes(found) == [None, "syntax", None]
    assert found[1].raw == '{"i":2}'
    assert found[1].place == (1, 9)


@pytest.mark.parametrize("form", ["array", "NDJSON"])
def test_characters_on_the_border_of_what_is_read_at_once_are_whole(form: str) -> None:
    """Characters of several bytes, escapes, numbers and literals are read whole wherever a file is cut in reading."""
    unit = '{"a":[' + ",".join([r'"é😀\u00e9\ud83d\ude00",12345.678e-9,true,null,false'] * 200) + "]}"
    expected = json.loads(unit, parse_float=Number)
    before, between, after = ("[", ",", "]") if form == "array" else ("", "\n", "\n")
    size = len(unit.encode()) + 1
    count = CHUNK_BYTES // size + 2
    for shift in range(0, 42, 7):
        found = framed((" " * shift + before + between.join([unit] * count) + after).encode())
        assert len(found) == count
        assert all(one.value == expected for one in found)
        assert [one.place[1] for one in found] == [shift + len(before) + i * size for i in range(count)]


@pytest.mark.parametrize("between", [",", ",\n", "\n, ", "\n", "", " "])
def test_a_record_that_ends_on_the_border_of_what_is_read_at_once_is_whole(between: str) -> None:
    """Records are all read, wherever the border of 1 MiB cuts what lies between two of them."""
    opening, closing = ("[", "]") if "," in between else ("", "")
    for ahead in range(-4, 8):
        small = json.dumps({"i": 0, "pad": "x" * 1000})
        large = {"i": 1, "pad": ""}
        rest = CHUNK_BYTES - ahead - len(opening + small + between + json.dumps(large))
        content = between.join([small, json.dumps(large | {"pad": "x" * rest}), '{"i":2}', '{"i":3}'])
        found = good(framed((opening + content + closing).encode()))
        assert [record["i"] for record in found] == ["0", "1", "2", "3"], ahead


@pytest.mark.parametrize("tail", ["12345678901234567890", "1.5", "1e10", "true", "null", '"\\ud83d\\ude00"', '"😀"'])
def test_a_value_on_the_border_of_what_is_read_at_once_is_whole(tail: str) -> None:
    """A number or a literal that the border of 1 MiB cuts is one value."""
    for ahead in range(len(tail) + 3):
        content = ('{"a":"' + "x" * (CHUNK_BYTES - ahead - 12) + '","b":' + tail + "}\n" + '{"b":1}').encode()
        found = framed(content)
        assert codes(found) == [None, None]
        assert good(found)[0]["b"] == json.loads(tail, parse_int=Number, parse_float=Number)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_are_counted_across_what_is_read_at_once(newline: str) -> None:
    """Line and byte of a bad record are right behind megabytes of good ones."""
    line = '{"a":"' + "é" * 5000 + '"}' + newline
    content = (line * 300 + '{"a":x}' + newline + '{"a":1}').encode()
    found = framed(content)
    assert codes(found) == [None] * 300 + ["syntax", None]
    assert found[300].place == (301, 300 * len(line.encode()))


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
def with_one_broken(draw: st.DrawFn) -> tuple[str, list[dict[str, Any]]]:
    """Files of good records, and one in their middle in which something was changed.

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
    expected = json.loads(json.dumps([*halves[0], *halves[1]]), parse_int=Number, parse_float=Number)
    return content, expected


@settings(max_examples=200)
@given(with_one_broken())
def test_good_records_around_a_broken_one_survive(made: tuple[str, list[dict[str, Any]]]) -> None:
    """Whatever is wrong with one record, all others of the file are read, in their order, at their places."""
    content, expected = made
    raw = content.encode("utf-8", "surrogateescape")
    found = framed(raw)
    rest = iter(good(found))
    assert all(any(record == one for one in rest) for record in expected), (content, found)
    for one in found:
        line, offset = one.place
        assert line == raw[:offset].count(b"\n") + 1
        assert raw[offset:].startswith(one.raw.encode("utf-8", "surrogateescape"))


@settings(max_examples=200)
@given(mutated(), st.booleans())
def test_reading_any_text_ends(content: str, in_array: bool) -> None:  # noqa: FBT001
    """Any text at all is read to its end, and nothing of it but blanks, commas and brackets is outside of a record."""
    raw = (f'[{{"i":1}},{content}' if in_array else f'{{"i":1}}\n{content}').encode("utf-8", "surrogateescape")
    found = framed(raw)
    assert good(found)[0] == {"i": "1"}
    covered, end = [], 0
    for one in found:
        assert one.place[1] >= end
        covered.append(raw[end : one.place[1]])
        end = one.place[1] + len(one.raw.encode("utf-8", "surrogateescape"))
    assert set(b"".join([*covered, raw[end:]])) <= set(b"[], \t\r\n")


@settings(max_examples=250)
@given(st.text('{}[]"\\ax,', max_size=30), st.lists(st.integers(1, 7), max_size=30))
@example('""\\', [1, 2])
def test_the_end_of_a_large_record_is_found_piece_by_piece(tail: str, sizes: list[int]) -> None:
    """A record that is too large to be kept ends at the same character, however the file was cut in reading."""
    content = "{" + tail
    whole = Skipper().end_in(content)
    skipper, waiting, passed, ended, at = Skipper(), "", 0, False, 0
    for size in [*sizes, len(content)]:
        waiting += content[at : at + size]
        at += size
        count, ended = skipper.end_in(waiting)
        passed, waiting = passed + count, waiting[count:]
        if ended:
            break
    assert (passed, ended) == whole
    if is_strict_json(content):
        assert whole == (len(content), True)


def test_numbers_stay_as_they_are_written() -> None:
    """A number keeps every character on the careful path, an object with a key twice and NaN are noted."""
    parser = Parser()
    numbers = ["0.10", "-0", "1E+400", "9007199254740993", "123456789012345678901234567890.5"]
    assert parser.parse("[" + ",".join(numbers) + "]", 0)[0] == numbers
    assert not parser.suspect
    for content in ('{"a":1,"a":1}', "[NaN]"):
        parser.parse(content, 0)
        assert parser.suspect


@pytest.mark.parametrize(
    ("raw", "fault", "expected"),
    [
        ('{"a":\n x}', Fault("syntax", 7, "/a", "m"), (8, 47, '{"a":\n x}', None)),
        ('{"é":x}', Fault("syntax", 5, "/é", "m"), (7, 46, '{"é":x}', None)),
        ('{"a":"é\udcff"}', Fault("bad_utf8", 7, "/a", "m"), (7, 48, None, b'{"a":"\xc3\xa9\xff"}')),
    ],
)
def test_a_bad_record_is_described(raw: str, fault: Fault, expected: tuple[int, int, str | None, bytes | None]) -> None:
    """A bad record has line and byte of its fault and of its first character, and its text or its bytes."""
    record = bad_record("a.json", 3, raw, (7, 40), fault, keep_raw=True)
    kept = base64.b64decode(record.raw_base64) if record.raw_base64 is not None else None
    assert (record.line, record.offset, record.raw, kept) == expected
    assert (record.file, record.record, record.record_line, record.record_offset) == ("a.json", 3, 7, 40)
    without = bad_record("a.json", 3, raw, (7, 40), fault, keep_raw=False)
    assert (without.raw, without.raw_base64) == (None, None)


# The records of a CSV file.


def lines(content: bytes, cap: int = LARGE) -> list[Found]:
    return list(CsvRecords(Window(io.BytesIO(content)), cap))


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
    content, expected, places = CSV[name]
    found = lines(content)
    assert [tuple((one.value or {}).values()) for one in found] == expected
    assert all(list(one.value or {}) == ["a", "b"] for one in found)
    assert [one.place for one in found] == places
    assert all(content[one.place[1] :].startswith(one.raw.encode()) for one in found)


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
    found = lines(b"a,b\n" + content, 2000)
    assert codes(found) == expected


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"\n\r\n", "empty_file"),
        (b"a,,b\n", "bad_header"),
        (b'a,""\n', "bad_header"),
        (b"a,A\n", "bad_header"),
        (b'"a,b\n1,2\n', "bad_header"),
        (b"a,\xff\n", "bad_utf8"),
    ],
)
def test_a_header_names_each_column_once(content: bytes, code: str) -> None:
    """A CSV file without a header that names each column once cannot be read, and its code says why."""
    with pytest.raises(UnreadableError) as caught:
        lines(content)
    assert caught.value.code == code


CELLS = st.none() | st.text(st.sampled_from('ab",\n\r é😀0 '), max_size=6)


@settings(max_examples=200)
@given(st.lists(st.tuples(CELLS, CELLS), max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_csv_is_read_as_it_was_written(rows: list[tuple[str | None, str | None]], newline: str, quoted: bool) -> None:  # noqa: FBT001
    """Any cells, written by RFC 4180, are read as they were."""

    def cell(value: str | None) -> str:
        needed = value == "" or (value is not None and (quoted or any(char in value for char in '",\r\n')))
        return "" if value is None else '"' + value.replace('"', '""') + '"' if needed else value

    content = newline.join(["a,b", *(f"{cell(a)},{cell(b)}" for a, b in rows), ""]).encode()
    found = lines(content)
    assert [tuple((one.value or {}).values()) for one in found] == rows
    for one in found:
        assert content[one.place[1] :].startswith(one.raw.encode())


# Values.

EXACT: dict[str, list[tuple[Any, str]]] = {
    "BIGINT": [
        (Number("9223372036854775807"), "9223372036854775807"),
        (Number("-9223372036854775808"), "-9223372036854775808"),
        (Number("1.0"), "1"),
        (Number("12e2"), "1200"),
        ("007", "7"),
        ("+5", "5"),
        (Number("9223372036854775808"), "inexact"),
        (Number("1.5"), "inexact"),
        (Number("1e999999999"), "inexact"),
        (Number("1e9999999999999999999"), "inexact"),
        ("", "wrong_type"),
        (" 1", "wrong_type"),
        ("1_000", "wrong_type"),
        ("1,5", "wrong_type"),
        ("\u0661", "wrong_type"),
        (True, "wrong_type"),
        ({}, "wrong_type"),
        ([], "wrong_type"),
    ],
    "DECIMAL(4,2)": [
        (Number("12.34"), "12.34"),
        (Number("-99.99"), "-99.99"),
        (Number("1.200"), "1.2"),
        (Number("1e1"), "10"),
        ("12.30", "12.3"),
        (Number("100"), "inexact"),
        (Number("0.001"), "inexact"),
        (Number("1e-3"), "inexact"),
        ("x", "wrong_type"),
    ],
    "DECIMAL(2,2)": [(Number("0.25"), "0.25"), (Number("0"), "0"), (Number("1"), "inexact"), (Number("-1"), "inexact")],
    "DECIMAL(38,20)": [
        (Number("123456789012345678.12345678901234567890"), "123456789012345678.1234567890123456789"),
        (Number("1234567890123456789.5"), "inexact"),
    ],
    "DOUBLE": [
        (Number("0.1"), "0.1"),
        (Number("1e300"), "1e+300"),
        (Number("12345678901234567"), "inexact"),
        (Number("0.1234567890123456789"), "inexact"),
        (Number("1e400"), "inexact"),
        (Number("1e-400"), "inexact"),
        ("NaN", "wrong_type"),
        ("inf", "wrong_type"),
        (False, "wrong_type"),
    ],
    "BOOLEAN": [(True, "true"), ("false", "false"), ("True", "wrong_type"), (Number("1"), "wrong_type")],
    "VARCHAR": [
        (Number("1.50"), "1.50"),
        (True, "true"),
        ("", ""),
        ("x\ny", "x\ny"),
        ({"a": "x"}, "wrong_type"),
        (["x"], "wrong_type"),
    ],
    "DATE": [
        ("2024-02-29", "2024-02-29"),
        ("2023-02-29", "wrong_type"),
        ("20240229", "wrong_type"),
        ("2024-2-9", "wrong_type"),
        ("2024-02-29T00:00:00", "wrong_type"),
        (Number("2024"), "wrong_type"),
    ],
    "TIMESTAMP": [
        ("2024-02-29T23:59:59.123456", "2024-02-29T23:59:59.123456"),
        ("2024-02-29 23:59:59", "2024-02-29 23:59:59"),
        ("2024-02-29T23:59:59.1234567", "wrong_type"),
        ("2024-02-29T24:00:01", "wrong_type"),
        ("2024-02-29T23:59:59Z", "wrong_type"),
        ("2024-02-29", "wrong_type"),
    ],
    "TIMESTAMPTZ": [
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
        ("2024-02-29T23:59:59.5+02:00", "2024-02-29T23:59:59.5+02:00"),
        ("2024-02-29T23:59:59", "wrong_type"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "expected"), [(kind, *case) for kind, cases in EXACT.items() for case in cases]
)
def test_a_declared_type_holds_a_value_exactly_or_not_at_all(kind: str, value: Any, expected: str) -> None:
    """A value is what its declared type holds exactly, else its record is bad by `wrong_type` or `inexact`."""
    node = Node("a", "value", kind, declared=True)
    try:
        assert scalar(node, value, "/a") == expected
    except Misfit as misfit:
        assert (misfit.code, misfit.pointer) == (expected, "/a")  # noqa: PT017 - refusing is one of the answers


@settings(max_examples=250)
@given(
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?\Z"),
    st.integers(1, 38).flatmap(lambda precision: st.tuples(st.just(precision), st.integers(0, precision))),
)
def test_decimals_are_exact(number: str, sizes: tuple[int, int]) -> None:
    """A number is in DECIMAL(p,s), with its value, exactly when it has no more digits than that holds."""
    precision, scale = sizes
    value = Fraction(number)
    fits = (value * 10**scale).denominator == 1 and abs(value) < 10 ** (precision - scale)
    node = Node("a", "value", f"DECIMAL({precision},{scale})", declared=True)
    try:
        text = scalar(node, Number(number), "")
    except Misfit as misfit:
        assert misfit.code == "inexact"  # noqa: PT017 - refusing is one of the answers
        assert not fits
    else:
        assert fits
        assert Fraction(text) == value
        assert Decimal(text).as_tuple().exponent == 0 or "." in text


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
    ],
)
def test_a_bad_document_costs_no_other_document_a_record(content: str, found: list[str]) -> None:
    """What is wrong around the records of a wrapped document is one bad record, and the next document is read."""
    read_records = framed(content.encode(), records_at="/d")
    assert [one.fault.code if one.fault else (one.value or {})["i"] for one in read_records] == found
