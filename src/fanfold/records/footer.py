"""What a file of Parquet says of its records, beside them: fields of nothing but nulls, floats, and maps."""

import contextlib
from pathlib import Path

from fanfold.faults import UnreadableError
from fanfold.native import Field, Seen


def footer_of(name: str, path: str) -> Seen | None:
    """Return what a file says of its records; None where that cannot be read. `name` is that of the file in landing."""
    from fanfold import parquet

    with contextlib.suppress(UnreadableError):
        footer = parquet.fields(Path(path))
        _name(footer, name)
        return footer
    return None


def _name(seen: Seen, name: str) -> None:
    seen.first_file = name
    for inner in seen.inside:
        _name(inner, name)


def with_maps(known: Field | None, footer: Seen, name: str = "") -> Field | None:
    """Return the fields that are known, if any, with maps as JSON: their keys are no fields.

    Args:
        known: what is known of a field, or of the record.
        footer: what the file says of it.
        name: its own.
    """
    at = footer.through_arrays
    if at.arrays:
        return known or Field(name, type="JSON")
    if known and known.kind == "list":
        (element,) = known.inside
        inner = with_maps(element, at) or element
        return known if inner is element else known._replace(inside=(inner,))
    inside = {field.name: field for field in known.inside} if known else {}
    made = {key: one for key, inner in at.fields.items() if (one := with_maps(inside.get(key), inner, key))}
    if all(one is inside.get(key) for key, one in made.items()):
        return known
    whole = Field(name, "object", inside=tuple((inside | made).values()))
    return Field(name, "list", inside=(whole._replace(name=""),)) if footer.arrays else whole


def add_footer(seen: Seen, footer: Seen, *, whole: bool = True) -> None:
    """Add what a file says to what was seen in it: the types of its fields, and their order.

    Without `whole`, it adds no field.
    """
    fields = {}
    for key, field in footer.fields.items():
        found, said = seen.fields.get(key, Seen()), field.through_arrays
        if not whole and not found.kinds and (key not in seen.fields or said.fields):
            continue
        if not found.kinds:
            # What is nothing but null has the type that the file gives it, if no other file has a value there.
            fields[key] = Seen(first_file=field.first_file, said=field)
            continue
        fields[key], at = found, found.through_arrays
        add_footer(at, said, whole=whole)
        if said.is_float:
            # What is not finite is a text.
            at.numbers, at.texts = at.numbers + at.texts, 0
            at.is_float, at.floats = True, at.integers + at.numbers
    # Maps were known before any record was read: they stand where they are in the file all the same.
    seen.fields = fields | {key: field for key, field in seen.fields.items() if key not in fields}
