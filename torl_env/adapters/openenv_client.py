"""A client of `torl serve` and of other OpenEnv servers, with no dependency."""

import contextlib
import http.client
import json
import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from torl_env.adapters.websocket import WebSocket, accept
from torl_env.errors import TorlError


class RemoteError(TorlError):
    """The server refused a request or hung up.

    Args:
        code: OpenEnv's name of the error, e.g. `VALIDATION_ERROR`; `""` when it hung up.
        message: What the server said.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if code else message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Observed:
    """What a reset or a step gave."""

    observation: Mapping[str, Any]
    """Of `torl serve`: `text`, `terminated`, `truncated`, `episode_id`, `info`."""
    reward: float | None
    """`None` at a reset, and where nothing may be learned from the episode."""
    done: bool

    @property
    def text(self) -> str:
        """What the model reads."""
        return str(self.observation["text"])

    @property
    def info(self) -> Mapping[str, Any]:
        """The environment's `info`."""
        info: Mapping[str, Any] = self.observation["info"]
        return info


class OpenEnvClient:
    """One session on a server; a context manager, used from one thread.

    Args:
        url: `http://host:port`.
        token: The server's token.
        timeout: Seconds to wait for an answer; a step may run a program.

    Raises:
        RemoteError: The server refuses.
        OSError: Nobody listens there.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 60.0) -> None:
        place = urlsplit(url)
        kind = (
            http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(place.hostname or "", place.port, timeout=timeout)
        key = b64encode(os.urandom(16)).decode()
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
        } | ({"Authorization": f"Bearer {token}"} if token else {})
        self._connection.request("GET", f"{place.path.rstrip('/')}/ws", headers=headers)
        # Taken before the answer is read, for http.client lets go of it then.
        stream = self._connection.sock
        answer = self._connection.getresponse()
        if answer.status != 101 or answer.headers.get("Sec-WebSocket-Accept") != accept(key):
            said = answer.read().decode("utf-8", "replace")
            self._connection.close()
            raise RemoteError("", f"{url} answered {answer.status}, not a WebSocket: {said:.200}")
        self._answer, self._stream = answer, stream
        self._file = stream.makefile("rwb")
        self._socket = WebSocket(self._file, self._file, client=True, most=1 << 27)

    def reset(self, **options: Any) -> Observed:
        """Begin an episode; `torl serve` takes `seed`, `problem_id` and `episode_id`."""
        return _observed(self._ask({"type": "reset", "data": options}))

    def step(self, action: str | Mapping[str, Any]) -> Observed:
        """Act: the model's text, or the action object of another OpenEnv environment."""
        data = {"text": action} if isinstance(action, str) else dict(action)
        return _observed(self._ask({"type": "step", "data": data}))

    def cut(self, text: str) -> Observed:
        """Take a turn that a length limit of the sampler has cut."""
        return self.step({"text": text, "cut": True})

    def state(self) -> dict[str, Any]:
        """`episode_id`, `step_count` and what else the server tells."""
        return self._ask({"type": "state"})

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self._socket.send(json.dumps(message))
        text = self._socket.receive()
        if text is None:
            raise RemoteError("", "the server closed the session: connect again")
        answer = json.loads(text)
        data: dict[str, Any] = answer.get("data", {})
        if answer.get("type") == "error":
            raise RemoteError(data.get("code", ""), data.get("message", ""))
        return data

    def close(self) -> None:
        """End the session; idempotent."""
        if self._stream.fileno() < 0:
            return
        # A server that is gone already is what was wanted.
        with contextlib.suppress(OSError):
            self._socket.send(json.dumps({"type": "close"}))
            self._file.close()
        self._answer.close()
        self._stream.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _observed(data: Mapping[str, Any]) -> Observed:
    return Observed(data["observation"], data.get("reward"), bool(data.get("done")))
