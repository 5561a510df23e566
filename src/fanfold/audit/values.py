"""Values: null, booleans, texts, numbers as they are written, objects and arrays; and the forms of declared types."""

import contextlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache
from typing import Any

from fanfold.audit.findings import refuse

NUMBER = re.compile(r"([-+]?\d+(?:\.\d+)?)(?:[eE][-+]?\d+)?", re.ASCII)
DAY, CLOCK = r"(\d{4})(-?)(\d\d\2\d\d|W\d\d\2\d|\d{3})", r"(\d\d(?:(:?)\d\d(?:\5\d\d(?:[.,]\d{1,6}0*)?)?)?)"
MOMENT = re.compile(rf"{DAY}(?:[T ]{CLOCK}(Z|[-+]\d\d(?::?\d\d)?)?)?", re.ASCII)
# Whether there is a time of day, and a zone; the microseconds of a unit.
MOMENTS = {"DATE": (False, False), "TIMESTAMP": (True, False), "TIMESTAMPTZ": (True, True)}
EPOCHS = {"EPOCH_S": 10**6, "EPOCH_MS": 10**3}
WORDS = {"BOOLEAN": {"true", "false"}, "DOUBLE": {"NaN", "Infinity", "-Infinity"}}


class Num(str):
    """A number, as it is written. So it shows itself, inside of objects and arrays too."""

    __slots__ = ()
    __repr__ = str.__str__


class Unknown:
    """A value that is not audited: it equals any text."""

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
    """Return the value at the end of a way through objects and arrays; None if it leads nowhere."""
    with contextlib.suppress(LookupError, ValueError, TypeError):
        for step in steps:
            value = value[int(step) if isinstance(value, list) else step]
        return value
    return None


def steps_of(pointer: str) -> list[str]:
    """Return the keys and indexes that a JSON pointer has."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


# A record has many rows.
@lru_cache(100_000)
def written_as(kind: str, text: str) -> str | None:
    """Return how a type is written in CSV; None where it does not hold a text, or the text of a number, exactly."""
    if text in WORDS.get(kind, ()):
        return text
    number = number_of(text)
    with contextlib.suppress(ValueError, ArithmeticError):
        if kind in MOMENTS:
            moment = _moment(text, *MOMENTS[kind])
            return iso(moment) if moment else None
        if kind in EPOCHS:
            micros = number * EPOCHS[kind]
            is_whole = abs(micros) < 10**18 and micros == int(micros)
            return iso(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))) if is_whole else None
        if kind == "DOUBLE":
            written = repr(float(number))
            return written if Decimal(written) == number else None
        if kind != "BOOLEAN" and number.is_finite():
            precision, scale = (19, 0) if kind == "BIGINT" else map(int, kind[8:-1].split(","))
            exact = Context(precision, traps=[Inexact, InvalidOperation]).quantize(number, Decimal((0, [1], -scale)))
            # There is no minus zero but that of a DOUBLE.
            return f"{exact + 0:f}" if kind != "BIGINT" or -(2**63) <= exact < 2**63 else None
    return None


def _moment(text: str, has_clock: bool, has_zone: bool) -> date | None:  # noqa: FBT001 - as MOMENTS has them
    """Return a day, or a moment, of ISO 8601; None for another text."""
    found = MOMENT.fullmatch(text.upper())
    if not found or (bool(found[4]), bool(found[6])) != (has_clock, has_zone):
        return None
    year, dash, of_year, clock, _, zone = found.groups()
    if of_year.isdecimal() and len(of_year) == len("366"):
        day = date(int(year), 1, 1) + timedelta(int(of_year) - 1)
        if day.year != int(year):
            return None
    else:
        day = date.fromisoformat(year + dash + of_year)
    if not clock:
        return day
    # 24:00 is the end of a day.
    is_end = clock[:2] == "24" and not clock[2:].strip(":0.,")
    clock = ("00" if is_end else clock[:2]) + clock[2:] + (zone or "")
    return datetime.combine(day, time.fromisoformat(clock)) + timedelta(is_end)


def number_of(text: str) -> Decimal:
    """Return the value of a number; NaN for other texts, and where the exponent is more than a Decimal holds."""
    found = NUMBER.fullmatch(text)
    return Decimal((text if found[1].strip("+-0.") else found[1]) if found else "NaN")


def iso(moment: date | time) -> str:
    """Return a day, a time of day, or a moment, which with a zone is in UTC."""
    if isinstance(moment, datetime) and moment.tzinfo:
        return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
    return moment.isoformat()
