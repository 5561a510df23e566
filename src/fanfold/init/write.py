"""The text of a first spec: what was proposed, each line with its reason, and what might be instead as comments."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fanfold.errors import count
from fanfold.formats import input_format
from fanfold.init.look import Array
from fanfold.init.place import Home
from fanfold.init.propose import Match, Proposal, inner_way, keys_above, singular, to_explode
from fanfold.spec.paths import written
from fanfold.spec.writing import quoted

SCHEMA_NAME = "fanfold.schema.json"
COMMENT_COLUMN = 34
SHOWN = 5
DAG = """from pathlib import Path
from fanfold.airflow import feed_dag
feed_dag(Path(__file__).with_name({spec!r}), schedule=None)
"""


def spec_text(name: str, home: Home, proposal: Proposal, read: str) -> str:
    """Return the spec.

    Args:
        name: of the feed.
        home: where it lives.
        proposal: what it says.
        read: what was read, in words.
    """
    drop = f"drop files here; the samples stay where they are: {home.reason}" if home.reason else "files land here"
    lines = [
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
        *_fields(proposal),
        *_merges(home, proposal),
        *_rows(name, proposal),
    ]
    return "\n".join(lines) + "\n"


def _line(text: str, comment: str) -> str:
    # A value of the samples must not end the comment.
    shown = "".join(c if c.isprintable() else "?" for c in comment)
    return f"{text:<{COMMENT_COLUMN - 2}}  # {shown}"


def _flow(names: list[str]) -> str:
    return "[" + ", ".join(map(quoted, names)) + "]"


def _dialect(keys: dict[str, Any], indent: str) -> Iterator[str]:
    if encoding := keys.get("encoding"):
        yield _line(f"{indent}encoding: {encoding}", "the bytes are not UTF-8; this encoding is a guess")
    if delimiter := keys.get("csv", {}).get("delimiter"):
        yield f"{indent}csv: {{delimiter: {json.dumps(delimiter)}}}"


def _records_at(proposal: Proposal) -> Iterator[str]:
    for pointer, elements in [*proposal.pointers.items()][:SHOWN]:
        if pointer == proposal.records_at:
            told = f"{count(elements, 'record')} in this array of the document; what is around it is in no table"
            yield _line(f"  records_at: {quoted(pointer)}", told)
        else:
            yield _line(f"  # records_at: {quoted(pointer)}", f"if its {count(elements, 'element')} are the records")


def _fields(proposal: Proposal) -> Iterator[str]:
    if proposal.fields:
        yield _line("  fields:", "declared types: every value of the samples fits; one that does not is a bad record")
    elif proposal.ideas:
        yield "  # fields:"
    for path, (kind, value) in proposal.fields.items():
        lacking = "; declared, so that a delivery may lack it" if kind == "VARCHAR" else ""
        yield _line(f"    {quoted(path)}: {kind}", f"as in {value}{lacking}")
    for path, (kind, why) in proposal.ideas.items():
        yield _line(f"    # {quoted(path)}: {kind}", why)


def _merges(home: Home, proposal: Proposal) -> Iterator[str]:
    entries = {name: "\n".join(_merge(name, proposal)) for name, found in proposal.matches.items() if found}
    inside = home.references.values()
    if any(found and not found[0].twice and name in inside for name, found in proposal.matches.items()):
        yield "merge:"
    elif any(proposal.matches.values()):
        yield "# merge:"
    for name, found in proposal.matches.items():
        if not found:
            yield f"# No field of the samples has values that are keys of {name}."
            continue
        is_ready = name in inside and not found[0].twice
        if name not in inside:
            yield f"# To join {name}: copy it into data_dir, and uncomment these lines."
        elif found[0].twice:
            yield f"# {name} has {found[0].column} {found[0].twice!r} twice: correct it, or use on_duplicate: first."
        yield entries[name] if is_ready else "\n".join(f"# {line}" for line in entries[name].splitlines())


def _merge(name: str, proposal: Proposal) -> Iterator[str]:
    best, *others = proposal.matches[name]
    into = singular(Path(name).name.partition(".")[0]).replace(" ", "_")
    keys = [best.way, *(way for way, _ in best.more)]
    taken = [way for one in (proposal.records, *proposal.arrays) for way in one.values]
    # A column of the records may have the name already.
    if any(way[0] == into or ("_".join(way).startswith(f"{into}_") and way not in keys) for way in taken):
        into += "_ref"
    yield f"  - reference: {quoted(name)}"
    yield _line(f"    key: {_key(best)}", _share(best, proposal))
    yield _line(f"    into: {quoted(into)}", f"its columns become {into}_…")
    yield from _dialect(proposal.dialects.get(name, {}), "    ")
    # A key that the reference has twice needs a decision, which nobody has to take where another is at hand.
    for other in [one for one in others if best.twice or not one.twice][:SHOWN]:
        yield _line(f"    # key: {_key(other)}", _share(other, proposal))


def _key(match: Match) -> str:
    path = written(match.way)
    if match.more:
        ways, columns = zip((match.way, match.column), *match.more, strict=True)
        paths, names = _flow([*map(written, ways)]), _flow([*columns])
        return names if paths == names else f"{{record: {paths}, reference: {names}}}"
    return quoted(path) if path == match.column else f"{{record: {quoted(path)}, reference: {quoted(match.column)}}}"


def _paths(match: Match) -> str:
    return ", ".join(written(way) for way in (match.way, *(way for way, _ in match.more)))


def _share(match: Match, proposal: Proposal) -> str:
    where = inner_way(match, proposal.arrays)
    return f"{match.share:.0%} of the {f'elements of {written(where)}' if where else 'records'} with a value match"


def _rows(name: str, proposal: Proposal) -> Iterator[str]:
    arrays, records = to_explode(proposal.arrays), count(proposal.records.elements, "record")
    if proposal.keys:
        yield f"# In every record, and unique: {', '.join(proposal.keys[:SHOWN])}."
    if len(arrays) == 1:
        yield "denormalize:"
        yield _line(f"  explode: {_flow([written(arrays[0].way)])}", _elements(arrays[0], records))
    elif arrays:
        main = _table(proposal.records_at.rpartition("/")[2] or name, [])
        yield "tables:"
        yield _line(f"  {quoted(main)}: {{explode: []}}", "one row per record")
        taken = [main]
        for one in arrays:
            taken.append(_table("_".join(one.way), taken))
            keys = f", keys: {_flow(above)}" if (above := keys_above(one, proposal)) else ""
            text = f"  {quoted(taken[-1])}: {{explode: {_flow([written(one.way)])}{keys}}}"
            yield _line(text, _elements(one, records))
    for one in proposal.arrays:
        if one not in arrays:
            what = f"an array of {count(one.elements, 'value')}" if one.elements else "an array without elements"
            yield f"# {written(one.way)} is {what}: it stays one column, as JSON."


def _elements(one: Array, records: str) -> str:
    return f"one row per element: {one.elements:,} in {records}"


def _table(name: str, taken: list[str]) -> str:
    table = re.sub("[^a-z0-9_-]+", "_", name.lower()).strip("_-")[:90] or "table"
    return table if table not in taken else f"{table}-{len(taken)}"


def findings(proposal: Proposal) -> Iterator[str]:
    """Yield what was found, a line each: formats, records, arrays, types, keys; then what is wrong with the samples."""
    files = proposal.at.found.files
    formats = ", ".join(sorted({input_format(name) for name in files}))
    where = f" at {proposal.records_at}" if proposal.records_at else ""
    yield f"{formats}: {count(proposal.at.records, 'record')}{where}"
    for one in proposal.arrays:
        yield f"array {written(one.way)}: {count(one.elements, 'object' if one.of_objects else 'value')}"
    if proposal.fields:
        yield "types: " + ", ".join(f"{path} {kind}" for path, (kind, _) in proposal.fields.items())
    if proposal.keys:
        yield "keys: " + ", ".join(proposal.keys[:SHOWN])
    for name, found in proposal.matches.items():
        best = f"{_paths(found[0])}: {_share(found[0], proposal)}" if found else "no field has its keys"
        yield f"reference {name}: {best}"
    hashes: dict[str, str] = {}
    for name, read in files.items():
        if read.first:
            place = f" line {read.first.line}" if read.first.line else ""
            yield f"WARNING: {name!r}{place}: {read.first.message} ({read.first.code}); bad records: {read.bad:,}"
        if (same := hashes.setdefault(read.sha256, name)) != name:
            yield f"WARNING: {name!r} has the bytes of {same!r}: it makes no rows (input.duplicates)"
