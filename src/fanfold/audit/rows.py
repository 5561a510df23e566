"""The rows that a record calls for: its fields in their columns, its match in each reference, its arrays exploded."""

import pickle
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from fanfold.audit.findings import Audit
from fanfold.audit.originals import BadRecords, Original
from fanfold.audit.values import BY_SQL, leaves, text_of, value_at
from fanfold.layout import Run
from fanfold.manifest import Manifest

# In place of a column: the array that explodes next.
EXPLODED = object()
CACHED_ROWS = 1000


class Row(NamedTuple):
    """A row that a record calls for: its cells by column; None where the record is not in the sample."""

    file: str
    record: int
    item: str
    cells: list[Any] | None


class Reference:
    """The rows of a kept reference by their keys, in a temporary database that holds little of it in memory."""

    def __init__(self, run: Run, index: int, committed: Manifest) -> None:
        """Read the reference of `spec.merge[index]`."""
        self.merge, frozen = run.feed.spec.merge[index], committed.summary.references[index]
        self.columns = [(i, c.path) for i, c in enumerate(committed.columns) if c.source == self.merge.into]
        self.match, self._rows = lru_cache(CACHED_ROWS)(self._match), sqlite3.connect("")
        self._rows.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, cells BLOB) WITHOUT ROWID")
        path, settings = run.feed.kept_reference_path(frozen.path, frozen.sha256), run.feed.spec.input
        self.is_intact = path.is_file()
        if not self.is_intact:
            return
        original = Original(path, path.name, BadRecords(), settings.model_copy(update={"records_at": ""}))
        for _, row in original.records():
            if (key := text_of(row.get(self.merge.reference_key))) is not None:
                cells = pickle.dumps([value_at(row, way) for _, way in self.columns])
                self._rows.execute("INSERT OR IGNORE INTO rows VALUES (?, ?)", [key, cells])
        self.is_intact = original.content()[1] == frozen.sha256

    def _match(self, key: str | None) -> list[Any] | None:
        # No key is null there.
        found = self._rows.execute("SELECT cells FROM rows WHERE key = ?", [key]).fetchone()
        # They were written here a moment ago.
        return pickle.loads(found[0]) if found else None  # noqa: S301


