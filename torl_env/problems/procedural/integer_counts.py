"""Number theory of counting: multiples, divisors, digits, primes up to a bound."""

import itertools
import math
from collections import Counter
from random import Random
from typing import NamedTuple

from torl_env.problems.procedural.family import Family, P
from torl_env.problems.procedural.integers import is_prime, primes_up_to
from torl_env.problems.procedural.wording import listing


class _Integers(Family[P]):
    subject = "number theory"


class ExactlyMany(NamedTuple):
    """Of `1..bound`, those that exactly `exactly` of `numbers` divide."""

    bound: int
    numbers: tuple[int, ...]
    exactly: int


class DivisibleByExactly(_Integers[ExactlyMany]):
    """Integers divisible by exactly t of k numbers."""

    name = "divisible_by_exactly"
    summary = "integers up to N divisible by exactly t of k numbers"

    def draw(self, rng: Random, level: int) -> ExactlyMany:
        """From two numbers and N < 200 to six and N about 10^12."""
        low, high = ((50, 200), (500, 3000), (10**4, 10**5), (10**6, 10**7), (10**11, 10**12))[
            level - 1
        ]
        size = level + 1
        numbers = sorted(rng.sample(range(2, 12 + 8 * level), size))
        return ExactlyMany(rng.randrange(low, high), tuple(numbers), rng.randrange(1, size))

    def answer(self, drawn: ExactlyMany) -> int:
        """The exact answer, by generalised inclusion-exclusion."""
        total, t = 0, drawn.exactly
        for size in range(t, len(drawn.numbers) + 1):
            sign = (-1) ** (size - t) * math.comb(size, t)
            for chosen in itertools.combinations(drawn.numbers, size):
                total += sign * (drawn.bound // math.lcm(*chosen))
        return total

    def phrase(self, drawn: ExactlyMany) -> tuple[str, ...]:
        """The question in all its wordings."""
        bound, numbers, t = drawn.bound, listing(drawn.numbers), drawn.exactly
        return (
            f"How many positive integers $n \\le {bound}$ are divisible by exactly {t} of the "
            f"numbers {numbers}?",
            f"Count the positive integers up to {bound} of which precisely {t} of {numbers} are "
            f"divisors.",
            f"Among the positive integers not exceeding {bound}, how many are multiples of exactly "
            f"{t} of the numbers {numbers}?",
            f"Lockers are numbered consecutively up to {bound}, starting at one. For each of the "
            f"numbers {numbers} somebody puts a sticker on every locker whose number is a multiple "
            f"of it. How many lockers end up with exactly {t} of these stickers?",
        )


class Summatory(NamedTuple):
    """`f(1) + ... + f(bound)` for a divisor function."""

    bound: int
    powers: int
    """0 sums the number of divisors, 1 their sum."""


_SUM_MODULUS = 1_000_003


class DivisorFunctionSum(_Integers[Summatory]):
    """Sums of the divisor functions."""

    name = "divisor_function_sum"
    summary = "sum of d(n) or sigma(n) for n up to N, modulo a prime"

    def draw(self, rng: Random, level: int) -> Summatory:
        """N from 15 to 10^10, where only the hyperbola method ends in time."""
        low, high = ((15, 99), (100, 500), (2000, 10**4), (10**5, 3 * 10**5), (10**9, 10**10))[
            level - 1
        ]
        return Summatory(rng.randrange(low, high), rng.randrange(2))

    def answer(self, drawn: Summatory) -> int:
        """The exact answer."""
        bound, total, first = drawn.bound, 0, 1
        while first <= bound:
            quotient = bound // first
            last = bound // quotient
            count = last - first + 1
            total += quotient * (count * (first + last) // 2 if drawn.powers else count)
            first = last + 1
        return total % _SUM_MODULUS

    def phrase(self, drawn: Summatory) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, p = drawn.bound, _SUM_MODULUS
        what = "the sum" if drawn.powers else "the number"
        return (
            f"Let $f(n)$ be {what} of the positive divisors of $n$. Find the remainder when the "
            f"sum of $f(n)$ over all positive integers $n \\le {n}$ is divided by ${p}$.",
            f"For every positive integer up to {n}, take {what} of its positive divisors. Add up "
            f"all these values and give the total modulo {p}.",
            f"Write $s(k)$ for {what} of the divisors of $k$. Compute "
            f"$\\sum_{{k \\le {n}}} s(k)$ modulo ${p}$, where $k$ runs over positive integers.",
            f"A machine reads the positive integers in order up to {n}; on each it adds {what} of "
            f"its positive divisors to a counter. What is the counter at the end, modulo {p}?",
        )


class DigitCondition(NamedTuple):
    """Multiples of `divisor` up to `bound` with digit sum `total`."""

    bound: int
    divisor: int
    total: int


class DigitSumMultiples(_Integers[DigitCondition]):
    """Multiples with a given digit sum."""

    name = "digit_sum_multiples"
    summary = "multiples of k up to N with digit sum s"

    def draw(self, rng: Random, level: int) -> DigitCondition:
        """N from 100 to 10^18, where only a digit recursion ends in time."""
        low, high = ((100, 999), (10**3, 10**4), (10**5, 10**6), (10**9, 10**10), (10**17, 10**18))[
            level - 1
        ]
        bound = rng.randrange(low, high)
        digits = len(str(bound))
        total = rng.randrange(max(3, 7 * digits // 2), 5 * digits + 2)
        return DigitCondition(bound, rng.randrange(2, 5 + 4 * level), total)

    def answer(self, drawn: DigitCondition) -> int:
        """The exact answer, digit by digit; prefixes equal to the bound's are kept apart."""
        bound, k, total = drawn
        free: dict[tuple[int, int], int] = {}
        edge = (0, 0)
        for digit in map(int, str(bound)):
            following: Counter[tuple[int, int]] = Counter()
            for (rest, left), count in free.items():
                for d in range(min(9, total - left) + 1):
                    following[(rest * 10 + d) % k, left + d] += count
            for d in range(min(digit, total - edge[1] + 1)):
                following[(edge[0] * 10 + d) % k, edge[1] + d] += 1
            edge = (edge[0] * 10 + digit) % k, edge[1] + digit
            free = following
        return free.get((0, total), 0) + (edge == (0, total))

    def degenerate(self, drawn: DigitCondition, answer: int) -> bool:
        """Few numbers qualify where the divisor and the digit sum all but exclude each other."""
        return answer < 3

    def phrase(self, drawn: DigitCondition) -> tuple[str, ...]:
        """The question in all its wordings."""
        n, k, s = drawn
        return (
            f"How many positive integers $n \\le {n}$ are multiples of ${k}$ and have digit sum "
            f"exactly ${s}$?",
            f"Count the positive integers up to {n} that are divisible by {k} and whose decimal "
            f"digits add up to {s}.",
            f"A positive multiple of {k} that does not exceed {n} is called lucky if the sum of "
            f"its digits is {s}. How many lucky numbers are there?",
            f"Among the house numbers up to {n}, how many are divisible by {k} with digits that "
            f"sum to {s}?",
        )


class PrimeWindow(NamedTuple):
    """Primes from `low` to `high` that are `rest` modulo `modulus`."""

    low: int
    high: int
    modulus: int
    rest: int


class ReversiblePrimes(_Integers[PrimeWindow]):
    """Primes whose reversal is prime."""

    name = "reversible_primes"
    summary = "sum of the primes in a window whose digits reversed give a prime"

    def draw(self, rng: Random, level: int) -> PrimeWindow:
        """Windows of 80 to 100,000 numbers."""
        low, high, width = (
            (10, 60, 80),
            (100, 500, 400),
            (1000, 5000, 3000),
            (10**4, 5 * 10**4, 2 * 10**4),
            (10**6, 2 * 10**6, 10**5),
        )[level - 1]
        start = int(rng.choice("1379") + str(rng.randrange(low, high))[1:])
        modulus = rng.choice((3, 4, 5, 7, 8))
        return PrimeWindow(start, start + width, modulus, rng.randrange(1, modulus))

    def answer(self, drawn: PrimeWindow) -> int:
        """The exact answer."""
        low, high, modulus, rest = drawn
        sieve = bytearray([1]) * (high - low + 1)
        for prime in primes_up_to(math.isqrt(high)):
            first = max(prime * prime, -(-low // prime) * prime)
            sieve[first - low :: prime] = bytes(len(range(first, high + 1, prime)))
        first = low + (rest - low) % modulus
        chosen = (p for p in range(first, high + 1, modulus) if sieve[p - low] and p > 1)
        return sum(p for p in chosen if is_prime(int(str(p)[::-1])))

    def degenerate(self, drawn: PrimeWindow, answer: int) -> bool:
        """None or a single one."""
        return answer <= drawn.high

    def phrase(self, drawn: PrimeWindow) -> tuple[str, ...]:
        """The question in all its wordings."""
        low, high, m, r = drawn
        return (
            f"Find the sum of all primes $p$ with ${low} \\le p \\le {high}$ and "
            f"$p \\equiv {r} \\pmod{{{m}}}$ such that reversing the decimal digits of $p$ also "
            f"gives a prime.",
            f"Call a prime reversible if its digits, read backwards, form a prime. What is the sum "
            f"of the reversible primes from {low} to {high} that leave remainder {r} when divided "
            f"by {m}?",
            f"Add up all primes between {low} and {high} (inclusive) that are congruent to {r} "
            f"modulo {m} and remain prime when written backwards.",
            f"A prime from {low} to {high} is kept if it is {r} more than a multiple of {m} and "
            f"its reversal is a prime as well. Find the sum of the primes that are kept.",
        )


FAMILIES = (
    DivisibleByExactly(),
    DivisorFunctionSum(),
    DigitSumMultiples(),
    ReversiblePrimes(),
)
