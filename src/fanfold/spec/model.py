"""The spec: one YAML file that says everything about a feed. A key is here only when it works."""

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from fanfold import mirrors
from fanfold.errors import SpecError
from fanfold.input_formats import PATTERNS
from fanfold.spec import values, yaml_file
from fanfold.spec.envelope import check_envelope
from fanfold.spec.merge import Merge
from fanfold.spec.messages import faults
from fanfold.spec.outside import Notify, Store
from fanfold.spec.paths import way_of
from fanfold.spec.section import Section
from fanfold.spec.tables import Columns, FlatTable, Tables, level_of, side_by_side
from fanfold.spec.texts import CsvInput, CsvOutput, Encoding

RESERVED_FOLDERS = (".fanfold", "staging")
# Where a feed lies: its runs keep the rest of the spec, so that a feed can be copied to another place.
PLACE = {"data_dir", "store"}


class Input(Section):
    """Which files are taken from the landing directory, when, and how they are read."""

    OF_NO_USE = {
        "records_at": ("patterns", values.CSV_OR_PARQUET),
        "encoding": ("patterns", values.PARQUET),
        "csv": ("patterns", values.TAKES_NO_CSV),
    }

    path: values.InsidePath = "transactions"
    """Landing directory, inside data_dir."""
    patterns: Annotated[list[str], Field(min_length=1)] = PATTERNS
    """File names to take, as shell patterns; letter case does not matter. Other files stay where they are, and are
    counted and named. A name that ends in .csv or .parquet is read as that format, any other name as JSON. .gz and .zst
    are decompressed. The files in a .zip, .tar, .tar.gz, .tgz or .tar.zst are read by their own names."""
    records_at: values.Pointer = ""
    """JSON pointer to the array of records inside a document, as in /data/orders. What is outside the array is in no
    table, unless `envelope` names it."""
    fields: dict[values.FieldPath, values.FieldType] = Field({}, json_schema_extra={"additionalProperties": False})
    """Declared types by path, as in {items.price: DECIMAL(18,4)}. Each is a column even if no record has it. These
    columns come first, in this order. If a type does not hold a value exactly, the record is bad."""
    schema_mode: Literal["infer", "declared"] = Field("infer", alias="schema")
    """infer: all files are scanned, and every field is a column. declared: there is no scan, and only `fields` are
    columns; everything else goes to the column _rescued, as JSON."""
    encoding: Encoding = "utf-8"
    """Encoding of JSON and CSV. utf-16 needs a byte order mark. A record with bytes that are not valid in the encoding
    is bad."""
    csv: CsvInput = CsvInput()
    parse: list[values.FieldPath] = []
    """Fields whose text holds JSON, even inside arrays. The JSON is read as part of the record. If the text is empty or
    not JSON, the record is bad."""
    envelope: list[values.FieldPath] = []
    """Fields outside the array at records_at, as in [batch_id, meta.source]. Each record gets them as its own fields,
    under the same paths. A record that already has such a field is bad."""
    max_record_bytes: int = Field(16_777_216, ge=1024)
    """A larger record is bad."""
    settle_seconds: values.Seconds = 2.0
    """A file is ready when it has not changed for this long. The later of its mtime and ctime counts, or its ctime if
    its mtime is in the future. With 0 a file is ready at once."""
    done_suffix: values.Suffix | None = None
    """A file waits for a marker: with .done, a.json waits for a.json.done. Both are archived; only the file is
    counted."""
    on_drift: Literal["warn", "fail", "ignore"] = "warn"
    """What to do if the columns differ in name, type or order from those of the newest complete run: warn (in the log,
    the manifest and the Asset event), fail before any group starts, or ignore it. The columns themselves do not
    depend on this key."""
    duplicates: Literal["archive", "process", "quarantine", "fail"] = "archive"
    """What to do with a file whose bytes were published before (its dates and its name do not matter; see identity):
    archive it without making rows, process it again, quarantine it, or fail before any group starts."""
    identity: Literal["content", "name_and_content"] = "content"
    """What makes a file a duplicate. content: the bytes are the same, and its path columns if there are any.
    name_and_content: its path in landing is the same, too, so the same bytes under another name are new."""
    path_columns: bool = False
    """Whether folders like date=2026-01-02/store=A add fields (date, store) to each record of the files in them, before
    its own fields. The values are text, decoded as in URLs (%3A is a colon); `fields` may declare other types.
    __HIVE_DEFAULT_PARTITION__ is null. A record that already has such a field, with another value, is bad."""
    max_files: Annotated[int, Field(ge=1)] | None = None
    """The most files that a run takes, in the order of their names. The others wait for the next run."""
    max_bytes: Annotated[int, Field(ge=1)] | None = None
    """The most bytes that the files of a run may have together. A run takes at least one file. The others wait for the
    next run."""
    wait_seconds: values.Seconds = 300.0
    """How long the sensor waits for a first file."""
    poll_seconds: Annotated[float, Field(gt=0, le=86_400)] = 5.0
    """How long the sensor pauses before it looks again."""

    @field_validator("fields", mode="wrap")
    @classmethod
    def _fields_are_named_once(cls, value: Any, handler: Callable[[Any], dict[str, str]]) -> dict[str, str]:
        fields = handler(value)
        if len(fields) < len(value):
            msg = "each path once: a key has the same meaning with double quotes and without"
            raise ValueError(msg)
        return fields

    @field_validator("envelope")
    @classmethod
    def _envelope_is_around(cls, envelope: list[str], info: ValidationInfo) -> list[str]:
        known = info.data
        if {"records_at", "fields", "schema_mode"} <= known.keys():
            is_declared = known["schema_mode"] == "declared"
            check_envelope(envelope, known["records_at"], known["fields"], is_declared=is_declared)
        return envelope


