"""The reader that says where and why a file is no JSON."""

import gzip
from pathlib import Path

import pytest

from fanfold.records import explain


@pytest.mark.parametrize(
    "content",
    ["", " \n", "[]", '[{"a":1}]', '{"a":1}', '{"a":1}\n{"a":2}\n', '{\n"a": 1\n}\n\n{"a":2}', '[{"a":"é"},\n{}]'],
)
def test_records_have_no_fault(tmp_path: Path, content: str) -> None:
    """A file of objects, in an array or one after the other, has nothing to explain, plain or compressed."""
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(content.encode()))
    assert explain(tmp_path / "a.json") is None
    assert explain(tmp_path / "a.json.gz") is None


@pytest.mark.parametrize(
    ("content", "place", "found", "expected"),
    [
        (b'[{"a":1},{"a":', "line 1, column 15", "the end of the file", "expected JSON"),
        (b'{"a":1}\n{"a":x}\n', "line 2, column 6", "'x}\\n'", "expected JSON"),
        (b'[\n{"a":1},\n]', "line 3, column 1", "']'", "expected JSON"),
        (b'{"a":1}\n\n{"b":2} trailing', "line 3, column 9", "'trailing'", "expected JSON"),
        (b'{"a":NaN}', "line 1, column 1", "NaN", "expected JSON"),
        (b'{"a":1}\n7\n', "line 2, column 1", "a number", "expected an object"),
        (b'[{"a":1},"x"]', "record 2", "a text", "expected an object"),
        (b'[{"a":1},[]]', "record 2", "an array", "expected an object"),
        (b"[true]", "record 1", "true or false", "expected an object"),
        (b"null", "line 1, column 1", "null", "expected an object"),
        (b'{"a":1}\n{"a":"\xff"}', "line 2, byte 14", r"b'\xff'", "expected UTF-8"),
        (b"[" * 100_000, "line 1, column 1", "brackets nested too deep", "expected at most 128 levels"),
    ],
)
def test_faults_are_placed(tmp_path: Path, content: bytes, place: str, found: str, expected: str) -> None:
    """A fault is told in one line: its place, what was found, what was expected."""
    (tmp_path / "a.json").write_bytes(content)
    explained = explain(tmp_path / "a.json") or ""
    assert explained.startswith(f"{place}: found {found}, ")
    assert expected in explained
    assert "\n" not in explained


@pytest.mark.parametrize("damage", ["cut short", "another format", "changed"])
def test_damaged_gzip_is_told(tmp_path: Path, damage: str) -> None:
    """A gzip file that is cut short or changed is called damaged."""
    raw = gzip.compress(b'[{"a":1}]' * 50, mtime=0)
    damaged = {"cut short": raw[:-6], "another format": b"no" + raw, "changed": raw[:12] + b"xx" + raw[14:]}[damage]
    (tmp_path / "a.json.gz").write_bytes(damaged)
    assert "found damaged gzip" in (explain(tmp_path / "a.json.gz") or "")
