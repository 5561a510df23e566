"""Pure: where the values of a record lie in merged records: the number of a scope, and of a slot in it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fanfold.errors import DataError
from fanfold.manifest import Column
from fanfold.native import Field, Joined, Rows, Table
from fanfold.schema.infer import FANFOLD, RECORD, RESCUED_COLUMN
from fanfold.spec.model import Merge, Spec
from fanfold.types import JSON, VARCHAR
from fanfold.working_files import Node, RunSchema

OWN = {"_source_file": (Rows.FILE, 0, 0), "_source_record": (Rows.NUMBER, 0, 0), "_source_item": (Rows.ITEM, 0, 0)}

Way = tuple[str, ...]


class Places(NamedTuple):
    """The fields that records are read with, and where their values lie.

    Attributes:
        record: the fields, as the core takes them.
        slots: scope and slot of each value, by its path.
        scopes: of each array that explodes, the scope of its elements; of the record, by an empty path, 0.
        keys: of each reference, scope and number of its key.
    """

    record: Field
    slots: dict[Way, tuple[int, int]]
    scopes: dict[Way, int]
    keys: list[tuple[int, int]]

    @property
    def chain(self) -> list[int]:
        """The scopes, from the record down."""
        return list(self.scopes.values())


def places(schema: RunSchema, spec: Spec) -> Places:
    """Return where the values of a run's records lie.

    Raises:
        DataError: the key of a reference is inside of an array that does not explode, or is not a value.
    """
    numbered: dict[Way, int] = {}
    scopes: dict[Way, int] = {(): 0}
    slots: dict[Way, tuple[int, int]] = {}
    counts, keys_in = [0], [0]
    wanted = {tuple(merge.record_key.split(".")) for merge in spec.merge}

    def walk(node: Node, path: Way, scope: int) -> Field:
        if node.kind == "list":
            scopes[path] = inner = len(counts)
            counts.append(0)
            keys_in.append(0)
            return Field(node.name, "list", inside=(walk(node.element or Node("", "value"), path, inner),))
        if node.kind == "object":
            return Field(node.name, "object", inside=tuple(walk(one, (*path, one.name), scope) for one in node.fields))
        slots[path] = scope, counts[scope]
        counts[scope] += 1
        if path in wanted:
            keys_in[scope] += 1
            numbered[path] = keys_in[scope]
        kind = node.type if node.declared or node.type == JSON else VARCHAR
        return Field(node.name, "value", kind, numbered.get(path, 0))

    record = walk(Node("", "object", fields=schema.record), (), 0)
    keys = []
    for index, merge in enumerate(spec.merge):
        path = tuple(merge.record_key.split("."))
        if path not in numbered:
            msg = (
                f"merge.{index}.key {merge.record_key!r} is not a value of the record, or of an element of the array "
                "that explodes: nothing can match it"
            )
            raise DataError(msg)
        keys.append((slots[path][0], numbered[path]))
    return Places(record, slots, scopes, keys)


def joins(found: Places, tables: Sequence[Table], merges: Sequence[Merge]) -> list[Joined]:
    """Return the references as they are joined; a record without a match is bad, but under `on_missing: keep`."""
    return [
        Joined(table, scope, (number,), required=merge.on_missing != "keep")
        for table, (scope, number), merge in zip(tables, found.keys, merges, strict=True)
    ]


def columns(found: Places, schema: RunSchema, spec: Spec) -> Iterator[tuple[Column, tuple[int, int, int]]]:
    """Yield the flat columns of a run, each with where its values come from: kind, scope (or reference) and slot."""
    slots_of = [iter(slots) for slots in schema.joined]
    into = [merge.into for merge in spec.merge]
    for column in schema.flat:
        if column.source == RECORD:
            yield column, (Rows.SLOT, *found.slots[tuple(column.path)])
        elif column.source != FANFOLD:
            reference = into.index(column.source)
            yield column, (Rows.JOIN, reference, next(slots_of[reference]))
        else:
            yield column, (Rows.RESCUED, 0, 0) if column.name == RESCUED_COLUMN else OWN[column.name]
