"""The careful reader: says where and why a file is no JSON, once the fast path has refused it."""

import gzip
import json
from pathlib import Path
from typing import Any, NoReturn

EXPLAINED_BYTES = 16 * 1024 * 1024


def explain(path: Path) -> str | None:
    """Say what is wrong with a file of JSON records.

    Read are files up to 16 MiB, plain or gzip, as an array, NDJSON, or objects one after the other.

    Returns:
        Place, what was found and what was expected, in one line; None where no fault was found, or where the file is
        too large or compressed in another way.
    """
    if path.suffix == ".zst":
        return None
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read(EXPLAINED_BYTES + 1)
        if len(raw) > EXPLAINED_BYTES:
            return None
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"line {line}, byte {error.start}: found {error.object[error.start : error.end]!r}, expected UTF-8"
    except (EOFError, gzip.BadGzipFile, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        return f"found damaged gzip ({error}), expected a complete file"
    return _explain_text(text)


def _explain_text(text: str) -> str | None:
    decoder = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_distinct)
    position, index = _skip_blank(text, 0), 0
    while position < len(text):
        try:
            value, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            found = repr(text[error.pos : error.pos + 20]) if error.pos < len(text) else "the end of the file"
            return f"{_place(text, error.pos)}: found {found}, expected JSON ({error.msg})"
        except ValueError as error:
            return f"{_place(text, position)}: found {error}, expected JSON"
        except RecursionError:
            return f"{_place(text, position)}: found brackets nested too deep, expected at most 128 levels"
        index += 1
        values = value if isinstance(value, list) and index == 1 else [value]
        for offset, record in enumerate(values):
            if not isinstance(record, dict):
                where = f"record {offset + 1}" if values is value else _place(text, position)
                return f"{where}: found {_kind(record)}, expected an object"
        position = _skip_blank(text, end)
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"the key {twice!r} twice in one object (each may stand once)"
        raise ValueError(msg)
    return fields


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _skip_blank(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"line {line}, column {position - text.rfind(chr(10), 0, position)}"
