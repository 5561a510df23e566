"""What parsing takes: DuckDB reads the orders, with the columns written down, and writes nothing."""

import sys

import duckdb
from orders import reading

data, customers, layout, out = sys.argv[1:]
with duckdb.connect() as connection:
    connection.execute("SET enable_progress_bar = false")
    connection.execute(f"SELECT count(COLUMNS(*)) FROM {reading(data, layout)}")
