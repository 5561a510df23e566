"""Pure: the fields that the records of a run are read with. What a table makes of them is in `columns`."""

from collections.abc import Iterator

from fanfold import types
from fanfold.errors import DataError
from fanfold.native.fields import CONTAINERS, Seen
from fanfold.schema.declared import Declared, key_ways, known_ways, starts
from fanfold.schema.rivals import Conflict, Rival, named
from fanfold.spec.model import Spec
from fanfold.spec.paths import Way, way_of, written
from fanfold.working_files import Excluded, Form, Node, RunSchema

WORDS = {"object": "an object", "array": "an array", "scalar": "a text, a number, true or false"}


def explode_chain(root: Seen, spec: Spec) -> list[list[str]]:
    """Return the paths of the arrays that explode, outer ones first: those named, and those that these lie in."""
    chain: list[list[str]] = []
    for path in sorted(spec.exploded, key=len):
        for start in starts(way := way_of(path)):
            above = root.find(start)
            if (start == way or (above is not None and above.arrays)) and [*start] not in chain:
                chain.append([*start])
    return chain


def arrays_or_objects(root: Seen, spec: Spec) -> Iterator[Conflict]:
    """Yield the fields on the way to an array that explodes which are arrays in some records, objects in others."""
    places: dict[Way, Seen] = {}
    # With single, both are arrays.
    for path in () if spec.denormalize.single else spec.exploded:
        for start in starts(way_of(path))[:-1]:
            above = root.find(start)
            if above is not None and above.kinds.keys() >= CONTAINERS:
                places[start] = above
                break
    for place, above in places.items():
        rivals = [Rival(Form(place, (kind,)), WORDS[kind]) for kind in above.kinds if kind in CONTAINERS]
        yield Conflict("wrong_type", f" as {written(place)!r}", rivals, "")


class RecordBuilder:
    """Makes the fields of records; `conflicts` has the forms of them that exclude each other."""

    def __init__(self, spec: Spec, chain: list[list[str]]) -> None:
        """Begin; `chain` are the paths of the arrays that explode."""
        self._spec, self._arrays = spec, {tuple(path) for path in chain}
        self._infers = spec.input.schema_mode == "infer"
        keys = key_ways(spec)
        self._keys = set(keys)
        # The fields that the spec names a way through are objects, or arrays of objects.
        self._ways = [*map(tuple, chain), *keys]
        self.conflicts: list[Conflict] = []

    def nodes(self, field: Seen, declared: Declared, way: Way = ()) -> list[Node]:
        """Return the fields of an object: the declared ones in their order, then the others as they were seen.

        Where there are conflicts then, the nodes are not those of a run.
        """
        names = list(dict.fromkeys([*declared.fields, *(field.fields if self._infers else ())]))
        by_letters: dict[str, list[str]] = {}
        for name in names:
            by_letters.setdefault(name.lower(), []).append(name)
        for alike in by_letters.values():
            if not declared.fields.keys() >= {*alike[1:]}:
                rivals = [named((*way, name), self._spec) for name in alike]
                advice = "keys that differ only in letter case exclude each other, declare both in input.fields"
                self.conflicts.append(Conflict("case_conflict", "", rivals, f": {advice} to keep both"))
        names += [name for name in dict.fromkeys(self._towards(way)) if name.lower() not in by_letters]
        return [
            self._node(name, field.fields.get(name, Seen()), declared.fields.get(name, Declared()), (*way, name))
            for name in names
        ]

    def _towards(self, way: Way) -> list[str]:
        """Return the fields of an object that a way of the spec leads through, whether records have them or not."""
        return [one[len(way)] for one in self._ways if len(one) > len(way) and one[: len(way)] == way]

    def _node(self, name: str, field: Seen, declared: Declared, way: Way, *, is_element: bool = False) -> Node:
        if way in self._arrays and not is_element:
            element = self._node("", field.element or Seen(), declared, way, is_element=True)
            return Node(name, "list", element=element)
        if declared.type:
            return Node(name, "value", declared.type, declared=True)
        leads = self._towards(way) and (is_element or not field.kinds or field.objects)
        if declared.fields or leads or field.is_object or (is_element and not self._infers):
            return Node(name, "object", fields=self.nodes(field, declared, way))
        if is_element and "object" in field.kinds and len(field.kinds) > 1:
            self.conflicts.append(_objects_or_others(field, way))
        kind = types.of_seen(field)
        # Keys compare as written: an object or array among them makes its record bad.
        return Node(name, "value", types.in_table(kind) if way in self._keys else kind)


