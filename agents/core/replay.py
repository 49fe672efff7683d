"""Replay of rare successes: a right answer to a hard problem is learned from more than once.

A group in which everything is wrong teaches nothing. Where an earlier step solved that problem, one
of its right answers takes the place of a wrong one (RePO, arXiv 2506.09340; ExGRPO, arXiv
2510.02245). It was written by an older policy: its importance ratio is that to the policy that
wrote it, whose log-probabilities are kept with its ids, and answers older than `max_age` steps are
forgotten. The baseline counts it as one of the group, which is the price.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.core.algorithm import Algorithm
from agents.core.types import Trajectory


@dataclass(frozen=True, slots=True)
class Replay:
    """What to keep. Off where `keep` is 0."""

    keep: int = 0
    """Right answers kept of each problem, the newest."""
    rare: float = 0.25
    """Solve rate of a group up to which its right answers are kept."""
    max_age: int = 50
    """Steps after which one is forgotten: the bound of staleness."""

    def __post_init__(self) -> None:
        if self.keep < 0 or self.max_age < 1 or not 0 < self.rare <= 1:
            raise ValueError(
                "replay: keep is at least 0, max_age at least 1 and rare in (0, 1], got "
                f"{self.keep}, {self.max_age} and {self.rare}"
            )


def check(algorithm: Algorithm, how: Replay) -> None:
    """Whether an algorithm can learn from what an older policy wrote.

    Raises:
        ValueError: It cannot.
    """
    if how.keep and algorithm.on_policy:
        raise ValueError(
            f"{type(algorithm).__name__} learns only from what the policy of the moment wrote (its "
            "critic or its branches belong to that): --replay.keep 0, or use grpo"
        )


class Memory:
    """Right answers to hard problems, the same in all processes.

    Args:
        how: What to keep.
    """

    def __init__(self, how: Replay) -> None:
        self._how = how
        self._kept: dict[str, list[tuple[int, Trajectory]]] = {}

    def replayed(
        self, groups: Sequence[Sequence[Trajectory]], step: int
    ) -> tuple[list[Trajectory], list[bool]]:
        """The rows of groups, and which of them are replayed.

        The last wrong row of a group without a right one gives way to the newest kept answer.
        """
        rows: list[Trajectory] = []
        marks: list[bool] = []
        for group in groups:
            known = [i for i, t in enumerate(group) if t.scorable]
            kept = self._young(group[0].problem_id, step)
            # One row alone would be compared with nothing.
            if len(known) > 1 and kept and not any(group[i].correct for i in known):
                there, old = known[-1], kept[-1][1]
                # Of its age `max_age` decides, and not the staleness that is allowed to fresh ones.
                known_age = replace(old, sample=there, policy_versions=())
                rows += [*group[:there], known_age, *group[there + 1 :]]
                marks += [i == there for i in range(len(group))]
            else:
                rows += group
                marks += [False] * len(group)
        return rows, marks

    def update(self, groups: Sequence[Sequence[Trajectory]], step: int) -> None:
        """Keep what a step got right and rarely does; the groups are as they were sampled."""
        for group in groups:
            known = [t for t in group if t.scorable]
            right = [t for t in known if t.correct]
            name = group[0].problem_id
            kept = self._young(name, step)
            if right and len(right) <= self._how.rare * len(known):
                kept = [*kept, *((step, t) for t in right)][-self._how.keep :]
            self._kept[name] = kept
        self._kept = {name: kept for name, kept in self._kept.items() if kept}

    def _young(self, name: str, step: int) -> list[tuple[int, Trajectory]]:
        kept = self._kept.get(name, [])
        return [(then, t) for then, t in kept if step - then <= self._how.max_age]

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            name: [[step, t.to_json()] for step, t in kept] for name, kept in self._kept.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._kept = {
            name: [(step, Trajectory.from_json(row)) for step, row in kept]
            for name, kept in state.items()
        }
