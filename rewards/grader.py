r"""Grade answers: extraction, then equality, then a verdict with its reason.

Every function here is safe to call from any thread, from asyncio and from forked workers. Nothing
of an answer is ever evaluated as code, and no signal or timer is set: work is bounded, not timed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from rewards.errors import LimitHitError, ReferenceError, UnreadableError, WorkerError
from rewards.extraction import Extraction, extract
from rewards.grading_options import DEFAULT, TRAINING, Boxes, GradingOptions
from rewards.types import Grade, Verdict

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from rewards.equality import Comparison, Parsed

# `\frac{3}{4}`, `\dfrac{12}{5}`, `-3/4`, `17`
_RATIONAL = re.compile(
    r"(-?)(?:\\[dt]?frac\{(\d{1,40})\}\{(\d{1,40})\}|(\d{1,40})(?:/(\d{1,40}))?)"
)
_CACHED_REFERENCES = 8_192
_CACHED_VERDICTS = 16_384
_CACHED_LENGTH = 256
"""Longer answers are not remembered: they rarely come twice, and would fill the memory."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference answer, read once and compared often."""

    text: str
    options: GradingOptions
    parsed: Parsed = field(compare=False, repr=False)

    @staticmethod
    def compile(text: str, options: GradingOptions = DEFAULT) -> Reference:
        r"""Read a reference; the result is cached.

        Args:
            text: The answer as the data set has it, LaTeX or plain.
            options: How to judge where sources disagree.

        Raises:
            ReferenceError: Nothing can be graded against this text. Call this when a data set is
                loaded, so that it fails there and not in the middle of training.

        >>> Reference.compile(r"\frac{1}{2}").kind
        'quantity'
        >>> Reference.compile("")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        rewards.errors.ReferenceError: the reference answer '' cannot be read: ...
        """
        reference = _compile(text, options)
        reference.check()
        return reference

    def check(self) -> None:
        """Read all of it. Raises `ReferenceError`."""
        try:
            _ = self.parsed.value
        except (UnreadableError, LimitHitError) as error:
            raise _unreadable(self.text, error) from None

    @property
    def readable(self) -> bool:
        """Whether our grammar reads all of it; else only an identical spelling can be CORRECT."""
        from rewards.equality import is_readable

        return is_readable(self.parsed.value)

    @property
    def kind(self) -> str:
        """`quantity`, `group`, `row`, `chain`, `text`, ...: what sort of value it is."""
        return type(self.parsed.value).__name__.lower()

    def __reduce__(self) -> tuple[object, ...]:
        return Reference.compile, (self.text, self.options)


@lru_cache(maxsize=_CACHED_REFERENCES)
def _compile(text: str, options: GradingOptions) -> Reference:
    from rewards.equality import read

    try:
        return Reference(text, options, read(text, options))
    except (UnreadableError, LimitHitError) as error:
        raise _unreadable(text, error) from None


def _unreadable(text: str, error: Exception) -> ReferenceError:
    quoted = text if len(text) <= 80 else text[:77] + "..."
    return ReferenceError(
        f"the reference answer {quoted!r} cannot be read: {error}; "
        "drop the problem or mend its answer"
    )


def grade(response: str, reference: str | Reference, options: GradingOptions = DEFAULT) -> Grade:
    r"""Grade a response: find its final answer and compare it with the reference.

    Args:
        response: The model's own turns; fenced code and output in it is not looked at.
        reference: The right answer. A compiled one brings its own options.
        options: How to judge where sources disagree.

    >>> grade(r"... so it is $\boxed{\dfrac{2}{4}}$.", "0.5").answer
    '\\dfrac{2}{4}'
    >>> grade("I do not know", "0.5").rule
    'no_box'
    """
    found = extract(response)
    if found.answer is None:
        return Grade(Verdict.NO_ANSWER, None, found.problem, boxed=False)
    if isinstance(reference, Reference):
        options = reference.options
    if found.others and options.boxes is Boxes.PARAGRAPH:
        said = _grade_several(found, found.answer, reference, options)
    else:
        said = grade_answer(found.answer, reference, options)
    return replace(said, boxed=found.boxed)


