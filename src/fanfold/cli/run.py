"""`fanfold run`: all steps here and now."""

from pathlib import Path
from typing import Any

import click

from fanfold.cli.options import DATA_DIR, JSON, SPEC, print_json
from fanfold.errors import DataError


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

    Without --ts, the oldest unfinished run that can go on is resumed. If there is none, a new run begins, named by the
    current time. A run that failed because of its data or spec is tried again only if the spec, its files, a reference
    or the version of Fanfold has changed since. Otherwise it is passed over with a warning, and new files go into a new
    run. With --ts the run is always tried. The exit code is that of the runs that were tried.

    Until a run publishes something, it uses the spec as it is now. After that it keeps the spec that it began with.

    If too many files are bad (quarantine.max_bad_files_percent), or nothing could be read, the run completes, prints
    its result, and is reported as failed: exit code 1. With the --ts of a complete run, nothing is done but to check
    that everything is in place, and to report the same.

    With --from-archive, a complete run is made again in another folder. The same spec gives the same output, byte for
    byte. A changed spec gives the output that it would have given. The feed itself does not change.
    """
    import msgspec

    from fanfold.cli import display
    from fanfold.feed import left
    from fanfold.steps import local
    from fanfold.steps.check_for_files import nothing_ready
    from fanfold.steps.list_files import list_files
    from fanfold.steps.start import start

    if from_archive is not None:
        ts = _stage_again(spec, data_dir, ts, from_archive)
    feed = start(spec, data_dir)
    failed: list[Exception] = []
    with display.Board(feed.spec.subdirs) as board:
        if ts is None:
            done, failed = local.run_next(feed, board.begin)
        else:
            done = local.run(feed, ts, board)
    found = list_files(feed, done.summary.ts)
    if done.summary.files_in or not failed:
        if as_json:
            more: dict[str, Any] = {
                "files_ignored": len(found.ignored),
                "files_waiting": len(found.ready) + found.waiting,
            }
            more |= {"drift": done.drift} if done.drift else {}
            more |= {"members_ignored": done.ignored} if done.ignored.members else {}
            print_json({**msgspec.to_builtins(done.summary), **more, "seconds": round(done.seconds, 3)})
        else:
            display.print_summary(done.summary, done.subdir_seconds, feed.data_dir, feed.spec.output.csv)
    stay = left.told(found, [file.name for file in found.ready])
    if not done.summary.files_in:
        click.echo(nothing_ready(feed, found), err=True)
    elif stay:
        click.echo(f"in landing {stay}", err=True)
    if done.ignored.members:
        click.echo(f"in archives {done.ignored}", err=True)
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
    source, again = runs.open_feed(spec), runs.open_feed(spec, data_dir)
    if source.data_dir == again.data_dir:
        msg = f"--data-dir {str(data_dir)!r} is the feed's own, expected another directory for --from-archive"
        raise click.UsageError(msg)
    run, committed = runs.open_complete(source, from_archive)
    restore.stage_again(run, committed, again)
    return run.ts
