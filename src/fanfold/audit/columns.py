"""The columns of a table: what is in their cells, and in which order they are."""

import contextlib
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import count
from typing import Any

from fanfold.audit.values import EPOCHS, NUMBER, OF_TABLES, UNKNOWN, Num, Unknown, text_of, written_as
from fanfold.manifest import Column
from fanfold.spec.model import Spec
from fanfold.spec.paths import way_of, written

OWN_COLUMNS = ["_rescued", "_source_file", "_source_record", "_source_item"]
FORMULA = re.compile(r"(?!-Infinity\Z)[=+\-@\t\r]")
LAST = ("\U0010ffff",)
MOST_SHAPES = 10_000
# The source of a column, and the keys that lead to its field.
Path = tuple[str, ...]


class Cells:
    """How values are written in the cells of a column: by its declared type or, without one, as in the input."""

    def __init__(self, column: Column, spec: Spec) -> None:
        """Look up the type. A column that has an object or array has JSON, and its texts stand in quotes."""
        declared = spec.input.fields.get(written(column.path)) if column.source == "record" else None
        is_typed = declared or column.type == "DOUBLE" or spec.output.format == "parquet"
        self.name, self.source, self.way = column.name, column.source, tuple(column.path or [column.name])
        kind = declared if declared in EPOCHS else column.type
        self._kind = kind if is_typed and kind != "VARCHAR" else None
        self._is_escaped = spec.output.format == "csv" and spec.output.csv.escape_formulas
        # Whether an object or array was seen. Whether texts stand as JSON: None until the first text.
        self.has_json, self.unknown = declared == "JSON", 0
        self.is_json = None if column.type == "VARCHAR" and declared in {None, "VARCHAR"} else declared == "JSON"

    def expect(self, value: Any) -> Any:
        """Return something that equals the text of the cell for a value."""
        if isinstance(value, str) and not self._kind:
            if type(value) is Num:
                return value
            return self.escaped(value) if self.is_json is False else _Cell(value, self)
        if isinstance(value, (dict, list)):
            self.has_json = True
            value = _Cell(value, self)
            if Unknown.MARK in repr(value):
                value = UNKNOWN
        if value is UNKNOWN:
            self.unknown += 1
        if value is None or isinstance(value, (Unknown, _Cell)):
            return value
        text = Num(text_of(value))
        return (written_as(self._kind, text) or f"{text}, which {self._kind} does not hold") if self._kind else text

    def escaped(self, text: str) -> str:
        """Return text as it is written for a spreadsheet, so that no spreadsheet runs it."""
        return f"'{text}" if self._is_escaped and FORMULA.match(text) and not NUMBER.fullmatch(text) else text


# A record has many rows.
@lru_cache(16)
def _shown(text: str) -> str:
    """Return the value of JSON in a table with numbers as they are written, and texts by their characters."""
    return repr(OF_TABLES.decode(text))


class _Cell:
    """A value that stands in its cell as JSON, or a text of which that is not known."""

    def __init__(self, value: Any, column: Cells) -> None:
        """Take a value of a column."""
        self._value, self._shown, self._column = value, repr(value), column

    def __repr__(self) -> str:
        """Show the value."""
        return self._shown

    def __eq__(self, text: object) -> bool:
        """Say whether a cell holds the value; the first text decides how texts stand in the column."""
        in_quotes, column = False, self._column
        with contextlib.suppress(ValueError, RecursionError):
            in_quotes = isinstance(text, str) and _shown(text) == self._shown
        if not isinstance(self._value, str):
            return in_quotes
        is_plain = text == column.escaped(self._value)
        if column.is_json is None and (in_quotes or is_plain):
            column.is_json = in_quotes
        return in_quotes if column.is_json else is_plain

    __hash__ = None  # type: ignore[assignment]


class Order:
    """Where each field was first: by file, by record, and by place in the object around it: so columns stand."""

    def __init__(self, spec: Spec) -> None:
        """Begin with what the spec says: what stands in no file comes before all files."""
        self.file, self._first, self._count = "", dict[Path, Any](), count()
        # The keys that objects have together, each noted once for the files of a subdirectory.
        self.shapes = set[tuple[Any, ...]]()
        self.note((), ["record", *(merge.into for merge in spec.merge), "fanfold"])
        self.note(("fanfold",), OWN_COLUMNS)
        for merge in spec.merge:
            self.note((merge.into,), merge.columns or ())
        for way in map(way_of, spec.input.fields):
            for size, key in enumerate(way):
                self.note(("record", *way[:size]), [key])

    def note(self, path: Path, keys: Iterable[str], place: tuple[str, int] = ("", 0)) -> None:
        """Note the fields of an object."""
        for key in keys:
            here = (self.file, *place, next(self._count))
            self._first[*path, key] = min(self._first.get((*path, key), here), here)

    def is_new(self, shape: tuple[Any, ...]) -> bool:
        """Say whether an object has other keys than those before it, and remember them."""
        is_new = shape not in self.shapes
        if is_new and len(self.shapes) < MOST_SHAPES:
            self.shapes.add(shape)
        return is_new

    def rank(self, path: Path) -> list[tuple[Any, ...]]:
        """Return what columns are sorted by."""
        return [self._first.get(path[:size], LAST) for size in range(1, len(path) + 1)]
