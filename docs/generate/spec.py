"""The page of the spec: a table for each section, and an example with every key."""

import inspect
import json
import tempfile
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import annotated_types
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from docs.generate.words import NOTE, TYPES, joined, table
from fanfold.spec.model import Spec, load_spec
from fanfold.spec.tables import TableName
from fanfold.spec.values import ArchiveName, FieldPath, FieldType, InsidePath, OutputColumn, Pointer

# The example: keys without a default, and keys that show a form. Every other key has its default there.
EXAMPLE = {
    "version": 1,
    "name": "transactions",
    "merge": [
        {"reference": "customers.csv", "key": "customer_id", "into": "customer"},
        {
            "reference": "stores.csv",
            "key": {"record": "store.id", "reference": "store_id"},
            "into": "shop",
            "columns": ["name", "city"],
        },
    ],
    "denormalize": {"explode": ["items"]},
}

MARKED = {
    _marker: name
    for annotation, name in (
        (InsidePath, "path inside `data_dir`"),
        (FieldPath, "field path"),
        (Pointer, "JSON pointer"),
        (ArchiveName, "text with `{name}` and `{ts}` in it"),
        (FieldType, "type"),
        (TableName, "name of a table"),
        (OutputColumn, "column name, or `{name: SQL expression}`"),
    )
    for _marker in typing.get_args(annotation)[1:]
}
BOUNDS = (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))


def page() -> str:
    """Return the page."""
    lines = [
        "# The spec",
        NOTE,
        (
            "One YAML file says everything about a feed. `fanfold lint` checks it and names all errors at once, with "
            "file and line; `fanfold schema` prints its JSON Schema, for editors. An unknown key is an error."
        ),
        (
            "A *path inside `data_dir`* is relative, without `..`. A *field path* names a field of the record; dots "
            "lead into nested objects: `customer.id`. The folders of `input`, `output`, `archive` and `quarantine` "
            "may not overlap each other, or Fanfold's own `staging` and `.fanfold`."
        ),
        "## Every key in one example",
        "Keys with a default may be left out: `version` and `name` alone make a valid spec.",
        f"```yaml\n{_example()}```",
        "## Top level",
        *_section(Spec, ""),
    ]
    return joined(lines)


def _example() -> str:
    """Return a spec with every key, which `load_spec` has accepted."""
    text = yaml.safe_dump(Spec.model_validate(EXAMPLE).model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "transactions.yaml")
        path.write_text(text, encoding="utf-8")
        load_spec(path)
    return text


def _section(model: type[BaseModel], above: str) -> Iterator[str]:
    """Yield a model's docstring and table, then those of the models that its keys hold."""
    if above:
        yield inspect.cleandoc(model.__doc__ or "")
    rows, below = [], []
    for name, field in model.model_fields.items():
        path = above + (field.alias or name)
        inner = [member for member in _members(field.annotation) if _is_model(member)]
        below += [(path + _inside(field.annotation), member) for member in inner]
        meaning = field.description or inspect.cleandoc(inner[0].__doc__ or "") if inner else field.description
        if not meaning:
            msg = f"{path} has no description"
            raise ValueError(msg)
        rows.append([f"`{path}`", _type(field), _default(field), " ".join(meaning.split())])
    yield table(["key", "type", "default", "meaning"], rows)
    for path, member in below:
        yield f"{'##' if not above else '###'} {path.rstrip('.').removesuffix('[]').removesuffix('.<name>')}"
        yield from _section(member, path)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union, and of the lists in it; other types are their own only member."""
    origin = typing.get_origin(annotation)
    if origin is dict:
        return _members(typing.get_args(annotation)[1])
    if origin in {types.UnionType, typing.Union, list}:
        return [inner for member in typing.get_args(annotation) for inner in _members(member)]
    return [annotation]


def _inside(annotation: Any) -> str:
    """Return what follows the key of a section: `tables.<name>.explode`."""
    origin = typing.get_origin(annotation)
    return "[]." if origin is list else ".<name>." if origin is dict else "."


def _type(field: FieldInfo) -> str:
    return _named(field.annotation, list(field.metadata))


def _named(annotation: Any, metadata: list[Any]) -> str:
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _named(members[0], [*members[1:], *metadata])
    if origin is typing.Literal:
        return " or ".join(f"`{json.dumps(member).strip(chr(34))}`" for member in members)
    if origin in {types.UnionType, typing.Union} and not any(entry in MARKED for entry in metadata):
        inner = [_named(member, metadata) for member in members if member is not types.NoneType]
        return " or ".join(inner) + (", or null" if types.NoneType in members else "")
    if origin in {list, dict}:
        named = " to ".join(_named(member, []) for member in members)
        return f"{'list' if origin is list else 'mapping'} of {named}" + _limits(metadata, "element")
    if _is_model(annotation):
        return "object"
    marked = [MARKED[entry] for entry in metadata if entry in MARKED]
    return (marked[0] if marked else TYPES[annotation]) + _limits(metadata, "character" if annotation is str else "")


def _limits(metadata: list[Any], unit: str) -> str:
    """Return the bounds of a value in words, from what pydantic keeps of `Field(ge=…, pattern=…)`."""
    found = []
    is_named = any(entry in MARKED for entry in metadata)
    for entry in _constraints(metadata):
        for attribute, words in BOUNDS:
            bound = getattr(entry, attribute, None)
            if bound is not None:
                found.append(f"{words} {bound:,}")
        if isinstance(entry, annotated_types.MinLen) and entry.min_length:
            found.append(_count("at least", entry.min_length, unit))
        if isinstance(entry, annotated_types.MaxLen):
            found.append(_count("at most", entry.max_length, unit))
        if (pattern := getattr(entry, "pattern", None)) and not is_named:
            found.append(f"of the form `{pattern}`")
    return "".join(f", {limit}" for limit in found)


def _count(words: str, count: int, unit: str) -> str:
    return f"{words} {count} {unit}{'s' if count != 1 else ''}"


def _constraints(metadata: list[Any]) -> Iterator[Any]:
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            yield from entry.metadata
        elif isinstance(entry, annotated_types.GroupedMetadata):
            yield from entry
        else:
            yield entry


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, BaseModel):
        return "see below"
    return f"`{json.dumps(field.default, ensure_ascii=False)}`"
