"""The fields of records as the core takes them (a schema), and as it has learnt them (a shape)."""

import json
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Self

from fanfold.spec.paths import Way, written

_NODE = struct.Struct("<BBBBIII")
_KINDS = ("object", "list", "value")
# The kinds of values that have values in them, as `Seen.kinds` calls them.
CONTAINERS = {"object", "array"}
TYPES = (
    "VARCHAR", "BIGINT", "DECIMAL", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "JSON", "EPOCH_S",
    "EPOCH_MS",
)  # fmt: skip
COUNTS = ("nulls", "integers", "numbers", "booleans", "texts", "objects", "arrays", "floats")


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


def type_of(kind: str) -> tuple[int, int, int]:
    """Return a type as the core takes it: its number; precision and scale of a DECIMAL, zeros for others."""
    base, _, digits = kind.partition("(")
    precision, scale = map(int, digits.rstrip(")").split(",")) if digits else (0, 0)
    return TYPES.index(base), precision, scale


def schema(record: Field) -> bytes:
    """Return a schema as the core takes it."""
    return b"".join(_node(node) for node in _each(record))


def _each(node: Field) -> Iterator[Field]:
    yield node
    for inner in node.inside:
        yield from _each(inner)


def _node(node: Field) -> bytes:
    name = node.name.encode()
    return _NODE.pack(_KINDS.index(node.kind), *type_of(node.type), node.key, len(node.inside), len(name)) + name


@dataclass
class Seen:
    """What a field was seen to hold, in how many records; the fields in it in the order of their first appearance.

    `integers` are numbers that 64 bits hold, by value. `whole` and `scale` are the most digits of a number before and
    behind its point. `order` has the numbers of the kinds of values, from 0 for null, in the order of their first
    appearance. `element` is what the field's arrays have in them. `first_file` is the first file that has the
    field. `is_float` says that a file of Parquet has it as a float, `floats` in how many records such a file has
    numbers in it. `said` is what files of Parquet say of it that have nothing but nulls there.
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
    order: str = ""
    fields: dict[str, Self] = field(default_factory=dict)
    element: Self | None = None
    first_file: str = ""
    is_float: bool = False
    floats: int = 0
    said: Self | None = None

    @classmethod
    def parse(cls, learnt: bytes, files: Sequence[tuple[int, str]] = (), declared: Field | None = None) -> Self:
        """Return what the core has learnt.

        Args:
            learnt: as the core writes it.
            files: how many nodes there were after each of them.
            declared: the fields that it knew before; those that no record has are left out.
        """
        nodes: list[Self] = []
        parents: list[int] = []
        ends, at = [*files, (sys.maxsize, "")], 0
        for parent, name, *facts in json.loads(learnt):
            node = cls(*facts)
            while len(nodes) >= ends[at][0]:
                at += 1
            node.first_file = ends[at][1]
            if nodes and name is None:
                nodes[parent].element = node
            elif nodes:
                nodes[parent].fields[name] = node
            nodes.append(node)
            parents.append(parent)
        for i in range(len(list(_each(declared))) - 1 if declared else 0, 0, -1):
            above = nodes[parents[i]]
            if not (nodes[i].order or nodes[i].fields or nodes[i].element):
                above.fields = {name: node for name, node in above.fields.items() if node is not nodes[i]}
                above.element = None if above.element is nodes[i] else above.element
        return nodes[0]

    def add(self, later: Self) -> None:
        """Add what was seen in later files."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.whole, self.scale = max(self.whole, later.whole), max(self.scale, later.scale)
        self.is_float |= later.is_float
        self.order += "".join(kind for kind in later.order if kind not in self.order)
        for key, inner in later.fields.items():
            self.fields.setdefault(key, type(self)(first_file=inner.first_file)).add(inner)
        if later.element is not None:
            self.element = self.element or type(self)(first_file=later.element.first_file)
            self.element.add(later.element)
        if later.said is not None:
            self.said = self.said or type(self)()
            self.said.add(later.said)

    def settle(self) -> None:
        """Take in what files say of fields that are null in all of their records, as far as no value says otherwise."""
        said = self.said
        if said and not self.kinds:
            self.add(said)
        elif said:
            self.said = None
            self.nulls += sum(said.kinds.values())
            if self.kinds.keys() == said.kinds.keys() <= CONTAINERS:
                inner = {key: type(self)(first_file=one.first_file, said=one) for key, one in said.fields.items()}
                self.add(type(self)(fields=inner, element=said.element and type(self)(said=said.element)))
        for one in self.inside:
            one.settle()

    @property
    def inside(self) -> Iterator[Self]:
        """The fields in it, and what its arrays have in them."""
        yield from self.fields.values()
        if self.element:
            yield self.element

    @property
    def kinds(self) -> dict[str, int]:
        """What values there are, null aside: `object`, `array`, `scalar`; the first one first."""
        scalars = self.integers + self.numbers + self.booleans + self.texts
        found = {"object": self.objects, "array": self.arrays, "scalar": scalars}
        first = ({"5": "object", "6": "array"}.get(kind, "scalar") for kind in self.order if kind != "0")
        return {kind: found[kind] for kind in dict.fromkeys([*first, *found]) if found[kind]}

    @property
    def is_object(self) -> bool:
        """Whether every value is an object, and one of them has a field."""
        return self.kinds.keys() == {"object"} and bool(self.fields)

    @property
    def records(self) -> int:
        """In how many records the field is; one that has it several times, with values of several kinds, counts so."""
        return self.nulls + sum(self.kinds.values())

    @property
    def through_arrays(self) -> Self:
        """What contains the fields of this field: the field itself, or the elements of its arrays."""
        at = self
        while at.element is not None and not at.fields:
            at = at.element
        return at

    def find(self, path: Iterable[str]) -> Self | None:
        """Return the field that a path leads to, through objects and arrays; None if there is none."""
        at: Self | None = self
        for name in path:
            at = at.through_arrays.fields.get(name) if at else None
        return at

    def reached(self, way: Way) -> Iterator[Self]:
        """Yield the fields at a way, in objects and in the elements of arrays."""
        if not way:
            yield self
            return
        if way[0] in self.fields:
            yield from self.fields[way[0]].reached(way[1:])
        if self.element:
            yield from self.element.reached(way)

    def forget(self, kinds: Iterable[str]) -> None:
        """Take values of some kinds for nulls: what a file has said of them, and no record has."""
        for kind in kinds:
            self.nulls += self.kinds.get(kind, 0)
            if kind == "object":
                self.objects, self.fields = 0, {}
            elif kind == "array":
                self.arrays, self.element = 0, None
            else:
                self.integers = self.numbers = self.booleans = self.texts = self.whole = self.scale = self.floats = 0
                self.is_float = False

    def paths(self, above: Way = ()) -> Iterator[str]:
        """Yield the path of every field, through objects and arrays."""
        for name, inner in self.through_arrays.fields.items():
            yield written((*above, name))
            yield from inner.paths((*above, name))

    def __len__(self) -> int:
        """Return how many fields there are in it, at any depth."""
        return len(self.fields) + sum(map(len, self.inside))

    def __bool__(self) -> bool:
        """Say that it is there, whatever is in it."""
        return True


def merged(shapes: Iterable[Seen]) -> Seen:
    """Return what was seen in all files, which are given in the order of their names."""
    whole = Seen()
    for shape in shapes:
        whole.add(shape)
    whole.settle()
    return whole
