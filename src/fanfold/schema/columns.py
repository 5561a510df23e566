"""Pure: the columns that the fields of records become in a table, and their names."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fanfold import types
from fanfold.errors import DataError
from fanfold.manifest import Column
from fanfold.native.fields import Seen
from fanfold.schema.rivals import Conflict, named
from fanfold.spec.model import Spec
from fanfold.spec.paths import Way, way_of, written
from fanfold.spec.tables import level_of
from fanfold.spec.texts import CsvOutput
from fanfold.working_files import Node

RECORD = "record"
FANFOLD = "fanfold"
RESCUED_COLUMN = "_rescued"
# The expression of a column that no record has.
ABSENT = "NULL"
LINEAGE = {"_source_file": "VARCHAR", "_source_record": "BIGINT", "_source_item": "VARCHAR"}
SPECIAL = re.compile('["#\r\n]')
# What a spreadsheet would run: not a number.
FORMULA_BEGINS, NO_FORMULA = r"[=+\-@\t\r]", r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?|-Infinity"
FORMULA = re.compile(rf"(?!({NO_FORMULA})\Z){FORMULA_BEGINS}")
BOM = "\ufeff"
# No key of a record begins with this character in SQL.
ESCAPE = "\ue000"


class Leaf(NamedTuple):
    """A field that is not an object: where it is, its node, or that of its elements, and what was seen of either."""

    way: Way
    node: Node
    seen: Seen
    is_element: bool


def leaves(nodes: list[Node], seen: Seen, above: Way = ()) -> Iterator[Leaf]:
    """Yield the fields of an object that are not objects themselves, through objects and arrays that explode."""
    for node in nodes:
        way, field, inner = (*above, node.name), seen.fields.get(node.name, Seen()), node
        if node.element:
            inner, field = node.element, field.element or Seen()
        if inner.kind == "object":
            yield from leaves(inner.fields, field, way)
        else:
            yield Leaf(way, inner, field, node.kind == "list")


def flat_columns(
    record: list[Node], seen: Seen, taken: list[list[Column]], spec: Spec, chain: list[list[str]]
) -> list[Column]:
    """Return the columns of all tables: those of the record, of its references, and those that Fanfold adds.

    Args:
        record: the fields of the record.
        seen: what was seen of them, in all good records.
        taken: of each reference, the columns that are taken from it.
        spec: how names are joined, and what Fanfold adds.
        chain: the paths of all arrays that explode: what is joined to their elements is named as a field of these.
    """
    separator, arrays = spec.denormalize.separator, {(*path,) for path in chain}
    flat = [
        Column(separator.join(way), types.in_table(node.type), RECORD, [*way], field.first_file or None)
        for way, node, field, is_element in leaves(record, seen)
        # Of an array that is always empty it is not known whether it has columns.
        if field.kinds or node.declared or not is_element
    ]
    for merge, columns in zip(spec.merge, taken, strict=True):
        place = [*level_of(way_of(merge.record_keys[0]), arrays), merge.into]
        flat += [Column(separator.join([*place, *one.path]), one.type, merge.into, one.path) for one in columns]
    if spec.input.schema_mode == "declared":
        flat.append(Column(RESCUED_COLUMN, "VARCHAR", FANFOLD, []))
    return flat + lineage() if spec.output.lineage else flat


def lineage() -> list[Column]:
    """Return the columns that say where a row comes from."""
    return [Column(name, kind, FANFOLD, []) for name, kind in LINEAGE.items()]


def header(names: Iterable[str], form: CsvOutput) -> bytes:
    """Return the line of a CSV that names its columns, in the form that the core gives values; with the mark if any."""
    told = ("'" + name if form.escape_formulas and FORMULA.match(name) else name for name in names)
    quoted = (
        '"' + name.replace('"', '""') + '"'
        if SPECIAL.search(name) or form.delimiter in name or name in {"", form.null}
        else name
        for name in told
    )
    return (BOM * form.bom + form.delimiter.join(quoted) + "\n").encode()


def with_names(names: Sequence[str]) -> list[str]:
    """Return the names of columns where none may be empty, in SQL and in Parquet: `_`, or `__` where that is taken."""
    nameless = "_"
    while nameless in names:
        nameless += "_"
    return [name or nameless for name in names]


def sql_names(names: Sequence[str]) -> list[str]:
    """Return the SQL names of columns: SQL ignores letter case, and allows no empty name."""
    seen: set[str] = set()
    called, mark = [], ESCAPE
    while any(name.startswith(mark) for name in names):
        mark += ESCAPE
    for index, name in enumerate(with_names(names)):
        taken = name.lower() in seen
        seen.add(name.lower())
        called.append(f"{mark}{index}" if taken else name)
    return called


def same_names(columns: list[Column], spec: Spec) -> list[Conflict]:
    """Return the fields of records whose columns have the name of another column, or differ in letter case alone.

    Raises:
        DataError: as `check_apart`, for columns that the spec itself calls for.
    """
    conflicts = []
    for same in _by_name(columns):
        # Without its key, a reference cannot be joined: no form excludes that.
        own = [
            column for column in same if column.source != RECORD or _is_declared(column, spec) or _is_key(column, spec)
        ]
        check_apart(own, spec)
        if len(same) > max(1, len(own)):
            rivals = [named(tuple(one.path), spec) for one in same if one.source == RECORD]
            owner, advice = "", ": choose another denormalize.separator, or declare the object around it as JSON"
            if own and own[0].source == FANFOLD:
                owner, advice = "that of Fanfold", " (output.lineage): leave it out, or rename the field"
            elif own and own[0].source != RECORD:
                owner, advice = f"that of merge.into {own[0].source!r}", ": choose another name there"
            first = next(one for one in same if one.source == RECORD)
            conflicts.append(Conflict("name_conflict", f" as the column {first.name!r}", rivals, advice, owner))
    return conflicts


def check_apart(columns: list[Column], spec: Spec) -> None:
    """Check that the columns that the spec calls for have names of their own.

    Raises:
        DataError: two have one name, or differ in letter case alone; both are named. Two declared fields may differ in
            letter case alone, but for tables of Parquet.
    """
    for same in _by_name(columns):
        exact = len({column.name for column in same}) < len(same)
        is_declared = all(column.source == RECORD and _is_declared(column, spec) for column in same)
        if len(same) > 1 and (exact or not is_declared or spec.output.format == "parquet"):
            both = " and ".join(repr(written((one.source, *(one.path or [one.name])))) for one in same[:2])
            advice = "choose another separator"
            if same[-1].source not in {RECORD, FANFOLD}:
                advice += " or into, or leave that column out (merge[].columns)"
            elif same[-1].source == FANFOLD:
                advice = "rename the field, or leave out output.lineage"
            elif is_declared and not exact:
                advice += ", or output.format: csv"
            msg = f"{both} both become the column {same[1].name!r}, expected different names: {advice}"
            raise DataError(msg)


def _by_name(columns: list[Column]) -> list[list[Column]]:
    same: dict[str, list[Column]] = {}
    for column in columns:
        same.setdefault(column.name.lower(), []).append(column)
    return list(same.values())


def _is_key(column: Column, spec: Spec) -> bool:
    return any(written(column.path) in merge.record_keys for merge in spec.merge)


def _is_declared(column: Column, spec: Spec) -> bool:
    return written(column.path) in spec.input.fields
