"""Algebra: recurrences, roots, remainders, floors, minimal polynomials."""

from bisect import bisect_right
from fractions import Fraction
from random import Random
from typing import NamedTuple

from torl_env.problems.procedural.family import Family, Group, P
from torl_env.problems.procedural.integers import PRIME, power
from torl_env.problems.procedural.wording import listing, polynomial


class _Algebra(Family[P]):
    subject = "algebra"


class Recurrence(NamedTuple):
    """`a_n = sum coefficients[i] a_{n-1-i}` modulo `modulus`."""

    coefficients: tuple[int, ...]
    start: tuple[int, ...]
    place: int
    modulus: int


class LinearRecurrence(_Algebra[Recurrence]):
    """A far term of a linear recurrence."""

    name = "linear_recurrence"
    summary = "a_n modulo m of a linear recurrence of order 2 to 4"

    def draw(self, rng: Random, level: int) -> Recurrence:
        """N from 6 to 10^18."""
        order = (2, 2, 3, 3, 4)[level - 1]
        low, high = ((6, 12), (15, 40), (200, 2000), (10**6, 10**8), (10**15, 10**18))[level - 1]
        return Recurrence(
            tuple(rng.choice((-3, -2, -1, 1, 2, 3)) for _ in range(order)),
            tuple(rng.randrange(8) for _ in range(order)),
            rng.randrange(low, high),
            (1000, 1000, 1009, 10**6 + 3, PRIME)[level - 1],
        )

    def answer(self, drawn: Recurrence) -> int:
        """The exact answer, by a matrix power."""
        order = len(drawn.start)
        shift = [[int(i == j) for j in range(order)] for i in range(order - 1)]
        row = power([list(drawn.coefficients), *shift], drawn.place, drawn.modulus)[-1]
        return sum(a * b for a, b in zip(row, reversed(drawn.start), strict=True)) % drawn.modulus

    def phrase(self, drawn: Recurrence) -> tuple[str, ...]:
        """The question in all its wordings."""
        order, n, m = len(drawn.start), drawn.place, drawn.modulus
        starts = listing(f"$a_{{{i}}} = {value}$" for i, value in enumerate(drawn.start))
        law = ""
        for i, value in enumerate(drawn.coefficients, start=1):
            size = "" if abs(value) == 1 else str(abs(value))
            sign = ("-" if value < 0 else "") if i == 1 else (" - " if value < 0 else " + ")
            law += f"{sign}{size}a_{{n-{i}}}"
        rule = f"$a_n = {law}$ for $n \\ge {order}$"
        return (
            f"Let {starts}, and {rule}. Find the remainder when $a_{{{n}}}$ is divided by ${m}$.",
            f"A sequence is given by {starts} and {rule}. What is $a_{{{n}}}$ modulo ${m}$?",
            f"The numbers $a_n$ satisfy {rule}, where {starts}. Compute the least non-negative "
            f"residue of $a_{{{n}}}$ modulo ${m}$.",
            f"Starting from {starts}, a program computes {rule}, keeping only remainders modulo "
            f"${m}$ that are not negative. Which number does it store for $a_{{{n}}}$?",
        )


class Roots(NamedTuple):
    """A monic polynomial, by its other coefficients from high to low, and a power."""

    coefficients: tuple[int, ...]
    exponent: int


class RootPowerSum(_Algebra[Roots]):
    """Power sums of the roots of a polynomial."""

    name = "root_power_sum"
    summary = "sum of the k-th powers of the roots of a polynomial"

    def draw(self, rng: Random, level: int) -> Roots:
        """Degree 2 to 6, powers 4 to 32."""
        degree, exponent = ((2, 4), (3, 6), (3, 10), (4, 16), (6, 30))[level - 1]
        rest = [rng.randrange(-5, 6) for _ in range(degree - 1)]
        return Roots((*rest, rng.choice((-5, -3, -2, -1, 1, 2, 3, 4))), exponent + rng.randrange(3))

    def answer(self, drawn: Roots) -> int:
        """The exact answer, by Newton's identities."""
        coefficients, degree = drawn.coefficients, len(drawn.coefficients)
        sums = [degree]
        for k in range(1, drawn.exponent + 1):
            value = -k * coefficients[k - 1] if k <= degree else 0
            for i in range(1, min(k - 1, degree) + 1):
                value -= coefficients[i - 1] * sums[k - i]
            sums.append(value)
        return sums[-1]

    def phrase(self, drawn: Roots) -> tuple[str, ...]:
        """The question in all its wordings."""
        f, k = polynomial((1, *drawn.coefficients)), drawn.exponent
        return (
            f"Find the sum of the powers with exponent {k} of the complex roots of ${f}$, counted "
            f"with multiplicity.",
            f"Let $S$ be the set of complex roots of ${f}$, with multiplicity. Compute "
            f"$\\sum_{{r \\in S}} r^{{{k}}}$.",
            f"Each complex root of ${f}$ is raised to the power {k}. What is the sum of the "
            f"results, every root counted as often as it occurs?",
            f"The companion matrix of ${f}$ is raised to the power {k}. What is its trace?",
        )


