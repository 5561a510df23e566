"""The auditor: it accounts for every scalar of a complete run, by code that shares nothing with what it audits.

It reads the archived originals and the kept references with the standard library (zstandard and pyarrow for their
formats), works out the rows that their records must make, and compares these with the tables, one by one, in their
order. It is slow and plain on purpose: it is what the tests believe. Of Fanfold it knows only the words of a feed:
spec, layout, manifest, errors.

The file goes from the report, which is what callers see, along the way of the data: text, records, values, rows, and
then tables, quarantine and manifest.
"""

import base64
import codecs
import contextlib
import copy
import gzip
import hashlib
import json
import pickle
import re
import sqlite3
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from functools import lru_cache, partial
from itertools import chain, count, islice, repeat, zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, TypeVar
from urllib.parse import unquote
from uuid import UUID

import zstandard

from fanfold import manifest
from fanfold.errors import MissingError
from fanfold.formats import input_format, is_archive, taken_inside
from fanfold.layout import Run, packing
from fanfold.manifest import ArchivedFile, BadRecord, Column, Manifest, SubdirSummary, by_table, of_table
from fanfold.scratch import scratch_dir
from fanfold.spec.merge import Merge
from fanfold.spec.model import Input, Spec
from fanfold.spec.paths import Way, way_of, written
from fanfold.spec.texts import CsvInput

What = Literal["missing", "extra", "changed", "doubled"]
Cells = list[str | None]
# A record: what is in quarantine about it, and its value; None where it cannot be read.
Found = tuple[BadRecord | None, Any]
Item = TypeVar("Item")
# What finds the record of a reference by the parts of a key.
Match = Callable[[tuple[str | None, ...]], Any]
SQL = "values by SQL, or of a type that is not known"
# In place of a key, where an element is not an object: no text of a file has this character.
ELEMENT = "\ud800"
OWN_COLUMNS = ["_rescued", "_source_file", "_source_record", "_source_item"]


@dataclass(frozen=True)
class Finding:
    """A difference. `record` counts from 1, and is 0 for the file as a whole; `pointer` is a JSON pointer."""

    what: What
    file: str
    record: int
    pointer: str
    message: str

    def __str__(self) -> str:
        """Return the difference as one line."""
        record, pointer = f" record {self.record}" if self.record else "", f" at {self.pointer}" if self.pointer else ""
        return f"{self.what}: {self.file!r}{record}{pointer}: {self.message}"


@dataclass
class Audit:
    """What an audit found.

    Attributes:
        ts: the run.
        files: originals that were read to their end.
        records: their records, good and bad.
        rows: rows that are what their record calls for.
        scalars: values of records that were looked for in tables and quarantine; null does not count.
        not_audited: how many values, records, rows or files were not compared, by the reason.
        findings: the differences; none where everything is accounted for.
    """

    ts: str
    files: int = 0
    records: int = 0
    rows: int = 0
    scalars: int = 0
    not_audited: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, what: What, place: tuple[str, int], message: str, pointer: str = "") -> None:
        """Add a difference at a file and a record."""
        self.findings.append(Finding(what, *place, pointer, message))

    def check(self, name: str, counted: object, said: object) -> None:
        """Compare what was counted with what the manifest says."""
        if counted != said:
            self.add("changed", (name, 0), f"counted {counted}, the manifest says {said}")


def audit(run: Run, committed: Manifest, sample_percent: float = 100) -> Audit:
    """Account for every scalar of a complete run. Nothing is changed. Memory is that of its largest records.

    Args:
        run: the run, with the spec that it was made by.
        committed: its manifest.
        sample_percent: the share of records to compare, chosen by file and number. All are read and counted.

    Returns:
        What was compared, what was not, and the differences, in the order of tables and rows.

    Raises:
        MissingError: there is Parquet to read, and pyarrow is not installed.
        OSError: a file cannot be read.
    """
    with localcontext(Context(prec=1000, traps=[])):
        auditor = _Auditor(run, committed, sample_percent)
        outputs = [n for table in committed.each_table.values() for n in table.outputs]
        numbers = {*committed.summary.subdirs, *outputs, *committed.quarantined}
        for n in sorted(numbers | {str(file.subdir) for file in committed.files}):
            auditor.check_subdir(n)
        auditor.check_columns()
        auditor.check_contents()
        auditor.check_counts()
    auditor.found.not_audited += Counter()
    # What is wrong with an original is found with each table.
    auditor.found.findings = list(dict.fromkeys(auditor.found.findings))
    return auditor.found


# --- text

CHUNK_BYTES, MOST_LINE_BYTES, BATCH_ROWS = 1 << 20, 1 << 28, 1000
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError, tarfile.TarError, zipfile.BadZipFile)
# What is read where a bad record begins: no UTF-8 has this character.
BAD = "\udc00"
OUTSIDE, HIDDEN = (
    re.compile(r"^[/\\]|(^|[/\\])\.\.([/\\]|$)"),
    re.compile(r"(^|[/\\])(\.[^/\\]|__MACOSX([/\\]|$))|(\.part|\.tmp|\.crdownload|~)$"),
)
FORMULA = re.compile(r"(?!-Infinity\Z)[=+\-@\t\r]")
BLANKS, LINE_ENDS, NOTHING = re.compile(r"[ \t\r\n]*"), re.compile(r"(?:\r?\n)*"), re.compile("")


def _refuse(found: object, expected: str = "a good record, or one in quarantine at its place") -> NoReturn:
    msg = f"found {str(found)[:40]!r}, expected {expected}"
    raise ValueError(msg)


class _Csv:
    """A dialect of CSV; a table is written in one, too."""

    def __init__(self, delimiter: str, quote: str, nulls: Iterable[str]) -> None:
        """Begin; `nulls` are what stands for null where it is not in quotes."""
        d, q, plain = re.escape(delimiter), re.escape(quote) or r"(?!)", re.escape(delimiter + quote)
        self._quote, self._nulls, self._delimiter = quote, {*nulls}, delimiter
        text = rf"(?:[^{re.escape(quote)}]++|{q}{q})*+"
        text, value = text if quote else "", rf"(?:[^{plain}\r\n]++|\r(?!\n))*+"
        cell = f"(?:{q}{text}{q}|{value})"
        self.line = re.compile(rf"({cell}(?:{d}{cell})*+)(?:\r?\n|\Z)")
        self._cells = re.compile(rf"(?:^|{d})(?:({q})({text}){q}|([^{plain}]*+))")

    @classmethod
    def of(cls, given: CsvInput) -> "_Csv":
        """Return the dialect of files that come in: nothing stands for null, too."""
        return cls(given.delimiter, given.quote, ["", *given.nulls])

    def cells(self, line: str, *, is_header: bool = False) -> Cells:
        """Return the cells of a line. What means null among values may be the name of a column."""
        nulls = {""} if is_header else self._nulls
        if not self._quote or self._quote not in line:
            return [None if cell in nulls else cell for cell in line.split(self._delimiter)]
        found, twice = self._cells.findall(line), self._quote * 2
        return [
            text.replace(twice, self._quote) if quote else None if plain in nulls else plain
            for quote, text, plain in found
        ]


