"""The columns of a table, and what stands in their cells."""

import contextlib
from functools import lru_cache
from typing import Any

from fanfold.audit.forms import EPOCHS, written_as
from fanfold.audit.values import OF_TABLES, UNKNOWN, Num, Unknown, text_of
from fanfold.manifest import Column
from fanfold.spec.model import Spec
from fanfold.spec.paths import written


class ColumnOfTable:
    """A column, and how values stand in its cells: by its type or, where that is not declared, as they were written."""

    def __init__(self, column: Column, spec: Spec) -> None:
        """Look up the type. A column that has an object or array has JSON, and its texts stand in quotes."""
        declared = spec.input.fields.get(written(column.path)) if column.source == "record" else None
        is_typed = declared or column.type == "DOUBLE" or spec.output.format == "parquet"
        self.name, self.source, self.way = column.name, column.source, tuple(column.path or [column.name])
        kind = declared if declared in EPOCHS else column.type
        self._kind = kind if is_typed and kind != "VARCHAR" else None
        # Whether an object or array was seen. Whether texts stand as JSON: None until the first text.
        self.has_json, self.unknown = declared == "JSON", 0
        self.is_json = None if column.type == "VARCHAR" and declared in {None, "VARCHAR"} else declared == "JSON"

    def expect(self, value: Any) -> Any:
        """Return what is equal to the text of a cell that holds a value."""
        if isinstance(value, str) and not self._kind:
            return value if self.is_json is False or type(value) is Num else _Cell(value, self)
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


# A record has many rows.
@lru_cache(16)
def _shown(text: str) -> str:
    """Return the value of JSON in a table with numbers as they are written, and texts by their characters."""
    return repr(OF_TABLES.decode(text))


class _Cell:
    """A value that stands in its cell as JSON, or a text of which that is not known."""

    def __init__(self, value: Any, column: ColumnOfTable) -> None:
        """Take a value of a column."""
        self._value, self._shown, self._column = value, repr(value), column

    def __repr__(self) -> str:
        """Show the value."""
        return self._shown

    def __eq__(self, text: object) -> bool:
        """Say whether a cell holds the value; the first text decides how texts stand in the column."""
        in_quotes = False
        with contextlib.suppress(ValueError, RecursionError):
            in_quotes = isinstance(text, str) and _shown(text) == self._shown
        if not isinstance(self._value, str):
            return in_quotes
        if self._column.is_json is None and (in_quotes or text == self._value):
            self._column.is_json = in_quotes
        return in_quotes if self._column.is_json else text == self._value

    __hash__ = None  # type: ignore[assignment]
