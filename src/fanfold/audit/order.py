"""The order of columns: what is declared comes first, then each field where it first appeared."""

from collections.abc import Iterable
from itertools import count
from typing import Any

from fanfold.spec.model import Spec
from fanfold.spec.paths import way_of

OWN_COLUMNS = ["_rescued", "_source_file", "_source_record", "_source_item"]
LAST = ("\U0010ffff",)
MOST_SHAPES = 10_000
# The source of a column, and the keys that lead to its field.
Path = tuple[str, ...]


class Order:
    """Where each field was first: by file, by record, and by place in the object around it."""

    def __init__(self, spec: Spec) -> None:
        """Begin with what the spec says: what stands in no file comes before all files."""
        self.file, self._first, self._count = "", dict[Path, Any](), count()
        # The keys that objects have together, each noted once for the files of a subdirectory.
        self.shapes = set[tuple[Any, ...]]()
        self._note((), ["record", *(merge.into for merge in spec.merge), "fanfold"])
        self._note(("fanfold",), OWN_COLUMNS)
        for merge in spec.merge:
            self._note((merge.into,), merge.columns or ())
        for way in map(way_of, spec.input.fields):
            for size, key in enumerate(way):
                self._note(("record", *way[:size]), [key])

    def _note(self, path: Path, keys: Iterable[str], place: tuple[str, int] = ("", 0)) -> None:
        for key in keys:
            here = (self.file, *place, next(self._count))
            self._first[*path, key] = min(self._first.get((*path, key), here), here)

    def note(self, shape: tuple[Any, ...], path: Path, place: tuple[str, int]) -> None:
        """Note the fields of an object in a record, which are the shape but for its first part."""
        if len(self.shapes) < MOST_SHAPES:
            self.shapes.add(shape)
        self._note(path, shape[1:], place)

    def note_all(self, path: Path, record: dict[str, Any]) -> None:
        """Note the fields of a record of a reference, and of the objects in it."""
        if (shape := (path, *record)) not in self.shapes:
            self.note(shape, path, ("", 0))
        for key, value in record.items():
            if isinstance(value, dict):
                self.note_all((*path, key), value)

    def rank(self, path: Path) -> list[tuple[Any, ...]]:
        """Return what columns are sorted by."""
        return [self._first.get(path[:size], LAST) for size in range(1, len(path) + 1)]
