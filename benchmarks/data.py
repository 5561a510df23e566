"""The data of the benchmarks: TPC-H orders with their line items nested in them, and the customers beside them."""

import csv
import io
import itertools
import subprocess
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.cliffs import CLIFFS, TEXTS

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
PHRASE = 'A text of many words, in which \\"quotes\\" stand. '


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


def files(place: Path, layout: str, number: int, share: float = 1.0, cliff: str = "") -> Path:
    """Return a folder with the orders in so many files, made once: JSON arrays on one line, or NDJSON.

    Args:
        place: what `make` returned.
        layout: one of `TEXTS`.
        number: of files, each with about as many orders.
        share: of the orders, the first ones.
        cliff: what becomes of the records: one of `CLIFFS`; nothing where it is empty.
    """
    folder = place / "-".join(part for part in (layout, cliff, f"{number}", f"{share:g}") if part)
    if folder.exists():
        return folder
    building = folder.with_suffix(".building")
    building.mkdir(exist_ok=True)
    with closing(_orders(place)) as orders:
        total = max(number, int(next(orders) * share))
        for n in range(number):
            wanted = total * (n + 1) // number - total * n // number
            records = CLIFFS.get(cliff, list)(list(itertools.islice(orders, wanted)))
            (building / f"orders-{n:06}.json").write_text(TEXTS[layout](records), encoding="utf-8")
    building.rename(folder)
    return folder


def _orders(place: Path) -> Generator[Any]:
    """Yield the number of orders, and then each of them as JSON."""
    with duckdb.connect() as connection:
        yield (connection.execute(f"SELECT count(*) FROM '{place}/nested.parquet'").fetchone() or (0,))[0]
        reader = connection.execute(f"SELECT to_json(n)::VARCHAR FROM '{place}/nested.parquet' AS n")
        while records := reader.fetchmany(10_000):
            yield from (record for (record,) in records)


def texts(place: Path, records: int, text_bytes: int, orders: int) -> Path:
    """Return a folder with two files of NDJSON, made once: orders with a large text beside their items.

    Args:
        place: what `make` returned.
        records: their number.
        text_bytes: size of the text in each.
        orders: how many orders give a record its items.
    """
    folder = place / f"texts-{records}-{text_bytes}-{orders}"
    if folder.exists():
        return folder
    building = folder.with_suffix(".building")
    building.mkdir(exist_ok=True)
    note = PHRASE * (text_bytes // len(PHRASE))
    with closing(_orders(place)) as found:
        next(found)
        for n in range(2):
            with (building / f"orders-{n}.json").open("w", encoding="utf-8") as file:
                for _ in range(records * (n + 1) // 2 - records * n // 2):
                    halves = (one.split('"items":[') for one in itertools.islice(found, orders))
                    heads, items = zip(*halves, strict=True)
                    inside = ",".join(one.removesuffix("]}") for one in items)
                    file.write(f'{heads[0]}"items":[{inside}],"note":"{note}"}}\n')
    building.rename(folder)
    return folder


def csv_files(place: Path, number: int, size_bytes: int) -> Path:
    """Return a folder with the first rows of the flat table as CSV, made once.

    Args:
        place: what `make` returned; `flat` has been called.
        number: of files.
        size_bytes: of all files together.
    """
    folder = place / f"csv-{number}-{size_bytes}"
    if folder.exists():
        return folder
    building = folder.with_suffix(".building")
    building.mkdir(exist_ok=True)
    with duckdb.connect() as connection:
        reader = connection.execute(f"FROM '{place}/flat.parquet'")
        names = [column[0] for column in reader.description]
        for n in range(number):
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(names)
            while text.tell() < size_bytes // number and (rows := reader.fetchmany(100)):
                writer.writerows(rows)
            (building / f"rows-{n:06}.csv").write_text(text.getvalue(), encoding="utf-8")
    building.rename(folder)
    return folder


def many_customers(place: Path, rows: int) -> Path:
    """Return a folder with a `customers.csv` of so many rows, made once: the customers, and others that no order has.

    They stand in no order.

    Args:
        place: what `make` returned.
        rows: their number.
    """
    folder = place / f"customers-{rows}"
    if folder.exists():
        return folder
    building = folder.with_suffix(".building")
    building.mkdir(exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            COPY (
                SELECT n AS customer_id, coalesce(name, 'Customer#' || lpad(n::VARCHAR, 9, '0')) AS name,
                       coalesce(nation_id, n % 25) AS nation_id, coalesce(phone, '10-000-000-0000') AS phone,
                       coalesce(balance, 0.01) AS balance, coalesce(segment, 'BUILDING') AS segment
                FROM range(1, {rows} + 1) AS numbers(n) LEFT JOIN '{place}/customers.csv' ON customer_id = n
                ORDER BY hash(n)
            ) TO '{building}/customers.csv' (HEADER true)
            """
        )
    building.rename(folder)
    return folder