class Rows:
    """Makes the rows of the records of one run."""

    def __init__(self, run: Run, committed: Manifest, found: Audit, sample_percent: float) -> None:
        """Read the references; note where each field goes."""
        self._spec, self._columns, self._explode = run.feed.spec, committed.columns, committed.explode
        self._found, self._percent = found, sample_percent
        self.references = [Reference(run, index, committed) for index in range(len(self._spec.merge))]
        # Records without a match, by subdirectory.
        self.unmatched = Counter[int]()
        self._declared: dict[str, Any] | None = {} if self._spec.input.schema_mode == "declared" else None
        if self._declared is not None:
            for way in [*(path.split(".") for path in self._spec.input.fields), *self._explode]:
                _reach(self._declared, way)
        self._trees = self._planned()
        self._own = {column.name: i for i, column in enumerate(self._columns) if column.source == "fanfold"}

    def of(self, file: str, number: int, record: dict[str, Any], n: int) -> Iterator[Row]:
        """Yield the rows of a record of a file of subdirectory `n`, in their order."""
        cells: list[Any] = [BY_SQL if column.expression else None for column in self._columns]
        matches = [(one, one.match(self.key(one, record))) for one in self.references]
        for reference, match in matches:
            for (slot, _), value in zip(reference.columns, match or (), strict=False):
                cells[slot] = value
            if match is None and reference.merge.on_missing != "keep":
                self._found.add("extra", (file, number), f"has rows, and no match in {reference.merge.reference!r}")
        self.unmatched[n] += any(match is None for _, match in matches)
        if not self.is_sampled(file, number):
            self._found.not_audited["records outside of the sample"] += 1
            yield from (Row(file, number, "", None) for _ in range(self._count(record, 0)))
            return
        for name, value in (("_source_file", file), ("_source_record", str(number))):
            if name in self._own:
                cells[self._own[name]] = value
        rest = _rest(self._declared, record) if self._declared is not None else None
        self._found.scalars += leaves(rest)
        yield from self._expand(0, record, Row(file, number, "", cells), rest)

    def is_sampled(self, file: str, number: int) -> bool:
        """Say whether a record is compared."""
        return self._percent >= 100 or zlib.crc32(f"{file}:{number}".encode()) % 10_000 < self._percent * 100  # noqa: PLR2004

    def key(self, reference: Reference, record: dict[str, Any]) -> str | None:
        """Return the key of a record; None where it has none, or where a declared schema does not have it."""
        path = reference.merge.record_key
        if self._declared is not None and path not in self._spec.input.fields:
            return None
        return text_of(value_at(record, path.split(".")))

    def _planned(self) -> list[Any]:
        """Return for each level of the arrays where the fields of an element go: a column, deeper, or EXPLODED."""
        trees: list[Any] = [{} for _ in range(len(self._explode) + 1)]
        for i, column in enumerate(self._columns):
            level = max(
                (n for n, array in enumerate(self._explode, 1) if column.path[: len(array)] == array), default=0
            )
            way = column.path[len(self._explode[level - 1]) if level else 0 :]
            if column.source == "record" and way:
                _reach(trees[level], way[:-1])[way[-1]] = i
            elif column.source == "record":
                trees[level] = i
        for level, array in enumerate(self._explode):
            way = array[len(self._explode[level - 1]) if level else 0 :]
            if isinstance(trees[level], dict) and way:
                _reach(trees[level], way[:-1])[way[-1]] = EXPLODED
        return trees

    def _expand(self, level: int, value: Any, row: Row, rest: dict[str, Any] | None) -> Iterator[Row]:
        cells, tree, array = row.cells or [], self._trees[level], None
        if isinstance(tree, int):
            cells[tree] = value
            self._found.scalars += leaves(value)
        elif isinstance(value, dict):
            array = self._fill(tree, value, row)
        elif value is not None:
            self._found.add("missing", row[:2], f"element {row.item} {str(value)[:40]!r} is in no column")
        if isinstance(array, list) and array:
            for position, element in enumerate(array, start=1):
                inner = Row(row.file, row.record, f"{row.item}.{position}".lstrip("."), cells.copy())
                yield from self._expand(level + 1, element, inner, self._rest_of(level, element, rest))
            return
        if array not in (None, []):
            self._found.add("missing", row[:2], f"{str(array)[:40]!r} is in no column, expected an array")
        for name, own in (("_source_item", row.item or None), ("_rescued", rest or None)):
            if name in self._own:
                cells[self._own[name]] = own
        yield row

    def _fill(self, tree: dict[str, Any], value: dict[str, Any], row: Row) -> Any:
        """Put the fields of an object into their cells; return the array that explodes next, if it has it."""
        array = None
        for key, inner in value.items():
            slot = tree.get(key)
            if inner is None:
                continue
            if isinstance(slot, int) and row.cells is not None:
                row.cells[slot] = inner
                self._found.scalars += leaves(inner)
            elif slot is EXPLODED:
                array = inner
            elif isinstance(slot, dict) and isinstance(inner, dict):
                array = self._fill(slot, inner, row) or array
            elif slot is None and self._spec.denormalize.columns is not None:
                self._found.not_audited["values left out by denormalize.columns"] += leaves(inner)
            elif (slot is not None or self._declared is None) and leaves(inner):
                self._found.add("missing", row[:2], f"{key!r} ({str(inner)[:40]!r}) is in no column")
        return array

    def _rest_of(self, level: int, element: Any, rest: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return what is undeclared for the rows of an element: the record's, and its own in the place of the array."""
        if rest is None or not isinstance(element, dict):
            return rest
        array = self._explode[level]
        own = _rest(_reach(self._declared or {}, array), element)
        self._found.scalars += leaves(own)
        if not own:
            return rest
        merged = at = dict(rest)
        for name in array[:-1]:
            at[name] = dict(at.get(name, {}))
            at = at[name]
        at[array[-1]] = {**at.get(array[-1], {}), **own}
        return merged

    def _count(self, value: Any, level: int) -> int:
        if level == len(self._explode):
            return 1
        array = value_at(value, self._explode[level][len(self._explode[level - 1]) if level else 0 :])
        return sum(self._count(one, level + 1) for one in array) if isinstance(array, list) and array else 1


def _reach(tree: dict[str, Any], way: list[str]) -> dict[str, Any]:
    for name in way:
        tree = tree.setdefault(name, {})
    return tree


def _rest(known: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are not declared, nested as they are."""
    inner = {key: _rest(known[key], one) for key, one in value.items() if known.get(key) and isinstance(one, dict)}
    return {key: inner.get(key, one) for key, one in value.items() if key not in known or inner.get(key)}
