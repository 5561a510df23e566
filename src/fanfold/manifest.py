"""What a run writes down about itself: files.json, inputs.json, schema.json, progress.json, failure.json, the manifest.

Paths in them are relative to `data_dir`, names to the landing directory; sizes are bytes as they lie on disk. The
manifest holds no clock, host or process: the same input gives the same bytes.
"""

import functools
import threading
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from fanfold import links
from fanfold.errors import DataError
from fanfold.layout import format_ts, parse_ts

Document = TypeVar("Document", bound=msgspec.Struct)


class Identity(msgspec.Struct, frozen=True):
    """feed.json: which feed a `data_dir` holds."""

    name: str


class StagedFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of the run. What was decided is given where an earlier run is made again."""

    name: str
    size_bytes: int
    subdir: int
    decision: str | None = None
    duplicate_of: str | None = None
    replay_of: str | None = None


class Files(msgspec.Struct, frozen=True):
    """files.json: the intent of a run, then its inventory.

    While `claimed` is false, files may still be in landing. Sorted by subdirectory and name.
    """

    claimed: bool
    files: list[StagedFile]


class BadRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of records.jsonl. Lines count from 1, bytes from 0, both in the decompressed file.

    `line` and `offset` are the place of the fault, `record_line` and `record_offset` that of the record's first byte;
    `record` is its number in the file, from 1; `size` its bytes there; `pointer` (RFC 6901) leads to the fault inside
    of the record. `raw` is the record's text, `raw_base64` its bytes where they are not UTF-8. A row of Parquet has no
    place but its number, which is its line.
    """

    file: str
    record: int
    line: int
    offset: int
    record_line: int
    record_offset: int
    pointer: str
    code: str
    message: str
    size: int = 0
    raw: str | None = None
    raw_base64: str | None = None


class BadFile(msgspec.Struct, frozen=True):
    """A `<name>.reason.json`: why no record of a file could be read, by its first fault."""

    file: str
    code: str
    message: str
    line: int | None = None
    offset: int | None = None
    pointer: str | None = None


class Input(msgspec.Struct, frozen=True):
    """A file of one subdirectory. What is null is not known until the file was read.

    `decision` is what the file is to the feed: `new`, `new_content` under a name that was seen before, or `duplicate`
    of `duplicate_of` (`<ts>/<name>`), which has the same bytes; it makes no rows; or `replay` of the bad record or file
    `replay_of` (`<ts>/<n>:<k>`, `<ts>/<n>/<name>`).
    `records` counts good and bad ones, `records_quarantined` the bad; a file with a `fault` is bad as a whole, and has
    no records.
    """

    name: str
    size_bytes: int
    ctime_ns: int | None = None
    records: int | None = None
    sha256: str | None = None
    records_quarantined: int = 0
    fault: BadFile | None = None
    decision: str = "new"
    duplicate_of: str | None = None
    replay_of: str | None = None


class Inputs(msgspec.Struct, frozen=True):
    """inputs.json: the files of one subdirectory, as the schema scan saw them, sorted by name."""

    files: list[Input]


class Node(msgspec.Struct, frozen=True):
    """A field of the records: an object, an exploded array (`list`), or a value.

    Attributes:
        name: its key.
        kind: what it is.
        type: of a value. One that is not declared is read as it is written, and has its type in Parquet and in SQL.
        declared: whether the spec gives the type.
        fields: those of an object.
        element: that of an array.
    """

    name: str
    kind: Literal["object", "list", "value"]
    type: str = "VARCHAR"
    declared: bool = False
    fields: list["Node"] = []
    element: "Node | None" = None


class Form(msgspec.Struct, frozen=True):
    """What a record may have: a field at `path`, whatever its value; or there a value of one of `kinds`.

    Kinds are `object`, `array` and `scalar`; with `inside`, those of the elements of the array there. Paths lead
    through the elements of arrays. Null is of no kind.
    """

    path: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    inside: bool = False


class Excluded(msgspec.Struct, frozen=True):
    """A form that another one excludes from the run: a record that has it is bad, with this code and message."""

    form: Form
    code: str
    message: str


class Column(msgspec.Struct, frozen=True):
    """A column of the output.

    `source` is `record`, the `into` of a reference, `spec` for an SQL `expression`, or `fanfold` for `_rescued` and
    the lineage; `path` leads to the field in a record or reference.
    """

    name: str
    type: str
    source: str
    path: list[str]
    first_file: str | None = None
    expression: str | None = None


class FrozenReference(msgspec.Struct, frozen=True):
    """A reference as it was when the run's schema was fixed. `rows` are those that can match."""

    path: str
    sha256: str
    rows: int


class RunSchema(msgspec.Struct, frozen=True):
    """schema.json: what all parts of the run agree on.

    `record` are the fields that records are read with; `explode` the paths of the arrays that explode, from the
    outermost; `flat` the columns that a record and its references become, `columns` those of the output, in order;
    `excluded` what no good record has. `joined` gives for each reference the slots of its columns in a frozen row, in
    the order of `flat`.
    """

    record: list[Node]
    explode: list[list[str]]
    rescued: bool
    flat: list[Column]
    columns: list[Column]
    references: list[FrozenReference]
    excluded: list[Excluded] = []
    joined: list[list[int]] = []


