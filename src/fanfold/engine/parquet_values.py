"""Pure: how the values of Parquet are written as JSON: exactly, from the bytes and numbers that are stored."""

import struct
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from json import JSONEncoder
from typing import Any

from fanfold.engine.parquet_schema import MAX_DIGITS, REPEATED, Node, element, unreadable

Writer = Callable[[Any], str]
quote = JSONEncoder(ensure_ascii=False).encode
# JSON has no number for them; as texts their records are kept.
NOT_FINITE = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
# Bytes are written as text: these as they are, all others as \xHH.
PLAIN_BYTES = frozenset(range(32, 127)) - frozenset(b"\\'\"")
DAY_SECONDS, EPOCH_JULIAN_DAY = 86_400, 2_440_588
# The proleptic Gregorian calendar: days from 0000-03-01 to 1970-01-01, and those of 400 years.
EPOCH_DAY, ERA_DAYS = 719_468, 146_097
# The tenth month after the first of March is that of January.
JANUARY, LAST_YEAR, MICROSECOND_DIGITS = 10, 9999, 6


def writer(node: Node) -> Writer:
    """Return what writes a field: what DuckDB gives for it becomes JSON.

    A text that is not UTF-8 is written with its bytes, as surrogate escapes: who reads the record sees what is wrong.
    """
    if node.repetition == REPEATED:
        return _list(_values(node))
    return _or_null(_values(node))


def _or_null(write: Writer) -> Writer:
    return lambda value: "null" if value is None else write(value)


def _list(write: Writer) -> Writer:
    return lambda value: "null" if value is None else "[" + ",".join(map(write, value)) + "]"


def _values(node: Node) -> Writer:
    """Return what writes a value of a field that is not null, or one of the items of a repeated field."""
    if node.form == "list":
        return _list_values(node)
    if node.form == "map":
        return _map(node)
    if node.form == "object":
        members = [(quote(one.name) + ":", one.plain, writer(one)) for one in node.inside]
        if is_alone(node):
            ((key, _, write),) = members
            return lambda value: f"{{{key}{write(value)}}}"
        return lambda value: "{" + ",".join([key + write(value[plain]) for key, plain, write in members]) + "}"
    return _scalar(node)


def is_alone(node: Node) -> bool:
    """Say whether DuckDB gives, in place of a repeated group, the one field that it has."""
    return node.repetition == REPEATED and len(node.inside) == 1


def _list_values(node: Node) -> Writer:
    (repeated,) = node.inside
    # The repeated group of one field is given as that field.
    inner = element(node)
    write = _list(writer(inner) if inner else _values(repeated))
    return lambda value: write(value[repeated.plain])


def _map(node: Node) -> Writer:
    (repeated,) = node.inside
    key = repeated.inside[0]
    write_key = _key(writer(key))
    if is_alone(repeated):
        return lambda value: "{" + ",".join([write_key(one) + ":null" for one in value[repeated.plain]]) + "}"
    inner = repeated.inside[1]
    write = writer(inner)

    def written(value: Mapping[str, list[dict[str, Any]]]) -> str:
        members = [write_key(one[key.plain]) + ":" + write(one[inner.plain]) for one in value[repeated.plain]]
        return "{" + ",".join(members) + "}"

    return written


def _key(write: Writer) -> Writer:
    def written(value: Any) -> str:
        if value is None:
            msg = "found a map with a key that is null"
            raise unreadable(msg)
        text = write(value)
        return text if text.startswith('"') else quote(text)

    return written


