"""The easy families: one short program each, which is what a small model learns first.

Levels make numbers larger; level 3 is out of reach by hand, level 5 still runs in a second.
"""

import math
from random import Random
from typing import ClassVar, NamedTuple

from torl_env.problems.procedural.family import Family, Group, P, Worked


class _Easy(Family[P]):
    group: ClassVar[Group] = Group.EASY
    subject: ClassVar[str] = "arithmetic"


def _between(rng: Random, level: int, ranges: tuple[tuple[int, int], ...]) -> int:
    """A number from the level's inclusive range."""
    return rng.randint(*ranges[level - 1])


class Pair(NamedTuple):
    """Two numbers."""

    a: int
    b: int


class Product(_Easy[Pair]):
    """The product of two numbers of 2 to 9 digits."""

    name = "product"
    summary = "product of two numbers"

    def draw(self, rng: Random, level: int) -> Pair:
        """Factors of 2, 3, 4, 6 or 9 digits."""
        digits = (2, 3, 4, 6, 9)[level - 1]
        low, high = 10 ** (digits - 1), 10**digits - 1
        return Pair(rng.randint(low, high), rng.randint(low, high))

    def answer(self, drawn: Pair) -> int:
        """The exact answer."""
        return drawn.a * drawn.b

    def phrase(self, drawn: Pair) -> tuple[str, ...]:
        """The question in all its wordings."""
        a, b = drawn
        return (
            f"What is {a} * {b}?",
            f"Compute {a} * {b}.",
            f"Find the product of {a} and {b}.",
            f"Multiply {a} by {b}.",
            f"A hall has {a} rows of {b} seats. How many seats does it have?",
        )

    def work(self, drawn: Pair) -> Worked:
        """A reference program."""
        return Worked(f"print({drawn.a} * {drawn.b})", "multiply the two numbers")


class PowerModulus(NamedTuple):
    """`a ** b % m`."""

    a: int
    b: int
    m: int


class ModularPower(_Easy[PowerModulus]):
    """The remainder of a power."""

    name = "modular_power"
    summary = "remainder of a^b divided by m"

    def draw(self, rng: Random, level: int) -> PowerModulus:
        """From one-digit bases to a base of 3 and an exponent and modulus of 4 digits."""
        return PowerModulus(
            _between(rng, level, ((2, 9), (2, 20), (2, 20), (10, 99), (100, 999))),
            _between(rng, level, ((3, 12), (20, 99), (50, 400), (300, 2000), (1000, 9999))),
            _between(rng, level, ((5, 30), (7, 99), (23, 99), (100, 999), (1000, 9999))),
        )

    def answer(self, drawn: PowerModulus) -> int:
        """The exact answer."""
        return pow(drawn.a, drawn.b, drawn.m)

    def phrase(self, drawn: PowerModulus) -> tuple[str, ...]:
        """The question in all its wordings."""
        a, b, m = drawn
        return (
            f"Find the remainder when {a}^{b} is divided by {m}.",
            f"What is {a}^{b} modulo {m}?",
            f"Compute {a}^{b} mod {m}.",
            f"What remainder does {a}^{b} leave when divided by {m}?",
        )

    def work(self, drawn: PowerModulus) -> Worked:
        """A reference program."""
        a, b, m = drawn
        return Worked(f"print({a}**{b} % {m})", "compute the remainder of the power")


