"""The one schema of a run: the tree of all fields, the type to read records with, the columns it flattens to."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from fanfold.engine.session import identifier
from fanfold.errors import DataError, MissingError, nearest
from fanfold.manifest import Column
from fanfold.spec import Spec

RECORD = "record"
INTEGERS = {"UBIGINT": "BIGINT", "HUGEINT": "BIGINT"}


@dataclasses.dataclass
class Field:
    """A field of the records: the kinds of value it was seen with, the fields of its objects, of its elements."""

    first_file: str
    kinds: set[str] = dataclasses.field(default_factory=set)
    fields: dict[str, "Field"] = dataclasses.field(default_factory=dict)
    element: "Field | None" = None

    def absorb(self, structure: Any, file: str) -> None:
        """Widen by the structure of one more value, as DuckDB's json_structure describes it."""
        if isinstance(structure, dict):
            self.kinds.add("object")
            for name, inner in structure.items():
                self.fields.setdefault(name, Field(file)).absorb(inner, file)
        elif isinstance(structure, list):
            self.kinds.add("array")
            self.element = self.element or Field(file)
            for inner in structure:
                self.element.absorb(inner, file)
        elif structure == "JSON":
            # Outside of arrays there is one value, so nothing to be at odds: it is an object without fields.
            self.kinds.add("object")
        elif structure != "NULL":
            self.kinds.add(INTEGERS.get(structure, structure))

    @property
    def is_object(self) -> bool:
        """Whether every value is an object, and one of them has a field."""
        return self.kinds == {"object"} and bool(self.fields)

    @property
    def scalar(self) -> str:
        """The type that holds every value, where it is no object: text for values of several kinds."""
        if self.kinds == {"BIGINT", "DOUBLE"}:
            return "DOUBLE"
        # WIDE integers, of more digits than a DOUBLE holds, are BIGINT among integers only.
        kinds = {"BIGINT"} if self.kinds and self.kinds <= {"BIGINT", "WIDE"} else self.kinds
        only = next(iter(kinds)) if len(kinds) == 1 else "VARCHAR"
        return "VARCHAR" if only in {"object", "array"} else only


def tree(structures: Iterable[tuple[str, str]]) -> Field:
    """Return the union of all fields.

    Args:
        structures: file name and structure, in the order in which fields are to become columns. A structure is that of
            DuckDB's json_structure, where an array may list several.
    """
    root = Field("")
    seen: set[str] = set()
    for file, structure in structures:
        if structure not in seen:
            seen.add(structure)
            root.absorb(json.loads(structure), file)
    return root


def check(root: Field, spec: Spec) -> None:
    """Compare what the spec says of the records with the fields that they have.

    Raises:
        MissingError: no record has the exploded array, or the key of a reference; the nearest name is given.
        DataError: the exploded field is no array, a key is no scalar, a name is empty or is used twice.
    """
    for path in spec.denormalize.explode:
        field = _find(root, path, "denormalize.explode")
        if field.kinds - {"array"}:
            kind = min(field.kinds - {"array"})
            msg = (
                f"denormalize.explode {path!r}: found {kind} in {field.first_file!r}, expected an array in every record"
            )
            raise DataError(msg)
    for index, merge in enumerate(spec.merge):
        field = _find(root, merge.record_key, f"merge.{index}.key")
        if field.kinds & {"array", "object"}:
            msg = f"merge.{index}.key {merge.record_key!r}: found an {min(field.kinds)}, expected a text or a number"
            raise DataError(msg)
    _check_names(root, spec.denormalize.explode, ())


def _find(root: Field, path: str, key: str) -> Field:
    field = root
    for name in path.split("."):
        if name not in field.fields:
            msg = f"{key} {path!r} is in no record, {nearest(path, _paths(root))}"
            raise MissingError(msg)
        field = field.fields[name]
    return field


def _paths(field: Field, above: str = "") -> Iterator[str]:
    for name, inner in field.fields.items():
        yield above + name
        yield from _paths(inner, f"{above}{name}.")


def _check_names(field: Field, explode: list[str], path: tuple[str, ...]) -> None:
    seen: dict[str, str] = {}
    for name, inner in field.fields.items():
        place = ".".join((*path, name))
        if not name:
            msg = f"{place!r} in {inner.first_file!r}: found a field without a name, expected one to name a column by"
            raise DataError(msg)
        other = seen.setdefault(name.lower(), place)
        if other != place:
            msg = f"fields {other!r} and {place!r} (in {inner.first_file!r}) have one name, expected names apart"
            raise DataError(msg)
        if inner.is_object:
            _check_names(inner, explode, (*path, name))
        elif place in explode and inner.element is not None and inner.element.is_object:
            _check_names(inner.element, explode, (*path, name))


