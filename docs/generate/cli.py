"""The page of the command line: every command, the exit codes, the keys of `run --json`."""

import inspect
from collections.abc import Iterator

import click

from docs.generate.words import NOTE, joined, keys, table, unwrapped
from fanfold.cli import cli
from fanfold.manifest import FrozenReference, SubdirSummary, Summary

EXIT_CODES = {
    "0": "Done.",
    "1": "The data is the problem: too many bad records or files, a duplicate key, a gap in the counts. Or the run "
    "started by `airflow --once` failed.",
    "2": "The command, the spec or a path is wrong, or something is missing.",
    "3": "Try again: disk full, I/O.",
    "130": "Interrupted. After `fanfold run`, the next run continues from there.",
}

# Meaning of each key of `run --json`; a key without a meaning, or a meaning without a key, stops the generator.
SUMMARY = {
    "ts": "The run: its execution timestamp, in UTC.",
    "files_in": "Files that were claimed; `files_archived` + `files_quarantined`.",
    "files_archived": "Originals in the archive.",
    "files_quarantined": "Files in which no record could be read. They are in quarantine, each beside its reason.",
    "bytes_in": "Bytes of the originals on disk.",
    "records_in": "Records in the originals; published + `records_quarantined`.",
    "records_quarantined": "Bad records. They are in quarantine, each with its reason.",
    "records_unmatched": "Records for which a reference has no match.",
    "rows_out": "Rows in all published tables; with `tables`, an object by table.",
    "subdirs": "For each subdirectory, by its number (as text), one object: see below. The sums are the totals.",
    "references": "For each reference, in the order of the spec, one object: see below.",
    "files_ignored": "Files in landing, at the end of this call, that match no pattern.",
    "files_waiting": "Files in landing, at the end of this call, that match a pattern: ready, or not yet.",
    "seconds": "How long this call took. For a complete run, only this and the two keys before it may differ.",
}
SUBDIR = {
    "files": "Files of the subdirectory; 0 if it is empty.",
    "bytes": "Bytes of its originals.",
    "records": "Records in its originals.",
    "rows": "Rows in its table; with `tables`, an object by table.",
    "output": "Its table, relative to `data_dir`, or null if it is empty; with `tables`, an object by table.",
}
REFERENCE = {
    "path": "The reference, relative to `data_dir`.",
    "sha256": "SHA-256 of the file as it was when it was frozen.",
    "rows": "Its rows; with `on_duplicate: first`, those that can match.",
}


def page() -> str:
    """Return the page."""
    context = click.Context(cli, info_name="fanfold", **cli.context_settings)
    lines = [
        "# The command line",
        NOTE,
        inspect.cleandoc(cli.help or ""),
        "Results go to stdout. Diagnostics go to stderr, one line per error. The exit codes of every command:",
        table(["code", "meaning"], [[f"`{code}`", meaning] for code, meaning in EXIT_CODES.items()]),
        "If several groups or runs failed, the smallest of their codes is used.",
        table(
            ["command", "what it does"],
            [
                [f"[`fanfold {name}`](#fanfold-{name.replace(' ', '-')})", _first_line(command)]
                for name, command, _ in _commands(cli, context, "")
            ],
        ),
    ]
    for name, command, inner in _commands(cli, context, ""):
        lines += _command(name, command, inner)
    lines += [
        "## The JSON of run",
        "`fanfold run SPEC --json` prints one object, for the run that is complete now.",
        ("If no file was ready, its counts are zero. If an earlier run was also tried and failed, nothing is printed."),
        keys(Summary, SUMMARY, {"files_ignored": "integer", "files_waiting": "integer", "seconds": "number"}),
        "Each of `subdirs`:",
        keys(SubdirSummary, SUBDIR),
        "Each of `references`:",
        keys(FrozenReference, REFERENCE),
    ]
    return joined(lines)


def _commands(
    group: click.Group, context: click.Context, above: str
) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name, command in group.commands.items():
        inner = click.Context(command, info_name=name, parent=context)
        yield above + name, command, inner
        if isinstance(command, click.Group):
            yield from _commands(command, inner, f"{above}{name} ")


def _command(name: str, command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## fanfold {name}"
    yield f"```text\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```"
    yield unwrapped(command.help or "")
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    if arguments:
        rows = [[f"`{p.make_metavar(context)}`", "yes" if p.required else "no", _argument(p)] for p in arguments]
        yield table(["argument", "required", "meaning"], rows)
    rows = []
    for option in command.get_params(context):
        if isinstance(option, click.Option) and (record := option.get_help_record(context)):
            rows.append([f"`{record[0]}`", " ".join(record[1].split())])
    yield table(["option", "meaning"], rows)


# click keeps no help for arguments.
ARGUMENTS = {
    "samples": "Sample files, or folders of them.",
    "spec": "The spec of the feed.",
    "specs": "Specs, one or more.",
    "item": "`TS/N:K`, the K-th bad record of subdirectory N, or `TS/N/NAME`, a bad file.",
    "items": "Items: each `TS/N:K`, the K-th bad record of subdirectory N, or `TS/N/NAME`, a bad file.",
    "ts": "Execution timestamp of the run, in any ISO 8601 form.",
}


def _argument(argument: click.Argument) -> str:
    return ARGUMENTS[argument.name or ""]


def _first_line(command: click.Command) -> str:
    return (command.help or "").split("\n\n", 1)[0].replace("\n", " ").strip()
