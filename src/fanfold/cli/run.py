"""`fanfold plan`, `run`, `verify`: what a run would do, the run itself, and its proof."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fanfold.audit import Audit
    from fanfold.layout import Feed
    from fanfold.steps.plan import Plan
    from fanfold.steps.recount import Recount

from fanfold.cli.options import DATA_DIR, JSON, SPEC, as_typed, print_json, with_feed
from fanfold.errors import count, count_of
from fanfold.proof import rows_in_words
from fanfold.spec.paths import written

SAMPLE = "With --audit: compare this percentage of the records; all are counted."


@click.command()
@SPEC
@DATA_DIR
@click.option("--write-fields", is_flag=True, help="Add all fields that the spec does not declare yet to input.fields.")
@JSON
def plan(spec: Path, data_dir: str | None, *, write_fields: bool, as_json: bool) -> None:
    """Say what a run would do. Nothing is moved.

    It shows which files go where, the columns and their drift, and the references. If the run would fail, it says why,
    and ends with exit code 1, as `fanfold run` would.
    """
    from fanfold.spec import writing
    from fanfold.steps import plan as planning
    from fanfold.steps.start import start

    planned = planning.plan(start(spec, data_dir))
    if write_fields:
        added = writing.add_fields(spec, planned.fields)
        reason = "" if planned.files else ": no file is ready"
        click.echo(f"{spec}: {count(added, 'field')} added to input.fields{reason}", err=True)
    if as_json:
        print_json(planned)
    else:
        _print_plan(planned)
    sys.exit(1 if planned.failed else 0)


def _print_plan(planned: "Plan") -> None:
    from fanfold.cli import display
    from fanfold.input_formats import place_in

    to = display.wide_console()
    if planned.resumes:
        to.print(f"the unfinished run {planned.resumes} would be resumed")
    where = "staged" if planned.resumes else "ready"
    to.print(f"{count(planned.files, 'file')} {where} ({count(planned.bytes, 'byte')})")
    if planned.members_ignored.members:
        to.print(f"in archives {planned.members_ignored}")
    if planned.left:
        to.print(f"in landing {planned.left}")
    parts = ((n, part.files, part.records, part.bytes) for n, part in planned.subdirs.items())
    display.print_table(to, ("subdirectory", "files", "records", "bytes"), parts)
    tables = planned.columns if isinstance(planned.columns, dict) else {"": planned.columns}
    for name, found in tables.items():
        columns = [(one.name, one.type, written([one.source, *one.path]), one.first_file) for one in found]
        # On a screen what comes last would push all else away; a pipe gets everything.
        shown = display.SHOWN_COLUMNS if to.is_terminal else len(columns)
        display.print_table(to, ("column", "type", "from", "first file"), columns[:shown], title=name)
        if more := len(columns[shown:]):
            to.print(as_typed(f"and {count(more, 'more column')} (fanfold plan SPEC --json has all)"))
    for reference in planned.references:
        to.print(f"reference {reference.path}: {count(reference.rows, 'row')}, sha256 {reference.sha256}")
    if drift := planned.drift:
        to.print(f"columns since run {drift.since}: {drift.changes or 'as they were'}")
    for name, of in planned.duplicates.items():
        to.print(f"{name!r} has the bytes of {of!r} (input.duplicates)")
    for fault in planned.faults:
        place = f"{fault.file!r}{place_in(fault.file, fault.line)}"
        to.print(f"WARNING: {place}: {fault.message} ({fault.code})", style="yellow")
    for reason in planned.failed:
        to.print(as_typed(f"the run would fail: {reason}"), style="red")


@click.command()
@SPEC
@DATA_DIR
@click.option("--ts", help="Execution timestamp of the run, in any ISO 8601 form (default: see above).")
@click.option("--from-archive", metavar="TS", help="Make a complete run again from its archive, in another --data-dir.")
@JSON
def run(spec: Path, data_dir: str | None, ts: str | None, from_archive: str | None, *, as_json: bool) -> None:
    """Do all steps here and now, without Airflow.

    Without --ts, the oldest unfinished run that can continue is resumed. If there is none, a new run begins, named
    after the current time. A run that failed because of its data or spec is tried again only if the spec, its files, a
    reference or the version of Fanfold has changed since. Otherwise it is passed over with a warning, and new files go
    into a new run. With --ts the run is always tried. The exit code is that of the runs that were tried.

    Until a run publishes something, it uses the spec as it is now. After that it keeps the spec that it began with.

    If too many files are bad (quarantine.max_bad_files_percent), or no record is good, the run completes, prints
    its result, and is reported as failed: exit code 1. With the --ts of a complete run, Fanfold only checks that
    everything is in place, and reports the same.

    With --from-archive, a complete run is made again in another folder. The same spec gives the same output, byte for
    byte. A changed spec gives the output that it would have given then. The feed itself does not change.
    """
    import msgspec

    from fanfold import api
    from fanfold.cli import display
    from fanfold.feed import not_taken, runs
    from fanfold.steps.check_for_files import nothing_ready
    from fanfold.steps.list_files import list_files
    from fanfold.steps.start import start

    if from_archive is not None:
        ts = _stage_again(spec, data_dir, ts, from_archive)
    feed = start(spec, data_dir)
    begun = {*runs.unfinished(feed), *runs.complete(feed)}
    with display.Board(feed.spec.subdirs) as board:
        done, failed = api.completed(feed, ts, board.begin)
    found = list_files(feed, done.summary.ts)
    summary = done.summary
    if as_json and (summary.files_in or not failed):
        stay = {"files_ignored": len(found.ignored), "files_waiting": len(found.ready) + found.waiting}
        more: dict[str, Any] = {"drift": done.drift} if done.drift else {}
        more |= {"members_ignored": done.ignored} if done.ignored.members else {}
        print_json({**msgspec.to_builtins(summary), **stay, **more, "seconds": round(done.seconds, 3)})
    elif summary.files_in or not failed:
        display.print_summary(summary, done.subdir_seconds, feed.data_dir, feed.spec.output.csv)
    if not summary.files_in:
        click.echo(as_typed(nothing_ready(feed, found)), err=True)
    # A run that has just begun has warned of what it cannot take.
    elif told := not_taken.told(found, [file.name for file in found.ready], held=done.summary.ts in begun):
        click.echo(f"in landing {told}", err=True)
    if done.ignored.members:
        click.echo(f"in archives {done.ignored}", err=True)
    if failed:
        msg = "runs failed"
        raise ExceptionGroup(msg, failed)


def _stage_again(spec: Path, data_dir: str | None, ts: str | None, from_archive: str) -> str:
    from fanfold.feed import runs
    from fanfold.steps import restore

    if ts is not None or data_dir is None:
        msg = "--from-archive needs --data-dir, where the run is to be made, and no --ts"
        raise click.UsageError(msg)
    source, again = runs.open_feed(spec), runs.open_feed(spec, data_dir)
    if source.data_dir == again.data_dir:
        msg = f"--data-dir {str(data_dir)!r} is the feed's own, expected another directory for --from-archive"
        raise click.UsageError(msg)
    run, committed = runs.open_complete(source, from_archive)
    restore.stage_again(run, committed, again)
    return run.ts


@click.command()
@with_feed
@click.argument("ts", required=False)
@click.option("--deep", is_flag=True, help="Also make the run again from its archive, and compare the bytes.")
@click.option("--audit", "audited", is_flag=True, help="Also account for every value, with independent code.")
@click.option("--sample", metavar="PERCENT", type=click.FloatRange(0, 100, min_open=True), help=SAMPLE)
@JSON
def verify(feed: "Feed", ts: str | None, *, deep: bool, as_json: bool, **checks: Any) -> None:
    """Recount a complete run from archive and output.

    The exit code is 0 if nothing is lost, doubled or changed. That also holds for a run that was reported as failed
    because too many of its files are bad (quarantine.max_bad_files_percent): verify prints the reason.


    Without TS, the newest complete run is recounted. --deep needs room for the run in the directory for temporary files
    (TMPDIR). --audit reads Parquet with pyarrow (pip install 'fanfold[audit]').
    """
    import msgspec

    from fanfold import api
    from fanfold.feed import runs
    from fanfold.records.totals import counted_once_per

    sample, audited = checks["sample"], checks["audited"]
    if sample is not None and not audited:
        msg = "--sample needs --audit"
        raise click.UsageError(msg)
    percent = (sample or 100) if audited else 0
    opened, committed = runs.open_complete(feed, ts)
    found, report = api.verified(opened, committed, deep=deep, audit_percent=percent)
    if as_json:
        print_json({**msgspec.to_builtins(found), **({"audit": report} if report else {})})
    else:
        _print_recount(found, report, counted_once_per(opened.feed.spec, committed))
    sys.exit(1 if found.gaps else 0)


def _print_recount(found: "Recount", report: "Audit | None", once_per: dict[str, str]) -> None:
    for gap in found.gaps:
        click.echo(gap)
    notes = {name: f" (once per {what})" for name, what in once_per.items()}
    sums = "".join(f", sum of {name} {total}{notes.get(name, '')}" for name, total in found.totals.items())
    click.echo(
        f"run {found.ts}: recounted {count(found.files, 'original')}, {count(found.bytes, 'byte')}, "
        f"{count(found.records, 'record')}, {rows_in_words(found.rows)}{sums}: "
        + (f"gaps: {len(found.gaps)}" if found.gaps else found.lost or "nothing lost, nothing twice")
    )
    if found.failed:
        click.echo(as_typed(found.failed))
    if report:
        left_out = "".join(f"; not audited: {count_of(number, what)}" for what, number in report.not_audited.items())
        click.echo(
            f"audited {count(report.scalars, 'value')} of {count(report.records, 'record')} in "
            f"{count(report.files, 'file')}, {count(report.rows, 'row')}: differences: {len(report.findings)}{left_out}"
        )
