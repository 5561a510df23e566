"""The tables of a feed in its spec, and the levels of a record: itself, and the elements of each array that explodes.

A table ends at the level of its innermost array. The fields of a level stand in the tables that end there; where none
does, in the tables below it.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Annotated

from pydantic import AfterValidator, Field

from fanfold.spec.paths import Way, way_of
from fanfold.spec.section import Section
from fanfold.spec.values import FieldPath, Form, OutputColumn

_TABLE_WORDS = "1 to 100 lowercase letters, digits, dashes or underscores, which name a folder"
TableName = Annotated[str, Form(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$", words=_TABLE_WORDS)]
Columns = Annotated[list[OutputColumn], Field(min_length=1)]


class FlatTable(Section):
    """One of several tables."""

    explode: list[FieldPath] = []
    """The array whose elements are the rows, as in denormalize.explode. Without one, the records are the rows."""
    keys: list[FieldPath] = []
    """Fields of the levels above, as in order_id or items.sku. They come first, and link the rows to those of the
    tables above."""
    columns: Columns | None = None
    """Columns after the keys, in order, as in denormalize.columns. null: all fields of this table. Fields of the levels
    above may be named, too."""

    def disagreements(self) -> Iterator[str]:
        """Yield what is wrong with arrays that are not nested in each other."""
        return side_by_side(self.explode)

    @property
    def end(self) -> Way:
        """The way to the array whose elements are the rows; that of the record is empty."""
        return max(map(way_of, self.explode), key=len, default=())


def side_by_side(explode: Iterable[str]) -> Iterator[str]:
    """Yield what is wrong with arrays if two of them are side by side."""
    for outer, inner in itertools.pairwise(sorted(explode, key=len)):
        if not inner.startswith(f"{outer}."):
            yield f"arrays each inside the one before ({outer!r} and {inner!r} are side by side: use tables)"


def level_of(way: Way, arrays: AbstractSet[Way]) -> Way:
    """Return the innermost of some arrays that a way leads into; the empty way of the record where it is none."""
    return next((way[:length] for length in range(len(way), 0, -1) if way[:length] in arrays), ())


def held(end: Way, ends: Collection[Way], level: Way) -> bool:
    """Say whether a table that ends at `end` has the fields of a level on its way, where all tables end at `ends`."""
    return level == end or level not in ends


def _keys_lie_above(tables: Mapping[str, FlatTable]) -> Mapping[str, FlatTable]:
    arrays = {way_of(path) for table in tables.values() for path in table.explode}
    for name, table in tables.items():
        for key in table.keys:
            level = level_of(way_of(key), arrays)
            if level == table.end or table.end[: len(level)] != level:
                wanted = "fields of the levels above its own" if table.end else "none, as its rows are records,"
                msg = f"{wanted} as keys of {name!r} (found {key!r})"
                raise ValueError(msg)
    return tables


Tables = Annotated[dict[TableName, FlatTable], AfterValidator(_keys_lie_above)]
