"""`make bench`: Fanfold beside its peers, on the same data and cores, every run a fresh process, in turn.

All outputs are compared first: the same rows, the same exact sums. Printed are medians with least and most, and the
ratio of each to the tuned DuckDB query, or to what `--against` names.
"""

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from benchmarks import data
from benchmarks.measure import Cost, Spread, run, spread

HERE = Path(__file__).parent
PEERS = ("duckdb_tuned", "duckdb_auto", "polars_once", "pandas_by_hand")
# What is done at least: no peers, but limits that DuckDB has on these cores.
LIMITS = ("limit_parse", "limit_csv")
# What a peer writes between input and output.
BETWEEN = {"dlt_load": "pipelines/**/*"}
# At scale 1, and at least.
SLOW_SECONDS, LEAST_SLOW_SECONDS = 60, 5
ALL_PEERS = (*PEERS, "pyspark_local", "dlt_load")
# What each has to write, rows and sums: dlt makes two tables of it and joins nothing.
SUMS = ("quantity", "price", "balance")
FIELDS = {
    "order_id": "BIGINT", "customer_id": "BIGINT", "status": "VARCHAR", "total_price": "DECIMAL(18,2)",
    "order_date": "VARCHAR", "priority": "VARCHAR", "clerk": "VARCHAR", "items.line": "BIGINT",
    "items.part_id": "BIGINT", "items.quantity": "BIGINT", "items.price": "DECIMAL(18,2)",
    "items.discount": "DECIMAL(18,2)", "items.tax": "DECIMAL(18,2)", "items.flag": "VARCHAR",
    "items.ship_date": "VARCHAR",
}  # fmt: skip
INPUTS = {
    "infer": {"settle_seconds": 0},
    "declared": {"settle_seconds": 0, "schema": "declared", "fields": FIELDS},
}


class Contestant:
    """Something that makes the flat table: Fanfold with some spec, or a peer."""

    def __init__(
        self,
        name: str,
        place: Path,
        prepare: Callable[[Path], None],
        command: list[str | Path],
        between: str | None = None,
    ) -> None:
        """Note how it is started.

        Args:
            name: in the tables.
            place: the folder that is made for each run.
            prepare: is given it before, and is not timed.
            command: what is timed.
            between: the pattern of what it writes there between input and output.
        """
        self.name, self._place, self._prepare, self._command = name, place, prepare, command
        self._between = (place, between) if between else None
        self.costs: list[Cost] = []

    def run(self) -> None:
        """Do one run in an empty folder."""
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(parents=True)
        self._prepare(self._place)
        self.costs.append(run(self._command, log=self._place.with_suffix(".log"), between=self._between))

    def result(self) -> tuple[str, ...] | None:
        """Return the number of rows and the exact sums of what the last run has written; None where that is no CSV."""
        tables = [path for path in self._place.rglob("*.csv") if not path.name.endswith("customers.csv")]
        if not tables:
            return None
        with duckdb.connect() as connection:
            listed = ", ".join(f"'{table}'" for table in tables)
            columns = connection.sql(f"SELECT * FROM read_csv([{listed}], all_varchar = true) LIMIT 0").columns
            named = {name.removeprefix("items_").removeprefix("customer_"): name for name in columns}
            sums = ", ".join(f'sum("{named[name]}"::DECIMAL(18,2))::VARCHAR' for name in SUMS)
            query = f"SELECT count(*)::VARCHAR, {sums} FROM read_csv([{listed}], all_varchar = true)"
            return connection.execute(query).fetchone()

    def spreads(self) -> tuple[Spread, Spread, Spread, Spread]:
        """Return wall seconds, CPU seconds, peak bytes, and bytes between input and output."""
        return tuple(spread(values) for values in zip(*self.costs, strict=True))  # type: ignore[return-value]


def fanfold(name: str, folder: Path, orders: Path, customers: Path, spec: dict[str, Any]) -> Contestant:
    """Return Fanfold with a spec; each run gets the files as hard links."""
    spec_path = folder / f"{name}.yaml"
    place = folder / name
    whole = {
        "version": 1, "name": "orders", "data_dir": str(place), "concurrent_tasks": 2,
        "merge": [{"reference": "customers.csv", "key": "customer_id", "into": "customer"}],
        "denormalize": {"explode": ["items"]},
    } | spec  # fmt: skip
    # JSON is YAML.
    spec_path.write_text(json.dumps(whole), encoding="utf-8")

    def prepare(place: Path) -> None:
        shutil.copytree(orders, place / "transactions", copy_function=os.link)
        shutil.copy(customers, place / "customers.csv")

    merged = "staging/*/.fanfold/*/merged.parquet"
    return Contestant(name, place, prepare, [sys.executable, "-m", "fanfold", "run", spec_path], merged)


def peer(name: str, folder: Path, orders: Path, customers: Path, layout: str) -> Contestant:
    """Return a peer, in the environment of the peers."""
    place, python = folder / name, HERE / ".venv/bin/python"
    command: list[str | Path] = [python, HERE / f"peers/{name}.py", orders, customers, layout, place]
    return Contestant(name, place, lambda _: None, command, BETWEEN.get(name))


def table(contestants: list[Contestant], against: str) -> Table:
    """Return medians, with least and most, and ratios."""
    base = next((one for one in contestants if one.name == against), contestants[0]).spreads()[0].median
    shown = Table("", "wall s", "ratio", "CPU s", "peak MB", "between MB", box=None)
    for one in contestants:
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


def main() -> int:
    """Measure, print; return 1 where two outputs differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--scale", type=float, default=1, help="of TPC-H; 1 is about 1 GB of JSON")
    parser.add_argument("--peers", default="usual", help="usual, all, none, or names: " + ", ".join(ALL_PEERS))
    parser.add_argument("--layouts", default=",".join(data.LAYOUTS))
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--slow-turns", type=int, default=1, help="of peers that take over a minute at scale 1")
    parser.add_argument("--against", default="duckdb_tuned", help="whose wall time is 1")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()) / "fanfold-bench")
    options = parser.parse_args()
    console = Console(width=100)
    console.print(shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]), highlight=False)
    named = {"usual": PEERS, "all": ALL_PEERS, "none": ()}
    peers = named.get(options.peers, tuple(options.peers.split(",")))
    made = data.make(options.dir, options.scale)
    limits = LIMITS if peers else ()
    if limits:
        data.flat(made)
    (made / "runs").mkdir(exist_ok=True)
    slow_seconds, differ = max(LEAST_SLOW_SECONDS, SLOW_SECONDS * options.scale), False
    for layout in options.layouts.split(","):
        orders, customers = data.files(made, layout, options.files), made / "customers.csv"
        size = sum(path.stat().st_size for path in orders.iterdir())
        contestants = [
            fanfold(f"fanfold_{name}", made / "runs", orders, customers, {"input": given})
            for name, given in INPUTS.items()
        ] + [peer(name, made / "runs", orders, customers, layout) for name in (*peers, *limits)]
        for turn in range(options.turns):
            for one in contestants:
                if turn < options.slow_turns or one.costs[0].wall < slow_seconds:
                    one.run()
        results = {one.name: result for one in contestants if (result := one.result())}
        differ |= len(set(results.values())) > 1
        console.print(f"\n{options.files} files of {layout}, {size / 1_000_000:,.0f} MB", highlight=False)
        console.print(table(contestants, options.against))
        same = "the same rows and sums" if len(set(results.values())) == 1 else f"DIFFERENT: {results}"
        console.print(f"{', '.join(results)}: {same}", highlight=False)
    shutil.rmtree(made / "runs", ignore_errors=True)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
