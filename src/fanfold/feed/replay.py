"""A bad record or file is landed again, as it was or corrected: the next run takes it like any other file, once."""

import codecs
import contextlib
import csv
import functools
import hashlib
import io
import itertools
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from fanfold import documents, durable, mirrors
from fanfold.errors import DataError, count
from fanfold.faults import UnreadableError, steps
from fanfold.feed import access, runs, store
from fanfold.feed.quarantine import Item, Resolution, resolution_path, waiting_path
from fanfold.input_formats import compression, input_format, taken_by
from fanfold.layout import Feed, Run
from fanfold.manifest import BadFile, BadRecord, Manifest
from fanfold.path_columns import path_columns
from fanfold.records.content import windows
from fanfold.records.encodings import as_it_was, as_utf8
from fanfold.records.envelope import document_of, envelope_at, taken_out
from fanfold.records.header import fields_of_csv
from fanfold.records.members import Member, members
from fanfold.spec.paths import Way, way_of

# An item, what to land in its place (None: what it was), and how messages name it.
Wanted = tuple[Item, bytes | None, str]
AT_ONCE = 1000

log = logging.getLogger(__name__)


def replay(feed: Feed, item: Item, corrected: bytes | None = None) -> Resolution:
    """Land one bad record or file again, as `replay_all` does."""
    (decision,) = replay_all(feed, [(item, corrected, repr(item.item))])
    return decision


def replay_all(feed: Feed, wanted: Sequence[Wanted], *, is_bulk: bool = False) -> list[Resolution]:
    """Land bad records or files again.

    All are checked before the first is written. The decision about each is on disk before its file is in landing. A
    second call completes a first one, and changes nothing else.

    Args:
        feed: the feed.
        wanted: what to land again; what to land in its place, if that is corrected: a record of JSON, else a whole file
            of the format that it came in; and how messages name it.
        is_bulk: whether items without a text are passed over, named and counted in the log.

    Returns:
        The decisions, in the same order.

    Raises:
        DataError: an item was discarded, or replayed with another text; it has no text; no pattern of the feed takes
            the file.
    """
    folders = {path.parent for item, _, _ in wanted for path in _paths(feed, item)}
    access.check_targets(folders, feed.folders)
    landed, done = list[Wanted](), list[Resolution]()
    for one in wanted:
        if textless := _check(feed, *one):
            if not is_bulk:
                raise DataError(textless)
            log.warning("%s: it is passed over", textless)
        else:
            landed.append(one)
    if len(landed) < len(wanted):
        log.warning("%s passed over", count(len(wanted) - len(landed), "item"))
    for at in range(0, len(landed), AT_ONCE):
        done += _land(feed, landed[at : at + AT_ONCE])
    return done


def _check(feed: Feed, item: Item, corrected: bytes | None, place: str) -> str | None:
    """Check that an item can be landed with this text, or was; what was decided before is completed all the same.

    Returns:
        What is to be said of an item that has no text.

    Raises:
        DataError: as `replay_all`, but for that.
    """
    path, _, landed = _paths(feed, item)
    decision = documents.read_if_there(path, Resolution)
    if decision is None:
        if not taken_by(feed.spec.input.patterns).match(landed.name):
            msg = f"{place}: {_landed_as(feed, item)!r} matches none of input.patterns"
            msg += ": land the corrected file yourself, and discard this"
            raise DataError(msg)
        if not _content(feed, item, corrected):
            return f"{place} has no text ({item.bad.code}), expected the corrected one (--with)"
    elif decision.landed_as is None:
        msg = f"{place}: {item.item!r} was discarded, expected an item that is open"
        raise DataError(msg)
    elif corrected is not None:
        _land(feed, [(item, None, place)])
        landed = feed.landing_dir / decision.landed_as
        mirrors.look_at([str(landed)])
        before = decision.sha256 or (durable.sha256(landed) if landed.exists() else None)
        if before not in {None, hashlib.sha256(_content(feed, item, corrected)).hexdigest()}:
            where = "and waits in landing as" if landed.exists() else "as"
            msg = f"{place}: {item.item!r} was replayed before, with another text, {where} {decision.landed_as!r}"
            raise DataError(msg + (": correct that file there" if landed.exists() else ""))
    return None


