"""The commands: each parses, calls one function, prints."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fanfold.cli.options import DATA_DIR, JSON, SPEC, absolute, print_json
from fanfold.cli.quarantine import quarantine
from fanfold.errors import DataError, FanfoldError

if TYPE_CHECKING:
    from fanfold.audit import Audit


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fanfold", message="%(prog)s %(version)s")
def cli() -> None:
    """Fanfold: nested files in, enriched flat tables out, originals archived; nothing lost, nothing twice.

    Every command takes --debug, which adds a traceback to an error.
    """


@cli.command()
@SPEC
@DATA_DIR
@click.option(
    "--ts",
    help="Execution timestamp of the run, in any ISO 8601 form "
    "(default: that of the oldest unfinished run that may go on, else now).",
)
@click.option(
    "--from-archive",
    metavar="TS",
    help="Make a complete run again, from the originals in its archive, in another --data-dir.",
)
@JSON
def run(spec: Path, data_dir: Path | None, ts: str | None, from_archive: str | None, *, as_json: bool) -> None:
    """Do all steps here and now, without Airflow.

    Without --ts the oldest unfinished run is resumed, if there is one. A run that failed because of its data or spec is
    tried again only after one of these has changed: spec, files, references, version of Fanfold. Otherwise it is passed
    over with a warning, and new files go into a new run. The exit code comes from the runs that were tried. With --ts
    the run is always tried.

    Until a run publishes something, it uses the changed spec. After that it keeps its original spec.

    If too many files are bad (quarantine.max_bad_files_percent), or nothing could be read, the run completes, its
    result is printed, and it is reported as failed: exit code 1. With the --ts of a complete run, nothing happens but
    the check that all is in place, and the same report. With --from-archive the same spec gives the same output, byte
    for byte. A changed spec gives the output that it would have produced. Nothing of the feed itself is changed.
    """
    from fanfold import display
    from fanfold.steps import local
    from fanfold.steps.start import start

    if from_archive is not None:
        ts = _stage_again(spec, data_dir, ts, from_archive)
    feed = start(spec, absolute(data_dir))
    failed: list[Exception] = []
    with display.Board(Console(stderr=True), feed.spec.subdirs) as board:

        def begin(name: str, resumed: bool) -> local.OnStep:  # noqa: FBT001 - told by position
            if resumed:
                click.echo(f"resuming the unfinished run {name}; run again for what has landed since", err=True)
            board.begin()
            return board.update

        if ts is None:
            done, failed = local.run_next(feed, begin)
        else:
            done = local.run(feed, ts, board.update)
    if as_json and (done.summary.files_in or not failed):
        print_json({**msgspec.to_builtins(done.summary), "seconds": round(done.seconds, 3)})
    elif done.summary.files_in or not failed:
        display.print_summary(Console(), done.summary, done.subdir_seconds, feed.data_dir)
    if done.failed:
        failed.append(DataError(done.failed))
    if failed:
        msg = "runs failed"
        raise ExceptionGroup(msg, failed)


def _stage_again(spec: Path, data_dir: Path | None, ts: str | None, from_archive: str) -> str:
    from fanfold.feed import runs
    from fanfold.steps import restore

    if ts is not None or data_dir is None:
        msg = "--from-archive takes the --data-dir to make the run in, and no --ts"
        raise click.UsageError(msg)
    source, again = runs.open_feed(spec), runs.open_feed(spec, absolute(data_dir))
    if source.data_dir == again.data_dir:
        msg = f"--data-dir {str(data_dir)!r} is the feed's own, expected another directory for --from-archive"
        raise click.UsageError(msg)
    run, committed = runs.open_complete(source, from_archive)
    restore.stage_again(run, committed, again)
    return run.ts


@cli.command()
@SPEC
@DATA_DIR
@click.option("--write-fields", is_flag=True, help="Add all fields that the spec does not declare yet to input.fields.")
@JSON
def plan(spec: Path, data_dir: Path | None, *, write_fields: bool, as_json: bool) -> None:
    """Say what a run would do: which files go where, the schema and its drift, the references. Nothing is moved.

    Exit code 1 says that there are records that cannot be read: they would go to quarantine.
    """
    from fanfold import display
    from fanfold.spec import writing
    from fanfold.steps import plan as planning
    from fanfold.steps.start import start

    planned = planning.plan(start(spec, absolute(data_dir)))
    if write_fields:
        added = writing.add_fields(spec, planned.fields)
        reason = "" if planned.files else ": no file is ready"
        click.echo(f"{spec}: {display.count(added, 'field')} added to input.fields{reason}", err=True)
    if as_json:
        print_json(planned)
        sys.exit(1 if planned.faults else 0)
    console = _console()
    # On a screen what comes last would push all else away; a pipe gets everything.
    shown = display.SHOWN_COLUMNS if console.is_terminal else len(planned.columns)
    if planned.resumes:
        console.print(f"the unfinished run {planned.resumes} is resumed first")
    settling = f", {planned.settling:,} are settling (input.settle_seconds)" if planned.settling else ""
    held = f", {planned.held:,} cannot be taken (see the warnings)" if planned.held else ""
    console.print(f"{display.count(planned.files, 'file')} ready ({planned.bytes:,} bytes){settling}{held}")
    _print_table(
        console,
        ["subdirectory", "files", "records", "bytes"],
        ([n, f"{part.files:,}", f"{part.records:,}", f"{part.bytes:,}"] for n, part in planned.subdirs.items()),
    )
    _print_table(
        console,
        ["column", "type", "from", "first file"],
        (
            [column.name, column.type, ".".join([column.source, *column.path]), column.first_file or ""]
            for column in planned.columns[:shown]
        ),
    )
    if more := len(planned.columns[shown:]):
        console.print(f"and {display.count(more, 'more column')} (fanfold plan --json has all)")
    for reference in planned.references:
        console.print(f"reference {reference.path}: {reference.rows:,} rows, sha256 {reference.sha256}")
    if planned.drift:
        drift = {
            "added": planned.drift.added,
            "dropped": planned.drift.dropped,
            "retyped": planned.drift.retyped,
        }
        told = "; ".join(f"{how} {', '.join(names)}" for how, names in drift.items() if names)
        console.print(f"columns since run {planned.drift.since}: {told or 'as they were'}")
    for name, of in planned.duplicates.items():
        console.print(f"{name!r} has the bytes of {of!r} (input.duplicates)")
    for fault in planned.faults:
        place = f" line {fault.line}" if fault.line else ""
        console.print(f"WARNING: {fault.file!r}{place}: {fault.message} ({fault.code})", style="yellow")
    sys.exit(1 if planned.faults else 0)


def _console() -> Console:
    # Ids and names are there to be copied: a table is as wide as they are, and the terminal wraps it.
    return Console(width=100_000, soft_wrap=True, highlight=False, markup=False)


def _print_table(console: Console, headings: list[str], rows: Iterator[list[str]]) -> None:
    table = Table()
    for heading in headings:
        table.add_column(heading, justify="right" if heading in {"files", "records", "rows", "bytes"} else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    if table.row_count:
        console.print(table)


@cli.command()
@SPEC
@DATA_DIR
@JSON
def status(spec: Path, data_dir: Path | None, *, as_json: bool) -> None:
    """List the runs, the unfinished ones first: how far each group is, and why a run has failed; and what has landed.

    A complete run is shown as failed if too many of its files were bad, or nothing could be read
    (quarantine.max_bad_files_percent).
    """
    from fanfold import display
    from fanfold.feed import runs
    from fanfold.feed.status import status
    from fanfold.steps.list_files import list_files

    feed = runs.open_feed(spec, absolute(data_dir))
    found = status(feed)
    if as_json:
        print_json(found)
        return
    console = _console()
    _print_table(
        console,
        ["run", "state", "files", "records", "rows", "groups"],
        (
            [
                one.ts,
                one.state
                + (", failed" if one.failed else "")
                + (f", {display.count(one.released, 'file')} released" if one.released else ""),
                f"{one.files:,}",
                "" if one.records is None else f"{one.records:,}",
                "" if one.rows is None else f"{one.rows:,}",
                ", ".join(f"{n} {state}" for n, state in one.groups.items()) if one.state == "unfinished" else "",
            ]
            for one in found
        ),
    )
    if not found:
        console.print("no runs yet")
    for one in found:
        for reason in one.failed:
            console.print(f"run {one.ts} failed: {reason}")
    if feed.landing_dir.is_dir():
        landing = list_files(feed)
        count = sum(map(len, landing.held.values()))
        held = f", {count:,} cannot be taken (fanfold plan says why)" if count else ""
        console.print(
            f"landing: {display.count(len(landing.ready), 'file')} ready, {len(landing.settling):,} settling{held}"
        )


@cli.command()
@SPEC
@click.argument("ts")
@DATA_DIR
def release(spec: Path, ts: str, data_dir: Path | None) -> None:
    """Give up an unfinished run. Unpublished files go back to landing; published ones are committed."""
    from fanfold.feed import runs
    from fanfold.steps.release import release

    returned = release(runs.open_feed(spec, absolute(data_dir)), ts)
    click.echo(f"released: {len(returned):,} back in landing")


@cli.command()
@SPEC
@click.argument("ts")
@click.option("--to", "target", type=click.Path(path_type=Path), help="Where to put them (default: landing).")
@DATA_DIR
def restore(spec: Path, ts: str, target: Path | None, data_dir: Path | None) -> None:
    """Put the originals of a complete run back under their old names, as copies; the archive stays as it is.

    In landing the next run takes them for what they are: duplicates (input.duplicates). To make a run again, use
    fanfold run --from-archive.
    """
    from fanfold.feed import runs
    from fanfold.steps import restore as restoring

    feed = runs.open_feed(spec, absolute(data_dir))
    names = restoring.restore(*runs.open_complete(feed, ts), target.absolute() if target else feed.landing_dir)
    click.echo(f"restored: {len(names):,} in {target or feed.landing_dir}")


@cli.command()
@SPEC
@click.argument("ts", required=False)
@click.option("--deep", is_flag=True, help="Also make the run again from its archive, and compare the bytes.")
@click.option("--audit", "audited", is_flag=True, help="Also account for every value, with code of its own.")
@click.option(
    "--sample",
    metavar="PERCENT",
    type=click.FloatRange(0, 100, min_open=True),
    help="With --audit: compare this percentage of the records; all are counted.",
)
@DATA_DIR
@JSON
def verify(  # noqa: PLR0913 - one for each option
    spec: Path,
    ts: str | None,
    data_dir: Path | None,
    sample: float | None,
    *,
    deep: bool,
    audited: bool,
    as_json: bool,
) -> None:
    """Recount a complete run (default: the newest) from archive and output.

    --deep needs room for the run in the directory for temporary files (TMPDIR). --audit reads Parquet with pyarrow
    (pip install 'fanfold[audit]').
    """
    from fanfold import audit
    from fanfold.feed import runs
    from fanfold.steps import recount, restore

    if sample is not None and not audited:
        msg = "--sample goes with --audit"
        raise click.UsageError(msg)
    opened, committed = runs.open_complete(runs.open_feed(spec, absolute(data_dir)), ts)
    found = recount.recount(opened, committed)
    report = audit.audit(opened, committed, 100 if sample is None else sample) if audited else None
    if report:
        found = msgspec.structs.replace(found, gaps=[*found.gaps, *map(str, report.findings)])
    if deep and not found.gaps:
        found = msgspec.structs.replace(found, gaps=restore.differences(opened, committed))
    if as_json:
        print_json({**msgspec.to_builtins(found), **({"audit": report} if report else {})})
    else:
        for gap in found.gaps:
            click.echo(gap)
        sums = "".join(f", sum of {name} {total}" for name, total in found.totals.items())
        click.echo(
            f"run {found.ts}: recounted {found.files:,} originals, {found.bytes:,} bytes, {found.records:,} records, "
            f"{found.rows:,} rows{sums}: "
            + (f"gaps: {len(found.gaps)}" if found.gaps else "nothing lost, nothing twice")
        )
        if found.failed:
            click.echo(found.failed)
        if report:
            click.echo(_audited(report))
    sys.exit(1 if found.gaps else 0)


def _audited(report: "Audit") -> str:
    """Say what an audit compared, and what it did not."""
    left_out = "".join(f"; not audited: {number:,} {reason}" for reason, number in report.not_audited.items())
    return (
        f"audited {report.scalars:,} values of {report.records:,} records in {report.files:,} files, {report.rows:,} "
        f"rows: differences: {len(report.findings)}{left_out}"
    )


cli.add_command(quarantine)


@cli.command()
@click.argument("specs", metavar="SPEC...", type=click.Path(path_type=Path), nargs=-1, required=True)
def lint(specs: tuple[Path, ...]) -> None:
    """Check specs; nothing else is read (plan checks the folders and files that they name)."""
    from fanfold.spec.model import load_spec

    errors = []
    for path in specs:
        try:
            load_spec(path)
        except FanfoldError as error:
            errors.append(error)
        else:
            click.echo(f"{path}: ok")
    if errors:
        msg = "specs"
        raise ExceptionGroup(msg, errors)


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the spec, for editors."""
    from fanfold.spec.model import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@cli.command()
@SPEC
@click.option("--once", is_flag=True, help="Trigger one run, show it, stop everything, exit with its outcome.")
@click.option("--conf", default="{}", help='Conf of the run as JSON, e.g. \'{"data_dir": "/data/feed"}\'.')
@click.option("--home", type=click.Path(path_type=Path), help="AIRFLOW_HOME (default: .airflow beside the spec).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the UI on 127.0.0.1 (default: a free one).")
def airflow(spec: Path, *, once: bool, conf: str, home: Path | None, port: int | None) -> None:
    """Start an embedded Airflow with the feed's DAG, and serve its UI until Ctrl-C.

    A DAG file beside the spec that has its name (transactions.py for transactions.yaml) is used; without one, one is
    made with feed_dag. Everything listens on 127.0.0.1 only.
    """
    from fanfold.airflow import try_out

    try:
        parsed = json.loads(conf)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        # It may have secrets.
        msg = "found something else, expected a JSON object"
        raise click.BadParameter(msg, param_hint="--conf")
    if once:
        sys.exit(try_out.run_once(spec, parsed, home, port))
    try_out.serve(spec, home, port)
