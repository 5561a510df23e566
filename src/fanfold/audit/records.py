"""The same reader for all formats: the records of an original or a reference, in their order."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fanfold.audit.csv_records import LINE_ENDS, Csv, of_lines
from fanfold.audit.findings import refuse
from fanfold.audit.json_records import json_records
from fanfold.audit.originals import Ahead, Found, Text, as_utf8, opened
from fanfold.audit.parquet_records import parquet_rows
from fanfold.audit.values import json_value, text_of
from fanfold.input_formats import input_format, is_archive
from fanfold.manifest import BadRecord
from fanfold.spec.model import Input
from fanfold.spec.paths import Way, way_of

AROUND = "values around the records, in no table (see input.envelope)"


def records_of(
    path: Path, name: str, settings: Input, bad: Ahead[BadRecord], left_out: Counter[str]
) -> Iterator[Found]:
    """Yield the fields that a file of CSV or Parquet has, as a record of nulls, then its records in their order.

    Args:
        path: where the original lies.
        name: as it landed; the next ones of `bad` may be its own.
        settings: where its records are, and how large.
        bad: the records in quarantine; those of the file are passed over, by place and size.
        left_out: counts what is in no record, by the reason.

    Raises:
        ValueError: something is neither a good record nor one in quarantine: the file cannot be followed.
        UnreadableError: pyarrow cannot read it.
    """
    given, ways = given_by_path(settings, name), {way_of(path) for path in settings.parse}
    for number, (of, value) in enumerate(_found(path, name, settings, bad, left_out)):
        # What is bad may be so by such a text.
        record = parsed(value, ways) if ways and not of else value
        if of.record != number if of else not isinstance(record, dict):
            refuse(of or record)
        own = record if isinstance(record, dict) else {}
        others = [key for key in given if own.get(key) is not None and text_of(own[key]) != given[key]]
        if others and not of:
            refuse(own[others[0]], f"{given[others[0]]!r}, as the path says, or a record in quarantine")
        yield of, given | own | given if isinstance(record, dict) else None


def _found(path: Path, name: str, settings: Input, bad: Ahead[BadRecord], left_out: Counter[str]) -> Iterator[Found]:
    """Yield what a file has by itself."""
    if input_format(name) == "parquet":
        lines = ((None, row) for row in parquet_rows(path))
        for number, (_, record) in enumerate(of_lines(lines, has_header=True)):
            is_bad = bad.fill() and (bad[0].source, bad[0].record) == (name, number)
            yield bad.popleft() if is_bad else None, record
        return
    with opened(path) as packed, contextlib.closing(as_utf8(packed, settings.encoding)) as file:
        text = Text(file, 2 * settings.max_record_bytes, name, bad)
        if input_format(name) == "json":
            yield from json_records(text, settings)
            left_out[AROUND] += text.left_out
        else:
            csv = settings.csv
            # An empty field means null, too.
            dialect = Csv(csv.delimiter, csv.quote, ["", *csv.nulls])
            yield from of_lines(dialect.lines(text, LINE_ENDS, has_header=csv.header), has_header=csv.header)


def given_by_path(settings: Input, name: str) -> dict[str, Any]:
    """Return the fields that the folders of a path add to the records below them."""
    folders = [folder for folder in name.split("/")[:-1] if not is_archive(folder)]
    pairs = [folder.split("=", 1) for folder in folders if folder.find("=") > 0]
    given = {_of_url(key): None if text == "__HIVE_DEFAULT_PARTITION__" else _of_url(text) for key, text in pairs}
    return given if settings.path_columns else {}


def _of_url(text: str) -> str:
    with contextlib.suppress(UnicodeDecodeError):
        return unquote(text, errors="strict")
    return text


def parsed(value: Any, ways: set[Way], way: Way = (), depth: int = 0) -> Any:
    """Return a value with what its texts at some ways hold in their place: none in arrays of arrays, `depth` counts."""
    if isinstance(value, dict):
        return {key: parsed(inner, ways, (*way, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [parsed(inner, ways, way, depth + 1) for inner in value]
    is_text = type(value) is str and way in ways and depth <= 1
    return parsed(json_value(value), ways, way, depth=2) if is_text else value
