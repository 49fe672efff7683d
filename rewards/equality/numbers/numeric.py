"""Values at probe points: doubles to tell answers apart, many digits before two are called equal.

Variables are real, and a point where a root or logarithm leaves the reals is skipped, unless the
answer itself speaks of `i`. Points follow from the names of the variables, so that a verdict is the
same in every process.
"""

import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import reduce
from operator import mul
from typing import Any

from rewards.equality import limits
from rewards.equality.numbers.arithmetic import (
    Arithmetic,
    ImpreciseError,
    LongArithmetic,
    NoValueError,
)
from rewards.equality.values.expressions import (
    BINDERS,
    Apply,
    Constant,
    Expression,
    Number,
    Symbol,
    traits,
    walk,
)
from rewards.errors import LimitHitError, UnreadableError

POINTS = 12
STEPPED_POINTS = 30
_STEPS = frozenset({"floor", "ceil", "mod", "gcd", "lcm", "sgn", "max", "min", "abs"})
_INTEGER_POINTS = 8
"""From this point on every variable is a whole number."""


_ROUNDED = frozenset({"floor", "ceil", "mod"})
_DIGITS_PER_BIT = 0.30103
_PERIODIC = ("sin", "cos", "tan", "sec", "csc", "cot")
_LOSS = 1e-6


def probe(
    names: frozenset[str], index: int, centres: Sequence[Fraction] = ()
) -> dict[str, Fraction]:
    """Values of the variables at one probe point.

    Points 0 to 3 are positive, 4 to 7 of mixed sign, the others whole numbers. Where functions
    have kinks, points lie to both sides of the numbers that are named too.
    """
    out = dict[str, Fraction]()
    taken = set[Fraction]()
    for name in sorted(names):
        mix = zlib.crc32(f"{name}/{index}".encode("utf-8", "replace"))
        if centres and index % 3:
            side = Fraction(1 + mix % 1000, 300) * (1 if mix >> 11 & 1 else -1)
            value = centres[(mix >> 12) % len(centres)] + side
        elif index >= _INTEGER_POINTS:
            value = Fraction(2 + mix % (11 if index < POINTS else 60))
            if centres and mix >> 16 & 1:
                value = -value
            while value in taken:
                value += 1
        else:
            value = Fraction(3 + mix % 2801, 1009) + Fraction(2, 7)
            if index >= POINTS - _INTEGER_POINTS and (mix >> 16) % 3 != 0:
                value = -value
        taken.add(value)
        out[name] = value
    return out


def is_complex(node: Expression) -> bool:
    """Whether values must be complex: the answer names `i`."""
    return "i" in traits(node)


def has_kinks(*nodes: Expression) -> bool:
    """Whether a function jumps or turns: what agrees on one side need not on the other."""
    return any(not _STEPS.isdisjoint(traits(node)) for node in nodes)


def bends(*nodes: Expression) -> bool:
    """Whether a function has kinks or roots: it may vanish where no multiple of it does."""
    return has_kinks(*nodes) or any(
        type(part) is Apply
        and part.operation == "pow"
        and type(_rational(part.arguments[1])) is Fraction
        and (_rational(part.arguments[1]) or Fraction(0)).denominator > 1
        for node in nodes
        for part in walk(node)
    )


