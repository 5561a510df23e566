"""What DuckDB does with the orders, where nothing is left for it to find out."""

COLUMNS = """
    order_id: 'BIGINT', customer_id: 'BIGINT', status: 'VARCHAR', total_price: 'DECIMAL(18,2)', order_date: 'VARCHAR',
    priority: 'VARCHAR', clerk: 'VARCHAR',
    items: 'STRUCT(line BIGINT, part_id BIGINT, quantity BIGINT, price DECIMAL(18,2), discount DECIMAL(18,2),
                   tax DECIMAL(18,2), flag VARCHAR, ship_date VARCHAR)[]'
"""

FORMATS = {"arrays": "array", "ndjson": "newline_delimited", "texts": "newline_delimited"}


def reading(data: str, layout: str) -> str:
    """Return the call that reads the orders; beside large texts they have a note."""
    columns = COLUMNS + (", note: 'VARCHAR'" if layout == "texts" else "")
    return f"read_json('{data}/*.json', columns = {{{columns}}}, format = '{FORMATS[layout]}')"


def flat(data: str, customers: str, layout: str) -> str:
    """Return the query that joins and explodes the orders."""
    return f"""
        SELECT * EXCLUDE (items, item), unnest(item)
        FROM (
            SELECT o.*, c.* EXCLUDE (customer_id), unnest(o.items) AS item
            FROM {reading(data, layout)} AS o LEFT JOIN read_csv('{customers}') AS c USING (customer_id)
        )
    """
