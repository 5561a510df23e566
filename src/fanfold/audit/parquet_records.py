"""The rows of a Parquet file, as pyarrow reads them, with values as in JSON."""

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import tee
from pathlib import Path
from typing import Any
from uuid import UUID

from fanfold.audit.values import UNKNOWN, Num, Unknown, iso
from fanfold.errors import MissingError

BATCH_ROWS = 1000
# Types that Python does not hold as they are, or not exactly.
INEXACT = re.compile(r"map<(?!string,)|\[ns")
NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
PLAIN_BYTES = set(map(chr, range(32, 127))) - set("\\'\"")


class UnreadableError(Exception):
    """There is a file that pyarrow cannot read: what is in it is not known."""


def parquet_rows(path: Path) -> Iterator[list[Any]]:
    """Yield the names of the columns, then the rows; nothing of a row that has what Parquet may not have."""
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ModuleNotFoundError:
        msg = f"{str(path)!r} is Parquet, and pyarrow is not installed: pip install 'fanfold[audit]'"
        raise MissingError(msg) from None
    if not path.stat().st_size:
        # The table of a run without a column.
        return
    try:
        with (
            parquet.ParquetFile(path) as file,
            parquet.ParquetFile(path, coerce_int96_timestamp_unit="s") as coarse,
        ):
            yield file.schema_arrow.names
            batches, others = tee(file.iter_batches(batch_size=BATCH_ROWS))
            if coarse.schema_arrow.types != file.schema_arrow.types:
                others = coarse.iter_batches(batch_size=BATCH_ROWS)
            for batch, other in zip(batches, others, strict=True):
                for row in zip(*map(_values_of, batch.columns, other.columns), strict=True):
                    yield [] if any(value is ... for value in row) else [*row]
    except (pa.ArrowException, OSError) as error:
        msg = f"pyarrow cannot read it ({' '.join(str(error).split())})"
        raise UnreadableError(msg) from None


def _values_of(column: Any, coarse: Any) -> Iterator[Any]:
    """Return the values of a column; an ellipsis for one with text that is not UTF-8, or with a key twice in a map."""
    if not INEXACT.search(str(column.type)):
        with contextlib.suppress(ValueError, KeyError, OverflowError):
            return map(_of_json, column.to_pylist(maps_as_pydicts="strict"))
    return map(_value_of, column, coarse)


def _value_of(value: Any, coarse: Any) -> Any:
    try:
        return _of_scalar(value, coarse)
    except (UnicodeDecodeError, KeyError):
        return ...


def _of_scalar(value: Any, coarse: Any) -> Any:
    """Return a value of pyarrow as one of JSON: where Python does not hold it, what stands beside it is known.

    `coarse` is the same value, in which a moment of INT96 has its seconds alone.
    """
    if not value.is_valid:
        return None
    if str(value.type).startswith("map<"):
        entries = zip(value.values, coarse.values, strict=True)
        return _of_entries([[*map(_of_scalar, one.values(), other.values())] for one, other in entries])
    if hasattr(value, "items"):
        return {name: _of_scalar(inner, coarse[name]) for name, inner in value.items()}
    if hasattr(value, "values"):
        return [*map(_of_scalar, value.values, coarse.values)]
    kind = str(value.type)
    try:
        is_fine = kind.startswith(("timestamp[ns", "time64[ns"))
        return _of_nanoseconds(kind, value.value, coarse) if is_fine else _of_json(value.as_py())
    except UnicodeDecodeError:
        raise
    except (ValueError, OverflowError):
        # Python has no days after the year 9999.
        return UNKNOWN


def _of_entries(entries: list[list[Any]]) -> Any:
    """Return a map as an object; a key that is not text becomes text, as JSON."""
    if Unknown.MARK in repr([key for key, _ in entries]):
        return UNKNOWN
    made = {str(key) if isinstance(key, str) else _json(key): value for key, value in entries}
    if len(made) < len(entries):
        raise KeyError
    return made


def _json(value: Any) -> str:
    """Return a value as JSON without blanks, with numbers as they are written."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{_json(key)}:{_json(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_json, value))}]"
    return value if type(value) is Num else json.dumps(value, ensure_ascii=False)


def _of_json(value: Any) -> Any:
    """Return a value of Parquet as one of JSON."""
    found: Any = UNKNOWN
    if value is None or isinstance(value, (bool, str)):
        found = value
    elif isinstance(value, dict):
        found = {key: _of_json(inner) for key, inner in value.items()}
    elif isinstance(value, list):
        found = [_of_json(inner) for inner in value]
    elif isinstance(value, (int, Decimal)):
        found = Num(f"{Decimal(value):f}")
    elif isinstance(value, float):
        found = NOT_FINITE.get(repr(value), Num(value))
    elif isinstance(value, (date, time)):
        found = iso(value)
    elif isinstance(value, bytes):
        found = "".join(chr(one) if chr(one) in PLAIN_BYTES else f"\\x{one:02X}" for one in value)
    elif isinstance(value, UUID):
        found = str(value)
    return found


def _of_nanoseconds(kind: str, value: int, coarse: Any) -> str:
    """Return a moment, or a time of day, as Fanfold writes it: with nine, six or no digits of a second.

    Of a moment of INT96, pyarrow returns the last 64 bits of its nanoseconds: its seconds are those of `coarse`.
    """
    seconds = value // 10**9 if str(coarse.type) == kind else coarse.value
    fraction = (value - seconds * 10**9) % 2**64
    text = iso(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).removesuffix("Z")
    text += f".{fraction:09}".removesuffix("000") if fraction else ""
    return text.partition("T")[2] if kind.startswith("time64") else text + "Z" * ("tz=" in kind)
