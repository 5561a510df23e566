"""Files of several records, with a few changes; and whether the auditor finds the same good records in them."""

import base64
import io
import json
import random
from typing import Any

from fanfold.audit.json_records import json_records
from fanfold.audit.originals import Ahead, Text
from fanfold.manifest import BadRecord
from fanfold.native import Wrong
from fanfold.spec.model import Input
from tests.core import LARGE, read_json

AT = "/o"
# A record may have brackets in its texts, and records in its arrays.
RECORDS = ('{"id":"1","t":"x{,\\"}]"}', '{"id": "2", "n": [{"id": "a"}, {"a": 1}]}', '{"id":"3","n":{"a":[[1],null]}}')
# A place for each record, in files whose records stand alone, and in documents.
FORMS = {
    "lines": "%s\n%s\n%s\n",
    "compact array": "[%s,%s,%s]",
    "array of lines": "[\n%s,\n%s,\n%s\n]\n",
    "lines, then an array": "%s\n[%s, %s]\n",
    "array, then lines": "[%s]\n%s\n%s",
    "arrays": "[%s,%s]\n[%s]\n",
}
DOCUMENTS = {
    "a document": '{"m":1,"o":[%s, %s,%s],"z":[{"id":"9"}]}',
    "documents": '{"m":1,"o":[%s]}\n{"m":2,"o":[%s,%s]}\n',
    "documents of lines": '{"m":{"a":1},"o":[\n%s,\n%s\n]}\n{"m":2,"o":[\n%s\n],"z":1}\n',
}
ALL = [*((form, "") for form in FORMS.values()), *((form, AT) for form in DOCUMENTS.values())]
WORDS = (
    *'{}[],:"\\\n x5',
    "null",
    "NaN",
    '{"id":',
    '"o":',
    "[{",
    "}]",
    "//c ",
    "\n{",
    "\n[",
    '{"o":[',
    ",\n",
    "01",
    "",
)


def changed(drawn: random.Random) -> tuple[str, str]:
    """Return a file with a few changes, and where its records are."""
    form, records_at = drawn.choice(ALL)
    text = form % tuple(drawn.sample(RECORDS, len(RECORDS)))
    for _ in range(drawn.randrange(1, 4)):
        at, size = drawn.randrange(len(text) + 1), drawn.choice((0, 0, 0, 1, 1, 2, 8))
        text = text[:at] + drawn.choice(WORDS) + text[at + size :]
    return text, records_at


def in_quarantine(wrong: Wrong) -> BadRecord:
    """Return a bad record as it is written down."""
    raw, raw_base64 = wrong.raw.decode(errors="replace") or None, None
    if raw and raw.encode() != wrong.raw:
        raw, raw_base64 = None, base64.b64encode(wrong.raw).decode()
    places = (wrong.record, wrong.line, wrong.offset, wrong.record_line, wrong.record_offset)
    return BadRecord("f", *places, wrong.pointer, wrong.code, "", wrong.size, raw, raw_base64)


def audited(text: str, records_at: str, wrong: list[Wrong]) -> list[Any]:
    """Return the good records that the auditor finds between the bad ones."""
    file = Text(io.BytesIO(text.encode()), LARGE, "f", Ahead(map(in_quarantine, wrong)))
    found = json_records(file, Input(records_at=records_at))
    return [record for bad, record in found if bad is None][1:]


def differs(text: str, records_at: str) -> str:
    """Say how the auditor, which has no rules for what is bad, finds other good records than the core; else nothing."""
    read = read_json(text.encode(), records_at=records_at)
    if any(not one.record for one in read.wrong):
        return ""
    try:
        found = audited(text, records_at, read.wrong)
    except ValueError as refused:
        return f"the auditor cannot follow {text!r}: {refused}"
    is_same = json.dumps(found) == json.dumps(read.values)
    return "" if is_same else f"the auditor finds {found} in {text!r}, the core {read.values}"
