"""The forms of a record that exclude each other over a run: whether it has them, whether it is good without them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fanfold.manifest import Excluded, Form, Node
from fanfold.records.canonical import Misfit, scalar
from fanfold.records.diagnose import token
from fanfold.records.json_records import kind
from fanfold.spec import Spec

# Compares as a text; what lies around it depends on the other records.
KEY = "KEY"
KINDS: dict[type, str] = {dict: "object", list: "array"}


def check_forms(record: Mapping[str, Any], excluded: Iterable[Excluded]) -> None:
    """Check that a record has nothing that another form excludes.

    Raises:
        Misfit: it has; the first place of it is given.
    """
    for one in excluded:
        if (pointer := place_of(record, one.form)) is not None:
            raise Misfit(one.code, pointer, one.message)


def place_of(record: Mapping[str, Any], form: Form) -> str | None:
    """Return the JSON pointer of the first place where a record has a form; None where it has not."""
    for pointer, value in _reach(record, form.path, ""):
        if not form.kinds:
            return pointer
        values = [(pointer, value)]
        if form.inside:
            values = [(f"{pointer}/{i}", one) for i, one in enumerate(value)] if isinstance(value, list) else []
        for place, one in values:
            if one is not None and KINDS.get(type(one), "scalar") in form.kinds:
                return place
    return None


def _reach(value: Any, path: tuple[str, ...], pointer: str) -> Iterator[tuple[str, Any]]:
    if not path:
        yield pointer, value
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _reach(one, path, f"{pointer}/{index}")
    elif isinstance(value, dict) and path[0] in value:
        yield from _reach(value[path[0]], path[1:], pointer + token(path[0]))


class Own:
    """What the spec says of a record, whatever the other records are: the kinds of its fields."""

    def __init__(self, spec: Spec) -> None:
        """Note the declared types, the keys, and the arrays that explode."""
        keys = {merge.record_key: KEY for merge in spec.merge}
        self._types = [(tuple(path.split(".")), kind) for path, kind in {**keys, **spec.input.fields}.items()]
        self._exploded = {tuple(path.split(".")) for path in spec.denormalize.explode}
        self._arrays = {path[:length] for path in self._exploded for length in range(1, len(path) + 1)}

    def is_good(self, record: Mapping[str, Any]) -> bool:
        """Say whether a record is good as far as that can be said of it alone."""
        try:
            for path, declared in self._types:
                self._check(record, path, (), declared)
            for path in self._exploded:
                self._check(record, path, (), None)
        except Misfit:
            return False
        return True

    def _check(self, value: Any, path: tuple[str, ...], above: tuple[str, ...], declared: str | None) -> None:
        if value is None:
            return
        if isinstance(value, list) and above in self._arrays and (path or declared):
            for one in value:
                self._check_inside(one, path, above, declared)
            return
        if above in self._exploded and not isinstance(value, list):
            raise Misfit("wrong_type", "", f"found {kind(value)}, expected an array")
        self._check_inside(value, path, above, declared)

    def _check_inside(self, value: Any, path: tuple[str, ...], above: tuple[str, ...], declared: str | None) -> None:
        if value is None:
            return
        if path and declared == KEY and not isinstance(value, dict):
            return
        if path and not isinstance(value, dict):
            raise Misfit("wrong_type", "", f"found {kind(value)}, expected an object")
        if path:
            self._check(value.get(path[0]), path[1:], (*above, path[0]), declared)
        elif declared and declared != "JSON":
            scalar(Node("", "value", "VARCHAR" if declared == KEY else declared), value, "")
