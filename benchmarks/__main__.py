"""`make bench`: Fanfold beside its peers, on the same data and cores, every run a fresh process, in turn.

All outputs are compared first: the same rows, the same exact sums. Printed are medians with least and most, and the
ratio of each to the tuned DuckDB query, or to what `--against` names. Then come the cases (benchmarks/cases.py), each
against what it is to be measured by.
"""

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from benchmarks import data
from benchmarks.cases import CASES, Case, Place, megabytes
from benchmarks.contestants import both, peer, table

PEERS = ("duckdb_tuned", "duckdb_auto", "polars_once", "pandas_by_hand")
# What is done at least: no peers, but limits that DuckDB has on these cores.
LIMITS = ("limit_parse", "limit_csv")
# At scale 1, and at least.
SLOW_SECONDS, LEAST_SLOW_SECONDS = 60, 5
ALL_PEERS = (*PEERS, "pyspark_local", "dlt_load")


def options_of(arguments: list[str]) -> argparse.Namespace:
    """Return what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--scale", type=float, default=1, help="of TPC-H; 1 is about 1 GB of JSON")
    parser.add_argument("--peers", default="usual", help="usual, all, none, or names: " + ", ".join(ALL_PEERS))
    parser.add_argument("--layouts", default=",".join(data.LAYOUTS), help="or none")
    parser.add_argument("--cases", default="all", help="all, none, or names: " + ", ".join(CASES))
    parser.add_argument("--files", type=int, default=200, help="of each layout; the cases have their own")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--slow-turns", type=int, default=1, help="of peers that take over a minute at scale 1")
    parser.add_argument("--against", default="duckdb_tuned", help="whose wall time is 1 for the layouts")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()) / "fanfold-bench")
    return parser.parse_args(arguments)


def named(given: str, known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the names that an option gives: those of a word, or the names themselves."""
    return known.get(given, tuple(given.split(",")))


def layouts(place: Place, options: argparse.Namespace, peers: tuple[str, ...]) -> Iterator[Case]:
    """Yield the orders as they are, in each layout, with all peers."""
    if peers:
        data.flat(place.made)
    for layout in named(options.layouts, {"none": ()}):
        orders = data.files(place.made, layout, options.files)
        beside = [peer(name, place.runs, orders, place.customers, layout) for name in peers]
        contestants = both(place.runs, orders, place.customers, {}) + beside
        yield Case(f"{options.files} files of {layout}, {megabytes(orders)}", contestants, options.against)


def measure(case: Case, options: argparse.Namespace, console: Console) -> bool:
    """Let all contestants of a case run in turn; print what they cost; say whether all ended and made the same."""
    slow_seconds = max(LEAST_SLOW_SECONDS, SLOW_SECONDS * options.scale)
    for turn in range(options.turns):
        for one in case.contestants:
            if not one.failure and (turn < options.slow_turns or one.costs[0].wall < slow_seconds):
                one.run()
    failed = [one for one in case.contestants if one.failure]
    results = {one.name: result for one in case.contestants if one not in failed and (result := one.result())}
    for one in case.contestants:
        one.clear()
    is_same = len(set(results.values())) == 1
    console.print(f"\n{case.title}", highlight=False)
    console.print(table(case.contestants, case.against))
    said = "the same rows and sums" if is_same else f"DIFFERENT: {results or None}"
    console.print(f"{', '.join(results)}: {said}", highlight=False)
    for one in failed:
        console.print(f"{one.name} FAILED: {one.failure}", highlight=False, markup=False)
    return is_same and not failed


def main() -> int:
    """Measure, print; return 1 where two outputs differ, or a contestant failed."""
    options = options_of(sys.argv[1:])
    console = Console(width=100)
    console.print(shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]), highlight=False)
    peers = named(options.peers, {"usual": PEERS, "all": ALL_PEERS, "none": ()})
    made = data.make(options.dir, options.scale)
    place = Place(made, made / "runs", options.scale, bool(peers))
    place.runs.mkdir(exist_ok=True)
    found = [layouts(place, options, (*peers, *LIMITS) if peers else ())]
    found += [CASES[name](place) for name in named(options.cases, {"all": tuple(CASES), "none": ()})]
    answers = [measure(case, options, console) for cases in found for case in cases]
    shutil.rmtree(place.runs, ignore_errors=True)
    return 0 if all(answers) else 1


if __name__ == "__main__":
    sys.exit(main())
