"""Counting a complete run again, every byte of its archive and its output."""

import csv
import os
from collections.abc import Iterator, Mapping
from decimal import Decimal, localcontext
from pathlib import Path
from typing import NamedTuple

import msgspec

from fanfold import durable
from fanfold.feed.verdict import verdict
from fanfold.layout import Run
from fanfold.manifest import ArchivedFile, BadRecord, Manifest
from fanfold.native import Others, Rows
from fanfold.records import places, totals
from fanfold.records.read import Door, Rules
from fanfold.records.totals import DIGITS, Sums, Total
from fanfold.schema.declared import Way
from fanfold.steps import verify_run
from fanfold.types import JSON, VARCHAR
from fanfold.working_files import Node


class Recount(msgspec.Struct, frozen=True):
    """What a recount found. `gaps` are sentences, one for each file that is missing, extra or changed.

    `totals` are the exact sums of `verify.totals`, by column. `failed` says why the run is reported as failed, though
    nothing of it is lost.
    """

    ts: str
    files: int
    bytes: int
    records: int
    rows: int
    totals: dict[str, str]
    gaps: list[str]
    failed: str | None = None


def recount(run: Run, committed: Manifest) -> Recount:
    """Count a committed run again from its archive and its output, every byte of both.

    Records and rows are counted from the originals and from the tables, independently of the manifest and of each
    other; files that are missing or changed are named, and not counted. Where a copy of the manifest is, nothing is.
    """
    if gaps := list(verify_run.manifest_gaps(run, committed)):
        # All that follows rests on it.
        return Recount(run.ts, 0, 0, 0, 0, {}, gaps)
    gaps = list(verify_run.gaps(run, committed))
    present = [f for f in committed.files if durable.size(run.feed.place(f.archived_as)) is not None]
    # One that is too large to be read has no hash.
    whole = {
        f
        for f in present
        if not f.sha256 or durable.sha256(run.feed.data_dir / f.archived_as) == verify_run.lies_as(f).sha256
    }
    gaps += [
        f"{file.archived_as!r} is changed: expected sha256 {verify_run.lies_as(file).sha256}"
        for file in present
        if file not in whole
        and (run.feed.data_dir / file.archived_as).stat().st_size == verify_run.lies_as(file).size_bytes
    ]
    gaps += [f"{name!r} is extra: no original of the run" for name in _extra_originals(run, committed)]
    counted = _count(run, committed, [file for file in present if file in whole])
    if not gaps:
        gaps += _count_gaps(committed, counted)
    size = sum(file.size_bytes for file in whole)
    return Recount(
        run.ts, len(present), size, counted.records, counted.rows, committed.totals, gaps, verdict(committed)
    )


class _Counted(NamedTuple):
    """What was counted: records and the rows that they call for, the rows of tables, and the sums of both."""

    records: int
    wanted_rows: int
    rows: int
    wanted_sums: Sums
    sums: Sums


def _count_gaps(committed: Manifest, found: _Counted) -> Iterator[str]:
    summary = committed.summary
    if found.records != summary.records_in:
        yield f"{found.records} records in the archive, expected {summary.records_in}"
    if not found.rows == found.wanted_rows == summary.rows_out:
        yield f"{found.rows} rows, expected {found.wanted_rows} by the archive, {summary.rows_out} by the manifest"
    for path, total in committed.totals.items():
        sums = found.sums.get(path, Decimal(0)), found.wanted_sums.get(path, Decimal(0))
        if not sums[0] == sums[1] == Decimal(total):
            found_sum, wanted = (totals.plain({path: one})[path] for one in sums)
            yield f"the sum of {path!r} is {found_sum}, expected {wanted} by the archive, {total} by manifest"


