"""A feed in a bucket: the object store, the log of claims, and the folder that stands for the feed in one process.

Only `requests` and `keys` know a library of object stores. Nothing here knows what a step does.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from fanfold import mirrors, scratch
from fanfold.errors import AccessError, MissingError
from fanfold.mirrors import Mirror
from fanfold.spec.model import Spec

if TYPE_CHECKING:
    from fanfold.fitness import Fitness


class Connection(NamedTuple):
    """What is known of a store under the name of a connection (store.conn_id)."""

    credentials: Mapping[str, Any]
    """As obstore names them."""
    endpoint_url: str | None = None
    region: str | None = None


LookUp = Callable[[str], Connection]
_look_up: ContextVar[LookUp | None] = ContextVar("look_up", default=None)


@contextlib.contextmanager
def connecting(look_up: LookUp) -> Iterator[None]:
    """Look connections up by their names, in a block. Outside of it, the environment has the credentials."""
    before = _look_up.set(look_up)
    try:
        yield
    finally:
        _look_up.reset(before)


def opened(uri: str, spec: Spec, ts: str | None = None, n: int | None = None) -> Mirror:
    """Return the folder that stands for a bucket, as it is now; one that was opened before stays as it is.

    It is put away at the end of `mirrors.working`. With a `ts`, it shows that run alone,
    with an `n` that group of it.

    Raises:
        MissingError: the library is not installed.
        SpecError: the settings of the store are wrong.
        AccessError, StoreError: as `Objects`.
    """
    if known := mirrors.at(uri):
        return known
    with _installed():
        from fanfold.bucket.mirror import BucketMirror

    with contextlib.ExitStack() as stack:
        stack.enter_context(_without_connection(spec))
        root = stack.enter_context(scratch.scratch_dir())
        mirror = BucketMirror(_objects(uri, spec), root, spec)
        stack.callback(mirror.close)
        mirror.refresh(ts, n)
        mirrors.use(mirror, stack.pop_all().close)
    return mirror


def tried(uri: str, spec: Spec) -> "Fitness":
    """Try whether a bucket can hold a feed, and write the verdict into it.

    Raises:
        MissingError, SpecError, AccessError, StoreError: as `opened`.
    """
    with _installed():
        from fanfold.bucket import probe

    with _without_connection(spec):
        return probe.probe(_objects(uri, spec, patience_seconds=probe.PATIENCE_SECONDS))


def _objects(uri: str, spec: Spec, **patience: float) -> Any:
    # The library that talks to stores is only there where it is needed.
    from fanfold.bucket.objects import Objects

    store, look_up = spec.store, _look_up.get()
    known = look_up(store.conn_id) if look_up and store.conn_id else Connection({})
    return Objects(
        uri,
        endpoint_url=store.endpoint_url or known.endpoint_url,
        region=store.region or known.region,
        credentials=known.credentials,
        **patience,
    )


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        msg = f"{error.name} is not installed, expected it for a feed in a bucket: pip install 'fanfold[cloud]'"
        raise MissingError(msg) from error


@contextlib.contextmanager
def _without_connection(spec: Spec) -> Iterator[None]:
    try:
        yield
    except AccessError as error:
        if spec.store.conn_id and not _look_up.get():
            error.add_note(
                f"{spec.store.conn_id!r} (store.conn_id) is a connection of Airflow: outside of it, the credentials "
                "come from the environment (AWS_ACCESS_KEY_ID, …)"
            )
        raise
