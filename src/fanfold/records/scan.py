"""Look through files before the groups: how many records each has, good and bad, and the fields of all of them."""

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fanfold.faults import UnreadableError
from fanfold.layout import COMPRESSIONS, Place, input_format
from fanfold.native import Field, Others, Seen
from fanfold.native.fields import merged
from fanfold.records.read import MAX_FIELDS, Door, FileRead, Rules
from fanfold.spec.model import Spec
from fanfold.working_files import Excluded

if TYPE_CHECKING:
    from fanfold.engine.parquet_schema import Columns

Way = tuple[str, ...]

# With less than this, to start threads takes longer than they save.
PARALLEL_BYTES, FILE_BYTES = 4 * 1024 * 1024, 8 * 1024
PARTS_OF_A_THREAD = 4


class Scan(NamedTuple):
    """What was found in files, by their names, and the fields of all good records, in the order of the names."""

    files: dict[str, FileRead]
    seen: Seen


class Known(NamedTuple):
    """What is known of records before: the fields that are declared, and what no good record has."""

    record: Field | None = None
    excluded: Sequence[Excluded] = ()


NOTHING_KNOWN = Known()


def scan(data_dir: Path, places: Mapping[str, Place], spec: Spec, known: Known = NOTHING_KNOWN) -> Scan:
    """Read files from end to end.

    The answer does not depend on the number of threads. A file of which no record can be read is an answer, not an
    error; it leaves no trace among the fields.

    Args:
        data_dir: nothing outside of it is read.
        places: where each file lies, by its name.
        spec: gives the largest record, and where records are.
        known: what is known of records before.
    """
    parts = _parts(places)
    work = sum(place.size_bytes + FILE_BYTES for place in places.values())
    scanner = _Scanner(data_dir, places, spec, known)
    if work < PARALLEL_BYTES or len(parts) == 1:
        found = [scanner.look(part) for part in parts]
    else:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            found = list(threads.map(scanner.look, parts))
    seen = merged(one.seen for one in found)
    if len(seen) > MAX_FIELDS:
        found = scanner.look_in_order(parts)
        seen = merged(one.seen for one in found)
    for one in known.excluded:
        _forget(seen, one.form.path)
    return Scan({name: one for part in found for name, one in part.files.items()}, seen)


def _forget(seen: Seen, path: tuple[str, ...]) -> None:
    """Forget a field that is in the header of a CSV, and in no good record."""
    field = seen.fields.get(path[0]) if len(path) == 1 else None
    if field is not None and not field.records:
        del seen.fields[path[0]]


