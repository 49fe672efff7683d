"""Algebra: recurrences, roots, remainders, floors, minimal polynomials."""

from bisect import bisect_right
from fractions import Fraction
from random import Random

from torl_env.problems.procedural.family import Drawn, Group, family
from torl_env.problems.procedural.integers import PRIME, power
from torl_env.problems.procedural.wording import listing, polynomial


@family("algebra", "a_n modulo m of a linear recurrence of order 2 to 4")
def linear_recurrence(rng: Random, level: int) -> Drawn:
    """N from 6 to 10^18."""
    order = (2, 2, 3, 3, 4)[level - 1]
    low, high = ((6, 12), (15, 40), (200, 2000), (10**6, 10**8), (10**15, 10**18))[level - 1]
    # a_n = sum of coefficients[i] a_{n-1-i}, modulo m.
    coefficients = [rng.choice((-3, -2, -1, 1, 2, 3)) for _ in range(order)]
    start = [rng.randrange(8) for _ in range(order)]
    n, m = rng.randrange(low, high), (1000, 1000, 1009, 10**6 + 3, PRIME)[level - 1]
    starts = listing(f"$a_{{{i}}} = {value}$" for i, value in enumerate(start))
    law = ""
    for i, value in enumerate(coefficients, start=1):
        size = "" if abs(value) == 1 else str(abs(value))
        sign = ("-" if value < 0 else "") if i == 1 else (" - " if value < 0 else " + ")
        law += f"{sign}{size}a_{{n-{i}}}"
    rule = f"$a_n = {law}$ for $n \\ge {order}$"

    def answer() -> int:
        shift = [[int(i == j) for j in range(order)] for i in range(order - 1)]
        row = power([coefficients, *shift], n, m)[-1]
        return sum(a * b for a, b in zip(row, reversed(start), strict=True)) % m

    return Drawn(
        answer,
        (
            f"Let {starts}, and {rule}. Find the remainder when $a_{{{n}}}$ is divided by ${m}$.",
            f"A sequence is given by {starts} and {rule}. What is $a_{{{n}}}$ modulo ${m}$?",
            f"The numbers $a_n$ satisfy {rule}, where {starts}. Compute the least non-negative "
            f"residue of $a_{{{n}}}$ modulo ${m}$.",
            f"Starting from {starts}, a program computes {rule}, keeping only remainders modulo "
            f"${m}$ that are not negative. Which number does it store for $a_{{{n}}}$?",
        ),
        {"coefficients": coefficients, "start": start, "place": n, "modulus": m},
    )


@family("algebra", "sum of the k-th powers of the roots of a polynomial")
def root_power_sum(rng: Random, level: int) -> Drawn:
    """Degree 2 to 6, powers 4 to 32."""
    degree, exponent = ((2, 4), (3, 6), (3, 10), (4, 16), (6, 30))[level - 1]
    # Of a monic polynomial, without its leading 1, from high to low.
    coefficients = [rng.randrange(-5, 6) for _ in range(degree - 1)]
    coefficients.append(rng.choice((-5, -3, -2, -1, 1, 2, 3, 4)))
    exponent += rng.randrange(3)
    f = polynomial((1, *coefficients))

    def answer() -> int:
        # Newton's identities.
        sums = [degree]
        for k in range(1, exponent + 1):
            value = -k * coefficients[k - 1] if k <= degree else 0
            for i in range(1, min(k - 1, degree) + 1):
                value -= coefficients[i - 1] * sums[k - i]
            sums.append(value)
        return sums[-1]

    return Drawn(
        answer,
        (
            f"Find the sum of the powers with exponent {exponent} of the complex roots of ${f}$, "
            "counted with multiplicity.",
            f"Let $S$ be the set of complex roots of ${f}$, with multiplicity. Compute "
            f"$\\sum_{{r \\in S}} r^{{{exponent}}}$.",
            f"Each complex root of ${f}$ is raised to the power {exponent}. What is the sum of the "
            "results, every root counted as often as it occurs?",
            f"The companion matrix of ${f}$ is raised to the power {exponent}. What is its trace?",
        ),
        {"coefficients": coefficients, "exponent": exponent},
    )


