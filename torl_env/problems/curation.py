"""Which problems of a set cannot be trained on: repeated, contradictory, or not verifiable."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from rewards import Reference, ReferenceError, Verdict, grade_answer
from torl_env.problems.normalise import question_key
from torl_env.problems.types import Problem


class Fault(StrEnum):
    """Why a problem is left out of a training set."""

    UNGRADABLE = "ungradable"
    """The grader cannot read the reference answer, or not all of it."""
    PROOF = "proof"
    """It asks for a proof, which no final answer verifies."""
    CHOICE = "choice"
    """The answer is a letter, which one guess in five finds."""
    YES_NO = "yes/no"
    """The answer is yes or no, true or false, which one guess in two finds."""
    PROSE = "prose"
    """The answer is a text, which has many right wordings."""
    LONG = "long"
    """The answer is longer than 120 characters."""
    DUPLICATE = "duplicate"
    """The same question occurs earlier, with the same answer."""
    CONFLICT = "conflict"
    """The same question occurs with another answer; no copy is kept."""


@dataclass(frozen=True, slots=True)
class FaultyProblem:
    """One faulty problem."""

    problem: Problem
    fault: Fault
    detail: str = ""


_PROOF = re.compile(r"\b(prove|show) that\b", re.IGNORECASE)
_ASKS = re.compile(
    r"\b(find|what|how many|determine|compute|calculate|evaluate)\b|\?", re.IGNORECASE
)
_CHOICE = re.compile(r"\(?\s*[A-E]\s*\)?")
_YES_NO = re.compile(r"(yes|no|true|false)\b.{0,3}", re.IGNORECASE)
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_TEXT = re.compile(r"\\(?:text|textbf|mbox|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}")
_WORD = re.compile(r"[a-zA-Z]{3,}")
_LONGEST = 120
_MOST_WORDS = 2
"""Words that an answer may hold: a unit, a name of a function, `or`."""


def unverifiable(problem: Problem) -> FaultyProblem | None:
    r"""Why no final answer of this problem can be verified reliably, `None` where it can.

    Example:
        >>> unverifiable(Problem("1", "Find x.", "\\frac{1}{2}")) is None
        True
        >>> unverifiable(Problem("2", "Is 7 prime?", "Yes")).fault.value
        'yes/no'
    """
    answer = problem.answer.strip()
    bare = _TEXT.sub(r"\1", answer).strip(" .$")
    words = _WORD.findall(_COMMAND.sub(" ", bare))
    if answer.lower() == "proof" or (
        _PROOF.search(problem.question) and not _ASKS.search(problem.question)
    ):
        return FaultyProblem(problem, Fault.PROOF)
    if _CHOICE.fullmatch(bare):
        return FaultyProblem(problem, Fault.CHOICE, answer)
    if _YES_NO.fullmatch(bare):
        return FaultyProblem(problem, Fault.YES_NO, answer)
    if len(answer) > _LONGEST:
        return FaultyProblem(problem, Fault.LONG, f"{len(answer)} characters")
    if len(words) > _MOST_WORDS:
        return FaultyProblem(problem, Fault.PROSE, answer)
    try:
        reference = Reference.compile(problem.answer)
    except ReferenceError as error:
        return FaultyProblem(problem, Fault.UNGRADABLE, str(error))
    if not reference.readable:
        return FaultyProblem(problem, Fault.UNGRADABLE, f"only the same spelling matches: {answer}")
    return None


def repeated(problems: Iterable[Problem]) -> Iterator[FaultyProblem]:
    """Every problem that repeats another, in order.

    Of copies that agree the first is kept and the others are reported; of copies that disagree
    all are.
    """
    groups: dict[str, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(question_key(problem.question), []).append(problem)
    found = []
    for group in groups.values():
        if len(group) > 1:
            first, *others = group
            differing = next((o for o in others if not _same(first.answer, o.answer)), None)
            if differing is None:
                found += [FaultyProblem(p, Fault.DUPLICATE, f"as {first.id}") for p in others]
            else:
                detail = f"{first.answer} ({first.id}) against {differing.answer} ({differing.id})"
                found += [FaultyProblem(p, Fault.CONFLICT, detail) for p in group]
    yield from found


def faults(problems: Iterable[Problem]) -> list[FaultyProblem]:
    """Every fault of a set, at most one a problem; unverifiable problems come first."""
    kept, found = [], []
    for problem in problems:
        one = unverifiable(problem)
        if one:
            found.append(one)
        else:
            kept.append(problem)
    return [*found, *repeated(kept)]


def counts(faulty: Iterable[FaultyProblem]) -> dict[Fault, int]:
    """How many problems have each fault, in the order of `Fault`; faults that occur only."""
    numbers = Counter(one.fault for one in faulty)
    return {fault: numbers[fault] for fault in Fault if numbers[fault]}


def _same(answer: str, other: str) -> bool:
    if answer.strip() == other.strip():
        return True
    return grade_answer(answer, other).verdict is Verdict.CORRECT
