r"""Sums and products with dots: `1+2+\cdots+n`, `a_k+a_{k-1}+\ldots+a_0`, `(v-a_1)\cdots(v-a_n)`.

What the dots leave out follows from the terms that are written: the last one as a function of its
index, an arithmetic progression, or (from three terms on) a geometric one.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from rewards.equality import limits
from rewards.equality.numbers.canonical import NoFormError, canonical
from rewards.equality.numbers.exact import exact
from rewards.equality.values.expressions import (
    Apply,
    Expression,
    Number,
    Symbol,
    replaced,
    symbols,
)
from rewards.errors import UnreadableError

_COUNTER = Symbol("dots")


def series(operation: str, terms: Sequence[Expression], last: Expression) -> Expression:
    """The sum or product that its first terms, dots and its last term stand for.

    Raises:
        UnreadableError: What the dots leave out does not follow from the terms.
    """
    for start in range(len(terms)):  # in v (1 - a_1/v) ... (1 - a_n/v), the v stands before
        found = _indexed(operation, terms[start:], last)
        if found is not None:
            joined = "add" if operation == "sum" else "mul"
            return Apply(joined, (*terms[:start], found)) if start else found
    found = _by_last(operation, terms, last) or _progression(operation, terms, last)
    if found is None:
        raise UnreadableError("syntax", "dots that may stand for anything")
    return found


def _over(operation: str, low: Expression, high: Expression, body: Expression) -> Expression:
    return Apply(operation, (_COUNTER, low, high, body))


def _indexed(operation: str, terms: Sequence[Expression], last: Expression) -> Expression | None:
    """`a_1 + a_2 + ... + a_n`, in either direction: the first and last term differ in an index."""
    for name in sorted(symbols(last) - symbols(terms[0])):
        base, mark, end = name.partition("_")
        for other in sorted(symbols(terms[0]) - symbols(last)):
            start = other.removeprefix(base + "_")
            if not mark or start == other or not _is_index(start) or not _is_index(end):
                continue
            called = Apply("call", (Symbol(base), _COUNTER))
            body = replaced(last, {Symbol(name): called})
            if replaced(terms[0], {Symbol(other): called}) == body:
                low, high = (start, end) if start.isdigit() else (end, start)
                return _over(operation, _index(low), _index(high), body)
    return None


def _is_index(text: str) -> bool:
    return text.isdigit() or len(text) == 1


def _index(text: str) -> Expression:
    return Number(Fraction(int(text))) if text.isdigit() else Symbol(text)


def _by_last(operation: str, terms: Sequence[Expression], last: Expression) -> Expression | None:
    """`1^2 + 2^2 + ... + n^2`: the last term at 1, 2, ... (or 0, 1, ...) gives the first ones."""
    known = frozenset[str]().union(*map(symbols, terms))
    names = symbols(last) - known
    if len(terms) < 2 or len(names) != 1:
        return None
    name = Symbol(*names)
    for start in (1, 0, 2):
        at = [replaced(last, {name: Number(Fraction(start + i))}) for i in range(len(terms))]
        if all(_alike(term, value) for term, value in zip(terms, at, strict=True)):
            body = replaced(last, {name: _COUNTER})
            return _over(operation, Number(Fraction(start)), name, body)
    return None


def _alike(ours: Expression, theirs: Expression) -> bool:
    try:
        return canonical(ours) == canonical(theirs)
    except (NoFormError, UnreadableError):
        return False


def _progression(
    operation: str, terms: Sequence[Expression], last: Expression
) -> Expression | None:
    """`1 + 2 + ... + 20`, `2 + 4 + 8 + ... + 1024`: numbers with one step or one ratio."""
    values = [None if symbols(term) else exact(term) for term in (*terms, last)]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values) or len(numbers) < 3:
        return None
    step, end = numbers[1] - numbers[0], numbers[-1]
    steps = [b - a for a, b in pairwise(numbers[:-1])]
    count = (end - numbers[0]) / step if step else Fraction(-1)
    first = Number(numbers[0])
    if len({*steps}) == 1 and count.denominator == 1 and 0 <= count < limits.SUMMANDS:
        body = Apply("add", (first, Apply("mul", (Number(step), _COUNTER))))
        return _over(operation, Number(Fraction(0)), Number(count), body)
    if len(numbers) < 4 or not numbers[0] or not numbers[1]:
        return None
    ratio, power = numbers[1] / numbers[0], Fraction(0)
    if any(b != a * ratio for a, b in pairwise(numbers[:-1])):
        return None
    value = numbers[0]
    while value != end:
        value, power = value * ratio, power + 1
        if power > limits.SUMMANDS:
            return None
    body = Apply("mul", (first, Apply("pow", (Number(ratio), _COUNTER))))
    return _over(operation, Number(Fraction(0)), Number(power), body)
