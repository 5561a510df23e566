"""Values as an original has them: null, booleans, texts, numbers as they are written, objects and arrays."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from fanfold.audit.findings import refuse
from fanfold.spec.paths import Way


class Num(str):
    """A number, as it is written. So it shows itself, inside of objects and arrays too."""

    __slots__ = ()
    __repr__ = str.__str__


class Unknown:
    """A value that is not audited: any text may stand for it."""

    # No text of a file has this character.
    MARK = "\ud801"

    def __eq__(self, other: object) -> bool:
        """Say whether a text may stand for it."""
        return True

    def __repr__(self) -> str:
        """Show where it stands in objects and arrays."""
        return self.MARK

    __hash__ = None  # type: ignore[assignment]


UNKNOWN = Unknown()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else refuse(pairs, "each key once in an object")


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Num, parse_int=Num, parse_constant=refuse)
# A table may have what no record of JSON has: NaN and Infinity, from Parquet.
OF_TABLES = json.JSONDecoder(object_pairs_hook=_object, parse_float=Num, parse_int=Num, parse_constant=Num)


def json_value(text: str) -> Any:
    """Return the value of a text; ValueError also where it has half of a surrogate pair: that has no bytes."""
    value = DECODER.decode(text)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def text_of(value: Any) -> str | None:
    """Return a scalar as text, as it is written; None for null, an object or an array."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None or isinstance(value, (dict, list)) else str(value)


def leaves(value: Any) -> int:
    """Return the number of scalars in a value; null does not count."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return sum([leaves(one) if isinstance(one, (dict, list)) else one is not None for one in inner])


def value_at(value: Any, steps: Iterable[str]) -> Any:
    """Return what is at the end of a way through objects and arrays; None where it leads nowhere."""
    with contextlib.suppress(LookupError, ValueError, TypeError):
        for step in steps:
            value = value[int(step) if isinstance(value, list) else step]
        return value
    return None


def elements_at(value: Any, way: Way, *, single: bool, is_element: bool = True) -> Iterator[Any]:
    """Yield a record, or the elements of the array at the end of a way, through arrays; `single` as in the spec."""
    if isinstance(value, list):
        for one in value:
            yield from elements_at(one, way, single=single)
    elif way and isinstance(value, dict):
        yield from elements_at(value.get(way[0]), way[1:], single=single, is_element=False)
    elif not way and (is_element or (single and value is not None)):
        yield value


def steps_of(pointer: str) -> list[str]:
    """Return the keys and indexes that a JSON pointer has."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
