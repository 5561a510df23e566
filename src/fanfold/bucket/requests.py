"""Single requests to an object store, each sent once: the only module that knows a library of object stores.

A method that is answered by an error raises one of `REPEATED`, or `FileNotFoundError` where nothing has the name (or
the bucket is missing). Whether the request was carried out, nobody knows then.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store
from urllib3.exceptions import HTTPError

from fanfold.bucket import keys
from fanfold.bucket.connections import check, send
from fanfold.bucket.patience import told
from fanfold.errors import DataError, SpecError, StoreError

REPEATED = (exceptions.BaseError, StoreError, HTTPError, ConnectionError, TimeoutError)
VersionError = exceptions.PreconditionError

# What Google does to an object that has a Content-Encoding: it comes decompressed, and nothing is said of its version.
DECOMPRESSED = re.compile("(ETag|Content-Length) Header missing")
SCHEMES: Mapping[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
LISTED_AT_ONCE = 1000
CHUNK_BYTES = 1024**2
# A larger body is given all the time that it needs.
SMALL_BYTES = 4 * 1024**2
CONNECTED, STALLED, LONGEST = timedelta(seconds=10), timedelta(seconds=30), timedelta(hours=2)
SIGNED_FOR = timedelta(minutes=5)


class Object(NamedTuple):
    """An object of the store, in one version."""

    name: str
    """Relative to the prefix of the feed."""
    size_bytes: int
    e_tag: str
    """What the store calls this version: the same in a list and in an answer, without the quotes of the latter."""
    modified: datetime
    """To the second, which is all that an answer says; a list may say more."""


class Store:
    """The objects under one prefix of a bucket."""

    def __init__(self, uri: str, endpoint_url: str | None, region: str | None, credentials: Mapping[str, str]) -> None:
        """Name the objects, as `Objects` does; no request is sent."""
        scheme, _, path = uri.rstrip("/").partition("://")
        bucket, _, prefix = path.partition("/")
        if scheme not in SCHEMES or not bucket:
            msg = f"{uri!r} is not in a bucket, expected s3://, gs:// or az://, the bucket's name, and a prefix"
            raise SpecError(msg)
        self.uri = uri.rstrip("/")
        # A file with a secret often ends in a line feed.
        config: dict[str, Any] = {name: value.strip() for name, value in credentials.items()}
        self.secrets = [secret for secret in config.values() if secret]
        self._deletes_by_e_tag = scheme != "gs"
        if scheme == "s3":
            # One part, which is completed only if the name is free. Not every store has a request for many deletions.
            config |= {"copy_if_not_exists": "multipart", "disable_bulk_delete": True}
            config |= {"region": region} if region else {}
        if endpoint_url:
            config["base_url" if scheme == "gs" else "endpoint"] = endpoint_url

        def opened(**limits: timedelta) -> Any:
            client = {"allow_http": True, "connect_timeout": CONNECTED, "timeout": LONGEST, **limits}
            retries = {"max_retries": 0}
            return SCHEMES[scheme](
                bucket, prefix=prefix or None, config=config, client_options=client, retry_config=retries
            )

        try:
            self._store = opened(read_timeout=STALLED)
            # A read timeout counts from the beginning of a request, also while its body is sent.
            self._patient = opened()
        except (exceptions.BaseError, ValueError) as error:
            msg = f"{self.uri!r} cannot be opened: {told(error, self.secrets)}; check its settings"
            raise SpecError(msg) from None

    def list(self, prefix: str, after: str | None) -> Iterator[Object]:
        """Yield the objects below a prefix, behind a name; of S3 also those whose keys cannot be paths, by their keys.

        Raises:
            DataError: a key cannot be a path, in another store than S3.
        """
        last = after
        try:
            for some in obstore.list(self._store, prefix or None, offset=after, chunk_size=LISTED_AT_ONCE):
                for found in map(_object, some):
                    yield found
                    last = found.name
        except exceptions.InvalidPathError as error:
            if not isinstance(self._store, S3Store):
                msg = f"{self.uri!r} has a key that cannot be a path: {told(error, self.secrets)}; rename it"
                raise DataError(msg) from None
            for key, (size, e_tag, modified) in keys.listed(self._store, prefix, last or ""):
                changed = datetime.fromisoformat(modified).replace(microsecond=0)
                yield Object(key, int(size), e_tag.strip('"'), changed)

    def head(self, name: str) -> Object:
        """Return what has a name.

        Raises:
            DataError: as `get`.
        """
        with self._as_it_is_kept(name):
            return _object(obstore.head(self._store, name))

    def get(self, name: str, e_tag: str | None, begin: int) -> tuple[Object, Iterator[Any]]:
        """Return an object, in a version if one is named, and what it holds from a byte on.

        Raises:
            VersionError: the store says that it is not there in that version.
            DataError: Google does not give it as it is kept.
        """
        options: Any = {"if_match": f'"{e_tag}"'} if e_tag else {}
        with self._as_it_is_kept(name):
            answer = obstore.get(self._store, name, options=options | ({"range": {"offset": begin}} if begin else {}))
        return _object(answer.meta), iter(answer.stream(min_chunk_size=CHUNK_BYTES))

    def put(self, name: str, content: Any) -> None:
        """Make an object, or replace it."""
        obstore.put(self._store, name, content, use_multipart=False)

    def put_if_absent(self, name: str, content: Any) -> str | None:
        """Make an object, and return its e_tag; None where the store says that the name is taken."""
        store = self._store if len(content) <= SMALL_BYTES else self._patient
        with contextlib.suppress(exceptions.AlreadyExistsError):
            return _e_tag(obstore.put(store, name, content, mode="create", use_multipart=False))
        return None

    def put_if_match(self, name: str, content: Any, e_tag: str) -> str | None:
        """Replace a version of an object, and return the new e_tag; None where the name has another version, or none.

        Raises:
            VersionError: it has got another one in this moment.
        """
        with contextlib.suppress(FileNotFoundError):
            found = obstore.head(self._store, name)
            # Not every store keeps the condition. Google has a number for a version, others have none.
            if _e_tag(found) == e_tag:
                mode: Any = {key: value for key in ("e_tag", "version") if (value := found[key])}
                return _e_tag(obstore.put(self._store, name, content, mode=mode, use_multipart=False))
        return None

    def copy_if_absent(self, source: str, target: str) -> None:
        """Copy an object, unless the store says that the name is taken."""
        # A request that was carried out twice finds its own copy, or no longer what it has begun.
        with contextlib.suppress(exceptions.AlreadyExistsError, FileNotFoundError):
            obstore.copy(self._patient, source, target, overwrite=False)

    def delete(self, name: str) -> None:
        """Delete an object, whatever its version, or nothing."""
        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def delete_if_match(self, name: str, e_tag: str) -> bool:
        """Delete a version of an object; return False where the store does not take this condition.

        Raises:
            StoreError: the version is not there, or anything else.
        """
        if not self._deletes_by_e_tag:
            return False
        # obstore has no condition for it, but signs the request.
        url = obstore.sign(self._store, "DELETE", name, SIGNED_FOR)
        answer = send("DELETE", url, {"If-Match": f'"{e_tag}"'})
        # What else may be wrong, the request without the condition will meet.
        if answer.status in {400, 403, 501}:
            return False
        check(answer)
        return True

    @contextlib.contextmanager
    def _as_it_is_kept(self, name: str) -> Iterator[None]:
        try:
            yield
        except exceptions.GenericError as error:
            if isinstance(self._store, GCSStore) and DECOMPRESSED.search(str(error)):
                msg = (
                    f"{self.uri}/{name} is decompressed by the store on its way, expected an object without a "
                    "Content-Encoding: put it again without one"
                )
                raise DataError(msg) from None
            raise


def _object(found: Any) -> Object:
    return Object(found["path"], found["size"], _e_tag(found), found["last_modified"].replace(microsecond=0))


def _e_tag(answer: Any) -> str:
    return (answer["e_tag"] or "").strip('"')
