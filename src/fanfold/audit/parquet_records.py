"""The rows of a file of Parquet, as pyarrow reads them, with values as JSON has them."""

import contextlib
import json
import re
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from fanfold.audit.values import UNKNOWN, Num, Unknown, iso
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
    if "map<" not in str(column.type):
        with contextlib.suppress(ValueError, OverflowError):
            return map(_of_json, column.to_pylist())
    return map(_value_of, column)


def _value_of(value: Any) -> Any:
    try:
        return _of_scalar(value)
    except (UnicodeDecodeError, KeyError):
        return ...


def _of_scalar(value: Any) -> Any:
    """Return a value of pyarrow as one of JSON: where Python does not hold it, what stands beside it is known."""
    if not value.is_valid:
        return None
    if str(value.type).startswith("map<"):
        return _of_entries([[*map(_of_scalar, entry.values())] for entry in value.values])
    if hasattr(value, "items"):
        return {name: _of_scalar(inner) for name, inner in value.items()}
    if hasattr(value, "values"):
        return [*map(_of_scalar, value.values)]
    try:
        return _of_json(value.as_py())
    except UnicodeDecodeError:
        raise
    except (ValueError, OverflowError):
        # Python has no days after the year 9999.
        return UNKNOWN


def _of_entries(entries: list[list[Any]]) -> Any:
    """Return a map as an object: a key that is no text is one as JSON."""
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


def _of_nanoseconds(text: str | None) -> str | None:
    """Return a moment with nine digits of a second as Fanfold writes it: with nine, six or none."""
    return text and re.sub(r"\.0{9}|(?<=\.\d{6})000", "", text.replace(" ", "T"))