def grade_training(response: str, reference: str) -> Grade:
    r"""`grade` as a reward should: a plain number must be worked out (`rewards.TRAINING`).

    >>> grade_training(r"\boxed{\sum_{k=1}^{10} k}", "55").rule
    'not_worked_out'
    """
    return grade(response, reference, TRAINING)


async def grade_async(
    response: str, reference: str | Reference, options: GradingOptions = DEFAULT
) -> Grade:
    """`grade` for asyncio: the event loop goes on, and no easy answer waits for a hard one.

    Our own rules run in a thread. What they leave open waits for computer algebra in threads of
    its own, as many as there are workers, so that hard answers queue among themselves alone.
    """
    if isinstance(reference, Reference):
        options = reference.options
        reference = reference.text
    # Needed where an event loop runs, and so imported there already.
    import asyncio

    quickly = replace(options, sympy_fallback=False)
    found = await asyncio.to_thread(grade, response, reference, quickly)
    if not options.sympy_fallback or found.rule not in ("undecided", "multiple_candidates"):
        return found
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_hard_answers(), grade, response, reference, options)


@lru_cache(maxsize=1)
def _hard_answers() -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    from rewards.workers.sympy_fallback import WORKERS

    return ThreadPoolExecutor(WORKERS, "grading")


os.register_at_fork(after_in_child=_hard_answers.cache_clear)  # a fork has none of the threads


def _grade_several(
    found: Extraction, answer: str, reference: str | Reference, options: GradingOptions
) -> Grade:
    """Several boxes side by side: the members of a list, the same answer again, or a hedge."""
    together = grade_answer(", ".join((*found.others, answer)), reference, options)
    if together.verdict is Verdict.CORRECT:
        return together
    every = (answer, *found.others)
    said = [grade_answer(one, reference, options) for one in every]
    # 1/3, about 0.33: the exact one answers, as it does in one box. All must agree with it, for
    # 1/3 and 33/100 both agree with 0.33.
    chosen = next((i for i, one in enumerate(said) if one.verdict is Verdict.CORRECT), 0)
    if all(_agree(every[chosen], other, options) for other in every):
        return said[chosen]
    if together.verdict is Verdict.UNGRADABLE:
        return together
    return Grade(
        Verdict.WRONG,
        answer,
        "multiple_candidates",
        f"{len(found.others) + 1} boxes in one paragraph that disagree",
    )


def _agree(one: str, other: str, options: GradingOptions) -> bool:
    """Whether either box would answer the other."""
    pairs = ((one, other), (other, one))
    return any(grade_answer(*pair, options).verdict is Verdict.CORRECT for pair in pairs)


def grade_answer(
    answer: str, reference: str | Reference, options: GradingOptions = DEFAULT
) -> Grade:
    r"""Grade an answer that is already extracted.

    >>> grade_answer("x = 5", "5").verdict
    <Verdict.CORRECT: 'correct'>
    >>> grade_answer("41 = 42", "42").rule
    'inconsistent_chain'
    """
    if isinstance(reference, Reference):
        options, text = reference.options, reference.text
    else:
        text = reference
    quick = _quick(answer, text)
    if quick is not None:
        return quick
    decide = _graded if len(answer) <= _CACHED_LENGTH else _decide
    # Raised and not returned, so that the cache does not keep what the machine did once.
    try:
        return decide(answer, text, options)
    except WorkerError as error:
        return Grade(Verdict.UNGRADABLE, answer, "worker_killed", str(error))


def _quick(answer: str, reference: str) -> Grade | None:
    r"""Identical strings, integers and plain fractions: most answers of most data sets.

    >>> _quick(r"\frac{2}{4}", "1/2").rule, _quick("-3", r"\dfrac{6}{-2}")
    ('rational', None)
    """
    if answer == reference:
        if answer and not answer.isspace():
            return Grade(Verdict.CORRECT, answer, "identical")
    elif answer.isascii() and reference.isascii():
        ours, theirs = reference.removeprefix("-"), answer.removeprefix("-")
        if ours.isdigit() and theirs.isdigit():
            same = ours.lstrip("0") == theirs.lstrip("0") and (
                len(ours) - len(theirs) == len(reference) - len(answer) or not ours.strip("0")
            )
            return Grade(Verdict.CORRECT if same else Verdict.WRONG, answer, "integer")
        return _quick_rationals(answer, reference)
    return None


