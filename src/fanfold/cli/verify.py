"""`fanfold verify`: recount a complete run, make it again, account for every value."""

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from fanfold.audit import Audit
    from fanfold.layout import Feed
    from fanfold.steps.recount import Recount

from fanfold.cli.options import JSON, print_json, with_feed
from fanfold.errors import count
from fanfold.proof import rows_in_words


@click.command()
@with_feed
@click.argument("ts", required=False)
@click.option("--deep", is_flag=True, help="Also make the run again from its archive, and compare the bytes.")
@click.option("--audit", "audited", is_flag=True, help="Also account for every value, with code of its own.")
@click.option(
    "--sample",
    metavar="PERCENT",
    type=click.FloatRange(0, 100, min_open=True),
    help="With --audit: compare this percentage of the records; all are counted.",
)
@JSON
def verify(feed: "Feed", ts: str | None, *, deep: bool, as_json: bool, **checks: Any) -> None:
    """Recount a complete run (default: the newest) from archive and output.

    --deep needs room for the run in the directory for temporary files (TMPDIR). --audit reads Parquet with pyarrow
    (pip install 'fanfold[audit]').
    """
    import msgspec

    from fanfold import api
    from fanfold.feed import runs

    sample, audited = checks["sample"], checks["audited"]
    if sample is not None and not audited:
        msg = "--sample goes with --audit"
        raise click.UsageError(msg)
    percent = (sample or 100) if audited else 0
    found, report = api.verified(*runs.open_complete(feed, ts), deep=deep, audit_percent=percent)
    if as_json:
        print_json({**msgspec.to_builtins(found), **({"audit": report} if report else {})})
    else:
        _print(found, report)
    sys.exit(1 if found.gaps else 0)


def _print(found: "Recount", report: "Audit | None") -> None:
    for gap in found.gaps:
        click.echo(gap)
    sums = "".join(f", sum of {name} {total}" for name, total in found.totals.items())
    click.echo(
        f"run {found.ts}: recounted {count(found.files, 'original')}, {count(found.bytes, 'byte')}, "
        f"{count(found.records, 'record')}, {rows_in_words(found.rows)}{sums}: "
        + (f"gaps: {len(found.gaps)}" if found.gaps else found.lost or "nothing lost, nothing twice")
    )
    if found.failed:
        click.echo(found.failed)
    if report:
        left_out = "".join(f"; not audited: {number:,} {reason}" for reason, number in report.not_audited.items())
        click.echo(
            f"audited {count(report.scalars, 'value')} of {count(report.records, 'record')} in "
            f"{count(report.files, 'file')}, {count(report.rows, 'row')}: differences: {len(report.findings)}{left_out}"
        )
