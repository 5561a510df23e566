"""What a run writes down about itself: files.json, inputs.json, schema.json, progress.json, the manifest.

Paths in them are relative to `data_dir`, names to the landing directory; sizes are bytes as they lie on disk. The
manifest holds no clock, host or process: the same input gives the same bytes.
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from fanfold.errors import DataError

Document = TypeVar("Document", bound=msgspec.Struct)


class StagedFile(msgspec.Struct, frozen=True):
    """A file of the run."""

    name: str
    size_bytes: int
    subdir: int


class Files(msgspec.Struct, frozen=True):
    """files.json: the intent of a run, then its inventory.

    While `claimed` is false, files may still be in landing. Sorted by subdirectory and name.
    """

    claimed: bool
    files: list[StagedFile]


class Input(msgspec.Struct, frozen=True):
    """A file of one subdirectory. `ctime_ns`, `sha256` and `records` are null until the file was read."""

    name: str
    size_bytes: int
    ctime_ns: int | None = None
    records: int | None = None
    sha256: str | None = None


class Inputs(msgspec.Struct, frozen=True):
    """inputs.json: the files of one subdirectory, as the schema scan saw them, sorted by name."""

    files: list[Input]


class Column(msgspec.Struct, frozen=True):
    """A column of the output. `source` is `record`, or the `into` of a reference; `path` leads to the field in it."""

    name: str
    type: str
    source: str
    path: list[str]
    first_file: str | None = None


class FrozenReference(msgspec.Struct, frozen=True):
    """A reference as it was when the run's schema was fixed. `rows` are those that can match."""

    path: str
    sha256: str
    rows: int


class RunSchema(msgspec.Struct, frozen=True):
    """schema.json: what all parts of the run agree on.

    `record` is the type that records are read with, field by field; `columns` are those of the output, in order.
    """

    record: list[tuple[str, str]]
    record_columns: list[Column]
    columns: list[Column]
    references: list[FrozenReference]


class Published(msgspec.Struct, frozen=True):
    """A published table."""

    path: str
    rows: int
    size_bytes: int
    sha256: str


class Progress(msgspec.Struct, frozen=True):
    """progress.json: what a group has done. `published` is null until its output is visible."""

    files: list[Input]
    records: int
    records_unmatched: int
    published: Published | None = None


class Release(msgspec.Struct, frozen=True):
    """release.json: the subdirectories whose files go back to landing."""

    subdirs: list[int]


class SubdirSummary(msgspec.Struct, frozen=True):
    """What went where in one subdirectory."""

    files: int = 0
    bytes: int = 0
    records: int = 0
    rows: int = 0
    output: str | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a run. `files_in` = archived + quarantined; `records_in` = published + quarantined."""

    ts: str
    files_in: int
    files_archived: int
    files_quarantined: int
    bytes_in: int
    records_in: int
    records_quarantined: int
    records_unmatched: int
    rows_out: int
    subdirs: dict[str, SubdirSummary]
    references: list[FrozenReference]


class ArchivedFile(msgspec.Struct, frozen=True):
    """An original and where it ended."""

    name: str
    subdir: int
    size_bytes: int
    sha256: str
    records: int
    archived_as: str


class Manifest(msgspec.Struct, frozen=True):
    """The final record of a run."""

    fanfold: str
    duckdb: str
    spec: dict[str, Any]
    summary: Summary
    columns: list[Column]
    files: list[ArchivedFile]
    outputs: dict[str, Published]
    records_unmatched: dict[str, int]
    released: list[str]


def encode(document: msgspec.Struct) -> bytes:
    """Return the document as JSON, indented for people, keys in the order of its class."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def read(path: Path, kind: type[Document]) -> Document:
    """Read a document that Fanfold wrote.

    Raises:
        FileNotFoundError: it is not there (yet).
        DataError: somebody changed it: it is not what Fanfold writes.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.MsgspecError as error:
        msg = f"{str(path)!r} was changed ({error}), expected the {kind.__name__} that Fanfold wrote"
        raise DataError(msg) from None


def read_if_there(path: Path, kind: type[Document]) -> Document | None:
    """Read a document that Fanfold wrote; None where it is not there (yet)."""
    try:
        return read(path, kind)
    except FileNotFoundError:
        return None
