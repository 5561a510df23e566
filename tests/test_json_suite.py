"""The core on all files of JSONTestSuite (github.com/nst/JSONTestSuite, MIT): what is to be accepted, and what is not.

json_suite.json has the name and the text of each; those that are not UTF-8, or large, stand below.
"""

import json
from pathlib import Path

import pytest

from tests.core import parsed, read_json

BYTES = {
    "i_string_UTF-16LE_with_BOM": b'\xff\xfe[\0"\0\xe9\0"\0]\0',
    "i_string_UTF-8_invalid_sequence": b'["\xe6\x97\xa5\xd1\x88\xfa"]',
    "i_string_UTF8_surrogate_U+D800": b'["\xed\xa0\x80"]',
    "i_string_invalid_utf-8": b'["\xff"]',
    "i_string_iso_latin_1": b'["\xe9"]',
    "i_string_lone_utf8_continuation_byte": b'["\x81"]',
    "i_string_not_in_unicode_range": b'["\xf4\xbf\xbf\xbf"]',
    "i_string_overlong_sequence_2_bytes": b'["\xc0\xaf"]',
    "i_string_overlong_sequence_6_bytes": b'["\xfc\x83\xbf\xbf\xbf\xbf"]',
    "i_string_overlong_sequence_6_bytes_null": b'["\xfc\x80\x80\x80\x80\x80"]',
    "i_string_truncated-utf-8": b'["\xe0\xff"]',
    "i_string_utf16BE_no_BOM": b'\0[\0"\0\xe9\0"\0]',
    "i_string_utf16LE_no_BOM": b'[\0"\0\xe9\0"\0]\0',
    "i_structure_500_nested_arrays": b"[" * 500 + b"]" * 500,
    "n_array_a_invalid_utf8": b"[a\xe5]",
    "n_array_invalid_utf8": b"[\xff]",
    "n_number_invalid-utf-8-in-bigger-int": b"[123\xe5]",
    "n_number_invalid-utf-8-in-exponent": b"[1e1\xe5]",
    "n_number_invalid-utf-8-in-int": b"[0\xe5]\n",
    "n_number_real_with_invalid_utf8_after_e": b"[1e\xe5]",
    "n_object_lone_continuation_byte_in_key_and_trailing_comma": b'{"\xb9":"0",}',
    "n_string_invalid-utf-8-in-escape": b'["\\u\xe5"]',
    "n_string_invalid_utf8_after_escape": b'["\\\xe5"]',
    "n_structure_100000_opening_arrays": b"[" * 100_000,
    "n_structure_incomplete_UTF8_BOM": b"\xef\xbb{}",
    "n_structure_lone-invalid-utf-8": b"\xe5",
    "n_structure_open_array_object": b'[{"":' * 50_000 + b"\n",
    "n_structure_single_eacute": b"\xe9",
}
SUITE = {
    **{
        name: text.encode() for name, text in json.loads(Path(__file__).with_name("json_suite.json").read_text("utf-8"))
    },
    **BYTES,
}
# What a parser may decide: numbers stay as they are written, however large; half a character is none.
ACCEPTED = ("i_number", "y_")
# RFC 8259 says that keys should be unique, and Fanfold says that they have to be.
TWICE = {"y_object_duplicated_key", "y_object_duplicated_key_and_value"}


def test_the_suite_is_whole() -> None:
    """All 318 files are here."""
    assert len(SUITE) == 318


@pytest.mark.parametrize("name", SUITE)
def test_a_text_is_json_exactly_when_the_suite_says_so(name: str) -> None:
    """Inside of a record, what the suite accepts is read with its value, and what it refuses makes the record bad."""
    content = SUITE[name]
    found = read_json(b'{"v":' + content + b"}")
    if name in TWICE:
        assert [one.code for one in found.wrong] == ["duplicate_key"]
    elif name.startswith(ACCEPTED):
        assert (found.values, found.wrong) == ([{"v": parsed(content.decode())}], [])
    else:
        assert found.wrong
        assert not found.values


@pytest.mark.parametrize("name", [name for name in SUITE if len(SUITE[name]) < 2000])
def test_the_files_are_read_alike_however_they_are_cut(name: str) -> None:
    """As files of their own, between records, each gives one answer wherever its windows end."""
    for content in (SUITE[name], b'{"v":1}\n' + SUITE[name] + b'\n{"v":2}\n'):
        whole = read_json(content)
        for at in range(0, len(content), 1 + len(content) // 60):
            assert read_json(content, at) == whole
        assert read_json(content, *range(1, len(content))) == whole
