"""Calculus with exact answers: integrals, derivatives, digits of roots."""

import math
from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any, NamedTuple

from torl_env.problems.procedural.family import Family, Group, P
from torl_env.problems.procedural.integers import PRIME, fraction_sum


class _Calculus(Family[P]):
    subject = "calculus"


class FloorPowers(NamedTuple):
    """`floor(x)^a (x - floor(x))^b` from `low` to `high`."""

    a: int
    b: int
    low: int
    high: int


class FloorIntegral(_Calculus[FloorPowers]):
    """Integrals of floor and fractional part."""

    name = "floor_integral"
    summary = "integral of floor(x)^a frac(x)^b, as p+q"

    def draw(self, rng: Random, level: int) -> FloorPowers:
        """Up to 3 at level 1, up to 2,000 at level 5."""
        low, high = ((3, 9), (6, 20), (20, 60), (100, 400), (1000, 2000))[level - 1]
        start = rng.randrange(1, low)
        return FloorPowers(
            rng.randrange(2, 3 + level), rng.randrange(2, 4 + level), start, rng.randint(low, high)
        )

    def answer(self, drawn: FloorPowers) -> int:
        """The exact answer: one monomial on every unit interval."""
        total = sum(k**drawn.a for k in range(drawn.low, drawn.high))
        return fraction_sum(Fraction(total, drawn.b + 1))

    def phrase(self, drawn: FloorPowers) -> tuple[str, ...]:
        """The question in all its wordings."""
        a, b, low, high = drawn
        form = f"\\lfloor x \\rfloor^{{{a}}} (x - \\lfloor x \\rfloor)^{{{b}}}"
        end = "in lowest terms. Find $p + q$."
        return (
            f"The integral $\\int_{{{low}}}^{{{high}}} {form} \\, dx$ equals $p/q$ {end}",
            f"Let $f(x) = {form}$. The integral of $f$ from ${low}$ to ${high}$ is $p/q$ {end}",
            f"The area under the graph of $y = {form}$ between $x = {low}$ and $x = {high}$ is "
            f"$p/q$ {end}",
            f"A tap delivers ${form}$ litres per second at time $x$ seconds. From time ${low}$ to "
            f"time ${high}$ it delivers $p/q$ litres, {end}",
        )


class Series(NamedTuple):
    """`exp(a x + b x^2) / (1 - x)^k`."""

    order: int
    a: int
    b: int
    k: int


class SeriesCoefficient(_Calculus[Series]):
    """High derivatives at 0."""

    name = "series_coefficient"
    summary = "n-th derivative at 0 of exp(ax + bx^2)/(1 - x)^k, modulo a prime"

    def draw(self, rng: Random, level: int) -> Series:
        """Order 4 to 85."""
        order = (4, 7, 12, 30, 80)[level - 1] + rng.randrange(6)
        return Series(order, rng.randrange(2, 8), rng.randrange(2, 8), rng.randrange(2, 4 + level))

    def answer(self, drawn: Series) -> int:
        """The exact answer: a Cauchy product of two series with integer derivatives."""
        n, a, b, k = drawn
        left = [1]
        for m in range(1, n + 1):
            left.append(a * left[-1] + (2 * b * (m - 1) * left[-2] if m > 1 else 0))
        right = [math.perm(k + m - 1, m) for m in range(n + 1)]
        return sum(math.comb(n, m) * left[m] * right[n - m] for m in range(n + 1)) % PRIME

    def phrase(self, drawn: Series) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, a, b, k = drawn
        form = f"e^{{{a}x + {b}x^2}} (1 - x)^{{-{k}}}"
        return (
            f"Let $f(x) = {form}$. Find the remainder when the integer $f^{{({n})}}(0)$ is divided "
            f"by ${PRIME}$.",
            f"The derivative of order ${n}$ of ${form}$ at $x = 0$ is an integer. What is it "
            f"modulo ${PRIME}$?",
            f"Expand ${form}$ in powers of $x$ around $0$ and multiply the coefficient of "
            f"$x^{{{n}}}$ by the factorial of its exponent. Give the result modulo ${PRIME}$.",
            f"A sequence has the exponential generating function ${form}$ (expanded at $0$). Find "
            f"its term with index ${n}$, counted from zero, modulo ${PRIME}$.",
        )


class Equation(NamedTuple):
    """An equation with one positive root, and how many digits of it."""

    kind: int
    a: int
    c: int
    digits: int


_EQUATIONS: tuple[tuple[str, Callable[[Any, Any, int], Any]], ...] = (
    ("x^3 + {a}x = {c}", lambda mp, x, a: x**3 + a * x),
    ("e^x + {a}x = {c}", lambda mp, x, a: mp.exp(x) + a * x),
    ("x \\ln x + {a}x = {c}", lambda mp, x, a: x * mp.log(x) + a * x if x else x),
    ("e^x - {a} \\cos x = {c}", lambda mp, x, a: mp.exp(x) - a * mp.cos(x)),
    ("x^5 + {a}x^2 = {c}", lambda mp, x, a: x**5 + a * x**2),
)
"""Left sides that cross every level `c >= 2` exactly once for positive x, `2 <= a <= 20`."""


class RootDigits(_Calculus[Equation]):
    """Digits of a transcendental or algebraic root."""

    name = "root_digits"
    summary = "floor(10^D r) for the positive root r of an equation"
    group = Group.TRANSFER

    def draw(self, rng: Random, level: int) -> Equation:
        """1, 3, 8, 20 or 45 digits."""
        kind = rng.randrange(len(_EQUATIONS)) if level > 1 else 0
        return Equation(kind, rng.randint(2, 20), rng.randint(5, 90), (1, 3, 8, 20, 45)[level - 1])

    def answer(self, drawn: Equation) -> int:
        """The exact answer, by bisection on the integers with twenty digits to spare."""
        import mpmath

        side, scale = _EQUATIONS[drawn.kind][1], 10**drawn.digits
        with mpmath.workdps(drawn.digits + 30):
            low, high = 0, 90 * scale
            while low < high:
                middle = (low + high + 1) // 2
                value = side(mpmath, mpmath.mpf(middle) / scale, drawn.a)
                low, high = (middle, high) if value <= drawn.c else (low, middle - 1)
        return low

    def phrase(self, drawn: Equation) -> tuple[str, ...]:
        """The question in all its wordings."""
        law = _EQUATIONS[drawn.kind][0].format(a=drawn.a, c=drawn.c)
        power = f"10^{{{drawn.digits}}}"
        return (
            f"The equation ${law}$ has exactly one positive real root $r$. Find "
            f"$\\lfloor {power} r \\rfloor$.",
            f"Let $r$ be the only positive real solution of ${law}$. Compute "
            f"$\\lfloor {power} r \\rfloor$.",
            f"There is one positive real number $r$ with ${law}$ for $x = r$. What is the integer "
            f"part of ${power} r$?",
            f"Determine the largest integer that does not exceed ${power} r$, where $r$ is the "
            f"positive real root of ${law}$.",
        )


FAMILIES = (FloorIntegral(), SeriesCoefficient(), RootDigits())
