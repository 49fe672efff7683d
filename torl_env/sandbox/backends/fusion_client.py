"""Client of a Sandbox Fusion server, or of `torl sandbox serve`, over HTTP."""

import http.client
import queue
import random
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final
from urllib.parse import urlsplit

from torl_env.errors import SandboxError
from torl_env.sandbox.backends import fusion_wire
from torl_env.sandbox.base import CallableSandbox, conclude
from torl_env.sandbox.types import Execution, Limits

_BUSY: Final = (429, 502, 503, 504)
"""The server says `not now`."""
_LONGEST_PAUSE: Final = 10.0


class _TransportError(Exception):
    """Nothing reached the server, or nothing came back: trying again is harmless."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class _RemoteCall(Future[Execution]):
    """The future of one request; cancelling it drops the connection, which kills on our server."""

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    def carry(self, connection: http.client.HTTPConnection | None) -> None:
        """Remember what to drop."""
        with self._guard:
            self._connection = connection

    def cancel(self) -> bool:
        """Give the call up."""
        if not super().cancel():
            return False
        with self._guard:
            if self._connection is not None and self._connection.sock is not None:
                self._connection.sock.shutdown(2)
        return True


class FusionSandbox(CallableSandbox):
    """Sends programs to a server that speaks Sandbox Fusion's `/run_code`.

    Sandbox Fusion measures wall time only, so a busy server can turn a right program into a
    timeout: give it a generous `wall_seconds`. A server of ours is told the CPU limit too.

    Args:
        url: Such as `http://localhost:8080`; the path of the API is added.
        limits: For calls that give none.
        token: Sent as `Authorization: Bearer`.
        concurrency: Requests at once; the rest waits here.
        retries: Further attempts after a transport fault or a `not now` (429, 502, 503, 504).
        backoff: Seconds before the first of them; doubled each time, with jitter.
        bound_memory: Send the memory limit to a Sandbox Fusion server, which makes it the size of
            each thread's stack as well: unless the server sets `OPENBLAS_NUM_THREADS=1`, no program
            can import numpy then. A server of ours always gets and keeps it.
        patience: Seconds beyond the wall limit to wait for an answer.
    """

    def __init__(
        self,
        url: str,
        limits: Limits | None = None,
        *,
        token: str | None = None,
        concurrency: int = 16,
        retries: int = 4,
        backoff: float = 0.25,
        bound_memory: bool = False,
        patience: float = 60.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected a URL such as http://localhost:8080, got {url!r}")
        self.url = url.rstrip("/")
        super().__init__(limits)
        self._parts = parts
        self._path = parts.path.rstrip("/").removesuffix("/run_code") + "/run_code"
        self._headers = {"Content-Type": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._retries = retries
        self._backoff = backoff
        self._bound_memory = bound_memory
        self._patience = patience
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="torl-fusion")
        self._closed = threading.Event()

    def submit(self, code: str, limits: Limits | None = None) -> Future[Execution]:
        """Send one program and return at once; cancelling the future drops the connection."""
        self.check_open()
        call = _RemoteCall()
        self._threads.submit(self._work, call, code, self.limits if limits is None else limits)
        return call

    def close(self) -> None:
        """Give up what is in flight and close the connections; idempotent."""
        self._closed.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        while not self._idle.empty():
            self._idle.get_nowait().close()

    @property
    def closed(self) -> bool:
        """Whether it takes no more programs."""
        return self._closed.is_set()

    def _work(self, call: _RemoteCall, code: str, limits: Limits) -> None:
        if call.cancelled():
            call.set_running_or_notify_cancel()
            return
        try:
            body = fusion_wire.request_body(code, limits, bound_memory=self._bound_memory)
            outcome: Execution | Exception = self._with_retries(
                lambda: self._once(call, body, limits), call
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for it
            outcome = error
        conclude(call, outcome)

    def _with_retries(self, attempt: Callable[[], Execution], call: _RemoteCall) -> Execution:
        for number in range(self._retries + 1):
            try:
                return attempt()
            except _TransportError as fault:
                if number == self._retries or call.cancelled() or self._closed.is_set():
                    raise SandboxError(
                        f"{self.url} cannot be reached after {number + 1} attempts: {fault}"
                    ) from fault
                pause = max(self._backoff * 2**number, fault.pause) * random.uniform(0.7, 1.3)
                self._closed.wait(min(pause, _LONGEST_PAUSE))
        raise AssertionError("unreachable")

    def _once(self, call: _RemoteCall, body: bytes, limits: Limits) -> Execution:
        connection = self._connect(limits)
        call.carry(connection)
        kept = False
        try:
            connection.request("POST", self._path, body, self._headers)
            response = connection.getresponse()
            answer = response.read()
            kept = not response.will_close
        except TimeoutError as error:
            raise SandboxError(
                f"{self.url} gave no answer in {self._patience:g} s beyond the wall limit"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise _TransportError(repr(error)) from error
        finally:
            call.carry(None)
            if kept and not self._closed.is_set():
                self._idle.put(connection)
            else:
                connection.close()
        return self._read(response, answer, limits)

    def _read(self, response: http.client.HTTPResponse, answer: bytes, limits: Limits) -> Execution:
        if response.status == 200:
            return fusion_wire.read_response(answer, limits)
        words = f"HTTP {response.status}: {answer[:300].decode('utf-8', 'replace')}"
        if response.status in _BUSY:
            raise _TransportError(words, _seconds(response.headers.get("Retry-After")))
        raise SandboxError(f"{self.url} refused the request ({words})")

    def _connect(self, limits: Limits) -> http.client.HTTPConnection:
        timeout = limits.wall_seconds + self._patience
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


def wait_until_up(url: str, seconds: float = 30.0) -> None:
    """Wait for `GET /v1/ping` to answer.

    Raises:
        SandboxError: When it does not in time.
    """
    parts = urlsplit(url)
    deadline = time.monotonic() + seconds
    while True:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        try:
            connection.request("GET", "/v1/ping")
            if connection.getresponse().status == 200:
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise SandboxError(f"no sandbox server answers at {url}: {error}") from error
        finally:
            connection.close()
        time.sleep(0.05)
