"""Pure: which columns stand in which table."""

from typing import NamedTuple

from fanfold.manifest import Column
from fanfold.native.fields import Seen
from fanfold.schema.columns import FANFOLD, RECORD, lineage
from fanfold.spec.model import Spec
from fanfold.spec.paths import Way, way_of
from fanfold.spec.tables import FlatTable, held, level_of


class DraftTable(NamedTuple):
    """A table as far as the fields of records make it.

    Attributes:
        explode: the paths of the arrays that explode in it, from the outermost.
        elsewhere: of the record and of each of these arrays, whether its fields stand in another table.
        flat: the columns before SQL: the keys first; the others on the way to its rows where the spec chooses among
            them, else those that stand in it.
        keys: how many of them are keys.
    """

    explode: list[list[str]]
    elsewhere: list[bool]
    flat: list[Column]
    keys: int


def draft_table(table: FlatTable, chain: list[list[str]], columns: list[Column], seen: Seen, spec: Spec) -> DraftTable:
    """Return a table.

    Args:
        table: what the spec says of it.
        chain: the paths of all arrays that explode in some table.
        columns: the columns of all records and references, and Fanfold's own.
        seen: the fields of all records.
        spec: its tables, and the keys of its references.
    """
    arrays, end = [(*path,) for path in chain], table.end
    explode = [path for path in chain if end[: len(path)] == (*path,)]
    ends = {one.end for one in spec.flat_tables.values()}
    levels = [(), *map(tuple, explode)]
    mine = {level for level in levels if held(end, ends, level)}
    of_reference = {merge.into: level_of(way_of(merge.record_keys[0]), arrays) for merge in spec.merge}

    def level(column: Column) -> Way:
        if column.source == RECORD:
            return level_of((*column.path,), arrays)
        return end if column.source == FANFOLD else of_reference[column.source]

    by_path = {(*column.path,): column for column in columns if column.source == RECORD}
    keys = [by_path[way] for way in map(way_of, table.keys) if way in by_path]
    known = mine if table.columns is None else {*levels}
    others = [column for column in columns if level(column) in known and column not in keys]
    # Records without a field have their rows, too.
    flat = keys + others or (lineage() if seen.objects else [])
    return DraftTable(explode, [one not in mine for one in levels], flat, len(keys))
