"""What follows from samples: where records are, types, keys, matches with references, arrays to explode."""

import contextlib
import difflib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from fanfold.formats import input_format
from fanfold.init.look import Array, Look, array_ways, data_objects, look, read_array, records_at, written_as
from fanfold.layout import Place
from fanfold.spec.paths import Way, written
from fanfold.spec.values import FieldType

MAX_ARRAYS = 20
# As many elements for each document are records, whatever is around them.
MANY = 10
MONEY = re.compile(
    "amount|balance|charge|cost|discount|fee|gross|net|paid|price|revenue|sales|tax|total", re.IGNORECASE
)
TIMES = re.compile("time|date|epoch|stamp|created|updated|(^|_)ts$|_at$|At$", re.IGNORECASE)
NAMES_OF_KEYS = re.compile("(id|key|code|sku|uuid|guid|nr|number|email)$", re.IGNORECASE)
INTEGER = re.compile(r"-?(0|[1-9]\d*)")
DECIMAL = re.compile(r"-?(0|[1-9]\d{0,13})(\.\d{1,4})?")
_DAY, _TIME = r"\d{4}-\d\d-\d\d", r"[T ]\d\d:\d\d(:\d\d(\.\d+)?)?"
DATES = {
    "DATE": re.compile(_DAY),
    "TIMESTAMP": re.compile(_DAY + _TIME),
    "TIMESTAMPTZ": re.compile(_DAY + _TIME + r"(Z|[+-]\d\d(:?\d\d)?)"),
}
# The years from 2001 to 2100.
EPOCHS = {"EPOCH_S": (1e9, 4.1e9), "EPOCH_MS": (1e12, 4.1e12)}


class Match(NamedTuple):
    """Values of a field of records that are keys of a reference.

    Attributes:
        way: to the field.
        column: of the reference.
        share: of the values that are there, from 0 to 1.
        score: how likely it is meant.
        twice: a key that the reference has twice.
        more: the other parts of a key of several, each a field and its column.
    """

    way: Way
    column: str
    share: float
    score: float
    twice: str
    more: tuple[tuple[Way, str], ...] = ()


class Proposal(NamedTuple):
    """What a spec of the samples says, and what it might say.

    Attributes:
        at: the samples, as they are read where the records are.
        pointers: arrays of objects in documents, with their numbers of elements; by the first one the records are read.
        fields: declared types by path, each with a value.
        ideas: types by path that are only an idea, each with its reason.
        records: the values of the records themselves.
        arrays: the arrays in them.
        keys: paths of fields that are in each record, and in no two of them the same.
        matches: for each reference, by its name, the fields that match, the best one first.
        dialects: of the references that are written unusually, by name, the keys `encoding` and `csv`.
    """

    at: Look
    pointers: dict[str, int]
    fields: dict[str, tuple[str, str]]
    ideas: dict[str, tuple[str, str]]
    records: Array
    arrays: list[Array]
    keys: list[str]
    matches: dict[str, list[Match]]
    dialects: dict[str, dict[str, Any]]

    @property
    def records_at(self) -> str:
        """The pointer to the records; empty where documents are not wrapped."""
        return self.at.spec.input.records_at


