"""How a failed task ends, once its log says why: without a traceback, where Airflow allows it.

Airflow logs the traceback of every exception but `SystemExit`. It retries a `SystemExit`, unless the retry policy
says otherwise. Airflow 3.1 and 3.2 have no retry policy, and a DAG may have its own; a sensor may have options that
make a skip of a failure. The task then raises an exception that Airflow knows.
"""

from typing import Any, NoReturn

from airflow.sdk import get_current_context

from fanfold.airflow.compat import AirflowFailException


class ToldTrouble(SystemExit):
    """Ends a task whose log says what is wrong; Airflow may retry it. `__cause__` is the error."""

    def __init__(self, message: str) -> None:  # noqa: D107 - the class says it
        super().__init__(message)
        # Airflow logs the code; without this it would log the message again.
        self.code = 1


class ToldFailure(ToldTrouble):
    """Ends a task whose log says what is wrong, if a retry cannot help."""


try:
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
except ImportError:
    RULES: Any = None
    # What every task of a feed has in its default_args.
    RETRY_POLICY = dict[str, Any]()
else:
    RULES = [RetryRule(ToldFailure, RetryAction.FAIL, reason="a retry cannot help")]
    RETRY_POLICY = {"retry_policy": ExceptionRetryPolicy(RULES)}


def fail(message: str, cause: Exception | None = None) -> NoReturn:
    """End the task for good: a retry cannot help.

    Raises:
        ToldFailure: the task has our retry policy.
        AirflowFailException: it has none, or another one; or it is a sensor that skips then.
    """
    if _may_exit("soft_fail", "never_fail"):
        raise ToldFailure(message) from cause
    # Without a cause, the traceback is shortest.
    raise AirflowFailException(message) from None


def fail_for_now(error: OSError) -> NoReturn:
    """End the task for now: Airflow may try it again.

    Raises:
        ToldTrouble: the task has our retry policy.
        OSError: it has none, or another one, which may know this error; or it is a sensor that skips or waits then.
    """
    if _may_exit("never_fail", "silent_fail"):
        raise ToldTrouble(str(error)) from error
    raise error


def _may_exit(*options: str) -> bool:
    """Say whether our retry policy decides what becomes of the task, and no option of a sensor does."""
    try:
        task = get_current_context()["ti"].task
    except RuntimeError:
        # Called outside Airflow, where a SystemExit would end the process.
        return False
    has_our_policy = RULES is not None and getattr(getattr(task, "retry_policy", None), "rules", None) == RULES
    return has_our_policy and not any(getattr(task, option, False) for option in options)
