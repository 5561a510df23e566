"""What goes wrong with an embedded Airflow."""

from fanfold.errors import FanfoldError


class ServerError(FanfoldError):
    """Airflow did not start, a DAG file cannot be imported, or the API refuses a request."""

    exit_code = 2


class ServerDiedError(FanfoldError):
    """A process of the server ended by itself, or was killed."""

    exit_code = 3
