"""Pure: how the values in a page of Parquet are encoded, and small numbers in runs.

Values come one by one as Python has them: numbers, or bytes. Data that is cut short is an `IndexError`; more values may
come than are meant, as some encodings fill up their last bytes.
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain, islice, repeat
from typing import Any

from fanfold.errors import count
from fanfold.parquet.schema import Node
from fanfold.parquet.thrift import Reader
from fanfold.parquet.values import BOOLEAN, BYTE_ARRAY, DOUBLE, FIXED, FLOAT, INT32, INT64, INT96, refuse

# Encodings by a dictionary, and those whose values are not made one by one.
DICTIONARY, WHOLE = {2, 8}, {5, 6, 7}
STRUCTS = {INT32: "<i", INT64: "<q", INT96: "<12s", FLOAT: "<f", DOUBLE: "<d"}


def plain(data: bytes, node: Node) -> Iterator[Any]:
    """Yield values that stand one behind the other."""
    if node.stored == BOOLEAN:
        return _packed(data, 1)
    if node.stored == BYTE_ARRAY:
        return _byte_arrays(data)
    values = _struct(node)
    return chain.from_iterable(values.iter_unpack(data[: len(data) - len(data) % values.size]))


def _struct(node: Node) -> struct.Struct:
    return struct.Struct(STRUCTS.get(node.stored, f"<{node.size}s"))


def _byte_arrays(data: bytes) -> Iterator[bytes]:
    at, length = 0, struct.Struct("<I").unpack_from
    while at < len(data):
        (size,) = length(data, at)
        at += 4 + size
        if at > len(data):
            raise IndexError
        yield data[at - size : at]


def hybrid(data: bytes, width: int) -> Iterator[int]:
    """Yield numbers of some bits that are written as runs of one number, or packed."""
    return chain.from_iterable(_runs(Reader(data), width)) if width else repeat(0)


def _runs(reader: Reader, width: int) -> Iterator[Iterable[int]]:
    while True:
        head = reader.varint()
        if head & 1:
            yield _packed(reader.take((head >> 1) * width), width)
        else:
            yield repeat(int.from_bytes(reader.take((width + 7) // 8), "little"), head >> 1)


def _packed(data: bytes, width: int) -> Iterator[int]:
    """Yield numbers of some bits each, in groups of eight."""
    mask, places = (1 << width) - 1, range(0, 8 * width, width)
    groups = (int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width))
    return chain.from_iterable([group >> place & mask for place in places] for group in groups)


def encoded(data: bytes, encoding: int, node: Node, most: int) -> Iterator[Any]:
    """Yield the values of a page without a dictionary, which has at most `most` of them.

    Raises:
        UnreadableError: the encoding is not one that is read.
    """
    reader = Reader(data)
    found: Iterator[Any]
    match encoding:
        case 0:
            found = plain(data, node)
        case 3 if node.stored == BOOLEAN:
            found = hybrid(data[4:], 1)
        case 5 if node.stored in {INT32, INT64}:
            half = 1 << 8 * _struct(node).size - 1
            # Where a difference is too large for the type, it goes around.
            found = ((value + half) % (2 * half) - half for value in _delta(reader, most))
        case 6 if node.stored == BYTE_ARRAY:
            found = map(reader.take, _delta(reader, most))
        case 7 if node.stored in {BYTE_ARRAY, FIXED}:
            found = _with_prefixes(_delta(reader, most), map(reader.take, _delta(reader, most)))
        case 9 if node.stored not in {BOOLEAN, BYTE_ARRAY}:
            # The first bytes of all values stand together, then the second ones, and so on.
            count = len(data) // _struct(node).size
            parts = (data[at : at + count] for at in range(0, len(data), count or 1))
            found = plain(bytes(chain.from_iterable(zip(*parts, strict=True))), node)
        case _:
            refuse(f"found values of {node.name!r} in an unsupported encoding ({encoding}): write them plain")
    return found


def _delta(reader: Reader, most: int) -> list[int]:
    """Read numbers as differences to the one before, less the smallest difference of a block."""
    block, parts, total, first = reader.varint(), reader.varint(), reader.varint(), reader.integer()
    if total > most:
        refuse(f"found {count(total, 'value')} in a page that says {most}")
    values, size = [first], block // parts
    while len(values) < total:
        lowest = reader.integer()
        for width in reader.take(parts):
            left = min(size, total - len(values))
            packed = _packed(reader.take(size * width // 8 if left else 0), width) if width else repeat(0)
            values += islice(accumulate((lowest + one for one in packed), initial=values[-1]), 1, left + 1)
    return values[:total]


def _with_prefixes(prefixes: Iterable[int], rests: Iterable[bytes]) -> Iterator[bytes]:
    """Yield values; each repeats the beginning of the value before it."""
    value = b""
    for prefix, rest in zip(prefixes, rests, strict=True):
        if not 0 <= prefix <= len(value):
            raise IndexError
        value = value[:prefix] + rest
        yield value
