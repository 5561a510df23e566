"""Pure: the schema of a run, as far as nothing in its records excludes each other."""

from typing import NamedTuple

from fanfold.manifest import Column
from fanfold.native.fields import Seen
from fanfold.schema.columns import flat_columns, same_names
from fanfold.schema.declared import declared_fields
from fanfold.schema.record import RecordBuilder, arrays_or_objects, explode_chain
from fanfold.schema.rivals import Conflict
from fanfold.schema.tables import DraftTable, draft_tables
from fanfold.spec.model import Spec
from fanfold.working_files import Node


class Draft(NamedTuple):
    """What a schema is made of; with conflicts, these come first.

    Attributes:
        record: the fields of the records.
        chain: the paths of the arrays that explode in some table, outer ones first.
        tables: the columns that a record and its references become, by table.
        conflicts: the forms that exclude each other.
    """

    record: list[Node]
    chain: list[list[str]]
    tables: dict[str, DraftTable]
    conflicts: list[Conflict]


def draft(spec: Spec, root: Seen, taken: list[list[Column]]) -> Draft:
    """Make the schema of records, as far as nothing in them excludes each other.

    Conflicts of keys and forms come before those of columns, which depend on what is left.

    Args:
        spec: what is declared, exploded, joined.
        root: the fields that were seen in all records.
        taken: of each reference, the columns that are taken from it.

    Raises:
        DataError: the spec contradicts itself, or the fields.
    """
    declared = declared_fields(spec)
    if conflicts := list(arrays_or_objects(root, spec)):
        return Draft([], [], {}, conflicts)
    chain = explode_chain(root, spec)
    builder = RecordBuilder(spec, chain)
    record = builder.nodes(root, declared)
    if builder.conflicts:
        return Draft(record, [], {}, builder.conflicts)
    columns = flat_columns(record, root, taken, spec, chain)
    tables = draft_tables(spec, chain, columns, root)
    return Draft(record, chain, tables, [one for table in tables.values() for one in same_names(table.flat, spec)])
