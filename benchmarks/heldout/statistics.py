"""Estimates with intervals, and comparisons of two runs: pure numpy, seeded.

The unit of sampling is the problem: k answers to one problem are not k independent facts, so every
bootstrap here resamples problems (clusters) and never single answers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, erfc, isnan, nan, sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
RESAMPLES = 4000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; all `nan` where nothing was measured."""

    value: float
    low: float
    high: float
    count: int
    """Independent units behind it: problems, or runs."""

    def overlaps(self, other: "Estimate") -> bool:
        """Whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        if isnan(self.value):
            return "-"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


UNKNOWN = Estimate(nan, nan, nan, 0)


def wilson(successes: float, count: int, level: float = LEVEL) -> Estimate:
    """Wilson score interval of a share; honest at 0 and 1, where a bootstrap has no width.

    >>> print(wilson(0, 30))
    0.000 [0.000, 0.114]
    """
    if count == 0:
        return UNKNOWN
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) / (1 + z * z / count)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(share, min(low, share), max(high, share), count)


def ratio(
    parts: Sequence[float],
    wholes: Sequence[float],
    groups: Sequence[object] | None = None,
    *,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Sum of `parts` over sum of `wholes`, a share; interval by resampling whole groups.

    Where all groups have the same share, the Wilson interval of so many groups, as in `mean`.

    Args:
        parts: Numerator of each observation, e.g. programs that passed.
        wholes: Its denominator, e.g. programs that ran; observations with 0 carry no information.
        groups: The problem of each observation; every observation is its own where absent.
        level: Coverage.
        seed: Of the bootstrap.

    >>> print(ratio([1, 2, 1], [2, 4, 2]))
    0.500 [0.125, 0.875]
    """
    top, bottom = _by_group(parts, groups), _by_group(wholes, groups)
    kept = bottom > 0
    top, bottom = top[kept], bottom[kept]
    if not len(bottom):
        return UNKNOWN
    value = float(top.sum() / bottom.sum())
    if np.ptp(top / bottom) == 0:
        return wilson(value * len(bottom), len(bottom), level)
    draws = _resample(np.stack([top, bottom]), seed)
    return _interval(value, draws[0] / draws[1], len(bottom), level)


