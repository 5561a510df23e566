"""One door for all formats: the records of a file, judged by the core in C, good and bad."""

import base64
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fanfold.faults import OF_SIZE, OF_VALUES, UnreadableError, shortened
from fanfold.layout import COMPRESSIONS, input_format
from fanfold.manifest import BadFile, BadRecord
from fanfold.native import Excluded as Unwanted
from fanfold.native import Field, Form, Joined, Others, Piece, Reader, Wrong
from fanfold.records.content import windows
from fanfold.spec.model import Merge, Spec
from fanfold.working_files import Excluded

MAX_FIELDS = 10_000


class FileRead(NamedTuple):
    """What one file holds.

    Attributes:
        records: their number, good and bad.
        bad: the number of bad ones.
        first: the first fault.
        is_bad: whether no record of the file can be read: it is bad as a whole, and `first` says why.
        sha256: of its bytes on disk; empty where it is too large to be read.
        unmatched: good records without a match in some reference.
    """

    records: int
    bad: int
    first: BadFile | None
    is_bad: bool
    sha256: str
    unmatched: int


class Rules(NamedTuple):
    """What records are read by: their fields, what becomes of others, what is joined, what no good record has."""

    record: Field | None
    others: Others
    joins: Sequence[Joined] = ()
    excluded: Sequence[Excluded] = ()
    max_fields: int = MAX_FIELDS


class Door:
    """Reads one file after the other, of any format, by the same rules."""

    def __init__(self, data_dir: Path, spec: Spec, rules: Rules) -> None:
        """Note the rules; nothing outside of `data_dir` is read."""
        self._data_dir, self._spec, self._rules = data_dir, spec, rules
        self._readers: dict[bool, Reader] = {}
        self.found = FileRead(0, 0, None, is_bad=False, sha256="", unmatched=0)

    def reader(self, name: str) -> Reader:
        """Return what reads files of a format."""
        csv = input_format(name) == "csv"
        if csv not in self._readers:
            settings, rules = self._spec.input, self._rules
            at = "" if csv or input_format(name) == "parquet" else settings.records_at
            form = Form(csv, at, settings.max_record_bytes, rules.max_fields)
            unwanted = [Unwanted(one.form.path, one.form.kinds, one.form.inside, one.code) for one in rules.excluded]
            self._readers[csv] = Reader(rules.record, rules.others, form, joins=rules.joins, excluded=unwanted)
        return self._readers[csv]

    def read(self, name: str, path: str, sha256: str | None = None) -> Iterator[Piece]:
        """Yield what comes of the records of a file, from end to end; then `found` says what it holds.

        What was yielded counts for nothing where the file turns out to be bad as a whole.

        Args:
            name: of the file in landing; merged records tell it.
            path: where it lies.
            sha256: of its bytes on disk, where it is known.
        """
        digest, damage, lines, is_packed = hashlib.sha256(), list[BadFile](), 1, name.endswith(COMPRESSIONS)
        held = bytearray()

        def content() -> Iterator[bytes]:
            nonlocal lines
            try:
                for window in self._windows(name, path, _nothing if sha256 else digest.update, held):
                    lines += window.count(b"\n") if is_packed else 0
                    yield window
            except UnreadableError as error:
                # The error itself would keep what was decompressed.
                damage.append(BadFile(name, error.code, str(error)))

        reader, first, last, readable = self.reader(name), None, "", False
        for piece in reader.read(name.encode(), content()):
            if piece.wrong:
                first, last = first or piece.wrong[0], piece.wrong[-1].code
                readable = readable or any(one.record and one.code in OF_VALUES for one in piece.wrong)
            yield piece
        counts = reader.counts
        records, bad, unmatched = counts.records, counts.bad, counts.unmatched
        if damage and damage[0].code != "truncated":
            hashed = "" if damage[0].code in OF_SIZE else sha256 or digest.hexdigest()
            self.found = FileRead(0, 0, damage[0], True, hashed, 0)  # noqa: FBT003
            return
        if damage and last != "truncated":
            cut = _cut_short(records + 1, lines, counts.bytes, damage[0].message, bytes(held))
            # Where the end came before any record, that is what is wrong, not that there is none.
            first, records, bad = first if records and first else cut, records + 1, bad + 1
            yield Piece(b"", [cut])
        fault = self.bad_file(name, first) if first else None
        is_bad = first is not None and bad == records and not readable
        self.found = FileRead(records, bad, fault, is_bad, sha256 or digest.hexdigest(), unmatched)

    def _windows(self, name: str, path: str, update: Callable[[bytes], object], held: bytearray) -> Iterator[bytes]:
        if input_format(name) != "parquet":
            found = windows(path, update)
            is_packed = input_format(name) == "csv" and name.endswith(COMPRESSIONS)
            return _whole_lines(found, held, self._spec.input.max_record_bytes) if is_packed else found
        from fanfold.engine import parquet

        for _ in windows(path, update):
            pass
        return or_nothing(parquet.windows(Path(path), self._data_dir))

    def bad_file(self, name: str, wrong: Wrong) -> BadFile:
        """Describe a file by the fault of one of its records."""
        if input_format(name) == "parquet":
            return BadFile(name, wrong.code, self._message(wrong), wrong.record, 0, wrong.pointer)
        return BadFile(name, wrong.code, self._message(wrong), wrong.line, wrong.offset, wrong.pointer)

    def bad_record(self, name: str, wrong: Wrong) -> BadRecord:
        """Describe a bad record of a file."""
        raw, packed = None, None
        if self._spec.quarantine.raw and wrong.raw:
            try:
                raw = wrong.raw.decode()
            except UnicodeDecodeError:
                packed = base64.b64encode(wrong.raw).decode()
        place = (wrong.line, wrong.offset, wrong.record_line, wrong.record_offset)
        size = wrong.size
        if input_format(name) == "parquet":
            place, size = (wrong.record, 0, wrong.record, 0), 0
        message = self._message(wrong)
        return BadRecord(name, wrong.record, *place, wrong.pointer, wrong.code, message, size, raw, packed)

    def _message(self, wrong: Wrong) -> str:
        if wrong.code == "no_match":
            index, merge = self.reference_of(wrong)
            return shortened(
                f"found no match of {wrong.found.decode(errors='replace')!r}, expected one in {merge.reference!r} "
                f"(merge.{index}.on_missing)"
            )
        if wrong.code == "too_many_fields":
            return shortened(_crowded(wrong))
        for one in self._rules.excluded:
            if one.code == wrong.code and _leads_to(wrong.pointer, one.form.path, inside=one.form.inside):
                return one.message
        return shortened(wrong.message)

    def reference_of(self, wrong: Wrong) -> tuple[int, Merge]:
        """Return the reference that a record has no match in: the first one by which it is bad."""
        required = [(index, one) for index, one in enumerate(self._spec.merge) if one.on_missing != "keep"]
        return next((one for one in required if _leads_to(wrong.pointer, one[1].record_key.split("."))), required[0])