def _objects_or_others(element: Seen, way: Way) -> Conflict:
    path = written(way)
    rivals = [
        Rival(Form(way, ("object",), inside=True), "objects"),
        Rival(Form(way, ("array", "scalar"), inside=True), "values other than objects"),
    ]
    if next(iter(element.kinds)) != "object":
        rivals.reverse()
    return Conflict("wrong_type", f" in {path!r}", rivals, f": declare {path}: JSON in input.fields to keep both")


def misfits(nodes: list[Node], seen: Seen, spec: Spec) -> Iterator[Excluded]:
    """Yield the forms that no schema of these fields holds: no good record has them, so that they leave no trace.

    Where all values of a field are of other kinds than the spec calls for, they are not among them: `check` says so.

    Args:
        nodes: the fields of records.
        seen: what was seen of records.
        spec: its keys are values.
    """
    known, keys = known_ways(spec), key_ways(spec)

    def within(nodes: list[Node], seen: Seen, above: Way) -> Iterator[Excluded]:
        for node in nodes:
            field, way = seen.fields.get(node.name), (*above, node.name)
            if field is None:
                continue
            if node.kind == "list" and (field.arrays or way in known):
                yield from _others(way, field, "array")
            inner, element = (node, field) if node.kind == "object" else (node.element, field.element)
            if inner and inner.kind == "object" and element:
                yield from _others(way, element, "object", inside=node.kind == "list")
                yield from within(inner.fields, element, way)
            elif way in keys and "scalar" in field.kinds:
                yield from _others(way, field, "scalar")

    yield from within(nodes, seen, ())


def _others(way: Way, field: Seen, wanted: str, *, inside: bool = False) -> Iterator[Excluded]:
    for kind in [one for one in WORDS if one in field.kinds and one != wanted]:
        message = f"found {WORDS[kind]} {'in' if inside else 'as'} {written(way)!r}, expected {WORDS[wanted]}"
        yield Excluded(Form(way, (kind,), inside=inside), "wrong_type", message)


def check_covers(fixed: RunSchema, seen: Seen) -> None:
    """Check that a schema that was inferred holds every value of files that it was not made from.

    Raises:
        DataError: a field is not in it, or has a kind of value that its column does not hold; it has no columns at all,
            and there are records.
    """
    expected = (
        "expected the fields that this run's schema was made from: fanfold release puts the file back into landing, "
        "for a run of its own"
    )
    for file, found in _uncovered(fixed.record, seen, ()):
        msg = f"{file!r}: found {found}, {expected}"
        raise DataError(msg)
    if seen.objects and not any(table.columns for table in fixed.each_table.values()):
        msg = f"found records where there were none, {expected}"
        raise DataError(msg)


def _uncovered(nodes: list[Node], seen: Seen, above: Way) -> Iterator[tuple[str, str]]:
    """Yield the fields that nodes do not hold: the file, and the field with its type."""
    by_name = {node.name: node for node in nodes}
    for name, field in seen.fields.items():
        if field.said:
            # It is null in all records.
            continue
        node, way, inner = by_name.get(name), (*above, name), field
        if node is not None and node.kind == "list" and field.kinds.keys() <= {"array"}:
            node, inner = node.element, field.element or Seen()
        if node is not None and node.kind == "object":
            yield from _uncovered(node.fields, inner, way)
        elif (node is None and inner.kinds) or (node and not (node.declared or types.holds(node.type, inner))):
            yield field.first_file, f"a field {written(way)!r} of type {types.of_seen(inner)}"
