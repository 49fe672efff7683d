"""Number theory of residues: towers, congruences, orders, quadratic forms."""

import math
from collections import Counter
from random import Random

from torl_env.problems.procedural.family import Drawn, Group, family
from torl_env.problems.procedural.integers import factorise, totient
from torl_env.problems.procedural.wording import listing


def _small_tower(terms: tuple[int, ...], bound: int) -> int | None:
    """The value of a tower of numbers above 1 if it is less than `bound`, else `None`."""
    value = 1
    for base in reversed(terms):
        if value >= bound.bit_length():
            return None
        value = base**value
    return value if value < bound else None


def _tower_mod(terms: tuple[int, ...], modulus: int) -> int:
    """A tower modulo anything: an exponent of at least log2(m) counts modulo phi(m), plus phi."""
    if modulus == 1 or len(terms) == 1:
        return terms[0] % modulus
    exponent = _small_tower(terms[1:], modulus.bit_length())
    if exponent is None:
        period = totient(modulus)
        exponent = _tower_mod(terms[1:], period) + period
    return pow(terms[0], exponent, modulus)


@family("number theory", "remainder of a^(b^c) divided by m")
def power_tower(rng: Random, level: int) -> Drawn:
    """Three storeys, four at level 5, where the inner power no longer fits in memory."""
    low, high = ((10, 40), (100, 400), (1000, 5000), (10**5, 10**6), (10**8, 10**9))[level - 1]
    terms = [rng.randrange(2, 10 ** min(level, 3) + 8), rng.randrange(2, 10 + 20 * level)]
    terms.append(rng.randrange(2, 5 + 10 * level))
    if level == 5:
        terms.append(rng.randrange(5, 40))
    m = rng.randrange(low, high)
    tower = str(terms[-1])
    for base in reversed(terms[:-1]):
        tower = f"{base}^{{{tower}}}"
    return Drawn(
        lambda: _tower_mod(tuple(terms), m),
        (
            f"Find the remainder when ${tower}$ is divided by ${m}$.",
            f"What is ${tower}$ modulo ${m}$?",
            f"Reduce ${tower}$ modulo ${m}$ to its least non-negative residue.",
            f"A clock has ${m}$ positions, numbered from zero, and its hand starts at zero. "
            f"After ${tower}$ steps of one position each, at which position does the hand stand?",
        ),
        {"terms": terms, "modulus": m},
    )


@family("number theory", "least n with given remainders, moduli not coprime")
def congruences(rng: Random, level: int) -> Drawn:
    """2 to 5 moduli, solvable because the remainders are those of one number."""
    count, top = ((2, 12), (3, 30), (3, 90), (4, 400), (5, 2000))[level - 1]
    hidden = rng.randrange(1, 10 ** (level + 3))
    moduli = rng.sample(range(4, top + 4), count)
    conditions = tuple((hidden % m, m) for m in moduli)
    formulas = listing(f"$n \\equiv {r} \\pmod{{{m}}}$" for r, m in conditions)
    leaves = listing(f"{r} when divided by {m}" for r, m in conditions)
    rows = listing(f"{r} over in rows of {m}" for r, m in conditions)

    def answer() -> int:
        value, step = 0, 1
        for remainder, modulus in conditions:
            common = math.gcd(step, modulus)
            turns = (remainder - value) // common * pow(step // common, -1, modulus // common)
            value += step * (turns % (modulus // common))
            step = math.lcm(step, modulus)
        return value or step

    return Drawn(
        answer,
        (
            f"Find the smallest positive integer $n$ such that {formulas}.",
            f"What is the least positive integer that leaves the remainder {leaves}?",
            f"A positive integer leaves remainder {leaves}. Find the smallest such integer.",
            f"Some tiles are laid out in rows; there are {rows}. What is the smallest possible "
            "positive number of tiles?",
        ),
        {"conditions": conditions},
        # A number below all moduli can be read off.
        degenerate=lambda answer: answer < max(modulus for _, modulus in conditions),
    )


@family("number theory", "least n with m dividing a^n - 1", Group.TRANSFER)
def multiplicative_order(rng: Random, level: int) -> Drawn:
    """M from 7 to 10^9."""
    low, high = ((7, 80), (80, 400), (10**3, 10**4), (10**5, 10**6), (10**8, 10**9))[level - 1]
    while True:
        m = rng.randrange(low, high)
        a = rng.randrange(2, m)
        if math.gcd(a, m) == 1:
            break

    def answer() -> int:
        # The totient with every superfluous prime removed.
        order = totient(m)
        for prime in factorise(order):
            while order % prime == 0 and pow(a, order // prime, m) == 1:
                order //= prime
        return order

    return Drawn(
        answer,
        (
            f"Find the smallest positive integer $n$ such that ${a}^n$ leaves remainder one when "
            f"divided by ${m}$.",
            f"What is the multiplicative order of ${a}$ modulo ${m}$?",
            f"What is the period of the sequence of the powers of {a} modulo {m}?",
            f"A counter holds a residue modulo {m} and starts at one. Each press of a button "
            f"multiplies it by {a}. After how many presses does it show one again for the first "
            "time?",
        ),
        {"base": a, "modulus": m},
        degenerate=lambda answer: answer <= 2,  # seen at once
    )


@family("number theory", "pairs with u x^2 + v y^2 = c modulo m")
def quadratic_pairs(rng: Random, level: int) -> Drawn:
    """M from 5 to 20,000, where trying all pairs no longer ends in time."""
    low, high = ((5, 12), (12, 60), (100, 400), (500, 2000), (5000, 20_000))[level - 1]
    m = rng.randrange(low, high)
    u, v, c = rng.randrange(1, 9), rng.randrange(1, 9), rng.randrange(m)
    law = f"{u}x^{{2}} + {v}y^{{2}} \\equiv {c} \\pmod{{{m}}}"

    def answer() -> int:
        left = Counter(u * x * x % m for x in range(m))
        right = Counter(v * y * y % m for y in range(m))
        return sum(count * right[(c - value) % m] for value, count in left.items())

    return Drawn(
        answer,
        (
            f"How many pairs $(x, y)$ of residues satisfy ${law}$?",
            f"Find the number of solutions $(x, y)$ of ${law}$, where $x$ and $y$ run over a "
            "complete system of residues.",
            f"Count the ordered pairs of residue classes $x$, $y$ with ${law}$.",
            f"In the ring of integers modulo $m$ with $m$ as in ${law}$, how many ordered pairs "
            "$(x, y)$ satisfy this congruence?",
        ),
        {"u": u, "v": v, "c": c, "modulus": m},
    )
