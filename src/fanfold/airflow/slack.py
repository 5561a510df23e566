"""The Slack notification: a courtesy that never holds up a run, let alone fails it."""

import logging
import threading
import time

from airflow.sdk.exceptions import AirflowNotFoundException

log = logging.getLogger(__name__)

ATTEMPTS = 3
TIMEOUT_SECONDS = 3
PAUSE_SECONDS = 0.5
# A server that answers byte by byte outlasts the client's timeout, which counts anew with each byte.
DEADLINE_SECONDS = 12


def notify(slack_conn_id: str | None, text: str) -> None:
    """Post `text` by the webhook of an Airflow connection (type Slack Incoming Webhook).

    At most 3 attempts of 3 s each, within 12 s in all. What goes wrong is one line in the log, without the address,
    which is a secret.
    """
    if not slack_conn_id:
        log.info("no notification: the spec has no notify.slack_conn_id")
        return
    outcome: list[str] = []
    sender = threading.Thread(target=lambda: outcome.append(_attempts(slack_conn_id, text)), daemon=True)
    sender.start()
    sender.join(DEADLINE_SECONDS)
    problem = outcome[0] if outcome else f"no answer within {DEADLINE_SECONDS} s"
    if problem:
        log.warning("no notification by connection %r: %s; the run goes on", slack_conn_id, problem)


def _attempts(slack_conn_id: str, text: str) -> str:
    """Send, some times; return what went wrong, by its type alone: its text may have the address."""
    try:
        from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
    except ImportError:
        return "the package apache-airflow-providers-slack is not installed"

    problem = ""
    # Slack's client logs the address with each request, and with each failure.
    silent = logging.getLogger(f"{__name__}.client")
    silent.disabled = True
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        try:
            hook = SlackWebhookHook(
                slack_webhook_conn_id=slack_conn_id, timeout=TIMEOUT_SECONDS, retry_handlers=[], logger=silent
            )
            hook.send(text=text)
        except AirflowNotFoundException:
            return "there is no such connection, or it has no webhook token"
        except Exception as error:  # noqa: BLE001 - what escapes from a thread is printed, with its text
            problem = f"{type(error).__name__} in {attempt + 1} attempts"
        else:
            return ""
    return problem
