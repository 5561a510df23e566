"""The Slack notification: it never delays a run for long, and never fails it."""

import html
import logging
import time

from airflow.sdk import Connection

from fanfold.airflow.compat import AirflowNotFoundException

log = logging.getLogger(__name__)

ATTEMPTS = 3
TIMEOUT_SECONDS = 3
PAUSE_SECONDS = 0.5


def is_there(slack_conn_id: str | None) -> bool:
    """Say whether there is a connection to Slack; a warning says that the one in the spec is missing."""
    if not slack_conn_id:
        return False
    try:
        Connection.get(slack_conn_id)
    except AirflowNotFoundException:
        log.warning("no message is sent: Airflow has no connection %r (notify.slack_conn_id)", slack_conn_id)
        return False
    except Exception as error:  # noqa: BLE001 - where it is kept may be out of reach: sending says more
        log.info("connection %r: %s", slack_conn_id, type(error).__name__)
    return True


def notify(slack_conn_id: str | None, text: str) -> None:
    """Post `text` to the webhook of an Airflow connection (type Slack Incoming Webhook).

    At most 3 attempts of 3 s each. What goes wrong is one line in the log, without the address, which is a secret.
    """
    if not slack_conn_id:
        log.info("no message is sent: the spec has no notify.slack_conn_id")
    elif problem := _send(slack_conn_id, text):
        log.warning("no message was sent through connection %r: %s; the run continues", slack_conn_id, problem)


def _send(slack_conn_id: str, text: str) -> str:
    """Try until it is sent; return what went wrong, by its type alone: its text may have the address."""
    try:
        from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
    except ImportError:
        return "the package apache-airflow-providers-slack is not installed"

    problem = ""
    # Slack's client logs the address with each request, and with each failure.
    silent = logging.getLogger(f"{__name__}.client")
    silent.disabled = True
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE_SECONDS if attempt else 0)
        try:
            hook = SlackWebhookHook(
                slack_webhook_conn_id=slack_conn_id, timeout=TIMEOUT_SECONDS, retry_handlers=[], logger=silent
            )
            # What a record has in it must not become a link, or call a whole channel.
            hook.send(text=html.escape(text, quote=False))
        except AirflowNotFoundException:
            return "there is no such connection, or it has no webhook token"
        except Exception as error:  # noqa: BLE001 - a notification fails nothing, whatever is wrong with it
            problem = f"{type(error).__name__} in {ATTEMPTS} attempts"
        else:
            return ""
    return problem