def _land(feed: Feed, wanted: Sequence[Wanted]) -> list[Resolution]:
    """Decide what is not decided, then put into landing what waits to be there."""
    contents, decisions = dict[Path, bytes](), dict[Path, bytes]()
    for item, corrected, _ in wanted:
        path, waiting, _ = _paths(feed, item)
        if not path.exists():
            contents[waiting] = content = _content(feed, item, corrected)
            sha256 = hashlib.sha256(content).hexdigest()
            decisions[path] = documents.encode(Resolution(item.item, "replayed", _landed_as(feed, item), sha256=sha256))
    durable.write_all(contents)
    durable.write_all(decisions)
    moves, done = dict[str, str](), list[Resolution]()
    for item, _, _ in wanted:
        path, waiting, _ = _paths(feed, item)
        done.append(documents.read(path, Resolution))
        landed_as = done[-1].landed_as or ""
        if waiting not in contents and waiting.exists() and _is_taken(feed, landed_as):
            durable.remove(waiting)
        elif os.path.lexists(waiting):
            moves[str(waiting)] = str(feed.landing_dir / landed_as)
    # The marker first: a file that is in landing may be claimed.
    markers = [Path(landed).with_name(name) for landed in moves.values() if (name := feed.marker(Path(landed).name))]
    durable.write_all(dict.fromkeys(markers, b""))
    store.of(feed).land(moves)
    return done


def _is_taken(feed: Feed, landed_as: str) -> bool:
    """Say whether a run has a file that still waits: nothing is renamed in a bucket, so it may be landed, and wait."""
    begun = (runs.open_run(feed.data_dir, ts) for ts in runs.unfinished(feed))
    if any(landed_as in names for run in begun if run for names in runs.staged_names(run).values()):
        return True
    return any(file.name == landed_as for ts in runs.complete(feed) for file in _opened(feed, ts)[1].files)


def _paths(feed: Feed, item: Item) -> tuple[Path, Path, Path]:
    """Return where the decision about an item is, where what is landed waits for it, and where in landing that goes."""
    path, landed_as = resolution_path(feed, item.item), _landed_as(feed, item)
    return path, waiting_path(path, landed_as), feed.landing_dir / landed_as


def _landed_as(feed: Feed, item: Item) -> str:
    place = f"replay/{item.item.replace(':', '/')}"
    if isinstance(item.bad, BadFile):
        return place
    path = PurePosixPath(item.bad.source)
    # What its path gave to a record, it gives it again.
    named = [folder for folder in path.parts[:-1] if path_columns(feed.spec.input, f"{folder}/")]
    place = "/".join([place, *named])
    # Of a member, nothing leads elsewhere.
    name = PurePosixPath(path.name.lstrip("."))
    plain = name.stem if compression(name.name) else name.name
    # A row of Parquet was made JSON.
    return f"{place}/{plain}" + (".json" if item.bad.record and input_format(name.name) == "parquet" else "")


def _content(feed: Feed, item: Item, corrected: bytes | None) -> bytes:
    bad, (ts, n) = item.bad, re.split("[/:]", item.item)[:2]
    run, committed = _opened(feed, ts)
    if isinstance(bad, BadFile):
        return corrected or (feed.data_dir / run.group(int(n)).quarantined_name(bad.file)).read_bytes()
    settings, kind = run.feed.spec.input, input_format(bad.source)
    if corrected is None and kind == "csv" and bad.code == "truncated" and not bad.pointer:
        # What a file that is cut short ends in may look like a whole line.
        return b""
    if not bad.record:
        # It stands for a member of an archive: for the file that it is.
        return _member(feed, committed, bad) if corrected is None else corrected
    # What comes from the original is landed in its bytes, whatever the spec says of them now.
    encoding = settings.encoding if corrected is None and kind != "parquet" else feed.spec.input.encoding
    if corrected is None:
        content = _text(feed, committed, bad, settings.encoding)
    else:
        content = _decoded(corrected, encoding) if kind != "csv" else corrected
    match kind if content else None:
        case "csv":
            return content if corrected is not None else with_header(feed, item, content, encoding)
        case "json" | "parquet":
            # A row of Parquet becomes a file of JSON as they are now.
            read_by = settings if kind == "json" else feed.spec.input
            around, keys = dict[Way, msgspec.Raw](), steps(read_by.records_at)
            for way in map(way_of, read_by.envelope if kind == "parquet" else ()):
                content, value = taken_out(content, way)
                around |= {way: value} if value else {}
            if settings.envelope and kind == "json":
                with _place(feed, committed, bad.file, bad.member) as found:
                    around = envelope_at(found.path, settings, bad.record_offset)
            content = msgspec.json.encode(document_of(keys, content, around)) if keys else content
    return as_it_was(content, encoding)


