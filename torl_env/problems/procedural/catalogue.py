"""All procedural families and the names that select among them."""

import re

from rewards.suggestion import did_you_mean
from torl_env.errors import ProblemError
from torl_env.problems.procedural import (
    algebra,
    arithmetic,
    calculus,
    counting,
    geometry,
    integer_counts,
    linear_algebra,
    number_theory,
    probability,
    structures,
)
from torl_env.problems.procedural.family import LEVELS, Family, Group, Split

_MODULES = (
    arithmetic,
    number_theory,
    integer_counts,
    counting,
    structures,
    algebra,
    geometry,
    probability,
    calculus,
    linear_algebra,
)

FAMILIES: dict[str, Family] = {
    item.name: item
    for module in _MODULES
    for item in vars(module).values()
    if isinstance(item, Family)
}
"""Every family by name, in the order in which the modules define them, which sources rely on."""

_LEVELS = re.compile(r"L([1-5])(?:-L?([1-5]))?")


def family(name: str) -> Family:
    """The family of this name.

    Raises:
        ProblemError: there is none.
    """
    try:
        return FAMILIES[name]
    except KeyError:
        raise unknown(name) from None


def names() -> dict[str, tuple[str, ...]]:
    """Every name that selects families (groups, subjects, families) with what it selects."""
    selected: dict[str, list[str]] = {}
    for item in FAMILIES.values():
        for key in (item.group.value, item.subject.replace(" ", "_"), item.name):
            selected.setdefault(key, []).append(item.name)
    return {key: tuple(value) for key, value in selected.items()}


def select(text: str, split: Split) -> tuple[tuple[Family, ...], tuple[int, ...]]:
    """What the text after `procedural:` selects: families and levels.

    Grammar: `[NAME[,NAME...]][:LEVELS]` where a NAME is a group, a subject or a family and LEVELS
    is `L3` or `L1-3`; without a NAME all families that have the split, without LEVELS all five.

    Raises:
        ProblemError: an unknown name, levels outside 1 to 5, or a train split of a family that is
            never trained on.
    """
    chosen: list[str] = []
    levels: tuple[int, ...] = LEVELS
    for part in filter(None, text.split(":")):
        match = _LEVELS.fullmatch(part)
        if match:
            low, high = int(match[1]), int(match[2] or match[1])
            levels = tuple(range(low, high + 1))
        else:
            chosen += [word.strip() for word in part.split(",")]
    if not levels:
        raise ProblemError(f"procedural:{text}: expected levels low to high, for example L1-3.")
    known = names()
    for word in chosen:
        if word not in known:
            raise unknown(word)
    wanted = {name for word in chosen for name in known[word]} if chosen else set(FAMILIES)
    families = [item for item in FAMILIES.values() if item.name in wanted]
    if not chosen:
        families = [item for item in families if item.group is not Group.TRANSFER]
    _refuse_training(families, split)
    return tuple(families), levels


def _refuse_training(families: list[Family], split: Split) -> None:
    kept_out = [item.name for item in families if item.group is Group.TRANSFER]
    if kept_out and split is Split.TRAIN:
        raise ProblemError(
            f"{', '.join(kept_out)}: expected a family with a train split, but the group "
            f"`transfer` is held out as a whole. Load it with split='heldout', or train on "
            f"`procedural:contest`."
        )


def unknown(word: str) -> ProblemError:
    """The error for a word that selects nothing, with the nearest words that do."""
    known = [*names(), "L1", "L1-3"]
    return ProblemError(
        f"procedural: {word!r} is no group, subject, family or level."
        f"{did_you_mean(word, known)} Groups: "
        f"{', '.join(group.value for group in Group)}; levels: L1 to L5 or L1-3; families: see "
        f"`torl data list`."
    )
