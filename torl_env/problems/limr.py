"""LIMR's choice of training problems: those whose solve rate follows the run as a whole.

Source: LIMR (arXiv 2502.11886) and its `lim_selection.py`; ToRL (arXiv 2503.23383) chose its 28,740
training problems of 75,149 with it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torl_env.errors import ProblemError

THRESHOLD = 0.6
"""LIMR keeps scores of at least this."""

Curves = Mapping[str, Sequence[float]]
"""Problem id to its solve rate in each epoch."""


def limr_scores(curves: Curves) -> dict[str, float]:
    """How well each problem's curve of solve rates follows the mean curve, at most 1.

    `score_i = 1 - sum_k (r_i[k] - mean[k])^2 / sum_k (1 - mean[k])^2` over epochs `k`, where `mean`
    is taken over all problems.

    Args:
        curves: Rates from 0 to 1, as many for every problem, one for each epoch.

    Raises:
        ProblemError: no curves, curves of different lengths, rates outside 0 to 1, or a run that
            solved everything always, where the score is not defined.

    Example:
        >>> curves = {"a": [0.2, 0.5, 0.8], "b": [0.2, 0.6, 0.9], "always": [1.0, 1.0, 1.0]}
        >>> {key: round(score, 2) for key, score in limr_scores(curves).items()}
        {'a': 0.68, 'b': 0.79, 'always': 0.0}
    """
    lengths = {len(curve) for curve in curves.values()}
    if len(lengths) != 1 or lengths == {0}:
        raise ProblemError(
            f"LIMR: expected a solve rate of every problem in every epoch, got "
            f"{len(curves)} problems with {sorted(lengths)} epochs."
        )
    wrong = next((key for key, c in curves.items() if not all(0 <= r <= 1 for r in c)), None)
    if wrong is not None:
        raise ProblemError(f"LIMR: expected rates from 0 to 1, got {wrong}: {curves[wrong]}.")
    mean = [math.fsum(epoch) / len(curves) for epoch in zip(*curves.values(), strict=True)]
    whole = math.fsum((1 - value) ** 2 for value in mean)
    if whole == 0:
        raise ProblemError("LIMR: every problem was always solved; expected rates that differ.")
    return {
        key: 1 - math.fsum((r - m) ** 2 for r, m in zip(curve, mean, strict=True)) / whole
        for key, curve in curves.items()
    }


def limr_select(curves: Curves, threshold: float = THRESHOLD) -> list[str]:
    """The ids of the problems whose score is at least `threshold`, in the order of `curves`."""
    return [key for key, score in limr_scores(curves).items() if score >= threshold]


def read_solve_rates(path: str | Path) -> dict[str, list[float]]:
    """The curves of a solve-rate log.

    The log is JSON lines `{"epoch": 0, "problem_id": "gcd-L2-train-7", "solved": 3, "samples": 8}`,
    in any order; several lines of one problem and epoch are added up. Problems that were not
    sampled in every epoch have no curve and are left out.

    Raises:
        ProblemError: the file is missing or empty, or a line is none of these.
    """
    file = Path(path)
    if not file.is_file():
        raise ProblemError(f"{file}: expected a solve-rate log, but the file does not exist.")
    counts: dict[str, dict[int, tuple[int, int]]] = {}
    epochs: set[int] = set()
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                key, epoch, solved, samples = _read_line(line, f"{file}, line {number}")
                before = counts.setdefault(key, {}).get(epoch, (0, 0))
                counts[key][epoch] = (before[0] + solved, before[1] + samples)
                epochs.add(epoch)
    if not counts:
        raise ProblemError(f"{file}: expected solve rates, but the log is empty.")
    return {
        key: [by_epoch[e][0] / by_epoch[e][1] for e in sorted(epochs)]
        for key, by_epoch in counts.items()
        if by_epoch.keys() == epochs
    }


def _read_line(line: str, where: str) -> tuple[str, int, int, int]:
    try:
        row: Any = json.loads(line)
        key, epoch = str(row["problem_id"]), int(row["epoch"])
        solved, samples = int(row["solved"]), int(row["samples"])
    except (ValueError, KeyError, TypeError):
        raise ProblemError(
            f'{where}: expected {{"epoch", "problem_id", "solved", "samples"}}, '
            f"got {line.strip()[:80]!r}."
        ) from None
    if not 0 <= solved <= samples or samples == 0:
        raise ProblemError(f"{where}: expected 0 <= solved <= samples, got {solved} of {samples}.")
    return key, epoch, solved, samples
