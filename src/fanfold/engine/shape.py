"""Files of JSON whose records are all of one shape, proved in one fast reading.

The shape comes from some records of a file, by DuckDB's json_structure. That all others have it is what msgspec proves
as it decodes them: the same keys, each with a value of its kinds. It is stricter than DuckDB about what JSON is. A file
with other records, or with numbers that a double may not hold, is left to the scan.
"""

import functools
import itertools
import json
import multiprocessing
import operator
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Union

import duckdb
import msgspec

from fanfold import workers
from fanfold.engine.fields import Field
from fanfold.engine.session import connect_to_nothing
from fanfold.engine.strict import NUMBER, has_long_keys, is_blind, is_vague, survives
from fanfold.records.faults import UnreadableError
from fanfold.records.limits import MAX_FIELDS, MAX_VALUES
from fanfold.records.window import Stream, decompressed

# No record in a window has too many values.
WINDOW_BYTES = MAX_VALUES
READ_BYTES = WINDOW_BYTES // 2
# With less than this, to start processes takes longer than they save.
PARALLEL_BYTES = 64 * 1024 * 1024
PARTS_OF_A_PROCESS = 4
# Of the first window, to learn the shape from.
SAMPLED_RECORDS = 64
# So often may a file have other kinds of values than was thought.
MOST_SURPRISES = 16
# Where records lie in records, a window is cut so many of them earlier.
MOST_CUTS = 64
BLANKS = b" \t\r\n"
FIRST_KEY = re.compile(rb'[ \t\r\n]*\[[ \t\r\n]*(\{[ \t\r\n]*"(?:[^"\\]|\\.)*"[ \t\r\n]*:)')
DIGITS, DIGITS_AND_POINT = (
    bytes(ord("0") if chr(byte) in zeros else byte for byte in range(256)) for zeros in ("0123456789", "0123456789.")
)
LONG_NUMBER = re.compile(rb"[0-9.]{16}")
NEGATIVE_ZERO = re.compile(rb"-0[,\]} \t\r\n]")
TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"')
SURPRISE = re.compile(r"\$\[(\d+)\]")
OTHER_KEYS = ("missing required field", "unknown field")
SCALARS = {"BIGINT": int, "DECIMAL": float, "VARCHAR": str, "BOOLEAN": bool}
DECODED_RAW = msgspec.json.Decoder(list[msgspec.Raw])
LINES_RAW = msgspec.json.Decoder(msgspec.Raw)


class Proved(NamedTuple):
    """A file of records of one shape: their number, and their fields, with the digits of decimals."""

    records: int
    fields: Field


