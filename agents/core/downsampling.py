"""Resample on correct: sample more than is learned from, and keep the clean ones of what is right.

GRPO-RoC (rStar2-Agent, arXiv 2508.20722, section 3.3). A reward for the answer alone also praises
right answers that got there by failing programs. So of 2 G samples of a problem G are kept: of the
wrong ones a uniform half, so that all kinds of failure stay, of the right ones those with few
failed calls and one answer. What is right stays as frequent as it was sampled.
"""

from collections.abc import Sequence
from random import Random

from agents.core.types import Trajectory

SOFT = 0.01
"""Added to a penalty before its inverse is a weight: clean samples have 100, one failed call in two
has 2."""


def penalty(t: Trajectory) -> float:
    r"""p_err + p_format of section 3.3.

    p_err is the share of calls that failed, 0.5 without any call. p_format is 1 without an answer
    box, else the boxes beyond the first for each turn, at most 1; the paper's tags are boxes here.

    Example:
        >>> from agents.core.testing.algorithm_contract import episode
        >>> penalty(episode(1.0)), penalty(episode(1.0, failed=True))
        (1.0, 2.0)
    """
    errors = t.tool_errors / t.tool_calls if t.tool_calls else 0.5
    boxes = sum(turn.text.count(r"\boxed{") for turn in t.turns)
    form = min(1.0, (boxes - 1) / len(t.turns)) if boxes else 1.0
    return errors + form


def resample_on_correct(group: Sequence[Trajectory], size: int, seed: str) -> list[Trajectory]:
    """`size` of the group, in their order; rows lost to the machine only where others are too few.

    Args:
        group: All samples of a problem.
        size: How many to keep.
        seed: Of the choice.
    """
    random = Random(f"roc/{seed}")
    scored = [t for t in group if t.scorable]
    if len(scored) <= size:
        lost = [t for t in group if not t.scorable]
        return _ordered(group, [*scored, *lost[: size - len(scored)]])
    right = [t for t in scored if t.correct]
    wrong = [t for t in scored if not t.correct]
    keep_right = round(size * len(right) / len(scored))
    # A kind that was sampled is kept: without it the group would teach nothing.
    keep_right = min(max(keep_right, min(1, len(right))), size - min(1, len(wrong)))
    # Weighted sampling without replacement (Efraimidis and Spirakis 2006): the largest u^(1/w).
    by_key = sorted(right, key=lambda t: random.random() ** (penalty(t) + SOFT), reverse=True)
    return _ordered(group, by_key[:keep_right] + random.sample(wrong, size - keep_right))


def _ordered(group: Sequence[Trajectory], kept: Sequence[Trajectory]) -> list[Trajectory]:
    chosen = {id(t) for t in kept}
    return [t for t in group if id(t) in chosen]


def kept_metrics(sampled: Sequence[Trajectory], kept: Sequence[Trajectory]) -> dict[str, float]:
    """What the choice did: failed calls of right answers before and after it, and all accuracy."""

    def failed(rows: Sequence[Trajectory]) -> float:
        right = [t for t in rows if t.scorable and t.correct]
        calls = sum(t.tool_calls for t in right)
        return sum(t.tool_errors for t in right) / calls if calls else float("nan")

    scored = [t for t in sampled if t.scorable]
    return {
        "oversampled_accuracy": sum(t.correct for t in scored) / max(1, len(scored)),
        "roc_error_ratio_sampled": failed(sampled),
        "roc_error_ratio_kept": failed(kept),
    }
