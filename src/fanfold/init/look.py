"""What is in samples, as the reader of runs sees it: where the records are, their fields, arrays and values."""

import csv
import io
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fanfold.input_formats import input_format
from fanfold.layout import Feed, Place
from fanfold.native import Others, Rows, Seen
from fanfold.records.header import DELIMITERS
from fanfold.records.places import places_of
from fanfold.records.read import Door, Rules
from fanfold.schema.columns import leaves
from fanfold.schema.draft import draft
from fanfold.spec.model import Input, Spec
from fanfold.spec.paths import Way, written
from fanfold.spec.tables import FlatTable
from fanfold.steps.scan_files import scan_files
from fanfold.types import JSON

# An object with so many keys, each in few of the records, has data for keys.
DATA_KEYS = 50


class Array(NamedTuple):
    """An array of the records, or by an empty way the records themselves.

    Attributes:
        way: leads to it.
        of_objects: whether it has objects in it.
        values: of the fields of its elements, in their order: texts as CSV has them, empty for null.
        elements: how many it has in all records.
        unique: its fields that each element has, and no two in one place share: one record, one element around it.
    """

    way: Way
    of_objects: bool
    values: dict[Way, list[str]]
    elements: int
    unique: Collection[Way] = ()

    @property
    def has_rows(self) -> bool:
        """Whether its elements become rows: they have fields of their own."""
        return self.of_objects and bool(self.values)


class Look:
    """Samples as the reader of runs reads them.

    Attributes:
        keys: those of `input` that they are read by.
        found: what a run would find in them.
        records: how many good records there are.
        bad: how many bad records there are.
    """

    def __init__(self, folder: Path, places: Mapping[str, Place], arrays: Iterable[Way] = (), **keys: Any) -> None:
        """Read samples from end to end.

        Args:
            folder: an empty one, in place of a feed's.
            places: where each sample lies, by its name.
            arrays: those that explode, each in a table of its own.
            keys: those of `input`.
        """
        self._folder, self._places, self._arrays, self.keys = folder, places, [*arrays], keys
        self._spec = Spec(version=1, name="samples", input=Input.model_validate(keys), tables=_tables(self._arrays))
        self.found = scan_files(Feed(folder, self._spec), "landing", places, [])
        self.bad = sum(one.bad for one in self.found.files.values())
        self.records = sum(one.records for one in self.found.files.values()) - self.bad

    def again(self, arrays: Iterable[Way] = (), **keys: Any) -> "Look":
        """Read the same samples with more keys."""
        return Look(self._folder, self._places, [*self._arrays, *arrays], **self.keys | keys)

    def arrays(self, above: Way = (), within: Seen | None = None) -> Iterator[Array]:
        """Yield the records, and each array in them, at any depth."""
        if not within:
            yield self._read((), of_objects=True)
        for name, field in (within or self.found.seen).fields.items():
            way = (*above, name)
            if field.arrays and field.element:
                yield self._read(way, of_objects=field.element.objects > 0)
            if field.through_arrays.fields:
                yield from self.arrays(way, field.through_arrays)

    def _read(self, way: Way, *, of_objects: bool) -> Array:
        # A text of JSON may have megabytes.
        csv.field_size_limit(sys.maxsize)
        spec = self._spec.model_copy(update={"tables": _tables([*self._arrays, way])})
        record = draft(spec, self.found.seen, []).record
        found = places_of(record, [])
        own = {leaf.way for leaf in leaves(record, self.found.seen) if leaf.node.type != JSON}
        scope = found.scopes.get(way, -1)
        ways = [one for one, (where, _) in found.slots.items() if where == scope and one in own]
        if not ways:
            return Array(way, of_objects, {}, 0 if way else self.records)
        door = Door(self._folder, spec, Rules(found.record, Others.LEAVE, excluded=self.found.excluded))
        # Only the elements have rows, not what they lie in.
        chain = [(inner, inner != scope) for outer, inner in found.scopes.items() if way[: len(outer)] == outer]
        places = [(Rows.FILE, 0, 0), (Rows.NUMBER, 0, 0), (Rows.ITEM, 0, 0)]
        rows = Rows(found.record, [*((Rows.SLOT, *found.slots[one]) for one in ways), *places], chain)
        merged = (piece.merged for name, place in self._places.items() for piece in door.read(name, place.path))
        text = io.StringIO(b"".join(rows.write(merged)).decode(), newline="")
        *columns, files, numbers, items = list(zip(*csv.reader(text), strict=True)) or [() for _ in (*ways, *places)]
        # No two records share the key of a record, but elements of different ones may.
        place = zip(files, numbers, (item.rpartition(".")[0] for item in items), strict=True) if way else items
        around = [*place]
        values = dict(zip(ways, map(list, columns), strict=True))
        unique = [
            one
            for one, column in values.items()
            if column and all(column) and len({*zip(around, column, strict=True)}) == len(column)
        ]
        return Array(way, of_objects, values, len(items), unique)

    def pointers(self) -> dict[str, int]:
        """Return the pointers to the arrays of objects in documents, each with its number of elements; the most first.

        There are none where a file of JSON is not one document with fields, but records one after the other.
        """
        of_json = [one for name, one in self.found.files.items() if input_format(name) == "json"]
        if not of_json or any(one.records != 1 for one in of_json):
            return {}
        pointers = [*_pointers(self.found.seen)]
        return dict(sorted(((one, self.again(records_at=one).records) for one in pointers), key=lambda one: -one[1]))

    def texts_of_json(self) -> list[str]:
        """Return the paths of fields whose texts are all arrays or objects in JSON, in the files of one form at least.

        Files of CSV may have as texts what those of JSON have as it is.
        """
        found = set[Way]()
        for one in sorted({input_format(name) for name in self._places}):
            places = {name: place for name, place in self._places.items() if input_format(name) == one}
            for array in Look(self._folder, places, self._arrays, **self.keys).arrays():
                found |= {way for way, column in array.values.items() if _is_json(column)}
        paths = [*map(written, sorted(found))]
        # An empty text would make its record bad.
        return paths if found and self.again(parse=paths).bad <= self.bad else []


