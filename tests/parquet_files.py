"""Files of Parquet that no library writes: by hand, a page a column, plain values, nothing compressed."""

import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

BINARY, INT32, INT64, LIST, STRUCT = 8, 5, 6, 9, 12
BOOLEAN, INT_32, INT_64, INT_96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = range(8)
REQUIRED, OPTIONAL, REPEATED = range(3)
UTF8, MAP, MAP_KEY_VALUE, A_LIST, ENUM, DECIMAL = range(6)


# Thrift's compact protocol.


def thrift_number(value: int) -> bytes:
    return _varint((value << 1) ^ (value >> 63))


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def thrift_binary(value: bytes) -> bytes:
    return _varint(len(value)) + value


def thrift_items(kind: int, values: Iterable[bytes]) -> bytes:
    """Write a list of values that are written already."""
    written = list(values)
    return bytes([240 | kind]) + _varint(len(written)) + b"".join(written)


def thrift_fields(values: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Write a struct: number, kind and what is written of each field, in the order of their numbers."""
    written, last = [], 0
    for place, kind, value in values:
        written += [bytes([place - last << 4 | kind]), value]
        last = place
    return b"".join([*written, b"\0"])


# Parquet.


class Element(NamedTuple):
    """An element of the schema: a leaf with a type, or a group with children."""

    name: str | bytes
    type: int | None = None
    repetition: int = REQUIRED
    children: int = 0
    converted: int | None = None
    scale: int | None = None
    precision: int | None = None
    size: int | None = None


class Column(NamedTuple):
    """The values of a leaf as they are stored, and their levels: most of repetition and definition, and each one's.

    `said`, `size`, `codec` and `at` are what is said of the page: entries, bytes, compression and place.
    """

    type: int
    values: Sequence[Any]
    repetition: Sequence[int] = ()
    definition: Sequence[int] = ()
    said: int | None = None
    size: int | None = None
    codec: int = 0
    at: int | None = None


def levels(values: Sequence[int]) -> bytes:
    """Write levels, a run each."""
    runs = b"".join(bytes([2, value]) for value in values)
    return len(runs).to_bytes(4, "little") + runs if values else b""


def stored(kind: int, value: Any) -> bytes:
    if kind == BYTE_ARRAY:
        return len(value).to_bytes(4, "little") + bytes(value)
    if kind in {INT_96, FIXED}:
        return bytes(value)
    return struct.pack({INT_32: "<i", INT_64: "<q", FLOAT: "<f", DOUBLE: "<d"}[kind], value)


def _element(one: Element) -> bytes:
    name = one.name if isinstance(one.name, bytes) else one.name.encode()
    parts = [
        (1, INT32, one.type), (2, INT32, one.size), (3, INT32, one.repetition), (4, BINARY, name),
        (5, INT32, one.children or None), (6, INT32, one.converted), (7, INT32, one.scale), (8, INT32, one.precision),
    ]  # fmt: skip
    written = [
        (place, kind, thrift_binary(value) if isinstance(value, bytes) else thrift_number(value))
        for place, kind, value in parts
        if value is not None
    ]
    return thrift_fields(written)


def numbers(*values: tuple[int, int, int]) -> list[tuple[int, int, bytes]]:
    return [(place, kind, thrift_number(value)) for place, kind, value in values]


def page(count: int, body: bytes, size: int | None = None) -> bytes:
    """Write a data page of plain values."""
    head = thrift_fields(numbers((1, INT32, count), (2, INT32, 0), (3, INT32, 3), (4, INT32, 3)))
    sizes = numbers((1, INT32, 0), (2, INT32, len(body) if size is None else size), (3, INT32, len(body)))
    return thrift_fields([*sizes, (5, STRUCT, head)]) + body


def written(
    elements: Sequence[Element],
    columns: Sequence[Column],
    rows: int,
    said: int | None = None,
    group: int | None = None,
) -> bytes:
    """Write a file of one group of rows.

    Args:
        elements: the schema; the root is added.
        columns: what its leaves have.
        rows: how many there are.
        said: how many the footer says, of the file.
        group: how many it says, of the group.
    """
    content, chunks = b"PAR1", []
    for column in columns:
        count = max(len(column.repetition), len(column.definition), len(column.values))
        body = b"".join([levels(column.repetition), levels(column.definition)])
        body += b"".join(stored(column.type, value) for value in column.values)
        entries = count if column.said is None else column.said
        at, whole = len(content), page(entries, body, column.size)
        content += whole
        facts = [
            *numbers((1, INT32, column.type)), (2, LIST, thrift_items(INT32, [thrift_number(0)])),
            (3, LIST, thrift_items(BINARY, [thrift_binary(b"x")])),
            *numbers((4, INT32, column.codec), (5, INT64, entries), (6, INT64, len(whole)), (7, INT64, len(whole))),
            *numbers((9, INT64, at if column.at is None else column.at)),
        ]  # fmt: skip
        chunks.append(thrift_fields([*numbers((2, INT64, at)), (3, STRUCT, thrift_fields(facts))]))
    groups = [
        (1, LIST, thrift_items(STRUCT, chunks)),
        *numbers((2, INT64, 0), (3, INT64, rows if group is None else group)),
    ]
    # The children of the root are those that no other group has.
    owed = sum(one.children for one in elements)
    root = Element("root", children=len(elements) - owed)
    footer = thrift_fields(
        [
            *numbers((1, INT32, 1)),
            (2, LIST, thrift_items(STRUCT, map(_element, [root, *elements]))),
            *numbers((3, INT64, rows if said is None else said)),
            (4, LIST, thrift_items(STRUCT, [thrift_fields(groups)])),
        ]
    )
    return content + footer + len(footer).to_bytes(4, "little") + b"PAR1"
