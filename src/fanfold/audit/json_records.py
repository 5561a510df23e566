"""The records of a JSON file, by RFC 8259: those that `records_at` leads to, with the fields around them."""

import contextlib
import pickle
import tempfile
from collections.abc import Iterator
from typing import Any

from fanfold.audit.findings import refuse
from fanfold.audit.originals import BAD, Found, Text
from fanfold.audit.values import DECODER, json_value, leaves, steps_of
from fanfold.spec.model import Input
from fanfold.spec.paths import Way, way_of


class _AbandonedError(Exception):
    """The rest of a document around records is bad."""


def json_records(text: Text, settings: Input) -> Iterator[Found]:
    """Yield the fields of a file, which are none before its records are read, then its records."""
    way, envelope = steps_of(settings.records_at), [way_of(path) for path in settings.envelope]
    yield None, {}
    while text.char():
        around: dict[Way, Any] = dict.fromkeys(envelope, ...)
        found = _in_document(text, way, around)
        yield from _with_fields_around(text, found, around) if envelope else found


def _in_document(text: Text, way: list[str], around: dict[Way, Any]) -> Iterator[Found]:
    with contextlib.suppress(_AbandonedError):
        yield from _in_value(text, way, around, ())


def _with_fields_around(text: Text, records: Iterator[Found], around: dict[Way, Any]) -> Iterator[Found]:
    """Hold the records of a document up to its end, where the fields around them are known; yield them with these."""
    with tempfile.TemporaryFile() as held:
        for one in records:
            pickle.dump(one, held)
        end = held.tell()
        held.seek(0)
        left_out = {way: value for way, value in around.items() if value is not ...}
        while held.tell() < end:
            # They were written here a moment ago.
            bad, record = pickle.load(held)  # noqa: S301
            for way, value in around.items() if isinstance(record, dict) else ():
                if value is not ... and _taken_along(record, way, value):
                    left_out.pop(way, None)
                elif value is not ... and not bad:
                    refuse(way, "no field of this name in a record of its own")
            yield bad, record
        text.left_out += leaves([*left_out.values()])


def _taken_along(record: dict[str, Any], way: Way, value: Any) -> bool:
    """Give a record a field that stands around it; say whether there was room. A null on the way becomes an object."""
    for name in way[:-1]:
        if record.get(name) is None:
            record[name] = {}
        if not isinstance(record := record[name], dict):
            return False
    has_room = way[-1] not in record
    record.setdefault(way[-1], value)
    return has_room


def _in_value(text: Text, way: list[str] | None, around: dict[Way, Any], place: Way) -> Iterator[Found]:
    """Yield the records at the end of `way` in the value that begins here, at a place; None: they are elsewhere.

    What stands around them goes to `around`, or is counted.
    """
    opening = text.char()
    if opening == BAD:
        yield text.bad_record(json_value)
        _check_goes_on(text)
    elif opening == "[" or (opening == "{" and way):
        text.at += 1
        yield from _in_members(text, way, around, place)
    else:
        value = _value(text)
        if way == [] and value is not None:
            yield None, value
        text.left_out += leaves(value) if way != [] else 0


def _in_members(text: Text, way: list[str] | None, around: dict[Way, Any], place: Way) -> Iterator[Found]:
    """Yield the records in an array or object. Members have one comma between them, except next to bad ones.

    Where a missing comma is in quarantine, the next ones may be missing too, and the bracket at the end of the file.
    """
    before, position, in_doubt, closing = "", 0, False, "]" if text.text[text.at - 1] == "[" else "}"
    while (char := text.char()) != closing or before == ",":
        if char == BAD:
            bad, record = text.bad_record(json_value)
            # Without a comma before it, it is bad for that.
            yield bad, None if before == "value" else record
            if bad and not bad.size and bad.code == "truncated":
                raise _AbandonedError
            in_doubt |= bad is not None and not bad.size
            _check_goes_on(text, *("{" if way == [] else ""))
        elif char == "," and before in {"value", BAD}:
            text.at, position, in_doubt = text.at + 1, position + 1, False
        elif in_doubt and not char:
            return
        elif char in {"", ",", "]", "}"} or (before == "value" and not in_doubt):
            refuse(text.text[text.at :], f"',' or {closing!r} behind a value, or a value")
        elif way == []:
            yield None, _value(text)
        else:
            key, here = str(position), place
            if closing == "}":
                key = _value(text)
                if text.char() == ":":
                    text.at += 1
                here = (*place, key)
            inner = way[1:] if way and key == way[0] else None
            is_around = inner is None and any(one[: len(here)] == here for one in around) and closing == "}"
            if is_around and text.char() != BAD:
                text.left_out += _note(around, here, _value(text))
            else:
                yield from _in_value(text, inner, around, here)
        before = char if char in {BAD, ","} else "value"
    text.at += 1


def _note(around: dict[Way, Any], place: Way, value: Any) -> int:
    """Note what a value has of the fields around records, in the order of the document; count its other scalars."""
    if place in around:
        del around[place]
        around[place] = value
        return 0
    if isinstance(value, dict):
        return sum([_note(around, (*place, key), inner) for key, inner in value.items()])
    return leaves(value)


def _check_goes_on(text: Text, *others: str) -> None:
    """Check that a document goes on behind what is bad in it: the rest may have gone with that."""
    if text.char() not in {",", "}", "]", BAD, *others}:
        raise _AbandonedError


def _value(text: Text) -> Any:
    """Return the value of JSON that begins here."""
    while True:
        with contextlib.suppress(ValueError, RecursionError):
            value, end = DECODER.raw_decode(text.text, text.at)
            if end < len(text.text) or text.text[end - 1] in '}]"' or not text.more():
                text.at = end
                return value
            continue
        if not text.more():
            refuse(text.text[text.at :])