class Denormalize(Section):
    """How a nested record becomes flat rows."""

    explode: list[values.FieldPath] = []
    """The array that becomes one row per element. Without one, each record is one row. A path through an array
    (orders.items) explodes that array too; with input.schema: declared, name both (orders, orders.items). If there are
    several paths, each must lead into an array inside the one before."""
    single: bool = False
    """Whether an object or a scalar counts as an array with one element if an array is expected, as in JSON that was
    made from XML."""
    separator: str = Field("_", min_length=1, max_length=3)
    """Joins the names of nested fields."""
    columns: Columns | None = None
    """Output columns, in order: a name, or {name: SQL expression over the flat row}. null: all columns."""

    def disagreements(self) -> Iterator[str]:
        """Yield what is wrong with arrays that are not nested in each other."""
        return side_by_side(self.explode)


class Output(Section):
    """Where the flat tables are published."""

    OF_NO_USE = {"csv": ("format", "^parquet$")}

    path: values.InsidePath = "denormalized"
    """Output directory, inside data_dir."""
    format: Literal["csv", "parquet"] = "csv"
    """Format of the tables."""
    csv: CsvOutput = CsvOutput()
    lineage: bool = False
    """Whether to add the columns _source_file, _source_record and _source_item, which say where each row comes from."""


class Archive(Section):
    """Where the originals go when their rows are published."""

    path: values.InsidePath = "processed"
    """Archive directory, inside data_dir."""
    name: values.ArchiveName = "{name}_{ts}"
    """Names of the originals there, without their extensions: {name} and {ts} once each, {date} (the date of ts, as in
    2026-01-02) and any text. Sub-folders and extensions stay: a/b.json.gz becomes a/b_<ts>.json.gz."""
    compression: Literal["none", "gzip", "zstd"] = "none"
    """How originals are compressed there: a.json becomes a_<ts>.json.gz or a_<ts>.json.zst. A .gz, .zst, .parquet, zip
    or tar file stays as it is."""


class Quarantine(Section):
    """Where bad files and bad records go, and how many are too many."""

    path: values.InsidePath = "quarantine"
    """Quarantine directory, inside data_dir."""
    max_bad_records_percent: values.Percent = 10.0
    """If more than this share of a subdirectory's records is bad, its group fails before it publishes."""
    max_bad_files_percent: values.Percent = 50.0
    """If more than this share of a run's files is bad as a whole (a duplicate is not bad), the run completes and is
    then reported as failed: exit code 1, verify_run red. It does not block later runs. The same happens if no
    record is good, or if max_bad_records_percent is 0 and a file is bad."""
    raw: bool = True
    """Whether the text of a bad record is kept beside the reason."""

    def allows(self, bad: int, records: int) -> bool:
        """Say whether the bad records among all records are few enough."""
        return bad * 100 <= self.max_bad_records_percent * records


class Verify(Section):
    """What is proved in addition to the counts."""

    totals: list[values.FieldPath] = []
    """Paths of the fields whose exact sums are proved, as in items.price: whole numbers or decimals.
    A field outside the array that explodes counts once per record."""