class PrimeCount(_Easy[int]):
    """The number of primes below a bound."""

    name = "prime_count"
    summary = "number of primes below n"

    def draw(self, rng: Random, level: int) -> int:
        """A bound from 20 to 10,000."""
        return _between(
            rng, level, ((20, 100), (101, 300), (301, 600), (601, 2500), (2501, 10_000))
        )

    def answer(self, drawn: int) -> int:
        """The exact answer."""
        sieve = bytearray([1]) * drawn
        sieve[:2] = b"\x00\x00"
        for number in range(2, math.isqrt(drawn) + 1):
            if sieve[number]:
                sieve[number * number :: number] = bytes(len(sieve[number * number :: number]))
        return sum(sieve)

    def phrase(self, drawn: int) -> tuple[str, ...]:
        """The question in all its wordings."""
        return (
            f"How many primes are below {drawn}?",
            f"How many prime numbers are less than {drawn}?",
            f"Count the primes smaller than {drawn}.",
            f"Find the number of primes p with p < {drawn}.",
        )

    def work(self, drawn: int) -> Worked:
        """A reference program."""
        code = (
            "count = 0\n"
            f"for n in range(2, {drawn}):\n"
            "    if all(n % d != 0 for d in range(2, int(n**0.5) + 1)):\n"
            "        count += 1\n"
            "print(count)"
        )
        return Worked(code, "count the primes")


class Gcd(_Easy[Pair]):
    """The greatest common divisor of two numbers."""

    name = "gcd"
    summary = "greatest common divisor of two numbers"

    def draw(self, rng: Random, level: int) -> Pair:
        """Multiples of a common factor; numbers up to 10^11."""
        factor = _between(rng, level, ((2, 12), (2, 40), (2, 60), (10, 999), (1000, 99_999)))
        ranges = ((2, 20), (10, 99), (20, 300), (100, 9999), (10_000, 999_999))
        a = factor * _between(rng, level, ranges)
        b = factor * _between(rng, level, ranges)
        return Pair(a, b) if a != b else Pair(a, b + factor)

    def answer(self, drawn: Pair) -> int:
        """The exact answer."""
        return math.gcd(*drawn)

    def phrase(self, drawn: Pair) -> tuple[str, ...]:
        """The question in all its wordings."""
        a, b = drawn
        return (
            f"Find the greatest common divisor of {a} and {b}.",
            f"What is gcd({a}, {b})?",
            f"What is the largest integer that divides both {a} and {b}?",
            f"Compute the greatest common factor of {a} and {b}.",
        )

    def work(self, drawn: Pair) -> Worked:
        """A reference program."""
        code = f"import math\nprint(math.gcd({drawn.a}, {drawn.b}))"
        return Worked(code, "compute the greatest common divisor")


