"""The credentials of a bucket, from the connection of Airflow that `store.conn_id` names. They are never written."""

import json
from typing import Any

from airflow.sdk import Connection

from fanfold import bucket
from fanfold.airflow.compat import AirflowNotFoundException
from fanfold.errors import MissingError, SpecError


def look_up(conn_id: str) -> bucket.Connection:
    """Return what a connection says of a store. Without keys in it, they come from the environment of the worker.

    Raises:
        MissingError: there is no such connection.
        SpecError: it is not of a store, or asks for what cannot be done.
    """
    try:
        found = Connection.get(conn_id)
    except AirflowNotFoundException:
        msg = f"Airflow has no connection {conn_id!r}, expected one with the credentials of the bucket (store.conn_id)"
        raise MissingError(msg) from None
    kinds = {"aws": _amazon, "google_cloud_platform": _google, "wasb": _azure}
    if found.conn_type not in kinds:
        msg = f"connection {conn_id!r} is of the type {found.conn_type!r}, expected {', '.join(kinds)} (store.conn_id)"
        raise SpecError(msg)
    # Older versions of Airflow have the kind in each name.
    prefix = f"extra__{found.conn_type}__"
    extra = {name.removeprefix(prefix): value for name, value in found.extra_dejson.items() if value}
    known = kinds[found.conn_type](found, extra)
    return known._replace(credentials={name: value for name, value in known.credentials.items() if value})


def _amazon(found: Connection, extra: dict[str, Any]) -> bucket.Connection:
    if "role_arn" in extra:
        msg = (
            f"connection {found.conn_id!r} assumes a role (role_arn), which is not done, expected keys: give the role "
            "to the workers, and leave store.conn_id out"
        )
        raise SpecError(msg)
    keys = {
        "access_key_id": found.login or extra.get("aws_access_key_id"),
        "secret_access_key": found.password or extra.get("aws_secret_access_key"),
        "session_token": extra.get("aws_session_token"),
    }
    return bucket.Connection(keys, extra.get("endpoint_url"), extra.get("region_name"))


def _google(_: Connection, extra: dict[str, Any]) -> bucket.Connection:
    key = extra.get("keyfile_dict", "")
    text = key if isinstance(key, str) else json.dumps(key)
    return bucket.Connection({"service_account_key": text, "service_account": extra.get("key_path")})


def _azure(found: Connection, extra: dict[str, Any]) -> bucket.Connection:
    parts = (part.partition("=") for part in extra.get("connection_string", "").split(";"))
    named = {name: value for name, _, value in parts}
    keys = {"sas_key": extra.get("sas_token") or named.get("SharedAccessSignature")}
    if "tenant_id" in extra:
        # The host is that of the account; the login is that of an application.
        account = (found.host or "").removeprefix("https://").partition(".")[0]
        keys |= {"tenant_id": extra["tenant_id"], "client_id": found.login, "client_secret": found.password}
    else:
        account = found.login or named.get("AccountName") or ""
        keys["account_key"] = found.password or named.get("AccountKey")
    return bucket.Connection({**keys, "account_name": account}, named.get("BlobEndpoint"))