def _as_utf8(file: Any, encoding: str) -> Any:
    """Return a file of text as UTF-8; bytes that its encoding does not have become surrogates, which no UTF-8 has."""
    if encoding == "utf-8":
        return file
    part = file.read(2)
    orders = {b"": "utf-16-le", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
    name = encoding if encoding != "utf-16" else orders.get(part) or _refuse(part, "a byte order mark")
    decoder = codecs.getincrementaldecoder(name)("surrogatepass" if "16" in name else "surrogateescape")
    made = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    with contextlib.suppress(*DAMAGE):
        while part:
            made.write(decoder.decode(part).encode("utf-8", "surrogatepass"))
            part = file.read1(CHUNK_BYTES)
    made.seek(0)
    return made


class _Escaped(str):
    """A cell that begins with ' before what a spreadsheet would run: it stands for a text with it, or without."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        """Say whether it stands for a text."""
        return str(self) == str(other) or str(self)[1:] == other


def _unescaped(text: str | None) -> str | None:
    """Return a cell of a table whose formulas are escaped; a formula that is not escaped matches no record."""
    is_escaped = text is not None and text.startswith("'")
    plain = text[1:] if text and is_escaped else text
    if not plain or not FORMULA.match(plain) or NUMBER.fullmatch(plain):
        return text
    return _Escaped(text) if is_escaped else f"{text}, which is not escaped"


# With these codes, what a line has is not known.
OF_SIZE = {"record_too_large", "truncated", "too_many_fields"}


class _Ahead(deque[Item]):
    """The next items of a source, as many as are held."""

    def __init__(self, source: Iterable[Item] = ()) -> None:
        """Hold none of them yet."""
        super().__init__()
        self._source = iter(source)

    def fill(self, size: int = 1) -> bool:
        """Hold a number of them, as far as there are so many; return whether there is one."""
        self.extend(islice(self._source, max(0, size - len(self))))
        return bool(self)

    def take(self, size: int) -> list[Item]:
        """Return a number of those that are held, and hold them no longer."""
        return [self.popleft() for _ in range(min(size, len(self)))]


def _opened(path: Path) -> Any:
    """Open a file to read what is in it, unpacked."""
    if path.suffix.lower() in {".gz", ".tgz"}:
        return gzip.open(path)
    file = path.open("rb")
    is_packed = path.suffix.lower() == ".zst"
    return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) if is_packed else file


def _packed(path: Path) -> Iterator[tuple[str, Callable[[], Iterator[bytes]]]]:
    """Yield the names of the members of an archive, in their order, each with what reads it as far as it goes."""
    with contextlib.ExitStack() as stack:
        found = list[tuple[str, Callable[[], Iterator[bytes]]]]()
        if path.suffix.lower() == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(path))
            found += [
                (one.filename, partial(_unzipped, archive, one)) for one in archive.infolist() if not one.is_dir()
            ]
        else:
            content = stack.enter_context(tempfile.TemporaryFile())
            with contextlib.suppress(*DAMAGE), _opened(path) as packed:
                content.writelines(iter(partial(packed.read1, CHUNK_BYTES), b""))
            content.seek(0)
            tar = tarfile.TarFile(fileobj=content)
            with contextlib.suppress(*DAMAGE):
                found.extend((m.name, partial(_part, content, m)) for m in iter(tar.next, None) if not m.isdir())
        named = [(name.removeprefix("./").encode(errors="backslashreplace").decode(), read) for name, read in found]
        yield from sorted(named, key=lambda one: one[0])


def _unzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as content:
        yield from iter(partial(content.read, CHUNK_BYTES), b"")


def _part(content: Any, member: tarfile.TarInfo) -> Iterator[bytes]:
    for at in range(0, member.size, CHUNK_BYTES):
        content.seek(member.offset_data + at)
        yield content.read(min(CHUNK_BYTES, member.size - at))


def _content(path: Path, *, is_packed: bool = False) -> tuple[int, str]:
    """Return size and SHA-256 of a file as it came, whether the archive has compressed it or not."""
    with contextlib.suppress(*DAMAGE), _opened(path) if is_packed else path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), sha256
    return 0, ""


class _Text:
    """The text of a file, a part of it at a time, read up to `at`. It stops where a bad record begins."""

    def __init__(self, file: Any, most: int, name: str = "", bad: _Ahead[BadRecord] | None = None) -> None:
        """Begin with a file whose records are not larger than `most`. The next ones of `bad` may be of its `name`."""
        self.text, self.at, self._file, self._most, self._name = "", 0, file, most, name
        self._bad, self._decoder = _Ahead() if bad is None else bad, codecs.getincrementaldecoder("utf-8-sig")()

    def _read(self, size: int) -> bytes:
        """Return the next bytes, fewer than asked for; none at the end, and where the file is damaged."""
        with contextlib.suppress(*DAMAGE):
            return bytes(self._file.read1(min(size, CHUNK_BYTES)))
        return b""

    def _distance(self) -> int:
        """Return the number of bytes up to the next bad record, or up to nothing."""
        is_near = self._bad.fill() and self._bad[0].source == self._name
        return max(0, self._bad[0].record_offset - self._file.tell()) if is_near else sys.maxsize

    def more(self) -> bool:
        """Read on; False at the end, and where a bad record begins."""
        held, data = self.text[self.at :], b""
        if len(held) > self._most:
            _refuse(held)
        # As much again as is held: a long record is not read from its beginning too often.
        while len(data) <= len(held) and (part := self._read(self._distance())):
            data += part
        self.at, self.text = 0, held + self._decoder.decode(data, final=not data)
        return bool(data)

    def char(self, blanks: re.Pattern[str] = BLANKS) -> str:
        """Pass over blanks and return the next character: BAD where a bad record begins, nothing at the end."""
        while True:
            if passed := blanks.match(self.text, self.at):
                self.at = passed.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return "" if self._distance() else BAD

    def bad_record(self, read: Callable[[str], Any]) -> Found:
        """Pass over the bad record that begins here; return it with what it reads as all the same."""
        bad, raw = self._bad.popleft(), b""
        left = bad.size
        while left and (part := self._read(left)):
            left, raw = left - len(part), raw + part if len(raw) <= self._most else raw
        kept = base64.b64decode(bad.raw_base64) if bad.raw_base64 else bad.raw and bad.raw.encode()
        if left or raw != (raw if kept is None else kept):
            _refuse(raw, f"the text of record {bad.record} in quarantine")
        with contextlib.suppress(ValueError, RecursionError):
            return bad, read(raw.decode())
        return bad, None

    def value(self) -> Any:
        """Return the value of JSON that begins here."""
        while True:
            with contextlib.suppress(ValueError, RecursionError):
                value, end = DECODER.raw_decode(self.text, self.at)
                if end < len(self.text) or self.text[end - 1] in '}]"' or not self.more():
                    self.at = end
                    return value
                continue
            if not self.more():
                _refuse(self.text[self.at :])

    def lines(
        self, blanks: re.Pattern[str], csv: _Csv, *, has_header: bool = False
    ) -> Iterator[tuple[BadRecord | None, Cells]]:
        """Yield the cells of each line of CSV, by RFC 4180: null where nothing stands; none of a line that is not."""
        while char := self.char(blanks):
            if char == BAD:
                bad, line = self.bad_record(csv.line.fullmatch)
                yield bad, csv.cells(line[1]) if line else []
                continue
            while not (line := csv.line.match(self.text, self.at)) or not line[0].endswith("\n"):
                if not self.more():
                    break
            if not line:
                _refuse(self.text[self.at :])
            self.at = line.end()
            yield None, csv.cells(line[1], is_header=has_header)
            has_header = False


# --- records


class _AbandonedError(Exception):
    """The rest of a document around records is bad."""


def _records(
    path: Path, name: str, settings: Input, bad: _Ahead[BadRecord], again: _Ahead[BadRecord] | None = None
) -> Iterator[Found]:
    """Yield the fields that a file of CSV or Parquet has, as a record of nulls, then its records in their order.

    Args:
        path: where the original lies.
        name: as it landed; the next ones of `bad` may be its own.
        settings: where its records are, and how large.
        bad: the records in quarantine; those of the file are passed over, by place and size.
        again: those of the file once more, to look ahead for what stands around records.

    Raises:
        ValueError: something is neither a good record nor one in quarantine: the file cannot be followed.
    """
    given, is_parquet, csv = _given(settings, name), input_format(name) == "parquet", _Csv.of(settings.csv)
    most, encoding = 2 * settings.max_record_bytes, "utf-8" if is_parquet else settings.encoding
    with (
        _opened(path) as packed,
        _opened(path) as other,
        contextlib.closing(_as_utf8(packed, encoding)) as file,
        contextlib.closing(_as_utf8(other, encoding)) as same,
    ):
        text, way, ahead = _Text(file, most, name, bad), _steps(settings.records_at), _Text(same, most, name, again)
        if input_format(name) == "json":
            around = [way_of(path) for path in settings.envelope]
            found = _json_records(text, way, _envelopes(ahead, way, around) if around else repeat({}))
        else:
            has_header = is_parquet or settings.csv.header
            rows = text.lines(LINE_ENDS, csv, has_header=has_header)
            lines = ((None, row) for row in _parquet_rows(path)) if is_parquet else rows
            found = _of_lines(lines, has_header=has_header)
        ways = {way_of(path) for path in settings.parse}
        for number, (entry, value) in enumerate(found):
            is_bad = is_parquet and bad.fill() and (bad[0].source, bad[0].record) == (name, number)
            of = bad.popleft() if is_bad else entry
            # What is bad may be so by such a text.
            record = _parsed(value, ways) if ways and not of else value
            if of.record != number if of else not isinstance(record, dict):
                _refuse(of or record)
            own = record if isinstance(record, dict) else {}
            others = [key for key in given if own.get(key) is not None and _text_of(own[key]) != given[key]]
            if others and not of:
                _refuse(own[others[0]], f"{given[others[0]]!r}, as the path says, or a record in quarantine")
            yield of, given | own | given if isinstance(record, dict) else None


def _given(settings: Input, name: str) -> dict[str, Any]:
    """Return the fields that the folders of a path give to the records below them."""
    folders = [folder for folder in name.split("/")[:-1] if not is_archive(folder)]
    pairs = [folder.split("=", 1) for folder in folders if folder.find("=") > 0]
    given = {_of_url(key): None if text == "__HIVE_DEFAULT_PARTITION__" else _of_url(text) for key, text in pairs}
    return given if settings.path_columns else {}


def _of_url(text: str) -> str:
    with contextlib.suppress(UnicodeDecodeError):
        return unquote(text, errors="strict")
    return text


def _of_lines(lines: Iterator[tuple[BadRecord | None, list[Any]]], *, has_header: bool) -> Iterator[Found]:
    """Yield a record for each line, by the names in the first one, or as many as the first that can be read has."""
    held, names = list[tuple[BadRecord | None, list[Any]]](), list[str]()
    for bad, cells in lines:
        held.append((bad, cells))
        if has_header or (cells and (not bad or bad.code not in OF_SIZE)):
            names = cells if has_header else [f"column_{number}" for number, _ in enumerate(cells, start=1)]
            break
    yield None, dict.fromkeys(names)
    for bad, cells in chain(held[has_header:], lines):
        yield bad, dict(zip(names, cells, strict=True)) if len(cells) == len(names) else None


def _json_records(text: _Text, way: list[str], envelopes: Iterator[dict[Way, Any]]) -> Iterator[Found]:
    yield None, {}
    while text.char():
        envelope = next(envelopes)
        with contextlib.suppress(_AbandonedError):
            for bad, record in _items(text, way):
                for path, value in envelope.items() if isinstance(record, dict) else ():
                    if not _taken_along(record, path, value) and not bad:
                        _refuse(path, "no field of this name in a record of its own")
                yield bad, record


def _taken_along(record: dict[str, Any], way: Way, value: Any) -> bool:
    """Give a record a field that stands around it; say whether there was room. A null on the way becomes an object."""
    for name in way[:-1]:
        if record.get(name) is None:
            record[name] = {}
        if not isinstance(record := record[name], dict):
            return False
    has_room = way[-1] not in record
    record.setdefault(way[-1], value)
    return has_room


def _envelopes(text: _Text, way: list[str], around: list[Way]) -> Iterator[dict[Way, Any]]:
    """Yield for each document the fields around its records that these take along."""
    while text.char():
        found = dict.fromkeys(around, ...)
        with contextlib.suppress(_AbandonedError):
            deque(_items(text, way, found), maxlen=0)
        yield {path: value for path, value in found.items() if value is not ...}


def _reached(value: Any, way: Way) -> Any:
    """Return what is at the end of a way through objects; an ellipsis where there is nothing."""
    for name in way:
        value = value.get(name, ...) if isinstance(value, dict) else ...
    return value


def _spots(value: Any, way: Way) -> list[int]:
    """Return at which place in its object each key of a way stands, as far as it leads."""
    found = list[int]()
    for name in way:
        if not isinstance(value, dict) or name not in value:
            break
        found.append([*value].index(name))
        value = value[name]
    return found


def _parsed(value: Any, ways: set[Way], way: Way = (), depth: int = 0) -> Any:
    """Return a value with what its texts at some ways hold in their place: none in arrays of arrays, `depth` counts."""
    if isinstance(value, dict):
        return {key: _parsed(inner, ways, (*way, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_parsed(inner, ways, way, depth + 1) for inner in value]
    is_text = type(value) is str and way in ways and depth <= 1
    return _parsed(_json(value), ways, way, depth=2) if is_text else value


def _items(
    text: _Text, way: list[str] | None, around: dict[Way, Any] | None = None, place: Way = ()
) -> Iterator[Found]:
    """Yield the records at the end of `way` in the value that begins here, at a place; None: they are elsewhere.

    What stands around them goes to `around`.
    """
    opening = text.char()
    if opening == BAD:
        yield text.bad_record(_json)
        _check_goes_on(text)
    elif opening == "[" or (opening == "{" and way):
        text.at += 1
        yield from _members(text, way, around if way else None, place)
    else:
        value = text.value()
        if way == [] and value is not None:
            yield None, value


def _members(text: _Text, way: list[str] | None, around: dict[Way, Any] | None, place: Way) -> Iterator[Found]:
    """Yield the records in an array or object. Its members have one comma between them, but around bad ones."""
    before, position, closing = "", 0, "]" if text.text[text.at - 1] == "[" else "}"
    while (char := text.char()) != closing or before == ",":
        if char == BAD:
            bad, record = text.bad_record(_json)
            # Without a comma before it, it is bad for that.
            yield bad, None if before == "value" else record
            _check_goes_on(text, *("{" if way == [] else ""))
        elif char == "," and before in {"value", BAD}:
            text.at, position = text.at + 1, position + 1
        elif char in {"", ",", "]", "}"} or before == "value":
            _refuse(text.text[text.at :], f"',' or {closing!r} behind a value, or a value")
        elif way == []:
            yield None, text.value()
        else:
            key, here, kept = str(position), place, list[Way]()
            if closing == "}":
                key = text.value()
                text.at += text.char() == ":"
                here = (*place, key)
                kept = [path for path in around or () if path[: len(here)] == here and text.char() != BAD]
            inner = way[1:] if way and key == way[0] else None
            if inner is None and around is not None and kept:
                value = text.value()
                # They stand in the order of the document.
                for path in sorted(kept, key=lambda path: _spots(value, path[len(here) :])):
                    del around[path]
                    around[path] = _reached(value, path[len(here) :])
            else:
                yield from _items(text, inner, around, here)
        before = char if char in {BAD, ","} else "value"
    text.at += 1


def _check_goes_on(text: _Text, *others: str) -> None:
    """Check that a document goes on behind what is bad in it: the rest may have gone with that."""
    if text.char() not in {",", "}", "]", BAD, *others}:
        raise _AbandonedError


def _parquet_rows(path: Path) -> Iterator[list[Any]]:
    """Yield the names of the columns of a file of Parquet, then its rows, with values as JSON has them."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ModuleNotFoundError:
        msg = f"{str(path)!r} is Parquet, and pyarrow is not installed: pip install 'fanfold[audit]'"
        raise MissingError(msg) from None
    if not path.stat().st_size:
        # The table of a run without a column.
        return
    try:
        with parquet.ParquetFile(path) as file:
            yield file.schema_arrow.names
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                # Python has no nanoseconds.
                columns = [one.cast(pa.string()) if str(one.type) in FINE else one for one in batch.columns]
                forms = [_of_nanoseconds if str(one.type) in FINE else _of_parquet for one in batch.columns]
                for row in zip(*map(_values_of, columns), strict=True):
                    yield [] if ... in row else [form(value) for form, value in zip(forms, row, strict=True)]
    except (pa.ArrowException, OverflowError, OSError) as error:
        msg = f"pyarrow cannot read it ({' '.join(str(error).split())})"
        raise ValueError(msg) from None


def _values_of(column: Any) -> list[Any]:
    """Return the values of a column of Parquet; of one whose text is not UTF-8, an ellipsis."""
    with contextlib.suppress(UnicodeDecodeError):
        return list(column.to_pylist(maps_as_pydicts="lossy"))
    found = list[Any]([...] * len(column))
    for at, value in enumerate(column):
        with contextlib.suppress(UnicodeDecodeError):
            found[at] = value.as_py(maps_as_pydicts="lossy")
    return found


# --- values: null, booleans, texts, numbers as they are written, objects and arrays

FINE = {"timestamp[ns]", "timestamp[ns, tz=UTC]", "time64[ns]"}
NUMBER = re.compile(r"([-+]?\d+(?:\.\d+)?)(?:[eE][-+]?\d+)?", re.ASCII)
DAY, CLOCK = r"(\d{4})(-?)(\d\d\2\d\d|W\d\d\2\d|\d{3})", r"(\d\d(?:(:?)\d\d(?:\5\d\d(?:[.,]\d{1,6}0*)?)?)?)"
MOMENT = re.compile(rf"{DAY}(?:[T ]{CLOCK}(Z|[-+]\d\d(?::?\d\d)?)?)?", re.ASCII)
# Whether there is a time of day, and a zone; the microseconds of a unit.
MOMENTS = {"DATE": (False, False), "TIMESTAMP": (True, False), "TIMESTAMPTZ": (True, True)}
EPOCHS = {"EPOCH_S": 10**6, "EPOCH_MS": 10**3}
WORDS = {"BOOLEAN": {"true", "false"}, "DOUBLE": {"NaN", "Infinity", "-Infinity"}}
NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
PLAIN_BYTES = set(map(chr, range(32, 127))) - set("\\'\"")


class _Num(str):
    """A number, as it is written. So it shows itself, inside of objects and arrays too."""

    __slots__ = ()
    __repr__ = str.__str__


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else _refuse(pairs, "each key once in an object")


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_Num, parse_int=_Num, parse_constant=_refuse)
# A table may have what no record of JSON has: NaN and Infinity, from Parquet.
OF_TABLES = json.JSONDecoder(object_pairs_hook=_object, parse_float=_Num, parse_int=_Num, parse_constant=_Num)