class SquareSum(_Easy[Pair]):
    """The sum of consecutive squares."""

    name = "square_sum"
    summary = "sum of the squares of the integers from a to b"

    def draw(self, rng: Random, level: int) -> Pair:
        """From about ten squares to a hundred thousand."""
        return Pair(
            _between(rng, level, ((1, 12), (1, 20), (1, 40), (1, 99), (100, 999))),
            _between(rng, level, ((15, 25), (30, 60), (61, 200), (201, 5000), (5001, 99_999))),
        )

    def answer(self, drawn: Pair) -> int:
        """The exact answer."""
        below = [n * (n + 1) * (2 * n + 1) // 6 for n in (drawn.a - 1, drawn.b)]
        return below[1] - below[0]

    def phrase(self, drawn: Pair) -> tuple[str, ...]:
        """The question in all its wordings."""
        a, b = drawn
        return (
            f"Find the sum of the squares of the integers from {a} to {b}.",
            f"What do you get when you add the squares of all integers from {a} to {b}?",
            f"Add up k*k for every integer k from {a} to {b}. What is the total?",
            f"Compute the sum of the squares of {a} through {b}.",
        )

    def work(self, drawn: Pair) -> Worked:
        """A reference program."""
        code = f"print(sum(k**2 for k in range({drawn.a}, {drawn.b} + 1)))"
        return Worked(code, "add the squares")


class DigitSum(_Easy[Pair]):
    """The sum of the decimal digits of a power."""

    name = "digit_sum"
    summary = "sum of the digits of a^b"

    def draw(self, rng: Random, level: int) -> Pair:
        """From 3^5 to numbers of two thousand digits."""
        base = _between(rng, level, ((2, 15), (2, 15), (2, 15), (11, 40), (41, 99)))
        while base == 10:
            base = _between(rng, level, ((2, 15), (2, 15), (2, 15), (11, 40), (41, 99)))
        return Pair(
            base, _between(rng, level, ((4, 15), (16, 49), (50, 120), (121, 400), (401, 1000)))
        )

    def answer(self, drawn: Pair) -> int:
        """The exact answer."""
        return sum(map(int, str(drawn.a**drawn.b)))

    def phrase(self, drawn: Pair) -> tuple[str, ...]:
        """The question in all its wordings."""
        a, b = drawn
        return (
            f"Find the sum of the digits of {a}^{b}.",
            f"What is the sum of the decimal digits of {a}^{b}?",
            f"Write out {a}^{b} and add its digits. What is the result?",
            f"Compute the digit sum of {a}^{b}.",
        )

    def work(self, drawn: Pair) -> Worked:
        """A reference program."""
        code = f"print(sum(int(d) for d in str({drawn.a}**{drawn.b})))"
        return Worked(code, "add the digits of the power")


class DivisorCount(_Easy[int]):
    """The number of divisors of a number."""

    name = "divisor_count"
    summary = "number of positive divisors of n"

    def draw(self, rng: Random, level: int) -> int:
        """A number up to 200, 10^3, 5*10^3, 5*10^4 or 10^6.

        Most numbers have 4 or 8 divisors, so the count is drawn first, from those of some numbers.
        """
        ranges = ((12, 200), (201, 1000), (1001, 5000), (5001, 50_000), (50_001, 1_000_000))
        by_count: dict[int, list[int]] = {}
        for _ in range(30):
            number = _between(rng, level, ranges)
            by_count.setdefault(self.answer(number), []).append(number)
        return rng.choice(rng.choice(list(by_count.values())))

    def answer(self, drawn: int) -> int:
        """The exact answer."""
        count, rest, prime = 1, drawn, 2
        while prime * prime <= rest:
            power = 0
            while rest % prime == 0:
                rest //= prime
                power += 1
            count *= power + 1
            prime += 1
        return count * 2 if rest > 1 else count

    def phrase(self, drawn: int) -> tuple[str, ...]:
        """The question in all its wordings."""
        return (
            f"How many positive divisors does {drawn} have?",
            f"Count the positive divisors of {drawn}.",
            f"Find the number of positive integers that divide {drawn}.",
            f"How many positive integers are factors of {drawn}?",
        )

    def degenerate(self, drawn: int, answer: int) -> bool:
        """Few divisors are what a blind guess would say."""
        return answer < 5

    def work(self, drawn: int) -> Worked:
        """A reference program."""
        code = f"n = {drawn}\nprint(sum(1 for d in range(1, n + 1) if n % d == 0))"
        return Worked(code, "count the divisors")


class FactorialRemainder(_Easy[Pair]):
    """The remainder of a factorial."""

    name = "factorial_mod"
    summary = "remainder of n! divided by m"

    def draw(self, rng: Random, level: int) -> Pair:
        """A factorial up to 900! and a modulus above its argument."""
        return Pair(
            _between(rng, level, ((4, 10), (8, 20), (20, 60), (61, 200), (201, 900))),
            _between(rng, level, ((11, 60), (23, 97), (61, 199), (211, 997), (1009, 9973))),
        )

    def answer(self, drawn: Pair) -> int:
        """The exact answer."""
        return math.factorial(drawn.a) % drawn.b

    def phrase(self, drawn: Pair) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, m = drawn
        return (
            f"Find the remainder when {n}! is divided by {m}.",
            f"What is {n}! modulo {m}?",
            f"Compute {n}! mod {m}.",
            f"What remainder does the factorial of {n} leave when divided by {m}?",
        )

    def work(self, drawn: Pair) -> Worked:
        """A reference program."""
        code = f"import math\nprint(math.factorial({drawn.a}) % {drawn.b})"
        return Worked(code, "compute the factorial and its remainder")


FAMILIES = (
    Product(),
    ModularPower(),
    PrimeCount(),
    Gcd(),
    SquareSum(),
    DigitSum(),
    DivisorCount(),
    FactorialRemainder(),
)
