"""The one schema of a run: how records are read, and the columns that they become.

Types widen like this (docs/data.md has it as a table): integers of 64 bits are BIGINT; with longer ones, or with
decimals, an exact DECIMAL of 18 or 38 digits; what no DECIMAL holds, and anything with a text or with true and false,
is VARCHAR, as written; an object or array where there are other values too is VARCHAR, as JSON.
"""

import dataclasses
from collections.abc import Iterator

from fanfold.engine.fields import CONTAINERS, Field
from fanfold.errors import DataError, MissingError, nearest
from fanfold.manifest import Column, Node
from fanfold.spec import Spec

RECORD = "record"
FANFOLD = "fanfold"
RESCUED_COLUMN = "_rescued"
# A column of a key without a character, where it must have a name: in SQL and in Parquet.
NAMELESS = "_"
LINEAGE = {"_source_file": "VARCHAR", "_source_record": "BIGINT", "_source_item": "VARCHAR"}
SHORT_DECIMAL, LONG_DECIMAL = 18, 38
# So many digits survive the way through a double, which DuckDB's reader takes.
DOUBLE_DIGITS = 15


@dataclasses.dataclass
class Declared:
    """What the spec declares about a field: its type, or those of fields inside of it."""

    type: str | None = None
    fields: dict[str, "Declared"] = dataclasses.field(default_factory=dict)


def declared_tree(spec: Spec) -> Declared:
    """Return `input.fields` as a tree, in its order.

    Raises:
        DataError: a field is declared, and so is one inside of it.
    """
    root = Declared()
    for path, kind in spec.input.fields.items():
        at = root
        for name in path.split("."):
            at = at.fields.setdefault(name, Declared())
        at.type = kind
    for path in spec.input.fields:
        inner = next((other for other in spec.input.fields if other.startswith(f"{path}.")), None)
        if inner:
            msg = f"input.fields: {path!r} and {inner!r} are declared, expected a type for one of them"
            raise DataError(msg)
    return root


def explode_chain(root: Field, spec: Spec) -> list[list[str]]:
    """Return the paths of the arrays that explode, from the outermost: those named, and those that these lie in.

    Raises:
        MissingError: no record has the field, and the spec declares nothing inside of it; the nearest name is given.
        DataError: the field is an array in no record.
    """
    chain: list[list[str]] = []
    for path in sorted(spec.denormalize.explode, key=len):
        names = path.split(".")
        known = any(declared.startswith(f"{path}.") for declared in spec.input.fields)
        field = root.find(names)
        if field is None and not known and root.fields:
            msg = f"denormalize.explode {path!r} is in no record, {nearest(path, root.paths())}"
            raise MissingError(msg)
        if field is not None and field.kinds and "array" not in field.kinds:
            found = f"found {min(field.kinds)} in {field.first_file!r}"
            msg = f"denormalize.explode {path!r}: {found}, expected an array"
            raise DataError(msg)
        for length in range(1, len(names) + 1):
            above = root.find(names[:length])
            passed = above is not None and above.kinds == {"array"}
            if (passed or length == len(names)) and names[:length] not in chain:
                chain.append(names[:length])
    return chain


def check(root: Field, spec: Spec) -> None:
    """Compare what the spec says of the records with the fields that they have.

    Raises:
        MissingError: no record has the key of a reference; a declared field is in no record, and one of nearly its
            name is, undeclared.
        DataError: a key is an object or an array in every record.
    """
    if not root.fields:
        return
    for index, merge in enumerate(spec.merge):
        field = root.find(merge.record_key.split("."))
        place = f"merge.{index}.key {merge.record_key!r}"
        if field is None and merge.record_key not in spec.input.fields:
            msg = f"{place} is in no record, {nearest(merge.record_key, root.paths())}"
            raise MissingError(msg)
        if field is not None and field.kinds and field.kinds <= CONTAINERS:
            msg = f"{place}: found an {min(field.kinds)} in {field.first_file!r}, expected a text or a number"
            raise DataError(msg)
    undeclared = [path for path in root.paths() if path not in spec.input.fields]
    for path in spec.input.fields:
        if root.find(path.split(".")) is None and (hint := nearest(path, undeclared, cutoff=0.8)).startswith("did"):
            msg = f"input.fields {path!r} is in no record, {hint} (declare that one too, if both are meant)"
            raise MissingError(msg)


