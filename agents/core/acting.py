"""Acting with a copy of the weights that are being trained, in the sampler's own dtype."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from agents.core.rollout import Rollout
from agents.core.types import Trajectory
from torl_env.problems.types import Problem


class CopyActor:
    """Samples with its own copy of the model: bfloat16 on CPU halves the time of a decode step.

    Args:
        rollout: Runs the episodes with the copy.
        copy: The model that `rollout` samples from; its weights are overwritten by `sync`.
        on_episode: Called after each episode.
    """

    def __init__(
        self, rollout: Rollout, copy: Any, on_episode: Callable[[], None] = lambda: None
    ) -> None:
        self._rollout = rollout
        self._copy = copy
        self._on_episode = on_episode

    @torch.no_grad()
    def sync(self, model: Any) -> None:
        """Overwrite the copy's parameters with those of `model`, cast to the copy's dtype."""
        for mine, theirs in zip(self._copy.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs)

    def collect(self, problems: Sequence[Problem], group_size: int, seed: int) -> list[Trajectory]:
        """All rows of a step in one batch."""
        return self._rollout.collect(
            problems, group_size, seed, on_end=lambda _: self._on_episode()
        )
