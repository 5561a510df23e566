"""Pure: what a record may have at most, beside its bytes: values, fields, and characters of a key."""

import re
from collections.abc import Collection
from typing import Any

from fanfold.records.faults import Fault, UnreadableError

MAX_VALUES = 1_000_000
MAX_FIELDS = 1_000
# Of a key with those of the objects around it: it is to be the name of a column.
MAX_KEY_CHARACTERS = 4_096
TOO_MANY_FIELDS, KEY_TOO_LONG = "too_many_fields", "key_too_long"
# Possessive: to be able to go back would take 100 bytes of memory for each character of a text.
TEXT = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
LONG_TEXT = re.compile(rf'"(?:[^"\\]|\\.){{{MAX_KEY_CHARACTERS // 128},}}+"\s*:', re.DOTALL)

# The fields of an object, with those of the objects in each.
Shape = dict[str, "Shape"]


def has_too_many_values(text: str) -> bool:
    """Say whether a text of JSON, or the beginning of one, has too many values, before a single one is built."""
    if len(text) <= MAX_VALUES or _marks(text) < MAX_VALUES:
        return False
    return _marks(TEXT.sub("", text)) >= MAX_VALUES


def _marks(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def too_many_values(position: int = 0) -> Fault:
    """Return the fault of a record with too many values."""
    return Fault("too_many_values", position, "", f"found more than {MAX_VALUES} values in a record")


def too_many_fields(found: int | str) -> str:
    """Return the message about too many fields."""
    return f"found {found} fields, expected at most {MAX_FIELDS}"


def key_too_long(characters: int) -> str:
    """Return the message about a key that is too long."""
    return f"found a key of {characters} characters, with those around it, expected at most {MAX_KEY_CHARACTERS}"


def shape_fault(raw: str, record: dict[str, Any], whole: Collection[str]) -> Fault | None:
    """Return what is wrong with the keys of a record, if there are too many or too long ones.

    Args:
        raw: its text.
        record: its value.
        whole: the dotted paths of fields that are one value to the run, whatever is inside of them.
    """
    if raw.count(":") <= MAX_FIELDS and not (len(raw) > MAX_KEY_CHARACTERS and LONG_TEXT.search(raw)):
        return None
    shape: Shape = {}
    longest = _add(record, shape, "", whole)
    if longest > MAX_KEY_CHARACTERS:
        return Fault(KEY_TOO_LONG, 0, "", key_too_long(longest))
    if (found := count_fields(shape)) > MAX_FIELDS:
        return Fault(TOO_MANY_FIELDS, 0, "", too_many_fields(found))
    return None


def _add(value: Any, shape: Shape, path: str, whole: Collection[str]) -> int:
    """Add the fields of a value to a shape, and return the characters of the longest path."""
    longest = 0
    if isinstance(value, list):
        return max((_add(one, shape, path, whole) for one in value if isinstance(one, (dict, list))), default=0)
    for key, inner in value.items():
        place = f"{path}.{key}" if path else key
        longest = max(longest, len(place))
        below = shape.setdefault(key, {})
        if isinstance(inner, (dict, list)) and place not in whole and len(place) <= MAX_KEY_CHARACTERS:
            longest = max(longest, _add(inner, below, place, whole))
    return longest


def count_fields(shape: Shape) -> int:
    """Return the number of fields, those inside of others included."""
    return len(shape) + sum(map(count_fields, shape.values()))


def check_columns(found: int, longest: int, more: str = "") -> None:
    """Check of a table how many columns it has, and how long their names are.

    Args:
        found: how many there are.
        longest: the characters of the longest name.
        more: what is said behind their number.

    Raises:
        UnreadableError: there are too many, or a name is too long.
    """
    if found > MAX_FIELDS:
        raise UnreadableError(TOO_MANY_FIELDS, too_many_fields(f"{found}{more}"))
    if longest > MAX_KEY_CHARACTERS:
        raise UnreadableError(KEY_TOO_LONG, key_too_long(longest))
