"""What samples suggest: where records are, types, keys, matches with references, arrays to explode."""

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fanfold.init.look import Array, Look, data_objects, scalars, written_as
from fanfold.layout import Place
from fanfold.spec.paths import Way, way_of, written

MAX_ARRAYS = 20
# As many elements for each document are records, whatever is around them.
MANY = 10
MONEY = re.compile(
    "amount|balance|charge|cost|discount|fee|gross|net|paid|price|revenue|sales|tax|total", re.IGNORECASE
)
TIMES = re.compile("time|date|epoch|stamp|created|updated|(^|_)ts$|_at$|At$", re.IGNORECASE)
NAMES_OF_KEYS = re.compile("(id|key|code|sku|uuid|guid|nr|number|email)$", re.IGNORECASE)
ANY_NAME = re.compile("")
DECIMAL = re.compile(r"-?(0|[1-9]\d{0,13})(\.\d{1,4})?")
_DAY, _TIME = r"\d{4}-\d\d-\d\d", r"[T ]\d\d:\d\d(:\d\d(\.\d+)?)?"
# The names of fields of a type, and the form of its values. An epoch is of the years from 2001 on.
TYPES = {
    "DATE": (ANY_NAME, re.compile(_DAY)),
    "TIMESTAMP": (ANY_NAME, re.compile(_DAY + _TIME)),
    "TIMESTAMPTZ": (ANY_NAME, re.compile(_DAY + _TIME + r"(Z|[+-]\d\d(:?\d\d)?)")),
    "EPOCH_S": (TIMES, re.compile(r"[1-3]\d{9}")),
    "EPOCH_MS": (TIMES, re.compile(r"[1-3]\d{12}")),
}


class Match(NamedTuple):
    """Values of fields of records that are keys of a reference.

    Attributes:
        ways: to the fields, one for each part of the key.
        columns: of the reference, one for each part of the key.
        share: of the values that are there, from 0 to 1.
        score: how likely it is meant.
        twice: a key that the reference has twice; empty where there is none.
    """

    ways: tuple[Way, ...]
    columns: tuple[str, ...]
    share: float
    score: float
    twice: str


class Proposal(NamedTuple):
    """What a spec for the samples says, and what it might say.

    Attributes:
        at: the samples, as they are read where the records are.
        pointers: arrays of objects in documents, with their numbers of elements; by the first one the records are read.
        fields: declared types by path, each with its reason.
        records: the values of the records themselves.
        arrays: the arrays in them.
        keys: paths of fields that are in each record, and in no two of them the same.
        around_records: paths of fields around the records, which no record has itself.
        matches: for each reference, by its name, the fields that match, the best one first.
        dialects: of the references, by name, the keys `encoding` and `csv` where they are written unusually.
    """

    at: Look
    pointers: dict[str, int]
    fields: dict[str, tuple[str, str]]
    records: Array
    arrays: list[Array]
    keys: list[str]
    around_records: list[str]
    matches: dict[str, list[Match]]
    dialects: dict[str, dict[str, Any]]

    @property
    def records_at(self) -> str:
        """The pointer to the records; empty where documents are not wrapped."""
        return str(self.at.keys.get("records_at", ""))

    def around(self, way: Way) -> list[Array]:
        """Return the arrays that become rows and that a way leads through, the outermost first."""
        return [one for one in self.arrays if one.has_rows and one.way == way[: len(one.way)] != way]

    def keys_above(self, array: Array) -> list[str]:
        """Return the paths that tie the elements of an array to their record, and to the elements that they lie in."""
        found = self.keys[:1]
        for outer in self.around(array.way):
            found += [written(way) for way in itertools.islice(filter(_names_key, outer.unique), 1)]
        return found


def propose(folder: Path, places: Mapping[str, Place], references: Mapping[str, Place]) -> Proposal:
    """Look at samples and references, and say what they suggest.

    Args:
        folder: an empty one.
        places: where each sample lies, by its name.
        references: where each reference lies, by its name.
    """
    at = Look(folder, places, **written_as(places))
    pointers, around = at.pointers(), list[Way]()
    if pointers and _is_wrapped(at, *next(iter(pointers.items()))):
        documents = at.found.seen
        at = at.again(records_at=next(iter(pointers)))
        around = [way for way in scalars(documents) if way[0] not in at.found.seen.fields]
    if texts := [] if at.keys.get("records_at") else at.texts_of_json():
        at = at.again(parse=texts)
    # Of an object whose keys are data nobody wants a column for each.
    objects = [*data_objects(at.found.seen)]
    if objects:
        at = at.again({array for _, array, _ in objects if array}, fields={written(way): "JSON" for way, *_ in objects})
    records, *arrays = itertools.islice(at.arrays(), MAX_ARRAYS + 1)
    scopes = [records, *(one for one in arrays if one.has_rows)]
    dialects = {name: written_as({name: place}) for name, place in references.items()}
    matches = {
        name: _matches(name, next(Look(folder, {name: place}, **dialects[name]).arrays()), scopes)
        for name, place in references.items()
    }
    best = [found[0] for found in matches.values() if found]
    joined = {way for match in best for way in match.ways}
    values = {way: column for one in scopes for way, column in one.values.items()}
    typed = {way: kind for way, column in values.items() if way not in joined and (kind := _type(way[-1], column))}
    levels = {one.way for one in scopes}
    fields = {
        written(way): ("JSON", f"{keys:,} different keys: they look like data")
        for way, array, keys in objects
        if array in levels
    }
    fitting = _fitting(at, [one.way for one in scopes[1:]], typed)
    fields |= {written(way): (kind, f"as in {next(filter(None, values[way]))}") for way, kind in fitting.items()}
    unique = [way for way in records.unique if way not in typed]
    named = [way for way in unique if _names_key(way)] or unique[: records.elements > MANY]
    named = [way for way in named if way not in joined] or named
    for way in _needed(scopes[1:], [way for match in best if not match.twice for way in match.ways], fields):
        # As a text it takes every value.
        seen = next(filter(None, values[way]), "")
        fields.setdefault(written(way), ("VARCHAR", f"as in {seen}; declared, so that a delivery may lack it"))
    return Proposal(
        at, pointers, fields, records, arrays, [*map(written, named)], [*map(written, around)], matches, dialects
    )


