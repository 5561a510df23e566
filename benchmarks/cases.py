"""What is measured beside the orders as they are: cliffs, CSV in, Parquet out, a large reference, large records.

Each case compares the same rows, made by all of its contestants in the same turns. A cliff is a feed that is not alike
throughout; it is compared with the clean feed of its size.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import data
from benchmarks.cliffs import CLIFFS
from benchmarks.contestants import FIELDS, Contestant, Spec, both, peer

# Of the orders, where not all are taken: 240 MB at scale 1.
SHARE, FILES = 0.25, 20
# At scale 1.
CSV_BYTES, REFERENCE_ROWS, LARGE_TEXTS = 500_000_000, 10_000_000, 50
ONE_LINE_SHARE = 0.5
# 19 MB of rows a record; and records that are nearly as large as one may be.
TEXT_BYTES, TEXT_ORDERS = 400_000, 12
LONG_BYTES, LONG_RECORDS = 15_000_000, 5
WRAPPED_AT = "/data/orders"
LARGE_TEXT: Spec = {"input": {"fields": FIELDS | {"note": "VARCHAR"}}}


class Case(NamedTuple):
    """Contestants that make the same table: what they are given, and whose wall time is 1."""

    title: str
    contestants: list[Contestant]
    against: str


class Place(NamedTuple):
    """Where a benchmark works: the data of one scale, and the folders of its runs."""

    made: Path
    runs: Path
    scale: float
    peers: bool

    @property
    def customers(self) -> Path:
        """The reference."""
        return self.made / "customers.csv"

    def beside(self, name: str, landed: Path, reference: Path, layout: str) -> list[Contestant]:
        """Return a peer, where peers are asked for."""
        return [peer(name, self.runs, landed, reference, layout)] if self.peers else []


def megabytes(folder: Path) -> str:
    """Return the size of the files in a folder, in words."""
    return f"{sum(path.stat().st_size for path in folder.iterdir()) / 1_000_000:,.0f} MB"


def cliffs(place: Place) -> Iterator[Case]:
    """Yield the cliffs of each layout, schema inferred and declared, against the clean feed."""
    for layout, others in (("arrays", ("wrapped", "arrays_in_a_row")), ("ndjson", ())):
        clean = data.files(place.made, layout, FILES, SHARE)
        folders = {"": clean}
        folders |= {cliff: data.files(place.made, layout, FILES, SHARE, cliff) for cliff in CLIFFS}
        folders |= {other: data.files(place.made, other, FILES, SHARE) for other in others}
        pairs = [_cliff(place, folder, cliff) for cliff, folder in folders.items()]
        words = f"{FILES} files of {layout}, {megabytes(clean)}"
        for mode, contestants in zip(("inferred", "declared"), zip(*pairs, strict=True), strict=True):
            yield Case(f"cliffs: {words}, schema {mode}", list(contestants), contestants[0].name)


def _cliff(place: Place, landed: Path, cliff: str) -> list[Contestant]:
    settings: Spec = {"fields": FIELDS | {"number": "DECIMAL(38,0)"}} if cliff == "long_numbers" else {}
    settings |= {"records_at": WRAPPED_AT} if cliff == "wrapped" else {}
    return both(place.runs, landed, place.customers, {"input": settings}, cliff)


def csv_input(place: Place) -> Iterator[Case]:
    """Yield CSV to CSV, without a join, against DuckDB's COPY of it with all columns as texts."""
    data.flat(place.made)
    landed = data.csv_files(place.made, 10 * FILES, round(CSV_BYTES * place.scale))
    names = next(landed.iterdir()).read_text(encoding="utf-8").split("\n", 1)[0].split(",")
    texts: Spec = {"input": {"fields": dict.fromkeys(names, "VARCHAR")}}
    contestants = both(place.runs, landed, None, texts)
    contestants += place.beside("duckdb_csv", landed, place.customers, "csv")
    yield Case(f"CSV: {10 * FILES} files, {megabytes(landed)}, no join", contestants, "duckdb_csv")


def parquet_output(place: Place) -> Iterator[Case]:
    """Yield orders to Parquet, against DuckDB's tuned query to Parquet."""
    landed = data.files(place.made, "arrays", FILES, SHARE)
    contestants = both(place.runs, landed, place.customers, {"output": {"format": "parquet"}})
    contestants += place.beside("duckdb_parquet", landed, place.customers, "arrays")
    yield Case(f"Parquet output: {FILES} files of arrays, {megabytes(landed)}", contestants, "duckdb_parquet")


def large_reference(place: Place) -> Iterator[Case]:
    """Yield orders that are joined with 10 million customers, against DuckDB's tuned query."""
    rows = round(REFERENCE_ROWS * place.scale)
    landed, customers = data.files(place.made, "arrays", FILES, SHARE), data.many_customers(place.made, rows)
    contestants = both(place.runs, landed, customers / "customers.csv", {})
    contestants += place.beside("duckdb_tuned", landed, customers / "customers.csv", "arrays")
    words = f"{FILES} files of arrays, {megabytes(landed)}, {rows:,} customers of {megabytes(customers)}"
    yield Case(f"large reference: {words}", contestants, "duckdb_tuned")


def large_records(place: Place) -> Iterator[Case]:
    """Yield what strains memory: items beside large texts, a few large records, all on one line."""
    records = max(2, round(LARGE_TEXTS * place.scale))
    texts = data.texts(place.made, records, TEXT_BYTES, TEXT_ORDERS)
    longest = data.texts(place.made, LONG_RECORDS, LONG_BYTES, 1)
    line = data.files(place.made, "arrays", 1, ONE_LINE_SHARE)
    for words, landed, layout in (
        (f"large texts: {records} records, a text of {TEXT_BYTES:,} bytes beside the items", texts, "texts"),
        (f"large records: {LONG_RECORDS} records, a text of {LONG_BYTES:,} bytes in each", longest, "texts"),
        ("one line: one array in one file", line, "arrays"),
    ):
        contestants = both(place.runs, landed, place.customers, LARGE_TEXT if layout == "texts" else {})
        contestants += place.beside("duckdb_tuned", landed, place.customers, layout)
        yield Case(f"{words}, {megabytes(landed)}", contestants, "duckdb_tuned")


CASES = {
    "cliffs": cliffs,
    "csv": csv_input,
    "parquet": parquet_output,
    "reference": large_reference,
    "records": large_records,
}
