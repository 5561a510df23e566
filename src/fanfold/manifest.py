"""The manifest: the final record of a run, with what is bad in it.

Paths in them are relative to `data_dir`, names to the landing directory; sizes are bytes as they lie on disk. The
manifest holds no clock, host or process: the same input gives the same bytes.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from fanfold import documents
from fanfold.errors import count
from fanfold.layout import format_ts, parse_ts

Value = TypeVar("Value", int, str)

# As many names of ignored members are written down.
SHOWN_IGNORED = 10


def source_file(file: str, member: str | None) -> str:
    """Return how rows and messages name a file, or a member of it if it is an archive."""
    return f"{file}/{member}" if member else file


class BadRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of records.jsonl. Lines count from 1, bytes from 0, both in the decompressed file.

    `line` and `offset` are the place of the fault; `record_line` and `record_offset` are the place where the record
    begins. `record` is its number in the file, from 1, and `size` its number of bytes there. `pointer` (RFC 6901) leads
    to the fault inside the record. `raw` is the text of the record, or `raw_base64` its bytes if they are not UTF-8. A
    row of Parquet has only its number, which is also its line.

    `member` is the name of the member of a zip or tar file that the record is in; numbers and places count in that
    member. A record with the number 0 stands for a member that cannot be read or, without `member`, for the
    zip or tar file itself.
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
    member: str | None = None

    @property
    def source(self) -> str:
        """The file that the record is in, as `_source_file` has it."""
        return source_file(self.file, self.member)


class BadFile(msgspec.Struct, frozen=True):
    """A `<name>.reason.json`: the first fault of a file in which no record could be read."""

    file: str
    code: str
    message: str
    line: int | None = None
    offset: int | None = None
    pointer: str | None = None

    @property
    def source(self) -> str:
        """The file, as in a bad record."""
        return self.file


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


class Published(msgspec.Struct, frozen=True):
    """A published table, or the bad records of a subdirectory.

    `totals` are the exact sums of `verify.totals` in it, by path.
    """

    path: str
    rows: int
    size_bytes: int
    sha256: str
    totals: dict[str, str] = {}


class SubdirSummary(msgspec.Struct, frozen=True):
    """What went where in one subdirectory; with `tables`, `rows` and `output` are objects by table."""

    files: int = 0
    bytes: int = 0
    records: int = 0
    rows: int | dict[str, int] = 0
    output: str | dict[str, str] | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a run. `files_in` = archived + quarantined; `records_in` = published + quarantined.

    With `tables`, `rows_out` is an object by table.
    """

    ts: str
    files_in: int = 0
    files_archived: int = 0
    files_quarantined: int = 0
    bytes_in: int = 0
    records_in: int = 0
    records_quarantined: int = 0
    records_unmatched: int = 0
    rows_out: int | dict[str, int] = 0
    subdirs: dict[str, SubdirSummary]
    references: list[FrozenReference] = []


def by_table(values: dict[str, Value]) -> Value | dict[str, Value]:
    """Return the values of all tables as in a summary: a single value if the feed has one table, without a name."""
    return values.get("", values)


def of_table(value: Value | dict[str, Value]) -> dict[str, Value]:
    """Return the values of a summary by table: the inverse of `by_table`."""
    return value if isinstance(value, dict) else {"": value}


def empty_summary(ts: str, subdirs: int, tables: Iterable[str] = ()) -> Summary:
    """Return the counts of a run without files; `tables` are the names of its tables, if they have names."""
    rows = by_table(dict.fromkeys(tables, 0) or {"": 0})
    empty = {str(n): SubdirSummary(rows=rows) for n in range(1, subdirs + 1)}
    return Summary(ts=format_ts(parse_ts(ts)), subdirs=empty, rows_out=rows)


class Packed(msgspec.Struct, frozen=True):
    """A compressed file."""

    size_bytes: int
    sha256: str


class Ignored(msgspec.Struct, frozen=True):
    """The members of an archive that match no pattern: how many there are, and the first names."""

    members: int
    names: list[str]

    def __str__(self) -> str:
        """Say it in a message."""
        more = ", …" if self.members > len(self.names) else ""
        verb = "matches" if self.members == 1 else "match"
        return f"{count(self.members, 'member')} {verb} no pattern ({', '.join(map(repr, self.names))}{more})"


def all_ignored(files: Mapping[str, Ignored | UnsetType]) -> Ignored:
    """Return what is ignored in several archives; each name begins with the name of its archive."""
    found = {name: one for name, one in files.items() if one}
    names = (source_file(name, member) for name, one in found.items() for member in one.names)
    return Ignored(sum(one.members for one in found.values()), [*itertools.islice(names, SHOWN_IGNORED)])


class ArchivedFile(msgspec.Struct, frozen=True):
    """An original and where it ended: in the archive or, with a `code`, in quarantine.

    Size and hash are those of its bytes as it landed. `packed` has those of the file in the archive, if Fanfold has
    compressed it. `reason_sha256` is the hash of the reason beside it in quarantine. `decision`, `duplicate_of`,
    `replay_of` and `ignored` come from `Input`.
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
    ignored: Ignored | UnsetType = UNSET


class Drift(msgspec.Struct, frozen=True):
    """How the columns differ from those of the run `since`, the newest that was complete and had published records.

    `added` and `dropped` are names, `retyped` has `name: old > new`; `reordered` says that the columns which both runs
    have stand in another order.
    """

    since: str
    added: list[str]
    dropped: list[str]
    retyped: list[str]
    reordered: bool = False

    @property
    def changes(self) -> str:
        """Return the changes as words for a message; nothing if the columns are the same."""
        named = {"added": self.added, "dropped": self.dropped, "retyped": self.retyped}
        told = [f"{how} {', '.join(names)}" for how, names in named.items() if names]
        return "; ".join([*told, *(["in another order"] if self.reordered else [])])


class TableOfRun(msgspec.Struct, frozen=True):
    """What a run has published as one table."""

    explode: list[list[str]]
    columns: list[Column]
    outputs: dict[str, Published]
    totals: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The final record of a run. `totals` are the exact sums of `verify.totals`, by path.

    `drift` is there where the columns differ from those of the run before. What there is of each table stands in
    `tables` where the feed has those; then columns, explode, outputs and totals at the top are empty. `each_table` has
    either.
    """

    format: int = 0
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
    drift: Drift | UnsetType = UNSET
    tables: dict[str, TableOfRun] | UnsetType = UNSET

    @property
    def each_table(self) -> dict[str, TableOfRun]:
        """The tables by name; without `tables`, the only table has no name."""
        if self.tables:
            return self.tables
        return {"": TableOfRun(self.explode, self.columns, self.outputs, self.totals)}

    @property
    def named_totals(self) -> dict[str, str]:
        """The totals of all tables; in those of a named table, each path begins with its name."""
        tables = self.each_table.items()
        return {f"{name}.{path}" if name else path: total for name, one in tables for path, total in one.totals.items()}

    @property
    def published(self) -> list[Published]:
        """Every file of every table."""
        return [one for table in self.each_table.values() for one in table.outputs.values()]


def as_written(document: Manifest, content: bytes) -> bytes:
    """Return the bytes that Fanfold writes for a manifest; in an older format, for the keys that `content` has."""
    known = document if document.format == documents.FORMAT else msgspec.json.decode(content)
    return documents.encode(known)
