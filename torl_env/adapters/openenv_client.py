"""A client of `torl serve` and of other OpenEnv servers (`pip install torl-gym[serve]`)."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Self

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
        OSError: The connection is refused.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 60.0) -> None:
        if find_spec("websockets") is None:
            raise ModuleNotFoundError("this client needs: pip install 'torl-gym[serve]'")
        from websockets.exceptions import InvalidHandshake, InvalidStatus
        from websockets.sync.client import connect

        self._timeout = timeout
        self._open = ExitStack()
        try:
            connecting = connect(
                f"ws{url.rstrip('/').removeprefix('http')}/ws",
                additional_headers={"Authorization": f"Bearer {token}"} if token else {},
                open_timeout=timeout,
                max_size=1 << 27,
                compression=None,
                proxy=None,
            )
            self.socket = self._open.enter_context(connecting)
        except InvalidStatus as error:
            said = bytes(error.response.body or b"").decode("utf-8", "replace")
            status = error.response.status_code
            raise RemoteError(
                "", f"{url} answered {status}, not a WebSocket: {said:.200}"
            ) from error
        except InvalidHandshake as error:
            raise RemoteError("", f"{url} speaks no WebSocket: {error}") from error

    def reset(self, **options: Any) -> Observed:
        """Begin an episode; `torl serve` takes `seed`, `problem_id` and `episode_id`."""
        return _observed(self.ask({"type": "reset", "data": options}))

    def step(self, action: str | Mapping[str, Any]) -> Observed:
        """Act: the model's text, or the action object of another OpenEnv environment."""
        data = {"text": action} if isinstance(action, str) else dict(action)
        return _observed(self.ask({"type": "step", "data": data}))

    def cut(self, text: str) -> Observed:
        """Take a turn that a length limit of the sampler has cut."""
        return self.step({"text": text, "cut": True})

    def state(self) -> dict[str, Any]:
        """`episode_id`, `step_count` and what else the server tells."""
        return self.ask({"type": "state"})

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send one message of the protocol; the data of its answer.

        Raises:
            RemoteError: The server refused it or hung up, or took longer than `timeout`, which ends
                the session.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            self.socket.send(json.dumps(message))
            text = self.socket.recv(self._timeout)
        except ConnectionClosed as error:
            raise RemoteError(
                "", f"the server closed the session: connect again ({error})"
            ) from error
        except BaseException as error:
            # The late answer would be taken for that of the next message.
            self.close()
            if not isinstance(error, TimeoutError):
                raise
            raise RemoteError(
                "", f"no answer in {self._timeout:g} s: the session is closed, connect again"
            ) from error
        answer = json.loads(text)
        data: dict[str, Any] = answer.get("data", {})
        if answer.get("type") == "error":
            raise RemoteError(data.get("code", ""), data.get("message", ""))
        return data

    def close(self) -> None:
        """End the session; idempotent."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _observed(data: Mapping[str, Any]) -> Observed:
    return Observed(data["observation"], data.get("reward"), bool(data.get("done")))
