"""A feed in Google Cloud Storage: what differs from S3, against a stand-in (tests/stores/gcs.py says what it is)."""

import gzip
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fanfold import api, mirrors
from fanfold.airflow.stores import look_up
from fanfold.bucket import probe
from fanfold.bucket.objects import Objects
from fanfold.cli.commands import cli
from fanfold.errors import AccessError, DataError, SpecError
from fanfold.feed import runs
from fanfold.steps.release import release
from tests.conftest import TS, FeedDir
from tests.stores.gcs import Server
from tests.stores.proxy import Proxy
from tests.stores.servers import BUCKET, Bucket, google_key
from tests.torture.buckets import Buckets, tree
from tests.torture.feeds import make_small_shop

LATER = "20260102T040506Z"
MORE = [{"id": 70, "customer_id": "2", "items": [{"sku": "b", "qty": 3}], "payments": []}]


@pytest.fixture
def google() -> Iterator[Server]:
    """Give the stand-in in this process: it says with what requests came."""
    with Server(0, BUCKET) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def buckets(tmp_path: Path, gcs: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Buckets]:
    """Give the stand-in behind a proxy, and the credentials for it."""
    for name, value in gcs.environment.items():
        monkeypatch.setenv(name, value)
    with Proxy(gcs.endpoint_url) as proxy:
        yield Buckets(tmp_path / "specs", gcs, proxy)


def used(server: Server, **settings: Any) -> Objects:
    """Make an object, copy it and list it, in a store that is opened with some settings."""
    objects = Objects(f"gs://{BUCKET}/in", endpoint_url=url(server), patience_seconds=1, **settings)
    objects.copy(objects.create("a", b"1"), "b")
    assert [found.name for found in objects.list()] == ["a", "b"]
    return objects


def url(server: Server) -> str:
    """Return where the stand-in is."""
    return f"http://127.0.0.1:{server.server_address[1]}"


def signers(server: Server, account: str) -> set[str]:
    """Return who has signed the tokens of all requests, each checked with the key of an account."""
    key: Any = load_pem_private_key(json.loads(account)["private_key"].encode(), None)
    tokens = [str(told).removeprefix("Bearer ") for told in server.authorizations]
    return {jwt.decode(token, key.public_key(), algorithms=["RS256"])["iss"] for token in tokens}


def put_encoded(where: str, content: bytes) -> None:
    """Put an object compressed, with the header that says so."""
    headers = {"Content-Type": "application/octet-stream", "Content-Encoding": "gzip"}
    urllib.request.urlopen(urllib.request.Request(where, gzip.compress(content), headers, method="PUT")).close()