def _quick_rationals(answer: str, reference: str) -> Grade | None:
    ours, theirs = _RATIONAL.fullmatch(reference), _RATIONAL.fullmatch(answer)
    if ours is None or theirs is None:
        return None
    top, bottom = _top_and_bottom(ours)
    other_top, other_bottom = _top_and_bottom(theirs)
    if not bottom or not other_bottom:  # what a division by zero is called, the grammar says
        return None
    same = top * other_bottom == other_top * bottom
    return Grade(Verdict.CORRECT if same else Verdict.WRONG, answer, "rational")


def _top_and_bottom(found: re.Match[str]) -> tuple[int, int]:
    sign, top, bottom, plain_top, plain_bottom = found.groups()
    if top is None:
        top, bottom = plain_top, plain_bottom or "1"
    return int(sign + top), int(bottom)


def _decide(answer: str, text: str, options: GradingOptions) -> Grade:
    from rewards.equality import (
        compare,
        compare_spelling,
        copies,
        is_plain_number,
        leaves_work,
        read,
    )

    try:
        reference = _compile(text, options)
        if not answer.strip():
            reference.check()
            return Grade(Verdict.NO_ANSWER, answer, "empty")
        parsed = read(answer, options)
        alike = compare_spelling(reference.parsed, parsed)
        if alike is not None:  # the same tokens, which need no reading
            return Grade(Verdict.CORRECT, answer, alike.rule)
        reference.check()
    except ReferenceError as error:
        return Grade(Verdict.UNGRADABLE, answer, "reference_unreadable", str(error))
    except (UnreadableError, LimitHitError) as error:
        return _refused(answer, reference, error)
    try:
        written = options.closed_form and is_plain_number(reference.parsed)
        if written and copies(parsed):
            return Grade(Verdict.WRONG, answer, "not_worked_out", "it copies the question")
        found = compare(reference.parsed, parsed, options)
    except (UnreadableError, LimitHitError) as error:
        return _refused(answer, reference, error)
    if not found.decided and options.sympy_fallback:
        found = _ask_sympy(reference, answer, options, found)
    # an exact value may answer a rounded reference: there it is the better number
    if written and found.equal and found.rule != "value_decimal" and leaves_work(parsed.value):
        return Grade(Verdict.WRONG, answer, "not_worked_out", "a written number is asked for")
    return _verdict(answer, found, reference)


def _refused(answer: str, reference: Reference, error: UnreadableError | LimitHitError) -> Grade:
    """What cannot be read: the reference's fault if it is at fault, else the answer's."""
    try:
        reference.check()
    except ReferenceError as unreadable:
        return Grade(Verdict.UNGRADABLE, answer, "reference_unreadable", str(unreadable))
    return Grade(Verdict.WRONG, answer, error.code, str(error))


def _ask_sympy(
    reference: Reference, answer: str, options: GradingOptions, found: Comparison
) -> Comparison:
    """Two single quantities that our rules left open, put to sympy."""
    from rewards.equality import needs_calculus, read, sole_expression
    from rewards.equality.comparison import different, equal
    from rewards.workers import sympy_fallback

    ours = sole_expression(reference.parsed.value, options)
    theirs = sole_expression(read(answer, options).value, options)
    if ours is None or theirs is None:
        return found
    if not (needs_calculus(ours) or needs_calculus(theirs)):
        return found
    same = sympy_fallback.ask(ours, theirs)
    if same is None:
        return found
    return equal("sympy_fallback") if same else different("sympy_fallback", "by computer algebra")


def _verdict(answer: str, found: Comparison, reference: Reference) -> Grade:
    """What cannot be decided is WRONG; an unreadable reference is no answer's fault."""
    if found.equal:
        return Grade(Verdict.CORRECT, answer, found.rule, found.detail)
    if found.decided:
        return Grade(Verdict.WRONG, answer, found.rule, found.detail)
    if not reference.readable:
        return Grade(Verdict.UNGRADABLE, answer, found.rule, found.detail)
    return Grade(Verdict.WRONG, answer, "undecided", f"{found.rule}: {found.detail}".rstrip(": "))


_graded = lru_cache(maxsize=_CACHED_VERDICTS)(_decide)


def forget() -> None:
    """Empty the caches of references and verdicts, as a benchmark wants it."""
    _compile.cache_clear()
    _graded.cache_clear()
