"""Pure: where the values of a record lie in merged records: the number of a scope, and of a slot in it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fanfold.errors import DataError
from fanfold.manifest import Column
from fanfold.native import Field, Joined, Rows, Table
from fanfold.schema.columns import FANFOLD, RECORD, RESCUED_COLUMN
from fanfold.schema.declared import key_ways
from fanfold.spec.merge import Merge
from fanfold.spec.model import Spec
from fanfold.spec.paths import Way, way_of
from fanfold.types import JSON, VARCHAR
from fanfold.working_files import Node, RunSchema, TableSchema

# A column: the kind of its values, the scope (or the reference) that they lie in, and their slot there.
Source = tuple[int, int, int]
OWN: dict[str, Source] = {
    RESCUED_COLUMN: (Rows.RESCUED, 0, 0),
    "_source_file": (Rows.FILE, 0, 0),
    "_source_record": (Rows.NUMBER, 0, 0),
    "_source_item": (Rows.ITEM, 0, 0),
}


class Places(NamedTuple):
    """The fields that records are read with, and where their values lie.

    Attributes:
        record: the fields, as the core takes them.
        slots: scope and slot of each value, by its path.
        scopes: of each array that explodes in a table, the scope of its elements; of the record, by an empty path, 0.
        keys: scope and number of each key that is a value.
    """

    record: Field
    slots: dict[Way, tuple[int, int]]
    scopes: dict[Way, int]
    keys: dict[Way, tuple[int, int]]

    def chain(self, table: TableSchema) -> list[tuple[int, bool]]:
        """Return the scopes of a table, from the record down, and whether the values of each stand elsewhere."""
        return [
            (self.scopes[tuple(way)], apart) for way, apart in zip([[], *table.explode], table.elsewhere, strict=True)
        ]


def places_of(nodes: list[Node], keys: Sequence[Way]) -> Places:
    """Return where the values of records lie, which have the fields of `nodes`; those at `keys` are keys."""
    found = Places(Field(), {}, {(): 0}, {})
    counts, keys_in = [0], [0]

    def walk(node: Node, way: Way, scope: int) -> Field:
        if node.element:
            found.scopes[way] = inner = len(counts)
            counts.append(0)
            keys_in.append(0)
            return Field(node.name, "list", inside=(walk(node.element, way, inner),))
        if node.kind == "object":
            return Field(node.name, "object", inside=tuple(walk(one, (*way, one.name), scope) for one in node.fields))
        found.slots[way] = scope, counts[scope]
        counts[scope] += 1
        if way in keys:
            keys_in[scope] += 1
            found.keys[way] = scope, keys_in[scope]
        kind = node.type if node.declared or node.type == JSON else VARCHAR
        return Field(node.name, "value", kind, found.keys.get(way, (0, 0))[1])

    return found._replace(record=walk(Node("", "object", fields=nodes), (), 0))


def places(schema: RunSchema, spec: Spec) -> Places:
    """Return where the values of a run's records lie.

    Raises:
        DataError: the key of a reference is inside of an array that does not explode, or is not a value; or its parts
            are of several levels.
    """
    found = places_of(schema.record, key_ways(spec))
    for index, merge in enumerate(spec.merge):
        for path in merge.record_keys:
            if way_of(path) not in found.keys:
                msg = (
                    f"merge.{index}.key {path!r} is not a value of the record, or of an element of an array that "
                    "explodes, expected one: nothing else can have a match"
                )
                raise DataError(msg)
        if len({found.keys[way_of(path)][0] for path in merge.record_keys}) > 1:
            msg = (
                f"merge.{index}.key: {' and '.join(map(repr, merge.record_keys))} are of several levels, expected all "
                "in the record, or in the elements of one array"
            )
            raise DataError(msg)
    return found


def joins(found: Places, tables: Sequence[Table], merges: Sequence[Merge]) -> list[Joined]:
    """Return the references as they are joined; a record without a match is bad, but under `on_missing: keep`."""
    joined = []
    for table, merge in zip(tables, merges, strict=True):
        scopes, parts = zip(*(found.keys[way_of(path)] for path in merge.record_keys), strict=True)
        joined.append(Joined(table, scopes[0], parts, required=merge.on_missing != "keep"))
    return joined


def columns(found: Places, joined: list[list[int]], flat: list[Column], spec: Spec) -> Iterator[tuple[Column, Source]]:
    """Yield the flat columns of a table, each with where its values come from.

    Args:
        found: where the values of records lie.
        joined: of each reference, the slots of its columns.
        flat: the columns; a reference has none of them, or all.
        spec: the references.
    """
    slots_of = [iter(slots) for slots in joined]
    into = [merge.into for merge in spec.merge]
    for column in flat:
        if column.source == RECORD:
            yield column, (Rows.SLOT, *found.slots[tuple(column.path)])
        elif column.source == FANFOLD:
            yield column, OWN[column.name]
        else:
            reference = into.index(column.source)
            yield column, (Rows.JOIN, reference, next(slots_of[reference]))
