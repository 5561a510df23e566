"""Where a feed lives: its store, what is claimed, archived, leased, set aside, and known of runs.

Nothing here reads records, and nothing here knows DuckDB or Airflow.
"""
