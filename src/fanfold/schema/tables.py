"""Pure: which columns are in which table."""

from collections import defaultdict
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


def draft_tables(spec: Spec, chain: list[list[str]], columns: list[Column], seen: Seen) -> dict[str, DraftTable]:
    """Return the tables by name, each in time linear in its own columns: a feed may have thousands of both.

    Args:
        spec: its tables, and the keys of its references.
        chain: the paths of all arrays that explode in some table.
        columns: the columns of all records and references, and Fanfold's own.
        seen: the fields of all records.
    """
    arrays = {(*path,) for path in chain}
    of_reference = {merge.into: level_of(way_of(merge.record_keys[0]), arrays) for merge in spec.merge}
    by_path = {(*column.path,): at for at, column in enumerate(columns) if column.source == RECORD}
    by_level, own = defaultdict[Way, list[int]](list), list[int]()
    for at, column in enumerate(columns):
        if column.source == FANFOLD:
            own.append(at)
        elif column.source == RECORD:
            by_level[level_of((*column.path,), arrays)].append(at)
        else:
            by_level[of_reference[column.source]].append(at)
    ends = {table.end for table in spec.flat_tables.values()}

    def drafted(table: FlatTable) -> DraftTable:
        end = table.end
        levels = [end[:length] for length in range(len(end) + 1) if not length or end[:length] in arrays]
        mine = [level for level in levels if held(end, ends, level)]
        keys = [by_path[way] for way in map(way_of, table.keys) if way in by_path]
        known = mine if table.columns is None else levels
        others = sorted({*own, *(at for level in known for at in by_level.get(level, ()))}.difference(keys))
        # Records without a field have their rows, too.
        flat = [columns[at] for at in keys + others] or (lineage() if seen.objects else [])
        return DraftTable([[*level] for level in levels[1:]], [one not in mine for one in levels], flat, len(keys))

    return {name: drafted(table) for name, table in spec.flat_tables.items()}
