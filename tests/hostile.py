"""300 hostile files, each with its outcome: accepted to the last character, set aside with a code, left in landing.

`corpus(kind)` is the same at every call. A feed is a list of cases that share a schema; what a case accepts is given as
rows, each with the cells that are not null, as text.
"""

import gzip
import io
import json
import os
import socket
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import zstandard

KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40
Row = dict[str, str]
Content = bytes | Callable[[Path], None]


class Case(NamedTuple):
    """A hostile file and its outcome.

    Attributes:
        name: in landing; bytes where it is no UTF-8.
        content: what is in it, or what makes it.
        rows: what is accepted of it.
        records: the codes of its records that are set aside, in their order.
        code: that of the file, where it is set aside as a whole.
        left: whether it stays in landing.
    """

    name: str | bytes
    content: Content
    rows: tuple[Row, ...] = ()
    records: tuple[str, ...] = ()
    code: str | None = None
    left: bool = False


class Corpus(NamedTuple):
    """The cases of one feed, what its spec says beside the usual, and its reference."""

    cases: list[Case]
    spec: dict[str, Any]
    customers: str = "customer_id,name\n1,Ann\n"


def accepted(name: str, content: Content, *rows: Row, records: tuple[str, ...] = ()) -> Case:
    return Case(name, content, rows=rows, records=records)


def set_aside(name: str, content: Content, code: str) -> Case:
    return Case(name, content, code=code)


def stays(name: str | bytes, content: Content) -> Case:
    return Case(name, content, left=True)


# What content is made of.


