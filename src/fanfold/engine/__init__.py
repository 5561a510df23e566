"""The only folder that knows DuckDB: how files become a schema, merged records, and flat rows."""
