"""The rows of a Parquet file, as pyarrow reads them, with values as in JSON."""

import contextlib
import re
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from fanfold.audit.values import UNKNOWN, Num, iso, text_of
from fanfold.errors import MissingError

BATCH_ROWS = 1000
FINE = {"timestamp[ns]", "timestamp[ns, tz=UTC]", "time64[ns]"}
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
        with parquet.ParquetFile(path) as file:
            yield file.schema_arrow.names
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                for row in zip(*map(_values_of, batch.columns), strict=True):
                    yield [] if any(value is ... for value in row) else [*row]
    except (pa.ArrowException, OSError) as error:
        msg = f"pyarrow cannot read it ({' '.join(str(error).split())})"
        raise UnreadableError(msg) from None


def _values_of(column: Any) -> Iterator[Any]:
    """Return the values of a column; an ellipsis for one with text that is not UTF-8, or with a key twice in a map."""
    if str(column.type) in FINE:
        # Python has no nanoseconds.
        return map(_of_nanoseconds, column.cast("string").to_pylist())
    with contextlib.suppress(ValueError, KeyError, OverflowError):
        return map(_of_json, column.to_pylist(maps_as_pydicts="strict"))
    return map(_value_of, column)


def _value_of(value: Any) -> Any:
    try:
        return _of_json(value.as_py(maps_as_pydicts="strict"))
    except (UnicodeDecodeError, KeyError):
        return ...
    except (ValueError, OverflowError):
        # Python has no days after the year 9999. What stands beside one is known.
        if hasattr(value, "items"):
            return {name: _value_of(inner) for name, inner in value.items()}
        return [*map(_value_of, value.values)] if hasattr(value, "values") else UNKNOWN


def _of_json(value: Any) -> Any:
    """Return a value of Parquet as one of JSON."""
    found: Any = UNKNOWN
    if value is None or isinstance(value, (bool, str)):
        found = value
    elif isinstance(value, dict):
        found = {text_of(_of_json(key)): _of_json(inner) for key, inner in value.items()}
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


def _of_nanoseconds(text: str | None) -> str | None:
    """Return a moment with nine digits of a second as Fanfold writes it: with nine, six or none."""
    return text and re.sub(r"\.0{9}|(?<=\.\d{6})000", "", text.replace(" ", "T"))
