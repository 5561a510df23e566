"""Pure: the forms of values in Parquet, and how each is written as JSON: exactly, from what is stored."""

import struct
import uuid
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from json import JSONEncoder
from typing import NamedTuple, NoReturn

from fanfold.faults import UnreadableError

BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = range(8)
DAY_SECONDS, EPOCH_JULIAN_DAY = 86_400, 2_440_588
# A decimal of 1,000 digits has no more.
MAX_DECIMAL_BYTES = 500
# Days before 1970 in the proleptic Gregorian calendar, and those of 400 years, after which it begins anew.
EPOCH_DAYS, ERA_DAYS, ERA_YEARS, LAST_YEAR = 719_162, 146_097, 400, 9999
# JSON has no number for them; as texts their records are kept.
NOT_FINITE = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
# Bytes are written as text: these as they are, all others as \xHH.
READABLE = {*range(32, 127)} - {*b"\\'\""}
BYTES = [chr(byte) if byte in READABLE else f"\\x{byte:02X}" for byte in range(256)]

quote = JSONEncoder(ensure_ascii=False).encode


def refuse(message: str, code: str = "unreadable") -> NoReturn:
    """Raise the error of a file that is not Parquet, not whole, or not read."""
    raise UnreadableError(code, message)


def _text(value: bytes) -> str:
    """Write a text; one that is not UTF-8 with its bytes, as surrogate escapes: its record will be bad."""
    return quote(value.decode("utf-8", "surrogateescape"))


def _double(value: float) -> str:
    """Write the shortest text that reads back as the same double; of 32 bits, as the double that they are."""
    written = repr(value)
    return NOT_FINITE.get(written, written)


def _decimal(value: int | bytes, scale: int) -> str:
    if not isinstance(value, int):
        if not 0 < len(value) <= MAX_DECIMAL_BYTES:
            refuse(f"found a decimal of {len(value)} bytes, expected 1 to {MAX_DECIMAL_BYTES}")
        value = int.from_bytes(value, "big", signed=True)
    digits = f"{abs(value):0{scale + 1}d}"
    sign, point = "-" if value < 0 else "", len(digits) - scale
    return f"{sign}{digits[:point]}.{digits[point:]}" if scale else sign + digits


# Days come again, in most files.
@lru_cache(10_000)
def _day(days: int) -> str:
    """Write days since 1970 by ISO 8601: years before 0 and after 9999 have a sign."""
    era, day = divmod(days + EPOCH_DAYS, ERA_DAYS)
    found = date.fromordinal(day + 1)
    year = found.year + ERA_YEARS * era
    return f"{year:{'04d' if 0 <= year <= LAST_YEAR else '+05d'}}-{found:%m-%d}"


def _time(value: int, scale: int) -> str:
    """Write a time of day, with six digits of a second where it has any, with nine where six are too few."""
    seconds, fraction = divmod(value, 10**scale)
    if not 0 <= seconds <= DAY_SECONDS:
        refuse(f"found a time that is {seconds} seconds after midnight, expected at most {DAY_SECONDS}")
    written = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if not fraction:
        return written
    nanoseconds = f"{fraction:0{scale}d}".ljust(9, "0")
    return f"{written}.{nanoseconds.removesuffix('000')}"


def _timestamp(value: int, scale: int) -> str:
    days, of_day = divmod(value, DAY_SECONDS * 10**scale)
    return f"{_day(days)}T{_time(of_day, scale)}"


def _timestamp_96(value: bytes) -> str:
    nanoseconds, julian_day = struct.unpack("<qL", value)
    return f'"{_timestamp((julian_day - EPOCH_JULIAN_DAY) * DAY_SECONDS * 10**9 + nanoseconds, 9)}"'


class Form(NamedTuple):
    """A form of values.

    Attributes:
        write: writes a value as JSON; of a scaled form, by the digits behind the point of a number or a second.
        stored: the types that the values are stored as.
        kind: what they are in `Seen`.
        digits: the most digits of an integer.
        is_scaled: whether the schema says how many digits there are.
    """

    write: Callable[..., str]
    stored: set[int]
    kind: str = "texts"
    digits: int = 0
    is_scaled: bool = False


# A moment is a timestamp in UTC.
FORMS = {
    "null": Form(lambda value: refuse(f"found {value!r} in a column of nulls"), {*range(8)}, "nulls"),
    "boolean": Form(["false", "true"].__getitem__, {BOOLEAN}, "booleans"),
    "integer": Form(str, {INT32, INT64}, "integers", 19),
    "unsigned 32": Form(lambda value: str(value % 2**32), {INT32}, "integers", 10),
    "unsigned 64": Form(lambda value: str(value % 2**64), {INT64}, "numbers", 20),
    "decimal": Form(_decimal, {INT32, INT64, BYTE_ARRAY, FIXED}, "numbers", is_scaled=True),
    "double": Form(_double, {FLOAT, DOUBLE}, "numbers"),
    "half": Form(lambda value: _double(*struct.unpack("<e", value)), {FIXED}, "numbers"),
    "text": Form(_text, {BYTE_ARRAY, FIXED}),
    "bytes": Form(lambda value: quote("".join([BYTES[byte] for byte in value])), {BYTE_ARRAY, FIXED}),
    "uuid": Form(lambda value: f'"{uuid.UUID(bytes=value)}"', {FIXED}),
    "date": Form(lambda value: f'"{_day(value)}"', {INT32}),
    "time": Form(lambda value, scale: f'"{_time(value, scale)}"', {INT32, INT64}, is_scaled=True),
    "timestamp": Form(lambda value, scale: f'"{_timestamp(value, scale)}"', {INT64}, is_scaled=True),
    "moment": Form(lambda value, scale: f'"{_timestamp(value, scale)}Z"', {INT64}, is_scaled=True),
    "timestamp 96": Form(_timestamp_96, {INT96}),
}
# What values without an annotation are, by the type that they are stored as.
PLAIN = ["boolean", "integer", "integer", "timestamp 96", "double", "double", "bytes", "bytes"]
