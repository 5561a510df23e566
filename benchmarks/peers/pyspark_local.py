"""PySpark on this machine's two cores, with the schema written down."""

import os
import shutil
import sys

from pyspark.sql import SparkSession
from pyspark.sql.functions import col, explode_outer

SCHEMA = """
order_id BIGINT, customer_id BIGINT, status STRING, total_price DECIMAL(18,2), order_date STRING, priority STRING,
clerk STRING, items ARRAY<STRUCT<line: BIGINT, part_id: BIGINT, quantity: BIGINT, price: DECIMAL(18,2),
discount: DECIMAL(18,2), tax: DECIMAL(18,2), flag: STRING, ship_date: STRING>>
"""

data, customers, layout, out = sys.argv[1:]
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    sys.exit("found no Java, which Spark needs: apt-get install default-jre-headless")
spark = (
    SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.driver.memory", "4g")
).getOrCreate()
orders = spark.read.schema(SCHEMA).json(data, multiLine=layout == "arrays")
known = spark.read.csv(customers, header=True, inferSchema=True)
flat = orders.join(known, on="customer_id", how="left").withColumn("item", explode_outer("items")).drop("items")
flat.select(*[c for c in flat.columns if c != "item"], col("item.*")).write.csv(f"{out}/flat", header=True)
spark.stop()
