"""What is in samples, by the reader of runs: where the records are, their fields and arrays, and the values of each."""

import csv
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fanfold.formats import input_format
from fanfold.layout import Feed, Place
from fanfold.native import Others, Rows, Seen
from fanfold.records.header import DELIMITERS
from fanfold.records.places import places_of
from fanfold.records.read import Door, Rules
from fanfold.schema.columns import leaves
from fanfold.schema.infer import draft
from fanfold.spec.model import Denormalize, Spec
from fanfold.spec.paths import Way, written
from fanfold.steps.scan_files import Found, scan_files
from fanfold.types import JSON

# An object with so many keys, each in few of the records, has data for keys.
DATA_KEYS = 50


class Look(NamedTuple):
    """Samples as they are read by a spec, which says where records are and what is JSON as a whole.

    Attributes:
        folder: an empty one, in place of a feed's.
        spec: what they are read by.
        places: where each lies, by its name.
        found: what a run would find in them.
    """

    folder: Path
    spec: Spec
    places: Mapping[str, Place]
    found: Found

    @property
    def keys(self) -> dict[str, Any]:
        """How the samples are written, as `look` takes it."""
        return self.spec.input.model_dump(include={"encoding", "csv"}, exclude_defaults=True)

    @property
    def records(self) -> int:
        """How many good records there are."""
        return sum(one.records - one.bad for one in self.found.files.values())

    @property
    def bad(self) -> int:
        """How many bad records there are."""
        return sum(one.bad for one in self.found.files.values())


def look(folder: Path, places: Mapping[str, Place], explode: Way = (), **keys: Any) -> Look:
    """Read samples from end to end; `keys` are those of `input`, `folder` is an empty one."""
    chain = [written(explode)] if explode else []
    spec = Spec.model_validate({"version": 1, "name": "samples", "input": keys, "denormalize": {"explode": chain}})
    return Look(folder, spec, places, scan_files(Feed(folder, spec), "landing", places, []))


def written_as(places: Mapping[str, Place]) -> dict[str, Any]:
    """Return the keys `encoding` and `csv` by which files of CSV can be read; none where the usual ones do.

    It is no more than likely: the bytes of a file do not say what its encoding is.
    """
    contents = [Path(one.path).read_bytes() for name, one in places.items() if input_format(name) != "parquet"]
    heads = [content.lstrip().partition(b"\n")[0].decode("latin-1") for content in contents]
    if any(input_format(name) != "csv" for name in places) or any(b"\0" in content for content in contents):
        return {}
    keys: dict[str, Any] = {}
    foreign = [content for content in contents if not content.isascii()]
    if foreign and not any(_is_in(content, "utf-8") for content in foreign):
        keys["encoding"] = "cp1252" if all(_is_in(content, "cp1252") for content in foreign) else "latin-1"
    likely = [max(DELIMITERS, key=head.count) for head in heads]
    if heads and not any("," in head for head in heads) and len({*likely}) == 1 and likely[0] in heads[0]:
        keys["csv"] = {"delimiter": likely[0]}
    return keys


def _is_in(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


class Array(NamedTuple):
    """An array of the records: the way to it, how many elements it has in all, and the values in them."""

    way: Way
    of_objects: bool
    values: dict[Way, list[str]]
    elements: int


def array_ways(seen: Seen, above: Way = ()) -> Iterator[tuple[Way, bool]]:
    """Yield the way to each array in an object, at any depth, and whether it has objects in it."""
    for name, field in seen.fields.items():
        way = (*above, name)
        if field.arrays and field.element:
            yield way, field.element.objects > 0
        yield from array_ways(field.through_arrays, way)


def read_array(at: Look, way: Way, *, of_objects: bool = True) -> Array:
    """Return the elements of an array, or by an empty way the records, with the values of their own fields.

    Each value is a text as CSV has it, empty for null; they stand in the order of the elements.
    """
    # A text of JSON may have megabytes.
    csv.field_size_limit(sys.maxsize)
    spec = at.spec.model_copy(update={"denormalize": Denormalize(explode=[written(way)] if way else [])})
    record = draft(spec, at.found.seen, []).record
    found = places_of(record, [])
    own = {leaf.way for leaf in leaves(record, at.found.seen) if leaf.node.type != JSON}
    scope = found.scopes.get(way, -1)
    ways = [one for one, (where, _) in found.slots.items() if where == scope and one in own]
    if not ways:
        return Array(way, of_objects, {}, 0 if way else at.records)
    door = Door(at.folder, spec, Rules(found.record, Others.LEAVE, excluded=at.found.excluded))
    # Only the elements have rows, not what they lie in.
    chain = [(inner, inner != scope) for inner in found.scopes.values()]
    rows = Rows(found.record, [(Rows.SLOT, *found.slots[one]) for one in ways], chain)
    merged = (piece.merged for name, place in at.places.items() for piece in door.read(name, place.path))
    text = io.StringIO(b"".join(rows.write(merged)).decode(), newline="")
    columns = list(zip(*csv.reader(text), strict=True)) or [() for _ in ways]
    return Array(way, of_objects, dict(zip(ways, map(list, columns), strict=True)), len(columns[0]))


def records_at(at: Look) -> dict[str, int]:
    """Return the pointers to the arrays of objects in documents, each with its number of elements; the most first."""
    seen = at.found.seen
    # Through objects alone: a pointer does not lead into the elements of another array.
    ways = [way for way, of_objects in array_ways(seen) if of_objects and not _in_array(seen, way)]
    pointers = ["".join(f"/{name.replace('~', '~0').replace('/', '~1')}" for name in way) for way in ways]
    found = {pointer: look(at.folder, at.places, **at.keys, records_at=pointer).records for pointer in pointers}
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def _in_array(seen: Seen, way: Way) -> bool:
    return any(outer.arrays for end in range(1, len(way)) if (outer := seen.find(way[:end])))


def data_objects(seen: Seen, above: Way = ()) -> Iterator[tuple[Way, int]]:
    """Yield the way to each object whose keys look like data, and how many different keys it has."""
    for name, field in seen.fields.items():
        inner, way = field.through_arrays, (*above, name)
        uses = sum(one.records for one in inner.fields.values())
        if len(inner.fields) >= DATA_KEYS and uses < inner.objects * len(inner.fields) / 4:
            yield way, len(inner.fields)
        else:
            yield from data_objects(inner, way)