def _is_wrapped(at: Look, pointer: str, elements: int) -> bool:
    """Say whether the documents have records in them, rather than being records that have an array.

    A record says by a field of its own which one it is; and what is deep in a document, or many, are the records.
    """
    has_key = any(_names_key((name,)) and "scalar" in field.kinds for name, field in at.found.seen.fields.items())
    return elements >= MANY * at.records or (elements > 0 and (not has_key or pointer.count("/") > 1))


def _names_key(way: Way) -> bool:
    return NAMES_OF_KEYS.search(way[-1]) is not None


def _type(name: str, column: list[str]) -> str:
    """Return the type that the values of a field seem to have, and that is worth to be declared; empty for none."""
    values = {*filter(None, column)}
    for kind, (names, form) in TYPES.items():
        if values and names.search(name) and all(map(form.fullmatch, values)):
            return kind
    scale = max((len(value.partition(".")[2]) for value in values), default=0)
    # Other decimals may have more digits tomorrow.
    is_amount = scale == 2 or (scale and MONEY.search(name))  # noqa: PLR2004
    return f"DECIMAL(18,{max(scale, 2)})" if is_amount and all(map(DECIMAL.fullmatch, values)) else ""


def _fitting(at: Look, arrays: list[Way], typed: dict[Way, str]) -> dict[Way, str]:
    """Return the fields whose types hold every value: with them no record is bad that was good."""
    if not typed:
        return {}
    at = at.again(arrays)

    def fits(types: Mapping[Way, str]) -> bool:
        fields = at.keys.get("fields", {}) | {written(way): kind for way, kind in types.items()}
        return at.again(fields=fields).bad <= at.bad

    return typed if fits(typed) else {way: kind for way, kind in typed.items() if fits({way: kind})}


def _needed(arrays: list[Array], joined: list[Way], fields: Mapping[str, object]) -> list[Way]:
    """Return what a delivery may lack only if it is declared: keys of references, and a field of each array."""
    ways = [*joined]
    # An array inside comes first: what is declared in it lies in the outer one, too.
    for one in sorted(arrays, key=lambda one: -len(one.way)):
        declared = [way_of(path) for path in fields] + ways
        if not any(way[: len(one.way)] == one.way for way in declared):
            own = [way for way, column in one.values.items() if any(column)] or [*one.values]
            ways.append(next(filter(_names_key, own), own[0]))
    return ways


def _matches(name: str, reference: Array, scopes: list[Array]) -> list[Match]:
    """Return the fields whose values are keys of a reference, the best one first."""
    columns = {way[0]: column for way, column in reference.values.items() if len(way) == 1 and any(column)}
    stem = singular(name)
    values = {way: Counter(filter(None, column)) for one in scopes for way, column in one.values.items()}
    found = []
    for column, texts in columns.items():
        keys = Counter(filter(None, texts))
        for way, counted in values.items():
            names = way[-1], "_".join(way[-2:])
            alike = max(_alike(*pair) for pair in itertools.product(names, (column, f"{stem}_{column}")))
            match = _match((way,), (column,), keys, counted, alike)
            # Small numbers are in every column of small numbers: of those the name counts.
            is_telling = max(map(len, keys.keys() & counted.keys()), default=0) > 3  # noqa: PLR2004
            if match.share and (alike > 0.6 or (is_telling and match.share > 0.5)):  # noqa: PLR2004
                found.append(match)
    found.sort(key=lambda match: -match.score)
    is_ambiguous = bool(found and found[0].twice)
    return [*(_of_two(columns, scopes) if is_ambiguous else []), *found]


def _of_two(columns: Mapping[str, list[str]], scopes: list[Array]) -> list[Match]:
    """Return the best key of two columns that the reference has under the names of fields, and no two rows share."""
    pairs = []
    for one, names in itertools.product(scopes, itertools.combinations(columns, 2)):
        for ways in itertools.product(*([way for way in one.values if way[-1] == name] for name in names)):
            keys = Counter(zip(*(columns[name] for name in names), strict=True))
            values = Counter(filter(all, zip(*(one.values[way] for way in ways), strict=True)))
            if ways[0][:-1] == ways[1][:-1] and max(keys.values()) == 1:
                pairs.append(_match(ways, names, keys, values, 1))
    return [match for match in sorted(pairs, key=lambda match: -match.score) if match.share][:1]


def _match(
    ways: tuple[Way, ...], columns: tuple[str, ...], keys: Counter[Any], values: Counter[Any], alike: float
) -> Match:
    share = sum(values[key] for key in keys.keys() & values.keys()) / (values.total() or 1)
    twice = next((key for key, times in keys.items() if times > 1), "")
    return Match(ways, columns, share, share + alike - 2 * bool(twice), twice)


def _alike(name: str, other: str) -> float:
    """Say how alike two names are, from 0 to 1; an empty one is like no other."""
    return difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio() if name and other else 0


def singular(path: str) -> str:
    """Return the name of one thing in a file, as far as the name of the file tells it."""
    name = Path(path).name.partition(".")[0]
    return name[:-1] if name.endswith("s") and not name.endswith("ss") and len(name) > 1 else name