def _json(text: str) -> Any:
    """Return the value of a text; ValueError also where it has half of a surrogate pair: that has no bytes."""
    value = DECODER.decode(text)
    json.dumps(value, ensure_ascii=False).encode()
    return value


# A record has many rows.
@lru_cache(100_000)
def _written(kind: str, text: str) -> str | None:
    """Return how a type is written in CSV; None where it does not hold a text, or the text of a number, exactly."""
    if text in WORDS.get(kind, ()):
        return text
    number = _number(text)
    with contextlib.suppress(ValueError, ArithmeticError):
        if kind in MOMENTS:
            moment = _moment(text, *MOMENTS[kind])
            return _iso(moment) if moment else None
        if kind in EPOCHS:
            micros = number * EPOCHS[kind]
            is_whole = abs(micros) < 10**18 and micros == int(micros)
            return _iso(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))) if is_whole else None
        if kind == "DOUBLE":
            written = repr(float(number))
            return written if Decimal(written) == number else None
        if kind != "BOOLEAN" and number.is_finite():
            precision, scale = (19, 0) if kind == "BIGINT" else map(int, kind[8:-1].split(","))
            exact = Context(precision, traps=[Inexact, InvalidOperation]).quantize(number, Decimal((0, [1], -scale)))
            # There is no minus zero but that of a DOUBLE.
            return f"{exact + 0:f}" if kind != "BIGINT" or -(2**63) <= exact < 2**63 else None
    return None