def propose(folder: Path, places: Mapping[str, Place], references: Mapping[str, Place]) -> Proposal:
    """Look at samples and references, and say what follows.

    Args:
        folder: an empty one.
        places: where each sample lies, by its name.
        references: where each reference lies, by its name.
    """
    at = look(folder, places, **written_as(places))
    pointers = records_at(at) if _are_documents(at) else {}
    if pointers and _is_wrapped(at, *next(iter(pointers.items()))):
        at = look(folder, places, **at.keys, records_at=next(iter(pointers)))
    data = {written(way): keys for way, keys in data_objects(at.found.seen)}
    ideas = {path: ("JSON", f"{keys:,} different keys: they look like data") for path, keys in data.items()}
    if data:
        pointer = at.spec.input.records_at
        at = look(folder, places, **at.keys, records_at=pointer, fields=dict.fromkeys(data, "JSON"))
    records = read_array(at, ())
    ways = [*array_ways(at.found.seen)][:MAX_ARRAYS]
    arrays = [read_array(at, way, of_objects=of_objects) for way, of_objects in ways]
    values = {way: column for one in (records, *arrays) for way, column in one.values.items()}
    dialects = {name: written_as({name: place}) for name, place in references.items()}
    matches = {name: _matches(folder, name, place, values, dialects[name]) for name, place in references.items()}
    best = [found[0] for found in matches.values() if found]
    joined = {written(way) for match in best for way in (match.way, *(way for way, _ in match.more))}
    typed = {
        written(way): (kind, next(filter(None, column)))
        for way, column in values.items()
        if (kind := _type(way[-1], column)) and written(way) not in joined
    }
    fields = _fitting(at, typed, [records, *to_explode(arrays)])
    ideas |= {path: (kind, f"as in {value}") for path, (kind, value) in typed.items() if not _is_type(kind)}
    keys = [way for way, column in records.values.items() if written(way) not in typed and _is_key(column)]
    named = [way for way in keys if NAMES_OF_KEYS.search(way[-1])] or keys[: records.elements > MANY]
    named = [way for way in named if written(way) not in joined] or named
    fields |= _needed(values, to_explode(arrays), [match for match in best if not match.twice], fields)
    return Proposal(at, pointers, fields, ideas, records, arrays, [*map(written, named)], matches, dialects)


def _needed(
    values: Mapping[Way, list[str]], arrays: list[Array], joined: list[Match], fields: Mapping[str, tuple[str, str]]
) -> dict[str, tuple[str, str]]:
    """Return what a delivery may lack only if it is declared: keys of references, and a field of each array."""
    ways = [way for match in joined for way in (match.way, *(way for way, _ in match.more))]
    # An array inside comes first: what is declared in it lies in the outer one, too.
    for one in sorted(arrays, key=lambda one: -len(one.way)):
        if not any(written(way) in fields or way in ways for way in values if way[: len(one.way)] == one.way):
            own = [way for way, column in one.values.items() if any(column)] or [*one.values]
            ways.append(next((way for way in own if NAMES_OF_KEYS.search(way[-1])), own[0]))
    # As texts they take every value.
    texts = {written(way): ("VARCHAR", next(filter(None, values[way]), "")) for way in ways}
    return {path: one for path, one in texts.items() if path not in fields}


def _are_documents(at: Look) -> bool:
    """Say whether each file of JSON is one document with fields, and not records one after the other."""
    of_json = [one for name, one in at.found.files.items() if input_format(name) == "json"]
    return bool(of_json) and all(one.records == 1 for one in of_json)


def _is_wrapped(at: Look, pointer: str, elements: int) -> bool:
    """Say whether the documents have records in them, rather than being records that have an array.

    A record says by a field of its own which one it is; and what is deep in a document, or many, are the records.
    """
    seen, documents = at.found.seen, at.records
    has_key = any(NAMES_OF_KEYS.search(name) and "scalar" in field.kinds for name, field in seen.fields.items())
    return elements >= MANY * documents or (elements > 0 and (not has_key or pointer.count("/") > 1))


def _type(name: str, column: list[str]) -> str:
    """Return the type that the values of a field seem to have, and that is worth to be declared; empty for none."""
    values = {value for value in column if value}
    for kind, form in DATES.items():
        if values and all(map(form.fullmatch, values)):
            return kind
    if values and all(map(INTEGER.fullmatch, values)):
        if TIMES.search(name):
            return next((k for k, (low, high) in EPOCHS.items() if all(low <= int(v) < high for v in values)), "")
        return ""
    if values and all(map(DECIMAL.fullmatch, values)):
        scale = max(len(value.partition(".")[2]) for value in values)
        # Other decimals may have more digits tomorrow.
        return f"DECIMAL(18,{max(scale, 2)})" if scale == 2 or MONEY.search(name) else ""  # noqa: PLR2004
    return ""


def _is_type(kind: str) -> bool:
    with contextlib.suppress(ValidationError):
        return bool(TypeAdapter(FieldType).validate_python(kind))
    return False


