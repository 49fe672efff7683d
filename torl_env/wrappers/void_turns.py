"""Turns that achieved nothing, and training without the episodes that hold them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import gymnasium as gym

from rewards.types import Verdict
from torl_env.parsing.types import ActionKind

Record = TypeVar("Record")


def is_void(info: Mapping[str, Any]) -> bool:
    """Whether the action of this step gave neither a call nor an answer (SimpleTIR, 2509.02479).

    A turn that goes on is not judged yet; an infrastructure error makes no void turn.
    """
    if info["infra_error"] or info["continue_generation"]:
        return False
    if info["action_kind"] in (ActionKind.FINAL, ActionKind.CUT):
        return bool(info["verdict"] == Verdict.NO_ANSWER)
    return bool(info["action_kind"] in (ActionKind.MALFORMED, ActionKind.OVER_BUDGET))


def drop_void_turns(
    episodes: Iterable[Record],
    infos: Callable[[Record], Sequence[Mapping[str, Any]]],
    *,
    all_calls_failed: bool = False,
) -> list[Record]:
    """The episodes without a void turn.

    Args:
        episodes: Whatever a collector keeps.
        infos: The infos of the steps of one of them, in order.
        all_calls_failed: Drop also those whose every call failed.

    Example:
        >>> good = {"infra_error": "", "continue_generation": False, "action_kind": "final",
        ...         "verdict": "wrong", "tool_calls": 1, "tool_errors": 1}
        >>> void = {**good, "verdict": "no_answer"}
        >>> len(drop_void_turns([[good], [void]], lambda steps: steps))
        1
        >>> drop_void_turns([[good], [void]], lambda steps: steps, all_calls_failed=True)
        []
    """

    def keep(steps: Sequence[Mapping[str, Any]]) -> bool:
        last = steps[-1]
        failed = last["tool_calls"] > 0 and last["tool_errors"] == last["tool_calls"]
        return not any(map(is_void, steps)) and not (all_calls_failed and failed)

    return [episode for episode in episodes if keep(infos(episode))]


class MarkVoidTurns(gym.Wrapper[Any, Any, Any, Any]):
    """Counts the void turns of the episode in `info["void_turns"]`."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._count = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As the env's, with a count of 0."""
        self._count = 0
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, "void_turns": 0}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the env's, with the count."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._count += is_void(info)
        info = {**info, "void_turns": self._count}
        return observation, float(reward), terminated, truncated, info
