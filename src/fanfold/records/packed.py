"""An archive read as one file: the records of its members, and one bad record for each member that cannot be read."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from fanfold.faults import OF_SIZE, OF_VALUES, UnreadableError
from fanfold.input_formats import input_format, taken_inside
from fanfold.manifest import SHOWN_IGNORED, BadFile, Ignored, source_file
from fanfold.native import Field, Others, Piece, Wrong
from fanfold.records.content import contents
from fanfold.records.members import Member, members
from fanfold.records.read import Door, FileRead, Rules
from fanfold.spec.model import Spec


class Packed:
    """What an archive holds: `found` says it, once each member that can be read was added."""

    def __init__(self, data_dir: Path, spec: Spec, name: str, path: str, sha256: str | None = None) -> None:
        """Begin; `name` is that in landing, `sha256` that of its bytes, where it is known."""
        self.name, self._path, self._data_dir = name, path, data_dir
        self._taken = taken_inside(name, spec.input.patterns)
        self._probe = Door(data_dir, spec, Rules(Field(kind="object"), Others.LEAVE))
        self.found = FileRead(is_bad=True, sha256=sha256 or "")

    def __iter__(self) -> Iterator[tuple[Member, BadFile | None]]:
        """Yield each member, and what is wrong with it where it cannot be read: these are added."""
        ignored = list[str]()
        try:
            if not self.found.sha256:
                self.found = self.found._replace(sha256=_hashed(self._path))
            for member in members(self._path, self._data_dir, self._taken):
                if not (member.path or member.fault):
                    ignored.append(member.name)
                    continue
                fault = _fault(self._probe, source_file(self.name, member.name), member)
                if fault:
                    self.add(member, FileRead(1, 1, fault, is_bad=True))
                yield member, fault
        except UnreadableError as error:
            fault = BadFile(self.name, error.code, str(error))
            sha256 = "" if error.code in OF_SIZE else self.found.sha256
            self.found = FileRead(first=fault, is_bad=True, sha256=sha256)
        if ignored:
            self.found = self.found._replace(ignored=Ignored(len(ignored), ignored[:SHOWN_IGNORED]))
        if not self.found.first and self.found.is_bad:
            of = f": {self.found.ignored}" if ignored else ""
            code = "unknown_format" if ignored else "empty_file"
            message = f"found no member to read, expected one{of}"
            self.found = self.found._replace(first=BadFile(self.name, code, message))

    def add(self, member: Member, one: FileRead) -> None:
        """Add what a member holds."""
        whole, first, of = self.found, one.first, f"{member.name!r}: " if member.name else ""
        if first:
            first = BadFile(self.name, first.code, of + first.message, first.line, first.offset, first.pointer)
        self.found = whole._replace(
            records=whole.records + one.records,
            bad=whole.bad + one.bad,
            first=whole.first or first,
            is_bad=whole.is_bad and one.is_bad,
            unmatched=whole.unmatched + one.unmatched,
            hint=whole.hint or (one.hint and of + one.hint),
        )


def read(door: Door, packed: Packed) -> Iterator[Piece]:
    """Yield what comes of the records of an archive, as a door does of a file."""
    for member, fault in packed:
        door.member, door.fault = member.name or None, fault
        if fault:
            place = (fault.line or 1, fault.offset or 0, 1, 0, 0)
            yield Piece(b"", [Wrong(fault.code, 0, *place, fault.pointer or "", b"", "", b"")])
        else:
            yield from door.read_file(source_file(packed.name, member.name), member.path, packed.name, member.fault)
            packed.add(member, door.found)
    door.found = packed.found


def _fault(probe: Door, source: str, member: Member) -> BadFile | None:
    """Say what is wrong with a member of which no record can be read."""
    if member.fault and not member.path:
        return BadFile(source, member.fault.code, str(member.fault))
    for piece in probe.read_file(source, member.path, source, member.fault):
        counts = probe.reader(source).counts
        is_readable = counts.records > counts.bad or any(one.record and one.code in OF_VALUES for one in piece.wrong)
        # Parquet may be damaged behind records that are good.
        if is_readable and input_format(source) != "parquet":
            return None
    return probe.found.first if probe.found.is_bad else None


def _hashed(path: str) -> str:
    digest = hashlib.sha256()
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in contents(file, "", digest.update):
            pass
    finally:
        os.close(file)
    return digest.hexdigest()