class Builder:
    """Makes the nodes and columns of one schema."""

    def __init__(self, spec: Spec, chain: list[list[str]]) -> None:
        """Note what does not change from field to field."""
        self._spec = spec
        self._chain = chain
        self._keys = {merge.record_key for merge in spec.merge}
        self._infer = spec.input.schema_mode == "infer"

    def nodes(self, field: Field, declared: Declared, path: tuple[str, ...] = ()) -> list[Node]:
        """Return the fields of an object: the declared ones in their order, then the others as they were seen.

        Raises:
            DataError: two of them have one name, be it in other letter case; a declared one cannot be reached.
        """
        seen_names = field.fields if self._infer else ()
        names = list(dict.fromkeys([*declared.fields, *seen_names, *self._towards_arrays(path)]))
        seen: dict[str, str] = {}
        for name in names:
            other = seen.setdefault(name.lower(), name)
            if other != name:
                both = " and ".join(repr(".".join((*path, one))) for one in (other, name))
                where = field.fields[name].first_file if name in field.fields else "the spec"
                msg = f"fields {both} (in {where!r}) have one name, expected names apart"
                raise DataError(msg)
        return [self._node(name, field.fields.get(name), declared.fields.get(name), (*path, name)) for name in names]

    def _towards_arrays(self, path: tuple[str, ...]) -> list[str]:
        """Return the fields of an object that an array which explodes lies in, whether records have them or not."""
        return [array[len(path)] for array in self._chain if len(array) > len(path) and array[: len(path)] == [*path]]

    def _node(self, name: str, field: Field | None, declared: Declared | None, path: tuple[str, ...]) -> Node:
        field = field or Field("")
        if list(path) in self._chain:
            return Node(name, "list", element=self._element(field, declared, path))
        if (declared and declared.fields) or self._towards_arrays(path):
            if field.kinds == {"array"}:
                msg = f"input.fields {'.'.join(path)!r} is an array, expected one of denormalize.explode: its fields "
                raise DataError(msg + "are declared")
            return Node(name, "object", fields=self.nodes(field, declared or Declared(), path))
        if declared and declared.type:
            read = "JSON" if declared.type == "JSON" else "VARCHAR"
            return Node(name, "value", "VARCHAR" if read == "JSON" else declared.type, read, declared=True)
        if field.is_object:
            return Node(name, "object", fields=self.nodes(field, Declared(), path))
        return self._inferred(name, field, path)

    def _element(self, field: Field, declared: Declared | None, path: tuple[str, ...]) -> Node:
        element = field.element or Field("")
        if (declared and declared.fields) or element.is_object:
            return Node("", "object", fields=self.nodes(element, declared or Declared(), path))
        if declared and declared.type:
            return Node("", "value", declared.type, declared=True)
        if self._towards_arrays(path) or not self._infer:
            return Node("", "object", fields=self.nodes(element, Declared(), path))
        return self._inferred("", element, path)

    def _inferred(self, name: str, field: Field, path: tuple[str, ...]) -> Node:
        numbers = field.kinds <= {"BIGINT", "DECIMAL"}
        if ".".join(path) in self._keys and not (field.kinds <= {"BIGINT"} or field.kinds <= {"BOOLEAN"}):
            # Keys compare as written; an object or array among them makes its record bad.
            return Node(name, "value", declared=bool(field.kinds & CONTAINERS))
        if field.kinds & CONTAINERS:
            return Node(name, "value", "VARCHAR", "JSON")
        if "DECIMAL" in field.kinds and numbers:
            size = field.whole + field.fraction
            if size > LONG_DECIMAL:
                return Node(name, "value")
            exact = f"DECIMAL({SHORT_DECIMAL if size <= SHORT_DECIMAL else LONG_DECIMAL},{field.fraction})"
            return Node(name, "value", exact, exact if size <= DOUBLE_DIGITS else "VARCHAR")
        only = next(iter(field.kinds)) if len(field.kinds) == 1 else "VARCHAR"
        return Node(name, "value", only, only)

    def columns(self, nodes: list[Node], field: Field, path: tuple[str, ...] = ()) -> Iterator[Column]:
        """Yield the columns that the fields of an object flatten to, in their order."""
        for node in nodes:
            place, seen = (*path, node.name), field.fields.get(node.name) or Field("")
            inner = node
            if node.kind == "list" and node.element:
                inner, seen = node.element, seen.element or Field("")
            if inner.kind == "object":
                yield from self.columns(inner.fields, seen, place)
            elif node.kind == "value" or seen.kinds or inner.declared:
                yield Column(
                    self._spec.denormalize.separator.join(place),
                    inner.type,
                    RECORD,
                    list(place),
                    seen.first_file or None,
                )


def reference_columns(index: int, taken: list[Column], spec: Spec) -> list[Column]:
    """Return the columns that a reference adds to a record, from those that it has itself."""
    into, separator = spec.merge[index].into, spec.denormalize.separator
    return [Column(separator.join([into, *column.path]), column.type, into, column.path) for column in taken]


def own_columns(spec: Spec) -> list[Column]:
    """Return the columns that Fanfold adds."""
    own = [Column(RESCUED_COLUMN, "VARCHAR", FANFOLD, [])] if spec.input.schema_mode == "declared" else []
    return own + [Column(name, kind, FANFOLD, []) for name, kind in LINEAGE.items() if spec.output.lineage]


def check_apart(columns: list[Column]) -> None:
    """Check that every column has a name of its own.

    Raises:
        DataError: two have one name, be it in other letter case; both are named.
    """
    by_name: dict[str, Column] = {}
    for column in columns:
        other = by_name.setdefault((column.name or NAMELESS).lower(), column)
        if other is not column:
            both = " and ".join(repr(".".join((c.source, *c.path))) for c in (other, column))
            msg = (
                f"{both} both become the column {column.name!r}, expected names apart: choose another separator or into"
            )
            raise DataError(msg)