def _is_json(column: list[str]) -> bool:
    texts = {text for text in column if text}
    try:
        return bool(texts) and all(text[0] in "[{" and json.loads(text) is not None for text in texts)
    except (ValueError, RecursionError):
        return False


def _tables(arrays: Iterable[Way]) -> dict[str, FlatTable]:
    """Return a table of each array, beside that of the records."""
    exploded = {f"array-{n}": FlatTable(explode=[written(way)]) for n, way in enumerate(arrays) if way}
    return {"records": FlatTable(), **exploded}


def _pointers(seen: Seen, above: str = "") -> Iterator[str]:
    """Yield the pointer to each array of objects: through objects alone, since none leads into another array."""
    for name, field in seen.fields.items():
        pointer = f"{above}/{name.replace('~', '~0').replace('/', '~1')}"
        if not field.arrays:
            yield from _pointers(field, pointer)
        elif field.element and field.element.objects:
            yield pointer


def scalars(seen: Seen, above: Way = ()) -> Iterator[Way]:
    """Yield the way to each scalar field, through objects only."""
    for name, field in seen.fields.items():
        if "scalar" in field.kinds and not field.arrays and not field.objects:
            yield (*above, name)
        elif not field.arrays:
            yield from scalars(field, (*above, name))


def data_objects(seen: Seen, above: Way = (), array: Way = ()) -> Iterator[tuple[Way, Way, int]]:
    """Yield the way to each object whose keys look like data, that to the array around it, and how many keys it has."""
    for name, field in seen.fields.items():
        inner, way = field.through_arrays, (*above, name)
        uses = sum(one.records for one in inner.fields.values())
        if len(inner.fields) >= DATA_KEYS and uses < inner.objects * len(inner.fields) / 4:
            yield way, array, len(inner.fields)
        else:
            yield from data_objects(inner, way, way if field.arrays else array)


def written_as(places: Mapping[str, Place]) -> dict[str, Any]:
    """Return the keys `encoding` and `csv` by which files of CSV can be read; none where the usual ones do.

    It is no more than likely: the bytes of a file do not say what its encoding is.
    """
    contents = [Path(one.path).read_bytes() for name, one in places.items() if input_format(name) == "csv"]
    if len(contents) < len(places) or any(b"\0" in content for content in contents):
        return {}
    keys: dict[str, Any] = {}
    foreign = [content for content in contents if not content.isascii()]
    if foreign and not any(_is_in(content, "utf-8") for content in foreign):
        keys["encoding"] = "cp1252" if all(_is_in(content, "cp1252") for content in foreign) else "latin-1"
    heads = [content.lstrip().partition(b"\n")[0].decode("latin-1") for content in contents]
    likely = {max(DELIMITERS, key=head.count) for head in heads}
    if len(likely) == 1 and not any("," in head for head in heads) and any(one in heads[0] for one in likely):
        keys["csv"] = {"delimiter": likely.pop()}
    return keys


def _is_in(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
