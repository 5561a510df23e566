"""The fields around a record in its document that it takes along (`input.envelope`)."""

import struct
from typing import Any

import msgspec

from fanfold.native import Form, Reader
from fanfold.records.content import windows
from fanfold.spec.model import Input
from fanfold.spec.paths import Way, way_of

_ENTRY = struct.Struct("<QI")


def envelope_at(path: str, settings: Input, offset: int) -> dict[Way, msgspec.Raw]:
    """Return the fields around the record at an offset of a file, with their values as JSON, in their order.

    Raises:
        UnreadableError: the file is damaged.
        OSError: it cannot be read.
    """
    ways, found = [way_of(one) for one in settings.envelope], b""
    form = Form(records_at=settings.records_at, max_record_bytes=settings.max_record_bytes, around=ways, looks=True)
    for piece in Reader(form=form).read(b"", windows(path, lambda _: None, settings.encoding)):
        at = 0
        while at < len(piece.merged):
            begins, size = _ENTRY.unpack_from(piece.merged, at)
            at += _ENTRY.size + size
            found = piece.merged[at - size : at] if begins <= offset else found
    return dict(_field(line, ways) for line in found.splitlines())


def _field(line: bytes, ways: list[Way]) -> tuple[Way, msgspec.Raw]:
    """Return the way that leads through objects of one key each, and the value at its end."""
    way, value = Way(), msgspec.Raw(line)
    while way not in ways:
        ((key, value),) = msgspec.json.decode(value, type=dict[str, msgspec.Raw]).items()
        way = (*way, key)
    return way, value


def taken_out(record: bytes, way: Way) -> tuple[bytes, msgspec.Raw | None]:
    """Return a record without a field that it has itself, and its value, where it has it; a null on the way goes."""
    try:
        fields = msgspec.json.decode(record, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return record, None
    value = fields.pop(way[0], None)
    if value and len(way) > 1:
        rest, value = taken_out(bytes(value), way[1:])
        if rest != b"null":
            fields[way[0]] = msgspec.Raw(rest)
    return msgspec.json.encode(fields), value


def document_of(keys: list[str], record: bytes, around: dict[Way, msgspec.Raw]) -> Any:
    """Return a document that has an array of one record at the end of some keys, and other fields around it."""
    if not keys:
        return [msgspec.Raw(record)]
    if around and keys[0].isdecimal():
        # An index is not a key of the fields around.
        return [*[None] * int(keys[0]), document_of(keys[1:], record, around)]
    document, inner = dict[str, Any](), dict[Way, msgspec.Raw]()
    for way, value in around.items():
        if way[0] == keys[0]:
            inner[way[1:]] = value
            continue
        at = document
        for key in way[:-1]:
            at = at.setdefault(key, {})
        at[way[-1]] = value
    return document | {keys[0]: document_of(keys[1:], record, inner)}
