"""What is wrong with a record, in words: what was found, what was expected, and what to do about it."""

import re
from collections.abc import Sequence

from fanfold.faults import quoted, shortened, steps
from fanfold.native import Wrong
from fanfold.native.fields import type_of
from fanfold.native.tables import key_parts
from fanfold.schema.record import WORDS
from fanfold.spec.merge import Merge
from fanfold.spec.model import Spec
from fanfold.spec.paths import way_of, written
from fanfold.working_files import Excluded

MAX_FIELDS = 10_000
# The core names the limit; only Python knows it.
LIMIT = "input.max_record_bytes"
# What the core expects if one header alone has too many names.
TOO_MANY_COLUMNS = "no more columns than a run has fields"
FEWER_FIELDS = (
    "declare the fields that you need (input.fields, with input.schema: declared): _rescued then takes the others"
)
# The core shows the beginning of a value; this much is enough to recognize it.
VALUE = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\[^\x00-\x1f]){0,60}"?|[^\s",:\[\]{}]{1,60}')
LEAP_SECOND = re.compile(r"[T ]\d\d:\d\d:60")
KINDS = {b"{": "object", b"[": "array"}
CONTAINERS = {b"{": "an object", b"[": "an array"}


def in_words(wrong: Wrong, spec: Spec, excluded: Sequence[Excluded]) -> str:
    """Return the message for a bad record.

    Args:
        wrong: what the core says of it.
        spec: that of the run.
        excluded: what no good record has.
    """
    # Several forms of one field exclude each other by their kinds: that of the value that was found comes first.
    kind = KINDS.get(wrong.found[:1], "scalar")
    forms = sorted((one for one in excluded if one.code == wrong.code), key=lambda one: kind not in one.form.kinds)
    # A value where an array is expected may be an element by itself (denormalize.single).
    for inside in (False, True):
        for one in forms:
            if leads_to(wrong.pointer, one.form.path, inside=one.form.inside and not inside):
                # A record shows its value, not all that it might have been.
                return one.message.replace(f"found {WORDS['scalar']}", _found(wrong), 1)
    names = [step for step in steps(wrong.pointer) if not step.isdecimal()]
    if wrong.code == "no_match":
        message = _unmatched(wrong, spec)
    elif wrong.code == "too_many_fields":
        message = _crowded(wrong, names)
    elif wrong.code in {"wrong_type", "inexact"}:
        message = _of_type(wrong, written(names), spec)
    else:
        most = f"{spec.input.max_record_bytes:,} bytes ({LIMIT})"
        where = f" in the JSON of the text at {wrong.pointer!r} (input.parse)" if wrong.code == "bad_json_text" else ""
        message = f"{_found(wrong)}{where}, expected {wrong.expected.replace(LIMIT, most)}"
    return shortened(message)


def _of_type(wrong: Wrong, path: str, spec: Spec) -> str:
    """Say that the value of a field is not of its type."""
    declared = spec.input.fields.get(path)
    start = wrong.offset - wrong.record_offset
    whole = VALUE.match(wrong.raw, start) if wrong.raw[start:].startswith(wrong.found) else None
    shown = wrong._replace(found=whole[0]) if whole and len(whole[0]) > len(wrong.found) else wrong
    found = _found(shown)
    if wrong.found in CONTAINERS:
        found = f"found {CONTAINERS[wrong.found]}"
    found += f" in {path!r}" if path else ""
    expected = wrong.expected
    if declared == "VARCHAR":
        expected += " (VARCHAR): declare JSON to keep objects and arrays"
    elif declared:
        _, precision, scale = type_of(declared)
        digits = (
            f"of at most {precision - scale} digits before the point and {scale or 'none'} after it ({declared})"
            if precision > scale
            else f"of no digits before the point and at most {scale} after it ({declared})"
        )
        expected = expected.replace("(DECIMAL)", digits)
        if expected.startswith("a time ") and LEAP_SECOND.search(shown.found.decode(errors="replace")):
            expected += ", with seconds from 00 to 59; no time type holds a leap second: declare VARCHAR to keep it"
        if wrong.code == "inexact":
            expected += ": declare another type (input.fields)"
    return f"{found}, expected {expected}"


def _found(wrong: Wrong) -> str:
    return wrong.message.removesuffix(f", expected {wrong.expected}")


def _crowded(wrong: Wrong, names: list[str]) -> str:
    """Say that a header or a record has too many fields for the run, and what to do."""
    found, way = f"found {wrong.found.decode(errors='replace')}", FEWER_FIELDS
    if not wrong.record and wrong.expected == TOO_MANY_COLUMNS:
        return (
            f"found a header of more than {MAX_FIELDS:,} names, expected at most {MAX_FIELDS:,}: "
            "spread the columns over several files"
        )
    if not wrong.record:
        found = "found a header that takes the run above its limit"
    elif names[:-1]:
        way = f"if the keys there are data, declare input.fields {{{written(names[:-1])}: JSON}}"
    return f"{found}, expected at most {MAX_FIELDS:,} fields in all files of a run: {way}"


def _unmatched(wrong: Wrong, spec: Spec) -> str:
    """Say which key has no match in a reference, or which part of it is null or absent."""
    merge = reference_of(wrong, spec)
    if wrong.expected.startswith("a key"):
        found, keys = "nothing", [one for one in merge.record_keys if _is_at(wrong.pointer, way_of(one))]
    else:
        found, keys = key_text(merge, wrong.found), merge.record_keys
    place, index, rule = ", ".join(map(repr, keys)), spec.merge.index(merge), merge.on_missing
    return f"found {found} in {place}, expected a key of {merge.reference!r} (merge.{index}.on_missing: {rule})"


def _is_at(pointer: str, path: Sequence[str]) -> bool:
    return leads_to(pointer, path) or leads_to(pointer, path, inside=True)


def reference_of(wrong: Wrong, spec: Spec) -> Merge:
    """Return the reference that a record has no match in: the first one by which it is bad."""
    return spec.merge[int(wrong.expected.rpartition(" ")[2])]


def key_text(merge: Merge, key: bytes) -> str:
    """Return the key of a reference as messages show it: the text of each part."""
    parts = [key] if len(merge.record_keys) == 1 else key_parts(key)
    return ", ".join(quoted(part.decode(errors="replace")) for part in parts)


def leads_to(pointer: str, path: Sequence[str], *, inside: bool = False) -> bool:
    """Say whether a JSON pointer leads to a path, or to an element there; other indexes stand in the pointer alone."""
    names, is_element = list(path), False
    for step in steps(pointer):
        is_element = step.isdigit() and names[:1] != [step]
        if not is_element and (not names or names.pop(0) != step):
            return False
    return not names and is_element == inside