def prove(files: Mapping[str, tuple[Path, bool]], *, measured: bool, processes: int) -> dict[str, Proved]:
    """Prove what can be proved of files: their records have one shape.

    In the order of names, since the first file gives the order of the fields.

    Args:
        files: by name the path, and whether the records are in an array; else each has a line of its own.
        measured: whether the digits of decimals are counted.
        processes: so many work beside each other, where there is much to read.
    """
    names = sorted(files)
    size = sum(files[name][0].stat().st_size for name in names)
    if processes == 1 or size < PARALLEL_BYTES or sys.platform != "linux":
        return _prove_some(files, names, measured=measured)
    found: dict[str, Proved] = {}
    # Nothing else runs in this process that a fork would cut short, and a fork has everything imported.
    with workers.pool(processes, multiprocessing.get_context("fork")) as pool:
        share = -(-len(names) // (processes * PARTS_OF_A_PROCESS))
        parts = [names[start : start + share] for start in range(0, len(names), share)]
        for some in pool.map(functools.partial(_prove_some, files, measured=measured), parts):
            found |= some
    return found


def _prove_some(files: Mapping[str, tuple[Path, bool]], names: list[str], *, measured: bool) -> dict[str, Proved]:
    with connect_to_nothing() as connection:
        prover = _Prover(connection, measured=measured)
        proved = ((name, prover.prove(name, files[name][0], is_array=files[name][1])) for name in names)
        return {name: found for name, found in proved if found}


class _OtherError(Exception):
    """The file is none of records of one shape."""


class _SurpriseError(Exception):
    """A record has a key with a value of another kind."""

    def __init__(self, record: bytes) -> None:
        super().__init__()
        self.record = record


class _Prover:
    """Proves one file after the other; the next one mostly has the shape of the one before."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, measured: bool) -> None:
        """Begin; with `measured`, the digits of decimals are counted."""
        self._connection, self._measured = connection, measured
        self._shape: _Shape | None = None

    def prove(self, name: str, path: Path, *, is_array: bool) -> Proved | None:
        """Return what a file holds; None where it needs another look."""
        try:
            shape, is_own = self._shape, False
            for _ in range(MOST_SURPRISES):
                try:
                    shape, is_own = (shape, is_own) if shape else (self._learn(path, is_array=is_array), True)
                    proved = self._read(name, path, shape, is_array=is_array)
                except _SurpriseError as surprise:
                    # A shape that comes from another file says nothing of this one.
                    structures = shape.structures | self._structures([surprise.record]) if shape and is_own else None
                    shape = _Shape(structures, measured=self._measured) if structures else None
                else:
                    self._shape = shape
                    return proved
        except (_OtherError, UnreadableError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        return None

    def _learn(self, path: Path, *, is_array: bool) -> "_Shape":
        with decompressed(path) as stream:
            records = next(_windows(stream, _Raw(), is_array=is_array), [])
        few = range(0, len(records), max(1, len(records) // SAMPLED_RECORDS))
        return _Shape(self._structures([bytes(records[i]) for i in few]), measured=self._measured)

    def _structures(self, records: list[bytes]) -> frozenset[str]:
        texts = [record.decode() for record in records]
        try:
            rows = self._connection.execute(
                "SELECT DISTINCT json_structure(record::JSON)::VARCHAR FROM (SELECT unnest($1::VARCHAR[]) AS record)",
                [texts],
            ).fetchall()
        except duckdb.Error:
            raise _OtherError from None
        return frozenset(structure for (structure,) in rows)

    def _read(self, name: str, path: Path, shape: "_Shape", *, is_array: bool) -> Proved:
        fields, records = shape.fields(name), 0
        with decompressed(path) as stream:
            for window in _windows(stream, shape, is_array=is_array):
                records += len(window)
                if self._measured:
                    _measure(fields, window)
        if not records:
            raise _OtherError
        return Proved(records, fields)


class _Raw:
    """Decodes windows of any records, to their bytes."""

    @staticmethod
    def decode(window: bytes, *, lines: bool) -> list[Any]:
        return LINES_RAW.decode_lines(window) if lines else DECODED_RAW.decode(window)


class _Shape(_Raw):
    """What decodes windows of records that have just the keys of some structures, with values of their kinds."""

    def __init__(self, structures: frozenset[str], *, measured: bool) -> None:
        self.structures = structures
        fields = self.fields("")
        if is_blind(fields) or not fields.is_object or fields.size(()) > MAX_FIELDS:
            raise _OtherError
        for structure in map(json.loads, structures):
            if is_vague(structure) or has_long_keys(structure) or not _has_all(structure, fields):
                raise _OtherError
        if not measured and _has_decimals_in_arrays(fields):
            # Nobody looks at them again.
            raise _OtherError
        try:
            record = _type_of(fields, nullable=False)
        except ValueError:
            # msgspec has no names with quotes, backslashes or control characters.
            raise _OtherError from None
        self._array = msgspec.json.Decoder(list[record])  # type: ignore[valid-type]
        self._lines = msgspec.json.Decoder(record)

    def fields(self, first_file: str) -> Field:
        """Return the fields, as those of a file."""
        fields = Field(first_file)
        for structure in sorted(self.structures):
            fields.absorb(json.loads(structure))
        return fields

    def decode(self, window: bytes, *, lines: bool) -> list[Any]:  # type: ignore[override]
        """Return the records of a window.

        Raises:
            _SurpriseError: one has a value of another kind.
            _OtherError: one has other keys, or a number that a double may not hold.
            msgspec.DecodeError: it is no JSON.
        """
        try:
            records = self._lines.decode_lines(window) if lines else self._array.decode(window)
        except msgspec.ValidationError as error:
            at = SURPRISE.search(str(error))
            if at is None or any(keys in str(error) for keys in OTHER_KEYS):
                raise _OtherError from None
            raise _SurpriseError(bytes(super().decode(window, lines=lines)[int(at[1])])) from None
        _check(window)
        return records


def _check(window: bytes) -> None:
    """Look for what a double, or 64 bits, may not hold: in texts too, so what is found is looked at without them.

    Every fourth byte tells whether somewhere 16 digits follow each other.
    """
    if not window.isascii():
        window.decode()
    is_long = b"0000" in window[::4].translate(DIGITS_AND_POINT) and LONG_NUMBER.search(window)
    if (is_long or NEGATIVE_ZERO.search(window)) and not all(
        map(survives, NUMBER.findall(TEXTS.sub(b'""', window).decode()))
    ):
        raise _OtherError


def _has_all(structure: Any, field: Field) -> bool:
    """Say whether each object of a structure has all the keys of the fields, in their order."""
    if isinstance(structure, dict):
        return list(structure) == list(field.fields) and all(map(_has_all, structure.values(), field.fields.values()))
    if isinstance(structure, list):
        return all(_has_all(inner, field.element or Field("")) for inner in structure)
    return True


def _has_decimals_in_arrays(field: Field) -> bool:
    inner = field.element
    if inner is not None and "DECIMAL" in inner.kinds:
        return True
    return any(map(_has_decimals_in_arrays, [*field.fields.values(), *([inner] if inner else [])]))


def _type_of(field: Field, *, nullable: bool = True) -> Any:
    """Return the type by which msgspec decodes a field. Decimals may have integers among them."""
    kinds: list[Any] = [SCALARS[kind] for kind in sorted(field.kinds & SCALARS.keys())]
    if float in kinds and int in kinds:
        kinds.remove(int)
    if "object" in field.kinds:
        typed = [(_attribute(n), _type_of(inner)) for n, inner in enumerate(field.fields.values())]
        keys = {_attribute(n): key for n, key in enumerate(field.fields)}
        kinds.append(msgspec.defstruct("Object", typed, rename=keys, forbid_unknown_fields=True, gc=False))
    if "array" in field.kinds:
        kinds.append(list[_type_of(field.element or Field(""))])  # type: ignore[misc]
    return Union[(*kinds, None) if nullable else tuple(kinds)]  # noqa: UP007 - of as many as there are


def _attribute(n: int) -> str:
    return f"field_{n}"


def _windows(stream: Stream, decoder: _Raw, *, is_array: bool) -> Iterator[list[Any]]:
    """Yield the records of a file, many at a time."""
    pending = _full(stream)
    opening = FIRST_KEY.match(pending) if is_array else None
    if is_array:
        if opening is None:
            raise _OtherError
        pending = pending[opening.start(1) :]
    while more := _full(stream):
        if len(pending) > READ_BYTES:
            # So large a record may have too many values.
            raise _OtherError
        pending += more
        cut = _cut_array(pending, opening[1], decoder) if opening else _cut_lines(pending, decoder)
        if cut:
            records, pending = cut
            yield records
    if opening:
        pending = b"[" + pending
    yield decoder.decode(pending, lines=not is_array)


def _full(stream: Stream) -> bytes:
    """Return the next bytes: half a window of them, but for the last."""
    pieces, wanted = [], READ_BYTES
    while wanted and (piece := stream.read(wanted)):
        pieces.append(piece)
        wanted -= len(piece)
    return b"".join(pieces)


def _cut_lines(pending: bytes, decoder: _Raw) -> tuple[list[Any], bytes] | None:
    end = pending.rfind(b"\n") + 1
    if not end:
        return None
    return decoder.decode(pending[:end], lines=True), pending[end:]


def _cut_array(pending: bytes, opening: bytes, decoder: _Raw) -> tuple[list[Any], bytes] | None:
    """Return the records before the last one that begins like the first; what is nested in another is no JSON."""
    start = len(pending)
    for _ in range(MOST_CUTS):
        start = pending.rfind(opening, 0, start)
        end = start - 1
        while end > 0 and pending[end] in BLANKS:
            end -= 1
        if end <= 0:
            break
        if pending[end] == ord(","):
            try:
                return decoder.decode(b"[" + pending[:end] + b"]", lines=False), pending[start:]
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError:
                continue
    return None


def _measure(field: Field, values: list[Any]) -> None:
    """Widen fields by the digits of the decimals in them.

    Raises:
        _OtherError: a number is so large or so small that it is not written plainly.
    """
    if field.kinds == {"array"}:
        _measure(field.element or Field(""), list(itertools.chain.from_iterable(filter(None, values))))
    elif field.is_object:
        objects = [value for value in values if value is not None]
        for n, inner in enumerate(field.fields.values()):
            if _has_decimals(inner):
                _measure(inner, list(map(operator.attrgetter(_attribute(n)), objects)))
    elif "DECIMAL" in field.kinds and field.kinds <= {"BIGINT", "DECIMAL"}:
        numbers = [value for value in values if value is not None]
        if numbers:
            field.fraction = max(field.fraction, _fraction(numbers))
            largest = sorted((max(numbers), -min(numbers)))[1]
            field.whole = max(field.whole, len(str(int(largest))))


def _has_decimals(field: Field) -> bool:
    inner = [*field.fields.values(), *([field.element] if field.element else [])]
    return "DECIMAL" in field.kinds or any(map(_has_decimals, inner))


def _fraction(numbers: list[float]) -> int:
    """Return the most digits after the point, in the shortest form of each; 1.0 has none."""
    written = msgspec.json.encode(numbers).translate(DIGITS)
    # 1e16, and what is no number of JSON, come out as null.
    if b"e" in written or b"n" in written:
        raise _OtherError
    most = 1
    while b"." + b"0" * (most + 1) in written:
        most += 1
    return 0 if most == 1 and all(map(float.is_integer, numbers)) else most