def _fitting(at: Look, typed: Mapping[str, tuple[str, str]], scopes: list[Array]) -> dict[str, tuple[str, str]]:
    """Return the fields whose types hold every value: with them no record is bad that was good."""
    fitting: dict[str, tuple[str, str]] = {}
    for scope in scopes:
        fields = {path: typed[path] for way in scope.values if (path := written(way)) in typed}
        fields = {path: one for path, one in fields.items() if _is_type(one[0])}

        def fits(*paths: str, way: Way = scope.way, of: Mapping[str, tuple[str, str]] = fields) -> bool:
            settings = at.spec.input
            known = {**settings.fields, **{path: of[path][0] for path in paths}}
            again = look(at.folder, at.places, way, **at.keys, records_at=settings.records_at, fields=known)
            return again.bad <= at.bad

        fitting |= fields if not fields or fits(*fields) else {path: fields[path] for path in fields if fits(path)}
    return fitting


def _is_key(column: list[str]) -> bool:
    return bool(column) and all(column) and len({*column}) == len(column)


def _matches(
    folder: Path, name: str, place: Place, values: Mapping[Way, list[str]], dialect: dict[str, Any]
) -> list[Match]:
    """Return the fields whose values are keys of a reference, the best one first."""
    columns = read_array(look(folder, {name: place}, **dialect), ()).values
    counted = {way: Counter(value for value in column if value) for way, column in values.items()}
    found = [
        match
        for (column, *deeper), keys in columns.items()
        if not deeper and any(keys)
        for match in _of_column(Path(name).name.partition(".")[0], column, keys, counted)
    ]
    found.sort(key=lambda match: -match.score)
    return [*_of_two(found, columns, values), *found] if found and found[0].twice else found


def _of_two(found: list[Match], columns: Mapping[Way, list[str]], values: Mapping[Way, list[str]]) -> list[Match]:
    """Return the best key of two columns that the reference has under the names of fields, and no two rows share."""
    named = [match for match in found if match.way[-1] == match.column]
    made = []
    for one, other in itertools.combinations(sorted(named, key=lambda match: [*columns].index((match.column,))), 2):
        rows = [*zip(columns[one.column,], columns[other.column,], strict=True)]
        if one.way[:-1] != other.way[:-1] or one.column == other.column or len({*rows}) < len(rows):
            continue
        known = {*rows}
        pairs = [pair for pair in zip(values[one.way], values[other.way], strict=True) if all(pair)]
        share = sum(pair in known for pair in pairs) / (len(pairs) or 1)
        if share:
            made.append(Match(one.way, one.column, share, share + 1, "", ((other.way, other.column),)))
    return sorted(made, key=lambda match: -match.score)[:1]


def _of_column(stem: str, column: str, keys: list[str], values: Mapping[Way, Counter[str]]) -> Iterator[Match]:
    counts = Counter(key for key in keys if key)
    twice = next((key for key, times in counts.items() if times > 1), "")
    for way, found in values.items():
        matching = found.keys() & counts.keys()
        share = sum(found[value] for value in matching) / (found.total() or 1)
        alike = max(_alike(way[-1], column), _alike(way[-1], f"{singular(stem)}_{column}"))
        # Small numbers are in every column of small numbers: of those the name counts.
        if share and (alike > 0.6 or max(map(len, matching)) > 3):  # noqa: PLR2004
            yield Match(way, column, share, share + alike - (2 if twice else 0), twice)


def _alike(name: str, other: str) -> float:
    return difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()


def singular(name: str) -> str:
    """Return what one of many is called, as far as an `s` says it."""
    return name[:-1] if name.endswith("s") and not name.endswith("ss") and len(name) > 1 else name


def to_explode(arrays: list[Array]) -> list[Array]:
    """Return the arrays that become rows: those of objects that have fields of their own."""
    return [one for one in arrays if one.of_objects and one.values]


def keys_above(one: Array, proposal: Proposal) -> list[str]:
    """Return the paths that tie the elements of an array to their record, and to the elements that they lie in."""
    around = [
        outer for outer in to_explode(proposal.arrays) if outer is not one and one.way[: len(outer.way)] == outer.way
    ]
    inner = [
        [way for way, column in outer.values.items() if NAMES_OF_KEYS.search(way[-1]) and all(column)]
        for outer in around
    ]
    return proposal.keys[:1] + [written(ways[0]) for ways in inner if ways]


def inner_way(match: Match, arrays: list[Array]) -> Way:
    """Return the way to the innermost array that a match is in; empty where it is in the record itself."""
    around = [one.way for one in arrays if match.way[: len(one.way)] == one.way]
    return max(around, key=len, default=())