def _scalar(node: Node) -> Writer:
    word, _, unit = node.form.partition(" ")
    number = int(unit or 0)
    if word in {"timestamp", "moment", "time"} and number <= 9:  # noqa: PLR2004 - INT96 is none of them
        scale = 10**number
        form: Callable[[int, int, int], str] = _time if word == "time" else _timestamp
        zone = "Z" if word == "moment" else ""
        return lambda value: f'"{form(value // scale, value % scale, number)}{zone}"'
    writers: dict[str, Writer] = {
        "text": lambda value: quote(value.decode("utf-8", "surrogateescape")),
        "bytes": lambda value: quote(_bytes(value)),
        "boolean": lambda value: "true" if value else "false",
        "integer": str,
        "unsigned": lambda value: str(value & ((1 << number) - 1)),
        "double": _double,
        "half": lambda value: _double(struct.unpack("<e", value)[0]),
        "decimal": lambda value: _decimal(value, node.digits[1]),
        "date": lambda value: f'"{_date(value)}"',
        "timestamp": lambda value: f'"{_timestamp_96(value)}"',
        "interval": lambda value: f'"{_interval(value)}"',
        "uuid": lambda value: f'"{uuid.UUID(bytes=value)}"',
    }
    return writers.get(word, _null)


def _null(value: Any) -> str:
    msg = f"found {value!r} in a column that says that it has nothing but nulls"
    raise unreadable(msg)


def _bytes(value: bytes) -> str:
    return "".join([chr(byte) if byte in PLAIN_BYTES else f"\\x{byte:02X}" for byte in value])


def _double(value: float) -> str:
    """Write the shortest text that reads back as the same double; of 32 bits, as the double that they are."""
    written = repr(value)
    return NOT_FINITE.get(written, written)


def _decimal(value: int | bytes, scale: int) -> str:
    if isinstance(value, bytes):
        # Each byte has more than two digits.
        if not value or len(value) > MAX_DIGITS // 2:
            msg = f"found a decimal of {len(value)} bytes"
            raise unreadable(msg)
        value = int.from_bytes(value, "big", signed=True)
    digits = f"{abs(value):0{scale + 1}d}"
    sign, point = "-" if value < 0 else "", len(digits) - scale
    return f"{sign}{digits[:point]}.{digits[point:]}" if scale else sign + digits


# Days come again, in most files.
@lru_cache(10_000)
def _date(days: int) -> str:
    """Write days since 1970 by ISO 8601: years before 0 and after 9999 have a sign."""
    era, day = divmod(days + EPOCH_DAY, ERA_DAYS)
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    day += 1 - (153 * month + 2) // 5
    year += 400 * era + (month >= JANUARY)
    written = f"{year:04d}" if 0 <= year <= LAST_YEAR else f"{year:+05d}"
    return f"{written}-{month + (3 if month < JANUARY else -9):02d}-{day:02d}"


def _time(seconds: int, fraction: int, digits: int) -> str:
    """Write a time of day, with six digits of a second where it has any, with nine where six are too few."""
    if not 0 <= seconds <= DAY_SECONDS:
        msg = f"found a time that is {seconds} seconds after midnight"
        raise unreadable(msg)
    written = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    rest = f"{fraction:0{digits}d}".rstrip("0")
    return (
        f"{written}.{rest.ljust(MICROSECOND_DIGITS if len(rest) <= MICROSECOND_DIGITS else 9, '0')}"
        if rest
        else written
    )


def _timestamp(seconds: int, fraction: int, digits: int) -> str:
    days, of_day = divmod(seconds, DAY_SECONDS)
    return f"{_date(days)}T{_time(of_day, fraction, digits)}"


def _timestamp_96(value: bytes) -> str:
    nanoseconds, julian_day = struct.unpack("<qL", value)
    seconds, fraction = divmod(nanoseconds, 10**9)
    return _timestamp((julian_day - EPOCH_JULIAN_DAY) * DAY_SECONDS + seconds, fraction, 9)


def _interval(value: bytes) -> str:
    """Write months, days and milliseconds as SQL does."""
    months, days, milliseconds = struct.unpack("<3L", value)
    parts = [(months // 12, "year"), (months % 12, "month"), (days, "day")]
    words = [f"{count} {name}{'s' if count != 1 else ''}" for count, name in parts if count]
    if milliseconds or not words:
        seconds, rest = milliseconds // 1000, f"{milliseconds % 1000:03d}".rstrip("0")
        words.append(f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{rest and '.' + rest}")
    return " ".join(words)
