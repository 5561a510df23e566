"""One door for all formats: the records of a file, judged by the core in C, good and bad."""

import base64
import contextlib
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from fanfold.faults import OF_SIZE, OF_VALUES, UnreadableError, shortened, steps
from fanfold.input_formats import compression, input_format, is_archive
from fanfold.manifest import BadFile, BadRecord, Ignored, source_file
from fanfold.native import Excluded as Unwanted
from fanfold.native import Field, Form, Joined, Others, Piece, Reader, Wrong
from fanfold.native.fields import type_of
from fanfold.native.tables import key_parts
from fanfold.path_columns import path_columns
from fanfold.records.content import windows
from fanfold.records.encodings import UTF_8, as_it_was
from fanfold.records.header import dialect_of, other_delimiter
from fanfold.spec.merge import Merge
from fanfold.spec.model import Spec
from fanfold.spec.paths import way_of, written
from fanfold.working_files import Excluded

MAX_FIELDS = 10_000
# More of a header is not looked at for other delimiters.
MOST_HEAD_BYTES = 4096


class FileRead(NamedTuple):
    """What one file holds.

    Attributes:
        records: their number, good and bad.
        bad: the number of bad ones.
        first: the first fault.
        is_bad: whether no record of the file can be read: it is bad as a whole, and `first` says why.
        sha256: of its bytes on disk; empty where it is too large to be read.
        unmatched: good records without a match in some reference.
        hint: what to ask the spec, where it looks as if the delimiter of CSV were another one.
        ignored: the members of an archive that are not read.
    """

    records: int = 0
    bad: int = 0
    first: BadFile | None = None
    is_bad: bool = False
    sha256: str = ""
    unmatched: int = 0
    hint: str = ""
    ignored: Ignored | UnsetType = UNSET


class Rules(NamedTuple):
    """What records are read by.

    Attributes:
        record: their fields; None where nothing is known of them.
        others: what becomes of other fields.
        joins: the references that they are joined to.
        excluded: what no good record has.
        arrays: those that explode.
    """

    record: Field | None
    others: Others
    joins: Sequence[Joined] = ()
    excluded: Sequence[Excluded] = ()
    arrays: Sequence[Sequence[str]] = ()


