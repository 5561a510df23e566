"""The only folder that knows DuckDB: Parquet in and out, and columns by SQL. It reads no JSON and no CSV."""
