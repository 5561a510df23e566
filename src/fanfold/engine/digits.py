"""The digits of decimals, counted in records that msgspec has decoded."""

import itertools
import operator
import re
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from fanfold.engine.fields import Field
from fanfold.records.batches import OtherError

# Of any number of so many digits, a double holds each.
HELD_DIGITS = 15
COUNTABLE = {"BIGINT", "DECIMAL"}
# More than anything holds: they could not be counted.
UNCOUNTED = 1_000
AS_ZERO = bytes(ord("0") if chr(byte) in "0123456789" else byte for byte in range(256))
AS_ONE = bytes(ord("1") if chr(byte) in "23456789" else byte for byte in range(256))


def attribute(n: int) -> str:
    """Return the name that the n-th field of an object has where it is decoded."""
    return f"field_{n}"


class Digits:
    """The most digits that the decimals of a shape have, before and after the point."""

    def __init__(self, root: Field) -> None:
        """Begin with what the fields themselves say."""
        self._root = root
        decimals = list(_decimals(root))
        self._decimals = [field for field in decimals if field.kinds <= COUNTABLE]
        self.exist = bool(decimals)
        # Among texts they will be texts, and are not counted.
        self.are_countable = len(self._decimals) == len(decimals)
        self._found: dict[int, tuple[int, int]] = {}
        # So many digits follow a point in all that was read, or fewer.
        self._after_point = 0
        self._is_given_up = False

    def of(self, field: Field) -> tuple[int, int]:
        """Return how many there are at most, before and after the point."""
        return self._found.get(id(field), (field.whole, field.fraction))

    def count(self, records: list[Any], text: bytes | None = None) -> bool:
        """Count the digits of records, and say whether a double surely holds each of their numbers.

        Args:
            records: decoded.
            text: theirs, if no number in it has more digits before its point than were counted, nor an exponent
                below 0. Then mostly nothing is left to count.

        Raises:
            OtherError: a number is so large or so small that it is not written plainly.
        """
        if not self.exist:
            return text is not None
        wanted = self._decimals
        is_known = text is not None and self._look_behind_points(text)
        if is_known:
            wanted = [field for field in wanted if self.of(field)[1] < self._after_point]
        if wanted:
            self._count(self._root, records, {id(field) for field in wanted})
        return is_known and all(self.of(field)[0] + self._after_point <= HELD_DIGITS for field in self._decimals)

    def _look_behind_points(self, text: bytes) -> bool:
        # In a text, digits mostly end in something else: a timestamp in Z, or a quote.
        while re.search(rb"\.[0-9]{%d}[0-9]+[eE,\]} \t\r\n]" % self._after_point, text):
            if self._after_point > HELD_DIGITS:
                return False
            self._after_point += 1
        return True

    def _count(self, field: Field, values: list[Any], wanted: Collection[int]) -> None:
        if id(field) in wanted:
            self._found[id(field)] = _most_digits(values, *self.of(field))
        elif field.kinds == {"array"}:
            inner = list(itertools.chain.from_iterable(filter(None, values)))
            self._count(field.element or Field(""), inner, wanted)
        elif field.is_object:
            objects = [value for value in values if value is not None] if None in values else values
            for n, one in enumerate(field.fields.values()):
                if any(id(decimal) in wanted for decimal in _decimals(one)):
                    self._count(one, list(map(operator.attrgetter(attribute(n)), objects)), wanted)

    def settle(self) -> None:
        """Widen the fields by what was counted."""
        for field in self._decimals:
            field.whole, field.fraction = (UNCOUNTED, UNCOUNTED) if self._is_given_up else self.of(field)
        self.forget()

    def give_up(self) -> None:
        """Count no more: nothing is known of any field.

        Raises:
            OtherError: an array has decimals, whose digits nobody else looks at.
        """
        if _has_decimals_in_arrays(self._root):
            raise OtherError
        self._is_given_up = True

    def forget(self) -> None:
        """Go back to what the fields say."""
        self._found.clear()


def _most_digits(values: list[float | None], whole: int, fraction: int) -> tuple[int, int]:
    """Return how many digits there are at most, and at least so many: 1.0 has none after the point."""
    written = msgspec.json.encode(values)
    if b"null" in written:
        written = msgspec.json.encode([value for value in values if value is not None])
    digits = written.translate(AS_ZERO)
    # 1e16; what is no number of JSON is null.
    if b"e" in digits or b"n" in digits:
        raise OtherError
    while b"0" * (whole + 1) + b"." in digits:
        whole += 1
    if not fraction and b".1" in written.translate(AS_ONE):
        fraction = 1
    while b"." + b"0" * (max(fraction, 1) + 1) in digits:
        fraction = max(fraction, 1) + 1
    return whole, fraction


def _decimals(field: Field) -> Iterator[Field]:
    """Yield the fields that have decimals, this one or those in it."""
    if "DECIMAL" in field.kinds:
        yield field
    for inner in (*field.fields.values(), *([field.element] if field.element else [])):
        yield from _decimals(inner)


def _has_decimals_in_arrays(field: Field) -> bool:
    inner = field.element
    if inner is not None and "DECIMAL" in inner.kinds:
        return True
    return any(map(_has_decimals_in_arrays, [*field.fields.values(), *([inner] if inner else [])]))
