"""`fanfold init`, `lint` and `schema`: the spec alone."""

import json
import os
from pathlib import Path

import click

from fanfold import mirrors
from fanfold.errors import FanfoldError, MissingError


@click.command()
@click.argument("samples", metavar="SAMPLE...", type=click.Path(), nargs=-1, required=True)
@click.option("--reference", "references", type=click.Path(path_type=Path), multiple=True, help="A table to join.")
@click.option("--name", help="Name of the feed (default: the name of the samples' folder).")
@click.option("--dir", "to_dir", type=click.Path(path_type=Path), default=".", help="Where to write (default: here).")
def init(samples: tuple[str, ...], references: tuple[Path, ...], name: str | None, to_dir: Path) -> None:
    """Write a first spec and a DAG file from sample files.

    SAMPLE is a file, or a folder of files. NAME.yaml is the spec, with comments; NAME_dag.py is the DAG file. The
    samples stay as they are. If there are many samples, or large ones, only a part is read, which takes seconds. If
    possible, landing is the folder of the samples, so that you can try `fanfold plan` and `fanfold run` at once. A file
    that exists is never overwritten: exit code 2.
    """
    from fanfold.init.write import make

    if uris := [sample for sample in samples if mirrors.is_uri(sample)]:
        msg = f"{uris[0]!r} is in a bucket, expected files or folders on this machine: copy some samples"
        raise MissingError(msg)
    made = make([*map(Path, samples)], references, name, to_dir)
    shown = [os.path.relpath(path) for path in made.paths]
    told = [
        *made.findings,
        f"wrote {', '.join(shown)}",
        f"next: fanfold plan {shown[0]}",
        f"      fanfold run {shown[0]}",
    ]
    click.echo("\n".join(told))


@click.command()
@click.argument("specs", metavar="SPEC...", type=click.Path(path_type=Path), nargs=-1, required=True)
def lint(specs: tuple[Path, ...]) -> None:
    """Check specs, without the folders and files that they name.

    All errors of a spec are reported at once. `fanfold plan` checks folders and files, too.
    """
    from fanfold.spec.model import load_spec

    errors = []
    for path in specs:
        try:
            load_spec(path)
            click.echo(f"{path}: ok")
        except FanfoldError as error:
            errors.append(error)
    if errors:
        msg = "specs"
        raise ExceptionGroup(msg, errors)


@click.command()
def schema() -> None:
    """Print the JSON Schema of the spec, for editors."""
    from fanfold.spec.model import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
