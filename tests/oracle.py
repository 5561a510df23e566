"""What the standard library says of JSON, and a plain state machine of CSV: the oracles of the core's tests."""

import json
from typing import Any, NoReturn


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(pairs)
    return dict(pairs)


def refuse(name: str) -> NoReturn:
    raise ValueError(name)


def by_library(text: bytes) -> Any:
    """Return the value of a text, numbers as written, as Python's own parser has it; None where it is no record."""
    try:
        decoded = text.decode()
        value = json.loads(
            decoded, parse_int=str, parse_float=str, parse_constant=refuse, object_pairs_hook=members, strict=True
        )
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    # The library takes blanks around a text, and a byte order mark not at all.
    return value if isinstance(value, dict) and decoded[0] == "{" and decoded[-1] == "}" else None


def by_grammar(content: bytes) -> tuple[list[list[str | None]], int]:
    """Return the good lines of a CSV with two columns, and how many are bad: RFC 4180, character by character."""
    good: list[list[str | None]] = []
    bad, at, text = 0, 0, content.decode("utf-8", "surrogateescape")
    while at < len(text):
        if text.startswith(("\n", "\r\n"), at):
            at += 1 if text[at] == "\n" else 2
            continue
        line, end = line_by_grammar(text, at)
        if line is None:
            newline = text.find("\n", at)
            end = len(text) if newline < 0 else newline
        if line is None or len(line) != 2 or any("\udc80" <= char <= "\udcff" for cell in line for char in cell or ""):
            bad += 1
        else:
            good.append(line)
        at = end
    return good[1:], bad


def line_by_grammar(text: str, at: int) -> tuple[list[str | None] | None, int]:
    cells: list[str | None] = []
    while True:
        cell = ""
        quoted = text.startswith('"', at)
        at += quoted
        while at < len(text):
            if quoted and text.startswith('""', at):
                at += 1
            elif text[at] == '"' if quoted else (text[at] in ',"\n' or text.startswith("\r\n", at)):
                break
            cell += text[at]
            at += 1
        if quoted and not text.startswith('"', at):
            return None, at
        at += quoted
        cells.append(cell if cell or quoted else None)
        if at == len(text) or text[at] == "\n" or text.startswith("\r\n", at):
            return cells, at
        if text[at] != ",":
            return None, at
        at += 1
