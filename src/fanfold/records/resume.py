"""Pure: where a bad record ends, and so where reading goes on."""

import json
import re
from collections.abc import Callable
from typing import Any

# Possessive: to be able to go back would take 100 bytes of memory for each character of a text.
TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|["{}\[\],\n]', re.DOTALL)
MARK = re.compile(r'["{}\[\]]')
INSIDE_TEXT = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
CLOSING = {"{": "}", "[": "]"}
FIRST_KEY = re.compile(r'\{\s*("(?:[^"\\]++|\\.)*+"\s*:)')
NEXT_OF_ARRAY = re.compile(r"[ \t\r\n]*(?:[,\]]|$)")
NEXT_OF_SEQUENCE = re.compile(r"[ \t\r]*(?:[\n{]|$)")

Parse = Callable[[str, int], tuple[Any, int]]


def resume(text: str, start: int, parse: Parse, *, in_array: bool, first_key: str, complete: bool) -> int | None:
    """Return where the bad record at `start` ends.

    It ends where its brackets close, or before that where the next record begins, if records begin on lines of their
    own, with one indent. Where brackets never close, and lines say nothing, it ends where a good record begins with
    the key that all of them begin with.

    Args:
        text: what is known of the file.
        start: where the bad record begins.
        parse: gives value and end of the JSON at a position.
        in_array: records are followed by ',' or ']'; else each is on a line, or right behind the one before.
        first_key: the key, with quotes and colon, that good records begin with; empty while none was seen.
        complete: `text` reaches to the end of the file.

    Returns:
        The position, or None where more text is needed to tell.
    """
    closed = _closed(text, start, in_array=in_array)
    indent = text[text.rfind("\n", 0, start) + 1 : start]
    own_line = not indent.strip(" \t")
    if own_line:
        pattern = rf"\n{indent}(?=\{{)"
    elif closed is None and (key := first_key or _first_key(text, start)):
        pattern = rf"(?<=[,}}\]\s])(?=\{{\s*{re.escape(key)})"
    else:
        pattern = ""
    follows = NEXT_OF_ARRAY if in_array else NEXT_OF_SEQUENCE
    for begun in re.finditer(pattern, text[:closed]) if pattern else ():
        if begun.start() > start and (own_line or _is_record(text, begun.end(), parse, follows)):
            before = text[start : begun.start()].rstrip(" \t\r\n")
            return start + len(before.removesuffix(",") if in_array else before)
    if closed is None and complete:
        return len(text)
    return closed


def _first_key(text: str, start: int) -> str:
    first = FIRST_KEY.match(text, start)
    return first[1] if first else ""


def _is_record(text: str, start: int, parse: Parse, follows: re.Pattern[str]) -> bool:
    try:
        value, end = parse(text, start)
    except (StopIteration, json.JSONDecodeError, RecursionError):
        return False
    return isinstance(value, dict) and follows.match(text, end) is not None


def _closed(text: str, start: int, *, in_array: bool) -> int | None:
    """Return where the value ends by its brackets: before a ',' or ']', or before a line's end or the next object."""
    open_brackets: list[str] = []
    for token in TOKEN.finditer(text, start):
        mark = token[0]
        if mark == '"':
            return None
        if not open_brackets and (mark in {",", "]"} if in_array else mark == "\n"):
            return token.start()
        if mark in CLOSING:
            if not in_array and not open_brackets and token.start() > start:
                return token.start()
            open_brackets.append(CLOSING[mark])
        elif open_brackets and mark in {"}", "]"} and open_brackets.pop() != mark:
            return None
    return None


class Skipper:
    """Follows the brackets of a value that is too large to be kept, piece by piece."""

    def __init__(self) -> None:
        """Begin at the first character of the value."""
        self._depth = 0
        self._in_text = False

    def end_in(self, piece: str) -> tuple[int, bool]:
        """Return how much of the next piece was read, and whether the value ends there."""
        at = 0
        while at < len(piece):
            if self._in_text:
                at = self._pass_text(piece, at)
                if self._in_text and at < len(piece):
                    # An escape that the next piece completes.
                    return at, False
                continue
            mark = MARK.search(piece, at)
            if not mark:
                return len(piece), False
            at = mark.end()
            if mark[0] == '"':
                self._in_text = True
            else:
                self._depth += 1 if mark[0] in CLOSING else -1
                if self._depth <= 0:
                    return at, True
        return at, False

    def _pass_text(self, piece: str, at: int) -> int:
        end = INSIDE_TEXT.match(piece, at)
        at = end.end() if end else at
        if at < len(piece) and piece[at] == '"':
            self._in_text = False
            return at + 1
        return at
