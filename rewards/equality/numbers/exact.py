"""Exact rational values, every intermediate result bounded; logarithms of what is too large."""

import math
from collections.abc import Callable
from fractions import Fraction

from rewards.equality import limits
from rewards.equality.values.expressions import Apply, Constant, Expression, Number
from rewards.errors import LimitHitError, UnreadableError


class UndefinedError(UnreadableError):
    """The expression has no value: it divides by zero."""

    def __init__(self) -> None:
        super().__init__("undefined", "division by zero")


def exact(node: Expression, real_odd_roots: bool = True) -> Fraction | None:
    """The value as a rational, or `None` where it is irrational, symbolic or not ours to say.

    Raises:
        UndefinedError: It divides by zero.
        LimitHitError: A number on the way is too large.
    """
    if type(node) is Number:
        return node.value
    if type(node) is not Apply:
        return None
    return _Folder(real_odd_roots).value(node)


class _Folder:
    def __init__(self, real_odd_roots: bool) -> None:
        self.real_odd_roots = real_odd_roots
        self.work = 0

    def value(self, node: Expression) -> Fraction | None:
        if type(node) is Number:
            return node.value
        if type(node) is not Apply or node.operation not in _RULES:
            return None
        values = list[Fraction]()
        for argument in node.arguments:
            value = self.value(argument)
            if value is None:
                return None
            values.append(value)
        if node.operation == "pow" and not self.real_odd_roots and values[0] < 0:
            return None if values[1].denominator != 1 else _power(values)
        result = _RULES[node.operation](values)
        if result is not None:
            self.work += len(values) * result.denominator.bit_length()
            if self.work > limits.FOLDED_BITS:
                raise LimitHitError("limit_bits", "too many long fractions")
        return result


def _bounded(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > limits.BITS:
        raise LimitHitError("limit_bits", f"a number of more than {limits.BITS} bits")
    return value


def _sum(values: list[Fraction]) -> Fraction:
    total = values[0]
    for value in values[1:]:
        total = _bounded(total + value)
    return total


def _product(values: list[Fraction]) -> Fraction:
    total = values[0]
    for value in values[1:]:
        total = _bounded(total * value)
    return total


def _inverse(values: list[Fraction]) -> Fraction:
    if values[0] == 0:
        raise UndefinedError
    return 1 / values[0]


def _power(values: list[Fraction]) -> Fraction | None:
    base, exponent = values
    if exponent.denominator != 1:
        root = _root(base, exponent.denominator)
        if root is None:
            return None
        base, exponent = root, Fraction(exponent.numerator)
    if base == 0 and exponent < 0:
        raise UndefinedError
    if base in (0, 1, -1):
        return base ** (exponent.numerator % 2 + 2 * (exponent > 0))
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent.numerator) * bits > limits.BITS:
        raise LimitHitError("limit_power", f"a power of more than {limits.BITS} bits")
    return Fraction(base**exponent.numerator)


def _root(value: Fraction, index: int) -> Fraction | None:
    """The rational root, if there is one; odd roots of negative numbers are negative."""
    if value < 0:
        if index % 2 == 0:
            return None
        positive = _root(-value, index)
        return None if positive is None else -positive
    top, bottom = integer_root(value.numerator, index), integer_root(value.denominator, index)
    return None if top is None or bottom is None else Fraction(top, bottom)


def integer_root(value: int, index: int) -> int | None:
    """The whole `index`-th root of a natural number, or `None`."""
    if value in (0, 1):
        return value
    if index > 64 or value.bit_length() > 2048:
        return None
    if index == 2:
        root = math.isqrt(value)
    else:
        root = 1 << -(-value.bit_length() // index)
        while True:  # Newton from above falls until it is there
            better = ((index - 1) * root + value // root ** (index - 1)) // index
            if better >= root:
                break
            root = better
    return root if root**index == value else None


def _factorial(values: list[Fraction]) -> Fraction | None:
    value = values[0]
    if value.denominator != 1 or value < 0:
        return None
    if value > limits.FACTORIAL:
        raise LimitHitError("limit_factorial", f"a factorial beyond {limits.FACTORIAL}!")
    return Fraction(math.factorial(value.numerator))


def _double_factorial(values: list[Fraction]) -> Fraction | None:
    """9!! is 9*7*5*3*1."""
    value = values[0]
    if value.denominator != 1 or value < -1:
        return None
    if value > limits.FACTORIAL:
        raise LimitHitError("limit_factorial", f"a double factorial beyond {limits.FACTORIAL}!!")
    return Fraction(math.prod(range(value.numerator, 0, -2)))


def _binomial(values: list[Fraction]) -> Fraction | None:
    if len(values) != 2 or any(value.denominator != 1 or value < 0 for value in values):
        return None
    if values[0] > limits.BINOMIAL:
        raise LimitHitError("limit_binomial", f"a binomial coefficient beyond {limits.BINOMIAL}")
    return Fraction(math.comb(values[0].numerator, values[1].numerator))


def _modulo(values: list[Fraction]) -> Fraction | None:
    if len(values) != 2:
        return None
    if values[1] == 0:
        raise UndefinedError
    return values[0] % values[1]


def _integers(values: list[Fraction]) -> list[int] | None:
    if any(value.denominator != 1 for value in values):
        return None
    return [value.numerator for value in values]


def _gcd(values: list[Fraction]) -> Fraction | None:
    whole = _integers(values)
    return None if whole is None else Fraction(math.gcd(*whole))


def _lcm(values: list[Fraction]) -> Fraction | None:
    whole = _integers(values)
    if whole is None:
        return None
    total = 1
    for value in whole:
        total = _bounded(Fraction(math.lcm(total, value))).numerator
    return Fraction(total)


_RULES: dict[str, Callable[[list[Fraction]], Fraction | None]] = {
    "add": _sum,
    "mul": _product,
    "neg": lambda values: -values[0],
    "inv": _inverse,
    "pow": _power,
    "percent": lambda values: values[0] / 100,
    "abs": lambda values: abs(values[0]),
    "floor": lambda values: Fraction(math.floor(values[0])),
    "ceil": lambda values: Fraction(math.ceil(values[0])),
    "max": max,
    "min": min,
    "sgn": lambda values: Fraction((values[0] > 0) - (values[0] < 0)),
    "factorial": _factorial,
    "double_factorial": _double_factorial,
    "gamma_function": lambda values: _factorial([values[0] - 1]),
    "binomial": _binomial,
    "mod": _modulo,
    "gcd": _gcd,
    "lcm": _lcm,
}


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
