"""What was seen in the records: the tree of all fields, with the kinds of value that each had."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from fanfold.manifest import Form
from fanfold.records.canonical import BIGINT, digits
from fanfold.records.json_records import Number
from fanfold.records.limits import MAX_FIELDS

# In the words of DuckDB's json_structure.
INTEGERS = {"UBIGINT", "BIGINT", "HUGEINT"}
CONTAINERS = {"object", "array"}
# Integers of more digits are looked at one by one.
SAFE_DIGITS = 18


@dataclasses.dataclass
class Field:
    """A field of the records.

    Attributes:
        first_file: the first file that has it.
        kinds: of its values: BIGINT, DECIMAL, DOUBLE, BOOLEAN, VARCHAR, object, array; nothing for null.
        fields: those of its objects.
        element: that of its arrays.
        whole: the most digits of a number before the point, as far as they were counted.
        fraction: the most digits of a number after the point, as far as they were counted.
    """

    first_file: str
    kinds: set[str] = dataclasses.field(default_factory=set)
    fields: dict[str, "Field"] = dataclasses.field(default_factory=dict)
    element: "Field | None" = None
    whole: int = 1
    fraction: int = 0

    def absorb(self, structure: Any) -> None:
        """Widen by the structure of one more value, as DuckDB's json_structure describes it."""
        if isinstance(structure, dict):
            self.kinds.add("object")
            for name, inner in structure.items():
                self.fields.setdefault(name, Field(self.first_file)).absorb(inner)
        elif isinstance(structure, list):
            self.kinds.add("array")
            self.element = self.element or Field(self.first_file)
            for inner in structure:
                self.element.absorb(inner)
        elif structure in INTEGERS:
            self.kinds.add("BIGINT")
        elif structure == "DOUBLE":
            self.kinds.add("DECIMAL")
        elif structure == "JSON":
            self.kinds.add("object")
        elif structure != "NULL":
            self.kinds.add(structure)

    def observe(self, value: Any) -> None:
        """Widen by one more value."""
        if isinstance(value, Number):
            self._observe_number(value)
        elif isinstance(value, str):
            self.kinds.add("VARCHAR")
        elif isinstance(value, dict):
            self.kinds.add("object")
            for name, inner in value.items():
                self.fields.setdefault(name, Field(self.first_file)).observe(inner)
        elif isinstance(value, list):
            self.kinds.add("array")
            self.element = self.element or Field(self.first_file)
            for inner in value:
                self.element.observe(inner)
        elif value is not None:
            self.kinds.add("BOOLEAN")

    def _observe_number(self, number: Number) -> None:
        integral = number.lstrip("-").isdecimal()
        whole, fraction = (len(number), 0) if integral and len(number) <= SAFE_DIGITS else digits(number)
        # Python makes no integer of thousands of digits.
        integral = integral and (whole <= SAFE_DIGITS or (whole == SAFE_DIGITS + 1 and int(number) in BIGINT))
        self.kinds.add("BIGINT" if integral else "DECIMAL")
        self.whole, self.fraction = max(self.whole, whole), max(self.fraction, fraction)

    def widen(self, other: "Field") -> None:
        """Widen by what was seen elsewhere, later."""
        self.kinds |= other.kinds
        self.whole, self.fraction = max(self.whole, other.whole), max(self.fraction, other.fraction)
        for name, inner in other.fields.items():
            self.fields.setdefault(name, Field(inner.first_file)).widen(inner)
        if other.element:
            self.element = self.element or Field(other.element.first_file)
            self.element.widen(other.element)

    @property
    def is_object(self) -> bool:
        """Whether every value is an object, and one of them has a field."""
        return self.kinds == {"object"} and bool(self.fields)

    def find(self, path: list[str]) -> "Field | None":
        """Return the field that a path leads to, through objects and arrays; None where there is none."""
        field: Field | None = self
        for name in path:
            field = field.through_arrays().fields.get(name) if field else None
        return field

    def has(self, form: Form) -> bool:
        """Say whether some value may have a form, as `records.forms` finds it."""
        for field in _reach(self, form.path):
            seen = field.element if form.inside else field
            kinds = {kind if kind in CONTAINERS else "scalar" for kind in seen.kinds} if seen else set()
            if not form.kinds or kinds & {*form.kinds}:
                return True
        return False

    def through_arrays(self) -> "Field":
        """Return what the fields of this field lie in: itself, or the elements of its arrays."""
        field = self
        while field.element is not None and not field.fields:
            field = field.element
        return field

    def size(self, whole: Collection[str], path: str = "") -> int:
        """Return the number of fields in this one; those inside of `whole`, by their dotted paths, do not count."""
        inner = self.through_arrays()
        if path and path in whole:
            return 0
        below = f"{path}." if path else ""
        return len(inner.fields) + sum(field.size(whole, below + name) for name, field in inner.fields.items())

    def paths(self, above: str = "") -> Iterator[str]:
        """Yield the dotted path of every field, through objects and arrays."""
        for name, inner in self.through_arrays().fields.items():
            yield above + name
            yield from inner.paths(f"{above}{name}.")


def _reach(field: Field, path: tuple[str, ...]) -> Iterator[Field]:
    if not path:
        yield field
        return
    if path[0] in field.fields:
        yield from _reach(field.fields[path[0]], path[1:])
    if field.element:
        yield from _reach(field.element, path)


class Contents(NamedTuple):
    """What a file holds: the number of its records, and the tree of their fields."""

    records: int
    fields: Field


def union(fields: list[Field]) -> Field:
    """Return the tree of what was seen in all files, in their order."""
    root = Field("")
    # Files of one shape share it.
    for field in {id(field): field for field in fields}.values():
        root.widen(field)
    return root


def crowded(trees: Mapping[str, Field], whole: Collection[str]) -> dict[str, int]:
    """Return the files with which a run would have too many fields, and how many: of all files those with the most.

    Args:
        trees: the fields of each file by its name; files of one shape share them.
        whole: as `Field.size`.
    """
    sharing: dict[int, list[str]] = {}
    for name, fields in trees.items():
        sharing.setdefault(id(fields), []).append(name)
    found: dict[str, int] = {}
    root, most = Field(""), 0
    for size, names in sorted((trees[names[0]].size(whole), sorted(names)) for names in sharing.values()):
        most += size
        if most <= MAX_FIELDS:
            root.widen(trees[names[0]])
            continue
        # Files have fields in common: only now it is worth to count them.
        wider = union([root, trees[names[0]]])
        if (together := wider.size(whole)) > MAX_FIELDS:
            found |= dict.fromkeys(names, together)
        else:
            root = wider
        most = root.size(whole)
    return found
