"""Pure: Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages.

Input is hostile: what is cut short is an IndexError, what cannot be is a ValueError, and nothing is made by a length
that the input states alone.
"""

import struct
from collections.abc import Iterable
from typing import Any

MAX_DEPTH, MAX_ITEMS = 16, 1_000_000
TRUE, FALSE, BYTE, INT32, INT64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12
_INTEGERS = {4, INT32, INT64}


class Reader:
    """Reads values one after the other."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        """Begin at a place."""
        self.data, self.at = data, at

    def _take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise IndexError
        self.at += size
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        """Read a number without a sign, of at most 64 bits."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte <= 127:  # noqa: PLR2004 - the high bit says that there is more
                return value
        msg = "found a number of more than 64 bits"
        raise ValueError(msg)

    def list_head(self) -> tuple[int, int]:
        """Read how many items a list has, and their kind."""
        (head,) = self._take(1)
        return (self.varint() if head >> 4 == 15 else head >> 4), head & 15  # noqa: PLR2004 - a longer list

    def value(self, kind: int, depth: int = 0) -> Any:
        """Read a value: a struct is a dict by the numbers of its fields."""
        if depth > MAX_DEPTH:
            msg = "found values nested too deeply"
            raise ValueError(msg)
        if kind in {TRUE, FALSE}:
            return kind == TRUE
        if kind in _INTEGERS:
            value = self.varint()
            return (value >> 1) ^ -(value & 1)
        if kind == STRUCT:
            return self._struct(depth + 1)
        if kind in {LIST, SET, MAP}:
            return self._items(kind, depth + 1)
        if kind == BINARY:
            return self._take(self.varint())
        if kind not in {BYTE, DOUBLE}:
            msg = f"found a value of an unknown kind ({kind})"
            raise ValueError(msg)
        return struct.unpack("<b" if kind == BYTE else "<d", self._take(1 if kind == BYTE else 8))[0]

    def field(self, last: int) -> tuple[int, int]:
        """Read number and kind of the next field of a struct; kind 0 where it ends."""
        (head,) = self._take(1)
        return (last + (head >> 4) if head >> 4 or not head else self.value(INT32)), head & 15

    def _struct(self, depth: int) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number, kind = self.field(0)
        while kind:
            fields[number] = self.value(kind, depth)
            number, kind = self.field(number)
        return fields

    def _items(self, kind: int, depth: int) -> list[Any]:
        if kind == MAP:
            size = self.varint()
            kinds = [*divmod(self._take(1)[0], 16)] if size else []
        else:
            size, inner = self.list_head()
            kinds = [inner]
        if size > MAX_ITEMS:
            msg = f"found a list of {size} items"
            raise ValueError(msg)
        # In a list, true and false take a byte each.
        kinds = [BYTE if inner in {TRUE, FALSE} else inner for inner in kinds]
        return [self.value(inner, depth) for _ in range(size) for inner in kinds]


def number(value: int) -> bytes:
    """Write an integer."""
    return _varint((value << 1) ^ (value >> 63))


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:  # noqa: PLR2004 - seven bits a byte
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


def binary(value: bytes) -> bytes:
    """Write bytes."""
    return _varint(len(value)) + value


def items(kind: int, values: Iterable[bytes]) -> bytes:
    """Write a list of values that are written already."""
    written = list(values)
    return bytes([240 | kind]) + _varint(len(written)) + b"".join(written)


def fields(values: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Write a struct: number, kind and what is written of each field, in the order of their numbers."""
    written, last = [], 0
    for place, kind, value in values:
        written += [bytes([place - last << 4 | kind]), value]
        last = place
    return b"".join([*written, b"\0"])
