"""A curriculum that follows the policy: problems are drawn by how often it solves them now.

Solve rates of past steps sort problems into easy, normal and hard, and each step draws from the
three in given shares; what is solved time and again is retired. This is curriculum and prioritised
sampling of Kimi k1.5 (arXiv 2501.12599, section 2.3.4) with pools in place of weights. Problems
that were not tried yet are normal. Problems of a file or data set have a rate each. Procedural ones
hardly come twice, so that a family at a level has one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from agents.core.types import Trajectory
from torl_env.problems.types import Problem

POOLS = ("easy", "normal", "hard")


@dataclass(frozen=True, slots=True)
class Curriculum:
    """How to draw. Off where `mix` is empty."""

    mix: tuple[float, ...] = ()
    """Shares of easy, normal and hard problems in a step, such as 0.1 0.7 0.2."""
    easy: float = 0.8
    """Solve rate from which a problem is easy."""
    hard: float = 0.2
    """Solve rate up to which it is hard."""
    retire: int = 2
    """Times in a row that a problem is solved by all samples, after which it is drawn no more; 0
    retires none."""
    decay: float = 0.5
    """Weight of what was known of a rate when a step tells more."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mix", tuple(self.mix))
        if self.mix and (len(self.mix) != 3 or min(self.mix) < 0 or abs(sum(self.mix) - 1) > 1e-6):
            raise ValueError(
                f"the mix of a curriculum is three shares that sum to 1 (easy, normal, hard), got "
                f"{self.mix}"
            )
        if not 0 <= self.hard < self.easy <= 1:
            raise ValueError(
                f"solve rates lie in [0, 1] and hard below easy, got {self.hard} and {self.easy}"
            )
        if self.retire < 0 or not 0 <= self.decay < 1:
            raise ValueError(
                f"retire is at least 0 and decay in [0, 1), got {self.retire} and {self.decay}"
            )

    @property
    def on(self) -> bool:
        """Whether there is one."""
        return bool(self.mix)

    def counts(self, total: int) -> list[int]:
        """Problems of each pool in a step, by largest remainders.

        Example:
            >>> Curriculum((0.1, 0.7, 0.2)).counts(8)
            [1, 5, 2]
        """
        exact = [share * total for share in self.mix]
        found = [int(x) for x in exact]
        order = sorted(range(len(exact)), key=lambda i: found[i] - exact[i])
        for i in order[: total - sum(found)]:
            found[i] += 1
        return found


def rated_as(problem: Problem) -> str:
    """What the solve rate of a problem is kept under."""
    if problem.source == "procedural":
        return f"{problem.subject}-L{problem.level}"
    return problem.id


class Pools:
    """Solve rates of a training, and the problems of its next step.

    All processes hold the same: they draw the same and update with the same trajectories.

    Args:
        curriculum: How to draw.
        problems: To draw from; equal ids count once.
    """

    def __init__(self, curriculum: Curriculum, problems: Sequence[Problem]) -> None:
        self._how = curriculum
        self._members: dict[str, list[Problem]] = {}
        for problem in {p.id: p for p in problems}.values():
            self._members.setdefault(rated_as(problem), []).append(problem)
        self._names = {p.id: name for name, members in self._members.items() for p in members}
        self._rates: dict[str, float] = {}
        self._solved: Counter[str] = Counter()
        """Times in a row that all samples were right."""
        self._used: Counter[str] = Counter()
        """Draws so far, by what the rate is kept under."""
        self.drawn: Counter[str] = Counter()
        """Times that each problem was in a step, by its id."""

    def pool(self, name: str) -> str:
        """Of a problem or family by its name."""
        rate = self._rates.get(name)
        if rate is None or self._how.hard < rate < self._how.easy:
            return "normal"
        return "easy" if rate >= self._how.easy else "hard"

    def retired(self, name: str) -> bool:
        """Whether it is drawn no more."""
        return 0 < self._how.retire <= self._solved[name]

    def choose(self, count: int, seed: int, without: Sequence[str] = ()) -> list[Problem]:
        """Problems of a step: shares of the three pools, what a pool lacks from the others.

        Where all are retired, all are drawn again.

        Args:
            count: How many.
            seed: Of this step.
            without: Ids that are in the step already.
        """
        random = Random(f"curriculum/{seed}")
        live = [name for name in self._members if not self.retired(name)] or list(self._members)
        taken = set(without)
        chosen: list[Problem] = []
        for pool, wanted in zip(POOLS, self._how.counts(count), strict=True):
            names = [name for name in live if self.pool(name) == pool]
            chosen += self._draw(names, wanted, random, taken)
        for names in (live, list(self._members)):
            chosen += self._draw(names, count - len(chosen), random, taken)
        # More than there are: a step has some of them twice.
        while len(chosen) < count:
            again = self._draw(live, count - len(chosen), random, set())
            chosen += again
        return chosen

    def _draw(
        self, names: Sequence[str], count: int, random: Random, taken: set[str]
    ) -> list[Problem]:
        """Up to `count` problems that are not taken, those least drawn so far first."""
        order = sorted(names, key=lambda name: (self._used[name], random.random()))
        found: list[Problem] = []
        for turn in range(max((len(self._members[name]) for name in order), default=0)):
            for name in order:
                members = self._members[name]
                if len(found) == count:
                    return found
                problem = members[self._used[name] % len(members)]
                if turn < len(members) and problem.id not in taken:
                    self._used[name] += 1
                    taken.add(problem.id)
                    found.append(problem)
        return found

    def update(self, groups: Sequence[Sequence[Trajectory]]) -> None:
        """Take note of a step, whose groups are those of all processes."""
        for group in groups:
            right = [t.correct for t in group if t.scorable]
            name = self._names.get(group[0].problem_id)
            if not right or name is None:
                continue
            rate, before = sum(right) / len(right), self._rates.get(name)
            keep = 0.0 if before is None else self._how.decay
            self._rates[name] = keep * (before or 0.0) + (1 - keep) * rate
            self._solved[name] = self._solved[name] + 1 if rate == 1 else 0
            self.drawn[group[0].problem_id] += 1

    def metrics(self) -> dict[str, float]:
        """How many problems or families are in each pool, and how many are retired."""
        live = [name for name in self._members if not self.retired(name)]
        sizes = Counter(map(self.pool, live))
        found = {f"curriculum_{pool}": float(sizes[pool]) for pool in POOLS}
        return found | {"curriculum_retired": float(len(self._members) - len(live))}

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        counts = {"solved": self._solved, "used": self._used, "drawn": self.drawn}
        return {"rates": dict(self._rates)} | {name: dict(one) for name, one in counts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._rates = dict(state["rates"])
        self._solved, self._used, self.drawn = (
            Counter(state[name]) for name in ("solved", "used", "drawn")
        )
