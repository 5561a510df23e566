"""Pure: whether the records of a run have what the spec names."""

import difflib
from collections.abc import Collection, Iterable, Iterator

from fanfold import types
from fanfold.errors import DataError, FanfoldError, MissingError, nearest
from fanfold.native.fields import Seen
from fanfold.schema.declared import known_ways, starts
from fanfold.spec.model import Spec
from fanfold.spec.paths import way_of, written
from fanfold.working_files import Excluded


def place_of(table: str) -> str:
    """Return where the spec describes a table; without `tables`, the only table has no name."""
    return f"tables.{table}" if table else "denormalize"


def lacking(what: str, hint: str, files: Collection[str]) -> FanfoldError:
    """Return the error for something that the spec names and the records of a run lack.

    Args:
        what: the key of the spec with its value, and where it is not.
        hint: as `nearest` gives it.
        files: those that were scanned; without any, the spec declares all fields, and contradicts itself.
    """
    if not files:
        return MissingError(f"{what}, {hint}")
    read = f"{len(files)} files, {min(files)!r} to {max(files)!r}" if len(files) > 1 else f"{min(files)!r}"
    msg = f"{what}, {hint} (read: {read}). If records may lack it, declare it, or a field in it, in input.fields"
    return DataError(msg)


def check(root: Seen, excluded: Iterable[Excluded], spec: Spec, files: Collection[str]) -> None:
    """Compare what the spec says about the records with the fields that they have.

    Args:
        root: the fields of good records.
        excluded: what no good record has: some records have it all the same.
        spec: what is exploded, joined, declared.
        files: the names of the files.

    Raises:
        DataError: no record has the key of a reference, or an array that explodes, and the spec does not declare it;
            such a key is an object or an array in every record; what explodes is an array in none.
    """
    if not root.fields:
        return
    known = known_ways(spec)
    # A record with a lost form has what lies around it, too.
    lost = {start for one in excluded for start in starts(one.form.path)}
    for name, table in spec.flat_tables.items():
        for path in table.explode:
            if way_of(path) not in lost | known:
                _check_field(f"{place_of(name)}.explode {path!r}", path, "array", root, files)
    for index, merge in enumerate(spec.merge):
        for path in merge.record_keys:
            if way_of(path) not in lost and path not in {*spec.input.fields, *spec.exploded}:
                _check_field(f"merge.{index}.key {path!r}", path, "scalar", root, files)


def misspelled(root: Seen, spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield the declared paths that no good record has, each with an undeclared one that is nearly the same.

    The field may have another name in the files, or be absent today: a declared field may be.
    """
    known = known_ways(spec)
    # What is around a declared field is known by it, also where it is empty or null in each record.
    undeclared = [path for path in root.paths() if way_of(path) not in known]
    for path in spec.input.fields:
        if root.find(way_of(path)) is None and (near := _nearest(path, undeclared)):
            yield path, near


def _nearest(path: str, others: list[str]) -> str | None:
    """Return the path that a path is nearly the same as: what is around both says nothing."""
    plain = ".".join(way_of(path))
    if quoted := next((one for one in others if ".".join(way_of(one)) == plain), None):
        # A key with dots is written like the keys of a path, but for its quotes.
        return quoted
    found = difflib.get_close_matches(path, others, n=max(1, len(others)), cutoff=0.8)
    return next((one for one in found if difflib.get_close_matches(*_apart(path, one), cutoff=0.8)), None)


def _apart(path: str, other: str) -> tuple[str, list[str]]:
    """Return where two paths differ, without the keys that both begin and end with."""
    one, two = list(way_of(path)), list(way_of(other))
    for end in (0, -1):
        while one and two and one[end] == two[end]:
            del one[end], two[end]
    return written(one), [written(two)]


def _check_field(what: str, path: str, wanted: str, root: Seen, files: Collection[str]) -> None:
    field = root.find(way_of(path))
    if field is None:
        msg = f"{what} is in no record"
        paths = root.paths()
        if wanted == "array":
            paths = (one for one in paths if (known := root.find(way_of(one))) and "array" in known.kinds)
        raise lacking(msg, nearest(path, paths), files)
    if field.kinds and wanted not in field.kinds:
        found = "an object" if field.objects else "an array" if field.arrays else types.of_seen(field)
        expected = "an array" if wanted == "array" else "a text or a number"
        msg = f"{what}: found {found} in {field.first_file!r}, expected {expected}"
        raise DataError(msg)
