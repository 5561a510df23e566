"""What a person can do about bad records and files: see them, send them again, or say that they are not needed.

An item is named `<ts>/<n>:<k>` (the k-th line of the records.jsonl of subdirectory n) or `<ts>/<n>/<name>` (a file). It
is decided once, for good: the decision is a file in `.fanfold/quarantine`. What lies in quarantine is never changed.
"""

import csv
import fnmatch
import io
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from fanfold import durable, links, manifest
from fanfold.errors import DataError, MissingError, nearest
from fanfold.feed import archive, landing, runs
from fanfold.layout import COMPRESSIONS, Feed, Run, format_ts, input_format, parse_ts
from fanfold.manifest import BadFile, BadRecord, Manifest
from fanfold.records.content import windows
from fanfold.records.read import fields_of_csv


class Resolution(msgspec.Struct, frozen=True):
    """What was decided about an item: replayed, as the landed file `landed_as`, or discarded, for a `reason`."""

    item: str
    decision: Literal["replayed", "discarded"]
    landed_as: str | None = None
    reason: str | None = None


class Item(msgspec.Struct, frozen=True):
    """A bad record or file of a complete run. `state` is `open`, `replayed` or `discarded`."""

    item: str
    state: str
    bad: BadRecord | BadFile


def items(feed: Feed) -> Iterator[Item]:
    """Yield everything that is in quarantine, by run, subdirectory and place, the oldest first."""
    for ts in runs.complete(feed):
        yield from _items(feed, ts)


def _items(feed: Feed, ts: str) -> Iterator[Item]:
    if (run := runs.open_run(feed.data_dir, ts)) and (committed := manifest.read_if_there(run.commit_path, Manifest)):
        for n in sorted({file.subdir for file in committed.files}):
            for name, bad in _bad(run, committed, n):
                decision = manifest.read_if_there(_resolution_path(feed, name), Resolution)
                yield Item(name, decision.decision if decision else "open", bad)


def find(feed: Feed, name: str) -> Item:
    """Return one item.

    Raises:
        MissingError: there is none of this name.
    """
    known = {item.item: item for item in _items(feed, format_ts(parse_ts(name.split("/", maxsplit=1)[0])))}
    if name not in known:
        msg = f"{name!r} is nothing in quarantine, {nearest(name, list(known)[:1000])}"
        raise MissingError(msg)
    return known[name]


def replay(feed: Feed, item: Item, corrected: bytes | None = None) -> Resolution:
    """Land a bad record or file again, as it was or corrected: the next run takes it like any other file, once.

    The decision is on disk before the file is in landing. A second call completes a first one, and changes nothing
    else.

    Args:
        feed: the feed.
        item: what to land again.
        corrected: what to land in its place: a record of JSON, else a whole file of the format that it came in.

    Raises:
        DataError: it was discarded; its text was not kept; no pattern of the feed takes the file.
    """
    path, landed_as = _resolution_path(feed, item.item), _landed_as(item)
    packed = PurePosixPath(landed_as).suffix
    waiting = path.with_suffix(".landing" + (packed if packed in COMPRESSIONS else ""))
    _check_places(feed, path, feed.landing_dir / landed_as)
    decision = manifest.read_if_there(path, Resolution)
    if decision is None:
        if not any(fnmatch.fnmatchcase(PurePosixPath(landed_as).name, wanted) for wanted in feed.spec.input.patterns):
            msg = (
                f"{landed_as!r} is taken by none of input.patterns: land the corrected file yourself, and discard this"
            )
            raise DataError(msg)
        durable.write(waiting, _content(feed, item, corrected))
        decision = Resolution(item.item, "replayed", landed_as)
        durable.write(path, manifest.encode(decision))
    if decision.landed_as is None:
        msg = f"{item.item!r} was discarded, expected an item that is open"
        raise DataError(msg)
    landed = feed.landing_dir / decision.landed_as
    archive.land(waiting, landed)
    if (marker := feed.marker(landed.name)) and landed.exists():
        durable.write(landed.with_name(marker), b"")
    return decision


