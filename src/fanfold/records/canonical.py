"""What becomes of a good record that took the careful path: one line of JSON in which every value is a text.

The fast path reads such lines as it reads any others, and casts each text to the type that it was checked for.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any

from msgspec.structs import replace

from fanfold.manifest import Node
from fanfold.records.diagnose import token
from fanfold.records.json_records import Number, kind

# No key of a record begins with one of these characters: `encode` sees to it.
ESCAPES = ("\ue000", "\ue001")
ESCAPE = ESCAPES[0]
RESCUED = f"{ESCAPE}rescued"
FILE = f"{ESCAPE}file"
RECORD_NUMBER = f"{ESCAPE}record"
NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d+)?(Z|[-+]\d\d:?\d\d)?")
DATE = re.compile(r"\d{4}-\d\d-\d\d")
MICROSECOND_DIGITS = 6
BIGINT = range(-(2**63), 2**63)
MAX_EXPONENT = 400
# Nothing is rounded.
_WIDE = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
quote = json.JSONEncoder(ensure_ascii=False).encode


class Misfit(Exception):  # noqa: N818 - the record is at fault, not the program
    """A value that its declared type does not hold."""

    def __init__(self, code: str, pointer: str, message: str) -> None:
        """Note what is wrong, and where in the record."""
        super().__init__(message)
        self.code, self.pointer, self.message = code, pointer, message


def encode(key: str) -> str:
    """Return a key as the fast path can name it: never empty, never one of our own."""
    return ESCAPE + key if not key or key.startswith(ESCAPES) else key


def apart(nodes: list[Node]) -> list[Node]:
    """Return the fields of an object, each with a key of its own, be it by letter case: as SQL needs them."""
    seen: set[str] = set()
    kept = []
    for index, node in enumerate(nodes):
        taken = node.name.lower() in seen
        seen.add(node.name.lower())
        # No key of a record begins like that either.
        kept.append(replace(node, key=f"{ESCAPE}{index}") if taken else node)
    return kept


def key_of(node: Node) -> str:
    """Return the key that the fast path finds a field under."""
    return node.key or encode(node.name)


def keys_of(nodes: list[Node], path: list[str]) -> list[str]:
    """Return the keys that lead the fast path to a field, through objects and the elements of arrays."""
    keys = []
    for name in path:
        node = next((node for node in nodes if node.name == name), Node(name, "value"))
        keys.append(key_of(node))
        nodes = (node.element or node).fields
    return keys


def canonical(record: Mapping[str, Any], fields: list[Node], own: Mapping[str, str], *, rescue: bool) -> str:
    """Return a record as one line of JSON: the fields of the schema, every value as text.

    Args:
        record: the record, numbers as they are written.
        fields: the fields of the run's schema.
        own: what else the line is to have, by keys of ours.
        rescue: whether what is not in `fields` is kept, under RESCUED.

    Raises:
        Misfit: a value is not of its declared type.
    """
    rest = _rest(fields, record) if rescue else {}
    members = [*_members(fields, record, "", rest if rescue else None, ())]
    if rest:
        members.append(f"{quote(RESCUED)}:{quote(json_text(rest))}")
    members += [f"{quote(key)}:{quote(text)}" for key, text in own.items()]
    return "{" + ",".join(members) + "}"


def json_text(value: Any) -> str:
    """Return a value as compact JSON, numbers as they are written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{quote(key)}:{json_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    return quote(value)


def _members(
    fields: list[Node], record: Mapping[str, Any], pointer: str, rest: dict[str, Any] | None, way: tuple[str, ...]
) -> Iterator[str]:
    for node in fields:
        value = record.get(node.name)
        if value is None:
            continue
        place = pointer + token(node.name)
        yield f"{quote(key_of(node))}:{_value(node, value, place, rest, (*way, node.name))}"


def _value(node: Node, value: Any, pointer: str, rest: dict[str, Any] | None, way: tuple[str, ...]) -> str:
    if value is None:
        return "null"
    if node.kind == "value":
        return quote(json_text(value) if node.read_type == "JSON" else scalar(node, value, pointer))
    if node.kind == "object":
        if not isinstance(value, dict):
            raise Misfit("wrong_type", pointer, f"found {kind(value)}, expected an object")
        return "{" + ",".join(_members(node.fields, value, pointer, rest, way)) + "}"
    if not isinstance(value, list):
        raise Misfit("wrong_type", pointer, f"found {kind(value)}, expected an array")
    element = node.element or Node("", "value")
    return (
        "[" + ",".join(_element(element, one, f"{pointer}/{index}", rest, way) for index, one in enumerate(value)) + "]"
    )


def _element(element: Node, value: Any, pointer: str, rest: dict[str, Any] | None, way: tuple[str, ...]) -> str:
    if rest is None or element.kind != "object" or not isinstance(value, dict):
        return _value(element, value, pointer, rest, way)
    here = _merged(rest, way, _rest(element.fields, value))
    members = list(_members(element.fields, value, pointer, here, way))
    if here:
        members.append(f"{quote(RESCUED)}:{quote(json_text(here))}")
    return "{" + ",".join(members) + "}"


def _rest(fields: list[Node], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record has beside the fields of the schema, nested as it was."""
    known = {node.name: node for node in fields}
    rest = {}
    for key, value in record.items():
        node = known.get(key)
        if node is None:
            rest[key] = value
        elif node.kind == "object" and isinstance(value, dict) and (inner := _rest(node.fields, value)):
            rest[key] = inner
    return rest


def _merged(rest: dict[str, Any], way: tuple[str, ...], of_element: dict[str, Any]) -> dict[str, Any]:
    """Return `rest` with that of an element in the place of its array."""
    if not of_element:
        return rest
    step, *further = way
    inner = rest.get(step, {})
    return {**rest, step: _merged(inner, tuple(further), of_element) if further else {**inner, **of_element}}


def scalar(node: Node, value: Any, pointer: str) -> str:
    """Return the text of a value, which its type holds exactly.

    Raises:
        Misfit: it does not.
    """
    if isinstance(value, (dict, list)):
        raise Misfit("wrong_type", pointer, f"found {kind(value)}, expected {node.type}")
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    name = node.type.partition("(")[0]
    if name == "VARCHAR":
        return text
    if name in {"BIGINT", "DECIMAL", "DOUBLE"}:
        if isinstance(value, bool) or not NUMBER.fullmatch(text):
            raise Misfit("wrong_type", pointer, f"found {text[:40]!r}, expected a number ({node.type})")
        exact = _exact(node.type, text)
        if exact is None:
            raise Misfit("inexact", pointer, f"found {text[:60]}, expected a number that {node.type} holds exactly")
        return exact
    if name == "BOOLEAN":
        if text not in {"true", "false"}:
            raise Misfit("wrong_type", pointer, f"found {text[:40]!r}, expected true or false")
        return text
    if isinstance(value, (bool, Number)) or not _is_moment(name, text):
        raise Misfit("wrong_type", pointer, f"found {text[:40]!r}, expected {MOMENTS[name]} ({node.type})")
    return text


MOMENTS = {
    "DATE": "a date as in 2026-01-02",
    "TIMESTAMP": "a time without a zone as in 2026-01-02T03:04:05.678",
    "TIMESTAMPTZ": "a time with a zone as in 2026-01-02T03:04:05.678Z",
}


def digits(number: str) -> tuple[int, int]:
    """Return how many digits a number has before the point and after it, without idle zeros."""
    try:
        _, figures, exponent = Decimal(number).normalize(_WIDE).as_tuple()
    except InvalidOperation:
        # An exponent of more than 18 digits.
        return MAX_EXPONENT, MAX_EXPONENT
    if not isinstance(exponent, int) or figures == (0,):
        return 1, 0
    return max(1, len(figures) + exponent), max(0, -exponent)


def _exact(type_name: str, text: str) -> str | None:
    """Return a number as its type writes it; None where the type does not hold it."""
    whole, fraction = digits(text)
    if type_name == "DOUBLE":
        as_double = float(text)
        return (
            repr(as_double)
            if max(whole, fraction) < MAX_EXPONENT and Decimal(repr(as_double)) == Decimal(text)
            else None
        )
    decimal = DECIMAL.fullmatch(type_name)
    precision, scale = (int(decimal[1]), int(decimal[2])) if decimal else (19, 0)
    if fraction > scale or whole > max(1, precision - scale) or (precision == scale and abs(Decimal(text)) >= 1):
        return None
    if not decimal and int(Decimal(text)) not in BIGINT:
        return None
    plain = format(Decimal(text), "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _is_moment(name: str, text: str) -> bool:
    try:
        if name == "DATE":
            return DATE.fullmatch(text) is not None and bool(date.fromisoformat(text))
        parts = TIMESTAMP.fullmatch(text)
        if not parts or bool(parts[3]) != (name == "TIMESTAMPTZ"):
            return False
        return len(parts[2] or ".") <= 1 + MICROSECOND_DIGITS and bool(datetime.fromisoformat(parts[1]))
    except ValueError:
        return False