def _moment(text: str, has_clock: bool, has_zone: bool) -> date | None:  # noqa: FBT001 - as MOMENTS has them
    """Return a day, or a moment, of ISO 8601; None for another text."""
    found = MOMENT.fullmatch(text.upper())
    if not found or (bool(found[4]), bool(found[6])) != (has_clock, has_zone):
        return None
    year, dash, of_year, clock, _, zone = found.groups()
    day = date(int(year), 1, 1) + timedelta(int(of_year) - 1) if len(of_year) == len("366") else None
    if day and day.year != int(year):
        return None
    day = day or date.fromisoformat(year + dash + of_year)
    if not clock:
        return day
    # 24:00 is the end of a day.
    is_end = clock[:2] == "24" and not clock[2:].strip(":0.,")
    clock = ("00" if is_end else clock[:2]) + clock[2:] + (zone or "")
    return datetime.combine(day, time.fromisoformat(clock)) + timedelta(is_end)


def _number(text: str) -> Decimal:
    """Return the value of a number; NaN for other texts, and where the exponent is more than a Decimal holds."""
    found = NUMBER.fullmatch(text)
    return Decimal((text if found[1].strip("+-0.") else found[1]) if found else "NaN")


def _iso(moment: date | time) -> str:
    """Return a day, a time of day, or a moment, which with a zone is in UTC."""
    if isinstance(moment, datetime) and moment.tzinfo:
        return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
    return moment.isoformat()