def discard(feed: Feed, item: Item, reason: str | None = None) -> Resolution:
    """Decide that a bad record or file is not needed. It stays where it is; a second call changes nothing.

    Raises:
        DataError: it was replayed.
    """
    path = _resolution_path(feed, item.item)
    _check_places(feed, path)
    decision = manifest.read_if_there(path, Resolution)
    if decision is None:
        decision = Resolution(item.item, "discarded", reason=reason)
        durable.write(path, manifest.encode(decision))
    if decision.decision != "discarded":
        msg = f"{item.item!r} was replayed as {decision.landed_as!r}, expected an item that is open"
        raise DataError(msg)
    return decision


def replays(feed: Feed) -> dict[str, str]:
    """Return which item each file is that was landed again, by its name in landing."""
    found = {}
    for path in feed.resolutions_dir.rglob("*.json"):
        decision = manifest.read(path, Resolution)
        if decision.landed_as:
            found[decision.landed_as] = decision.item
    return found


def _bad(run: Run, committed: Manifest, n: int) -> Iterator[tuple[str, BadRecord | BadFile]]:
    for file in committed.files:
        if file.code and file.subdir == n:
            reason = run.feed.data_dir / run.group(n).reason_name(file.name)
            yield f"{run.ts}/{n}/{file.name}", manifest.read(reason, BadFile)
    if listed := committed.quarantined.get(str(n)):
        with (run.feed.data_dir / listed.path).open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield f"{run.ts}/{n}:{number}", msgspec.json.decode(line, type=BadRecord)


def _check_places(feed: Feed, *paths: Path) -> None:
    directories = [path.parent for path in paths]
    links.check_inside(directories, feed.folders)
    landing.check_writable(directories)


def _resolution_path(feed: Feed, item: str) -> Path:
    ts, n, name = re.split("[/:]", item, maxsplit=2)
    kind = "files" if item.startswith(f"{ts}/{n}/") else "records"
    return feed.resolutions_dir / ts / n / kind / f"{name}.json"


def _landed_as(item: Item) -> str:
    place, name = f"replay/{item.item.replace(':', '/')}", PurePosixPath(item.bad.file)
    if isinstance(item.bad, BadFile):
        return place
    plain = PurePosixPath(name.stem) if name.suffix in COMPRESSIONS else PurePosixPath(name.name)
    return f"{place}/{plain}" + (".json" if input_format(name.name) == "parquet" else "")


def _content(feed: Feed, item: Item, corrected: bytes | None) -> bytes:
    bad, (ts, n) = item.bad, re.split("[/:]", item.item)[:2]
    run, committed = runs.open_complete(feed, ts)
    if isinstance(bad, BadFile):
        return corrected or (feed.data_dir / run.group(int(n)).quarantined_name(bad.file)).read_bytes()
    content = corrected if corrected is not None else _text(feed, committed, bad)
    if not content:
        msg = f"{item.item!r} has no text ({bad.code}), expected the corrected one (--with)"
        raise DataError(msg)
    if input_format(bad.file) == "csv" and corrected is None:
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(fields_of_csv(_archived(feed, committed, bad)))
        return header.getvalue().encode() + content.rstrip(b"\r\n") + b"\n"
    return _wrapped(content, run) if input_format(bad.file) == "json" else content


def _text(feed: Feed, committed: Manifest, bad: BadRecord) -> bytes:
    """Return the bytes of a bad record as they lie in its original; a row of Parquet has been made JSON."""
    if not bad.size:
        return (bad.raw or "").encode()
    found, at, end = bytearray(), 0, bad.record_offset + bad.size
    for window in windows(_archived(feed, committed, bad), lambda _: None):
        found += window[max(0, bad.record_offset - at) : max(0, end - at)]
        at += len(window)
        if at >= end:
            break
    return bytes(found)


def _archived(feed: Feed, committed: Manifest, bad: BadRecord) -> str:
    (original,) = (file for file in committed.files if file.name == bad.file)
    return feed.place(original.archived_as)


def _wrapped(record: bytes, run: Run) -> bytes:
    """Put a record where `input.records_at` looks for it: into an array, inside of objects."""
    tokens = run.feed.spec.input.records_at.split("/")[1:]
    wrapped = b"[%s]" % record if tokens else record
    for token in reversed(tokens):
        wrapped = b"{%s:%s}" % (msgspec.json.encode(token.replace("~1", "/").replace("~0", "~")), wrapped)
    return wrapped
