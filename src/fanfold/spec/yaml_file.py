"""The file of a spec: which file may be one, and what its YAML says, by the core schema of YAML 1.2.

Whoever may drop a spec may drop anything. So its size, its depth and the number of its values are bounded, only a
regular file is ever read, and anchors, aliases and tags are refused: no spec needs them, and with aliases a short text
means a long one.
"""

import os
import re
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import yaml

from fanfold.errors import MissingError, SpecError

MAX_BYTES = 1_048_576
# Far deeper than any key of a spec.
MAX_DEPTH = 32
# Keys, values, and the ends of lists and mappings.
MAX_EVENTS = 50_000
# So much of a name is enough to find it.
MAX_SHOWN = 100

# What a value without quotes means. One of more than 100 characters is a text: it is not a number that a spec could
# mean, and would take long to become one.
PLAIN: dict[str, tuple[str, Callable[[str], Any]]] = {
    "null": ("null|Null|NULL|~|", lambda _: None),
    "bool": ("true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (
        "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
        lambda text: int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)),
    ),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        lambda text: float(re.sub(r"\.(?=[ina])", "", text.lower())),
    ),
}
MEANINGS = {f"tag:yaml.org,2002:{kind}": meaning for kind, (_, meaning) in PLAIN.items()} | {
    "tag:yaml.org,2002:str": str
}

# The keys and indexes that lead to a value.
Place = tuple[Any, ...]


# The one in C is some ten times as fast, and every task reads the spec.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}


for _kind, (_form, _) in PLAIN.items():
    _pattern = re.compile(rf"(?!.{{101}})(?:{_form})\Z")
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _pattern, None)


class Document(NamedTuple):
    """What a YAML text says: its value, the line of each key and item, the places of keys that stand there twice."""

    value: Any
    lines: dict[Place, int]
    twice: list[Place]


def read(path: str | os.PathLike[str]) -> str:
    """Return the text of a spec's file.

    Raises:
        MissingError: there is no such file, or it is something else: a directory, a pipe, a device, a socket.
        SpecError: it is too large for a spec, or not UTF-8.
    """
    shown = os.fspath(path)
    if not os.path.isfile(path):  # noqa: PTH113 - as a Path it fails on some names
        msg = f"{shown!r} is not a file, expected the spec of a feed (YAML)"
        raise MissingError(msg)
    # What only pretends to be a regular file, as some of the kernel's do, must not be waited for.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY)) as file:
        content = file.read(MAX_BYTES + 1) or b""
    if len(content) > MAX_BYTES:
        msg = f"{shown}:1: found more than {MAX_BYTES:,} bytes, expected the spec of a feed (YAML)"
        raise SpecError(msg)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        msg = f"{shown}:{line}: {content[error.start : error.end]!r} is not UTF-8, expected a YAML text"
        raise SpecError(msg) from None


def compose(text: str, source: str) -> Any:
    """Return the nodes of a YAML text, as PyYAML makes them; None where there is nothing in it.

    Raises:
        SpecError: it is not YAML, or more than a spec may be; `source` names it.
    """
    depth = 0
    try:
        # The composer goes down into whatever it is given: it is only given what is small.
        for count, event in enumerate(yaml.parse(text, _Loader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if count > MAX_EVENTS or depth > MAX_DEPTH:
                more = f"found more than {MAX_EVENTS:,} values, or more than {MAX_DEPTH} levels"
                raise _wrong(source, event, more, "fewer of them in a spec")
            for what in ("anchor", "tag"):
                if name := getattr(event, what, None):
                    word = "alias" if isinstance(event, yaml.AliasEvent) else what
                    raise _wrong(source, event, f"found the {word} {name[:MAX_SHOWN]!r}", "YAML without one")
        return yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark, problem = error.problem_mark or error.context_mark, error.problem or error.context or ""
        msg = f"{source}:{mark.line + 1 if mark else 1}: {problem.removeprefix('but ')}, expected YAML"
    except yaml.reader.ReaderError as error:
        # The loader in C counts bytes, the other one characters: the line is the same but after rare characters.
        line = text.encode().count(b"\n", 0, error.position) + 1
        msg = f"{source}:{line}: {str(error).splitlines()[0]}, expected YAML"
    raise SpecError(msg)


def _wrong(source: str, at: Any, found: str, expected: str) -> SpecError:
    return SpecError(f"{source}:{at.start_mark.line + 1}: {found}, expected {expected}")


def parse(text: str, source: str) -> Document:
    """Return what a YAML text says.

    Raises:
        SpecError: it is not YAML, or more than a spec may be; `source` names it.
    """
    lines: dict[Place, int] = {}
    twice: list[Place] = []

    def value(node: Any, place: Place) -> Any:
        match node:
            case yaml.ScalarNode():
                return MEANINGS[node.tag](node.value)
            case yaml.SequenceNode():
                return [entry((*place, index), item, item) for index, item in enumerate(node.value)]
        mapping = {}
        for key_node, inner in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _wrong(source, key_node, "found a list or a mapping as a key", "a text")
            # As a key, `null` is the name of one.
            key = "null" if key_node.value == "null" else value(key_node, ())
            if key in mapping:
                twice.append((*place, key))
            mapping[key] = entry((*place, key), key_node, inner)
        return mapping

    def entry(place: Place, start: Any, node: Any) -> Any:
        lines[place] = start.start_mark.line + 1
        return value(node, place)

    root = compose(text, source)
    return Document(value(root, ()) if root else None, lines, twice)