@pytest.mark.slow
def test_doctor_says_what_google_keeps(gcs_bucket: Bucket, feed: FeedDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds the store fit, and one condition not kept: that of a delete."""
    monkeypatch.setenv("FANFOLD_ALLOWED_ROOTS", gcs_bucket.uri)
    for name, value in gcs_bucket.environment.items():
        monkeypatch.setenv(name, value)
    feed.write_spec(store={"endpoint_url": gcs_bucket.endpoint_url})
    told = CliRunner().invoke(cli, ["doctor", str(feed.spec_path), "--data-dir", gcs_bucket.uri, "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found["fit"]
    assert [check["name"] for check in found["checks"] if not check["kept"]] == ["delete_if_match"]
    probe.check_fit(gcs_bucket.objects())


@pytest.mark.slow
def test_the_condition_is_what_makes_google_fit(
    gcs_bucket: Bucket, proxied: Callable[[Bucket], tuple[Bucket, Proxy]]
) -> None:
    """Where the condition of a generation is lost on the way, the store is refused."""
    place, proxy = proxied(gcs_bucket)
    proxy.stripped["PUT"] = "x-goog-if-generation-match"
    found = probe.probe(place.objects())
    assert not found.fit
    lost = {check.name for check in found.checks if not check.kept}
    assert lost == {"create_if_absent", "copy_if_absent", "delete_if_match"}


@pytest.mark.parametrize("name", ["SERVICE_ACCOUNT", "SERVICE_ACCOUNT_KEY", "APPLICATION_CREDENTIALS"])
def test_a_service_account_signs_each_request(
    google: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A key or its file, in a variable of Google's own tools, signs every request; no other server is asked."""
    account, path = google_key(), tmp_path / "key.json"
    path.write_text(account)
    monkeypatch.setenv(f"GOOGLE_{name}", account if name.endswith("KEY") else str(path))
    used(google)
    assert signers(google, account) == {"me@fanfold.example"}


@pytest.mark.parametrize("key", ["keyfile_dict", "key_path"])
def test_a_connection_of_airflow_signs_each_request(
    google: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """The key in a connection of Airflow, or the file that it names, counts; that of the environment does not."""
    account, path = google_key(), tmp_path / "key.json"
    path.write_text(account)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    extra = {key: account if key == "keyfile_dict" else str(path)}
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps({"conn_type": "google_cloud_platform", "extra": extra}))
    used(google, credentials=look_up("store").credentials)
    assert signers(google, account) == {"me@fanfold.example"}


def test_two_accounts_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key beside the file of another account in the environment is refused before any request, without the key."""
    account = google_key()
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "key.json"))
    with pytest.raises(SpecError, match="One of service account path or service account key may be provided") as told:
        Objects("gs://feeds", credentials={"service_account_key": account})
    assert json.loads(account)["private_key"][40:80] not in str(told.value)


def test_refused_credentials_are_not_told(google: Server) -> None:
    """An account that may not do something is an error at once, with what to check, and without its key."""
    account = google_key()
    objects = used(google, credentials={"service_account_key": account})
    google.refuses = True
    calls: list[Callable[[], object]] = [
        lambda: list(objects.list()),
        lambda: objects.head("a"),
        lambda: objects.read("a"),
        lambda: objects.create("c", b"1"),
        lambda: objects.delete("a"),
    ]
    for call in calls:
        with pytest.raises(AccessError, match=r"401 .*check the name of the bucket, the credentials") as told:
            call()
        assert json.loads(account)["private_key"][40:80] not in str(told.value)


@pytest.mark.parametrize(
    ("key", "told"), [("a//b.json", "a//b.json"), ("a\tb.json", r"a\\tb.json"), ("a\x1b[2Jb", r"a\\x1b\[2Jb")]
)
def test_a_key_that_cannot_be_a_path_is_named(google: Server, key: str, told: str) -> None:
    """A list that has such a key is an error, which names it, without control characters, and says what to do."""
    objects = used(google, credentials={"service_account_key": google_key()})
    google.put(f"in/{key}", b"1", {}, None)
    with pytest.raises(DataError, match=rf"a key that cannot be a path: .*{told}.*rename it") as caught:
        list(objects.list())
    assert str(caught.value).isprintable()


def test_a_run_stops_at_a_key_that_cannot_be_a_path(buckets: Buckets, tmp_path: Path) -> None:
    """Nothing is claimed while it is in landing; once it is renamed, the run has the tree of a folder."""
    folder = make_small_shop(tmp_path / "made")
    feed = buckets.copy(folder.spec_path)
    before = feed.tree(own=True)
    feed.put("transactions/d//e.json", json.dumps(MORE).encode())
    with pytest.raises(DataError, match=r"cannot be a path: .*transactions/d//e\.json.* rename it"):
        api.run(feed.spec, ts=TS)
    feed.delete("transactions/d//e.json")
    assert feed.tree(own=True) == before
    for name in ("d/e.json", "50%+1 a&b=c;d.json", "é.json"):
        feed.put(f"transactions/{name}", json.dumps(MORE).encode())
        folder.land(name, MORE)
    api.run(feed.spec, ts=TS)
    folder.run()
    assert feed.tree() == tree(folder.data_dir)


def test_what_google_decompresses_is_named(google: Server) -> None:
    """An object with a Content-Encoding cannot be read as it is kept: that is an error at once, and says what to do."""
    objects = used(google, credentials={"service_account_key": google_key()})
    put_encoded(f"{url(google)}/{BUCKET}/in/c.json", b"[]")
    for call in (objects.head, objects.read):
        with pytest.raises(DataError, match=r"/in/c\.json is decompressed by the store .* without a Content-Encoding"):
            call("c.json")


def test_a_run_with_what_google_decompresses_is_given_up(buckets: Buckets, tmp_path: Path) -> None:
    """Nothing of it is published; put again as it is, the file is in the next run, and nothing is lost."""
    folder = make_small_shop(tmp_path / "made")
    feed = buckets.copy(folder.spec_path)
    put_encoded(f"{feed.url}/transactions/d.json", json.dumps(MORE).encode())
    with pytest.raises(DataError, match=r"/transactions/d\.json is decompressed by the store .* put it again"):
        api.run(feed.spec, ts=TS)
    assert not [name for name in feed.tree() if name.startswith(("denormalized/", "processed/"))]
    feed.put("transactions/d.json", json.dumps(MORE).encode())
    with pytest.raises(DataError, match=r"d\.json' was overwritten or removed after .*fanfold release"):
        api.run(feed.spec, ts=TS)
    with mirrors.working():
        release(runs.open_feed(feed.spec), TS)
    folder.land("d.json", MORE)
    api.run(feed.spec, ts=LATER)
    folder.run(LATER)
    assert feed.tree() == tree(folder.data_dir)
