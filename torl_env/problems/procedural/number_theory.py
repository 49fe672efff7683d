"""Number theory of residues: towers, congruences, orders, quadratic forms."""

import math
from collections import Counter
from random import Random
from typing import NamedTuple

from torl_env.problems.procedural.family import Family, Group, P
from torl_env.problems.procedural.integers import factorise, totient
from torl_env.problems.procedural.wording import listing


class _NumberTheory(Family[P]):
    subject = "number theory"


class Tower(NamedTuple):
    """`terms[0] ^ (terms[1] ^ ...)` modulo `modulus`."""

    terms: tuple[int, ...]
    modulus: int


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


class PowerTower(_NumberTheory[Tower]):
    """Remainder of a power tower."""

    name = "power_tower"
    summary = "remainder of a^(b^c) divided by m"

    def draw(self, rng: Random, level: int) -> Tower:
        """Three storeys, four at level 5, where the inner power no longer fits in memory."""
        low, high = ((10, 40), (100, 400), (1000, 5000), (10**5, 10**6), (10**8, 10**9))[level - 1]
        terms = [rng.randrange(2, 10 ** min(level, 3) + 8), rng.randrange(2, 10 + 20 * level)]
        terms.append(rng.randrange(2, 5 + 10 * level))
        if level == 5:
            terms.append(rng.randrange(5, 40))
        return Tower(tuple(terms), rng.randrange(low, high))

    def answer(self, drawn: Tower) -> int:
        """The exact answer."""
        return _tower_mod(drawn.terms, drawn.modulus)

    def phrase(self, drawn: Tower) -> tuple[str, ...]:
        """The question in all its wordings."""
        tower, m = str(drawn.terms[-1]), drawn.modulus
        for base in reversed(drawn.terms[:-1]):
            tower = f"{base}^{{{tower}}}"
        return (
            f"Find the remainder when ${tower}$ is divided by ${m}$.",
            f"What is ${tower}$ modulo ${m}$?",
            f"Reduce ${tower}$ modulo ${m}$ to its least non-negative residue.",
            f"A clock has ${m}$ positions, numbered from zero, and its hand starts at zero. After "
            f"${tower}$ steps of one position each, at which position does the hand stand?",
        )


class Residues(NamedTuple):
    """`n = remainder` modulo `modulus`, for each pair."""

    conditions: tuple[tuple[int, int], ...]


