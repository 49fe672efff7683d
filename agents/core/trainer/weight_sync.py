"""Sampling with a copy of the weights that are being trained, in the sampler's own dtype."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from agents.core.models.lora import plain_weights
from agents.core.rollout.branching import Brancher, Point
from agents.core.rollout.engine import MakeEnvs, Rollout
from agents.core.types import Sampling, Trajectory
from torl_env import EnvState, Parser, StepResult
from torl_env.problems.types import Problem


class Sampler(Protocol):
    """Acts with the weights that are being trained."""

    def sync(self, model: Any) -> None:
        """Take over the weights of `model` before a rollout."""
        ...

    def collect(self, problems: Sequence[Problem], group_size: int, seed: int) -> list[Trajectory]:
        """`group_size` trajectories of each problem, grouped by problem."""
        ...

    def rest(self) -> None:
        """Give back what only sampling needs, until the next `sync`."""
        ...


class BranchingSampler(Sampler, Brancher, Protocol):
    """Acts, and goes on from inside the episodes it has acted in."""


class RolloutSampler:
    """Samples with a rollout engine; where the weights come from is for its children to say."""

    rollout: Rollout
    """Runs the episodes."""
    evaluated_envs: MakeEnvs | None = None
    """What evaluations are made in, where a schedule changes the environment of the training."""

    def collect(self, problems: Sequence[Problem], group_size: int, seed: int) -> list[Trajectory]:
        """All rows of a step in one batch."""
        return self.rollout.collect(problems, group_size, seed)

    def rest(self) -> None:
        """Nothing; a policy holds no more than its weights between two batches."""

    def evaluating(self, sampling: Sampling) -> Rollout:
        """The same policy in the same environment, sampling in another way.

        Before the first `sync` it has the weights that it was loaded with.
        """
        r = self.rollout
        envs = self.evaluated_envs or r.make_envs
        return Rollout(r.policy, r.prompt, envs, sampling, overlap=r.overlap)

    @property
    def tokenizer(self) -> Any:
        """The policy's."""
        return self.rollout.policy.tokenizer

    @property
    def parser(self) -> Parser:
        """How the environment reads calls."""
        return self.rollout.parser

    def states(self, trajectory: Trajectory) -> Sequence[EnvState]:
        """The environment before each turn of a trajectory since the last `sync`."""
        return self.rollout.states(trajectory)

    def branch(
        self, points: Sequence[Point], samples: int, seed: int, *, to_end: bool = False
    ) -> list[Trajectory]:
        """All continuations in one batch; points that follow on their like share its reading."""
        until = None if to_end else _turn_is_over
        return self.rollout.go_on(points, samples, seed, until=until)


class CopySampler(RolloutSampler):
    """Samples with its own copy of the model: bfloat16 on CPU halves the time of a decode step.

    Args:
        rollout: Runs the episodes with the copy.
        copy: The model that `rollout` samples from; its weights are overwritten by `sync`.
    """

    def __init__(self, rollout: Rollout, copy: Any) -> None:
        self.rollout = rollout
        self._copy = copy

    @torch.no_grad()
    def sync(self, model: Any) -> None:
        """Overwrite the copy's parameters with those of `model`, cast to the copy's dtype."""
        self.rollout.forget()
        for mine, theirs in zip(self._copy.parameters(), plain_weights(model), strict=True):
            mine.copy_(theirs)


def _turn_is_over(result: StepResult) -> bool:
    return not result.info["continue_generation"]
