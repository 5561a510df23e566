"""What is wrong with a spec, in words: line, path, what was found, what was expected, the nearest valid name."""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from fanfold.errors import nearest

# Deeper than any key of the spec; an alias of itself has no end.
MAX_DEPTH = 8


def distinct(error: ValidationError) -> Iterator[dict[str, Any]]:
    """Return what is wrong with a document, each fault once."""
    # A union reports every member it tried: of errors at one place, and of one that leads to another, one is enough.
    found: list[dict[str, Any]] = [
        {**details, "loc": _place(details["loc"])} for details in error.errors(include_url=False)
    ]
    places = [details["loc"] for details in found]
    for index, details in enumerate(found):
        place = details["loc"]
        leads_on = any(other[: len(place)] == place and other != place for other in places)
        if place not in places[:index] and not (place and leads_on):
            yield details


def _place(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return tuple(part for part in loc if isinstance(part, int) or not re.search(r"[\[\]()]|^(str|MergeKey)$", part))


def explain(details: dict[str, Any], node: yaml.Node | None, source: str, model: type[BaseModel]) -> tuple[int, str]:
    """Return the line of a fault, and `source:line: path: found, expected`."""
    loc = details["loc"]
    path = ".".join(map(str, loc)) or "spec"
    kind, context = details["type"], details.get("ctx", {})
    line = _line(node, loc)
    if kind == "extra_forbidden":
        return (
            line,
            f"{source}:{line}: {path}: unknown key {loc[-1]!r}, {nearest(str(loc[-1]), _known_keys(model, loc[:-1]))}",
        )
    if kind == "missing":
        line = _line(node, loc[:-1])
        return line, f"{source}:{line}: {path}: found nothing, expected a value"
    if kind == "value_error" and not loc:
        return 1, f"{source}:1: {context['error']}"
    expected = {
        "value_error": str(context.get("error")),
        "literal_error": str(context.get("expected")),
        "string_pattern_mismatch": f"a text of the form {context.get('pattern')}",
        "greater_than_equal": f"at least {context.get('ge')}",
        "less_than_equal": f"at most {context.get('le')}",
        "greater_than": f"more than {context.get('gt')}",
    }.get(kind, details["msg"].removeprefix("Input should be ").removeprefix("a valid "))
    return line, f"{source}:{line}: {path}: found {details['input']!r}, expected {expected}"


def _known_keys(model: Any, loc: tuple[int | str, ...]) -> list[str]:
    for part in loc:
        if isinstance(part, str):
            fields = {field.alias or name: field for name, field in model.model_fields.items()}
            annotation = fields[part].annotation
            members = [annotation, *getattr(annotation, "__args__", ())]
            model = next((m for m in members if isinstance(m, type) and issubclass(m, BaseModel)), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _line(node: yaml.Node | None, loc: tuple[int | str, ...]) -> int:
    line = 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def repeated_keys(node: yaml.Node | None, path: str = "", depth: int = 0) -> Iterator[tuple[int, str]]:
    """Return line and path of every key that its mapping has already: YAML would let the last one win."""
    if depth > MAX_DEPTH:
        return
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            place = f"{path}.{key.value}" if path else str(key.value)
            if key.value in seen:
                yield key.start_mark.line + 1, place
            seen.add(key.value)
            yield from repeated_keys(value, place, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from repeated_keys(value, f"{path}.{index}", depth + 1)
