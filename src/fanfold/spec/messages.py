"""What is wrong with a spec, in words: line, path, what was found, what was expected, the nearest valid name."""

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from fanfold.errors import count, nearest
from fanfold.spec.yaml_file import Document, Place

# Who has more mistakes than that has one mistake.
MAX_SHOWN = 20
MAX_CHARACTERS = 100
# What is expected, by the type of an error of pydantic; `{}` is what it says of it.
EXPECTED = {
    "value_error": "{error}",
    "literal_error": "{expected}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "greater_than": "more than {gt}",
}


def faults(document: Document, error: ValidationError | None, source: str, model: type[BaseModel]) -> str:
    """Return what is wrong with a document: a line for each fault, in the order of the file; only the first of many."""
    found = [{"loc": place, "type": "twice"} for place in document.twice] + _distinct(error)
    placed = sorted(((_line(document, details["loc"]), details) for details in found), key=lambda one: one[0])
    lines = [f"{source}:{line}: {_explained(details, model)}" for line, details in placed[:MAX_SHOWN]]
    if len(placed) > MAX_SHOWN:
        lines.append(f"{source}: and {count(len(placed) - MAX_SHOWN, 'more error')}")
    return "\n".join(lines)


def _distinct(error: ValidationError | None) -> list[dict[str, Any]]:
    """Return what is wrong with a document, each fault once."""
    # A union reports every member it tried: of errors at one place, and of one that leads to another, one is enough.
    found: dict[Place, dict[str, Any]] = {}
    for details in error.errors(include_url=False) if error else ():
        place = tuple(part for part in details["loc"] if isinstance(part, int) or not _is_member(part))
        found.setdefault(place, {**details, "loc": place})
    leading = {place[:length] for place in found for length in range(1, len(place))}
    return [details for place, details in found.items() if place not in leading]


def _is_member(part: str) -> bool:
    """Say whether a part of a place is not a key, but what pydantic calls the member of a union."""
    return re.search(r"[\[\]()]|^(str|MergeKey)$", part) is not None


def _explained(details: dict[str, Any], model: type[BaseModel]) -> str:
    loc, kind, context = details["loc"], details["type"], details.get("ctx", {})
    path = ".".join(_cut(part if part.isprintable() else repr(part)) for part in map(str, loc))
    if kind == "twice":
        return f"{path}: found twice, expected once"
    if kind == "extra_forbidden":
        near = nearest(str(loc[-1])[:MAX_CHARACTERS], _known_keys(model, loc[:-1]))
        return f"{path}: unknown key {_cut(repr(loc[-1]))}, {near}"
    if kind == "missing":
        return f"{path}: found nothing, expected a value"
    if not loc:
        # It is about several keys, which it names.
        return str(context["error"])
    words = details["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    expected = EXPECTED[kind].format_map(context) if kind in EXPECTED else words
    return f"{path}: found {_cut(repr(details['input']))}, expected {expected}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}… ({len(text):,} characters)"


def _known_keys(model: type[BaseModel], loc: Place) -> list[str]:
    for part in loc:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        # Others are numbers, and names of tables.
        if part in fields:
            annotation = fields[str(part)].annotation
            members = [annotation, *getattr(annotation, "__args__", ())]
            model = next((m for m in members if isinstance(m, type) and issubclass(m, BaseModel)), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _line(document: Document, place: Place) -> int:
    """Return the line of a place, or of the last one on the way to it that is there."""
    known = (place[:length] for length in range(len(place), 0, -1) if place[:length] in document.lines)
    return document.lines.get(next(known, ()), 1)
