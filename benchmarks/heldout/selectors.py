"""Best of N: how good each way of choosing among several answers is, with its interval.

The scores are those of `agents.thor.selection`, which know nothing of the truth. A tie counts as
the expected accuracy of a random pick among the tied answers, so that no number depends on an
order.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum

from agents.core.types import Trajectory
from agents.thor.selection import can_vote, executed, grouped, votes
from benchmarks.heldout.statistics import UNKNOWN, Estimate, mean

Ranks = Callable[[Sequence[Trajectory]], Sequence[tuple[float, ...]]]
"""A rank of each candidate of one problem; the highest is given."""


class Selector(StrEnum):
    """Ways to choose."""

    RANDOM = "random"
    """Any: the accuracy of one answer, the bottom line."""
    MAJORITY = "majority"
    """The most frequent final answer (self-consistency); the grader says which are the same."""
    EXECUTION = "execution"
    """The highest share of programs that ran without error (THOR's self-reward); none counts 0."""
    EXECUTION_MAJORITY = "execution_majority"
    """The same, ties broken by frequency."""
    ORACLE = "oracle"
    """A right one if there is any: pass@N, the top line."""


def best_of(trajectories: Sequence[Trajectory], n: int, selector: Selector) -> Estimate:
    """Accuracy of the chosen answer out of the first `n` scorable ones of each problem.

    It is unknown for a selector that counts votes where right answers are no texts.

    Args:
        trajectories: Records of one evaluation.
        n: Candidates; problems with fewer are left out.
        selector: How to choose.
    """
    if selector in _VOTING and not can_vote(trajectories):
        return UNKNOWN
    return mean(list(chosen(trajectories, n, selector).values()))


def chosen(trajectories: Sequence[Trajectory], n: int, selector: Selector) -> dict[str, float]:
    """Expected accuracy of the chosen answer to each problem; see `best_of`."""
    groups = grouped(t for t in trajectories if t.scorable)
    return {g[0].problem_id: _accuracy(g[:n], selector) for g in groups if len(g) >= n}


def _accuracy(candidates: Sequence[Trajectory], selector: Selector) -> float:
    ranks = _RANKS[selector](candidates)
    best = max(ranks)
    tied = [t for t, rank in zip(candidates, ranks, strict=True) if rank == best]
    return sum(t.correct for t in tied) / len(tied)


def _by(*scores: Callable[[Sequence[Trajectory]], Sequence[float]]) -> Ranks:
    """The first score; among equals the next one decides."""
    return lambda candidates: list(zip(*(score(candidates) for score in scores), strict=True))


_VOTING = (Selector.MAJORITY, Selector.EXECUTION_MAJORITY)

_RANKS: dict[Selector, Ranks] = {
    Selector.RANDOM: lambda candidates: [()] * len(candidates),
    Selector.MAJORITY: _by(votes),
    Selector.EXECUTION: _by(executed),
    Selector.EXECUTION_MAJORITY: _by(executed, votes),
    Selector.ORACLE: lambda candidates: [(float(t.correct),) for t in candidates],
}
