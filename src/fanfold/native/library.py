"""The core's library: found, checked and described to ctypes. fanfold.h says what each call does."""

import ctypes
import functools
import os
import sys
from pathlib import Path

from fanfold.errors import MissingError

ABI = 2
PATH = Path(__file__).with_name("libfanfold.dylib" if sys.platform == "darwin" else "libfanfold.so")
# What a call returns.
END, HUNGRY, FULL, NO_MEMORY, WRONG_CALL, UNREADABLE = 0, 1, 2, -1, -2, -3

_pointer, _size, _u32, _u64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint64


class Bytes(ctypes.Structure):
    """fanfold_bytes."""

    _fields_ = (("data", _pointer), ("size", _size))

    def copy(self) -> bytes:
        """Return them, before the next call makes them invalid."""
        return ctypes.string_at(self.data, self.size) if self.size else b""


class Join(ctypes.Structure):
    """fanfold_join."""

    _fields_ = (
        ("table", _pointer),
        ("scope", _u32),
        ("required", _u32),
        ("parts", ctypes.POINTER(_u32)),
        ("part_count", _size),
    )


class Excluded(ctypes.Structure):
    """fanfold_excluded."""

    _fields_ = (("path", Bytes), ("kinds", _u32), ("inside", _u32), ("code", _u32))


class Options(ctypes.Structure):
    """fanfold_options."""

    _fields_ = (
        ("schema", Bytes),
        ("records_at", Bytes),
        ("max_record_bytes", _u64),
        ("max_fields", _u64),
        ("csv", _u32),
        ("others", _u32),
        ("frozen", _u32),
        ("joins", ctypes.POINTER(Join)),
        ("join_count", _size),
        ("excluded", ctypes.POINTER(Excluded)),
        ("excluded_count", _size),
    )


class Counts(ctypes.Structure):
    """fanfold_counts."""

    _fields_ = tuple((name, _u64) for name in ("records", "bad", "bytes", "nodes", "unmatched"))


class Column(ctypes.Structure):
    """fanfold_column."""

    _fields_ = (("kind", _u32), ("scope", _u32), ("slot", _u32))


class ArrowColumn(ctypes.Structure):
    """fanfold_arrow_column."""

    _fields_ = (("name", Bytes), ("type", ctypes.c_uint8), ("precision", ctypes.c_uint8), ("scale", ctypes.c_uint8))


_CALLS: dict[str, tuple[object, tuple[object, ...]]] = {
    "codes": (ctypes.c_char_p, ()),
    "reader_open": (_pointer, (ctypes.POINTER(Options),)),
    "reader_begin": (ctypes.c_int, (_pointer, ctypes.c_char_p, _size)),
    "reader_feed": (ctypes.c_int, (_pointer, ctypes.c_char_p, _size, ctypes.c_int)),
    "reader_next": (ctypes.c_int, (_pointer,)),
    "reader_merged": (Bytes, (_pointer,)),
    "reader_faults": (Bytes, (_pointer,)),
    "reader_learnt": (Bytes, (_pointer,)),
    "reader_unmatched": (_u64, (_pointer, _size)),
    "reader_counts": (Counts, (_pointer,)),
    "reader_close": (None, (_pointer,)),
    "table_open": (ctypes.c_int, (ctypes.c_int, ctypes.c_int, ctypes.POINTER(_pointer))),
    "table_rows": (_u64, (_pointer,)),
    "table_repeated": (_u64, (_pointer,)),
    "table_duplicates": (Bytes, (_pointer,)),
    "table_close": (None, (_pointer,)),
    "rows_open": (
        _pointer,
        (Bytes, _u32, ctypes.POINTER(Join), _size, ctypes.POINTER(_u32), _size, ctypes.POINTER(Column), _size),
    ),
    "rows_arrow": (ctypes.c_int, (_pointer, ctypes.POINTER(ArrowColumn), _size)),
    "rows_schema": (ctypes.c_int, (_pointer, _pointer)),
    "rows_array": (ctypes.c_int, (_pointer, _pointer)),
    "rows_feed": (ctypes.c_int, (_pointer, ctypes.c_char_p, _size, ctypes.c_int)),
    "rows_next": (ctypes.c_int, (_pointer,)),
    "rows_csv": (Bytes, (_pointer,)),
    "rows_count": (_u64, (_pointer,)),
    "rows_close": (None, (_pointer,)),
}


@functools.cache
def core(path: Path = PATH) -> ctypes.CDLL:
    """Load the core.

    Raises:
        MissingError: it is not there, is of another platform, or of another version of Fanfold.
    """
    again = "install Fanfold again, for this platform (make setup, where it is run from its sources)"
    try:
        loaded = ctypes.CDLL(str(path), use_errno=True)
        abi = loaded.fanfold_abi
    except (OSError, AttributeError) as error:
        msg = f"Fanfold's core cannot be loaded ({error}): {again}"
        raise MissingError(msg) from None
    abi.restype = _u32
    if (found := abi()) != ABI:
        msg = f"found version {found} of Fanfold's core in '{path}', expected {ABI}: {again}"
        raise MissingError(msg)
    for name, (result, arguments) in _CALLS.items():
        call = getattr(loaded, f"fanfold_{name}")
        call.restype, call.argtypes = result, arguments
    return loaded


def checked(answer: int) -> int:
    """Return what a call answered.

    Raises:
        MemoryError: there is none left.
        OSError: the file of a table cannot be read.
        ValueError: the call is wrong, or its data is damaged.
    """
    if answer == NO_MEMORY:
        raise MemoryError
    if answer == UNREADABLE:
        number = ctypes.get_errno()
        raise OSError(number, f"a frozen reference cannot be read: {os.strerror(number) if number else 'it is cut'}")
    if answer == WRONG_CALL:
        msg = "the core refuses a call: out of order, or with damaged merged records"
        raise ValueError(msg)
    return answer


def opened(handle: int | None) -> int:
    """Return a handle that was opened.

    Raises:
        ValueError: it was not: the schema is not one, what is asked for is not in it, or there is no memory.
    """
    if handle is None:
        msg = "the core refuses to open: the schema, joins or columns do not fit, or there is no memory"
        raise ValueError(msg)
    return handle
