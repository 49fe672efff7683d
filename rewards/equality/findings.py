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
class Finding:
    """The outcome of one comparison."""

    outcome: Outcome
    rule: str
    detail: str = ""

    @property
    def equal(self) -> bool:
        """Whether the answers are equal."""
        return self.outcome is Outcome.EQUAL


def equal(rule: str) -> Finding:
    """The two are equal by this rule."""
    return Finding(Outcome.EQUAL, rule)


def different(rule: str, detail: str = "") -> Finding:
    """The two differ by this rule."""
    return Finding(Outcome.DIFFERENT, rule, detail)


def undecided(rule: str, detail: str = "") -> Finding:
    """This rule cannot tell."""
    return Finding(Outcome.UNDECIDED, rule, detail)


def any_of(findings: Iterable[Finding], otherwise: Finding) -> Finding:
    """The first that is equal; else one that is undecided; else `otherwise`."""
    doubt = None
    for finding in findings:
        if finding.outcome is Outcome.EQUAL:
            return finding
        if finding.outcome is Outcome.UNDECIDED:
            doubt = finding
    return doubt or otherwise


def all_of(findings: Iterable[Finding], rule: str) -> Finding:
    """Equal if all are; different as soon as one is."""
    doubt = None
    for finding in findings:
        if finding.outcome is Outcome.DIFFERENT:
            return finding
        if finding.outcome is Outcome.UNDECIDED:
            doubt = finding
    return doubt or equal(rule)
