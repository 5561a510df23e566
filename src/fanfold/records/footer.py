"""What a file of Parquet says of its records, beside them: fields of nothing but nulls, floats, and maps."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from fanfold.faults import UnreadableError
from fanfold.native import Field, Seen
from fanfold.spec.paths import Way

if TYPE_CHECKING:
    from fanfold.parquet import Columns


def footer_of(name: str, path: str) -> "Columns | None":
    """Return what a file says of its records; None where that cannot be read. `name` is that of the file in landing."""
    from fanfold import parquet

    with contextlib.suppress(UnreadableError):
        footer = parquet.fields(Path(path))
        _name(footer.seen, name)
        return footer
    return None


def _name(seen: Seen, name: str) -> None:
    seen.first_file = name
    for inner in (*seen.fields.values(), *([seen.element] if seen.element else [])):
        _name(inner, name)


def with_maps(known: Field | None, seen: Seen, maps: frozenset[Way], way: Way = ()) -> Field:
    """Return the fields that are known, with maps as JSON: their keys are no fields.

    Args:
        known: what is known of the field at the way.
        seen: what the file says of it.
        maps: the ways to the maps.
        way: to a field that has maps in it; the record's is empty.
    """
    name, depth = way[-1] if way else "", len(way)
    if way in maps:
        return known or Field(name, type="JSON")
    if known and known.kind == "list":
        element = with_maps(known.inside[0]._replace(name=name), seen.through_arrays, maps, way)
        return known._replace(inside=(element._replace(name=""),))
    inside = {field.name: field for field in known.inside} if known else {}
    for key in dict.fromkeys(one[depth] for one in maps if one[:depth] == way):
        inside[key] = with_maps(inside.get(key), seen.through_arrays.fields[key], maps, (*way, key))
    made = Field(name, "object", inside=tuple(inside.values()))
    return Field(name, "list", inside=(made._replace(name=""),)) if seen.arrays else made


def add_footer(seen: Seen, footer: "Columns", above: Way = ()) -> None:
    """Add what a file says to what was seen in it: the types of its fields, and their order."""
    fields = {}
    for key, field in footer.seen.fields.items():
        way, found = (*above, key), seen.fields.get(key)
        # What is nothing but null has the type that the file gives it.
        fields[key] = found if found is not None and found.kinds else field
        at = fields[key].through_arrays
        add_footer(at, footer._replace(seen=field.through_arrays), way)
        if way in footer.doubles:
            # What is not finite is a text.
            at.numbers, at.texts = at.numbers + at.texts, 0
            at.is_float, at.floats = True, at.integers + at.numbers
    # Maps were known before any record was read: they stand where they are in the file all the same.
    seen.fields = fields | {key: field for key, field in seen.fields.items() if key not in fields}
