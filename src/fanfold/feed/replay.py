"""A bad record or file is landed again, as it was or corrected: the next run takes it like any other file, once."""

import codecs
import csv
import io
import os
import re
from pathlib import PurePosixPath
from typing import Literal

import msgspec

from fanfold import durable, manifest
from fanfold.errors import DataError
from fanfold.faults import UnreadableError, steps
from fanfold.feed import access, archive, runs
from fanfold.feed.landing import taken_by
from fanfold.feed.quarantine import Item, Resolution, resolution_path
from fanfold.formats import compression, input_format
from fanfold.landed import path_columns
from fanfold.layout import Feed
from fanfold.manifest import BadFile, BadRecord, Manifest
from fanfold.records.content import windows
from fanfold.records.encodings import as_it_was, as_utf8
from fanfold.records.envelope import document_of, envelope_at
from fanfold.records.read import fields_of_csv
from fanfold.spec.model import Input
from fanfold.spec.paths import Way


def replay(feed: Feed, item: Item, corrected: bytes | None = None) -> Resolution:
    """Land a bad record or file again.

    The decision is on disk before the file is in landing. A second call completes a first one, and changes nothing
    else.

    Args:
        feed: the feed.
        item: what to land again.
        corrected: what to land in its place: a record of JSON, else a whole file of the format that it came in.

    Raises:
        DataError: it was discarded, or replayed with another text; its text was not kept; no pattern of the feed takes
            the file.
    """
    path, landed_as = resolution_path(feed, item.item), PurePosixPath(_landed_as(feed, item))
    # With the same suffix of compression, it moves as it is.
    waiting = path.with_suffix(f".landing{compression(landed_as.name)}")
    access.check_targets([path.parent, (feed.landing_dir / landed_as).parent], feed.folders)
    decision = manifest.read_if_there(path, Resolution)
    is_first = decision is None
    if decision is None:
        if not taken_by(feed.spec.input.patterns).match(landed_as.name):
            msg = f"{str(landed_as)!r} is taken by none of input.patterns"
            msg += ": land the corrected file yourself, and discard this"
            raise DataError(msg)
        durable.write(waiting, _content(feed, item, corrected))
        decision = Resolution(item.item, "replayed", str(landed_as))
        durable.write(path, manifest.encode(decision))
    if decision.landed_as is None:
        msg = f"{item.item!r} was discarded, expected an item that is open"
        raise DataError(msg)
    landed = feed.landing_dir / decision.landed_as
    if os.path.lexists(waiting):
        archive.archive({str(waiting): str(landed)})
    if (marker := feed.marker(landed.name)) and landed.exists():
        durable.write(landed.with_name(marker), b"")
    is_late = not is_first and corrected is not None and landed.exists()
    if is_late and landed.read_bytes() != _content(feed, item, corrected):
        msg = f"{item.item!r} was replayed before, with another text, and waits in landing as "
        msg += f"{decision.landed_as!r}: correct that file there"
        raise DataError(msg)
    return decision


def _landed_as(feed: Feed, item: Item) -> str:
    place, name = f"replay/{item.item.replace(':', '/')}", PurePosixPath(item.bad.file)
    if isinstance(item.bad, BadFile):
        return place
    # What its path gave to a record, it gives it again.
    named = [folder for folder in name.parts[:-1] if path_columns(feed.spec.input, f"{folder}/")]
    place = "/".join([place, *named])
    plain = name.stem if compression(name.name) else name.name
    # A row of Parquet was made JSON.
    return f"{place}/{plain}" + (".json" if input_format(name.name) == "parquet" else "")


def _content(feed: Feed, item: Item, corrected: bytes | None) -> bytes:
    bad, (ts, n) = item.bad, re.split("[/:]", item.item)[:2]
    run, committed = runs.open_complete(feed, ts)
    if isinstance(bad, BadFile):
        return corrected or (feed.data_dir / run.group(int(n)).quarantined_name(bad.file)).read_bytes()
    settings, kind = run.feed.spec.input, input_format(bad.file)
    # What comes from the original is landed in its bytes, whatever the spec says of them now.
    encoding = settings.encoding if corrected is None and kind != "parquet" else feed.spec.input.encoding
    content = corrected or b""
    if corrected is None:
        content = _text(feed, committed, bad, settings.encoding)
    elif kind != "csv":
        content = _decoded(corrected, encoding)
    if not content:
        msg = f"{item.item!r} has no text ({bad.code}), expected the corrected one (--with)"
        raise DataError(msg)
    match kind:
        case "csv" if corrected is None:
            content = _header(_archived_path(feed, committed, bad), settings) + content.rstrip(b"\r\n") + b"\n"
        case "csv":
            return content
        case "json":
            around, keys = dict[Way, msgspec.Raw](), steps(settings.records_at)
            if settings.envelope:
                around = envelope_at(_archived_path(feed, committed, bad), settings, bad.record_offset)
            content = msgspec.json.encode(document_of(keys, content, around)) if keys else content
    return as_it_was(content, encoding)


def _decoded(corrected: bytes, encoding: str) -> bytes:
    """Return a corrected text as UTF-8, without a byte order mark."""
    try:
        return b"".join(as_utf8(iter([corrected]), encoding)).removeprefix(codecs.BOM_UTF8)
    except UnreadableError as error:
        msg = f"the corrected text: {error}"
        raise DataError(msg) from None


def _header(path: str, settings: Input) -> bytes:
    """Return the header of an original; nothing where its files have none."""
    header, quote = io.StringIO(), settings.csv.quote
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    if settings.csv.header:
        written = csv.writer(
            header, delimiter=settings.csv.delimiter, quotechar=quote or None, quoting=quoting, lineterminator="\n"
        )
        written.writerow(fields_of_csv(path, settings))
    return header.getvalue().encode()


def _text(feed: Feed, committed: Manifest, bad: BadRecord, encoding: str) -> bytes:
    """Return a bad record as it lies in its original, as UTF-8; a row of Parquet has been made JSON."""
    if not bad.size:
        return (bad.raw or "").encode()
    found, at, end = bytearray(), 0, bad.record_offset + bad.size
    for window in windows(_archived_path(feed, committed, bad), lambda _: None, encoding):
        found += window[max(0, bad.record_offset - at) : max(0, end - at)]
        at += len(window)
        if at >= end:
            break
    return bytes(found)


def _archived_path(feed: Feed, committed: Manifest, bad: BadRecord) -> str:
    (original,) = (file for file in committed.files if file.name == bad.file)
    return feed.place(original.archived_as)
