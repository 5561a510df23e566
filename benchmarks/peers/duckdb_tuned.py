"""DuckDB in one query, with the columns written down, and no table of the join built from the orders."""

import sys

import duckdb
from orders import flat

data, customers, layout, out = sys.argv[1:]
with duckdb.connect() as connection:
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    connection.execute(f"COPY ({flat(data, customers, layout)}) TO '{out}/flat.csv' (HEADER true)")
