"""The only folder that knows Airflow.

`feed_dag` makes a DAG of a spec. `tasks` has what the tasks of every feed's DAG do. `try_out` runs a feed's DAG in the
embedded Airflow of `embedded`, for `fanfold airflow`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fanfold.airflow.dag import feed_dag

__all__ = ["feed_dag"]


def __getattr__(name: str) -> Any:
    # The embedded server is in this folder too: it starts Airflow, and does not wait for its import.
    if name == "feed_dag":
        from fanfold.airflow.dag import feed_dag

        return feed_dag
    raise AttributeError(name)
