"""Turn-level credit: what a turn is credited with is what came of it, not of the episode."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Literal

from agents.core.advantages import group_relative
from agents.core.algorithm import Group
from agents.core.credit import Potential
from agents.core.types import Trajectory
from agents.grpo.algorithm import GRPO


@dataclass(frozen=True, slots=True)
class GTPO(GRPO):
    """Group turn policy optimisation (arXiv 2511.14846): returns from a turn on, compared.

    The return of turn j is its reward plus gamma times the return of the next turn; the advantage
    of a turn, for all its ids, is its return relative to others of the group. The environment pays
    at the end, so that turns differ by the discount alone unless `shaping` pays turns too, as with
    `shaping=ran` or `potential(gamma=0.9)`. The paper's own shaping, partial rewards for code that
    resembles that of right answers, and its penalty of 0.1 for turns of a wrong form are not here.
    (From the abstract; discount, penalty and shaping as three implementations quote its sections
    3.3 and 3.4. Which returns are compared is not among these, and the paper's text could not be
    had: see `compare`.)
    """

    gamma: float = 0.9
    """From one turn to the next (GTPO: 0.9)."""
    compare: Literal["turn", "group"] = "turn"
    """With the returns of the same turn of the other samples, as MT-GRPO (arXiv 2505.11821) does,
    or with those of all turns of the group. The latter pays the last turns of a group that is all
    right and takes from its first ones."""

    def __post_init__(self, clip_high: float | None) -> None:
        # `super()` does not find the class that slots made.
        GRPO.__post_init__(self, clip_high)
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must be in (0, 1], got {self.gamma}")
        if self.compare not in ("turn", "group"):
            raise ValueError(f"compare must be turn or group, got {self.compare!r}")
        if self.baseline != "group":
            raise ValueError("turns are compared with means: expected baseline=group")
        for one in self.shaping:
            if isinstance(one, Potential) and one.gamma != self.gamma:
                raise ValueError(
                    f"a potential with gamma={one.gamma} under gamma={self.gamma} changes what is "
                    f"optimal: write potential(gamma={self.gamma})"
                )

    def assign_credit(self, groups: Sequence[Group]) -> list[list[float]]:
        """The relative return of each turn, spread over its ids; 0 on tool output."""
        return [
            row
            for group in groups
            for row in starmap(_spread, zip(group, self._turn_advantages(group), strict=True))
        ]

    def _turn_advantages(self, group: Group) -> list[list[float]]:
        returns = [self._returns(t) if t.scorable else [] for t in group]
        if self.compare == "group":
            flat = [r for row in returns for r in row]
            found = iter(group_relative(flat, scale_by_std=self.scale_by_std))
            return [[next(found) for _ in row] for row in returns]
        credit: list[list[float]] = [[] for _ in group]
        for j in range(max(map(len, returns), default=0)):
            there = [row[j] if j < len(row) else None for row in returns]
            for i, a in enumerate(group_relative(there, scale_by_std=self.scale_by_std)):
                if j < len(returns[i]):
                    credit[i].append(a)
        return credit

    def _returns(self, t: Trajectory) -> list[float]:
        found: list[float] = []
        for turn in reversed(t.turns):
            found.append(turn.reward + self.gamma * (found[-1] if found else 0.0))
        return found[::-1]


def _spread(t: Trajectory, credit: Sequence[float]) -> list[float]:
    row = [0.0] * len(t.ids)
    # A lost trajectory has no credit for any turn.
    for turn, value in zip(t.turns, credit, strict=False):
        row[turn.start : turn.end] = [value] * (turn.end - turn.start)
    return row
