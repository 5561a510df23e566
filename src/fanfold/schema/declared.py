"""Pure: what the spec declares about the fields of records, before any record is read."""

import dataclasses
from collections.abc import Collection

from fanfold.errors import DataError
from fanfold.native.fields import Field
from fanfold.spec.model import Spec
from fanfold.spec.paths import Way, way_of, written


@dataclasses.dataclass
class Declared:
    """What the spec declares about a field: its type, or those of fields inside of it."""

    type: str = ""
    fields: dict[str, "Declared"] = dataclasses.field(default_factory=dict)


def starts(way: Way) -> list[Way]:
    """Return the ways to the fields that lie around a field, the outermost first, and last its own."""
    return [way[:length] for length in range(1, len(way) + 1)]


def key_ways(spec: Spec) -> list[Way]:
    """Return the ways to the keys of references, part by part, in the order of the spec."""
    return [way_of(path) for merge in spec.merge for path in merge.record_keys]


def known_ways(spec: Spec) -> set[Way]:
    """Return the ways to the fields that are declared, and to those that have a declared one inside."""
    return {start for path in spec.input.fields for start in starts(way_of(path))}


def declared_fields(spec: Spec) -> Declared:
    """Return `input.fields` as a tree, in its order.

    Raises:
        DataError: a field is declared, and so is one inside of it.
    """
    root = Declared()
    for path, kind in spec.input.fields.items():
        at = root
        for start in starts(way_of(path)):
            if (outer := written(start)) in spec.input.fields and outer != path:
                msg = f"input.fields: {outer!r} and {path!r} are declared, expected a type for one of them"
                raise DataError(msg)
            at = at.fields.setdefault(start[-1], Declared())
        at.type = kind
    return root


def known_fields(spec: Spec, chain: Collection[list[str]]) -> Field | None:
    """Return what is known about records before they are read: the declared fields; None if there are none.

    Args:
        spec: what is declared.
        chain: the paths of the arrays that explode, as far as they are known.

    Raises:
        DataError: as `declared_fields`.
    """
    return _known(declared_fields(spec), (), {tuple(path) for path in chain}) if spec.input.fields else None


def _known(declared: Declared, way: Way, arrays: set[Way]) -> Field:
    inside = tuple(_known(inner, (*way, name), arrays) for name, inner in declared.fields.items())
    name = way[-1] if way else ""
    made = Field(name, type=declared.type) if declared.type else Field(name, "object", inside=inside)
    return Field(name, "list", inside=(made._replace(name=""),)) if way in arrays else made
