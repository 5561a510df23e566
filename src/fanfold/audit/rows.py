"""The rows of a table that a record must make."""

import copy
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from fanfold.audit.columns import OWN_COLUMNS, Cells, Order
from fanfold.audit.references import References
from fanfold.audit.values import UNKNOWN, Num, leaves, number_of, value_at
from fanfold.manifest import Manifest
from fanfold.spec.model import Spec
from fanfold.spec.paths import Way, way_of

# Where a field goes that has no column here: it is declared and left out, or stands in other rows.
LEFT_OUT, ELSEWHERE = -1, -2
# In place of a key, where an element is not an object: no text of a file has this character.
ELEMENT = "\ud800"


class Row(NamedTuple):
    """A row that a record must make; `cells` are equal to those in the table, None where they are not compared."""

    place: tuple[str, int]
    item: str
    cells: list[Any] | None

    def __str__(self) -> str:
        """Name its element."""
        return f"row of element {self.item}" if self.item else "row"


class Rows:
    """What rows of a table a record must make, by the columns, the arrays that explode, and the references."""

    def __init__(self, spec: Spec, committed: Manifest, name: str, references: References, order: Order) -> None:
        """Look up where each field goes."""
        tables, self.table, self._references = committed.each_table, committed.each_table[name], references
        self._spec, self._order, self.name, self.chosen = spec, order, name, spec.flat_tables[name]
        self.columns = [Cells(column, spec) for column in self.table.columns]
        self._is_declared = spec.input.schema_mode == "declared"
        unread = {"spec", *references.unread}
        self.blank = [UNKNOWN if column.source in unread else None for column in self.table.columns]
        self.by_sql = sum(cell is UNKNOWN for cell in self.blank)
        # The record itself, and each array inside of it that explodes here; whether the fields of their elements stand
        # here; and where each goes: to the number of a column, LEFT_OUT, ELSEWHERE, or to those of an object.
        self._arrays = [(), *map(tuple, self.table.explode)]
        ends = [tuple(one.explode[-1]) if one.explode else () for one in tables.values()]
        self._is_here = [way == self._arrays[-1] or way not in ends for way in self._arrays]
        self._fields = list[dict[str, Any]]({} for _ in self._arrays)
        own = {column.way: slot for slot, column in enumerate(self.columns) if column.source == "record"}
        places: dict[Way, int] = {way_of(path): LEFT_OUT for path in spec.input.fields}
        places |= {
            tuple(one.path): ELSEWHERE for table in tables.values() for one in table.columns if one.source == "record"
        }
        places |= own
        inner = [(way, ELSEWHERE, references.level(way[:-1])) for way in references.arrays]
        for way, place, level in [*((way, place, references.level(way)) for way, place in places.items()), *inner]:
            if level in self._arrays:
                # An element that is not an object is put as the only field of one.
                *outer, last = way[len(level) :] or (ELEMENT,)
                fields = self._fields[self._arrays.index(level)]
                for key in outer:
                    fields = fields.setdefault(key, {})
                fields[last] = place
        self.levels = {merge.into: references.level(way_of(merge.record_keys[0])) for merge in spec.merge}
        self._joins = [[into for into, level in references.levels.items() if level == way] for way in self._arrays]
        self._slots = {
            source: [(slot, column) for slot, column in enumerate(self.columns) if column.source == source]
            for source in ["fanfold", *(merge.into for merge in spec.merge)]
        }
        totals = [(path, way) for path in self.table.totals if (way := way_of(path)) in own]
        self._totals = [(path, own[way], self._arrays.index(references.level(way))) for path, way in totals]
        self.sums, self._counted = dict.fromkeys(self.table.totals, Decimal(0)), list[Any]()
        # What the last record has without a column, on purpose and not; the references that it has no match in.
        self.left_out, self.lost, self.lacking, self._place = list[Any](), list[Any](), set[str](), ("", 0)

    def count(self, row: Row) -> None:
        """Add what a row has for the totals: a field outside of the exploded array counts with the first row."""
        here = [row.place, *row.item.split(".")] if self._totals else []
        for path, slot, depth in self._totals:
            if row.cells and here[: depth + 1] != self._counted[: depth + 1]:
                self.sums[path] += number_of(str(row.cells[slot] or 0))
        self._counted = here

    def of(self, record: dict[str, Any], place: tuple[str, int]) -> Iterator[Row]:
        """Yield the rows of a record, in their order; its other counts are complete with the last row."""
        self.left_out, self.lost, self.lacking, self._place = [], [], set(), place
        return self._of(record, 0, Row(place, "", self.blank), {})

    def _of(self, value: Any, level: int, above: Row, rest: dict[str, Any]) -> Iterator[Row]:
        """Yield the rows of a record or, at a deeper level, of an element; `above` and `rest` have what is around."""
        cells, fields, way = [*(above.cells or ())], self._fields[level], self._arrays[level]
        for into in self._joins[level]:
            found = self._references.match(into, value)
            if found is None:
                self.lacking.add(into)
            for slot, column in self._slots[into]:
                cells[slot] = column.expect(value_at(found, column.way))
        left = self._put(fields, ("record", *way), {ELEMENT: value} if ELEMENT in fields else value, cells)
        if left is not None and self._is_here[level]:
            rest = self._keep(left, rest, level)
        inner_way = self._arrays[level + 1] if level + 1 < len(self._arrays) else None
        array = value_at(value, inner_way[len(way) :]) if inner_way else None
        if self._spec.denormalize.single and not isinstance(array, list | None):
            array = [array]
        if isinstance(array, list) and array:
            for position, element in enumerate(array, start=1):
                item = f"{above.item}.{position}" if level else str(position)
                yield from self._of(element, level + 1, Row(above.place, item, cells), rest)
            return
        self.lost.append(array)
        if self._is_here[level]:
            own = rest or None, above.place[0], Num(above.place[1]), above.item or None
            for slot, column in self._slots["fanfold"]:
                cells[slot] = column.expect(own[OWN_COLUMNS.index(column.name)])
            yield Row(above.place, above.item, cells)

    def _keep(self, left: Any, rest: dict[str, Any], level: int) -> dict[str, Any]:
        """Note what has no column; return what goes to `_rescued`, with what is around it."""
        if not self._is_declared:
            (self.lost if self.chosen.columns is None else self.left_out).append(left)
            return rest
        if not level:
            return dict(left)
        made = rest = copy.deepcopy(rest)
        *outer, last = self._arrays[level]
        for name in outer:
            made = made.setdefault(name, {})
        made[last] = left
        return rest

    def _put(self, fields: dict[str, Any], path: Way, value: Any, cells: list[Any]) -> Any:
        """Put what is in an object into its cells; return what has none, None if there is nothing."""
        if not isinstance(value, dict):
            return value if leaves(value) else None
        rest = {}
        if self._order.is_new((id(fields), *value)):
            self._order.note(path, value, self._place)
        for key, inner in value.items():
            slot = fields.get(key)
            if slot is None:
                rest[key] = inner
            elif isinstance(slot, dict):
                if (left := self._put(slot, (*path, key), inner, cells)) is not None:
                    rest[key] = left
            elif slot >= 0:
                cells[slot] = self.columns[slot].expect(inner)
            elif slot == LEFT_OUT:
                self.left_out.append(inner)
        return rest or None
