"""`fanfold doctor`: which places can hold a feed, and which are refused."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fanfold import documents
from fanfold.bucket import probe
from fanfold.cli.commands import cli
from fanfold.errors import AccessError, DataError, MissingError, PathError
from fanfold.fitness import Fitness
from tests.conftest import FeedDir, tree
from tests.stores import servers
from tests.stores.proxy import Proxy
from tests.stores.servers import Bucket

Proxied = Callable[[Bucket], tuple[Bucket, Proxy]]
NEEDED = ["create_if_absent", "lost_answer", "read_after_write", "list_after_write", "versions", "copy"]
BETTER = ["copy_if_absent", "delete_if_match", "checksums"]


def kept(fitness: Fitness) -> set[str]:
    """Return what a place keeps."""
    return {check.name for check in fitness.checks if check.kept}


def doctor(*arguments: object) -> Result:
    """Do the command in this process."""
    return CliRunner().invoke(cli, ["doctor", *map(str, arguments)])


def in_environment(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say by the environment where a bucket is."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.endpoint_url)
    monkeypatch.setenv("FANFOLD_ALLOWED_ROOTS", bucket.uri)
    for name, value in bucket.settings["credentials"].items():
        monkeypatch.setenv(f"AWS_{name.upper()}", value)


@pytest.mark.slow
def test_a_store_that_keeps_all_is_fit(s3_bucket: Bucket) -> None:
    """All is kept; the verdict alone stays in the store, and is the same bytes each time."""
    store = s3_bucket.objects()
    found = probe.probe(store)
    assert (found.fit, kept(found)) == (True, {*NEEDED, *BETTER})
    assert [object_.name for object_ in store.list()] == [".fanfold/store.json"]
    content = store.read(".fanfold/store.json")
    assert content == documents.encode(found)
    probe.check_fit(store)
    probe.probe(store)
    assert store.read(".fanfold/store.json") == content


def test_a_weaker_condition_is_told(disk_bucket: Bucket) -> None:
    """A store that deletes without its condition is fit, and it is told what is done instead and what that leaves."""
    found = probe.probe(disk_bucket.objects())
    assert (found.fit, kept(found)) == (True, {*NEEDED, "copy_if_absent", "checksums"})
    (told,) = (check.told for check in found.checks if not check.kept)
    assert told == "the version is compared before it is deleted: what takes its name in between is deleted"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "header", "lost"),
    [
        ("PUT", "if-none-match", NEEDED[0]),
        ("POST uploadId", "if-none-match", BETTER[0]),
        ("DELETE", "if-match", BETTER[1]),
    ],
)
def test_each_condition_is_tried(s3_bucket: Bucket, proxied: Proxied, kind: str, header: str, lost: str) -> None:
    """Where a condition is lost on the way, just that is not kept; only create-if-absent must be."""
    place, proxy = proxied(s3_bucket)
    proxy.stripped[kind] = header
    found = probe.probe(place.objects())
    assert {*NEEDED, *BETTER} - kept(found) == {lost}
    assert found.fit == (lost in BETTER)


@pytest.mark.slow
def test_a_store_that_lies_is_refused(lying_bucket: Bucket, feed: FeedDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes the condition and does not keep it is refused by name: exit code 1, and no run begins."""
    in_environment(lying_bucket, monkeypatch)
    told = doctor(feed.spec_path, "--data-dir", lying_bucket.uri, "--json")
    assert not json.loads(told.stdout)["fit"]
    assert isinstance(told.exception, DataError)
    assert told.exception.exit_code == 1
    with pytest.raises(DataError, match="it fails: create_if_absent"):
        probe.check_fit(lying_bucket.objects())


def test_a_store_that_was_never_tried_is_refused(s3_bucket: Bucket) -> None:
    """A store without a verdict is not used; the message says what to do."""
    with pytest.raises(DataError, match=r"was never tried.*run fanfold doctor"):
        probe.check_fit(s3_bucket.objects())


@pytest.mark.slow
def test_requests_that_fail_are_not_the_verdict(s3_bucket: Bucket, proxied: Proxied) -> None:
    """One in ten requests fails, in every way: the store is as fit as before."""
    place, proxy = proxied(s3_bucket)
    proxy.fail_at_random(seed=1, share=0.1)
    assert probe.probe(place.objects()).fit
    assert proxy.failed.total() > 50


def test_credentials_that_are_refused_are_no_verdict(lying_bucket: Bucket) -> None:
    """Without access nothing is said of the store, and nothing is written."""
    with pytest.raises(AccessError):
        probe.probe(lying_bucket.objects(credentials={"access_key_id": "me", "secret_access_key": "wrong"}))
    assert list(lying_bucket.objects().list()) == []


def test_what_a_killed_probe_left_is_removed(tmp_path: Path) -> None:
    """What lies among the probes for more than an hour is removed; what another one has just made stays."""
    with servers.localbucket(tmp_path) as bucket:
        place = bucket.below("place")
        for name in ("killed", "now"):
            place.objects().create(f".fanfold/probe/{name}/1", b"1")
        past = time.time() - 7200
        os.utime(tmp_path / servers.BUCKET / "place/.fanfold/probe/killed/1", (past, past))
        probe.probe(place.objects())
        names = [found.name for found in place.objects().list()]
    assert names == [".fanfold/probe/now/1", ".fanfold/store.json"]


@pytest.mark.slow
def test_the_command_tells_of_a_bucket(s3_bucket: Bucket, feed: FeedDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has a line for each trial; the last line is the verdict."""
    in_environment(s3_bucket, monkeypatch)
    told = doctor(feed.spec_path, "--data-dir", s3_bucket.uri)
    assert told.exit_code == 0, told.output
    for name in (*NEEDED, *BETTER):
        assert name in told.stdout
    assert told.stdout.splitlines()[-1] == f"{s3_bucket.uri} can hold a feed"


def test_a_bucket_outside_of_the_roots_is_not_touched(s3_bucket: Bucket, feed: FeedDir) -> None:
    """A bucket that is not among the allowed roots is refused before any request."""
    told = doctor(feed.spec_path, "--data-dir", s3_bucket.uri)
    assert isinstance(told.exception, PathError)
    assert list(s3_bucket.objects().list()) == []


def test_a_folder_can_hold_a_feed(feed: FeedDir) -> None:
    """A folder on a usual disk keeps all, and is left as it was."""
    before = tree(feed.data_dir)
    told = doctor(feed.spec_path, "--json")
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found["fit"]
    assert {check["name"]: check["kept"] for check in found["checks"]} == {"rename": True, "link": True, "lock": True}
    assert tree(feed.data_dir) == before


def test_a_folder_that_is_missing_is_named(feed: FeedDir) -> None:
    """Nothing is said of a folder that is not there."""
    told = doctor(feed.spec_path, "--data-dir", feed.data_dir / "nothing")
    assert isinstance(told.exception, MissingError)
    assert "nothing' is not a directory" in str(told.exception)