def _count(run: Run, committed: Manifest, originals: list[ArchivedFile]) -> _Counted:
    """Count the records that lie in originals, the rows that the good ones call for, and the rows of the tables."""
    wanted = totals.totalled(run.feed.spec, committed.columns, committed.explode)
    found = _Counted(
        0, 0, 0, {total.path: Decimal(0) for total in wanted}, {total.path: Decimal(0) for total in wanted}
    )
    bad = _quarantined_records(run, committed)
    for n in range(1, run.feed.spec.subdirs + 1):
        files_of_group = [file for file in originals if file.subdir == n and not file.code and not file.duplicate_of]
        recounter = _Recounter(run, committed, wanted, bad)
        items = recounter.items(files_of_group)
        rows, sums = 0, Sums()
        table = committed.outputs.get(str(n))
        if table and verify_run.is_as_published(run.feed, table):
            rows, sums = totals.of_table(run.feed.data_dir / table.path, wanted, items)
        for _ in items:
            pass
        found = _Counted(
            found.records + recounter.records,
            found.wanted_rows + recounter.rows,
            found.rows + rows,
            totals.add(found.wanted_sums, recounter.sums),
            totals.add(found.sums, sums),
        )
    return found


class _Recounter:
    """Reads originals for nothing but the arrays that explode and the fields that are totalled."""

    def __init__(self, run: Run, committed: Manifest, wanted: list[Total], bad: Mapping[str, set[int]]) -> None:
        self._run, self._wanted, self._bad = run, wanted, bad
        leaves = {tuple(total.path.split(".")) for total in wanted}
        nodes = _nodes(leaves, {(*path,) for path in committed.explode}, ())
        self._spec = run.feed.spec.model_copy(update={"merge": []})
        self._places = places.places_of(nodes, [])
        self.records = self.rows = 0
        self.sums = {total.path: Decimal(0) for total in wanted}

    def items(self, originals: list[ArchivedFile]) -> Iterator[str]:
        """Yield for each row that files call for which element of its record it is from; count them."""
        slots = [(Rows.SLOT, *self._places.slots[tuple(total.path.split("."))]) for total in self._wanted]
        columns = [(Rows.FILE, 0, 0), (Rows.NUMBER, 0, 0), (Rows.ITEM, 0, 0), *slots]
        rows = Rows(self._places.record, columns, self._places.chain)
        for name, number, item, *values in csv.reader(totals.lines_of(rows.write(self._merged(originals)))):
            if int(number) in self._bad.get(name, ()):
                continue
            self.rows += 1
            with localcontext(prec=DIGITS):
                for total, value in zip(self._wanted, values, strict=True):
                    if value and totals.counts(total, item):
                        self.sums[total.path] += Decimal(value)
            yield item

    def _merged(self, originals: list[ArchivedFile]) -> Iterator[bytes]:
        data_dir = self._run.feed.data_dir.resolve()
        door = Door(data_dir, self._spec, Rules(self._places.record, Others.LEAVE))
        for file in sorted(originals, key=lambda one: one.name):
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


def _quarantined_records(run: Run, committed: Manifest) -> dict[str, set[int]]:
    """Return the numbers of the records of each file that are in quarantine."""
    numbers: dict[str, set[int]] = {}
    for listed in committed.quarantined.values():
        path = run.feed.data_dir / listed.path
        if verify_run.is_as_published(run.feed, listed):
            with path.open("rb") as lines:
                for line in lines:
                    record = msgspec.json.decode(line, type=BadRecord)
                    numbers.setdefault(record.file, set()).add(record.record)
    return numbers


def _extra_originals(run: Run, committed: Manifest) -> Iterator[str]:
    known = {file.archived_as for file in committed.files}
    markers = (run.archived_marker_path(file.name) for file in committed.files)
    known |= {verify_run.relative(run, marker) for marker in markers if marker}
    for folder, _, names in os.walk(run.feed.archive_dir):
        for name in sorted(names):
            relative = verify_run.relative(run, Path(folder, name))
            if f"_{run.ts}." in name and relative not in known:
                yield relative
