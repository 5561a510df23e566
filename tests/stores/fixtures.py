"""Buckets for tests: the server of each kind is started once, and each test gets a place of its own in it."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.stores import servers
from tests.stores.proxy import Proxy
from tests.stores.servers import Bucket

PLACES = itertools.count(1)


def need_azurite() -> None:
    """Skip a test where Azurite is not installed."""
    if not servers.AZURITE.exists():
        pytest.skip("Azurite needs Node.js and `make azurite`")


@pytest.fixture(scope="session")
def moto() -> Iterator[Bucket]:
    """Start S3 in memory."""
    with servers.moto() as bucket:
        yield bucket


@pytest.fixture(scope="session")
def localbucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """Start S3 on disk."""
    with servers.localbucket(tmp_path_factory.mktemp("localbucket")) as bucket:
        yield bucket


@pytest.fixture(scope="session")
def nanio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """Start the S3 that keeps no condition."""
    with servers.nanio(tmp_path_factory.mktemp("nanio")) as bucket:
        yield bucket


@pytest.fixture(scope="session")
def azurite() -> Iterator[Bucket]:
    """Start Azure Blob Storage in memory."""
    need_azurite()
    with servers.azurite() as bucket:
        yield bucket


@pytest.fixture(scope="session")
def gcs() -> Iterator[Bucket]:
    """Start the stand-in for Google Cloud Storage."""
    with servers.gcs() as bucket:
        yield bucket


@pytest.fixture
def azure_bucket(azurite: Bucket) -> Bucket:
    """Give an empty place in Azure Blob Storage."""
    return azurite.below(f"place-{next(PLACES)}")


@pytest.fixture
def s3_bucket(moto: Bucket) -> Bucket:
    """Give an empty place in S3: `s3_bucket.uri`, `s3_bucket.settings`, `s3_bucket.objects()`."""
    return moto.below(f"place-{next(PLACES)}")


@pytest.fixture
def disk_bucket(localbucket: Bucket) -> Bucket:
    """Give an empty place in an S3 that keeps its objects on disk."""
    return localbucket.below(f"place-{next(PLACES)}")


@pytest.fixture
def lying_bucket(nanio: Bucket) -> Bucket:
    """Give an empty place in an S3 that keeps no condition."""
    return nanio.below(f"place-{next(PLACES)}")


@pytest.fixture
def gcs_bucket(gcs: Bucket) -> Bucket:
    """Give an empty place in the stand-in for Google Cloud Storage."""
    return gcs.below(f"place-{next(PLACES)}")


@pytest.fixture(params=["moto", "localbucket", "gcs"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """Give an empty place in each store that Fanfold can work on, one after the other."""
    place: Bucket = request.getfixturevalue(request.param)
    return place.below(f"place-{next(PLACES)}")


@pytest.fixture
def proxied() -> Iterator[Callable[[Bucket], tuple[Bucket, Proxy]]]:
    """Put a proxy before a bucket; return the bucket by way of it, and the proxy."""
    begun: list[Proxy] = []

    def put_before(bucket: Bucket) -> tuple[Bucket, Proxy]:
        proxy = Proxy(bucket.endpoint_url).__enter__()
        begun.append(proxy)
        return Bucket(bucket.uri, {**bucket.settings, "endpoint_url": proxy.endpoint_url}), proxy

    yield put_before
    for proxy in begun:
        proxy.__exit__(None, None, None)
