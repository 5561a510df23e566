"""The references as they were joined, found by their keys."""

import json
import pickle
import sqlite3
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from fanfold.audit.findings import Audit
from fanfold.audit.order import Order
from fanfold.audit.originals import content_of
from fanfold.audit.records import records_of
from fanfold.audit.text import Ahead, Found
from fanfold.audit.values import elements_at, text_of, value_at
from fanfold.layout import Run
from fanfold.manifest import Manifest
from fanfold.spec.merge import Merge
from fanfold.spec.paths import Way, way_of

# What finds the record of a reference by the parts of a key.
Match = Callable[[tuple[str | None, ...]], Any]


class References:
    """The references of a run, and the arrays in whose elements their keys may stand."""

    def __init__(self, run: Run, committed: Manifest, found: Audit, order: Order) -> None:
        """Read them."""
        self._spec, self._order, self._matches = run.feed.spec, order, dict[str, Match]()
        self.arrays = [tuple(way) for table in committed.each_table.values() for way in table.explode]
        for merge, frozen in zip(self._spec.merge, committed.summary.references, strict=True):
            path = run.feed.kept_reference_path(frozen.path, frozen.sha256)
            read_by = {"records_at": "", "parse": [], "envelope": [], "encoding": merge.encoding, "csv": merge.csv}
            settings = self._spec.input.model_copy(update=read_by)
            is_intact = path.is_file() and content_of(path)[1] == frozen.sha256
            self._read(merge, records_of(path, path.name, settings, Ahead()) if is_intact else ())
            if not is_intact:
                found.add("changed", (merge.reference, 0), f"{str(path)!r} is not the reference that was joined")

    def _read(self, merge: Merge, records: Iterable[Found]) -> None:
        """Put the records of a reference into a temporary database."""
        rows = sqlite3.connect("")
        rows.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, record BLOB) WITHOUT ROWID")
        for _, record in records:
            self._order.note_all((merge.into,), record)
            key = [text_of(record.get(name)) for name in merge.reference_keys]
            if None not in key:
                rows.execute("INSERT OR IGNORE INTO rows VALUES (?, ?)", [json.dumps(key), pickle.dumps(record)])

        @lru_cache(1000)
        def match(key: tuple[str | None, ...]) -> Any:
            found = rows.execute("SELECT record FROM rows WHERE key = ?", [json.dumps(key)]).fetchone()
            # They were written here a moment ago.
            return pickle.loads(found[0]) if found else None  # noqa: S301

        self._matches[merge.into] = match

    def level(self, way: Way) -> Way:
        """Return the way of the innermost array that a way leads into; that of a record is empty."""
        return max((array for array in self.arrays if way[: len(array)] == array), key=len, default=())

    def level_of(self, merge: Merge) -> Way:
        """Return the way of the array whose elements a reference is joined to."""
        return self.level(way_of(merge.record_keys[0]))

    def match(self, merge: Merge, element: Any) -> Any:
        """Return the record of a reference that a record, or an element, is joined to; None where there is none."""
        depth = len(self.level_of(merge))
        key = tuple(text_of(value_at(element, way_of(path)[depth:])) for path in merge.record_keys)
        return self._matches[merge.into](key) if None not in key else None

    def lacking(self, record: Any) -> list[Merge]:
        """Return the references that a record, or one of its elements, has no match in."""
        found, single = [], self._spec.denormalize.single
        for merge in self._spec.merge:
            elements = elements_at(record, self.level_of(merge), single=single)
            found += [merge] if any(self.match(merge, one) is None for one in elements) else []
        return found
