"""Those who make the same table: Fanfold with some spec, and its peers. Each run is a process in an empty folder."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, NamedTuple

import duckdb
from rich.table import Table

from benchmarks.measure import Cost, Spread, run, spread

HERE = Path(__file__).parent
# What each has to write, rows and sums: dlt makes two tables of it and joins nothing.
SUMS = ("quantity", "price", "balance")
SHOWN_LINES = 4
# Nothing is guessed, and a line may be as large as a record.
AS_WRITTEN = """all_varchar = true, header = true, delim = ',', quote = '"', escape = '"', max_line_size = 67108864"""
# What a peer writes between input and output.
BETWEEN = {"dlt_load": "pipelines/**/*"}
RESULTS = {"duckdb_parquet": "*.parquet"}
FIELDS = {
    "order_id": "BIGINT", "customer_id": "BIGINT", "status": "VARCHAR", "total_price": "DECIMAL(18,2)",
    "order_date": "VARCHAR", "priority": "VARCHAR", "clerk": "VARCHAR", "items.line": "BIGINT",
    "items.part_id": "BIGINT", "items.quantity": "BIGINT", "items.price": "DECIMAL(18,2)",
    "items.discount": "DECIMAL(18,2)", "items.tax": "DECIMAL(18,2)", "items.flag": "VARCHAR",
    "items.ship_date": "VARCHAR",
}  # fmt: skip
ORDERS = {
    "merge": [{"reference": "customers.csv", "key": "customer_id", "into": "customer"}],
    "denormalize": {"explode": ["items"]},
}
Spec = dict[str, Any]


class Way(NamedTuple):
    """How a contestant is started: what makes its folder ready, which is not timed, and the command, which is.

    Attributes:
        prepare: is given the empty folder.
        command: what is timed.
        results: the pattern of the tables that it writes in its folder.
        between: the pattern of what it writes there between input and output.
    """

    prepare: Callable[[Path], None]
    command: list[str | Path]
    results: str
    between: str | None = None


class Contestant:
    """Something that makes the flat table."""

    def __init__(self, name: str, place: Path, way: Way) -> None:
        """Note how it is started.

        Args:
            name: in the tables.
            place: the folder that is made for each run.
            way: how it is started there.
        """
        self.name, self._place, self._way = name, place, way
        self._between = (place, way.between) if way.between else None
        self.costs: list[Cost] = []
        self.failure = ""

    def run(self) -> None:
        """Do one run in an empty folder; where it fails, `failure` is what it said last."""
        self.clear()
        self._place.mkdir(parents=True)
        self._way.prepare(self._place)
        log = self._place.with_suffix(".log")
        try:
            self.costs.append(run(self._way.command, log=log, between=self._between))
        except CalledProcessError as error:
            said = [line for line in log.read_text(encoding="utf-8", errors="replace").split("\n") if line.strip()]
            self.failure = "\n".join([str(error), *said[-SHOWN_LINES:]])

    def clear(self) -> None:
        """Remove what the last run has written."""
        shutil.rmtree(self._place, ignore_errors=True)

    def result(self) -> tuple[str, ...] | None:
        """Return the number of rows and the exact sums of what the last run has written; None where it is no table."""
        tables = sorted(path for path in self._place.glob(self._way.results) if path.suffix in {".csv", ".parquet"})
        if not tables:
            return None
        listed = ", ".join(f"'{table}'" for table in tables)
        is_parquet = tables[0].suffix == ".parquet"
        rows = f"read_parquet([{listed}])" if is_parquet else f"read_csv([{listed}], {AS_WRITTEN})"
        with duckdb.connect() as connection:
            columns = connection.sql(f"SELECT * FROM {rows} LIMIT 0").columns
            named = {name.removeprefix("items_").removeprefix("customer_"): name for name in columns}
            sums = ", ".join(f'sum("{named[name]}"::DECIMAL(18,2))::VARCHAR' for name in SUMS if name in named)
            return connection.execute(f"SELECT count(*)::VARCHAR, {sums} FROM {rows}").fetchone()

    def spreads(self) -> tuple[Spread, Spread, Spread, Spread]:
        """Return wall seconds, CPU seconds, peak bytes, and bytes between input and output."""
        return tuple(spread(values) for values in zip(*self.costs, strict=True))  # type: ignore[return-value]


def fanfold(name: str, runs: Path, landed: Path, reference: Path | None, spec: Spec) -> Contestant:
    """Return Fanfold with a spec; each run gets the files as hard links.

    Args:
        name: in the tables, and of its folder.
        runs: where that folder is.
        landed: the folder with the input.
        reference: `customers.csv`; None where nothing is joined.
        spec: what differs from a feed of orders, section by section.
    """
    spec_path, place = runs / f"{name}.yaml", runs / name
    own: Spec = {"version": 1, "name": "orders", "data_dir": str(place), "concurrent_tasks": 2}
    # JSON is YAML.
    spec_path.write_text(json.dumps(own | (ORDERS if reference else {}) | spec), encoding="utf-8")

    def prepare(place: Path) -> None:
        shutil.copytree(landed, place / "transactions", copy_function=os.link)
        if reference:
            os.link(reference, place / "customers.csv")

    command: list[str | Path] = [sys.executable, "-m", "fanfold", "run", spec_path]
    return Contestant(name, place, Way(prepare, command, "denormalized/*/*", "staging/*/.fanfold/*/merged.*"))


def both(runs: Path, landed: Path, reference: Path | None, spec: Spec, case: str = "") -> list[Contestant]:
    """Return Fanfold with the schema inferred, and with it declared: `fanfold_infer`, `fanfold_declared`.

    Args:
        runs: where their folders are.
        landed: the folder with the input.
        reference: `customers.csv`; None where nothing is joined.
        spec: as for `fanfold`; the fields that it declares, or else those of the orders, are for the second one alone.
        case: what their names end in.
    """
    given = spec.get("input", {})
    common = {"settle_seconds": 0} | {key: value for key, value in given.items() if key != "fields"}
    declared = common | {"schema": "declared", "fields": given.get("fields", FIELDS)}
    end = f"_{case}" if case else ""
    return [
        fanfold(f"fanfold_{mode}{end}", runs, landed, reference, spec | {"input": settings})
        for mode, settings in (("infer", common), ("declared", declared))
    ]


def peer(name: str, runs: Path, landed: Path, reference: Path, layout: str) -> Contestant:
    """Return a peer, in the environment of the peers."""
    place, python = runs / name, HERE / ".venv/bin/python"
    command: list[str | Path] = [python, HERE / f"peers/{name}.py", landed, reference, layout, place]
    return Contestant(name, place, Way(lambda _: None, command, RESULTS.get(name, "**/*.csv"), BETWEEN.get(name)))


def table(contestants: Sequence[Contestant], against: str) -> Table:
    """Return medians, with least and most, and ratios to the wall time of the one that is named, or of the first.

    Who has failed in each turn is not in it.
    """
    measured = [one for one in contestants if one.costs]
    base = next((one for one in measured if one.name == against), measured[0]).spreads()[0].median if measured else 0
    shown = Table("", "wall s", "ratio", "CPU s", "peak MB", "between MB", box=None)
    for one in measured:
        wall, cpu, peak, between = one.spreads()
        seconds = f"{wall.median:.2f} ({wall.least:.2f}-{wall.most:.2f})"
        shown.add_row(
            one.name,
            seconds,
            f"{wall.median / base:.2f}",
            f"{cpu.median:.2f}",
            f"{peak.median / 1_000_000:.0f}",
            f"{between.median / 1_000_000:.0f}",
        )
    return shown