class Published(msgspec.Struct, frozen=True):
    """A published table, or the bad records of a subdirectory.

    `totals` are the exact sums of `verify.totals` in it, by path.
    """

    path: str
    rows: int
    size_bytes: int
    sha256: str
    totals: dict[str, str] = {}


class Progress(msgspec.Struct, frozen=True):
    """progress.json: what a group has done.

    `records` are the good ones. `published` is null until the output is visible; `quarantined` where no record is bad.
    """

    files: list[Input]
    records: int
    records_unmatched: int
    records_quarantined: int = 0
    quarantined: Published | None = None
    published: Published | None = None


class Cause(msgspec.Struct, frozen=True):
    """What a step that failed depended on, as hashes: whether one has changed is known without trying again."""

    spec: str
    files: str
    references: str
    fanfold: str


class Reason(msgspec.Struct, frozen=True):
    """Why a run failed: the step, its subdirectory (null where it is the whole run), and what it said."""

    step: str
    subdir: int | None
    message: str

    def __str__(self) -> str:
        """Say it in a message."""
        return f"{self.step}{f' of subdirectory {self.subdir}' if self.subdir else ''}: {self.message}"


class Failure(Reason, frozen=True):
    """failure.json: why a step cannot go on, for a reason of data or spec, and what it depended on."""

    cause: Cause


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
    files_in: int = 0
    files_archived: int = 0
    files_quarantined: int = 0
    bytes_in: int = 0
    records_in: int = 0
    records_quarantined: int = 0
    records_unmatched: int = 0
    rows_out: int = 0
    subdirs: dict[str, SubdirSummary]
    references: list[FrozenReference] = []


def empty_summary(ts: str, subdirs: int) -> Summary:
    """Return the counts of a run without files."""
    return Summary(ts=format_ts(parse_ts(ts)), subdirs={str(n): SubdirSummary() for n in range(1, subdirs + 1)})


class Packed(msgspec.Struct, frozen=True):
    """A compressed file."""

    size_bytes: int
    sha256: str


class ArchivedFile(msgspec.Struct, frozen=True):
    """An original and where it ended: in the archive or, with a `code`, in quarantine.

    Size and hash are those of its bytes as they came; `packed` are those of the file in the archive where that is
    compressed. `reason_sha256` is that of the reason beside it in quarantine. `decision`, `duplicate_of` and
    `replay_of` are those of `Input`.
    """

    name: str
    subdir: int
    size_bytes: int
    sha256: str
    records: int
    archived_as: str
    records_quarantined: int = 0
    code: str | None = None
    reason_sha256: str | None = None
    decision: str = "new"
    duplicate_of: str | None = None
    replay_of: str | None = None
    packed: Packed | None = None


class Manifest(msgspec.Struct, frozen=True):
    """The final record of a run. `totals` are the exact sums of `verify.totals`, by path."""

    fanfold: str
    duckdb: str
    spec: dict[str, Any]
    summary: Summary
    columns: list[Column]
    files: list[ArchivedFile]
    explode: list[list[str]]
    outputs: dict[str, Published]
    quarantined: dict[str, Published]
    records_unmatched: dict[str, int]
    totals: dict[str, str]
    released: list[str]


def encode(document: msgspec.Struct) -> bytes:
    """Return the document as JSON, indented for people, keys in the order of its class."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


_building = threading.Lock()


def decode(content: bytes, kind: type[Document]) -> Document:
    """Return a document from its JSON.

    Raises:
        ValueError, RecursionError: it is not one.
    """
    # msgspec 0.22 dies where two threads learn one class at once.
    with _building:
        decoder: msgspec.json.Decoder[Document] = _decoder(kind)
    return decoder.decode(content)


@functools.cache
def _decoder(kind: type[Document]) -> msgspec.json.Decoder[Document]:
    return msgspec.json.Decoder(kind)


def read(path: Path, kind: type[Document]) -> Document:
    """Read a document that Fanfold wrote.

    Raises:
        FileNotFoundError: it is not there (yet).
        DataError: somebody changed it: it is not what Fanfold writes.
        PathError: it is a link.
    """
    try:
        return decode(links.read(path), kind)
    except (ValueError, RecursionError) as error:
        msg = f"{str(path)!r} was changed ({error}), expected the {kind.__name__} that Fanfold wrote"
        raise DataError(msg) from None


def is_as_written(content: bytes, kind: type[msgspec.Struct]) -> bool:
    """Say whether bytes are those that Fanfold writes for a document."""
    try:
        return encode(decode(content, kind)) == content
    except (ValueError, RecursionError, OverflowError):
        return False


def read_if_there(path: Path, kind: type[Document]) -> Document | None:
    """Read a document that Fanfold wrote; None where it is not there (yet)."""
    try:
        return read(path, kind)
    except FileNotFoundError:
        return None
