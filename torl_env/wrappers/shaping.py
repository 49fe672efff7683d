"""Reward shaping that leaves the best policy what it was."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym

Potential = Callable[[Mapping[str, Any]], float]
"""Says from the `info` of a step how good the state looks."""


class ShapeReward(gym.Wrapper[Any, Any, Any, Any]):
    """Adds `discount * potential(next) - potential(now)` to every reward.

    The potential is 0 at the start and at the end, so the additions of an episode cancel (with
    `discount=1`) and nothing can be farmed by repeating a step (Ng, Harada, Russell 1999); so they
    do where the machine voids an episode, whose rewards sum to 0. Each addition is in
    `info["reward_terms"]["shaping"]`.

    Args:
        env: Any environment of this package, wrapped or not.
        potential: See above; called after every step but the last.
        bound: Largest size of a potential that is accepted.
        discount: Of the learner that this is for.

    Example:
        >>> env = gym.make("torl_env:ToRLMath-v0", tool_budget=2)
        >>> env = ShapeReward(env, lambda info: 0.1 * (info["tool_status"] == "ok"))
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        potential: Potential,
        bound: float = 1.0,
        discount: float = 1.0,
    ) -> None:
        super().__init__(env)
        self._potential = potential
        self._bound = bound
        self._discount = discount
        self._now = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As the env's."""
        self._now = 0.0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the env's, with the shaped reward.

        Raises:
            ValueError: The potential is outside its bound.
        """
        observation, reward, terminated, truncated, info = self.env.step(action)
        then = 0.0 if terminated or truncated else self._checked(self._potential(info))
        added = self._discount * then - self._now
        self._now = then
        terms = {**info["reward_terms"], "shaping": added}
        info = {**info, "reward_terms": terms}
        return observation, float(reward) + added, terminated, truncated, info

    def _checked(self, value: float) -> float:
        if not abs(value) <= self._bound:
            raise ValueError(f"the potential must be within +-{self._bound}, got {value}")
        return float(value)