def _of_parquet(value: Any) -> Any:
    """Return a value of Parquet as one of JSON."""
    if isinstance(value, dict):
        return {_text_of(_of_parquet(key)): _of_parquet(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_of_parquet(inner) for inner in value]
    found: Any = value if value is None or isinstance(value, (bool, str)) else UNKNOWN
    if isinstance(value, (int, Decimal)) and found is UNKNOWN:
        found = _Num(f"{Decimal(value):f}")
    elif isinstance(value, float):
        found = NOT_FINITE.get(repr(value), _Num(value))
    elif isinstance(value, (date, time)):
        found = _iso(value)
    elif isinstance(value, bytes):
        found = "".join(chr(one) if chr(one) in PLAIN_BYTES else f"\\x{one:02X}" for one in value)
    return str(value) if isinstance(value, UUID) else found


def _of_nanoseconds(text: str | None) -> str | None:
    """Return a moment with nine digits of a second as Fanfold writes it: with nine, six or none."""
    return text and re.sub(r"\.0{9}|(?<=\.\d{6})000", "", text.replace(" ", "T"))


def _text_of(value: Any) -> str | None:
    """Return a scalar as text, as it is written; None for null, an object or an array."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None or isinstance(value, (dict, list)) else str(value)


def _leaves(value: Any) -> int:
    """Return the number of scalars in a value; null does not count."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return sum([_leaves(one) if isinstance(one, (dict, list)) else one is not None for one in inner])


def _value_at(value: Any, steps: Iterable[str]) -> Any:
    """Return what is at the end of a way through objects and arrays; None where it leads nowhere."""
    with contextlib.suppress(LookupError, ValueError, TypeError):
        for step in steps:
            value = value[int(step) if isinstance(value, list) else step]
        return value
    return None


def _elements(value: Any, way: Way, *, single: bool, is_element: bool = True) -> Iterator[Any]:
    """Yield a record, or the elements of the array at the end of a way, through arrays; `single` as in the spec."""
    if isinstance(value, list):
        for one in value:
            yield from _elements(one, way, single=single)
    elif way and isinstance(value, dict):
        yield from _elements(value.get(way[0]), way[1:], single=single, is_element=False)
    elif not way and (is_element or (single and value is not None)):
        yield value


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


# --- the rows that a record must make


# A record has many rows.
@lru_cache(16)
def _shown(text: Any) -> str:
    """Return the value of JSON in a table with numbers as they are written, and texts by their characters."""
    return repr(OF_TABLES.decode(text))


class _Cell:
    """A value that stands in its cell as JSON, a text of which that is not known, or a value of an unknown type."""

    def __init__(self, value: Any, column: "_Column | None" = None) -> None:
        """Take a value of a column; with none, any text may stand for it."""
        self._value, self._shown, self._column = value, repr(value), column

    def __repr__(self) -> str:
        """Show the value."""
        return self._shown

    def __eq__(self, text: object) -> bool:
        """Say whether a cell holds the value; the first text decides how texts stand in the column."""
        in_quotes = False
        with contextlib.suppress(ValueError, RecursionError, TypeError):
            in_quotes = _shown(text) == self._shown
        if self._column is None or not isinstance(self._value, str):
            return in_quotes or self._column is None
        if self._column.is_json is None and (in_quotes or text == self._value):
            self._column.is_json = in_quotes
        return in_quotes if self._column.is_json else text == self._value

    __hash__ = None  # type: ignore[assignment]


UNKNOWN = _Cell("what SQL makes, or a type that is not known")


class _Column:
    """A column, and how values stand in its cells: by its type or, where that is not declared, as they were written."""

    def __init__(self, column: Column, spec: Spec) -> None:
        """Look up the type. A column that has an object or array has JSON, and its texts stand in quotes."""
        declared = spec.input.fields.get(written(column.path)) if column.source == "record" else None
        is_typed = declared or column.type == "DOUBLE" or spec.output.format == "parquet"
        self.name, self.source, self.way = column.name, column.source, tuple(column.path or [column.name])
        kind = declared if declared in EPOCHS else column.type
        self._kind = kind if is_typed and kind != "VARCHAR" else None
        # Whether an object or array was seen. Whether texts stand as JSON: None until the first text.
        self.has_json, self.unknown = declared == "JSON", 0
        self.is_json = None if column.type == "VARCHAR" and declared in {None, "VARCHAR"} else declared == "JSON"

    def expect(self, value: Any) -> Any:
        """Return what is equal to the text of a cell that holds a value."""
        if isinstance(value, str) and not self._kind:
            return value if self.is_json is False or type(value) is _Num else _Cell(value, self)
        if value is None or value is UNKNOWN:
            self.unknown += value is UNKNOWN
            return value
        if isinstance(value, (dict, list)):
            self.has_json = True
            return _Cell(value, self)
        text = _Num(_text_of(value))
        return (_written(self._kind, text) or f"{text}, which {self._kind} does not hold") if self._kind else text


class _Row(NamedTuple):
    """A row that a record must make.

    `cells` are equal to those in the table, and None where the record is not in the sample; `rest` goes to `_rescued`.
    """

    place: tuple[str, int]
    item: str
    cells: list[Any] | None
    rest: dict[str, Any]

    def __str__(self) -> str:
        """Name its element."""
        return f"row of element {self.item}" if self.item else "row"


class _Trace:
    """What becomes of a record beside its rows."""

    def __init__(self, place: tuple[str, int]) -> None:
        """Begin with nothing: nothing is left out or lost, no amount counts for a total."""
        self.place, self.left_out, self.lost = place, list[Any](), list[Any]()
        self.amounts: list[tuple[str, Any]] = []


def _reach(tree: dict[str, Any], way: Way) -> dict[str, Any]:
    """Return what is at the end of a way through objects, which are made where they are not there."""
    for name in way:
        tree = tree.setdefault(name, {})
    return tree


class _References:
    """The references as they were joined, found by their keys."""

    def __init__(self, run: Run, committed: Manifest, found: Audit) -> None:
        """Read them."""
        self._spec, self.names, self.matches = run.feed.spec, dict[str, list[str]](), dict[str, Match]()
        self.arrays = [tuple(way) for table in committed.each_table.values() for way in table.explode]
        for merge, frozen in zip(self._spec.merge, committed.summary.references, strict=True):
            path = run.feed.kept_reference_path(frozen.path, frozen.sha256)
            read_by = {"records_at": "", "parse": [], "envelope": [], "encoding": merge.encoding, "csv": merge.csv}
            settings = self._spec.input.model_copy(update=read_by)
            is_intact = path.is_file() and _content(path)[1] == frozen.sha256
            self._read(merge, _records(path, path.name, settings, _Ahead()) if is_intact else ())
            if not is_intact:
                found.add("changed", (merge.reference, 0), f"{str(path)!r} is not the reference that was joined")

    def _read(self, merge: Merge, records: Iterable[Found]) -> None:
        """Put the records of a reference into a temporary database."""
        rows, names = sqlite3.connect(""), dict[str, None]()
        rows.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, record BLOB) WITHOUT ROWID")
        for _, record in records:
            names |= dict.fromkeys(record)
            key = [_text_of(record.get(name)) for name in merge.reference_keys]
            if None not in key:
                rows.execute("INSERT OR IGNORE INTO rows VALUES (?, ?)", [json.dumps(key), pickle.dumps(record)])
        self.names[merge.into] = merge.columns or [*names]

        @lru_cache(1000)
        def match(key: tuple[str | None, ...]) -> Any:
            found = rows.execute("SELECT record FROM rows WHERE key = ?", [json.dumps(key)]).fetchone()
            # They were written here a moment ago.
            return pickle.loads(found[0]) if found else None  # noqa: S301

        self.matches[merge.into] = match

    def level(self, way: Way) -> Way:
        """Return the way of the innermost array that a way leads into; that of a record is empty."""
        return max((array for array in self.arrays if way[: len(array)] == array), key=len, default=())

    def match(self, merge: Merge, element: Any) -> Any:
        """Return the record of a reference that a record, or an element, is joined to; None where there is none."""
        ways = [way_of(path) for path in merge.record_keys]
        key = tuple(_text_of(_value_at(element, way[len(self.level(way)) :])) for way in ways)
        return self.matches[merge.into](key) if None not in key else None

    def lacking(self, record: Any) -> list[Merge]:
        """Return the references that a record, or one of its elements, has no match in."""
        found, single = [], self._spec.denormalize.single
        for merge in self._spec.merge:
            elements = _elements(record, self.level(way_of(merge.record_keys[0])), single=single)
            found += [merge] if any(self.match(merge, one) is None for one in elements) else []
        return found


