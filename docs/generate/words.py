"""What the pages share: tables, docstrings as Markdown, and the names of types."""

import inspect
import re
import textwrap
import types
import typing
from collections.abc import Mapping
from typing import Any

import msgspec

NOTE = "<!-- Written from the code by docs/generate. Change it there, then run `python -m docs.generate`. -->"
TYPES = {str: "text", int: "integer", float: "number", bool: "true or false", types.NoneType: "null"}


def joined(blocks: list[str]) -> str:
    """Return a page of its blocks."""
    return "\n\n".join(blocks) + "\n"


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def keys(kind: type[msgspec.Struct], meanings: Mapping[str, str], more: Mapping[str, str] | None = None) -> str:
    """Return the table of a document's keys.

    Raises:
        ValueError: a key has no meaning, or a meaning has no key.
    """
    found = {field.name: _json_type(field.type) for field in msgspec.structs.fields(kind)} | dict(more or {})
    if list(found) != list(meanings):
        msg = f"{kind.__name__} has the keys {list(found)}, its meanings are those of {list(meanings)}"
        raise ValueError(msg)
    return table(["key", "type", "meaning"], [[f"`{key}`", shown, meanings[key]] for key, shown in found.items()])


def _json_type(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin in {types.UnionType, typing.Union}:
        members = [member for member in typing.get_args(annotation) if member is not msgspec.UnsetType]
        return " or ".join(map(_json_type, members))
    return {dict: "object", list: "array"}.get(origin) or TYPES.get(annotation, "object")


def type_name(annotation: Any) -> str:
    """Return how a type is written in Python, without the modules of its parts."""
    shown = annotation.__name__ if inspect.isclass(annotation) and not typing.get_args(annotation) else str(annotation)
    return re.sub(r"\w+\.(?=\w)", "", shown)


def unwrapped(text: str) -> str:
    """Return a text with one line for each of its paragraphs."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


def docstring(text: str) -> str:
    """Return a docstring with Google sections as Markdown: `Args:` and the like become lists."""
    parts = []
    for part in inspect.cleandoc(text).split("\n\n"):
        heading, _, body = part.partition("\n")
        if re.fullmatch(r"[A-Z]\w+:", heading):
            entries = re.sub(r"\n {2,}", " ", textwrap.dedent(body)).splitlines()
            parts.append(f"{heading}\n\n" + "\n".join(_entry(entry) for entry in entries))
        else:
            parts.append(" ".join(part.split()))
    return "\n\n".join(parts)


def _entry(text: str) -> str:
    named = re.fullmatch(r"([\w, ]+): (.+)", text)
    return f"- `{named[1]}`: {named[2]}" if named else f"- {text.strip()}"
