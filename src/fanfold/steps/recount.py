"""Counting a complete run again, every byte of its archive and its output."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

import msgspec

from fanfold.errors import count
from fanfold.feed import purged
from fanfold.feed.verdict import verdict
from fanfold.layout import Run
from fanfold.manifest import ArchivedFile, BadRecord, Manifest
from fanfold.native import Others
from fanfold.records import places, totals
from fanfold.records.read import Door, Rules
from fanfold.records.totals import Tally
from fanfold.spec.paths import Way, way_of
from fanfold.steps.gaps import damages, doubles, expected, extra, manifest_gaps
from fanfold.types import JSON, VARCHAR
from fanfold.working_files import Node

# What records and rows are counted in.
COUNTED = {"archive", "output", "quarantine"}


class Recount(msgspec.Struct, frozen=True):
    """What a recount found. `gaps` are sentences, one for each file that is missing, extra or changed.

    `totals` are the exact sums of `verify.totals`, by path. `failed` says why the run is reported as failed, though
    nothing of it is lost; `lost` what can no longer be proved, since something of the run was purged.
    """

    ts: str
    files: int
    bytes: int
    records: int
    rows: int
    totals: dict[str, str]
    gaps: list[str]
    failed: str | None = None
    lost: str | None = None


def recount(run: Run, committed: Manifest) -> Recount:
    """Count a committed run again from its archive and its output, every byte of both.

    Records and rows are counted from the originals and from the tables, independently of the manifest and of each
    other; files that are missing or changed are named, and not counted. Where a copy of the manifest is, nothing is.
    """
    if gaps := list(manifest_gaps(run, committed)):
        # All that follows rests on it.
        return Recount(run.ts, 0, 0, 0, 0, {}, gaps)
    files, feed, gone = list(expected(run, committed, hash_originals=True)), run.feed, set(purged.kinds(run))
    damaged = damages(run, files)
    gaps = [
        *damaged.values(),
        *extra(run, files, run.output_dir, feed.quarantine_dir / run.ts),
        *extra(run, files, feed.archive_dir, part=f"_{run.ts}."),
        *doubles(run, committed),
    ]
    whole = [
        file
        for file in committed.files
        if file.archived_as not in damaged and not (gone and purged.kind_of(feed, file.archived_as) in gone)
    ]
    wanted = totals.totalled(feed.spec, committed.columns, committed.explode)
    by_archive, in_tables = Tally(wanted), Tally(wanted)
    originals = _Originals(run, committed, by_archive)
    # Records and rows tell something together only: what is left without the others is compared by its hash alone.
    bad = _quarantined_records(run, committed, damaged) if not gone & COUNTED else {}
    for n in range(1, feed.spec.subdirs + 1) if not gone & COUNTED else ():
        of_group = [file for file in whole if file.subdir == n and not file.code and not file.duplicate_of]
        items = originals.items(of_group, bad)
        if (table := committed.outputs.get(str(n))) and table.path not in damaged:
            in_tables.add_table(feed.data_dir / table.path, items)
        for _ in items:
            pass
    if not gaps and not gone & COUNTED:
        gaps += _count_gaps(committed, originals.records, by_archive, in_tables)
    return Recount(
        ts=run.ts,
        files=len(whole),
        bytes=sum(file.size_bytes for file in whole),
        records=originals.records,
        rows=in_tables.rows,
        totals=committed.totals,
        gaps=gaps,
        failed=verdict(committed),
        lost=purged.lost(run),
    )


def _count_gaps(committed: Manifest, records: int, by_archive: Tally, in_tables: Tally) -> Iterator[str]:
    summary = committed.summary
    if records != summary.records_in:
        yield f"found {count(records, 'record')} in the archive, expected {summary.records_in:,}"
    if not in_tables.rows == by_archive.rows == summary.rows_out:
        yield (
            f"found {count(in_tables.rows, 'row')} in the tables, expected {by_archive.rows:,} by the archive and "
            f"{summary.rows_out:,} by the manifest"
        )
    for path, total in committed.totals.items():
        found, wanted = in_tables.totals.get(path, "0"), by_archive.totals.get(path, "0")
        if not found == wanted == total:
            yield f"the sum of {path!r} is {found}, expected {wanted} by the archive and {total} by the manifest"


class _Originals:
    """Reads originals for nothing but the arrays that explode and the fields that are totalled."""

    def __init__(self, run: Run, committed: Manifest, tally: Tally) -> None:
        self._run, self._tally, self.records = run, tally, 0
        nodes = _nodes({way_of(path) for path in tally.sums}, {(*path,) for path in committed.explode}, ())
        self._spec = run.feed.spec.model_copy(update={"merge": []})
        self._found = places.places_of(nodes, [])

    def items(self, files: list[ArchivedFile], bad: Mapping[str, set[int]]) -> Iterator[str]:
        """Yield for each row that files call for which element of its record it is from; count records and rows."""
        for row in totals.rows_of(self._found, self._tally.sums, self._merged(files)):
            if row.record not in bad.get(row.file, ()):
                self._tally.add(row.item, row.values)
                yield row.item

    def _merged(self, files: list[ArchivedFile]) -> Iterator[bytes]:
        data_dir = self._run.feed.data_dir.resolve()
        door = Door(data_dir, self._spec, Rules(self._found.record, Others.LEAVE))
        for file in sorted(files, key=lambda one: one.name):
            for piece in door.read(file.name, str((data_dir / file.archived_as).resolve())):
                yield piece.merged
            self.records += door.found.records


def _nodes(values: set[Way], arrays: set[Way], above: Way) -> list[Node]:
    """Return the nodes of records that have nothing but some values, and arrays that explode."""
    depth = len(above)
    inside = [path for path in (*sorted(arrays), *sorted(values)) if path[:depth] == above and len(path) > depth]
    nodes = []
    for name in dict.fromkeys(path[depth] for path in inside):
        at = (*above, name)
        fields = _nodes(values, arrays, at)
        # What is not looked into may be anything.
        value = Node(name, "value", VARCHAR if at in values else JSON)
        node = Node(name, "object", fields=fields) if fields else value
        nodes.append(Node(name, "list", element=msgspec.structs.replace(node, name="")) if at in arrays else node)
    return nodes


def _quarantined_records(run: Run, committed: Manifest, damaged: Collection[str]) -> dict[str, set[int]]:
    """Return the numbers of the records of each file that are in quarantine."""
    numbers = defaultdict[str, set[int]](set)
    for listed in committed.quarantined.values():
        if listed.path not in damaged:
            with (run.feed.data_dir / listed.path).open("rb") as lines:
                for record in map(msgspec.json.Decoder(BadRecord).decode, lines):
                    numbers[record.file].add(record.record)
    return numbers
