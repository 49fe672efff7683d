r"""OpenEnv's server form: reset, step and state over WebSocket and HTTP, with no dependency.

OpenEnv's own client (`openenv.core.GenericEnvClient`) talks to `/ws`; a connection is a session.
Over plain HTTP a session is named by the `episode_id` of its reset, which the observation repeats:

| request | body | answer |
| --- | --- | --- |
| `POST /reset` | `{"seed": 0, "episode_id": ..., "problem_id": ...}`, all optional | observation |
| `POST /step` | `{"action": {"text": ..., "cut": false}, "episode_id": ...}` | observation |
| `GET /state?episode_id=...` | | `{"episode_id": ..., "step_count": ..., ...}` |
| `POST /close` | `{"episode_id": ...}` | `{"closed": true}` |
| `GET /health`, `/metadata`, `/schema` | | as OpenEnv has them |

An observation is `{"observation": {"text", "terminated", "truncated", "episode_id", "info"},
"reward", "done"}`; `reward` is `null` at a reset, and where the machine failed or the grader could
not decide.
"""

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gymnasium as gym

from torl_env.adapters.openenv_sessions import JSON, RequestError, Sessions, invalid, name_in
from torl_env.adapters.websocket import ProtocolError, WebSocket, accept, asks_for_upgrade
from torl_env.env import ToRLMathEnv

_TEXT = {"type": "string"}
SCHEMA: JSON = {
    "action": {
        "type": "object",
        "properties": {"text": _TEXT, "cut": {"type": "boolean", "default": False}},
        "required": ["text"],
    },
    "observation": {
        "type": "object",
        "properties": {
            "text": _TEXT,
            "terminated": {"type": "boolean"},
            "truncated": {"type": "boolean"},
            "episode_id": _TEXT,
            "info": {"type": "object"},
        },
    },
    "state": {
        "type": "object",
        "properties": {"episode_id": _TEXT, "step_count": {"type": "integer"}},
    },
}
METADATA: JSON = {
    "name": "ToRLMath-v0",
    "description": "A problem, a Python interpreter and a model that writes text",
    "version": "0",
}


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How to serve.

    Raises:
        ValueError: It would be open to everybody.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    token: str | None = None
    """Clients send it as `Authorization: Bearer`; required off loopback."""
    sessions: int = 64
    """Episodes at once; more are answered 503."""
    idle_seconds: float = 600.0
    """A session that nobody uses is closed after this long."""
    body_bytes: int = 4_194_304
    """Longest request or message."""

    def __post_init__(self) -> None:
        loopback = self.host in ("localhost", "::1") or self.host.startswith("127.")
        if not loopback and not self.token:
            raise ValueError(
                f"serving on {self.host} lets everybody who reaches it run programs: give a token, "
                "or serve on 127.0.0.1"
            )


class OpenEnvServer(ThreadingHTTPServer):
    """Serves environments until `shutdown`; a context manager.

    Args:
        make: Makes one environment; give all of them the same source and sandbox.
        options: See there.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, make: Callable[[], ToRLMathEnv], options: ServerOptions | None = None
    ) -> None:
        self.options = options or ServerOptions()
        self.sessions = Sessions(make, self.options.sessions, self.options.idle_seconds)
        super().__init__((self.options.host, self.options.port), _Handler)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.options.host}:{self.server_address[1]}"

    def service_actions(self) -> None:
        """Called by `serve_forever` between requests."""
        self.sessions.expire()

    def server_close(self) -> None:
        """Stop listening and close every session."""
        super().server_close()
        self.sessions.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OpenEnvServer

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.options.idle_seconds)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a line for each step would drown everything else."""

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        if path.path == "/ws":
            self._refused_or(self._upgrade)
        elif path.path == "/state":
            ids = parse_qs(path.query).get("episode_id", [None])
            self._refused_or(lambda: self._answer(200, self.server.sessions.find(ids[0]).state()))
        else:
            known = {"/health": {"status": "healthy"}, "/metadata": METADATA, "/schema": SCHEMA}
            found = known.get(path.path)
            self._answer(200 if found else 404, found or {"detail": f"no such path: {path.path}"})

    def do_POST(self) -> None:
        routes = {"/reset": self._reset, "/step": self._step, "/close": self._close}
        route = routes.get(urlsplit(self.path).path)
        # The body is read in any case, or it would be taken for the next request.
        self._refused_or(lambda: self._routed(route, self._body()))

    def _routed(self, route: Callable[[JSON], JSON] | None, body: JSON) -> None:
        if route is None:
            raise RequestError(404, "UNKNOWN_TYPE", f"no such path: {self.path}")
        self._answer(200, route(body))

    def _reset(self, body: JSON) -> JSON:
        sessions = self.server.sessions
        key, session = sessions.open(name_in(body, "episode_id"))
        try:
            return session.reset({**body, "episode_id": key})
        except RequestError:
            if not session.episode_id:
                sessions.drop(key)
            raise

    def _step(self, body: JSON) -> JSON:
        return self.server.sessions.find(name_in(body, "episode_id")).step(body.get("action"))

    def _close(self, body: JSON) -> JSON:
        return {"closed": self.server.sessions.drop(str(body.get("episode_id")))}

    def _refused_or(self, act: Callable[[], None]) -> None:
        try:
            self._check_caller()
            act()
        except RequestError as error:
            self._answer(error.status, {"detail": str(error)})
        except gym.error.Error as error:
            self._answer(503, {"detail": str(error)})

    def _check_caller(self) -> None:
        token = self.server.options.token
        if token is None:
            # A page in the user's browser reaches loopback too, and always says where it is from.
            if self.headers.get("Origin"):
                self.close_connection = True
                raise RequestError(403, "SESSION_ERROR", "web pages may not call without a token")
            return
        given = self.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {token}".encode()):
            self.close_connection = True
            raise RequestError(401, "SESSION_ERROR", "send the token as Authorization: Bearer")

    def _body(self) -> JSON:
        size, most = self.headers.get("Content-Length", "0"), self.server.options.body_bytes
        if not size.isdigit() or int(size) > most:
            self.close_connection = True
            raise RequestError(413, "VALIDATION_ERROR", f"a body has 0 to {most} bytes, not {size}")
        return parsed(self.rfile.read(int(size)) or b"{}")

    def _answer(self, status: int, body: JSON) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _upgrade(self) -> None:
        self.close_connection = True
        if not asks_for_upgrade(dict(self.headers.items())):
            raise RequestError(426, "VALIDATION_ERROR", "/ws speaks WebSocket, version 13")
        sessions = self.server.sessions
        key, _ = sessions.open()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept(self.headers["Sec-WebSocket-Key"]))
        self.end_headers()
        socket = WebSocket(self.rfile, self.wfile, most=self.server.options.body_bytes)
        try:
            while (text := socket.receive()) is not None:
                answer = replied(sessions, key, text)
                if answer is None:
                    socket.close()
                    return
                socket.send(json.dumps(answer))
        except ProtocolError as error:
            socket.close(error.code)
        except OSError:
            # The client is gone or idle for too long: nobody is left to tell.
            return
        finally:
            sessions.drop(key)


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
    except RequestError as error:
        return _error(str(error), error.code)
    except gym.error.Error as error:
        return _error(str(error), "EXECUTION_ERROR")


def _error(message: str, code: str) -> JSON:
    return {"type": "error", "data": {"message": message, "code": code}}


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
