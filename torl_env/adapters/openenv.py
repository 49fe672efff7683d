r"""OpenEnv's server form: reset, step and state over WebSocket and HTTP.

OpenEnv's own client (`openenv.core.GenericEnvClient`) talks to `/ws`; a connection is a session.
Over plain HTTP a session is named by the `episode_id` of its reset, which the observation repeats:

| request | body | answer |
| --- | --- | --- |
| `POST /reset` | `{"seed": 0, "episode_id": ..., "problem_id": ...}`, all optional | observation |
| `POST /step` | `{"action": {"text": ..., "cut": false}, "episode_id": ...}` | observation |
| `GET /state?episode_id=...` | | `{"episode_id": ..., "step_count": ..., ...}` |
| `POST /close` | `{"episode_id": ...}` | `{"closed": true}` |
| `GET /health`, `/metadata`, `/schema`, `/openapi.json` | | as OpenEnv has them |
| `POST /mcp` | JSON-RPC | no tools: a model calls them in the text of a step |

An observation is `{"observation": {"text", "terminated", "truncated", "episode_id", "info"},
"reward", "done"}`; `reward` is `null` at a reset, and where the machine failed or the grader could
not decide. What cannot be answered is `{"detail": "..."}` with an HTTP status, and over WebSocket
`{"type": "error", "data": {"message", "code"}}`; an error of the environment itself (a grader, a
prompt, a tool of one's own) is named by its type and told in full in the server's log.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import gymnasium as gym
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from torl_env.adapters.openenv_description import METADATA, SCHEMA, mcp_reply, openapi
from torl_env.adapters.openenv_sessions import JSON, RequestError, Sessions, invalid, name_in
from torl_env.env import ToRLMathEnv
from torl_env.http_options import ServerOptions as ServerOptions
from torl_env.http_server import HttpServer, answer, read_body

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class OpenEnvServer(HttpServer):
    """Serves environments; a context manager, or `run` in the foreground.

    Args:
        make: Makes one environment; give all of them the same source and sandbox.
        options: See there.
    """

    options: ServerOptions

    def __init__(
        self, make: Callable[[], ToRLMathEnv], options: ServerOptions | None = None
    ) -> None:
        options = options or ServerOptions()
        self.sessions = Sessions(make, options.sessions, options.idle_seconds)
        # A step waits on a thread; one more may be closed while all places are taken.
        self._threads = ThreadPoolExecutor(2 * options.sessions, thread_name_prefix="torl-openenv")
        known = {
            "/health": {"status": "healthy"},
            "/metadata": METADATA,
            "/schema": SCHEMA,
            "/openapi.json": openapi(),
        }
        posts = {"/reset": self._reset, "/step": self._step, "/close": self._close}
        routes = [
            WebSocketRoute("/ws", self._converse),
            Route("/ws", _upgrade_required, methods=["GET"]),
            Route("/mcp", _mcp, methods=["POST"]),
            Route("/state", self._state, methods=["GET"]),
            *(Route(path, _constant(said), methods=["GET"]) for path, said in known.items()),
            *(Route(path, self._posted(act), methods=["POST"]) for path, act in posts.items()),
        ]
        super().__init__(routes, options, self._expire)

    def stop(self) -> None:
        """Hang up, close every session and free the port; idempotent."""
        super().stop()
        self.sessions.close()
        self._threads.shutdown()

    async def _expire(self) -> None:
        await self._aside(self.sessions.expire)

    async def _aside(self, work: Callable[[], T]) -> T:
        """On a thread: environments block."""
        return await asyncio.wrap_future(self._threads.submit(work))

    async def _refused_or(self, act: Callable[[], JSON]) -> Response:
        try:
            return answer(await self._aside(act))
        except Exception as error:
            refusal = _refusal(error)
            raise HTTPException(refusal.status, str(refusal)) from error

    def _posted(self, act: Callable[[JSON], JSON]) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            body = await read_body(request)
            return await self._refused_or(lambda: act(parsed(body or b"{}")))

        return handle

    async def _state(self, request: Request) -> Response:
        key = request.query_params.get("episode_id")
        return await self._refused_or(lambda: self.sessions.find(key).state())

    def _reset(self, body: JSON) -> JSON:
        key, session = self.sessions.open(name_in(body, "episode_id"))
        try:
            return session.reset({**body, "episode_id": key})
        except Exception:
            if not session.episode_id:
                self.sessions.drop(key)
            raise

    def _step(self, body: JSON) -> JSON:
        return self.sessions.find(name_in(body, "episode_id")).step(body.get("action"))

    def _close(self, body: JSON) -> JSON:
        return {"closed": self.sessions.drop(str(body.get("episode_id")))}

    async def _converse(self, socket: WebSocket) -> None:
        """One connection, one session."""
        try:
            key, _ = await self._aside(self.sessions.open)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
            refusal = _refusal(error)
            await socket.send_denial_response(answer({"detail": str(refusal)}, refusal.status))
            return
        await socket.accept()
        coming = asyncio.ensure_future(socket.receive())
        try:
            while True:
                async with asyncio.timeout(self.options.idle_seconds):
                    message = await coming
                if "text" not in message:
                    # It has hung up, or sent bytes.
                    await _close_with(socket, 1003, message)
                    return
                # Looked for during the step, so that a client that goes takes its program along.
                coming = asyncio.ensure_future(socket.receive())
                step = asyncio.ensure_future(
                    self._aside(partial(replied, self.sessions, key, message["text"]))
                )
                await asyncio.wait((step, coming), return_when=asyncio.FIRST_COMPLETED)
                if coming.done() and coming.result()["type"] == "websocket.disconnect":
                    return
                reply = await step
                if reply is None:
                    await socket.close()
                    return
                async with asyncio.timeout(self.options.write_seconds):
                    await socket.send_text(json.dumps(reply))
        except TimeoutError:
            socket.scope["state"]["connection"].abort()
        finally:
            coming.cancel()
            await self._aside(partial(self.sessions.drop, key))


async def _close_with(socket: WebSocket, code: int, message: Any) -> None:
    if message["type"] != "websocket.disconnect":
        await socket.close(code)


async def _upgrade_required(_: Request) -> Response:
    raise HTTPException(426, "/ws speaks WebSocket, version 13", {"Upgrade": "websocket"})


async def _mcp(request: Request) -> Response:
    return answer(mcp_reply(await read_body(request)))


def _constant(said: JSON) -> Callable[[Request], Any]:
    async def handle(_: Request) -> Response:
        return answer(said)

    return handle


def replied(sessions: Sessions, key: str, text: str) -> JSON | None:
    """The answer to one WebSocket message, `None` where it asks to close."""
    try:
        message = parsed(text)
        data = message.get("data", {})
        match message.get("type"):
            case "close":
                return None
            case "reset" if isinstance(data, dict):
                return {"type": "observation", "data": sessions.open(key)[1].reset(data)}
            case "step":
                return {"type": "observation", "data": sessions.find(key).step(data)}
            case "state":
                return {"type": "state", "data": sessions.find(key).state()}
            case other:
                raise RequestError(
                    422, "UNKNOWN_TYPE", f"type is reset, step, state or close, got {other!r:.80}"
                )
    except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
        refusal = _refusal(error)
        return {"type": "error", "data": {"message": str(refusal), "code": refusal.code}}


def _refusal(error: Exception) -> RequestError:
    """What a client is told of an error; one that is not its own goes to the log."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, gym.error.Error):
        return RequestError(503, "EXECUTION_ERROR", str(error))
    _LOG.error("the environment failed", exc_info=error)
    # Its words may hold the answer, which a model may not read.
    what = f"the environment failed ({type(error).__name__}): see the server's log"
    return RequestError(500, "EXECUTION_ERROR", what)


def parsed(text: str | bytes) -> JSON:
    """A JSON object.

    Raises:
        RequestError: It is something else.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "INVALID_JSON", f"expected a JSON object: {error}") from error
    if not isinstance(value, dict):
        raise invalid(f"expected a JSON object, got {type(value).__name__}")
    return value