class Door:
    """Reads one file after the other, of any format, by the same rules; `found` says what the last one holds."""

    def __init__(self, data_dir: Path, spec: Spec, rules: Rules) -> None:
        """Begin; nothing outside of `data_dir` is read."""
        self._data_dir, self._spec, self._rules = data_dir, spec, rules
        self._readers: dict[str, Reader] = {}
        self.found = FileRead()
        # Where the file is an archive: the member that the last piece is of, and why that cannot be read.
        self.member: str | None = None
        self.fault: BadFile | None = None

    def reader(self, name: str) -> Reader:
        """Return a reader for files of a format."""
        kind, settings, rules = input_format(name), self._spec.input, self._rules
        if kind not in self._readers:
            at, around = (settings.records_at, settings.envelope) if kind == "json" else ("", [])
            form = Form(
                *(kind == "csv", at, settings.max_record_bytes, MAX_FIELDS),
                parsed=[*map(way_of, settings.parse)],
                single=[*map(tuple, rules.arrays)] if self._spec.denormalize.single else [],
                around=[*map(way_of, around)],
                dialect=dialect_of(settings.csv),
            )
            unwanted = [Unwanted(one.form.path, one.form.kinds, one.form.inside, one.code) for one in rules.excluded]
            self._readers[kind] = Reader(rules.record, rules.others, form, joins=rules.joins, excluded=unwanted)
        return self._readers[kind]

    def read(self, name: str, path: str, sha256: str | None = None) -> Iterator[Piece]:
        """Yield what comes of the records of a file, from end to end; then `found` says what it holds.

        What was yielded counts for nothing where the file turns out to be bad as a whole.

        Args:
            name: of the file in landing; merged records tell it.
            path: where it lies.
            sha256: of its bytes on disk, where it is known.
        """
        self.member = self.fault = None
        if is_archive(name):
            from fanfold.records import packed

            yield from packed.read(self, packed.Packed(self._data_dir, self._spec, name, path, sha256))
        else:
            yield from self.read_file(name, path, sha256)

    def read_file(
        self, name: str, path: str, sha256: str | None = None, cut: UnreadableError | None = None
    ) -> Iterator[Piece]:
        """Yield the records of a file that is not an archive, as `read` does; `cut` says that the file is cut short."""
        digest, damage, held, lines, head = hashlib.sha256(), list[BadFile](), bytearray(), 1, b""
        # What may end in half of what it is made of may have a last line that is not a record.
        may_be_cut = cut or compression(name) or self._spec.input.encoding != UTF_8

        def content() -> Iterator[bytes]:
            nonlocal lines, head
            try:
                found = self._windows(name, path, digest.update if not sha256 else _ignore)
                has_lines = may_be_cut and input_format(name) == "csv"
                most = self._spec.input.max_record_bytes
                for window in _whole_lines(found, held, most, is_cut=bool(cut)) if has_lines else found:
                    lines += window.count(b"\n") if may_be_cut else 0
                    head = head or window[:MOST_HEAD_BYTES]
                    yield window
                if cut:
                    raise cut
            except UnreadableError as error:
                # The error itself would keep what was decompressed.
                damage.append(BadFile(name, error.code, str(error)))

        reader, first, last, readable = self.reader(name), None, "", False
        given = path_columns(self._spec.input, name)
        for piece in reader.read(name.encode(), content(), given, _ahead(path, self._spec.input.encoding)):
            if piece.wrong:
                piece.wrong[:] = [self._named(name, one) for one in piece.wrong]
                first, last = first or piece.wrong[0], piece.wrong[-1].code
                readable = readable or any(one.record and one.code in OF_VALUES for one in piece.wrong)
            yield piece
        sha256 = sha256 or digest.hexdigest()
        counts = reader.counts
        records, bad, size, unmatched = counts.records, counts.bad, counts.bytes, counts.unmatched
        for fault in damage:
            if fault.code != "truncated":
                sha256 = "" if fault.code in OF_SIZE else sha256
                self.found = FileRead(first=fault, is_bad=True, sha256=sha256)
                return
            if last != "truncated":
                records, bad, rest = records + 1, bad + 1, fault.message.partition(", expected ")[2]
                end = Wrong(fault.code, records, lines, size, lines, size, len(held), "", b"", rest, bytes(held))
                # Where the end came before any record, that is what is wrong, not that there is none.
                first = first if first and records > 1 else end
                yield Piece(b"", [end])
        is_bad = first is not None and bad == records and not readable
        said, hint = self.bad_file(name, first) if first else None, self._hint(name, head)
        self.found = FileRead(records, bad, said, is_bad, sha256, unmatched, hint)

    def _windows(self, name: str, path: str, update: Callable[[bytes], object]) -> Iterator[bytes]:
        if input_format(name) == "parquet":
            from fanfold import parquet

            for _ in windows(path, update):
                pass
            # A file without rows is not at fault: it is an array without elements.
            lines = parquet.windows(Path(path))
            return itertools.chain([next(lines, b"[]")], lines)
        return windows(path, update, self._spec.input.encoding)

    def _named(self, name: str, wrong: Wrong) -> Wrong:
        """Return a fault with its name in the encoding of the file."""
        encoding = self._spec.input.encoding
        if wrong.code != "bad_utf8" or input_format(name) == "parquet":
            return wrong
        if encoding == UTF_8:
            return wrong._replace(expected="UTF-8, or the name of another encoding, as in input.encoding: latin-1")
        return wrong._replace(code="wrong_encoding", found=as_it_was(wrong.found, encoding), expected=encoding)

    def _hint(self, name: str, head: bytes) -> str:
        """Say where the beginning of a file looks as if its delimiter were another one; else nothing."""
        settings = self._spec.input.csv
        if input_format(name) != "csv" or not settings.header:
            return ""
        lines = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").splitlines() or [b""]
        return other_delimiter(lines[0].decode(errors="replace"), settings.delimiter)

    def bad_file(self, name: str, wrong: Wrong) -> BadFile:
        """Describe a bad file by the fault of one of its records."""
        line, offset, *_ = _place(name, wrong)
        return BadFile(name, wrong.code, self._message(wrong), line, offset, wrong.pointer)

    def bad_record(self, name: str, wrong: Wrong) -> BadRecord:
        """Describe a bad record of the file that is read, or a member of it that is bad as a whole."""
        raw, packed, source = None, None, source_file(name, self.member)
        if self._spec.quarantine.raw and wrong.raw:
            try:
                raw = wrong.raw.decode()
            except UnicodeDecodeError:
                packed = base64.b64encode(wrong.raw).decode()
        size = 0 if input_format(source) == "parquet" else wrong.size
        place, message = _place(source, wrong), self.fault.message if self.fault else self._message(wrong)
        return BadRecord(name, wrong.record, *place, wrong.pointer, wrong.code, message, size, raw, packed, self.member)

    def _message(self, wrong: Wrong) -> str:
        for one in self._rules.excluded:
            if one.code == wrong.code and _leads_to(wrong.pointer, one.form.path, inside=one.form.inside):
                return one.message
        message, found = wrong.message, wrong.found.decode(errors="replace")
        names = [step for step in steps(wrong.pointer) if not step.isdecimal()]
        if wrong.code == "no_match":
            index, merge = self.reference_of(wrong)
            key = key_text(merge, wrong.found) if found else "nothing"
            wanted = f"a key of {merge.reference!r} (merge.{index}.on_missing)"
            message = f"found {key} in {', '.join(map(repr, merge.record_keys))}, expected {wanted}"
        elif wrong.code == "too_many_fields":
            message = f"found {found}, expected at most {MAX_FIELDS:,} fields in a run"
            if names[:-1]:
                message += f": if the keys there are data, declare input.fields {{{written(names[:-1])}: JSON}}"
        elif wrong.code == "bad_json_text":
            message += f" in the JSON of the text at {wrong.pointer!r} (input.parse)"
        elif declared := self._spec.input.fields.get(written(names)):
            _, precision, scale = type_of(declared)
            digits = f"of at most {precision - scale} digits before the point and {scale} behind it ({declared})"
            message = message.replace("(DECIMAL)", digits)
        return shortened(message)

    def reference_of(self, wrong: Wrong) -> tuple[int, Merge]:
        """Return the reference that a record has no match in: the first one by which it is bad."""
        required = [(index, one) for index, one in enumerate(self._spec.merge) if one.on_missing != "keep"]
        return next((one for one in required if _leads_to(wrong.pointer, way_of(one[1].record_keys[0]))), required[0])


