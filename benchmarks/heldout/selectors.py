"""Best of N: which of several answers to give, from the answers alone.

THOR (arXiv 2509.13761, section 3.3) picks the answer whose programs ran best; self-consistency
picks the most frequent one. Both need no reward model. A tie counts as the expected accuracy of a
random pick among the tied answers, so that no number depends on an order.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum

from agents.core.types import Trajectory
from benchmarks.heldout.statistics import Estimate, mean

Scores = Callable[[Sequence[Trajectory]], Sequence[float]]
"""A score of each candidate of one problem; the highest is given."""


class Selector(StrEnum):
    """Ways to choose."""

    RANDOM = "random"
    """Any: the accuracy of one answer, the bottom line."""
    MAJORITY = "majority"
    """The most frequent final answer (self-consistency)."""
    EXECUTION = "execution"
    """The highest share of programs that ran without error (THOR's self-reward); none counts 0."""
    EXECUTION_MAJORITY = "execution_majority"
    """The same, ties broken by frequency."""
    ORACLE = "oracle"
    """A right one if there is any: pass@N, the top line."""


def best_of(trajectories: Sequence[Trajectory], n: int, selector: Selector) -> Estimate:
    """Accuracy of the chosen answer out of the first `n` scorable ones of each problem.

    Args:
        trajectories: Records of one evaluation.
        n: Candidates; problems with fewer are left out.
        selector: How to choose.
    """
    groups: dict[str, list[Trajectory]] = {}
    for trajectory in trajectories:
        if trajectory.scorable:
            groups.setdefault(trajectory.problem_id, []).append(trajectory)
    picked = [_accuracy(group[:n], selector) for group in groups.values() if len(group) >= n]
    return mean(picked)


def _accuracy(candidates: Sequence[Trajectory], selector: Selector) -> float:
    scores = _SCORES[selector](candidates)
    best = max(scores)
    tied = [t for t, score in zip(candidates, scores, strict=True) if score == best]
    return sum(t.correct for t in tied) / len(tied)


def _majority(candidates: Sequence[Trajectory]) -> list[float]:
    """Votes for each candidate's answer; right answers are one answer, no answer has no votes."""
    keys = ["\x00right" if t.correct else t.answer.strip() for t in candidates]
    votes = Counter(keys)
    return [float(votes[key]) if key else 0.0 for key in keys]


def _execution(candidates: Sequence[Trajectory]) -> list[float]:
    return [_pass_ratio(t) for t in candidates]


def _execution_majority(candidates: Sequence[Trajectory]) -> list[float]:
    votes = _majority(candidates)
    # Ratios of few programs differ by far more than a thousandth, so votes only break ties.
    small = 1e-3 / (len(candidates) + 1)
    pairs = zip(_execution(candidates), votes, strict=True)
    return [passed + small * vote for passed, vote in pairs]


def _pass_ratio(trajectory: Trajectory) -> float:
    statuses = [turn.tool_status for turn in trajectory.turns if turn.tool_status]
    return statuses.count("ok") / len(statuses) if statuses else 0.0


_SCORES: dict[Selector, Scores] = {
    Selector.RANDOM: lambda candidates: [0.0] * len(candidates),
    Selector.MAJORITY: _majority,
    Selector.EXECUTION: _execution,
    Selector.EXECUTION_MAJORITY: _execution_majority,
    Selector.ORACLE: lambda candidates: [float(t.correct) for t in candidates],
}
