"""A full scan of files: how many records, with which fields, and which files have to be read with care.

A file takes the careful path where DuckDB refuses it, or would read it wrongly without a word: that is what
structures.py and tables.py look for; keys that stand twice, and damaged content, are found here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fanfold.engine.fields import Contents, Field, crowded, union
from fanfold.engine.session import CHUNK_BYTES, connect, identifier, json_buffer_bytes, pattern, text
from fanfold.engine.shape import confirm, prove
from fanfold.engine.source import DATA_FAULTS, ORIGIN, careful_records
from fanfold.engine.strict import FRACTION, WHOLE, is_hidden, most_digits, numbers, strict_type
from fanfold.engine.structures import Structures, refused
from fanfold.engine.tables import csv_tables, parquet_table
from fanfold.layout import Place, input_format
from fanfold.manifest import BadFile
from fanfold.records.batches import WINDOW_BYTES
from fanfold.records.canonical import encode
from fanfold.records.faults import Fault, UnreadableError
from fanfold.records.limits import MAX_FIELDS, TOO_MANY_FIELDS, too_many_fields
from fanfold.records.read import json_layout
from fanfold.records.window import check_content
from fanfold.spec import Spec

# After so many records of a file its fields are counted.
COUNTED_RECORDS = 256
LAYOUTS = ("array", "unstructured")


@dataclass
class FileScan:
    """What one file holds.

    Attributes:
        records: their number, good and bad.
        fields: the tree of their fields.
        careful: whether the file takes the careful path.
        bad: the number of records that cannot be read.
        fault: the first of their faults; with no record that can be read, why the whole file is bad.
        proved: whether each of its records was decoded.
        sha256: of its bytes, where they were read at once.
    """

    records: int
    fields: Field
    careful: bool = False
    bad: int = 0
    fault: BadFile | None = None
    proved: bool = False
    sha256: str | None = None

    @property
    def unreadable(self) -> bool:
        """Whether no record of the file can be read, though it is not empty of them."""
        return self.fault is not None and self.bad == self.records


def scan(
    data_dir: Path, files: Mapping[str, Place], spec: Spec, threads: int = 1, *, measure_all: bool = False
) -> dict[str, FileScan]:
    """Read files from end to end: how many records, with which fields.

    Args:
        data_dir: nothing outside of it is read.
        files: where each lies, by its name.
        spec: gives the largest record, and where records are.
        threads: the answer does not depend on it.
        measure_all: count the digits of all numbers, not only where one of them has decimals.

    Returns:
        What was found, by name, in the order of `files`. A file that cannot be read is an answer, no error.

    Raises:
        duckdb.Error: DuckDB failed in another way than by the files (memory, disk).
    """
    if not files:
        return {}
    scanner = _Scanner(data_dir, files, spec, threads)
    scanner.look()
    scanner.limit()
    scanner.measure(measure_all=measure_all)
    return {name: scanner.found[name] for name in files}


class _Scanner:
    def __init__(self, data_dir: Path, files: Mapping[str, Place], spec: Spec, threads: int) -> None:
        self._data_dir, self._files, self._spec, self._threads = data_dir, files, spec, threads
        self._layouts: dict[str, str] = {}
        # Whatever is inside of a field that is declared to be JSON is one value.
        self._whole = {path for path, declared in spec.input.fields.items() if declared == "JSON"}
        self._limited = spec.input.schema_mode == "infer"
        self._proved: set[str] = set()
        self.found: dict[str, FileScan] = {}

    def look(self) -> None:
        """Find the fields of all files."""
        plain: dict[str, list[str]] = {"json": [], "csv": [], "parquet": []}
        for name, place in self._files.items():
            kind, fault = input_format(name), self._content_fault(place)
            if fault and fault.code != "truncated":
                self._exclude(name, fault)
            elif fault or (kind == "json" and self._spec.input.records_at):
                self._look_with_care(name)
            else:
                plain[kind].append(name)
        self._prove(plain["json"])
        for layout in LAYOUTS:
            left = [name for name in plain["json"] if name not in self._proved]
            self._look_at_json([name for name in left if self._layout(name) == layout], layout)
        self._look_at_csv(plain["csv"])
        for name in plain["parquet"]:
            self._look_at_parquet(name)

    def limit(self) -> None:
        """Set aside the files with which the run would have too many fields: of all files those with the most."""
        if not self._limited:
            return
        trees = {name: scanned.fields for name, scanned in self.found.items()}
        for name, most in crowded(trees, self._whole).items():
            self._exclude(name, UnreadableError(TOO_MANY_FIELDS, f"{too_many_fields(most)} in a run"))

    def _exclude(self, name: str, fault: UnreadableError) -> None:
        self.found[name] = FileScan(0, Field(name), careful=True, fault=BadFile(name, fault.code, str(fault)))

    def _content_fault(self, place: Place) -> UnreadableError | None:
        try:
            check_content(*place)
        except UnreadableError as error:
            return error
        return None

    def _path(self, name: str) -> Path:
        return Path(self._files[name].path)

    def _look_with_care(self, name: str) -> None:
        scanned = FileScan(0, Field(name, {"object"}), careful=True)
        try:
            for number, found in enumerate(careful_records(self._data_dir, self._path(name), self._spec), start=1):
                scanned.records = number
                if found.fault:
                    scanned.bad += 1
                    scanned.fault = scanned.fault or file_fault(name, found.place, found.fault)
                else:
                    scanned.fields.observe(found.value)
                if self._limited and number % COUNTED_RECORDS == 0:
                    self._check_fields(scanned.fields)
        except UnreadableError as error:
            self._exclude(name, error)
        else:
            self.found[name] = scanned

    def _check_fields(self, fields: Field) -> None:
        if (found := fields.size(self._whole)) > MAX_FIELDS:
            # Keys that never come again would fill the memory.
            raise UnreadableError(TOO_MANY_FIELDS, too_many_fields(f"{found} or more"))

    # --- JSON

    def _prove(self, names: list[str]) -> None:
        """Look at the files whose records are all of one shape."""
        if not names or not self._is_provable:
            return
        files = {name: self._files[name] for name in names}
        for name, proved in prove(files, inferred=self._limited, processes=self._threads).items():
            self.found[name] = FileScan(proved.records, proved.fields, proved=True, sha256=proved.sha256)
            self._proved.add(name)

    @property
    def _is_provable(self) -> bool:
        return self._spec.input.max_record_bytes >= WINDOW_BYTES and not self._whole

    def _layout(self, name: str) -> str:
        if name not in self._layouts:
            self._layouts[name] = json_layout(self._path(name))
        return self._layouts[name]

    def _look_at_json(self, names: list[str], layout: str) -> None:
        """Look at files of one layout; a file that is crowded has records that may have too many fields alone."""
        structures = Structures(self._data_dir, layout, self._spec.input.max_record_bytes, self._threads)
        for name, contents in structures.contents({name: self._path(name) for name in names}).items():
            is_crowded = contents and self._limited and contents.fields.size(self._whole) > MAX_FIELDS
            self._note(name, None if is_crowded else contents)

    # --- CSV and Parquet

    def _look_at_csv(self, names: list[str]) -> None:
        paths = {name: self._path(name) for name in names}
        for name, table in csv_tables(self._data_dir, paths, self._spec.input.max_record_bytes).items():
            self._note(name, table)

    def _look_at_parquet(self, name: str) -> None:
        try:
            self._note(name, parquet_table(self._data_dir, name, self._path(name)))
        except UnreadableError as error:
            self._exclude(name, error)

    def _note(self, name: str, contents: Contents | None) -> None:
        if contents is None:
            self._look_with_care(name)
        else:
            self.found[name] = FileScan(contents.records, contents.fields)

    # --- digits, and keys that stand twice

    def measure(self, *, measure_all: bool) -> None:
        """Count the digits of numbers of JSON, and find objects that have one key twice, by a strict typed reading."""
        self._confirm()
        while True:
            whole = union([scanned.fields for scanned in self.found.values()])
            names = [name for name, one in self.found.items() if not one.careful and input_format(name) == "json"]
            trees = {id(self.found[name].fields): self.found[name].fields for name in names}
            hidden = {key for key, fields in trees.items() if is_hidden(fields, whole)}
            measured = {key for key, fields in trees.items() if not measure_all and _is_measured(fields, whole)}
            mixed = [name for name in names if id(self.found[name].fields) in hidden]
            for name in mixed:
                self._look_with_care(name)
            # Of digits, nothing but an inferred schema is made.
            known = {name for name in self._proved if not self._limited or id(self.found[name].fields) in measured}
            names = [name for name in names if name not in known and name not in mixed]
            parts = [[name for name in names if self._layout(name) == layout] for layout in LAYOUTS]
            if all(self._measure(part, whole, measure_all=measure_all) for part in parts if part):
                return

    def _confirm(self) -> None:
        """Prove of larger files that their records are as the scan has found them: it measures them much faster."""
        scanned = {name: one for name, one in self.found.items() if not one.careful and input_format(name) == "json"}
        files = {name: self._files[name] for name in scanned.keys() - self._proved}
        if not files or not self._is_provable:
            return
        for name, proved in confirm(files, {name: scanned[name].fields for name in files}, self._threads).items():
            if proved.records == scanned[name].records:
                scanned[name].fields, scanned[name].proved = proved.fields, True
                self._proved.add(name)

    def _measure(self, names: list[str], whole: Field, *, measure_all: bool) -> bool:
        """Measure files in one query; False where one was refused, and now takes the careful path."""
        paths = {self._files[name].path: name for name in names}
        wanted = list(numbers(whole, [], measure_all=measure_all))
        cap = self._spec.input.max_record_bytes
        columns = ", ".join(f"{text(encode(key))}: {text(strict_type(field))}" for key, field in whole.fields.items())
        if not columns:
            return True
        # All fields are asked for: what is not asked for is not checked.
        asked = [f"count({identifier(encode(key))})" for key in whole.fields]
        for _, steps in wanted:
            asked += [f"max({most_digits(steps, counted)})" for counted in (WHOLE, FRACTION)]
        listed = ", ".join(text(pattern(self._path(name))) for name in names)
        buffers, layout = json_buffer_bytes(len(names), cap) + CHUNK_BYTES, self._layout(names[0])
        try:
            size, threads = whole.size(()), self._threads
            with connect(self._data_dir, threads=threads, buffers=buffers, columns=size) as connection:
                rows = connection.execute(
                    f"""
                    SELECT {identifier(ORIGIN)}, {", ".join(asked)}
                    FROM read_json([{listed}], columns = {{{columns}}}, records = true,
                                   format = '{layout}', hive_partitioning = false, filename = {text(ORIGIN)},
                                   maximum_object_size = {cap}) GROUP BY 1
                    """
                ).fetchall()
        except DATA_FAULTS as error:
            for name in refused(error, {name: self._path(name) for name in names}) or names:
                self._look_with_care(name)
            return False
        for path, *answers in rows:
            counts = answers[len(whole.fields) :]
            for (way, _), digits_before, digits_after in zip(wanted, counts[::2], counts[1::2], strict=True):
                field = self.found[paths[path]].fields.find(way)
                if field is not None and digits_before is not None:
                    field = field.through_arrays() if field.element else field
                    field.whole, field.fraction = max(field.whole, digits_before), max(field.fraction, digits_after)
        return True


def file_fault(name: str, place: tuple[int, int], fault: Fault) -> BadFile:
    """Describe a file by the fault of one of its records."""
    line, offset = place
    return BadFile(name, fault.code, fault.message, line, offset + fault.position, fault.pointer)


def _is_measured(fields: Field, whole: Field) -> bool:
    """Say whether a file that is proved has been measured wherever its numbers are beside decimals."""
    ways = (fields.find(way) for way, _ in numbers(whole, [], measure_all=False))
    kinds = (field.through_arrays().kinds for field in ways if field)
    return all("DECIMAL" in found or not found for found in kinds)
