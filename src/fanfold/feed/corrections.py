"""Many bad records at once: exported for somebody to correct, and landed again from the corrected file.

A line of JSON for each item: its id, what is wrong with it, and its `record` or, where that is not JSON, its `raw`
text. What quarantine does not have whole has neither: it is landed as it was, unless one of them is added.
"""

import codecs
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from fanfold.errors import DataError, MissingError
from fanfold.feed import quarantine, replay
from fanfold.feed.quarantine import Item, Resolution
from fanfold.input_formats import input_format
from fanfold.layout import Feed
from fanfold.manifest import BadRecord
from fanfold.records.encodings import as_it_was

NOTHING = msgspec.Raw()


class Correction(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An item, and the text that is landed in its place. `file`, `line`, `code` and `message` are for information only.

    `record` is JSON. `raw` is any text: for a record of CSV its line without the header, for a bad file the whole file.
    """

    item: str
    file: str = ""
    line: int | None = None
    code: str = ""
    message: str = ""
    record: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    raw: str | None = None


def export(feed: Feed, codes: Collection[str] = ()) -> Iterator[Correction]:
    """Yield a line for each open item, the oldest first; with `codes`, only for those codes. Nothing is changed."""
    for item in quarantine.opened(feed, codes):
        bad, record = item.bad, None
        text = bad.raw if isinstance(bad, BadRecord) and replay.is_whole(bad) else None
        if text is not None and input_format(bad.source) != "csv":
            record = _as_json(text)
        found = Correction(item.item, bad.source, bad.line, bad.code, bad.message)
        yield msgspec.structs.replace(found, **({"record": record} if record else {"raw": text}))


def _as_json(text: str) -> msgspec.Raw | None:
    """Return an object on one line, its numbers and texts as they are; None where the text is not one."""
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return msgspec.Raw(msgspec.json.format(text.encode(), indent=-1))
    except (ValueError, RecursionError):
        return None


def replay_file(feed: Feed, path: Path) -> list[Resolution]:
    """Land what a file corrects: lines of JSON as `export` writes them, or one array of such objects.

    All lines are checked before anything is written. A second call completes a first one, and lands nothing twice.

    Raises:
        DataError: a line is not such an object, names an item twice or one that was decided otherwise, or cannot be
            landed. An item without a text is passed over, and named in the log.
        MissingError: an item is not in quarantine.
    """
    corrections = dict(_read(path))
    items, wanted = quarantine.find_all(feed, [correction.item for correction in corrections.values()]), []
    for place, correction in corrections.items():
        item = items.get(correction.item)
        if item is None:
            msg = f"{place}: {correction.item!r} is not in quarantine, expected an item as export writes it"
            raise MissingError(msg)
        wanted.append((item, _corrected(feed, item, correction, place), place))
    return replay.replay_all(feed, wanted, is_bulk=True)


def _read(path: Path) -> Iterator[tuple[str, Correction]]:
    content, places = path.read_bytes().removeprefix(codecs.BOM_UTF8), dict[str, str]()
    number, is_array = 0, content.lstrip().startswith(b"[")
    place = f"{str(path)!r}"
    try:
        lines = msgspec.json.decode(content, type=list[msgspec.Raw]) if is_array else content.splitlines()
        for number, line in enumerate(lines, start=1):
            place = f"{path}[{number - 1}]" if is_array else f"{path}:{number}"
            if not bytes(line).strip():
                continue
            correction = msgspec.json.decode(line, type=Correction)
            if correction.item in places:
                msg = f"{place}: {correction.item!r} is in {places[correction.item]}, too, expected each item once"
                raise DataError(msg)
            places[correction.item] = place
            yield place, correction
    except (ValueError, RecursionError) as error:
        msg = f'{place}: found something else ({error}), expected {{"item": …, "record": …}} as export writes it'
        raise DataError(msg) from None


def _corrected(feed: Feed, item: Item, correction: Correction, place: str) -> bytes | None:
    """Return what is landed in place of an item; None where that is what it was."""
    is_record = isinstance(item.bad, BadRecord) and item.bad.record > 0
    is_csv = is_record and input_format(item.bad.source) == "csv"
    if correction.record is not msgspec.UNSET:
        if is_csv or correction.raw is not None:
            found = "a record, expected raw, a line of CSV" if is_csv else "both record and raw, expected only one"
            msg = f"{place}: found {found}"
            raise DataError(msg)
        return as_it_was(bytes(correction.record), feed.spec.input.encoding)
    if correction.raw is None or (isinstance(item.bad, BadRecord) and correction.raw == item.bad.raw):
        # What nobody has corrected may be half a line.
        return None
    raw = correction.raw.encode(errors="surrogatepass")
    encoding = feed.spec.input.encoding
    return replay.with_header(feed, item, raw, encoding) if is_csv else as_it_was(raw, encoding)
