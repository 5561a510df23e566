"""DuckDB in one query, with the columns written down, and no table of the join built from the orders."""

import sys

import duckdb

COLUMNS = """{
    order_id: 'BIGINT', customer_id: 'BIGINT', status: 'VARCHAR', total_price: 'DECIMAL(18,2)', order_date: 'VARCHAR',
    priority: 'VARCHAR', clerk: 'VARCHAR',
    items: 'STRUCT(line BIGINT, part_id BIGINT, quantity BIGINT, price DECIMAL(18,2), discount DECIMAL(18,2),
                   tax DECIMAL(18,2), flag VARCHAR, ship_date VARCHAR)[]'
}"""

data, customers, layout, out = sys.argv[1:]
format_ = {"arrays": "array", "ndjson": "newline_delimited"}[layout]
with duckdb.connect() as connection:
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    connection.execute(
        f"""
        COPY (
            SELECT * EXCLUDE (items, item), unnest(item)
            FROM (
                SELECT o.*, c.* EXCLUDE (customer_id), unnest(o.items) AS item
                FROM read_json('{data}/*.json', columns = {COLUMNS}, format = '{format_}') AS o
                LEFT JOIN read_csv('{customers}') AS c USING (customer_id)
            )
        ) TO '{out}/flat.csv' (HEADER true)
        """
    )