@family("algebra", "value of the remainder of x^N divided by a polynomial")
def polynomial_remainder(rng: Random, level: int) -> Drawn:
    """N from 4 to 10^15, exact up to level 3, then modulo a prime."""
    degree, low, high, prime = (
        (2, 4, 8, 0),
        (2, 10, 20, 0),
        (3, 50, 150, 0),
        (4, 10**4, 10**6, 1009),
        (5, 10**12, 10**15, PRIME),
    )[level - 1]
    # Of the monic divisor, without its leading 1, from high to low.
    coefficients = [rng.randrange(-4, 5) for _ in range(degree - 1)]
    coefficients.append(rng.choice((-4, -3, -2, -1, 1, 2, 3, 4)))
    n, x = rng.randrange(low, high), rng.randrange(2, 6)
    at_x = sum(c * x**k for k, c in enumerate(reversed((1, *coefficients))))
    f = polynomial((1, *coefficients))
    end = f" modulo ${prime}$, as a non-negative residue" if prime else ""

    def answer() -> int:
        # The companion matrix holds multiplication by x.
        companion = [[-c for c in coefficients]]
        companion += [[int(i == j) for j in range(degree)] for i in range(degree - 1)]
        row = power(companion, n, prime)[-1]
        value: int = sum(c * x**k for k, c in enumerate(reversed(row)))
        return value % prime if prime else value

    return Drawn(
        answer,
        (
            f"Let $R(x)$ be the remainder of $x^{{{n}}}$ on division by ${f}$. Find $R({x})${end}.",
            f"Divide $x^{{{n}}}$ by ${f}$ and call the remainder $R$. Compute $R({x})${end}.",
            f"What is the value at $x = {x}$ of the polynomial of lower degree than ${f}$ that "
            f"differs from $x^{{{n}}}$ by a multiple of it? Give it{end or ' exactly'}.",
            f"In polynomials modulo ${f}$, reduce $x^{{{n}}}$ completely and evaluate the result "
            f"at $x = {x}$. Answer{end or ' with the exact integer'}.",
        ),
        {"coefficients": coefficients, "exponent": n, "point": x, "prime": prime},
        # Where the divisor vanishes at the point, the value is a plain power.
        degenerate=lambda answer: at_x == 0 or -1 <= answer <= 1,
    )


@family("algebra", "integers up to N of the form sum of floor(k x)", Group.TRANSFER)
def floor_values(rng: Random, level: int) -> Drawn:
    """2 to 6 terms, N from 20 to 10^12."""
    ranges = ((20, 99), (100, 400), (1000, 5000), (10**5, 10**6), (10**11, 10**12))
    factors = sorted(rng.sample(range(2, 8 + 4 * level), level + 1))
    n = rng.randrange(*ranges[level - 1])
    form = " + ".join(f"\\lfloor {k}x \\rfloor" for k in factors)

    def answer() -> int:
        # The values on [0, 1) repeat with x.
        jumps = {Fraction(j, k) for k in factors for j in range(k)}
        values = sorted({sum(int(k * x) for k in factors) for x in jumps})
        periods, rest = divmod(n, sum(factors))
        return periods * len(values) + bisect_right(values, rest) - 1

    return Drawn(
        answer,
        (
            f"How many positive integers up to ${n}$ can be written as ${form}$ for some real "
            "number $x$?",
            f"Let $f(x) = {form}$. How many of the positive integers not exceeding ${n}$ are "
            "values of $f$ at real numbers?",
            f"A positive integer is called reachable if it equals ${form}$ for a real number "
            f"$x$. How many reachable integers are at most ${n}$?",
            f"For real $x$ put $g(x) = {form}$. Count the positive integers $m \\le {n}$ for "
            "which $g(x) = m$ has a solution.",
        ),
        {"factors": factors, "bound": n},
    )


@family("algebra", "value of the minimal polynomial of a sum of radicals")
def minimal_polynomial(rng: Random, level: int) -> Drawn:
    """Degree 2, 4, 6, 6 with coefficients, 8."""
    inner, radicand = rng.sample((2, 3, 5, 6, 7, 10, 11, 13), 2)
    plain = level in (2, 3)
    # shift + scale sqrt(inner) + factor root(radicand, degree), the latter from degree 2 on.
    degree = (1, 2, 3, 3, 4)[level - 1]
    shift = rng.randint(1, 9) if level in (1, 4) else 0
    scale = 1 if plain else rng.randint(1, 4)
    factor = 1 if plain else rng.choice((-4, -3, -2, 2, 3, 4))
    t = rng.randint(1, 9)
    number = f"{shift} + " if shift else ""
    number += f"{scale if scale > 1 else ''}\\sqrt{{{inner}}}"
    if degree > 1:
        size = str(abs(factor)) if abs(factor) > 1 else ""
        index = "" if degree == 2 else f"[{degree}]"
        sign = "-" if factor < 0 else "+"
        number += f" {sign} {size}\\sqrt{index}{{{radicand}}}"

    def answer() -> int:
        # The norm from the quadratic field of a power minus its radicand.
        # With distinct square-free radicands all conjugates differ, so the norm is minimal.
        u, v = 1, 0
        for _ in range(degree):
            lead, root = t - shift, -scale
            u, v = u * lead + v * root * inner, u * root + v * lead
        if degree > 1:
            u -= factor**degree * radicand
        return u * u - inner * v * v

    return Drawn(
        answer,
        (
            "Let $P(x)$ be the monic polynomial of least degree with rational coefficients that "
            f"has ${number}$ as a root. Find $P({t})$.",
            f"Compute the value at $x = {t}$ of the minimal polynomial over the rationals of "
            f"${number}$.",
            f"The number $\\alpha = {number}$ is a root of exactly one monic irreducible "
            f"polynomial with rational coefficients. What is its value at ${t}$?",
            f"Let $\\alpha = {number}$. Find the product of $({t} - \\beta)$ over all algebraic "
            "conjugates $\\beta$ of $\\alpha$, including $\\alpha$ itself.",
        ),
        {
            "shift": shift,
            "scale": scale,
            "inner": inner,
            "factor": factor,
            "radicand": radicand,
            "degree": degree,
            "point": t,
        },
    )
