"""`fanfold init`: a first spec from sample files."""

import os
from pathlib import Path

import click


@click.command()
@click.argument("samples", metavar="SAMPLE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--reference", "references", type=click.Path(path_type=Path), multiple=True, help="A table to join.")
@click.option("--name", help="Name of the feed (default: that of the samples' folder).")
@click.option("--dir", "to_dir", type=click.Path(path_type=Path), default=".", help="Where to write (default: here).")
def init(samples: tuple[Path, ...], references: tuple[Path, ...], name: str | None, to_dir: Path) -> None:
    """Look at sample files, or folders of them, and write a commented spec NAME.yaml and a DAG file NAME_dag.py.

    The samples stay as they are. Of many or large files a part is read, which takes seconds. Landing is the folder of
    the samples where that can be: then `fanfold plan` and `fanfold run` can be tried at once. Existing files are never
    overwritten: exit code 2.
    """
    from fanfold.init.write import make

    made = make(samples, references, name, to_dir)
    for line in made.findings:
        click.echo(line)
    shown = [os.path.relpath(path) for path in made.paths]
    click.echo(f"wrote {', '.join(shown)}")
    click.echo(f"next: fanfold plan {shown[0]}\n      fanfold run {shown[0]}")
