"""DuckDB in one query, with the columns written down, and no table of the join built from the orders."""

import sys

import duckdb
from orders import COLUMNS, FORMATS

data, customers, layout, out = sys.argv[1:]
with duckdb.connect() as connection:
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    connection.execute(
        f"""
        COPY (
            SELECT * EXCLUDE (items, item), unnest(item)
            FROM (
                SELECT o.*, c.* EXCLUDE (customer_id), unnest(o.items) AS item
                FROM read_json('{data}/*.json', columns = {COLUMNS}, format = '{FORMATS[layout]}') AS o
                LEFT JOIN read_csv('{customers}') AS c USING (customer_id)
            )
        ) TO '{out}/flat.csv' (HEADER true)
        """
    )
