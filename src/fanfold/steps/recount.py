"""Counting a complete run again, every byte of its archive and its output."""

import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import partial

import msgspec

from fanfold.errors import DataError, count
from fanfold.feed import purged
from fanfold.feed.verdict import verdict
from fanfold.layout import Run
from fanfold.manifest import ArchivedFile, BadRecord, Manifest, by_table, of_table
from fanfold.native import Others, Rows
from fanfold.records import places, totals
from fanfold.records.content import WINDOW_BYTES
from fanfold.records.read import Door, Rules
from fanfold.records.totals import Place, Tally
from fanfold.spec.paths import Way, way_of
from fanfold.spec.tables import held
from fanfold.steps.gaps import damages, doubles, expected, extra, manifest_gaps
from fanfold.types import JSON, VARCHAR
from fanfold.working_files import Node, TableSchema

# What records and rows are counted in.
COUNTED = {"archive", "output", "quarantine"}


class Recount(msgspec.Struct, frozen=True):
    """What a recount found. `gaps` are sentences, one for each file that is missing, extra or changed.

    `totals` has the exact sums of `verify.totals`, by path. `failed` says why the run is reported as failed, even if
    nothing is lost. `lost` says what can no longer be proved, because something of the run was purged. With `tables`,
    `rows` is an object by table, and the paths of `totals` begin with the table's name.
    """

    ts: str
    files: int
    bytes: int
    records: int
    rows: int | dict[str, int]
    totals: dict[str, str]
    gaps: list[str]
    failed: str | None = None
    lost: str | None = None


def recount(run: Run, committed: Manifest) -> Recount:
    """Count a committed run again from its archive and its output, every byte of both.

    Records and rows are counted from the originals and from the tables, independently of the manifest and of each
    other; files that are missing or changed are named, and not counted. Where a copy of the manifest is, nothing is.
    What is purged meanwhile is no gap: the rest is counted again.
    """
    gone = purged.kinds(run)
    try:
        found = _recount(run, committed, {*gone})
        is_sure = not found.gaps or purged.kinds_now(run) == gone
    except (DataError, OSError):
        if purged.kinds_now(run) == gone:
            raise
        is_sure = False
    return found if is_sure else recount(run, committed)


def _recount(run: Run, committed: Manifest, gone: set[purged.Kind]) -> Recount:
    if gaps := list(manifest_gaps(run, committed)):
        # All that follows rests on it.
        return Recount(run.ts, 0, 0, 0, 0, {}, gaps)
    files, feed = list(expected(run, committed, hash_originals=True)), run.feed
    damaged = damages(run, files)
    gaps = [
        *damaged.values(),
        *extra(run, files, run.output_dir, feed.quarantine_dir / run.ts),
        *extra(run, files, feed.archive_dir, may_be=run.is_of_run),
        *doubles(run, committed),
    ]
    whole = [
        file
        for file in committed.files
        if file.archived_as not in damaged and not (gone and purged.kind_of(feed, file.archived_as) in gone)
    ]
    # Records and rows tell something together only: what is left without the others is compared by its hash alone.
    is_counted = not gone & COUNTED
    bad = _quarantined_records(run, committed, damaged) if is_counted else {}
    originals = _Originals(run, committed)
    in_tables = {name: Tally(originals.totalled[name]) for name in committed.each_table}
    for n in range(1, feed.spec.subdirs + 1) if is_counted else ():
        of_group = [file for file in whole if file.subdir == n and not file.code and not file.duplicate_of]
        for name, rows in originals.read(of_group, bad):
            published = committed.each_table[name].outputs.get(str(n))
            if published and published.path not in damaged:
                in_tables[name].add_table(feed.data_dir / published.path, rows, feed.spec.output.csv)
    for name, tally in originals.tallies.items() if is_counted else ():
        gaps = gaps or [*_count_gaps(committed, name, tally, in_tables[name])]
    records = originals.records
    if is_counted and not gaps and records != committed.summary.records_in:
        gaps.append(f"found {count(records, 'record')} in the archive, expected {committed.summary.records_in:,}")
    return Recount(
        ts=run.ts,
        files=len(whole),
        bytes=sum(file.size_bytes for file in whole),
        records=records,
        rows=by_table({name: tally.rows for name, tally in in_tables.items()}),
        totals=committed.named_totals,
        gaps=gaps,
        failed=verdict(committed),
        lost=purged.lost(run),
    )


def _count_gaps(committed: Manifest, name: str, by_archive: Tally, in_tables: Tally) -> Iterator[str]:
    rows, of = of_table(committed.summary.rows_out)[name], f"table {name!r}" if name else "tables"
    if not in_tables.rows == by_archive.rows == rows:
        yield (
            f"found {count(in_tables.rows, 'row')} in the {of}, expected {by_archive.rows:,} by the archive and "
            f"{rows:,} by the manifest"
        )
    for path, total in committed.each_table[name].totals.items():
        found, wanted = in_tables.totals.get(path, "0"), by_archive.totals.get(path, "0")
        if not found == wanted == total:
            where = f" in the {of}" if name else ""
            yield (
                f"the sum of {path!r}{where} is {found}, expected {wanted} by the archive and {total} by the manifest"
            )


class _Originals:
    """Reads originals once for all tables, for nothing but arrays that explode and fields that are totalled."""

    def __init__(self, run: Run, committed: Manifest) -> None:
        self._run, self._tables, self.records = run, committed.each_table, 0
        spec = run.feed.spec.model_copy(update={"merge": []})
        self.totalled = {name: totals.totalled(spec, table) for name, table in self._tables.items()}
        self.tallies = {name: Tally(found) for name, found in self.totalled.items()}
        arrays = {(*path,) for table in self._tables.values() for path in table.explode}
        values = {way_of(path) for tally in self.tallies.values() for path in tally.sums}
        self._found = places.places_of(_nodes(values, arrays, ()), [])
        rules = Rules(self._found.record, Others.LEAVE, arrays=sorted(arrays))
        self._door = Door(run.feed.data_dir.resolve(), spec, rules)

    def read(self, files: list[ArchivedFile], bad: Mapping[str, set[int]]) -> Iterator[tuple[str, Iterator[Place]]]:
        """Read files, and count their records; then yield each table with the places of the rows that they call for."""
        data_dir = self._run.feed.data_dir.resolve()
        with tempfile.TemporaryFile() as merged:
            for file in sorted(files, key=lambda one: one.name):
                for piece in self._door.read(file.name, str((data_dir / file.archived_as).resolve()), file.sha256):
                    merged.write(piece.merged)
                self.records += self._door.found.records
            for name in self._tables:
                merged.seek(0)
                rows = self._places(name, iter(partial(merged.read, WINDOW_BYTES), b""), bad)
                yield name, rows
                for _ in rows:
                    pass

    def _places(self, name: str, merged: Iterator[bytes], bad: Mapping[str, set[int]]) -> Iterator[Place]:
        """Yield for each row of a table which record and element it is from; count the rows."""
        table, ends = self._tables[name], {one.end for one in self._run.feed.spec.flat_tables.values()}
        levels = [(), *map(tuple, table.explode)]
        elsewhere = [not held(levels[-1], ends, level) for level in levels]
        chain, tally = self._found.chain(TableSchema(table.explode, elsewhere, [], [])), self.tallies[name]
        for row in totals.rows_of(Rows(self._found.record, totals.sources(self._found, tally.sums), chain), merged):
            if row.record not in bad.get(row.file, ()):
                tally.add(row.place, row.values)
                yield row.place


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
                    numbers[record.source].add(record.record)
    return numbers