def or_nothing(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines of JSON; an array without an element where there is none: it is no fault."""
    yield next(lines, b"[]")
    yield from lines


def _whole_lines(found: Iterator[bytes], held: bytearray, max_bytes: int) -> Iterator[bytes]:
    """Yield whole lines: where compressed CSV is cut short, what it ends in, left in `held`, is not a record."""
    for window in found:
        held += window
        end = held.rfind(b"\n") + 1 or (len(held) if len(held) > max_bytes else 0)
        if end:
            yield bytes(held[:end])
            del held[:end]
    if held:
        yield bytes(held)


def _nothing(_window: bytes) -> None:
    """Take bytes whose hash is known."""


def _crowded(wrong: Wrong) -> str:
    """Say which field is one too many, and how an object whose keys are data is kept in one column."""
    way = [
        step.replace("~1", "/").replace("~0", "~") for step in wrong.pointer.split("/")[1:-1] if not step.isdecimal()
    ]
    found = f"found {wrong.found.decode(errors='replace')}, expected at most {MAX_FIELDS:,} fields in a run"
    return found + (f": if the keys there are data, declare input.fields {{{'.'.join(way)}: JSON}}" if way else "")


def _cut_short(number: int, line: int, offset: int, message: str, raw: bytes) -> Wrong:
    found, _, expected = message.removeprefix("found ").partition(", expected ")
    return Wrong("truncated", number, line, offset, line, offset, len(raw), "", found.encode(), expected, raw)


def _leads_to(pointer: str, path: Sequence[str], *, inside: bool = False) -> bool:
    """Say whether a JSON pointer leads to a path, or to an element there; other indexes stand in the pointer alone."""
    names, is_element = list(path), False
    for step in (step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]):
        is_element = step.isdigit() and names[:1] != [step]
        if not is_element and (not names or names.pop(0) != step):
            return False
    return not names and is_element == inside


def fields_of_csv(path: str) -> list[str]:
    """Return the names in the header of a CSV file.

    Raises:
        UnreadableError: it has no header.
    """
    reader = Reader(form=Form(csv=True))
    head = itertools.islice(windows(path, lambda _: None), 1)
    wrong = [one for piece in reader.read(b"", head) for one in piece.wrong if not one.record]
    if wrong:
        raise UnreadableError(wrong[0].code, wrong[0].message)
    return list(reader.seen.fields)
