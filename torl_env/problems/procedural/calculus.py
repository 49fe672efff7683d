"""Calculus with exact answers: integrals, derivatives, digits of roots."""

import math
from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any

from torl_env.problems.procedural.family import Drawn, Group, family
from torl_env.problems.procedural.integers import PRIME, fraction_sum


@family("calculus", "integral of floor(x)^a frac(x)^b, as p+q")
def floor_integral(rng: Random, level: int) -> Drawn:
    """Up to 3 at level 1, up to 2,000 at level 5."""
    low, high = ((3, 9), (6, 20), (20, 60), (100, 400), (1000, 2000))[level - 1]
    start = rng.randrange(1, low)
    a, b = rng.randrange(2, 3 + level), rng.randrange(2, 4 + level)
    low, high = start, rng.randint(low, high)
    form = f"\\lfloor x \\rfloor^{{{a}}} (x - \\lfloor x \\rfloor)^{{{b}}}"
    end = "in lowest terms. Find $p + q$."

    def answer() -> int:
        # One monomial on every unit interval.
        total = sum(k**a for k in range(low, high))
        return fraction_sum(Fraction(total, b + 1))

    return Drawn(
        answer,
        (
            f"The integral $\\int_{{{low}}}^{{{high}}} {form} \\, dx$ equals $p/q$ {end}",
            f"Let $f(x) = {form}$. The integral of $f$ from ${low}$ to ${high}$ is $p/q$ {end}",
            f"The area under the graph of $y = {form}$ between $x = {low}$ and $x = {high}$ is "
            f"$p/q$ {end}",
            f"A tap delivers ${form}$ litres per second at time $x$ seconds. From time ${low}$ "
            f"to time ${high}$ it delivers $p/q$ litres, {end}",
        ),
        {"a": a, "b": b, "low": low, "high": high},
    )


@family("calculus", "n-th derivative at 0 of exp(ax + bx^2)/(1 - x)^k, modulo a prime")
def series_coefficient(rng: Random, level: int) -> Drawn:
    """Order 4 to 85."""
    n = (4, 7, 12, 30, 80)[level - 1] + rng.randrange(6)
    a, b, k = rng.randrange(2, 8), rng.randrange(2, 8), rng.randrange(2, 4 + level)
    form = f"e^{{{a}x + {b}x^2}} (1 - x)^{{-{k}}}"

    def answer() -> int:
        # A Cauchy product of two series with integer derivatives.
        left = [1]
        for m in range(1, n + 1):
            left.append(a * left[-1] + (2 * b * (m - 1) * left[-2] if m > 1 else 0))
        right = [math.perm(k + m - 1, m) for m in range(n + 1)]
        return sum(math.comb(n, m) * left[m] * right[n - m] for m in range(n + 1)) % PRIME

    return Drawn(
        answer,
        (
            f"Let $f(x) = {form}$. Find the remainder when the integer $f^{{({n})}}(0)$ is "
            f"divided by ${PRIME}$.",
            f"The derivative of order ${n}$ of ${form}$ at $x = 0$ is an integer. What is it "
            f"modulo ${PRIME}$?",
            f"Expand ${form}$ in powers of $x$ around $0$ and multiply the coefficient of "
            f"$x^{{{n}}}$ by the factorial of its exponent. Give the result modulo ${PRIME}$.",
            f"A sequence has the exponential generating function ${form}$ (expanded at $0$). "
            f"Find its term with index ${n}$, counted from zero, modulo ${PRIME}$.",
        ),
        {"order": n, "a": a, "b": b, "k": k},
    )


_EQUATIONS: tuple[tuple[str, Callable[[Any, Any, int], Any]], ...] = (
    ("x^3 + {a}x = {c}", lambda mp, x, a: x**3 + a * x),
    ("e^x + {a}x = {c}", lambda mp, x, a: mp.exp(x) + a * x),
    ("x \\ln x + {a}x = {c}", lambda mp, x, a: x * mp.log(x) + a * x if x else x),
    ("e^x - {a} \\cos x = {c}", lambda mp, x, a: mp.exp(x) - a * mp.cos(x)),
    ("x^5 + {a}x^2 = {c}", lambda mp, x, a: x**5 + a * x**2),
)
"""Left sides that cross every level `c >= 2` exactly once for positive x, `2 <= a <= 20`."""


@family("calculus", "floor(10^D r) for the positive root r of an equation", Group.TRANSFER)
def root_digits(rng: Random, level: int) -> Drawn:
    """1, 3, 8, 20 or 45 digits."""
    kind = rng.randrange(len(_EQUATIONS)) if level > 1 else 0
    a, c, digits = rng.randint(2, 20), rng.randint(5, 90), (1, 3, 8, 20, 45)[level - 1]
    law = _EQUATIONS[kind][0].format(a=a, c=c)
    power = f"10^{{{digits}}}"

    def answer() -> int:
        # By bisection on the integers with twenty digits to spare.
        import mpmath

        side, scale = _EQUATIONS[kind][1], 10**digits
        with mpmath.workdps(digits + 30):
            low, high = 0, 90 * scale
            while low < high:
                middle = (low + high + 1) // 2
                value = side(mpmath, mpmath.mpf(middle) / scale, a)
                low, high = (middle, high) if value <= c else (low, middle - 1)
        return low

    return Drawn(
        answer,
        (
            f"The equation ${law}$ has exactly one positive real root $r$. Find $\\lfloor "
            f"{power} r \\rfloor$.",
            f"Let $r$ be the only positive real solution of ${law}$. Compute $\\lfloor {power} r "
            "\\rfloor$.",
            f"There is one positive real number $r$ with ${law}$ for $x = r$. What is the "
            f"integer part of ${power} r$?",
            f"Determine the largest integer that does not exceed ${power} r$, where $r$ is the "
            f"positive real root of ${law}$.",
        ),
        {"kind": kind, "a": a, "c": c, "digits": digits},
    )
