"""How files fit a schema: which need care, which values may be read as what is declared, which types hold them."""

from collections.abc import Collection, Iterator

import msgspec

from fanfold.engine.fields import CONTAINERS, Field
from fanfold.engine.schema import DOUBLE_DIGITS
from fanfold.errors import DataError
from fanfold.manifest import Node, RunSchema


def needs_care(seen: Field, nodes: list[Node], *, rescue: bool) -> bool:
    """Say whether the records of a file have to be looked at one by one to be read by a schema without loss.

    That is so where a value is not of its declared kind, where a number becomes a text, which is to be as it was
    written, where a field is not in the schema (`rescue`), and where it is there in another letter case too.
    """
    by_name = {node.name: node for node in nodes}
    for name, field in seen.fields.items():
        node = by_name.get(name)
        if node is None:
            if rescue:
                return True
        elif node.key or _differs(field, node, rescue=rescue):
            return True
    return False


def _differs(field: Field, node: Node, *, rescue: bool) -> bool:
    if node.kind == "list":
        return bool(field.kinds - {"array"}) or (
            field.element is not None
            and node.element is not None
            and _differs(field.element, node.element, rescue=rescue)
        )
    if node.kind == "object":
        return bool(field.kinds - {"object"}) or needs_care(field, node.fields, rescue=rescue)
    if node.read_type == "JSON":
        return False
    if field.kinds & CONTAINERS:
        return True
    return node.type == "VARCHAR" and "DECIMAL" in field.kinds


# What values in JSON are that become a declared type without a detour; any other type is written as a text.
EXACT_KINDS = {"BIGINT": {"BIGINT"}, "BOOLEAN": {"BOOLEAN"}, "DOUBLE": {"BIGINT", "DECIMAL"}}


def is_exact(seen: Field, nodes: list[Node], keys: Collection[str]) -> bool:
    """Say whether the declared values of a file may be read as their types are, and not as texts.

    Args:
        seen: the fields of the file.
        nodes: those of the schema.
        keys: the paths that are compared with a reference, as texts.
    """
    for field, node, path in _declared_values(seen, nodes):
        kind = _exact_kind(node)
        as_text = kind == "DOUBLE" and path in keys
        if as_text or not field.kinds <= EXACT_KINDS.get(kind, {"VARCHAR"}):
            return False
    return True


def fits(seen: Field, nodes: list[Node]) -> bool:
    """Say whether the declared types surely hold all values of a file that is exact, and proved, as they are.

    That is so where no text is to become another type, and where as many digits as were counted fit.
    """
    for field, node, _ in _declared_values(seen, nodes):
        if node.type.startswith("DECIMAL"):
            precision, scale = decimal_size(node.type)
            is_counted = "DECIMAL" in field.kinds or not field.kinds
            if not is_counted or field.fraction > scale or field.whole + scale > min(precision, DOUBLE_DIGITS):
                return False
        elif node.type != "VARCHAR" and node.type not in EXACT_KINDS:
            return False
    return True


def _declared_values(seen: Field, nodes: list[Node], path: tuple[str, ...] = ()) -> Iterator[tuple[Field, Node, str]]:
    """Yield what was seen of each value whose type is declared, its node, and its dotted path."""
    for node in nodes:
        field, place, inner = seen.fields.get(node.name), (*path, node.name), node
        if field is not None and node.kind == "list":
            field, inner = field.element, node.element or node
        if field is not None and inner.kind == "object":
            yield from _declared_values(field, inner.fields, place)
        elif field is not None and inner.kind == "value" and inner.declared and inner.read_type != "JSON":
            yield field, inner, ".".join(place)


def _exact_kind(node: Node) -> str:
    """Return the type that an exact value is read as, if JSON has it."""
    return "DOUBLE" if node.type.startswith("DECIMAL") else node.type


def decimal_size(kind: str) -> tuple[int, int]:
    """Return the digits of a `DECIMAL(p,s)`: p in all, s of them after the point."""
    precision, scale = kind.removeprefix("DECIMAL(").removesuffix(")").split(",")
    return int(precision), int(scale)


def as_declared(schema: RunSchema) -> RunSchema:
    """Return the schema by which values that are exact are read: as the types that are declared.

    A decimal is read as a double. That it has so few digits that it keeps them, is counted before, or looked at then.
    """
    return msgspec.structs.replace(schema, record=[_as_declared(node) for node in schema.record])


def _as_declared(node: Node) -> Node:
    read_type = node.read_type
    if node.declared and node.kind == "value" and read_type != "JSON":
        read_type = _exact_kind(node) if _exact_kind(node) in EXACT_KINDS else read_type
    element = _as_declared(node.element) if node.element else None
    fields = [_as_declared(field) for field in node.fields]
    return msgspec.structs.replace(node, read_type=read_type, element=element, fields=fields)


def check_covers(nodes: list[Node], seen: Field, path: tuple[str, ...] = ()) -> None:
    """Check that a schema which was inferred holds every value of a file that it was not made from.

    Raises:
        DataError: a field is not in it, or has a kind of value that its column does not hold.
    """
    by_name = {node.name: node for node in nodes}
    for name, field in seen.fields.items():
        node, place = by_name.get(name), (*path, name)
        if node is not None and node.kind == "list" and field.kinds <= {"array"}:
            field, node = field.element or Field(""), node.element  # noqa: PLW2901 - what the array holds
        if node is not None and node.kind == "object":
            check_covers(node.fields, field, place)
        elif node is None or not (node.declared or _holds(node, field)):
            found = f"a field {'.'.join(place)!r} of type {'/'.join(sorted(field.kinds)) or 'null'}"
            msg = (
                f"{field.first_file!r}: found {found}, expected the fields that this run's schema was made from: "
                "fanfold release puts the file back into landing, for a run of its own"
            )
            if node is not None or field.kinds:
                raise DataError(msg)


def _holds(node: Node, field: Field) -> bool:
    if node.read_type == "JSON":
        return True
    if node.type.startswith("DECIMAL"):
        precision, scale = decimal_size(node.type)
        size = DOUBLE_DIGITS if node.read_type != "VARCHAR" else precision
        fits = field.fraction <= scale and field.whole + scale <= size
        return field.kinds <= {"BIGINT", "DECIMAL"} and fits
    return (node.type == "VARCHAR" and not field.kinds & CONTAINERS) or field.kinds <= {node.type}
