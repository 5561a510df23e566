"""Write the pages of docs/reference from the code: the spec's models, and the commands of the command line.

`python docs/generate.py` writes the pages; with `--check` it writes nothing, names the pages that are stale, and exits
with 1 where there is one.
"""

import argparse
import inspect
import json
import sys
import tempfile
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import annotated_types
import click
import msgspec
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fanfold import cli
from fanfold.faults import CODES, OF_VALUES
from fanfold.manifest import BadFile, BadRecord, FrozenReference, SubdirSummary, Summary
from fanfold.spec.model import Spec, load_spec
from fanfold.spec.values import FieldPath, FieldType, InsidePath, OutputColumn, Pointer

REFERENCE_DIR = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py from the code: change it there, then run `python docs/generate.py`. -->"

# The example: what has no default, and what shows a form; every other key stands there with its default.
EXAMPLE = {
    "version": 1,
    "name": "transactions",
    "merge": [
        {"reference": "customers.csv", "key": "customer_id", "into": "customer"},
        {
            "reference": "stores.csv",
            "key": {"record": "store.id", "reference": "store_id"},
            "into": "shop",
            "columns": ["name", "city"],
        },
    ],
    "denormalize": {"explode": ["items"]},
}

TYPES = {str: "text", int: "integer", float: "number", bool: "true or false", types.NoneType: "null"}
MARKED = {
    _marker: name
    for annotation, name in (
        (InsidePath, "path inside `data_dir`"),
        (FieldPath, "field path"),
        (Pointer, "JSON pointer"),
        (FieldType, "type"),
        (OutputColumn, "column name, or `{name: SQL expression}`"),
    )
    for _marker in typing.get_args(annotation)[1:]
}
BOUNDS = (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("lt", "less than"))

EXIT_CODES = {
    "0": "Done.",
    "1": "The data is the problem: too many bad records or files, a duplicate key, a gap in the counts. Or the run "
    "started by `airflow --once` failed.",
    "2": "Usage, the spec, a path outside the allowed roots, something is missing.",
    "3": "Try again: disk full, I/O.",
    "130": "Interrupted. After `fanfold run`, the next run goes on from there.",
}

# Meaning of each key of `run --json`; a key without a meaning, or a meaning without a key, stops the generator.
SUMMARY = {
    "ts": "The run: its execution timestamp, in UTC.",
    "files_in": "Files that were claimed; `files_archived` + `files_quarantined`.",
    "files_archived": "Originals in the archive.",
    "files_quarantined": "Files in which no record could be read: in quarantine, each beside its reason.",
    "bytes_in": "Bytes of the originals, as they lie on disk.",
    "records_in": "Records in the originals; published + `records_quarantined`.",
    "records_quarantined": "Bad records: in quarantine, each with its reason.",
    "records_unmatched": "Records that some reference has no match for.",
    "rows_out": "Rows in all published tables.",
    "subdirs": "For each subdirectory, by its number as a text, one object: see below. The sums are the totals.",
    "references": "For each reference, in the order of the spec, one object: see below.",
    "seconds": "How long this call took. The only key that differs when a complete run is run again.",
}
SUBDIR = {
    "files": "Files of the subdirectory; 0 where it is empty.",
    "bytes": "Bytes of its originals.",
    "records": "Records in its originals.",
    "rows": "Rows in its table.",
    "output": "Its table, relative to `data_dir`; null where it is empty.",
}
REFERENCE = {
    "path": "The reference, relative to `data_dir`.",
    "sha256": "SHA-256 of the file as it was when it was frozen.",
    "rows": "Its rows; under `on_duplicate: first`, those that can match.",
}


