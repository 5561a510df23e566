"""Merge: every record joined with its references. Nesting is kept."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from fanfold.engine.fit import decimal_size
from fanfold.engine.schema import DOUBLE_DIGITS, RECORD
from fanfold.engine.session import CHUNK_ROWS, chunk_bytes, connect, identifier, json_buffer_bytes, pattern, text
from fanfold.engine.source import DATA_FAULTS, ORIGIN, Clean, record_type, relations
from fanfold.errors import DataError
from fanfold.layout import Run
from fanfold.manifest import Node, RunSchema
from fanfold.records.canonical import RECORD_NUMBER, key_of, keys_of
from fanfold.spec import Spec

# Of merged records: few enough for a task's memory, of which a group takes a multiple, enough for Parquet's encodings.
ROW_GROUP_ROWS, ROW_GROUP_VALUES, ROW_GROUP_BYTES = 20_480, 2_000_000, 16 * 1024 * 1024
FEWEST_ROWS = 16
# A frozen reference of more bytes may not fit into the memory of a task, beside everything else.
LARGE_REFERENCE_BYTES = 8 * 1024 * 1024
NUMBER = r"[-+]?[0-9]+(\.[0-9]+)?"
DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
MOMENT = DAY + "[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?"
FORMS = {
    "BIGINT": "[-+]?[0-9]+",
    "BOOLEAN": "true|false",
    "TIMESTAMP": MOMENT,
    "TIMESTAMPTZ": MOMENT + "(Z|[-+][0-9]{2}:?[0-9]{2})",
}


def misfits(run: Run, files: Mapping[str, Path], schema: RunSchema) -> set[str]:
    """Return the names of the files that have a value which its declared type may not hold: they need care.

    So does a file that DuckDB refuses.
    """
    predicate = _misfit(identifier(RECORD), Node("", "object", fields=schema.record))
    if predicate is None or not files:
        return set()
    try:
        with _connect(run, len(files), columns=len(schema.flat)) as connection:
            paths = {str(path): name for name, path in files.items()}
            found: set[str] = set()
            for relation in relations(files.values(), schema.record, run.feed.spec):
                rows = connection.execute(
                    f"SELECT DISTINCT {identifier(ORIGIN)} FROM ({relation}) WHERE {predicate}"
                ).fetchall()
                found |= {paths[path] for (path,) in rows}
            return found
    except DATA_FAULTS:
        if len(files) == 1:
            return set(files)
        names = list(files)
        halves = (names[: len(names) // 2], names[len(names) // 2 :])
        return set().union(*(misfits(run, {name: files[name] for name in half}, schema) for half in halves))


def _keep_digits(connection: duckdb.DuckDBPyConnection, values: str, node: Node) -> bool:
    """Look at the values `e` that a query gives, objects or not, and then into the arrays in them."""
    plain: list[str] = []
    arrays: list[tuple[str, Node]] = []
    _sort_out("e", node, plain, arrays)
    if plain and connection.execute(f"SELECT 1 FROM ({values}) WHERE {' OR '.join(plain)} LIMIT 1").fetchone():
        return False
    return all(_keep_digits(connection, f"SELECT unnest({value}) AS e FROM ({values})", of) for value, of in arrays)


def _sort_out(value: str, node: Node, plain: list[str], arrays: list[tuple[str, Node]]) -> None:
    if node.kind == "object":
        for field in node.fields:
            _sort_out(field_of(value, [key_of(field)]), field, plain, arrays)
    elif node.kind == "list" and node.element and _misfit(value, node):
        arrays.append((value, node.element))
    elif node.kind == "value" and (misfit := _misfit(value, node)):
        plain.append(misfit)


class InexactError(Exception):
    """A value is not held as it is by the type that is declared for it."""


class Sources(NamedTuple):
    """What is read for a group.

    Attributes:
        files: what the fast path reads, by name.
        record_bytes: how large a record is, on average; those of some group may be larger.
        lines: whether each record of the JSON among them that is no array is a line; DuckDB refuses two in one.
        clean: what the careful path has made.
        joined: records of further files of JSON, one a line, that come before all others.
    """

    files: Mapping[str, Path]
    record_bytes: int
    lines: bool = False
    clean: Clean | None = None
    joined: Sequence[Path] = ()


class Merged(NamedTuple):
    """Records, those of them that some reference has no match for, and the keys that `on_missing: quarantine` lacks.

    The keys are given by the index of their reference, where it lacks some.
    """

    records: int
    unmatched: int
    lacking: dict[int, set[str | None]]


def merge(run: Run, n: int, sources: Sources, schema: RunSchema, target: Path, *, checked: bool = False) -> Merged:
    """Write the records of files as Parquet: a struct `record`, and one for each reference.

    In the order of the files: those of JSON, of CSV, of Parquet, then those of the careful path. The struct of a
    reference is null where a record has no match. Keys compare as text.

    Args:
        run: the run.
        n: number of the subdirectory.
        sources: what is read.
        schema: of the run.
        target: where to write.
        checked: whether to look, in what was read as the types that are declared, for values that these do not hold.

    Returns:
        What was written.

    Raises:
        InexactError: with `checked`, there is such a value.
        duckdb.Error: DuckDB cannot read a file.
        DataError: a record has no match in a reference with `on_missing: fail`.
    """
    files = sources.files
    spec = run.feed.spec
    found = relations(
        files.values(), schema.record, spec, lines=sources.lines, clean=sources.clean, joined=sources.joined
    ) or [_nothing(schema)]
    lineage = ""
    if spec.output.lineage:
        lineage = (
            f", coalesce(starts.file, {identifier(ORIGIN)}) AS source_file"
            f", coalesce({identifier(RECORD_NUMBER)}, ordinal - starts.start) AS source_record"
        )
    joins, selected = "", f"{identifier(RECORD)}{lineage}"
    for index, reference in enumerate(spec.merge):
        key = _key(reference.record_key, schema)
        frozen = f"read_parquet({text(pattern(run.reference_path(index)))}, hive_partitioning = false)"
        joins += f" LEFT JOIN {frozen} AS reference_{index} ON reference_{index}.key = {key}"
        selected += f", reference_{index}.row AS {reference_name(index)}"
    records = " UNION ALL ".join(found)
    # A join that does not fit into memory loses the order of its rows.
    ordered = " ORDER BY ordinal" if _spills(run) else ""
    if lineage or ordered:
        records = f"SELECT *, row_number() OVER () AS ordinal FROM ({records})"
    if lineage:
        joins = f" LEFT JOIN starts ON starts.path = {identifier(ORIGIN)}" + joins
    # Few rows at a time, and little space for each dictionary, where there are many columns.
    rows = max(CHUNK_ROWS, min(ROW_GROUP_ROWS, ROW_GROUP_VALUES // max(1, len(schema.flat))))
    rows = max(FEWEST_ROWS, min(rows, ROW_GROUP_BYTES // max(1, sources.record_bytes)))
    read = len(files) + len(sources.joined)
    with _connect(run, read, n, len(schema.flat), sources.clean, sources.record_bytes) as connection:
        if lineage:
            _number_records(connection, files, schema, spec)
        connection.execute(
            f"""
            COPY (SELECT {selected} FROM ({records}) {joins}{ordered})
            TO {text(str(target))} (FORMAT parquet, ROW_GROUP_SIZE {rows},
                STRING_DICTIONARY_PAGE_SIZE_LIMIT {16 * rows}, USE_TMP_FILE false)
            """
        )
        if checked:
            merged = f"SELECT {identifier(RECORD)} AS e FROM {_merged(target)}"
            if not _keep_digits(connection, merged, Node("", "object", fields=schema.record)):
                raise InexactError
        return _count(connection, target, schema, spec)


def _count(connection: duckdb.DuckDBPyConnection, merged: Path, schema: RunSchema, spec: Spec) -> Merged:
    missing = [f"{reference_name(index)} IS NULL" for index in range(len(spec.merge))]
    lacking: dict[int, set[str | None]] = {}
    counted = connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE {' OR '.join(missing) or 'false'}) FROM {_merged(merged)}"
    ).fetchone()
    records, unmatched = counted or (0, 0)
    for index, reference in enumerate(spec.merge):
        if reference.on_missing == "keep" or not unmatched:
            continue
        query = f"SELECT DISTINCT {_key(reference.record_key, schema)} FROM {_merged(merged)} WHERE {missing[index]}"
        if reference.on_missing == "fail":
            if first := connection.execute(f"{query} LIMIT 1").fetchone():
                msg = f"{reference.record_key} {first[0]!r} is not in {reference.reference!r}, expected a match"
                raise DataError(msg)
        elif keys := {key for (key,) in connection.execute(query).fetchall()}:
            lacking[index] = keys
    return Merged(int(records), int(unmatched), lacking)


def files_with(run: Run, n: int, files: Mapping[str, Path], schema: RunSchema, index: int) -> set[str]:
    """Return the names of the files that have a record without a match in the reference `spec.merge[index]`."""
    paths = {str(path): name for name, path in files.items()}
    key = _key(run.feed.spec.merge[index].record_key, schema)
    frozen = f"read_parquet({text(pattern(run.reference_path(index)))}, hive_partitioning = false)"
    found: set[str] = set()
    with _connect(run, len(files), n, len(schema.flat)) as connection:
        for relation in relations(files.values(), schema.record, run.feed.spec):
            rows = connection.execute(
                f"""
                SELECT DISTINCT {identifier(ORIGIN)}
                FROM ({relation}) LEFT JOIN {frozen} AS frozen ON frozen.key = {key} WHERE frozen.key IS NULL
                """
            ).fetchall()
            found |= {paths[path] for (path,) in rows}
    return found


def reference_name(index: int) -> str:
    """Return the column that holds the match of `spec.merge[index]`."""
    return f"merged_{index}"


def field_of(struct: str, keys: list[str]) -> str:
    """Return the SQL for a field inside of a struct, which its keys lead to."""
    for key in keys:
        struct = f"struct_extract({struct}, {text(key)})"
    return struct


def _connect(
    run: Run, files: int, n: int = 0, columns: int = 0, clean: Clean | None = None, record_bytes: int = 0
) -> contextlib.AbstractContextManager[duckdb.DuckDBPyConnection]:
    cap = run.feed.spec.input.max_record_bytes
    buffers = chunk_bytes(record_bytes) + (json_buffer_bytes(files, cap) if files else 0)
    buffers += json_buffer_bytes(1, clean.line_bytes) if clean else 0
    return connect(run.feed.data_dir, run.spill_dir(n), buffers=buffers, columns=columns)


def _merged(path: Path) -> str:
    return f"read_parquet({text(pattern(path))}, hive_partitioning = false)"


def _key(path: str, schema: RunSchema) -> str:
    names, nodes = path.split("."), schema.record
    for name in names:
        node = next((node for node in nodes if node.name == name), None)
        if node is None:
            return "NULL::VARCHAR"
        nodes = node.fields
    return f"{field_of(identifier(RECORD), keys_of(schema.record, names))}::VARCHAR"


def _nothing(schema: RunSchema) -> str:
    kind = record_type(schema.record, rescue=schema.rescued)
    return (
        f"SELECT NULL::{kind} AS record, '' AS {identifier(ORIGIN)}, NULL::BIGINT AS {identifier(RECORD_NUMBER)} "
        "WHERE false"
    )


def _spills(run: Run) -> bool:
    references = (run.reference_path(index) for index in range(len(run.feed.spec.merge)))
    return any(path.stat().st_size > LARGE_REFERENCE_BYTES for path in references)


def _number_records(
    connection: duckdb.DuckDBPyConnection, files: Mapping[str, Path], schema: RunSchema, spec: Spec
) -> None:
    """Make the table `starts`: how many records come before those of each file."""
    connection.execute("CREATE TEMP TABLE starts (path VARCHAR, file VARCHAR, start BIGINT)")
    before = 0
    for relation in relations(files.values(), schema.record, spec):
        rows = connection.execute(f"SELECT {identifier(ORIGIN)}, count(*) FROM ({relation}) GROUP BY 1").fetchall()
        counts = dict(rows)
        for name, path in files.items():
            if count := counts.get(str(path)):
                connection.execute("INSERT INTO starts VALUES (?, ?, ?)", [str(path), name, before])
                before += count


def _misfit(value: str, node: Node) -> str | None:
    """Return the SQL that finds a value that its declared type may not hold; None where nothing is declared."""
    if node.kind == "object":
        inner = [_misfit(field_of(value, [key_of(field)]), field) for field in node.fields]
        found = [predicate for predicate in inner if predicate]
        return f"({' OR '.join(found)})" if found else None
    if node.kind == "list":
        variable = f"e{value.count('lambda')}"
        inner_predicate = _misfit(variable, node.element) if node.element else None
        if inner_predicate is None:
            return None
        return f"list_bool_or(list_transform({value}, lambda {variable}: coalesce({inner_predicate}, false)))"
    fits = _fits(value, node.type, node.read_type) if node.declared else None
    return f"({value} IS NOT NULL AND NOT coalesce({fits}, false))" if fits else None


def _fits(value: str, kind: str, read_type: str) -> str | None:
    """Return the SQL that says whether a text, or a double, surely is of a type; None where each is."""
    if kind.startswith("DECIMAL"):
        precision, scale = decimal_size(kind)
        if read_type == "DOUBLE":
            most = 10.0 ** (min(precision, DOUBLE_DIGITS) - scale)
            # The quotient is the double of the decimal, if any is.
            rounded = f"round({value} * 1e{scale}) / 1e{scale}"
            return f"abs({value}) < {most!r}::DOUBLE AND {rounded} = {value}"
        number = f"[-+]?[0-9]{{1,{max(1, precision - scale)}}}([.][0-9]{{0,{scale}}})?"
        return f"regexp_full_match({value}, '{number}') AND try_cast({value} AS {kind}) IS NOT NULL"
    if kind == "DOUBLE":
        # So few digits survive.
        as_text = f"regexp_full_match({value}, '{NUMBER}') AND length({value}) <= 16"
        return f"isfinite({value})" if read_type == kind else as_text
    if kind == "DATE":
        return f"length({value}) = 10 AND try_cast({value} AS DATE)::VARCHAR = {value}"
    if kind in FORMS and read_type != kind:
        return f"regexp_full_match({value}, '{FORMS[kind]}') AND try_cast({value} AS {kind}) IS NOT NULL"
    return None


def faulty(run: Run, files: Mapping[str, Path], schema: RunSchema) -> Iterator[str]:
    """Yield the names of the files that DuckDB cannot read, each tried alone."""
    for name, path in files.items():
        try:
            with _connect(run, 1, columns=len(schema.flat)) as connection:
                for relation in relations([path], schema.record, run.feed.spec):
                    connection.execute(f"SELECT count(record), max(hash(record)) FROM ({relation})")
        except DATA_FAULTS:
            yield name
