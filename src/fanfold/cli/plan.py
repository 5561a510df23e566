"""`fanfold plan`: what a run would do."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fanfold.steps.plan import Plan

from fanfold.cli.options import DATA_DIR, JSON, SPEC, print_json
from fanfold.errors import count
from fanfold.spec.paths import written


@click.command()
@SPEC
@DATA_DIR
@click.option("--write-fields", is_flag=True, help="Add all fields that the spec does not declare yet to input.fields.")
@JSON
def plan(spec: Path, data_dir: Path | None, *, write_fields: bool, as_json: bool) -> None:
    """Say what a run would do, and move nothing.

    Shown are the files of each subdirectory, the columns and what changed in them, and the references.

    If the run would fail, the reason is shown, and the exit code is 1.
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
        _print(planned)
    sys.exit(1 if planned.failed else 0)


def _print(planned: "Plan") -> None:
    from fanfold.cli import display
    from fanfold.formats import place_in

    to = display.wide_console()
    if planned.resumes:
        to.print(f"the unfinished run {planned.resumes} goes on")
    to.print(
        f"{count(planned.files, 'file')} {'staged' if planned.resumes else 'ready'} ({count(planned.bytes, 'byte')})"
    )
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
            to.print(f"and {count(more, 'more column')} (fanfold plan --json has all)")
    for reference in planned.references:
        to.print(f"reference {reference.path}: {count(reference.rows, 'row')}, sha256 {reference.sha256}")
    if drift := planned.drift:
        to.print(f"columns since run {drift.since}: {drift.changes or 'as they were'}")
    for name, of in planned.duplicates.items():
        to.print(f"{name!r} has the bytes of {of!r} (input.duplicates)")
    for fault in planned.faults:
        to.print(
            f"WARNING: {fault.file!r}{place_in(fault.file, fault.line)}: {fault.message} ({fault.code})", style="yellow"
        )
    if planned.members_ignored.members:
        to.print(f"in archives {planned.members_ignored}")
    for reason in planned.failed:
        to.print(f"the run would fail: {reason}", style="red")
