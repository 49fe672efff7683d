"""Published reward schemes by name, and the place to register one's own."""

from collections.abc import Mapping

from rewards.suggestion import did_you_mean
from rewards.terms import (
    Reward,
    correct,
    correct_boxed_or_not,
    correct_or_not,
    executed,
    failed_call,
)

PRESETS: dict[str, Reward] = {
    preset.name: preset
    for preset in (
        Reward("torl", {"answer": correct_or_not}, source="ToRL, arXiv:2503.23383, section 3.1"),
        Reward(
            "torl_penalty",
            {"answer": correct_or_not, "failed_call": failed_call},
            {"failed_call": -0.5},
            source="ToRL, arXiv:2503.23383, section 3.1 and figure 6",
        ),
        Reward("thor", {"answer": correct}, source="THOR, arXiv:2509.13761, equation 4"),
        Reward(
            "limr",
            {"answer": correct_boxed_or_not},
            source="LIMR, arXiv:2502.11886; `v2.wformat` of the ToRL code",
        ),
        Reward(
            "step_execution",
            {"executed": executed},
            source="THOR, arXiv:2509.13761, equations 6 to 9: one step, paid for execution alone",
        ),
    )
}


def presets() -> tuple[str, ...]:
    """Names that `reward` knows, in alphabetical order."""
    return tuple(sorted(PRESETS))


def register(scheme: Reward) -> Reward:
    """Make a reward known by its name, for configs and command lines.

    Raises:
        ValueError: The name is taken by another reward.
    """
    if PRESETS.setdefault(scheme.name, scheme) is not scheme:
        raise ValueError(f"a reward named {scheme.name!r} is already registered; use another name")
    return scheme


def reward(spec: str | Reward) -> Reward:
    """The reward of this name; a `Reward` is returned as it is.

    Raises:
        ValueError: No reward has this name.
    """
    if isinstance(spec, Reward):
        return spec
    try:
        return PRESETS[spec]
    except KeyError:
        raise ValueError(
            f"unknown reward {spec!r}; expected one of {', '.join(presets())}, "
            f"or a rewards.Reward built from terms.{did_you_mean(spec, presets())}"
        ) from None


def sources() -> Mapping[str, str]:
    """Where each known scheme was published."""
    return {name: scheme.source for name, scheme in PRESETS.items()}
