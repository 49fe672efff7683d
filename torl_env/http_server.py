"""What every server of this package that faces a network has in common: uvicorn with limits.

`HttpServer` serves Starlette routes. Who may ask, and how much, is judged from a request's head,
before any of its body is read; connections, slow senders and unread answers are bounded, so that no
client costs the others anything. Needs `pip install torl-gym[serve]`.
"""

import asyncio
import hmac
import json
import re
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final, Self, TypeVar

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from torl_env.http_options import HttpOptions, is_loopback

T = TypeVar("T")

_CHUNK: Final = 65_536
_LARGE: Final = 1 << 18
"""Bytes of JSON that are read or written on a thread, away from the event loop."""
_ASIDE: Final = ThreadPoolExecutor(1, thread_name_prefix="torl-aside")
"""That thread: only one runs at a time anyway, and the event loop waits its turn among them."""
_DRAINED: Final = 1 << 26
"""Bytes of a refused body that are read and dropped, so that its sender comes to the answer."""
_HOST: Final = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::[0-9]{1,5})?")
"""Of a request's head: an address in brackets or a name, and a port."""
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class HttpServer:
    """Serves routes until it is stopped: `run` in the foreground, or as a context manager.

    Args:
        routes: Their handlers raise `HTTPException`, which is answered as `{"detail": ...}`.
        options: See there.
        tick: Called every second.

    Raises:
        OSError: The address is taken.
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        options: HttpOptions,
        tick: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.options = options
        self.stopping = asyncio.Event()
        self.reading_bytes = 0
        """Of requests that are being sent."""
        prefix = options.path_prefix.rstrip("/")
        mounted = [Mount(prefix, routes=list(routes))] if prefix else list(routes)
        app = Starlette(routes=mounted, exception_handlers={HTTPException: _as_json})
        app.router.redirect_slashes = False
        app.state.server = self
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        self._socket = socket.create_server((options.host, options.port), family=family)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            _Guard(app, options, self._socket.getsockname()[0]),
            http=partial(_Connection, options=options),  # type: ignore[arg-type]
            ws="websockets-sansio",
            ws_max_size=options.body_bytes,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=300,
            timeout_graceful_shutdown=2,
            callback_notify=tick,
            timeout_notify=1,
        )
        self._server = _Server(config, self.stopping)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens, without the path prefix."""
        host = self.options.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(self, serving: Callable[[], None] | None = None) -> None:
        """Serve in this thread until SIGINT or SIGTERM.

        Args:
            serving: Called as soon as requests are answered.

        Raises:
            KeyboardInterrupt: SIGINT ended it.
        """
        if serving is not None:
            self._server.on_start = serving
        self._server.run(sockets=[self._socket])

    def start(self) -> Self:
        """Serve in a thread; returns when requests are answered."""
        started = threading.Event()
        self._server.on_start = started.set
        self._thread = threading.Thread(target=self.run, name="torl-http", daemon=True)
        self._thread.start()
        started.wait()
        return self

    def stop(self) -> None:
        """Answer what waits with 503, hang up and free the port; idempotent."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


async def read_body(request: Request) -> bytes:
    """The body; its length is bounded where the head does not tell it.

    Raises:
        HTTPException: 413, 503 where all bodies in flight are too much together, or 499 where the
            client hangs up.
    """
    server: HttpServer = request.app.state.server
    most, body = server.options.body_bytes, bytearray()
    try:
        async for part in request.stream():
            body += part
            server.reading_bytes += len(part)
            if len(body) > most:
                raise HTTPException(413, f"a body has at most {most} bytes")
            if server.reading_bytes > server.options.unread_bytes:
                raise busy("too many bodies are being sent at once")
    except ClientDisconnect:
        # No fault of the server: a client could have it logged as often as it likes.
        raise HTTPException(499, "hung up") from None
    finally:
        server.reading_bytes -= len(body)
    return bytes(body)


def answer(data: object, status: int = 200) -> Response:
    """JSON, of an object or written already."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Response(body, status, media_type="application/json")


async def aside(size: int, work: Callable[[], T]) -> T:
    """Do what takes time with `size` bytes: on a thread, if they are many."""
    if size < _LARGE:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_ASIDE, work)


async def result_or_hang_up(request: Request, call: "Future[T]") -> T:
    """Wait for a call, which is cancelled when its client has gone.

    Raises:
        HTTPException: 503 when the server stops; 499 when the client has hung up, which nobody
            reads.
    """
    server: HttpServer = request.app.state.server
    result = asyncio.wrap_future(call)
    gone: asyncio.Future[Any] = asyncio.ensure_future(request.receive())
    stop: asyncio.Future[Any] = asyncio.ensure_future(server.stopping.wait())
    waiting: tuple[asyncio.Future[Any], ...] = (result, gone, stop)
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            return result.result()
        raise busy("the server stops") if stop.done() else HTTPException(499, "hung up")
    finally:
        for task in waiting:
            task.cancel()


