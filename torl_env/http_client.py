"""One HTTP client for all of this package: kept connections, retries, calls that can be dropped.

It stands on the standard library, for every worker imports it and nothing else in the core needs
more.
"""

import http.client
import json
import queue
import random
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

_BUSY: Final = (429, 502, 503, 504)
"""The server says `not now`."""
_LONGEST_PAUSE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    body: bytes
    retry_after: float = 0.0

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is something else.
        """
        return json.loads(self.body)

    @property
    def words(self) -> str:
        """For a message to a human being."""
        return f"HTTP {self.status}: {self.body[:300].decode('utf-8', 'replace')}"


class UnreachableError(Exception):
    """Nothing reached the server, or nothing came back, or it said `not now` too often."""


class Drop:
    """A handle on one request: `now` hangs up, which kills a program on our server."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self.dropped = False

    def carry(self, connection: http.client.HTTPConnection | None) -> None:
        """Remember what to drop."""
        with self._guard:
            self._connection = connection

    def now(self) -> None:
        """Hang up, and send nothing more."""
        with self._guard:
            self.dropped = True
            if self._connection is not None and self._connection.sock is not None:
                # The server may have been first.
                with suppress(OSError):
                    self._connection.sock.shutdown(socket.SHUT_RDWR)


class HttpClient:
    """Requests to one server, from any thread.

    Args:
        url: Such as `http://localhost:8080/v1`; paths of requests are added.
        token: Sent as `Authorization: Bearer`.
        retries: Further attempts after a transport fault or a `not now` (429, 502, 503, 504).
        backoff: Seconds before the first of them; doubled each time, with jitter.

    Raises:
        ValueError: This is no URL.
    """

    def __init__(
        self, url: str, *, token: str | None = None, retries: int = 4, backoff: float = 0.25
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected a URL such as http://localhost:8080, got {url!r}")
        self.url = url.rstrip("/")
        self._parts = parts
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._retries, self._backoff = retries, backoff
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._closed = threading.Event()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        timeout: float = 60.0,
        drop: Drop | None = None,
    ) -> Answer:
        """Ask until there is an answer.

        Raises:
            UnreachableError: There was none in all attempts.
            TimeoutError: It took longer than `timeout` seconds.
        """
        drop = drop or Drop()
        for number in range(self._retries + 1):
            pause = 0.0
            try:
                answer = self._once(method, path, body, timeout, drop)
                if answer.status not in _BUSY:
                    return answer
                fault, pause = answer.words, answer.retry_after
            except TimeoutError:
                raise
            except (OSError, http.client.HTTPException) as error:
                fault = repr(error)
            if number == self._retries or drop.dropped or self._closed.is_set():
                break
            pause = max(self._backoff * 2**number, pause) * random.uniform(0.7, 1.3)
            self._closed.wait(min(pause, _LONGEST_PAUSE))
        raise UnreachableError(f"{self.url} cannot be reached after {number + 1} attempts: {fault}")

    def close(self) -> None:
        """Close the connections and try nothing again; idempotent."""
        self._closed.set()
        while not self._idle.empty():
            self._idle.get_nowait().close()

    def _once(
        self, method: str, path: str, body: bytes | None, timeout: float, drop: Drop
    ) -> Answer:
        connection = self._connect(timeout)
        drop.carry(connection)
        sent = kept = False
        try:
            if drop.dropped:
                raise ConnectionAbortedError("given up before it was sent")
            try:
                connection.request(method, self._parts.path.rstrip("/") + path, body, self._headers)
                sent = True
            except (BrokenPipeError, ConnectionResetError):
                # Who refuses a request from its head need not wait for its body: the answer is
                # there, and sending all of it again would change nothing.
                pass
            response = connection.getresponse()
            read = response.read()
            kept = sent and not response.will_close
            return Answer(response.status, read, _seconds(response.headers.get("Retry-After")))
        finally:
            drop.carry(None)
            if kept and not self._closed.is_set():
                self._idle.put(connection)
            else:
                connection.close()

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            host, port = self._parts.hostname or "", self._parts.port
            if self._parts.scheme == "https":
                context = ssl.create_default_context()
                return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
            return http.client.HTTPConnection(host, port, timeout=timeout)
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection


def _seconds(text: str | None) -> float:
    try:
        return float(text or 0.0)
    except ValueError:
        return 0.0
