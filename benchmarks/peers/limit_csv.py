"""What writing takes: DuckDB writes the flat table, which is ready as Parquet, as CSV."""

import sys
from pathlib import Path

import duckdb

data, customers, layout, out = sys.argv[1:]
flat = Path(customers).with_name("flat.parquet")
with duckdb.connect() as connection:
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"COPY (FROM '{flat}') TO '{out}/flat.csv' (HEADER true)")
