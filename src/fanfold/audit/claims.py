"""What the manifest claims about a run as a whole: its columns, its counts, and that no content made rows twice."""

from fanfold import documents
from fanfold.audit.columns import OWN_COLUMNS, Order
from fanfold.audit.findings import Audit
from fanfold.audit.originals import content_of
from fanfold.audit.records import given_by_path
from fanfold.audit.rows import Rows
from fanfold.layout import Run
from fanfold.manifest import ArchivedFile, Manifest, by_table
from fanfold.spec.model import Spec
from fanfold.spec.paths import way_of, written


def check_columns(rows: Rows, order: Order | None, spec: Spec, found: Audit) -> None:
    """Compare names and order of the columns with the fields that they come from, and with the spec.

    The order is not compared where it is None.
    """
    chosen, names = rows.chosen.columns, [column.name for column in rows.columns]
    for column in rows.table.columns:
        above = [] if column.source == "record" else [*rows.levels.get(column.source, ()), column.source]
        if column.path and column.name != spec.denormalize.separator.join([*above, *column.path]):
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
        found.not_audited["orders of columns (some files were not read, such as duplicates)"] += 1
    elif names and names != wanted:
        place = f"tables.{rows.name}.columns" if rows.name else "denormalize.columns"
        found.add("changed", (place, 0), f"found the columns {names}, expected {wanted}")
    for one in rows.columns:
        if one.is_json not in {None, one.has_json}:
            message = f"text is {'' if one.is_json else 'not '}quoted there, as in JSON"
            found.add("changed", (one.name, 0), message)


def check_summary(committed: Manifest, unmatched: int, found: Audit) -> None:
    """Compare what was counted with the sums of the manifest; those of each subdirectory were compared there."""
    files, tables, said = committed.files, committed.each_table, committed.summary
    bad = sum(file.code is not None for file in files)
    rows = by_table({name: sum(one.rows for one in table.outputs.values()) for name, table in tables.items()})
    bad_records = sum(file.records_quarantined for file in files)
    found.check(
        "files", (len(files), len(files) - bad, bad), (said.files_in, said.files_archived, said.files_quarantined)
    )
    found.check("bytes_in", sum(file.size_bytes for file in files), said.bytes_in)
    found.check("records", (found.records, bad_records), (said.records_in, said.records_quarantined))
    found.check("records_unmatched", unmatched, said.records_unmatched)
    found.check("rows_out", rows, said.rows_out)


def check_drift(run: Run, committed: Manifest, found: Audit) -> None:
    """Compare the columns with those of the run before, if that run is in this `data_dir`, too."""
    if (drift := committed.drift) and (path := run.feed.run(drift.since).commit_path).exists():
        before, now = (
            {f"{name}.{one.name}" if name else one.name: one.type for name, of in table for one in of.columns}
            for table in (one.each_table.items() for one in (documents.read(path, Manifest), committed))
        )
        both = [name for name in now if name in before]
        retyped = [f"{name}: {before[name]} > {now[name]}" for name in both if before[name] != now[name]]
        found.check("drift.added", [name for name in now if name not in before], drift.added)
        found.check("drift.dropped", [name for name in before if name not in now], drift.dropped)
        found.check("drift.retyped", retyped, drift.retyped)
        found.check("drift.reordered", both != [name for name in before if name in now], drift.reordered)


def makes_rows(file: ArchivedFile) -> bool:
    """Say whether the records of a file are read."""
    return not file.code and not file.duplicate_of


def check_contents(run: Run, committed: Manifest, found: Audit) -> None:
    """Look for files that made rows twice, and for duplicates without an original."""
    # Run and file of each content that is not a duplicate; what was replayed is a duplicate of nothing.
    makers: dict[tuple[object, ...], list[tuple[str, ArchivedFile]]] = {}
    settings = run.feed.spec.input
    is_named = settings.identity == "name_and_content"

    def key(file: ArchivedFile) -> tuple[object, ...]:
        given = sorted(given_by_path(settings, file.name).items())
        return file.size_bytes, file.sha256, file.name if is_named else str(given)

    for path in sorted(run.feed.commits_dir.glob("[!.]*.json")):
        for file in (committed if path.stem == run.ts else documents.read(path, Manifest)).files:
            if not file.duplicate_of:
                makers.setdefault(key(file), []).append((path.stem, file))
    for file in committed.files:
        same = makers.get(key(file), [])
        others = [f"{ts}/{f.name}" for ts, f in same if f is not file and makes_rows(f) and not f.replay_of]
        if file.duplicate_of and not same:
            if _waits(run, file):
                found.not_audited["duplicates of a file that is waiting to be read"] += 1
            else:
                message = f"it made no rows, but {file.duplicate_of!r} does not have its bytes"
                found.add("missing", (file.name, 0), message)
        elif others and makes_rows(file) and not file.replay_of and settings.duplicates != "process":
            found.add("doubled", (file.name, 0), f"it has the bytes of {others[0]!r}, but both have rows")


def _waits(run: Run, file: ArchivedFile) -> bool:
    """Say whether a content is staged under a name in an unfinished run, or was released from one into landing."""
    (ts, _, name), feed = str(file.duplicate_of).partition("/"), run.feed
    staged = [folder / name for folder in feed.staging_dir.glob("*/[0-9]*")]
    places = [*staged, feed.landing_dir / name, feed.run(ts).archive_path(name)]
    return (file.size_bytes, file.sha256) in (content_of(path) for path in places if path.is_file())
