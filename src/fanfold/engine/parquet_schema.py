"""Pure: the schema of a file of Parquet, as its footer has it, and what its annotations mean."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fanfold.faults import UnreadableError
from fanfold.native import Form, Seen

MAX_DEPTH, MAX_KEY_CHARACTERS = 128, 4_096
# The most digits of a decimal that anybody writes are 76.
MAX_DIGITS = 1_000
BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = range(8)
UNREADABLE, TOO_LARGE, BOMB, TOO_DEEP = "unreadable", "too_large", "bomb", "too_deep"
RENAMED, TOO_MANY_FIELDS, KEY_TOO_LONG = "case_conflict", "too_many_fields", "key_too_long"
GROUP = -1
OPTIONAL, REPEATED = 1, 2
# Forms of values, by the numbers of the older annotations, and of the newer ones. With times stand the digits of a
# second; a moment is a timestamp in UTC. The older annotation does not say whether one is: it is read as if it is not.
CONVERTED = {
    0: "text", 1: "map", 2: "map", 3: "list", 4: "text", 5: "decimal", 6: "date", 7: "time 3", 8: "time 6",
    9: "timestamp 3", 10: "timestamp 6", 11: "integer", 12: "integer", 13: "unsigned 32", 14: "unsigned 64",
    15: "integer", 16: "integer", 17: "integer", 18: "integer", 19: "text", 21: "interval",
}  # fmt: skip
LOGICAL = {
    1: "text", 2: "map", 3: "list", 4: "text", 5: "decimal", 6: "date", 11: "null", 12: "text", 14: "uuid", 15: "half",
}  # fmt: skip
TIME, TIMESTAMP, INTEGER = 7, 8, 10
# What a value without an annotation is, and what one with an annotation may be stored as.
PLAIN = {
    BOOLEAN: "boolean", INT32: "integer", INT64: "integer", INT96: "timestamp 96", FLOAT: "double", DOUBLE: "double",
    BYTE_ARRAY: "bytes", FIXED: "bytes",
}  # fmt: skip
STORED: dict[str, tuple[int, ...]] = {
    "text": (BYTE_ARRAY, FIXED), "decimal": (INT32, INT64, BYTE_ARRAY, FIXED), "date": (INT32,), "time 3": (INT32,),
    "time 6": (INT64,), "time 9": (INT64,), "integer": (INT32, INT64), "unsigned 32": (INT32,), "unsigned 64": (INT64,),
    "interval": (FIXED,), "uuid": (FIXED,), "half": (FIXED,),
    **{f"{word} {digits}": (INT64,) for word in ("timestamp", "moment") for digits in (3, 6, 9)},
}  # fmt: skip
DOUBLES = {"double", "half"}
SIZES = {"interval": 12, "uuid": 16, "half": 2}


class Node(NamedTuple):
    """A field of the schema.

    Attributes:
        name: as it is in the file.
        plain: how DuckDB is told to name it: no two are alike.
        repetition: 0 for a value, 1 for a value or null, 2 for any number of values.
        form: what its values are: "object", "list", "map", or a form of values.
        stored: the type that its values are stored as; GROUP for a group.
        size: how many bytes a value of FIXED has.
        digits: those of a decimal in all, and behind the point.
        inside: the fields of a group.
    """

    name: str
    plain: str
    repetition: int
    form: str
    stored: int
    size: int
    digits: tuple[int, int]
    inside: tuple["Node", ...]


class Columns(NamedTuple):
    """What a file of Parquet says of its records.

    Attributes:
        seen: its fields in the order of the file, those that are null everywhere included. The counts are as if each
            record had a value in each field.
        doubles: the paths of fields that are floats, be they written like integers. Arrays have no step in a path.
        maps: the paths of fields that are maps. In `seen` they are arrays of which nothing is known: a column of JSON.
        records: how many there are.
    """

    seen: Seen
    doubles: frozenset[tuple[str, ...]]
    maps: frozenset[tuple[str, ...]]
    records: int


def unreadable(message: str) -> UnreadableError:
    """Return the error of a file that is not Parquet, or not whole."""
    return UnreadableError(UNREADABLE, message)


def schema(elements: Sequence[dict[int, Any]]) -> Node:
    """Return the tree of a schema, from its elements: each before those inside of it.

    Raises:
        UnreadableError: it is not a tree, means what cannot be, or has fields that no record of a run may have.
    """
    rest = iter(enumerate(elements))
    root = _node(rest, 0)
    if next(rest, None) or not root.inside:
        msg = "found a schema that is not one tree of fields"
        raise unreadable(msg)
    return root


def _node(rest: Iterator[tuple[int, dict[int, Any]]], depth: int) -> Node:
    number, element = next(rest, (0, {}))
    if depth > MAX_DEPTH:
        raise UnreadableError(TOO_DEEP, f"found fields nested deeper than {MAX_DEPTH} levels")
    name, repetition, children = element[4].decode(), element.get(3, 0), element.get(5, 0)
    form, digits = _form(element)
    if not children and 1 in element:
        leaf = Node(name, f"c{number}", repetition, form, element[1], element.get(2, 0), digits, ())
        return leaf._replace(form=_checked(leaf))
    if children <= 0:
        msg = f"found no fields in {name!r}"
        raise unreadable(msg)
    inside: list[Node] = []
    while len(inside) < children:
        inside.append(_node(rest, depth + 1))
    _check_names([one.name for one in inside])
    group = Node(name, f"c{number}", repetition, form, GROUP, 0, (0, 0), tuple(inside))
    return group if _is_nest(group) else group._replace(form="object")


def _form(element: dict[int, Any]) -> tuple[str, tuple[int, int]]:
    """Return the form that the annotations name, or nothing; and the digits of a decimal."""
    digits = (element.get(8, 0), element.get(7, 0))
    for kind, facts in element.get(10, {}).items():
        if kind in {TIME, TIMESTAMP}:
            (unit,) = facts[2]
            return f"{'time' if kind == TIME else 'moment' if facts[1] else 'timestamp'} {3 * unit}", digits
        if kind == INTEGER:
            return "integer" if facts[2] or facts[1] < 32 else f"unsigned {facts[1]}", digits  # noqa: PLR2004 - bits
        if kind in LOGICAL:
            return LOGICAL[kind], (facts[2], facts[1]) if LOGICAL[kind] == "decimal" else digits
    return CONVERTED.get(element.get(6, -1), ""), digits


def _checked(leaf: Node) -> str:
    """Return the form of the values, which must be one that can be stored like that."""
    if leaf.stored not in PLAIN or (leaf.stored == FIXED and leaf.size <= 0):
        msg = f"found {leaf.name!r} stored in a way that Parquet does not have"
        raise unreadable(msg)
    if leaf.form in {"", "null"}:
        return leaf.form or PLAIN[leaf.stored]
    fits = leaf.stored in STORED.get(leaf.form, ()) and SIZES.get(leaf.form, leaf.size) == leaf.size
    if not fits or (leaf.form == "decimal" and not 0 <= leaf.digits[1] <= leaf.digits[0] <= MAX_DIGITS):
        msg = f"found {leaf.name!r} with values that are not stored as their kind ({leaf.form}) is"
        raise unreadable(msg)
    return leaf.form


def _check_names(names: list[str]) -> None:
    """Refuse names that differ in letter case alone, as SQL tells letters: those of ASCII."""
    seen: dict[bytes, str] = {}
    for name in names:
        if (other := seen.get(folded := name.encode().lower())) is not None:
            msg = f"found two fields that differ in letter case alone ({other!r} and {name!r}), expected names apart"
            raise UnreadableError(RENAMED, msg)
        seen[folded] = name


def _is_nest(group: Node) -> bool:
    """Say whether the fields of a list or a map are as the format wants them."""
    if group.repetition == REPEATED or len(group.inside) != 1 or group.inside[0].repetition != REPEATED:
        return False
    return group.form == "list" or (group.form == "map" and 1 <= len(group.inside[0].inside) <= 2)  # noqa: PLR2004


def element(group: Node) -> Node | None:
    """Return what a list has in it: a field of its repeated group; None where that group itself is the element.

    So the format rules for lists that older programs have written.
    """
    (repeated,) = group.inside
    if len(repeated.inside) != 1 or repeated.name in {"array", f"{group.name}_tuple"}:
        return None
    return None if repeated.inside[0].repetition == REPEATED else repeated.inside[0]


def leaves(node: Node, above: tuple[Node, ...] = ()) -> Iterator[tuple[Node, ...]]:
    """Yield the way to each field that has values, in the order of the file; the root is not in it."""
    for inner in node.inside:
        way = (*above, inner)
        yield from leaves(inner, way) if inner.inside else (way,)


def columns(root: Node, records: int) -> Columns:
    """Return what a schema says of records.

    Raises:
        UnreadableError: there are too many fields, or a key is too long.
    """
    paths: dict[tuple[str, ...], str] = {}
    seen = _seen(root._replace(repetition=0), records, (), paths)
    names = list(paths)
    if len(names) > (most := Form().max_fields):
        raise UnreadableError(TOO_MANY_FIELDS, f"found {len(names)} fields, expected at most {most}")
    longest = max((sum(map(len, path)) + len(path) - 1 for path in names), default=0)
    if longest > MAX_KEY_CHARACTERS:
        msg = f"found a key of {longest} characters, with those around it, expected at most {MAX_KEY_CHARACTERS}"
        raise UnreadableError(KEY_TOO_LONG, msg)
    doubles = frozenset(path for path, form in paths.items() if form in DOUBLES)
    return Columns(seen, doubles, frozenset(path for path, form in paths.items() if form == "map"), records)


def _seen(node: Node, count: int, path: tuple[str, ...], paths: dict[tuple[str, ...], str]) -> Seen:
    """Return what a field is; `paths` learns the path of each field in it, and the form of its values."""
    if node.repetition == REPEATED:
        return Seen(arrays=count, element=_seen(node._replace(repetition=0), count, path, paths))
    if node.form == "list":
        inner = element(node) or node.inside[0]._replace(repetition=0)
        return Seen(arrays=count, element=_seen(inner, count, path, paths))
    if node.form == "object":
        seen = Seen(objects=count)
        for inner in node.inside:
            paths[*path, inner.name] = "object"
            seen.fields[inner.name] = _seen(inner, count, (*path, inner.name), paths)
        return seen
    paths[path] = node.form
    return _value(node, count)


def _value(node: Node, count: int) -> Seen:
    precision, scale = node.digits
    return {
        "map": Seen(arrays=count),
        "null": Seen(nulls=count),
        "boolean": Seen(booleans=count),
        "integer": Seen(integers=count, whole=19),
        "unsigned 32": Seen(integers=count, whole=10),
        "unsigned 64": Seen(numbers=count, whole=20),
        "decimal": Seen(numbers=count, whole=precision - scale, scale=scale),
        "double": Seen(numbers=count),
        "half": Seen(numbers=count),
    }.get(node.form, Seen(texts=count))
