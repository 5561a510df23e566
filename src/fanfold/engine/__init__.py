"""The only folder that knows DuckDB: tables of Parquet, and columns by SQL. It reads no input."""