def record_type(root: Field, spec: Spec) -> list[tuple[str, str]]:
    """Return name and DuckDB type of each top-level field: what records are read with."""
    return [(name, _type(field, (name,), spec)) for name, field in root.fields.items()]


def _type(field: Field, path: tuple[str, ...], spec: Spec) -> str:
    if ".".join(path) in spec.denormalize.explode:
        return (_type(field.element, (*path, "[]"), spec) if field.element else "VARCHAR") + "[]"
    if field.is_object:
        inner = (f"{identifier(name)} {_type(f, (*path, name), spec)}" for name, f in field.fields.items())
        return f"STRUCT({', '.join(inner)})"
    return _scalar(field, path, spec)


def _scalar(field: Field, path: tuple[str, ...], spec: Spec) -> str:
    """Return the type of a field; a key with decimals stays text: 1 is not to become 1.0 because of another record."""
    keys = {merge.record_key for merge in spec.merge}
    return "VARCHAR" if ".".join(path) in keys and field.scalar == "DOUBLE" else field.scalar


def record_columns(root: Field, spec: Spec) -> list[Column]:
    """Return the columns that a record flattens to, in the order of its fields.

    Objects flatten to columns `a_b`; the exploded array to the columns of its elements; other arrays are JSON text.
    """
    return [
        Column(spec.denormalize.separator.join(path), _scalar(field, path, spec), RECORD, list(path), field.first_file)
        for path, field in _leaves(root, spec, ())
    ]


def _leaves(field: Field, spec: Spec, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Field]]:
    for name, inner in field.fields.items():
        place = (*path, name)
        if ".".join(place) in spec.denormalize.explode:
            if inner.element is not None and inner.element.is_object:
                yield from _leaves(inner.element, spec, place)
            elif inner.element is not None and inner.element.kinds:
                yield place, inner.element
        elif inner.is_object:
            yield from _leaves(inner, spec, place)
        else:
            yield place, inner


def reference_columns(index: int, taken: list[str], spec: Spec) -> list[Column]:
    """Return the columns that a reference adds, all of them text."""
    into = spec.merge[index].into
    return [Column(into + spec.denormalize.separator + name, "VARCHAR", into, [name]) for name in taken]


def output_columns(columns: list[Column], spec: Spec) -> list[Column]:
    """Return the columns of the output: all, or those of `denormalize.columns` in its order.

    Raises:
        DataError: two columns have one name, be it in other letter case.
        MissingError: `denormalize.columns` names one that is not there.
    """
    by_name: dict[str, Column] = {}
    for column in columns:
        other = by_name.setdefault(column.name.lower(), column)
        if other is not column:
            both = " and ".join(repr(".".join((c.source, *c.path))) for c in (other, column))
            msg = (
                f"{both} both become the column {column.name!r}, expected names apart: choose another separator or into"
            )
            raise DataError(msg)
    if spec.denormalize.columns is None:
        return columns
    known = {column.name: column for column in columns}
    for name in spec.denormalize.columns:
        if name not in known:
            msg = f"denormalize.columns {name!r} is no column, {nearest(name, known)}"
            raise MissingError(msg)
    return [known[name] for name in spec.denormalize.columns]


def check_covers(frozen: list[Column], root: Field, spec: Spec) -> None:
    """Check that the run's schema holds every value of a file that it was not made from.

    Raises:
        DataError: a field is not in it, or has a kind of value that its column does not hold.
    """
    types = {tuple(column.path): column.type for column in frozen}
    for path, field in _leaves(root, spec, ()):
        if not field.kinds or (field.kinds == {"object"} and any(known[: len(path)] == path for known in types)):
            # Nothing but null, or objects without a field.
            continue
        held = types.get(path)
        holds = {"DOUBLE": {"DOUBLE", "BIGINT"}, "BIGINT": {"BIGINT", "WIDE"}}.get(held or "", {held})
        if held is None or (held != "VARCHAR" and not field.kinds <= holds):
            found = f"a field {'.'.join(path)!r} of type {field.scalar}"
            msg = (
                f"{field.first_file!r}: found {found}, expected the fields that this run's schema was made from: "
                "fanfold release puts the file back into landing, for a run of its own"
            )
            raise DataError(msg)
