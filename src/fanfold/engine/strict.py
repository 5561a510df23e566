"""Pure: how a strict typed reading looks into all objects of a record, what it cannot see, how it counts digits."""

import math
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from fanfold.engine.fields import CONTAINERS, Field
from fanfold.engine.session import identifier, text
from fanfold.records.canonical import encode
from fanfold.records.limits import MAX_KEY_CHARACTERS

NUMBER = re.compile(r"-?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)", re.IGNORECASE)
# Digits before and after the point of a number that DuckDB has written.
WHOLE = "greatest(1, length(ltrim(split_part(split_part(t, 'e', 1), '.', 1), '-')) + {exponent})"
FRACTION = "greatest(0, length(rtrim(split_part(split_part(t, 'e', 1), '.', 2), '0')) - {exponent})"
EXPONENT = "coalesce(try_cast(split_part(t, 'e', 2) AS BIGINT), 0)"


def is_vague(structure: object, *, in_array: bool = False) -> bool:
    """Say whether json_structure hides what is in an array: values of several kinds, or objects without a field."""
    if isinstance(structure, dict):
        return any(is_vague(inner, in_array=in_array) for inner in structure.values())
    if isinstance(structure, list):
        return any(is_vague(inner, in_array=True) for inner in structure)
    return in_array and structure == "JSON"


def has_long_keys(structure: object, above: int = 0) -> bool:
    """Say whether json_structure has a key that is too long, with those of the objects around it."""
    if isinstance(structure, list):
        return any(has_long_keys(inner, above) for inner in structure)
    if not isinstance(structure, dict):
        return False
    return any(
        above + len(name) > MAX_KEY_CHARACTERS or has_long_keys(inner, above + len(name) + 1)
        for name, inner in structure.items()
    )


def is_blind(field: Field) -> bool:
    """Say whether a typed reading cannot see into a field: other values beside objects, names that are one to SQL."""
    names = [name.lower() for name in field.fields]
    if field.kinds & CONTAINERS and len(field.kinds) > 1:
        return True
    if len(set(names)) < len(names) or any(encode(name) != name for name in field.fields):
        return True
    return any(map(is_blind, field.fields.values())) or (field.element is not None and is_blind(field.element))


def is_hidden(field: Field, whole: Field) -> bool:
    """Say whether objects of a file lie where other files have other values, so that a typed reading is not strict."""
    if whole.kinds & CONTAINERS and len(whole.kinds) > 1 and field.kinds & CONTAINERS:
        return True
    inner = any(is_hidden(one, whole.fields[name]) for name, one in field.fields.items())
    names = [name.lower() for name in whole.fields]
    if len(set(names)) < len(names) and field.fields:
        return True
    return inner or (
        field.element is not None and whole.element is not None and is_hidden(field.element, whole.element)
    )


def strict_type(field: Field) -> str:
    """Return the type by which a typed reading looks into all objects of a field."""
    if field.kinds == {"array"} and field.element is not None:
        return strict_type(field.element) + "[]"
    if field.is_object and not is_blind(Field("", {"object"}, {name: Field("") for name in field.fields})):
        return (
            "STRUCT("
            + ", ".join(f"{identifier(encode(name))} {strict_type(inner)}" for name, inner in field.fields.items())
            + ")"
        )
    return "VARCHAR"


def most_digits(steps: list[tuple[str, str]], counted: str) -> str:
    """Return the SQL for the most digits of the numbers at one path of a record.

    Args:
        steps: the way to them, as `numbers` gives it.
        counted: WHOLE or FRACTION.
    """
    (_, first), *further = steps
    return _through(identifier(encode(first)), further, counted.format(exponent=EXPONENT))


def _through(value: str, steps: list[tuple[str, str]], formula: str) -> str:
    if not steps:
        return f"list_max(list_transform([{value}], lambda t: {formula}))"
    (step, name), *further = steps
    if step == "field":
        return _through(f"struct_extract({value}, {text(encode(name))})", further, formula)
    variable = f"e{len(further)}"
    return f"list_max(list_transform({value}, lambda {variable}: {_through(variable, further, formula)}))"


def numbers(
    field: Field, steps: list[tuple[str, str]], *, measure_all: bool
) -> Iterator[tuple[list[str], list[tuple[str, str]]]]:
    """Yield the path of each field whose digits count, and the steps to its values: fields, and arrays between them."""
    for name, inner in field.fields.items():
        here = [*steps, ("field", name)]
        while inner.kinds == {"array"} and inner.element is not None:
            inner, here = inner.element, [*here, ("array", "")]  # noqa: PLW2901 - what the array holds
        if inner.is_object:
            yield from numbers(inner, here, measure_all=measure_all)
        elif inner.kinds and inner.kinds <= {"BIGINT", "DECIMAL"} and (measure_all or "DECIMAL" in inner.kinds):
            yield [step for kind, step in here if kind == "field"], here


def survives(number: str) -> bool:
    """Say whether a number keeps its value, and -0 its sign, on the way through a double or 64 bits."""
    if number.lstrip("-").isdecimal():
        return len(number) <= len(str(-(2**63))) and -(2**63) <= int(number) < 2**63 and number != "-0"
    as_double = float(number)
    try:
        return math.isfinite(as_double) and Decimal(repr(as_double)) == Decimal(number)
    except InvalidOperation:
        return False
