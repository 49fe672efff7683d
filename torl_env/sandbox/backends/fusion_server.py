"""The local sandbox over HTTP: Sandbox Fusion's form, and live sessions in one of our own.

| request | body | answer |
| --- | --- | --- |
| `POST /run_code`, `POST /` | Sandbox Fusion's | Sandbox Fusion's |
| `POST /run_jupyter` | Sandbox Fusion's | Sandbox Fusion's |
| `GET /v1/ping` | | `"pong"` |
| `POST /sessions` | `{"torl": limits}` | `{"session": id}` |
| `POST /sessions/ID/turns` | `{"code": ..., "turn": 0, "torl": limits}` | as `/run_code` |
| `POST /sessions/ID/branch` | | `{"session": id}` |
| `DELETE /sessions/ID` | | `{}` |

Requests wait for their turn; beyond `queue` of them the answer is 503 at once, so that a client
backs off instead of running into a timeout. A client that hangs up has its program killed, and with
a turn its session: what it would find there later is not what it asked for.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from torl_env.errors import SandboxError
from torl_env.http_options import ServeOptions
from torl_env.http_server import (
    HttpServer,
    answer,
    aside,
    busy,
    read_body,
    result_or_hang_up,
)
from torl_env.sandbox.backends import fusion_wire as wire
from torl_env.sandbox.backends.fusion_files import read_run
from torl_env.sandbox.backends.fusion_jupyter import read_cells, run_cells
from torl_env.sandbox.local.sandbox import LocalSandbox
from torl_env.sandbox.types import Execution, Limits, Session, Status

T = TypeVar("T")

_NO_FILES: Final = (
    "this machine gives programs no place for files of their own: see `torl sandbox check`"
)


@dataclass(slots=True, eq=False)
class _Held:
    """A session and its use."""

    session: Session
    limits: Limits
    turn: int = 0
    """Number of the next turn: a repeated request must not run twice."""
    used: float = field(default_factory=time.monotonic)
    in_use: int = 0


class SandboxServer(HttpServer):
    """Serves a `LocalSandbox`.

    Args:
        sandbox: Its owner closes it.
        options: See there.
    """

    options: ServeOptions

    def __init__(self, sandbox: LocalSandbox, options: ServeOptions) -> None:
        self._sandbox = sandbox
        self._open = 0
        self._tokens = max(options.rate, 1.0)
        self._refilled = time.monotonic()
        self._sessions: dict[str, _Held] = {}
        # Turns wait on a thread each; what waits for a thread is bounded by the queue.
        self._threads = ThreadPoolExecutor(128, thread_name_prefix="torl-turn")
        one = "/sessions/{key}"
        routes = [
            Route("/v1/ping", self._ping, methods=["GET"]),
            *(Route(path, self._run, methods=["POST"]) for path in ("/run_code", "/")),
            Route("/run_jupyter", self._run_jupyter, methods=["POST"]),
            Route("/sessions", self._open_session, methods=["POST"]),
            Route(f"{one}/turns", self._turn, methods=["POST"]),
            Route(f"{one}/branch", self._branch, methods=["POST"]),
            Route(one, self._close_session, methods=["DELETE"]),
        ]
        super().__init__(routes, options, self._expire)

    @property
    def open_sessions(self) -> int:
        """How many clients hold."""
        return len(self._sessions)

    def stop(self) -> None:
        """Answer what waits with 503, end the sessions and free the port; idempotent."""
        super().stop()
        for key in list(self._sessions):
            self._drop(key)
        self._threads.shutdown()

    async def _ping(self, _: Request) -> Response:
        return answer(b'"pong"')

    async def _run(self, request: Request) -> Response:
        async with self._place(request) as body:
            job, files = await self._valid(body, read_run)
            if job.expired:
                return await _executed(
                    Execution(Status.TIMEOUT, exit_code=-9), job.limits, extended=job.extended
                )
            code = job.code if files is None else files.program(job.code)
            limits = job.limits if files is None else files.limits(job.limits)
            try:
                if files is not None and not await self._keeps_files():
                    return answer(wire.failure_body(_NO_FILES))
                call = self._sandbox.submit(code, limits, stdin=job.stdin)
                result = await result_or_hang_up(request, call)
                found: dict[str, str] = {}
                if files is not None:
                    result, found = files.split(result, job.limits)
            except SandboxError as error:
                return answer(wire.failure_body(str(error)))
            return await _executed(result, job.limits, extended=job.extended, files=found)

    async def _keeps_files(self) -> bool:
        return await asyncio.wrap_future(self._threads.submit(self._sandbox.keeps_files))

    @asynccontextmanager
    async def _place(self, request: Request) -> AsyncIterator[bytes]:
        """The body, and one of the `queue` places of requests that may run or wait.

        Who sends slowly takes no place.
        """
        self._check_room()
        body = await read_body(request)
        self._check_room()
        if not self._take_token():
            raise busy("more requests than the rate allows", 429)
        self._open += 1
        try:
            yield body
        finally:
            self._open -= 1

    def _check_room(self) -> None:
        if self._open >= self.options.queue:
            raise busy(f"{self._open} requests are waiting; come back later")

    async def _valid(self, body: bytes, read: Callable[[bytes, Limits, Limits], T]) -> T:
        options = self.options
        try:
            return await aside(len(body), lambda: read(body, options.limits, options.most))
        except wire.InvalidRequestError as error:
            raise _refusal(error) from error

    def _take_token(self) -> bool:
        rate = self.options.rate
        if rate <= 0:
            return True
        now = time.monotonic()
        earned = (now - self._refilled) * rate
        self._tokens, self._refilled = min(self._tokens + earned, max(rate, 1.0)), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    async def _open_session(self, request: Request) -> Response:
        async with self._place(request) as body:
            data = _object(body)
            limits = self._limits(data, self.options.limits)
            return await self._new(request, limits, lambda: self._sandbox.session(limits))

    async def _branch(self, request: Request) -> Response:
        async with self._place(request), self._using(request) as held:
            return await self._new(request, held.limits, held.session.branch)

    async def _turn(self, request: Request) -> Response:
        async with self._place(request) as body, self._using(request) as held:
            data = _object(body)
            code, turn = data.get("code"), data.get("turn", held.turn)
            if not isinstance(code, str):
                raise HTTPException(422, "a turn has a text `code`")
            if turn != held.turn:
                raise HTTPException(409, f"the next turn is number {held.turn}, not {turn!r:.20}")
            limits = self._limits(data, held.limits)
            held.turn += 1
            try:
                call = self._threads.submit(held.session.run, code, limits)
                result = await result_or_hang_up(request, call)
            except BaseException as error:
                self._drop(request.path_params["key"])
                if isinstance(error, SandboxError):
                    return answer(wire.failure_body(str(error)))
                raise
            restarted = held.session.restarted
            return await _executed(result, limits, extended=True, restarted=restarted)

    async def _close_session(self, request: Request) -> Response:
        self._drop(request.path_params["key"])
        return answer(b"{}")

    async def _new(self, request: Request, limits: Limits, make: Callable[[], Session]) -> Response:
        most = self.options.sessions
        if len(self._sessions) >= most:
            message = f"all {most} sessions are taken: close some, or serve more of them"
            return answer(wire.failure_body(message))
        key = secrets.token_urlsafe(18)
        call = self._threads.submit(make)
        try:
            session = await result_or_hang_up(request, call)
        except SandboxError as error:
            return answer(wire.failure_body(str(error)))
        except BaseException:
            call.add_done_callback(_close_late)
            raise
        self._sessions[key] = _Held(session, limits)
        return answer({"session": key})

    @asynccontextmanager
    async def _using(self, request: Request) -> AsyncIterator[_Held]:
        held = self._sessions.get(request.path_params["key"])
        if held is None:
            raise HTTPException(
                404,
                "no session has this id: it was closed, lost, or not used for "
                f"{self.options.idle_seconds:g} s",
            )
        held.in_use += 1
        try:
            yield held
        finally:
            held.in_use -= 1
            held.used = time.monotonic()

    def _limits(self, data: dict[str, Any], default: Limits) -> Limits:
        try:
            return wire.read_limits(data, default, self.options.most)
        except wire.InvalidRequestError as error:
            raise _refusal(error) from error

    def _drop(self, key: str) -> None:
        held = self._sessions.pop(key, None)
        if held is not None:
            # It waits for a turn that runs, which it kills.
            self._threads.submit(held.session.close)

    async def _expire(self) -> None:
        before = time.monotonic() - self.options.idle_seconds
        for key, held in list(self._sessions.items()):
            if held.used < before and not held.in_use:
                self._drop(key)

    async def _run_jupyter(self, request: Request) -> Response:
        async with self._place(request) as body:
            job = await self._valid(body, read_cells)
            call = self._threads.submit(run_cells, self._sandbox, job)
            try:
                cells = await result_or_hang_up(request, call)
                return answer(cells)
            except SandboxError as error:
                return answer(wire.failure_body(str(error)))


def _object(body: bytes) -> dict[str, Any]:
    try:
        return wire.read_object(body)
    except wire.InvalidRequestError as error:
        raise _refusal(error) from error


def _refusal(error: wire.InvalidRequestError) -> HTTPException:
    return HTTPException(422, error.detail)  # type: ignore[arg-type]


async def _executed(result: Execution, limits: Limits, **more: Any) -> Response:
    size = len(result.stdout) + len(result.stderr)
    return answer(await aside(size, partial(wire.response_body, result, limits, **more)))


def _close_late(call: Future[Session]) -> None:
    """Of a session that was opened when its client had gone."""
    if not call.cancelled() and call.exception() is None:
        call.result().close()
