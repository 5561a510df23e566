"""The archived originals, read by the standard library: decompressed, hashed, and taken apart into records.

A record that is in quarantine is not read: it is passed over, by the place and the text that it has there.
"""

import base64
import hashlib
import itertools
import json
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import zstandard

from fanfold.audit.values import DECODER, Moment, csv_fields, loads
from fanfold.errors import MissingError
from fanfold.layout import input_format, packing
from fanfold.manifest import BadRecord
from fanfold.spec import Input

CHUNK_BYTES = 1 << 20
BATCH_ROWS = 1000
BLANKS, LINE_ENDS, MARK = re.compile(r"[ \t\r\n]*"), re.compile("[\r\n]*"), re.compile(r'"|\\.|[{}\[\]\n]', re.DOTALL)


class BadRecords:
    """The bad records of a file by their numbers, which are read where they lie when they are asked for."""

    def __init__(self, path: Path | None = None) -> None:
        """Begin with none; `positions` says where in the file `path` each of them lies."""
        self._path, self.positions = path, dict[int, int]()

    def get(self, number: int) -> BadRecord | None:
        """Return a bad record; None where that of this number is good."""
        if self._path is None or number not in self.positions:
            return None
        with self._path.open("rb") as lines:
            lines.seek(self.positions[number])
            return BadRecord(**json.loads(lines.readline()))


class LostError(ValueError):
    """A file cannot be followed any further."""


