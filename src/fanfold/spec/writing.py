"""Writing into a spec: what a person wrote stays, byte for byte; lines are added, none is changed or removed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fanfold.durable import rewrite
from fanfold.errors import SpecError
from fanfold.spec import yaml_file
from fanfold.spec.model import parse_spec

PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")


def add_fields(spec_path: Path, fields: Mapping[str, str]) -> int:
    """Declare the fields that a spec does not declare yet, in its `input.fields`, behind those that it does.

    The file is replaced as a whole. A second call finds nothing to add, and writes nothing.

    Returns:
        How many were added.

    Raises:
        MissingError, SpecError: it is not a spec, or the fields cannot be added and everything else stay as it is; the
            file is not changed.
    """
    source = str(spec_path)
    text = yaml_file.read(spec_path)
    before = parse_spec(text, source)
    added = {path: kind for path, kind in fields.items() if path not in before.input.fields}
    if not added:
        return 0
    declared = {**before.input.fields, **added}
    expected = before.model_copy(update={"input": before.input.model_copy(update={"fields": declared})})
    written = _with_fields(text, added)
    if parse_spec(written, source) != expected:
        msg = f"{source}:1: input.fields: found no place for more fields, expected an input.fields that may grow"
        raise SpecError(msg)
    rewrite(spec_path.resolve(), written.encode())
    return len(added)


def quoted(text: str) -> str:
    """Return text as YAML, in quotes if it would mean something else without them."""
    if PLAIN.fullmatch(text) and yaml_file.parse(text, text).value == text:
        return text
    escaped = (f"\\{c}" if c in '"\\' else c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(escaped)}"'


def _with_fields(text: str, added: Mapping[str, str]) -> str:
    """Return a spec with more fields in its `input.fields`, which is made where it is not there."""
    block = [f"{quoted(path)}: {kind}" for path, kind in added.items()]
    # In braces the comma of DECIMAL(18,2) would end it.
    flow = ", ".join(f"{quoted(path)}: {quoted(kind)}" for path, kind in added.items())
    mapping, missing = yaml_file.compose(text, ""), ["input", "fields"]
    while missing and (inner := next((value for key, value in mapping.value if key.value == missing[0]), None)):
        mapping, missing = inner, missing[1:]
    for key in reversed(missing):
        block = [f"{key}:", *(f"  {line}" for line in block)]
        flow = f"{key}: {{{flow}}}"
    return _inserted(text, mapping, block, flow)


def _inserted(text: str, mapping: Any, block: list[str], flow: str) -> str:
    """Return a text with the lines of a block behind the last of a mapping; where that is in braces, with a flow."""
    # The loader does not count the mark of the byte order.
    skipped = int(text.startswith("\ufeff"))
    last: Any = mapping.value[-1][1] if mapping.value else None
    if mapping.flow_style:
        at = skipped + (last.end_mark.index if last else mapping.start_mark.index + 1)
        return f"{text[:at]}{', ' if last else ''}{flow}{text[at:]}"
    while isinstance(last, yaml.CollectionNode) and not last.flow_style:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    at = skipped + last.end_mark.index
    if not text[:at].endswith("\n"):
        at = text.find("\n", at) + 1 or len(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    begin = "" if text[:at].endswith("\n") else newline
    indent = " " * mapping.value[0][0].start_mark.column
    return text[:at] + begin + "".join(f"{indent}{line}{newline}" for line in block) + text[at:]
