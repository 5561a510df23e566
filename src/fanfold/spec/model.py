"""The spec: one YAML file that says everything about a feed. A key is here only when it works."""

import functools
import itertools
import os
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fanfold.errors import PathError, SpecError
from fanfold.spec import yaml_file
from fanfold.spec.messages import faults

ALLOWED_ROOTS = "FANFOLD_ALLOWED_ROOTS"
RESERVED_FOLDERS = (".fanfold", "staging")
# Where the files of a run lie, and where it was made sure that each has a place.
KEPT_KEYS = ("subdirs", "input.path", "input.done_suffix", "archive.path", "archive.compression", "quarantine.path")
# They say nothing about a run whose files are staged.
KEYS_OF_LATER_RUNS = {
    "data_dir", "concurrent_tasks", "notify.slack_conn_id", "notify.above_files",
    "input.patterns", "input.settle_seconds", "input.wait_seconds", "input.poll_seconds",
}  # fmt: skip
LONGEST_CHANGE = 120


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in value:
        msg = "a relative path inside data_dir"
        raise ValueError(msg)
    return str(path)


def _field_path(value: str) -> str:
    if not all(value.split(".")):
        msg = "field names joined by dots, as in 'customer.id'"
        raise ValueError(msg)
    return value


def _pointer(value: str) -> str:
    if value and (not value.startswith("/") or re.search(r"~(?![01])", value)):
        msg = "a JSON pointer (RFC 6901), as in '/data/orders', or nothing"
        raise ValueError(msg)
    return value


def _field_type(value: str) -> str:
    """Return a declared type in its one form: upper case, `DECIMAL(p,s)`."""
    name = re.sub(r"\s+", "", value).upper()
    if decimal := re.fullmatch(r"DECIMAL\((\d{1,2}),(\d{1,2})\)", name):
        precision, scale = int(decimal[1]), int(decimal[2])
        if 1 <= precision <= MAX_PRECISION and scale <= precision:
            return f"DECIMAL({precision},{scale})"
    elif name in SIMPLE_TYPES:
        return name
    msg = f"one of {', '.join(SIMPLE_TYPES)}, DECIMAL(p,s) with p up to {MAX_PRECISION}"
    raise ValueError(msg)


def _output_column(value: Any) -> Any:
    named = (
        isinstance(value, dict) and len(value) == 1 and all(isinstance(x, str) and x for x in (*value, *value.values()))
    )
    if not named and not (isinstance(value, str) and value):
        msg = "a column name, or one {name: SQL expression}"
        raise ValueError(msg)
    return value


