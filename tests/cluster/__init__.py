"""A cluster of Airflow on this machine: PostgreSQL, Redis, two Celery workers, each process and each folder its own."""
