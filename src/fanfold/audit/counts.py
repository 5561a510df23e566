"""What the manifest says of a run as a whole: its columns, its counts, and how it differs from the run before."""

from decimal import Decimal

from fanfold import manifest
from fanfold.audit.findings import Audit
from fanfold.audit.order import OWN_COLUMNS, Order
from fanfold.audit.rows import Rows
from fanfold.layout import Run
from fanfold.manifest import Manifest, of_table
from fanfold.spec.paths import way_of, written


def check_columns(rows: Rows, order: Order | None, separator: str, found: Audit) -> None:
    """Compare names and order of the columns with the fields that they come from, and with the spec.

    The order is not compared where it is None.
    """
    chosen, names = rows.chosen.columns, [column.name for column in rows.columns]
    for column in rows.table.columns:
        above = [] if column.source == "record" else [column.source]
        if column.path and column.name != separator.join([*above, *column.path]):
            found.add("changed", (column.name, 0), f"the column of {written(column.path)!r} has another name")
    keys = [way_of(path) for path in rows.chosen.keys]
    by_way = {column.way: column.name for column in rows.columns if column.source == "record"}
    wanted = [by_way[way] for way in keys if way in by_way]
    if chosen:
        wanted += [name if isinstance(name, str) else next(iter(name)) for name in chosen]
        wanted += [name for name in OWN_COLUMNS if name in names]
    elif order:
        ranked = sorted(rows.columns, key=lambda column: order.rank((column.source, *column.way)))
        wanted += [column.name for column in ranked]
    wanted = [*dict.fromkeys(wanted)]
    if not chosen and not order:
        found.not_audited["the order of the columns, with files that were not read here"] += 1
    elif names and names != wanted:
        place = f"tables.{rows.name}.columns" if rows.name else "denormalize.columns"
        found.add("changed", (place, 0), f"found the columns {names}, expected {wanted}")
    for one in rows.columns:
        if one.is_json not in {None, one.has_json}:
            message = f"texts {'stand' if one.is_json else 'do not stand'} in quotes there, as JSON"
            found.add("changed", (one.name, 0), message)


def check_counts(committed: Manifest, tables: list[Rows], unmatched: int, found: Audit) -> None:
    """Compare what was counted with the sums of the manifest."""
    summary, files = committed.summary, committed.files
    bad = sum(file.code is not None for file in files)
    said = summary.files_in, summary.files_archived, summary.files_quarantined
    found.check("files", (len(files), len(files) - bad, bad), said)
    found.check("bytes_in", sum(file.size_bytes for file in files), summary.bytes_in)
    found.check("records_in", found.records, summary.records_in)
    bad_records = sum(file.records_quarantined for file in files)
    found.check("records_quarantined", bad_records, summary.records_quarantined)
    found.check("records_unmatched", unmatched, summary.records_unmatched)
    for rows in tables:
        counted = sum(output.rows for output in rows.table.outputs.values())
        found.check("rows_out", counted, of_table(summary.rows_out)[rows.name])
        for path, total in rows.table.totals.items():
            found.check(path, rows.sums[path], Decimal(total))


def check_drift(run: Run, committed: Manifest, found: Audit) -> None:
    """Compare the columns with those of the run before, where that is in this `data_dir`, too."""
    if (drift := committed.drift) and (path := run.feed.run(drift.since).commit_path).exists():
        tables = (one.each_table.items() for one in (manifest.read(path, Manifest), committed))
        before, now = (
            {f"{name}.{one.name}" if name else one.name: one.type for name, of in each for one in of.columns}
            for each in tables
        )
        found.check("drift.added", [name for name in now if name not in before], drift.added)
        found.check("drift.dropped", [name for name in before if name not in now], drift.dropped)
        both = [name for name in now if name in before]
        retyped = [f"{name}: {before[name]} > {now[name]}" for name in both if before[name] != now[name]]
        found.check("drift.retyped", retyped, drift.retyped)
        found.check("drift.reordered", both != [name for name in before if name in now], drift.reordered)
