"""What a comparison found: equal, different or undecided, by which rule, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Three-valued: what is not decided must not look like a difference."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of one comparison."""

    outcome: Outcome
    rule: str
    detail: str = ""

    @property
    def decided(self) -> bool:
        """Whether a rule could tell."""
        return self.outcome is not Outcome.UNDECIDED

    @property
    def equal(self) -> bool:
        """Whether the answers are equal."""
        return self.outcome is Outcome.EQUAL


def equal(rule: str) -> Comparison:
    """The two are equal by this rule."""
    return Comparison(Outcome.EQUAL, rule)


def different(rule: str, detail: str = "") -> Comparison:
    """The two differ by this rule."""
    return Comparison(Outcome.DIFFERENT, rule, detail)


def undecided(rule: str, detail: str = "") -> Comparison:
    """This rule cannot tell."""
    return Comparison(Outcome.UNDECIDED, rule, detail)


def any_of(results: Iterable[Comparison], otherwise: Comparison) -> Comparison:
    """The first that is equal; else one that is undecided; else `otherwise`."""
    return _first(results, Outcome.EQUAL) or otherwise


def all_of(results: Iterable[Comparison], rule: str) -> Comparison:
    """Equal if all are; different as soon as one is."""
    return _first(results, Outcome.DIFFERENT) or equal(rule)


def _first(results: Iterable[Comparison], decisive: Outcome) -> Comparison | None:
    """The first with the outcome that settles the matter, else one that leaves it open."""
    undecided = None
    for result in results:
        if result.outcome is decisive:
            return result
        if result.outcome is Outcome.UNDECIDED:
            undecided = result
    return undecided
