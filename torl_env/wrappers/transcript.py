"""The whole text so far as the observation."""

from typing import Any

import gymnasium as gym

from torl_env.env import ToRLMathEnv


def base_of(env: gym.Env[Any, Any]) -> ToRLMathEnv:
    """The `ToRLMathEnv` under the wrappers.

    Raises:
        TypeError: There is another env.
    """
    base = env.unwrapped
    if not isinstance(base, ToRLMathEnv):
        raise TypeError(f"this wrapper needs a ToRLMathEnv underneath, got {type(base).__name__}")
    return base


class Transcript(gym.Wrapper[str, str, str, str], gym.utils.RecordConstructorArgs):
    r"""Observations are everything that was said, which is the whole Markov state.

    Example:
        >>> env = Transcript(gym.make("torl_env:ToRLMath-v0", prompt="Q: {question} A:"))
        >>> text, _ = env.reset(seed=0)
        >>> env.step(" It is \\boxed{0}.")[0] == text + " It is \\boxed{0}."
        True
        >>> env.close()
    """

    def __init__(self, env: gym.Env[str, str]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self._base = base_of(env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """As the env's, with the transcript."""
        _, info = self.env.reset(seed=seed, options=options)
        return self._base.episode.transcript, info

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """As the env's, with the transcript."""
        _, reward, terminated, truncated, info = self.env.step(action)
        return self._base.episode.transcript, float(reward), terminated, truncated, info
