"""The easy families: one short program each, which is what a small model learns first.

Levels make numbers larger; level 3 is out of reach by hand, level 5 still runs in a second.
"""

import math
from random import Random

from torl_env.problems.procedural.family import Drawn, Group, Worked, family
from torl_env.problems.procedural.integers import divisors, primes_up_to


def _between(rng: Random, level: int, *ranges: tuple[int, int]) -> int:
    """A number from the level's inclusive range."""
    return rng.randint(*ranges[level - 1])


@family("arithmetic", "product of two numbers", Group.EASY)
def product(rng: Random, level: int) -> Drawn:
    """Factors of 2, 3, 4, 6 or 9 digits."""
    digits = (2, 3, 4, 6, 9)[level - 1]
    low, high = 10 ** (digits - 1), 10**digits - 1
    a, b = rng.randint(low, high), rng.randint(low, high)
    return Drawn(
        lambda: a * b,
        (
            f"What is {a} * {b}?",
            f"Compute {a} * {b}.",
            f"Find the product of {a} and {b}.",
            f"Multiply {a} by {b}.",
            f"A hall has {a} rows of {b} seats. How many seats does it have?",
        ),
        {"a": a, "b": b},
        worked=Worked(f"print({a} * {b})", "multiply the two numbers"),
    )


@family("arithmetic", "remainder of a^b divided by m", Group.EASY)
def modular_power(rng: Random, level: int) -> Drawn:
    """From one-digit bases to a base of 3 and an exponent and modulus of 4 digits."""
    a = _between(rng, level, (2, 9), (2, 20), (2, 20), (10, 99), (100, 999))
    b = _between(rng, level, (3, 12), (20, 99), (50, 400), (300, 2000), (1000, 9999))
    m = _between(rng, level, (5, 30), (7, 99), (23, 99), (100, 999), (1000, 9999))
    return Drawn(
        lambda: pow(a, b, m),
        (
            f"Find the remainder when {a}^{b} is divided by {m}.",
            f"What is {a}^{b} modulo {m}?",
            f"Compute {a}^{b} mod {m}.",
            f"What remainder does {a}^{b} leave when divided by {m}?",
        ),
        {"a": a, "b": b, "m": m},
        worked=Worked(f"print({a}**{b} % {m})", "compute the remainder of the power"),
    )


@family("arithmetic", "number of primes below n", Group.EASY)
def prime_count(rng: Random, level: int) -> Drawn:
    """A bound from 20 to 10,000."""
    n = _between(rng, level, (20, 100), (101, 300), (301, 600), (601, 2500), (2501, 10_000))
    return Drawn(
        lambda: len(primes_up_to(n - 1)),
        (
            f"How many primes are below {n}?",
            f"How many prime numbers are less than {n}?",
            f"Count the primes smaller than {n}.",
            f"Find the number of primes p with p < {n}.",
        ),
        {"n": n},
        worked=Worked(
            (
                "count = 0\n"
                f"for n in range(2, {n}):\n"
                "    if all(n % d != 0 for d in range(2, int(n**0.5) + 1)):\n"
                "        count += 1\n"
                "print(count)"
            ),
            "count the primes",
        ),
    )


@family("arithmetic", "greatest common divisor of two numbers", Group.EASY)
def gcd(rng: Random, level: int) -> Drawn:
    """Multiples of a common factor; numbers up to 10^11."""
    factor = _between(rng, level, (2, 12), (2, 40), (2, 60), (10, 999), (1000, 99_999))
    ranges = ((2, 20), (10, 99), (20, 300), (100, 9999), (10_000, 999_999))
    a = factor * _between(rng, level, *ranges)
    b = factor * _between(rng, level, *ranges)
    if a == b:
        b += factor
    return Drawn(
        lambda: math.gcd(a, b),
        (
            f"Find the greatest common divisor of {a} and {b}.",
            f"What is gcd({a}, {b})?",
            f"What is the largest integer that divides both {a} and {b}?",
            f"Compute the greatest common factor of {a} and {b}.",
        ),
        {"a": a, "b": b},
        worked=Worked(
            f"import math\nprint(math.gcd({a}, {b}))", "compute the greatest common divisor"
        ),
    )


