"""`fanfold doctor`: whether the place of a feed guarantees what Fanfold relies on."""

from pathlib import Path

import click

from fanfold.cli.options import DATA_DIR, JSON, SPEC, print_json


@click.command()
@SPEC
@DATA_DIR
@JSON
def doctor(spec: Path, data_dir: str | None, *, as_json: bool) -> None:
    """Test whether a folder or a bucket can hold a feed.

    Fanfold relies on some guarantees. In a folder they are about renames, links and locks. In a bucket, only one
    process may create a name, and what was written must be visible at once. The test takes seconds, and removes what it
    has made. In a bucket, the verdict is kept in .fanfold/store.json. If the place cannot hold a feed: exit code 1.
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
        display.print_table(display.wide_console(), ("check", "passed", "meaning"), rows)
    found.check(place)
    if not as_json:
        click.echo(f"{place} can hold a feed")
