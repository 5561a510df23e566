"""The tables of a feed in its spec, and the levels of a record: itself, and the elements of each array that explodes.

A table ends at the level of its innermost array. The fields of a level stand in the tables that end there; where none
does, in the tables below it.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from fanfold.spec.paths import Way, way_of
from fanfold.spec.section import Section
from fanfold.spec.values import FieldPath, OutputColumn, expected

TableName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$"),
    expected("1 to 100 small letters, digits, dashes or underscores, which name a folder"),
]
Columns = Annotated[list[OutputColumn], Field(min_length=1)]


class FlatTable(Section):
    """One of several tables."""

    explode: list[FieldPath] = []
    """The array whose elements are the rows, as in denormalize.explode. Without one, the records are the rows."""
    keys: list[FieldPath] = []
    """Fields of the levels above, as in order_id or items.sku. They come first, and tie the rows to those of the tables
    above."""
    columns: Columns | None = None
    """Columns after the keys, in order, as in denormalize.columns. null: all fields of this table. Fields of the levels
    above may be named, too."""

    @model_validator(mode="after")
    def _explode_is_one_line(self) -> Self:
        check_one_line(self.explode)
        return self

    @property
    def end(self) -> Way:
        """The way to the array whose elements are the rows; that of the record is empty."""
        return max(map(way_of, self.explode), key=len, default=())


def check_one_line(explode: Iterable[str]) -> None:
    """Check that arrays lie inside of each other.

    Raises:
        ValueError: two lie side by side.
    """
    for outer, inner in itertools.pairwise(sorted(explode, key=len)):
        if not inner.startswith(f"{outer}."):
            msg = f"arrays each inside the one before ({outer!r} and {inner!r} are side by side: use tables)"
            raise ValueError(msg)


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
