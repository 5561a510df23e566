"""The records of a JSON file, good and bad, and where each begins and ends."""

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple, NoReturn

from fanfold.records.diagnose import MAX_DEPTH, diagnose
from fanfold.records.faults import Fault, UnreadableError
from fanfold.records.limits import MAX_VALUES, has_too_many_values, shape_fault, too_many_values
from fanfold.records.resume import FIRST_KEY, Skipper, resume
from fanfold.records.window import Window

LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# What the parser finds wrong so close to the end of the window may be right with what follows.
NEAR_END = 16


class Number(str):
    """A number as it is written."""

    __slots__ = ()


class Found(NamedTuple):
    """What lies where a record is: its text, its place, and its value or, where it has none, what is wrong."""

    raw: str
    place: tuple[int, int]
    value: dict[str, Any] | None
    fault: Fault | None = None


class _Around(Exception):  # noqa: N818 - leads out of the document around the records
    def __init__(self, code: str, message: str) -> None:
        self.fault = Fault(code, 0, "", message)


class Parser:
    """The standard library's parser in C: numbers stay as they are written, what JSON does not have is noted."""

    def __init__(self) -> None:
        """Begin without a suspicion."""
        self.suspect = False
        # Undocumented, and the one parser that says where a value ends.
        self._scan = json.JSONDecoder(
            object_pairs_hook=self._object, parse_int=Number, parse_float=Number, parse_constant=self._constant
        ).scan_once  # type: ignore[attr-defined]

    def parse(self, text: str, position: int) -> tuple[Any, int]:
        """Return the value at `position` and where it ends.

        Raises:
            StopIteration, json.JSONDecodeError, RecursionError: there is none.
        """
        self.suspect = False
        found: tuple[Any, int] = self._scan(text, position)
        return found

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        self.suspect = self.suspect or len(members) < len(pairs)
        return members

    def _constant(self, name: str) -> Number:
        self.suspect = True
        return Number(name)


