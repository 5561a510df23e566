"""DuckDB in one query, which finds out the columns by itself."""

import sys

import duckdb

data, customers, layout, out = sys.argv[1:]
with duckdb.connect() as connection:
    connection.execute("SET enable_progress_bar = false")
    connection.execute(
        f"""
        COPY (
            SELECT o.* EXCLUDE (items), unnest(o.items, recursive := true), c.* EXCLUDE (customer_id)
            FROM read_json('{data}/*.json', sample_size = -1) AS o LEFT JOIN '{customers}' AS c USING (customer_id)
        ) TO '{out}/flat.csv' (HEADER true)
        """
    )
