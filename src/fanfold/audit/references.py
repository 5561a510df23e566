"""The references as they were joined, found by their keys."""

import json
import pickle
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from fanfold.audit.columns import Order, Path
from fanfold.audit.findings import Audit
from fanfold.audit.originals import Ahead, Found, content_of
from fanfold.audit.parquet_records import UnreadableError
from fanfold.audit.records import records_of
from fanfold.audit.values import text_of, value_at
from fanfold.layout import Run
from fanfold.manifest import Manifest
from fanfold.spec.merge import Merge
from fanfold.spec.paths import Way, way_of


class References:
    """The references of a run, and the arrays in whose elements their keys may stand."""

    def __init__(self, run: Run, committed: Manifest, found: Audit, order: Order) -> None:
        """Read them."""
        self._order, self._records, self.unread = order, dict[str, Callable[[str], Any]](), set[str]()
        self.arrays = [tuple(way) for table in committed.each_table.values() for way in table.explode]
        for merge, frozen in zip(run.feed.spec.merge, committed.summary.references, strict=True):
            path = run.feed.kept_reference_path(frozen.path, frozen.sha256)
            read_by = {"records_at": "", "parse": [], "envelope": [], "encoding": merge.encoding, "csv": merge.csv}
            settings = run.feed.spec.input.model_copy(update=read_by)
            is_intact = path.is_file() and content_of(path)[1] == frozen.sha256
            try:
                self._read(merge, records_of(path, path.name, settings, Ahead(), Counter()) if is_intact else ())
            except UnreadableError:
                self.unread.add(merge.into)
            if not is_intact:
                found.add("changed", (merge.reference, 0), f"{str(path)!r} is not the reference that was joined")
        # What finds the key of each in a record, or in an element of the array at its level.
        ways = {merge.into: [way_of(path) for path in merge.record_keys] for merge in run.feed.spec.merge}
        self.levels = {into: self.level(keys[0]) for into, keys in ways.items() if into not in self.unread}
        self._keys = {into: [way[len(self.levels[into]) :] for way in ways[into]] for into in self.levels}

    def _read(self, merge: Merge, records: Iterable[Found]) -> None:
        """Put the records of a reference into a temporary database."""
        rows = sqlite3.connect("")
        rows.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, record BLOB) WITHOUT ROWID")
        for _, record in records:
            self._note((merge.into,), record)
            key = [text_of(record.get(name)) for name in merge.reference_keys]
            if None not in key:
                rows.execute("INSERT OR IGNORE INTO rows VALUES (?, ?)", [json.dumps(key), pickle.dumps(record)])

        @lru_cache(1000)
        def find(key: str) -> Any:
            found = rows.execute("SELECT record FROM rows WHERE key = ?", [key]).fetchone()
            # They were written here a moment ago.
            return pickle.loads(found[0]) if found else None  # noqa: S301

        self._records[merge.into] = find

    def _note(self, path: Path, record: dict[str, Any]) -> None:
        """Note the order of the fields of a record, and of the objects in it."""
        if self._order.is_new((path, *record)):
            self._order.note(path, record)
        for key, value in record.items():
            if isinstance(value, dict):
                self._note((*path, key), value)

    def level(self, way: Way) -> Way:
        """Return the way of the innermost array that a way leads into; that of a record is empty."""
        return max((array for array in self.arrays if way[: len(array)] == array), key=len, default=())

    def match(self, into: str, element: Any) -> Any:
        """Return the record of a reference that a record, or an element, is joined to; None where there is none."""
        key = [text_of(value_at(element, way)) for way in self._keys[into]]
        return self._records[into](json.dumps(key)) if None not in key else None