def _parts(places: Mapping[str, Place]) -> list[list[str]]:
    """Return the names of files, in their order, in parts of one format that are read by one reader each.

    A compressed file, and one of Parquet, may turn out to be damaged behind records that were good: each is a part.
    """
    work = sum(place.size_bytes + FILE_BYTES for place in places.values())
    most = max(PARALLEL_BYTES, work // ((os.cpu_count() or 1) * PARTS_OF_A_THREAD))
    parts: list[list[str]] = []
    for alone, names in groupby(sorted(places), key=_format):
        size = most
        for name in names:
            size += places[name].size_bytes + FILE_BYTES
            if size > most or alone == "":
                parts.append([])
                size = places[name].size_bytes + FILE_BYTES
            parts[-1].append(name)
    return parts


def _format(name: str) -> str:
    return "" if name.endswith((*COMPRESSIONS, ".parquet")) else input_format(name)


class _Scanner:
    def __init__(self, data_dir: Path, places: Mapping[str, Place], spec: Spec, known: Known) -> None:
        self._data_dir, self._places, self._spec, self._known = data_dir, places, spec, known

    def look(self, names: list[str], max_fields: int = MAX_FIELDS, before: Field | None = None) -> Scan:
        """Read files of one format by one reader."""
        record = before or self._known.record
        is_parquet = input_format(names[0]) == "parquet"
        told = told_of(self._places[names[0]].path) if is_parquet else None
        record = with_maps(record, told.seen, told.maps) if told and told.maps else record
        rules = Rules(record, Others.LEARN, (), self._known.excluded, max_fields)
        door = Door(self._data_dir, self._spec, rules)
        files, ends, nodes = dict[str, FileRead](), list[tuple[int, str]](), 0
        for name in names:
            for _ in door.read(name, self._places[name].path):
                pass
            files[name] = door.found
            if (found := door.reader(name).counts.nodes) > nodes:
                nodes = found
                ends.append((nodes, name))
        if good := [name for name, one in files.items() if not one.is_bad]:
            # The header of a CSV says which columns there are, whatever its lines are.
            if len(good) < len(files) and input_format(names[0]) == "csv":
                return Scan(files, self.look(good, max_fields, before).seen)
        else:
            return Scan(files, Seen())
        seen = Seen.parse(door.reader(names[0]).learnt, ends, rules.record)
        if told is not None:
            add_told(seen, told, names[0])
        return Scan(files, seen)

    def look_in_order(self, parts: list[list[str]]) -> list[Scan]:
        """Read all files one after the other: a record that brings more fields than a run may have is bad."""
        found, seen = list[Scan](), Seen()
        for part in parts:
            before = _as_known("", seen) if found else None
            found.append(self.look(part, MAX_FIELDS, before))
            seen.add(found[-1].seen)
        return found


def told_of(path: str) -> "Columns | None":
    """Return what a file of Parquet says of its records; None where that cannot be read."""
    from fanfold.engine import parquet

    with contextlib.suppress(UnreadableError):
        return parquet.fields(Path(path))
    return None


def with_maps(known: Field | None, seen: Seen, maps: frozenset[Way], path: Way = ()) -> Field:
    """Return the fields that are known, with maps of Parquet as JSON: their keys are no fields."""
    name, depth = path[-1] if path else "", len(path)
    if path in maps:
        return known or Field(name, type="JSON")
    inside = {field.name: field for field in known.inside} if known else {}
    for key in dict.fromkeys(way[depth] for way in maps if way[:depth] == path):
        inside[key] = with_maps(inside.get(key), seen.through_arrays.fields[key], maps, (*path, key))
    if known and known.kind == "list":
        element = with_maps(known.inside[0]._replace(name=name), seen.through_arrays, maps, path)
        return known._replace(inside=(element._replace(name=""),))
    made = Field(name, "object", inside=tuple(inside.values()))
    return Field(name, "list", inside=(made._replace(name=""),)) if seen.arrays else made


def add_told(seen: Seen, told: "Columns", name: str, above: tuple[str, ...] = ()) -> None:
    """Add what a file of Parquet says: which fields are floats, and what those are that have nothing but nulls."""
    for key, field in told.seen.fields.items():
        path = (*above, key)
        found = seen.fields.setdefault(key, Seen(first_file=name))
        if not found.kinds:
            seen.fields[key] = found = _named(field, name)
        inner = told._replace(seen=field.through_arrays)
        add_told(found.through_arrays, inner, name, path)
        at = found.through_arrays
        if path in told.doubles:
            # What is not finite is a text.
            at.numbers, at.texts = at.numbers + at.texts, 0
            at.is_float, at.floats = True, at.integers + at.numbers
    # A map was known before any record was read: it stands where it is in the file all the same.
    seen.fields = {key: seen.fields[key] for key in told.seen.fields} | seen.fields


def _named(field: Seen, name: str) -> Seen:
    inside = {key: _named(one, name) for key, one in field.fields.items()}
    element = _named(field.element, name) if field.element else None
    return dataclasses.replace(field, fields=inside, element=element, first_file=name)


def _as_known(name: str, seen: Seen) -> Field:
    """Return fields that were seen as the core takes them: any value may be in them."""
    inner = seen.through_arrays
    return Field(name, "object", inside=tuple(_as_known(key, one) for key, one in inner.fields.items()))