class _Rows:
    """What rows of a table a record must make, by the columns, the arrays that explode, and the references."""

    def __init__(self, spec: Spec, committed: Manifest, name: str, references: _References) -> None:
        """Look up where each field goes."""
        tables, self.table, self._references = committed.each_table, committed.each_table[name], references
        self._spec, self.columns = spec, [_Column(column, spec) for column in self.table.columns]
        self.name, self.chosen = name, spec.flat_tables[name]
        self._is_declared = spec.input.schema_mode == "declared"
        self.blank = [UNKNOWN if column.expression else None for column in self.table.columns]
        self._own = {column.name: slot for slot, column in enumerate(self.columns) if column.source == "fanfold"}
        # The record itself, and each array inside of it that explodes here, and whether its fields stand here. The
        # fields of each: the number of a column, the fields of an object, or -n for array n. What is declared and left
        # out has the number behind the last column, what stands in another table one more.
        self._arrays = [(), *map(tuple, self.table.explode)]
        ends = [tuple(one.explode[-1]) if one.explode else () for one in tables.values()]
        self._here = [way == self._arrays[-1] or way not in ends for way in self._arrays]
        self._trees = list[dict[str, Any]]({} for _ in self._arrays)
        self._end = len(self.columns)
        slots: dict[Way, int] = {way_of(path): self._end for path in spec.input.fields}
        others = [column for one in tables.values() for column in one.columns if column.source == "record"]
        slots |= {tuple(column.path): self._end + 1 for column in others}
        slots |= {column.way: slot for slot, column in enumerate(self.columns) if column.source == "record"}
        slots = {way: slot for way, slot in slots.items() if references.level(way) in self._arrays}
        around = [way for way in references.arrays if references.level(way[:-1]) in self._arrays]
        inner = {way: -self._arrays.index(way) if way in self._arrays else self._end + 1 for way in around}
        for way, slot in [*slots.items(), *inner.items()]:
            level = self._level(way, len(self._arrays) if slot >= 0 else -slot)
            # An element that is not an object is put as the only field of one.
            steps = way[len(self._arrays[level]) :] or (ELEMENT,)
            _reach(self._trees[level], steps[:-1])[steps[-1]] = slot
        levels = {merge.into: references.level(way_of(merge.record_keys[0])) for merge in spec.merge}
        self._joins = [[merge for merge in spec.merge if levels[merge.into] == way] for way in self._arrays]
        self._joined = {
            into: [slot for slot, column in enumerate(self.columns) if column.source == into] for into in levels
        }
        self._totals = {slots[way_of(path)]: path for path in self.table.totals}
        self.sums = dict.fromkeys(self.table.totals, Decimal(0))
        # Where each field of an object was first, by file, record and place; the keys that objects have together.
        self._first, self._shapes, self._counter = dict[tuple[int, str], Any](), set[tuple[Any, ...]](), count()
        # The one that is read: the members of an archive stand with it.
        self.file = ""

    def _level(self, way: Way, end: int) -> int:
        """Return the innermost of the first arrays that a way leads into."""
        return max(i for i, array in enumerate(self._arrays[:end]) if way[: len(array)] == array)

    def begin(self) -> None:
        """Begin with the files of a subdirectory, by their names."""
        self._shapes.clear()

    def of(self, record: dict[str, Any], trace: _Trace) -> Iterator[_Row]:
        """Yield the rows of a record, in their order; the trace is complete with the last one."""
        return self._rows(trace, record, _Row(trace.place, "", self.blank, {}), 0)

    def _rows(self, trace: _Trace, value: Any, above: _Row, level: int) -> Iterator[_Row]:
        """Yield the rows of a record or, at a deeper level, of an element; `above` has what is around it."""
        cells, rest, tree, way = [*(above.cells or ())], above.rest, self._trees[level], self._arrays[level]
        for merge in self._joins[level]:
            found = self._references.match(merge, value)
            for slot in self._joined[merge.into]:
                cells[slot] = self.columns[slot].expect(_value_at(found, self.columns[slot].way))
        amounts, trace.amounts = trace.amounts, []
        left = self._put(tree, {ELEMENT: value} if ELEMENT in tree else value, cells, trace)
        amounts, trace.amounts = trace.amounts, amounts
        if left is not None and self._here[level]:
            rest = self._keep(left, rest, level, trace)
        inner_way = self._arrays[level + 1] if level + 1 < len(self._arrays) else None
        array = _value_at(value, inner_way[len(way) :]) if inner_way else None
        if self._spec.denormalize.single and not isinstance(array, list | None):
            array = [array]
        if isinstance(array, list) and array:
            for position, element in enumerate(array, start=1):
                item = f"{above.item}.{position}" if level else str(position)
                for row in self._rows(trace, element, _Row(above.place, item, cells, rest), level + 1):
                    # What has no row here does not count.
                    trace.amounts += amounts
                    amounts = []
                    yield row
            return
        trace.lost.append(array)
        if not self._here[level]:
            return
        trace.amounts += amounts
        if self._own:
            own = dict(
                zip(OWN_COLUMNS, (rest or None, above.place[0], _Num(above.place[1]), above.item or None), strict=True)
            )
            for name, slot in self._own.items():
                cells[slot] = self.columns[slot].expect(own[name])
        yield _Row(above.place, above.item, cells, rest)

    def _keep(self, left: Any, rest: dict[str, Any], level: int, trace: _Trace) -> dict[str, Any]:
        """Note what has no column; return what goes to `_rescued`, with what is around it."""
        if not self._is_declared:
            (trace.lost if self.chosen.columns is None else trace.left_out).append(left)
            return rest
        if not level:
            return dict(left)
        rest, way = copy.deepcopy(rest), self._arrays[level]
        _reach(rest, way[:-1])[way[-1]] = left
        return rest

    def _put(self, tree: dict[str, Any], value: Any, cells: list[Any], trace: _Trace) -> Any:
        """Put what is in an object into its cells; return what has none, None if there is nothing."""
        if not isinstance(value, dict):
            return value if _leaves(value) else None
        rest, shape = {}, (id(tree), *value)
        if shape not in self._shapes:
            self._note(shape, trace.place)
        for key, inner in value.items():
            slot = tree.get(key)
            if slot is None:
                rest[key] = inner
            elif type(slot) is dict:
                if (left := self._put(slot, inner, cells, trace)) is not None:
                    rest[key] = left
            elif slot == self._end:
                trace.left_out.append(inner)
            elif 0 <= slot < self._end:
                cells[slot] = self.columns[slot].expect(inner)
                if slot in self._totals:
                    trace.amounts.append((self._totals[slot], inner))
        return rest or None

    def _note(self, shape: tuple[Any, ...], place: tuple[str, int]) -> None:
        """Note where the fields of an object were first. A declared schema has an order of its own."""
        if not self._is_declared and len(self._shapes) < MOST_SHAPES:
            self._shapes.add(shape)
        for key in shape[1:] if not self._is_declared else ():
            here = (self.file, *place, next(self._counter))
            self._first[shape[0], key] = min(self._first.get((shape[0], key), here), here)

    def rank(self, column: "_Column") -> list[tuple[Any, ...]]:
        """Return what columns are sorted by: what is declared comes first, then the others as they first appeared."""
        sources, tree = ["record", *(merge.into for merge in self._spec.merge), "fanfold"], self._trees[0]
        if column.source != "record":
            names = {**self._references.names, "fanfold": OWN_COLUMNS}[column.source]
            return [(sources.index(column.source),), ([*names, column.way[0]].index(column.way[0]),)]
        ways = [way_of(path) for path in self._spec.input.fields]
        declared, ranks = [way[:size] for way in ways for size in range(1, len(way) + 1)], [(0,)]
        for size, key in enumerate(column.way, start=1):
            way, first = column.way[:size], self._first.get((id(tree), key))
            ranks.append((0, declared.index(way)) if way in declared else (1, *first) if first else (2,))
            tree = self._trees[-tree[key]] if type(tree[key]) is int and tree[key] < 0 else tree[key]
        return ranks


# --- tables, quarantine and manifest

# A difference is explained by the rows ahead; a table with more differences than this is not followed to its end.
ROWS_AHEAD, MOST_FINDINGS, MOST_SHAPES = 1000, 50, 10_000
# With these codes, a record that can be read is in quarantine by mistake.
UNREADABLE = {
    "json": {
        "syntax",
        "nan",
        "trailing_comma",
        "duplicate_key",
        "lone_surrogate",
        "bad_utf8",
        "wrong_encoding",
        "control_character",
    },
    "csv": {"ragged_line", "bad_quote", "bad_utf8", "wrong_encoding"},
    "parquet": {"bad_utf8"},
}
# What else can be wrong with a record that cannot be read.
OF_TEXT = {
    "truncated", "trailing_garbage", "not_an_object", "wrong_type", "too_deep", "record_too_large", "too_many_values",
    "pointer_not_found",
}  # fmt: skip


