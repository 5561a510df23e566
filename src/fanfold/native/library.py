"""The core's library: found, checked and described to ctypes. fanfold.h says what each call does."""

import ctypes
import functools
import os
import struct
import sys
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain, pairwise
from pathlib import Path

from fanfold.errors import MissingError

ABI = 5
PATH = Path(__file__).with_name("libfanfold.dylib" if sys.platform == "darwin" else "libfanfold.so")
# What a call returns.
END, HUNGRY, FULL, NO_MEMORY, WRONG_CALL, UNREADABLE = 0, 1, 2, -1, -2, -3

_pointer, _size, _int, _u32, _u64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint32, ctypes.c_uint64


def _of(kind: type, names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names.split()]


class Bytes(ctypes.Structure):
    """fanfold_bytes."""

    _fields_ = (("data", _pointer), ("size", _size))

    @classmethod
    def of(cls, text: bytes) -> "Bytes":
        """Point to bytes, which have to stay."""
        return cls(ctypes.cast(ctypes.c_char_p(text), _pointer), len(text))

    def copy(self) -> bytes:
        """Return them, before the next call makes them invalid."""
        return ctypes.string_at(self.data, self.size) if self.size else b""


class Join(ctypes.Structure):
    """fanfold_join."""

    _fields_ = (("table", _pointer), *_of(_u32, "scope required"), ("parts", _pointer), ("part_count", _size))


class Excluded(ctypes.Structure):
    """fanfold_excluded."""

    _fields_ = (("path", Bytes), *_of(_u32, "kinds inside code"))


class Marked(ctypes.Structure):
    """fanfold_marked."""

    _fields_ = (("path", Bytes), ("mark", _u32))


class Options(ctypes.Structure):
    """fanfold_options."""

    _fields_ = (
        *_of(Bytes, "schema records_at"),
        *_of(_u64, "max_record_bytes max_fields"),
        ("nulls", Bytes),
        *_of(_u32, "csv delimiter quote headless others frozen"),
        *(("joins", _pointer), ("join_count", _size), ("excluded", _pointer), ("excluded_count", _size)),
        *(("marked", _pointer), ("marked_count", _size), *_of(_u32, "has_envelope looks")),
    )


class Given(ctypes.Structure):
    """fanfold_given."""

    _fields_ = tuple(_of(Bytes, "key value"))


class Counts(ctypes.Structure):
    """fanfold_counts."""

    _fields_ = tuple(_of(_u64, "records bad bytes nodes unmatched settled"))


class Facts(ctypes.Structure):
    """fanfold_facts."""

    _fields_ = (*_of(_u64, "rows repeated"), ("duplicates", Bytes))


class Column(ctypes.Structure):
    """fanfold_column."""

    _fields_ = (*_of(_u32, "kind scope slot"), ("name", Bytes), *_of(ctypes.c_uint8, "type precision scale"))


class Level(ctypes.Structure):
    """fanfold_level."""

    _fields_ = tuple(_of(_u32, "scope elsewhere"))


class Wanted(ctypes.Structure):
    """fanfold_wanted."""

    _fields_ = (
        *(("schema", Bytes), *_of(_u32, "rescue as_arrow delimiter escape_formulas"), ("null", Bytes)),
        *(("joins", _pointer), ("join_count", _size)),
        *(("chain", _pointer), ("chain_size", _size), ("columns", _pointer), ("column_count", _size)),
    )


_WINDOW, _BYTES = (_pointer, ctypes.c_char_p, _size, _int), ctypes.POINTER(Bytes)
# What each call returns, and its arguments.
_CALLS: dict[str, tuple[object, ...]] = {
    "codes": (ctypes.c_char_p,),
    "reader_open": (_pointer, ctypes.POINTER(Options)),
    "reader_begin": (_int, _pointer, ctypes.c_char_p, _size),
    "reader_give": (_int, _pointer, ctypes.POINTER(Given), _size),
    "reader_feed": (_int, *_WINDOW),
    "reader_next": (_int, _pointer, _BYTES, _BYTES),
    "reader_learnt": (_int, _pointer, _BYTES),
    "reader_envelopes": (_int, _pointer, _pointer, _size),
    "reader_counts": (Counts, _pointer),
    "reader_close": (None, _pointer),
    "table_open": (_int, _int, _int, ctypes.POINTER(_pointer)),
    "table_facts": (Facts, _pointer),
    "table_close": (None, _pointer),
    "rows_open": (_pointer, ctypes.POINTER(Wanted)),
    "rows_feed": (_int, *_WINDOW),
    "rows_next": (_int, _pointer, _BYTES),
    "rows_schema": (_int, _pointer, _pointer),
    "rows_array": (_int, _pointer, _pointer),
    "rows_count": (_u64, _pointer),
    "rows_close": (None, _pointer),
}
# These work for a while, without Python's lock. For the others, giving it up would take longer than the call: of many
# small files, threads would wait for each other.
_LONG = {"reader_feed", "reader_next", "reader_learnt", "table_open", "rows_feed", "rows_next", "rows_array"}


@functools.cache
def core(path: Path = PATH) -> ctypes.CDLL:
    """Load the core.

    Raises:
        MissingError: it is not there, is of another platform, or of another version of Fanfold.
    """
    again = "reinstall Fanfold for this platform (in a checkout: make setup)"
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
    locked = ctypes.PyDLL(str(path))
    for name, (result, *arguments) in _CALLS.items():
        call = getattr(loaded if name in _LONG else locked, f"fanfold_{name}")
        call.restype, call.argtypes = result, arguments
        setattr(loaded, f"fanfold_{name}", call)
    return loaded


@functools.cache
def codes() -> list[str]:
    """Return the codes of what can be wrong, in the order of their numbers, which begin with 1."""
    named: bytes = core().fanfold_codes()
    return named.decode().split()


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


def unpacked(written: bytes, numbers: int, texts: int) -> Iterator[tuple[tuple[int, ...], list[bytes]]]:
    """Yield the numbers and the texts of each entry that the core has written; the sizes of the texts stand between."""
    head, at = struct.Struct(f"<{numbers + texts}Q"), 0
    while at < len(written):
        found = head.unpack_from(written, at)
        ends = list(accumulate(found[numbers:], initial=at + head.size))
        yield found[:numbers], [written[begin:end] for begin, end in pairwise(ends)]
        at = ends[-1]


def run(kind: str, handle: int, windows: Iterable[bytes], *taken: Bytes) -> Iterator[None]:
    """Feed windows to a reader or to rows, and yield each time that there may be something to take."""
    feed, go_on = (getattr(core(), f"fanfold_{kind}_{call}") for call in ("feed", "next"))
    found = [*map(ctypes.byref, taken)]
    for window, is_last in chain(((window, False) for window in windows), [(b"", True)]):
        checked(feed(handle, window, len(window), is_last))
        answer = FULL
        while answer == FULL:
            answer = checked(go_on(handle, *found))
            yield
