"""Pure: a strict reading of one JSON text by RFC 8259, that says what is wrong, where, and at which pointer."""

import re
from collections.abc import Iterator

from fanfold.records.faults import Fault

MAX_DEPTH = 128
BLANK = re.compile(r"[ \t\r\n]*")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
NOT_A_NUMBER = re.compile(r"[-+]?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
# Bytes that are no UTF-8 are \udc80 to \udcff: nothing else decodes to a surrogate.
PLAIN = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]*')
ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u([0-9a-fA-F]{4}))')
WORD = re.compile(r"[^\s,:\[\]{}\"]{1,20}")
LITERALS = {"t": "true", "f": "false", "n": "null"}
SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class _Found(Exception):  # noqa: N818 - carries the answer out of the depth
    def __init__(self, code: str, position: int, message: str) -> None:
        self.code, self.position, self.message = code, position, message


class _Level:
    """An array or object that is open: where in it we are, and the keys that it had."""

    def __init__(self, opened_by: str) -> None:
        self.is_object = opened_by == "{"
        self.step: int | str | None = None
        self.keys: set[str] = set()


def diagnose(text: str) -> Fault | None:
    """Return the first fault of a text that is to be one JSON value, with blanks around it; None where it is one.

    Deep nesting needs no deep stack, and no value is built.
    """
    levels: list[_Level] = []
    try:
        _document(text, levels)
    except _Found as found:
        return Fault(found.code, found.position, _pointer(levels), found.message)
    return None


def locate(text: str, pointer: str) -> int:
    """Return where in a valid JSON text the value at `pointer` begins; the whole text, where it has none."""
    levels: list[_Level] = []
    return next((start for start in _values(text, levels) if _pointer(levels) == pointer), 0)


def token(key: str) -> str:
    """Return a key as a step of a JSON pointer (RFC 6901)."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _pointer(levels: list[_Level]) -> str:
    return "".join(token(str(level.step)) for level in levels if level.step is not None)


def _document(text: str, levels: list[_Level]) -> None:
    for _ in _values(text, levels):
        pass


def _values(text: str, levels: list[_Level]) -> Iterator[int]:
    """Yield where each value begins, `levels` being the way to it.

    Raises:
        _Found: the text is no JSON from there on.
    """
    position = _skip(text, 0)
    while True:
        yield position
        if text[position : position + 1] in {"{", "["}:
            if len(levels) == MAX_DEPTH:
                raise _Found("too_deep", position, f"found brackets deeper than {MAX_DEPTH} levels")
            levels.append(_Level(text[position]))
            position = _skip(text, position + 1)
            if text[position : position + 1] != _end(levels[-1]):
                position = _next_step(text, position, levels[-1])
                continue
        else:
            position = _skip(text, _scalar(text, position))
            if not levels:
                _expect_end(text, position)
                return
        comma = _close(text, position, levels)
        if comma is None:
            return
        position = _next_step(text, comma, levels[-1])


def _close(text: str, position: int, levels: list[_Level]) -> int | None:
    """Close what ends here, and return where the next member begins; None where the document ends."""
    while True:
        char = text[position : position + 1]
        if char == _end(levels[-1]):
            levels.pop()
            position = _skip(text, position + 1)
            if not levels:
                _expect_end(text, position)
                return None
        elif char == ",":
            following = _skip(text, position + 1)
            if text[following : following + 1] == _end(levels[-1]):
                raise _Found("trailing_comma", position, f"found a comma before {_end(levels[-1])!r}")
            return following
        else:
            raise _unexpected(text, position, f"',' or {_end(levels[-1])!r}")


def _end(level: _Level) -> str:
    return "}" if level.is_object else "]"


def _next_step(text: str, position: int, level: _Level) -> int:
    """Enter the next member of a level, and return where its value begins."""
    if not level.is_object:
        level.step = 0 if level.step is None else int(level.step) + 1
        return position
    if text[position : position + 1] != '"':
        raise _unexpected(text, position, "a key in quotes")
    key, after = _text(text, position)
    level.step = key
    if key in level.keys:
        raise _Found("duplicate_key", position, f"found the key {key!r} twice in one object")
    level.keys.add(key)
    after = _skip(text, after)
    if text[after : after + 1] != ":":
        raise _unexpected(text, after, "':'")
    return _skip(text, after + 1)


def _scalar(text: str, position: int) -> int:
    char = text[position : position + 1]
    if char == '"':
        return _text(text, position)[1]
    word = LITERALS.get(char)
    if word and text.startswith(word, position):
        return position + len(word)
    if NOT_A_NUMBER.match(text, position):
        raise _Found("nan", position, f"found {_shown(text, position)}, which JSON does not have")
    number = NUMBER.match(text, position)
    if number and not (number[0] in {"0", "-0"} and text[number.end() : number.end() + 1].isdecimal()):
        return number.end()
    raise _unexpected(text, position, "a value")


def _text(text: str, position: int) -> tuple[str, int]:
    parts, at = [], position + 1
    while True:
        plain = PLAIN.match(text, at)
        if plain:
            parts.append(plain[0])
            at = plain.end()
        char = text[at : at + 1]
        if char == '"':
            return "".join(parts), at + 1
        if not char:
            raise _Found("truncated", at, "found the end inside of a text")
        if char != "\\":
            if char < " ":
                raise _Found("control_character", at, f"found {char!r} in a text, expected it escaped")
            raise _Found("bad_utf8", at, f"found the byte 0x{ord(char) - 0xDC00:02x}, expected UTF-8")
        decoded, at = _escape(text, at)
        parts.append(decoded)


def _escape(text: str, at: int) -> tuple[str, int]:
    escape = ESCAPE.match(text, at)
    if not escape:
        if len(text) - at < len(r"\u0000") and re.fullmatch(r"\\(?:u[0-9a-fA-F]*)?", text[at:]):
            raise _Found("truncated", len(text), "found the end inside of a text")
        raise _Found("syntax", at, f"found {text[at : at + 6]!r}, expected an escape of JSON")
    if escape[0][1] != "u":
        return SHORT[escape[0][1]], escape.end()
    char = chr(int(escape[1], 16))
    if "\ud800" <= char <= "\udfff":
        low = ESCAPE.match(text, escape.end())
        if char >= "\udc00" or not low or not re.fullmatch(r"\\u[dD][c-fC-F][0-9a-fA-F]{2}", low[0]):
            raise _Found("lone_surrogate", at, f"found half of a surrogate pair, {escape[0]}")
        return (char + chr(int(low[1], 16))).encode("utf-16", "surrogatepass").decode("utf-16"), low.end()
    return char, escape.end()


def _skip(text: str, position: int) -> int:
    blank = BLANK.match(text, position)
    return blank.end() if blank else position


def _expect_end(text: str, position: int) -> None:
    if position < len(text):
        raise _Found("trailing_garbage", position, f"found {_shown(text, position)}, expected the end of the record")


def _unexpected(text: str, position: int, expected: str) -> _Found:
    if position >= len(text):
        return _Found("truncated", position, f"found the end, expected {expected}")
    char = text[position]
    if "\udc80" <= char <= "\udcff":
        return _Found("bad_utf8", position, f"found the byte 0x{ord(char) - 0xDC00:02x}, expected {expected}")
    return _Found("syntax", position, f"found {_shown(text, position)}, expected {expected}")


def _shown(text: str, position: int) -> str:
    word = WORD.match(text, position)
    return repr(word[0] if word else text[position])
