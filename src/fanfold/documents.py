"""How documents are read and written: Fanfold's own JSON files, such as the manifest. Each names its format."""

import threading
from pathlib import Path
from typing import TypeVar

import msgspec

from fanfold import links
from fanfold.errors import DataError

Document = TypeVar("Document", bound=msgspec.Struct)

# The form of what is written down. A new key, or a new meaning, is a new number: what was written stays readable, and
# tests/format_samples.py keeps a feed of each. Documents without a number are of format 0.
FORMAT = 1


class _Head(msgspec.Struct, frozen=True):
    """The keys that every format has."""

    format: int = 0
    fanfold: str = "of a later version"


def encode(document: msgspec.Struct) -> bytes:
    """Return the document as JSON, indented for people, keys in the order of its class."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


_decoding = threading.Lock()


def decode(content: bytes, kind: type[Document]) -> Document:
    """Return a document from its JSON.

    Raises:
        ValueError, RecursionError: it is not one.
    """
    # msgspec 0.22 dies where two threads learn one class at once.
    with _decoding:
        return msgspec.json.decode(content, type=kind)


def read(path: Path, kind: type[Document]) -> Document:
    """Read a document that Fanfold wrote.

    Raises:
        FileNotFoundError: it is not there (yet).
        DataError: see `parse`.
        PathError: it is a link.
    """
    return parse(links.read(path), kind, str(path))


def parse(content: bytes, kind: type[Document], name: str) -> Document:
    """Return the document that Fanfold wrote under a name.

    Raises:
        DataError: a later version wrote it; or somebody changed it: it is not what Fanfold writes.
    """
    try:
        if (head := decode(content, _Head)).format > FORMAT:
            msg = f"{name!r} was written by fanfold {head.fanfold}, in format {head.format}"
            msg += f"; this version reads formats up to {FORMAT}: install fanfold {head.fanfold} or later"
            raise DataError(msg)
        return decode(content, kind)
    except (ValueError, RecursionError) as error:
        msg = f"{name!r} was changed ({error}), expected the {kind.__name__} that Fanfold wrote"
        raise DataError(msg) from None


def read_if_there(path: Path, kind: type[Document]) -> Document | None:
    """Read a document that Fanfold wrote; None if it is not there (yet)."""
    try:
        return read(path, kind)
    except FileNotFoundError:
        return None
