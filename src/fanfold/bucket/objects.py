"""The objects of one feed in a bucket. Each request is repeated until the store answers it, with pauses that grow.

So each request may have been carried out before, and each method gives the same result when it is called again.

`Objects` may be shared by threads. It does not outlive a fork: make it in the process that uses it.
"""

import contextlib
import hashlib
import io
import mmap
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from fanfold.bucket.connections import at_once
from fanfold.bucket.keys import is_path
from fanfold.bucket.patience import PATIENCE_SECONDS, Patience
from fanfold.bucket.requests import REPEATED, SMALL_BYTES, Object, Store, VersionError
from fanfold.errors import ChangedError, DataError, StoreError, TakenError

__all__ = ["SMALL_BYTES", "Object", "Objects"]

# What S3 (5 GiB) and Azure (5,000 MiB) take in one request.
LARGEST_BYTES = 5000 * 1024**2
# In place of the time of an object that this process has made.
JUST_NOW = datetime.fromtimestamp(0, UTC)

Result = TypeVar("Result")


class Objects:
    """The objects under one prefix of a bucket.

    Every method raises `StoreError` where the store does not answer for `patience_seconds` (a retry may help), and
    `AccessError` where it refuses the credentials or has no such bucket (a retry cannot help).
    """

    def __init__(
        self,
        uri: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        credentials: Mapping[str, str] | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """Name the objects; no request is sent.

        Args:
            uri: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
            endpoint_url: where the store is, if that does not follow from the URI and the environment.
            region: of the bucket, for S3.
            credentials: as obstore names them; what is not given comes from the environment (AWS_*, GOOGLE_*, AZURE_*).
            patience_seconds: how long a request is repeated.

        Raises:
            SpecError: it is not such a URI, or a credential has a name that the store does not know.
        """
        self.store = Store(uri, endpoint_url, region, credentials or {})
        self.uri = self.store.uri
        self._patience_seconds = patience_seconds

    def __repr__(self) -> str:
        """Show the URI, and no secret."""
        return f"Objects({self.uri!r})"

    def list(self, prefix: str = "", odd: list[str] | None = None) -> Iterator[Object]:
        """Yield the objects below a prefix (whole parts of a path), by name; each 1,000 cost one request.

        Args:
            prefix: what their names begin with.
            odd: gets the keys that cannot be the path of a file; they are passed over.

        Raises:
            DataError: there is such a key in another store than S3, or the store does not list by name.
        """
        patience = self._patience(prefix)
        last: str | None = None
        while True:
            try:
                for found in self.store.list(prefix, last):
                    if not is_path(found.name):
                        if odd is not None and (found.size_bytes or not found.name.endswith("/")):
                            odd.append(found.name)
                        continue
                    # The key of a folder, `x/`, is listed as `x`, which is not there.
                    if found.name == prefix or (found.size_bytes == 0 and self.head(found.name) is None):
                        continue
                    if last is not None and found.name <= last:
                        msg = f"{self.uri!r} lists {found.name!r} after {last!r}, expected names to be sorted"
                        raise DataError(msg)
                    yield found
                    last = found.name
                    patience.renew()
            except REPEATED as error:
                patience.wait(error)
            else:
                return

    def head(self, name: str) -> Object | None:
        """Return what has a name, None where nothing has."""
        with contextlib.suppress(FileNotFoundError):
            return self._ask(name, lambda: self.store.head(name))
        return None

    def read(self, name: str, e_tag: str | None = None) -> bytes | None:
        """Return the content of a small object; None where it is not there, or not in that version."""
        content = io.BytesIO()
        return content.getvalue() if self._receive(name, e_tag, content.write) else None

    def fetch(self, name: str, target: Path, e_tag: str | None = None) -> Object | None:
        """Write the content of an object into a file; where it is cut off, the rest is asked for.

        Returns:
            The object, whose bytes are all in the file. None if it is not there, or not in the version that `e_tag`
            names: then the file is of no use.
        """
        with target.open("wb") as file:
            return self._receive(name, e_tag, file.write)

    def create(self, name: str, content: bytes | Path, instead: Object | None = None) -> Object:
        """Make an object if its name is free, or `instead` of one version; with these bytes there, that is all.

        Returns:
            The object; when it was made, nobody was asked.

        Raises:
            TakenError: the name has other bytes, or another version.
            DataError: the content is larger than a store takes in one request.
        """
        with _buffer(content) as buffer:
            if len(buffer) > LARGEST_BYTES:
                msg = (
                    f"{self.uri}/{name} has {len(buffer):,} bytes, expected at most {LARGEST_BYTES:,}, the most "
                    "that a store takes in one request: raise subdirs or lower input.max_bytes, so that each output is "
                    "smaller"
                )
                raise DataError(msg)

            def put() -> str | Object:
                # Where the answer to an earlier request was lost, its own object has the name.
                if instead:
                    return self.store.put_if_match(name, buffer, instead.e_tag) or self._made(name)
                return self.store.put_if_absent(name, buffer) or self._made(name)

            made = self._ask(name, put)
            if isinstance(made, str):
                return Object(name, len(buffer), made, JUST_NOW)
            if self._sha256(made) != hashlib.sha256(buffer).digest():
                raise self._taken(name)
            return made

    def replace(self, name: str, content: bytes) -> None:
        """Write an object, whatever has its name. Who is last wins: for hints only."""
        self._ask(name, lambda: self.store.put(name, content))

    def copy(self, source: Object, target: str) -> Object:
        """Copy a version of an object to a free name; where that has the same bytes already, that is all.

        A small one comes through memory, which takes fewer requests; a large one is copied by the store, and compared.

        Raises:
            TakenError: the name has other bytes.
            ChangedError: the source is not there in this version.
        """
        if source.size_bytes <= SMALL_BYTES:
            content = self.read(source.name, source.e_tag)
            if content is None:
                raise self._changed(source)
            return self.create(target, content)

        def copied() -> Object:
            self._check(source)
            # Not every store keeps the condition.
            if self.head(target) is None:
                self.store.copy_if_absent(source.name, target)
            return self._made(target)

        made = self._ask(target, copied)
        self._check(source)
        if not (is_copy(source, made) or self._sha256(source) == self._sha256(made)):
            raise self._taken(target)
        return made

    def delete(self, name: str, e_tag: str | None = None, modified: datetime | None = None) -> bool:
        """Delete an object, if it is of that version; with `modified`, if it is not the same bytes that came again.

        The version is compared right before. S3 and Azure also take it as a condition. Where a store does not, an
        object that takes the name between the two requests is lost.

        Returns:
            True where the object is gone, now or before; False where the name has another version, which stays.
        """

        def deleted() -> bool:
            found = self.head(name) if e_tag else None
            if e_tag and (found is None or found.e_tag != e_tag or modified not in {None, found.modified}):
                return found is None
            if not (e_tag and self.store.delete_if_match(name, e_tag)):
                self.store.delete(name)
            return True

        return self._ask(name, deleted)

    def delete_all(self, prefix: str) -> None:
        """Delete all objects below a prefix."""
        for _ in at_once(lambda found: self.delete(found.name), self.list(prefix)):
            pass

    def _patience(self, name: str) -> Patience:
        return Patience(f"{self.uri}/{name}".rstrip("/"), self._patience_seconds, self.store.secrets)

    def _ask(self, name: str, request: Callable[[], Result]) -> Result:
        patience = self._patience(name)
        while True:
            try:
                return request()
            except FileNotFoundError as error:
                patience.check(error)
                raise
            except REPEATED as error:
                patience.wait(error)

    def _receive(self, name: str, e_tag: str | None, write: Callable[[Any], object]) -> Object | None:
        patience = self._patience(name)
        found: Object | None = None
        received = 0
        while found is None or received < found.size_bytes:
            try:
                found, chunks = self.store.get(name, e_tag, received)
                # Not every store keeps the condition.
                if found.e_tag != (e_tag or found.e_tag):
                    return None
                e_tag = found.e_tag
                for chunk in chunks:
                    write(chunk)
                    received += len(chunk)
                    patience.renew()
            except FileNotFoundError as error:
                patience.check(error)
                return None
            except VersionError as error:
                now = self.head(name)
                if now is None or now.e_tag != (e_tag or now.e_tag):
                    return None
                patience.wait(error)
            except REPEATED as error:
                patience.wait(error)
        return found

    def _sha256(self, found: Object) -> bytes:
        digest = hashlib.sha256()
        if self._receive(found.name, found.e_tag, digest.update) is None:
            raise self._changed(found)
        return digest.digest()

    def _made(self, name: str) -> Object:
        made = self.head(name)
        if made is None:
            msg = "it is not there after it was made"
            raise StoreError(msg)
        return made

    def _check(self, source: Object) -> None:
        found = self.head(source.name)
        if found is None or found.e_tag != source.e_tag:
            raise self._changed(source)

    def _taken(self, name: str) -> TakenError:
        return TakenError(f"{self.uri}/{name} exists and holds other bytes, expected its name to be free")

    def _changed(self, source: Object) -> ChangedError:
        return ChangedError(f"{self.uri}/{source.name} was replaced or deleted, expected its version {source.e_tag}")


@contextlib.contextmanager
def _buffer(content: bytes | Path) -> Iterator[Any]:
    """Give what a request sends: a large file is mapped, so that it need not fit into memory."""
    if isinstance(content, bytes) or content.stat().st_size <= SMALL_BYTES:
        yield content if isinstance(content, bytes) else content.read_bytes()
        return
    with content.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped


def is_copy(source: Object, made: Object) -> bool:
    """Say whether two e_tags prove the same bytes: S3 makes them of MD5, of the bytes or of one part of a copy."""
    digests = {_md5_of_one_part(one.e_tag) for one in (source, made)}
    return source.size_bytes == made.size_bytes and len(digests) == 1 and None not in digests


def _md5_of_one_part(e_tag: str) -> str | None:
    if re.fullmatch("[0-9a-f]{32}", e_tag):
        return hashlib.md5(bytes.fromhex(e_tag), usedforsecurity=False).hexdigest() + "-1"
    return e_tag if re.fullmatch("[0-9a-f]{32}-1", e_tag) else None
