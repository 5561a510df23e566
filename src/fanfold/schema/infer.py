"""Pure: the one schema of a run: how records are read, and the columns that they become."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from fanfold import types
from fanfold.errors import DataError, MissingError, nearest
from fanfold.manifest import Column
from fanfold.native.fields import Field, Seen
from fanfold.schema.rivals import DECLARED, FREE, NAMED, Conflict, Rival
from fanfold.spec.model import Spec
from fanfold.working_files import Excluded, Form, Node

RECORD = "record"
FANFOLD = "fanfold"
RESCUED_COLUMN = "_rescued"
# A column of a key without a character, where it must have a name: in SQL and in Parquet.
NAMELESS = "_"
LINEAGE = {"_source_file": "VARCHAR", "_source_record": "BIGINT", "_source_item": "VARCHAR"}
CONTAINERS = {"object", "array"}
SPECIAL = re.compile('[",#\r\n]')
# No key of a record begins with this character in SQL.
ESCAPE = "\ue000"


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


def explode_chain(root: Seen, spec: Spec) -> list[list[str]]:
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


def arrays_or_objects(root: Seen, spec: Spec) -> Iterator[Conflict]:
    """Yield the fields on the way to an array that explodes which are arrays in some records, objects in others."""
    seen = set()
    for path in spec.denormalize.explode:
        names = path.split(".")
        for length in range(1, len(names)):
            above = root.find(names[:length])
            if above is not None and above.kinds.keys() >= CONTAINERS:
                place = tuple(names[:length])
                if place not in seen:
                    rivals = [Rival(Form(place, (kind,)), f"an {kind}") for kind in above.kinds if kind in CONTAINERS]
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


def check(root: Seen, excluded: Iterable[Excluded], spec: Spec, files: Collection[str]) -> None:
    """Compare what the spec says of the records of files with the fields that they have.

    Args:
        root: the fields of good records.
        excluded: what no good record has: some records have it all the same.
        spec: what is exploded, joined, declared.
        files: the names of the files.

    Raises:
        MissingError: a declared field is in no record, and one of nearly its name is, undeclared.
        DataError: no record has the key of a reference, or an array that explodes, and the spec does not declare it;
            such a key is an object or an array in every record; what explodes is an array in none.
    """
    if not root.fields:
        return
    # A record with a lost form has what lies around it, too.
    lost = {".".join(one.form.path[:depth]) for one in excluded for depth in range(1, len(one.form.path) + 1)}
    for path in spec.denormalize.explode:
        field = root.find(path.split("."))
        known = path in lost or _is_known(tuple(path.split(".")), spec)
        if field is None and not known:
            msg = f"denormalize.explode {path!r} is in no record"
            raise lacking(msg, nearest(path, root.paths()), files)
        if field is not None and field.kinds and not field.arrays and not known:
            found = f"found {_words(field)} in {field.first_file!r}"
            msg = f"denormalize.explode {path!r}: {found}, expected an array"
            raise DataError(msg)
    for index, merge in enumerate(spec.merge):
        field = root.find(merge.record_key.split("."))
        place = f"merge.{index}.key {merge.record_key!r}"
        if merge.record_key in lost or merge.record_key in {*spec.input.fields, *spec.denormalize.explode}:
            continue
        if field is None:
            msg = f"{place} is in no record"
            raise lacking(msg, nearest(merge.record_key, root.paths()), files)
        if field is not None and field.kinds and field.kinds.keys() <= CONTAINERS:
            msg = f"{place}: found an {min(field.kinds)} in {field.first_file!r}, expected a text or a number"
            raise DataError(msg)
    # What lies around a declared field is known by it, be it empty or null in each record.
    undeclared = [path for path in root.paths() if not _is_known(tuple(path.split(".")), spec)]
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

    def nodes(self, field: Seen, declared: Declared, path: tuple[str, ...] = ()) -> list[Node]:
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
        return [self._node(n, field.fields.get(n), declared.fields.get(n), (*path, n)) for n in names]

    def _note_letters(self, paths: list[tuple[str, ...]]) -> None:
        rivals = [Rival(Form(path), repr(".".join(path)), _rank(path, self._spec)) for path in paths]
        advice = ": keys that differ in letter case alone exclude each other, declare both in input.fields to keep both"
        self.conflicts.append(Conflict("case_conflict", "", rivals, advice))

    def _towards(self, path: tuple[str, ...]) -> list[str]:
        """Return the fields of an object that a way of the spec leads through, whether records have them or not."""
        return [way[len(path)] for way in self._ways if len(way) > len(path) and way[: len(path)] == [*path]]

    def _node(self, name: str, field: Seen | None, declared: Declared | None, path: tuple[str, ...]) -> Node:
        field = field or Seen()
        if list(path) in self._chain:
            return Node(name, "list", element=self._element(field, declared, path))
        if (declared and declared.fields) or (self._towards(path) and (not field.kinds or "object" in field.kinds)):
            return Node(name, "object", fields=self.nodes(field, declared or Declared(), path))
        if declared and declared.type:
            return _declared_value(name, declared.type)
        if _is_object(field):
            return Node(name, "object", fields=self.nodes(field, Declared(), path))
        return self._inferred(name, field, path)

    def _element(self, field: Seen, declared: Declared | None, path: tuple[str, ...]) -> Node:
        element = field.element or Seen()
        if (declared and declared.fields) or _is_object(element):
            return Node("", "object", fields=self.nodes(element, declared or Declared(), path))
        if declared and declared.type:
            return _declared_value("", declared.type)
        if self._towards(path) or not self._infer:
            return Node("", "object", fields=self.nodes(element, Declared(), path))
        if "object" in element.kinds and len(element.kinds) > 1:
            objects, others = ("objects", ("object",)), ("other values than objects", ("array", "scalar"))
            both = (objects, others) if next(iter(element.kinds)) == "object" else (others, objects)
            rivals = [Rival(Form(path, kinds, inside=True), words) for words, kinds in both]
            advice = f": declare {'.'.join(path)}: JSON in input.fields to keep both"
            self.conflicts.append(Conflict("wrong_type", f" in {'.'.join(path)!r}", rivals, advice))
        return self._inferred("", element, path)

    def _inferred(self, name: str, field: Seen, path: tuple[str, ...]) -> Node:
        kind = types.of_seen(field)
        # Keys compare as written: an object or array among them makes its record bad.
        is_key = ".".join(path) in self._keys
        return Node(name, "value", types.in_table(kind) if is_key else kind)

    def columns(self, nodes: list[Node], field: Seen, path: tuple[str, ...] = ()) -> Iterator[Column]:
        """Yield the columns that the fields of an object flatten to, in their order."""
        for node in nodes:
            place, seen = (*path, node.name), field.fields.get(node.name) or Seen()
            inner = node
            if node.kind == "list" and node.element:
                inner, seen = node.element, seen.element or Seen()
            if inner.kind == "object":
                yield from self.columns(inner.fields, seen, place)
            elif node.kind == "value" or seen.kinds or inner.declared:
                yield Column(
                    self._spec.denormalize.separator.join(place),
                    types.in_table(inner.type),
                    RECORD,
                    list(place),
                    seen.first_file or None,
                )


def _declared_value(name: str, kind: str) -> Node:
    return Node(name, "value", kind, declared=True)


def _is_object(field: Seen) -> bool:
    """Say whether every value is an object, and one of them has a field."""
    return field.kinds.keys() == {"object"} and bool(field.fields)


def _words(field: Seen) -> str:
    return "an object" if field.objects else types.of_seen(field)


def reference_columns(index: int, taken: list[Column], spec: Spec) -> list[Column]:
    """Return the columns that a reference adds to a record, from those that it has itself."""
    into, separator = spec.merge[index].into, spec.denormalize.separator
    return [Column(separator.join([into, *column.path]), column.type, into, column.path) for column in taken]


def own_columns(spec: Spec) -> list[Column]:
    """Return the columns that Fanfold adds."""
    own = [Column(RESCUED_COLUMN, "VARCHAR", FANFOLD, [])] if spec.input.schema_mode == "declared" else []
    return own + [Column(name, kind, FANFOLD, []) for name, kind in LINEAGE.items() if spec.output.lineage]


def header(names: Iterable[str]) -> bytes:
    """Return the line of a CSV that names its columns, quoted as the core quotes values."""
    quoted = ('"' + name.replace('"', '""') + '"' if SPECIAL.search(name) or not name else name for name in names)
    return (",".join(quoted) + "\n").encode()


def sql_names(names: list[str]) -> list[str]:
    """Return what columns are called in SQL, where letter case does not tell them apart, and none has an empty name."""
    seen: set[str] = set()
    called, mark = [], ESCAPE
    while any(name.startswith(mark) for name in names):
        mark += ESCAPE
    for index, name in enumerate(names):
        taken = (name or NAMELESS).lower() in seen
        seen.add((name or NAMELESS).lower())
        called.append(f"{mark}{index}" if taken else name or NAMELESS)
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


def check_covers(nodes: list[Node], seen: Seen, path: tuple[str, ...] = ()) -> None:
    """Check that a schema which was inferred holds every value of a file that it was not made from.

    Raises:
        DataError: a field is not in it, or has a kind of value that its column does not hold.
    """
    by_name = {node.name: node for node in nodes}
    for name, field in seen.fields.items():
        node, place, inner = by_name.get(name), (*path, name), field
        if node is not None and node.kind == "list" and field.kinds.keys() <= {"array"}:
            inner, node = field.element or Seen(), node.element
        if node is not None and node.kind == "object":
            check_covers(node.fields, inner, place)
        elif node is None or not (node.declared or types.holds(node.type, inner)):
            found = f"a field {'.'.join(place)!r} of type {types.of_seen(inner) if inner.kinds else 'null'}"
            msg = (
                f"{field.first_file!r}: found {found}, expected the fields that this run's schema was made from: "
                "fanfold release puts the file back into landing, for a run of its own"
            )
            if node is not None or inner.kinds:
                raise DataError(msg)


def misfits(nodes: list[Node], seen: Seen, spec: Spec, path: tuple[str, ...] = ()) -> Iterator[Excluded]:
    """Yield the forms that no schema of these fields holds: no good record has them, so that they leave no trace.

    Where all values of a field are of other kinds than the spec calls for, they are not among them: `check` says so.

    Args:
        nodes: the fields of an object.
        seen: what was seen of the object.
        spec: its keys are values.
        path: of the object.
    """
    keys = {merge.record_key for merge in spec.merge}
    for node in nodes:
        field, place = seen.fields.get(node.name), (*path, node.name)
        if field is None:
            continue
        if node.kind == "list" and (field.arrays or _is_known(place, spec)):
            yield from _others(place, field, "array")
        if node.kind == "object":
            yield from _others(place, field, "object")
            yield from misfits(node.fields, field, spec, place)
        elif node.kind == "list" and node.element and node.element.kind == "object" and field.element:
            yield from _others(place, field.element, "object", inside=True)
            yield from misfits(node.element.fields, field.element, spec, place)
        elif ".".join(place) in keys and "scalar" in field.kinds:
            yield from _others(place, field, "scalar")


def _others(path: tuple[str, ...], field: Seen, wanted: str, *, inside: bool = False) -> Iterator[Excluded]:
    if others := tuple(kind for kind in ("object", "array", "scalar") if kind in field.kinds and kind != wanted):
        words = {"object": "an object", "array": "an array", "scalar": "a text, a number, true or false"}
        found = " or ".join(words[kind] for kind in others)
        message = f"found {found} {'in' if inside else 'as'} {'.'.join(path)!r}, expected {words[wanted]}"
        yield Excluded(Form(path, others, inside=inside), "wrong_type", message)


def _is_known(path: tuple[str, ...], spec: Spec) -> bool:
    """Say whether a field is declared, or one inside of it."""
    place = ".".join(path)
    return any(name == place or name.startswith(f"{place}.") for name in spec.input.fields)


def known_fields(spec: Spec, chain: list[list[str]]) -> Field | None:
    """Return what is known of records before they are looked through: the fields that are declared; None without any.

    Args:
        spec: what is declared.
        chain: the paths of the arrays that explode, as far as they are known.
    """
    leaves = {tuple(path.split(".")): kind for path, kind in spec.input.fields.items()}
    return _known((), leaves, {(*path,) for path in chain}) if leaves else None


def _known(path: tuple[str, ...], leaves: dict[tuple[str, ...], str], arrays: set[tuple[str, ...]]) -> Field:
    name, depth = path[-1] if path else "", len(path)
    inside = dict.fromkeys(leaf[: depth + 1] for leaf in leaves if leaf[:depth] == path and len(leaf) > depth)
    made = Field(name, "object", inside=tuple(_known(one, leaves, arrays) for one in inside))
    if path in leaves:
        made = Field(name, type=leaves[path])
    return Field(name, "list", inside=(made._replace(name=""),)) if path in arrays else made


class Draft(NamedTuple):
    """What a schema is made of: fields, arrays that explode, flat columns; with conflicts, these come first."""

    record: list[Node]
    chain: list[list[str]]
    flat: list[Column]
    conflicts: list[Conflict]


def draft(spec: Spec, root: Seen, taken: list[list[Column]]) -> Draft:
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
        return Draft(record, [], [], builder.conflicts)
    flat = list(builder.columns(record, root))
    for index, columns in enumerate(taken):
        flat += reference_columns(index, columns, spec)
    flat += own_columns(spec)
    return Draft(record, chain, flat, same_columns(flat, spec))
