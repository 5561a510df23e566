"""An Airflow of its own for trying a DAG out: its home, its processes, its API.

It is given a DAG file and a home, and knows nothing of feeds.
"""
