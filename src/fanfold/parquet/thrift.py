"""Pure: reads Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages.

Input is hostile: bytes that are cut short are an `IndexError`, bytes that mean nothing are a `ValueError`, and a length
that the input only states takes no memory.
"""

from collections.abc import Iterator
from typing import Any

# The most values in what is read at once: a field of the footer, a group of rows, the header of a page.
MAX_DEPTH, MAX_VALUES = 16, 2_000_000
BYTE, STRUCT = 3, 12


class Reader:
    """Reads values one after the other."""

    def __init__(self, data: bytes) -> None:
        """Begin at the first byte."""
        self.at, self._data, self._left = 0, data, MAX_VALUES

    def take(self, size: int) -> bytes:
        """Read some bytes."""
        if not 0 <= size <= len(self._data) - self.at:
            raise IndexError
        self.at += size
        return self._data[self.at - size : self.at]

    def varint(self) -> int:
        """Read a number without a sign."""
        value = 0
        for shift in range(0, 70, 7):
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            if byte <= 127:  # noqa: PLR2004 - the high bit says that more bytes follow
                return value
        msg = "an integer of more than ten bytes"
        raise ValueError(msg)

    def integer(self) -> int:
        """Read a number with a sign."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield number and kind of each field of a struct; its value is to be read before the next one."""
        number = 0
        while head := self.take(1)[0]:
            number = number + (head >> 4) if head >> 4 else self.integer()
            yield number, head & 15

    def items(self, depth: int = 0) -> Iterator[Any]:
        """Yield the items of a list, one by one."""
        (head,) = self.take(1)
        for _ in range(self.varint() if head >> 4 == 15 else head >> 4):  # noqa: PLR2004 - a long list
            # In a list, true and false take a byte each.
            yield self.value(max(head & 15, BYTE), depth)

    def value(self, kind: int, depth: int = 0) -> Any:
        """Read a value: a struct is a dict by the numbers of its fields."""
        self._left = self._left - 1 if depth else MAX_VALUES
        if depth > MAX_DEPTH or self._left < 0:
            msg = "values nested too deeply, or too many of them"
            raise ValueError(msg)
        match kind:
            case 1 | 2:
                found: Any = kind == 1
            case 3:
                (found,) = self.take(1)
            case 4 | 5 | 6:
                found = self.integer()
            case 7:
                found = self.take(8)
            case 8:
                found = self.take(self.varint())
            case 9:
                found = list(self.items(depth + 1))
            case 12:
                found = {number: self.value(inner, depth + 1) for number, inner in self.fields()}
            case _:
                msg = f"a value of an unknown kind ({kind})"
                raise ValueError(msg)
        return found
