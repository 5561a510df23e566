"""How files are written, what some fields of their records are beside their values, and what no good record has."""

import ctypes
import struct
from collections.abc import Sequence
from typing import NamedTuple

from fanfold.native import library
from fanfold.native.library import Bytes, codes

# The keys that lead to a field, through objects and the elements of arrays.
Path = tuple[str, ...]
_PARSED, _SINGLE, _AROUND = 1, 2, 4


class Dialect(NamedTuple):
    """How CSV is written: bytes of ASCII, the texts that mean null, whether there is a header; a quote may be none."""

    delimiter: str = ","
    quote: str = '"'
    nulls: tuple[str, ...] = ()
    header: bool = True


class Form(NamedTuple):
    """How files are written, and what a record may have.

    `csv` says that they are CSV, of a `dialect`; else they are JSON. `records_at` is an RFC 6901 pointer to the array
    of records in each document. A record of more bytes, or one that brings more fields, is bad. Texts at `parsed` hold
    JSON; a value at `single` that is not an array is an array of one; each record takes the fields at `around` from its
    document. With `looks`, nothing is merged but these fields, for a reader that has to know them before the records.
    """

    csv: bool = False
    records_at: str = ""
    max_record_bytes: int = 1 << 24
    max_fields: int = 10_000
    parsed: Sequence[Path] = ()
    single: Sequence[Path] = ()
    around: Sequence[Path] = ()
    looks: bool = False
    dialect: Dialect = Dialect()


class Csv(NamedTuple):
    """How CSV is written: what stands between fields, the text for null, whether formulas are escaped."""

    delimiter: str = ","
    null: str = ""
    escape_formulas: bool = False


class Excluded(NamedTuple):
    """A form that no good record has: a record that has it is bad by `code`.

    It is the field at `path`, whatever its value; or there a value of one of `kinds` (`object`, `array`, `scalar`; null
    is of no kind); or, with `inside`, an element of such a kind in the array there. The path leads through arrays.
    """

    path: Path
    kinds: tuple[str, ...] = ()
    inside: bool = False
    code: str = "case_conflict"


def packed(texts: Sequence[str]) -> bytes:
    """Return a path, or other texts, as the core takes it: each with its size before it."""
    return b"".join(struct.pack("<I", len(text)) + text for text in map(str.encode, texts))


def excluded(forms: Sequence[Excluded]) -> tuple[ctypes.Array[library.Excluded], list[bytes]]:
    """Return the forms as the core takes them, and the paths that they point to."""
    bits = {"object": 1, "array": 2, "scalar": 4}
    paths = [packed(form.path) for form in forms]
    made = [
        library.Excluded(Bytes.of(path), sum({bits[kind] for kind in kinds}), inside, codes().index(code) + 1)
        for path, (_, kinds, inside, code) in zip(paths, forms, strict=True)
    ]
    return (library.Excluded * len(forms))(*made), paths


def marked(form: Form) -> tuple[ctypes.Array[library.Marked], list[bytes]]:
    """Return what fields are beside their values as the core takes it, and the paths that it points to."""
    groups = ((_PARSED, form.parsed), (_SINGLE, form.single), (_AROUND, form.around))
    found = [(packed(way), mark) for mark, ways in groups for way in ways]
    made = [library.Marked(Bytes.of(path), mark) for path, mark in found]
    return (library.Marked * len(made))(*made), [path for path, _ in found]
