"""Grade answers: extraction, then equality, then a verdict with its reason."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from rewards.errors import ReferenceError
from rewards.extraction import Extraction, extract
from rewards.policy import DEFAULT, Policy
from rewards.types import Grade, Verdict


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference answer, read once."""

    text: str
    policy: Policy = field(default=DEFAULT)

    @staticmethod
    def compile(text: str, policy: Policy = DEFAULT) -> "Reference":
        """Read a reference; the result is cached.

        Raises:
            ReferenceError: Nothing can be graded against this text.
        """
        return _compile(text, policy)


@lru_cache(maxsize=65_536)
def _compile(text: str, policy: Policy) -> Reference:
    if not text.strip():
        raise ReferenceError("the reference answer is empty: drop the problem")
    return Reference(text, policy)


def grade(response: str, reference: str | Reference, policy: Policy = DEFAULT) -> Grade:
    """Grade a response: find its final answer and compare it with the reference."""
    found = extract(response)
    if found.answer is None:
        return Grade(Verdict.NO_ANSWER, None, found.problem)
    return _grade_found(found, reference, policy)


def _grade_found(found: Extraction, reference: str | Reference, policy: Policy) -> Grade:
    assert found.answer is not None
    return grade_answer(found.answer, reference, policy)


def grade_answer(answer: str, reference: str | Reference, policy: Policy = DEFAULT) -> Grade:
    """Grade an answer that is already extracted."""
    try:
        if isinstance(reference, str):
            reference = Reference.compile(reference, policy)
    except ReferenceError as error:
        return Grade(Verdict.UNGRADABLE, answer, "reference_unreadable", str(error))
    if not answer.strip():
        return Grade(Verdict.NO_ANSWER, answer, "empty")
    ours, theirs = _plain(reference.text), _plain(answer)
    if ours == theirs:
        return Grade(Verdict.CORRECT, answer, "identical")
    try:
        equal = Fraction(ours) == Fraction(theirs)
    except (ValueError, ZeroDivisionError):
        return Grade(Verdict.WRONG, answer, "text_differs")
    return Grade(Verdict.CORRECT if equal else Verdict.WRONG, answer, "value_exact")


def grade_batch(pairs: Sequence[tuple[str, str | Reference]]) -> list[Grade]:
    """Grade many (response, reference) pairs; verdicts come in the order of the pairs."""
    return [grade(response, reference) for response, reference in pairs]


def _plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).replace("$", "").split())
