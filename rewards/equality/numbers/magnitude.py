"""Tell numbers apart that are too large to write down, by their logarithms."""

import math
from fractions import Fraction

from rewards.equality.numbers.exact import exact
from rewards.equality.values.expressions import Apply, Constant, Expression, Number
from rewards.errors import LimitHitError, UnreadableError

_TOLERANCE = 1e-9
_MAX_FACTORED = 10**8


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


def prime_powers(node: Expression) -> dict[int, Fraction] | None:
    """Exponents by prime of a product of powers, `None` for anything else: 2^1000000, 4^500000."""
    if isinstance(node, Number):
        if node.value <= 0 or max(node.value.numerator, node.value.denominator) > _MAX_FACTORED:
            return None
        return _factors(node.value)
    if not isinstance(node, Apply) or node.operation not in ("mul", "inv", "pow"):
        return None
    parts = [
        prime_powers(part) for part in node.arguments[: 1 if node.operation == "pow" else None]
    ]
    scale = Fraction(-1 if node.operation == "inv" else 1)
    if node.operation == "pow":
        try:
            exponent = exact(node.arguments[1])  # 2^{10^6}
        except (UnreadableError, LimitHitError):
            return None
        if exponent is None:
            return None
        scale = exponent
    total: dict[int, Fraction] = {}
    for part in parts:
        if part is None:
            return None
        for prime, power in part.items():
            total[prime] = total.get(prime, Fraction(0)) + power * scale
    return {prime: power for prime, power in total.items() if power}


def _factors(value: Fraction) -> dict[int, Fraction]:
    out: dict[int, Fraction] = {}
    for start, sign in ((value.numerator, 1), (value.denominator, -1)):
        number, divisor = start, 2
        while number > 1:
            if divisor * divisor > number:
                divisor = number
            if number % divisor:
                divisor += 1
                continue
            out[divisor] = out.get(divisor, Fraction(0)) + sign
            number //= divisor
    return out


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
