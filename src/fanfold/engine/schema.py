"""The one schema of a run: how records are read, and the columns that they become.

Types widen like this (docs/data.md has it as a table): integers of 64 bits are BIGINT; with longer ones, or with
decimals, an exact DECIMAL of 18 or 38 digits; what no DECIMAL holds, and anything with a text or with true and false,
is VARCHAR, as written; an object or array where there are other values too is VARCHAR, as JSON.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from fanfold.engine.fields import CONTAINERS, Field
from fanfold.engine.rivals import DECLARED, FREE, NAMED, Conflict, Rival
from fanfold.errors import DataError, MissingError, nearest
from fanfold.manifest import Column, Form, Node
from fanfold.records.canonical import ESCAPE, apart
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
    """Return the paths of the arrays that explode, from the outermost: those named, and those that these lie in."""
    chain: list[list[str]] = []
    for path in sorted(spec.denormalize.explode, key=len):
        names = path.split(".")
        for length in range(1, len(names) + 1):
            above = root.find(names[:length])
            passed = above is not None and "array" in above.kinds
            if (passed or length == len(names)) and names[:length] not in chain:
                chain.append(names[:length])
    return chain


def arrays_or_objects(root: Field, spec: Spec) -> Iterator[Conflict]:
    """Yield the fields on the way to an array that explodes which are arrays in some records, objects in others."""
    seen = set()
    for path in spec.denormalize.explode:
        names = path.split(".")
        for length in range(1, len(names)):
            above = root.find(names[:length])
            if above is not None and above.kinds >= CONTAINERS:
                place = tuple(names[:length])
                if place not in seen:
                    rivals = [Rival(Form(place, (kind,)), f"an {kind}") for kind in sorted(CONTAINERS)]
                    yield Conflict("wrong_type", f" as {'.'.join(place)!r}", rivals, "")
                seen.add(place)
                break


def lacking(what: str, hint: str, files: Collection[str]) -> DataError:
    """Return the error for something that the spec names and the records of a run lack.

    Args:
        what: the key of the spec with its value, and where it is not.
        hint: as `nearest` gives it.
        files: those that were scanned.
    """
    if not files:
        return DataError(f"{what}, {hint}")
    read = f"{len(files)} files, {min(files)!r} to {max(files)!r}" if len(files) > 1 else f"{min(files)!r}"
    msg = f"{what}, {hint} (read: {read}). Where records may lack it, declare it, or a field in it, in input.fields"
    return DataError(msg)


def check(root: Field, seen: Field, spec: Spec, files: Collection[str]) -> None:
    """Compare what the spec says of the records of files with the fields that they have.

    Args:
        root: the fields of good records.
        seen: the fields of all records, those that are bad by what others have included.
        spec: what is exploded, joined, declared.
        files: the names of the files.

    Raises:
        MissingError: a declared field is in no record, and one of nearly its name is, undeclared.
        DataError: no record has the key of a reference, or an array that explodes, and the spec does not declare it;
            such a key is an object or an array in every record; what explodes is an array in none.
    """
    if not root.fields:
        return
    for path in spec.denormalize.explode:
        field = seen.find(path.split("."))
        known = any(declared == path or declared.startswith(f"{path}.") for declared in spec.input.fields)
        if field is None and not known:
            msg = f"denormalize.explode {path!r} is in no record"
            raise lacking(msg, nearest(path, root.paths()), files)
        if field is not None and field.kinds and "array" not in field.kinds and not known:
            found = f"found {min(field.kinds)} in {field.first_file!r}"
            msg = f"denormalize.explode {path!r}: {found}, expected an array"
            raise DataError(msg)
    for index, merge in enumerate(spec.merge):
        field = seen.find(merge.record_key.split("."))
        place = f"merge.{index}.key {merge.record_key!r}"
        if merge.record_key in spec.input.fields:
            continue
        if field is None:
            msg = f"{place} is in no record"
            raise lacking(msg, nearest(merge.record_key, root.paths()), files)
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
        # The fields that the spec names a way through: they are objects, or arrays of objects.
        self._ways = [*chain, *(key.split(".") for key in self._keys)]
        self.conflicts: list[Conflict] = []

    def nodes(self, field: Field, declared: Declared, path: tuple[str, ...] = ()) -> list[Node]:
        """Return the fields of an object: the declared ones in their order, then the others as they were seen.

        Where forms of fields exclude each other, they are in `conflicts` then, and the nodes are not those of a run.
        """
        names = list(dict.fromkeys([*declared.fields, *(field.fields if self._infer else ())]))
        by_letters: dict[str, list[str]] = {}
        for name in names:
            by_letters.setdefault(name.lower(), []).append(name)
        for alike in by_letters.values():
            if not declared.fields.keys() >= {*alike[1:]}:
                self._note_letters([(*path, name) for name in alike])
        names += [name for name in dict.fromkeys(self._towards(path)) if name.lower() not in by_letters]
        nodes = (self._node(n, field.fields.get(n), declared.fields.get(n), (*path, n)) for n in names)
        return apart(list(nodes))

    def _note_letters(self, paths: list[tuple[str, ...]]) -> None:
        rivals = [Rival(Form(path), repr(".".join(path)), _rank(path, self._spec)) for path in paths]
        advice = ": keys that differ in letter case alone exclude each other, declare both in input.fields to keep both"
        self.conflicts.append(Conflict("case_conflict", "", rivals, advice))

    def _towards(self, path: tuple[str, ...]) -> list[str]:
        """Return the fields of an object that a way of the spec leads through, whether records have them or not."""
        return [way[len(path)] for way in self._ways if len(way) > len(path) and way[: len(path)] == [*path]]

    def _node(self, name: str, field: Field | None, declared: Declared | None, path: tuple[str, ...]) -> Node:
        field = field or Field("")
        if list(path) in self._chain:
            return Node(name, "list", element=self._element(field, declared, path))
        if (declared and declared.fields) or (self._towards(path) and (not field.kinds or "object" in field.kinds)):
            return Node(name, "object", fields=self.nodes(field, declared or Declared(), path))
        if declared and declared.type:
            return _declared_value(name, declared.type)
        if field.is_object:
            return Node(name, "object", fields=self.nodes(field, Declared(), path))
        return self._inferred(name, field, path)

    def _element(self, field: Field, declared: Declared | None, path: tuple[str, ...]) -> Node:
        element = field.element or Field("")
        if (declared and declared.fields) or element.is_object:
            return Node("", "object", fields=self.nodes(element, declared or Declared(), path))
        if declared and declared.type:
            return _declared_value("", declared.type)
        if self._towards(path) or not self._infer:
            return Node("", "object", fields=self.nodes(element, Declared(), path))
        if "object" in element.kinds and len(element.kinds) > 1:
            kinds = {"objects": ("object",), "other values than objects": ("array", "scalar")}
            rivals = [Rival(Form(path, of, inside=True), words) for words, of in kinds.items()]
            advice = f": declare {'.'.join(path)}: JSON in input.fields to keep both"
            self.conflicts.append(Conflict("wrong_type", f" in {'.'.join(path)!r}", rivals, advice))
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


def _declared_value(name: str, kind: str) -> Node:
    is_json = kind == "JSON"
    return Node(name, "value", "VARCHAR" if is_json else kind, "JSON" if is_json else "VARCHAR", declared=True)


def reference_columns(index: int, taken: list[Column], spec: Spec) -> list[Column]:
    """Return the columns that a reference adds to a record, from those that it has itself."""
    into, separator = spec.merge[index].into, spec.denormalize.separator
    return [Column(separator.join([into, *column.path]), column.type, into, column.path) for column in taken]


def own_columns(spec: Spec) -> list[Column]:
    """Return the columns that Fanfold adds."""
    own = [Column(RESCUED_COLUMN, "VARCHAR", FANFOLD, [])] if spec.input.schema_mode == "declared" else []
    return own + [Column(name, kind, FANFOLD, []) for name, kind in LINEAGE.items() if spec.output.lineage]


def sql_names(names: list[str]) -> list[str]:
    """Return what columns are called in SQL, where letter case does not tell them apart, and none has an empty name."""
    seen: set[str] = set()
    called = []
    for index, name in enumerate(names):
        taken = (name or NAMELESS).lower() in seen
        seen.add((name or NAMELESS).lower())
        called.append(f"{ESCAPE}{index}" if taken else name or NAMELESS)
    return called


def same_columns(columns: list[Column], spec: Spec) -> list[Conflict]:
    """Return the fields of records whose columns have the name of another column, be it by letter case alone.

    Raises:
        DataError: the spec itself gives two columns one name; both are named. Two declared fields may have names that
            differ in letter case alone, but for tables of Parquet.
    """
    conflicts = []
    for same in _by_name(columns):
        own = [column for column in same if column.source != RECORD or _is_declared(column, spec)]
        check_apart(own, spec)
        if len(same) > max(1, len(own)):
            conflicts.append(_same_name([one for one in same if one.source == RECORD], own, spec))
    return conflicts


def check_apart(columns: list[Column], spec: Spec) -> None:
    """Check that the columns which the spec calls for have names of their own.

    Raises:
        DataError: two have one name, be it by letter case alone (but for declared fields); both are named.
    """
    for same in _by_name(columns):
        exact = len({column.name or NAMELESS for column in same}) < len(same)
        is_declared = all(column.source == RECORD and _is_declared(column, spec) for column in same)
        if len(same) > 1 and (exact or not is_declared or spec.output.format == "parquet"):
            both = " and ".join(repr(".".join((one.source, *(one.path or [one.name])))) for one in same[:2])
            msg = f"{both} both become the column {same[1].name!r}, expected names apart: choose another separator"
            raise DataError(f"{msg} or into" if exact or not is_declared else f"{msg}, or output.format: csv")


def _by_name(columns: list[Column]) -> list[list[Column]]:
    same: dict[str, list[Column]] = {}
    for column in columns:
        same.setdefault((column.name or NAMELESS).lower(), []).append(column)
    return list(same.values())


def _is_declared(column: Column, spec: Spec) -> bool:
    return ".".join(column.path) in spec.input.fields


def _rank(path: tuple[str, ...], spec: Spec) -> int:
    """Return what the spec has to do with a field: whether it, or something inside of it, is declared or named."""

    def leads(names: Iterable[str], separator: str) -> bool:
        start = separator.join(path)
        return any(name == start or name.startswith(start + separator) for name in names)

    if leads(spec.input.fields, "."):
        return DECLARED
    columns = [name for name in spec.denormalize.columns or () if isinstance(name, str)]
    if leads([*spec.denormalize.explode, *(merge.record_key for merge in spec.merge)], "."):
        return NAMED
    return NAMED if leads([*columns, *spec.verify.totals], spec.denormalize.separator) else FREE


def _same_name(fields: list[Column], own: list[Column], spec: Spec) -> Conflict:
    paths = [tuple(column.path) for column in fields]
    rivals = [Rival(Form(path), repr(".".join(path)), _rank(path, spec)) for path in paths]
    owner, advice = "", ": choose another denormalize.separator, or declare the object around it as JSON"
    if own and own[0].source == FANFOLD:
        owner, advice = "that of Fanfold", " (output.lineage): leave it out, or name the field otherwise"
    elif own and own[0].source != RECORD:
        owner, advice = f"that of merge.into {own[0].source!r}", ": choose another name there"
    return Conflict("name_conflict", f" as the column {fields[0].name!r}", rivals, advice, owner)


class Draft(NamedTuple):
    """What a schema is made of: fields, arrays that explode, flat columns; with conflicts, these come first."""

    record: list[Node]
    chain: list[list[str]]
    flat: list[Column]
    conflicts: list[Conflict]


def draft(spec: Spec, root: Field, taken: list[list[Column]]) -> Draft:
    """Make the schema of records, as far as nothing in them excludes each other.

    Conflicts of keys and forms come before those of columns, which depend on what is left.

    Args:
        spec: what is declared, exploded, joined.
        root: the fields that were seen in all records.
        taken: of each reference, the columns that are taken from it.

    Raises:
        DataError: the spec contradicts itself, or the fields.
    """
    declared = declared_tree(spec)
    if conflicts := list(arrays_or_objects(root, spec)):
        return Draft([], [], [], conflicts)
    chain = explode_chain(root, spec)
    builder = Builder(spec, chain)
    record = builder.nodes(root, declared)
    if builder.conflicts:
        return Draft([], [], [], builder.conflicts)
    flat = list(builder.columns(record, root))
    for index, columns in enumerate(taken):
        flat += reference_columns(index, columns, spec)
    flat += own_columns(spec)
    return Draft(record, chain, flat, same_columns(flat, spec))
