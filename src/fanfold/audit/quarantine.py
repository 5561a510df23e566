"""The bad records in quarantine: is anything really wrong with them?"""

import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from fanfold.audit.findings import Audit
from fanfold.audit.originals import Ahead
from fanfold.audit.parquet_records import UnreadableError
from fanfold.audit.records import given_by_path, parsed, records_of
from fanfold.audit.values import MOMENTS, OF_TABLES, Num, Unknown, leaves, steps_of, text_of, value_at, written_as
from fanfold.input_formats import input_format
from fanfold.layout import Run
from fanfold.manifest import BadRecord, Published
from fanfold.spec.model import Spec
from fanfold.spec.paths import way_of, written

# With these codes, a record that can be read is in quarantine by mistake.
OF_JSON = "syntax nan trailing_comma duplicate_key lone_surrogate bad_utf8 wrong_encoding control_character"
OF_CSV, OF_PARQUET = "ragged_line bad_quote bad_utf8 wrong_encoding", "bad_utf8 duplicate_key"
UNREADABLE = {"json": {*OF_JSON.split()}, "csv": {*OF_CSV.split()}, "parquet": {*OF_PARQUET.split()}}
# What else can be wrong with a record that cannot be read.
OF_TEXT = (
    "truncated trailing_garbage not_an_object wrong_type too_deep record_too_large too_many_values pointer_not_found"
)


def bad_records(run: Run, listed: Published | None, found: Audit) -> Iterator[BadRecord]:
    """Yield the records that a subdirectory has in quarantine, and count them."""
    if not listed:
        return
    number = 0
    try:
        with (run.feed.data_dir / listed.path).open("rb") as lines:
            for line in lines:
                yield BadRecord(**json.loads(line))
                number += 1
    except (FileNotFoundError, ValueError, TypeError) as error:
        found.add("changed", (listed.path, 0), f"it cannot be read: {error}")
    found.check(listed.path, number, listed.rows)


def check_bad(bad: BadRecord, record: Any, lacking: Collection[str], spec: Spec, found: Audit) -> None:
    """Check that a record is in quarantine for a reason; None: it cannot be read, which is one."""
    unreadable, place = UNREADABLE[input_format(bad.source)], (bad.source, bad.record)
    is_json, is_wrong = False, None
    if input_format(bad.source) == "parquet" and (bad.raw or bad.raw_base64):
        _check_text(bad, record, spec, found)
    with contextlib.suppress(ValueError):
        record, is_json = parsed(record, {way_of(path) for path in spec.input.parse}), True
    found.scalars += max(1, leaves(record))
    if record is None:
        is_wrong = False
        if bad.code not in unreadable | {*OF_TEXT.split()}:
            found.add("changed", place, f"it cannot be bad as {bad.code}")
    elif bad.code in unreadable:
        is_wrong = True
    elif bad.code == "bad_json_text":
        is_wrong = is_json
    elif bad.code == "no_match":
        is_wrong = all(merge.on_missing == "keep" for merge in spec.merge if merge.into in lacking)
    elif bad.code in {"wrong_type", "inexact"}:
        is_wrong = _is_held(bad, record, spec)
    found.not_audited[f"reasons of bad records ({bad.code})"] += is_wrong is None
    if is_wrong:
        found.add("extra", place, f"it is in quarantine as {bad.code}, but nothing is wrong with it")


def _check_text(bad: BadRecord, record: Any, spec: Spec, found: Audit) -> None:
    """Compare the text that is kept of a row of Parquet with the row, as far as that can be read."""
    kept, given = None, given_by_path(spec.input, bad.source)
    if record is None or Unknown.MARK in repr(record):
        found.not_audited["texts of bad Parquet records"] += 1
        return
    with contextlib.suppress(ValueError, RecursionError):
        kept = OF_TABLES.decode(bad.raw or "")
    if not isinstance(kept, dict) or repr(given | kept | given) != repr(record):
        found.add("changed", (bad.source, bad.record), f"found {bad.raw!r:.80} in quarantine, expected {record!r:.80}")


def _is_held(bad: BadRecord, record: Any, spec: Spec) -> bool | None:
    """Say whether the declared type of a field holds the value that is said to be bad; None where it has none."""
    steps = steps_of(bad.pointer)
    kind = spec.input.fields.get(written(step for step in steps if not step.isdecimal()))
    if not kind:
        return None
    value = value_at(record, steps)
    # A number is not a date, whatever its digits are.
    text = None if kind in MOMENTS and type(value) is Num else text_of(value)
    return text is not None and (kind in {"VARCHAR", "JSON"} or written_as(kind, text) is not None)


def check_unreadable(code: str | None, path: Path, name: str, spec: Spec, found: Audit) -> None:
    """See whether a file, or a member, that is bad as a whole can be read after all."""
    if code in UNREADABLE[input_format(name)]:
        with contextlib.suppress(ValueError, UnreadableError):
            if len([*islice(records_of(path, name, spec.input, Ahead(), Counter()), 2)]) > 1:
                found.add("extra", (name, 1), f"it can be read, but is in quarantine as {code}")
