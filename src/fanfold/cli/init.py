"""`fanfold init`: a first spec from sample files."""

import os
from pathlib import Path

import click


@click.command()
@click.argument("samples", metavar="SAMPLE...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--reference", "references", type=click.Path(path_type=Path), multiple=True, help="A table to join.")
@click.option("--name", help="Name of the feed (default: the name of the samples' folder).")
@click.option("--dir", "to_dir", type=click.Path(path_type=Path), default=".", help="Where to write (default: here).")
def init(samples: tuple[Path, ...], references: tuple[Path, ...], name: str | None, to_dir: Path) -> None:
    """Write a commented spec and a DAG file from sample files.

    The files are NAME.yaml and NAME_dag.py. The samples do not change. If they are many or large, only a part is read,
    which takes seconds. If possible, their folder becomes the landing folder: then `fanfold plan` and `fanfold run` can
    be tried at once. Existing files are never overwritten (exit code 2).
    """
    from fanfold.init.make import make

    made = make(samples, references, name, to_dir)
    for line in made.findings:
        click.echo(line)
    shown = [os.path.relpath(path) for path in made.paths]
    click.echo(f"wrote {', '.join(shown)}")
    click.echo(f"next: fanfold plan {shown[0]}\n      fanfold run {shown[0]}")
