"""The connections of Airflow that have the credentials of a bucket, of each type and in each form of it."""

import json
from typing import Any

import pytest

from fanfold.airflow.stores import look_up
from fanfold.bucket import Connection
from fanfold.bucket.objects import Objects
from fanfold.errors import MissingError, SpecError

KEY = json.dumps({"type": "service_account", "private_key": "-"})
ACCOUNT = "AccountName=acc;AccountKey=a2V5aw==;BlobEndpoint=http://127.0.0.1/acc"


def given(monkeypatch: pytest.MonkeyPatch, conn_type: str, extra: dict[str, Any], **fields: str) -> None:
    """Give Airflow a connection, by the environment."""
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps({"conn_type": conn_type, **fields, "extra": extra}))


@pytest.mark.parametrize(
    ("conn_type", "fields", "extra", "known"),
    [
        (
            "aws",
            {"login": "id", "password": "key"},
            {"region_name": "eu-1", "endpoint_url": "http://minio"},
            Connection({"access_key_id": "id", "secret_access_key": "key"}, "http://minio", "eu-1"),
        ),
        (
            "aws",
            {},
            {"aws_access_key_id": "id", "aws_secret_access_key": "key", "aws_session_token": "token"},
            Connection({"access_key_id": "id", "secret_access_key": "key", "session_token": "token"}),
        ),
        ("aws", {}, {}, Connection({})),
        ("google_cloud_platform", {}, {"keyfile_dict": KEY}, Connection({"service_account_key": KEY})),
        ("google_cloud_platform", {}, {"keyfile_dict": json.loads(KEY)}, Connection({"service_account_key": KEY})),
        (
            "google_cloud_platform",
            {},
            {"extra__google_cloud_platform__key_path": "/keys/a.json"},
            Connection({"service_account": "/keys/a.json"}),
        ),
        ("wasb", {"login": "acc", "password": "a2V5"}, {}, Connection({"account_name": "acc", "account_key": "a2V5"})),
        ("wasb", {"login": "acc"}, {"sas_token": "sv=1"}, Connection({"account_name": "acc", "sas_key": "sv=1"})),
        (
            "wasb",
            {},
            {"connection_string": ACCOUNT},
            Connection({"account_name": "acc", "account_key": "a2V5aw=="}, "http://127.0.0.1/acc"),
        ),
        (
            "wasb",
            {"host": "https://acc.blob.core.windows.net", "login": "app", "password": "secret"},
            {"tenant_id": "tenant"},
            Connection(
                {"account_name": "acc", "tenant_id": "tenant", "client_id": "app", "client_secret": "secret"},
            ),
        ),
    ],
)
def test_a_connection_has_what_a_store_takes(
    monkeypatch: pytest.MonkeyPatch, conn_type: str, fields: dict[str, str], extra: dict[str, Any], known: Connection
) -> None:
    """Each type gives its keys under the names of the library of stores, which takes all of them."""
    given(monkeypatch, conn_type, extra, **fields)
    assert look_up("store") == known
    scheme = {"aws": "s3", "google_cloud_platform": "gs", "wasb": "az"}[conn_type]
    # A path of keys is read, and this key is none.
    if scheme != "gs":
        Objects(f"{scheme}://bucket/a", credentials=known.credentials, endpoint_url=known.endpoint_url)


def test_a_connection_that_is_of_no_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is missing, of another type, or that assumes a role is refused, without its secrets."""
    with pytest.raises(MissingError, match=r"Airflow has no connection 'store', expected one with the credentials"):
        look_up("store")
    given(monkeypatch, "http", {}, password="hidden-one")
    with pytest.raises(SpecError, match=r"is of the type 'http', expected aws, google_cloud_platform, wasb") as told:
        look_up("store")
    given(monkeypatch, "aws", {"role_arn": "arn:aws:iam::1:role/a"}, password="hidden-one")
    with pytest.raises(SpecError, match=r"assumes a role .* leave out store.conn_id") as role:
        look_up("store")
    assert "hidden-one" not in f"{told.value}{role.value}"