class Evaluator:
    """Evaluates trees at one point, in one arithmetic.

    `shaky` says that digits were lost on the way: terms cancelled, or an angle was near a zero.
    `spread` is how many decimal digits lie between the terms of a sum, at most, in long arithmetic:
    what the least term says is not seen in fewer.
    """

    def __init__(
        self,
        point: Mapping[str, Fraction],
        arithmetic: Arithmetic,
        real_odd_roots: bool = True,
        budget: int = limits.STEPS,
    ) -> None:
        self.point = point
        self.arithmetic = arithmetic
        self.real_odd_roots = real_odd_roots
        self.budget = budget
        self.shaky = False
        self.spread = 0

    def value(self, node: Expression) -> Any:
        """The value; a number of the arithmetic.

        Raises:
            NoValueError: There is none here.
            ImpreciseError: This arithmetic cannot say.
            LimitHitError: It is too large, or too much work.
        """
        try:
            return self._value(node)
        except (ZeroDivisionError, ValueError, TypeError):
            raise NoValueError from None
        except OverflowError:
            raise ImpreciseError from None

    def _value(self, node: Expression) -> Any:
        self.budget -= 1
        if self.budget < 0:
            raise LimitHitError("limit_steps", "too many operations to compare")
        if type(node) is Number:
            return self.arithmetic.number(node.value)
        if type(node) is Symbol:
            return self.arithmetic.number(self.point[node.name])
        if type(node) is Constant:
            return self.arithmetic.constant(node.name)
        assert type(node) is Apply
        return self._applied(node, node.operation)

    def _applied(self, node: Apply, operation: str) -> Any:
        if operation == "add":
            return self._sum([self._value(child) for child in node.arguments])
        if operation == "mul":
            return reduce(mul, [self._value(child) for child in node.arguments])
        if operation == "pow":
            return self._power(node.arguments)
        if operation == "call":
            return self._call(node.arguments)
        if operation in BINDERS:
            return self._big(node)
        values = [self._value(child) for child in node.arguments]
        if operation in _ROUNDED and values[0]:  # as near an integer as it is large
            self._measure([values[0], 1 / values[0]])
        result = self.arithmetic.apply(operation, values)
        if operation in _PERIODIC and abs(result) < _LOSS * abs(values[0]):
            self.shaky = True
        return result

    def _sum(self, values: list[Any]) -> Any:
        self._measure(values)
        total = values[0]
        largest = abs(total)
        for value in values[1:]:
            largest = max(largest, abs(value))
            total = total + value
        if abs(total) < _LOSS * largest:
            self.shaky = True
        return total

    def _measure(self, terms: list[Any]) -> None:
        if isinstance(self.arithmetic, LongArithmetic):
            sizes = [self.arithmetic.module.mag(term) for term in terms if term]
            if sizes:
                self.spread = max(self.spread, int((max(sizes) - min(sizes)) * _DIGITS_PER_BIT))

    def _power(self, arguments: tuple[Expression, ...]) -> Any:
        base, exponent = self._value(arguments[0]), self._value(arguments[1])
        ratio = _rational(arguments[1])
        return self.arithmetic.power(base, exponent, ratio, self.real_odd_roots)

    def _call(self, arguments: tuple[Expression, ...]) -> Any:
        """An unknown function: any fixed smooth one that has no symmetries."""
        head = arguments[0]
        assert type(head) is Symbol
        total = self.arithmetic.number(self.point[head.name + "()"])
        for index, child in enumerate(arguments[1:]):
            value = self._value(child)
            weight = self.arithmetic.number(Fraction(137 + 100 * index, 100))
            total = total + weight * self.arithmetic.apply("sin", [value * total + index])
        return total

    def _big(self, node: Apply) -> Any:
        if node.operation in ("integral", "limit"):
            raise UnreadableError("no_value", f"no rule evaluates this {node.operation}")
        bound, low, high, body = node.arguments
        assert type(bound) is Symbol
        first, last = self._value(low), self._value(high)
        if first != round(float(first)) or last != round(float(last)):
            raise NoValueError
        start, stop = round(float(first)), round(float(last))
        if stop - start >= limits.SUMMANDS:
            raise LimitHitError("limit_sum", f"a sum of more than {limits.SUMMANDS} terms")
        outer = self.point
        total = self.arithmetic.number(Fraction(0 if node.operation == "sum" else 1))
        terms = list[Any]()
        try:
            for index in range(start, stop + 1):
                self.point = {**outer, bound.name: Fraction(index)}
                value = self._value(body)
                total = total + value if node.operation == "sum" else total * value
                terms.append(value)
        finally:
            self.point = outer
        if node.operation == "sum":
            self._measure(terms)
        return total


def _rational(node: Expression) -> Fraction | None:
    """A written exponent such as 3, -1/2, 0.5."""
    if type(node) is Number:
        return node.value
    if type(node) is Apply and len(node.arguments) <= 2:
        parts = [_rational(child) for child in node.arguments]
        first = parts[0]
        if first is None:
            return None
        if node.operation == "neg":
            return -first
        if node.operation == "inv" and first:
            return 1 / first
        if node.operation == "mul" and len(parts) == 2 and parts[1] is not None:
            return first * parts[1]
    return None
