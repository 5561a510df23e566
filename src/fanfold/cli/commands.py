"""`fanfold`: the group of all commands; each parses, calls one function, prints."""

import click

from fanfold.cli.airflow import airflow
from fanfold.cli.doctor import doctor
from fanfold.cli.quarantine import quarantine
from fanfold.cli.run import plan, run, verify
from fanfold.cli.runs import purge, release, restore
from fanfold.cli.spec import init, lint, schema
from fanfold.cli.status import status


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fanfold", message="%(prog)s %(version)s")
def cli() -> None:
    """Fanfold: nested files in, enriched flat tables out, originals archived; nothing lost, nothing twice.

    Every command takes --debug, which adds a traceback to an error.
    """


for command in (init, run, plan, status, release, restore, purge, verify, quarantine, doctor, lint, schema, airflow):
    cli.add_command(command)
