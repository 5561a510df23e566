"""`fanfold lint` and `fanfold schema`: the spec alone."""

import json
from pathlib import Path

import click

from fanfold.errors import FanfoldError


@click.command()
@click.argument("specs", metavar="SPEC...", type=click.Path(path_type=Path), nargs=-1, required=True)
def lint(specs: tuple[Path, ...]) -> None:
    """Check specs. Nothing else is read: plan also checks the folders and files that they name."""
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


@click.command()
def schema() -> None:
    """Print the JSON Schema of the spec, for editors."""
    from fanfold.spec.model import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