def key_text(merge: Merge, key: bytes) -> str:
    """Return the key of a reference as messages show it: the text of each part."""
    parts = [key] if len(merge.record_keys) == 1 else key_parts(key)
    return ", ".join(repr(part.decode(errors="replace")) for part in parts)


def _ahead(path: str, encoding: str) -> Iterator[bytes]:
    """Yield a file once more, as far as it can be decompressed."""
    with contextlib.suppress(UnreadableError):
        yield from windows(path, _ignore, encoding)


def _ignore(_window: bytes) -> None:
    """Take bytes whose hash is known."""


def _place(name: str, wrong: Wrong) -> tuple[int, int, int, int]:
    """Return line and offset of a fault, and of its record; a row of Parquet has no place but its number."""
    if input_format(name) == "parquet":
        return wrong.record, 0, wrong.record, 0
    return wrong.line, wrong.offset, wrong.record_line, wrong.record_offset


def _whole_lines(found: Iterator[bytes], held: bytearray, max_bytes: int, *, is_cut: bool) -> Iterator[bytes]:
    """Yield whole lines: where CSV is known to be cut short, what it ends in, left in `held`, is not a record."""
    for window in found:
        held += window
        end = held.rfind(b"\n") + 1 or (len(held) if len(held) > max_bytes else 0)
        if end:
            yield bytes(held[:end])
            del held[:end]
    if held and not is_cut:
        yield bytes(held)


def _leads_to(pointer: str, path: Sequence[str], *, inside: bool = False) -> bool:
    """Say whether a JSON pointer leads to a path, or to an element there; other indexes stand in the pointer alone."""
    names, is_element = list(path), False
    for step in steps(pointer):
        is_element = step.isdigit() and names[:1] != [step]
        if not is_element and (not names or names.pop(0) != step):
            return False
    return not names and is_element == inside
