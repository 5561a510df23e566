"""Counting a complete run again, every byte of its archive and its output."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

import msgspec

from fanfold.errors import count
from fanfold.feed import purged
from fanfold.feed.verdict import verdict
from fanfold.layout import Run
from fanfold.manifest import ArchivedFile, BadRecord, Manifest, by_table, of_table
from fanfold.native import Others, Rows
from fanfold.records import places, totals
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
    """
    if gaps := list(manifest_gaps(run, committed)):
        # All that follows rests on it.
        return Recount(run.ts, 0, 0, 0, 0, {}, gaps)
    files, feed, gone = list(expected(run, committed, hash_originals=True)), run.feed, set(purged.kinds(run))
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
    records, counted = 0, {name: Tally([]) for name in committed.each_table}
    for name, table in committed.each_table.items() if is_counted else ():
        wanted = totals.totalled(feed.spec, table)
        by_archive, counted[name] = Tally(wanted), Tally(wanted)
        originals = _Originals(run, committed, name, by_archive)
        for n in range(1, feed.spec.subdirs + 1):
            of_group = [file for file in whole if file.subdir == n and not file.code and not file.duplicate_of]
            rows = originals.places(of_group, bad)
            if (published := table.outputs.get(str(n))) and published.path not in damaged:
                counted[name].add_table(feed.data_dir / published.path, rows, feed.spec.output.csv)
            for _ in rows:
                pass
        records = originals.records
        if not gaps:
            gaps += _count_gaps(committed, name, by_archive, counted[name])
    if is_counted and not gaps and records != committed.summary.records_in:
        gaps.append(f"found {count(records, 'record')} in the archive, expected {committed.summary.records_in:,}")
    return Recount(
        ts=run.ts,
        files=len(whole),
        bytes=sum(file.size_bytes for file in whole),
        records=records,
        rows=by_table({name: tally.rows for name, tally in counted.items()}),
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
    """Reads originals for nothing but the arrays that explode in a table and the fields that are totalled in it."""

    def __init__(self, run: Run, committed: Manifest, name: str, tally: Tally) -> None:
        self._run, self._tally, self.records = run, tally, 0
        self._table = committed.each_table[name]
        nodes = _nodes({way_of(path) for path in tally.sums}, {(*path,) for path in self._table.explode}, ())
        self._spec = run.feed.spec.model_copy(update={"merge": []})
        self._found = places.places_of(nodes, [])

    def places(self, files: list[ArchivedFile], bad: Mapping[str, set[int]]) -> Iterator[Place]:
        """Yield for each row that files call for which record and element it is from; count records and rows."""
        ends = {table.end for table in self._run.feed.spec.flat_tables.values()}
        levels = [(), *map(tuple, self._table.explode)]
        elsewhere = [not held(levels[-1], ends, level) for level in levels]
        schema = TableSchema(self._table.explode, elsewhere, [], [])
        rows = Rows(self._found.record, totals.sources(self._found, self._tally.sums), self._found.chain(schema))
        for row in totals.rows_of(rows, self._merged(files)):
            if row.record not in bad.get(row.file, ()):
                self._tally.add(row.place, row.values)
                yield row.place

    def _merged(self, files: list[ArchivedFile]) -> Iterator[bytes]:
        data_dir = self._run.feed.data_dir.resolve()
        door = Door(data_dir, self._spec, Rules(self._found.record, Others.LEAVE, arrays=self._table.explode))
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
                    numbers[record.source].add(record.record)
    return numbers
