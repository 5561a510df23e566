"""The data of the benchmarks: TPC-H orders with their line items nested in them, and the customers beside them."""

import subprocess
from pathlib import Path

import duckdb

# Orders of one size, so that each file has as many as the others.
ORDERS = """
SELECT o_orderkey AS order_id, o_custkey AS customer_id, o_orderstatus AS status, o_totalprice AS total_price,
       o_orderdate::VARCHAR AS order_date, o_orderpriority AS priority, o_clerk AS clerk,
       list({
           'line': l_linenumber, 'part_id': l_partkey, 'quantity': l_quantity::BIGINT, 'price': l_extendedprice,
           'discount': l_discount, 'tax': l_tax, 'flag': l_returnflag, 'ship_date': l_shipdate::VARCHAR
       } ORDER BY l_linenumber) AS items
FROM read_parquet($orders) JOIN read_parquet($lineitem) ON o_orderkey = l_orderkey
GROUP BY ALL ORDER BY order_id
"""
CUSTOMERS = """
SELECT c_custkey AS customer_id, c_name AS name, c_nationkey AS nation_id, c_phone AS phone, c_acctbal AS balance,
       c_mktsegment AS segment
FROM read_parquet($customer) ORDER BY customer_id
"""
LAYOUTS = ("arrays", "ndjson")


def make(folder: Path, scale: float) -> Path:
    """Make the tables with tpchgen-cli, and from them `orders.parquet` and `customers.csv`; return their folder.

    They are made once for each scale. At scale 1 there are 1,500,000 orders with 6,001,215 items.
    """
    place = folder / f"scale-{scale:g}"
    if (place / "customers.csv").exists():
        return place
    place.mkdir(parents=True, exist_ok=True)
    generator = Path(__file__).with_name(".venv") / "bin" / "tpchgen-cli"
    tables = "--tables=customer,orders,lineitem"
    subprocess.run([generator, "parquet", "-s", f"{scale:g}", tables, f"--output-dir={place}"], check=True)
    paths = {name: str(place / f"{name}.parquet") for name in ("orders", "lineitem", "customer")}
    with duckdb.connect() as connection:
        connection.execute("SET preserve_insertion_order = true")
        connection.execute(f"CREATE TABLE nested AS {ORDERS}", {key: paths[key] for key in ("orders", "lineitem")})
        connection.execute(f"COPY nested TO '{place}/nested.parquet' (FORMAT parquet)")
        connection.execute(f"CREATE TABLE customers AS {CUSTOMERS}", {"customer": paths["customer"]})
        connection.execute(f"COPY customers TO '{place}/customers.csv' (HEADER true)")
    return place


def flat(place: Path) -> None:
    """Make `flat.parquet`, once: the table that all make of the orders and customers.

    Args:
        place: what `make` returned.
    """
    path, building = place / "flat.parquet", place / "flat.building"
    if not path.exists():
        with duckdb.connect() as connection:
            connection.execute(
                f"""
                COPY (SELECT o.* EXCLUDE (items), c.* EXCLUDE (customer_id), unnest(o.items, recursive := true)
                      FROM '{place}/nested.parquet' AS o LEFT JOIN '{place}/customers.csv' AS c USING (customer_id))
                TO '{building}' (FORMAT parquet)
                """
            )
        building.rename(path)


def files(place: Path, layout: str, number: int, share: float = 1.0) -> Path:
    """Return a folder with the orders in so many files, made once: JSON arrays on one line, or NDJSON.

    Args:
        place: what `make` returned.
        layout: one of LAYOUTS.
        number: of files, each with about as many orders.
        share: of the orders, the first ones.
    """
    folder = place / f"{layout}-{number}-{share:g}"
    if folder.exists():
        return folder
    building = folder.with_suffix(".building")
    building.mkdir(exist_ok=True)
    opening, between, closing = ("[", ",", "]\n") if layout == "arrays" else ("", "\n", "\n")
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT count(*) FROM '{place}/nested.parquet'").fetchone()
        orders = max(number, int((found or (0,))[0] * share))
        reader = connection.execute(f"SELECT to_json(n)::VARCHAR FROM '{place}/nested.parquet' AS n LIMIT {orders}")
        for n in range(number):
            wanted = orders * (n + 1) // number - orders * n // number
            records = [record for (record,) in reader.fetchmany(wanted)]
            path = building / f"orders-{n:06}.json"
            path.write_text(opening + between.join(records) + closing, encoding="utf-8")
    building.rename(folder)
    return folder
