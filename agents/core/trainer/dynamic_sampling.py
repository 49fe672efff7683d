"""Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): no batch of groups without signal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agents.core.algorithm import Group
from torl_env.problems.types import Problem


@dataclass(frozen=True, slots=True)
class Resampled:
    """A batch after dynamic sampling."""

    groups: Sequence[Group]
    replaced: int
    """Groups that were replaced."""
    zero_variance: int
    """Groups that still teach nothing."""


def resampled(
    groups: Sequence[Group],
    has_signal: Callable[[Group], bool],
    sample: Callable[[Sequence[Problem]], Sequence[Group]],
    spare: Sequence[Problem],
    rounds: int,
) -> Resampled:
    """Put groups of other problems in place of those that teach nothing.

    A group that all samples got right, or all got wrong, has no advantage anywhere. DAPO samples
    until the batch is full; here `rounds` bounds the cost, and what is left is reported.

    Args:
        groups: The batch.
        has_signal: Whether a group has a signal.
        sample: Samples a group of each of these problems.
        spare: Problems to take from, in order, each at most once.
        rounds: How often to try.

    Example:
        >>> found = resampled(
        ...     ["right", "mixed", "wrong"],
        ...     lambda group: group == "mixed",
        ...     lambda problems: ["mixed" if p == "b" else "wrong" for p in problems],
        ...     ["a", "b", "c", "d"],
        ...     rounds=2,
        ... )
        >>> found.groups, found.replaced, found.zero_variance
        (['mixed', 'mixed', 'wrong'], 1, 1)
    """
    kept, left, replaced = list(groups), list(spare), 0
    for _ in range(rounds):
        zero_variance = [i for i, group in enumerate(kept) if not has_signal(group)]
        taken, left = left[: len(zero_variance)], left[len(zero_variance) :]
        if not taken:
            break
        useful = [group for group in sample(taken) if has_signal(group)]
        for i, group in zip(zero_variance, useful, strict=False):
            kept[i] = group
        replaced += len(useful)
    return Resampled(kept, replaced, sum(not has_signal(group) for group in kept))