class _Auditor:
    def __init__(self, run: Run, committed: Manifest, sample_percent: float) -> None:
        self._run, self._committed, self._spec, self.found = run, committed, run.feed.spec, Audit(run.ts)
        self._percent, self._unmatched, self._references = sample_percent, 0, _References(run, committed, self.found)
        self._tables = [_Rows(self._spec, committed, name, self._references) for name in committed.each_table]
        self._rows = self._tables[0]

    def check_subdir(self, n: str) -> None:
        """Compare tables and bad records of a subdirectory with what its originals call for: by name, by record."""
        files = sorted((f for f in self._committed.files if str(f.subdir) == n), key=lambda file: file.name)
        outputs = {one.name: one.table.outputs.get(n) for one in self._tables}
        for rows in self._tables:
            self._rows = rows
            output, bad, before = outputs[rows.name], _Ahead(self._bad_records(n)), copy.copy(self.found)
            rows.begin()
            expected = chain.from_iterable(self._expected(f, bad) for f in files)
            made = self._compare(output.path if output else "", expected)
            self._pass_others(bad)
            self.found.check(output.path if output else n, made, output.rows if output else 0)
            if rows is not self._tables[0]:
                # The originals are counted once.
                self.found.files, self.found.records, self.found.scalars = before.files, before.records, before.scalars
        sizes = len(files), sum(f.size_bytes for f in files), sum(f.records for f in files)
        counts = {name: one.rows if one else 0 for name, one in outputs.items()}
        paths = {name: one.path for name, one in outputs.items() if one}
        summary = SubdirSummary(*(sizes if paths else (0, 0, 0)), by_table(counts), by_table(paths) if paths else None)
        self.found.check(n, summary, self._committed.summary.subdirs.get(n))

    def _bad_records(self, n: str) -> Iterator[BadRecord]:
        """Yield the records that a subdirectory has in quarantine, and count them."""
        if listed := self._committed.quarantined.get(n):
            path, number = self._run.feed.data_dir / listed.path, 0
            try:
                with path.open("rb") as lines:
                    for line in lines:
                        yield BadRecord(**json.loads(line))
                        number += 1
            except (FileNotFoundError, ValueError, TypeError) as error:
                self.found.add("changed", (listed.path, 0), f"it cannot be read: {error}")
            self.found.check(listed.path, number, listed.rows)

    def _pass_others(self, bad: _Ahead[BadRecord], name: str | None = None) -> None:
        """Pass over the bad records that were not met, up to those of a file."""
        while bad.fill() and (name is None or bad[0].file <= name):
            (other,) = bad.take(1)
            self.found.add("extra", (other.file, other.record), "it is in quarantine, and the run read no such record")

    def _check_bad(self, bad: BadRecord, record: Any) -> None:
        """Check that a record is in quarantine for a reason; None: it cannot be read, which is one."""
        place, unreadable, is_wrong = (bad.source, bad.record), UNREADABLE[input_format(bad.source)], None
        is_json, ways = False, {way_of(path) for path in self._spec.input.parse}
        with contextlib.suppress(ValueError):
            record, is_json = _parsed(record, ways), True
        self.found.scalars += max(1, _leaves(record))
        if record is None:
            is_wrong = False
            if bad.code not in unreadable | OF_TEXT:
                self.found.add("changed", place, f"it cannot be bad as {bad.code}")
        elif bad.code in unreadable:
            is_wrong = True
        elif bad.code == "bad_json_text":
            is_wrong = is_json
        elif bad.code == "no_match":
            # Its values count for what columns have, too.
            deque(self._rows.of(record, _Trace(place)), maxlen=0)
            is_wrong = not any(merge.on_missing != "keep" for merge in self._references.lacking(record))
        elif bad.code in {"wrong_type", "inexact"}:
            kind = self._spec.input.fields.get(written(step for step in _steps(bad.pointer) if not step.isdecimal()))
            if kind:
                value = _value_at(record, _steps(bad.pointer))
                # A number is not a date, whatever its digits are.
                text = None if kind in MOMENTS and type(value) is _Num else _text_of(value)
                is_wrong = text is not None and (kind in {"VARCHAR", "JSON"} or _written(kind, text) is not None)
        self.found.not_audited[f"reasons of bad records ({bad.code})"] += is_wrong is None
        if is_wrong:
            self.found.add("extra", place, f"it is in quarantine as {bad.code}, and nothing is wrong with it")

    def _expected(self, file: ArchivedFile, bad: _Ahead[BadRecord]) -> Iterator[_Row]:
        """Yield the rows that an original must make, and check its bytes, and what of it is in quarantine."""
        path, records, passed = self._run.feed.data_dir / file.archived_as, 0, 0
        if not path.is_file():
            self.found.add("missing", (file.name, 0), f"{file.archived_as!r} is not there")
            return
        try:
            for source, found in self._sources(file, path, bad) if _makes_rows(file) else ():
                for number, (entry, record) in enumerate(found):
                    records += bool(number or entry)
                    passed += entry is not None
                    if entry and number:
                        self._check_bad(entry, record)
                    elif not entry:
                        yield from self._of_record(source, number, record)
        except (ValueError, *DAMAGE) as lost:
            self.found.add("changed", (file.name, records + 1), f"{lost}; the rest is not audited")
        self._pass_others(bad, file.name)
        self._check_file(file, path)
        self.found.records += records
        counted = (f"{records} records, {passed} bad", f"{file.records} records, {file.records_quarantined} bad")
        self.found.check(file.name, *counted)

    def _sources(
        self, file: ArchivedFile, path: Path, bad: _Ahead[BadRecord]
    ) -> Iterator[tuple[str, Iterable[tuple[BadRecord | None, Any]]]]:
        """Yield the name of a file, or of each member of an archive, with its records; 0 is one that is bad as such."""
        self._rows.file, ignored, is_taken = file.name, 0, taken_inside(file.name, self._spec.input.patterns)
        if not is_archive(file.name):
            yield file.name, self._records(file, path, file.name, bad)
            return
        as_such: Callable[[], Iterator[bytes]] = partial(repeat, b"", 0)
        for name, read in chain([("", as_such)], _packed(path)):
            if name and not (is_taken(name) and (OUTSIDE.search(name) or not HIDDEN.search(name))):
                ignored += 1
                continue
            source = manifest.source_file(file.name, name)
            is_bad = bad.fill() and (bad[0].source, bad[0].record) == (source, 0)
            code = bad[0].code if is_bad else ""
            if is_bad:
                is_first = self._rows is self._tables[0]
                self.found.not_audited["members of archives in quarantine (only their places)"] += is_first
                yield source, [(bad.popleft(), None)]
            if name and (not is_bad or code in UNREADABLE[input_format(name)]):
                with scratch_dir() as folder:
                    place = folder / f"member{Path(name).suffix}"
                    with place.open("wb") as target, contextlib.suppress(*DAMAGE):
                        target.writelines(read())
                    if is_bad:
                        self._check_unreadable(code, place, source)
                    else:
                        yield source, self._records(file, place, source, bad)
        counted = (f"{one} members that are not read" for one in (ignored, file.ignored.members if file.ignored else 0))
        self.found.check(file.name, *counted)

    def _records(self, file: ArchivedFile, path: Path, source: str, bad: _Ahead[BadRecord]) -> Iterator[Found]:
        """Yield the records of a file, or of a member."""
        of_subdir = self._bad_records(str(file.subdir)) if self._spec.input.envelope else iter(())
        again = _Ahead(one for one in of_subdir if one.source == source)
        return _records(path, source, self._spec.input, bad, again)

    def _check_unreadable(self, code: str | None, path: Path, name: str) -> None:
        """See whether a file, or a member, that is bad as a whole can be read all the same."""
        if code in UNREADABLE[input_format(name)]:
            with contextlib.suppress(ValueError):
                if len([*islice(_records(path, name, self._spec.input, _Ahead()), 2)]) > 1:
                    self.found.add("extra", (name, 1), f"it can be read, and is bad as {code}")

    def _check_file(self, file: ArchivedFile, path: Path) -> None:
        """Compare an original with its size and hash, and see whether a bad one can be read all the same."""
        self.found.files += 1
        content = _content(path, is_packed=packing(file.name, path.name) is not None)
        # A file that was too large to be read has no hash.
        if file.sha256 and content != (file.size_bytes, file.sha256):
            self.found.add("changed", (file.name, 0), f"found size and sha256 {content}, not those of the manifest")
        self.found.not_audited["files in quarantine (only their bytes are compared)"] += bool(file.code)
        if not is_archive(file.name):
            self._check_unreadable(file.code, path, file.name)

    def _of_record(self, file: str, number: int, record: dict[str, Any]) -> Iterator[_Row]:
        """Yield the rows of a good record; the fields of a file, which stand before its records, have none."""
        trace = _Trace((file, number))
        is_sampled = zlib.crc32(f"{file}:{number}".encode()) % 10_000 < self._percent * 100
        for row in self._rows.of(record, trace):
            if number:
                yield row if is_sampled else row._replace(cells=None)
                by_sql = sum(cell is UNKNOWN for cell in self._rows.blank)
                self.found.not_audited[SQL] += by_sql if is_sampled else 0
        if number:
            self.found.not_audited["records outside of the sample"] += not is_sampled
            self.found.scalars += _leaves(record) if is_sampled else 0
            self._check_trace(trace)
            if self._rows is self._tables[0]:
                self._check_match(trace.place, self._references.lacking(record))

    def _check_trace(self, trace: _Trace) -> None:
        """Count what a good record brings beside its rows, and name what it has no place for."""
        for path, amount in trace.amounts:
            self._rows.sums[path] += _number(str(amount or 0))
        key = f"{f'tables.{self._rows.name}' if self._rows.name else 'denormalize'}.columns"
        self.found.not_audited[f"values left out by {key}"] += _leaves(trace.left_out)
        for value in filter(_leaves, trace.lost):
            self.found.add("missing", trace.place, f"{str(value)[:80]!r} is in no column")

    def _check_match(self, place: tuple[str, int], lacking: list[Merge]) -> None:
        self._unmatched += bool(lacking)
        for merge in lacking:
            if merge.on_missing != "keep":
                self.found.add("extra", place, f"it has rows, and no match in {merge.reference!r}")

    def _table(self, path: str) -> Iterator[Cells]:
        """Yield the rows of a table as texts, once its columns are those of the manifest."""
        place, names = self._run.feed.data_dir / path, [column.name for column in self._rows.columns]
        try:
            with place.open("rb") as file:
                form, mark = self._spec.output.csv, file.read(3)
                file.seek(0)
                csv = _Csv(form.delimiter, '"', [form.null])
                lines = (cells for _, cells in _Text(file, MOST_LINE_BYTES).lines(NOTHING, csv))
                if form.escape_formulas:
                    lines = ([_unescaped(cell) for cell in cells] for cells in lines)
                if path.endswith(".parquet"):
                    names = [name or "_" for name in names]
                    lines = ([_text_of(value) for value in row] for row in _parquet_rows(place))
                elif mark and (mark == codecs.BOM_UTF8) != form.bom:
                    self.found.add("changed", (path, 0), f"it begins with {mark!r}, and output.csv.bom is {form.bom}")
                if (found := next(lines, [])) != names:
                    self.found.add("changed", (path, 0), f"found the columns {found}, expected {names}")
                yield from lines
        except (FileNotFoundError, ValueError) as error:
            self.found.add("changed", (path, 0), f"it cannot be read: {error}")

    def _compare(self, path: str, expected: Iterator[_Row]) -> int:
        """Compare the rows that are called for, which are counted, with those of a table."""
        wanted, there, recent = _Ahead(expected), _Ahead(self._table(path) if path else ()), deque[_Row]([], ROWS_AHEAD)
        made, most = 0, len(self.found.findings) + MOST_FINDINGS
        while any([wanted or wanted.fill(64), there or there.fill(64)]) and len(self.found.findings) < most:
            if wanted and there and _fits(wanted[0], there[0]):
                self.found.rows += 1
                made += 1
                there.popleft()
                recent.append(wanted.popleft())
                continue
            missing, extra = self._shift(wanted, there)
            made += min(missing, len(wanted))
            for row, cells in zip_longest(wanted.take(missing), there.take(extra)):
                self._explain(row, cells, recent, path)
        if wanted or there:
            self.found.not_audited[f"{path!r} behind {MOST_FINDINGS} differences"] += 1
        return made + len(wanted) + sum(1 for _ in expected)

    def _shift(self, wanted: _Ahead[_Row], there: _Ahead[Cells]) -> tuple[int, int]:
        """Return how many rows are missing or extra before the next two that fit; one of each where none do."""
        wanted.fill(ROWS_AHEAD)
        there.fill(ROWS_AHEAD)
        for k in range(1, ROWS_AHEAD if wanted and there else 1):
            if k < len(wanted) and _fits(wanted[k], there[0]):
                return k, 0
            if k < len(there) and _fits(wanted[0], there[k]):
                return 0, k
        return 1, 1

    def _explain(self, row: _Row | None, cells: Cells | None, recent: deque[_Row], path: str) -> None:
        """Say what is wrong with a row that is called for and one that is there, if anything is."""
        if row is None:
            of = next((one for one in recent if _fits(one, cells or [])), None)
            message = f"the row {','.join(map(str, cells or []))[:80]!r} in {path!r} comes from no record"
            self.found.add("doubled" if of else "extra", of.place if of else (path, 0), message)
        elif cells is None:
            self.found.add("missing", row.place, f"its {row} is not in {path!r}")
        else:
            if len(cells) != len(self._rows.columns):
                self.found.add("changed", row.place, f"its {row} has {len(cells)} cells, not one for each column")
            for column, expected, text in zip(self._rows.columns, row.cells or (), cells, strict=False):
                if expected != text:
                    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in column.way)
                    message = f"{column.name!r} is {text!r} in its {row}, expected {expected!r}"
                    self.found.add("changed", row.place, message, pointer)

    def check_columns(self) -> None:
        """Compare names and order of the columns with the fields that they come from, and with the spec."""
        for rows in self._tables:
            self._check_columns(rows)

    def _check_columns(self, rows: _Rows) -> None:
        chosen, names = rows.chosen.columns, [column.name for column in rows.columns]
        for column in rows.table.columns:
            above = [] if column.source == "record" else [column.source]
            if column.path and column.name != self._spec.denormalize.separator.join([*above, *column.path]):
                self.found.add("changed", (column.name, 0), f"the column of {written(column.path)!r} has another name")
        keys = [way_of(path) for path in rows.chosen.keys]
        ordered = [
            column.name for way in keys for column in rows.columns if (column.source, column.way) == ("record", way)
        ]
        if chosen:
            others = [name if isinstance(name, str) else next(iter(name)) for name in chosen]
            others += [name for name in OWN_COLUMNS if name in names]
        else:
            others = [column.name for column in sorted(rows.columns, key=rows.rank) if column.way not in keys]
        ordered += [name for name in dict.fromkeys(others) if name not in ordered] if chosen else others
        # The fields of a duplicate have columns, too, and it is not read here.
        if any(not (file.duplicate_of or self._run.ts).startswith(self._run.ts) for file in self._committed.files):
            self.found.not_audited["the order of the columns, with duplicates of files of other runs"] += 1
        elif names and names != ordered:
            place = f"tables.{rows.name}.columns" if rows.name else "denormalize.columns"
            self.found.add("changed", (place, 0), f"found the columns {names}, expected {ordered}")
        for one in rows.columns:
            if one.is_json not in {None, one.has_json}:
                message = f"texts {'stand' if one.is_json else 'do not stand'} in quotes there, as JSON"
                self.found.add("changed", (one.name, 0), message)

    def check_contents(self) -> None:
        """Look for contents that made rows twice, or nowhere, over all complete runs of the feed."""
        # Run and file of each content that is not a duplicate; what was replayed is a duplicate of nothing.
        makers: dict[tuple[object, ...], list[tuple[str, ArchivedFile]]] = {}
        is_named = self._spec.input.identity == "name_and_content"

        def key(file: ArchivedFile) -> tuple[object, ...]:
            mark = file.name if is_named else str(sorted(_given(self._spec.input, file.name).items()))
            return file.size_bytes, file.sha256, mark

        for path in sorted(self._run.feed.commits_dir.glob("[!.]*.json")):
            own = path.stem == self._run.ts
            for file in (self._committed if own else manifest.read(path, Manifest)).files:
                if not file.duplicate_of:
                    makers.setdefault(key(file), []).append((path.stem, file))
        for file in self._committed.files:
            found = makers.get(key(file), [])
            others = [f"{ts}/{f.name}" for ts, f in found if f is not file and _makes_rows(f) and not f.replay_of]
            if file.duplicate_of and not found and self._waits(file, file.duplicate_of):
                self.found.not_audited["duplicates of a file that waits to be read"] += 1
            elif file.duplicate_of and not found:
                message = f"it made no rows, and {file.duplicate_of!r} does not have its bytes"
                self.found.add("missing", (file.name, 0), message)
            elif others and _makes_rows(file) and not file.replay_of and self._spec.input.duplicates != "process":
                self.found.add("doubled", (file.name, 0), f"it has the bytes of {others[0]!r}, and both have rows")

    def _waits(self, file: ArchivedFile, original: str) -> bool:
        """Say whether a content is staged under a name in an unfinished run, or was released from one into landing."""
        (ts, _, name), feed = original.partition("/"), self._run.feed
        staged = [folder / name for folder in feed.staging_dir.glob("*/[0-9]*")]
        places = [*staged, feed.landing_dir / name, feed.run(ts).archive_path(name)]
        return (file.size_bytes, file.sha256) in (_content(path) for path in places if path.is_file())

    def check_counts(self) -> None:
        """Compare what was counted with the sums of the manifest."""
        summary, files = self._committed.summary, self._committed.files
        bad = sum(file.code is not None for file in files)
        self.found.check(
            "files",
            (len(files), len(files) - bad, bad),
            (summary.files_in, summary.files_archived, summary.files_quarantined),
        )
        self.found.check("bytes_in", sum(file.size_bytes for file in files), summary.bytes_in)
        self.found.check("records_in", self.found.records, summary.records_in)
        bad_records = sum(file.records_quarantined for file in files)
        self.found.check("records_quarantined", bad_records, summary.records_quarantined)
        self.found.check("records_unmatched", self._unmatched, summary.records_unmatched)
        for rows in self._tables:
            counted = sum(output.rows for output in rows.table.outputs.values())
            self.found.check("rows_out", counted, of_table(summary.rows_out)[rows.name])
            self.found.not_audited[SQL] += sum(column.unknown for column in rows.columns)
            for path, total in rows.table.totals.items():
                self.found.check(path, rows.sums[path], Decimal(total))
        self._check_drift()

    def _check_drift(self) -> None:
        """Compare the columns with those of the run before, where that is in this `data_dir`, too."""
        if (drift := self._committed.drift) and (path := self._run.feed.run(drift.since).commit_path).exists():
            tables = (one.each_table.items() for one in (manifest.read(path, Manifest), self._committed))
            before, now = (
                {f"{name}.{one.name}" if name else one.name: one.type for name, of in run for one in of.columns}
                for run in tables
            )
            self.found.check("drift.added", [name for name in now if name not in before], drift.added)
            self.found.check("drift.dropped", [name for name in before if name not in now], drift.dropped)
            both = [name for name in now if name in before]
            retyped = [f"{name}: {before[name]} > {now[name]}" for name in both if before[name] != now[name]]
            self.found.check("drift.retyped", retyped, drift.retyped)
            self.found.check("drift.reordered", both != [name for name in before if name in now], drift.reordered)


def _makes_rows(file: ArchivedFile) -> bool:
    return not file.code and not file.duplicate_of


def _fits(row: _Row, cells: Cells) -> bool:
    return row.cells is None or row.cells == cells
