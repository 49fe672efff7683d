"""The HTTP client of all packages: kept connections, proxies, retries, calls that can be dropped.

It stands on the standard library, for every worker imports it and nothing else in the core needs
more. A request is a thread's: no event loop is needed, and any thread may ask.
"""

import base64
import http.client
import json
import math
import os
import queue
import random
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from torl_env.http_options import is_loopback

BUSY: Final = (429, 502, 503, 504)
"""The server says `not now`."""
_LONGEST_BACKOFF: Final = 30.0
_SHORTEST_PAUSE: Final = 0.02
"""A server that says `Retry-After: 0` for ever is not asked as fast as a loop runs."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    body: bytes
    retry_after: float | None = None
    """Seconds that it asks to wait; `None` where it does not."""

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
    """Nothing reached the server, or nothing came back, or it said `not now` too often.

    Args:
        message: For a person.
        answer: The last `not now`, where that was it.
    """

    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When a request is sent again, and until when."""

    attempts: float = 4
    """Further ones after the first; `math.inf` leaves it to `seconds`."""
    seconds: float = math.inf
    """From the first attempt: no further one starts later."""
    backoff: float = 0.25
    """Seconds before the second attempt; doubled each time up to half a minute, with jitter."""
    longest_wait: float = 10.0
    """Most seconds that a server's `Retry-After` is followed for."""
    statuses: tuple[int, ...] = BUSY
    """Answers that mean `not now`."""
    timeouts: bool = False
    """An answer that took too long is asked for again: only where asking twice does no harm."""

    def pause(self, number: int, answer: Answer | None) -> float:
        """Seconds to wait after so many attempts, as the server says or as it grows by itself."""
        if answer is not None and answer.retry_after is not None:
            return min(max(answer.retry_after, _SHORTEST_PAUSE), self.longest_wait)
        # Beyond some doublings a float overflows, and half a minute is passed long before.
        grown = min(self.backoff * 2.0 ** min(number, 20), _LONGEST_BACKOFF)
        return grown * random.uniform(0.7, 1.3)


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

    `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are followed, in capitals or not; a
    loopback address is never asked through a proxy (as Go's client does).

    Args:
        url: Such as `http://localhost:8080/v1`; paths of requests are added.
        token: Sent as `Authorization: Bearer`.
        retry: When to ask again after a transport fault or a `not now`.

    Raises:
        ValueError: This is no URL, or the proxy's is none of HTTP.
    """

    def __init__(self, url: str, *, token: str | None = None, retry: Retry | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected a URL such as http://localhost:8080, got {url!r}")
        self.url = url.rstrip("/")
        self._parts = parts
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._retry = retry or Retry()
        self._proxy = _proxy(parts)
        self._target = parts.path.rstrip("/")
        if self._proxy is not None and parts.scheme == "http":  # a proxy wants the whole address
            self._target = f"http://{parts.netloc.rpartition('@')[2]}{self._target}"
            self._headers.update(_credentials(self._proxy))
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._owner = os.getpid()
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
            TimeoutError: It took longer than `timeout` seconds, and `Retry.timeouts` is not set.
        """
        drop = drop or Drop()
        retry, started, number = self._retry, time.monotonic(), 0
        while True:
            answer = None
            try:
                answer = self._once(method, path, body, timeout, drop)
                if answer.status not in retry.statuses:
                    return answer
                fault = answer.words
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, TimeoutError) and not retry.timeouts:
                    raise
                fault = repr(error)
            pause = retry.pause(number, answer)
            number += 1
            late = time.monotonic() + pause > started + retry.seconds
            if number > retry.attempts or late or drop.dropped or self._closed.is_set():
                break
            self._closed.wait(pause)
        raise UnreachableError(
            f"{self.url} cannot be reached after {number} attempts: {fault}", answer
        )

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
                connection.request(method, self._target + path, body, self._headers)
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
        if self._owner != os.getpid():  # a fork must not read its parent's answers
            self._idle, self._owner = queue.LifoQueue(), os.getpid()
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return self._new(timeout)
            if connection.sock is not None and not _is_readable(connection.sock):
                connection.sock.settimeout(timeout)
                return connection
            connection.close()

    def _new(self, timeout: float) -> http.client.HTTPConnection:
        parts, proxy = self._parts, self._proxy
        to = parts if proxy is None else proxy
        host, port = to.hostname or "", to.port
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout)
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        if proxy is not None:
            connection.set_tunnel(parts.hostname or "", parts.port or 443, _credentials(proxy))
        return connection


def _is_readable(sock: socket.socket) -> bool:
    """Of a connection on which nothing was asked: the server has hung up, or makes no sense."""
    waiter = select.poll()
    waiter.register(sock, select.POLLIN)
    return bool(waiter.poll(0))


def _proxy(parts: SplitResult) -> SplitResult | None:
    host = parts.hostname or ""
    if is_loopback(host):
        return None
    # Imported here: most sandboxes and judges are on this machine.
    from urllib.request import getproxies, proxy_bypass

    known = getproxies()
    url = known.get(parts.scheme) or known.get("all")
    if not url or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = urlsplit(url if "://" in url else f"http://{url}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise ValueError(f"expected a proxy such as http://proxy:3128, got {url!r}")
    return proxy._replace(netloc=proxy.netloc if proxy.port else f"{proxy.netloc}:80")


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"}


def _seconds(header: str | None) -> float | None:
    """Of `Retry-After` (RFC 9110, 10.2.3): a number, or a date.

    >>> _seconds("2.5"), _seconds("soon"), _seconds(None)
    (2.5, None, None)
    >>> _seconds("Wed, 21 Oct 2015 07:28:00 GMT")
    0.0
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        # Imported here: a date is rare, and `email` is large.
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