class Text:
    """The text of a file, a character for each byte (Latin-1). A part of it is held; it is read up to `at`."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        """Begin before the first character; a byte order mark is passed over."""
        self._chunks, self._passed, self.text, self.at = chunks, 0, "", 0
        self.more()
        self.at = 3 if self.text.startswith("\xef\xbb\xbf") else 0

    @property
    def offset(self) -> int:
        """How many bytes come before."""
        return self._passed + self.at

    def more(self) -> bool:
        """Read on, as much as is held; False at the end."""
        held, parts = self.text[self.at :], list[str]()
        while sum(map(len, parts)) < max(CHUNK_BYTES, len(held)) and (chunk := next(self._chunks, b"")):
            parts.append(chunk.decode("latin-1"))
        self._passed, self.at, self.text = self._passed + self.at, 0, held + "".join(parts)
        return bool(parts)

    def char(self, blanks: re.Pattern[str] = BLANKS) -> str:
        """Pass over blanks and return the next character; nothing at the end."""
        while True:
            passed = blanks.match(self.text, self.at)
            self.at = passed.end() if passed else self.at
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def take(self, size: int) -> str:
        """Pass over so many bytes and return them."""
        while len(self.text) - self.at < size and self.more():
            pass
        self.at += size
        return self.text[self.at - size : self.at]

    def line(self, most: int) -> str:
        """Pass over a line, to an end outside of quotes, and return it as it was written."""
        end = quotes = 0
        while True:
            newline = self.text.find("\n", self.at + end)
            if newline < 0 and len(self.text) - self.at <= most and self.more():
                continue
            stop = newline if newline >= 0 else len(self.text)
            quotes += self.text.count('"', self.at + end, stop)
            if newline < 0 or quotes % 2 == 0:
                line, self.at = self.text[self.at : stop], min(stop + 1, len(self.text))
                return line.removesuffix("\r").encode("latin-1").decode()
            end = newline + 1 - self.at


class Original:
    """The records of one file, in their order. Those in quarantine are passed over, by their number and place."""

    def __init__(self, path: Path, name: str, bad: BadRecords, settings: Input) -> None:
        """Open the original that landed as `name`; `bad` are its records in quarantine, by their number."""
        self._path, self._bad, self._most, self._kind = path, bad, settings.max_record_bytes, input_format(name)
        self._way = [step.replace("~1", "/").replace("~0", "~") for step in settings.records_at.split("/")[1:]]
        self._digest, self._size, self._depth, self.number = hashlib.sha256(), 0, 0, 0
        self._chunks = self._unpacked(packing(name, path.name) is not None)
        # Of records in quarantine: how many were passed over, and who is told of each, with its text if that is kept.
        self.passed = 0
        self.on_bad: Callable[[BadRecord, str | None], None] = lambda _bad, _raw: None

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield number and value of each good record."""
        if self._kind != "parquet":
            self._text = Text(self._chunks)
            yield from self._lines() if self._kind == "csv" else self._documents() if self._way else self._values()
            return
        rows = parquet_rows(self._path)
        names = next(rows)
        for row in rows:
            self.number += 1
            if bad := self._bad.get(self.number):
                self.passed += 1
                self.on_bad(bad, None)
            else:
                yield self.number, dict(zip(names, row, strict=True))

    def head(self) -> str:
        """Return the first line of CSV, the first character of JSON."""
        text = Text(self._chunks)
        return text.line(self._most) if self._kind == "csv" and text.char(LINE_ENDS) else text.char()

    def has_record(self) -> bool:
        """Say whether the file begins with a good record of JSON."""
        try:
            return next(self.records(), None) is not None
        except (LostError, UnicodeError):
            return False

    def content(self) -> tuple[int, str]:
        """Read to the end, and return size and SHA-256 of the bytes as they came."""
        deque(self._chunks, maxlen=0)
        return self._size, self._digest.hexdigest()

    def _unpacked(self, packed: bool) -> Iterator[bytes]:  # noqa: FBT001 - whether the archive has compressed it
        starts = {".gz": lambda: zlib.decompressobj(31), ".zst": zstandard.ZstdDecompressor().decompressobj}
        start: Any = starts.get(self._path.suffix)
        member = start() if start else None
        with self._path.open("rb") as file:
            while data := file.read(CHUNK_BYTES // 16):
                self._count(b"" if packed else data)
                if not start:
                    yield data
                while data and member:
                    try:
                        content = member.decompress(data)
                    except (zlib.error, zstandard.ZstdError):
                        # What comes behind the damage is hashed, and nothing else.
                        member = None
                        break
                    self._count(content if packed else b"")
                    yield content
                    data, member = (member.unused_data, start()) if member.eof else (b"", member)

    def _count(self, data: bytes) -> None:
        self._digest.update(data)
        self._size += len(data)

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        self._text.char(LINE_ENDS)
        names = csv_fields(self._text.line(self._most)) or []
        while self._text.char(LINE_ENDS) or self.number + 1 in self._bad.positions:
            if not self._pass_bad():
                cells = csv_fields(self._text.line(self._most))
                if cells is None or len(cells) != len(names):
                    self._lose(cells)
                self.number += 1
                yield self.number, dict(zip(map(str, names), cells, strict=True))

    def _values(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the records that follow, in arrays or not; in a wrapped document, up to the end of the array."""
        text = self._text
        while True:
            char = text.char()
            if char == "]" and self._depth:
                text.at, self._depth = text.at + 1, 0
                if self._way:
                    return
            elif self._pass_bad():
                continue
            elif not char:
                return
            elif char == "[" and not self._depth:
                text.at, self._depth = text.at + 1, 1
            elif char == "," and self._depth:
                text.at += 1
            else:
                yield self._record(self._value())

    def _record(self, value: Any) -> tuple[int, dict[str, Any]]:
        if not isinstance(value, dict):
            self._lose(value)
        self.number += 1
        return self.number, value

    def _documents(self) -> Iterator[tuple[int, dict[str, Any]]]:
        while self._text.char() or self.number + 1 in self._bad.positions:
            try:
                yield from self._document(self._way)
            except LostError:
                if not self._pass_bad():
                    raise

    def _document(self, way: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the records at the end of `way` in the value that begins here."""
        text, opening = self._text, self._text.char()
        if not way and opening == "[":
            yield from self._values()
        elif not way:
            if (value := self._value()) is not None:
                yield self._record(value)
        elif opening not in {"{", "["}:
            self._lose(opening)
        else:
            text.at += 1
            for position in itertools.count():
                text.at += text.char() == ","
                if text.char() in {"}", "]"}:
                    text.at += 1
                    return
                step = str(self._value() if opening == "{" else position)
                text.at += opening == "{" and text.char() == ":"
                text.char()
                if step == way[0]:
                    yield from self._document(way[1:])
                else:
                    self._value()

    def _value(self) -> Any:
        text = self._text
        while True:
            try:
                value, end = DECODER.raw_decode(text.text, text.at)
                if end < len(text.text) or text.text[end - 1] in '}]"' or not text.more():
                    raw, text.at = text.text[text.at : end], end
                    return value if raw.isascii() and "\\u" not in raw else loads(raw.encode("latin-1").decode())
            except (ValueError, RecursionError):
                if len(text.text) - text.at > 2 * self._most or not text.more():
                    self._lose(text.text[text.at : text.at + 40])

    def _pass_bad(self) -> bool:
        """Pass over the next record, where that is one in quarantine."""
        text, bad = self._text, self._bad.get(self.number + 1)
        if bad is None:
            return False
        between = text.take(max(0, bad.record_offset - text.offset))
        self._depth = (self._depth + between.count("[") - between.count("]")) > 0
        if not self._way and between.strip(" \t\r\n,[]"):
            self._lose(between)
        self.number += 1
        kept = base64.b64decode(bad.raw_base64) if bad.raw_base64 is not None else (bad.raw or "").encode()
        raw = text.take(len(kept))
        if raw.encode("latin-1") != kept:
            self._lose(raw, f"the text of record {self.number} in quarantine")
        is_kept = bad.raw is not None or bad.raw_base64 is not None
        self.passed += 1
        self.on_bad(bad, raw if is_kept else None)
        if not is_kept:
            self._pass_over()
        return True

    def _pass_over(self) -> None:
        """Pass over a record whose text is not kept: to where its brackets close, or its line ends."""
        text, depth, in_text = self._text, 0, False
        while text.at < len(text.text) or text.more():
            for mark in MARK.finditer(text.text, text.at):
                text.at = mark.end()
                # No text goes on behind its line.
                if in_text and mark[0] == "\n":
                    return
                in_text ^= mark[0] == '"'
                depth += 0 if in_text else (mark[0] in "{[") - (mark[0] in "}]")
                if not in_text and depth <= 0 and mark[0] in "}]\n":
                    return
            text.at = len(text.text)

    def _lose(self, found: Any, expected: str = "a good record, or one in quarantine") -> NoReturn:
        msg = f"found {str(found)[:40]!r} before byte {self._text.offset + 40}, expected {expected}"
        raise LostError(msg)


def parquet_rows(path: Path) -> Iterator[list[Any]]:
    """Yield the names of the columns of a file of Parquet, then its rows."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ModuleNotFoundError:
        msg = f"{str(path)!r} is Parquet, and pyarrow is not installed: pip install 'fanfold[audit]'"
        raise MissingError(msg) from None
    with parquet.ParquetFile(path) as file:
        yield file.schema_arrow.names
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            has_nanoseconds = [pa.types.is_timestamp(c.type) and c.type.unit == "ns" for c in batch.columns]
            columns = [c.cast(pa.string()) if ns else c for c, ns in zip(batch.columns, has_nanoseconds, strict=True)]
            for values in zip(*(column.to_pylist(maps_as_pydicts="lossy") for column in columns), strict=True):
                pairs = zip(values, has_nanoseconds, strict=True)
                yield [Moment(value) if is_moment and value is not None else value for value, is_moment in pairs]