class JsonRecords:
    """The records of a JSON file: of an array, of NDJSON, of one or more objects, or of an array inside of them."""

    def __init__(
        self, window: Window, max_record_bytes: int, records_at: str = "", whole: Collection[str] | None = ()
    ) -> None:
        """Begin at the window's place. `whole` is that of `shape_fault`; None where any number of fields will do."""
        self._window = window
        self._cap = max_record_bytes
        self._way = [step.replace("~1", "/").replace("~0", "~") for step in records_at.split("/")[1:]]
        self._parser = Parser()
        self._first_key = ""
        self._whole = whole
        self._crowded = False

    def __iter__(self) -> Iterator[Found]:
        """Yield the records in the order of the file.

        Raises:
            UnreadableError: the file is empty, or its compression is damaged.
        """
        window = self._window
        if not window.skip() and not window.damage:
            raise UnreadableError("empty_file", "found nothing, expected records")
        last = None
        for found in self._records():
            yield found
            last = found.fault
        # A record that ends with the file has said it.
        if window.damage and (fault := window.damage_fault()) and not (last and last.code == "truncated"):
            yield Found("", window.place, None, fault)

    def _records(self) -> Iterator[Found]:
        if self._way:
            yield from self._wrapped()
        elif self._window.skip() == "[":
            yield from self._array()
            if self._window.skip():
                yield self._rest(Fault("trailing_garbage", 0, "", "found more after the array of records"))
        else:
            yield from self._sequence()

    def _array(self) -> Iterator[Found]:
        """Yield the elements of the array that begins here; end after it, or at the end of the file."""
        window = self._window
        window.advance(window.position + 1)
        comma, fault = None, None
        while (char := window.skip()) != "]":
            if not char:
                if not fault or fault.code not in {"truncated", "too_deep"}:
                    fault = Fault("truncated", 0, "", "found the end of the file inside of the array of records")
                    yield Found("", window.place, None, fault)
                return
            for found in self._element():
                yield found
                fault = found.fault
            comma = window.place if window.skip() == "," else None
            if comma:
                window.advance(window.position + 1)
        if comma:
            yield Found(",", comma, None, Fault("trailing_comma", 0, "", "found a comma before ']'"))
        window.advance(window.position + 1)

    def _element(self) -> Iterator[Found]:
        parsed = self._value()
        follows = self._after(parsed[1]) if parsed else ""
        if parsed and follows in {",", "]", "", "{"}:
            yield self._take(*parsed)
            if follows == "{":
                self._window.skip()
                fault = Fault("syntax", 0, "", "found a record, expected ',' or ']' before it")
                yield self._bad(in_array=True, fault=fault)
        else:
            yield self._bad(in_array=True)

    def _sequence(self) -> Iterator[Found]:
        """Yield values that follow each other, each on a line or right behind the one before."""
        while self._window.skip():
            parsed = self._value()
            if parsed and self._after(parsed[1], " \t\r") in {"\n", "{", ""}:
                yield self._take(*parsed)
            elif parsed:
                yield self._bad_line(parsed[1])
            else:
                yield self._bad(in_array=False)

    def _wrapped(self) -> Iterator[Found]:
        """Yield the records at the pointer of each document; what is wrong around them ends no document but its own."""
        while self._window.skip():
            last = None
            try:
                for found in self._enter(self._way):
                    yield found
                    last = found.fault
            except _Around as around:
                rest = self._rest_of_document(around.fault)
                if not (last and last.code == around.fault.code == "truncated"):
                    yield rest

    def _enter(self, way: list[str]) -> Iterator[Found]:
        window, opening = self._window, self._window.skip()
        if not way:
            yield from self._at_pointer(opening)
            return
        if opening not in {"{", "["}:
            self._not_there(way)
        closing, seen = ("}" if opening == "{" else "]"), set[str]()
        window.advance(window.position + 1)
        char = window.skip()
        while char != closing:
            step = self._key(seen) if opening == "{" else str(len(seen))
            seen.add(step)
            if step == way[0]:
                yield from self._enter(way[1:])
            else:
                window.pass_by(self._around_value()[1])
            char = window.skip()
            if char == ",":
                window.advance(window.position + 1)
                char = window.skip()
                if char == closing:
                    raise _Around("trailing_comma", f"found a comma before {closing!r} around the records")
            elif char != closing:
                code = "syntax" if char else "truncated"
                raise _Around(code, f"found {char!r} around the records, expected ',' or {closing!r}")
        if way[0] not in seen:
            self._not_there(way)
        window.advance(window.position + 1)

    def _at_pointer(self, opening: str) -> Iterator[Found]:
        if opening == "[":
            yield from self._array()
            return
        value, size = self._around_value()
        if isinstance(value, dict):
            yield self._take(value, size)
        elif value is None:
            self._window.pass_by(size)
        else:
            raise _Around("not_an_object", f"found {kind(value)} at input.records_at, expected an array")

    def _key(self, seen: set[str]) -> str:
        key, size = self._around_value()
        if not isinstance(key, str) or isinstance(key, Number):
            raise _Around("syntax", "found no key around the records")
        if key in seen:
            raise _Around("duplicate_key", f"found the key {key!r} twice around the records")
        self._window.pass_by(size)
        if self._window.skip() != ":":
            raise _Around("syntax", f"found no ':' after {key!r} around the records")
        self._window.advance(self._window.position + 1)
        self._window.skip()
        return key

    def _around_value(self) -> tuple[Any, int]:
        parsed = self._value()
        if parsed is None:
            raise _Around("syntax", "found no JSON, or too large a value, around the records")
        return parsed

    def _not_there(self, way: list[str]) -> NoReturn:
        raise _Around("pointer_not_found", f"found no {way[0]!r}, expected input.records_at to lead to the records")

    def _value(self) -> tuple[Any, int] | None:
        """Return the value that begins here and its size; None where it is none, or too large to say.

        A size, and no position: positions move when the window is filled.
        """
        window = self._window
        self._crowded = False
        while True:
            try:
                value, end = self._parser.parse(window.text, window.position)
            except StopIteration as error:
                at = error.value
            except json.JSONDecodeError as error:
                at = len(window.text) if error.msg.startswith("Unterminated string") else error.pos
            except RecursionError:
                return None
            else:
                if window.complete or end < len(window.text) or window.text[end - 1] in '}]"':
                    return value, end - window.position
                at = end
            if len(window.text) - at >= NEAR_END or window.size > self._cap:
                return None
            # All that there is belongs to this value: to read on would take memory for nothing.
            self._crowded = window.size > MAX_VALUES and has_too_many_values(window.text[window.position :])
            if self._crowded or not window.fill():
                return None

    def _after(self, size: int, blanks: str = " \t\r\n") -> str:
        """Return the first character behind `size` more that is no blank, without moving; nothing at the file's end."""
        window = self._window
        while True:
            at = window.position + size
            while at < len(window.text) and window.text[at] in blanks:
                at += 1
            if at < len(window.text):
                return window.text[at]
            if not window.fill():
                return ""

    def _take(self, value: Any, size: int) -> Found:
        """Pass by the value that begins here, and return it with what is wrong about it."""
        window = self._window
        end, place, fault = window.position + size, window.place, None
        raw = window.text[window.position : end]
        suspect = self._parser.suspect or raw.count("[") + raw.count("{") > MAX_DEPTH
        if not raw.isascii():
            suspect = suspect or re.search("[\ud800-\udfff]", raw) is not None
        suspect = suspect or ("\\u" in raw and LONE_SURROGATE.search(raw) is not None)
        window.advance(end)
        size_bytes = window.offset - place[1]
        if size_bytes > self._cap:
            fault = _too_large(size_bytes, self._cap)
        elif has_too_many_values(raw):
            fault = too_many_values()
        elif suspect:
            fault = diagnose(raw)
        if fault is None and not isinstance(value, dict):
            fault = Fault("not_an_object", 0, "", f"found {kind(value)}, expected an object")
        if fault is None and self._whole is not None:
            fault = shape_fault(raw, value, self._whole)
        if fault is None and not self._first_key and (first := FIRST_KEY.match(raw)):
            self._first_key = first[1]
        return Found(raw, place, None if fault else value, fault)

    def _bad(self, *, in_array: bool, fault: Fault | None = None) -> Found:
        """Move to where reading can go on, and return what lies before it as a record that is bad."""
        window = self._window
        if self._crowded:
            return self._skip_large(too_many_values())
        while True:
            end = resume(
                window.text,
                window.position,
                self._parser.parse,
                in_array=in_array,
                first_key=self._first_key,
                complete=window.complete,
            )
            if end is not None:
                break
            if window.size > self._cap:
                return self._skip_large()
            window.fill()
        return self._bad_until(end, fault)

    def _bad_line(self, size: int) -> Found:
        """Move to the end of the line that `size` more characters lead to, and return what lies before it as bad."""
        window = self._window
        while (newline := window.text.find("\n", window.position + size)) < 0 and window.size <= self._cap:
            if not window.fill():
                break
        return self._bad_until(newline if newline >= 0 else len(window.text), None)

    def _bad_until(self, end: int, fault: Fault | None) -> Found:
        window = self._window
        # A place where nothing is: only a comma that has nothing before it.
        end = max(end, window.position)
        raw, place = window.text[window.position : end].rstrip(" \t\r\n"), window.place
        window.advance(end)
        size = window.offset - place[1]
        if size > self._cap:
            return Found("", place, None, _too_large(size, self._cap))
        nothing = Fault("syntax", 0, "", "found nothing, expected a record")
        return Found(raw, place, None, fault or (diagnose(raw) if raw else None) or nothing)

    def _skip_large(self, fault: Fault | None = None) -> Found:
        window, place, skipper = self._window, self._window.place, Skipper()
        while True:
            read, ended = skipper.end_in(window.text[window.position :])
            window.advance(window.position + read)
            if ended or not window.fill():
                return Found("", place, None, fault or _too_large(window.offset - place[1], self._cap))

    def _rest_of_document(self, fault: Fault) -> Found:
        """Move to where a line begins with the next document, and return what lies before it as bad."""
        window = self._window
        raw, place = "", window.place
        while (end := window.text.find("\n{", window.position)) < 0:
            raw = (raw + window.text[window.position :])[: self._cap]
            window.advance(len(window.text))
            if not window.fill():
                return Found(raw, place, None, fault)
        raw = (raw + window.text[window.position : end])[: self._cap]
        window.advance(end)
        return Found(raw, place, None, fault)

    def _rest(self, fault: Fault) -> Found:
        """Move to the end of the file, and return its beginning as a record that is bad."""
        window = self._window
        raw, place = window.text[window.position : window.position + self._cap], window.place
        window.pass_rest()
        return Found(raw, place, None, fault)


def _too_large(size: int, cap: int) -> Fault:
    return Fault("record_too_large", 0, "", f"found {size} bytes, expected at most {cap} (input.max_record_bytes)")


def kind(value: Any) -> str:
    """Return what a value is, in words."""
    if isinstance(value, Number):
        return "a number"
    names = {list: "an array", str: "a text", bool: "true or false", type(None): "null", dict: "an object"}
    return names[type(value)]
