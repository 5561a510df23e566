"""A stand-in for Google Cloud Storage: one bucket in memory, behind the XML API that obstore speaks.

It is not Google's, and nothing here was compared with the real one. No package has an emulator that would do: that of
PyPI (gcp-storage-emulator) speaks the JSON API, keeps no condition, gives each list in one page, and takes `a//b` for
`a/b`. So the objects are here, and the rules are those of Google's documentation, under the names of its pages:

- "Request preconditions": x-goog-if-generation-match for what changes an object, If-Match for what reads it; 412.
- "Hashes and ETags: best practices": the ETag is the MD5 of an object that was made in one request.
- "Cloud Storage consistency": what was written, deleted or listed is so at once, for everybody.
- "List objects", "Upload an object", "Copy an object", "Download an object", "Get object metadata", "Delete an object".
- "HTTP status and error codes for XML API": the codes of errors.
- "About Cloud Storage objects": which names there are.
- "Transcoding of gzip-compressed files": with Content-Encoding: gzip an object is decompressed on its way out.

What it does not know, it refuses with 501: uploads in parts, delimiters, old generations, other conditions.

python tests/stores/gcs.py PORT BUCKET
"""

import base64
import contextlib
import email.utils
import gzip
import hashlib
import itertools
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

LISTED_AT_ONCE = 1000
LONGEST_NAME = 1024
CONDITION = "x-goog-if-generation-match"
LIST_KEYS = {"list-type", "prefix", "start-after", "continuation-token", "max-keys", "encoding-type"}


class Stored(NamedTuple):
    """An object, in one generation."""

    content: bytes
    md5: bytes
    generation: int
    modified: float
    headers: Mapping[str, str]

    @property
    def e_tag(self) -> str:
        """What an answer and a list say, with its quotes."""
        return f'"{self.md5.hex()}"'


class RefusedError(Exception):
    """A request is answered with an error."""

    def __init__(self, status: HTTPStatus, code: str, message: str = "") -> None:
        """Say what is wrong."""
        super().__init__(message)
        self.status, self.code, self.message = status, code, message or status.phrase