class Spec(Section):
    """A feed. `load_spec` makes `data_dir` absolute."""

    version: Literal[1]
    """The version of this format."""
    name: values.FeedName
    """Name of the feed, and id of its DAG."""
    data_dir: values.DataDir = "data"
    """Root of the feed, relative to the spec's folder; or a bucket, as in s3://bucket/feed, gs://bucket/feed,
    az://container/feed."""
    subdirs: values.Count = 5
    """Number of subdirectories, and of TaskGroups."""
    concurrent_tasks: values.Count = 5
    """How many tasks may run at once: Airflow's max_active_tasks."""
    input: Input = Input()
    merge: list[Merge] = []
    """References that are joined to every record, in this order."""
    denormalize: Denormalize = Denormalize()
    tables: Tables = Field({}, exclude_if=lambda tables: not tables)
    """Several tables instead of one, by name, as in {orders: {}, items: {explode: [items], keys: [order_id]}}. Each has
    a folder of its own in the output. A field is in the table whose rows it belongs to: those of the records, or of
    the elements of an array. If there is no such table, it is in the tables of the arrays inside. With tables, only
    single and separator apply in denormalize."""
    output: Output = Output()
    archive: Archive = Archive()
    quarantine: Quarantine = Quarantine()
    verify: Verify = Verify()
    store: Store = Field(Store(), exclude_if=lambda store: store == Store())
    notify: Notify = Notify()

    @property
    def flat_tables(self) -> dict[str, FlatTable]:
        """The tables by name; without `tables`, the only table has no name."""
        plain = self.denormalize
        return self.tables or {"": FlatTable(explode=plain.explode, columns=plain.columns)}

    @property
    def has_sql(self) -> bool:
        """Whether a table has columns by SQL."""
        return any(isinstance(one, dict) for table in self.flat_tables.values() for one in table.columns or ())

    @property
    def exploded(self) -> list[str]:
        """The paths of all arrays that a table explodes."""
        return [*dict.fromkeys(path for table in self.flat_tables.values() for path in table.explode)]

    def disagreements(self) -> Iterator[str]:
        """Yield folders that overlap, tables in two places, keys of several levels, references under one name."""
        taken = {folder: f"Fanfold's own folder {folder!r}" for folder in RESERVED_FOLDERS}
        for key in ("input", "output", "archive", "quarantine"):
            folder = getattr(self, key).path
            for other, owner in taken.items():
                if f"{folder}/".startswith(f"{other}/") or f"{other}/".startswith(f"{folder}/"):
                    yield f"{key}.path {folder!r} overlaps {owner}, expected separate folders"
            taken[folder] = f"{key}.path {folder!r}"
        if self.tables and (self.denormalize.explode or self.denormalize.columns):
            yield "denormalize: found explode or columns beside tables, expected them in each table"
        arrays = {way_of(path) for path in self.exploded}
        for index, merge in enumerate(self.merge):
            if len({level_of(way_of(path), arrays) for path in merge.record_keys}) > 1:
                yield (
                    f"merge.{index}.key: found parts {merge.record_keys} of several levels, expected all in the "
                    "record, or in the elements of one array"
                )
        names = Counter(["record", *(merge.into for merge in self.merge)])
        for name in sorted(name for name, times in names.items() if times > 1):
            yield f"merge: into {name!r} is used twice, expected another name for each reference"


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
    if mirrors.is_uri(spec.data_dir):
        return spec
    return spec.model_copy(update={"data_dir": str((file.resolve().parent / spec.data_dir).resolve())})


def parse_spec(text: str, source: str) -> Spec:
    """Check the text of a spec; `data_dir` stays as it is written.

    Raises:
        SpecError: all errors of the spec at once; `source` names it.
    """
    document = yaml_file.parse(text, source)
    if not isinstance(document.value, dict):
        found = "nothing" if document.value is None else type(document.value).__name__
        msg = f"{source}:1: found {found}, expected a mapping with version, name, input, …"
        raise SpecError(msg)
    errors = None
    try:
        spec = Spec.model_validate(document.value, context="as it is written")
    except ValidationError as error:
        errors = error
    if errors or document.twice:
        raise SpecError(faults(document, errors, source, Spec))
    return spec


@functools.cache
def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the spec, for editors that check and complete YAML."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Spec.model_json_schema()}
