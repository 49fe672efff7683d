"""Alarms: a training that is breaking down says so, with the cause, while it can still be saved.

Each looks at the metrics of the steps so far and compares the last few with what this very run did
before, since good values differ from model to model. Sizes are medians or means over `window`
steps: one odd batch rings nothing but the alarm of the gradient, which is about one batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from statistics import mean, median
from typing import Literal

Row = Mapping[str, float | None]
"""The metrics of a step; None where a number was not finite."""


@dataclass(frozen=True, slots=True)
class Alarms:
    """When to ring, and whether a ring stops the run. 0 turns one off."""

    action: Literal["off", "warn", "stop"] = "warn"
    """After a stop a new run may begin at the last checkpoint with other settings; the same run,
    resumed, would come to the same step."""
    window: int = 5
    """Steps that are taken together."""
    gradient: float = 10.0
    """The gradient's norm, before it is clipped, is so many times its median of the steps before:
    a step into nowhere, by a batch of few tokens or log-probabilities that do not match."""
    reward: float = 0.5
    """The share of right answers fell below this share of its best."""
    entropy: float = 0.1
    """Entropy fell below this share of what it was at the start: all samples become alike, and no
    group has an advantage any more (arXiv 2505.22617)."""
    code: float = 0.25
    """The share of responses with code fell below this share of its best: the policy unlearned its
    tool."""
    mismatch: float = 0.2
    """Mean difference in nats of the sampler's and the trainer's log-probabilities: it learns from
    samples of another policy."""

    def __post_init__(self) -> None:
        if self.action not in ("off", "warn", "stop"):
            raise ValueError(f"alarms are off, warn or stop, got {self.action!r}")
        for one in fields(self)[2:]:
            if getattr(self, one.name) < 0:
                raise ValueError(f"alarm {one.name} must be >= 0, got {getattr(self, one.name)}")
        if self.window < 2:
            raise ValueError(f"the window of alarms is at least 2 steps, got {self.window}")

    def ringing(self, rows: Sequence[Row]) -> dict[str, str]:
        """Alarms that ring after the last of these steps, each with the cause in words.

        Example:
            >>> rows = [{"grad_norm": 1.0 + 0.1 * i} for i in range(6)]
            >>> list(Alarms().ringing([*rows, {"grad_norm": 30.0}]))
            ['gradient']
        """
        if self.action == "off" or len(rows) <= self.window:
            return {}
        found = {name: _TESTS[name](self, rows) for name in _TESTS if getattr(self, name)}
        return {name: cause for name, cause in found.items() if cause}


def _numbers(rows: Sequence[Row], name: str) -> list[float]:
    return [x for row in rows if (x := row.get(name)) is not None and isfinite(x)]


def _means(rows: Sequence[Row], name: str, window: int) -> list[float]:
    """Means over each `window` consecutive steps."""
    known = _numbers(rows, name)
    return [mean(known[i : i + window]) for i in range(len(known) - window + 1)]


def _gradient(alarms: Alarms, rows: Sequence[Row]) -> str:
    *before, now = _numbers(rows, "grad_norm") or [0.0]
    usual = median(before[-4 * alarms.window :]) if len(before) >= alarms.window else 0.0
    if not usual or now <= alarms.gradient * usual:
        return ""
    return (
        f"the gradient's norm is {now:.3g}, {now / usual:.0f} times its usual {usual:.3g}: lower "
        "the learning rate, or look at this step's transcripts for a few odd tokens"
    )


def _fallen(alarms: Alarms, rows: Sequence[Row], name: str, share: float, least: float) -> str:
    """From what to what a share fell, in words; empty where it did not."""
    means = _means(rows, name, alarms.window)
    if len(means) < 2 or max(means) < least or means[-1] >= share * max(means):
        return ""
    return f"fell to {means[-1]:.2f} from {max(means):.2f}, in means over {alarms.window} steps"


def _reward(alarms: Alarms, rows: Sequence[Row]) -> str:
    fall = _fallen(alarms, rows, "accuracy", alarms.reward, 0.1)
    return fall and (
        f"the share of right answers {fall}: go back to the checkpoint before, with a lower "
        "learning rate, a tighter clip or drop=void"
    )


def _code(alarms: Alarms, rows: Sequence[Row]) -> str:
    fall = _fallen(alarms, rows, "code_ratio", alarms.code, 0.2)
    return fall and (
        f"the share of responses with code {fall}: calls may cost more than they earn (a penalty "
        "in the reward or shaping), or their outputs are cut by the length limit"
    )


def _entropy(alarms: Alarms, rows: Sequence[Row]) -> str:
    means = _means(rows, "entropy", alarms.window)
    if len(means) < 2 or means[0] <= 0 or means[-1] >= alarms.entropy * means[0]:
        return ""
    return (
        f"entropy fell to {means[-1]:.3g} nats a token from {means[0]:.3g} at the start: samples "
        "become alike; raise clip_high, add entropy=0.001, or sample at a higher temperature"
    )


def _mismatch(alarms: Alarms, rows: Sequence[Row]) -> str:
    means = _means(rows, "logprob_mismatch", alarms.window)
    if not means or means[-1] <= alarms.mismatch:
        return ""
    return (
        f"sampler and trainer differ by {means[-1]:.2g} nats a token: look at the dtypes of both, "
        "whether weights reach the sampler, and at importance_mode"
    )


_TESTS: Mapping[str, Callable[[Alarms, Sequence[Row]], str]] = {
    "gradient": _gradient,
    "reward": _reward,
    "entropy": _entropy,
    "code": _code,
    "mismatch": _mismatch,
}


class Bell:
    """Rings when an alarm goes off, and not again before it has been silent.

    Args:
        alarms: Which, and when.
        rows: Metrics of the steps before, of a run that is resumed.
    """

    def __init__(self, alarms: Alarms, rows: Sequence[Row] = ()) -> None:
        self._alarms, self._rows = alarms, list(rows)
        self._on: set[str] = set(alarms.ringing(self._rows))

    def look(self, row: Row) -> dict[str, str]:
        """Alarms that went off with this step, by name."""
        self._rows.append(row)
        ringing = self._alarms.ringing(self._rows)
        fresh = {name: cause for name, cause in ringing.items() if name not in self._on}
        self._on = set(ringing)
        return fresh
