"""Terms of a reward: small functions of one attempt, and the weighted sum of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rewards.types import Attempt, Scored, Verdict

Term = Callable[[Attempt], float]
"""Looks at one finished attempt and says a number; pure, so that equal attempts score alike."""


def correct(attempt: Attempt) -> float:
    """1 for a correct answer, else 0."""
    return 1.0 if attempt.verdict is Verdict.CORRECT else 0.0


def correct_or_not(attempt: Attempt) -> float:
    """+1 for a correct answer, -1 for a wrong one or none."""
    return 1.0 if attempt.verdict is Verdict.CORRECT else -1.0


def correct_boxed_or_not(attempt: Attempt) -> float:
    """+1 for a correct answer, -0.5 for a boxed wrong one, -1 where no box was closed."""
    if attempt.verdict is Verdict.CORRECT:
        return 1.0
    return -0.5 if attempt.boxed else -1.0


def failed_call(attempt: Attempt) -> float:
    """1 if at least one call failed through the model's fault, once and not per call; else 0.

    An attempt without code has no failed call, and neither has one whose sandbox broke.
    """
    return 1.0 if attempt.tool_errors > 0 else 0.0


def executed(attempt: Attempt) -> float:
    """1 if code ran and every call succeeded, else 0; without code there is nothing to reward."""
    return 1.0 if attempt.tool_calls > 0 and attempt.tool_errors == 0 else 0.0


def finished(attempt: Attempt) -> float:
    """1 if the attempt ended by itself, 0 if a turn or token limit cut it."""
    return 0.0 if attempt.truncated else 1.0


def overlong(limit: int, cache: int) -> Term:
    """Soft overlong punishment (DAPO, arXiv 2503.14476, eq. 13), as a term.

    Args:
        limit: Length at which it is -1, in the environment's unit. In training ids count:
            `agents.core.credit.Overlong` has them.
        cache: The stretch below `limit` over which it falls from 0.

    Example:
        >>> from rewards.types import Attempt, Verdict
        >>> term = overlong(limit=100, cache=40)
        >>> [term(Attempt(Verdict.WRONG, length=n)) for n in (60, 70, 100, 500)]
        [0.0, -0.25, -1.0, -1.0]
    """
    if not 0 < cache <= limit:
        raise ValueError(f"overlong: cache must be in 1 to limit={limit}, got {cache}")
    return lambda attempt: 0.0 - min(1.0, max(0, attempt.length - limit + cache) / cache)


@dataclass(frozen=True)
class Reward:
    """A weighted sum of named terms.

    >>> from rewards.types import Attempt, Verdict
    >>> terms = {"correct": correct, "failed_call": failed_call}
    >>> mine = Reward("mine", terms, {"failed_call": -0.1})
    >>> mine.score(Attempt(Verdict.CORRECT, tool_calls=3, tool_errors=1))
    Scored(total=0.9, terms={'correct': 1.0, 'failed_call': -0.1})
    """

    name: str
    terms: Mapping[str, Term]
    weights: Mapping[str, float] = field(default_factory=dict)
    """By name of the term; a term that is not named here weighs 1."""
    source: str = ""
    """Where the scheme was published."""

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError(f"reward {self.name!r} has no terms: give at least one")
        unknown = sorted(set(self.weights) - set(self.terms))
        if unknown:
            raise ValueError(
                f"reward {self.name!r} weighs {unknown}, which are none of its terms "
                f"{sorted(self.terms)}"
            )
        object.__setattr__(self, "terms", MappingProxyType(dict(self.terms)))
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))

    def __reduce__(self) -> tuple[type["Reward"], tuple[object, ...]]:
        return type(self), (self.name, dict(self.terms), dict(self.weights), self.source)

    def score(self, attempt: Attempt) -> Scored:
        """The reward of one finished attempt.

        Raises:
            ValueError: The attempt is `UNGRADABLE`: there is no true number to give it. Drop it, as
                one drops an attempt whose sandbox broke.
            UndecidedError: A term could not decide: there is no true number either.
        """
        if attempt.verdict is Verdict.UNGRADABLE:
            raise ValueError(
                f"reward {self.name!r} was asked to score an UNGRADABLE attempt: the grader could "
                "not decide, so no reward is true; leave the attempt out of the batch"
            )
        terms = {
            name: self.weights.get(name, 1.0) * term(attempt) for name, term in self.terms.items()
        }
        return Scored(sum(terms.values()), terms)