def gz(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def zst(content: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(content)


def gz_bomb(begin: bytes, block: bytes, times: int, end: bytes = b"") -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join([packer.compress(begin), *(packer.compress(block) for _ in range(times)), packer.compress(end)]) + (
        packer.flush()
    )


def zst_bomb(begin: bytes, block: bytes, times: int, end: bytes = b"") -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return b"".join([packer.compress(begin), *(packer.compress(block) for _ in range(times)), packer.compress(end)]) + (
        packer.flush()
    )


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


def sparse(size: int, begin: bytes = b"") -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.write(begin)
            file.truncate(size)

    return make


def make_socket(path: Path) -> None:
    # An address has 107 bytes at most: the name alone is short enough.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


def make_directory(path: Path) -> None:
    path.mkdir()
    (path / ".inside.json").write_bytes(b"{}")


def make_device(path: Path) -> None:
    # Only the superuser makes one.
    if os.geteuid() == 0:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    else:
        os.mkfifo(path)


# Names.

NAMES = [
    "'; DROP TABLE x; --.json", "$(touch x).json", "`touch x`.json", "*.json", "[a].json", "[!a].json", "{}.json",
    "{a,b}.json", "a?.json", "%s.json", "%(name)s.json", "{0}.json", "back\\slash.json", "new\nline.json", "\ttab.json",
    "quote'.json", 'quote".json', "-rf.json", "--.json", " .json", "trailing .json", "a;b.json", "a&b|c.json",
    "a>b<c.json", "records.jsonl", "records.jsonl.json", "x.reason.json", "a_20260102T030405Z.json", "~home.json",
    "#comment.json", "CON.json", "nul.json", "a=b.json", "year=2026.json", "s3:bucket.json", "https:host.json",
    "\u202egnp.json", "\u200b.json", "\u00e9.json", "e\u0301.json", "\U0001f600.json", "\x01\x1f.json", "\x7f.json",
    "a,b.json", "a: b.json", "!yes.json", "x" * 195 + ".json", "y" * 228 + ".json", "\u00fc" * 110 + ".json",
    "a.b.c.json",
    "file.json.json", "__pycache__.json", "null.json", "1.json", "_manifest.json", "spec.json", "lease.json",
]  # fmt: skip


def names() -> Iterator[Case]:
    for number, name in enumerate(NAMES):
        yield accepted(name, json.dumps({"id": f"n{number}", "v": name}).encode(), {"id": f"n{number}", "v": name})
    # Bad under hostile names: the reasons have names too.
    for name in ("'; DROP TABLE y; --.json", "bad\nline.json", "records.jsonl.gz.json", "y.reason.json", "*?.json"):
        yield set_aside(name, b"no JSON", "syntax")
    yield set_aside("z" * 228 + ".json", b"no JSON", "syntax")


def left() -> Iterator[Case]:
    yield stays("link_out.json", lambda path: path.symlink_to("/etc/passwd"))
    yield stays("link_up.json", lambda path: path.symlink_to("../../canary.json"))
    yield stays("link_beside.json", lambda path: path.symlink_to("good_0.json"))
    yield stays("link_nowhere.json", lambda path: path.symlink_to("nowhere"))
    yield stays("link_itself.json", lambda path: path.symlink_to("link_itself.json"))
    yield stays("link_directory", lambda path: path.symlink_to("/etc", target_is_directory=True))
    yield stays("fifo.json", os.mkfifo)
    yield stays("fifo.json.gz", os.mkfifo)
    yield stays("socket.json", make_socket)
    yield stays("device.json", make_device)
    yield stays("directory.json", make_directory)
    yield stays(".hidden.json", b'{"id":"h"}')
    yield stays("..json", b'{"id":"h"}')
    yield stays("a.json.part", b'{"id":"h"}')
    yield stays("a.json.tmp", b'{"id":"h"}')
    yield stays("other.txt", b'{"id":"h"}')
    yield accepted("UPPER.JSON", b'{"id":"h"}', {"id": "h"})
    yield stays(b"no\xffutf8.json", b'{"id":"h"}')
    yield stays(b"\xed\xa0\x80.json", b'{"id":"h"}')
    yield stays("l" * 250 + ".json", b'{"id":"h"}')
    yield stays("m" * 234 + ".json", b'{"id":"h"}')


# JSON that is none.

FRAGMENTS: dict[str, tuple[bytes, str]] = {
    "cut_object": (b'{"id":"x"', "truncated"),
    "cut_text": (b'{"id":"x', "truncated"),
    "cut_key": (b'{"id', "truncated"),
    "cut_escape": (b'{"id":"\\u00', "truncated"),
    "wrong_nesting": (b'{"id":["x"}]', "syntax"),
    "closed_twice": (b'{"id":"x"}}', "trailing_garbage"),
    "no_colon": (b'{"id" "x"}', "syntax"),
    "no_comma": (b'{"id":"x" "v":1}', "syntax"),
    "no_value": (b'{"id":}', "syntax"),
    "single_quotes": (b"{'id':'x'}", "syntax"),
    "bare_key": (b'{id:"x"}', "syntax"),
    "number_key": (b'{1:"x"}', "syntax"),
    "comment": (b'{"id":"x"/* c */}', "syntax"),
    "trailing_comma": (b'{"id":"x",}', "trailing_comma"),
    "trailing_comma_array": (b'{"id":"x","v":[1,]}', "trailing_comma"),
    "two_commas": (b'{"id":"x",,"v":1}', "syntax"),
    "nan": (b'{"id":"x","v":NaN}', "nan"),
    "infinity": (b'{"id":"x","v":-Infinity}', "nan"),
    "hex": (b'{"id":"x","v":0x10}', "syntax"),
    "octal": (b'{"id":"x","v":007}', "syntax"),
    "minus_zero_one": (b'{"id":"x","v":-01}', "syntax"),
    "plus": (b'{"id":"x","v":+1}', "syntax"),
    "point": (b'{"id":"x","v":.5}', "syntax"),
    "point_end": (b'{"id":"x","v":5.}', "syntax"),
    "exponent": (b'{"id":"x","v":1e}', "syntax"),
    "two_minus": (b'{"id":"x","v":--1}', "syntax"),
    "underscore": (b'{"id":"x","v":1_000}', "syntax"),
    "word": (b'{"id":"x","v":undefined}', "syntax"),
    "True": (b'{"id":"x","v":True}', "syntax"),
    "duplicate_key": (b'{"id":"x","v":1,"v":2}', "duplicate_key"),
    "duplicate_escaped": (b'{"id":"x","v":1,"\\u0076":2}', "duplicate_key"),
    "duplicate_deep": (b'{"id":"x","v":[{"a":1,"a":1}]}', "duplicate_key"),
    "lone_high": (b'{"id":"\\ud800"}', "lone_surrogate"),
    "lone_low": (b'{"id":"\\udc00x"}', "lone_surrogate"),
    "swapped": (b'{"id":"\\udc00\\ud800"}', "lone_surrogate"),
    "lone_key": (b'{"id":"x","\\ud800":1}', "lone_surrogate"),
    "latin1": (b'{"id":"\xe9"}', "bad_utf8"),
    "overlong": (b'{"id":"\xc0\xaf"}', "bad_utf8"),
    "surrogate_utf8": (b'{"id":"\xed\xa0\x80"}', "bad_utf8"),
    "above_unicode": (b'{"id":"\xf4\x90\x80\x80"}', "bad_utf8"),
    "bad_key": (b'{"id":"x","\xff":1}', "bad_utf8"),
    "tab": (b'{"id":"a\tb"}', "control_character"),
    "nul": (b'{"id":"a\x00b"}', "control_character"),
    "escape_char": (b'{"id":"\x1b[2J"}', "control_character"),
    "bad_escape": (b'{"id":"\\x41"}', "syntax"),
    "nul_outside": (b'{"id":\x00"x"}', "syntax"),
    "nbsp": (b'{"id":\xc2\xa0"x"}', "syntax"),
    "array": (b'["id"]', "not_an_object"),
    "text": (b'"id"', "not_an_object"),
    "null": (b"null", "not_an_object"),
    "number": (b"12", "not_an_object"),
    "html": (b"<html></html>", "syntax"),
    "sql": (b"DROP TABLE x;", "syntax"),
    "bom_inside": (b'{"id":\xef\xbb\xbf"x"}', "syntax"),
}


def bad_json() -> Iterator[Case]:
    for label, (fragment, code) in FRAGMENTS.items():
        yield set_aside(f"alone_{label}.json", fragment, code)
        before, after = b'{"id":"1","v":"1"}\n', b'\n{"id":"2","v":"2"}\n'
        rows = ({"id": "1", "v": "1"}, {"id": "2", "v": "2"})
        yield accepted(f"beside_{label}.jsonl", before + fragment + after, *rows, records=(code,))
    yield set_aside("empty.json", b"", "empty_file")
    yield set_aside("blank.json", b" \t\r\n" * 10_000, "empty_file")
    yield set_aside("bom_alone.json", b"\xef\xbb\xbf", "empty_file")
    yield set_aside("nul.json", b"\0" * 5000, "syntax")
    yield set_aside("utf16le.json", '\ufeff{"id":"x"}'.encode("utf-16-le"), "wrong_encoding")
    yield set_aside("utf16be.json", '{"id":"x"}'.encode("utf-16-be"), "syntax")
    yield set_aside("utf32.json", '\ufeff{"id":"x"}'.encode("utf-32-le"), "wrong_encoding")
    yield set_aside("array_cut.json", b'[{"id":"x', "truncated")
    yield set_aside("array_of_texts.json", b'["a","b"]', "not_an_object")
    yield set_aside("parquet.json", parquet({"id": ["x"]}), "syntax")
    yield set_aside("gzip.json", gz(b'{"id":"x"}'), "syntax")
    yield set_aside("random.json", bytes(range(256)) * 40, "syntax")
    yield set_aside("closings.json", b"]" * 100_000, "syntax")
    yield set_aside("commas.json", b"," * 100_000, "syntax")
    yield set_aside("quotes.json", b'"' * 100_001, "trailing_garbage")
    yield set_aside("backslashes.json", b"\\" * 100_000, "syntax")


# Values that are to come out as they are.

TEXTS = [
    "=cmd|' /C calc'!A0", "@SUM(1+1)*cmd|' /C calc'!A0", "+1+1", "-1+1",
    '=HYPERLINK("http://x","y")', "\t=1+1",
    "../../etc/passwd", "file:///etc/passwd", "/dev/zero", "data/customers.csv", "s3://bucket/key", "http://127.0.0.1/",
    "'; DROP TABLE x; --", "' OR '1'='1", '"; ATTACH \'x\'; --', "read_csv('/etc/passwd')", "$(touch x)", "`touch x`",
    "{{ 7*7 }}", "${jndi:ldap://x}", "%s%n%x", "<script>alert(1)</script>", "NULL", "null", "NaN", "true", "\\N", "",
    " ", "\r\n", "\r", "a\x00b", "\x1b[31m", "\u202eabc", "\ufeff", "\uffff", "\U0010ffff", "e\u0301", "\ue000file",
    "\ue001origin", "1" * 10_000, "x" * 100_000, '"', '""', ",", '","', "a,b\nc,d", "'" * 1000,
]  # fmt: skip
NUMBERS = [
    "1e999999999", "-1e-999999999", "1E400", "-0", "-0.0", "0e0", "9" * 10_000, "0." + "1" * 10_000, "1" + "0" * 400,
    "9007199254740993", "0.1234567890123456789", "18446744073709551616", "12.10", "1e1000000000000000000000",
]  # fmt: skip


def values() -> Iterator[Case]:
    for number, text in enumerate(TEXTS):
        raw = json.dumps({"id": f"t{number}", "v": text}, ensure_ascii=number % 2 == 0)
        yield accepted(f"text_{number}.json", raw.encode(), {"id": f"t{number}", "v": text})
    for number, written in enumerate(NUMBERS):
        raw = f'{{"id":"d{number}","v":{written}}}'
        yield accepted(f"number_{number}.json", raw.encode(), {"id": f"d{number}", "v": written})
    for number, text in enumerate(KEYS_OF_REFERENCE):
        raw = json.dumps({"id": f"c{number}", "customer_id": text})
        row = {"id": f"c{number}", "customer_id": text, "customer_name": f"=name{number}"}
        yield accepted(f"reference_{number}.json", raw.encode(), row)
    bom, crlf = b'\xef\xbb\xbf{"id":"b"}', b'{"id":"1"}\r\n{"id":"2"}\r\n\r\n'
    yield accepted("bom.json", bom, {"id": "b"})
    yield accepted("crlf.jsonl", crlf, {"id": "1"}, {"id": "2"})
    yield accepted("cr.json", b'{"id":"1"}\r{"id":"2"}', {"id": "1"}, {"id": "2"})
    yield accepted("glued.json", b'{"id":"1"}{"id":"2"}', {"id": "1"}, {"id": "2"})
    yield accepted("unclosed.json", b'[{"id":"1"},{"id":"2"}', {"id": "1"}, {"id": "2"}, records=("truncated",))
    yield accepted("frames.json", b'[{"id":"1"}\n[{"id":"2"} {"id":"3"}],\n[{"id":"4"}]', *(
        {"id": str(n)} for n in range(1, 5)), records=("syntax", "syntax", "trailing_garbage"))  # fmt: skip
    yield accepted("array_garbage.json", b'[{"id":"1"}]]]', {"id": "1"}, records=("trailing_garbage",))
    yield accepted("spread.json", b'{"id"\n:\n"1"\n}\n\n{"id":"2"}', {"id": "1"}, {"id": "2"})


KEYS_OF_REFERENCE = ["'; DROP TABLE x; --", "../../etc/passwd", "=1+1", "007", "a\nb", "\u202e", '"', "$(touch x)"]

KEYS = [
    "__proto__", "constructor", "record", "records", "customer", "", " ", "  ", "a.b", "a/b", "~0",
    "filename", "select",
    "*",
    "'; DROP TABLE x; --", '"', '""', "'", "`", "$(touch x)", "../../etc/passwd", "=1+1", "@SUM(1)", "a\nb", "a\tb",
    "\r",
    "\u202e", "\u200b", "\U0001f600", "%s", "{}", "{0}", "?", "$1", ":x", "[0]", "\\", "\\u0000", "\ue000",
    "\ue000file",
    "\ue001origin", "k" * 4000, "null", "true", "1", "-", "rowid", "source_file", "row", "key", "starts", "ordinal",
    "path",
]  # fmt: skip


def keys() -> Iterator[Case]:
    for number, key in enumerate(KEYS):
        yield accepted(
            f"key_{number}.json", json.dumps({"id": f"k{number}", key: "x"}).encode(), {"id": f"k{number}", key: "x"}
        )
    nested = json.dumps({"id": "n", "nested": {"'; --": {'"': {"../x": "=1"}}}}).encode()
    yield accepted("nested.json", nested, {"id": "n", "nested_'; --_\"_../x": "=1"})


# Compression.

LINES = b"".join(b'{"id":"%d","v":"%d"}\n' % (number, number * 7919) for number in range(2000))
ROWS = tuple({"id": str(number), "v": str(number * 7919)} for number in range(2000))


def compressed() -> Iterator[Case]:
    packed, checked = gz(LINES), zst(LINES, write_checksum=True)
    members = gz(LINES[: LINES.index(b"\n") + 1]) + gz(LINES[LINES.index(b"\n") + 1 :])
    yield accepted("whole.json.gz", packed, *ROWS)
    yield accepted("members.json.gz", members, *ROWS)
    yield accepted("empty_member.json.gz", gz(b"") + packed + gz(b""), *ROWS)
    yield accepted("frames.json.zst", zst(LINES[:18]) + zst(LINES[18:]), *ROWS)
    wide = zstandard.ZstdCompressionParameters(window_log=27)
    yield accepted("window.json.zst", zst(LINES, compression_params=wide), *ROWS)
    yield accepted("checksum.json.zst", checked, *ROWS)
    yield set_aside("wrong_crc.json.gz", packed[:-8] + b"\0\0\0\0" + packed[-4:], "unreadable")
    yield set_aside("wrong_length.json.gz", packed[:-4] + b"\0\0\0\0", "unreadable")
    yield set_aside("garbage_behind.json.gz", packed + b"garbage", "unreadable")
    yield set_aside("nul_behind.json.gz", packed + b"\1" * 100, "unreadable")
    yield set_aside("damaged.json.gz", packed[:2000] + b"\xff" * 50 + packed[2050:], "unreadable")
    yield set_aside("no_gzip.json.gz", LINES, "unreadable")
    yield set_aside("zstd.json.gz", zst(LINES), "unreadable")
    yield set_aside("gzip.json.zst", packed, "unreadable")
    yield set_aside("no_zstd.json.zst", LINES, "unreadable")
    yield set_aside("damaged.json.zst", checked[:3000] + b"\xff" * 50 + checked[3050:], "unreadable")
    yield set_aside("wrong_checksum.json.zst", checked[:-4] + b"\0\0\0\0", "unreadable")
    yield set_aside("header.json.gz", packed[:10], "truncated")
    yield set_aside("empty.json.gz", b"", "empty_file")
    yield set_aside("empty_inside.json.gz", gz(b""), "empty_file")
    yield set_aside("empty_inside.json.zst", zst(b""), "empty_file")
    yield set_aside("twice.json.gz", gz(packed), "syntax")
    yield set_aside("parquet.json.gz", gz(parquet({"id": ["x"]})), "syntax")
    yield set_aside("huge_window.json.zst", b"\x28\xb5\x2f\xfd\x00\xa8" + b"\0" * 20, "unreadable")
    yield accepted("no_trailer.json.gz", packed[:-8], *ROWS, records=("truncated",))
    yield accepted("csv.csv.gz", gz(b"id,v\n1,=1\n"), {"id": "1", "v": "=1"})
    yield accepted("csv.csv.zst", zst(b"id,v\n1,=1\n"), {"id": "1", "v": "=1"})


def bombs() -> Iterator[Case]:
    record, objects = b'{"id":"1","v":"x"}\n' * 52_000, b"{}\n" * 330_000
    for suffix, bomb in (("gz", gz_bomb), ("zst", zst_bomb)):
        more = 70 if suffix == "gz" else 140
        yield set_aside(f"zeros.json.{suffix}", bomb(b"", bytes(MIB), more), "bomb")
        yield set_aside(f"spaces.json.{suffix}", bomb(b"", b" " * MIB, more), "bomb")
        yield set_aside(f"text.json.{suffix}", bomb(b'{"id":"', b"x" * MIB, more, b'"}'), "bomb")
        yield set_aside(f"objects.json.{suffix}", bomb(b"", objects, more), "bomb")
        yield set_aside(f"records.json.{suffix}", bomb(b"", record, more), "bomb")
        yield set_aside(f"brackets.json.{suffix}", bomb(b"", b"[" * MIB, more), "bomb")
        yield set_aside(f"lines.csv.{suffix}", bomb(b"id,v\n", b"1,2\n" * (MIB // 4), more), "bomb")
    two = gz(bytes(MIB)) * 80
    yield set_aside("zeros_of_members.json.gz", two, "bomb")
    yield set_aside("late.json.gz", gz(LINES) + two, "bomb")
    yield set_aside("rle.json.zst", zstd_rle(4096), "bomb")
    yield set_aside("sparse.json", sparse(TIB), "bomb")
    yield set_aside("sparse.csv", sparse(TIB, b"id,v\n"), "bomb")
    yield set_aside("sparse.parquet", sparse(TIB, b"PAR1"), "bomb")


def zstd_rle(blocks: int) -> bytes:
    """A frame in which each 4 bytes make 128 KiB."""
    block = (0 | 1 << 1 | (128 * KIB) << 3).to_bytes(3, "little") + b" "
    return b"\x28\xb5\x2f\xfd\x00\x58" + block * blocks + b"\x01\x00\x00"


# CSV.


def csv() -> Iterator[Case]:
    one = {"id": "1", "v": "2"}
    yield accepted("bom.csv", b"\xef\xbb\xbfid,v\n1,2\n", one)
    yield accepted("crlf.csv", b"id,v\r\n1,2\r\n", one)
    yield accepted("no_newline.csv", b"id,v\n1,2", one)
    yield accepted("blank_lines.csv", b"\n\nid,v\n\n1,2\n\n\n", one)
    yield accepted("header_only.csv", b"id,v\n")
    yield accepted("formulas.csv", b"id,v\n1,=cmd|' /C calc'!A0\n", {"id": "1", "v": "=cmd|' /C calc'!A0"})
    yield accepted(
        "path.csv",
        b"id,v\n../../etc/passwd,file:///etc/passwd\n",
        {"id": "../../etc/passwd", "v": "file:///etc/passwd"},
    )
    yield accepted("sql.csv", b"id,v\n1,'; DROP TABLE x; --\n", {"id": "1", "v": "'; DROP TABLE x; --"})
    yield accepted("quoted.csv", b'id,v\n"1","a ""b"" \r\n,c"\n', {"id": "1", "v": 'a "b" \r\n,c'})
    yield accepted("semicolons.csv", b"id,v\n1;2,3\n", {"id": "1;2", "v": "3"})
    yield accepted("backslash.csv", b"id,v\n1,\\\n2,\\N\n", {"id": "1", "v": "\\"}, {"id": "2", "v": "\\N"})
    yield accepted("words.csv", b"id,v\nNULL,NaN\n", {"id": "NULL", "v": "NaN"})
    yield accepted("digits.csv", b"id,v\n1," + b"9" * 10_000 + b"\n", {"id": "1", "v": "9" * 10_000})
    yield accepted("big_field.csv", b'id,v\n1,"' + b"x" * 900_000 + b'"\n', {"id": "1", "v": "x" * 900_000})
    yield accepted("nothing.csv", b'id,v\n,""\n', {"v": ""})
    yield accepted("own_name.csv", "\ue001origin,v\n1,2\n".encode(), {"\ue001origin": "1", "v": "2"})
    yield accepted("rtl.csv", "id,v\n\u202e,\u200b\n".encode(), {"id": "\u202e", "v": "\u200b"})
    yield accepted("nul.csv", b"id,v\n1,a\0b\n", {"id": "1", "v": "a\0b"})
    yield accepted("ragged.csv", b"id,v\n1\n1,2\n1,2,3\n", one, records=("ragged_line", "ragged_line"))
    yield accepted("quote_open.csv", b'id,v\n1,2\n1,"2\n', one, records=("bad_quote",))
    yield accepted("quote_inside.csv", b'id,v\n1,"2"x\n1,2\n', one, records=("bad_quote",))
    yield accepted("quote_middle.csv", b'id,v\n3,x"y\n1,2\n', one, records=("bad_quote",))
    yield accepted("latin1.csv", b"id,v\n1,\xe9\n1,2\n", one, records=("bad_utf8",))
    yield accepted("long_line.csv", b"id,v\n1," + b"x" * 1_100_000 + b"\n1,2\n", one, records=("record_too_large",))
    yield set_aside("unequal.csv", b"id,v\n1\n1,2,3\n", "ragged_line")
    yield set_aside("empty.csv", b"", "empty_file")
    yield set_aside("newlines.csv", b"\r\n" * 1000, "empty_file")
    yield accepted("header_twice.csv", b"id,ID\n1,2\n", records=("case_conflict",))
    yield set_aside("header_same.csv", b"id,id\n1,2\n", "bad_header")
    yield accepted("header_empty.csv", b"id,\n1,2\n", {"id": "1", "": "2"})
    yield set_aside("header_commas.csv", b",,,\n1,2,3,4\n", "bad_header")
    yield set_aside("header_quote.csv", b'id,"v\n1,2\n', "bad_header")
    yield set_aside("header_latin1.csv", b"id,\xe9\n1,2\n", "bad_utf8")
    yield set_aside("utf16.csv", "\ufeffid,v\n1,2\n".encode("utf-16-le"), "wrong_encoding")
    yield set_aside("columns_100000.csv", wide_csv(100_000), "too_many_fields")
    yield set_aside("columns_10001.csv", wide_csv(10_001), "too_many_fields")
    yield set_aside("header_long.csv", b"id," + b"v" * 5000 + b"\n1,2\n", "key_too_long")
    yield set_aside("header_huge.csv", b"v" * 2_000_000, "bad_header")
    yield set_aside("parquet.csv", parquet({"id": ["x"]}), "ragged_line")


def wide_csv(columns: int) -> bytes:
    numbers = range(columns)
    return ",".join(f"c{n}" for n in numbers).encode() + b"\n" + ",".join(map(str, numbers)).encode() + b"\n"


# Parquet.


def parquets() -> Iterator[Case]:
    whole = parquet({"id": ["1", "2"], "v": ["=1", "'; --"]})
    rows = ({"id": "1", "v": "=1"}, {"id": "2", "v": "'; --"})
    yield accepted("whole.parquet", whole, *rows)
    yield accepted("zstd.parquet", parquet({"id": ["1"], "v": ["x"]}, compression="zstd"), {"id": "1", "v": "x"})
    yield accepted("no_rows.parquet", parquet({"id": pa.array([], "string"), "v": pa.array([], "string")}))
    yield accepted("nulls.parquet", parquet({"id": pa.array(["1"]), "v": pa.array([None], "string")}), {"id": "1"})
    yield accepted("nested.parquet", parquet({"id": ["1"], "o": [{"a": "x"}]}), {"id": "1", "o_a": "x"})
    hostile = "'; DROP TABLE x; --\"../../etc/passwd"
    yield accepted("column_names.parquet", parquet({"id": ["1"], hostile: ["=1"]}), {"id": "1", hostile: "=1"})
    yield accepted("own_name.parquet", parquet({"\ue001origin": ["1"], "v": ["2"]}), {"\ue001origin": "1", "v": "2"})
    digits = parquet({"id": ["1"], "d": pa.array([Decimal("9" * 38)], pa.decimal128(38, 0))})
    yield accepted("decimal_38.parquet", digits, {"id": "1", "d": "9" * 38})
    longer = parquet({"id": ["1"], "d": pa.array([Decimal("9" * 76)], pa.decimal256(76, 0))})
    yield accepted("decimal_76.parquet", longer, {"id": "1", "d": "9" * 76})
    yield set_aside("cut.parquet", whole[:-20], "unreadable")
    yield set_aside("cut_in_half.parquet", whole[: len(whole) // 2], "unreadable")
    yield set_aside("no_magic.parquet", b"XXXX" + whole[4:-4] + b"XXXX", "unreadable")
    yield set_aside("footer.parquet", b"PAR1" + b"\xff" * 100 + b"\xff\xff\xff\x7fPAR1", "unreadable")
    yield set_aside("footer_short.parquet", b"PAR1\x00\x00\x00\x00PAR1", "unreadable")
    yield set_aside("magic_alone.parquet", b"PAR1", "unreadable")
    yield set_aside("empty.parquet", b"", "unreadable")
    yield set_aside("json.parquet", b'{"id":"1"}', "unreadable")
    yield set_aside("damaged.parquet", whole[:4] + b"\xff" * 40 + whole[44:], "unreadable")
    many = {f"c{number}": ["x"] for number in range(10_001)}
    yield set_aside("columns_10001.parquet", parquet(many), "too_many_fields")
    yield set_aside("column_long.parquet", parquet({"id": ["1"], "v" * 5000: ["x"]}), "key_too_long")


# What is large.


def large() -> Iterator[Case]:
    depth = 100_000
    yield set_aside("arrays.json", b'{"id":' + b"[" * depth + b"]" * depth + b"}", "too_deep")
    yield set_aside("objects.json", b'{"id":' * depth + b"1" + b"}" * depth, "too_deep")
    yield set_aside("mixed.json", b'{"id":[' * depth + b"1" + b"]}" * depth, "too_deep")
    yield set_aside("unclosed_arrays.json", b"[" * depth, "too_deep")
    yield set_aside("unclosed_objects.json", b'{"id":' * depth, "too_deep")
    yield set_aside("unclosed_mixed.json", b'{"id":[' * depth, "too_deep")
    good = b'{"id":"1"}\n'
    for label, made in (("arrays", b"[" * depth + b"]" * depth), ("objects", b'{"v":' * depth + b"1" + b"}" * depth)):
        lines = good + b'{"id":' + made + b"}\n" + good
        yield accepted(f"beside_{label}.jsonl", lines, {"id": "1"}, {"id": "1"}, records=("too_deep",))
    deep = b'{"id":"d","j":' + b"[" * 127 + b"]" * 127 + b"}"
    yield accepted("depth_128.json", deep, {"id": "d", "j": "[" * 127 + "]" * 127})
    # Without a good one beside it the record goes to the list of records: it could be read.
    wide = json.dumps({"id": "w", **{f"k{number}": number for number in range(depth)}}).encode()
    yield accepted("keys_100000.json", wide, records=("too_many_fields",))
    yield accepted(
        "beside_keys.jsonl", good + wide + b"\n" + good, {"id": "1"}, {"id": "1"}, records=("too_many_fields",)
    )
    for label, key in (("key_1mb", "k" * 1_000_000), ("key_5000", "k" * 5000)):
        raw = json.dumps({"id": "k", key: 1}).encode()
        yield accepted(f"{label}.jsonl", good + raw + b"\n" + good, {"id": "1"}, {"id": "1"}, records=("key_too_long",))
    path = json.dumps({"id": "k", "a" * 3000: {"b" * 3000: 1}}).encode()
    yield accepted("path_6000.json", path, records=("key_too_long",))
    elements = b'{"id":"e","j":[' + b"1," * 3_000_000 + b"1]}"
    yield accepted("values.json", elements, records=("too_many_values",))
    yield accepted(
        "values_array.json",
        b"[" + good + b"," + elements + b"," + good + b"]",
        {"id": "1"},
        {"id": "1"},
        records=("too_many_values",),
    )
    objects = b'{"id":"e","j":[' + b"{}," * 2_000_000 + b"1]}\n"
    yield accepted(
        "values_objects.jsonl", good + objects + good, {"id": "1"}, {"id": "1"}, records=("too_many_values",)
    )
    commas = "," * 3_000_000
    yield accepted("commas.json", json.dumps({"id": "c", "t": commas}).encode(), {"id": "c", "t": commas})
    text = '\\"' * 4_000_000
    yield accepted(
        "escapes.json", json.dumps({"id": "c", "t": text[:3_000_000]}).encode(), {"id": "c", "t": text[:3_000_000]}
    )
    cut = b'{"id":"' + b"x" * 6_000_000
    yield set_aside("text_cut.json", cut, "truncated")
    too_large = json.dumps({"id": "l", "t": "x" * 9_000_000}).encode()
    yield accepted(
        "too_large.jsonl", good + too_large + b"\n" + good, {"id": "1"}, {"id": "1"}, records=("record_too_large",)
    )
    yield accepted("too_large.json", too_large, records=("record_too_large",))
    escaped = b'{"id":"1","' + b"\\u0041" * 1_000_000 + b'":1}'
    yield accepted("escaped_key.json", escaped, records=("key_too_long",))
    parts = [{"id": label, **{f"{label}{n}": "x" for n in range(5100)}} for label in ("part_a", "part_b")]
    # Together they have more columns than a run takes: those of the first by name are taken.
    yield accepted("part_a.json", json.dumps(parts[0]).encode(), parts[0])
    yield accepted("part_b.json", json.dumps(parts[1]).encode(), records=("too_many_fields",))


KINDS = ("names", "json", "values", "keys", "compressed", "tables", "large")


def corpus(kind: str) -> Corpus:
    """Return the cases of one feed."""
    if kind == "values":
        quoted = [key.replace('"', '""') for key in KEYS_OF_REFERENCE]
        customers = "customer_id,name\n" + "".join(f'"{key}",=name{n}\n' for n, key in enumerate(quoted))
        merged = {"reference": "customers.csv", "key": "customer_id", "into": "customer"}
        return Corpus([*values()], {"merge": [merged]}, customers)
    made: dict[str, Callable[[], list[Case]]] = {
        "names": lambda: [*names(), *left()],
        "json": lambda: [*bad_json()],
        "keys": lambda: [*keys()],
        "compressed": lambda: [*compressed(), *bombs()],
        "tables": lambda: [*csv(), *parquets()],
        "large": lambda: [*large()],
    }
    largest = {"tables": MIB, "large": 8 * MIB}
    return Corpus(made[kind](), {"input": {"max_record_bytes": largest[kind]}} if kind in largest else {})
