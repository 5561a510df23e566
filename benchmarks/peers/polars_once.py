"""Polars in one query: a file at a time where they are arrays, which it reads whole."""

import sys
from pathlib import Path

import polars as pl

ITEM = pl.Struct({
    "line": pl.Int64, "part_id": pl.Int64, "quantity": pl.Int64, "price": pl.Float64,
    "discount": pl.Float64, "tax": pl.Float64, "flag": pl.String, "ship_date": pl.String,
})  # fmt: skip
SCHEMA = {
    "order_id": pl.Int64, "customer_id": pl.Int64, "status": pl.String, "total_price": pl.Float64,
    "order_date": pl.String, "priority": pl.String, "clerk": pl.String, "items": pl.List(ITEM),
}  # fmt: skip

data, customers, layout, out = sys.argv[1:]
paths = sorted(Path(data).glob("*.json"))
if layout == "arrays":
    orders = pl.concat([pl.read_json(path, schema=SCHEMA) for path in paths]).lazy()
else:
    orders = pl.scan_ndjson(paths, schema=SCHEMA)
flat = (
    orders.join(pl.scan_csv(customers), on="customer_id", how="left", maintain_order="left")
    .explode("items")
    .unnest("items")
)
flat.sink_csv(f"{out}/flat.csv")
