"""Frozen references: their rows in a file, and how records are joined to them."""

import ctypes
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fanfold.native.library import WRONG_CALL, Join, checked, core, unpacked


class Duplicate(NamedTuple):
    """A row of a table whose key was there before: its number and line, from 1; the line of the first one; the key."""

    row: int
    line: int
    first_line: int
    key: bytes


class Table:
    """The rows of a frozen reference: what a reader with `frozen` writes. Threads may share it.

    A file of at most 32 MiB is read as a whole; of a larger one only an index is in memory, 11 bytes for each row.

    Attributes:
        repeated: how many rows have a key that was there before, which no record finds; 0 where none can be found.
        duplicates: the first 1,000 of them.
    """

    def __init__(self, path: Path, *, find: bool = True) -> None:
        """Open it.

        Args:
            path: the file, which stays open.
            find: whether rows are to be found by their keys, as readers do; it takes a pass over the file.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not a frozen reference, or not whole.
        """
        with path.open("rb") as file:
            number = os.dup(file.fileno())
        handle = ctypes.c_void_p()
        answer = core().fanfold_table_open(number, find, ctypes.byref(handle))
        self.handle = handle.value
        weakref.finalize(self, _close, number, self.handle)
        if answer == WRONG_CALL:
            msg = f"{str(path)!r} is not a frozen reference of this version of Fanfold, or is incomplete"
            raise ValueError(msg)
        checked(answer)
        facts = core().fanfold_table_facts(self.handle)
        self._rows, self.repeated = int(facts.rows), int(facts.repeated)
        written = unpacked(facts.duplicates.copy(), numbers=3, texts=1)
        self.duplicates = [Duplicate._make((*place, key)) for place, (key,) in written]

    def __len__(self) -> int:
        """Return the number of rows, those of a duplicate key included."""
        return self._rows


def key_parts(key: bytes) -> list[bytes]:
    """Return the parts of a key of several; each has its size before it, as a varint."""
    parts, size, shift = list[bytes](), 0, 0
    while key:
        size |= (key[0] & 127) << shift
        shift = shift + 7 if key[0] & 128 else 0
        key = key[1:]
        if not shift:
            parts, key, size = [*parts, key[:size]], key[size:], 0
    return parts


def _close(file: int, handle: int | None) -> None:
    core().fanfold_table_close(handle)
    os.close(file)


class Joined(NamedTuple):
    """A table that is joined to the elements of a scope, by the numbers of the values that are its key.

    Where it is `required`, a record without a match is bad.
    """

    table: Table
    scope: int = 0
    parts: tuple[int, ...] = (1,)
    required: bool = False


def joined(joins: Sequence[Joined]) -> tuple[ctypes.Array[Join], object]:
    """Return them as the core takes them, and what they point to."""
    parts = [(ctypes.c_uint32 * len(one.parts))(*one.parts) for one in joins]
    made = [
        Join(one.table.handle, one.scope, one.required, ctypes.addressof(own), len(own))
        for one, own in zip(joins, parts, strict=True)
    ]
    return (Join * len(joins))(*made), parts
