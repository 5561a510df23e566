"""`make growth`: what a run takes as its input grows: by bytes, by files, by subdirectories, each with the rest fixed.

Printed, and drawn as SVG into docs/: wall seconds of `fanfold run`, and the peak memory of its largest process.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import data
from benchmarks.contestants import HERE, Contestant, fanfold
from benchmarks.measure import spread

SHARES = (0.125, 0.25, 0.5, 1)
FILES = (20, 200, 2_000, 20_000)
SUBDIRS = (1, 2, 5, 20, 50)
# Of the data, where files and subdirectories are what grows.
FIXED_SHARE = 0.0625


def points(made: Path, runs: Path) -> dict[str, list[tuple[float, Contestant]]]:
    """Return for each axis what is measured at which of its values."""
    customers = made / "customers.csv"

    def at(name: str, orders: Path, subdirs: int = 5) -> Contestant:
        return fanfold(name, runs, orders, customers, {"subdirs": subdirs, "input": {"settle_seconds": 0}})

    return {
        "share of the data": [(share, at("share", data.files(made, "arrays", 200, share))) for share in SHARES],
        "files": [(n, at("files", data.files(made, "arrays", n, FIXED_SHARE))) for n in FILES],
        "subdirectories": [(n, at(f"subdirs-{n}", data.files(made, "arrays", 200, FIXED_SHARE), n)) for n in SUBDIRS],
    }


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()) / "fanfold-bench")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs")
    options = parser.parse_args()
    made = data.make(options.dir, options.scale)
    runs = made / "runs"
    runs.mkdir(exist_ok=True)
    console = Console(width=100)
    drawn = []
    for axis, measured in points(made, runs).items():
        shown = Table(axis, "wall s", "peak MB of a process", box=None)
        wall, peak = [], []
        for value, contestant in measured:
            for _ in range(options.turns):
                contestant.run()
            wall.append(spread([cost.wall for cost in contestant.costs]))
            peak.append(max(cost.peak for cost in contestant.costs) / 1_000_000)
            found = wall[-1]
            shown.add_row(f"{value:,g}", f"{found.median:.2f} ({found.least:.2f}-{found.most:.2f})", f"{peak[-1]:.0f}")
        console.print(shown)
        values = [value for value, _ in measured]
        drawn.append({"axis": axis, "values": values, "wall": wall, "peak": peak})
    subprocess.run(
        [HERE / ".venv/bin/python", HERE / "plot.py", options.out / "growth.svg"],
        input=json.dumps(drawn).encode(),
        check=True,
    )
    shutil.rmtree(runs, ignore_errors=True)


if __name__ == "__main__":
    main()
