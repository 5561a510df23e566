"""The same query as `duckdb_tuned`, to Parquet, compressed as Fanfold does it."""

import sys

import duckdb
from orders import flat

data, customers, layout, out = sys.argv[1:]
with duckdb.connect() as connection:
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    connection.execute(
        f"COPY ({flat(data, customers, layout)}) TO '{out}/flat.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )
