"""Columns of the core handed to others, by Arrow's PyCapsule interface: DuckDB and pyarrow read them without a copy."""

import ctypes
from collections.abc import Iterable, Iterator, Sequence

from fanfold.native import Rows
from fanfold.native.fields import TYPES, digits_of
from fanfold.native.library import FULL, ArrowColumn, Bytes, checked, core

# struct ArrowSchema and struct ArrowArray: nine and ten words, the last but one of which is how to release it.
_SCHEMA_WORDS, _ARRAY_WORDS = 9, 10
_Words = ctypes.Array[ctypes.c_void_p]
_Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_Destroy = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_alive: dict[int, _Words] = {}

_new = ctypes.pythonapi.PyCapsule_New
_new.restype, _new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p)
_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, (ctypes.c_void_p,)


@_Destroy
def _destroy(capsule: int) -> None:
    """Release what nobody has taken out of a capsule."""
    address = _pointer(capsule, _name(capsule))
    words = _alive.pop(address)
    if release := words[-2]:
        _Release(release)(address)


def _capsule(words: _Words, name: bytes) -> object:
    address = ctypes.addressof(words)
    _alive[address] = words
    return _new(address, name, ctypes.cast(_destroy, ctypes.c_void_p))


class Batch:
    """Some rows as columns. It can be taken once, by `__arrow_c_array__`."""

    def __init__(self, rows: Rows) -> None:
        """Take what the rows have made."""
        self._schema, self._array = (ctypes.c_void_p * _SCHEMA_WORDS)(), (ctypes.c_void_p * _ARRAY_WORDS)()
        checked(core().fanfold_rows_schema(rows.handle, self._schema))
        self._capsules = [_capsule(self._schema, b"arrow_schema")]
        checked(core().fanfold_rows_array(rows.handle, self._array))
        self._capsules.append(_capsule(self._array, b"arrow_array"))
        self.rows = int(self._array[0] or 0)

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        """Return the capsules of schema and array; what is requested is for the reader to cast."""
        schema, array = self._capsules
        return schema, array


def batches(rows: Rows, columns: Sequence[tuple[str, str]], windows: Iterable[bytes]) -> Iterator[Batch]:
    """Yield the rows of merged records as columns, in batches of 1 MiB or so.

    Args:
        rows: what makes them; it was not used before.
        columns: name and type of each.
        windows: the merged records.

    Raises:
        ValueError: the records are damaged, or a type does not hold a value.
    """
    made = (ArrowColumn * len(columns))()
    names = [name.encode() for name, _ in columns]
    for place, name, (_, kind) in zip(made, names, columns, strict=True):
        base, (precision, scale) = kind.partition("(")[0], digits_of(kind)
        place.name = Bytes(ctypes.cast(ctypes.c_char_p(name), ctypes.c_void_p), len(name))
        place.type, place.precision, place.scale = TYPES.index(base), precision, scale
    checked(core().fanfold_rows_arrow(rows.handle, made, len(columns)))
    for window, last in _marked(windows):
        checked(core().fanfold_rows_feed(rows.handle, window, len(window), last))
        answer = FULL
        while answer == FULL:
            answer = checked(core().fanfold_rows_next(rows.handle))
            if (batch := Batch(rows)).rows:
                yield batch


def _marked(windows: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    for window in windows:
        yield window, False
    yield b"", True
