"""`fanfold doctor`: whether the place of a feed keeps what Fanfold rests on."""

from pathlib import Path

import click

from fanfold.cli.options import DATA_DIR, JSON, SPEC, print_json


@click.command()
@SPEC
@DATA_DIR
@JSON
def doctor(spec: Path, data_dir: str | None, *, as_json: bool) -> None:
    """Try whether a folder or a bucket can hold a feed.

    Fanfold rests on what the place keeps: in a folder renames, links and locks; in a bucket, that a name is given once,
    and that what was written is seen at once. It is tried there, in seconds, and what is made for it is removed. A
    bucket keeps the verdict, in .fanfold/store.json. Not fit: exit code 1.
    """
    from fanfold.cli import display
    from fanfold.spec.model import load_spec
    from fanfold.steps import doctor as trying

    place = data_dir or load_spec(spec).data_dir
    found = trying.doctor(spec, place)
    if as_json:
        print_json(found)
    else:
        rows = [
            (check.name, "yes" if check.kept else "NO" if check.needed else "no", check.told) for check in found.checks
        ]
        display.print_table(display.wide_console(), ("check", "kept", "so"), rows)
    found.check(place)
    if not as_json:
        click.echo(f"{place} can hold a feed")
