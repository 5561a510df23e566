"""What tests of the core share: files read in any windows, and merged records taken apart again."""

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fanfold.native import Field, Form, Others, Reader, Table, Wrong

WHOLE = Field(type="JSON")
LARGE = 1 << 24
Value = str | None


class Read(NamedTuple):
    """What a reader says of a file."""

    merged: bytes
    wrong: list[Wrong]

    @property
    def codes(self) -> list[str | None]:
        """The code of each record, in their order."""
        bad = {one.record: one.code for one in self.wrong}
        number = len(bad) + len(list(entries(self.merged)))
        return [bad.get(record) for record in range(1, number + 1)]

    @property
    def values(self) -> list[Any]:
        """The good records, where each was read as one JSON."""
        return [parsed(slots(body, 1)[0][0] or "") for _, body in entries(self.merged)]


def raw(text: str) -> bytes:
    """Return the bytes of a text, in which surrogates stand for bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def parsed(text: str) -> Any:
    """Return JSON with its numbers as they are written."""
    return json.loads(text, parse_int=str, parse_float=str)


def cut(content: bytes, *cuts: int) -> list[bytes]:
    """Return content in windows that end at `cuts`."""
    return [content[begin:end] for begin, end in zip((0, *cuts), (*cuts, len(content)), strict=True)]


def read_with(reader: Reader, windows: Iterable[bytes]) -> Read:
    """Read a file to its end."""
    pieces = list(reader.read(b"f", windows))
    return Read(b"".join(piece.merged for piece in pieces), [one for piece in pieces for one in piece.wrong])


def read_json(content: bytes, *cuts: int, cap: int = LARGE, records_at: str = "", record: Field = WHOLE) -> Read:
    """Read JSON, by default each record as one value."""
    form = Form(max_record_bytes=cap, records_at=records_at)
    return read_with(Reader(record, Others.REFUSE, form), cut(content, *cuts))


def read_csv(content: bytes, *cuts: int, cap: int = LARGE, names: Iterable[str] = ("a", "b")) -> Read:
    """Read CSV, every column as text."""
    record = Field(kind="object", inside=tuple(map(Field, names)))
    return read_with(Reader(record, Others.REFUSE, Form(csv=True, max_record_bytes=cap)), cut(content, *cuts))


def frozen_table(path: Path, windows: Iterable[bytes], record: Field) -> Table:
    """Freeze the good rows of a CSV in a file, and open it."""
    with path.open("wb") as file:
        for piece in Reader(record, Others.FREEZE, Form(csv=True)).read(b"f", windows):
            assert not piece.wrong
            file.write(piece.merged)
    return Table(path)


def entries(merged: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and scope 0 of each merged record."""
    at = 0
    while at < len(merged):
        (size,) = struct.unpack_from("<I", merged, at)
        entry = merged[at + 4 : at + 4 + size]
        at += 4 + size
        if entry[0] == 1:
            number, begin = varint(entry, 1)
            yield number, entry[begin:]


def varint(text: bytes, at: int) -> tuple[int, int]:
    """Return a number, and what follows it."""
    number = shift = 0
    while True:
        number |= (text[at] & 0x7F) << shift
        shift += 7
        at += 1
        if text[at - 1] < 0x80:
            return number, at


def slots(text: bytes, count: int, at: int = 0) -> tuple[list[Value], int]:
    """Return the values of so many slots, and what follows them."""
    values: list[Value] = []
    while len(values) < count:
        header, at = varint(text, at)
        size = header >> 2
        if header & 3 == 0:
            values += [None] * size
        else:
            values.append(text[at : at + size].decode())
            at += size
    return values, at
