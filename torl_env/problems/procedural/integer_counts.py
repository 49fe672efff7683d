"""Number theory of counting: multiples, divisors, digits, primes up to a bound."""

import itertools
import math
from collections import Counter
from random import Random

from torl_env.problems.procedural.family import Drawn, family
from torl_env.problems.procedural.integers import is_prime, primes_up_to
from torl_env.problems.procedural.wording import listing


@family("number theory", "integers up to N divisible by exactly t of k numbers")
def divisible_by_exactly(rng: Random, level: int) -> Drawn:
    """From two numbers and N < 200 to six and N about 10^12."""
    ranges = ((50, 200), (500, 3000), (10**4, 10**5), (10**6, 10**7), (10**11, 10**12))
    chosen = sorted(rng.sample(range(2, 12 + 8 * level), level + 1))
    bound, t = rng.randrange(*ranges[level - 1]), rng.randrange(1, level + 1)
    numbers = listing(chosen)

    def answer() -> int:
        # Generalised inclusion-exclusion.
        total = 0
        for size in range(t, len(chosen) + 1):
            sign = (-1) ** (size - t) * math.comb(size, t)
            for some in itertools.combinations(chosen, size):
                total += sign * (bound // math.lcm(*some))
        return total

    return Drawn(
        answer,
        (
            f"How many positive integers $n \\le {bound}$ are divisible by exactly {t} of the "
            f"numbers {numbers}?",
            f"Count the positive integers up to {bound} of which precisely {t} of {numbers} are "
            "divisors.",
            f"Among the positive integers not exceeding {bound}, how many are multiples of "
            f"exactly {t} of the numbers {numbers}?",
            f"Lockers are numbered consecutively up to {bound}, starting at one. For each of the "
            f"numbers {numbers} somebody puts a sticker on every locker whose number is a "
            f"multiple of it. How many lockers end up with exactly {t} of these stickers?",
        ),
        {"bound": bound, "numbers": chosen, "exactly": t},
    )


@family("number theory", "sum of d(n) or sigma(n) for n up to N, modulo a prime")
def divisor_function_sum(rng: Random, level: int) -> Drawn:
    """N from 15 to 10^10, where only the hyperbola method ends in time."""
    ranges = ((15, 99), (100, 500), (2000, 10**4), (10**5, 3 * 10**5), (10**9, 10**10))
    # 0 sums the number of divisors, 1 their sum.
    n, powers, p = rng.randrange(*ranges[level - 1]), rng.randrange(2), 1_000_003
    what = "the sum" if powers else "the number"

    def answer() -> int:
        total, first = 0, 1
        while first <= n:
            quotient = n // first
            last = n // quotient
            count = last - first + 1
            total += quotient * (count * (first + last) // 2 if powers else count)
            first = last + 1
        return total % p

    return Drawn(
        answer,
        (
            f"Let $f(n)$ be {what} of the positive divisors of $n$. Find the remainder when the "
            f"sum of $f(n)$ over all positive integers $n \\le {n}$ is divided by ${p}$.",
            f"For every positive integer up to {n}, take {what} of its positive divisors. Add up "
            f"all these values and give the total modulo {p}.",
            f"Write $s(k)$ for {what} of the divisors of $k$. Compute $\\sum_{{k \\le {n}}} "
            f"s(k)$ modulo ${p}$, where $k$ runs over positive integers.",
            f"A machine reads the positive integers in order up to {n}; on each it adds {what} "
            f"of its positive divisors to a counter. What is the counter at the end, modulo {p}?",
        ),
        {"bound": n, "powers": powers},
    )


@family("number theory", "multiples of k up to N with digit sum s")
def digit_sum_multiples(rng: Random, level: int) -> Drawn:
    """N from 100 to 10^18, where only a digit recursion ends in time."""
    ranges = ((100, 999), (10**3, 10**4), (10**5, 10**6), (10**9, 10**10), (10**17, 10**18))
    n = rng.randrange(*ranges[level - 1])
    digits = len(str(n))
    s = rng.randrange(max(3, 7 * digits // 2), 5 * digits + 2)
    k = rng.randrange(2, 5 + 4 * level)

    def answer() -> int:
        # Digit by digit; prefixes equal to the bound's are kept apart.
        free: dict[tuple[int, int], int] = {}
        edge = (0, 0)
        for digit in map(int, str(n)):
            following: Counter[tuple[int, int]] = Counter()
            for (rest, left), count in free.items():
                for d in range(min(9, s - left) + 1):
                    following[(rest * 10 + d) % k, left + d] += count
            for d in range(min(digit, s - edge[1] + 1)):
                following[(edge[0] * 10 + d) % k, edge[1] + d] += 1
            edge = (edge[0] * 10 + digit) % k, edge[1] + digit
            free = following
        return free.get((0, s), 0) + (edge == (0, s))

    return Drawn(
        answer,
        (
            f"How many positive integers $n \\le {n}$ are multiples of ${k}$ and have digit sum "
            f"exactly ${s}$?",
            f"Count the positive integers up to {n} that are divisible by {k} and whose decimal "
            f"digits add up to {s}.",
            f"A positive multiple of {k} that does not exceed {n} is called lucky if the sum of "
            f"its digits is {s}. How many lucky numbers are there?",
            f"Among the house numbers up to {n}, how many are divisible by {k} with digits that "
            f"sum to {s}?",
        ),
        {"bound": n, "divisor": k, "total": s},
        # Few numbers qualify where the divisor and the digit sum all but exclude each other.
        degenerate=lambda answer: answer < 3,
    )


@family("number theory", "sum of the primes in a window whose digits reversed give a prime")
def reversible_primes(rng: Random, level: int) -> Drawn:
    """Windows of 80 to 100,000 numbers."""
    low, high, width = (
        (10, 60, 80),
        (100, 500, 400),
        (1000, 5000, 3000),
        (10**4, 5 * 10**4, 2 * 10**4),
        (10**6, 2 * 10**6, 10**5),
    )[level - 1]
    start = int(rng.choice("1379") + str(rng.randrange(low, high))[1:])
    m = rng.choice((3, 4, 5, 7, 8))
    low, high, r = start, start + width, rng.randrange(1, m)

    def answer() -> int:
        sieve = bytearray([1]) * (high - low + 1)
        for prime in primes_up_to(math.isqrt(high)):
            first = max(prime * prime, -(-low // prime) * prime)
            sieve[first - low :: prime] = bytes(len(range(first, high + 1, prime)))
        first = low + (r - low) % m
        chosen = (p for p in range(first, high + 1, m) if sieve[p - low] and p > 1)
        return sum(p for p in chosen if is_prime(int(str(p)[::-1])))

    return Drawn(
        answer,
        (
            f"Find the sum of all primes $p$ with ${low} \\le p \\le {high}$ and $p \\equiv {r} "
            f"\\pmod{{{m}}}$ such that reversing the decimal digits of $p$ also gives a prime.",
            "Call a prime reversible if its digits, read backwards, form a prime. What is the "
            f"sum of the reversible primes from {low} to {high} that leave remainder {r} when "
            f"divided by {m}?",
            f"Add up all primes between {low} and {high} (inclusive) that are congruent to {r} "
            f"modulo {m} and remain prime when written backwards.",
            f"A prime from {low} to {high} is kept if it is {r} more than a multiple of {m} and "
            "its reversal is a prime as well. Find the sum of the primes that are kept.",
        ),
        {"low": low, "high": high, "modulus": m, "rest": r},
        degenerate=lambda answer: answer <= high,  # none or a single prime
    )
