"""What parsing takes: DuckDB reads the orders, with the columns written down, and writes nothing."""

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
    connection.execute(
        f"SELECT count(COLUMNS(*)) FROM read_json('{data}/*.json', columns = {COLUMNS}, format = '{format_}')"
    )