class Division(NamedTuple):
    """`x^exponent` modulo a monic polynomial, at `point`, modulo `prime` unless that is 0."""

    coefficients: tuple[int, ...]
    """Of the divisor without its leading 1, from high to low."""
    exponent: int
    point: int
    prime: int


class PolynomialRemainder(_Algebra[Division]):
    """The remainder of a high power of x."""

    name = "polynomial_remainder"
    summary = "value of the remainder of x^N divided by a polynomial"

    def draw(self, rng: Random, level: int) -> Division:
        """N from 4 to 10^15, exact up to level 3, then modulo a prime."""
        degree, low, high, prime = (
            (2, 4, 8, 0),
            (2, 10, 20, 0),
            (3, 50, 150, 0),
            (4, 10**4, 10**6, 1009),
            (5, 10**12, 10**15, PRIME),
        )[level - 1]
        rest = [rng.randrange(-4, 5) for _ in range(degree - 1)]
        last = rng.choice((-4, -3, -2, -1, 1, 2, 3, 4))
        return Division((*rest, last), rng.randrange(low, high), rng.randrange(2, 6), prime)

    def answer(self, drawn: Division) -> int:
        """The exact answer: the companion matrix holds multiplication by x."""
        degree = len(drawn.coefficients)
        companion = [[-c for c in drawn.coefficients]]
        companion += [[int(i == j) for j in range(degree)] for i in range(degree - 1)]
        row = power(companion, drawn.exponent, drawn.prime)[-1]
        value: int = sum(c * drawn.point**k for k, c in enumerate(reversed(row)))
        return value % drawn.prime if drawn.prime else value

    def degenerate(self, drawn: Division, answer: int) -> bool:
        """Also when the divisor vanishes at the point, since then the value is a plain power."""
        value: int = 1
        for coefficient in drawn.coefficients:
            value = value * drawn.point + coefficient
        return value == 0 or -1 <= answer <= 1

    def phrase(self, drawn: Division) -> tuple[str, ...]:
        """The question in all its wordings."""
        f, n, x = polynomial((1, *drawn.coefficients)), drawn.exponent, drawn.point
        end = f" modulo ${drawn.prime}$, as a non-negative residue" if drawn.prime else ""
        return (
            f"Let $R(x)$ be the remainder of $x^{{{n}}}$ on division by ${f}$. Find $R({x})${end}.",
            f"Divide $x^{{{n}}}$ by ${f}$ and call the remainder $R$. Compute $R({x})${end}.",
            f"What is the value at $x = {x}$ of the polynomial of lower degree than ${f}$ that "
            f"differs from $x^{{{n}}}$ by a multiple of it? Give it{end or ' exactly'}.",
            f"In polynomials modulo ${f}$, reduce $x^{{{n}}}$ completely and evaluate the result "
            f"at $x = {x}$. Answer{end or ' with the exact integer'}.",
        )


class Floors(NamedTuple):
    """Values up to `bound` of `sum floor(k x)` over `factors`."""

    factors: tuple[int, ...]
    bound: int


