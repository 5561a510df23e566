"""A spec's file: which file may be one, and what its YAML says, by the core schema of YAML 1.2.

Whoever may drop a spec may drop anything: size, depth, and what aliases stand for are bounded, and only a regular file
is ever read.
"""

import os
import re
import stat
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from fanfold.errors import MissingError, SpecError

# The one in C is some ten times as fast, and every task reads the spec.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_BYTES = 1_048_576
# Far deeper than any key of a spec.
MAX_DEPTH = 32
# Values and characters of a document, where each alias counts as all that it stands for.
MAX_VALUES = 50_000
MAX_CHARACTERS = 2 * MAX_BYTES
# A text of more digits is not a number that a spec could mean, and takes long to become one.
MAX_DIGITS = 100
# So much of a name is enough to find it.
MAX_SHOWN = 100

NOT_A_FILE = "is not a file, expected the spec of a feed (YAML)"
MERGE = "<<"
CORE = "tag:yaml.org,2002:"
PLAIN = re.compile(
    r"(?P<null>null|Null|NULL|~|)|(?P<true>true|True|TRUE)|(?P<false>false|False|FALSE)"
    r"|(?P<int>[-+]?[0-9]+)|(?P<oct>0o[0-7]+)|(?P<hex>0x[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<inf>[-+]?\.(?:inf|Inf|INF))|(?P<nan>\.(?:nan|NaN|NAN))"
)
MEANINGS: dict[str, Callable[[str], Any]] = {
    "null": lambda _: None,
    "true": lambda _: True,
    "false": lambda _: False,
    "int": int,
    "oct": lambda text: int(text, 0),
    "hex": lambda text: int(text, 0),
    "float": float,
    "inf": lambda text: float(text.replace(".", "")),
    "nan": lambda _: float("nan"),
}
TAGGED: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "null": (type(None),),
}

# The keys and indexes that lead to a value.
Place = tuple[Any, ...]


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
    try:
        # Opening a pipe must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except PermissionError:
        raise
    except (OSError, ValueError):
        msg = f"{os.fspath(path)!r} {NOT_A_FILE}"
        raise MissingError(msg) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            msg = f"{os.fspath(path)!r} {NOT_A_FILE}"
            raise MissingError(msg)
        with open(descriptor, "rb", closefd=False) as file:
            # What the kernel only pretends to be a regular file may have nothing to give.
            content = file.read(MAX_BYTES + 1) or b""
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        msg = f"{os.fspath(path)}:1: found more than {MAX_BYTES:,} bytes, expected the spec of a feed (YAML)"
        raise SpecError(msg)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        msg = f"{os.fspath(path)}:{line}: {content[error.start : error.end]!r} is not UTF-8, expected a YAML text"
        raise SpecError(msg) from None


def parse(text: str, source: str) -> Document:
    """Return what a YAML text says.

    Raises:
        SpecError: it is not YAML, or more than a spec may be; `source` names it.
    """
    try:
        return _Reader(text, source).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        msg = f"{source}:{mark.line + 1 if mark else 1}: {error.problem or error.context}, expected YAML"
    except yaml.reader.ReaderError as error:
        # The loader in C counts bytes, the other one characters: the line is the same but after rare characters.
        line = text.encode().count(b"\n", 0, error.position) + 1
        msg = f"{source}:{line}: {str(error).splitlines()[0]}, expected YAML"
    except UnicodeEncodeError as error:
        msg = f"{source}:1: {error.reason}, expected YAML"
    raise SpecError(msg)


class _Reader:
    """Makes values of the events of a parser, and counts what they cost."""

    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._events = Loader(text)
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._values = self._characters = 0
        self._lines: dict[Place, int] = {}
        self._twice: list[Place] = []

    def document(self) -> Document:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return Document(None, {}, [])
        value = self._value(self._next(), ())
        self._next()
        if not isinstance(following := self._next(), yaml.StreamEndEvent):
            raise self._wrong(following, "found another document", "one")
        return Document(value, self._lines, self._twice)

    def _next(self) -> Any:
        return self._events.get_event()

    def _wrong(self, event: Any, found: str, expected: str) -> SpecError:
        return SpecError(f"{self._source}:{event.start_mark.line + 1}: {found}, expected {expected}")

    def _spend(self, event: Any, values: int, characters: int) -> None:
        self._values += values
        self._characters += characters
        if self._values > MAX_VALUES or self._characters > MAX_CHARACTERS:
            found = f"found more than {MAX_VALUES:,} values or {MAX_CHARACTERS:,} characters"
            raise self._wrong(event, f"{found}, what aliases stand for included", "the few of a spec")

    def _value(self, event: Any, place: Place) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event)
        if len(place) > MAX_DEPTH:
            raise self._wrong(event, f"found more than {MAX_DEPTH} levels", "the few of a spec")
        values, characters = self._values, self._characters
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        else:
            kind, read = (
                ("seq", self._sequence) if isinstance(event, yaml.SequenceStartEvent) else ("map", self._mapping)
            )
            if event.tag not in {None, "!", CORE + kind}:
                raise self._wrong(event, f"found the tag {event.tag[:MAX_SHOWN]!r}", "plain YAML")
            self._spend(event, 1, 0)
            value = read(place)
        if event.anchor:
            self._anchors[event.anchor] = value, self._values - values, self._characters - characters
        return value

    def _aliased(self, event: Any) -> Any:
        # One that stands inside of what it means is not known yet.
        if event.anchor not in self._anchors:
            raise self._wrong(event, f"found the alias {event.anchor[:MAX_SHOWN]!r}", "its anchor before it")
        value, values, characters = self._anchors[event.anchor]
        self._spend(event, values, characters)
        return value

    def _sequence(self, place: Place) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            inside = (*place, len(items))
            self._lines[inside] = event.start_mark.line + 1
            items.append(self._value(event, inside))
        return items

    def _mapping(self, place: Place) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            is_merge = isinstance(event, yaml.ScalarEvent) and event.value == MERGE and event.implicit[0]
            key = self._key(event)
            inside = (*place, key)
            if key in own:
                self._twice.append(inside)
            self._lines[inside] = event.start_mark.line + 1
            value = self._value(self._next(), inside)
            if is_merge:
                merged = self._merged(event, value) | merged
            else:
                own[key] = value
        return merged | own

    def _key(self, event: Any) -> Any:
        if isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent)):
            key = self._value(event, ())
            if not isinstance(key, (list, dict)):
                return key
        raise self._wrong(event, "found a list or a mapping as a key", "a text")

    def _merged(self, event: Any, value: Any) -> dict[Any, Any]:
        """Return the keys that a merge key brings: of several mappings the first that has one counts."""
        merged: dict[Any, Any] = {}
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict):
                raise self._wrong(event, f"found {MERGE!r} with something else", "a mapping, or a list of them")
            merged = one | merged
        return merged

    def _scalar(self, event: Any) -> Any:
        text, tag = event.value, (event.tag or "").removeprefix(CORE)
        self._spend(event, 1, len(text))
        is_plain = event.implicit[0] and not tag
        if not is_plain and tag in {"", "!", "str"}:
            return text
        found = PLAIN.fullmatch(text)
        is_number = found is not None and len(text) <= MAX_DIGITS
        value = MEANINGS[found.lastgroup or "null"](text) if found and is_number else text
        if is_plain or type(value) in TAGGED.get(tag, ()):
            return float(value) if tag == "float" else value
        raise self._wrong(event, f"found the tag {event.tag[:MAX_SHOWN]!r}", "plain YAML")
