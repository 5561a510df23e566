"""Servers of object stores, each a process on a free port of 127.0.0.1.

They come from an environment of their own, `.venv/stores`, which `make setup` makes; Azurite, which needs Node.js, from
`.venv/azurite`, which `make azurite` makes. Google Cloud Storage has only a stand-in, `gcs.py`.
"""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fanfold import documents
from fanfold.bucket.objects import Objects
from fanfold.bucket.probe import RESULT
from fanfold.fitness import judged
from tests.stores import gcs as stand_in
from tests.stores import plain

BIN = Path(sys.prefix) / "stores/bin"
AZURITE = Path(sys.prefix) / "azurite/node_modules/.bin/azurite-blob"
STARTS_WITHIN_SECONDS = 60
BUCKET = "feeds"
S3_SETTINGS: dict[str, Any] = {
    "region": "us-east-1",
    "credentials": {"access_key_id": plain.S3_KEY_ID, "secret_access_key": "fanfold-secret"},
}
# What `fanfold doctor` leaves in a store that is fit, as these are: its own tests say so.
VERDICT = RESULT, documents.encode(judged([]))


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A place in a store, with nothing in it."""

    uri: str
    settings: Mapping[str, Any]
    """What `Objects` takes besides the URI."""

    @property
    def endpoint_url(self) -> str:
        """Where the store is."""
        return str(self.settings["endpoint_url"])

    @property
    def environment(self) -> dict[str, str]:
        """The credentials, as the environment has them."""
        maker = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE_STORAGE"}[self.uri.partition(":")[0]]
        return {f"{maker}_{name.upper()}": value for name, value in self.settings["credentials"].items()}

    def objects(self, **settings: Any) -> Objects:
        """Open it, with other settings where they are given."""
        return Objects(self.uri, **{**self.settings, **settings})

    def below(self, prefix: str) -> "Bucket":
        """Return a place below."""
        return dataclasses.replace(self, uri=f"{self.uri}/{prefix}")


@contextlib.contextmanager
def moto() -> Iterator[Bucket]:
    """S3, in memory."""
    port = free_port()
    with _process([BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)], port):
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")).close()
        yield _s3(port)


@contextlib.contextmanager
def localbucket(data_dir: Path, port: int | None = None) -> Iterator[Bucket]:
    """S3, in the folder `data_dir / BUCKET`: what was answered is there after a kill, and for the next server."""
    (data_dir / BUCKET).mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    with _process([BIN / "localbucket", data_dir, "--host", "127.0.0.1", "--port", str(port)], port):
        yield _s3(port)


@contextlib.contextmanager
def nanio(data_dir: Path) -> Iterator[Bucket]:
    """S3 that takes every condition and keeps none."""
    (data_dir / BUCKET).mkdir(parents=True, exist_ok=True)
    port = free_port()
    credentials = S3_SETTINGS["credentials"]
    environment = {
        "NANIO_ACCESS_KEY": credentials["access_key_id"],
        "NANIO_SECRET_KEY": credentials["secret_access_key"],
    }
    command = [BIN / "nanio", "serve", "--data-dir", data_dir, "--host", "127.0.0.1", "--port", str(port)]
    with _process(command, port, environment):
        yield _s3(port)


@contextlib.contextmanager
def azurite() -> Iterator[Bucket]:
    """Azure Blob Storage, in memory."""
    port = free_port()
    command = [AZURITE, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    with _process([*command, "--silent", "--disableTelemetry"], port):
        endpoint_url = f"http://127.0.0.1:{port}/{plain.AZURE_ACCOUNT}"
        plain.ask(f"{endpoint_url}/{BUCKET}?restype=container", "PUT")
        credentials = {"account_name": plain.AZURE_ACCOUNT, "account_key": plain.AZURE_KEY}
        yield Bucket(f"az://{BUCKET}", {"endpoint_url": endpoint_url, "credentials": credentials})


@contextlib.contextmanager
def gcs() -> Iterator[Bucket]:
    """Give the stand-in for Google Cloud Storage, in memory."""
    port = free_port()
    with _process([sys.executable, stand_in.__file__, str(port), BUCKET], port):
        settings = {"endpoint_url": f"http://127.0.0.1:{port}", "credentials": {"service_account_key": google_key()}}
        yield Bucket(f"gs://{BUCKET}", settings)


def google_key() -> str:
    """Make the key of a service account of Google, as its console gives it: JSON, with an RSA key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"type": "service_account", "project_id": "fanfold", "private_key_id": "1", "private_key": pem}
    return json.dumps({**account, "client_email": "me@fanfold.example", "token_uri": "http://127.0.0.1:9/token"})


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _s3(port: int) -> Bucket:
    return Bucket(f"s3://{BUCKET}", {"endpoint_url": f"http://127.0.0.1:{port}", **S3_SETTINGS})


@contextlib.contextmanager
def _process(command: Sequence[object], port: int, environment: Mapping[str, str] | None = None) -> Iterator[None]:
    process = subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + STARTS_WITHIN_SECONDS
        while not _listens(port):
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            assert time.monotonic() < until, f"{command[0]} does not listen on port {port}"
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
