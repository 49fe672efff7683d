"""Rewards that need more than one finished episode: its group, its turns, its length in ids.

The environment pays each episode for itself (`rewards`). What stands here is added by the trainer,
which sees the ids and all samples of a problem. Metrics, transcripts and evaluation keep the reward
of the environment.
"""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import cos, pi, sin
from typing import Protocol

from agents.core.types import Trajectory, Turn
from agents.core.written import made


class Shaping(Protocol):
    """Adds to the rewards of a group."""

    def added(self, group: Sequence[Trajectory]) -> list[list[float]]:
        """For each trajectory a number for each of its turns; the group holds scorable ones."""
        ...


def _at_end(t: Trajectory, amount: float) -> list[float]:
    """An amount that is paid with the last turn."""
    return [0.0] * (len(t.turns) - 1) + [amount]


@dataclass(frozen=True, slots=True)
class Overlong:
    """Soft overlong punishment (DAPO, arXiv 2503.14476, eq. 13).

    0 up to `max_tokens - cache` ids, then falling to -1 at `max_tokens`. Ids are those of the whole
    response, tool output included, as the limit counts them.

    Example:
        >>> from agents.core.testing.algorithm_contract import episode
        >>> Overlong(max_tokens=10, cache=4).added([episode(1.0, ids=n) for n in (6, 9, 12)])
        [[0.0, 0.0], [0.0, -0.75], [0.0, -1.0]]
    """

    max_tokens: int
    """L_max; DAPO: 20,480. That of the run, or less."""
    cache: int
    """L_cache, the stretch over which the punishment grows; DAPO: 4,096."""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.cache <= self.max_tokens:
            raise ValueError(
                "overlong: the cache is a part of max_tokens, got "
                f"cache={self.cache} and max_tokens={self.max_tokens}"
            )

    def added(self, group: Sequence[Trajectory]) -> list[list[float]]:
        """See `Shaping`."""
        start = self.max_tokens - self.cache
        excess = [min(1.0, max(0, len(t.ids) - start) / self.cache) for t in group]
        return [_at_end(t, 0.0 - self.weight * x) for t, x in zip(group, excess, strict=True)]


@dataclass(frozen=True, slots=True)
class OTC:
    """Right answers earn most with the fewest calls that their group needed (arXiv 2504.14870).

    OTC-GRPO, section 3.3: with m calls, and n the fewest of a right answer of the group, a right
    answer's reward is multiplied by `weight` times 1 where m = n = 0, cos(m pi / (2 m + c)) where
    n = 0 < m, else sin(f pi / (2 n)) with f = 2 m n / (m + n). A wrong answer earns what it did.

    Example:
        Twice the optimum of one call earns sin(2 pi / 3) of the reward.

        >>> from agents.core.testing.algorithm_contract import episode
        >>> group = [replace(episode(1.0), tool_calls=m) for m in (1, 2)] + [episode(-1.0)]
        >>> [round(t.reward, 3) for t in shaped(group, [OTC()])]
        [1.0, 0.866, -1.0]
    """

    smooth: float = 4.0
    """c: how slowly calls are paid less where none was needed; about the budget of calls."""
    weight: float = 1.0
    """alpha."""

    def __post_init__(self) -> None:
        if self.smooth <= 0:
            raise ValueError(f"otc: smooth must be positive, got {self.smooth}")

    def added(self, group: Sequence[Trajectory]) -> list[list[float]]:
        """See `Shaping`."""
        fewest = min((t.tool_calls for t in group if t.correct), default=0)
        return [
            _at_end(t, t.reward * (self.weight * self.factor(t.tool_calls, fewest) - 1))
            if t.correct
            else _at_end(t, 0.0)
            for t in group
        ]

    def factor(self, calls: int, fewest: int) -> float:
        """r_tool, in [0, 1]."""
        if fewest == 0:
            return cos(calls * pi / (2 * calls + self.smooth))
        return sin(2 * calls * fewest / (calls + fewest) * pi / (2 * fewest))


@dataclass(frozen=True, slots=True)
class ToolCost:
    """Calls cost more the easier a problem is.

    `weight` a call, times the share of the group that is right, at least 1 / G: the adaptive length
    penalty (ALP, arXiv 2506.05256, eq. 1) with calls in place of tokens. On a problem that is
    nearly never solved calls are nearly free.

    Example:
        >>> from agents.core.testing.algorithm_contract import episode
        >>> easy, hard = [episode(1.0)] * 4, [episode(-1.0)] * 4
        >>> ToolCost(0.1).added(easy)[0], ToolCost(0.1).added(hard)[0]
        ([0.0, -0.1], [0.0, -0.025])
    """

    weight: float = 0.05

    def added(self, group: Sequence[Trajectory]) -> list[list[float]]:
        """See `Shaping`."""
        solved = max(sum(t.correct for t in group), 1) / len(group)
        return [_at_end(t, -self.weight * solved * t.tool_calls) for t in group]