def _decoded(corrected: bytes, encoding: str) -> bytes:
    """Return a corrected text as UTF-8, without a byte order mark."""
    try:
        return b"".join(as_utf8(iter([corrected]), encoding)).removeprefix(codecs.BOM_UTF8)
    except UnreadableError as error:
        msg = f"the corrected text: {error}"
        raise DataError(msg) from None


# Many items of one run are replayed together; what is complete does not change.
@functools.lru_cache(4)
def _opened(feed: Feed, ts: str) -> tuple[Run, Manifest]:
    return runs.open_complete(feed, ts)


@functools.lru_cache(64)
def _header(feed: Feed, ts: str, file: str, member: str | None) -> bytes:
    """Return the header of an original, as UTF-8; nothing where its files have none."""
    run, committed = _opened(feed, ts)
    read_by, header = run.feed.spec.input, io.StringIO()
    quote = read_by.csv.quote
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    if read_by.csv.header:
        written = csv.writer(
            header, delimiter=read_by.csv.delimiter, quotechar=quote or None, quoting=quoting, lineterminator="\n"
        )
        with _place(feed, committed, file, member) as found:
            written.writerow(fields_of_csv(found.path, read_by))
    return header.getvalue().encode()


def with_header(feed: Feed, item: Item, line: bytes, encoding: str) -> bytes:
    """Return a line of CSV, which is UTF-8, as a file in an encoding: behind the header of the file that it is from."""
    member = item.bad.member if isinstance(item.bad, BadRecord) else None
    header = _header(feed, item.item.partition("/")[0], item.bad.file, member)
    return as_it_was(header + line.rstrip(b"\r\n") + b"\n", encoding)


def is_whole(bad: BadRecord) -> bool:
    """Say whether quarantine has the whole text of a record."""
    return bad.raw is not None and len(bad.raw.encode()) == (bad.size or len(bad.raw.encode()))


def _text(feed: Feed, committed: Manifest, bad: BadRecord, encoding: str) -> bytes:
    """Return a bad record as it lies in its original, as UTF-8; a row of Parquet is made JSON."""
    if is_whole(bad):
        return (bad.raw or "").encode()
    found, at, end = bytearray(), 0, bad.record_offset + bad.size
    with _place(feed, committed, bad.file, bad.member) as place:
        if input_format(bad.source) == "parquet":
            from fanfold import parquet

            rows = (row for window in parquet.windows(Path(place.path)) for row in window.splitlines())
            # What is not UTF-8 cannot be a file of JSON.
            return next(itertools.islice(rows, bad.record - 1, None), b"") if bad.code != "bad_utf8" else b""
        for window in windows(place.path, len, encoding):
            found += window[max(0, bad.record_offset - at) : max(0, end - at)]
            at += len(window)
            if at >= end:
                break
    return bytes(found)


def _member(feed: Feed, committed: Manifest, bad: BadRecord) -> bytes:
    """Return all of a member of an archive, decompressed; nothing where it cannot be unpacked."""
    with _place(feed, committed, bad.file, bad.member) as found:
        # Half a line of CSV would be landed as a whole one.
        is_half = found.fault is not None and input_format(bad.source) == "csv"
        return Path(found.path).read_bytes() if bad.member and found.path and not is_half else b""


@contextlib.contextmanager
def _place(feed: Feed, committed: Manifest, file: str, member: str | None) -> Iterator[Member]:
    """Say where an original lies; a member of an archive lies there for as long as this lasts."""
    (original,) = (one for one in committed.files if one.name == file)
    path = feed.place(original.archived_as)
    if not member:
        yield Member("", path)
        return
    with contextlib.closing(members(path, feed.data_dir, member.__eq__)) as found:
        yield next((one for one in found if one.name == member), Member(member))
