"""What a store refuses, and what it costs: errors with no secret in them, memory that is bounded."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fanfold.bucket.connections import at_once
from fanfold.bucket.objects import Objects
from fanfold.errors import AccessError, SpecError, StoreError
from tests.stores import servers
from tests.stores.proxy import Proxy
from tests.stores.servers import Bucket, free_port

SECRET = "a-secret-of-mine"
PEAK_BYTES = 150 * 1024**2

CALLS: list[Callable[[Objects], object]] = [
    lambda store: list(store.list()),
    lambda store: store.create("a", b"1"),
    lambda store: store.read("a"),
    lambda store: store.replace("a", b"1"),
    lambda store: store.delete_all(""),
]
IDS = ["list", "create", "read", "replace", "delete all"]


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_a_store_that_does_not_answer_may_be_asked_again_later(call: Callable[[Objects], object]) -> None:
    """Nobody listens: an OSError, which is retried, names the object, in the time that was given."""
    store = Objects(
        "s3://feeds/place",
        endpoint_url=f"http://127.0.0.1:{free_port()}",
        credentials={"access_key_id": "mine", "secret_access_key": SECRET},
        patience_seconds=0.3,
    )
    with pytest.raises(StoreError, match=r"^s3://feeds/place(/a)?: .*error sending request Connection refused"):
        call(store)


@pytest.mark.parametrize("way", [429, 500, 503, "dropped", "unanswered"])
def test_a_store_that_always_fails_is_not_asked_forever(
    disk_bucket: Bucket, proxied: Callable[[Bucket], tuple[Bucket, Proxy]], way: str | int
) -> None:
    """What never goes well ends in an error that says what the store said."""
    place, proxy = proxied(disk_bucket)
    proxy.fail_by(lambda _: way)
    begun = time.monotonic()
    for call in CALLS:
        with pytest.raises(StoreError, match=r"on purpose|error sending request"):
            call(place.objects(patience_seconds=0.5))
    assert time.monotonic() - begun < 30


def test_pauses_grow(disk_bucket: Bucket, proxied: Callable[[Bucket], tuple[Bucket, Proxy]]) -> None:
    """In two seconds a store that is too busy is asked some six times, not twenty."""
    place, proxy = proxied(disk_bucket)
    proxy.fail_by(lambda _: 429)
    with pytest.raises(StoreError, match="429"):
        place.objects(patience_seconds=2).read("a")
    assert 4 <= proxy.requests.total() <= 10


def test_what_a_store_repeats_of_a_secret_is_not_told(
    disk_bucket: Bucket, proxied: Callable[[Bucket], tuple[Bucket, Proxy]]
) -> None:
    """A store that answers with the secret, or with a signed URL: the error has neither."""
    place, proxy = proxied(disk_bucket)
    proxy.fail_by(lambda _: 500)
    proxy.message = f"the token {SECRET} is not that of http://store/a?X-Amz-Signature=0123abcd"
    store = place.objects(credentials={"access_key_id": "me", "secret_access_key": SECRET}, patience_seconds=0.1)
    with pytest.raises(StoreError, match=r"500.*Refused the token … is not that of http://store/a$"):
        store.read("a")


@pytest.mark.parametrize("call", CALLS[:4], ids=IDS[:4])
def test_a_bucket_that_is_missing_is_named(bucket: Bucket, call: Callable[[Objects], object]) -> None:
    """A bucket that is not there is an error that no retry mends."""
    uri = f"{bucket.uri.partition(':')[0]}://nobody/place"
    store = Bucket(uri, bucket.settings).objects()
    with pytest.raises(AccessError, match=rf"^{uri}.*does not exist.*check the name of the bucket"):
        call(store)


@pytest.mark.parametrize("call", CALLS, ids=IDS)
def test_refused_credentials_are_an_error_without_them(lying_bucket: Bucket, call: Callable[[Objects], object]) -> None:
    """A store that refuses the credentials is asked once, and neither the error nor `repr` shows them."""
    credentials = {**lying_bucket.settings["credentials"], "secret_access_key": SECRET}
    store = lying_bucket.objects(credentials=credentials)
    with pytest.raises(AccessError, match=r"403.*the credentials") as caught:
        call(store)
    assert caught.value.__cause__ is None
    assert SECRET not in f"{caught.value} {caught.value!r} {store!r} {store.store!r} {vars(store)}"


def test_credentials_come_from_the_environment(disk_bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings, the variables of the store's own tools say where it is and who asks."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", disk_bucket.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    made = Objects(disk_bucket.uri).create("a", b"1")
    assert [found.e_tag for found in disk_bucket.objects().list()] == [made.e_tag]


def test_a_line_feed_behind_a_secret_is_not_part_of_it(lying_bucket: Bucket) -> None:
    """A secret that was read from a file is taken without the end of its line."""
    credentials = {name: f"{value}\n" for name, value in lying_bucket.settings["credentials"].items()}
    assert lying_bucket.objects(credentials=credentials).create("a", b"1")


@pytest.mark.parametrize(
    ("uri", "credentials"),
    [
        ("gs://feeds", {"service_account_key": f'{{"client_email": "me", "private_key": "{SECRET}"}}'}),
        ("gs://feeds", {"service_account_key": SECRET}),
        ("gs://feeds", {"bearer_token": SECRET}),
        ("az://feeds", {"account_name": "me", "account_key": f"{SECRET}*"}),
        ("az://feeds", {"account_name": "me", "sas_key": f"sv=1&sig={SECRET}"}),
        ("az://feeds", {"account_key": SECRET}),
        ("s3://feeds", {"access_key_id": "me", "secret_access_key": SECRET, "session_token": SECRET}),
    ],
)
def test_no_kind_of_credential_gets_into_an_error(uri: str, credentials: dict[str, str]) -> None:
    """Whether a store takes no such credential, or cannot be reached with it: the error does not show it."""
    with pytest.raises((SpecError, StoreError)) as caught:
        Objects(
            uri, endpoint_url=f"http://127.0.0.1:{free_port()}", credentials=credentials, patience_seconds=0.2
        ).delete("a", "some-version")
    assert SECRET not in f"{caught.value} {caught.value!r}"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["", "data", "/data", "file:///data", "s3:/feeds", "s3://", "s3:///a", "ftp://a/b"])
def test_what_is_not_in_a_bucket_is_an_error_of_the_spec(uri: str) -> None:
    """Anything but the URI of a bucket is refused, with what was expected."""
    with pytest.raises(SpecError, match="is not in a bucket, expected s3://, gs:// or az://"):
        Objects(uri)


def test_a_credential_that_the_store_does_not_know_is_an_error_of_the_spec() -> None:
    """A name that obstore does not know is told; its value is not."""
    with pytest.raises(SpecError, match="'password'") as caught:
        Objects("s3://feeds", credentials={"password": SECRET})
    assert SECRET not in str(caught.value)


def test_at_once_takes_no_more_jobs_than_it_does() -> None:
    """Jobs are taken as results are; results come in the order of the jobs; the first error ends it."""
    taken = []

    def jobs() -> Iterator[int]:
        for n in range(100):
            taken.append(n)
            yield n

    results = at_once(lambda n: n * n, jobs(), connections=4)
    assert [next(results) for _ in range(10)] == [n * n for n in range(10)]
    assert len(taken) <= 10 + 4
    with pytest.raises(ZeroDivisionError):
        list(at_once(lambda n: 1 // n, [1, 2, 0, 3]))


def test_what_is_cut_off_is_asked_for_from_there_on(
    disk_bucket: Bucket, proxied: Callable[[Bucket], tuple[Bucket, Proxy]], tmp_path: Path
) -> None:
    """Of 20 MB that are cut in the middle, the second half is asked for, not the whole."""
    content = os.urandom(20_000_000)
    made = disk_bucket.objects().create("a", content)
    place, proxy = proxied(disk_bucket)
    proxy.fail(1, "half")
    assert place.objects().fetch("a", tmp_path / "a", made.e_tag)
    assert (tmp_path / "a").read_bytes() == content
    assert proxy.bytes_received.total() < 1.6 * len(content)


MEASURED = """
import sys, threading, time
from pathlib import Path
from fanfold.bucket.objects import Objects

def memory():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) * 1024

peak = 0
def watch():
    global peak
    while True:
        peak = max(peak, memory())
        time.sleep(0.01)

threading.Thread(target=watch, daemon=True).start()
uri, endpoint_url, content, target = sys.argv[1:]
store = Objects(uri, endpoint_url=endpoint_url, region="us-east-1",
                credentials={"access_key_id": "mine", "secret_access_key": "mine"})
made = store.create("a", Path(content))
store.create("a", Path(content))
store.copy(made, "b")
assert store.fetch("b", Path(target))
print(peak)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_an_object(tmp_path: Path) -> None:
    """300 MB are made, compared, copied and fetched in 150 MB of memory."""
    with (tmp_path / "content").open("wb") as file:
        file.truncate(2 * PEAK_BYTES)
    with servers.localbucket(tmp_path / "store") as bucket:
        command: list[str | Path] = [
            sys.executable,
            "-c",
            MEASURED,
            bucket.uri,
            bucket.endpoint_url,
            tmp_path / "content",
            tmp_path / "to",
        ]
        measured = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(measured.stdout) < PEAK_BYTES
    assert (tmp_path / "to").stat().st_size == 2 * PEAK_BYTES
