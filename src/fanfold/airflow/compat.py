"""What Airflow 3.1 has in another place, or calls by another name, than later versions."""

try:
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowRescheduleException,
        AirflowSkipException,
    )

    # Each pause is twice the one before it.
    BACKOFF: float = 2
except ImportError:
    from airflow.configuration import conf
    from airflow.exceptions import (  # type: ignore[attr-defined,no-redef]
        AirflowFailException,
        AirflowNotFoundException,
        AirflowRescheduleException,
        AirflowSkipException,
    )

    BACKOFF = True

__all__ = [
    "BACKOFF",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowRescheduleException",
    "AirflowSkipException",
    "conf",
]
