"""A feed in a bucket: the door to the object store, the log of claims, and the folder that stands for the feed.

Only `store` knows a library of object stores. Nothing here knows what a step does.
"""

import contextlib

from fanfold import mirrors, scratch
from fanfold.mirrors import Mirror
from fanfold.spec.model import Spec


def opened(uri: str, spec: Spec, ts: str | None = None, n: int | None = None) -> Mirror:
    """Return the folder that stands for a bucket, as it is now; one that was opened before stays as it is.

    It is put away at the end of `mirrors.working`. With a `ts`, it shows that run alone,
    with an `n` that group of it.

    Raises:
        MissingError: the library is not installed.
        DataError: the settings of the store are wrong.
        AccessError, StoreError: as `Objects`.
    """
    if known := mirrors.at(uri):
        return known
    from fanfold.bucket.mirror import BucketMirror
    from fanfold.bucket.objects import Objects

    with contextlib.ExitStack() as stack:
        objects = Objects(uri, endpoint_url=spec.store.endpoint_url, region=spec.store.region)
        root = stack.enter_context(scratch.scratch_dir())
        mirror = BucketMirror(objects, root, spec)
        stack.callback(mirror.close)
        mirror.refresh(ts, n)
        mirrors.use(mirror, stack.pop_all().close)
    return mirror
