"""Chat messages as the observation."""

from typing import Any, Literal, TypedDict

import gymnasium as gym

from torl_env.episode import Episode
from torl_env.spaces import UnboundedSpace, Unicode
from torl_env.wrappers.transcript import base_of


class Message(TypedDict):
    """One message as chat templates take it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class Messages(UnboundedSpace[list[Message]]):
    """Lists of messages."""

    def __init__(self, seed: int | None = None) -> None:
        self._text = Unicode()
        super().__init__(seed=seed)

    def seed(self, seed: int | None = None) -> int | list[int] | dict[str, int]:
        """Seed `sample`."""
        self._text.seed(seed)
        return super().seed(seed)

    def _draw(self) -> list[Message]:
        return [{"role": "user", "content": self._text.sample()}]

    def contains(self, x: Any) -> bool:
        """Whether `x` is a list of role and content."""
        return isinstance(x, list) and all(
            isinstance(message, dict)
            and message.keys() == {"role", "content"}
            and all(isinstance(value, str) for value in message.values())
            for message in x
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Messages)

    def __hash__(self) -> int:
        return hash(Messages)


def opening(question: str, system: str = "") -> list[dict[str, str]]:
    """A conversation that waits for its first answer.

    Example:
        >>> opening("What is 6*7?", "Use Python.")
        [{'role': 'system', 'content': 'Use Python.'}, {'role': 'user', 'content': 'What is 6*7?'}]
    """
    before = [{"role": "system", "content": system}] if system else []
    return [*before, {"role": "user", "content": question}]


def messages(episode: Episode, system: str = "") -> list[Message]:
    """The transcript as messages: tool output without its frame, pieces of a turn put together."""
    found: list[Message] = [{"role": "system", "content": system}] if system else []
    for segment in episode.state.segments:
        if segment.role == "prompt":
            found.append({"role": "user", "content": segment.text})
        elif segment.role == "tool":
            found.append({"role": "tool", "content": segment.body})
        elif found and found[-1]["role"] == "assistant":
            found[-1]["content"] += segment.text
        else:
            found.append({"role": "assistant", "content": segment.text})
    return found


class Chat(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Observations are the conversation so far, for models behind a chat interface.

    Args:
        env: A `ToRLMathEnv`, wrapped or not.
        system: A system message to begin with, `""` for none.
    """

    def __init__(self, env: gym.Env[str, str], system: str = "") -> None:
        gym.utils.RecordConstructorArgs.__init__(self, system=system)
        super().__init__(env)
        self._base = base_of(env)
        self._system = system
        self.observation_space = Messages()

    @property
    def tools(self) -> list[dict[str, Any]]:
        """Function schemas for the `tools=` of a chat template."""
        return self._base.tools

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[list[Message], dict[str, Any]]:
        """As the env's, with messages."""
        _, info = self.env.reset(seed=seed, options=options)
        return messages(self._base.episode, self._system), info

    def step(self, action: str) -> tuple[list[Message], float, bool, bool, dict[str, Any]]:
        """As the env's: takes the assistant's text, gives messages."""
        _, reward, terminated, truncated, info = self.env.step(action)
        seen = messages(self._base.episode, self._system)
        return seen, float(reward), terminated, truncated, info
