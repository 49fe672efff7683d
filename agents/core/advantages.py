"""Advantages as plain arithmetic on lists of rewards."""

from collections.abc import Sequence
from math import sqrt


def group_relative(
    rewards: Sequence[float | None],
    *,
    scale_by_std: bool = True,
    epsilon: float = 1e-6,
) -> list[float]:
    """(r - mean) / (std + epsilon) within one group, unbiased std (GRPO, arXiv 2402.03300; ToRL).

    Args:
        rewards: One reward per sample; `None` marks a sample that is not scorable: it is left
            out of mean and std and gets 0.
        scale_by_std: False leaves the division out (Dr. GRPO, arXiv 2503.20783).
        epsilon: ToRL's 1e-6.

    Returns:
        One advantage per sample; all 0 where fewer than two samples count or all rewards are equal.

    Example:
        >>> group_relative([1.0, -1.0, None, 1.0, -1.0], scale_by_std=False)
        [1.0, -1.0, 0.0, 1.0, -1.0]
    """
    known = [r for r in rewards if r is not None]
    if len(known) < 2 or min(known) == max(known):
        return [0.0] * len(rewards)
    mean = sum(known) / len(known)
    std = sqrt(sum((r - mean) ** 2 for r in known) / (len(known) - 1))
    scale = std + epsilon if scale_by_std else 1.0
    return [0.0 if r is None else (r - mean) / scale for r in rewards]


def leave_one_out(rewards: Sequence[float | None]) -> list[float]:
    """Reward minus the mean of the other samples (RLOO, arXiv 2402.14740).

    The baseline does not depend on the sample's own reward, so the gradient is unbiased. It is
    `group_relative` without scaling, times G / (G - 1).

    Args:
        rewards: As in `group_relative`.

    Example:
        >>> leave_one_out([1.0, 0.0, None, 0.0])
        [1.0, -0.5, 0.0, -0.5]
    """
    known = [r for r in rewards if r is not None]
    if len(known) < 2 or min(known) == max(known):
        return [0.0] * len(rewards)
    total = sum(known)
    return [0.0 if r is None else r - (total - r) / (len(known) - 1) for r in rewards]
