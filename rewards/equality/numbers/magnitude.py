"""Tell numbers apart that are too large to write down, by their logarithms."""

import math

from rewards.equality.values.expressions import Apply, Constant, Expression, Number

_TOLERANCE = 1e-9


def surely_differ(ours: Expression, theirs: Expression) -> bool:
    """Whether two positive numbers differ so much that their logarithms, in doubles, show it.

    >>> from fractions import Fraction
    >>> two, big = Number(Fraction(2)), Number(Fraction(10**9))
    >>> surely_differ(Apply("pow", (two, big)), two)
    True
    """
    a, b = logarithm(ours), logarithm(theirs)
    if a is None or b is None or a == b:
        return False
    if math.isinf(a) or math.isinf(b):
        return True
    return abs(a - b) > max(1.0, _TOLERANCE * max(abs(a), abs(b)))


def logarithm(node: Expression) -> float | None:
    """The natural logarithm of a positive number; infinite where a double cannot hold it."""
    if isinstance(node, Number):
        if node.value <= 0:
            return None
        return math.log(node.value.numerator) - math.log(node.value.denominator)
    if isinstance(node, Constant):
        return {"pi": math.log(math.pi), "e": 1.0}.get(node.name)
    if not isinstance(node, Apply):
        return None
    parts = [logarithm(part) for part in node.arguments]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if node.operation == "mul":
        return _finite_sum(known)
    if node.operation == "inv":
        return -known[0]
    if node.operation == "pow":
        return _multiple(known[0], known[1])
    if node.operation == "factorial":
        return _log_factorial(known[0])
    return None


def _finite_sum(values: list[float]) -> float | None:
    total = sum(values)
    return None if math.isnan(total) else total


def _multiple(base: float, exponent: float) -> float | None:
    """Logarithm of a power, of which both logarithms are given."""
    if base == 0:
        return 0.0
    size = math.exp(exponent) if exponent < 700 else math.inf
    return base * size if size or math.isfinite(base) else None


def _log_factorial(value: float) -> float:
    if value > 300:
        return math.inf
    return math.lgamma(math.exp(value) + 1)