def mean(
    values: Sequence[float],
    groups: Sequence[object] | None = None,
    *,
    share: bool = True,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Mean over groups of the mean within the group (avg@k for 0/1 values grouped by problem).

    Where every group is wholly 0 or 1, as with one answer to a problem, it is a plain share and
    gets the Wilson interval: a bootstrap would claim certainty at 0 and 1, and of few problems it
    reaches values that the data exclude. So do groups that are all alike, as two problems with one
    of two answers right, of which a bootstrap would make 50 % without a doubt.

    Args:
        values: One for each observation.
        groups: The problem of each; every observation is its own where absent.
        share: The values are shares in [0, 1]. Of others, such as counts of calls, that are all
            equal the interval is `nan`: nothing says how far they vary.
        level: Coverage.
        seed: Of the bootstrap.

    >>> print(mean([1, 0, 1, 1], groups=["a", "a", "b", "b"]))
    0.750 [0.396, 1.000]
    >>> print(mean([1, 0, 0, 1], groups=["a", "a", "b", "b"]))
    0.500 [0.095, 0.905]
    >>> print(mean([1, 1, 2, 1], share=False))
    1.250 [0.961, 1.827]
    """
    if not len(values):
        return UNKNOWN
    counts = _by_group(np.ones(len(values)).tolist(), groups)
    means = _by_group(values, groups) / counts
    alike = bool(np.ptp(means) == 0)
    if share and (alike or np.all((means == 0) | (means == 1))):
        return wilson(float(means.sum()), len(means), level)
    if alike:
        return Estimate(float(means[0]), nan, nan, len(means))
    draws = _resample(means[None], seed)[0] / len(means)
    return _interval(float(means.mean()), draws, len(means), level, bounded=share)


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Unbiased probability that at least one of k draws without replacement is correct.

    Source: Chen et al. 2021 (arXiv 2107.03374), equation 1.

    >>> pass_at_k(4, 1, 2)
    0.5
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples of each problem, got {samples}")
    if samples - correct < k:
        return 1.0
    tail = np.arange(samples - correct + 1, samples + 1)
    return float(1.0 - np.prod(1.0 - k / tail))


def majority_at_k(clusters: Sequence[int], correct: Sequence[bool], k: int, seed: int = 0) -> float:
    """Probability that the most frequent answer of k samples is correct.

    A tie counts as the share of tied clusters that are correct. Mean over all subsets of k samples,
    or over 200 random ones where there are more than a thousand.

    Args:
        clusters: Which answers are the same, as `agents.thor.selection.answer_clusters` tells; -1
            casts no vote.
        correct: Their verdicts.
        k: Samples that vote.
        seed: Of the subsets.

    >>> majority_at_k([0, 0, 1, -1], [True, True, False, False], 4)
    1.0
    """
    if not 1 <= k <= len(clusters):
        raise ValueError(f"maj@{k} needs at least {k} samples of each problem, got {len(clusters)}")
    subsets: Iterable[Sequence[int]] = combinations(range(len(clusters)), k)
    if comb(len(clusters), k) > 1_000:
        random = np.random.default_rng(seed)
        subsets = (random.choice(len(clusters), k, replace=False).tolist() for _ in range(200))
    return float(
        np.mean([_majority([clusters[i] for i in s], [correct[i] for i in s]) for s in subsets])
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """B minus A over the problems both answered."""

    a: float
    b: float
    difference: Estimate
    p_value: float
    """Two-sided sign-flip permutation test: chance of a gap this large if A and B were alike."""
    wins: int
    """Problems where B is better."""
    losses: int

    @property
    def real(self) -> bool:
        """Whether the difference is significant at 5 %; for many comparisons use `holm`."""
        return self.p_value < 0.05


def paired(a: Sequence[float], b: Sequence[float], *, seed: int = 0) -> Difference:
    """Compare two runs problem by problem; `a[i]` and `b[i]` belong to the same problem.

    Where all shares differ by the same, as where none differs, the interval is a score interval
    (Tango, Statistics in Medicine 17, 1998, page 891): a bootstrap would claim certainty.

    Raises:
        ValueError: If the lengths differ.

    >>> print(paired([0, 1, 0, 1, 0], [0, 1, 0, 1, 0]).difference)
    0.000 [-0.434, 0.434]
    """
    if len(a) != len(b):
        raise ValueError(f"a paired comparison needs the same problems: {len(a)} against {len(b)}")
    if not len(a):
        return Difference(nan, nan, UNKNOWN, nan, 0, 0)
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    gaps = second - first
    shares = all(bool(np.all((side >= 0) & (side <= 1))) for side in (first, second))
    if shares and np.ptp(gaps) == 0:
        difference = _same_gap(float(gaps[0]), len(gaps))
    else:
        draws = _resample(gaps[None], seed)[0] / len(gaps)
        spread = _interval(float(gaps.mean()), draws, len(gaps), LEVEL, False)
        difference = _within_reach(spread) if shares else spread
    return Difference(
        a=float(first.mean()),
        b=float(second.mean()),
        difference=difference,
        p_value=_sign_flip(gaps, seed),
        wins=int((gaps > 0).sum()),
        losses=int((gaps < 0).sum()),
    )


def _same_gap(gap: float, count: int) -> Estimate:
    """Tango's score interval where all pairs differ by -1, by 0 or by 1; between them on a line."""
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    width = z * z / (count + z * z)
    return Estimate(gap, gap - (1 + gap) * width, gap + (1 - gap) * width, count)


def _within_reach(gap: Estimate) -> Estimate:
    """The interval of a difference of shares, without what no two shares can differ by."""
    return Estimate(gap.value, max(gap.low, -1.0), min(gap.high, 1.0), gap.count)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values: the chance of any false finding among them stays below the level.

    >>> holm([0.01, 0.04, 0.5])
    (0.03, 0.08, 0.5)
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    worst = 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = worst
    return tuple(float(p) for p in adjusted)


def chi_square(table: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Pearson's statistic of a 2 x 2 table without Yates' correction, and its p-value.

    The table of THOR (arXiv 2509.13761, table 4), execution against correctness:

    >>> statistic, p = chi_square([[3950, 1549], [139, 318]])
    >>> round(statistic, 1), p < 1e-70
    (336.3, True)
    """
    counts = np.asarray(table, dtype=np.float64)
    if counts.shape != (2, 2):
        raise ValueError(f"expected a 2 x 2 table, got shape {counts.shape}")
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / max(counts.sum(), 1)
    if (expected == 0).any():
        return nan, nan
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return statistic, erfc(sqrt(statistic / 2))


def _by_group(values: Sequence[float] | Floats, groups: Sequence[object] | None) -> Floats:
    """Sum within each group, groups in order of appearance. (N,) -> (G,)."""
    array = np.asarray(values, dtype=np.float64)
    if groups is None:
        return array
    if len(groups) != len(array):
        raise ValueError(f"{len(array)} values but {len(groups)} groups")
    numbers: dict[object, int] = {}
    index = [numbers.setdefault(group, len(numbers)) for group in groups]
    return np.bincount(index, weights=array, minlength=len(numbers)).astype(np.float64)


def _resample(columns: Floats, seed: int) -> Floats:
    """Sums of each column over bootstrap draws of the groups. (C, G) -> (C, RESAMPLES)."""
    groups = columns.shape[1]
    random = np.random.default_rng(seed)
    step = max(1, 2_000_000 // groups)
    parts = []
    for start in range(0, RESAMPLES, step):
        picks = random.integers(0, groups, (min(step, RESAMPLES - start), groups))
        parts.append(columns[:, picks].sum(axis=2))
    return np.concatenate(parts, axis=1)


def _interval(
    value: float, draws: Floats, count: int, level: float, bounded: bool = True
) -> Estimate:
    """Percentile interval, widened by sqrt(n / (n - 1)) because a bootstrap is too narrow by it."""
    if bounded and value in (0.0, 1.0):
        return wilson(value * count, count, level)
    if count < 2:
        return Estimate(value, 0.0, 1.0, count) if bounded else Estimate(value, nan, nan, count)
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    widen = sqrt(count / (count - 1))
    low, high = value + widen * (low - value), value + widen * (high - value)
    if bounded:
        low, high = max(0.0, low), min(1.0, high)
    return Estimate(value, float(low), float(high), count)


def _majority(clusters: Sequence[int], correct: Sequence[bool]) -> float:
    members: dict[int, list[bool]] = {}
    for cluster, right in zip(clusters, correct, strict=True):
        if cluster >= 0:
            members.setdefault(cluster, []).append(right)
    if not members:
        return 0.0
    most = max(map(len, members.values()))
    winners = [sum(cluster) / most for cluster in members.values() if len(cluster) == most]
    return sum(winners) / len(winners)


def _sign_flip(gaps: Floats, seed: int, flips: int = 10_000) -> float:
    """Exact over all sign patterns up to 2^12, Monte Carlo beyond."""
    moved = gaps[gaps != 0]
    if not len(moved):
        return 1.0
    if len(moved) <= 12:
        codes = np.arange(2 ** len(moved))[:, None]
        signs = (codes >> np.arange(len(moved)) & 1) * 2.0 - 1.0
        extra = 0
    else:
        signs = np.random.default_rng(seed).integers(0, 2, (flips, len(moved))) * 2.0 - 1.0
        extra = 1
    sums = np.abs(signs @ moved)
    hits = int((sums >= abs(moved.sum()) - 1e-9).sum())
    return (hits + extra) / (len(signs) + extra)
