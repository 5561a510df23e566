"""What the core alone costs, beside DuckDB's tuned query: orders joined with customers, exploded, to CSV, in a process.

`python -m benchmarks.core --scale 0.2`: CPU seconds for each GB of JSON, and the peak memory of the process; the least
of some turns. The core reads, judges, joins and merges, and writes rows of what it has merged, on one thread. Its steps
are measured alone too: `learn` finds out the fields, `merge` writes no rows, `hash` is the SHA-256 of the files.
`--ceiling PROGRAM` measures a program with the arguments CUSTOMERS OUT FILE… as well.
"""

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fanfold.native import Beside, Field, Form, Joined, Others, Reader, Rows, Table

ORDER = ("order_id", "customer_id", "status", "total_price", "order_date", "priority", "clerk")
ITEM = ("line", "part_id", "quantity", "price", "discount", "tax", "flag", "ship_date")
CUSTOMER = ("customer_id", "name", "nation_id", "phone", "balance", "segment")
WINDOW_BYTES = 1 << 20
PEERS = Path(__file__).with_name("peers")


def values(*names: str) -> tuple[Field, ...]:
    """Return fields as they are written; the customer is a key."""
    return tuple(Field(name, key=name == "customer_id") for name in names)


LEVELS = ((0, False), (1, False))
RECORD = Field(
    kind="object",
    inside=(*values(*ORDER), Field("items", "list", inside=(Field(kind="object", inside=values(*ITEM)),))),
)


def windows(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file."""
    with path.open("rb", buffering=0) as file:
        while window := file.read(WINDOW_BYTES):
            yield window


def learn(paths: list[Path]) -> None:
    """Find out the fields of all files."""
    reader = Reader()
    for path in paths:
        for piece in reader.read(path.name.encode(), windows(path)):
            if piece.wrong:
                raise ValueError(piece.wrong[0])
    sys.stdout.write(f"{reader.seen.objects} records\n")


def frozen(customers: Path, out: Path) -> list[Joined]:
    """Return the customers as they are joined: frozen in a file beside the output."""
    target = out.with_suffix(".rows")
    reference = Reader(Field(kind="object", inside=values(*CUSTOMER)), Others.FREEZE, Form(csv=True))
    with target.open("wb") as file:
        file.writelines(merged(reference, [customers]))
    return [Joined(Table(target))]


def merge(paths: list[Path], customers: Path, out: Path) -> None:
    """Join and merge, and write that."""
    reader = Reader(RECORD, Others.REFUSE, joins=frozen(customers, out))
    with out.with_suffix(".records").open("wb", buffering=0) as file:
        for written in merged(reader, paths):
            file.write(written)


def write(paths: list[Path], customers: Path, out: Path) -> None:
    """Join, explode, write."""
    joins = frozen(customers, out)
    columns = [(Rows.SLOT, 0, slot) for slot in range(len(ORDER))]
    columns += [(Rows.JOIN, 0, slot) for slot in range(1, len(CUSTOMER))]
    columns += [(Rows.SLOT, 1, slot) for slot in range(len(ITEM))]
    reader, rows = Reader(RECORD, Others.REFUSE, joins=joins), Rows(RECORD, columns, LEVELS, beside=Beside(joins))
    with out.open("wb", buffering=0) as file:
        file.write(",".join((*ORDER, *CUSTOMER[1:], *ITEM)).encode() + b"\n")
        for written in rows.write(merged(reader, paths)):
            file.write(written)
        os.fsync(file.fileno())
    sys.stdout.write(f"{len(rows)} rows\n")


def digests(paths: list[Path]) -> None:
    """Hash all files."""
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")


def merged(reader: Reader, paths: list[Path]) -> Iterator[bytes]:
    """Yield the merged records of all files.

    Raises:
        ValueError: a record is bad.
    """
    for path in paths:
        for piece in reader.read(path.name.encode(), windows(path)):
            if piece.wrong:
                raise ValueError(piece.wrong[0])
            yield piece.merged


def do(kind: str, paths: list[Path], customers: Path, out: Path) -> None:
    """Do the whole job, or one of its steps."""
    if kind == "learn":
        learn(paths)
    elif kind == "hash":
        digests(paths)
    else:
        (merge if kind == "merge" else write)(paths, customers, out)


def main() -> None:
    """Measure each in a process of its own, or be that process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.core", description=__doc__)
    parser.add_argument("--scale", type=float, default=0.2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()) / "fanfold-bench")
    parser.add_argument("--ceiling", type=Path)
    parser.add_argument("--job", nargs="+")
    options = parser.parse_args()
    if options.job:
        kind, folder, customers, out = options.job
        do(kind, sorted(Path(folder).glob("*.json")), Path(customers), Path(out))
        return
    # Not for the job: to load them would be part of its cost.
    from benchmarks import data

    made = data.make(options.dir, options.scale)
    for layout in data.LAYOUTS:
        measure(layout, made, options.turns, options.ceiling)


def measure(layout: str, made: Path, turns: int, ceiling: Path | None) -> None:
    """Print what each costs for one layout."""
    from benchmarks import data
    from benchmarks.measure import Cost, run

    folder, customers, out = data.files(made, layout, 4), made / "customers.csv", made / "core"
    out.mkdir(exist_ok=True)
    paths = sorted(folder.glob("*.json"))
    size = sum(path.stat().st_size for path in paths)
    job = [sys.executable, "-m", "benchmarks.core", "--job"]
    commands: dict[str, list[str | Path]] = {
        "core" if kind == "write" else f"core, {kind}": [*job, kind, folder, customers, out / "core.csv"]
        for kind in ("write", "learn", "merge", "hash")
    }
    commands |= {
        "DuckDB, tuned": [sys.executable, PEERS / "duckdb_tuned.py", folder, customers, layout, out],
    }
    if ceiling and layout == "ndjson":
        commands["ceiling"] = [ceiling, customers, out / "ceiling.csv", *paths]
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(turns):
        for name, command in commands.items():
            costs[name].append(run(command, log=out / "log"))
    for name, found in costs.items():
        cpu, wall = min(cost.cpu for cost in found), min(cost.wall for cost in found)
        peak = max(cost.peak for cost in found)
        figures = f"{cpu / size * 1e9:6.2f} CPU s/GB {wall:6.2f} s {peak / 1e6:7.0f} MB"
        sys.stdout.write(f"{layout:8} {name:14} {figures}  of {size / 1e6:.0f} MB\n")


if __name__ == "__main__":
    main()
