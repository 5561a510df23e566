"""How DuckDB reads the orders, where nothing is left for it to find out."""

COLUMNS = """{
    order_id: 'BIGINT', customer_id: 'BIGINT', status: 'VARCHAR', total_price: 'DECIMAL(18,2)', order_date: 'VARCHAR',
    priority: 'VARCHAR', clerk: 'VARCHAR',
    items: 'STRUCT(line BIGINT, part_id BIGINT, quantity BIGINT, price DECIMAL(18,2), discount DECIMAL(18,2),
                   tax DECIMAL(18,2), flag VARCHAR, ship_date VARCHAR)[]'
}"""

FORMATS = {"arrays": "array", "ndjson": "newline_delimited"}