def main() -> int:
    """Write the pages, or check them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is stale")
    check = parser.parse_args().check
    stale = []
    for name, text in pages().items():
        page = REFERENCE_DIR / name
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            stale.append(page)
            if not check:
                page.parent.mkdir(exist_ok=True)
                page.write_text(text, encoding="utf-8")
    for page in stale:
        print(f"{page.relative_to(REFERENCE_DIR.parent.parent)}: {'stale' if check else 'written'}")
    return int(check and bool(stale))


def pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    return {"spec.md": spec_page(), "cli.md": cli_page(), "quarantine.md": quarantine_page()}


def quarantine_page() -> str:
    """Return the page of what lies in quarantine: the keys of a bad record and of a bad file, and the codes."""
    codes = ([f"`{code}`", "value" if code in OF_VALUES else "reading", text] for code, text in CODES.items())
    return _joined(
        [
            "# Quarantine",
            NOTE,
            (
                "A bad record goes to `quarantine/<ts>/<n>/records.jsonl`, one object a line. A file in which no "
                "record can be read goes to `quarantine/<ts>/<n>/<name>`, beside `<name>.reason.json`; a file whose "
                "name begins with `records.jsonl`, or has `.reason.json` in it, gets `.bad` behind its name."
            ),
            "## A bad record",
            inspect.cleandoc(BadRecord.__doc__ or ""),
            "Keys: " + ", ".join(f"`{key}`" for key in BadRecord.__struct_fields__) + ".",
            "## A bad file",
            inspect.cleandoc(BadFile.__doc__ or ""),
            "Keys: " + ", ".join(f"`{key}`" for key in BadFile.__struct_fields__) + ".",
            "## Codes",
            (
                "The list is stable: a code keeps its meaning, new ones may come. Where all records of a file have a "
                "code of reading, there is nothing to be read in it: the file itself goes to quarantine."
            ),
            _table(["code", "of", "meaning"], list(codes)),
        ]
    )


def spec_page() -> str:
    """Return the page of the spec: a table for each section, and an example with every key."""
    lines = [
        "# The spec",
        NOTE,
        (
            "One YAML file says everything about a feed. `fanfold lint` checks it and names all errors at once, with "
            "file and line; `fanfold schema` prints its JSON Schema, for editors. An unknown key is an error."
        ),
        (
            "A *path inside `data_dir`* is relative, without `..`. A *field path* names a field of the record; dots "
            "lead into nested objects: `customer.id`. The folders of `input`, `output`, `archive` and `quarantine` "
            "do not overlap each other, nor Fanfold's own `staging` and `.fanfold`."
        ),
        "## Every key in one example",
        "Keys that have a default may be left out: `version` and `name` are enough for a spec that loads.",
        f"```yaml\n{_example()}```",
        "## Top level",
        *_section(Spec, ""),
    ]
    return _joined(lines)


def _example() -> str:
    """Return a spec with every key, which `load_spec` has accepted."""
    text = yaml.safe_dump(Spec.model_validate(EXAMPLE).model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "transactions.yaml")
        path.write_text(text, encoding="utf-8")
        load_spec(path)
    return text


def _section(model: type[BaseModel], above: str) -> Iterator[str]:
    """Yield a model's docstring and table, then those of the models that its keys hold."""
    if above:
        yield inspect.cleandoc(model.__doc__ or "")
    rows, below = [], []
    for name, field in model.model_fields.items():
        path = above + (field.alias or name)
        inner = [member for member in _members(field.annotation) if _is_model(member)]
        below += [(path + ("[]." if _is_list(field.annotation) else "."), member) for member in inner]
        meaning = field.description or inspect.cleandoc(inner[0].__doc__ or "") if inner else field.description
        if not meaning:
            msg = f"{path} has no description"
            raise ValueError(msg)
        rows.append([f"`{path}`", _type(field), _default(field), " ".join(meaning.split())])
    yield _table(["key", "type", "default", "meaning"], rows)
    for path, member in below:
        yield f"{'##' if not above else '###'} {path.rstrip('.').removesuffix('[]')}"
        yield from _section(member, path)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union, and of the lists in it; other types are their own only member."""
    origin = typing.get_origin(annotation)
    if origin in {types.UnionType, typing.Union, list}:
        return [inner for member in typing.get_args(annotation) for inner in _members(member)]
    return [annotation]


def _is_list(annotation: Any) -> bool:
    return typing.get_origin(annotation) is list


def _type(field: FieldInfo) -> str:
    return _named(field.annotation, list(field.metadata))


def _named(annotation: Any, metadata: list[Any]) -> str:
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _named(members[0], [*members[1:], *metadata])
    if origin is typing.Literal:
        return " or ".join(f"`{json.dumps(member).strip(chr(34))}`" for member in members)
    if origin in {types.UnionType, typing.Union} and not any(entry in MARKED for entry in metadata):
        inner = [_named(member, metadata) for member in members if member is not types.NoneType]
        return " or ".join(inner) + (", or null" if types.NoneType in members else "")
    if origin in {list, dict}:
        named = " to ".join(_named(member, []) for member in members)
        return f"{'list' if origin is list else 'mapping'} of {named}" + _limits(metadata, "element")
    if _is_model(annotation):
        return "object"
    marked = [MARKED[entry] for entry in metadata if entry in MARKED]
    return (marked[0] if marked else TYPES[annotation]) + _limits(metadata, "character" if annotation is str else "")


def _limits(metadata: list[Any], unit: str) -> str:
    """Return the bounds of a value in words, from what pydantic keeps of `Field(ge=…, pattern=…)`."""
    found = []
    is_named = any(entry in MARKED for entry in metadata)
    for entry in _constraints(metadata):
        for attribute, words in BOUNDS:
            bound = getattr(entry, attribute, None)
            if bound is not None:
                found.append(f"{words} {bound:,}")
        if isinstance(entry, annotated_types.MinLen) and entry.min_length:
            found.append(_count("at least", entry.min_length, unit))
        if isinstance(entry, annotated_types.MaxLen):
            found.append(_count("at most", entry.max_length, unit))
        if (pattern := getattr(entry, "pattern", None)) and not is_named:
            found.append(f"of the form `{pattern}`")
    return "".join(f", {limit}" for limit in found)


def _count(words: str, count: int, unit: str) -> str:
    return f"{words} {count} {unit}{'s' if count != 1 else ''}"


def _constraints(metadata: list[Any]) -> Iterator[Any]:
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            yield from entry.metadata
        else:
            yield entry


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if isinstance(field.default, BaseModel):
        return "see below"
    return f"`{json.dumps(field.default, ensure_ascii=False)}`"


def cli_page() -> str:
    """Return the page of the command line: every command, the exit codes, the keys of `run --json`."""
    context = click.Context(cli.cli, info_name="fanfold", **cli.cli.context_settings)
    lines = [
        "# The command line",
        NOTE,
        inspect.cleandoc(cli.cli.help or ""),
        "Results go to stdout, diagnostics to stderr, one line an error. Exit codes, of every command:",
        _table(["code", "meaning"], [[f"`{code}`", meaning] for code, meaning in EXIT_CODES.items()]),
        "Where several groups or runs failed, the smallest of their codes counts.",
        _table(
            ["command", "what it does"],
            [
                [f"[`fanfold {name}`](#fanfold-{name.replace(' ', '-')})", _first_line(command)]
                for name, command, _ in _commands(cli.cli, context, "")
            ],
        ),
    ]
    for name, command, inner in _commands(cli.cli, context, ""):
        lines += _command(name, command, inner)
    lines += [
        "## The JSON of run",
        "`fanfold run SPEC --json` prints one object, for the run that is complete now.",
        (
            "Where no file was ready, its counts are zero. If an earlier run was also tried and failed, nothing is "
            "printed."
        ),
        _keys(Summary, SUMMARY, {"seconds": "number"}),
        "Each of `subdirs`:",
        _keys(SubdirSummary, SUBDIR),
        "Each of `references`:",
        _keys(FrozenReference, REFERENCE),
    ]
    return _joined(lines)


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
    yield _rewrapped(command.help or "")
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    if arguments:
        rows = [[f"`{p.make_metavar(context)}`", "yes" if p.required else "no", _argument(p)] for p in arguments]
        yield _table(["argument", "required", "meaning"], rows)
    rows = []
    for option in command.get_params(context):
        if isinstance(option, click.Option) and (record := option.get_help_record(context)):
            rows.append([f"`{record[0]}`", " ".join(record[1].split())])
    yield _table(["option", "meaning"], rows)


# click keeps no help for arguments.
ARGUMENTS = {
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


def _rewrapped(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


def _keys(kind: type[msgspec.Struct], meanings: dict[str, str], more: dict[str, str] | None = None) -> str:
    names = {field.name: _json_type(field.type) for field in msgspec.structs.fields(kind)} | (more or {})
    if list(names) != list(meanings):
        msg = f"{kind.__name__} has the keys {list(names)}, expected {list(meanings)}"
        raise ValueError(msg)
    rows = [[f"`{name}`", shown, meanings[name]] for name, shown in names.items()]
    return _table(["key", "type", "meaning"], rows)


def _json_type(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(_json_type(member) for member in typing.get_args(annotation))
    return {dict: "object", list: "array"}.get(origin) or TYPES.get(annotation, "object")


def _table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _joined(blocks: list[str]) -> str:
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    sys.exit(main())
