"""dlt, from the files into DuckDB: it makes a table of orders and one of items; nothing is joined or exported."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt

data, customers, layout, out = sys.argv[1:]


@dlt.resource(name="orders", write_disposition="append")
def orders() -> Iterator[list[dict[str, Any]]]:
    """Yield the orders, a file at a time."""
    for path in sorted(Path(data).glob("*.json")):
        with path.open(encoding="utf-8") as file:
            yield json.load(file) if layout == "arrays" else [json.loads(line) for line in file]


pipeline = dlt.pipeline(
    "orders", pipelines_dir=f"{out}/pipelines", destination=dlt.destinations.duckdb(f"{out}/flat.db")
)
pipeline.run(orders(), loader_file_format="parquet")