SIMPLE_TYPES = ("BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "JSON")
MAX_PRECISION = 38
MAX_PATH = 4096
InsidePath = Annotated[str, Field(max_length=MAX_PATH), AfterValidator(_inside)]
FieldPath = Annotated[str, AfterValidator(_field_path)]
Pointer = Annotated[str, AfterValidator(_pointer)]
FieldType = Annotated[str, AfterValidator(_field_type)]
OutputColumn = Annotated[str | dict[str, str], BeforeValidator(_output_column)]
Seconds = Annotated[float, Field(ge=0, le=31_536_000)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True, serialize_by_alias=True)


class Input(_Section):
    """Which files are taken from the landing directory, and when."""

    path: InsidePath = Field("transactions", description="Landing directory, inside data_dir.")
    patterns: list[str] = Field(
        ["*.json", "*.jsonl", "*.ndjson", "*.json.gz", "*.json.zst", "*.csv", "*.parquet"],
        min_length=1,
        description="File names to take (shell patterns, letter case counts). Others are left alone. "
        "A name that ends in .csv or .parquet is read as such, any other as JSON; .gz and .zst are decompressed.",
    )
    records_at: Pointer = Field(
        "",
        description="JSON pointer to the array of records in a wrapped document, as in /data/orders. What "
        "stands around it is in no table.",
    )
    fields: dict[FieldPath, FieldType] = Field(
        {},
        description="Declared types by path, as in {items.price: DECIMAL(18,4)}. Each is a column whether it occurs or "
        "not, in this order, before all others; a value that its type does not hold exactly makes its record bad.",
    )
    schema_mode: Literal["infer", "declared"] = Field(
        "infer",
        alias="schema",
        description="infer: all files are scanned, every field is a column. declared: no scan, only `fields` are "
        "columns, what else a record has goes to the column _rescued, as JSON.",
    )
    max_record_bytes: int = Field(16_777_216, ge=1024, description="A record that is larger is bad.")
    settle_seconds: Seconds = Field(
        2.0,
        description="A file is ready when it is unchanged for so long, by the later of mtime and ctime; by ctime where "
        "its mtime is still to come. With 0 it is ready at once.",
    )
    done_suffix: Annotated[str, Field(min_length=1, pattern=r"^[^/]+$")] | None = Field(
        None,
        description="A file waits for a marker of its name and this suffix: with .done, a.json waits for a.json.done. "
        "Both are archived, only the file is counted.",
    )
    duplicates: Literal["archive", "process", "quarantine", "fail"] = Field(
        "archive",
        description="A file with the same bytes as a file that is published already (names and dates do not matter): "
        "archive it without making rows of it, process it again, set it aside, or fail before any group starts.",
    )
    wait_seconds: Seconds = Field(300.0, description="The sensor looks this long for a first file.")
    poll_seconds: Annotated[float, Field(gt=0, le=86_400)] = Field(5.0, description="Pause between two looks.")


class MergeKey(_Section):
    """The columns that a record and the reference are matched by."""

    record: FieldPath = Field(description="Field of the record; dots lead into nested objects.")
    reference: str = Field(description="Column of the reference.")


class Merge(_Section):
    """One reference, joined to every record."""

    reference: InsidePath = Field(
        description="File inside data_dir: CSV with a header line (.csv), Parquet (.parquet), else JSON records."
    )
    key: FieldPath | MergeKey = Field(description="Key of both sides, or {record: a.b, reference: c}.")
    into: Annotated[str, Field(min_length=1, pattern=r"^[^.]+$")] = Field(
        description="The reference's columns nest under this new object of the record."
    )
    columns: list[str] | None = Field(None, description="Columns to take; null takes all but the key.")
    on_missing: Literal["keep", "quarantine", "fail"] = Field(
        "keep", description="A record without a match: keep it (counted), quarantine it, or fail its group."
    )
    on_duplicate: Literal["fail", "first"] = Field(
        "fail", description="A key that the reference has twice: an error, or the first line counts."
    )

    @property
    def record_key(self) -> str:
        """Path of the key in the record."""
        return self.key if isinstance(self.key, str) else self.key.record

    @property
    def reference_key(self) -> str:
        """Column of the key in the reference."""
        return self.key if isinstance(self.key, str) else self.key.reference


class Denormalize(_Section):
    """How a nested record becomes flat rows."""

    explode: list[FieldPath] = Field(
        [],
        description="The array that becomes one row an element; none: one row a record. A path through an array "
        "(orders.items) explodes that one too; with input.schema: declared, name both (orders, orders.items). Several "
        "paths must lie on one line, each inside of the one before.",
    )
    separator: str = Field("_", min_length=1, max_length=3, description="Joins the names of nested fields.")
    columns: list[OutputColumn] | None = Field(
        None,
        min_length=1,
        description="Output columns, in order; null: all. A name, or {name: SQL expression over the flat row}.",
    )

    @model_validator(mode="after")
    def _explode_is_one_line(self) -> Self:
        for outer, inner in itertools.pairwise(sorted(self.explode, key=len)):
            if not inner.startswith(f"{outer}."):
                msg = f"arrays each inside of the one before ({outer!r} and {inner!r} lie side by side)"
                raise ValueError(msg)
        return self


class Output(_Section):
    """Where the flat tables are published."""

    path: InsidePath = Field("denormalized", description="Output directory, inside data_dir.")
    format: Literal["csv", "parquet"] = Field("csv", description="Format of the tables.")
    lineage: bool = Field(
        False,  # noqa: FBT003 - the default
        description="Add the columns _source_file, _source_record, _source_item: where each row comes from.",
    )


class Archive(_Section):
    """Where the originals go when their rows are published."""

    path: InsidePath = Field("processed", description="Archive directory, inside data_dir.")
    compression: Literal["none", "gzip", "zstd"] = Field(
        "none",
        description="Compress originals there, but for .gz, .zst and .parquet: a.json becomes a_<ts>.json.gz or .zst.",
    )


class Quarantine(_Section):
    """Where bad files and bad records go, and how many are too many."""

    path: InsidePath = Field("quarantine", description="Quarantine directory, inside data_dir.")
    max_bad_records_percent: Annotated[float, Field(ge=0, le=100)] = Field(
        10.0,
        description="More than this share of the records of a subdirectory fails its group before it publishes; of the "
        "run, verify_run.",
    )
    max_bad_files_percent: Annotated[float, Field(ge=0, le=100)] = Field(
        50.0,
        description="If more than this share of a run's files is bad as a whole (duplicates are not), the run "
        "completes and is then reported as failed: exit code 1, verify_run red. It does not block later runs. The same "
        "holds for a run in which nothing could be read and, where max_bad_records_percent is 0, for one with a bad "
        "file.",
    )
    raw: bool = Field(True, description="Keep the text of a bad record beside the reason.")  # noqa: FBT003 - the default

    def allows(self, bad: int, records: int) -> bool:
        """Say whether so many bad records among all are few enough."""
        return bad * 100 <= self.max_bad_records_percent * records


class Verify(_Section):
    """What is proved beside the counts."""

    totals: list[str] = Field(
        [],
        description="Fields of the records by their paths, as in items.price: whole numbers or decimals, whose exact "
        "sums are proved. A field outside of the array that explodes counts once for each record.",
    )


class Notify(_Section):
    """The Slack notification."""

    slack_conn_id: str | None = Field(None, description="Airflow connection of type Slack Incoming Webhook.")
    above_files: int = Field(1, ge=0, description="Notify when more files than this are ready.")


class Spec(_Section):
    """A feed. `load_spec` makes `data_dir` absolute."""

    version: Literal[1] = Field(description="Version of this format.")
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")] = Field(
        description="Name of the feed; it becomes the DAG's id."
    )
    data_dir: Annotated[str, Field(min_length=1, max_length=MAX_PATH, pattern=r"^[^\x00]*$")] = Field(
        "data", description="Root of the feed; relative to the spec's folder."
    )
    subdirs: int = Field(5, ge=1, le=1000, description="Number of subdirectories, and of TaskGroups.")
    concurrent_tasks: int = Field(5, ge=1, le=1000, description="Tasks that may run at once: max_active_tasks.")
    input: Input = Input()
    merge: list[Merge] = Field([], description="References joined to every record, in order.")
    denormalize: Denormalize = Denormalize()
    output: Output = Output()
    archive: Archive = Archive()
    quarantine: Quarantine = Quarantine()
    verify: Verify = Verify()
    notify: Notify = Notify()

    @model_validator(mode="after")
    def _folders_are_apart(self) -> Self:
        named = {
            "input.path": self.input.path,
            "output.path": self.output.path,
            "archive.path": self.archive.path,
            "quarantine.path": self.quarantine.path,
        }
        taken = [(folder, f"Fanfold's own folder {folder!r}") for folder in RESERVED_FOLDERS]
        for key, folder in named.items():
            for other, owner in taken:
                if PurePosixPath(folder).is_relative_to(other) or PurePosixPath(other).is_relative_to(folder):
                    msg = f"{key} {folder!r} overlaps {owner}, expected folders apart from each other"
                    raise ValueError(msg)
            taken.append((folder, f"{key} {folder!r}"))
        return self

    @model_validator(mode="after")
    def _objects_are_apart(self) -> Self:
        names = ["record", *(merge.into for merge in self.merge)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            msg = f"merge: into {twice[0]!r} is used twice, expected a name of its own for each reference"
            raise ValueError(msg)
        return self


def load_spec(path: str | os.PathLike[str]) -> Spec:
    """Read and check the spec at `path`; nothing else is touched.

    Returns:
        The spec, frozen, with `data_dir` absolute (symbolic links and `..` resolved).

    Raises:
        MissingError: there is no such file, or it is not a regular one.
        SpecError: all errors of the spec at once, a line each: `file:line: path: found, expected`.
    """
    file = Path(path)
    spec = parse_spec(yaml_file.read(file), str(path))
    return spec.model_copy(update={"data_dir": str((file.resolve().parent / spec.data_dir).resolve())})


def changes(before: Spec, now: Spec) -> dict[str, str]:
    """Say in which keys two specs differ, as far as they concern a run whose files are staged.

    Returns:
        For each key (`merge`, `denormalize.explode`) how it was and is; the key alone where that is long.
    """
    old, new = by_key(before), by_key(now)
    return {key: _change(key, old.get(key), new[key]) for key in new if old.get(key) != new[key]}


def with_kept(before: Spec, now: Spec) -> Spec:
    """Return the spec that a run goes on with: as it is now, but for the keys that a run keeps.

    Raises:
        SpecError: what is kept does not fit what is new.
    """
    merged = now.model_dump(mode="json")
    kept = before.model_dump(mode="json")
    for key in KEPT_KEYS:
        *section, name = key.split(".")
        target, source = (document[section[0]] if section else document for document in (merged, kept))
        target[name] = source[name]
    try:
        return Spec.model_validate(merged)
    except ValidationError as error:
        errors = "; ".join(details["msg"] for details in error.errors())
        msg = (
            f"a run keeps {', '.join(KEPT_KEYS)} of its beginning, and the changed spec does not fit them: {errors}. "
            "Change it, or give the run up (fanfold release)"
        )
        raise SpecError(msg) from None


def by_key(spec: Spec) -> dict[str, Any]:
    """Return what a spec says of a run whose files are staged, by key: `merge`, `denormalize.explode`."""
    found: dict[str, Any] = {}
    for name, value in spec.model_dump(mode="json").items():
        found |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return {key: value for key, value in found.items() if key not in KEYS_OF_LATER_RUNS}


def _change(key: str, before: Any, now: Any) -> str:
    told = f"{key} {before!r} > {now!r}"
    return told if len(told) <= LONGEST_CHANGE else key


def allowed_roots(spec_path: Path, spec: Spec) -> list[Path]:
    """Return the directories that a feed may live in.

    They are those of the environment variable FANFOLD_ALLOWED_ROOTS (separated as in PATH), else the spec's own folder
    and its `data_dir`.
    """
    named = [root for root in os.environ.get(ALLOWED_ROOTS, "").split(os.pathsep) if root]
    return [Path(root).resolve() for root in named or [str(spec_path.resolve().parent), spec.data_dir]]


def check_allowed(path: Path, roots: list[Path], what: str) -> Path:
    """Return `path` with `..` and symbolic links resolved.

    Raises:
        PathError: it lies outside all of `roots`; `what` names it in the message.
    """
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        msg = f"{what} {str(path)!r} cannot be resolved ({error})"
        raise PathError(msg) from None
    if not any(resolved.is_relative_to(root) for root in roots):
        shown = ", ".join(repr(str(root)) for root in roots)
        leads = f" (it leads to {str(resolved)!r})" if resolved != path else ""
        msg = (
            f"{what} {str(path)!r}{leads} is outside the allowed roots, expected a path under {shown} ({ALLOWED_ROOTS})"
        )
        raise PathError(msg)
    return resolved


def parse_spec(text: str, source: str) -> Spec:
    """Check the text of a spec; `data_dir` stays as it is written.

    Raises:
        SpecError: all errors of the spec at once; `source` names it.
    """
    document = yaml_file.parse(text, source)
    if not isinstance(document.value, dict):
        msg = f"{source}:1: found {type(document.value).__name__}, expected a mapping with version, name, input, …"
        raise SpecError(msg)
    try:
        spec = Spec.model_validate(document.value)
    except ValidationError as error:
        raise SpecError(faults(document, error, source, Spec)) from None
    if document.twice:
        raise SpecError(faults(document, None, source, Spec))
    return spec


@functools.cache
def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the spec, for editors that check and complete YAML."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Spec.model_json_schema()}
