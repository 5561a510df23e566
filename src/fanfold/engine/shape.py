"""Files of JSON whose records are all of one shape, proved in one fast reading.

The shape comes from some records of a file, by DuckDB's json_structure. That all others have it is what msgspec proves
as it decodes them: the same keys, each with a value of its kinds. It is stricter than DuckDB about what JSON is. A file
with other records, or with numbers that a double may not hold, is left to the scan.
"""

import contextlib
import functools
import hashlib
import json
import multiprocessing
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import msgspec

from fanfold import workers
from fanfold.engine.decoder import CHECKED_BYTES, SMALL_BYTES, ShapeDecoder, SurpriseError
from fanfold.engine.fields import Field
from fanfold.engine.session import connect_to_nothing
from fanfold.engine.strict import has_long_keys, is_blind, is_vague
from fanfold.layout import COMPRESSIONS, Place
from fanfold.records.batches import OtherError, RawDecoder, batches, content_of
from fanfold.records.faults import UnreadableError
from fanfold.records.limits import MAX_FIELDS

# With less than this, to start processes takes longer than they save; to open a file takes as long as to prove so much.
PARALLEL_BYTES, FILE_BYTES = 64 * 1024 * 1024, 8 * 1024
PARTS_OF_A_PROCESS = 4
# Of the first window, to learn the shape from.
SAMPLED_RECORDS = 64
# So often may a file have other kinds of values than was thought, or other keys: it is read again from its beginning.
MOST_SURPRISES, MOST_OTHER_KEYS = 16, 4
# Of a file that is not one that is proved like this.
OTHER_FAULTS = (OtherError, UnreadableError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Proved(NamedTuple):
    """A file of records of one shape: their number, and their fields, with the digits of decimals.

    The hash is that of a small file, which is read at once.
    """

    records: int
    fields: Field
    sha256: str | None


def prove(files: Mapping[str, Place], *, inferred: bool, processes: int) -> dict[str, Proved]:
    """Prove what can be proved of files: their records have one shape.

    In the order of names, since the first file gives the order of the fields.

    Args:
        files: by name.
        inferred: whether the schema is. Then all records of a file have all of its fields, whose order counts, and
            their decimals are counted. Else records of a larger file may lack fields, and nothing may be known of
            decimals that cannot be counted.
        processes: so many work beside each other, where there is much to read.
    """
    places = [(name, files[name].path) for name in sorted(files)]
    return _in_parts(functools.partial(_prove_some, inferred=inferred), places, files, processes)


def confirm(files: Mapping[str, Place], fields: Mapping[str, Field], processes: int) -> dict[str, Proved]:
    """Prove of files, of which some is known, that it is all there is to know.

    Records may have some of the fields only; the digits of decimals are counted. Small files are left out.

    Args:
        files: by name.
        fields: of all their records.
        processes: as `prove`.
    """
    # A decoder is made for each: of a small file it would be most of the work.
    large = {name: files[name] for name in sorted(files) if files[name].size_bytes > SMALL_BYTES}
    known = [(name, place.path, fields[name]) for name, place in large.items()]
    return _in_parts(_confirm_some, known, large, processes)


def _in_parts(
    prove_some: Callable[[list[Any]], dict[str, Proved]], known: list[Any], files: Mapping[str, Place], processes: int
) -> dict[str, Proved]:
    work = sum(place.size_bytes + FILE_BYTES for place in files.values())
    if processes == 1 or len(known) <= 1 or work < PARALLEL_BYTES or sys.platform != "linux":
        return prove_some(known)
    found: dict[str, Proved] = {}
    # Nothing else runs in this process that a fork would cut short, and a fork has everything imported.
    with workers.pool(processes, multiprocessing.get_context("fork")) as pool:
        share = -(-len(known) // (processes * PARTS_OF_A_PROCESS))
        for some in pool.map(prove_some, [known[start : start + share] for start in range(0, len(known), share)]):
            found |= some
    return found


def _prove_some(places: list[tuple[str, str]], *, inferred: bool) -> dict[str, Proved]:
    with connect_to_nothing() as connection:
        prover = _Prover(connection, inferred=inferred)
        for name, path in places:
            prover.look_at(name, path)
        return prover.settle()


def _confirm_some(known: list[tuple[str, str, Field]]) -> dict[str, Proved]:
    found = {}
    for name, path, fields in known:
        with contextlib.suppress(*OTHER_FAULTS, SurpriseError):
            shape = ShapeDecoder(fields, frozenset(), must_count=True, partial=True)
            records = shape.read(path, None)
            shape.settle()
            found[name] = Proved(records, shape.fields, None)
    return found


class _Waiting(NamedTuple):
    """A file whose records have the shape, but whose numbers are not looked at yet."""

    path: str
    records: int
    sha256: str | None


class _Prover:
    """Looks at one file after the other; the next one mostly has the shape of the one before.

    Of small files, many together are looked at for what a double may not hold, and measured.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, inferred: bool) -> None:
        """Begin; `inferred` as in `prove`."""
        self._connection, self._inferred = connection, inferred
        self._shape: ShapeDecoder | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._found: dict[str, Proved] = {}

    def look_at(self, name: str, path: str) -> None:
        """Find out whether the records of a file have one shape; files of one shape share their fields."""
        content = None if path.endswith(COMPRESSIONS) else content_of(path, SMALL_BYTES)
        if content is None:
            self.settle()
        # To learn a shape that no other file has takes longer than to scan a small file.
        may_lack = content is None and not self._inferred
        shape, is_own, other_keys = self._shape, False, 0
        with contextlib.suppress(*OTHER_FAULTS):
            for _ in range(MOST_SURPRISES):
                try:
                    if shape is None:
                        shape, is_own = self._shape_of(name, self._sample(path), may_lack=may_lack), True
                    records = shape.read(path, content)
                except SurpriseError as surprise:
                    if surprise.of_keys and not may_lack:
                        break
                    if shape is None or not is_own:
                        # A shape that comes from another file says nothing of this one.
                        shape = None
                        continue
                    other_keys += surprise.of_keys
                    if other_keys > MOST_OTHER_KEYS:
                        break
                    structures = shape.structures | self._structures(surprise.records)
                    shape = self._shape_of(name, structures, may_lack=may_lack, partial=other_keys > 0)
                else:
                    if shape is not self._shape:
                        self.settle()
                        self._shape = shape
                    sha256 = None if content is None else hashlib.sha256(content).hexdigest()
                    self._waiting[name] = _Waiting(path, records, sha256)
                    break
        if content is None or (self._shape and self._shape.unchecked_bytes > CHECKED_BYTES):
            self.settle()
        if self._shape and self._shape.partial:
            # The next file may have fewer fields.
            self._shape = None

    def settle(self) -> dict[str, Proved]:
        """Decide about the files that wait; return all that is proved so far."""
        waiting, self._waiting = self._waiting, {}
        if not waiting or not self._shape:
            return self._found
        try:
            self._shape.settle()
        except OtherError:
            self._shape = None
            if len(waiting) > 1:
                # It is one of them.
                for name, one in waiting.items():
                    self.look_at(name, one.path)
                    self.settle()
        else:
            fields = self._shape.fields
            self._found |= {name: Proved(one.records, fields, one.sha256) for name, one in waiting.items()}
        return self._found

    def _sample(self, path: str) -> frozenset[str]:
        records = next(batches(Path(path), RawDecoder()), [])
        few = range(0, len(records), max(1, len(records) // SAMPLED_RECORDS))
        return self._structures([bytes(records[i]) for i in few])

    def _structures(self, records: list[bytes]) -> frozenset[str]:
        texts = [record.decode() for record in records]
        try:
            rows = self._connection.execute(
                "SELECT DISTINCT json_structure(record::JSON)::VARCHAR FROM (SELECT unnest($1::VARCHAR[]) AS record)",
                [texts],
            ).fetchall()
        except duckdb.Error:
            raise OtherError from None
        return frozenset(structure for (structure,) in rows)

    def _shape_of(
        self, name: str, structures: frozenset[str], *, may_lack: bool, partial: bool = False
    ) -> ShapeDecoder:
        """Return the shape of records of a file; with `partial`, they surely lack fields.

        Raises:
            OtherError: they are not of one shape, or of one that nothing is proved of.
        """
        fields = Field(name)
        for structure in sorted(structures):
            fields.absorb(json.loads(structure))
        if is_blind(fields) or not fields.is_object or fields.size(()) > MAX_FIELDS:
            raise OtherError
        for structure in map(json.loads, structures):
            if is_vague(structure) or has_long_keys(structure):
                raise OtherError
            partial |= not _has_all(structure, fields)
        if partial and not may_lack:
            raise OtherError
        return ShapeDecoder(fields, structures, must_count=self._inferred, partial=partial)


def _has_all(structure: Any, field: Field) -> bool:
    """Say whether each object of a structure has all the keys of the fields, in their order."""
    if isinstance(structure, dict):
        return list(structure) == list(field.fields) and all(map(_has_all, structure.values(), field.fields.values()))
    if isinstance(structure, list):
        return all(_has_all(inner, field.element or Field("")) for inner in structure)
    return True
