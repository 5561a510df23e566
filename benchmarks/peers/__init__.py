"""The peers: each file is a program that makes the flat table of `DATA/*.json` and `customers.csv` in a folder.

    python benchmarks/peers/NAME.py JSON_DIR CUSTOMERS_CSV LAYOUT OUT_DIR

One row for each item of an order, the columns of the order and of its customer beside it, as CSV. LAYOUT is `arrays`
or `ndjson`. Each is written as a good engineer would who knows the data, and as fast as its library allows.
"""
