"""The easy families worked by hand: what an answer without a tool can imitate.

A run without the tool (C = 0) is a fair opponent only if what it imitates shows the work, as the
programs of the other run do. Each solution here goes in steps of one operation, states nothing that
is not true (a test evaluates every equation), and fits into some 300 tokens up to level 3; from
there on numbers outgrow any text, which is what these levels are for.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torl_env.errors import ProblemError
from torl_env.problems.procedural.integers import factorise, primes_up_to


def _product(a: int, b: int) -> str:
    """`23 * 45`: 23 * 40 = 920, 23 * 5 = 115, 920 + 115 = 1035."""
    places = [int(d) * 10**i for i, d in enumerate(reversed(str(b))) if d != "0"][::-1]
    lines = [f"{a} * {part} = {a * part}." for part in places]
    total = a * places[0]
    for part in places[1:]:
        lines.append(f"{total} + {a * part} = {total + a * part}.")
        total += a * part
    return " ".join(lines)


def _modular_power(a: int, b: int, m: int) -> str:
    """Squares for the binary digits of the exponent, then the product of those that count."""
    value, exponent = a % m, 1
    lines = [f"{a} mod {m} = {value}."]
    powers = {1: value}
    while exponent * 2 <= b:
        square = value * value
        value, exponent = square % m, exponent * 2
        powers[exponent] = value
        lines.append(f"{a}^{exponent}: {square} mod {m} = {value}.")
    used = [e for e in sorted(powers, reverse=True) if b & e]
    lines.append(f"{b} = {' + '.join(map(str, used))}.")
    value = powers[used[0]]
    for e in used[1:]:
        product = value * powers[e]
        lines.append(f"{value} * {powers[e]} = {product}, {product} mod {m} = {product % m}.")
        value = product % m
    return " ".join([*lines, f"{a}^{b} mod {m} = {value}."])


_PER_HUNDRED = 100


def _prime_count(n: int) -> str:
    """Primes by hundreds, those of the last hundred one by one."""
    primes = primes_up_to(n - 1)
    start = (n - 1) // _PER_HUNDRED * _PER_HUNDRED
    lines, total = [], 0
    for low in range(0, start, _PER_HUNDRED):
        count = sum(low <= p < low + _PER_HUNDRED for p in primes)
        lines.append(f"{low} to {low + _PER_HUNDRED - 1}: {count} primes.")
        total += count
    last = [p for p in primes if p >= start]
    named = ", ".join(map(str, last)) or "none"
    lines.append(f"{start} to {n - 1}: {named}: {len(last)} primes.")
    if start:
        lines.append(f"{total} + {len(last)} = {total + len(last)}.")
    return " ".join(lines)


def _gcd(a: int, b: int) -> str:
    """Euclid: a = q * b + r until nothing remains."""
    large, small = max(a, b), min(a, b)
    lines = []
    while small:
        quotient, rest = divmod(large, small)
        lines.append(f"{large} = {quotient} * {small} + {rest}.")
        large, small = small, rest
    return " ".join([*lines, f"The last divisor is {large}."])


def _square_sum(a: int, b: int) -> str:
    """The formula n(n+1)(2n+1)/6 at both ends."""

    def up_to(n: int) -> tuple[str, int]:
        double, triple = n * (n + 1), n * (n + 1) * (2 * n + 1)
        return (
            f"{n} * {n + 1} = {double}. {double} * {2 * n + 1} = {triple}. "
            f"{triple} / 6 = {triple // 6}.",
            triple // 6,
        )

    (last, high), (first, low) = up_to(b), up_to(a - 1)
    if a == 1:
        return f"1 to {b}: {last}"
    return f"1 to {b}: {last} 1 to {a - 1}: {first} {high} - {low} = {high - low}."


def _digit_sum(a: int, b: int) -> str:
    """The power written out, then its digits in tens: `5192296858: 55, 0 + 55 = 55`."""
    digits = str(a**b)
    lines, total = [f"{a}^{b} = {digits}."], 0
    for at in range(0, len(digits), 10):
        part = digits[at : at + 10]
        value = sum(map(int, part))
        lines.append(f"{part}: {value}, {total} + {value} = {total + value}.")
        total += value
    return " ".join(lines)


def _divisor_count(n: int) -> str:
    """Prime powers; each exponent plus one, multiplied."""
    powers = factorise(n)
    written = " * ".join(f"{p}^{e}" for p, e in powers.items())
    factors = [e + 1 for e in powers.values()]
    product = " * ".join(map(str, factors))
    end = "" if len(factors) == 1 else f" {product} = {math.prod(factors)}."
    return f"{n} = {written}. The exponents plus one are {', '.join(map(str, factors))}.{end}"


def _factorial_mod(a: int, b: int) -> str:
    """Residues of 1!, 2!, 3!, ..., each from the one before."""
    value, residues = 1, []
    for k in range(1, a + 1):
        value = value * k % b
        residues.append(value)
        if not value:
            break  # and 0 it stays
    shown = ", ".join(map(str, residues))
    end = f" From {len(residues)}! on all are 0." if not value and len(residues) < a else ""
    return f"Modulo {b}, 1!, 2!, ... up to {len(residues)}! are {shown}.{end}"


SOLUTIONS: dict[str, Callable[..., str]] = {
    "product": _product,
    "modular_power": _modular_power,
    "prime_count": _prime_count,
    "gcd": _gcd,
    "square_sum": _square_sum,
    "digit_sum": _digit_sum,
    "divisor_count": _divisor_count,
    "factorial_mod": _factorial_mod,
}


def steps_by_hand(family: str, parameters: Mapping[str, Any]) -> str:
    """The steps to the answer of an easy problem, without the sentence that states it.

    Args:
        family: Name of a family of the group `easy`.
        parameters: Of the problem, as the family draws them.

    Raises:
        ProblemError: The family is not worked by hand.

    Example:
        >>> steps_by_hand("gcd", {"a": 84, "b": 36})
        '84 = 2 * 36 + 12. 36 = 3 * 12 + 0. The last divisor is 12.'
    """
    if family not in SOLUTIONS:
        raise ProblemError(
            f"{family} is not worked by hand; families that are: {', '.join(SOLUTIONS)}."
        )
    return SOLUTIONS[family](**parameters)
