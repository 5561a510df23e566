"""Writing into a spec: what a person wrote stays, byte for byte; lines are added, none is changed or goes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fanfold.durable import rewrite
from fanfold.errors import SpecError
from fanfold.spec import yaml_file
from fanfold.spec.model import Spec, parse_spec

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def add_fields(spec_path: Path, fields: Mapping[str, str]) -> int:
    """Declare the fields that a spec does not declare yet, in its `input.fields`, behind those that it does.

    Returns:
        How many were added; without any, nothing is written.

    Raises:
        SpecError: they cannot be added and everything else stay as it is; the file is not changed.
    """
    source = str(spec_path)
    text = yaml_file.read(spec_path)
    before = parse_spec(text, source)
    added = {path: kind for path, kind in fields.items() if path not in before.input.fields}
    if not added:
        return 0
    written = _with_fields(text, added)
    expected = before.model_copy(
        update={"input": before.input.model_copy(update={"fields": {**before.input.fields, **added}})}
    )
    if _parsed(written, source) != expected:
        lines = yaml_file.parse(text, source).lines
        line = lines.get(("input", "fields"), lines.get(("input",), 1))
        msg = f"{source}:{line}: input.fields: found no place for more fields, expected a mapping that stands there"
        raise SpecError(msg)
    rewrite(spec_path.resolve(), written.encode())
    return len(added)


def _parsed(text: str, source: str) -> Spec | None:
    try:
        return parse_spec(text, source)
    except SpecError:
        return None


def _quoted(text: str) -> str:
    """Return a text as YAML that means it, in quotes where it would be something else without."""
    if PLAIN.fullmatch(text) and yaml_file.parse(text, text).value == text:
        return text
    escaped = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(escaped)}"'


def _with_fields(text: str, added: Mapping[str, str]) -> str:
    """Return a spec with more fields in its `input.fields`, which is made where it is not there."""
    lines = [f"{_quoted(path)}: {kind}" for path, kind in added.items()]
    # In braces the comma of DECIMAL(18,2) would end it.
    in_flow = ", ".join(f"{_quoted(path)}: {_quoted(kind)}" for path, kind in added.items())
    # The spec was read within bounds before.
    root: Any = yaml.compose(text, yaml_file.Loader)
    if (given := _value(root, "input")) is None:
        lines = ["input:", *_deeper(["fields:", *_deeper(lines)])]
        return _inserted(text, root, lines, f"input: {{fields: {{{in_flow}}}}}")
    if (fields := _value(given, "fields")) is None:
        return _inserted(text, given, ["fields:", *_deeper(lines)], f"fields: {{{in_flow}}}")
    return _inserted(text, fields, lines, in_flow)


def _deeper(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _value(mapping: Any, key: str) -> Any:
    return next((value for name, value in mapping.value if name.value == key), None)


def _inserted(text: str, mapping: Any, lines: list[str], in_flow: str) -> str:
    """Return a text with lines behind the last of a mapping; where that is in braces, with a text in them."""
    # The loader does not count the mark of the byte order.
    skipped = int(text.startswith("\ufeff"))
    last = mapping.value[-1][1] if mapping.value else None
    if mapping.flow_style:
        at = skipped + (last.end_mark.index if last else mapping.start_mark.index + 1)
        return f"{text[:at]}{', ' if last else ''}{in_flow}{text[at:]}"
    while isinstance(last, yaml.CollectionNode) and not last.flow_style:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    at = skipped + (last.end_mark.index if last else 0)
    if not text[:at].endswith("\n"):
        at = text.find("\n", at) + 1 or len(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    begin = "" if text[:at].endswith("\n") else newline
    indent = " " * mapping.value[0][0].start_mark.column
    return text[:at] + begin + "".join(f"{indent}{line}{newline}" for line in lines) + text[at:]
