"""The credentials of a bucket, from the Airflow connection that `store.conn_id` names. They are never written down."""

import json
from collections.abc import Mapping

from airflow.sdk import Connection

from fanfold import bucket
from fanfold.airflow.compat import AirflowNotFoundException
from fanfold.errors import MissingError, SpecError

# For each type of connection, the keys that obstore takes, and where a connection may have them.
KEYS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "aws": {
        "access_key_id": ("login", "aws_access_key_id"),
        "secret_access_key": ("password", "aws_secret_access_key"),
        "session_token": ("aws_session_token",),
    },
    "google_cloud_platform": {"service_account_key": ("keyfile_dict",), "service_account": ("key_path",)},
    "wasb": {
        "account_name": ("login", "AccountName"),
        "account_key": ("password", "AccountKey"),
        "sas_key": ("sas_token", "SharedAccessSignature"),
    },
}
# With a tenant, the login is that of an application.
APPLICATION = {
    "tenant_id": ("tenant_id",),
    "client_id": ("login",),
    "client_secret": ("password",),
    "account_name": ("account",),
}


def look_up(conn_id: str) -> bucket.Connection:
    """Return what a connection says about a store. If it has no keys, they come from the environment of the worker.

    Raises:
        MissingError: there is no such connection.
        SpecError: it is not for a store, or asks for something that is not supported.
    """
    try:
        found = Connection.get(conn_id)
    except AirflowNotFoundException:
        msg = f"Airflow has no connection {conn_id!r}, expected one with the credentials of the bucket (store.conn_id)"
        raise MissingError(msg) from None
    if found.conn_type not in KEYS:
        msg = f"connection {conn_id!r} is of the type {found.conn_type!r}, expected {', '.join(KEYS)} (store.conn_id)"
        raise SpecError(msg)
    # Older versions of Airflow have the type in each name.
    extra = {name.removeprefix(f"extra__{found.conn_type}__"): value for name, value in found.extra_dejson.items()}
    if "role_arn" in extra:
        msg = (
            f"connection {conn_id!r} assumes a role (role_arn), which is not supported, expected keys: give the role "
            "to the workers, and leave out store.conn_id"
        )
        raise SpecError(msg)
    account = (found.host or "").removeprefix("https://").partition(".")[0]
    parts = (part.partition("=") for part in extra.get("connection_string", "").split(";"))
    given = {"login": found.login, "password": found.password, "account": account, **extra}
    given |= {name: value for name, _, value in parts}
    known = {}
    for key, places in (APPLICATION if extra.get("tenant_id") else KEYS[found.conn_type]).items():
        if value := next(filter(None, map(given.get, places)), None):
            known[key] = value if isinstance(value, str) else json.dumps(value)
    return bucket.Connection(known, given.get("endpoint_url") or given.get("BlobEndpoint"), given.get("region_name"))
