"""The digits of decimals, counted in records that msgspec has decoded."""

import itertools
import operator
from typing import Any

import msgspec

from fanfold.engine.fields import Field
from fanfold.records.batches import OtherError

# By the identity of a field: itself, and how many digits its numbers have before and after the point.
Digits = dict[int, tuple[Field, int, int]]
AS_ZERO = bytes(ord("0") if chr(byte) in "0123456789" else byte for byte in range(256))
AS_ONE = bytes(ord("1") if chr(byte) in "23456789" else byte for byte in range(256))


def attribute(n: int) -> str:
    """Return the name that the n-th field of an object has where it is decoded."""
    return f"field_{n}"


def count_digits(field: Field, values: list[Any], digits: Digits) -> None:
    """Count the most digits of the decimals in a field, before and after the point.

    Raises:
        OtherError: a number is so large or so small that it is not written plainly.
    """
    if field.kinds == {"array"}:
        inner = list(itertools.chain.from_iterable(filter(None, values)))
        count_digits(field.element or Field(""), inner, digits)
    elif field.is_object:
        objects = [value for value in values if value is not None] if None in values else values
        for n, one in enumerate(field.fields.values()):
            if has_decimals(one):
                count_digits(one, list(map(operator.attrgetter(attribute(n)), objects)), digits)
    elif "DECIMAL" in field.kinds and field.kinds <= {"BIGINT", "DECIMAL"}:
        _, whole, fraction = digits.get(id(field), (field, field.whole, field.fraction))
        digits[id(field)] = field, *_most_digits(values, whole, fraction)


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


def has_decimals(field: Field) -> bool:
    """Say whether a field has decimals, or one in it."""
    inner = [*field.fields.values(), *([field.element] if field.element else [])]
    return "DECIMAL" in field.kinds or any(map(has_decimals, inner))