@dataclass(frozen=True, slots=True)
class Ran:
    """A reward for each program: `weight` if it ran, -`weight` if it failed, paid at its turn.

    Step rewards of execution alone (THOR, arXiv 2509.13761, eq. 6). They change what is optimal,
    here: many programs that run. `Potential` does not.
    """

    weight: float = 0.1

    def added(self, group: Sequence[Trajectory]) -> list[list[float]]:
        """See `Shaping`."""
        return [[self.weight * _ran(turn) for turn in t.turns] for t in group]


def _ran(turn: Turn) -> int:
    return 0 if not turn.tool_status else 1 if turn.tool_status == "ok" else -1


def last_ran(turns: Sequence[Turn]) -> float:
    """1 where the last program so far ran, else 0."""
    statuses = [turn.tool_status for turn in turns if turn.tool_status]
    return float(bool(statuses) and statuses[-1] == "ok")


@dataclass(frozen=True, slots=True)
class Potential:
    """Step rewards that change no optimal policy: gamma * phi(s') - phi(s).

    Potential-based shaping (Ng, Harada, Russell 1999, theorem 1). A state is the turns so far; the
    potential of the end is 0. Discounted sums of these rewards over a whole episode are -phi of its
    start, the same for every policy, so that they say *when* something was gained and not *that* it
    was. Episode-level credit (GRPO) sees nothing of it; turn-level credit and a critic do.

    Example:
        >>> from agents.core.testing.algorithm_contract import episode
        >>> Potential(weight=0.2).added([episode(1.0), episode(1.0, failed=True)])
        [[0.2, -0.2], [0.0, 0.0]]
    """

    weight: float = 0.2
    gamma: float = 1.0
    """From one turn to the next; that of the algorithm, or the optimum does change."""
    phi: Callable[[Sequence[Turn]], float] = last_ran
    """The potential of the turns so far, before `weight`."""

    def added(self, group: Sequence[Trajectory]) -> list[list[float]]:
        """See `Shaping`."""
        return [self._differences(t) for t in group]

    def _differences(self, t: Trajectory) -> list[float]:
        ends = [self.weight * self.phi(t.turns[:i]) for i in range(len(t.turns))] + [0.0]
        return [self.gamma * ends[i + 1] - ends[i] for i in range(len(t.turns))]


def shaped(group: Sequence[Trajectory], shaping: Sequence[Shaping]) -> list[Trajectory]:
    """The group with what each shaping adds; rows that are not scorable stay out of it."""
    known = [t for t in group if t.scorable]
    if not known or not shaping:
        return list(group)
    added = [[0.0] * len(t.turns) for t in known]
    for one in shaping:
        for sums, amounts in zip(added, one.added(known), strict=True):
            for i, amount in enumerate(amounts):
                sums[i] += amount
    paid = iter([_paid(t, amounts) for t, amounts in zip(known, added, strict=True)])
    return [next(paid) if t.scorable else t for t in group]


def _paid(t: Trajectory, amounts: Sequence[float]) -> Trajectory:
    turns = [
        replace(turn, reward=turn.reward + x) for turn, x in zip(t.turns, amounts, strict=True)
    ]
    return replace(t, reward=t.reward + sum(amounts), turns=tuple(turns))


SHAPINGS: Mapping[str, Callable[..., Shaping]] = {
    "overlong": Overlong,
    "otc": OTC,
    "tool_cost": ToolCost,
    "ran": Ran,
    "potential": Potential,
}
"""By the name that `shaping=` takes."""


def read_shaping(given: str | Sequence[Shaping]) -> tuple[Shaping, ...]:
    """Shapings written as names with arguments, a sum of them.

    Raises:
        ValueError: A name, an argument or the form is unknown.

    Example:
        >>> read_shaping("otc + overlong(max_tokens=3072, cache=512)")
        (OTC(smooth=4.0, weight=1.0), Overlong(max_tokens=3072, cache=512, weight=1.0))
    """
    if not isinstance(given, str):
        return tuple(given)
    if not given.strip():
        return ()
    try:
        return tuple(_read(ast.parse(given, mode="eval").body))
    except (SyntaxError, TypeError, ValueError) as error:
        raise ValueError(
            f"shaping: expected a sum of {', '.join(SHAPINGS)}, with name=value in brackets, got "
            f"{given!r} ({error})"
        ) from error


def _read(node: ast.expr) -> list[Shaping]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _read(node.left) + _read(node.right)
    return [made(node, SHAPINGS)]
