"""Values as they are written: JSON and CSV read by their standards, and whether a cell of a table holds a value.

Numbers compare as exact decimals, texts by their code points.
"""

import contextlib
import json
import re
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NoReturn


class Num(str):
    """A number of JSON, as it is written."""

    __slots__ = ()


class Moment(str):
    """A moment in nanoseconds, which Python does not have, as text."""

    __slots__ = ()


MICROSECOND_DIGITS = 6
FIELD = re.compile(r'(?:^|,)(?:(")((?:[^"]++|"")*+)"|([^",]*+))')
LINE = re.compile(r'(?:"(?:[^"]++|"")*+"|[^",]*+)(?:,(?:"(?:[^"]++|"")*+"|[^",]*+))*+')
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
# What of Python's types is a number, what can be compared at all, and which bytes DuckDB writes as they are.
NUMBERS = (Num, int, float, Decimal)
KNOWN = (str, int, float, Decimal, date, time)
PLAIN_BYTES = set(map(chr, range(32, 127))) - set("\\'\"")
# In place of a value: what SQL makes of others.
BY_SQL = object()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else _refuse("a key that stands twice")


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Num, parse_int=Num, parse_constant=_refuse)
# A table may have what no record of JSON has: NaN and Infinity, from Parquet.
OF_TABLES = json.JSONDecoder(object_pairs_hook=_object, parse_float=Num, parse_int=Num, parse_constant=Num)


def loads(text: str) -> Any:
    """Return the value of a text of JSON (RFC 8259).

    Raises:
        ValueError: it is not JSON, has a key twice, or half of a surrogate pair.
        RecursionError: it is nested too deeply.
    """
    value = DECODER.decode(text)
    if not text.isascii() or "\\u" in text:
        # Half of a surrogate pair cannot be encoded.
        json.dumps(value, ensure_ascii=False).encode()
    return value


def csv_fields(line: str) -> list[str | None] | None:
    """Return the fields of a line of CSV by RFC 4180: null where nothing stands; None if it is not such a line."""
    if '"' not in line:
        return [cell or None for cell in line.split(",")]
    if not LINE.fullmatch(line):
        return None
    return [text.replace('""', '"') if quote else plain or None for quote, text, plain in FIELD.findall(line)]


def same(value: Any, text: str | None, kind: str) -> bool | None:  # noqa: PLR0911 - one for each kind of value
    """Say whether a cell of a type holds a value; None where it does if its column is one of JSON."""
    if value is BY_SQL or value is None or text is None:
        return value is BY_SQL or value is text
    if type(value) is Num:
        # A number in a column of texts is as it is written, unless that has JSON.
        is_equal = _equal_numbers(value, text, kind == "DOUBLE")
        return is_equal if kind != "VARCHAR" or value == text else is_equal and None
    if isinstance(value, bool):
        return text == ("true" if value else "false")
    if isinstance(value, (dict, list)):
        return _same_json(value, text)
    if isinstance(value, bytes):
        return text == "".join(chr(one) if chr(one) in PLAIN_BYTES else f"\\x{one:02X}" for one in value)
    if value == text or not isinstance(value, KNOWN):
        return True
    if isinstance(value, (date, time, Moment)) or kind in {"DATE", "TIMESTAMP", "TIMESTAMPTZ"}:
        written = value.isoformat() if isinstance(value, (date, time)) else str(value)
        return (kind != "DATE" or len(text) == len("2026-01-02")) and _moment(written) == _moment(text)
    if kind == "VARCHAR" and isinstance(value, str):
        return None if _same_json(value, text) else False
    return _equal_numbers(value, text, kind == "DOUBLE")


# A record has many rows.
@lru_cache(100_000)
def _equal_numbers(value: Any, text: str, signed: bool) -> bool:  # noqa: FBT001 - whether there is a minus zero
    number, found = _number(value), _number(text)
    if signed and isinstance(number, Decimal) and isinstance(found, Decimal):
        return number == found and number.is_signed() == found.is_signed()
    return number is not None and number == found


def _number(value: Any) -> Decimal | str | None:
    try:
        found = Decimal(repr(value) if isinstance(value, float) else value)
    except (InvalidOperation, ValueError):
        return None
    # As a text, NaN is equal to itself.
    return found if found.is_finite() else str(found)


def _moment(text: str) -> tuple[datetime | time | str, str]:
    """Return a moment without its fraction of a second, and the digits of that."""
    whole, _, rest = text.partition(".")
    zone = rest.lstrip("0123456789")
    for parse in (datetime.fromisoformat, time.fromisoformat):
        with contextlib.suppress(ValueError):
            return parse(whole + zone), rest[: len(rest) - len(zone)].rstrip("0")
    return text, ""


def _same_json(value: Any, text: str) -> bool:
    try:
        return _equal(value, OF_TABLES.decode(text))
    except (ValueError, RecursionError):
        return False


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        # Maps of Parquet may have numbers for keys.
        named = {str(key): value for key, value in one.items()}
        return named.keys() == other.keys() and all(_equal(named[key], other[key]) for key in named)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if type(one) is str or one is None or isinstance(one, bool) or not isinstance(other, str):
        return type(one) is type(other) and bool(one == other)
    # A number is one in JSON; what JSON does not have is a text there.
    return isinstance(one, NUMBERS) == isinstance(other, Num) and same(one, other, "") is True


def holds(kind: str, value: Any) -> bool:
    """Say whether a declared type surely holds a value."""
    number = _number(value) if isinstance(value, str) and NUMBER.fullmatch(value) else None
    if kind in {"DATE", "TIMESTAMP", "TIMESTAMPTZ"}:
        moment, digits = _moment(value) if type(value) is str else ("", "")
        is_form = isinstance(moment, datetime) and (kind == "DATE") == (len(value) == len("2026-01-02"))
        is_zoned = isinstance(moment, datetime) and moment.tzinfo is not None
        return is_form and len(digits) <= MICROSECOND_DIGITS and is_zoned == (kind == "TIMESTAMPTZ")
    if kind in {"VARCHAR", "BOOLEAN", "JSON"}:
        return not isinstance(value, (dict, list)) and (kind != "BOOLEAN" or isinstance(value, bool))
    if not isinstance(number, Decimal):
        return False
    if kind == "DOUBLE":
        return Decimal(repr(float(number))) == number
    precision, scale = (19, 0) if kind == "BIGINT" else map(int, kind[8:-1].split(","))
    scaled = number.scaleb(scale)
    most = Decimal(2) ** 63 if kind == "BIGINT" else Decimal(10) ** precision
    return scaled == scaled.to_integral_value() and -most < scaled < most


def leaves(value: Any) -> int:
    """Return the number of scalars in a value; null does not count."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return (value is not None) if inner is None else sum(map(leaves, inner))


def value_at(record: Any, way: list[str]) -> Any:
    """Return what is at the end of a way through objects; None where it leads nowhere."""
    for name in way:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def at_pointer(value: Any, pointer: str) -> Any:
    """Return what a JSON pointer (RFC 6901) leads to; None where it leads nowhere."""
    for step in _steps(pointer):
        if isinstance(value, list):
            value = value[int(step)] if step.isdecimal() and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def path_of(pointer: str) -> str:
    """Return a JSON pointer as the spec names a field: without positions in arrays."""
    return ".".join(step for step in _steps(pointer) if not step.isdecimal())


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def text_of(value: Any) -> str | None:
    """Return a scalar as text, as it is written; None for null, an object or an array."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (float, Decimal)):
        return repr(value) if isinstance(value, float) else f"{value:f}"
    return None if value is None or isinstance(value, (dict, list)) else str(value)