class Server(ThreadingHTTPServer):
    """A bucket on a port of 127.0.0.1."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, bucket: str) -> None:
        """Make the bucket, with nothing in it."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.bucket = bucket
        self.objects: dict[str, Stored] = {}
        self.lock = threading.Lock()
        self.generations = itertools.count(time.time_ns() // 1000)
        self.refuses = False
        """Whether no credentials are good enough."""
        self.authorizations: set[str | None] = set()
        """With what requests have come."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that is gone."""

    def found(self, name: str) -> Stored:
        """Return what has a name."""
        if stored := self.objects.get(name):
            return stored
        raise RefusedError(HTTPStatus.NOT_FOUND, "NoSuchKey", "The specified key does not exist.")

    def check(self, name: str, condition: str | None) -> None:
        """Check that the generation of a name is the one that a request expects; 0 is that of a free name."""
        stored = self.objects.get(name)
        if condition is not None and int(condition) != (stored.generation if stored else 0):
            raise RefusedError(HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed")

    def put(self, name: str, content: bytes, headers: Mapping[str, str], condition: str | None) -> Stored:
        """Make an object, or replace it."""
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        with self.lock:
            self.check(name, condition)
            stored = self.objects[name] = Stored(content, md5, next(self.generations), time.time(), headers)
            return stored

    def delete(self, name: str, condition: str | None) -> None:
        """Delete an object."""
        with self.lock:
            self.found(name)
            self.check(name, condition)
            del self.objects[name]

    def page(self, query: Mapping[str, str]) -> Iterator[str]:
        """Yield the parts of one page of a list."""
        if query.get("list-type") != "2" or query.keys() - LIST_KEYS:
            raise RefusedError(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented")
        encoded = quote if query.get("encoding-type") == "url" else str
        prefix, token = query.get("prefix", ""), query.get("continuation-token")
        after = base64.urlsafe_b64decode(token).decode() if token else query.get("start-after", "")
        most = min(int(query.get("max-keys", LISTED_AT_ONCE)), LISTED_AT_ONCE)
        with self.lock:
            # Characters are in the order of their bytes in UTF-8.
            names = sorted(name for name in self.objects if name.startswith(prefix) and name > after)
            found = {name: self.objects[name] for name in names[:most]}
        yield "<ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>"
        yield f"<Name>{self.bucket}</Name><Prefix>{escape(encoded(prefix))}</Prefix>"
        yield f"<KeyCount>{len(found)}</KeyCount><IsTruncated>{str(len(names) > most).lower()}</IsTruncated>"
        if len(names) > most:
            yield f"<NextContinuationToken>{base64.urlsafe_b64encode(names[most - 1].encode()).decode()}"
            yield "</NextContinuationToken>"
        for name, stored in found.items():
            modified = datetime.fromtimestamp(stored.modified, UTC).isoformat(timespec="milliseconds")
            yield f"<Contents><Key>{escape(encoded(name))}</Key><Generation>{stored.generation}</Generation>"
            yield f"<MetaGeneration>1</MetaGeneration><LastModified>{modified.replace('+00:00', 'Z')}</LastModified>"
            yield f"<ETag>{stored.e_tag}</ETag><Size>{len(stored.content)}</Size></Contents>"
        yield "</ListBucketResult>"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.authorizations.add(self.headers.get("Authorization"))
        try:
            self._carry_out(body)
        except RefusedError as error:
            told = f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
            self._answer(error.status, {"Content-Type": "application/xml; charset=UTF-8"}, told.encode())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - as http.server names them

    def _carry_out(self, body: bytes) -> None:
        if self.server.refuses:
            raise RefusedError(HTTPStatus.UNAUTHORIZED, "AuthenticationRequired")
        address = urlsplit(self.path)
        bucket, slash, name = (unquote(part) for part in address.path[1:].partition("/"))
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        if bucket != self.server.bucket:
            raise RefusedError(HTTPStatus.NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist.")
        if self.command == "GET" and not name:
            page = "<?xml version='1.0' encoding='UTF-8'?>" + "".join(self.server.page(query))
            self._answer(HTTPStatus.OK, {"Content-Type": "application/xml; charset=UTF-8"}, page.encode())
            return
        reads = self.command in {"GET", "HEAD"}
        conditions = {header.lower() for header in self.headers if re.match("(?i)(x-goog-)?(copy-source-)?if-", header)}
        if not slash or query or self.command == "POST" or conditions - {"if-match" if reads else CONDITION}:
            raise RefusedError(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented")
        if name in {"", ".", ".."} or re.search("[\r\n]", name) or len(name.encode()) > LONGEST_NAME:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "InvalidObjectName")
        if reads:
            self._read(self.server.found(name))
        elif self.command == "PUT":
            self._put(name, body)
        else:
            self.server.delete(name, self.headers.get(CONDITION))
            self._answer(HTTPStatus.NO_CONTENT, {}, b"")

    def _put(self, name: str, body: bytes) -> None:
        headers = {header: value for header in ("Content-Type", "Content-Encoding") if (value := self.headers[header])}
        source, told = self.headers.get("x-goog-copy-source"), b""
        if source:
            bucket, _, copied = unquote(source).removeprefix("/").partition("/")
            if bucket != self.server.bucket:
                raise RefusedError(HTTPStatus.NOT_FOUND, "NoSuchBucket")
            copy = self.server.found(copied)
            body, headers = copy.content, dict(copy.headers)
        stored = self.server.put(name, body, headers, self.headers.get(CONDITION))
        if source:
            told = f"<CopyObjectResult><ETag>{stored.e_tag}</ETag></CopyObjectResult>".encode()
        self._answer(HTTPStatus.OK, _told(stored), told)

    def _read(self, stored: Stored) -> None:
        expected = self.headers.get("If-Match")
        if expected not in {None, "*", stored.e_tag}:
            raise RefusedError(HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed")
        headers = {**stored.headers, **_told(stored), "Accept-Ranges": "bytes"}
        if stored.headers.get("Content-Encoding") == "gzip" and "gzip" not in self.headers.get("Accept-Encoding", ""):
            for header in ("Content-Encoding", "ETag", "Accept-Ranges"):
                headers.pop(header)
            self._answer(HTTPStatus.OK, headers, gzip.decompress(stored.content), is_sized=False)
            return
        begin, _, end = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        size = len(stored.content)
        if "Range" not in self.headers:
            self._answer(HTTPStatus.OK, headers, stored.content)
        elif int(begin) >= size:
            raise RefusedError(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "InvalidRange")
        else:
            last = min(int(end or size), size - 1)
            headers["Content-Range"] = f"bytes {begin}-{last}/{size}"
            self._answer(HTTPStatus.PARTIAL_CONTENT, headers, stored.content[int(begin) : last + 1])

    def _answer(self, status: HTTPStatus, headers: Mapping[str, str], body: bytes, *, is_sized: bool = True) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if not is_sized:
            self.send_header("Connection", "close")
        elif status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _told(stored: Stored) -> dict[str, str]:
    return {
        "ETag": stored.e_tag,
        "Last-Modified": email.utils.formatdate(stored.modified, usegmt=True),
        "x-goog-generation": str(stored.generation),
        "x-goog-metageneration": "1",
        "x-goog-hash": f"md5={base64.b64encode(stored.md5).decode()}",
        "x-goog-stored-content-length": str(len(stored.content)),
        "x-goog-stored-content-encoding": stored.headers.get("Content-Encoding", "identity"),
    }


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        Server(int(sys.argv[1]), sys.argv[2]).serve_forever()