class FloorValues(_Algebra[Floors]):
    """Integers that a sum of floors takes."""

    name = "floor_values"
    summary = "integers up to N of the form sum of floor(k x)"
    group = Group.TRANSFER

    def draw(self, rng: Random, level: int) -> Floors:
        """2 to 6 terms, N from 20 to 10^12."""
        low, high = ((20, 99), (100, 400), (1000, 5000), (10**5, 10**6), (10**11, 10**12))[
            level - 1
        ]
        factors = sorted(rng.sample(range(2, 8 + 4 * level), level + 1))
        return Floors(tuple(factors), rng.randrange(low, high))

    def answer(self, drawn: Floors) -> int:
        """The exact answer: the values on [0, 1) repeat with x."""
        factors = drawn.factors
        jumps = {Fraction(j, k) for k in factors for j in range(k)}
        values = sorted({sum(int(k * x) for k in factors) for x in jumps})
        periods, rest = divmod(drawn.bound, sum(factors))
        return periods * len(values) + bisect_right(values, rest) - 1

    def phrase(self, drawn: Floors) -> tuple[str, ...]:
        """The question in all its wordings."""
        n = drawn.bound
        form = " + ".join(f"\\lfloor {k}x \\rfloor" for k in drawn.factors)
        return (
            f"How many positive integers up to ${n}$ can be written as ${form}$ for some real "
            f"number $x$?",
            f"Let $f(x) = {form}$. How many of the positive integers not exceeding ${n}$ are "
            f"values of $f$ at real numbers?",
            f"A positive integer is called reachable if it equals ${form}$ for a real number $x$. "
            f"How many reachable integers are at most ${n}$?",
            f"For real $x$ put $g(x) = {form}$. Count the positive integers $m \\le {n}$ for which "
            f"$g(x) = m$ has a solution.",
        )


class Surd(NamedTuple):
    """`shift + scale sqrt(inner) + factor root(radicand, degree)`, its polynomial at `point`."""

    shift: int
    scale: int
    inner: int
    factor: int
    radicand: int
    degree: int
    """1 means that there is no second root."""
    point: int


class MinimalPolynomial(_Algebra[Surd]):
    """Values of minimal polynomials of nested radicals."""

    name = "minimal_polynomial"
    summary = "value of the minimal polynomial of a sum of radicals"

    def draw(self, rng: Random, level: int) -> Surd:
        """Degree 2, 4, 6, 6 with coefficients, 8."""
        inner, radicand = rng.sample((2, 3, 5, 6, 7, 10, 11, 13), 2)
        plain = level in (2, 3)
        return Surd(
            rng.randint(1, 9) if level in (1, 4) else 0,
            1 if plain else rng.randint(1, 4),
            inner,
            1 if plain else rng.choice((-4, -3, -2, 2, 3, 4)),
            radicand,
            (1, 2, 3, 3, 4)[level - 1],
            rng.randint(1, 9),
        )

    def answer(self, drawn: Surd) -> int:
        """The exact answer: the norm from the quadratic field of a power minus its radicand.

        With distinct square-free radicands all conjugates differ, so the norm is minimal.
        """
        u, v = 1, 0
        for _ in range(drawn.degree):
            lead, root = drawn.point - drawn.shift, -drawn.scale
            u, v = u * lead + v * root * drawn.inner, u * root + v * lead
        if drawn.degree > 1:
            u -= drawn.factor**drawn.degree * drawn.radicand
        return u * u - drawn.inner * v * v

    def phrase(self, drawn: Surd) -> tuple[str, ...]:
        """The question in all its wordings."""
        number = f"{drawn.shift} + " if drawn.shift else ""
        number += f"{drawn.scale if drawn.scale > 1 else ''}\\sqrt{{{drawn.inner}}}"
        if drawn.degree > 1:
            size = str(abs(drawn.factor)) if abs(drawn.factor) > 1 else ""
            index = "" if drawn.degree == 2 else f"[{drawn.degree}]"
            sign = "-" if drawn.factor < 0 else "+"
            number += f" {sign} {size}\\sqrt{index}{{{drawn.radicand}}}"
        t = drawn.point
        return (
            f"Let $P(x)$ be the monic polynomial of least degree with rational coefficients that "
            f"has ${number}$ as a root. Find $P({t})$.",
            f"Compute the value at $x = {t}$ of the minimal polynomial over the rationals of "
            f"${number}$.",
            f"The number $\\alpha = {number}$ is a root of exactly one monic irreducible "
            f"polynomial with rational coefficients. What is its value at ${t}$?",
            f"Let $\\alpha = {number}$. Find the product of $({t} - \\beta)$ over all algebraic "
            f"conjugates $\\beta$ of $\\alpha$, including $\\alpha$ itself.",
        )


FAMILIES = (
    LinearRecurrence(),
    RootPowerSum(),
    PolynomialRemainder(),
    FloorValues(),
    MinimalPolynomial(),
)
