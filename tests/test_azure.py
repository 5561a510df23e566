"""The door to an object store against Azure Blob Storage: what differs from S3."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from fanfold.bucket import probe
from fanfold.bucket.requests import SMALL_BYTES
from fanfold.errors import ChangedError, TakenError
from tests.stores.proxy import Proxy
from tests.stores.servers import Bucket

pytestmark = pytest.mark.slow

LARGE = random.Random(1).randbytes(SMALL_BYTES + 100_000)


def test_a_version_has_one_name(azure_bucket: Bucket) -> None:
    """Azure lists an e_tag without quotes and answers with them: here they are the same."""
    store = azure_bucket.objects()
    made = store.create("in/a", b"1")
    (listed,) = store.list("in")
    assert listed == store.head("in/a")
    assert listed.e_tag == made.e_tag
    assert store.read("in/a", listed.e_tag) == b"1"


def test_azure_is_fit(azure_bucket: Bucket) -> None:
    """All is kept but checksums: its e_tags are no digests, so large copies are read back."""
    found = probe.probe(azure_bucket.objects())
    assert found.fit
    assert [check.name for check in found.checks if not check.kept] == ["checksums"]


def test_each_call_while_requests_fail(
    azure_bucket: Bucket, proxied: Callable[[Bucket], tuple[Bucket, Proxy]], tmp_path: Path
) -> None:
    """While one in five requests fails, objects are made, copied, fetched and deleted, each once."""
    place, proxy = proxied(azure_bucket)
    proxy.fail_at_random(seed=2, share=0.2)
    store = place.objects()
    names = [f"in/{n} ü%20" for n in range(8)]
    for n, name in enumerate(names):
        content = LARGE + b"%d" % n if n % 4 == 0 else b"%d" % n
        made = store.create(name, content)
        assert store.create(name, content).e_tag == made.e_tag
        with pytest.raises(TakenError):
            store.create(name, b"other")
        store.copy(made, name.replace("in", "out"))
        store.replace(name, b"new")
        assert store.fetch(name, tmp_path / "file", made.e_tag) is None
        with pytest.raises(ChangedError):
            store.copy(made, "out/none")
        assert not store.delete(name, made.e_tag)
        assert store.read(name.replace("in", "out")) == content
    assert [found.name for found in store.list()] == [*names, *(name.replace("in", "out") for name in names)]
    store.delete_all("in")
    assert [found.name for found in azure_bucket.objects().list()] == [name.replace("in", "out") for name in names]
    assert proxy.failed.total() > 20
