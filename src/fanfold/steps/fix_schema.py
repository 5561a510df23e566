"""The one schema of a run: what was found in its files, checked against the spec, and the columns of the output."""

from collections.abc import Collection, Sequence

from fanfold import types
from fanfold.errors import DataError, FanfoldError, MissingError, nearest
from fanfold.manifest import Column
from fanfold.records import places
from fanfold.records.read import FileRead
from fanfold.schema.checks import check, lacking
from fanfold.schema.columns import FANFOLD, RECORD, check_apart
from fanfold.spec.model import Spec
from fanfold.spec.paths import written
from fanfold.steps.freeze_reference import Frozen
from fanfold.steps.scan_files import Found
from fanfold.working_files import RunSchema


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
    record, chain, flat, _ = found.draft
    rescued = spec.input.schema_mode == "declared"
    is_bare = not has_fields(spec, found)
    columns = _output_columns(spec, flat, found.files, is_bare=is_bare) if flat else flat
    if columns and not is_bare:
        _check_totals(spec, columns, flat, found.files)
    fixed = RunSchema(
        record,
        chain,
        rescued,
        flat,
        columns,
        [one.reference for one in references],
        found.excluded,
        [one.slots for one in references],
    )
    # The keys of references have a place, or nothing could match.
    places.places(fixed, spec)
    return fixed


def has_fields(spec: Spec, found: Found) -> bool:
    """Say whether there is a field at all: a delivery without a single one lacks nothing in particular."""
    return bool(found.seen.fields) or spec.input.schema_mode == "declared"


def _points_nowhere(one: FileRead) -> bool:
    return one.is_bad and one.first is not None and one.first.code == "pointer_not_found"


def _output_columns(spec: Spec, flat: list[Column], files: Collection[str], *, is_bare: bool) -> list[Column]:
    """Return the columns of the output: all, or those of `denormalize.columns` in its order, then Fanfold's own."""
    if spec.denormalize.columns is None:
        return flat
    chosen = []
    for wanted in spec.denormalize.columns:
        try:
            chosen.append(_column(wanted, flat, files))
        except FanfoldError:
            if not is_bare:
                raise
            name = wanted if isinstance(wanted, str) else next(iter(wanted))
            chosen.append(Column(name, "VARCHAR", "spec", [], expression="NULL"))
    chosen += [column for column in flat if column.source == FANFOLD and column not in chosen]
    check_apart(chosen, spec)
    return chosen


def _column(wanted: str | dict[str, str], flat: list[Column], files: Collection[str]) -> Column:
    known = {column.name: column for column in flat}
    if isinstance(wanted, dict):
        # DuckDB is only there where it is needed.
        from fanfold.engine import expressions

        ((name, expression),) = wanted.items()
        return expressions.column(name, expression, flat, files)
    if wanted not in known:
        msg = f"denormalize.columns {wanted!r} is not a column"
        raise lacking(msg, nearest(wanted, known), files)
    return known[wanted]


def _check_totals(spec: Spec, columns: list[Column], flat: list[Column], files: Collection[str]) -> None:
    known = {written(column.path): column for column in flat if column.source == RECORD}
    for path in spec.verify.totals:
        place, column = f"verify.totals {path!r}", known.get(path)
        if column is None:
            msg = f"verify.totals {path!r} is not a field of the records"
            raise lacking(msg, nearest(path, known), files)
        if column not in columns:
            msg = f"{place} is left out by denormalize.columns, expected it there"
            raise MissingError(msg)
        if not types.is_exact(column.type):
            msg = f"{place} is {column.type}, expected BIGINT or DECIMAL: declare it in input.fields"
            raise DataError(msg)
