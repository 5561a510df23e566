"""A proxy that fails requests to a store on purpose, and counts what goes through it.

with Proxy("http://127.0.0.1:9000") as proxy:
    proxy.fail(2, "unanswered")       # the second request from now on is carried out, and its connection cut
    proxy.fail_at_random(seed=1, share=0.2)
    Objects(uri, endpoint_url=proxy.endpoint_url, …)
    proxy.requests["GET list-type"]   # how many there were, by kind
"""

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

# What may become of a request. A number is the status that it is answered with, without being carried out.
WAYS: tuple[str | int, ...] = (
    "dropped",  # not carried out: the connection is cut
    "unanswered",  # carried out: the connection is cut
    "twice",  # carried out twice: the second answer counts
    "refused late",  # carried out, and answered with 500
    "half",  # carried out: the connection is cut in the middle of the answer
    "slow",  # carried out, and answered after a while
    409,
    412,
    429,
    500,
    503,
)
SLOW_SECONDS = 0.1
# What tells in a query of S3 which request it is.
KINDS = ("list-type", "partNumber", "uploadId", "uploads", "delete")


class Proxy(ThreadingHTTPServer):
    """A proxy for one store, on a port of its own, in threads of this process."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, endpoint_url: str) -> None:
        """Stand before a store; the block of a `with` is how long."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = urlsplit(endpoint_url).netloc
        self.path = urlsplit(endpoint_url).path
        self.endpoint_url = f"http://127.0.0.1:{self.server_address[1]}{self.path}"
        self.requests = Counter[str]()
        self.bytes_sent, self.bytes_received = Counter[str](), Counter[str]()
        self.failed = Counter[str | int]()
        # What else is done with a request of a way with this name: before it is carried out, and before it is answered.
        self.before, self.after = dict[str | int, Callable[[], object]](), dict[str | int, Callable[[], object]]()
        # What the request is for that a function is asked about.
        self.asked = ""
        self.stripped: dict[str, str] = {}
        """By kind of request, a header that is not passed on."""
        self.message = "on purpose"
        """What is said of a request that is not carried out."""
        self.latency_seconds = 0.0
        self.seen: list[tuple[str, str, int, int]] = []
        """Each request: method, path, and how many bytes went there and came back."""
        self._lock = threading.Lock()
        self._way: Callable[[int], str | int | None] = lambda _: None
        self._seen = 0

    def __enter__(self) -> Self:
        """Begin to serve."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that is gone."""

    def fail(self, number: int, way: str | int) -> None:
        """Fail one request: the first from now on has number 1."""
        self.fail_by(lambda seen: way if seen == number else None)

    def fail_at_random(self, seed: int, share: float, ways: tuple[str | int, ...] = WAYS) -> None:
        """Fail a share of the requests, each in one of the ways."""
        numbers = random.Random(seed)
        self.fail_by(lambda _: numbers.choice(ways) if numbers.random() < share else None)

    def fail_by(self, way: Callable[[int], str | int | None]) -> None:
        """Ask a function for each request, which gets its number, what becomes of it."""
        with self._lock:
            self._way, self._seen = way, 0

    def succeed(self) -> None:
        """Fail no more requests."""
        self.fail_by(lambda _: None)

    def next_way(self, kind: str, size: int, path: str) -> str | int | None:
        """Count a request, and return what becomes of it."""
        with self._lock:
            self.asked = f"{kind} {path}"
            self.requests[kind] += 1
            self.bytes_sent[kind] += size
            self._seen += 1
            way = self._way(self._seen)
            if way is not None:
                self.failed[way] += 1
            return way


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A body that is sent behind its header would wait 40 ms for the client to say that it has the header.
    disable_nagle_algorithm = True
    server: Proxy

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        kind = " ".join([self.command, *(name for name in KINDS if name in query)][:2])
        time.sleep(self.server.latency_seconds)
        way = self.server.next_way(kind, len(body), self.path)
        if isinstance(way, int):
            self._answer(
                way, [], f"<Error><Code>Refused</Code><Message>{self.server.message}</Message></Error>".encode()
            )
            return
        if way == "dropped":
            self._cut()
            return
        if way in self.server.before:
            self.server.before[way]()
        if way == "twice":
            self._carry_out(kind, body)
        status, headers, answer = self._carry_out(kind, body)
        self.server.bytes_received[kind] += len(answer)
        self.server.seen.append((self.command, self.path, len(body), len(answer)))
        if way in self.server.after:
            self.server.after[way]()
        if way == "slow":
            time.sleep(SLOW_SECONDS)
        if way == "unanswered":
            self._cut()
        elif way == "refused late":
            self._answer(500, [], b"<Error><Code>InternalError</Code></Error>")
        else:
            self._answer(status, headers, answer, half=way == "half")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - as http.server names them

    def setup(self) -> None:
        """Begin to serve one client, on one connection to the store: one for each request would be refused in time."""
        super().setup()
        self._store = http.client.HTTPConnection(self.server.store, timeout=60)

    def finish(self) -> None:
        """End with the client."""
        super().finish()
        self._store.close()

    def _carry_out(self, kind: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        is_new = self._store.sock is None
        try:
            return self._ask(kind, body)
        except (ConnectionError, http.client.HTTPException):
            # The store may close a connection that nobody has used for a while.
            self._store.close()
            if is_new:
                raise
            return self._ask(kind, body)

    def _ask(self, kind: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        self._store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in {"connection", "expect", self.server.stripped.get(kind)}:
                self._store.putheader(name, value)
        self._store.endheaders(body or None)
        answer = self._store.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, half: bool = False) -> None:
        own = {"connection", "transfer-encoding", "date", "server"} | (
            {"content-length"} if self.command != "HEAD" else set()
        )
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in own:
                self.send_header(name, value)
        if self.command != "HEAD" and status != http.client.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
