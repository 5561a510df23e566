"""Pure: the types of values, and which type holds the values of a field. The core in C checks the values."""

from fanfold.native.fields import Seen, type_of

VARCHAR, BIGINT, DOUBLE, BOOLEAN, JSON = "VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "JSON"
TIMESTAMPTZ = "TIMESTAMPTZ"
SHORT_DECIMAL, LONG_DECIMAL = 18, 38


def of_seen(seen: Seen) -> str:
    """Return the narrowest type that holds each value of a field exactly; JSON where one is an object or array."""
    if seen.objects or seen.arrays:
        return JSON
    numbers = seen.integers + seen.numbers
    if seen.texts or (seen.booleans and numbers):
        return VARCHAR
    if seen.booleans:
        return BOOLEAN
    return _of_numbers(seen, numbers) if numbers or seen.is_float else VARCHAR


def _of_numbers(seen: Seen, numbers: int) -> str:
    if seen.is_float:
        return DOUBLE if seen.floats == numbers else VARCHAR
    if not seen.numbers:
        return BIGINT
    digits = seen.whole + seen.scale
    if digits > LONG_DECIMAL:
        return VARCHAR
    return f"DECIMAL({SHORT_DECIMAL if digits <= SHORT_DECIMAL else LONG_DECIMAL},{seen.scale})"


def holds(kind: str, seen: Seen) -> bool:
    """Say whether a type holds each value of a field exactly."""
    found = of_seen(seen)
    if kind in (JSON, found) or not seen.kinds:
        return True
    if kind.startswith("DECIMAL") and (found == BIGINT or found.startswith("DECIMAL")):
        _, precision, scale = type_of(kind)
        return seen.scale <= scale and seen.whole + scale <= precision
    return kind == VARCHAR and found != JSON


def in_table(kind: str) -> str:
    """Return the type of a table's column for a field of some type: JSON becomes text there, an epoch a moment."""
    return VARCHAR if kind == JSON else TIMESTAMPTZ if kind.startswith("EPOCH") else kind


def is_exact(kind: str) -> bool:
    """Say whether values of a type have exact sums."""
    return kind == BIGINT or kind.startswith("DECIMAL")
