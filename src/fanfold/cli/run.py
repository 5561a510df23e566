"""`fanfold run`: all steps here and now."""

from pathlib import Path

import click

from fanfold.cli.options import DATA_DIR, JSON, SPEC, print_json


@click.command()
@SPEC
@DATA_DIR
@click.option("--ts", help="Execution timestamp of the run, in any ISO 8601 form (default: see above).")
@click.option(
    "--from-archive", metavar="TS", help="Make a complete run again, from its archive, in another --data-dir."
)
@JSON
def run(spec: Path, data_dir: Path | None, ts: str | None, from_archive: str | None, *, as_json: bool) -> None:
    """Do all steps here and now, without Airflow.

    Without --ts the oldest unfinished run that may go on is resumed; where there is none, a new run begins, named by
    now. A run that failed because of its data or spec is tried again only after one of these has changed: spec, files,
    references, version of Fanfold. Otherwise it is passed over with a warning, and new files go into a new run. The
    exit code comes from the runs that were tried. With --ts the run is always tried.

    Until a run publishes something, it uses the changed spec. After that it keeps its original spec.

    If too many files are bad (quarantine.max_bad_files_percent), or nothing could be read, the run completes, its
    result is printed, and it is reported as failed: exit code 1. With the --ts of a complete run, nothing happens but
    the check that all is in place, and the same report. With --from-archive the same spec gives the same output, byte
    for byte. A changed spec gives the output that it would have produced. Nothing of the feed itself is changed.
    """
    import msgspec

    from fanfold import api
    from fanfold.cli import display
    from fanfold.feed import left
    from fanfold.steps.check_for_files import nothing_ready
    from fanfold.steps.list_files import list_files
    from fanfold.steps.start import start

    if from_archive is not None:
        ts = _stage_again(spec, data_dir, ts, from_archive)
    feed = start(spec, data_dir)
    with display.Board(feed.spec.subdirs) as board:
        done, failed = api.completed(feed, ts, board.begin)
    found = list_files(feed)
    summary = done.summary
    if as_json and (summary.files_in or not failed):
        stay = {"files_ignored": len(found.ignored), "files_waiting": len(found.ready) + found.waiting}
        drift = {"drift": done.drift} if done.drift else {}
        print_json({**msgspec.to_builtins(summary), **stay, **drift, "seconds": round(done.seconds, 3)})
    elif summary.files_in or not failed:
        display.print_summary(summary, done.subdir_seconds, feed.data_dir, feed.spec.output.csv)
    if not summary.files_in:
        click.echo(nothing_ready(feed, found), err=True)
    elif told := left.told(found, [file.name for file in found.ready]):
        click.echo(f"in landing {told}", err=True)
    if failed:
        msg = "runs failed"
        raise ExceptionGroup(msg, failed)


def _stage_again(spec: Path, data_dir: Path | None, ts: str | None, from_archive: str) -> str:
    from fanfold.feed import runs
    from fanfold.steps import restore

    if ts is not None or data_dir is None:
        msg = "--from-archive takes the --data-dir to make the run in, and no --ts"
        raise click.UsageError(msg)
    source, again = runs.open_feed(spec), runs.open_feed(spec, data_dir)
    if source.data_dir == again.data_dir:
        msg = f"--data-dir {str(data_dir)!r} is the feed's own, expected another directory for --from-archive"
        raise click.UsageError(msg)
    run, committed = runs.open_complete(source, from_archive)
    restore.stage_again(run, committed, again)
    return run.ts