@family("arithmetic", "sum of the squares of the integers from a to b", Group.EASY)
def square_sum(rng: Random, level: int) -> Drawn:
    """From about ten squares to a hundred thousand."""
    a = _between(rng, level, (1, 12), (1, 20), (1, 40), (1, 99), (100, 999))
    b = _between(rng, level, (15, 25), (30, 60), (61, 200), (201, 5000), (5001, 99_999))
    below, up_to = (n * (n + 1) * (2 * n + 1) // 6 for n in (a - 1, b))

    return Drawn(
        lambda: up_to - below,
        (
            f"Find the sum of the squares of the integers from {a} to {b}.",
            f"What do you get when you add the squares of all integers from {a} to {b}?",
            f"Add up k*k for every integer k from {a} to {b}. What is the total?",
            f"Compute the sum of the squares of {a} through {b}.",
        ),
        {"a": a, "b": b},
        worked=Worked(f"print(sum(k**2 for k in range({a}, {b} + 1)))", "add the squares"),
    )


@family("arithmetic", "sum of the digits of a^b", Group.EASY)
def digit_sum(rng: Random, level: int) -> Drawn:
    """From 3^5 to numbers of two thousand digits."""
    a = 10
    while a == 10:
        a = _between(rng, level, (2, 15), (2, 15), (2, 15), (11, 40), (41, 99))
    b = _between(rng, level, (4, 15), (16, 49), (50, 120), (121, 400), (401, 1000))
    return Drawn(
        lambda: sum(map(int, str(a**b))),
        (
            f"Find the sum of the digits of {a}^{b}.",
            f"What is the sum of the decimal digits of {a}^{b}?",
            f"Write out {a}^{b} and add its digits. What is the result?",
            f"Compute the digit sum of {a}^{b}.",
        ),
        {"a": a, "b": b},
        worked=Worked(f"print(sum(int(d) for d in str({a}**{b})))", "add the digits of the power"),
    )


@family("arithmetic", "number of positive divisors of n", Group.EASY)
def divisor_count(rng: Random, level: int) -> Drawn:
    """A number up to 200, 10^3, 5*10^3, 5*10^4 or 10^6.

    Most numbers have 4 or 8 divisors, so the count is drawn first, from those of some numbers.
    """
    ranges = ((12, 200), (201, 1000), (1001, 5000), (5001, 50_000), (50_001, 1_000_000))
    by_count: dict[int, list[int]] = {}
    for _ in range(30):
        number = _between(rng, level, *ranges)
        by_count.setdefault(len(divisors(number)), []).append(number)
    n = rng.choice(rng.choice(list(by_count.values())))
    return Drawn(
        lambda: len(divisors(n)),
        (
            f"How many positive divisors does {n} have?",
            f"Count the positive divisors of {n}.",
            f"Find the number of positive integers that divide {n}.",
            f"How many positive integers are factors of {n}?",
        ),
        {"n": n},
        degenerate=lambda answer: answer < 5,  # what a blind guess would say
        worked=Worked(
            f"n = {n}\nprint(sum(1 for d in range(1, n + 1) if n % d == 0))", "count the divisors"
        ),
    )


@family("arithmetic", "remainder of n! divided by m", Group.EASY)
def factorial_mod(rng: Random, level: int) -> Drawn:
    """A factorial up to 900! and a modulus above its argument."""
    n = _between(rng, level, (4, 10), (8, 20), (20, 60), (61, 200), (201, 900))
    m = _between(rng, level, (11, 60), (23, 97), (61, 199), (211, 997), (1009, 9973))
    return Drawn(
        lambda: math.factorial(n) % m,
        (
            f"Find the remainder when {n}! is divided by {m}.",
            f"What is {n}! modulo {m}?",
            f"Compute {n}! mod {m}.",
            f"What remainder does the factorial of {n} leave when divided by {m}?",
        ),
        {"a": n, "b": m},
        worked=Worked(
            f"import math\nprint(math.factorial({n}) % {m})",
            "compute the factorial and its remainder",
        ),
    )
