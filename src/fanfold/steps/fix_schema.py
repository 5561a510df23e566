"""The one schema of a run: what was found in its files, checked against the spec, and the columns of the output."""

from collections.abc import Collection, Sequence

from fanfold import types
from fanfold.errors import DataError, FanfoldError, MissingError, nearest
from fanfold.manifest import Column
from fanfold.records import places
from fanfold.records.read import FileRead
from fanfold.schema.checks import check, lacking, place_of
from fanfold.schema.columns import ABSENT, FANFOLD, RECORD, check_apart
from fanfold.schema.tables import DraftTable
from fanfold.spec.model import Spec
from fanfold.spec.paths import Way, way_of, written
from fanfold.steps.freeze_reference import Frozen
from fanfold.steps.scan_files import Found
from fanfold.working_files import RunSchema, TableSchema


def fix_schema(spec: Spec, found: Found, references: Sequence[Frozen]) -> RunSchema:
    """Make the one schema of a run.

    Args:
        spec: what is declared, exploded, joined, and kept.
        found: what is in the files.
        references: in the order of the spec.

    Raises:
        DataError: two fields become one column, an exploded field is not an array, an expression is not SQL over the
            columns of one row, or a total has no exact sum.
        MissingError: the spec names a field or a column that is not there.
    """
    if found.files and all(_points_nowhere(one) for one in found.files.values()):
        msg = f"input.records_at {spec.input.records_at!r} leads nowhere in any file, e.g. {min(found.files)!r}"
        raise MissingError(msg)
    check(found.seen, found.excluded, spec, found.files)
    record, chain, drafted, _ = found.draft
    tables = {name: _table(spec, name, draft, found) for name, draft in drafted.items()}
    if has_fields(spec, found):
        _check_totals(spec, tables, found.files)
    fixed = RunSchema(
        record=record,
        explode=chain,
        rescued=spec.input.schema_mode == "declared",
        flat=tables[""].flat if "" in tables else [],
        columns=tables[""].columns if "" in tables else [],
        references=[one.reference for one in references],
        excluded=found.excluded,
        joined=[one.slots for one in references],
        tables={} if "" in tables else tables,
    )
    # The keys of references have a place, or nothing could match.
    places.places(fixed, spec)
    return fixed


def has_fields(spec: Spec, found: Found) -> bool:
    """Say whether there is a field at all: a delivery without a single one lacks nothing in particular."""
    return bool(found.seen.fields) or spec.input.schema_mode == "declared"


def _points_nowhere(one: FileRead) -> bool:
    return one.is_bad and one.first is not None and one.first.code == "pointer_not_found"


def _table(spec: Spec, name: str, draft: DraftTable, found: Found) -> TableSchema:
    """Return a table with the columns of its output: all, or its keys and those of `columns`, then Fanfold's own."""
    wanted, flat = spec.flat_tables[name], draft.flat
    is_bare = not has_fields(spec, found) or (bool(wanted.keys) and not flat)
    if len(wanted.keys) > draft.keys and not is_bare:
        known = [written(column.path) for column in flat if column.source == RECORD]
        lost = next(key for key in wanted.keys if key not in known[: draft.keys])
        msg = f"{place_of(name)}.keys {lost!r} is not a column"
        raise lacking(msg, nearest(lost, known), found.files)
    if wanted.columns is None and flat:
        return TableSchema(draft.explode, draft.elsewhere, flat, flat)
    ways, there = map(way_of, wanted.keys), {(*column.path,): column for column in flat[: draft.keys]}
    keys = [there.get(way) or _absent(spec.denormalize.separator.join(way), way) for way in ways]
    chosen = [*keys]
    for one in wanted.columns or ():
        try:
            column = _column(f"{place_of(name)}.columns", one, flat, found.files)
        except FanfoldError:
            if not is_bare:
                raise
            name = one if isinstance(one, str) else next(iter(one))
            column = next((key for key in keys if key.name == name), _absent(name))
        # A key stands once.
        chosen += [column] if column not in keys else []
    chosen += [column for column in flat if column.source == FANFOLD and column not in chosen]
    check_apart(chosen, spec)
    return TableSchema(draft.explode, draft.elsewhere, flat, chosen)


def _absent(name: str, way: Way = ()) -> Column:
    """Return a column of nulls, for a delivery that has no field: perhaps of the field at `way`."""
    return Column(name, "VARCHAR", RECORD if way else "spec", [*way], expression=ABSENT)


def _column(place: str, wanted: str | dict[str, str], flat: list[Column], files: Collection[str]) -> Column:
    known = {column.name: column for column in flat}
    if isinstance(wanted, dict):
        # DuckDB is only there where it is needed.
        from fanfold.engine import expressions

        ((name, expression),) = wanted.items()
        return expressions.column(name, expression, flat, files, place)
    if wanted not in known:
        msg = f"{place} {wanted!r} is not a column"
        raise lacking(msg, nearest(wanted, known), files)
    return known[wanted]


def _check_totals(spec: Spec, tables: dict[str, TableSchema], files: Collection[str]) -> None:
    flat = [column for table in tables.values() for column in table.flat]
    columns = [column for table in tables.values() for column in table.columns]
    known = {written(column.path): column for column in flat if column.source == RECORD}
    for path in spec.verify.totals if columns else ():
        place, column = f"verify.totals {path!r}", known.get(path)
        if column is None:
            msg = f"verify.totals {path!r} is not a field of the records"
            raise lacking(msg, nearest(path, known), files)
        if column not in columns:
            msg = f"{place} is left out by {'tables' if spec.tables else 'denormalize'}.columns, expected it there"
            raise MissingError(msg)
        if not types.is_exact(column.type):
            msg = f"{place} is {column.type}, expected BIGINT or DECIMAL: declare it in input.fields"
            raise DataError(msg)
