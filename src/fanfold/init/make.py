"""A first spec and a DAG file, written from samples."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fanfold.errors import MissingError, PathError, count
from fanfold.feed.access import check_writable
from fanfold.formats import compression, is_archive
from fanfold.init.place import home_of
from fanfold.init.propose import propose
from fanfold.init.samples import REFERENCE_BYTES, part_of, take
from fanfold.init.write import DAG, SCHEMA_NAME, findings, spec_text
from fanfold.scratch import scratch_dir
from fanfold.spec.model import json_schema, parse_spec


class Made(NamedTuple):
    """What was written, and what was found."""

    spec_path: Path
    paths: list[Path]
    findings: list[str]


def make(samples: Sequence[Path], references: Sequence[Path], name: str | None, to_dir: Path) -> Made:
    """Look at samples and references, and write NAME.yaml, NAME_dag.py, and beside them the JSON Schema of the spec.

    Nothing is overwritten: a second call fails. The schema stays where it is there already.

    Args:
        samples: files, or folders of files.
        references: files.
        name: of the feed; None: that of the folder of the samples.
        to_dir: where to write; it is made.

    Raises:
        MissingError: there are no samples, or a reference is not there.
        SpecError: the name is not one of a feed.
        PathError: a file is there already.
    """
    tables = [path.resolve() for path in references]
    for path in tables:
        if not path.is_file():
            msg = f"{str(path)!r} is not a file, expected a reference"
            raise MissingError(msg)
    to_dir = to_dir.resolve()
    with scratch_dir() as folder:
        scratch, nothing = folder / "parts", folder / "nothing"
        scratch.mkdir()
        taken = take(samples, tables, scratch)
        name = name or re.sub(r"[^A-Za-z0-9_.-]+", "_", taken.folder.name).strip("_.")[:100] or "feed"
        parse_spec(f"version: 1\nname: {json.dumps(name)}\n", f"--name {name}")
        spec_path, dag_path = to_dir / f"{name}.yaml", to_dir / f"{name}_dag.py"
        if there := [path for path in (spec_path, dag_path) if os.path.lexists(path)]:
            msg = f"{str(there[0])!r} is there already, and stays as it is: choose another --name or --dir"
            raise PathError(msg)
        check_writable([to_dir])
        home = home_of(name, taken, tables, to_dir)
        known = {home.references.get(path, path.name): path for path in tables}
        parts = dict(part_of(path, known_as, REFERENCE_BYTES, scratch) for known_as, path in known.items())
        proposal = propose(nothing, taken.places, parts)
    chosen = f"{taken.read_files:,} of {count(len(taken.names), 'file')}"
    # What is packed is read unpacked: of one and the other there is no share.
    is_packed = any(compression(one) or is_archive(one) for one in taken.names)
    total = count(taken.total_bytes, "byte")
    size = (
        f"{taken.read_bytes:,} bytes unpacked of {total} on disk" if is_packed else f"{taken.read_bytes:,} of {total}"
    )
    read = f"{chosen}, {size}"
    text = spec_text(name, home, proposal, read)
    spec = parse_spec(text, str(spec_path))
    to_dir.mkdir(parents=True, exist_ok=True)
    if home.reason:
        (to_dir / spec.data_dir / spec.input.path).mkdir(parents=True, exist_ok=True)
    made = {spec_path: text, dag_path: DAG.format(spec=spec_path.name)}
    if not (to_dir / SCHEMA_NAME).exists():
        made[to_dir / SCHEMA_NAME] = json.dumps(json_schema(), indent=2) + "\n"
    for path, content in made.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    return Made(spec_path, [*made], [f"read {read}", *findings(proposal)])