class Congruences(_NumberTheory[Residues]):
    """Simultaneous congruences whose moduli may share factors."""

    name = "congruences"
    summary = "least n with given remainders, moduli not coprime"

    def draw(self, rng: Random, level: int) -> Residues:
        """2 to 5 moduli, solvable because the remainders are those of one number."""
        count, top = ((2, 12), (3, 30), (3, 90), (4, 400), (5, 2000))[level - 1]
        hidden = rng.randrange(1, 10 ** (level + 3))
        moduli = rng.sample(range(4, top + 4), count)
        return Residues(tuple((hidden % m, m) for m in moduli))

    def answer(self, drawn: Residues) -> int:
        """The exact answer."""
        value, step = 0, 1
        for remainder, modulus in drawn.conditions:
            common = math.gcd(step, modulus)
            turns = (remainder - value) // common * pow(step // common, -1, modulus // common)
            value += step * (turns % (modulus // common))
            step = math.lcm(step, modulus)
        return value or step

    def degenerate(self, drawn: Residues, answer: int) -> bool:
        """A number below all moduli can be read off."""
        return answer < max(modulus for _, modulus in drawn.conditions)

    def phrase(self, drawn: Residues) -> tuple[str, ...]:
        """The question in all its wordings."""
        formulas = listing(f"$n \\equiv {r} \\pmod{{{m}}}$" for r, m in drawn.conditions)
        leaves = listing(f"{r} when divided by {m}" for r, m in drawn.conditions)
        rows = listing(f"{r} over in rows of {m}" for r, m in drawn.conditions)
        return (
            f"Find the smallest positive integer $n$ such that {formulas}.",
            f"What is the least positive integer that leaves the remainder {leaves}?",
            f"A positive integer leaves remainder {leaves}. Find the smallest such integer.",
            f"Some tiles are laid out in rows; there are {rows}. What is the smallest possible "
            f"positive number of tiles?",
        )


class Unit(NamedTuple):
    """A residue coprime to its modulus."""

    base: int
    modulus: int


class MultiplicativeOrder(_NumberTheory[Unit]):
    """The order of an element modulo m."""

    name = "multiplicative_order"
    summary = "least n with m dividing a^n - 1"
    group = Group.TRANSFER

    def draw(self, rng: Random, level: int) -> Unit:
        """M from 7 to 10^9."""
        low, high = ((7, 80), (80, 400), (10**3, 10**4), (10**5, 10**6), (10**8, 10**9))[level - 1]
        while True:
            modulus = rng.randrange(low, high)
            base = rng.randrange(2, modulus)
            if math.gcd(base, modulus) == 1:
                return Unit(base, modulus)

    def answer(self, drawn: Unit) -> int:
        """The exact answer: the totient with every superfluous prime removed."""
        order = totient(drawn.modulus)
        for prime in factorise(order):
            while order % prime == 0 and pow(drawn.base, order // prime, drawn.modulus) == 1:
                order //= prime
        return order

    def degenerate(self, drawn: Unit, answer: int) -> bool:
        """Orders 1 and 2 are seen at once."""
        return answer <= 2

    def phrase(self, drawn: Unit) -> tuple[str, ...]:
        """The question in all its wordings."""
        a, m = drawn
        return (
            f"Find the smallest positive integer $n$ such that ${a}^n$ leaves remainder one "
            f"when divided by ${m}$.",
            f"What is the multiplicative order of ${a}$ modulo ${m}$?",
            f"What is the period of the sequence of the powers of {a} modulo {m}?",
            f"A counter holds a residue modulo {m} and starts at one. Each press of a button "
            f"multiplies it by {a}. After how many presses does it show one again for the first "
            f"time?",
        )


class QuadraticForm(NamedTuple):
    """`u x^2 + v y^2 = c` modulo `modulus`."""

    u: int
    v: int
    c: int
    modulus: int


class QuadraticPairs(_NumberTheory[QuadraticForm]):
    """Solutions of a quadratic congruence in two unknowns."""

    name = "quadratic_pairs"
    summary = "pairs with u x^2 + v y^2 = c modulo m"

    def draw(self, rng: Random, level: int) -> QuadraticForm:
        """M from 5 to 20,000, where trying all pairs no longer ends in time."""
        low, high = ((5, 12), (12, 60), (100, 400), (500, 2000), (5000, 20_000))[level - 1]
        modulus = rng.randrange(low, high)
        return QuadraticForm(
            rng.randrange(1, 9), rng.randrange(1, 9), rng.randrange(modulus), modulus
        )

    def answer(self, drawn: QuadraticForm) -> int:
        """The exact answer."""
        u, v, c, m = drawn
        left = Counter(u * x * x % m for x in range(m))
        right = Counter(v * y * y % m for y in range(m))
        return sum(count * right[(c - value) % m] for value, count in left.items())

    def phrase(self, drawn: QuadraticForm) -> tuple[str, ...]:
        """The question in all its wordings."""
        u, v, c, m = drawn
        law = f"{u}x^{{2}} + {v}y^{{2}} \\equiv {c} \\pmod{{{m}}}"
        return (
            f"How many pairs $(x, y)$ of residues satisfy ${law}$?",
            f"Find the number of solutions $(x, y)$ of ${law}$, where $x$ and $y$ run over a "
            f"complete system of residues.",
            f"Count the ordered pairs of residue classes $x$, $y$ with ${law}$.",
            f"In the ring of integers modulo $m$ with $m$ as in ${law}$, how many ordered pairs "
            f"$(x, y)$ satisfy this congruence?",
        )


FAMILIES = (PowerTower(), Congruences(), MultiplicativeOrder(), QuadraticPairs())
