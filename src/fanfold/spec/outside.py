"""What a feed uses outside its folder: the store of a bucket, and Slack."""

from typing import Literal

from pydantic import Field

from fanfold.spec.section import Section


class Store(Section):
    """The bucket, if data_dir is in one. Credentials come from the environment, or from an Airflow connection."""

    endpoint_url: str | None = None
    """URL of the store, where it is not that of the provider: https://minio.example.com. An http:// URL is not
    encrypted."""
    region: str | None = None
    """Region of the bucket."""
    conn_id: str | None = None
    """An Airflow connection that has the credentials: of the type Amazon Web Services, Google Cloud, or Azure Blob
    Storage."""


class Notify(Section):
    """Messages in Slack. Without a connection none is sent. If Slack fails, the run does not."""

    slack_conn_id: str | None = None
    """An Airflow connection of the type Slack Incoming Webhook."""
    above_files: int = Field(1, ge=0)
    """Report files when more than this many are ready."""
    on: list[Literal["files", "failed", "quarantined"]] = ["files"]
    """What to report. files: files are ready (before they are staged). failed: a run has failed, and why. quarantined:
    a run has succeeded, but has bad records or files in quarantine."""
