"""Pure: the schema of a Parquet file as its footer has it, what its annotations mean, and what it says of records."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from fanfold.native import Form, Seen
from fanfold.parquet.values import FIXED, FORMS, PLAIN, refuse
from fanfold.spec.paths import Way

MAX_DEPTH, MAX_KEY_CHARACTERS = 128, 4_096
OPTIONAL, REPEATED = 1, 2
# The most digits of a decimal that is read, and those of a second in nanoseconds.
MAX_DIGITS, SECOND_DIGITS = 1_000, 9
DECIMAL, TIME, TIMESTAMP, INTEGER = 5, 7, 8, 10
# The annotations by their numbers: older ones, with the digits of a second, and newer ones. The older one of a
# timestamp does not say whether it is in UTC: it is read as if it is not. Other integers need no annotation.
# Of the older annotations, both of times say UTC (LogicalTypes.md of the format).
CONVERTED = {
    0: ("text", 0), 1: ("map", 0), 2: ("map", 0), 3: ("list", 0), 4: ("text", 0), 6: ("date", 0), 7: ("time", 3),
    8: ("time", 6), 9: ("moment", 3), 10: ("moment", 6), 13: ("unsigned 32", 0), 14: ("unsigned 64", 0),
    19: ("text", 0), 21: ("interval", 0),
}  # fmt: skip
LOGICAL = {
    1: "text", 2: "map", 3: "list", 4: "text", 6: "date", 11: "null", 12: "text",
    14: "uuid", 15: "half",
}  # fmt: skip


class Node(NamedTuple):
    """A field of the schema.

    Attributes:
        name: as it is in the file.
        repetition: 0 for a value, 1 for a value or null, 2 for any number of values.
        levels: the repetition level and the definition level that its values have, if nothing in them is missing.
        form: that of its values (see `FORMS`); of a group, "object", "list" or "map", or "element" and "entry" for the
            repeated group that holds the elements of a list, or the entries of a map.
        stored: the type that its values are stored as.
        size: how many bytes a value of FIXED has.
        digits: how many a decimal has in all, and how many behind the point; or a second.
        inside: the fields of a group.
    """

    name: str
    repetition: int
    levels: tuple[int, int]
    form: str
    stored: int = 0
    size: int = 0
    digits: tuple[int, int] = (0, 0)
    inside: tuple["Node", ...] = ()

    @property
    def writer(self) -> Callable[[Any], str]:
        """What writes its values as JSON."""
        form = FORMS[self.form]
        return partial(form.write, scale=self.digits[1]) if form.is_scaled else form.write


def schema(elements: Sequence[dict[int, Any]]) -> Node:
    """Return the tree of a schema, from its elements: each stands before those inside of it.

    Raises:
        UnreadableError: it is not a tree, or has fields that cannot be, or that no record of a run may have.
    """
    rest = iter(elements)
    root = _node(rest, 0, (0, 0))
    if next(rest, None) or not root.inside:
        refuse("found a schema that is not a single tree of fields")
    return root


def _node(rest: Iterator[dict[int, Any]], depth: int, around: tuple[int, int]) -> Node:
    """Return the field that comes next; `around` are the levels of the group that it is in."""
    if depth > MAX_DEPTH:
        refuse(f"found fields nested deeper than {MAX_DEPTH} levels", "too_deep")
    element = next(rest, {})
    name, repetition, children = element[4].decode(), element.get(3, 0) if depth else 0, element.get(5, 0)
    levels = around[0] + (repetition == REPEATED), around[1] + (repetition > 0)
    form, digits = _annotation(element)
    if not children and 1 in element:
        return _leaf(Node(name, repetition, levels, form or PLAIN[element[1]], element[1], element.get(2, 0), digits))
    if children <= 0:
        refuse(f"found no fields in {name!r}")
    # A count that lies costs no memory: it ends with the elements.
    inside = [_node(rest, depth + 1, levels) for _ in range(children)]
    _check_names([one.name for one in inside])
    return _group(Node(name, repetition, levels, form, inside=tuple(inside)))


def _annotation(element: dict[int, Any]) -> tuple[str, tuple[int, int]]:
    """Return the form that an element is annotated with, if any, and its digits."""
    newer: dict[int, dict[int, Any]] = {0: {}} | element.get(10, {})
    number, facts = newer.popitem()
    if DECIMAL in {number, element.get(6)}:
        return "decimal", (facts.get(2, element.get(8, 0)), facts.get(1, element.get(7, 0)))
    if number in {TIME, TIMESTAMP}:
        (unit,) = facts[2]
        return "time" if number == TIME else "moment" if facts[1] else "timestamp", (0, 3 * unit)
    if number == INTEGER and not facts[2] and facts[1] >= 32:  # noqa: PLR2004 - fewer bits are never negative
        return f"unsigned {facts[1]}", (0, 0)
    form, scale = CONVERTED.get(element.get(6, -1), ("", 0))
    return LOGICAL.get(number, form), (0, scale)


def _leaf(leaf: Node) -> Node:
    """Return a field that has values, if these can be read."""
    precision, scale = leaf.digits
    most = precision if leaf.form == "decimal" else SECOND_DIGITS
    is_known = leaf.form in FORMS and leaf.stored in FORMS[leaf.form].stored
    if not is_known or (leaf.stored == FIXED and leaf.size <= 0) or not 0 <= scale <= most <= MAX_DIGITS:
        found = f"found {leaf.name!r} of an unsupported type ({leaf.form}, stored as {leaf.stored})"
        refuse(f"{found}, expected numbers, text, bytes or times: write the column with another type")
    return leaf


def _group(group: Node) -> Node:
    """Say what a group and the group in it are. Lists of older programs are what the format says that they are."""
    inner = group.inside[0]
    is_nest = len(group.inside) == 1 and inner.repetition == REPEATED != group.repetition
    match group.form:
        case "map" if is_nest and len(inner.inside) in {1, 2}:
            return group._replace(inside=(inner._replace(form="entry"),))
        case "list" if is_nest:
            is_old = inner.name in {"array", f"{group.name}_tuple"} or len(inner.inside) != 1
            is_element = not is_old and inner.inside[0].repetition != REPEATED
            return group._replace(inside=(inner._replace(form="element" if is_element else inner.form),))
    return group._replace(form="object")


def _check_names(names: list[str]) -> None:
    """Refuse names that differ in letter case alone, as SQL tells letters: those of ASCII."""
    seen: dict[bytes, str] = {}
    for name in names:
        if (other := seen.get(folded := name.encode().lower())) is not None:
            found = f"found two fields that differ only in letter case ({other!r} and {name!r})"
            refuse(f"{found}, expected different names: rename one of them", "case_conflict")
        seen[folded] = name


def columns(root: Node, records: int) -> Seen:
    """Return what a schema says of records: their fields in its order, also those that are null everywhere.

    The counts are as if each record had a value in each field. A map is an array of which nothing is known.

    Raises:
        UnreadableError: there are too many fields, or a key is too long.
    """
    ways = list[Way]()
    seen = _seen(root, records, (), ways)
    # One of them is the record itself.
    fields, longest = len(ways) - 1, max(len(".".join(way)) for way in ways)
    if fields > (most := Form().max_fields):
        refuse(
            f"found {fields:,} fields, expected at most {most:,} in a run: spread the columns over several files",
            "too_many_fields",
        )
    if longest > (most := MAX_KEY_CHARACTERS):
        refuse(f"found a key of {longest} characters, with those around it, expected at most {most}", "key_too_long")
    return seen


def _seen(node: Node, count: int, way: Way, ways: list[Way]) -> Seen:
    """Return what a field holds; `ways` learns the way to each field in it."""
    if node.repetition == REPEATED:
        return Seen(arrays=count, element=_seen(node._replace(repetition=0), count, way, ways))
    if node.form in {"list", "element"}:
        return _seen(node.inside[0], count, way, ways)
    ways.append(way)
    if node.form == "map":
        return Seen(arrays=count)
    if node.form == "object":
        fields = {inner.name: _seen(inner, count, (*way, inner.name), ways) for inner in node.inside}
        return Seen(objects=count, fields=fields)
    form, is_float = FORMS[node.form], node.form in {"double", "half"}
    precision, scale = node.digits if node.form == "decimal" else (form.digits, 0)
    seen = Seen(whole=precision - scale, scale=scale, is_float=is_float, floats=count if is_float else 0)
    setattr(seen, form.kind, count)
    return seen
