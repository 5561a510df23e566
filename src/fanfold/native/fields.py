"""The fields of records as the core takes them (a schema), and as it has learnt them (a shape)."""

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

_NODE = struct.Struct("<BBBBIII")
_KINDS = ("object", "list", "value")
TYPES = ("VARCHAR", "BIGINT", "DECIMAL", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "JSON")


class Field(NamedTuple):
    """A field of a schema.

    Attributes:
        name: its key; the record itself and the elements of arrays have none.
        kind: an object, a list whose elements have rows of their own, or a value.
        type: of a value, as in `DECIMAL(18,2)`.
        key: 0, or its number among the values of its scope that are parts of keys.
        inside: the fields of an object; the element of a list.
    """

    name: str = ""
    kind: Literal["object", "list", "value"] = "value"
    type: str = "VARCHAR"
    key: int = 0
    inside: tuple["Field", ...] = ()


def digits_of(kind: str) -> tuple[int, int]:
    """Return precision and scale of a DECIMAL; zeros for other types."""
    _, _, digits = kind.partition("(")
    precision, scale = map(int, digits.rstrip(")").split(",")) if digits else (0, 0)
    return precision, scale


def schema(record: Field) -> bytes:
    """Return a schema as the core takes it."""
    return b"".join(map(_node, _each(record)))


def _each(node: Field) -> Iterator[Field]:
    yield node
    for inner in node.inside:
        yield from _each(inner)


def _node(node: Field) -> bytes:
    base, (precision, scale) = node.type.partition("(")[0], digits_of(node.type)
    name = node.name.encode()
    kind, number = _KINDS.index(node.kind), TYPES.index(base)
    return _NODE.pack(kind, number, precision, scale, node.key, len(node.inside), len(name)) + name


@dataclass
class Seen:
    """What a field was seen to hold, in how many records; the fields in it in the order of their first appearance.

    `integers` are numbers that 64 bits hold, by value. `whole` and `scale` are the most digits of a number before and
    behind its point. `element` is what the field's arrays have in them.
    """

    nulls: int = 0
    integers: int = 0
    numbers: int = 0
    booleans: int = 0
    texts: int = 0
    objects: int = 0
    arrays: int = 0
    whole: int = 0
    scale: int = 0
    fields: dict[str, Self] = field(default_factory=dict)
    element: Self | None = None

    @classmethod
    def parse(cls, learnt: bytes) -> Self:
        """Return what the core has learnt."""
        nodes: list[Self] = []
        for parent, name, *facts in json.loads(learnt):
            node = cls(*facts)
            if nodes and name is None:
                nodes[parent].element = node
            elif nodes:
                nodes[parent].fields[name] = node
            nodes.append(node)
        return nodes[0]

    def add(self, later: Self) -> None:
        """Take in what was seen in later files."""
        for name in ("nulls", "integers", "numbers", "booleans", "texts", "objects", "arrays"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.whole, self.scale = max(self.whole, later.whole), max(self.scale, later.scale)
        for key, inner in later.fields.items():
            self.fields.setdefault(key, type(self)()).add(inner)
        if later.element is not None:
            self.element = self.element or type(self)()
            self.element.add(later.element)


def merged(shapes: Iterable[Seen]) -> Seen:
    """Return what was seen in all files, which are given in the order of their names."""
    whole = Seen()
    for shape in shapes:
        whole.add(shape)
    return whole
