"""What a run records while it is not complete: files.json, inputs.json, schema.json, progress.json, failure.json.

Paths in them are relative to `data_dir`, names to the landing directory; sizes are bytes as they lie on disk. They are
read and written as the manifest is.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from fanfold.errors import alike
from fanfold.manifest import BadFile, Column, Drift, FrozenReference, Ignored, Published


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """feed.json: which feed a `data_dir` holds, and the version that staged a run in it last, with its format."""

    format: int = 0
    fanfold: str | None = None
    name: str


class Claimed(msgspec.Struct, frozen=True):
    """An entry of the log of claims, which only a bucket has: the runs there that are not complete."""

    format: int
    runs: dict[str, Any]


class StagedFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file of the run. What was decided is given where an earlier run is made again."""

    name: str
    size_bytes: int
    subdir: int
    decision: str | None = None
    duplicate_of: str | None = None
    replay_of: str | None = None


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """files.json: the intent of a run, then its inventory.

    While `claimed` is false, files may still be in landing. Sorted by subdirectory and name. `format` is that of all
    working files of the run. `drift` is given where an earlier run is made again: that of its manifest, or null.
    """

    format: int = 0
    claimed: bool
    files: list[StagedFile]
    drift: Drift | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def places(self) -> list[tuple[str, int]]:
        """The name and the subdirectory of each file."""
        return [(file.name, file.subdir) for file in self.files]


class Input(msgspec.Struct, frozen=True):
    """A file of one subdirectory. What is null is not known until the file was read.

    `decision` is what the file is to the feed: `new`, `new_content` under a name that was seen before, or `duplicate`
    of `duplicate_of` (`<ts>/<name>`), which has the same bytes; it makes no rows; or `replay` of the bad record or file
    `replay_of` (`<ts>/<n>:<k>`, `<ts>/<n>/<name>`).
    `records` counts good and bad ones, `records_quarantined` the bad; a file with a `fault` is bad as a whole, and has
    no records. `ignored` is there where members of an archive are not read.
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
    ignored: Ignored | msgspec.UnsetType = msgspec.UNSET


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


class TableSchema(msgspec.Struct, frozen=True):
    """One table of the run.

    `explode` are the paths of the arrays that explode in it, from the outermost; `elsewhere` says of the record and of
    each of these arrays whether its fields stand in another table; `flat` are the columns that a row has before SQL,
    `columns` those of the output, in order.
    """

    explode: list[list[str]]
    elsewhere: list[bool]
    flat: list[Column]
    columns: list[Column]


class RunSchema(msgspec.Struct, frozen=True):
    """schema.json: what all parts of the run agree on.

    `record` are the fields that records are read with; `explode` the paths of the arrays that explode in some table;
    `flat` the columns that a record and its references become, `columns` those of the output, in order, both where the
    feed has one table; `excluded` what no good record has. `joined` gives for each reference the slots of its columns
    in a frozen row, in their order; `drift` how the columns differ from those of the run before. `each_table` has the
    tables by name; the one of a feed without `tables` has none.
    """

    record: list[Node]
    explode: list[list[str]]
    rescued: bool
    flat: list[Column]
    columns: list[Column]
    references: list[FrozenReference]
    excluded: list[Excluded] = []
    joined: list[list[int]] = []
    drift: Drift | None = None
    tables: dict[str, TableSchema] = {}

    @property
    def each_table(self) -> dict[str, TableSchema]:
        """The tables by name."""
        plain = TableSchema(self.explode, [False] * (len(self.explode) + 1), self.flat, self.columns)
        return self.tables or {"": plain}


class Progress(msgspec.Struct, frozen=True):
    """progress.json: what a group has done.

    `records` are the good ones. `published` is null until the output is visible; `quarantined` where no record is bad.
    Where the feed has `tables`, these have what is published, once all of it is visible. `outputs` has it by table in
    either case.
    """

    files: list[Input]
    records: int
    records_unmatched: int
    records_quarantined: int = 0
    quarantined: Published | None = None
    published: Published | None = None
    tables: dict[str, Published] = {}

    @property
    def outputs(self) -> dict[str, Published]:
        """What is published, by table; nothing until all of it is."""
        return {"": self.published} if self.published else self.tables

    def with_outputs(self, outputs: dict[str, Published]) -> "Progress":
        """Return it with what is published, by table."""
        plain = outputs.get("")
        return msgspec.structs.replace(self, published=plain, tables={} if plain else outputs)


class Reason(msgspec.Struct, frozen=True):
    """Why a run failed: the step, its subdirectory (null where it is the whole run), and what it said."""

    step: str
    subdir: int | None
    message: str


def told(reasons: Iterable[Reason]) -> list[str]:
    """Say why a run failed: each reason once, with all subdirectories that it stopped."""
    by_subdir = {reason.subdir: reason for reason in reasons}
    said = []
    for same in alike({n: f"{reason.step}: {reason.message}" for n, reason in by_subdir.items()}):
        of = f" of {'subdirectory' if len(same) == 1 else 'subdirectories'} {', '.join(map(str, same))}"
        first = by_subdir[same[0]]
        said.append(f"{first.step}{of if first.subdir else ''}: {first.message}")
    return said


class Failure(Reason, frozen=True):
    """failure.json: why a step did not end well.

    Because of data or spec, it cannot continue: `files` and `references` are hashes of what it depended on, so whether
    that has changed is known without trying again. What is `passing` may go away by itself, as a full disk does.
    """

    files: str = ""
    references: str = ""
    passing: bool = False


class Release(msgspec.Struct, frozen=True):
    """release.json: the subdirectories whose files go back to landing."""

    subdirs: list[int]
