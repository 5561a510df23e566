"""What is in quarantine, and what was decided about it: that it is replayed, or that it is not needed.

An item is named `<ts>/<n>:<k>` (the k-th line of the records.jsonl of subdirectory n) or `<ts>/<n>/<name>` (a file). It
is decided once, for good: the decision is a file in `.fanfold/quarantine`. What lies in quarantine is never changed.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from fanfold import documents, durable
from fanfold.errors import DataError, MissingError, nearest
from fanfold.feed import access, purged, runs
from fanfold.input_formats import compression
from fanfold.layout import Feed, Group, Run
from fanfold.manifest import BadFile, BadRecord, Manifest


class Resolution(msgspec.Struct, frozen=True):
    """What was decided about an item: replayed, as the landed file `landed_as`, or discarded, for a `reason`.

    `sha256` is that of the landed file.
    """

    item: str
    decision: Literal["replayed", "discarded"]
    landed_as: str | None = None
    reason: str | None = None
    sha256: str | None = None


class Item(msgspec.Struct, frozen=True):
    """A bad record or file of a complete run. `state` is `open`, `replayed` or `discarded`.

    One whose replay was cut short before it was in landing is still open.
    """

    item: str
    state: str
    bad: BadRecord | BadFile


def items(feed: Feed) -> Iterator[Item]:
    """Yield everything that is in quarantine, by run, subdirectory and place, the oldest first."""
    for ts in runs.complete(feed):
        yield from items_of(feed, ts)


def find(feed: Feed, name: str) -> Item:
    """Return one item.

    Raises:
        MissingError: there is none of this name, or the quarantine of its run was purged.
    """
    run = feed.run(name.split("/", maxsplit=1)[0])
    known = {item.item: item for item in items_of(feed, run.ts)}
    if name not in known:
        purged.check_left(run, ["quarantine"])
        msg = f"{name!r} is not in quarantine, {nearest(name, list(known)[:1000])}"
        raise MissingError(msg)
    return known[name]


def opened(feed: Feed, codes: Collection[str] = ()) -> Iterator[Item]:
    """Yield the open items, the oldest first; with `codes`, only those with one of these codes."""
    return (item for item in items(feed) if item.state == "open" and (not codes or item.bad.code in codes))


def find_all(feed: Feed, names: Iterable[str]) -> dict[str, Item]:
    """Return the items that exist, by their names."""
    wanted = set(names)
    known = set(runs.complete(feed)) & {name.partition("/")[0] for name in wanted}
    return {item.item: item for ts in sorted(known) for item in items_of(feed, ts) if item.item in wanted}


def items_of(feed: Feed, ts: str) -> Iterator[Item]:
    """Yield everything that one run has in quarantine; nothing if its quarantine was purged."""
    if "quarantine" in purged.kinds(feed.run(ts)):
        return
    if (run := runs.open_run(feed.data_dir, ts)) and (committed := documents.read_if_there(run.commit_path, Manifest)):
        for n in sorted({file.subdir for file in committed.files}):
            for name, bad in _bad(run.group(n), committed):
                path = resolution_path(feed, name)
                decision = documents.read_if_there(path, Resolution)
                state = decision.decision if decision else "open"
                if decision and decision.landed_as and waiting_path(path, decision.landed_as).exists():
                    state = "open"
                yield Item(name, state, bad)


def _bad(group: Group, committed: Manifest) -> Iterator[tuple[str, BadRecord | BadFile]]:
    place, data_dir = f"{group.run.ts}/{group.n}", group.run.feed.data_dir
    for file in committed.files:
        if file.code and file.subdir == group.n:
            yield f"{place}/{file.name}", documents.read(data_dir / group.reason_name(file.name), BadFile)
    if listed := committed.quarantined.get(str(group.n)):
        with (data_dir / listed.path).open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield f"{place}:{number}", msgspec.json.decode(line, type=BadRecord)


def by_code(run: Run, committed: Manifest) -> dict[str, int]:
    """Count the bad records and files of a complete run by their codes, the most frequent first."""
    subdirs = {file.subdir for file in committed.files}
    counts = Counter(bad.code for n in subdirs for _, bad in _bad(run.group(n), committed))
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def discard(feed: Feed, item: Item, reason: str | None = None) -> Resolution:
    """Decide that a bad record or file is not needed. It stays where it is; a second call changes nothing.

    Raises:
        DataError: it was replayed.
    """
    path = resolution_path(feed, item.item)
    access.check_targets([path.parent], feed.folders)
    decision = documents.read_if_there(path, Resolution) or Resolution(item.item, "discarded", reason=reason)
    if decision.decision != "discarded":
        msg = f"{item.item!r} was replayed as {decision.landed_as!r}, expected an item that is open"
        raise DataError(msg)
    durable.write(path, documents.encode(decision))
    return decision


def replays(feed: Feed) -> dict[str, str]:
    """Return the item of each replayed file, by the name of the file in landing."""
    decisions = [documents.read(path, Resolution) for path in feed.resolutions_dir.rglob("*.json")]
    return {decision.landed_as: decision.item for decision in decisions if decision.landed_as}


def waiting_path(resolution: Path, landed_as: str) -> Path:
    """Return where a file waits until it is landed: beside the decision, with its own compression suffix."""
    return resolution.with_suffix(f".landing{compression(landed_as)}")


def resolution_path(feed: Feed, item: str) -> Path:
    """Return where the decision about an item is written down."""
    ts, n, name = re.split("[/:]", item, maxsplit=2)
    kind = "files" if item.startswith(f"{ts}/{n}/") else "records"
    return feed.resolutions_dir / ts / n / kind / f"{name}.json"
