"""The careful path: the records of files that the fast path cannot read, made clean, or set aside with the reason."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from fanfold.engine.scan import file_fault
from fanfold.engine.source import careful_records
from fanfold.layout import input_format
from fanfold.manifest import BadFile, RunSchema
from fanfold.records.canonical import FILE, RECORD_NUMBER, Misfit, canonical
from fanfold.records.diagnose import locate, token
from fanfold.records.faults import NOT_KEPT, OF_VALUES, Fault, UnreadableError, bad_record
from fanfold.records.forms import check_forms
from fanfold.records.json_records import Found
from fanfold.spec import Spec

# For each reference, by its place in the spec: what its key is in records that have no match.
Unmatched = Mapping[int, Collection[str | None]]


class Cleaned(NamedTuple):
    """What became of one file: its good and bad records, and why it is bad as a whole, if it is.

    `line_bytes` is the size of the largest clean line so far, those of other files included.
    """

    good: int
    bad: int
    fault: BadFile | None
    line_bytes: int = 0


class Cleaner:
    """Writes the good records of files as lines that the fast path reads, and the bad ones as lines of JSON."""

    def __init__(
        self,
        data_dir: Path,
        spec: Spec,
        schema: RunSchema,
        unmatched: Unmatched,
        clean: IO[bytes],
        bad: IO[bytes],
    ) -> None:
        """Note where to write."""
        self._data_dir, self._spec, self._schema, self._unmatched = data_dir, spec, schema, unmatched
        self._clean, self._bad = clean, bad
        self._line_bytes = 0
        self._keys = {i: spec.merge[i].record_key.split(".") for i in unmatched}

    def add(self, name: str, path: Path) -> Cleaned:
        """Read one file from end to end.

        A file of which no record can be read is bad as a whole: nothing of it is written.
        """
        clean_start, bad_start = self._clean.tell(), self._bad.tell()
        good = bad = 0
        first: BadFile | None = None
        readable = False
        try:
            for number, found in enumerate(careful_records(self._data_dir, path, self._spec), start=1):
                fault = found.fault or self._write(name, number, found)
                if fault is None:
                    good += 1
                    continue
                bad += 1
                readable = readable or fault.code in OF_VALUES
                first = first or file_fault(name, found.place, fault)
                self._set_aside(name, number, found, fault)
        except UnreadableError as error:
            first, readable, good = BadFile(name, error.code, str(error)), False, 0
        if first and not readable and not good:
            for file, start in ((self._clean, clean_start), (self._bad, bad_start)):
                file.seek(start)
                file.truncate()
            return Cleaned(0, 0, first)
        return Cleaned(good, bad, None, self._line_bytes)

    def _write(self, name: str, number: int, found: Found) -> Fault | None:
        record = found.value or {}
        try:
            check_forms(record, self._schema.excluded)
        except Misfit as misfit:
            return self._fault(name, found, misfit)
        for index, keys in self._unmatched.items():
            if _text_at(record, self._keys[index]) in keys:
                pointer = "".join(map(token, self._keys[index]))
                message = f"found no match in {self._spec.merge[index].reference!r} (merge.{index}.on_missing)"
                return Fault("no_match", self._position(name, found, pointer), pointer, message)
        own = {FILE: name, RECORD_NUMBER: str(number)}
        try:
            line = canonical(record, self._schema.record, own, rescue=self._schema.rescued)
        except Misfit as misfit:
            return self._fault(name, found, misfit)
        self._line_bytes = max(self._line_bytes, self._clean.write(line.encode() + b"\n"))
        return None

    def _fault(self, name: str, found: Found, misfit: Misfit) -> Fault:
        return Fault(misfit.code, self._position(name, found, misfit.pointer), misfit.pointer, misfit.message)

    def _position(self, name: str, found: Found, pointer: str) -> int:
        return locate(found.raw, pointer) if input_format(name) == "json" else 0

    def _set_aside(self, name: str, number: int, found: Found, fault: Fault) -> None:
        keep = self._spec.quarantine.raw and fault.code not in NOT_KEPT
        described = bad_record(name, number, found.raw, found.place, fault, keep_raw=keep)
        self._bad.write(msgspec.json.encode(described) + b"\n")


def _text_at(record: Mapping[str, Any], path: list[str]) -> str | None:
    """Return a key as text, as the join compares it."""
    value: Any = record
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None
