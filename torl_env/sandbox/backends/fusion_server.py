"""The local sandbox over HTTP in Sandbox Fusion's form: `POST /run_code`, `GET /v1/ping`.

Requests wait for their turn; beyond `queue` of them the answer is 503 at once, so that a client
backs off instead of running into a timeout. A client that hangs up has its program killed.
"""

import asyncio
import hmac
import json
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from torl_env.errors import SandboxError
from torl_env.sandbox.backends import fusion_wire
from torl_env.sandbox.local.sandbox import LocalSandbox
from torl_env.sandbox.types import Execution, Limits, Status

_HEAD_BYTES: Final = 32_768
_LOOK_SECONDS: Final = 0.05
_IDLE_SECONDS: Final = 300.0
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Content Too Large",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
_DEFAULT: Final = Limits()
_MOST: Final = Limits(
    cpu_seconds=300.0,
    wall_seconds=600.0,
    memory_mb=16_384,
    output_bytes=4_194_304,
    processes=1024,
    open_files=4096,
)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What a server allows."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 for any free one."""
    token: str | None = None
    """Clients must send it as `Authorization: Bearer`; required where `host` is not loopback."""
    body_bytes: int = 4_194_304
    queue: int = 1024
    """Requests that may run or wait."""
    rate: float = 0.0
    """Requests a second over all clients, 0 for no limit; a second's worth may come at once."""
    limits: Limits = _DEFAULT
    """For requests that give none."""
    most: Limits = _MOST
    """No request gets more."""

    def __post_init__(self) -> None:
        loopback = self.host in ("localhost", "::1") or self.host.startswith("127.")
        if not loopback and not self.token:
            raise ValueError(
                f"serving on {self.host} lets everybody who reaches it run programs: give a token, "
                "or serve on 127.0.0.1"
            )


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    retry: bool = False


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def keeps_open(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"


class _BadRequestError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _problem(status: int, message: str, *, retry: bool = False) -> _Answer:
    return _Answer(status, json.dumps({"detail": message}).encode(), retry)


class SandboxServer:
    """Serves a `LocalSandbox`.

    Args:
        sandbox: Its owner closes it.
        options: See there.
    """

    def __init__(self, sandbox: LocalSandbox, options: ServeOptions) -> None:
        self._sandbox = sandbox
        self._options = options
        self._open = 0
        self._tokens = max(options.rate, 1.0)
        self._refilled = time.monotonic()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen; returns the port."""
        options = self._options
        self._server = await asyncio.start_server(
            self._connected, options.host, options.port, limit=_HEAD_BYTES, backlog=1024
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("connections are served by tasks")
        self._connections.add(task)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            # The client hung up, or sent nothing for minutes.
            pass
        except asyncio.CancelledError:
            # Only `stop` does that; asyncio would log a task of its own that ends as cancelled.
            if self._server is None or self._server.is_serving():
                raise
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                request = await self._read(reader)
        except _BadRequestError as error:
            _write(writer, _problem(error.status, str(error)), keep=False)
            await writer.drain()
            return False
        if request is None:
            return False
        answer = await self._answer(request, reader)
        _write(writer, answer, keep=request.keeps_open)
        await writer.drain()
        return request.keeps_open

    async def _read(self, reader: asyncio.StreamReader) -> _Request | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise _BadRequestError(431, "the request's head is too long") from error
        except asyncio.IncompleteReadError:
            return None
        try:
            first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
            method, path, version = first.split(" ")
            pairs = (line.split(":", 1) for line in lines)
            headers = {name.strip().lower(): value.strip() for name, value in pairs}
            length = int(headers.get("content-length", "0"))
        except ValueError as error:
            raise _BadRequestError(400, "this is not HTTP") from error
        if version == "HTTP/1.0":
            headers["connection"] = "close"
        if "transfer-encoding" in headers:
            raise _BadRequestError(411, "send a Content-Length instead of a Transfer-Encoding")
        if not 0 <= length <= self._options.body_bytes:
            most = self._options.body_bytes
            raise _BadRequestError(413, f"the body has {length} bytes; at most {most} are taken")
        return _Request(method, path, headers, await reader.readexactly(length))

    async def _answer(self, request: _Request, reader: asyncio.StreamReader) -> _Answer:
        path = request.path.partition("?")[0].rstrip("/")
        if path == "/v1/ping":
            return _Answer(200, b'"pong"')
        if path != "/run_code":
            return _problem(404, f"expected /run_code or /v1/ping, got {request.path}")
        if request.method != "POST":
            return _problem(405, f"expected POST, got {request.method}")
        if not self._authorised(request):
            return _problem(401, "expected `Authorization: Bearer` with the server's token")
        if self._open >= self._options.queue:
            return _problem(503, f"{self._open} requests are waiting; come back later", retry=True)
        if not self._take_token():
            return _problem(429, "more requests than the rate allows", retry=True)
        self._open += 1
        try:
            return await self._run(request.body, reader)
        finally:
            self._open -= 1

    def _authorised(self, request: _Request) -> bool:
        token = self._options.token
        if token is None:
            return True
        given = request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())

    def _take_token(self) -> bool:
        rate = self._options.rate
        if rate <= 0:
            return True
        now = time.monotonic()
        earned = (now - self._refilled) * rate
        self._tokens, self._refilled = min(self._tokens + earned, max(rate, 1.0)), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def _run(self, body: bytes, reader: asyncio.StreamReader) -> _Answer:
        try:
            job = fusion_wire.read_request(body, self._options.limits, self._options.most)
        except fusion_wire.InvalidRequestError as error:
            return _Answer(422, json.dumps({"detail": error.detail}).encode())
        try:
            if job.expired:
                result: Execution | None = Execution(Status.TIMEOUT, exit_code=-9)
            else:
                call = self._sandbox.submit(job.code, job.limits, stdin=job.stdin)
                result = await _unless_gone(call, reader)
        except SandboxError as error:
            return _Answer(200, fusion_wire.failure_body(str(error)))
        if result is None:
            raise ConnectionResetError("the client hung up")
        return _Answer(200, fusion_wire.response_body(result, extended=job.extended))


async def _unless_gone(call: Future[Execution], reader: asyncio.StreamReader) -> Execution | None:
    """Wait for a result; kill the program and return `None` when nobody waits for it any more."""
    future = asyncio.wrap_future(call)
    try:
        while not (await asyncio.wait({future}, timeout=_LOOK_SECONDS))[0]:
            if reader.at_eof():
                return None
        return future.result()
    finally:
        future.cancel()


def _write(writer: asyncio.StreamWriter, answer: _Answer, *, keep: bool) -> None:
    head = [
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}",
        "Content-Type: application/json",
        f"Content-Length: {len(answer.body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    if answer.retry:
        head.append("Retry-After: 1")
    writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + answer.body)


async def serve(sandbox: LocalSandbox, options: ServeOptions) -> None:
    """Serve until cancelled."""
    server = SandboxServer(sandbox, options)
    await server.start()
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop()
