"""A first spec and a DAG file from samples: what was proposed, a line each with its reason; other ideas as comments."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fanfold.errors import MissingError, PathError, count
from fanfold.feed.access import check_writable
from fanfold.init.propose import Match, Proposal, propose, singular
from fanfold.init.samples import REFERENCE_BYTES, SCHEMA_NAME, Home, home_of, part_of, take
from fanfold.input_formats import compression, input_format, is_archive, place_in
from fanfold.scratch import scratch_dir
from fanfold.spec.model import json_schema, parse_spec
from fanfold.spec.paths import written
from fanfold.spec.writing import quoted

COMMENT_COLUMN = 34
SHOWN, MOST_AROUND = 5, 20
# What files are called, and a table of records should not be.
PLAIN_NAMES = {
    "batch",
    "data",
    "delivery",
    "drop",
    "export",
    "file",
    "input",
    "output",
    "page",
    "part",
    "sample",
    "test",
}
DAG = """from pathlib import Path
from fanfold.airflow import feed_dag
feed_dag(Path(__file__).with_name({spec!r}), schedule=None)
"""


class Made(NamedTuple):
    """The files that were written, first the spec, and what was found."""

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
        table = name or _common_name(taken.names)
        name = name or re.sub(r"[^A-Za-z0-9_.-]+", "_", taken.folder.name).strip("_.")[:100] or "feed"
        parse_spec(f"version: 1\nname: {json.dumps(name)}\n", f"--name {name}")
        spec_path, dag_path = to_dir / f"{name}.yaml", to_dir / f"{name}_dag.py"
        if there := [path for path in (spec_path, dag_path) if os.path.lexists(path)]:
            msg = f"{str(there[0])!r} is there already, and is not overwritten: choose another --name or --dir"
            raise PathError(msg)
        check_writable([to_dir])
        home = home_of(name, taken, tables, to_dir)
        known = {home.references.get(path, path.name): path for path in tables}
        parts = dict(part_of(path, known_as, REFERENCE_BYTES, scratch) for known_as, path in known.items())
        proposal = propose(nothing, taken.places, parts)
    # What is packed is read unpacked: of one and the other there is no share.
    is_packed = any(compression(one) or is_archive(one) for one in taken.names)
    unpacked, on_disk = (" bytes unpacked", " on disk") if is_packed else ("", "")
    read = f"{taken.read_files:,} of {count(len(taken.names), 'file')}, {taken.read_bytes:,}{unpacked} of "
    read += count(taken.total_bytes, "byte") + on_disk
    lines = [*_spec_lines(name, home, proposal, read), *_rows(table or name, proposal)]
    text = "\n".join(map(_printable, lines)) + "\n"
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
    findings = [f"read {read}", *_findings(proposal)]
    if home.reason:
        landing = f"{home.data_dir}/{home.path}"
        findings.append(f"WARNING: landing is the new folder {landing}: drop files there ({home.reason})")
    if others := [name for name in proposal.matches if name not in _joined(home, proposal)]:
        findings.append(f"WARNING: references that the spec does not join yet (it says why): {', '.join(others)}")
    return Made([*made], [*map(_printable, findings)])


def _common_name(names: list[str]) -> str:
    """Return the beginning that all file names share, up to a number or a date; nothing if it says nothing."""
    found = {re.split(r"[_-]?[^a-z_-]", Path(name).name.lower())[0] for name in names}
    common = found.pop() if len(found) == 1 else ""
    return common if len(common) > 2 and singular(common) not in PLAIN_NAMES else ""  # noqa: PLR2004 - a word


def _spec_lines(name: str, home: Home, proposal: Proposal, read: str) -> list[str]:
    """Return the lines of the spec, but for its rows.

    Args:
        name: of the feed.
        home: where it lives.
        proposal: what it says.
        read: what was read, in words.
    """
    drop = f"drop files here; the samples stay where they are: {home.reason}" if home.reason else "files land here"
    return [
        f"# yaml-language-server: $schema={SCHEMA_NAME}",
        f"# Made by fanfold init from {read}. Check it, and change it.",
        "version: 1",
        f"name: {quoted(name)}",
        _line(f"data_dir: {quoted(home.data_dir)}", "relative to this file"),
        "subdirs: 5",
        "concurrent_tasks: 5",
        "input:",
        _line(f"  path: {quoted(home.path)}", drop),
        *([f"  patterns: {_flow(home.patterns)}"] if home.patterns else []),
        *_dialect(proposal.at.keys, "  "),
        *_records_at(proposal),
        *_parse(proposal),
        *_fields(proposal),
        *_merges(home, proposal),
    ]


def _printable(line: str) -> str:
    """Return a line that is one: names and values of samples in comments have any character. `quoted` loses none."""
    return "".join(c if c.isprintable() else "?" for c in line)


def _line(text: str, comment: str) -> str:
    return f"{text:<{COMMENT_COLUMN - 2}}  # {comment}"


def _flow(names: list[str]) -> str:
    return "[" + ", ".join(map(quoted, names)) + "]"


def _dialect(keys: dict[str, Any], indent: str) -> Iterator[str]:
    if "encoding" in keys:
        yield _line(f"{indent}encoding: {keys['encoding']}", "the bytes are not UTF-8; this encoding is a guess")
    if "csv" in keys:
        yield f"{indent}csv: {{delimiter: {json.dumps(keys['csv']['delimiter'])}}}"


def _records_at(proposal: Proposal) -> Iterator[str]:
    for pointer, elements in [*proposal.pointers.items()][:SHOWN]:
        if pointer == proposal.records_at:
            told = f"{count(elements, 'record')} in this array of the document; fields outside it are in no table"
            yield _line(f"  records_at: {quoted(pointer)}", told)
            if around := proposal.around_records[:MOST_AROUND]:
                yield _line(f"  # envelope: {_flow(around)}", "uncomment this, and each record gets these fields")
        else:
            yield _line(f"  # records_at: {quoted(pointer)}", f"if the records are its {count(elements, 'element')}")


def _parse(proposal: Proposal) -> Iterator[str]:
    if paths := proposal.at.keys.get("parse"):
        yield _line(f"  parse: {_flow(paths)}", "the text of these fields is JSON, and is parsed")


def _fields(proposal: Proposal) -> Iterator[str]:
    if proposal.fields:
        yield _line("  fields:", "declared types: all samples fit; a value that does not fit makes its record bad")
    for path, (kind, why) in proposal.fields.items():
        yield _line(f"    {quoted(path)}: {kind}", why)


def _joined(home: Home, proposal: Proposal) -> set[str]:
    """Return the references that the spec joins; what the others need is told beside them."""
    inside = {*home.references.values()}
    return {name for name, found in proposal.matches.items() if found and not found[0].twice and name in inside}


def _merges(home: Home, proposal: Proposal) -> Iterator[str]:
    joined, inside = _joined(home, proposal), {*home.references.values()}
    if any(proposal.matches.values()):
        yield "merge:" if joined else "# merge:"
    for name, found in proposal.matches.items():
        if not found:
            yield f"# No field of the samples has values that are keys of {name}."
        elif name not in inside:
            yield f"# To join {name}: copy it into data_dir, and uncomment these lines."
        if found and found[0].twice:
            column, key = found[0].columns[0], found[0].twice
            yield f"# {name} has {column} {key!r} twice: correct it, or use on_duplicate: first."
        for line in _merge(name, proposal):
            yield line if name in joined else f"# {line}"


def _merge(name: str, proposal: Proposal) -> Iterator[str]:
    """Yield the lines that join a reference by its best key, with the other keys as comments; none without a match."""
    for best in proposal.matches[name][:1]:
        into = singular(name).replace(" ", "_")
        taken = [way for one in (proposal.records, *proposal.arrays) for way in one.values]
        level = next((one.way for one in reversed(proposal.around(best.ways[0]))), ())
        begin = "_".join((*level, into))
        # A column of the records may have the name already.
        if any(
            way[: len(level) + 1] == (*level, into) or ("_".join(way).startswith(f"{begin}_") and way not in best.ways)
            for way in taken
        ):
            into, begin = f"{into}_ref", f"{begin}_ref"
        yield f"  - reference: {quoted(name)}"
        yield _line(f"    key: {_key(best)}", _share(best, proposal))
        yield _line(f"    into: {quoted(into)}", f"its columns become {begin}_…")
        yield from _dialect(proposal.dialects[name], "    ")
        # A key that the reference has twice needs a decision, which nobody has to take where another is at hand.
        others = [one for one in proposal.matches[name][1:] if best.twice or not one.twice]
        yield from (_line(f"    # key: {_key(one)}", _share(one, proposal)) for one in others[:SHOWN])


def _key(match: Match) -> str:
    paths, columns = [*map(written, match.ways)], [*match.columns]
    record, reference = (quoted(one[0]) if len(one) == 1 else _flow(one) for one in (paths, columns))
    return record if paths == columns else f"{{record: {record}, reference: {reference}}}"


def _share(match: Match, proposal: Proposal) -> str:
    around = proposal.around(match.ways[0])
    of = f"elements of {written(around[-1].way)}" if around else "records"
    return f"{match.share:.0%} of the {of} with a value match"


def _rows(name: str, proposal: Proposal) -> Iterator[str]:
    arrays = [one for one in proposal.arrays if one.has_rows]
    if proposal.keys:
        yield f"# In every record, and unique: {', '.join(proposal.keys[:SHOWN])}."
    reasons = [
        f"one row per element: {one.elements:,} in {count(proposal.records.elements, 'record')}" for one in arrays
    ]
    if len(arrays) == 1:
        yield "denormalize:"
        yield _line(f"  explode: {_flow([written(arrays[0].way)])}", reasons[0])
    elif arrays:
        taken = [_table(proposal.records_at.rpartition("/")[2] or name, [])]
        yield "tables:"
        yield _line(f"  {quoted(taken[0])}: {{explode: []}}", "one row per record")
        for one, reason in zip(arrays, reasons, strict=True):
            taken.append(_table("_".join(one.way), taken))
            keys = f", keys: {_flow(above)}" if (above := proposal.keys_above(one)) else ""
            yield _line(f"  {quoted(taken[-1])}: {{explode: {_flow([written(one.way)])}{keys}}}", reason)
    for one in proposal.arrays:
        if one not in arrays:
            what = f"an array of {count(one.elements, 'value')}" if one.elements else "an empty array"
            yield f"# {written(one.way)} is {what}: it stays one column, as JSON."


def _table(name: str, taken: list[str]) -> str:
    table = re.sub("[^a-z0-9_-]+", "_", name.lower()).strip("_-")[:90] or "table"
    return table if table not in taken else f"{table}-{len(taken)}"


def _findings(proposal: Proposal) -> Iterator[str]:
    """Yield what was found, a line each: formats, records, arrays, types, keys; then what is wrong with the samples."""
    files = proposal.at.found.files
    where = f" at {proposal.records_at}" if proposal.records_at else ""
    yield f"{', '.join(sorted({*map(input_format, files)}))}: {count(proposal.at.records, 'record')}{where}"
    for one in proposal.arrays:
        yield f"array {written(one.way)}: {count(one.elements, 'object' if one.of_objects else 'value')}"
    if proposal.fields:
        yield "types: " + ", ".join(f"{path} {kind}" for path, (kind, _) in proposal.fields.items())
    if proposal.keys:
        yield "keys: " + ", ".join(proposal.keys[:SHOWN])
    for name, found in proposal.matches.items():
        best = [f"{', '.join(map(written, one.ways))}: {_share(one, proposal)}" for one in found[:1]]
        yield f"reference {name}: {''.join(best) or 'no field has its keys'}"
    hashes: dict[str, str] = {}
    for name, read in files.items():
        if read.first:
            place = place_in(name, read.first.line)
            yield f"WARNING: {name!r}{place}: {read.first.message} ({read.first.code}); bad records: {read.bad:,}"
        if (same := hashes.setdefault(read.sha256, name)) != name:
            yield f"WARNING: {name!r} has the bytes of {same!r}: it makes no rows (input.duplicates)"
