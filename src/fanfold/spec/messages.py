"""What is wrong with a spec, in words: line, path, what was found, what was expected, the nearest valid name."""

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from fanfold.errors import nearest
from fanfold.spec.yaml_file import Document, Place

# Who has more mistakes than that has one mistake.
MAX_SHOWN = 20
MAX_CHARACTERS = 100


def faults(document: Document, error: ValidationError | None, source: str, model: type[BaseModel]) -> str:
    """Return what is wrong with a document: a line for each fault, in the order of the file; of many the first."""
    found: list[tuple[int, dict[str, Any]]] = [(_line(document, place), {"loc": place}) for place in document.twice]
    found += [(_line(document, details["loc"]), details) for details in _distinct(error)]
    found.sort(key=lambda fault: fault[0])
    lines = [_explain(line, details, source, model) for line, details in found[:MAX_SHOWN]]
    if len(found) > MAX_SHOWN:
        lines.append(f"{source}: and {len(found) - MAX_SHOWN:,} more errors")
    return "\n".join(lines)


def _distinct(error: ValidationError | None) -> Iterator[dict[str, Any]]:
    """Yield what is wrong with a document, each fault once."""
    # A union reports every member it tried: of errors at one place, and of one that leads to another, one is enough.
    found: list[dict[str, Any]] = [
        {**details, "loc": _place(details["loc"])} for details in (error.errors(include_url=False) if error else ())
    ]
    leading = {details["loc"][:length] for details in found for length in range(1, len(details["loc"]))}
    seen: set[Place] = set()
    for details in found:
        if details["loc"] not in seen and details["loc"] not in leading:
            yield details
        seen.add(details["loc"])


def _place(loc: tuple[int | str, ...]) -> Place:
    return tuple(part for part in loc if isinstance(part, int) or not re.search(r"[\[\]()]|^(str|MergeKey)$", part))


def _explain(line: int, details: dict[str, Any], source: str, model: type[BaseModel]) -> str:
    loc = details["loc"]
    path = _path(loc) or "spec"
    kind, context = details.get("type", "twice"), details.get("ctx", {})
    if kind == "twice":
        return f"{source}:{line}: {path}: found twice, expected once"
    if kind == "extra_forbidden":
        near = nearest(str(loc[-1])[:MAX_CHARACTERS], _known_keys(model, loc[:-1]))
        return f"{source}:{line}: {path}: unknown key {_shown(loc[-1])}, {near}"
    if kind == "missing":
        return f"{source}:{line}: {path}: found nothing, expected a value"
    if kind == "value_error" and not loc:
        return f"{source}:1: {context['error']}"
    expected = {
        "value_error": str(context.get("error")),
        "literal_error": str(context.get("expected")),
        "string_pattern_mismatch": f"a text of the form {context.get('pattern')}",
        "greater_than_equal": f"at least {context.get('ge')}",
        "less_than_equal": f"at most {context.get('le')}",
        "greater_than": f"more than {context.get('gt')}",
    }.get(kind, details["msg"].removeprefix("Input should be ").removeprefix("a valid "))
    return f"{source}:{line}: {path}: found {_shown(details['input'])}, expected {expected}"


def _path(place: Place) -> str:
    parts = [str(part) for part in place]
    return ".".join(_cut(part if part.isprintable() else repr(part)) for part in parts)


def _shown(value: Any) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}… ({len(text):,} characters)"


def _known_keys(model: Any, loc: Place) -> list[str]:
    for part in loc:
        if isinstance(part, str):
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
            annotation = fields[part].annotation
            members = [annotation, *getattr(annotation, "__args__", ())]
            model = next((m for m in members if isinstance(m, type) and issubclass(m, BaseModel)), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _line(document: Document, place: Place) -> int:
    """Return the line of a place, or of the last one on the way to it that is there."""
    for length in range(len(place), 0, -1):
        if place[:length] in document.lines:
            return document.lines[place[:length]]
    return 1