def busy(message: str, status: int = 503) -> HTTPException:
    """`Not now`: the client may come back."""
    return HTTPException(status, message, {"Retry-After": "1"})


async def _as_json(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = json.dumps({"detail": error.detail}).encode()
    return Response(body, error.status_code, error.headers, "application/json")


class _Guard:
    """Refuses from the head, and hands answers out only as fast as they are read."""

    def __init__(self, app: ASGIApp, options: HttpOptions, address: str) -> None:
        self._app, self._options = app, options
        self._names = {options.host, address, *options.hosts}
        self._unread: dict[_Connection, int] = {}
        """Bytes that wait for each client, oldest first."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(dict(scope["headers"]), scope)
        if refusal is not None:
            await _refuse(scope, send, *refusal)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            connection: _Connection = scope["state"]["connection"]
            with suppress(TimeoutError):
                await self._app(scope, receive, partial(self._send, connection, send))

    def _refusal(self, headers: dict[bytes, bytes], scope: Scope) -> tuple[int, str] | None:
        options = self._options
        if options.token is not None:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, f"Bearer {options.token}".encode()):
                return 401, "send the server's token as `Authorization: Bearer`"
        elif headers.get(b"origin"):
            # A page in the user's browser reaches loopback too, and always says where it is from.
            return 403, "web pages may not call without a token"
        elif not self._is_ours(headers.get(b"host", b"").decode("latin-1")):
            # A page whose own name was made to point here (DNS rebinding) still sends that name.
            return 403, "this server has another name: address it as localhost, or name it in hosts"
        kind = headers.get(b"content-type", b"application/json").split(b";")[0].strip().lower()
        if scope.get("method") == "POST" and kind != b"application/json":
            # The other types of a form are the ones that a page may send without asking first.
            return 415, "expected Content-Type: application/json"
        length = headers.get(b"content-length", b"0")
        if len(length) > 18 or int(length) > options.body_bytes:
            return 413, f"a body has at most {options.body_bytes} bytes"
        return None

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        name = "" if found is None else found[1] or found[2]
        return is_loopback(name) or name in self._names

    async def _send(self, connection: "_Connection", send: Send, message: Message) -> None:
        body = message.get("body", b"")
        parts = iter([message])
        if len(body) > _CHUNK:
            parts = (
                {**message, "body": body[at : at + _CHUNK], "more_body": at + _CHUNK < len(body)}
                for at in range(0, len(body), _CHUNK)
            )
            self._unread[connection] = len(body)
        while sum(self._unread.values()) > self._options.unread_bytes and len(self._unread) > 1:
            oldest = next(iter(self._unread))
            del self._unread[oldest]
            oldest.abort()
        try:
            for part in parts:
                async with asyncio.timeout(self._options.write_seconds):
                    await send(part)
        except TimeoutError:
            connection.abort()
            raise
        finally:
            self._unread.pop(connection, None)


async def _refuse(scope: Scope, send: Send, status: int, words: str) -> None:
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    body = json.dumps({"detail": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if any(name == b"expect" for name, _ in scope["headers"]):
        # Whether the body still comes is the client's choice (RFC 9110, 10.1.1).
        headers.append((b"connection", b"close"))
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


class _Connection(H11Protocol):
    """uvicorn's connection with a bound on how many there are and how slow one may be."""

    def __init__(self, *args: Any, options: HttpOptions, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._options = options
        self._deadline: asyncio.TimerHandle | None = None
        self._drained = 0
        self.app_state = {**self.app_state, "connection": self}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        # asyncio sets it only where the listening socket names its protocol; without it the body
        # of an answer waits 40 ms for the client to acknowledge the head.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What the kernel keeps for a client that does not read; it would take megabytes.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHUNK)
        if len(self.connections) > self._options.connections:
            transport.write(_FULL)
            transport.close()
        else:
            self._arm()

    def data_received(self, data: bytes) -> None:
        self._arm()
        super().data_received(data)
        if self.transport.get_protocol() is not self:
            # It has become a WebSocket.
            return
        state, ahead = self.conn.their_state, len(self.conn.trailing_data[0])
        if state is h11.DONE and self.flow.read_paused:
            # A request that came early waits, but a transport that does not read would not
            # notice that the client hangs up.
            if ahead > _CHUNK:
                self.abort()
            else:
                self.flow.resume_reading()
        if state is h11.SEND_BODY and self.cycle.response_complete:
            self._drained += len(data)
            if self._drained > _DRAINED:
                self.abort()
        elif state is not h11.SEND_BODY and not (state is h11.IDLE and ahead):
            self._drained = 0
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._disarm()
        super().handle_websocket_upgrade(event)

    def abort(self) -> None:
        """Hang up at once; closing would wait until the client has read what is left."""
        # Neither is what the kernel still holds for it sent (a reset in place of an end).
        connection = self.transport.get_extra_info("socket")
        if connection is not None and not self.transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._options.read_seconds, self.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Server(uvicorn.Server):
    """Says when it listens, and when it stops while requests in flight can be answered."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping
        self.on_start: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping.set()
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
