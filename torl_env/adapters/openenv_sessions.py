"""Episodes that remote clients hold: as many as allowed, closed when idle."""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torl_env.env import ToRLMathEnv, Transition
from torl_env.errors import TorlError
from torl_env.info import is_scorable

JSON = dict[str, Any]


class RequestError(TorlError):
    """A request that cannot be served.

    Args:
        status: HTTP status.
        code: OpenEnv's name of the error on a WebSocket.
        message: What was expected, what came, what to do.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def invalid(message: str) -> RequestError:
    """A request of the wrong form."""
    return RequestError(422, "VALIDATION_ERROR", message)


@dataclass(slots=True)
class Session:
    """One environment and the client that plays in it."""

    env: ToRLMathEnv
    used: float
    episode_id: str = ""
    steps: int = 0
    done: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self, request: Mapping[str, Any]) -> JSON:
        """OpenEnv's reset: `seed`, `episode_id` and our `problem_id`; other keys are ignored.

        Raises:
            RequestError: A value has the wrong type, or no problem has this id.
        """
        seed = request.get("seed")
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or seed < 0):
            raise invalid(f"seed must be an integer of 0 or more, got {seed!r}")
        episode_id, problem_id = name_in(request, "episode_id"), name_in(request, "problem_id")
        with self.lock:
            try:
                options = None if problem_id is None else {"problem_id": problem_id}
                question, info = self.env.reset(seed=seed, options=options)
            except TorlError as error:
                raise invalid(str(error)) from error
            self.episode_id = episode_id or uuid.uuid4().hex
            self.steps, self.done = 0, False
            return self._observation((question, 0.0, False, False, info)) | {"reward": None}

    def step(self, action: Any) -> JSON:
        """OpenEnv's step: the action is `{"text": ..., "cut": false}`.

        Raises:
            RequestError: The action has another form, or there is no running episode.
        """
        text = action.get("text") if isinstance(action, Mapping) else None
        if not isinstance(text, str):
            raise invalid('an action is {"text": "what the model wrote"}')
        cut = action.get("cut", False)
        if not isinstance(cut, bool):
            raise invalid(f"cut must be true or false, got {cut!r}")
        unknown = sorted(set(action) - {"text", "cut", "metadata"})
        if unknown:
            raise invalid(f"an action has the keys text and cut, got {', '.join(unknown)}")
        with self.lock:
            if not self.episode_id or self.done:
                raise RequestError(
                    409, "EXECUTION_ERROR", "there is no running episode: reset before step"
                )
            seen = self.env.cut(text) if cut else self.env.step(text)
            self.steps += 1
            self.done = seen[2] or seen[3]
            return self._observation(seen)

    def state(self) -> JSON:
        """OpenEnv's state; nothing of the answer is in it."""
        with self.lock:
            known: JSON = {"episode_id": self.episode_id or None, "step_count": self.steps}
            if not self.episode_id:
                return known
            state = self.env.episode.state
            return known | {
                "turn": state.turn,
                "tool_calls": state.tool_calls,
                "tool_errors": state.tool_errors,
                "done": self.done,
            }

    def _observation(self, seen: Transition) -> JSON:
        text, reward, terminated, truncated, info = seen
        done = terminated or truncated
        return {
            "observation": {
                "text": text,
                "terminated": terminated,
                "truncated": truncated,
                "episode_id": self.episode_id,
                "info": {**info, "stop": list(info["stop"])},
            },
            "reward": float(reward) if not done or is_scorable(info) else None,
            "done": done,
        }


class Sessions:
    """All sessions of a server.

    Args:
        make: Makes an environment.
        most: Sessions at once.
        idle_seconds: After this long without a request a session is closed.
    """

    def __init__(
        self, make: Callable[[], ToRLMathEnv], most: int = 64, idle_seconds: float = 600.0
    ) -> None:
        if most < 1 or idle_seconds <= 0:
            raise ValueError(
                "sessions must be 1 or more and idle_seconds positive, "
                f"got {most} and {idle_seconds}"
            )
        self._make, self._most, self._idle = make, most, idle_seconds
        self._open: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    def open(self, key: str | None = None) -> tuple[str, Session]:
        """The session of this key, or a new one; a finished episode makes room for it.

        Raises:
            RequestError: All places are taken by running episodes.
        """
        key = key or uuid.uuid4().hex
        with self._lock:
            session = self._open.get(key)
            if session is None:
                if len(self._open) >= self._most:
                    self._drop_finished()
                if self._closed or len(self._open) >= self._most:
                    raise RequestError(
                        503,
                        "CAPACITY_REACHED",
                        f"all {self._most} sessions are taken: close one, or try again later",
                    )
                session = self._open[key] = Session(self._make(), time.monotonic())
            session.used = time.monotonic()
            return key, session

    def find(self, key: str | None) -> Session:
        """The session of this key.

        Raises:
            RequestError: There is none, or it has expired.
        """
        with self._lock:
            if key is None or key not in self._open:
                raise RequestError(
                    404,
                    "SESSION_ERROR",
                    f"no session has episode_id {key!r}: send the one that reset returned, "
                    f"within {self._idle:g} s of its last use",
                )
            session = self._open[key]
            session.used = time.monotonic()
            return session

    def drop(self, key: str) -> bool:
        """Close a session; whether there was one."""
        with self._lock:
            session = self._open.pop(key, None)
        if session is not None:
            session.env.close()
        return session is not None

    def expire(self) -> None:
        """Close what has been idle for too long; what is in the middle of a step stays."""
        with self._lock:
            before = time.monotonic() - self._idle
            stale = [k for k, s in self._open.items() if s.used < before and not s.lock.locked()]
        for key in stale:
            self.drop(key)

    def close(self) -> None:
        """Close all, for good."""
        with self._lock:
            self._closed = True
        for key in list(self._open):
            self.drop(key)

    def _drop_finished(self) -> None:
        done = [key for key, session in self._open.items() if session.done]
        if done:
            oldest = min(done, key=lambda key: self._open[key].used)
            self._open.pop(oldest).env.close()


def name_in(request: Mapping[str, Any], key: str) -> str | None:
    """A name in a request, `None` where there is none.

    Raises:
        RequestError: It is no text, or too long a one.
    """
    value = request.get(key)
    if value is not None and (not isinstance(value, str) or not 0 < len(value) <= 255):
        raise invalid(f"{key} must be a text of 1 to 255 characters, got {value!r:.80}")
    return value
