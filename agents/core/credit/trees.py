"""Credit in tree rollouts: by subtrees, and for shared ids once.

A group is a tree (`agents.core.rollout.trees`). Its trajectories are the leaves; the leaves of an
id are the trajectories that hold it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean as mean
from statistics import stdev
from typing import Literal

from agents.core.types import Trajectory


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of ids between two places where answers branch off."""

    start: int
    end: int
    leaves: tuple[int, ...]
    """Indices of the trajectories that hold it."""


def segments(group: Sequence[Trajectory]) -> list[list[Segment]]:
    """Of each trajectory of a group, from its first id to its last.

    Example:
        Sample 1 branched off after two of four ids.

        >>> from dataclasses import replace
        >>> from agents.core.testing.algorithm_contract import episode
        >>> stem = episode(1.0, ids=4)
        >>> branch = replace(stem, sample=1, parent=0, shared=2)
        >>> [[(s.start, s.end, s.leaves) for s in row] for row in segments([stem, branch])]
        [[(0, 2, (0, 1)), (2, 4, (0,))], [(0, 2, (0, 1)), (2, 4, (1,))]]
    """
    place = {t.sample: i for i, t in enumerate(group)}
    children: list[list[int]] = [[] for _ in group]
    for i, t in enumerate(group):
        if t.parent >= 0:
            children[place[t.parent]].append(i)

    def leaves(i: int, start: int) -> list[int]:
        """Of an id of which `i` is the owner: all that branch off behind it hold it too."""
        below = (c for c in children[i] if group[c].shared > start)
        return [i, *(leaf for c in below for leaf in leaves(c, group[c].shared))]

    def path(i: int) -> list[Segment]:
        t = group[i]
        above = path(place[t.parent]) if t.parent >= 0 else []
        cuts = sorted({t.shared, *(group[c].shared for c in children[i]), len(t.ids)})
        own = [Segment(a, b, tuple(sorted(leaves(i, a)))) for a, b in pairwise(cuts)]
        return [s for s in above if s.start < t.shared] + own

    return [path(i) for i in range(len(group))]


def counted_once(
    group: Sequence[Trajectory],
    credit: Sequence[Sequence[float]],
    share: Literal["sum", "mean"] = "sum",
) -> list[list[float]]:
    """Credit in which an id that several answers share counts in one row, that of its owner.

    The gradient of a shared id is then that of all rows together, whatever each gave it: the sum
    over its leaves, which is what whole rows without any sharing would learn, or the mean.

    Args:
        group: A tree; the other rows' shared ids are masked (`agents.core.filters.learned_mask`).
        credit: A number for each id of each row, as if each had sampled all of it.
        share: What becomes of the numbers of a shared id.

    Example:
        >>> from dataclasses import replace
        >>> from agents.core.testing.algorithm_contract import episode
        >>> stem = episode(1.0, ids=4)
        >>> branch = replace(stem, sample=1, parent=0, shared=2)
        >>> counted_once([stem, branch], [[1.0] * 4, [-0.5] * 4])
        [[0.5, 0.5, 1.0, 1.0], [0.0, 0.0, -0.5, -0.5]]
    """
    place = {t.sample: i for i, t in enumerate(group)}
    total = [list(row) for row in credit]
    count = [[1] * len(row) for row in credit]
    # A branch of a branch leaves it behind its own place, so the deepest are folded first.
    for i in sorted(range(len(group)), key=lambda i: -group[i].shared):
        t = group[i]
        if t.parent < 0:
            continue
        to = place[t.parent]
        for k in range(t.shared):
            total[to][k] += total[i][k]
            count[to][k] += count[i][k]
            total[i][k] = 0.0
    if share == "sum":
        return total
    return [[x / n for x, n in zip(*both, strict=True)] for both in zip(total, count, strict=True)]


def subtree_credit(group: Sequence[Trajectory]) -> list[list[float]]:
    """Global plus local advantage of each id, by the root of its leaves (TreeRL, section 3.3).

    With V the mean reward of leaves, an id of segment s with n leaves is credited in each of them
    with (V(s) - V(root) + V(s) - V(segment before)) / sqrt(n). (arXiv 2506.11902; the release
    divides before it subtracts and compares with the other leaves alone.)
    """
    known = [i for i, t in enumerate(group) if t.scorable]
    credit = [[0.0] * len(t.ids) for t in group]
    if not known:
        return credit
    root = mean(group[i].reward for i in known)
    for i, path in enumerate(segments(group)):
        before = root
        for s in path if group[i].scorable else ():
            value = mean(group[leaf].reward for leaf in s.leaves)
            each = (value - root + value - before) / sqrt(len(s.leaves))
            credit[i][s.start : s.end] = [each] * (s.end - s.start)
            before = value
    return credit


def ancestor_advantages(groups: Sequence[Sequence[Trajectory]], *, scale: bool) -> list[float]:
    """The reward relative to each subtree that an answer is in, on the average (TreePO, eq. 5).

    The subtrees are the whole group and all that share an id with the answer, each once (arXiv
    2508.17445).

    Args:
        groups: Trees.
        scale: Divide by the standard deviation of all differences of the batch, as in REINFORCE++.

    Returns:
        One number for each trajectory.
    """
    differences: list[list[float]] = []
    """Of each trajectory; none of a lost one."""
    for group in groups:
        known = tuple(i for i, t in enumerate(group) if t.scorable)
        for t, path in zip(group, segments(group), strict=True):
            subtrees = dict.fromkeys([known, *(s.leaves for s in path if len(s.leaves) > 1)])
            means = [mean([group[i].reward for i in leaves]) for leaves in subtrees if leaves]
            differences.append([t.reward - m for m in means] if t.scorable else [])
    flat = [d for row in differences for d in row]
    std = stdev(flat) + 1e-6 if scale and len(flat) > 1 else 1.0
    return [mean(row) / std if row else 0.0 for row in differences]
